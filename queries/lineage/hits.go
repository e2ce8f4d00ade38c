package lineage

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/dolthub/vitess/go/vt/sqlparser"

	"smelt/tables"
)

// blockQuery is one SELECT whose FROM names placeholders.
type blockQuery struct {
	*sqlparser.Select
	from   sqlparser.TableExprs
	leaves []*leaf
	ctes   scoped
}

// text returns the SELECT with another list, and the numbers of the rows behind each row at its end.
func (q *blockQuery) text(list sqlparser.SelectExprs, numbers bool) string {
	s := &sqlparser.Select{With: q.ctes.clause(), SelectExprs: slices.Clone(list), From: q.from, Where: q.Where, Window: q.Window}
	if numbers {
		for _, l := range q.leaves {
			if l.opaque == "" {
				column := &sqlparser.ColName{Name: sqlparser.NewColIdent(rowColumn), Qualifier: sqlparser.TableName{Name: sqlparser.NewTableIdent(l.alias)}}
				s.SelectExprs = append(s.SelectExprs, &sqlparser.AliasedExpr{Expr: column, As: sqlparser.NewColIdent(l.placeholder)})
			}
		}
	} else {
		s.GroupBy, s.Having = q.GroupBy, q.Having
	}
	return sqlparser.String(s)
}

// grouped reports whether rows of the result are made of several.
func (q *blockQuery) grouped() bool {
	if len(q.GroupBy) > 0 {
		return true
	}
	found := q.Having != nil
	visit := func(n sqlparser.SQLNode) (bool, error) {
		switch n := n.(type) {
		case *sqlparser.Subquery:
			return false, nil
		case *sqlparser.FuncExpr:
			found = found || n.Over == nil && Aggregates(n)
		case *sqlparser.GroupConcatExpr:
			found = true
		}
		return !found, nil
	}
	_ = sqlparser.Walk(visit, q.SelectExprs) // never fails
	return found
}

// windowed reports whether a row depends on others of what is read.
func (q *blockQuery) windowed() bool {
	found := len(q.Window) > 0
	_ = sqlparser.Walk(func(n sqlparser.SQLNode) (bool, error) { // never fails
		if f, ok := n.(*sqlparser.FuncExpr); ok && f.Over != nil {
			found = true
		}
		return !found, nil
	}, q.SelectExprs)
	return found
}

// compares reports whether rows are compared with others, by a window or a subquery of an expression.
func (q *blockQuery) compares() bool {
	found := q.windowed()
	nodes := []sqlparser.SQLNode{q.SelectExprs}
	if q.Where != nil {
		nodes = append(nodes, q.Where)
	}
	if q.Having != nil {
		nodes = append(nodes, q.Having)
	}
	_ = sqlparser.Walk(func(n sqlparser.SQLNode) (bool, error) { // never fails
		if _, ok := n.(*sqlparser.Subquery); ok {
			found = true
		}
		return !found, nil
	}, nodes...)
	return found
}

// keys returns the expressions of GROUP BY, and for each the place of the same expression in the list, -1 if there is none
// or a star before it makes places unknown.
func (q *blockQuery) keys() (exprs []sqlparser.Expr, places []int) {
	items := make([]*sqlparser.AliasedExpr, len(q.SelectExprs))
	for i, e := range q.SelectExprs {
		items[i], _ = e.(*sqlparser.AliasedExpr)
	}
	star := slices.Contains(items, nil)
	for _, e := range q.GroupBy {
		at := -1
		if i, ok := position(e, len(items)); ok {
			at = i
		}
		for i, item := range items {
			if item == nil || at >= 0 {
				continue
			}
			if c, ok := e.(*sqlparser.ColName); ok && c.Qualifier.IsEmpty() && strings.EqualFold(item.As.String(), c.Name.String()) && !q.column(c) {
				at = i
			} else if strings.EqualFold(sqlparser.String(item.Expr), sqlparser.String(e)) {
				at = i
			}
		}
		if at >= 0 && items[at] != nil {
			e = items[at].Expr
		}
		if star {
			at = -1
		}
		exprs, places = append(exprs, e), append(places, at)
	}
	return exprs, places
}

// column reports whether a bare name is a column of what is read, which GROUP BY means before it means an alias.
func (q *blockQuery) column(c *sqlparser.ColName) bool {
	return slices.ContainsFunc(q.leaves, func(l *leaf) bool { return l.opaque == "" && l.relation.Schema().Index(c.Name.String()) >= 0 })
}

// asList makes a list of expressions.
func asList(exprs []sqlparser.Expr) sqlparser.SelectExprs {
	out := make(sqlparser.SelectExprs, len(exprs))
	for i, e := range exprs {
		out[i] = &sqlparser.AliasedExpr{Expr: e, As: sqlparser.NewColIdent(fmt.Sprintf("key:%d", i))}
	}
	return out
}

