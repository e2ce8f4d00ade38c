package queries

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"smelt/queries/cdc"
	"smelt/queries/ddl"
	"smelt/tables"
	"smelt/tables/filter"
)

// Strategy of a flow whose rows are change events, and why.
const (
	strategyChanges = "apply changes"
	newestReason    = "the newest event of each key counts"
	historyReason   = "each event of a key ends a row and begins one"
)

// Columns of the query of changes beside those of its source and of package cdc; package ddl makes them.
const (
	deleteColumn   = "__smelt_delete"
	truncateColumn = "__smelt_truncate"
)

// stateChanges names the table of events that are remembered beside the rows, and in it the progress of the table that
// they belong to: rows with a greater number in numberColumn were written by a batch that never came about.
const (
	stateChanges = "changes"
	numberColumn = "__smelt_batch"
)

// specOf says what the events mean.
func specOf(c *ddl.Changes) *cdc.Spec {
	return &cdc.Spec{Keys: c.Keys, History: c.History, IgnoreNulls: c.IgnoreNulls, Track: c.Track, TrackBut: c.TrackBut}
}

// chosenColumns returns the columns of the query that the table gets, by COLUMNS.
func chosenColumns(c *ddl.Changes, query tables.Schema) (tables.Schema, error) {
	is := func(name string) func(string) bool {
		return func(other string) bool { return strings.EqualFold(name, other) }
	}
	var out tables.Schema
	for _, f := range query {
		if cdc.IsSequence(f.Name) || f.Name == deleteColumn || f.Name == truncateColumn || f.Name == cdc.Operation {
			continue
		}
		if c.Columns != nil && !slices.ContainsFunc(c.Columns, is(f.Name)) || slices.ContainsFunc(c.Except, is(f.Name)) {
			continue
		}
		out = append(out, f)
	}
	for _, name := range slices.Concat(c.Columns, c.Except) {
		if query.Index(name) < 0 {
			return nil, fmt.Errorf("%w: COLUMNS names %q, which the source has not: %s", ErrUnsupported, name, strings.Join(query.Names(), ", "))
		}
	}
	return out, nil
}

// eventSchema returns the columns of events: those of the query that the table gets, those that it has of other flows, and
// those of package cdc.
func eventSchema(c *ddl.Changes, query, table tables.Schema) (tables.Schema, error) {
	out, err := chosenColumns(c, query)
	if err != nil {
		return nil, err
	}
	for _, f := range table {
		own := cdc.IsSequence(f.Name) || c.History && (f.Name == cdc.StartAt || f.Name == cdc.EndAt)
		if !own && out.Index(f.Name) < 0 {
			out = append(out, f)
		}
	}
	for _, f := range query {
		if cdc.IsSequence(f.Name) {
			out = append(out, f)
		}
	}
	out = append(out, tables.Field{Name: cdc.Operation, Type: tables.Type{Kind: tables.Long}})
	if err := specOf(c).Check(out); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnsupported, err)
	}
	return out, nil
}

// changedSchema returns the columns of a table of changes for those of the query.
func changedSchema(c *ddl.Create, query tables.Schema) (tables.Schema, error) {
	for _, e := range c.Expectations {
		if !e.OnRows() || e.Action == ddl.Quarantine {
			return nil, fmt.Errorf("%w: rule %s on changes by key: KEYS make rows unique, and an event in quarantine would be missed by those behind it; use EXPECT (expression) with DROP ROW or FAIL UPDATE",
				ErrUnsupported, e.Name)
		}
	}
	if len(query) == 0 {
		return nil, nil // not known yet
	}
	events, err := eventSchema(c.Changes, query, nil)
	if err != nil {
		return nil, err
	}
	return specOf(c.Changes).TableSchema(events), nil
}

