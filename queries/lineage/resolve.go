package lineage

import (
	"slices"
	"strconv"
	"strings"

	"github.com/dolthub/vitess/go/vt/sqlparser"
)

// resolver walks a statement from the inside out.
type resolver struct {
	catalog   Catalog
	ctes      map[string]*block // common table expressions in sight, by lower-case name
	relations []string
}

// relation is what one name behind FROM stands for.
type relation struct {
	alias   string // "" for none
	columns []column
	open    string          // the relation whose columns are not known; "" for others
	merged  map[string]bool // lower-case columns that USING has taken from it: bare names mean those of the left side
}

// scope is the relations in sight, the nearest first.
type scope struct {
	relations []*relation
	outer     *scope
}

func (r *resolver) statement(s sqlparser.SelectStatement, outer *scope) *block {
	switch s := s.(type) {
	case *sqlparser.Select:
		return r.selects(s, outer)
	case *sqlparser.ParenSelect:
		return r.statement(s.Select, outer)
	case *sqlparser.SetOp:
		return r.set(s, outer)
	default:
		return &block{}
	}
}

// values is a list of rows without a source.
func values(s *sqlparser.ValuesStatement) *block {
	b := &block{}
	if len(s.Rows) == 0 {
		return b
	}
	for i := range s.Rows[0] {
		name := "column_" + strconv.Itoa(i)
		if i < len(s.Columns) {
			name = s.Columns[i].String()
		}
		b.columns = append(b.columns, column{name: name})
	}
	return b
}

// with brings common table expressions into sight and returns what takes them out again.
func (r *resolver) with(w *sqlparser.With) (restore func()) {
	if w == nil {
		return func() {}
	}
	before := r.ctes
	r.ctes = make(map[string]*block, len(before)+len(w.Ctes))
	for name, b := range before {
		r.ctes[name] = b
	}
	for _, cte := range w.Ctes {
		sub, ok := cte.Expr.(*sqlparser.Subquery)
		if !ok {
			continue
		}
		name := strings.ToLower(cte.As.String())
		if set, ok := sub.Select.(*sqlparser.SetOp); ok && w.Recursive {
			r.ctes[name] = renamed(r.statement(set.Left, nil), cte.Columns) // what it is made of at first
		}
		r.ctes[name] = renamed(r.statement(sub.Select, nil), cte.Columns)
	}
	return func() { r.ctes = before }
}

// renamed is a block under other column names.
func renamed(b *block, names sqlparser.Columns) *block {
	if len(names) != len(b.columns) {
		return b
	}
	out := &block{rows: b.rows, columns: slices.Clone(b.columns)}
	for i, n := range names {
		out.columns[i].name = n.String()
	}
	return out
}

// set is UNION and the like: columns are those of both sides, by place.
func (r *resolver) set(s *sqlparser.SetOp, outer *scope) *block {
	defer r.with(s.With)()
	left, right := r.statement(s.Left, outer), r.statement(s.Right, outer)
	out := &block{columns: slices.Clone(left.columns), rows: slices.Clone(left.rows)}
	for i := range out.columns {
		out.columns[i].uses = slices.Clone(out.columns[i].uses)
		if i < len(right.columns) {
			for _, u := range right.columns[i].uses {
				out.columns[i].uses = addUse(out.columns[i].uses, u)
			}
		}
	}
	for _, u := range right.rows {
		out.rows = addUse(out.rows, u)
	}
	if !strings.HasSuffix(s.Type, "all") {
		out.distinct(strings.ToUpper(s.Type))
	}
	r.order(s.OrderBy, out, &scope{})
	return out
}

// distinct notes that all columns decide about the rows.
func (b *block) distinct(text string) {
	for _, c := range b.columns {
		for _, u := range c.uses {
			if u.model == nil {
				b.rows = addUse(b.rows, use{from: u.from, kind: useGroupBy, text: text})
			}
		}
	}
}

func (r *resolver) selects(s *sqlparser.Select, outer *scope) *block {
	defer r.with(s.With)()
	out := &block{}
	at := &scope{outer: outer}
	for _, t := range s.From {
		r.table(t, at, out)
	}
	for _, e := range s.SelectExprs {
		out.columns = append(out.columns, r.selected(e, at, s.Window)...)
	}
	rows := func(e sqlparser.Expr, kind Use, word string, in *scope) {
		out.addRows(r.uses(e, kind, in), word+sqlparser.String(e))
	}
	if s.Where != nil {
		rows(s.Where.Expr, useFilter, "WHERE ", at)
	}
	for _, e := range s.GroupBy {
		out.addRows(r.group(e, out, at), "GROUP BY "+sqlparser.String(e))
	}
	// HAVING and ORDER BY mean the column of the result if there is one of that name.
	later := &scope{relations: append([]*relation{{columns: out.columns}}, at.relations...), outer: at.outer}
	if s.Having != nil {
		rows(s.Having.Expr, useFilter, "HAVING ", later)
	}
	if s.QueryOpts.Distinct {
		out.distinct("DISTINCT")
	}
	r.order(s.OrderBy, out, later)
	return out
}

