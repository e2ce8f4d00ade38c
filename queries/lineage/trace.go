package lineage

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/dolthub/vitess/go/vt/sqlparser"

	"smelt/tables"
)

// maxDerived bounds the rows of a subquery behind FROM: they are held in memory.
const maxDerived = 2_000_000

// ErrNotKnown is returned by Tracer.Relation for what has no rows to be found again, as tables of the system have not. The
// text tells the user why.
var ErrNotKnown = errors.New("not known")

// Rows is the result of a SELECT.
type Rows interface {
	tables.Reader
	// Schema returns the columns of the result.
	Schema() tables.Schema
}

// Tracer finds the rows that a SELECT has made others of. It asks the SELECT itself: each block of it is run once more so
// that it also tells which rows of what it reads stand behind each row of its result. For a group these are all rows with
// its keys, for the result of a map, an explode or a join those that yield it. Rows that only were compared with, in a
// window or in a subquery of an expression, are not among them.
type Tracer struct {
	// Run runs a SELECT; overlay holds what its placeholders stand for.
	Run func(ctx context.Context, sql string, overlay map[string]tables.Relation) (Rows, error)
	// Relation opens what a name behind FROM stands for, "database.table" in lower case or a placeholder.
	Relation func(ctx context.Context, name string) (tables.Relation, error)
	Database string // current database
	Most     int    // rows of one relation that are returned
	// Compare tells by which columns of the result rows are found; nil stands for all.
	Compare func(column string) bool
	// Varying are columns that may differ today from what they were, as the time at which a file was read does.
	Varying []string
}

// Traced is the rows of one relation that others were made of.
type Traced struct {
	Relation string
	Rows     *tables.Batch
	Of       [][]int // for each row, the numbers of the rows that were made of it, in order
	More     int64   // rows beyond those that are returned
	Notes    []string
}

// Trace returns what the rows of wanted were made of, by relation, in order of appearance. wanted has the columns of the
// result by name; each of its rows is there once. The statement is not changed.
func (t *Tracer) Trace(ctx context.Context, statement sqlparser.SelectStatement, wanted *tables.Batch) ([]Traced, error) {
	parsed, err := sqlparser.Parse(sqlparser.String(statement))
	if err != nil {
		return nil, fmt.Errorf("read the SELECT again: %w", errors.New(err.Error()))
	}
	own, ok := parsed.(sqlparser.SelectStatement)
	if !ok {
		return nil, fmt.Errorf("read the SELECT again: it is a %T", parsed)
	}
	unqualify(own)
	r := &run{Tracer: t, found: map[string]*found{}, derived: map[sqlparser.SelectStatement]tables.Relation{}}
	of := make([][]int, wanted.Len)
	for i := range of {
		of[i] = []int{i}
	}
	all := rows{Batch: wanted, of: of}
	if err := r.statement(ctx, own, nil, all); err != nil {
		return nil, err
	}
	// Rows that the SELECT does not yield today, because it calls NOW() or a model that has changed, are looked for by the
	// columns that it only passes on.
	if missing := all.without(r.found); missing.Len > 0 {
		before, order := r.found, r.order
		r.found, r.order, r.steadily = map[string]*found{}, nil, true
		if err := r.statement(ctx, own, nil, missing); err != nil {
			return nil, err
		}
		r.join(before, order)
	}
	return r.result(ctx)
}

// without returns the rows of which nothing was found.
func (w rows) without(all map[string]*found) rows {
	some := map[int]bool{}
	for _, f := range all {
		for _, of := range f.rows {
			for _, n := range of {
				some[n] = true
			}
		}
	}
	keep := make([]bool, w.Len)
	out := rows{byPlace: w.byPlace}
	for row, of := range w.of {
		if keep[row] = !slices.ContainsFunc(of, func(n int) bool { return some[n] }); keep[row] {
			out.of = append(out.of, of)
		}
	}
	out.Batch = w.Filter(keep)
	return out
}

// join adds what was found before; what was found since is noted as less certain.
func (r *run) join(before map[string]*found, order []string) {
	for _, name := range r.order {
		if f := r.found[name]; len(f.rows) > 0 {
			f.note("the SELECT yields other values today: found by the columns that it passes on as they are")
		}
	}
	for _, name := range order {
		old := before[name]
		f := r.at(name, old.relation)
		for number, of := range old.rows {
			f.rows[number] = merged(f.rows[number], of)
		}
		for _, n := range old.notes {
			f.note(n)
		}
	}
}

