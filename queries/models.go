package queries

import (
	"slices"
	"strings"

	"github.com/dolthub/vitess/go/vt/sqlparser"
)

// modelCalls is which models a SELECT asks, by the names under which it calls them.
type modelCalls struct {
	columns map[string][]string // name -> columns of the result that it is computed for, lower case
	rows    map[string]bool     // name -> it decides which rows there are, or nobody can tell for which columns it is
}

// names lists all names, sorted.
func (c *modelCalls) names() []string {
	var out []string
	for name := range c.columns {
		out = append(out, name)
	}
	for name := range c.rows {
		if _, ok := c.columns[name]; !ok {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// modelCalls finds the models that the flow asks: in its SELECT, in its rules, and in the views that it reads.
func (f *flow) modelCalls() *modelCalls {
	c := &modelCalls{columns: map[string][]string{}, rows: map[string]bool{}}
	if f.g.cfg.Refers == nil || f.shape.statement == nil {
		return c
	}
	f.g.columnCalls(c, f.shape.statement)
	for _, e := range f.create.Expectations {
		f.g.textCalls(c, "SELECT "+e.Expr)
	}
	f.g.viewCalls(c, f.shape.reads, nil)
	return c
}

// columnCalls tells the columns of the outermost SELECT apart; what stands anywhere else decides rows.
func (g *Graph) columnCalls(c *modelCalls, statement sqlparser.SelectStatement) {
	s, ok := statement.(*sqlparser.Select)
	if !ok {
		g.rowCalls(c, statement)
		return
	}
	for _, e := range s.SelectExprs {
		one, ok := e.(*sqlparser.AliasedExpr)
		if !ok {
			g.rowCalls(c, e)
			continue
		}
		for _, name := range g.callsIn(one.Expr) {
			c.columns[name] = append(c.columns[name], strings.ToLower(columnName(one)))
		}
	}
	rest := *s
	rest.SelectExprs = nil
	g.rowCalls(c, &rest)
}

// columnName is how the result calls an expression of the SELECT.
func columnName(e *sqlparser.AliasedExpr) string {
	if !e.As.IsEmpty() {
		return e.As.String()
	}
	if c, ok := e.Expr.(*sqlparser.ColName); ok {
		return c.Name.String()
	}
	if e.InputExpression != "" {
		return e.InputExpression
	}
	return sqlparser.String(e.Expr)
}

func (g *Graph) rowCalls(c *modelCalls, n sqlparser.SQLNode) {
	for _, name := range g.callsIn(n) {
		c.rows[name] = true
	}
}

// textCalls is rowCalls of a text; one that does not parse calls nothing, because it cannot run.
func (g *Graph) textCalls(c *modelCalls, query string) {
	if parsed, err := parseSQL(query); err == nil {
		g.rowCalls(c, parsed)
	}
}

// viewCalls looks through the views that are read.
func (g *Graph) viewCalls(c *modelCalls, reads, via []reference) {
	for _, r := range reads {
		view, err := g.cfg.Store.View(r.database, r.table)
		if err != nil || slices.Contains(via, r) {
			continue
		}
		g.textCalls(c, view.Query)
		if s, err := shapeOf(view.Query, r.database); err == nil {
			g.viewCalls(c, s.reads, append(slices.Clone(via), r))
		}
	}
}

// callsIn lists the models that the functions in a part of a statement ask, each once.
func (g *Graph) callsIn(n sqlparser.SQLNode) []string {
	var names []string
	// The visitor never fails.
	_ = sqlparser.Walk(func(n sqlparser.SQLNode) (bool, error) {
		call, ok := n.(*sqlparser.FuncExpr)
		if !ok {
			return true, nil
		}
		if name, ok := g.cfg.Refers(call.Name.Lowered(), constantOf(call)); ok && !slices.Contains(names, name) {
			names = append(names, name)
		}
		return true, nil
	}, n)
	return names
}

// constantOf returns the first argument of a call if it is a text, else "".
func constantOf(call *sqlparser.FuncExpr) string {
	if len(call.Exprs) == 0 {
		return ""
	}
	if first, ok := call.Exprs[0].(*sqlparser.AliasedExpr); ok {
		if v, ok := first.Expr.(*sqlparser.SQLVal); ok && v.Type == sqlparser.StrVal {
			return string(v.Val)
		}
	}
	return ""
}

// ModelsChanged has the flows look whether a model that they ask means another version now.
func (g *Graph) ModelsChanged() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, f := range g.flows {
		f.signal()
	}
}
