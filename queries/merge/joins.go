package merge

import (
	"slices"
	"strings"

	"github.com/dolthub/vitess/go/vt/sqlparser"

	"smelt/tables"
)

// origin is a column of a place where a SELECT reads a table.
type origin struct {
	place  int // in Occurrences
	column string
	typ    tables.Type
	filled bool // an outer join may show NULL instead
}

// side is one side of an equality.
type side struct {
	of  []origin // where its values come from: one place, or one in each part of a UNION
	may bool     // rows of these places without an equal value on the other side do not matter
}

// equality is a condition of a join. A pair of rows that does not meet it does not matter.
type equality [2]side

// joinFinder finds the equalities of columns by which a SELECT joins the places that it reads. What it does not understand it
// passes over: then more is read.
type joinFinder struct {
	places map[string]int // by placeholder
	schema func(place int) tables.Schema
	found  []equality
}

// shown is a column of a SELECT or of a name behind FROM, and where its values come from: nil for what is computed.
type shown struct {
	name string
	of   []origin
}

// visible is what one name behind FROM stands for.
type visible struct {
	alias   string
	columns []shown
}

// joinsOf returns the equalities of a SELECT over placeholders, and for each key, which is an expression of its FROM clause,
// the columns that it is: nil for what is computed.
func (d *designer) joinsOf(sql string, keys []string) (joins []equality, keyOf [][]origin) {
	s, err := parse(sql)
	if err != nil {
		return nil, nil
	}
	f := &joinFinder{places: map[string]int{}, schema: func(place int) tables.Schema { return d.empty(d.reader.found[place]).Schema() }}
	for i, o := range d.reader.found {
		f.places[o.Placeholder] = i
	}
	s = unwrapped(s)
	f.statement(s)
	block, ok := s.(*sqlparser.Select)
	if !ok {
		return f.found, nil
	}
	joins = f.found
	var in []visible
	for _, t := range block.From {
		in = append(in, f.table(t)...)
	}
	for _, key := range keys {
		var of []origin
		if k, err := printed(key); err == nil {
			of = resolve(k.Where.Expr, in)
		}
		keyOf = append(keyOf, of)
	}
	return joins, keyOf
}

func (f *joinFinder) statement(s sqlparser.SelectStatement) []shown {
	switch s := s.(type) {
	case *sqlparser.ParenSelect:
		return f.statement(s.Select)
	case *sqlparser.SetOp:
		left, right := f.statement(s.Left), f.statement(s.Right)
		out := make([]shown, len(left))
		for i := range left {
			out[i].name = left[i].name
			if i < len(right) && left[i].of != nil && right[i].of != nil {
				out[i].of = append(slices.Clone(left[i].of), right[i].of...)
			}
		}
		return out
	case *sqlparser.Select:
		return f.block(s)
	}
	return nil
}

func (f *joinFinder) block(s *sqlparser.Select) []shown {
	var in []visible
	for _, t := range s.From {
		in = append(in, f.table(t)...)
	}
	if s.Where != nil {
		f.condition(s.Where.Expr, in, in)
	}
	var out []shown
	for _, e := range s.SelectExprs {
		switch e := e.(type) {
		case *sqlparser.StarExpr:
			for _, v := range in {
				if e.TableName.IsEmpty() || strings.EqualFold(v.alias, e.TableName.Name.String()) {
					out = append(out, v.columns...)
				}
			}
		case *sqlparser.AliasedExpr:
			c := shown{name: outputName(e), of: resolve(e.Expr, in)}
			if !passes(s, e.Expr) {
				c.of = nil
			}
			out = append(out, c)
		}
	}
	if wholeBlock(s) != "" && slices.ContainsFunc(s.SelectExprs, func(e sqlparser.SelectExpr) bool { _, star := e.(*sqlparser.StarExpr); return star }) {
		return nil
	}
	return out
}

// passes reports whether all rows of the block with one value of a column may be left out together: those of other values
// stay what they are.
func passes(s *sqlparser.Select, e sqlparser.Expr) bool {
	switch {
	case len(s.GroupBy) > 0:
		return len(windowsOf(s)) == 0 && !renames(s, e) && slices.ContainsFunc(s.GroupBy, func(g sqlparser.Expr) bool { return sameExpr(g, e) })
	case s.Having != nil || whole(s.SelectExprs) != "":
		return false
	}
	return true
}

// renames reports whether the list gives the name of a column to something else, which GROUP BY may mean.
func renames(s *sqlparser.Select, e sqlparser.Expr) bool {
	c, ok := e.(*sqlparser.ColName)
	return !ok || slices.ContainsFunc(s.SelectExprs, func(x sqlparser.SelectExpr) bool {
		a, ok := x.(*sqlparser.AliasedExpr)
		return ok && a.As.EqualString(c.Name.String()) && !sameExpr(a.Expr, e)
	})
}

