package queries

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"smelt/queries/cdc"
	"smelt/queries/ddl"
	"smelt/queries/lineage"
	"smelt/tables"
)

// Limits of EXPLAIN ROW.
const (
	// defaultExplained is how many rows are explained when the statement does not say.
	defaultExplained = 10
	// maxExplained bounds the rows of one table in the answer: nobody reads more, and each is looked for in files.
	maxExplained = 1000
	// maxExplainTime bounds the search: SELECTs are run again, models included.
	maxExplainTime = time.Minute
	// maxReread bounds the files that are read again for rows that do not tell their file.
	maxReread = 1000
)

// explainedRows stands for the rows of one level where rules look at them; no table can have a name with a colon.
const explainedRows = "explain:rows"

// explanation is one EXPLAIN ROW on its way.
type explanation struct {
	g     *Graph
	out   []lineage.Explained
	nodes map[string]int // table and row, or file and row -> place in out
	queue []level
}

// level is rows of one table that are to be followed.
type level struct {
	ref   reference
	now   *tables.Snapshot // nil for a view
	rows  *tables.Batch
	ids   []int64 // of the rows in the answer
	depth int64
}

// ExplainRow lists of which rows, files and lines the rows of a table were made for which a condition holds, down to the
// files: first these rows, then those that they were made of, and so on. What cannot be told is said in notes; an error is
// only that the rows themselves cannot be read.
func (g *Graph) ExplainRow(ctx context.Context, s *ddl.Inspect, database string) ([]lineage.Explained, error) {
	search, cancel := context.WithTimeout(ctx, maxExplainTime)
	defer cancel()
	x := &explanation{g: g, nodes: map[string]int{}}
	if err := x.choose(search, s, reference{strings.ToLower(database), strings.ToLower(s.Name)}); err != nil {
		return nil, err
	}
	for len(x.queue) > 0 {
		next := x.queue[0]
		x.queue = x.queue[1:]
		err := x.follow(search, next)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if search.Err() != nil {
			x.note(next.depth+1, next.ids, fmt.Sprintf("not followed further: the %s of a search are over", maxExplainTime))
			break
		}
		if err != nil {
			x.note(next.depth+1, next.ids, "not known: "+firstLine(err.Error()))
		}
	}
	return x.out, nil
}

// choose reads the rows that are asked for.
func (x *explanation) choose(ctx context.Context, s *ddl.Inspect, ref reference) error {
	limit := int(min(s.Limit, maxExplained))
	if s.Limit == 0 {
		limit = defaultExplained
	}
	overlay := map[string]tables.Relation{}
	var now *tables.Snapshot
	if t, err := x.g.cfg.Store.Table(ref.database, ref.table); err == nil {
		now = t.Snapshot()
		overlay[ref.String()] = x.readable(ref, now)
	} else if _, err := x.g.cfg.Store.View(ref.database, ref.table); err != nil {
		return fmt.Errorf("table %s: %w", ref, tables.ErrNotFound)
	}
	columns := "*"
	if now != nil {
		for _, f := range now.Schema() {
			if cdc.IsSequence(f.Name) {
				columns += ", " + quoted(f.Name) // hidden, and tells which event made the row
			}
		}
	}
	result, err := x.g.cfg.Query(ctx, Query{Database: ref.database, Tables: overlay, SQL: fmt.Sprintf("SELECT %s FROM %s.%s WHERE (%s\n)", columns, quoted(ref.database), quoted(ref.table), s.Where)})
	if err != nil {
		return err
	}
	defer result.Close()
	rows := tables.NewBatch(result.Schema(), 0)
	total := int64(0)
	if err := tables.EachBatch(ctx, result, func(b *tables.Batch) error {
		total += int64(b.Len)
		if rows.Len < limit {
			keep := make([]bool, b.Len)
			for i := range keep {
				keep[i] = rows.Len+i < limit
			}
			rows.Append(b.Filter(keep))
		}
		return nil
	}); err != nil {
		return err
	}
	x.add(ctx, ref, now, rows, make([][]int64, rows.Len), 0)
	if more := total - int64(rows.Len); more > 0 {
		x.more(ref, 0, more, "LIMIT explains more of them")
	}
	return nil
}

