package queries

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"smelt/queries/ddl"
	"smelt/tables"
	"smelt/tables/sieve"
)

// A quarantine is a table beside another: the rows of its SELECT that a rule ON VIOLATION QUARANTINE kept out. Two tables
// cannot be committed at once, so the table itself decides: each change that moves rows into or out of the quarantine has
// a number, is written to the quarantine first, and counts when the table has committed with that number. What a crash
// leaves in the quarantine that does not count is taken out again by tidy before the next number is given.
const (
	// QuarantineSuffix is what the name of a quarantine has behind that of its table.
	QuarantineSuffix = "__quarantine"
	// kindQuarantine is what the property smelt.kind says of a quarantine.
	kindQuarantine = "quarantine"

	quarantinePrefix = "_quarantine_"
	columnRules      = quarantinePrefix + "rules"  // names of the rules, as [a;b]
	columnReason     = quarantinePrefix + "reason" // the rules themselves
	columnTime       = quarantinePrefix + "time"
	columnSource     = quarantinePrefix + "source" // file, or version of the source
	columnSince      = "__smelt_since"             // number of the change that the row came with
	columnUntil      = "__smelt_until"             // number of the change that it goes with; NULL while none is planned

	// Progress of the table: the number of its newest change, and that before which rows do not count any more.
	txnMoved = "smelt:quarantine"
	txnFrom  = "smelt:quarantine:from"
	// Progress of the quarantine: the newest number written to it, the newest that rows were to go with, and that up to
	// which nothing is left to tidy.
	txnWritten = "smelt:quarantine:written"
	txnGoing   = "smelt:quarantine:going"
	txnTidied  = "smelt:quarantine:tidied"
)

// operationMark is what a commit of a quarantine says by which rows are marked to go.
const operationMark = "MARK QUARANTINE"

// maxHeldRows bounds the rows that one change moves into or out of a quarantine: they are held in memory.
const maxHeldRows = 2 << 20

func reservedColumn(name string) bool {
	return strings.HasPrefix(strings.ToLower(name), quarantinePrefix)
}

// quarantines reports whether a rule has rows put into quarantine.
func quarantines(rules []ddl.Expectation) bool {
	return slices.ContainsFunc(rules, func(e ddl.Expectation) bool { return e.Action == ddl.Quarantine })
}

// isQuarantine reports whether a table is the quarantine of another.
func isQuarantine(d tables.Definition) bool { return d.Properties[propertyKind] == kindQuarantine }

// ownerOf names the table that brings forth what is read by a name: that of a quarantine, or itself.
func ownerOf(name string) string { return strings.TrimSuffix(strings.ToLower(name), QuarantineSuffix) }

// quarantineSchema is the columns of the quarantine of a table; none while those of the table are not known.
func quarantineSchema(schema tables.Schema) tables.Schema {
	if len(schema) == 0 {
		return nil
	}
	text, long := tables.Type{Kind: tables.String}, tables.Type{Kind: tables.Long}
	return append(slices.Clone(schema),
		tables.Field{Name: columnRules, Type: text, Comment: "the rules that the row violates, as [a;b]"},
		tables.Field{Name: columnReason, Type: text, Comment: "what these rules say"},
		tables.Field{Name: columnTime, Type: tables.Type{Kind: tables.Timestamp}, Comment: "when the row was judged, UTC"},
		tables.Field{Name: columnSource, Type: text, Comment: "the file that the row came from, or the version of the source"},
		tables.Field{Name: columnSince, Type: long}, tables.Field{Name: columnUntil, Type: long})
}

// quarantine is the one of a flow's table. It is used by one batch at a time.
type quarantine struct {
	table *tables.Table // the quarantine itself
	of    *tables.Table
}

// quarantine returns the quarantine of the flow's table, tidied, or nil if there is none and no rule asks for one.
func (f *flow) quarantine(ctx context.Context, t *tables.Table) (*quarantine, error) {
	q, err := f.findQuarantine(t)
	switch {
	case err != nil:
		return nil, err
	case q == nil && !quarantines(f.create.Expectations):
		return nil, nil
	case q == nil:
		made, err := f.g.cfg.Store.Create(ctx, t.Database(), t.Name()+QuarantineSuffix, tables.Definition{Schema: quarantineSchema(t.Snapshot().Schema()),
			Comment: "rows that violate the rules of " + t.Name(), Properties: map[string]string{propertyKind: kindQuarantine}})
		if err != nil {
			return nil, err
		}
		q = &quarantine{table: made, of: t}
	}
	if err := q.tidy(ctx); err != nil {
		return nil, err
	}
	return q, q.conform(ctx)
}

