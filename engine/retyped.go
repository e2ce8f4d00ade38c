package engine

import (
	"github.com/dolthub/go-mysql-server/sql"
	"github.com/dolthub/go-mysql-server/sql/expression/function"
	"github.com/dolthub/go-mysql-server/sql/types"
)

// retypedFunction returns built-in functions that go-mysql-server says return text, with the type that MySQL gives them
// and that a table column made from them should have.
func retypedFunction(name string) (sql.Function, bool) {
	switch name {
	case "curdate", "current_date":
		return sql.NewFunction0(name, func(ctx *sql.Context) sql.Expression {
			return &retyped{Expression: function.NewCurrDate(ctx), name: name, result: types.Date}
		}), true
	case "timestamp":
		return sql.FunctionN{Name: name, Fn: func(ctx *sql.Context, args ...sql.Expression) (sql.Expression, error) {
			inner, err := function.NewDatetime(ctx, args...)
			if err != nil {
				return nil, err
			}
			return &retyped{Expression: inner, name: name, result: timestampType}, nil
		}}, true
	}
	return nil, false
}

// retyped is an expression with another type; its values are converted.
type retyped struct {
	sql.Expression
	name   string
	result sql.Type
}

var _ sql.FunctionExpression = (*retyped)(nil)

// FunctionName implements sql.FunctionExpression.
func (r *retyped) FunctionName() string { return r.name }

// Description implements sql.FunctionExpression.
func (r *retyped) Description() string {
	return "is " + r.name + "() with the type that MySQL gives it."
}

// Type implements sql.Expression.
func (r *retyped) Type(*sql.Context) sql.Type { return r.result }

// Eval implements sql.Expression.
func (r *retyped) Eval(ctx *sql.Context, row sql.Row) (any, error) {
	v, err := r.Expression.Eval(ctx, row)
	if err != nil || v == nil {
		return nil, err
	}
	converted, _, err := r.result.Convert(ctx, v)
	return converted, err
}

// WithChildren implements sql.Expression.
func (r *retyped) WithChildren(ctx *sql.Context, children ...sql.Expression) (sql.Expression, error) {
	inner, err := r.Expression.WithChildren(ctx, children...)
	if err != nil {
		return nil, err
	}
	return &retyped{Expression: inner, name: r.name, result: r.result}, nil
}
