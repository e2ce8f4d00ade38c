package queries

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"smelt/queries/ddl"
	"smelt/tables"
)

const (
	strategyReplay = "replay"
	replayReason   = "rows of the quarantine meet the rules now"
	// columnRow numbers the rows of a quarantine while they are judged again.
	columnRow = "__smelt_row"
	// replayed stands for them in the query.
	replayed = "quarantine:rows"
)

// Replay judges the rows in the quarantine of a streaming table, those for which the statement's WHERE is true, by the rules
// of today: those that meet them move into the table, and the others stay with their new reason.
func (g *Graph) Replay(ctx context.Context, s *ddl.OnRules, database string) (moved, kept int64, err error) {
	f, err := g.must(database, s.Name, 0)
	if err != nil {
		return 0, 0, err
	}
	if f.create.Kind != ddl.StreamingTable {
		return 0, 0, fmt.Errorf("replay quarantine of %s: %w: each refresh of a MATERIALIZED VIEW fills its quarantine anew; REFRESH it", f.ref, ErrUnsupported)
	}
	err = f.alone(ctx, func() error {
		moved, kept, err = f.replay(ctx, s.Where)
		return err
	})
	return moved, kept, err
}

func (f *flow) replay(ctx context.Context, where string) (moved, kept int64, err error) {
	p := Progress{Started: time.Now(), Strategy: strategyReplay, Reason: replayReason}
	t, err := f.table()
	if err != nil {
		return 0, 0, err
	}
	q, err := f.quarantine(ctx, t)
	if err != nil {
		return 0, 0, err
	}
	if q == nil {
		return 0, 0, fmt.Errorf("%w: table %s has no quarantine", ErrUnsupported, f.ref)
	}
	rows, err := q.counted(ctx)
	if err != nil || rows.Len == 0 {
		return 0, 0, err
	}
	r, err := f.retry(ctx, t, rows, where, &p)
	if err != nil || r.judged.Len == 0 {
		return 0, 0, err
	}
	pass := r.verdict.all(stays)
	moving := r.data.Filter(pass)
	number := q.next()
	_, err = q.table.Edit(ctx, r.judged, r.update(f.create.Expectations, q, number, p.Started),
		tables.Commit{Operation: operationMark, Txns: map[string]int64{txnWritten: number, txnGoing: number}})
	if err != nil {
		return 0, 0, err
	}
	moved, kept = int64(moving.Len), int64(r.data.Len-moving.Len)
	if moved == 0 {
		return 0, kept, q.done(ctx, nil)
	}
	reader, err := tables.FromBatches(moving.Schema, moving).Scan(ctx, nil)
	if err != nil {
		return 0, 0, err
	}
	p.RowsOut, p.Duration = moved, time.Since(p.Started)
	parameters := f.parameters()
	parameters[parameterFreed] = strconv.FormatInt(moved, 10)
	_, err = commit(ctx, t, tables.Commit{Operation: "REPLAY QUARANTINE", Txns: map[string]int64{txnMoved: number}, Rows: reader, Metrics: p.metrics(),
		Parameters: parameters}, nil)
	return moved, kept, q.done(ctx, err)
}

// retrial is rows of a quarantine that were judged again.
type retrial struct {
	judged  *tables.Batch // as they are in quarantine
	data    *tables.Batch // as they would be in the table
	verdict *verdict
}