// conform gives the quarantine the columns of its table, so that readers see them before the first row comes, and the rows
// that are there can move into the table.
func (q *quarantine) conform(ctx context.Context) error {
	now, schema := q.table.Snapshot(), quarantineSchema(q.of.Snapshot().Schema())
	if len(schema) == 0 || slices.Equal(now.Schema(), schema) {
		return nil
	}
	d := now.Definition()
	d.Schema = schema
	if now.Rows() == 0 {
		_, err := q.table.Commit(ctx, tables.Commit{Operation: "ALTER TABLE", Define: &d, Overwrite: true})
		return err
	}
	merged, changed, fits := q.widened(schema)
	if !changed || !fits && q.of.Snapshot().Definition().Properties[propertyKind] == kindName(ddl.MaterializedView) {
		return nil // the rows of a view's new SELECT replace these, whatever their types
	}
	d.Schema = merged
	_, err := q.table.Redefine(ctx, d, tables.Commit{Operation: "CHANGE COLUMN"})
	return err
}

// tidy takes out of the quarantine, if there is one, what an earlier batch left there.
func (f *flow) tidy(ctx context.Context) error {
	t, err := f.table()
	if err != nil {
		return err
	}
	q, err := f.findQuarantine(t)
	if err != nil || q == nil {
		return err
	}
	return q.tidy(ctx)
}

// voided returns the progress by which a table that is filled anew says that the rows of its quarantine are void.
func (f *flow) voided(t *tables.Table) (map[string]int64, error) {
	q, err := f.findQuarantine(t)
	if err != nil || q == nil {
		return nil, err
	}
	n := q.next()
	return map[string]int64{txnMoved: n, txnFrom: n}, nil
}

// findQuarantine returns the quarantine of the flow's table as it is, nil if there is none.
func (f *flow) findQuarantine(t *tables.Table) (*quarantine, error) {
	found, err := f.g.cfg.Store.Table(t.Database(), t.Name()+QuarantineSuffix)
	switch {
	case errors.Is(err, tables.ErrNotFound):
		return nil, nil
	case err != nil:
		return nil, err
	case !isQuarantine(found.Snapshot().Definition()):
		if quarantines(f.create.Expectations) {
			return nil, f.quarantineTaken(found.Name())
		}
		return nil, nil
	}
	return &quarantine{table: found, of: t}, nil
}

// mayQuarantine refuses rules that ask for a quarantine whose name belongs to something else.
func (f *flow) mayQuarantine() error {
	if !quarantines(f.create.Expectations) {
		return nil
	}
	name := f.ref.table + QuarantineSuffix
	if t, err := f.g.cfg.Store.Table(f.ref.database, name); err == nil && !isQuarantine(t.Snapshot().Definition()) {
		return f.quarantineTaken(name)
	}
	if _, err := f.g.cfg.Store.View(f.ref.database, name); err == nil {
		return f.quarantineTaken(name)
	}
	return nil
}

func (f *flow) quarantineTaken(name string) error {
	return fmt.Errorf("the quarantine of %s: table or view %s.%s: %w", f.ref, f.ref.database, name, tables.ErrExists)
}

// propertyNewName is the name that the table of a quarantine is about to get: whether it has got it says the store. So no
// quarantine is lost by a crash between the two names.
const propertyNewName = "smelt.newName"

// announceName notes in the quarantine, if there is one, that its table is about to get another name.
func (f *flow) announceName(ctx context.Context, to string) error {
	t, err := f.table()
	if err != nil {
		return err
	}
	q, err := f.findQuarantine(t)
	if err != nil || q == nil {
		return err
	}
	_, tableErr := f.g.cfg.Store.Table(f.ref.database, to+QuarantineSuffix)
	if _, err := f.g.cfg.Store.View(f.ref.database, to+QuarantineSuffix); tableErr == nil || err == nil {
		return fmt.Errorf("rename %s: table or view %s.%s%s: %w", f.ref, f.ref.database, to, QuarantineSuffix, tables.ErrExists)
	}
	return noteName(ctx, q.table, to)
}

