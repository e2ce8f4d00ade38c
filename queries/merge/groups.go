package merge

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/dolthub/vitess/go/vt/sqlparser"

	"smelt/tables"
)

// columnKind is what a column of a group holds.
type columnKind int

const (
	keyColumn     columnKind = iota + 1 // equal in all rows of the group
	countColumn                         // a number of rows
	sumColumn                           // a sum; NULL where count is 0
	averageColumn                       // sum by count; NULL where count is 0
	leastColumn
	greatestColumn
)

// column is one column of Totals and the hidden ones from which it follows.
type column struct {
	kind       columnKind
	sum, count string
}

// windowsOf returns the windows of the functions in the SELECT list.
func windowsOf(s *sqlparser.Select) []*sqlparser.WindowDef {
	var out []*sqlparser.WindowDef
	eachCall(s.SelectExprs, func(_ string, f *sqlparser.FuncExpr) {
		if f != nil && f.Over != nil {
			out = append(out, (*sqlparser.WindowDef)(f.Over))
		}
	})
	return out
}

// aggregatesOf reports whether the SELECT list or HAVING has an aggregate.
func aggregatesOf(s *sqlparser.Select) bool {
	found := false
	visit := func(_ string, f *sqlparser.FuncExpr) { found = found || f == nil || f.Over == nil && aggregate(f) }
	eachCall(s.SelectExprs, visit)
	if s.Having != nil {
		eachCall(s.Having, visit)
	}
	return found
}

// windows plans window functions: the rows of a partition are computed anew together.
func (d *designer) windows(s *sqlparser.Select, windows []*sqlparser.WindowDef) (*Plan, error) {
	var by sqlparser.Exprs
	for _, w := range windows {
		if name := w.NameRef.Lowered(); name != "" {
			i := slices.IndexFunc(s.Window, func(n *sqlparser.WindowDef) bool { return n.Name.Lowered() == name })
			if i < 0 || s.Window[i].NameRef.Lowered() != "" {
				return nil, refuse("a window is defined by another")
			}
			w = s.Window[i]
		}
		if len(w.PartitionBy) == 0 {
			return nil, refuse("a window without PARTITION BY depends on all rows")
		}
		if by != nil && sqlparser.String(by) != sqlparser.String(w.PartitionBy) {
			return nil, refuse("its windows have different partitions")
		}
		by = w.PartitionBy
	}
	if reason := d.unordered(s); reason != "" {
		return nil, refusal(reason)
	}
	if err := d.reader.statement(s, place{database: d.database}); err != nil {
		return nil, err
	}
	p := &Plan{Class: Groups, Reason: "the partitions of its windows in which a row has changed are computed anew"}
	if err := d.keys(p, s, by, nil); err != nil {
		return nil, err
	}
	return d.finish(p, s)
}

// unordered names a function whose result depends on an order that nothing promises.
func (d *designer) unordered(s *sqlparser.Select) (reason string) {
	eachCall(s.SelectExprs, func(name string, f *sqlparser.FuncExpr) {
		if (f == nil || f.Over == nil) && ordered[name] {
			reason = strings.ToUpper(name) + "() depends on the order of the rows"
		}
	})
	return reason
}

// groups plans GROUP BY, or one total over all rows.
func (d *designer) groups(s *sqlparser.Select) (*Plan, error) {
	if reason := d.unordered(s); reason != "" {
		return nil, refusal(reason)
	}
	by, err := groupedBy(s)
	if err != nil {
		return nil, err
	}
	if err := dependent(s, by); err != nil {
		return nil, err
	}
	if err := d.reader.statement(s, place{database: d.database}); err != nil {
		return nil, err
	}
	if err := d.ambiguous(s); err != nil {
		return nil, err
	}
	p := &Plan{Class: Groups}
	exprs := make(sqlparser.Exprs, len(by))
	for i, g := range by {
		exprs[i] = g.expr
	}
	if err := d.keys(p, s, exprs, by); err != nil {
		return nil, err
	}
	why := d.simple
	if why == "" && s.Having != nil {
		why = "HAVING leaves out groups, and with them what they counted"
	}
	if why == "" {
		plain := sqlparser.String(s)
		added, reason := p.counters(s)
		if why = reason; why == "" {
			total, err := d.finish(&Plan{Class: Totals, Keys: p.Keys, keyExpr: p.keyExpr, columns: added, Reason: "counters, sums and extremes of each group are added up"}, s)
			if err != nil {
				return nil, err
			}
			if why = total.coarse(); why == "" {
				why = total.unfit()
			}
			if why == "" {
				return total, nil
			}
		}
		again, err := parse(plain)
		if err != nil {
			return nil, err
		}
		nameColumns(again)
		s = again.(*sqlparser.Select)
	}
	if len(p.Keys) == 0 {
		return nil, refuse("one group of all rows: %s", why)
	}
	p.Reason = "the groups in which a row has changed are computed anew: " + why
	return d.finish(p, s)
}

