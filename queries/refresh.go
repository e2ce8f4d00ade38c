package queries

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"smelt/queries/ddl"
	"smelt/queries/merge"
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
	if err := checkNames(schema, f.create.Changes != nil); err != nil {
		return nil, err
	}
	if f.create.Changes != nil {
		if schema, err = changedSchema(f.create, schema); err != nil {
			return nil, err
		}
	}
	if err := checkNames(schema, true); err != nil {
		return nil, err
	}
	if err := errors.Join(checkRules(f.create, schema), f.mayQuarantine()); err != nil {
		return nil, err
	}
	if f.name != "" {
		return schema, nil // another flow of the table may yield the rest of its columns
	}
	if err := checkColumns(f.create, schema); err != nil {
		return nil, err
	}
	return schema, f.checkPolicy(ctx, overlay)
}

// checkNames refuses columns that a table cannot tell apart, and names of the system unless own allows them.
func checkNames(schema tables.Schema, own bool) error {
	seen := map[string]bool{}
	for _, col := range schema {
		lower := strings.ToLower(col.Name)
		if seen[lower] {
			return fmt.Errorf("%w: the SELECT yields two columns %q; give one of them another name with AS", ErrUnsupported, col.Name)
		}
		seen[lower] = true
		if strings.HasPrefix(lower, merge.OwnPrefix) && !own {
			return fmt.Errorf("%w: the SELECT yields a column %q; names that begin with %s are the system's own, give it another with AS", ErrUnsupported, col.Name, merge.OwnPrefix)
		}
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
	t, now, pinned, err := f.standing()
	if err != nil {
		return err
	}
	if o.waiting = unready(pinned); o.waiting != "" {
		return nil
	}
	p := &o.progress
	// The generation itself is among the progress, so that a view without sources is computed once, too.
	txns := map[string]int64{generation(now): 1}
	_, why, err := f.movedModels(now, f.versions)
	if err != nil {
		return err
	}
	changed := force || !computed(now) || why != ""
	for _, s := range pinned {
		app := progressOf(now, s.ID())
		if at, ok := now.Txn(app); !ok || at != s.Version() {
			changed = true
		}
		txns[app] = s.Version()
	}
	pl := f.planOf(ctx, nil)
	another := now.Definition().Properties[propertyPlan] != f.fingerprint(pl.plan)
	quiet := !force && computed(now) && why == "" && f.seen != nil && maps.Equal(f.seen, versions(pinned)) // nothing came of it
	if !another && (!changed || quiet) {
		return nil
	}
	f.set(stateRunning, "", nil)
	switch {
	case force:
		why = "REFRESH ... FULL"
	case why != "": // a model moved
	case !computed(now):
		why = "it is computed for the first time"
	default:
		if o.did, why, err = f.maintain(ctx, t, pl, pinned, txns, p); err != nil || why == "" {
			return err
		}
		if f.create.Policy == policyStrict {
			return fmt.Errorf("%w: REFRESH POLICY INCREMENTAL STRICT, and it would be computed anew: %s; REFRESH MATERIALIZED VIEW %s FULL does so", ErrUnsupported, why, f.ref.table)
		}
	}
	p.RowsIn = pinnedRows(pinned)
	p.Read = time.Since(p.Started)
	p.Strategy, p.Reason = strategyRecompute, why
	o.did = true
	f.see(nil)
	f.last = map[string]*tables.Snapshot{}
	for _, s := range pinned {
		f.last[s.ID()] = s
	}
	return f.write(ctx, t, overlayOf(pl.plan, pinned), tables.Commit{Operation: "REFRESH", Txns: txns, Overwrite: true}, p, nil)
}

// overlayOf is what the SELECT of a view reads when it is computed anew.
func overlayOf(plan *merge.Plan, pinned map[string]*tables.Snapshot) map[string]tables.Relation {
	if plan != nil {
		return plan.Relations(func(database, table string) tables.Relation { return pinned[database+"."+table] })
	}
	overlay := map[string]tables.Relation{}
	for name, s := range pinned {
		overlay[name] = s
	}
	return overlay
}

func pinnedRows(pinned map[string]*tables.Snapshot) (n int64) {
	for _, s := range pinned {
		n += s.Rows()
	}
	return n
}