// readable is the rows of a table that count: of a quarantine not all do.
func (x *explanation) readable(ref reference, now *tables.Snapshot) tables.Relation {
	if !isQuarantine(now.Definition()) {
		return now
	}
	of, err := x.g.cfg.Store.Table(ref.database, ownerOf(ref.table))
	if err != nil {
		return now
	}
	return InQuarantine(now, of.Snapshot())
}

func quoted(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }

// note adds a line that is no row.
func (x *explanation) note(depth int64, usedBy []int64, text string) {
	x.out = append(x.out, lineage.Explained{ID: int64(len(x.out) + 1), Depth: depth, Version: -1, UsedBy: usedBy, Note: text})
}

func (x *explanation) more(ref reference, depth, n int64, hint string) {
	x.note(depth, nil, fmt.Sprintf("and %d more rows, not followed: %s", n, hint))
	x.out[len(x.out)-1].Table = ref.String()
}

// add puts rows into the answer, equal ones once, and queues those that were not there yet. usedBy holds for each row the
// ids of those that were made of it.
func (x *explanation) add(ctx context.Context, ref reference, now *tables.Snapshot, rows *tables.Batch, usedBy [][]int64, depth int64) {
	shown := withoutHidden(rows)
	one := lineage.Explained{Depth: depth, Table: ref.String(), Version: -1}
	if now != nil {
		one.Version = now.Version()
	}
	f := x.flowOf(ref, now)
	if f != nil && len(x.g.flowsOf(f)) == 1 {
		one.Flow, one.Models = f.title(), f.modelsUsed()
	}
	var fresh []int
	next := level{ref: ref, now: now, depth: depth}
	seen := map[int]bool{} // places that this call has counted copies of
	for i := range rows.Len {
		one.Row, one.UsedBy, one.Copies, one.ID = lineage.JSON(shown, i), usedBy[i], 1, int64(len(x.out)+1)
		key := one.Table + "\n" + strconv.FormatInt(one.Version, 10) + "\n" + one.Row
		if at, ok := x.nodes[key]; ok {
			x.out[at].UsedBy = merged(x.out[at].UsedBy, usedBy[i])
			if seen[at] {
				x.out[at].Copies++
				x.out[at].Note = fmt.Sprintf("%d rows are equal and cannot be told apart", x.out[at].Copies)
			}
			continue
		}
		x.nodes[key] = len(x.out)
		seen[len(x.out)] = true
		x.out = append(x.out, one)
		fresh = append(fresh, i)
		next.ids = append(next.ids, one.ID)
	}
	if next.rows = compared(rows).Pick(fresh); next.rows.Len == 0 {
		return
	}
	if f != nil {
		for i, text := range f.rulesSay(ctx, withoutReason(shown.Pick(fresh))) {
			x.out[next.ids[i]-1].Rules = text
		}
	}
	x.queue = append(x.queue, next)
}

// withoutHidden drops what SELECT * does not show.
func withoutHidden(b *tables.Batch) *tables.Batch {
	return only(b, func(f tables.Field) bool {
		return !f.Hidden && !strings.HasPrefix(strings.ToLower(f.Name), hiddenPrefix)
	})
}

// compared drops what a SELECT does not yield.
func compared(b *tables.Batch) *tables.Batch {
	return only(b, func(f tables.Field) bool {
		return cdc.IsSequence(f.Name) || !f.Hidden && !strings.HasPrefix(strings.ToLower(f.Name), hiddenPrefix)
	})
}

func only(b *tables.Batch, keep func(tables.Field) bool) *tables.Batch {
	out := &tables.Batch{Len: b.Len}
	for i, f := range b.Schema {
		if keep(f) {
			out.Schema, out.Columns = append(out.Schema, f), append(out.Columns, b.Columns[i])
		}
	}
	return out
}

// flowOf returns the flow that writes a table, or the quarantine of its table; nil for others.
func (x *explanation) flowOf(ref reference, now *tables.Snapshot) *flow {
	if now != nil && isQuarantine(now.Definition()) {
		ref.table = ownerOf(ref.table)
	}
	return x.g.find(ref.database, ref.table)
}

// withoutReason drops what a quarantine says of its rows.
func withoutReason(b *tables.Batch) *tables.Batch {
	return only(b, func(f tables.Field) bool { return !reservedColumn(f.Name) })
}

