package queries

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"smelt/queries/ddl"
	"smelt/queries/merge"
	"smelt/tables"
)

// rateBatches is how many of the newest commits of a table tell how fast its batches are.
const rateBatches = 50

// ExplainRefresh says what a refresh of a materialized view would do now, without doing it: Strategy and Reason, in RowsIn
// the rows that it would read, and in Duration how long that would take at the rate of former batches of the kind, -1
// where there was none. Strategy is "" when there is nothing to do.
func (g *Graph) ExplainRefresh(ctx context.Context, database, name string) (p Progress, err error) {
	f, err := g.must(database, name, ddl.MaterializedView)
	if err != nil {
		return p, err
	}
	err = f.alone(ctx, func() error {
		p, err = f.explain(ctx)
		return err
	})
	return p, err
}

func (f *flow) explain(ctx context.Context) (p Progress, err error) {
	p = Progress{Database: f.ref.database, Table: f.ref.table, Duration: -1}
	t, err := f.table()
	if err != nil {
		return p, err
	}
	now := t.Snapshot()
	pinned, err := f.pin()
	if err != nil {
		return p, err
	}
	if p.Reason = unready(pinned); p.Reason != "" {
		return p, nil
	}
	pl := f.planOf(ctx, nil)
	_, why, err := f.movedModels(now, f.versions)
	if err != nil {
		return p, err
	}
	var in *inputs
	switch {
	case why != "":
	case !computed(now):
		why = "it is computed for the first time"
	case pl.plan == nil:
		why = pl.reason
	case now.Definition().Properties[propertyPlan] != f.fingerprint(pl.plan):
		why = "it was filled by another definition"
	default:
		if in, why, err = f.inputs(ctx, now, pl.plan, pinned); err != nil {
			return p, err
		}
		if why == "" {
			why = f.tooMuch(in)
		}
	}
	p.Strategy, p.Reason = strategyMerge, pl.reason
	if why != "" {
		p.Strategy, p.Reason = strategyRecompute, why
		for _, s := range pinned {
			p.RowsIn += s.Rows()
		}
	} else {
		p.RowsIn = in.changed
	}
	if f.upToDate(now, pinned) || why == "" && p.RowsIn == 0 {
		p.Strategy, p.RowsIn, p.Duration = "", 0, 0
		p.Reason = "nothing has changed; a change is followed by " + map[bool]string{true: strategyMerge, false: strategyRecompute}[pl.plan != nil] + ": " + pl.reason
		return p, nil
	}
	if p.Duration, err = f.estimate(ctx, t, p.Strategy, p.RowsIn); err != nil || p.Strategy != strategyMerge {
		return p, err
	}
	return p, f.readWhole(ctx, pl.plan, in, pinned, &p)
}

// readWhole adds what a merge reads of the tables that have not changed, where it reads them whole.
func (f *flow) readWhole(ctx context.Context, plan *merge.Plan, in *inputs, pinned map[string]*tables.Snapshot, p *Progress) error {
	whole, err := plan.Whole(ctx, func(database, table string) merge.Input { return in.of[database+"."+table] })
	for _, name := range slices.Sorted(maps.Keys(whole)) {
		p.Reason += fmt.Sprintf("; %s is read whole: %s", name, whole[name])
		p.RowsIn += pinned[name].Rows()
	}
	return err
}

// upToDate reports whether the view was computed by its present plan from what its sources hold now.
func (f *flow) upToDate(now *tables.Snapshot, pinned map[string]*tables.Snapshot) bool {
	if !computed(now) || now.Definition().Properties[propertyPlan] != f.fingerprint(f.planOf(context.Background(), nil).plan) {
		return false
	}
	for _, s := range pinned {
		if at, ok := now.Txn(progressOf(now, s.ID())); !ok || at != s.Version() {
			return false
		}
	}
	moved, _, err := f.movedModels(now, f.versions)
	return err == nil && len(moved) == 0
}

// estimate returns how long a batch of so many rows takes at the rate of former ones of its kind, -1 where there was none.
func (f *flow) estimate(ctx context.Context, t *tables.Table, strategy string, rows int64) (time.Duration, error) {
	history, err := t.History(ctx, rateBatches)
	if err != nil {
		return 0, err
	}
	var took time.Duration
	var read int64
	for _, c := range history {
		if p, ok := ProgressOf(c); ok && p.Strategy == strategy {
			took, read = took+p.Duration, read+p.RowsIn
		}
	}
	if read == 0 {
		return -1, nil
	}
	return time.Duration(float64(took) / float64(read) * float64(rows)), nil
}