// changing is one batch of changes on its way.
type changing struct {
	*flow
	spec   *cdc.Spec
	table  *tables.Table
	now    *tables.Snapshot
	state  *tables.Table
	number int64 // of the batch, among those of all flows of the table
	events *tables.Batch
	prior  *tables.Batch // remembered events of the keys
	rows   *tables.Batch // of the table, of the keys
}

// applyChanges runs the query over the overlay and changes the table by the events that it yields. The events that must be
// remembered beside the rows go first, into the state, under the number of a batch that counts once the table's own
// commit carries it: a crash between the two leaves the table as it was, and the next batch clears away what is too much.
func (f *flow) applyChanges(ctx context.Context, t *tables.Table, overlay map[string]tables.Relation, c tables.Commit, p *Progress, feeds []FeedBatch) error {
	w := &changing{flow: f, spec: specOf(f.create.Changes), table: t, now: t.Snapshot()}
	if err := w.read(ctx, overlay, p); err != nil {
		return err
	}
	if err := w.open(ctx); err != nil {
		return err
	}
	reduced, err := w.reduce(ctx)
	if err != nil {
		return err
	}
	if err := w.remember(ctx, reduced); err != nil {
		return err
	}
	keys, rows := w.changed(reduced)
	if c.Define, err = f.redefined(w.now, reduced.Rows.Schema); err != nil {
		return err
	}
	p.RowsOut = int64(rows.Len)
	c.Txns[w.app()] = w.number
	c.Parameters = f.parameters()
	c.Metrics = map[string]string{}
	c.Prepare = func(ctx context.Context) error {
		for _, b := range feeds {
			if err := b.Record(ctx); err != nil {
				return err
			}
			maps.Copy(c.Metrics, b.Metrics())
			p.addFeed(b.Metrics())
		}
		p.Duration = time.Since(p.Started)
		p.Write = max(0, p.Duration-p.Read-p.Query)
		maps.Copy(c.Metrics, p.metrics())
		return nil
	}
	if keys.Len+rows.Len == 0 {
		p.Version, err = commit(ctx, t, c, feeds)
		return err
	}
	if c.Rows, err = tables.FromBatches(rows.Schema, rows).Scan(ctx, nil); err != nil {
		return err
	}
	p.Version, err = t.Merge(ctx, keys, c)
	return told(feeds, err)
}

// read runs the query and makes events of its rows.
func (w *changing) read(ctx context.Context, overlay map[string]tables.Relation, p *Progress) error {
	result, err := w.ask(ctx, w.create, overlay, p)
	if err != nil {
		return err
	}
	defer result.Close()
	rows := newChecked(result, w.create.Expectations, nil, p)
	w.events, err = eventsOf(ctx, w.create.Changes, rows, w.now.Schema())
	return err
}

// eventsOf reads the rows of a query of changes as events.
func eventsOf(ctx context.Context, c *ddl.Changes, rows Result, table tables.Schema) (*tables.Batch, error) {
	schema, err := eventSchema(c, rows.Schema(), table)
	if err != nil {
		return nil, err
	}
	out := tables.NewBatch(schema, 0)
	err = tables.EachBatch(ctx, rows, func(b *tables.Batch) error {
		part := conform(b, schema)
		operation := &part.Columns[len(schema)-1]
		*operation = tables.Column{Ints: make([]int64, b.Len)}
		for i, name := range []string{deleteColumn, truncateColumn} {
			if at := b.Schema.Index(name); at >= 0 {
				for row := range b.Len {
					if truth(b, at, row) {
						operation.Ints[row] = int64(cdc.Delete + i)
					}
				}
			}
		}
		if row := cdc.NullSequence(part); row >= 0 {
			return fmt.Errorf("%w: SEQUENCE BY is NULL in the row %s; an expectation ON VIOLATION DROP ROW leaves such rows out", ErrExpectation, showRow(part, row))
		}
		out.Append(part)
		return nil
	})
	return out, err
}

