package queries

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"smelt/queries/ddl"
	"smelt/queries/merge"
	"smelt/tables"
)

// rateBatches is how many of the newest commits of a table tell how fast its batches are.
const rateBatches = 50

// ExplainRefresh says what the next batch of each flow of a table would do now, without doing it: Strategy and Reason, in
// RowsIn the rows that it would read, in Scored and Known the texts that models would score and those whose predictions
// are known, and in Duration how long that would take at the rate of former batches of the kind. Scored and Known are -1 where
// no model is asked, or where that is not known before the table is filled anew; Duration is -1 where no batch was of the
// kind. Strategy is "" when there is nothing to do. Where models are asked, the SELECT is run for that without them.
func (g *Graph) ExplainRefresh(ctx context.Context, database, name string) (list []Progress, err error) {
	f, err := g.must(database, name, 0)
	if err != nil {
		return nil, err
	}
	for _, one := range g.flowsOf(f) {
		if one.create.Query == "" {
			continue // others fill the table
		}
		p := Progress{Database: f.ref.database, Table: f.ref.table, Duration: -1, lookUpOnly: true}
		err := one.alone(ctx, func() error {
			if one.create.Kind == ddl.MaterializedView {
				return one.explainView(ctx, &p)
			}
			return one.explainStream(ctx, &p)
		})
		if err != nil {
			return nil, err
		}
		if len(one.versions) == 0 {
			p.Scored, p.Known = -1, -1
		}
		if one.name != "" {
			p.Reason = "flow " + one.name + ": " + p.Reason
		}
		list = append(list, p)
	}
	return list, nil
}

func (f *flow) explainView(ctx context.Context, p *Progress) error {
	t, now, pinned, err := f.standing()
	if err != nil {
		return err
	}
	if p.Reason = unready(pinned); p.Reason != "" {
		return nil
	}
	pl := f.planOf(ctx, nil)
	_, why, err := f.movedModels(now, f.versions)
	if err != nil {
		return err
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
			return err
		}
		if why == "" {
			why = f.tooMuch(in)
		}
	}
	if f.upToDate(now, pinned) || why == "" && in.changed == 0 {
		p.Strategy, p.Duration = "", 0
		p.Reason = "nothing has changed; a change is followed by " + map[bool]string{true: strategyMerge, false: strategyRecompute}[pl.plan != nil] + ": " + pl.reason
		return nil
	}
	if why == "" {
		p.Strategy, p.Reason, p.RowsIn = strategyMerge, pl.reason, in.changed
		why, err = f.countMerge(ctx, pl.plan, in, now, p)
	}
	if err == nil && why != "" {
		p.Strategy, p.Reason = strategyRecompute, why
		p.RowsIn, p.Scored, p.Known = pinnedRows(pinned), 0, 0
		err = f.countTexts(ctx, f.stored(), overlayOf(pl.plan, pinned), p)
	}
	if err != nil {
		return err
	}
	if p.Duration, err = f.estimate(ctx, t, p.Strategy, p.RowsIn); err != nil || p.Strategy != strategyMerge {
		return err
	}
	return f.readWhole(ctx, pl.plan, in, pinned, p)
}

// countMerge runs a merge for the texts that it would ask models for. why says that the view would be computed anew.
func (f *flow) countMerge(ctx context.Context, plan *merge.Plan, in *inputs, now *tables.Snapshot, p *Progress) (why string, err error) {
	if len(f.versions) == 0 {
		return "", nil
	}
	change, err := plan.Run(ctx, func(database, table string) merge.Input { return in.of[database+"."+table] }, f.runner(p), now)
	if err == nil && change.Rows != nil {
		err = readThrough(ctx, change.Rows)
	}
	return f.again(ctx, err)
}

// countTexts runs a SELECT for the texts that it would ask models for.
func (f *flow) countTexts(ctx context.Context, c *ddl.Create, overlay map[string]tables.Relation, p *Progress) error {
	if len(f.versions) == 0 {
		return nil
	}
	result, err := f.ask(ctx, c, overlay, p)
	if err != nil {
		return err
	}
	return readThrough(ctx, result)
}

// readThrough reads all rows for what is counted on the way.
func readThrough(ctx context.Context, r tables.Reader) error {
	return errors.Join(tables.EachBatch(ctx, r, func(*tables.Batch) error { return nil }), r.Close())
}

// explainStream says what appendBatch would do.
func (f *flow) explainStream(ctx context.Context, p *Progress) error {
	t, now, pinned, err := f.standing()
	if err != nil {
		return err
	}
	overlay, create := overlayOf(nil, pinned), f.create
	p.Strategy, p.Reason = f.strategy()
	if why, err := f.outdated(now); err != nil || why != "" {
		return f.anew(p, why, err)
	}
	moved, why, err := f.movedModels(now, f.versions)
	if err != nil {
		return err
	}
	if len(moved) > 0 {
		if create, err = f.inPlace(now, moved); err != nil {
			return f.anew(p, why+", and "+strings.TrimSuffix(err.Error(), ": "+errNotInPlace.Error()), nil)
		}
		p.Strategy, p.Reason, p.RowsIn = strategyRescore, why, now.Rows()
		overlay = map[string]tables.Relation{key(f.ref.database, f.ref.table): now}
	} else {
		if p.Reason = unready(pinned); p.Reason != "" {
			p.Strategy = ""
			return nil
		}
		in, err := f.read(ctx, t, now)
		if err != nil {
			return err
		}
		if done := f.explainInput(in, p); done {
			return nil
		}
		maps.Copy(overlay, in.tables)
	}
	if err := f.countTexts(ctx, create, overlay, p); err != nil {
		return err
	}
	p.Duration, err = f.estimate(ctx, t, p.Strategy, p.RowsIn)
	return err
}

// anew says that a streaming table would be filled anew: what that asks of models is not known before.
func (f *flow) anew(p *Progress, why string, err error) error {
	p.Reason, p.Scored, p.Known = why+"; it is filled anew", -1, -1
	return err
}

// explainInput says what a batch would read; done that there is nothing to count.
func (f *flow) explainInput(in *input, p *Progress) (done bool) {
	strategy, reason := f.strategy()
	p.RowsIn, p.Reason = in.rows, reason
	switch {
	case in.rebuilt:
		p.Reason = "a source was rebuilt from the start; it is filled anew"
	case in.gone != nil:
		p.Strategy, p.Reason = strategyRetract, retractReason
	case in.waiting != "":
		p.Strategy, p.Reason = "", in.waiting
	case in.rows == 0 && len(in.feeds) == 0:
		p.Strategy, p.Duration = "", 0
		p.Reason = "nothing has changed; new rows are followed by " + strategy + ": " + reason
	default:
		return false
	}
	return true
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
