package engine

import (
	"strings"

	"github.com/dolthub/go-mysql-server/sql"
	"github.com/dolthub/go-mysql-server/sql/expression"
	"github.com/dolthub/go-mysql-server/sql/expression/function/aggregation"
	"github.com/dolthub/go-mysql-server/sql/plan"
	"github.com/dolthub/go-mysql-server/sql/types"

	"smelt/tables"
)

// vectorScope is the columns that the expressions of a node see, by their places in its rows.
type vectorScope []vectorColumn

// vectorColumn is a field of the relation, or an expression over the columns of a node further down. It is looked at
// only when something asks for it: a projection may hold more than is used.
type vectorColumn struct {
	name  string
	field *tables.Field
	expr  sql.Expression
	below vectorScope
}

// vectorCompiler makes a vectorPlan of a GROUP BY. What it does not know it reports as not ok; nothing is half known.
type vectorCompiler struct {
	ctx  *sql.Context
	plan *vectorPlan
}

// newVectorPlan returns the plan of g, nil if g must run by rows.
func newVectorPlan(ctx *sql.Context, g *plan.GroupBy) *vectorPlan {
	c := &vectorCompiler{ctx: ctx, plan: &vectorPlan{columns: []string{}}}
	scope, ok := c.source(g.Child)
	if !ok {
		return nil
	}
	for _, e := range g.GroupByExprs {
		if a, ok := e.(*expression.Alias); ok {
			e = a.Child
		}
		if _, constant := e.(*expression.Literal); constant {
			continue
		}
		key, ok := c.expr(e, scope)
		if !ok || !orderable(key.typ().Kind) {
			return nil
		}
		c.plan.keys = append(c.plan.keys, key)
	}
	if len(c.plan.keys) == 0 && len(g.GroupByExprs) > 0 {
		return nil // grouped by constants, which makes no group where there is no row
	}
	aggregates := false
	c.plan.counts = len(c.plan.keys) == 0 && len(c.plan.filters) == 0
	for _, e := range g.SelectDeps {
		out, ok := c.output(e, scope)
		if !ok {
			return nil
		}
		if _, is := e.(sql.Aggregation); is {
			aggregates = true
		}
		if _, is := out.(*countRows); !is {
			c.plan.counts = false
		}
		c.plan.outputs = append(c.plan.outputs, out)
	}
	if !aggregates && len(c.plan.keys) == 0 {
		return nil // GMS yields one row for each row then
	}
	return c.plan
}

// source takes in the nodes between the GROUP BY and the table and returns the columns of n.
func (c *vectorCompiler) source(n sql.Node) (vectorScope, bool) {
	switch n := n.(type) {
	case *plan.ResolvedTable:
		return c.table(n)
	case *plan.TableAlias:
		return c.source(n.Child)
	case *plan.SubqueryAlias:
		return c.subquery(n)
	case *plan.Filter:
		scope, ok := c.source(n.Child)
		if !ok {
			return nil, false
		}
		for _, e := range expression.SplitConjunction(c.ctx, n.Expression) {
			test, ok := c.test(e, scope)
			if !ok {
				return nil, false
			}
			c.plan.filters = append(c.plan.filters, test)
		}
		return scope, true
	case *plan.Project:
		below, ok := c.source(n.Child)
		if !ok {
			return nil, false
		}
		schema := n.Schema(c.ctx)
		scope := make(vectorScope, len(n.Projections))
		for i, e := range n.Projections {
			scope[i] = vectorColumn{name: schema[i].Name, expr: e, below: below}
		}
		return scope, true
	}
	return nil, false
}

func (c *vectorCompiler) subquery(n *plan.SubqueryAlias) (vectorScope, bool) {
	if n.IsLateral || !n.Correlated.Empty() {
		return nil, false
	}
	scope, ok := c.source(n.Child)
	schema := n.Schema(c.ctx)
	if !ok || len(schema) != len(scope) {
		return nil, false
	}
	renamed := make(vectorScope, len(scope))
	for i, column := range scope {
		column.name = schema[i].Name
		renamed[i] = column
	}
	return renamed, true
}

func (c *vectorCompiler) table(n *plan.ResolvedTable) (vectorScope, bool) {
	t := relationOf(n.UnderlyingTable())
	if t == nil {
		return nil, false
	}
	c.plan.relation = t.pruned()
	fields := t.relation.Schema()
	scope := make(vectorScope, len(t.schema))
	for i, column := range t.schema {
		at := fields.Index(plainName(column.Name))
		if at < 0 {
			return nil, false
		}
		scope[i] = vectorColumn{name: column.Name, field: &fields[at]}
	}
	return scope, true
}

// column returns the column that f reads. Its name and type must be those expected at its place.
func (c *vectorCompiler) column(f *expression.GetField, scope vectorScope) (vectorExpr, bool) {
	if f.Index() < 0 || f.Index() >= len(scope) || !strings.EqualFold(f.Name(), scope[f.Index()].name) {
		return nil, false
	}
	column := scope[f.Index()]
	if column.field == nil {
		return c.expr(column.expr, column.below)
	}
	want, err := sqlType(column.field.Type)
	if err != nil || !types.TypesEqual(want, f.Type(c.ctx)) {
		return nil, false
	}
	read := &vectorField{at: len(c.plan.columns), kind: column.field.Type}
	for i, name := range c.plan.columns {
		if name == column.field.Name {
			read.at = i
		}
	}
	if read.at == len(c.plan.columns) {
		c.plan.columns = append(c.plan.columns, column.field.Name)
	}
	return read, true
}

// expr compiles an expression without truth values.
func (c *vectorCompiler) expr(e sql.Expression, scope vectorScope) (vectorExpr, bool) {
	switch e := e.(type) {
	case *expression.GetField:
		return c.column(e, scope)
	case *expression.Alias:
		return c.expr(e.Child, scope)
	case *expression.Arithmetic:
		return c.arithmetic(e, scope)
	case *wholeArithmetic:
		return c.arithmetic(e.Arithmetic, scope)
	}
	return nil, false
}

// output compiles one column of the result.
func (c *vectorCompiler) output(e sql.Expression, scope vectorScope) (accumulator, bool) {
	if _, is := e.(sql.Aggregation); !is {
		if f, ok := c.expr(e, scope); ok {
			return &firstValue{of: f}, true
		}
		return nil, false
	}
	if w, ok := e.(sql.WindowAdaptableExpression); ok && w.Window() != nil {
		return nil, false
	}
	if len(e.Children()) != 1 {
		return nil, false
	}
	child := e.Children()[0]
	if _, is := e.(*aggregation.Count); is {
		if l, constant := child.(*expression.Literal); constant && l.Value() != nil {
			return &countRows{}, true
		}
		if _, star := child.(*expression.Star); star {
			return &countRows{}, true
		}
	}
	of, ok := c.expr(child, scope)
	if !ok {
		return nil, false
	}
	kind := of.typ().Kind
	switch e := e.(type) {
	case *aggregation.Count:
		return &countValues{of: of}, true
	case *exactSum:
		return newVectorSum(e, of)
	case *aggregation.Avg:
		return newVectorAverage(of)
	case *aggregation.Min:
		return &extreme{of: of}, orderable(kind)
	case *aggregation.Max:
		return &extreme{of: of, largest: true}, orderable(kind)
	}
	return nil, false
}

// orderable reports whether values of kind k can be compared, and grouped, in their columnar form.
func orderable(k tables.Kind) bool { return k != tables.Binary && k != tables.JSON }