// table returns what is in sight behind one entry of FROM.
func (f *joinFinder) table(t sqlparser.TableExpr) []visible {
	switch t := t.(type) {
	case *sqlparser.ParenTableExpr:
		var out []visible
		for _, e := range t.Exprs {
			out = append(out, f.table(e)...)
		}
		return out
	case *sqlparser.JoinTableExpr:
		return f.join(t)
	case *sqlparser.AliasedTableExpr:
		v := visible{alias: t.As.String()}
		switch e := t.Expr.(type) {
		case *sqlparser.Subquery:
			if v.columns = f.statement(e.Select); len(e.Columns) > 0 {
				v.columns = nil
			}
		case sqlparser.TableName:
			if place, ok := f.places[e.Name.String()]; ok {
				for _, c := range f.schema(place) {
					if c.Hidden || strings.HasPrefix(strings.ToLower(c.Name), OwnPrefix) {
						continue // SELECT * does not show it
					}
					v.columns = append(v.columns, shown{c.Name, []origin{{place: place, column: c.Name, typ: c.Type}}})
				}
			}
		}
		return []visible{v}
	}
	return nil
}

func (f *joinFinder) join(j *sqlparser.JoinTableExpr) []visible {
	left, right := f.table(j.LeftExpr), f.table(j.RightExpr)
	kind := strings.ToLower(j.Join)
	keepsLeft := strings.Contains(kind, "left") || strings.Contains(kind, "full")
	keepsRight := strings.Contains(kind, "right") || strings.Contains(kind, "full")
	// A row that an outer join keeps stays without a partner; one that it fills with NULL does not.
	var mayGo []visible
	if !keepsLeft {
		mayGo = append(mayGo, left...)
	}
	if !keepsRight {
		mayGo = append(mayGo, right...)
	}
	if j.Condition.On != nil {
		f.condition(j.Condition.On, append(slices.Clone(left), right...), mayGo)
	}
	for _, name := range j.Condition.Using {
		c := &sqlparser.ColName{Name: name}
		f.equal(resolve(c, left), resolve(c, right), !keepsLeft, !keepsRight)
	}
	if keepsLeft {
		right = filled(right)
	}
	if keepsRight {
		left = filled(left)
	}
	return append(slices.Clone(left), right...)
}

// filled marks columns that an outer join fills with NULL.
func filled(in []visible) []visible {
	out := slices.Clone(in)
	for i := range out {
		out[i].columns = slices.Clone(out[i].columns)
		for j := range out[i].columns {
			of := slices.Clone(out[i].columns[j].of)
			for k := range of {
				of[k].filled = true
			}
			out[i].columns[j].of = of
		}
	}
	return out
}

// condition takes the equalities of a condition all parts of which must be true. Only rows of mayGo may be left out for it.
func (f *joinFinder) condition(e sqlparser.Expr, in, mayGo []visible) {
	switch e := e.(type) {
	case *sqlparser.ParenExpr:
		f.condition(e.Expr, in, mayGo)
	case *sqlparser.AndExpr:
		f.condition(e.Left, in, mayGo)
		f.condition(e.Right, in, mayGo)
	case *sqlparser.ComparisonExpr:
		if e.Operator == sqlparser.EqualStr {
			f.equal(resolve(e.Left, in), resolve(e.Right, in), resolve(e.Left, mayGo) != nil, resolve(e.Right, mayGo) != nil)
		}
	}
}

// equal notes an equality of two columns whose values are equal exactly if they are the same to us.
func (f *joinFinder) equal(left, right []origin, leftMay, rightMay bool) {
	if left == nil || right == nil || !leftMay && !rightMay {
		return
	}
	for _, o := range append(slices.Clone(left), right...) {
		if !comparable(o.typ, left[0].typ) {
			return
		}
	}
	f.found = append(f.found, equality{{left, leftMay}, {right, rightMay}})
}

// comparable reports whether values of the two types are equal in SQL exactly if our keys of them are. Floats are left out for
// NaN and for what converting does to them.
func comparable(a, b tables.Type) bool {
	whole := func(t tables.Type) bool {
		return slices.Contains([]tables.Kind{tables.Byte, tables.Short, tables.Integer, tables.Long}, t.Kind)
	}
	if whole(a) || whole(b) {
		return whole(a) && whole(b)
	}
	return a == b && slices.Contains([]tables.Kind{tables.String, tables.Date, tables.Timestamp, tables.Decimal, tables.Boolean}, a.Kind)
}

// resolve returns where the values of a column come from; nil for other expressions and for names that it does not know.
func resolve(e sqlparser.Expr, in []visible) []origin {
	if p, ok := e.(*sqlparser.ParenExpr); ok {
		return resolve(p.Expr, in)
	}
	c, ok := e.(*sqlparser.ColName)
	if !ok {
		return nil
	}
	var of []origin
	found := 0
	for _, v := range in {
		if !c.Qualifier.IsEmpty() && !strings.EqualFold(v.alias, c.Qualifier.Name.String()) {
			continue
		}
		for _, s := range v.columns {
			if strings.EqualFold(s.name, c.Name.String()) {
				of = s.of
				found++
			}
		}
	}
	if found != 1 {
		return nil
	}
	return of
}
