// Package spark holds functions that Spark and Databricks have and MySQL has not: JSON values and arrays, regular
// expressions, times by Java's patterns, and casts that give NULL for what is not of the type. Arrays, maps and structs
// are JSON. NULL gives NULL; a value that cannot be read as what a function needs gives NULL, too, as in Spark without
// ANSI mode; only patterns and arguments that can never fit are errors.
package spark

import (
	"context"
	"fmt"
	"maps"
	"strings"

	"github.com/dolthub/go-mysql-server/sql"
	"github.com/dolthub/go-mysql-server/sql/expression"
	"github.com/dolthub/go-mysql-server/sql/types"
	"github.com/dolthub/vitess/go/sqltypes"
)

// timestamp is the type of all times.
var timestamp = types.MustCreateDatetimeType(sqltypes.Datetime, 6)

// spec describes a function.
type spec struct {
	least, most int // arguments
	typ         sql.Type
	eval        func(args []any) (any, error)
	nulls       bool // eval takes NULLs; without it a NULL among the arguments is the result
	description string
}

// all returns every function by its name in lower case.
func all() map[string]spec {
	out := map[string]spec{}
	for _, group := range []map[string]spec{jsonFunctions, arrayFunctions, textFunctions, timeFunctions, castFunctions} {
		maps.Copy(out, group)
	}
	return out
}

var byName = all()

// Function returns the function called name, in any case.
func Function(name string) (sql.Function, bool) {
	name = strings.ToLower(name)
	s, ok := byName[name]
	if !ok {
		return nil, false
	}
	return sql.FunctionN{Name: name, Fn: func(_ *sql.Context, args ...sql.Expression) (sql.Expression, error) {
		if len(args) < s.least || len(args) > s.most {
			return nil, sql.ErrInvalidArgumentNumber.New(name, s.arguments(), len(args))
		}
		return &call{name: name, spec: s, NaryExpression: expression.NaryExpression{ChildExpressions: args}}, nil
	}}, true
}

func (s spec) arguments() string {
	if s.least == s.most {
		return fmt.Sprint(s.least)
	}
	return fmt.Sprintf("%d to %d", s.least, s.most)
}

// call is a call of a function.
type call struct {
	expression.NaryExpression
	name string
	spec spec
}

var (
	_ sql.FunctionExpression = (*call)(nil)
	_ sql.CollationCoercible = (*call)(nil)
)

// FunctionName implements sql.FunctionExpression.
func (c *call) FunctionName() string { return c.name }

// Description implements sql.FunctionExpression.
func (c *call) Description() string { return c.spec.description }

// String implements sql.Expression.
func (c *call) String() string {
	args := make([]string, len(c.ChildExpressions))
	for i, a := range c.ChildExpressions {
		args[i] = a.String()
	}
	return c.name + "(" + strings.Join(args, ",") + ")"
}

// Type implements sql.Expression.
func (c *call) Type(*sql.Context) sql.Type { return c.spec.typ }

// IsNullable implements sql.Expression.
func (c *call) IsNullable(*sql.Context) bool { return true }

// CollationCoercibility implements sql.CollationCoercible.
func (c *call) CollationCoercibility(*sql.Context) (sql.CollationID, byte) {
	return sql.Collation_Default, 4
}

// WithChildren implements sql.Expression.
func (c *call) WithChildren(_ *sql.Context, children ...sql.Expression) (sql.Expression, error) {
	if len(children) != len(c.ChildExpressions) {
		return nil, sql.ErrInvalidChildrenNumber.New(c, len(children), len(c.ChildExpressions))
	}
	out := *c
	out.ChildExpressions = children
	return &out, nil
}

// Eval implements sql.Expression.
func (c *call) Eval(ctx *sql.Context, row sql.Row) (any, error) {
	args := make([]any, len(c.ChildExpressions))
	for i, a := range c.ChildExpressions {
		v, err := a.Eval(ctx, row)
		if err != nil {
			return nil, err
		}
		if args[i], err = sql.UnwrapAny(ctx, v); err != nil {
			return nil, err
		}
		if args[i] == nil && !c.spec.nulls {
			return nil, nil
		}
	}
	return c.spec.eval(args)
}

// textOf makes text of a value that is not NULL.
func textOf(v any) (string, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case []byte:
		return string(v), nil
	case sql.JSONWrapper:
		raw, err := jsonOf(v)
		return raw, err
	case bool:
		if v {
			return "true", nil
		}
		return "false", nil
	}
	converted, _, err := types.LongText.Convert(context.Background(), v)
	if err != nil {
		return "", fmt.Errorf("read argument as text: %w", err)
	}
	text, ok := converted.(string)
	if !ok {
		return "", fmt.Errorf("read argument as text: got %T", converted)
	}
	return text, nil
}

// texts makes text of every argument.
func texts(args []any) ([]string, error) {
	out := make([]string, len(args))
	for i, a := range args {
		if a == nil {
			continue
		}
		var err error
		if out[i], err = textOf(a); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// whole reads an argument that must be a whole number; what says which one it is.
func whole(v any, what string) (int, error) {
	n, _, err := types.Int64.Convert(context.Background(), v)
	if err != nil {
		return 0, fmt.Errorf("read %s: want a whole number, got %v", what, v)
	}
	i, ok := n.(int64)
	if !ok {
		return 0, fmt.Errorf("read %s: want a whole number, got %v", what, v)
	}
	return int(i), nil
}

func badArgument(function, format string, args ...any) error {
	return sql.ErrInvalidArgumentDetails.New(function, fmt.Sprintf(format, args...))
}
