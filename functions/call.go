package functions

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/dolthub/go-mysql-server/sql"
	"github.com/dolthub/go-mysql-server/sql/types"

	"smelt/models"
)

// call is one function call in a statement. It reads predictions from the statement's cache, and makes one for itself
// where Apply has not been before it.
type call struct {
	set  *Set
	spec *spec
	args []sql.Expression
}

var (
	_ sql.FunctionExpression = (*call)(nil)
	_ sql.CollationCoercible = (*call)(nil)
)

// FunctionName implements sql.FunctionExpression.
func (c *call) FunctionName() string { return c.spec.name }

// Description implements sql.FunctionExpression.
func (c *call) Description() string { return c.spec.description }

// Resolved implements sql.Expression.
func (c *call) Resolved() bool {
	for _, a := range c.args {
		if !a.Resolved() {
			return false
		}
	}
	return true
}

// String implements sql.Expression.
func (c *call) String() string {
	args := make([]string, len(c.args))
	for i, a := range c.args {
		args[i] = a.String()
	}
	return c.spec.name + "(" + strings.Join(args, ",") + ")"
}

// Type implements sql.Expression.
func (c *call) Type(*sql.Context) sql.Type { return c.spec.typ }

// CollationCoercibility implements sql.CollationCoercible.
func (c *call) CollationCoercibility(*sql.Context) (sql.CollationID, byte) {
	return sql.Collation_Default, 4 // like a value of a function in MySQL
}

// IsNullable implements sql.Expression.
func (c *call) IsNullable(*sql.Context) bool { return true }

// Children implements sql.Expression.
func (c *call) Children() []sql.Expression { return c.args }

// WithChildren implements sql.Expression.
func (c *call) WithChildren(_ *sql.Context, children ...sql.Expression) (sql.Expression, error) {
	if len(children) != len(c.args) {
		return nil, sql.ErrInvalidChildrenNumber.New(c, len(children), len(c.args))
	}
	return &call{set: c.set, spec: c.spec, args: children}, nil
}

// job evaluates the arguments for a row and plans the call.
func (c *call) job(ctx *sql.Context, row sql.Row) (job, error) {
	args := make([]any, len(c.args))
	for i, a := range c.args {
		v, err := a.Eval(ctx, row)
		if err != nil {
			return null, err
		}
		if args[i], err = sql.UnwrapAny(ctx, v); err != nil {
			return null, fmt.Errorf("read argument %d of %s: %w", i+1, c.spec.name, err)
		}
	}
	return c.spec.plan(func(ref string) (models.Info, error) { return cacheOf(ctx).resolve(ref, c.set.predictor) }, args)
}

// Eval implements sql.Expression.
func (c *call) Eval(ctx *sql.Context, row sql.Row) (any, error) {
	j, err := c.job(ctx, row)
	if err != nil {
		return nil, err
	}
	cache := cacheOf(ctx)
	found := make([]any, len(j.needs))
	for i, n := range j.needs {
		if v, ok := cache.get(n); ok {
			found[i] = v
			continue
		}
		results, err := n.task.run(ctx, c.set.predictor, []string{n.text})
		if err != nil {
			return nil, err
		}
		found[i] = results[0]
		cache.put(n, results[0])
		cache.warn(ctx)
	}
	if slices.Contains(found, nil) {
		return nil, nil // the model has no answer
	}
	return j.result(found)
}

// textOf makes text of an argument; ok is false for NULL.
func textOf(v any) (text string, ok bool, err error) {
	switch v := v.(type) {
	case nil:
		return "", false, nil
	case string:
		return v, true, nil
	case []byte:
		return string(v), true, nil
	}
	converted, _, err := types.LongText.Convert(context.Background(), v)
	if err != nil {
		return "", false, fmt.Errorf("read argument as text: %w", err)
	}
	text, ok = converted.(string)
	if !ok {
		return "", false, fmt.Errorf("read argument as text: got %T", converted)
	}
	return text, true, nil
}