// retry judges the rows for which an expression is true. No rule drops a row or fails here: it stays where it is.
func (f *flow) retry(ctx context.Context, t *tables.Table, rows *tables.Batch, where string, p *Progress) (*retrial, error) {
	rules := slices.Clone(f.create.Expectations)
	for i := range rules {
		if rules[i].Action != ddl.Warn {
			rules[i].Action = ddl.Quarantine
		}
		if rules[i].Drift.Column != "" { // who replays a batch has looked at it
			rules[i].Action = ddl.Warn
		}
	}
	sql := "SELECT q.`" + columnRow + "`" + expectationColumns(rules) + " FROM `" + replayed + "` AS q"
	if where != "" {
		sql += " WHERE (" + where + "\n)"
	}
	var numbers tables.Column
	for i := range rows.Len {
		numbers.AppendInt(int64(i))
	}
	numbered := &tables.Batch{Schema: append(slices.Clone(rows.Schema), tables.Field{Name: columnRow, Type: tables.Type{Kind: tables.Long}}),
		Columns: append(slices.Clone(rows.Columns), numbers), Len: rows.Len}
	result, err := f.g.cfg.Query(ctx, Query{Database: f.database, SQL: sql, Tables: map[string]tables.Relation{replayed: tables.FromBatches(numbered.Schema, numbered)}, Models: f.versions})
	if err != nil {
		return nil, err
	}
	defer result.Close()
	said, err := collect(ctx, result, result.Schema(), func(b *tables.Batch) *tables.Batch { return b })
	if err != nil {
		return nil, err
	}
	p.Query = time.Since(p.Started)
	picked := make([]int, said.Len)
	at := said.Schema.Index(columnRow)
	if at < 0 {
		return nil, errors.New("judge rows of a quarantine: the query lost their numbers")
	}
	for i := range picked {
		picked[i] = int(said.Columns[at].Ints[i])
	}
	r := &retrial{judged: rows.Pick(picked)}
	r.data = r.judged
	var columns []string
	for _, col := range t.Snapshot().Schema() {
		if rows.Schema.Index(col.Name) >= 0 {
			columns = append(columns, col.Name)
		}
	}
	if r.data, err = choose(r.judged, columns); err != nil {
		return nil, err
	}
	j := newJudge(rules, f.target(t))
	p.Expectations = j.counts
	if err := j.foresee(ctx, []*tables.Batch{r.data}); err != nil {
		return nil, err
	}
	if r.verdict, err = j.try(said, r.data); err == nil && r.verdict.fates == nil {
		r.verdict.fates = make([]fate, r.data.Len)
	}
	return r, err
}

// choose returns some columns of rows.
func choose(b *tables.Batch, columns []string) (*tables.Batch, error) {
	schema, err := b.Schema.Select(columns)
	if err != nil {
		return nil, err
	}
	out := &tables.Batch{Schema: schema, Len: b.Len}
	for _, name := range columns {
		out.Columns = append(out.Columns, b.Columns[b.Schema.Index(name)])
	}
	return out, nil
}

// update returns the rows as they are to be in quarantine: marked to go, and otherwise as they were, because nothing has
// changed until the table commits; or with the reason why they stay.
func (r *retrial) update(rules []ddl.Expectation, q *quarantine, number int64, at time.Time) *tables.Batch {
	out := &tables.Batch{Schema: r.judged.Schema, Columns: slices.Clone(r.judged.Columns), Len: r.judged.Len}
	var names, reasons, times, until tables.Column
	for row, fate := range r.verdict.fates {
		if fate == stays {
			until.AppendInt(number)
			for column, values := range map[string]*tables.Column{columnRules: &names, columnReason: &reasons, columnTime: &times} {
				at := out.Schema.Index(column)
				appendFrom(values, &out.Columns[at], out.Schema[at].Type.Kind, row)
			}
			continue
		}
		until.AppendNull(tables.Long)
		name, reason := violated(rules, r.verdict.failed[row])
		names.AppendString(name)
		reasons.AppendString(reason)
		times.AppendInt(at.UnixMicro())
	}
	for column, values := range map[string]tables.Column{columnRules: names, columnReason: reasons, columnTime: times, columnUntil: until} {
		out.Columns[out.Schema.Index(column)] = values
	}
	return out
}

// Quarantined is rows of one quarantine that violate the same rules.
type Quarantined struct {
	Database, Table string // whose quarantine it is
	Rules, Reason   string
	Rows            int64
	First, Last     time.Time // when they were judged, UTC
}

