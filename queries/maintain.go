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

// propertyPlan is the property of a view's table that names the plan by which its rows were made: another plan, or other
// rules, make them anew.
const propertyPlan = "smelt.plan"

// What REFRESH POLICY may say, and nothing says AUTO.
const (
	policyAuto   = "AUTO"               // whichever costs less
	policyStrict = "INCREMENTAL STRICT" // from what has changed, or not at all; INCREMENTAL is so wherever it can be
	policyFull   = "FULL"               // always computed anew
)

const (
	// autoShare is the share of a view's source rows above which AUTO computes it anew: what merging saves is less than what
	// it does twice. See integration/bench for where the two meet.
	autoShare = 0.3
	// autoMinRows is how many source rows a view must have for the share to matter: below, both take milliseconds.
	autoMinRows = 10_000
	// progressEvery is how many versions of a source may pass without an effect on the view before its progress is
	// committed all the same: the files of the version that it stands at may go one day.
	progressEvery = 100
)

// planned is how a view is maintained, and what that was concluded from.
type planned struct {
	plan   *merge.Plan // nil: it is always computed anew
	reason string      // why, or what is done
	asked  []answer
}

// answer is what one name stood for when a plan was made.
type answer struct {
	ref    reference
	query  string // of an ordinary view
	schema tables.Schema
}

// planOf returns the plan of a view, made anew when something that it reads is defined otherwise. known holds tables that
// are not made yet.
func (f *flow) planOf(ctx context.Context, known map[string]tables.Relation) *planned {
	f.mu.Lock()
	last := f.planned
	f.mu.Unlock()
	if last != nil && !slices.ContainsFunc(last.asked, func(a answer) bool { return !f.stillSo(a) }) {
		return last
	}
	p := f.makePlan(ctx, known)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.planned = p
	return p
}

func (f *flow) stillSo(a answer) bool {
	now, _ := f.meaning(a.ref, nil)
	return now.query == a.query && slices.Equal(now.schema, a.schema)
}

// meaning finds what a name stands for; ok is false for what has no versions.
func (f *flow) meaning(r reference, known map[string]tables.Relation) (a answer, ok bool) {
	a = answer{ref: r}
	if rel, ok := known[r.String()]; ok {
		if v, ok := rel.(unmadeView); ok {
			a.query = v.query
			return a, true
		}
		a.schema = rel.Schema()
		return a, true
	}
	if t, err := f.g.cfg.Store.Table(r.database, r.table); err == nil {
		a.schema = t.Snapshot().Schema()
		return a, true
	}
	if v, err := f.g.cfg.Store.View(r.database, r.table); err == nil {
		a.query = v.Query
		return a, true
	}
	return a, false
}

func (f *flow) makePlan(ctx context.Context, known map[string]tables.Relation) *planned {
	out := &planned{}
	if out.reason = f.unplannable(); out.reason != "" {
		return out
	}
	lookup := func(database, table string) (string, bool, bool) {
		a, ok := f.meaning(reference{database, table}, known)
		out.asked = append(out.asked, a)
		return a.query, a.query != "", ok
	}
	describe := func(ctx context.Context, sql string, relations map[string]tables.Relation) (tables.Schema, error) {
		return f.g.cfg.Describe(ctx, Query{Database: f.database, SQL: sql, Tables: relations})
	}
	empty := func(o merge.Occurrence) tables.Relation {
		a, _ := f.meaning(reference{o.Database, o.Table}, known)
		return tables.FromBatches(a.schema)
	}
	simple := ""
	if len(f.create.Expectations) > 0 {
		simple = "rules judge them"
	}
	var err error
	out.plan, out.reason, err = merge.New(ctx, f.create.Query, f.database, lookup, describe, empty, simple)
	switch {
	case err != nil:
		out.plan, out.reason = nil, firstLine(err.Error())
	case out.plan != nil:
		out.reason = out.plan.Reason
	}
	return out
}

// unplannable says what keeps a view from being maintained whatever its SELECT is.
func (f *flow) unplannable() string {
	if f.g.cfg.Recompute || f.create.Policy == policyFull {
		return "REFRESH POLICY FULL"
	}
	if names := f.modelCalls().names(); len(names) > 0 && f.g.cfg.Version == nil {
		return "it asks the model " + names[0] + ", whose versions are not known"
	}
	if name := f.unsteadyModel(); name != "" {
		return "the model " + name + " is elsewhere, and may say something else when it is asked again"
	}
	for _, e := range f.create.Expectations {
		if e.Action != ddl.Warn && e.Action != ddl.DropRow && e.Action != ddl.FailUpdate || e.Expr == "" {
			return "the rule " + e.Name + " looks at other rows, or keeps what it takes out"
		}
	}
	return ""
}

// fingerprint names what a view's rows are made by.
func (f *flow) fingerprint(p *merge.Plan) string {
	if p == nil {
		return ""
	}
	text := p.Fingerprint
	for _, e := range f.create.Expectations {
		text += fmt.Sprintf(" %s %s", e.Action, e.Rule())
	}
	return text
}

