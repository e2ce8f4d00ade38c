package engine

import (
	"slices"

	"github.com/dolthub/go-mysql-server/sql"
	"github.com/dolthub/go-mysql-server/sql/analyzer"
	"github.com/dolthub/go-mysql-server/sql/expression"
	"github.com/dolthub/go-mysql-server/sql/plan"
	"github.com/dolthub/go-mysql-server/sql/transform"
	"github.com/dolthub/go-mysql-server/sql/types"
)

// mendEdits mends UPDATE and DELETE, which no other rule of ours sees. Their comparisons are those of a SELECT, or a DELETE
// would take rows that a SELECT with the same WHERE does not show.
func mendEdits(ctx *sql.Context, a *analyzer.Analyzer, n sql.Node, scope *plan.Scope, sel analyzer.RuleSelector, flags *sql.QueryFlags) (sql.Node, transform.TreeIdentity, error) {
	n, whole, err := checkWhole(ctx, n)
	if err != nil {
		return nil, transform.SameTree, err
	}
	switch n.(type) {
	case *plan.Update, *plan.DeleteFrom:
	default:
		return n, whole, nil
	}
	n, literals, err := retypeLiterals(ctx, a, n, scope, sel, flags)
	if err != nil {
		return nil, transform.SameTree, err
	}
	n, sets, err := transform.NodeWithOpaque(ctx, n, checkSets)
	return n, whole && literals && sets, err
}

// checkSets has UPDATE refuse numbers that do not fit their column, as INSERT does: go-mysql-server would store the
// nearest that fits, without a word. UPDATE IGNORE asks for that.
func checkSets(ctx *sql.Context, n sql.Node) (sql.Node, transform.TreeIdentity, error) {
	source, ok := n.(*plan.UpdateSource)
	if !ok || source.Ignore {
		return n, transform.SameTree, nil
	}
	sets := slices.Clone(source.Expressions())
	for i, e := range sets {
		set, ok := e.(*expression.SetField)
		if !ok {
			continue
		}
		if column, ok := set.LeftChild.(*expression.GetField); ok && types.IsInteger(column.Type(ctx)) {
			sets[i] = expression.NewSetField(column, &inRange{UnaryExpressionStub: expression.UnaryExpressionStub{Child: set.RightChild}, column: column})
		}
	}
	n, err := source.WithExpressions(ctx, sets...)
	return n, transform.NewTree, err
}

// inRange is a value that must fit a column.
type inRange struct {
	expression.UnaryExpressionStub
	column *expression.GetField
}

// String implements sql.Expression.
func (r *inRange) String() string { return r.Child.String() }

// Type implements sql.Expression.
func (r *inRange) Type(ctx *sql.Context) sql.Type { return r.Child.Type(ctx) }

// Eval implements sql.Expression.
func (r *inRange) Eval(ctx *sql.Context, row sql.Row) (any, error) {
	v, err := r.Child.Eval(ctx, row)
	if err != nil || v == nil {
		return v, err
	}
	// What cannot be converted at all is refused where the value is set.
	if _, fits, err := r.column.Type(ctx).Convert(ctx, v); err == nil && fits != sql.InRange {
		return nil, mysqlError(errDataOutOfRange, "Out of range value for column '%s'", r.column.Name())
	}
	return v, nil
}

// WithChildren implements sql.Expression.
func (r *inRange) WithChildren(_ *sql.Context, children ...sql.Expression) (sql.Expression, error) {
	if len(children) != 1 {
		return nil, sql.ErrInvalidChildrenNumber.New(r, len(children), 1)
	}
	return &inRange{UnaryExpressionStub: expression.UnaryExpressionStub{Child: children[0]}, column: r.column}, nil
}

// keepSubqueries keeps UPDATE ... WHERE x IN (SELECT ...) from becoming a join: go-mysql-server would then take rows that
// are equal in every column for one and the same, and change one of them.
func keepSubqueries(ctx *sql.Context, _ *analyzer.Analyzer, n sql.Node, _ *plan.Scope, _ analyzer.RuleSelector, flags *sql.QueryFlags) (sql.Node, transform.TreeIdentity, error) {
	if _, ok := n.(*plan.Update); !ok || !flags.SubqueryIsSet() {
		return n, transform.SameTree, nil
	}
	return transform.Node(ctx, n, func(ctx *sql.Context, n sql.Node) (sql.Node, transform.TreeIdentity, error) {
		filter, ok := n.(*plan.Filter)
		if !ok {
			return n, transform.SameTree, nil
		}
		conditions, changed := expression.SplitConjunction(ctx, filter.Expression), false
		for i, c := range conditions {
			if _, kept := c.(*keptCondition); !kept && asks(ctx, c) {
				conditions[i], changed = &keptCondition{expression.UnaryExpressionStub{Child: c}}, true
			}
		}
		if !changed {
			return n, transform.SameTree, nil
		}
		return plan.NewFilter(expression.JoinAnd(conditions...), filter.Child), transform.NewTree, nil
	})
}

// asks reports whether an expression holds a subquery.
func asks(ctx *sql.Context, e sql.Expression) bool {
	found := false
	sql.Inspect(ctx, e, func(_ *sql.Context, e sql.Expression) bool {
		_, is := e.(*plan.Subquery)
		found = found || is
		return !found
	})
	return found
}

// keptCondition is a condition in a form that the analyzer does not take apart.
type keptCondition struct{ expression.UnaryExpressionStub }

// String implements sql.Expression.
func (k *keptCondition) String() string { return k.Child.String() }

// Type implements sql.Expression.
func (k *keptCondition) Type(ctx *sql.Context) sql.Type { return k.Child.Type(ctx) }

// Eval implements sql.Expression.
func (k *keptCondition) Eval(ctx *sql.Context, row sql.Row) (any, error) {
	return k.Child.Eval(ctx, row)
}

// WithChildren implements sql.Expression.
func (k *keptCondition) WithChildren(_ *sql.Context, children ...sql.Expression) (sql.Expression, error) {
	if len(children) != 1 {
		return nil, sql.ErrInvalidChildrenNumber.New(k, len(children), 1)
	}
	return &keptCondition{expression.UnaryExpressionStub{Child: children[0]}}, nil
}