// addRows notes uses that decide about the rows.
func (b *block) addRows(uses []use, text string) {
	for _, u := range uses {
		if u.text == "" {
			u.text = text
		}
		b.rows = addUse(b.rows, u)
	}
}

// group is one expression of GROUP BY: the place of a column of the result, a column of a source, or an alias.
func (r *resolver) group(e sqlparser.Expr, out *block, at *scope) []use {
	if i, ok := position(e, len(out.columns)); ok {
		return as(out.columns[i].uses, useGroupBy)
	}
	if uses := r.uses(e, useGroupBy, at); len(uses) > 0 {
		return uses
	}
	return r.uses(e, useGroupBy, &scope{relations: []*relation{{columns: out.columns}}})
}

func (r *resolver) order(by sqlparser.OrderBy, out *block, at *scope) {
	for _, o := range by {
		uses := r.uses(o.Expr, useSort, at)
		if i, ok := position(o.Expr, len(out.columns)); ok {
			uses = as(out.columns[i].uses, useSort)
		} else if len(uses) == 0 {
			uses = r.uses(o.Expr, useSort, &scope{relations: []*relation{{columns: out.columns}}})
		}
		out.addRows(uses, "ORDER BY "+sqlparser.String(o.Expr))
	}
}

// position reads GROUP BY 1 or ORDER BY 1.
func position(e sqlparser.Expr, columns int) (int, bool) {
	v, ok := e.(*sqlparser.SQLVal)
	if !ok || v.Type != sqlparser.IntVal {
		return 0, false
	}
	n, err := strconv.Atoi(string(v.Val))
	return n - 1, err == nil && n >= 1 && n <= columns
}

// as returns uses as uses of another kind.
func as(uses []use, kind Use) []use {
	var out []use
	for _, u := range uses {
		u.kind = combined(u.kind, kind)
		out = addUse(out, u)
	}
	return out
}

// selected returns the columns that one expression of the list yields.
func (r *resolver) selected(e sqlparser.SelectExpr, at *scope, windows sqlparser.Window) []column {
	switch e := e.(type) {
	case *sqlparser.StarExpr:
		return star(e, at)
	case *sqlparser.AliasedExpr:
		c := column{name: e.As.String(), text: sqlparser.String(e.Expr)}
		if c.name == "" {
			c.name = outputName(e)
		}
		kind := useTransformation
		if col, bare := unwrapped(e.Expr).(*sqlparser.ColName); bare {
			kind = useIdentity
			if text := at.text(col); text != "" {
				c.text = text
			}
		}
		c.uses = r.uses(e.Expr, kind, at)
		for _, w := range windows {
			if overNamed(e.Expr, w.Name.Lowered()) {
				for _, u := range r.window(w, at) {
					c.uses = addUse(c.uses, u)
				}
			}
		}
		return []column{c}
	default:
		return nil
	}
}

// outputName is how a column without alias is called: by its column, or else by its text.
func outputName(e *sqlparser.AliasedExpr) string {
	if c, ok := e.Expr.(*sqlparser.ColName); ok {
		return c.Name.String()
	}
	if e.InputExpression != "" {
		return e.InputExpression
	}
	return sqlparser.String(e.Expr)
}

func unwrapped(e sqlparser.Expr) sqlparser.Expr {
	for {
		p, ok := e.(*sqlparser.ParenExpr)
		if !ok {
			return e
		}
		e = p.Expr
	}
}

// star expands * or t.*.
func star(e *sqlparser.StarExpr, at *scope) []column {
	var out []column
	for _, rel := range at.relations {
		if name := e.TableName.Name.String(); name != "" && !strings.EqualFold(name, rel.alias) {
			continue
		}
		for _, c := range rel.columns {
			if !e.TableName.IsEmpty() || !rel.merged[strings.ToLower(c.name)] {
				out = append(out, column{name: c.name, uses: c.uses, text: c.name, star: c.star})
			}
		}
		if rel.open != "" && len(rel.columns) == 0 {
			out = append(out, column{star: rel.open})
		}
	}
	return out
}

