package queries

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"smelt/queries/ddl"
	"smelt/tables"
)

// errUnproven is wrapped by what cannot be compared, with the reason: it is no fault.
var errUnproven = errors.New("not compared")

// Check compares every flow's table with where its rows come from: a materialized view with its SELECT over the versions
// that it was computed from, a streaming table with the counts of its batches and with the ledgers of its directories.
// found is told of each comparison: what was compared, and the first difference or nil. proven is false for one that
// could not be made. Flows may run.
func (g *Graph) Check(ctx context.Context, found func(table, what string, proven bool, err error)) error {
	return g.checkFlows(ctx, nil, found)
}

// CheckPipeline is Check of a table and of all that it is made of, or of everything for the name "". Flows may run.
func (g *Graph) CheckPipeline(ctx context.Context, database, name string, found func(table, what string, proven bool, err error)) error {
	var chosen map[string]bool
	if name != "" {
		if _, err := g.must(database, name, 0); err != nil {
			return err
		}
		chosen = g.upstream(key(database, name))
	}
	for _, s := range g.Flows() {
		t, err := g.cfg.Store.Table(s.Database, s.Table)
		if err != nil || s.Flow != "" || chosen != nil && !chosen[key(s.Database, s.Table)] {
			continue // dropped meanwhile, or not asked for
		}
		now := t.Snapshot()
		_, err = t.Verify(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		found(s.Database+"."+s.Table, fmt.Sprintf("%d rows in %d data files are those of version %d", now.Rows(), now.Files(), now.Version()), true, err)
	}
	return g.checkFlows(ctx, chosen, found)
}

// upstream returns a table and all that it is made of, through views too.
func (g *Graph) upstream(name string) map[string]bool {
	edges := map[string][]reference{}
	for _, m := range g.network() {
		edges[m.name] = append(edges[m.name], m.reads...)
	}
	found := map[string]bool{}
	var visit func(name string)
	visit = func(name string) {
		if found[name] {
			return
		}
		found[name] = true
		for _, r := range edges[name] {
			visit(r.String())
		}
	}
	visit(name)
	return found
}

// checkFlows checks those that are chosen; nil chooses all.
func (g *Graph) checkFlows(ctx context.Context, chosen map[string]bool, found func(table, what string, proven bool, err error)) error {
	for _, s := range g.Flows() {
		f := g.find(s.Database, s.Table)
		if f == nil || s.Flow != "" || chosen != nil && !chosen[key(s.Database, s.Table)] {
			continue // the flows of a table are checked together
		}
		tell := func(what string, err error) {
			if errors.Is(err, errUnproven) {
				found(f.ref.String(), what+": "+err.Error(), false, nil)
				return
			}
			found(f.ref.String(), what, true, err)
		}
		t, err := f.table()
		switch {
		case err != nil:
			tell("its table", err)
		case f.create.Kind == ddl.MaterializedView:
			tell("equals its SELECT", f.checkView(ctx, t))
		case f.changed():
			if f.name == "" {
				tell("equals the replay of its source", f.checkChanges(ctx, t))
			}
		default:
			f.batch.Lock() // no batch moves the ledger meanwhile
			f.checkStream(ctx, t, tell)
			f.batch.Unlock()
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// checkView runs the SELECT over the versions that the view was computed from.
func (f *flow) checkView(ctx context.Context, t *tables.Table) error {
	if f.broken != nil {
		return f.broken
	}
	now := t.Snapshot()
	if !computed(now) {
		return fmt.Errorf("%w: it was never computed", errUnproven)
	}
	overlay := map[string]tables.Relation{}
	var errs []error
	err := f.g.resolve(f.shape.reads, nil, func(r reference, source *tables.Table) {
		version, ok := now.Txn(progressOf(now, source.Snapshot().ID()))
		if !ok {
			errs = append(errs, fmt.Errorf("%w: %s was made anew since", errUnproven, r))
			return
		}
		then, err := source.At(ctx, version)
		if err != nil {
			errs = append(errs, fmt.Errorf("%w: %w", errUnproven, err))
			return
		}
		overlay[r.String()] = then
	})
	if err := errors.Join(append(errs, err)...); err != nil {
		return err
	}
	made, err := f.madeWith(now)
	if err != nil {
		return err
	}
	if name := f.unsteadyModel(); name != "" {
		return fmt.Errorf("%w: the model %s is elsewhere, and is not asked again", errUnproven, name)
	}
	result, err := f.g.cfg.Query(ctx, Query{Database: f.database, SQL: withExpectations(f.create), Tables: overlay, Models: made})
	if err != nil {
		return err
	}
	defer result.Close()
	rows := newChecked(result, f.create.Expectations, nil, &Progress{})
	q, err := f.findQuarantine(t)
	if err != nil {
		return err
	}
	in := f.intake(q, rows, now, nil)
	var batches []*tables.Batch
	if err := tables.EachBatch(ctx, rows, func(b *tables.Batch) error {
		batches = append(batches, b)
		return nil
	}); err != nil {
		return err
	}
	if got, want := (visible{now}).Schema().Names(), rows.Schema().Names(); !slices.Equal(got, want) {
		return fmt.Errorf("its columns are %s, those of its SELECT %s", strings.Join(got, ", "), strings.Join(want, ", "))
	}
	onlyView, onlySelect, err := tables.Difference(ctx, visible{now}, tables.FromBatches(rows.Schema(), batches...))
	switch {
	case err != nil:
		return err
	case onlyView != "":
		return fmt.Errorf("its SELECT does not yield its row %s", onlyView)
	case onlySelect != "":
		return fmt.Errorf("it lacks the row %s of its SELECT", onlySelect)
	}
	return in.check(ctx)
}

// check compares the rows that were gathered with those in the quarantine of a view.
func (in *intake) check(ctx context.Context) error {
	if in == nil {
		return nil
	}
	there, err := in.q.counted(ctx)
	if err != nil || there.Len == 0 && in.rows == nil {
		return err
	}
	if in.rows == nil {
		return fmt.Errorf("its quarantine has %d rows, its SELECT yields none that violate its rules", there.Len)
	}
	var columns []string
	for _, name := range in.rows.Schema.Names() {
		if name != columnTime && name != columnSource {
			columns = append(columns, name)
		}
	}
	want, err := choose(in.rows, columns)
	if err != nil {
		return err
	}
	if there, err = choose(there, columns); err != nil {
		return err
	}
	onlyThere, onlySelect, err := tables.Difference(ctx, tables.FromBatches(there.Schema, there), tables.FromBatches(want.Schema, want))
	switch {
	case err != nil:
		return err
	case onlyThere != "":
		return fmt.Errorf("its SELECT does not yield the row %s of its quarantine", onlyThere)
	case onlySelect != "":
		return fmt.Errorf("its quarantine lacks the row %s of its SELECT", onlySelect)
	}
	return nil
}

// checkHeld compares the rows in quarantine with those that batches put there and that left since.
func (f *flow) checkHeld(ctx context.Context, t *tables.Table, tell func(what string, err error), n batchCounts, countErr error) {
	q, err := f.findQuarantine(t)
	if err == nil && q == nil {
		return
	}
	if err == nil {
		err = countErr
	}
	if err == nil && n.rescored {
		err = fmt.Errorf("%w: the columns of a model were computed anew since rows were put there", errUnproven)
	}
	var deleted int64
	if err == nil {
		deleted, err = q.deleted(ctx)
	}
	var there *tables.Batch
	if err == nil {
		there, err = q.counted(ctx)
	}
	if err == nil && int64(there.Len) != n.held-deleted {
		err = fmt.Errorf("it has %d rows, its batches put %d there that did not move on, and %d were deleted", there.Len, n.held, deleted)
	}
	tell("its quarantine holds what its batches put there", err)
}

// deleted counts the rows that users have deleted since the table was filled anew.
func (q *quarantine) deleted(ctx context.Context) (n int64, err error) {
	history, err := q.table.History(ctx, 0)
	if err != nil {
		return 0, err
	}
	for _, c := range history {
		if c.Parameters[parameterVoid] != "" {
			return n, nil
		}
		if c.Operation == "DELETE" {
			rows, err := strconv.ParseInt(c.Metrics["numDeletedRows"], 10, 64)
			if err != nil {
				return 0, fmt.Errorf("version %d: read how many rows it deleted: %w", c.Version, err)
			}
			n += rows
		}
	}
	if len(history) == 0 || history[len(history)-1].Version > 0 {
		return 0, fmt.Errorf("%w: its log was cleaned up", errUnproven)
	}
	return n, nil
}

// checkStream compares the rows of a streaming table with the counts of its batches, and those with the ledgers.
func (f *flow) checkStream(ctx context.Context, t *tables.Table, tell func(what string, err error)) {
	now := t.Snapshot()
	n, err := countBatches(ctx, t)
	f.checkHeld(ctx, t, tell, n, err)
	if err == nil && n.out != now.Rows() {
		err = fmt.Errorf("it has %d rows, its batches wrote %d", now.Rows(), n.out)
	}
	tell("holds what its batches wrote", err)
	if errors.Is(err, errUnproven) {
		return
	}
	var listed int64
	files := 0
	for _, one := range f.g.flowsOf(f) {
		rows, n, known, err := one.listed(ctx, t, now)
		if err != nil {
			tell("its ledger", err)
		}
		if err != nil || !known {
			return
		}
		listed, files = listed+rows, files+n
	}
	if err == nil && listed != n.in {
		err = fmt.Errorf("the ledger has %d rows in %d files, its batches read %d", listed, files, n.in)
	}
	tell(fmt.Sprintf("read the %d rows of the %d files in its ledger", listed, files), err)
}

// listed adds up what the ledgers of the flow's directories have; known is false where it reads tables, too, because batches
// count the rows of tables and files together.
func (f *flow) listed(ctx context.Context, t *tables.Table, now *tables.Snapshot) (rows int64, files int, known bool, err error) {
	for _, s := range f.create.Sources {
		if s.Files == nil {
			return 0, 0, false, nil
		}
		if overwrites(s.Files) {
			return 0, 0, false, fmt.Errorf("%w: with allowOverwrites the rows of a file come more than once", errUnproven)
		}
		committed, _ := now.Txn(f.progressOf(now, f.feedName(s)))
		more, n, err := f.g.cfg.Ledger(ctx, f.stateDir(t, now, s), committed)
		if err != nil {
			return 0, 0, false, err
		}
		rows, files = rows+more, files+n
	}
	return rows, files, true, nil
}

func overwrites(files *ddl.Files) bool {
	for name, value := range files.Options {
		if strings.EqualFold(strings.TrimPrefix(strings.ToLower(name), "cloudfiles."), "allowOverwrites") && strings.EqualFold(value, "true") {
			return true
		}
	}
	return false
}

// batchCounts is what batches read, wrote and put into quarantine, less what left again.
type batchCounts struct {
	in, out, held int64
	rescored      bool // what was put into quarantine before is not counted
}

// countBatches adds up what the batches of the table's present generation did.
func countBatches(ctx context.Context, t *tables.Table) (n batchCounts, err error) {
	history, err := t.History(ctx, 0)
	if err != nil {
		return n, err
	}
	born := t.Snapshot().Born()
	if len(history) == 0 || history[len(history)-1].Version > born {
		return n, fmt.Errorf("%w: the log was cleaned up behind its first batch", errUnproven)
	}
	for _, c := range history {
		if c.Version < born {
			break
		}
		if c.Operation == dropFlowOperation {
			return n, fmt.Errorf("%w: the flow %s was dropped, and its rows stayed", errUnproven, c.Parameters[parameterFlow])
		}
		n.rescored = n.rescored || c.Operation == rescoreOperation
		if p, ok := ProgressOf(c); ok {
			n.in, n.out, n.held = n.in+p.RowsIn, n.out+p.RowsOut, n.held+p.Quarantined
		}
		for name, count := range map[string]*int64{parameterRowsIn: &n.in, parameterRowsOut: &n.out, parameterFreed: &n.held} {
			text, ok := c.Parameters[name]
			if !ok {
				continue
			}
			gone, err := strconv.ParseInt(text, 10, 64)
			if err != nil {
				return n, fmt.Errorf("version %d: read what it took out: %w", c.Version, err)
			}
			*count -= gone
		}
	}
	return n, nil
}