// hiddenPrefix begins the names of columns that the system keeps in a table for itself.
const hiddenPrefix = "__smelt_"

// follow finds what the rows of a level were made of.
func (x *explanation) follow(ctx context.Context, l level) error {
	f := x.flowOf(l.ref, l.now)
	if f != nil && l.now != nil && isQuarantine(l.now.Definition()) {
		t, err := f.table() // its commits tell the progress
		if err != nil {
			return err
		}
		l.now, l.rows = t.Snapshot(), withoutReason(l.rows)
	}
	switch {
	case f != nil && f.broken != nil:
		return f.broken
	case f != nil:
		return x.flows(ctx, f, l)
	case l.now != nil:
		return nil // an ordinary table: its rows came by INSERT
	}
	v, err := x.g.cfg.Store.View(l.ref.database, l.ref.table)
	if err != nil {
		return err
	}
	s, err := shapeOf(v.Query, l.ref.database)
	if err != nil {
		return err
	}
	return x.trace(ctx, source{statement: s, database: l.ref.database}, l)
}

// flows follows rows through all flows of their table.
func (x *explanation) flows(ctx context.Context, own *flow, l level) error {
	all := x.g.flowsOf(own)
	if len(all) == 1 {
		return x.flow(ctx, source{statement: own.shape, database: own.database, flow: own}, l)
	}
	for _, f := range all {
		if f.shape.statement == nil {
			continue // the table has no SELECT of its own
		}
		if err := x.flow(ctx, source{statement: f.shape, database: f.database, flow: f, oneOfMany: true}, l); err != nil {
			return err
		}
	}
	var missing []int64
	for _, id := range l.ids {
		if !slices.ContainsFunc(x.out, func(e lineage.Explained) bool { return slices.Contains(e.UsedBy, id) }) {
			missing = append(missing, id)
		}
	}
	if len(missing) > 0 {
		x.note(l.depth+1, missing, madeOfNothing)
	}
	return nil
}

const madeOfNothing = "made of no row that is there today"

// source is what the rows of a level are traced through.
type source struct {
	statement *shape
	database  string
	flow      *flow                      // nil for a view
	files     map[string]tables.Relation // what the placeholders of directories stand for
	found     func(lineage.Traced) error // takes the rows of files; nil where there are no files
	missed    func(rows []int)           // is told of the rows of which nothing was found; nil notes them
	oneOfMany bool                       // of the flows of the table: what one does not find another may
}

// trace runs the SELECT backwards and adds the rows that it finds.
func (x *explanation) trace(ctx context.Context, s source, l level) error {
	opened := map[string]*tables.Snapshot{}
	overlay, err := x.overlay(ctx, s, l)
	if err != nil {
		return err
	}
	run := func(ctx context.Context, sql string, more map[string]tables.Relation) (lineage.Rows, error) {
		for name, r := range overlay {
			if _, ok := more[name]; !ok {
				if more == nil {
					more = map[string]tables.Relation{}
				}
				more[name] = r
			}
		}
		return x.g.cfg.Query(ctx, Query{Database: s.database, SQL: sql, Tables: more})
	}
	tracer := lineage.Tracer{Run: run, Database: s.database, Most: maxExplained, Varying: []string{"processing_time"}}
	if s.flow != nil && s.flow.create.Changes != nil {
		tracer.Compare = eventOf(s.flow.create.Changes)
	}
	tracer.Relation = func(ctx context.Context, name string) (tables.Relation, error) {
		if r, ok := s.files[name]; ok {
			return r, nil
		}
		ref := x.g.behind(name, s.flow)
		if t, err := x.g.cfg.Store.Table(ref.database, ref.table); err == nil {
			then := x.then(ctx, t, l.now, s.flow)
			opened[name] = then
			return x.readable(ref, then), nil
		}
		if systemDatabase(ref.database) {
			return nil, fmt.Errorf("rows of %s: %w: the system keeps no versions of them", ref, lineage.ErrNotKnown)
		}
		return x.viewRows(ctx, ref, run)
	}
	traced, err := tracer.Trace(ctx, s.statement.statement, l.rows)
	if err != nil {
		return err
	}
	found := map[int]bool{}
	for _, t := range traced {
		for _, of := range t.Of {
			for _, i := range of {
				found[i] = true
				if s.oneOfMany {
					x.writtenBy(l.ids[i], s.flow)
				}
			}
		}
		if err := x.traced(ctx, s, l, t, opened[t.Relation]); err != nil {
			return err
		}
	}
	if len(traced) > 0 {
		x.missing(s, l, found)
	}
	return nil
}