// table brings what stands behind FROM into sight, and notes what decides about its rows.
func (r *resolver) table(t sqlparser.TableExpr, at *scope, out *block) {
	switch t := t.(type) {
	case *sqlparser.AliasedTableExpr:
		var outer *scope
		if t.Lateral {
			outer = at
		}
		at.relations = append(at.relations, r.simple(t, outer, out))
	case *sqlparser.ParenTableExpr:
		for _, e := range t.Exprs {
			r.table(e, at, out)
		}
	case *sqlparser.JoinTableExpr:
		r.join(t, at, out)
	case *sqlparser.JSONTableExpr:
		uses := r.uses(t.Data, useExplode, at)
		out.addRows(uses, sqlparser.String(t))
		at.relations = append(at.relations, &relation{alias: t.Alias.String(), columns: jsonColumns(t.Spec, as(r.uses(t.Data, useTransformation, at), useTransformation))})
	case sqlparser.TableFuncExpr:
		out.addRows(r.uses(t.Exprs, useExplode, at), sqlparser.String(t))
		at.relations = append(at.relations, &relation{alias: t.Alias.String()})
	}
}

// jsonColumns are the columns of JSON_TABLE, each made of the document.
func jsonColumns(spec *sqlparser.JSONTableSpec, uses []use) []column {
	var out []column
	for _, c := range spec.Columns {
		if c.Spec != nil {
			out = append(out, jsonColumns(c.Spec, uses)...)
			continue
		}
		out = append(out, column{name: c.Name.String(), uses: uses})
	}
	return out
}

// simple is a table, a view, a common table expression or a subquery behind FROM.
func (r *resolver) simple(t *sqlparser.AliasedTableExpr, outer *scope, out *block) *relation {
	rel := &relation{alias: t.As.String()}
	switch e := t.Expr.(type) {
	case sqlparser.TableName:
		if rel.alias == "" {
			rel.alias = e.Name.String()
		}
		if b, ok := r.ctes[strings.ToLower(e.Name.String())]; ok && e.DbQualifier.IsEmpty() {
			rel.take(b, out)
			return rel
		}
		r.base(rel, e)
	case *sqlparser.Subquery:
		b := r.statement(e.Select, outer)
		if len(e.Columns) > 0 {
			b = renamed(b, e.Columns)
		}
		rel.take(b, out)
	case *sqlparser.ValuesStatement:
		rel.take(values(e), out)
	}
	return rel
}

// take makes a relation of a block inside another; what decides about its rows decides about those outside.
func (rel *relation) take(b *block, out *block) {
	rel.columns = b.columns
	for _, c := range b.columns {
		if c.star != "" {
			rel.open = c.star
		}
	}
	for _, u := range b.rows {
		out.rows = addUse(out.rows, u)
	}
}

// base is a relation of the catalogue.
func (r *resolver) base(rel *relation, name sqlparser.TableName) {
	full := strings.ToLower(name.Name.String())
	switch db := strings.ToLower(name.DbQualifier.String()); {
	case full == "dual" && db == "":
		return
	case strings.Contains(full, ":"): // a placeholder
	case db == "":
		full = strings.ToLower(r.catalog.Database) + "." + full
	default:
		full = db + "." + full
	}
	if !slices.Contains(r.relations, full) {
		r.relations = append(r.relations, full)
	}
	names, known := []string(nil), false
	if r.catalog.Columns != nil {
		names, known = r.catalog.Columns(full)
	}
	if !known {
		rel.open = full
		return
	}
	for _, n := range names {
		rel.columns = append(rel.columns, column{name: n, text: n, uses: []use{{from: Source{full, n}, kind: useIdentity}}})
	}
}

func (r *resolver) join(j *sqlparser.JoinTableExpr, at *scope, out *block) {
	before := len(at.relations)
	r.table(j.LeftExpr, at, out)
	middle := len(at.relations)
	r.table(j.RightExpr, at, out)
	left, right := &scope{relations: at.relations[before:middle]}, &scope{relations: at.relations[middle:]}
	if j.Condition.On != nil {
		out.addRows(r.uses(j.Condition.On, useJoin, at), "ON "+sqlparser.String(j.Condition.On))
	}
	using := []string{}
	for _, c := range j.Condition.Using {
		using = append(using, c.String())
	}
	if strings.HasPrefix(j.Join, "natural") {
		using = common(left, right)
	}
	for _, name := range using {
		text := "USING (" + name + ")"
		for _, side := range []*scope{left, right} {
			out.addRows(as(side.find("", name), useJoin), text)
		}
		for _, rel := range right.relations {
			if rel.merged == nil {
				rel.merged = map[string]bool{}
			}
			rel.merged[strings.ToLower(name)] = true
		}
	}
}

// common lists the columns that both sides of a NATURAL join have.
func common(left, right *scope) []string {
	var names []string
	for _, l := range left.relations {
		for _, c := range l.columns {
			if c.name != "" && right.known(c.name) {
				names = append(names, c.name)
			}
		}
	}
	return names
}
