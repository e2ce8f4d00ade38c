package queries

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"smelt/queries/ddl"
	"smelt/tables"
)

// currentIDs returns the ids that the source tables of the streams have now, by placeholder.
func (f *flow) currentIDs() (map[string]string, error) {
	ids := map[string]string{}
	for _, s := range f.create.Sources {
		if s.Files != nil {
			continue
		}
		source, err := f.sourceOf(s)
		if err != nil {
			return nil, err
		}
		ids[s.Placeholder] = source.Snapshot().ID()
	}
	return ids, nil
}

// outdated reports whether a source was rebuilt from the start since this table began to read it, and which.
func (f *flow) outdated(now *tables.Snapshot) (bool, string, error) {
	began, err := sourceIDs(now)
	if err != nil {
		return false, "", err
	}
	ids, err := f.currentIDs()
	if err != nil {
		return false, "", err
	}
	for placeholder, id := range ids {
		if was, ok := began[placeholder]; ok && was != id {
			_, name, _ := strings.Cut(placeholder, ":")
			return true, fmt.Sprintf("its source %s was rebuilt from the start", name), nil
		}
	}
	return false, "", nil
}

// restart empties the table and begins a new generation: streams of it start over, and so does this flow.
func (f *flow) restart(ctx context.Context, t *tables.Table, why string) error {
	if err := f.closeFeeds(); err != nil {
		return err
	}
	ids, err := f.currentIDs()
	if err != nil {
		return err
	}
	schema, err := f.describe(ctx, nil)
	if err != nil {
		return err
	}
	d, err := f.definition(schema, newGeneration(), ids)
	if err != nil {
		return err
	}
	_, err = t.Commit(ctx, tables.Commit{Operation: "FULL REFRESH", Parameters: map[string]string{"reason": why}, Overwrite: true, Define: &d, NewID: true})
	return err
}

// describe binds the SELECT and returns the table's columns; nil when a source has no columns yet. overlay may name
// tables that do not exist yet.
func (f *flow) describe(ctx context.Context, overlay map[string]tables.Relation) (tables.Schema, error) {
	all := map[string]tables.Relation{}
	for name, r := range overlay {
		all[name] = r
	}
	for _, s := range f.create.Sources {
		key := strings.ToLower(s.Placeholder)
		r, err := f.emptySource(ctx, s, overlay)
		if err != nil {
			return nil, err
		}
		if len(r.Schema()) == 0 {
			return nil, nil
		}
		all[key] = r
	}
	for _, r := range f.shape.reads {
		if known, ok := overlay[r.String()]; ok && len(known.Schema()) == 0 {
			return nil, nil
		}
		if t, err := f.g.cfg.Store.Table(r.database, r.table); err == nil && overlay[r.String()] == nil && len(t.Snapshot().Schema()) == 0 && IsFlow(t.Snapshot().Definition()) {
			return nil, nil
		}
	}
	schema, err := f.g.cfg.Describe(ctx, Query{Database: f.database, SQL: withExpectations(f.create), Tables: all})
	if err != nil {
		return nil, err
	}
	schema = withoutExpectations(schema)
	return schema, checkColumns(f.create, schema)
}

// emptySource returns a relation with the columns of a stream and no rows.
func (f *flow) emptySource(ctx context.Context, s ddl.Source, overlay map[string]tables.Relation) (tables.Relation, error) {
	if s.Files == nil {
		database := s.Database
		if database == "" {
			database = f.database
		}
		if r, ok := overlay[strings.ToLower(database+"."+s.Table)]; ok {
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
func (f *flow) recompute(ctx context.Context, p *Progress, force bool) (bool, error) {
	t, err := f.table()
	if err != nil {
		return false, err
	}
	now := t.Snapshot()
	pinned, err := f.pin()
	if err != nil {
		return false, err
	}
	overlay, txns := map[string]tables.Relation{}, map[string]int64{}
	changed := force || len(now.Schema()) == 0 || now.Version() == 0
	for name, s := range pinned {
		if len(s.Schema()) == 0 && IsFlow(s.Definition()) {
			f.set(stateWaiting, fmt.Sprintf("the columns of %s are not known yet", name), nil)
			return false, nil
		}
		app := generation(now) + ":" + s.ID()
		if at, ok := now.Txn(app); !ok || at != s.Version() {
			changed = true
		}
		overlay[name], txns[app] = s, s.Version()
		p.RowsIn += s.Rows()
	}
	if !changed {
		return false, nil
	}
	f.set(stateRunning, "", nil)
	p.Read = time.Since(p.Started)
	p.Strategy, p.Reason = strategyRecompute, f.recomputeReason()
	return true, f.write(ctx, t, overlay, tables.Commit{Operation: "REFRESH", Txns: txns, Overwrite: true}, p, nil)
}

// recomputeReason says why the view is computed anew.
func (f *flow) recomputeReason() string {
	if f.shape.whole != "" {
		return f.shape.whole + " depends on all rows, and merging is not built yet"
	}
	return "a view equals its SELECT, and merging is not built yet"
}

// pin takes one snapshot of every table that the SELECT reads, through views too.
func (f *flow) pin() (map[string]*tables.Snapshot, error) {
	pinned := map[string]*tables.Snapshot{}
	var visit func(refs []reference, via []reference) error
	visit = func(refs, via []reference) error {
		for _, r := range refs {
			if t, err := f.g.cfg.Store.Table(r.database, r.table); err == nil {
				pinned[r.String()] = t.Snapshot()
				continue
			}
			view, err := f.g.cfg.Store.View(r.database, r.table)
			if err != nil {
				if systemDatabase(r.database) {
					continue // has no versions: read as it is when something else changes
				}
				return fmt.Errorf("table %s: %w", r, tables.ErrNotFound)
			}
			if slices.Contains(via, r) {
				return fmt.Errorf("view %s: %w", r, ErrCycle)
			}
			s, err := shapeOf(view.Query, r.database)
			if err != nil {
				return err
			}
			if err := visit(s.reads, append(via, r)); err != nil {
				return err
			}
		}
		return nil
	}
	return pinned, visit(f.shape.reads, nil)
}

// systemDatabase reports whether a database is not in the store.
func systemDatabase(name string) bool {
	return name == "smelt" || name == "information_schema" || name == "mysql" || name == "performance_schema"
}

// full rebuilds the table from the start.
func (f *flow) full(ctx context.Context, why string) error {
	f.batch.Lock()
	defer f.batch.Unlock()
	t, err := f.table()
	if err != nil {
		return err
	}
	if f.create.Kind == ddl.StreamingTable {
		return f.restart(ctx, t, why)
	}
	p := Progress{Database: f.ref.database, Table: f.ref.table, Started: time.Now()}
	_, err = f.recompute(ctx, &p, true)
	return err
}
