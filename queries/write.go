package queries

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"smelt/queries/ddl"
	"smelt/tables"
)

// write runs the SELECT over the overlay and commits what it yields.
func (f *flow) write(ctx context.Context, t *tables.Table, overlay map[string]tables.Relation, c tables.Commit, p *Progress, feeds []FeedBatch) error {
	q, err := f.quarantine(ctx, t)
	if err != nil {
		return err
	}
	result, err := f.ask(ctx, f.stored(), overlay, p)
	if err != nil {
		return err
	}
	defer result.Close()
	into := f.target(t)
	into.replaces = c.Overwrite
	rows := newChecked(result, f.create.Expectations, into, p)
	if again, err := f.follow(ctx, t, rows.Schema()); again || err != nil {
		return err
	}
	if c.Define, err = f.redefined(t.Snapshot(), rows.Schema()); err != nil {
		return err
	}
	in := f.intake(q, rows, t.Snapshot(), c.Txns)
	c.Rows = rows
	c.Parameters = f.parameters()
	c.Metrics = map[string]string{}
	c.Prepare = func(ctx context.Context) error {
		for _, b := range feeds {
			promised := promisedRows(b)
			if err := b.Record(ctx); err != nil {
				return err
			}
			p.RowsIn += promisedRows(b) - promised
			maps.Copy(c.Metrics, b.Metrics())
			p.addFeed(b.Metrics())
		}
		if err := in.write(ctx, &c); err != nil {
			return err
		}
		p.Duration = time.Since(p.Started)
		p.Write = max(0, p.Duration-p.Read-p.Query)
		maps.Copy(c.Metrics, p.metrics())
		return nil
	}
	p.Version, err = commit(ctx, t, c, feeds)
	return q.done(ctx, err)
}

// promisedRows returns the rows of a batch, as far as it knows: those of a large file are counted by Record at the latest.
func promisedRows(b FeedBatch) int64 {
	if c, ok := b.(tables.Counter); ok {
		return c.Rows()
	}
	return 0
}

// stored returns the statement whose rows the table holds: with a view's, hidden columns beside those of its SELECT.
func (f *flow) stored() *ddl.Create {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.create.Kind != ddl.MaterializedView || f.planned == nil || f.planned.plan == nil {
		return f.create
	}
	c := *f.create
	c.Query = f.planned.plan.SQL
	return &c
}

// pass commits that the files of the feeds were seen while the columns are not known: there was no row in any of them.
func (f *flow) pass(ctx context.Context, t *tables.Table, in *input) error {
	now := t.Snapshot()
	c := tables.Commit{Operation: "STREAMING UPDATE", Txns: map[string]int64{}, Parameters: f.parameters()}
	for _, s := range f.create.Sources {
		if s.Files != nil {
			app := f.progressOf(now, f.feedName(s))
			if number, ok := in.txns[app]; ok {
				c.Txns[app] = number
			}
		}
	}
	c.Prepare = func(ctx context.Context) error {
		for _, b := range in.feeds {
			if err := b.Record(ctx); err != nil {
				return err
			}
		}
		return nil
	}
	_, err := commit(ctx, t, c, in.feeds)
	return err
}

// commit makes the commit and tells the feeds.
func commit(ctx context.Context, t *tables.Table, c tables.Commit, feeds []FeedBatch) (version int64, err error) {
	version, err = t.Commit(ctx, c)
	return version, told(feeds, err)
}

// told tells the feeds of a commit, of which err came. After an error it may stand all the same: then the table is ahead of
// its feeds, and feed opens them anew.
func told(feeds []FeedBatch, err error) error {
	if err == nil {
		for _, b := range feeds {
			b.Committed()
		}
	}
	return err
}

// redefined returns the definition that a commit with rows of the result's columns needs, nil when the present one fits.
// A streaming table gets new columns at the end; a type that differs is an error, because files of the old type are
// there. A view, whose rows are all replaced, takes the columns as they are.
func (f *flow) redefined(now *tables.Snapshot, result tables.Schema) (*tables.Definition, error) {
	if err := checkNames(result, true); err != nil {
		return nil, err
	}
	d := now.Definition()
	d.Partitions = f.create.Partitions // of a table that has no columns yet
	schema := now.Schema()
	if f.create.Kind == ddl.MaterializedView {
		f.mu.Lock()
		plan := ""
		if f.planned != nil {
			plan = f.fingerprint(f.planned.plan)
		}
		f.mu.Unlock()
		if result = f.commented(result); slices.Equal(result, schema) && d.Properties[propertyPlan] == plan {
			return f.withModels(now, nil, true)
		}
		d.Schema, d.Properties = result, maps.Clone(d.Properties)
		d.Properties[propertyPlan] = plan
		return f.withModels(now, &d, true)
	}
	joined := joinedSchema(schema, result)
	for i, col := range schema {
		if joined[i].Type != col.Type && now.Files() > 0 {
			return nil, fmt.Errorf("%w: column %q is %s now and was %s; REFRESH STREAMING TABLE %s FULL rebuilds the table", ErrUnsupported, col.Name, joined[i].Type,
				col.Type, f.ref.table)
		}
	}
	if slices.Equal(joined, schema) {
		return f.withModels(now, nil, false)
	}
	d.Schema = f.commented(joined)
	return f.withModels(now, &d, false)
}