// conform arranges the columns of a batch by a schema; those that it lacks are null.
func conform(b *tables.Batch, schema tables.Schema) *tables.Batch {
	out := &tables.Batch{Schema: schema, Columns: make([]tables.Column, len(schema)), Len: b.Len}
	for i, f := range schema {
		if at := b.Schema.Index(f.Name); at >= 0 {
			out.Columns[i] = b.Columns[at]
			continue
		}
		for range b.Len {
			out.Columns[i].AppendNull(f.Type.Kind)
		}
	}
	return out
}

// app is the name under which table and state count the batches of changes.
func (w *changing) app() string { return generation(w.now) + ":" + stateChanges }

// open finds the state, makes room in it for new columns, and clears away what a batch left that never came about.
func (w *changing) open(ctx context.Context) error {
	committed, _ := w.now.Txn(w.app())
	w.number = committed + 1
	d := tables.Definition{Schema: w.stateSchema(), Comment: "events that the rows of the table cannot tell"}
	var err error
	if w.state, err = w.own().openState(ctx, w.table, generation(w.now)+"-"+stateChanges, d); err != nil {
		return err
	}
	was := w.state.Snapshot()
	if written, ok := was.Txn(w.app()); ok && written > committed {
		left, err := w.scanState(ctx, was.Prune([]filter.Condition{{Column: numberColumn, Op: filter.Greater, Values: tables.Column{Ints: []int64{committed}}}}),
			was.Schema(), func(number int64) bool { return number > committed })
		if err != nil {
			return err
		}
		if left.Len > 0 {
			if _, err := w.state.Edit(ctx, left, nil, tables.Commit{Operation: "DELETE"}); err != nil {
				return err
			}
		}
	}
	if missing := missingColumns(was.Schema(), d.Schema); len(missing) > 0 {
		d.Schema = append(slices.Clone(was.Schema()), missing...)
		_, err = w.state.Commit(ctx, tables.Commit{Operation: "ALTER TABLE", Define: &d})
	}
	return err
}

// openState returns a table of the flow's own inside its table; it stays open. The caller holds batch.
func (f *flow) openState(ctx context.Context, t *tables.Table, name string, d tables.Definition) (*tables.Table, error) {
	if f.stateName != name {
		state, err := t.State(ctx, name, d)
		if err != nil {
			return nil, err
		}
		f.beside, f.stateName = state, name
	}
	return f.beside, f.beside.Settle()
}

func missingColumns(has, wants tables.Schema) (missing tables.Schema) {
	for _, f := range wants {
		if has.Index(f.Name) < 0 {
			missing = append(missing, f)
		}
	}
	return missing
}

// stateSchema returns the columns of the state: keys and sequence where the rows of the table tell the rest.
func (w *changing) stateSchema() tables.Schema {
	var out tables.Schema
	for _, f := range w.events.Schema {
		isKey := slices.ContainsFunc(w.spec.Keys, func(k string) bool { return strings.EqualFold(k, f.Name) })
		if !w.spec.Stored() || isKey || cdc.IsSequence(f.Name) || f.Name == cdc.Operation {
			out = append(out, f)
		}
	}
	return append(out, tables.Field{Name: numberColumn, Type: tables.Type{Kind: tables.Long}})
}

