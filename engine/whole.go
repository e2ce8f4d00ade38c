package engine

import (
	"errors"
	"math/big"

	"github.com/dolthub/go-mysql-server/sql"
	"github.com/dolthub/go-mysql-server/sql/expression"
	"github.com/dolthub/go-mysql-server/sql/plan"
	"github.com/dolthub/go-mysql-server/sql/transform"
	"github.com/dolthub/go-mysql-server/sql/types"
)

// checkWhole has + - * of whole numbers fail where the result does not fit: go-mysql-server wraps around, and a sum of
// two large numbers becomes a negative one without a word.
func checkWhole(ctx *sql.Context, n sql.Node) (sql.Node, transform.TreeIdentity, error) {
	if _, isDDL := n.(*plan.CreateTable); isDDL || !n.Resolved() {
		return n, transform.SameTree, nil
	}
	return transform.NodeExprsWithOpaque(ctx, n, func(ctx *sql.Context, e sql.Expression) (sql.Expression, transform.TreeIdentity, error) {
		a, ok := e.(*expression.Arithmetic)
		if !ok || a.Op != "+" && a.Op != "-" && a.Op != "*" || !types.IsInteger(a.LeftChild.Type(ctx)) || !types.IsInteger(a.RightChild.Type(ctx)) {
			return e, transform.SameTree, nil
		}
		if t := a.Type(ctx); t != types.Int64 && t != types.Uint64 {
			return e, transform.SameTree, nil
		}
		return &wholeArithmetic{a}, transform.NewTree, nil
	})
}

// wholeArithmetic is + - * of two whole numbers, exact or an error.
type wholeArithmetic struct{ *expression.Arithmetic }

// WithChildren implements sql.Expression.
func (w *wholeArithmetic) WithChildren(ctx *sql.Context, children ...sql.Expression) (sql.Expression, error) {
	e, err := w.Arithmetic.WithChildren(ctx, children...)
	if err != nil {
		return nil, err
	}
	if a, ok := e.(*expression.Arithmetic); ok {
		return &wholeArithmetic{a}, nil
	}
	return e, nil
}

// Eval implements sql.Expression.
func (w *wholeArithmetic) Eval(ctx *sql.Context, row sql.Row) (any, error) {
	left, err := w.LeftChild.Eval(ctx, row)
	if err != nil || left == nil {
		return nil, err
	}
	right, err := w.RightChild.Eval(ctx, row)
	if err != nil || right == nil {
		return nil, err
	}
	l, isLeft := asInt64(left)
	r, isRight := asInt64(right)
	if isLeft && isRight && w.Type(ctx) == types.Int64 {
		if v, ok := exact(l, r, w.Op[0]); ok {
			return v, nil
		}
	}
	return w.wide(ctx, left, right)
}

// exact computes in 64 bits; ok is false when the result needs more.
func exact(l, r int64, op byte) (v int64, ok bool) {
	switch op {
	case '+':
		v = l + r
		return v, (v > l) == (r > 0)
	case '-':
		v = l - r
		return v, (v < l) == (r > 0)
	default:
		const small = 1 << 31
		if l < small && l > -small && r < small && r > -small {
			return l * r, true
		}
		product := new(big.Int).Mul(big.NewInt(l), big.NewInt(r))
		return product.Int64(), product.IsInt64()
	}
}

// wide computes in as many bits as it takes and fits the result into the type of the expression.
func (w *wholeArithmetic) wide(ctx *sql.Context, left, right any) (any, error) {
	l, leftErr := asBig(left)
	r, rightErr := asBig(right)
	if leftErr != nil || rightErr != nil { // no whole number after all, such as TRUE
		return expression.NewArithmetic(expression.NewLiteral(left, w.LeftChild.Type(ctx)), expression.NewLiteral(right, w.RightChild.Type(ctx)), w.Op).Eval(ctx, nil)
	}
	switch w.Op {
	case "+":
		l.Add(l, r)
	case "-":
		l.Sub(l, r)
	default:
		l.Mul(l, r)
	}
	switch {
	case w.Type(ctx) == types.Uint64 && l.IsUint64():
		return l.Uint64(), nil
	case w.Type(ctx) == types.Int64 && l.IsInt64():
		return l.Int64(), nil
	case w.Type(ctx) == types.Uint64:
		return nil, mysqlError(errValueOutOfRange, "BIGINT UNSIGNED value is out of range in '%s'", w)
	default:
		return nil, mysqlError(errValueOutOfRange, "BIGINT value is out of range in '%s'", w)
	}
}

// asInt64 returns a whole number that fits 64 signed bits.
func asInt64(v any) (int64, bool) {
	switch v := v.(type) {
	case int64:
		return v, true
	case int32:
		return int64(v), true
	case int16:
		return int64(v), true
	case int8:
		return int64(v), true
	case uint8:
		return int64(v), true
	case uint16:
		return int64(v), true
	case uint32:
		return int64(v), true
	case uint64:
		return int64(v), v <= 1<<63-1
	default:
		return 0, false
	}
}

var errNoWhole = errors.New("no whole number")

func asBig(v any) (*big.Int, error) {
	if n, ok := asInt64(v); ok {
		return big.NewInt(n), nil
	}
	if n, ok := v.(uint64); ok {
		return new(big.Int).SetUint64(n), nil
	}
	return nil, errNoWhole
}