// hit is the rows of one leaf that were found: number -> of which rows each is a part.
type hit map[int64][]int

// hits finds the rows of each leaf that are behind the wanted ones.
func (r *run) hits(ctx context.Context, q *blockQuery, wanted rows) ([]hit, error) {
	if !q.grouped() {
		return r.single(ctx, q, wanted)
	}
	exprs, places := q.keys()
	filters := map[*leaf]*numbered{}
	groups := map[string][]int{} // key of a group -> of which rows it is a part
	if !slices.Contains(places, -1) {
		// The rows that are looked for tell the keys of their groups.
		match := matching(q, nil, wanted)
		columns := make([]int, len(places))
		for i, at := range places {
			columns[i] = match[at]
		}
		if !slices.Contains(columns, -1) {
			for i := range wanted.Len {
				k := key(wanted.Batch, i, columns)
				groups[k] = append(groups[k], wanted.of[i]...)
			}
			filters = q.filters(exprs, columns, wanted.Batch)
		}
	}
	if len(groups) == 0 {
		list := append(slices.Clone(q.SelectExprs), asList(exprs)...)
		err := r.each(ctx, q, q.text(list, false), nil, func(b *tables.Batch) {
			n := len(b.Schema) - len(exprs)
			keys := every(len(b.Schema))[n:]
			found := lookup(b, n, q, wanted, nil)
			for row := range b.Len {
				if of := found(row); of != nil {
					k := key(b, row, keys)
					groups[k] = append(groups[k], of...)
				}
			}
		})
		if err != nil {
			return nil, err
		}
	}
	return r.collect(ctx, q, asList(exprs), filters, func(b *tables.Batch, n int) func(int) []int {
		return func(row int) []int { return groups[key(b, row, every(n))] }
	})
}

// single is hits for a SELECT each of whose rows is made of one row of each leaf.
func (r *run) single(ctx context.Context, q *blockQuery, wanted rows) ([]hit, error) {
	filters := map[*leaf]*numbered{}
	if !q.windowed() {
		match := matching(q, nil, wanted)
		var exprs []sqlparser.Expr
		var columns []int
		for i, e := range q.SelectExprs {
			item, ok := e.(*sqlparser.AliasedExpr)
			if !ok || match == nil || match[i] < 0 {
				continue
			}
			if r.Compare != nil && !r.Compare(wanted.Schema[match[i]].Name) {
				continue
			}
			if c, ok := unwrapped(item.Expr).(*sqlparser.ColName); ok && !r.varies(c.Name.String()) {
				exprs, columns = append(exprs, item.Expr), append(columns, match[i])
			}
		}
		filters = q.filters(exprs, columns, wanted.Batch)
	}
	steady := r.Compare
	if r.steadily && steady == nil {
		steady = r.steady(q)
	}
	return r.collect(ctx, q, q.SelectExprs, filters, func(b *tables.Batch, n int) func(int) []int { return lookup(b, n, q, wanted, steady) })
}

// matching tells for each column of the result which one of the wanted rows it is, -1 for none: that of its name, or else
// the one in its place. names nil stands for a list without a star; it is nil for one with a star.
func matching(q *blockQuery, names []string, wanted rows) []int {
	if names == nil {
		for _, e := range q.SelectExprs {
			item, ok := e.(*sqlparser.AliasedExpr)
			if !ok {
				return nil
			}
			name := item.As.String()
			if name == "" {
				name = outputName(item)
			}
			names = append(names, name)
		}
	}
	if wanted.byPlace && len(names) == len(wanted.Schema) {
		return every(len(names))
	}
	match := make([]int, len(names))
	taken := map[int]bool{}
	for i, name := range names {
		if match[i] = wanted.Schema.Index(name); match[i] >= 0 {
			taken[match[i]] = true
		}
	}
	if len(names) == len(wanted.Schema) {
		for i := range match {
			if match[i] < 0 && !taken[i] {
				match[i] = i
			}
		}
	}
	return match
}

// lookup returns what finds the wanted rows that a row of a result is; its first n columns are those of the SELECT. Those
// that steady says no to are not looked at; nil looks at all.
func lookup(b *tables.Batch, n int, q *blockQuery, wanted rows, steady func(name string) bool) func(row int) []int {
	names := b.Schema.Names()[:n]
	var mine, theirs []int
	for i, at := range matching(q, names, wanted) {
		if at >= 0 && (steady == nil || steady(names[i])) {
			mine, theirs = append(mine, i), append(theirs, at)
		}
	}
	if len(mine) == 0 {
		return func(int) []int { return nil }
	}
	index := map[string][]int{}
	for row := range wanted.Len {
		k := key(wanted.Batch, row, theirs)
		index[k] = append(index[k], wanted.of[row]...)
	}
	return func(row int) []int { return index[key(b, row, mine)] }
}

