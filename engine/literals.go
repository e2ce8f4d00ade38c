package engine

import (
	"time"

	"github.com/dolthub/go-mysql-server/sql"
	"github.com/dolthub/go-mysql-server/sql/analyzer"
	"github.com/dolthub/go-mysql-server/sql/expression"
	"github.com/dolthub/go-mysql-server/sql/plan"
	"github.com/dolthub/go-mysql-server/sql/transform"
	"github.com/dolthub/go-mysql-server/sql/types"
	"github.com/shopspring/decimal"
)

// retypeLiterals gives literals that are compared with a column the type of the column. go-mysql-server converts one of
// the two for each row otherwise, which costs more than reading the row. A literal changes only where the comparison
// stays the same.
func retypeLiterals(ctx *sql.Context, _ *analyzer.Analyzer, n sql.Node, _ *plan.Scope, _ analyzer.RuleSelector, _ *sql.QueryFlags) (sql.Node, transform.TreeIdentity, error) {
	if !n.Resolved() {
		return n, transform.SameTree, nil
	}
	return transform.NodeExprsWithOpaque(ctx, n, func(ctx *sql.Context, e sql.Expression) (sql.Expression, transform.TreeIdentity, error) {
		switch e.(type) {
		case *expression.Equals, *expression.GreaterThan, *expression.GreaterThanOrEqual, *expression.LessThan, *expression.LessThanOrEqual, *expression.Between:
		default:
			return e, transform.SameTree, nil
		}
		children := e.Children()
		column := comparedColumn(children)
		if column == nil {
			return e, transform.SameTree, nil
		}
		changed := false
		for i, c := range children {
			if l, ok := c.(*expression.Literal); ok {
				if retyped := retype(ctx, l, column.Type(ctx)); retyped != nil {
					children[i], changed = retyped, true
				}
			}
		}
		if !changed {
			return e, transform.SameTree, nil
		}
		e, err := e.WithChildren(ctx, children...)
		return e, transform.NewTree, err
	})
}

// comparedColumn returns the column among the operands of a comparison whose other operands are literals, or nil.
func comparedColumn(operands []sql.Expression) *expression.GetField {
	var column *expression.GetField
	for _, e := range operands {
		switch e := e.(type) {
		case *expression.Literal:
		case *expression.GetField:
			if column != nil {
				return nil
			}
			column = e
		default:
			return nil
		}
	}
	return column
}

// retype returns l with type t, or nil if it has that type or another one in which the comparison means something else.
func retype(ctx *sql.Context, l *expression.Literal, t sql.Type) sql.Expression {
	from := l.Type(ctx)
	if l.Value() == nil || types.TypesEqual(from, t) {
		return nil
	}
	switch {
	case t.Equals(timestampType) && (types.IsText(from) || types.IsTime(from)):
		return convertLiteral(ctx, l, t)
	case types.IsDateType(t) && (types.IsText(from) || types.IsTime(from)):
		// A date is compared with a time of day as the start of that day, so only a literal without one can be a date.
		full, _, err := timestampType.Convert(ctx, l.Value())
		if at, ok := full.(time.Time); err == nil && ok && at.Equal(at.Truncate(24*time.Hour)) {
			return convertLiteral(ctx, l, t)
		}
	case t == types.Float64 && (types.IsDecimal(from) || types.IsInteger(from)):
		if d, ok := l.Value().(decimal.Decimal); ok && d.NumDigits() > float64Digits {
			return nil
		}
		return convertLiteral(ctx, l, t)
	case t.Equals(stringType) && types.IsTextOnly(from) && from.(sql.StringType).Collation() == sql.Collation_Default:
		if s, ok := l.Value().(string); ok {
			return expression.NewLiteral(s, t)
		}
	}
	return nil
}

// float64Digits is how many decimal digits a DOUBLE always keeps.
const float64Digits = 15

func convertLiteral(ctx *sql.Context, l *expression.Literal, t sql.Type) sql.Expression {
	v, inRange, err := t.Convert(ctx, l.Value())
	if err != nil || inRange != sql.InRange || v == nil {
		return nil
	}
	return expression.NewLiteral(v, t)
}