// checkPolicy refuses a view that is to be maintained and cannot be.
func (f *flow) checkPolicy(ctx context.Context, known map[string]tables.Relation) error {
	if f.create.Policy != policyStrict {
		return nil
	}
	p := f.planOf(ctx, known)
	why := p.reason
	if p.plan != nil {
		why = p.plan.Conditional()
	}
	if why != "" {
		return fmt.Errorf("materialized view %s: %w: REFRESH POLICY INCREMENTAL STRICT, and it would be computed anew: %s", f.create.Name, ErrUnsupported, why)
	}
	return nil
}

// maintain brings the view from where it stands to the pinned versions of its sources. why says what keeps it from that:
// then the view is to be computed anew. did is false when nothing had to be committed.
func (f *flow) maintain(ctx context.Context, t *tables.Table, pl *planned, pinned map[string]*tables.Snapshot, txns map[string]int64, p *Progress) (did bool, why string, err error) {
	now := t.Snapshot()
	if pl.plan == nil {
		return false, pl.reason, nil
	}
	if now.Definition().Properties[propertyPlan] != f.fingerprint(pl.plan) {
		return false, "it was filled by another definition", nil
	}
	made, err := modelsOf(now)
	if err != nil {
		return false, "", err
	}
	for name := range f.versions {
		if made[f.name][name].Digest == "" {
			return false, "it is not known which version of " + name + " made its rows", nil
		}
	}
	in, why, err := f.inputs(ctx, now, pl.plan, pinned)
	if why != "" || err != nil {
		return false, why, err
	}
	if why := f.tooMuch(in); why != "" {
		return false, why, nil
	}
	p.RowsIn = in.changed
	p.Read = time.Since(p.Started)
	p.Strategy, p.Reason = strategyMerge, pl.reason
	change := &merge.Change{}
	if in.changed > 0 {
		change, err = pl.plan.Run(ctx, func(database, table string) merge.Input { return in.of[database+"."+table] }, f.runner(p), now)
		if why, err := f.again(ctx, err); why != "" || err != nil {
			return false, why, err
		}
	}
	if change.Nothing() && in.behind < progressEvery {
		f.see(versions(pinned))
		return false, "", nil
	}
	err = f.applyChange(ctx, t, change, txns, p)
	why, err = f.again(ctx, err)
	return err == nil && why == "", why, err
}

// see notes up to which versions of its sources there was nothing to do for the view: no commit of its table says so.
func (f *flow) see(versions map[string]int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seen = versions
}

// versions returns the version of each snapshot by the id of its table.
func versions(pinned map[string]*tables.Snapshot) map[string]int64 {
	out := map[string]int64{}
	for _, s := range pinned {
		out[s.ID()] = s.Version()
	}
	return out
}

// again sorts the errors of a merge: those that a full run would meet, too, and those that only say that one is needed.
func (f *flow) again(ctx context.Context, err error) (why string, _ error) {
	var again merge.Again
	switch {
	case err == nil:
		return "", nil
	case ctx.Err() != nil:
		return "", ctx.Err()
	case errors.As(err, &again):
		return string(again), nil
	case errors.Is(err, tables.ErrChanged):
		return "rows that should go are not there", nil
	case errors.Is(err, ErrExpectation):
		return "", err
	}
	f.g.cfg.Logger.Warn("view computed anew", "table", f.ref.String(), "err", err)
	return "what has changed could not be followed: " + firstLine(err.Error()), nil
}

// inputs is what the sources of a view were and are.
type inputs struct {
	of      map[string]merge.Input // by database.table
	changed int64                  // rows that came or went
	total   int64                  // rows of all sources
	behind  int64                  // versions that the view stands behind a source
}

func (f *flow) inputs(ctx context.Context, now *tables.Snapshot, plan *merge.Plan, pinned map[string]*tables.Snapshot) (in *inputs, why string, err error) {
	in = &inputs{of: map[string]merge.Input{}}
	last := map[string]*tables.Snapshot{}
	for _, name := range slices.Sorted(maps.Keys(pinned)) {
		s := pinned[name]
		last[s.ID()] = s
		in.total += s.Rows()
		at, ok := now.Txn(progressOf(now, s.ID()))
		if !ok {
			return nil, name + " was made anew", nil
		}
		if at == s.Version() {
			in.of[name] = merge.Input{Old: s, New: s}
			continue
		}
		in.behind = max(in.behind, s.Version()-at)
		input, why, err := f.between(ctx, name, s, at)
		if why != "" || err != nil {
			return nil, why, err
		}
		if input.Plus != nil {
			in.changed += input.Plus.(tables.Counter).Rows() + input.Minus.(tables.Counter).Rows()
			database, table := cutName(name)
			if fixed := plan.Fixed(database, table); fixed != "" {
				return nil, fmt.Sprintf("%s has changed, and %s", name, fixed), nil
			}
		}
		in.of[name] = input
	}
	f.last = last
	return in, "", nil
}