// Quarantined lists what is in quarantine, by table and rules; table "" asks for all tables.
func (g *Graph) Quarantined(ctx context.Context, database, table string) ([]Quarantined, error) {
	if table != "" {
		if _, err := g.must(database, table, 0); err != nil {
			return nil, err
		}
	}
	var list []Quarantined
	seen := map[*flow]bool{}
	for _, s := range g.Flows() {
		f := g.find(s.Database, s.Table)
		if f == nil || seen[f] || table != "" && key(s.Database, s.Table) != key(database, table) {
			continue
		}
		seen[f] = true
		t, err := f.table()
		if errors.Is(err, tables.ErrNotFound) {
			continue // dropped since
		}
		if err != nil {
			return nil, err
		}
		q, err := f.findQuarantine(t)
		if err != nil {
			return nil, err
		}
		if q == nil {
			continue
		}
		groups, err := q.summary(ctx)
		if err != nil {
			return nil, err
		}
		list = append(list, groups...)
	}
	return list, nil
}

// summary counts the rows that are in quarantine, by their rules.
func (q *quarantine) summary(ctx context.Context) ([]Quarantined, error) {
	columns := []string{columnRules, columnReason, columnTime, columnSince, columnUntil}
	now, s := q.table.Snapshot(), spanOf(q.of.Snapshot())
	if now.Rows() == 0 {
		return nil, nil
	}
	r, err := now.Scan(ctx, columns)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	groups := map[string]*Quarantined{}
	err = tables.EachBatch(ctx, r, func(b *tables.Batch) error {
		for row := range b.Len {
			if !s.counts(b, 3, 4, row) {
				continue
			}
			reason, at := b.Columns[1].Strings[row], time.UnixMicro(b.Columns[2].Ints[row]).UTC()
			x := groups[reason]
			if x == nil {
				x = &Quarantined{Database: q.of.Database(), Table: q.of.Name(), Rules: b.Columns[0].Strings[row], Reason: reason, First: at, Last: at}
				groups[reason] = x
			}
			x.Rows++
			if at.Before(x.First) {
				x.First = at
			}
			if at.After(x.Last) {
				x.Last = at
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var list []Quarantined
	for _, x := range groups {
		list = append(list, *x)
	}
	slices.SortFunc(list, func(a, b Quarantined) int { return strings.Compare(a.Reason, b.Reason) })
	return list, nil
}

// AlterRules runs ADD CONSTRAINT or DROP CONSTRAINT: the table keeps its rows, and the rules apply from now on.
func (g *Graph) AlterRules(ctx context.Context, s *ddl.OnRules, database string) error {
	f, err := g.must(database, s.Name, s.Kind)
	if err != nil {
		return err
	}
	if f.broken != nil {
		return f.broken
	}
	c := *f.create
	at := slices.IndexFunc(c.Expectations, func(e ddl.Expectation) bool { return strings.EqualFold(e.Name, s.Rule.Name) })
	switch {
	case s.Verb == "ADD CONSTRAINT" && at >= 0:
		return fmt.Errorf("add constraint to %s: %w: it has an expectation %q; drop that first", f.ref, ErrUnsupported, s.Rule.Name)
	case s.Verb == "ADD CONSTRAINT":
		c.Expectations = append(slices.Clone(c.Expectations), s.Rule)
	case at < 0 && s.IfExists:
		return nil
	case at < 0:
		return fmt.Errorf("drop constraint of %s: %w: it has no expectation %q", f.ref, ErrUnsupported, s.Rule.Name)
	default:
		c.Expectations = slices.Delete(slices.Clone(c.Expectations), at, at+1)
	}
	c.OrRefresh, c.IfNotExists = true, false
	changed, err := storedCreate(c.Print(nil))
	if err != nil {
		return fmt.Errorf("alter %s: %w", f.ref, err)
	}
	_, err = g.Create(ctx, changed, f.database, f.base)
	return err
}