func noteName(ctx context.Context, quarantine *tables.Table, to string) error {
	d := quarantine.Snapshot().Definition()
	d.Properties = maps.Clone(d.Properties)
	delete(d.Properties, propertyNewName)
	if to != "" {
		d.Properties[propertyNewName] = to
	}
	_, err := quarantine.Commit(ctx, tables.Commit{Operation: "RENAME", Define: &d})
	return err
}

// renameQuarantine lets a quarantine follow its table.
func (g *Graph) renameQuarantine(ctx context.Context, quarantine *tables.Table, of string) error {
	database, to := quarantine.Database(), of+QuarantineSuffix
	if err := g.cfg.Store.Rename(ctx, database, quarantine.Name(), to); err != nil {
		return err
	}
	renamed, err := g.cfg.Store.Table(database, to)
	if err != nil {
		return err
	}
	return noteName(ctx, renamed, "")
}

// span says which rows of a quarantine count.
type span struct{ from, moved int64 }

// spanOf reads it off the table that the quarantine belongs to.
func spanOf(t *tables.Snapshot) span {
	from, _ := t.Txn(txnFrom)
	moved, _ := t.Txn(txnMoved)
	return span{from, moved}
}

// counts reports whether a row is in quarantine.
func (s span) counts(b *tables.Batch, since, until, row int) bool {
	came := b.Columns[since].Ints[row]
	return came >= s.from && came <= s.moved && (b.Columns[until].Null(row) || b.Columns[until].Ints[row] > s.moved)
}

// InQuarantine returns the rows of a quarantine that count, by what the table is that it belongs to.
func InQuarantine(rows, of *tables.Snapshot) tables.Relation {
	s := spanOf(of)
	if !untidy(rows, s) {
		return rows
	}
	return sieve.Rows(rows, []string{columnSince, columnUntil}, func(b *tables.Batch, at []int, row int) bool {
		return s.counts(b, at[0], at[1], row)
	})
}

// next returns a number that no change had.
func (q *quarantine) next() int64 {
	n := int64(0)
	for _, s := range []*tables.Snapshot{q.of.Snapshot(), q.table.Snapshot()} {
		for _, txn := range []string{txnMoved, txnFrom, txnWritten, txnTidied} {
			if at, ok := s.Txn(txn); ok {
				n = max(n, at)
			}
		}
	}
	return n + 1
}

// untidy reports whether there may be rows that do not count, or that are marked to go with a change that never was.
func untidy(rows *tables.Snapshot, s span) bool {
	if rows.Rows() == 0 {
		return false
	}
	written, _ := rows.Txn(txnWritten)
	going, _ := rows.Txn(txnGoing)
	tidied, _ := rows.Txn(txnTidied)
	return written > s.moved && written > tidied || going > tidied || s.from > tidied
}

// tidy takes out the rows that do not count, and the marks of changes that never were.
func (q *quarantine) tidy(ctx context.Context) error {
	// While it is open whether the table has a number nothing may be done to the rows that came or are to go with it.
	if err := errors.Join(q.of.Settle(), q.table.Settle()); err != nil {
		return err
	}
	s := spanOf(q.of.Snapshot())
	if !untidy(q.table.Snapshot(), s) {
		return nil
	}
	marked, err := q.rows(ctx, func(b *tables.Batch, since, until, row int) bool {
		return s.counts(b, since, until, row) && !b.Columns[until].Null(row)
	})
	if err != nil {
		return err
	}
	if marked.Len > 0 {
		if _, err := q.table.Edit(ctx, marked, q.until(marked, 0), tables.Commit{Operation: "UNMARK QUARANTINE"}); err != nil {
			return err
		}
	}
	void, err := q.rows(ctx, func(b *tables.Batch, since, until, row int) bool { return !s.counts(b, since, until, row) })
	if err != nil {
		return err
	}
	c := tables.Commit{Operation: "TIDY QUARANTINE", Txns: map[string]int64{txnTidied: q.next() - 1}}
	if tidied, _ := q.table.Snapshot().Txn(txnTidied); s.from > tidied {
		c.Parameters = map[string]string{parameterVoid: strconv.FormatInt(s.from, 10)}
	}
	if void.Len == 0 {
		_, err = q.table.Commit(ctx, c)
	} else {
		_, err = q.table.Edit(ctx, void, nil, c)
	}
	return err
}

// parameterVoid is what a commit has by which the rows left that came before the table was filled anew.
const parameterVoid = "smelt.from"

