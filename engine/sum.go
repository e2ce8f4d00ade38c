package engine

import (
	"math"
	"math/big"

	"github.com/dolthub/go-mysql-server/sql"
	"github.com/dolthub/go-mysql-server/sql/expression"
	"github.com/dolthub/go-mysql-server/sql/expression/function/aggregation"
	"github.com/dolthub/go-mysql-server/sql/transform"
	"github.com/dolthub/go-mysql-server/sql/types"
	"github.com/dolthub/vitess/go/sqltypes"
	"github.com/dolthub/vitess/go/vt/sqlparser"
	"github.com/shopspring/decimal"
)

// sumName is what the parser calls SUM outside of windows: go-mysql-server gives everything called SUM the type DOUBLE.
const sumName = "smelt_sum"

// renameSums lets every SUM of a statement be exactSum.
func renameSums(statement sqlparser.Statement) {
	// The visitor never fails.
	_ = sqlparser.Walk(func(n sqlparser.SQLNode) (bool, error) {
		if f, ok := n.(*sqlparser.FuncExpr); ok && f.Over == nil && f.Qualifier.IsEmpty() && f.Name.EqualString("sum") {
			f.Name = sqlparser.NewColIdent(sumName)
		}
		return true, nil
	}, statement)
}

// exactSum is SUM with the type of what it adds: whole numbers and truth values give a BIGINT, as in Spark, decimals a
// DECIMAL, all else a DOUBLE. Sums of whole numbers do not depend on the order of the rows.
type exactSum struct {
	child  sql.Expression
	window *sql.WindowDefinition
	id     sql.ColumnId
}

var (
	_ sql.Aggregation        = (*exactSum)(nil)
	_ sql.FunctionExpression = (*exactSum)(nil)
)

func newExactSum(_ *sql.Context, child sql.Expression) sql.Expression { return &exactSum{child: child} }

// FunctionName implements sql.FunctionExpression.
func (s *exactSum) FunctionName() string { return "sum" }

// Description implements sql.FunctionExpression.
func (s *exactSum) Description() string { return "returns the sum of expr in all rows." }

// Resolved implements sql.Expression.
func (s *exactSum) Resolved() bool { return s.child.Resolved() }

// String implements sql.Expression.
func (s *exactSum) String() string {
	if s.window != nil {
		return "SUM(" + s.child.String() + ") " + s.window.String()
	}
	return "SUM(" + s.child.String() + ")"
}

// Type implements sql.Expression.
func (s *exactSum) Type(ctx *sql.Context) sql.Type {
	t := s.child.Type(ctx)
	switch {
	case types.IsDecimal(t):
		scale := t.(sql.DecimalType).Scale()
		return types.MustCreateDecimalType(types.DecimalTypeMaxPrecision, scale)
	case types.IsInteger(t), t.Type() == sqltypes.Year, t.Type() == sqltypes.Bit:
		return types.Int64
	}
	return types.Float64
}

// IsNullable implements sql.Expression.
func (s *exactSum) IsNullable(*sql.Context) bool { return true }

// Eval implements sql.Expression. Aggregations are evaluated through their buffers.
func (s *exactSum) Eval(*sql.Context, sql.Row) (any, error) {
	return nil, mysqlError(errUnknown, "%s", internalErrorText)
}

// Children implements sql.Expression.
func (s *exactSum) Children() []sql.Expression {
	children := []sql.Expression{s.child}
	if s.window != nil {
		children = append(children, s.window.ToExpressions()...)
	}
	return children
}

// WithChildren implements sql.Expression.
func (s *exactSum) WithChildren(ctx *sql.Context, children ...sql.Expression) (sql.Expression, error) {
	if len(children) != len(s.Children()) {
		return nil, sql.ErrInvalidChildrenNumber.New(s, len(children), len(s.Children()))
	}
	c := *s
	c.child = children[0]
	if s.window != nil {
		window, err := s.window.FromExpressions(ctx, children[1:])
		if err != nil {
			return nil, err
		}
		c.window = window
	}
	return &c, nil
}

// Id implements sql.IdExpression.
func (s *exactSum) Id() sql.ColumnId { return s.id }

// WithId implements sql.IdExpression.
func (s *exactSum) WithId(id sql.ColumnId) sql.IdExpression {
	c := *s
	c.id = id
	return &c
}