// missing says of which rows nothing was found.
func (x *explanation) missing(s source, l level, found map[int]bool) {
	var missing []int
	for i := range l.rows.Len {
		if !found[i] {
			missing = append(missing, i)
		}
	}
	if s.flow != nil && s.flow.create.Changes != nil && !specOf(s.flow.create.Changes).Stored() && len(missing) < l.rows.Len {
		x.note(l.depth+1, l.ids, "all events of the keys, which together made these rows")
	}
	switch {
	case len(missing) == 0 || s.oneOfMany:
	case s.missed != nil:
		s.missed(missing)
	default:
		x.note(l.depth+1, idsOf(l.ids, missing), madeOfNothing)
	}
}

// merged adds ids to a list that has each once.
func merged(list, more []int64) []int64 {
	for _, id := range more {
		if !slices.Contains(list, id) {
			list = append(list, id)
		}
	}
	return list
}

// writtenBy notes which of several flows has written a row; equal rows may come from more than one.
func (x *explanation) writtenBy(id int64, f *flow) {
	one := &x.out[id-1]
	switch {
	case one.Flow == "":
		one.Flow, one.Models = f.title(), f.modelsUsed()
	case !slices.Contains(strings.Split(one.Flow, ", "), f.title()):
		one.Flow += ", " + f.title()
	}
}

func idsOf(ids []int64, rows []int) []int64 {
	out := make([]int64, len(rows))
	for i, r := range rows {
		out[i] = ids[r]
	}
	return out
}

// traced adds the rows of one relation.
func (x *explanation) traced(ctx context.Context, s source, l level, t lineage.Traced, then *tables.Snapshot) error {
	usedBy := make([][]int64, len(t.Of))
	for i, of := range t.Of {
		usedBy[i] = idsOf(l.ids, of)
	}
	if _, isFile := s.files[t.Relation]; isFile {
		return s.found(t)
	}
	ref := x.g.behind(t.Relation, s.flow)
	if t.Rows != nil {
		x.add(ctx, ref, then, t.Rows, usedBy, l.depth+1)
	}
	for _, n := range t.Notes {
		x.note(l.depth+1, l.ids, n)
		if ref.table != "" {
			x.out[len(x.out)-1].Table = ref.String()
		}
	}
	if t.More > 0 {
		x.more(ref, l.depth+1, t.More, fmt.Sprintf("at most %d of a table are", maxExplained))
	}
	return nil
}

// then returns the version of a source that a table had read when it was as it is looked at; the present one where that is
// not known, or its log no longer reaches back.
func (x *explanation) then(ctx context.Context, t *tables.Table, sink *tables.Snapshot, f *flow) *tables.Snapshot {
	now := t.Snapshot()
	if sink == nil || f == nil {
		return now
	}
	version, ok := sink.Txn(f.progressOf(sink, now.ID()))
	if !ok || version >= now.Version() {
		return now
	}
	then, err := t.At(ctx, version)
	if err != nil {
		return now
	}
	return then
}

// overlay pins the tables that the SELECT reads by name, through views too.
func (x *explanation) overlay(ctx context.Context, s source, l level) (map[string]tables.Relation, error) {
	overlay := map[string]tables.Relation{}
	err := x.g.resolve(s.statement.reads, nil, func(r reference, t *tables.Table) { overlay[r.String()] = x.then(ctx, t, l.now, s.flow) })
	return overlay, err
}

// viewRows runs an ordinary view.
func (x *explanation) viewRows(ctx context.Context, ref reference, run func(context.Context, string, map[string]tables.Relation) (lineage.Rows, error)) (tables.Relation, error) {
	result, err := run(ctx, fmt.Sprintf("SELECT * FROM %s.%s", quoted(ref.database), quoted(ref.table)), nil)
	if err != nil {
		return nil, err
	}
	defer result.Close()
	rows, err := collect(ctx, result, result.Schema(), func(b *tables.Batch) *tables.Batch { return b })
	if err != nil {
		return nil, err
	}
	return tables.FromBatches(rows.Schema, rows), nil
}