// group is one thing that rows are grouped by.
type group struct {
	expr   sqlparser.Expr
	output int // place in the SELECT list, -1 for none
	alias  bool
}

// groupedBy finds what GROUP BY means: columns, expressions, places and names of the SELECT list.
func groupedBy(s *sqlparser.Select) ([]group, error) {
	var out []group
	for _, e := range s.GroupBy {
		g := group{expr: e, output: -1}
		if v, ok := e.(*sqlparser.SQLVal); ok && v.Type == sqlparser.IntVal {
			n, err := strconv.Atoi(string(v.Val))
			if err != nil || n < 1 || n > len(s.SelectExprs) {
				return nil, refuse("GROUP BY %s is no place of the list", v.Val)
			}
			g.output = n - 1
		}
		for i, x := range s.SelectExprs {
			x, ok := x.(*sqlparser.AliasedExpr)
			if !ok {
				return nil, refuse("it groups and selects *")
			}
			c, column := e.(*sqlparser.ColName)
			switch {
			case g.output >= 0:
			case sameExpr(x.Expr, e):
				g.output = i
			case column && c.Qualifier.IsEmpty() && x.As.EqualString(c.Name.String()):
				g.output, g.alias = i, true
			}
			if g.output == i {
				g.expr = x.Expr
			}
		}
		out = append(out, g)
	}
	return out, nil
}

// ambiguous refuses names in GROUP BY that are both a name of the SELECT list and a column of a table.
func (d *designer) ambiguous(s *sqlparser.Select) error {
	for _, e := range s.GroupBy {
		c, ok := e.(*sqlparser.ColName)
		if !ok || !c.Qualifier.IsEmpty() {
			continue
		}
		named := slices.ContainsFunc(s.SelectExprs, func(x sqlparser.SelectExpr) bool {
			a, ok := x.(*sqlparser.AliasedExpr)
			return ok && a.As.EqualString(c.Name.String()) && !sameExpr(a.Expr, e)
		})
		if !named {
			continue
		}
		for _, o := range d.reader.found {
			if d.empty(o).Schema().Index(c.Name.String()) >= 0 {
				return refuse("GROUP BY %s is both a column and a name of the list", c.Name.String())
			}
		}
	}
	return nil
}

// sameExpr reports whether two expressions are the same but for the case of names and a table name that one leaves out.
func sameExpr(a, b sqlparser.Expr) bool {
	x, ok := a.(*sqlparser.ColName)
	y, ok2 := b.(*sqlparser.ColName)
	if ok && ok2 {
		return x.Name.Equal(y.Name) && (x.Qualifier.IsEmpty() || y.Qualifier.IsEmpty() || strings.EqualFold(x.Qualifier.Name.String(), y.Qualifier.Name.String()))
	}
	return sqlparser.String(a) == sqlparser.String(b)
}

// dependent refuses expressions of the list that differ within a group.
func dependent(s *sqlparser.Select, by []group) error {
	for i, x := range s.SelectExprs {
		a, ok := x.(*sqlparser.AliasedExpr)
		if !ok {
			return refuse("it groups and selects *")
		}
		if slices.ContainsFunc(by, func(g group) bool { return g.output == i }) {
			continue
		}
		if c := loose(a.Expr, by); c != "" {
			return refuse("%s is neither in GROUP BY nor in an aggregate", c)
		}
	}
	return nil
}

// loose names a column in an expression that the keys of a group do not decide; "" for none.
func loose(e sqlparser.SQLNode, by []group) string {
	found := ""
	// The visitor never fails.
	_ = sqlparser.Walk(func(n sqlparser.SQLNode) (bool, error) {
		if expr, ok := n.(sqlparser.Expr); ok && slices.ContainsFunc(by, func(g group) bool { return sameExpr(g.expr, expr) }) {
			return false, nil
		}
		switch n := n.(type) {
		case *sqlparser.FuncExpr:
			return !aggregate(n), nil
		case *sqlparser.Subquery:
			found = "a SELECT in the list"
			return false, nil
		case *sqlparser.ColName:
			found = n.Name.String()
		}
		return found == "", nil
	}, e)
	return found
}

// keys finds the columns by which rows are replaced; those that the SELECT does not yield are added to it.
func (d *designer) keys(p *Plan, s *sqlparser.Select, exprs sqlparser.Exprs, by []group) error {
	var list []string
	for i, e := range exprs {
		name, output := "", -1
		if by != nil {
			output = by[i].output
		} else {
			output = slices.IndexFunc(s.SelectExprs, func(x sqlparser.SelectExpr) bool {
				a, ok := x.(*sqlparser.AliasedExpr)
				return ok && sameExpr(a.Expr, e)
			})
		}
		if output >= 0 {
			name = outputName(s.SelectExprs[output].(*sqlparser.AliasedExpr))
		}
		if name == "" {
			name = OwnPrefix + "k" + strconv.Itoa(i)
			s.SelectExprs = append(s.SelectExprs, &sqlparser.AliasedExpr{Expr: e, As: sqlparser.NewColIdent(name)})
		}
		if slices.Contains(p.Keys, name) {
			continue // grouped by it twice
		}
		p.Keys, p.keyExpr = append(p.Keys, name), append(p.keyExpr, sqlparser.String(e))
		list = append(list, sqlparser.String(e)+" as "+quote(name))
	}
	if len(p.Keys) == 0 {
		return nil
	}
	bare := *s
	bare.SelectExprs, bare.GroupBy, bare.Having, bare.Window, bare.QueryOpts = nil, nil, nil, nil, sqlparser.QueryOpts{}
	rest := sqlparser.String(&bare)
	at := strings.Index(rest, " from ")
	if at < 0 {
		return refuse("it reads no table")
	}
	p.keySQL = "select distinct " + strings.Join(list, ", ") + rest[at:]
	return nil
}

