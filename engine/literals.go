package engine

import (
	"strings"
	"time"
	"unicode/utf8"

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
// stays the same. Two comparisons are mended on the way: LIKE with a prefix, and those with NaN.
func retypeLiterals(ctx *sql.Context, _ *analyzer.Analyzer, n sql.Node, _ *plan.Scope, _ analyzer.RuleSelector, _ *sql.QueryFlags) (sql.Node, transform.TreeIdentity, error) {
	if !n.Resolved() {
		return n, transform.SameTree, nil
	}
	return transform.NodeExprsWithNodeWithOpaque(ctx, n, func(ctx *sql.Context, n sql.Node, e sql.Expression) (sql.Expression, transform.TreeIdentity, error) {
		changed, same, err := retypeCompared(ctx, e)
		if _, groups := n.(*plan.GroupBy); groups && same == transform.NewTree && err == nil && changed.String() != e.String() {
			changed = &said{Expression: changed, text: e.String()}
		}
		return changed, same, err
	})
}

// said is an expression of a GROUP BY that goes on being called what it was: those above it find it by that.
type said struct {
	sql.Expression
	text string
}

// String implements sql.Expression.
func (s *said) String() string { return s.text }

// WithChildren implements sql.Expression.
func (s *said) WithChildren(ctx *sql.Context, children ...sql.Expression) (sql.Expression, error) {
	inner, err := s.Expression.WithChildren(ctx, children...)
	return &said{Expression: inner, text: s.text}, err
}

// retypeCompared is retypeLiterals for one expression.
func retypeCompared(ctx *sql.Context, e sql.Expression) (sql.Expression, transform.TreeIdentity, error) {
	switch like := e.(type) {
	case *expression.Like:
		return mendLike(ctx, like)
	case *expression.Equals, *expression.GreaterThan, *expression.GreaterThanOrEqual, *expression.LessThan, *expression.LessThanOrEqual, *expression.Between:
	default:
		return e, transform.SameTree, nil
	}
	children := e.Children()
	column := comparedColumn(children)
	if column == nil {
		return e, transform.SameTree, nil
	}
	changed := transform.SameTree
	for i, c := range children {
		if l, ok := c.(*expression.Literal); ok {
			if retyped := retype(ctx, l, column.Type(ctx)); retyped != nil {
				children[i], changed = retyped, transform.NewTree
			}
		}
	}
	if types.IsFloat(column.Type(ctx)) {
		if ordered := withoutNaN(e, children); ordered != nil {
			return ordered, transform.NewTree, nil
		}
	}
	if changed == transform.SameTree {
		return e, changed, nil
	}
	e, err := e.WithChildren(ctx, children...)
	return e, changed, err
}

// withoutNaN turns a comparison for greater round to one for less, nil for others: go-mysql-server takes NaN for greater
// than all and all for greater than NaN, but nothing for less, and no comparison with NaN should be true. It is also
// what the statistics of data files say, which know of no NaN.
func withoutNaN(e sql.Expression, operands []sql.Expression) sql.Expression {
	switch e.(type) {
	case *expression.GreaterThan:
		return expression.NewLessThan(operands[1], operands[0])
	case *expression.GreaterThanOrEqual:
		return expression.NewLessThanOrEqual(operands[1], operands[0])
	case *expression.Between:
		return expression.NewAnd(expression.NewLessThanOrEqual(operands[1], operands[0]), expression.NewLessThanOrEqual(operands[0], operands[2]))
	}
	return nil
}

// mendLike keeps go-mysql-server from taking x LIKE 'a%' for x BETWEEN 'a' AND 'aÿ', which leaves out all that goes on
// with a character beyond U+00FF, and from taking a backslash for itself. A prefix becomes the range that it stands for.
func mendLike(ctx *sql.Context, like *expression.Like) (sql.Expression, transform.TreeIdentity, error) {
	column, isColumn := like.LeftChild.(*expression.GetField)
	l, ok := like.RightChild.(*expression.Literal)
	if !ok || like.Escape != nil {
		return like, transform.SameTree, nil
	}
	pattern, _ := l.Value().(string)
	prefix, open := strings.CutSuffix(pattern, "%")
	if isColumn && open && prefix != "" && !strings.ContainsAny(prefix, "%_\\") && column.Type(ctx).Equals(stringType) && retype(ctx, l, stringType) != nil {
		if end := afterPrefix(prefix); end != "" {
			from, to := expression.NewLiteral(prefix, stringType), expression.NewLiteral(end, stringType)
			return expression.NewAnd(expression.NewGreaterThanOrEqual(column, from), expression.NewLessThan(column, to)), transform.NewTree, nil
		}
	}
	if strings.Contains(pattern, "\\") || open {
		return expression.NewLike(like.LeftChild, like.RightChild, expression.NewLiteral("\\", types.LongText)), transform.NewTree, nil
	}
	return like, transform.SameTree, nil
}

// afterPrefix returns the first text behind all that begin with prefix; "" if there is none or prefix is no UTF-8.
func afterPrefix(prefix string) string {
	if !utf8.ValidString(prefix) || strings.ContainsRune(prefix, utf8.RuneError) {
		return ""
	}
	last, size := utf8.DecodeLastRuneInString(prefix)
	last++
	if !utf8.ValidRune(last) {
		last = 0xE000 // behind the surrogates, which are no characters
	}
	if last > utf8.MaxRune || last == utf8.RuneError {
		return ""
	}
	return prefix[:len(prefix)-size] + string(last)
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