// rows reads those that are chosen.
func (q *quarantine) rows(ctx context.Context, choose func(b *tables.Batch, since, until, row int) bool) (*tables.Batch, error) {
	now := q.table.Snapshot()
	schema := now.Schema()
	if len(schema) == 0 {
		return tables.NewBatch(nil, 0), nil
	}
	since, until := schema.Index(columnSince), schema.Index(columnUntil)
	if since < 0 || until < 0 {
		return nil, fmt.Errorf("read quarantine %s.%s: it has no column %s", q.table.Database(), q.table.Name(), columnSince)
	}
	r, err := now.Scan(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return collect(ctx, r, schema, func(b *tables.Batch) *tables.Batch {
		keep := make([]bool, b.Len)
		for row := range keep {
			keep[row] = choose(b, since, until, row)
		}
		return b.Filter(keep)
	})
}

// counted reads the rows that are in quarantine.
func (q *quarantine) counted(ctx context.Context) (*tables.Batch, error) {
	return q.rows(ctx, spanOf(q.of.Snapshot()).counts)
}

// until returns the rows marked to go with a change, or, with 0, with none.
func (q *quarantine) until(rows *tables.Batch, number int64) *tables.Batch {
	out := &tables.Batch{Schema: rows.Schema, Columns: slices.Clone(rows.Columns), Len: rows.Len}
	var marks tables.Column
	for range rows.Len {
		if number == 0 {
			marks.AppendNull(tables.Long)
		} else {
			marks.AppendInt(number)
		}
	}
	out.Columns[rows.Schema.Index(columnUntil)] = marks
	return out
}

// mark notes that rows, as they shall be, go with the change of a number, which the table is to commit.
func (q *quarantine) mark(ctx context.Context, rows, updated *tables.Batch, number int64) error {
	_, err := q.table.Edit(ctx, rows, q.until(updated, number), tables.Commit{Operation: operationMark, Txns: map[string]int64{txnWritten: number, txnGoing: number}})
	return err
}

// release marks the rows that are chosen to go with c, which the table commits next, and counts them.
func (q *quarantine) release(ctx context.Context, c *tables.Commit, choose func(b *tables.Batch, row int) bool) (int64, error) {
	if q == nil || q.table.Snapshot().Rows() == 0 {
		return 0, nil
	}
	s := spanOf(q.of.Snapshot())
	gone, err := q.rows(ctx, func(b *tables.Batch, since, until, row int) bool {
		return s.counts(b, since, until, row) && choose(b, row)
	})
	if err != nil || gone.Len == 0 {
		return 0, err
	}
	number := q.next()
	if err := q.mark(ctx, gone, gone, number); err != nil {
		return 0, err
	}
	c.Txns[txnMoved] = number
	c.Parameters[parameterFreed] = strconv.Itoa(gone.Len)
	return int64(gone.Len), nil
}

// done tidies the quarantine behind the commit of its table, of which err came.
func (q *quarantine) done(ctx context.Context, err error) error {
	if q == nil {
		return err
	}
	return errors.Join(err, q.tidy(context.WithoutCancel(ctx)))
}

func (in *intake) append(ctx context.Context, number int64) error {
	schema := quarantineSchema(in.rows.Schema[:len(in.rows.Schema)-4])
	b := &tables.Batch{Schema: schema, Columns: slices.Clone(in.rows.Columns), Len: in.rows.Len}
	var since, until tables.Column
	for range b.Len {
		since.AppendInt(number)
		until.AppendNull(tables.Long)
	}
	b.Columns = append(b.Columns, since, until)
	c := tables.Commit{Operation: "QUARANTINE", Txns: map[string]int64{txnWritten: number}}
	in.q.define(&c, schema)
	rows, err := tables.FromBatches(schema, b).Scan(ctx, nil)
	if err != nil {
		return err
	}
	c.Rows = rows
	_, err = in.q.table.Commit(ctx, c)
	return err
}

// widened returns the columns of the quarantine with those of rows that are to come; fits says that no type differs.
func (q *quarantine) widened(schema tables.Schema) (merged tables.Schema, changed, fits bool) {
	fits = true
	merged = slices.Clone(schema)
	now := q.table.Snapshot().Schema()
	for _, f := range now {
		if i := merged.Index(f.Name); i < 0 {
			merged = append(merged, f)
		} else {
			fits = fits && merged[i].Type == f.Type
		}
	}
	return merged, !fits || len(merged) != len(now), fits
}