// unqualify takes the database off the names of columns: tables get other names on the way.
func unqualify(s sqlparser.SelectStatement) {
	// The visitor never fails.
	_ = sqlparser.Walk(func(n sqlparser.SQLNode) (bool, error) {
		switch n := n.(type) {
		case *sqlparser.ColName:
			n.Qualifier.DbQualifier = sqlparser.TableIdent{}
		case *sqlparser.StarExpr:
			n.TableName.DbQualifier = sqlparser.TableIdent{}
		case *sqlparser.AliasedTableExpr:
			if name, ok := n.Expr.(sqlparser.TableName); ok && n.As.IsEmpty() {
				n.As = name.Name
			}
		}
		return true, nil
	}, s)
}

// rows is what is looked for, and of which of the rows that were asked for each is a part.
type rows struct {
	*tables.Batch
	of      [][]int
	byPlace bool // columns are those of the SELECT in their order; else by name
}

// ordered puts the columns into the order of a SELECT, so that the other side of a UNION finds them by place.
func (w rows) ordered(s sqlparser.SelectStatement) rows {
	for {
		switch t := s.(type) {
		case *sqlparser.ParenSelect:
			s = t.Select
			continue
		case *sqlparser.SetOp:
			s = t.Left
			continue
		case *sqlparser.Select:
			if match := matching(&blockQuery{Select: t}, nil, w); match != nil && !w.byPlace && !slices.Contains(match, -1) {
				b := &tables.Batch{Len: w.Len}
				for _, at := range match {
					b.Schema, b.Columns = append(b.Schema, w.Schema[at]), append(b.Columns, w.Columns[at])
				}
				w.Batch = b
			}
		}
		w.byPlace = true
		return w
	}
}

// run is one call of Trace.
type run struct {
	*Tracer
	found   map[string]*found
	order   []string
	derived map[sqlparser.SelectStatement]tables.Relation
	leaves  int

	compares bool // rows were compared with others
	steadily bool // only columns that are passed on are compared
}

// found is the rows of one relation.
type found struct {
	relation tables.Relation
	rows     map[int64][]int // number of the row -> of which rows it is a part
	notes    []string
}

// at returns what was found of a relation so far.
func (r *run) at(name string, relation tables.Relation) *found {
	f, ok := r.found[name]
	if !ok {
		f = &found{relation: relation, rows: map[int64][]int{}}
		r.found[name] = f
		r.order = append(r.order, name)
	}
	return f
}

func (f *found) note(text string) {
	if !slices.Contains(f.notes, text) {
		f.notes = append(f.notes, text)
	}
}

// result reads the rows that were found.
func (r *run) result(ctx context.Context) ([]Traced, error) {
	var out []Traced
	for _, name := range r.order {
		f := r.found[name]
		numbers := slices.Sorted(maps.Keys(f.rows))
		one := Traced{Relation: name, Notes: f.notes}
		if len(numbers) > r.Most {
			one.More = int64(len(numbers) - r.Most)
			numbers = numbers[:r.Most]
		}
		for _, n := range numbers {
			of := slices.Clone(f.rows[n])
			slices.Sort(of)
			one.Of = append(one.Of, slices.Compact(of))
		}
		if f.relation != nil {
			var err error
			if one.Rows, err = pick(ctx, f.relation, numbers); err != nil {
				return nil, fmt.Errorf("read rows of %s: %w", name, err)
			}
		}
		out = append(out, one)
	}
	if r.compares && len(out) > 0 {
		out[0].Notes = append(out[0].Notes, "rows that these were only compared with, in a window or a subquery, are not listed")
	}
	return out, nil
}

// scoped is the common table expressions in sight, the outermost first.
type scoped []*sqlparser.CommonTableExpr

func (s scoped) with(w *sqlparser.With) scoped {
	if w == nil {
		return s
	}
	return append(slices.Clone(s), w.Ctes...)
}

