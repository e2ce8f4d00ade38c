package functions

import (
	"fmt"
	"strings"

	"github.com/dolthub/go-mysql-server/sql"
	"github.com/dolthub/go-mysql-server/sql/expression"
	"github.com/dolthub/go-mysql-server/sql/transform"
	"github.com/dolthub/go-mysql-server/sql/types"

	"smelt/models/metrics"
)

// judge is an aggregate that compares predictions with the truth: name(truth, predicted [, how]). Rows in which either
// is NULL do not count; without any other the result is NULL.
type judge struct {
	name, description string
	takesHow          bool // weighted, macro or micro, or the label of one class; weighted when it is left out
	typ               sql.Type
	value             func(m *metrics.Matrix, how string) (any, error)
	buffer            func(j *judge, args []sql.Expression) sql.AggregationBuffer // nil for one that counts rows in a matrix
}

// judges are the aggregates by lower-case name.
var judges = byName(
	&judge{name: "accuracy_score", typ: types.Float64, description: "the share of rows whose prediction is the truth, 0 to 1",
		value: func(m *metrics.Matrix, _ string) (any, error) { return m.Accuracy(), nil }},
	scoring("precision_score", "precision", func(s metrics.Scores) float64 { return s.Precision }),
	scoring("recall_score", "recall", func(s metrics.Scores) float64 { return s.Recall }),
	scoring("f1_score", "F1", func(s metrics.Scores) float64 { return s.F1 }),
	&judge{name: "confusion_matrix", typ: types.JSON, value: confusion,
		description: `how often each label was predicted for each true one: {"labels": [...], "matrix": [[...], ...]}, a row for each truth`},
	shift(),
)

func byName(all ...*judge) map[string]*judge {
	out := make(map[string]*judge, len(all))
	for _, j := range all {
		out[j.name] = j
	}
	return out
}

// scoring is an aggregate that averages a score over the classes.
func scoring(name, what string, of func(metrics.Scores) float64) *judge {
	return &judge{name: name, takesHow: true, typ: types.Float64, description: what + " of predictions, 0 to 1, as scikit-learn computes it: " +
		name + "(truth, predicted [, 'weighted' | 'macro' | 'micro' | label])", value: func(m *metrics.Matrix, how string) (any, error) {
		s, err := scoresOf(m, how)
		return of(s), err
	}}
}

// scoresOf averages over the classes, or returns the scores of one.
func scoresOf(m *metrics.Matrix, how string) (metrics.Scores, error) {
	if how == "" {
		return m.Average(metrics.Weighted), nil
	}
	if s, ok := m.Class(how); ok {
		return s, nil
	}
	average, err := metrics.ParseAverage(how)
	if err != nil {
		return metrics.Scores{}, fmt.Errorf("%w, or one of the labels: %s", err, strings.Join(m.Labels(), ", "))
	}
	return m.Average(average), nil
}

func confusion(m *metrics.Matrix, _ string) (any, error) {
	labels := m.Labels()
	matrix := make([]any, len(labels))
	for i, truth := range labels {
		row := make([]any, len(labels))
		for j, predicted := range labels {
			row[j] = m.Count(truth, predicted)
		}
		matrix[i] = row
	}
	return types.JSONDocument{Val: map[string]any{"labels": jsonArray(labels).Val, "matrix": matrix}}, nil
}

// IsAggregate reports whether a function of that lower-case name makes one value of many rows.
func IsAggregate(name string) bool { return judges[name] != nil }

// function returns the aggregate as the SQL engine wants it.
func (j *judge) function() sql.Function {
	return sql.FunctionN{Name: j.name, Fn: func(_ *sql.Context, args ...sql.Expression) (sql.Expression, error) {
		want := "2"
		if j.takesHow {
			want = "2 or 3"
		}
		if len(args) < 2 || len(args) > 3 || len(args) == 3 && !j.takesHow {
			return nil, sql.ErrInvalidArgumentNumber.New(j.name, want, len(args))
		}
		return &judgement{judge: j, args: args}, nil
	}}
}

// judgement is a call of an aggregate.
type judgement struct {
	judge *judge
	args  []sql.Expression
	id    sql.ColumnId
}

var (
	_ sql.Aggregation        = (*judgement)(nil)
	_ sql.FunctionExpression = (*judgement)(nil)
)

// FunctionName implements sql.FunctionExpression.
func (j *judgement) FunctionName() string { return j.judge.name }

// Description implements sql.FunctionExpression.
func (j *judgement) Description() string { return j.judge.description }