// between returns what changed in a source since the version that the view stands at.
func (f *flow) between(ctx context.Context, name string, s *tables.Snapshot, at int64) (in merge.Input, why string, err error) {
	old := f.last[s.ID()]
	if old == nil || old.Version() != at {
		database, table := cutName(name)
		t, err := f.g.cfg.Store.Table(database, table)
		if err != nil {
			return in, "", err
		}
		if old, err = t.At(ctx, at); err != nil {
			if ctx.Err() != nil {
				return in, "", ctx.Err()
			}
			return in, fmt.Sprintf("the history of %s is gone: %s", name, firstLine(err.Error())), nil
		}
	}
	if !slices.Equal(old.Schema(), s.Schema()) {
		return in, "the columns of " + name + " have changed", nil
	}
	d, err := s.Since(old)
	if err != nil {
		return in, fmt.Sprintf("the history of %s is gone: %s", name, firstLine(err.Error())), nil
	}
	if d.Plus.(tables.Counter).Rows()+d.Minus.(tables.Counter).Rows() == 0 {
		return merge.Input{Old: s, New: s}, "", nil
	}
	return merge.Input{Old: old, New: s, Plus: d.Plus, Minus: d.Minus}, "", nil
}

// tooMuch says why AUTO computes a view anew though it need not.
func (f *flow) tooMuch(in *inputs) string {
	if f.create.Policy != "" && f.create.Policy != policyAuto || in.total < autoMinRows {
		return ""
	}
	if share := float64(in.changed) / float64(in.total); share > autoShare {
		return fmt.Sprintf("%d rows have changed, as many as %.0f %% of the rows of its sources", in.changed, 100*share)
	}
	return ""
}

// runner runs the SELECTs of a merge. Rows that go are judged by the rules as those that come: what was left out is not taken out.
func (f *flow) runner(p *Progress) merge.Runner {
	return func(ctx context.Context, sql string, relations map[string]tables.Relation, purpose merge.Purpose) (merge.Result, error) {
		create := *f.create
		create.Query = sql
		switch {
		case purpose == merge.Inner || p.lookUpOnly:
			create.Expectations = nil
		case purpose == merge.Gone:
			create.Expectations = slices.Clone(create.Expectations)
			for i := range create.Expectations {
				if create.Expectations[i].Action == ddl.FailUpdate {
					create.Expectations[i].Action = ddl.DropRow
				}
			}
		}
		result, err := f.ask(ctx, &create, relations, p)
		if err != nil || len(create.Expectations) == 0 {
			return result, err
		}
		if purpose == merge.Gone {
			p = &Progress{}
		}
		return newChecked(result, create.Expectations, nil, p), nil
	}
}

// applyChange commits a change with the progress of the view.
func (f *flow) applyChange(ctx context.Context, t *tables.Table, change *merge.Change, txns map[string]int64, p *Progress) (err error) {
	p.Query = time.Since(p.Started) - p.Read
	c := tables.Commit{Operation: "REFRESH", Txns: txns, Parameters: f.parameters(), Metrics: map[string]string{}, Overwrite: change.Whole}
	counted := &written{Reader: change.Rows}
	if change.Rows != nil {
		c.Rows = counted
		defer change.Rows.Close()
	}
	c.Prepare = func(context.Context) error {
		p.RowsOut = counted.rows
		p.Duration = time.Since(p.Started)
		p.Write = max(0, p.Duration-p.Read-p.Query)
		maps.Copy(c.Metrics, p.metrics())
		return nil
	}
	switch {
	case change.Keys != nil:
		p.Version, err = t.Merge(ctx, change.Keys, c)
	case change.Removed != nil:
		p.Version, err = t.Edit(ctx, change.Removed, nil, c)
	default:
		p.Version, err = t.Commit(ctx, c)
	}
	return err
}

// written counts the rows that it hands on.
type written struct {
	tables.Reader
	rows int64
}

// Next implements tables.Reader.
func (c *written) Next(ctx context.Context) (*tables.Batch, error) {
	b, err := c.Reader.Next(ctx)
	if err == nil {
		c.rows += int64(b.Len)
	}
	return b, err
}

// visible is a table without the columns that are not those of its SELECT.
type visible struct{ *tables.Snapshot }

// Schema implements tables.Relation.
func (v visible) Schema() tables.Schema { return withoutOwn(v.Snapshot.Schema()) }

// Scan implements tables.Relation.
func (v visible) Scan(ctx context.Context, columns []string) (tables.Reader, error) {
	if columns == nil {
		columns = v.Schema().Names()
	}
	return v.Snapshot.Scan(ctx, columns)
}

func withoutOwn(schema tables.Schema) tables.Schema {
	return slices.DeleteFunc(slices.Clone(schema), func(f tables.Field) bool { return strings.HasPrefix(strings.ToLower(f.Name), merge.OwnPrefix) })
}