// clause is the WITH that brings them into sight.
func (s scoped) clause() *sqlparser.With {
	if len(s) == 0 {
		return nil
	}
	return &sqlparser.With{Ctes: s, Recursive: slices.ContainsFunc(s, selfish)}
}

// selfish reports whether a common table expression reads itself.
func selfish(cte *sqlparser.CommonTableExpr) bool {
	found := false
	// The visitor never fails.
	_ = sqlparser.Walk(func(n sqlparser.SQLNode) (bool, error) {
		if t, ok := n.(*sqlparser.AliasedTableExpr); ok {
			if name, ok := t.Expr.(sqlparser.TableName); ok && strings.EqualFold(name.Name.String(), cte.As.String()) {
				found = true
			}
		}
		return !found, nil
	}, cte.Expr)
	return found
}

// find returns the last one of that name, and those that it may read itself.
func (s scoped) find(name string) (*sqlparser.CommonTableExpr, scoped) {
	for i := len(s) - 1; i >= 0; i-- {
		if strings.EqualFold(s[i].As.String(), name) {
			return s[i], s[:i]
		}
	}
	return nil, nil
}

func (r *run) statement(ctx context.Context, s sqlparser.SelectStatement, ctes scoped, wanted rows) error {
	switch s := s.(type) {
	case *sqlparser.Select:
		return r.block(ctx, s, ctes.with(s.With), wanted)
	case *sqlparser.ParenSelect:
		return r.statement(ctx, s.Select, ctes, wanted)
	case *sqlparser.SetOp:
		ctes, wanted = ctes.with(s.With), wanted.ordered(s.Left)
		if err := r.statement(ctx, s.Left, ctes, wanted); err != nil || strings.HasPrefix(s.Type, "except") {
			return err
		}
		return r.statement(ctx, s.Right, ctes, wanted)
	default:
		return nil // VALUES: rows of the statement itself
	}
}

// block finds the rows behind those of one SELECT, in what stands behind its FROM, and goes on with those of subqueries.
func (r *run) block(ctx context.Context, s *sqlparser.Select, ctes scoped, wanted rows) error {
	from, leaves, err := r.from(ctx, s.From, ctes)
	if err != nil || len(leaves) == 0 {
		return err
	}
	q := &blockQuery{Select: s, from: from, leaves: leaves, ctes: ctes}
	hits, err := r.hits(ctx, q, wanted)
	if err != nil {
		return err
	}
	r.compares = r.compares || q.compares()
	for i, l := range leaves {
		if l.opaque != "" {
			r.at(l.name, nil).note(l.opaque)
			continue
		}
		if l.inner == nil {
			f := r.at(l.name, l.relation)
			for number, of := range hits[i] {
				f.rows[number] = append(f.rows[number], of...)
			}
			continue
		}
		numbers := slices.Sorted(maps.Keys(hits[i]))
		if len(numbers) == 0 {
			continue
		}
		b, err := pick(ctx, l.relation, numbers)
		if err != nil {
			return fmt.Errorf("read rows of %s: %w", l.name, err)
		}
		next := rows{Batch: b, byPlace: true}
		for _, n := range numbers {
			next.of = append(next.of, hits[i][n])
		}
		if err := r.statement(ctx, l.inner, l.ctes, next); err != nil {
			return err
		}
	}
	return nil
}

// leaf is one table, or subquery, behind FROM.
type leaf struct {
	name        string // database.table, placeholder, or the alias of a subquery
	alias       string
	placeholder string
	relation    tables.Relation
	inner       sqlparser.SelectStatement // of a subquery or common table expression; nil for a table
	ctes        scoped                    // that inner may read
	opaque      string                    // why its rows cannot be told; "" if they can
}

// from puts placeholders where tables and subqueries stand.
func (r *run) from(ctx context.Context, exprs sqlparser.TableExprs, ctes scoped) (sqlparser.TableExprs, []*leaf, error) {
	var out sqlparser.TableExprs
	var leaves []*leaf
	for _, e := range exprs {
		one, more, err := r.tableExpr(ctx, e, ctes)
		if err != nil {
			return nil, nil, err
		}
		out, leaves = append(out, one), append(leaves, more...)
	}
	return out, leaves, nil
}