// scanState reads rows of the state by the number of their batch.
func (w *changing) scanState(ctx context.Context, from tables.Relation, schema tables.Schema, keep func(number int64) bool) (*tables.Batch, error) {
	out := tables.NewBatch(schema, 0)
	r, err := from.Scan(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	err = tables.EachBatch(ctx, r, func(b *tables.Batch) error {
		numbers := b.Columns[b.Schema.Index(numberColumn)].Ints
		chosen := make([]bool, b.Len)
		for row := range chosen {
			chosen[row] = keep(numbers[row])
		}
		out.Append(conform(b.Filter(chosen), schema))
		return nil
	})
	return out, err
}

// reduce finds what is known of the keys of the events and what it comes to with them.
func (w *changing) reduce(ctx context.Context) (*cdc.Reduced, error) {
	keys := w.spec.KeysOf(w.events)
	schema := w.events.Schema
	operations := w.events.Columns[schema.Index(cdc.Operation)].Ints
	whole := slices.Contains(operations, cdc.Truncate) // which touches all keys
	known, err := w.state.Snapshot().Matching(keys)
	if err != nil {
		return nil, err
	}
	committed := func(number int64) bool { return number < w.number }
	if w.prior, err = w.scanState(ctx, known, schema, committed); err != nil {
		return nil, err
	}
	if !w.spec.History {
		if err := w.truncations(ctx, committed); err != nil {
			return nil, err
		}
	}
	rows := tables.Relation(w.now)
	tableSchema := w.spec.TableSchema(schema)
	if w.rows = tables.NewBatch(tableSchema, 0); len(w.now.Schema()) > 0 {
		if !whole {
			if rows, err = w.now.Matching(keys); err != nil {
				return nil, err
			}
		} else if !w.spec.Stored() { // all keys come from the state
			if w.prior, err = w.scanState(ctx, w.state.Snapshot(), schema, committed); err != nil {
				return nil, err
			}
		}
		all, err := tables.ReadAll(ctx, rows, nil)
		if err != nil {
			return nil, err
		}
		w.rows = conform(all, tableSchema)
	}
	all := tables.NewBatch(schema, 0)
	all.Append(w.prior)
	all.Append(w.events)
	if w.spec.Stored() {
		all.Append(cdc.RowEvents(w.rows, schema))
	}
	return w.spec.Reduce(all)
}

// truncations adds the Truncates of the past to what is known. There is one at most but for those that newer ones outdid.
func (w *changing) truncations(ctx context.Context, committed func(int64) bool) error {
	found, err := w.scanState(ctx, w.state.Snapshot().Prune([]filter.Condition{{Column: cdc.Operation, Op: filter.GreaterEqual,
		Values: tables.Column{Ints: []int64{cdc.Truncate}}}}), w.events.Schema, committed)
	if err != nil {
		return err
	}
	keep := make([]bool, found.Len)
	for row, operation := range found.Columns[found.Schema.Index(cdc.Operation)].Ints {
		keep[row] = operation == cdc.Truncate
	}
	w.prior.Append(found.Filter(keep))
	return nil
}

// remember writes the events that the state lacks.
func (w *changing) remember(ctx context.Context, reduced *cdc.Reduced) error {
	told := w.stateSchema()
	told = told[:len(told)-1]
	_, fresh := cdc.Difference(conform(w.prior, told), conform(reduced.Kept, told))
	if fresh.Len == 0 {
		return nil
	}
	rows := conform(fresh, w.state.Snapshot().Schema())
	number := &rows.Columns[rows.Schema.Index(numberColumn)]
	*number = tables.Column{Ints: slices.Repeat([]int64{w.number}, rows.Len)}
	r, err := tables.FromBatches(rows.Schema, rows).Scan(ctx, nil)
	if err != nil {
		return err
	}
	// By key, so that the next batch reads few of its files; nothing is taken out.
	keys := w.spec.KeysOf(fresh)
	_, err = w.state.Merge(ctx, keys.Filter(make([]bool, keys.Len)), tables.Commit{Operation: "WRITE", Rows: r, Txns: map[string]int64{w.app(): w.number}})
	return err
}

// changed returns the keys whose rows are other ones now, and their rows.
func (w *changing) changed(reduced *cdc.Reduced) (keys, rows *tables.Batch) {
	gone, fresh := cdc.Difference(w.rows, reduced.Rows)
	both := tables.NewBatch(gone.Schema, 0)
	both.Append(gone)
	both.Append(fresh)
	keys = w.spec.KeysOf(both)
	return keys, w.spec.Of(reduced.Rows, keys)
}
