package queries

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"smelt/queries/ddl"
	"smelt/tables"
)

// restart empties the table and begins a new generation: streams of it start over, and so does this flow.
func (f *flow) restart(ctx context.Context, t *tables.Table, why string) error {
	if err := f.mayReset(); err != nil {
		return fmt.Errorf("%s: %w", why, err)
	}
	// Ids first: a source that is rebuilt from here on makes the new content outdated at once.
	ids, err := f.currentIDs()
	if err != nil {
		return err
	}
	schema, err := f.describe(ctx, nil)
	if err == nil {
		schema, err = f.withAdded(ctx, schema)
	}
	if err != nil {
		return err
	}
	for _, one := range f.g.flowsOf(f) {
		if err := one.closeFeeds(); err != nil {
			return err
		}
	}
	d, err := f.definition(schema, newGeneration(), ids)
	if err != nil {
		return err
	}
	void, err := f.voided(t)
	if err != nil {
		return err
	}
	_, err = t.Commit(ctx, tables.Commit{Operation: "FULL REFRESH", Parameters: map[string]string{"reason": why}, Txns: void, Overwrite: true, Define: &d, NewID: true,
		Prepare: func(ctx context.Context) error { return f.carryAll(ctx, t, d.Properties[propertyFlow]) }})
	return err
}

// propertyReset is what Delta Live Tables calls the protection of a table whose sources may be gone, as files are that
// cleanSource took away: it is not filled anew.
const propertyReset = "pipelines.reset.allowed"

func (f *flow) mayReset() error {
	if strings.EqualFold(f.create.Properties[propertyReset], "false") {
		return fmt.Errorf("%w: TBLPROPERTIES say %s = false, so %s is not filled anew", ErrUnsupported, propertyReset, f.ref)
	}
	return nil
}

// describe binds the SELECT and returns the table's columns; nil when a source has no columns yet. overlay may name
// tables and views that do not exist yet.
func (f *flow) describe(ctx context.Context, overlay map[string]tables.Relation) (tables.Schema, error) {
	if f.create.Query == "" {
		return nil, f.mayQuarantine()
	}
	all := map[string]tables.Relation{}
	maps.Copy(all, overlay)
	waiting := false
	for _, s := range f.create.Sources {
		r, err := f.emptySource(ctx, s, overlay)
		if err != nil {
			return nil, err
		}
		waiting = waiting || len(r.Schema()) == 0
		all[strings.ToLower(s.Placeholder)] = r
	}
	for _, r := range f.shape.reads {
		if known, ok := overlay[r.String()]; ok && len(known.Schema()) == 0 {
			waiting = true
		}
	}
	err := f.g.resolve(f.shape.reads, overlay, func(_ reference, t *tables.Table) {
		waiting = waiting || len(t.Snapshot().Schema()) == 0 && IsFlow(t.Snapshot().Definition())
	})
	if err != nil || waiting {
		return nil, err
	}
	schema, err := f.g.cfg.Describe(ctx, Query{Database: f.database, SQL: withExpectations(f.create), Tables: all})
	if err != nil {
		return nil, err
	}
	schema = withoutExpectations(schema)
	if f.create.Changes != nil {
		if schema, err = changedSchema(f.create, schema); err != nil {
			return nil, err
		}
	}
	if err := checkNames(schema); err != nil {
		return nil, err
	}
	if err := errors.Join(checkRules(f.create, schema), f.mayQuarantine()); err != nil {
		return nil, err
	}
	if f.name != "" {
		return schema, nil // another flow of the table may yield the rest of its columns
	}
	return schema, checkColumns(f.create, schema)
}

// checkNames refuses columns that a table cannot tell apart.
func checkNames(schema tables.Schema) error {
	seen := map[string]bool{}
	for _, col := range schema {
		lower := strings.ToLower(col.Name)
		if seen[lower] {
			return fmt.Errorf("%w: the SELECT yields two columns %q; give one of them another name with AS", ErrUnsupported, col.Name)
		}
		seen[lower] = true
	}
	return nil
}

// emptySource returns a relation with the columns of a stream and no rows.
func (f *flow) emptySource(ctx context.Context, s ddl.Source, overlay map[string]tables.Relation) (tables.Relation, error) {
	if s.Files == nil {
		if r, ok := overlay[f.streamed(s).String()]; ok {
			return r, nil
		}
		t, err := f.sourceOf(s)
		if err != nil {
			return nil, err
		}
		return tables.FromBatches(t.Snapshot().Schema()), nil
	}
	feed, ok := f.feeds[s.Placeholder]
	if !ok {
		var err error
		if feed, err = f.g.cfg.Feed(ctx, *s.Files, f.base, "", 0); err != nil {
			return nil, err
		}
		defer feed.Close()
	}
	if feed.Empty() {
		return tables.FromBatches(nil), nil
	}
	return tables.FromBatches(feed.Schema()), nil
}

// recompute runs the SELECT of a materialized view anew if a source has changed since the last time, or if forced.
func (f *flow) recompute(ctx context.Context, o *outcome, force bool) error {
	t, err := f.table()
	if err != nil {
		return err
	}
	now := t.Snapshot()
	pinned, err := f.pin()
	if err != nil {
		return err
	}
	if o.waiting = unready(pinned); o.waiting != "" {
		return nil
	}
	p := &o.progress
	// The generation itself is among the progress, so that a view without sources is computed once, too.
	overlay, txns := map[string]tables.Relation{}, map[string]int64{generation(now): 1}
	_, why, err := f.movedModels(now, f.versions)
	if err != nil {
		return err
	}
	changed := force || !computed(now) || why != ""
	for name, s := range pinned {
		app := progressOf(now, s.ID())
		if at, ok := now.Txn(app); !ok || at != s.Version() {
			changed = true
		}
		overlay[name], txns[app] = s, s.Version()
		p.RowsIn += s.Rows()
	}
	if !changed {
		return nil
	}
	f.set(stateRunning, "", nil)
	p.Read = time.Since(p.Started)
	if p.Strategy, p.Reason = strategyRecompute, f.recomputeReason(); why != "" {
		p.Reason = why
	}
	o.did = true
	return f.write(ctx, t, overlay, tables.Commit{Operation: "REFRESH", Txns: txns, Overwrite: true}, p, nil)
}

// recomputeReason says why the view is computed anew.
func (f *flow) recomputeReason() string {
	if f.shape.whole != "" {
		return f.shape.whole + " depends on all rows, and merging is not built yet"
	}
	return "a view equals its SELECT, and merging is not built yet"
}
