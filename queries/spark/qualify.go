package spark

import (
	"slices"

	"github.com/dolthub/vitess/go/vt/sqlparser"
)

// filter is FILTER (WHERE c) behind an aggregate: the aggregate and its condition become arguments of one call.
func (t *translator) filter(s *state) {
	t.insert(s.primary, filterFunction+"(")
	t.replace(3, ",")
	t.list()
	if !t.peek().IsSymbol(")") {
		t.fail(t.peek(), "a closing )", "")
		return
	}
	t.copyToken()
}

// filtered puts CASE WHEN c THEN x END in the place of each argument x of an aggregate: aggregates pass over NULL.
func (r *resolver) filtered(f *sqlparser.FuncExpr) sqlparser.Expr {
	condition := argument(f, 1)
	when := func(e sqlparser.Expr) sqlparser.Expr {
		return &sqlparser.CaseExpr{Whens: []*sqlparser.When{{Cond: condition, Val: e}}}
	}
	of, ok := argument(f, 0).(*sqlparser.FuncExpr)
	if !ok || len(f.Exprs) != 2 || !aggregates(of) || of.Over != nil {
		r.fail("FILTER (WHERE ...) behind what is no aggregate: %s", sqlparser.String(f.Exprs[0]))
		return f
	}
	for i, item := range of.Exprs {
		switch item := item.(type) {
		case *sqlparser.AliasedExpr:
			item.Expr = when(item.Expr)
		case *sqlparser.StarExpr:
			of.Exprs[i] = &sqlparser.AliasedExpr{Expr: when(sqlparser.NewIntVal([]byte("1")))}
		}
	}
	return of
}

// qualify is QUALIFY c, which is to window functions what HAVING is to aggregates, and becomes a part of HAVING.
func (t *translator) qualify(s *state) {
	if s.having > 0 {
		t.insert(s.having, "(")
		t.write(")")
		t.replace(1, "AND "+qualifyFunction+"(")
	} else {
		t.replace(1, "HAVING "+qualifyFunction+"(")
	}
	t.operands(&state{primary: -1}, "ORDER", "LIMIT", "UNION", "INTERSECT", "EXCEPT", "WINDOW")
	t.write(")")
	s.having, s.primary = 0, -1
}

// qualifiedColumn holds in the inner SELECT whether a row stays.
const qualifiedColumn = "__qualify"

// qualified makes of SELECT ... QUALIFY c a SELECT of the rows for which c holds, from the SELECT without it. Names of the
// list may stand in c for their expressions.
func (r *resolver) qualified(s *sqlparser.Select) {
	condition, having := takeQualify(s.Having)
	if condition == nil {
		return
	}
	condition = withExpressions(condition, s.SelectExprs)
	if !windows(condition) {
		r.fail("QUALIFY without a window function, OVER (...): WHERE and HAVING are for other conditions")
		return
	}
	inner := *s
	inner.With, inner.OrderBy, inner.Limit, inner.Having = nil, nil, nil, having
	inner.QueryOpts = sqlparser.QueryOpts{}
	inner.SelectExprs = append(slices.Clone(s.SelectExprs), &sqlparser.AliasedExpr{Expr: condition, As: sqlparser.NewColIdent(qualifiedColumn)})
	s.SelectExprs = outerList(s.SelectExprs)
	s.From = sqlparser.TableExprs{&sqlparser.AliasedTableExpr{Expr: &sqlparser.Subquery{Select: &inner}, As: sqlparser.NewTableIdent("qualified"),
		Auth: sqlparser.AuthInformation{AuthType: sqlparser.AuthType_IGNORE}}} // what is inside says what it needs
	s.Where = sqlparser.NewWhere(sqlparser.WhereStr, column("", qualifiedColumn))
	s.GroupBy, s.Having, s.Window = nil, nil, nil
	for _, o := range s.OrderBy {
		if c, ok := o.Expr.(*sqlparser.ColName); ok {
			o.Expr = column("", c.Name.String()) // the tables are out of sight there
		}
	}
}