func (r *run) tableExpr(ctx context.Context, e sqlparser.TableExpr, ctes scoped) (sqlparser.TableExpr, []*leaf, error) {
	switch e := e.(type) {
	case *sqlparser.AliasedTableExpr:
		l, err := r.leaf(ctx, e, ctes)
		if err != nil || l == nil {
			return e, nil, err
		}
		if l.opaque != "" {
			return e, []*leaf{l}, nil
		}
		r.leaves++
		l.placeholder = fmt.Sprintf("explain:%d", r.leaves)
		replaced := *e
		replaced.Expr, replaced.AsOf = sqlparser.TableName{Name: sqlparser.NewTableIdent(l.placeholder)}, nil
		replaced.As = sqlparser.NewTableIdent(l.alias)
		return &replaced, []*leaf{l}, nil
	case *sqlparser.ParenTableExpr:
		list, leaves, err := r.from(ctx, e.Exprs, ctes)
		return &sqlparser.ParenTableExpr{Exprs: list}, leaves, err
	case *sqlparser.JoinTableExpr:
		left, leaves, err := r.tableExpr(ctx, e.LeftExpr, ctes)
		if err != nil {
			return nil, nil, err
		}
		right, more, err := r.tableExpr(ctx, e.RightExpr, ctes)
		return &sqlparser.JoinTableExpr{LeftExpr: left, Join: e.Join, RightExpr: right, Condition: e.Condition}, append(leaves, more...), err
	default:
		return e, nil, nil // JSON_TABLE and the like make rows of those beside them
	}
}

// leaf opens what one name stands for; nil for what has no rows of its own.
func (r *run) leaf(ctx context.Context, e *sqlparser.AliasedTableExpr, ctes scoped) (*leaf, error) {
	l := &leaf{alias: e.As.String()}
	switch x := e.Expr.(type) {
	case sqlparser.TableName:
		name, db := strings.ToLower(x.Name.String()), strings.ToLower(x.DbQualifier.String())
		if cte, before := ctes.find(name); cte != nil && db == "" {
			sub, ok := cte.Expr.(*sqlparser.Subquery)
			if !ok {
				return nil, nil
			}
			l.name, l.inner, l.ctes = name, sub.Select, before
			if selfish(cte) {
				l.opaque = "rows of WITH RECURSIVE are not followed"
				return l, nil
			}
			return l, r.derive(ctx, l, cte.Columns)
		}
		switch {
		case name == "dual" && db == "":
			return nil, nil
		case strings.Contains(name, ":"):
			l.name = name
		case db == "":
			l.name = strings.ToLower(r.Database) + "." + name
		default:
			l.name = db + "." + name
		}
		var err error
		l.relation, err = r.Relation(ctx, l.name)
		if errors.Is(err, ErrNotKnown) {
			l.opaque, err = err.Error(), nil
		}
		return l, err
	case *sqlparser.Subquery:
		l.name, l.inner, l.ctes = l.alias, x.Select, ctes
		if e.Lateral {
			l.opaque = "rows of LATERAL are not followed"
			return l, nil
		}
		return l, r.derive(ctx, l, x.Columns)
	default:
		return nil, nil
	}
}

// derive runs a subquery and keeps its rows.
func (r *run) derive(ctx context.Context, l *leaf, names sqlparser.Columns) error {
	if known, ok := r.derived[l.inner]; ok {
		l.relation = known
		return nil
	}
	s := &sqlparser.Select{With: l.ctes.clause(), SelectExprs: sqlparser.SelectExprs{&sqlparser.StarExpr{}},
		From: sqlparser.TableExprs{&sqlparser.AliasedTableExpr{Expr: &sqlparser.Subquery{Select: l.inner, Columns: names}, As: sqlparser.NewTableIdent("q")}}}
	result, err := r.Run(ctx, sqlparser.String(s), nil)
	if err != nil {
		return fmt.Errorf("run the subquery %s: %w", l.name, err)
	}
	defer result.Close()
	all := tables.NewBatch(result.Schema(), 0)
	err = tables.EachBatch(ctx, result, func(b *tables.Batch) error {
		if all.Append(b); all.Len > maxDerived {
			return fmt.Errorf("more than %d rows", maxDerived)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("run the subquery %s: %w", l.name, err)
	}
	l.relation = tables.FromBatches(all.Schema, all)
	r.derived[l.inner] = l.relation
	return nil
}