// steady returns what tells whether a column of the result is a column of a leaf as it is, and will not be another one today.
func (r *run) steady(q *blockQuery) func(name string) bool {
	return func(name string) bool {
		for _, e := range q.SelectExprs {
			item, ok := e.(*sqlparser.AliasedExpr)
			if !ok || !strings.EqualFold(item.As.String(), name) && !strings.EqualFold(outputName(item), name) {
				continue
			}
			c, ok := unwrapped(item.Expr).(*sqlparser.ColName)
			return ok && !r.varies(c.Name.String())
		}
		return !r.varies(name)
	}
}

func (r *run) varies(column string) bool {
	return slices.ContainsFunc(r.Varying, func(v string) bool { return strings.EqualFold(v, column) })
}

// filters returns the relations of the leaves with only those rows whose columns have values of the wanted rows: where an
// expression is a bare column of a leaf, no other row can be behind them.
func (q *blockQuery) filters(exprs []sqlparser.Expr, columns []int, wanted *tables.Batch) map[*leaf]*numbered {
	out := map[*leaf]*numbered{}
	for i, e := range exprs {
		c, ok := unwrapped(e).(*sqlparser.ColName)
		if !ok {
			continue
		}
		l, at := q.owner(c)
		if l == nil || l.relation.Schema()[at].Type.Kind != wanted.Schema[columns[i]].Type.Kind {
			continue
		}
		values := map[string]bool{}
		null := false
		for row := range wanted.Len {
			null = null || wanted.Columns[columns[i]].Null(row) // an outer join makes it of rows that are not there
			values[key(wanted, row, columns[i:i+1])] = true
		}
		if null {
			continue
		}
		if out[l] == nil {
			out[l] = &numbered{inner: l.relation}
		}
		out[l].columns, out[l].values = append(out[l].columns, at), append(out[l].values, values)
	}
	return out
}

// owner returns the leaf of a column; nil where it is not certain.
func (q *blockQuery) owner(c *sqlparser.ColName) (*leaf, int) {
	var found *leaf
	at := -1
	for _, l := range q.leaves {
		if l.opaque != "" {
			return nil, -1
		}
		i := l.relation.Schema().Index(c.Name.String())
		if i < 0 || !c.Qualifier.IsEmpty() && !strings.EqualFold(c.Qualifier.Name.String(), l.alias) {
			continue
		}
		if found != nil {
			return nil, -1 // USING, or an error that the SELECT reports itself
		}
		found, at = l, i
	}
	return found, at
}

// collect runs the SELECT with the numbers of the rows behind it. match is given each batch and the number of columns of
// the list, and finds for a row of it the rows of which it is a part.
func (r *run) collect(ctx context.Context, q *blockQuery, list sqlparser.SelectExprs, filters map[*leaf]*numbered, match func(*tables.Batch, int) func(int) []int) ([]hit, error) {
	hits := make([]hit, len(q.leaves))
	var told []int // leaves that tell numbers
	for i, l := range q.leaves {
		hits[i] = hit{}
		if l.opaque == "" {
			told = append(told, i)
		}
	}
	err := r.each(ctx, q, q.text(list, true), filters, func(b *tables.Batch) {
		n := len(b.Schema) - len(told)
		found := match(b, n)
		for row := range b.Len {
			of := found(row)
			if of == nil {
				continue
			}
			for i, leaf := range told {
				if c := &b.Columns[n+i]; !c.Null(row) { // null where an outer join found nothing
					hits[leaf][c.Ints[row]] = merged(hits[leaf][c.Ints[row]], of)
				}
			}
		}
	})
	return hits, err
}

// merged adds numbers to a list that has each once.
func merged(list, more []int) []int {
	for _, n := range more {
		if !slices.Contains(list, n) {
			list = append(list, n)
		}
	}
	return list
}

// each runs a SELECT over the leaves of a block and calls f for its batches.
func (r *run) each(ctx context.Context, q *blockQuery, sql string, filters map[*leaf]*numbered, f func(*tables.Batch)) error {
	overlay := map[string]tables.Relation{}
	for _, l := range q.leaves {
		if l.opaque != "" {
			continue
		}
		n := filters[l]
		if n == nil {
			n = &numbered{inner: l.relation}
		}
		held, err := n.held(ctx)
		if err != nil {
			return fmt.Errorf("read rows of %s: %w", l.name, err)
		}
		overlay[l.placeholder] = held
	}
	result, err := r.Run(ctx, sql, overlay)
	if err != nil {
		return err
	}
	defer result.Close()
	return tables.EachBatch(ctx, result, func(b *tables.Batch) error {
		f(b)
		return nil
	})
}