// Window implements sql.WindowAdaptableExpression.
func (s *exactSum) Window() *sql.WindowDefinition { return s.window }

// WithWindow implements sql.WindowAdaptableExpression.
func (s *exactSum) WithWindow(_ *sql.Context, window *sql.WindowDefinition) sql.WindowAdaptableExpression {
	c := *s
	c.window = window
	return &c
}

// NewWindowFunction implements sql.WindowAdaptableExpression.
func (s *exactSum) NewWindowFunction(ctx *sql.Context) (sql.WindowFunction, error) {
	child, err := transform.Clone(ctx, s.child)
	if err != nil {
		return nil, err
	}
	inner, err := aggregation.NewSumAgg(child).WithWindow(ctx, s.window)
	if err != nil {
		return nil, err
	}
	return &sumWindow{WindowFunction: inner, result: s.Type(ctx)}, nil
}

// sumWindow gives the sums of a window the type that exactSum states.
type sumWindow struct {
	sql.WindowFunction
	result sql.Type
}

// Compute implements sql.WindowFunction.
func (w *sumWindow) Compute(ctx *sql.Context, interval sql.WindowInterval, rows sql.WindowBuffer) (any, error) {
	v, err := w.WindowFunction.Compute(ctx, interval, rows)
	if err != nil || v == nil {
		return nil, err
	}
	converted, _, err := w.result.Convert(ctx, v)
	return converted, err
}

// NewBuffer implements sql.Aggregation.
func (s *exactSum) NewBuffer(ctx *sql.Context) (sql.AggregationBuffer, error) {
	child, err := transform.Clone(ctx, s.child)
	if err != nil {
		return nil, err
	}
	return &sumBuffer{child: child, result: s.Type(ctx)}, nil
}

// sumBuffer is the sum of one group.
type sumBuffer struct {
	child  sql.Expression
	result sql.Type
	some   bool // a value that is not NULL came in

	whole   int64
	wide    *big.Int // takes over from whole when that overflows
	decimal decimal.Decimal
	float   float64
}

// Dispose implements sql.Disposable.
func (b *sumBuffer) Dispose(ctx *sql.Context) { expression.Dispose(ctx, b.child) }

// Update implements sql.AggregationBuffer.
func (b *sumBuffer) Update(ctx *sql.Context, row sql.Row) error {
	v, err := b.child.Eval(ctx, row)
	if err != nil || v == nil {
		return err
	}
	b.some = true
	switch {
	case b.result == types.Int64:
		return b.addWhole(ctx, v)
	case types.IsDecimal(b.result):
		d, _, err := types.InternalDecimalType.Convert(ctx, v)
		if err != nil {
			return err
		}
		b.decimal = b.decimal.Add(d.(decimal.Decimal))
		return nil
	}
	f, _, err := types.Float64.Convert(ctx, v)
	if sql.ErrTruncatedIncorrect.Is(err) {
		err = nil // text that is no number counts as what it begins with, as in MySQL
	}
	if err != nil {
		return err
	}
	b.float += f.(float64)
	return nil
}

func (b *sumBuffer) addWhole(ctx *sql.Context, v any) error {
	if u, ok := v.(uint64); ok && u > math.MaxInt64 {
		b.widen().Add(b.wide, new(big.Int).SetUint64(u))
		return nil
	}
	converted, _, err := types.Int64.Convert(ctx, v)
	if err != nil {
		return err
	}
	n := converted.(int64)
	sum := b.whole + n
	if b.wide == nil && (n == 0 || (sum > b.whole) == (n > 0)) {
		b.whole = sum
		return nil
	}
	b.widen().Add(b.wide, big.NewInt(n))
	return nil
}

func (b *sumBuffer) widen() *big.Int {
	if b.wide == nil {
		b.wide = big.NewInt(b.whole)
	}
	return b.wide
}

// Eval implements sql.AggregationBuffer.
func (b *sumBuffer) Eval(*sql.Context) (any, error) {
	switch {
	case !b.some:
		return nil, nil
	case types.IsDecimal(b.result):
		return b.decimal, nil
	case b.result != types.Int64:
		return b.float, nil
	case b.wide == nil:
		return b.whole, nil
	case b.wide.IsInt64():
		return b.wide.Int64(), nil
	}
	return nil, mysqlError(errValueOutOfRange, "BIGINT value is out of range in 'SUM(%s)'", b.child)
}