// Resolved implements sql.Expression.
func (j *judgement) Resolved() bool { return expression.ExpressionsResolved(j.args...) }

// String implements sql.Expression.
func (j *judgement) String() string {
	args := make([]string, len(j.args))
	for i, a := range j.args {
		args[i] = a.String()
	}
	return j.judge.name + "(" + strings.Join(args, ", ") + ")"
}

// Type implements sql.Expression.
func (j *judgement) Type(*sql.Context) sql.Type { return j.judge.typ }

// IsNullable implements sql.Expression.
func (j *judgement) IsNullable(*sql.Context) bool { return true }

// Eval implements sql.Expression. Aggregates are evaluated through their buffers.
func (j *judgement) Eval(*sql.Context, sql.Row) (any, error) {
	return nil, fmt.Errorf("evaluate %s outside of a GROUP BY", j)
}

// Children implements sql.Expression.
func (j *judgement) Children() []sql.Expression { return j.args }

// WithChildren implements sql.Expression.
func (j *judgement) WithChildren(_ *sql.Context, children ...sql.Expression) (sql.Expression, error) {
	if len(children) != len(j.args) {
		return nil, sql.ErrInvalidChildrenNumber.New(j, len(children), len(j.args))
	}
	with := *j
	with.args = children
	return &with, nil
}

// Id implements sql.IdExpression.
func (j *judgement) Id() sql.ColumnId { return j.id }

// WithId implements sql.IdExpression.
func (j *judgement) WithId(id sql.ColumnId) sql.IdExpression {
	with := *j
	with.id = id
	return &with
}

// Window implements sql.WindowAdaptableExpression.
func (j *judgement) Window() *sql.WindowDefinition { return nil }

// WithWindow implements sql.WindowAdaptableExpression.
func (j *judgement) WithWindow(*sql.Context, *sql.WindowDefinition) sql.WindowAdaptableExpression {
	return j
}

// NewWindowFunction implements sql.WindowAdaptableExpression.
func (j *judgement) NewWindowFunction(*sql.Context) (sql.WindowFunction, error) {
	return nil, sql.ErrUnsupportedFeature.New(j.judge.name + "() OVER")
}

// NewBuffer implements sql.Aggregation.
func (j *judgement) NewBuffer(ctx *sql.Context) (sql.AggregationBuffer, error) {
	args := make([]sql.Expression, len(j.args))
	for i, a := range j.args {
		var err error
		if args[i], err = transform.Clone(ctx, a); err != nil {
			return nil, err
		}
	}
	if j.judge.buffer != nil {
		return j.judge.buffer(j.judge, args), nil
	}
	return &judgeBuffer{judge: j.judge, args: args}, nil
}

// judgeBuffer counts the rows of one group.
type judgeBuffer struct {
	judge  *judge
	args   []sql.Expression
	matrix metrics.Matrix
	how    string
}

// Dispose implements sql.Disposable.
func (b *judgeBuffer) Dispose(ctx *sql.Context) {
	for _, a := range b.args {
		expression.Dispose(ctx, a)
	}
}

// Update implements sql.AggregationBuffer.
func (b *judgeBuffer) Update(ctx *sql.Context, row sql.Row) error {
	var labels [3]string
	for i, a := range b.args {
		v, err := a.Eval(ctx, row)
		if err != nil {
			return err
		}
		label, ok, err := labelOf(ctx, v, a.Type(ctx))
		if err != nil {
			return err
		}
		if !ok && i < 2 {
			return nil
		}
		labels[i] = label
	}
	if b.matrix.Rows() > 0 && labels[2] != b.how {
		return fmt.Errorf("%s: its third argument is %q in one row and %q in another", b.judge.name, b.how, labels[2])
	}
	b.how = labels[2]
	return b.matrix.Add(labels[0], labels[1])
}

// labelOf returns a value as a label; ok is false for NULL.
func labelOf(ctx *sql.Context, v any, t sql.Type) (label string, ok bool, err error) {
	if v == nil {
		return "", false, nil
	}
	if text, isText := v.(string); isText {
		return text, true, nil
	}
	shown, err := t.SQL(ctx, nil, v)
	if err != nil {
		return "", false, fmt.Errorf("read label: %w", err)
	}
	return shown.ToString(), true, nil
}

// Eval implements sql.AggregationBuffer.
func (b *judgeBuffer) Eval(*sql.Context) (any, error) {
	if b.matrix.Rows() == 0 {
		return nil, nil
	}
	return b.judge.value(&b.matrix, b.how)
}