// takeQualify parts what the translator has put into HAVING from what stood there.
func takeQualify(having *sqlparser.Where) (condition sqlparser.Expr, rest *sqlparser.Where) {
	if having == nil {
		return nil, nil
	}
	last := having.Expr
	if and, ok := last.(*sqlparser.AndExpr); ok {
		last, rest = and.Right, sqlparser.NewWhere(sqlparser.HavingStr, and.Left)
	}
	if f, ok := last.(*sqlparser.FuncExpr); ok && f.Name.Lowered() == qualifyFunction {
		return argument(f, 0), rest
	}
	return nil, having
}

// outerList is the list of a SELECT as those see it who select from it.
func outerList(list sqlparser.SelectExprs) (out sqlparser.SelectExprs) {
	for _, item := range list {
		a, ok := item.(*sqlparser.AliasedExpr)
		if !ok {
			return allBut(qualifiedColumn)
		}
		name := a.As.String()
		if c, isColumn := a.Expr.(*sqlparser.ColName); isColumn && name == "" {
			name = c.Name.String()
		}
		if name == "" {
			return allBut(qualifiedColumn)
		}
		out = append(out, &sqlparser.AliasedExpr{Expr: column("", name), As: sqlparser.NewColIdent(name)})
	}
	return out
}

// allBut is * EXCEPT (name).
func allBut(name string) sqlparser.SelectExprs {
	return sqlparser.SelectExprs{&sqlparser.StarExpr{}, &sqlparser.AliasedExpr{Expr: call(exceptFunction, literal(name))}}
}

// withExpressions puts the expressions of a list in the place of their names.
func withExpressions(e sqlparser.Expr, list sqlparser.SelectExprs) sqlparser.Expr {
	named := map[string]sqlparser.Expr{}
	for _, item := range list {
		if a, ok := item.(*sqlparser.AliasedExpr); ok && !a.As.IsEmpty() {
			named[a.As.Lowered()] = a.Expr
		}
	}
	return replaceNames(e, named)
}

// replaceNames is withExpressions for the forms that conditions are made of; inside other forms names are of columns.
func replaceNames(e sqlparser.Expr, named map[string]sqlparser.Expr) sqlparser.Expr {
	switch e := e.(type) {
	case *sqlparser.ColName:
		if of, ok := named[e.Name.Lowered()]; ok && e.Qualifier.IsEmpty() {
			return &sqlparser.ParenExpr{Expr: of}
		}
	case *sqlparser.ParenExpr:
		e.Expr = replaceNames(e.Expr, named)
	case *sqlparser.AndExpr:
		e.Left, e.Right = replaceNames(e.Left, named), replaceNames(e.Right, named)
	case *sqlparser.OrExpr:
		e.Left, e.Right = replaceNames(e.Left, named), replaceNames(e.Right, named)
	case *sqlparser.NotExpr:
		e.Expr = replaceNames(e.Expr, named)
	case *sqlparser.IsExpr:
		e.Expr = replaceNames(e.Expr, named)
	case *sqlparser.ComparisonExpr:
		e.Left, e.Right = replaceNames(e.Left, named), replaceNames(e.Right, named)
	case *sqlparser.RangeCond:
		e.Left, e.From, e.To = replaceNames(e.Left, named), replaceNames(e.From, named), replaceNames(e.To, named)
	case *sqlparser.BinaryExpr:
		e.Left, e.Right = replaceNames(e.Left, named), replaceNames(e.Right, named)
	}
	return e
}

// windows reports whether a window function stands in an expression.
func windows(e sqlparser.Expr) (found bool) {
	// The visitor never fails.
	_ = sqlparser.Walk(func(n sqlparser.SQLNode) (bool, error) {
		if f, ok := n.(*sqlparser.FuncExpr); ok && f.Over != nil {
			found = true
		}
		_, below := n.(*sqlparser.Subquery)
		return !found && !below, nil
	}, e)
	return found
}