// counters adds the hidden columns from which each aggregate of the list follows. reason says which does not.
func (p *Plan) counters(s *sqlparser.Select) (columns []column, reason string) {
	var hidden sqlparser.SelectExprs
	add := func(prefix string, i int, f *sqlparser.FuncExpr, name string) string {
		as := OwnPrefix + prefix + strconv.Itoa(i)
		hidden = append(hidden, &sqlparser.AliasedExpr{Expr: &sqlparser.FuncExpr{Name: sqlparser.NewColIdent(name), Exprs: f.Exprs}, As: sqlparser.NewColIdent(as)})
		return as
	}
	for i, x := range s.SelectExprs {
		a := x.(*sqlparser.AliasedExpr)
		f, ok := a.Expr.(*sqlparser.FuncExpr)
		if !ok || !aggregate(f) {
			if name := whole(a.Expr); name != "" {
				return nil, fmt.Sprintf("%s is computed from aggregates", outputName(a))
			}
			columns = append(columns, column{kind: keyColumn})
			continue
		}
		name := f.Name.Lowered()
		if f.Distinct || len(f.Exprs) != 1 || !slices.Contains([]string{"count", "sum", "avg", "min", "max"}, name) {
			kind := strings.ToUpper(name) + "()"
			if f.Distinct {
				kind = strings.ToUpper(name) + "(DISTINCT)"
			}
			return nil, kind + " does not add up"
		}
		c := column{}
		switch name {
		case "count":
			c.kind = countColumn
		case "sum":
			c = column{kind: sumColumn, sum: outputName(a), count: add("c", i, f, "count")}
		case "avg":
			c = column{kind: averageColumn, sum: add("s", i, f, "sum"), count: add("c", i, f, "count")}
		case "min":
			c.kind = leastColumn
		case "max":
			c.kind = greatestColumn
		}
		columns = append(columns, c)
	}
	for _, h := range hidden {
		kind := sumColumn
		if h.(*sqlparser.AliasedExpr).Expr.(*sqlparser.FuncExpr).Name.Lowered() == "count" {
			kind = countColumn
		}
		c := column{kind: kind}
		if kind == sumColumn {
			c.sum = outputName(h.(*sqlparser.AliasedExpr))
			c.count = OwnPrefix + "c" + strings.TrimPrefix(c.sum, OwnPrefix+"s")
		}
		columns = append(columns, c)
	}
	star := &sqlparser.AliasedExpr{Expr: &sqlparser.FuncExpr{Name: sqlparser.NewColIdent("count"), Exprs: sqlparser.SelectExprs{&sqlparser.StarExpr{}}}, As: sqlparser.NewColIdent(counterName)}
	s.SelectExprs = append(append(s.SelectExprs, hidden...), star)
	return append(columns, column{kind: countColumn}), ""
}

// unfit says which column of Totals cannot be added up exactly, "" for none.
func (p *Plan) unfit() string {
	for i, c := range p.columns {
		name, kind := p.Schema[i].Name, p.Schema[i].Type.Kind
		switch c.kind {
		case countColumn:
			if kind != tables.Long {
				return "the count " + name + " is a " + p.Schema[i].Type.String()
			}
		case sumColumn:
			if kind != tables.Long && kind != tables.Decimal {
				return "the sum " + name + " is a floating-point number, which depends on the order of the rows"
			}
		case averageColumn:
			if at := p.Schema.Index(c.sum); kind != tables.Double || at < 0 || p.Schema[at].Type.Kind != tables.Long {
				return "the average " + name + " is not one of whole numbers"
			}
		case leastColumn, greatestColumn:
			if kind == tables.JSON || kind == tables.Binary {
				return "values of " + name + " have no order here"
			}
		}
	}
	return ""
}

// finish prints the SELECT and binds it.
func (d *designer) finish(p *Plan, s *sqlparser.Select) (*Plan, error) {
	p.SQL = sqlparser.String(s)
	var err error
	if p.Schema, err = d.columnsOf(p.SQL); err != nil {
		return nil, err
	}
	for _, name := range p.Keys {
		if p.Schema.Index(name) < 0 {
			return nil, refuse("its key %s is no column", name)
		}
	}
	return p, nil
}
