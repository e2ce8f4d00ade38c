package queries

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"smelt/queries/ddl"
	"smelt/tables"
	"smelt/tables/psi"
)

// driftedCommits is with how many commits before it the newest one of a streaming table is compared.
const driftedCommits = 7

// Drift tells, for each column that a model writes, how the values of the newest batch differ from those before: the rows that
// the newest commit of a streaming table added from those that up to seven commits before it added, and a materialized view,
// or a table that was computed anew because a model moved, from what it was before. Columns with fewer than a hundred values
// on either side, and those whose past is no more at hand, are passed over. model is one of those that made the column.
func (g *Graph) Drift(ctx context.Context, tell func(f Status, column string, model, modelVersion string, newest Progress, compared *psi.Comparison)) error {
	seen := map[string]bool{}
	g.mu.Lock()
	flows := slices.Collect(maps.Values(g.flows))
	g.mu.Unlock()
	slices.SortFunc(flows, func(a, b *flow) int { return strings.Compare(a.key(), b.key()) })
	for _, f := range flows {
		if seen[f.ref.String()] {
			continue // several flows fill one table
		}
		seen[f.ref.String()] = true
		if err := f.own().drifted(ctx, tell); err != nil {
			return fmt.Errorf("compare values of %s: %w", f.ref, err)
		}
	}
	return nil
}

func (f *flow) drifted(ctx context.Context, tell func(Status, string, string, string, Progress, *psi.Comparison)) error {
	t, err := f.table()
	if err != nil {
		return nil // dropped meanwhile, or not made yet
	}
	now := t.Snapshot()
	all, err := modelsOf(now)
	if err != nil || len(all) == 0 {
		return err
	}
	newest, operation, err := newestBatch(ctx, t, now)
	if err != nil || newest.Version == 0 {
		return err
	}
	into := &target{table: t, replaces: f.create.Kind == ddl.MaterializedView || operation == rescoreOperation}
	if into.now, err = t.At(ctx, newest.Version-1); err != nil {
		return past(err)
	}
	var rows tables.Relation
	if into.replaces {
		rows, err = t.At(ctx, newest.Version)
	} else {
		var added *tables.Changes
		if added, err = t.ChangesUpTo(ctx, newest.Version-1, newest.Version, 0); err == nil && (added.Rewritten || added.Replaced) {
			return nil
		}
		rows = added
	}
	if err != nil {
		return past(err)
	}
	for _, column := range now.Schema() {
		made, ok := maker(all, column.Name)
		if !ok || into.now.Schema().Index(column.Name) < 0 {
			continue
		}
		compared, err := into.shifted(ctx, column.Name, rows)
		if err != nil {
			return err
		}
		if compared != nil {
			tell(f.status(), column.Name, made.Model, made.Version, newest, compared)
		}
	}
	return nil
}

// past passes over what is no more at hand: an older log, or data files that were vacuumed.
func past(err error) error {
	if errors.Is(err, tables.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// newestBatch returns the newest batch with rows, and what its commit was; the zero value if there is none.
func newestBatch(ctx context.Context, t *tables.Table, now *tables.Snapshot) (Progress, string, error) {
	history, err := t.History(ctx, 0)
	if err != nil {
		return Progress{}, "", err
	}
	for _, c := range history {
		if c.Version > now.Version() {
			continue
		}
		if c.Version < now.Born() {
			break
		}
		if p, ok := ProgressOf(c); ok && p.RowsOut > 0 {
			return p, c.Operation, nil
		}
	}
	return Progress{}, "", nil
}

// maker returns a model that wrote a column.
func maker(all map[string]map[string]madeBy, column string) (madeBy, bool) {
	for _, name := range slices.Sorted(maps.Keys(all)) {
		for _, called := range slices.Sorted(maps.Keys(all[name])) {
			if m := all[name][called]; slices.Contains(m.Columns, strings.ToLower(column)) {
				return m, true
			}
		}
	}
	return madeBy{}, false
}

// shifted compares the rows with those before; nil if there is too little of either.
func (into *target) shifted(ctx context.Context, column string, rows tables.Relation) (*psi.Comparison, error) {
	rule := ddl.Expectation{}
	if rule.Drift.Column, rule.Drift.Last = column, driftedCommits; into.replaces {
		rule.Drift.Last = 1
	}
	d, err := newDrift(ctx, rule, into)
	if err != nil || d == nil {
		return nil, past(err)
	}
	r, err := rows.Scan(ctx, []string{column})
	if err != nil {
		return nil, past(err)
	}
	defer r.Close()
	err = tables.EachBatch(ctx, r, func(b *tables.Batch) error {
		d.watch(b, &verdict{})
		return nil
	})
	if err != nil {
		return nil, past(err)
	}
	if _, _, ok := d.index(); !ok {
		return nil, nil
	}
	return d.compared, nil
}
