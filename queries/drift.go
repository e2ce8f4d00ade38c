package queries

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"smelt/queries/ddl"
	"smelt/tables"
	"smelt/tables/psi"
)

// Limits of EXPECT DRIFT.
const (
	// minDriftRows is how many rows a batch and what it is compared with must have: the index of fewer is noise.
	minDriftRows = 100
)

// drift compares the values of a column in one batch with those of the batches before.
type drift struct {
	rule     ddl.Expectation
	compared *psi.Comparison
}

// newDrift reads what the batch is to be compared with; nil if there is too little.
func newDrift(ctx context.Context, rule ddl.Expectation, into *target) (*drift, error) {
	at := into.now.Schema().Index(rule.Drift.Column)
	if at < 0 {
		return nil, nil // the column is new
	}
	past, err := into.past(ctx, rule)
	if err != nil {
		return nil, err
	}
	values := tables.NewBatch(tables.Schema{into.now.Schema()[at]}, 0)
	for _, rows := range past {
		if rows.Schema().Index(rule.Drift.Column) < 0 {
			continue // of a view whose SELECT was another
		}
		err := readSome(ctx, rows, rule.Drift.Column, values)
		if err != nil && !(into.replaces && errors.Is(err, fs.ErrNotExist)) { // a view keeps its old files for some time only
			return nil, err
		}
	}
	if values.Len < minDriftRows {
		return nil, nil
	}
	return &drift{rule: rule, compared: psi.New(values)}, nil
}

// readSome appends the values of a column, up to psi.MaxRows.
func readSome(ctx context.Context, rows tables.Relation, column string, values *tables.Batch) error {
	if values.Len >= psi.MaxRows {
		return nil
	}
	r, err := rows.Scan(ctx, []string{column})
	if err != nil {
		return err
	}
	defer r.Close()
	enough := errors.New("enough")
	err = tables.EachBatch(ctx, r, func(b *tables.Batch) error {
		if b.Schema[0].Type != values.Schema[0].Type {
			return enough // of another time
		}
		if values.Append(&tables.Batch{Schema: values.Schema, Columns: b.Columns, Len: b.Len}); values.Len >= psi.MaxRows {
			return enough
		}
		return nil
	})
	if errors.Is(err, enough) {
		return nil
	}
	return err
}

// past returns what the last batches added to a table, or, of a view, what it was.
func (into *target) past(ctx context.Context, rule ddl.Expectation) ([]tables.Relation, error) {
	history, err := into.table.History(ctx, 0)
	if err != nil {
		return nil, err
	}
	var versions []int64
	for _, c := range history {
		if c.Version > into.now.Version() {
			continue
		}
		if c.Version < into.now.Born() || rule.Drift.Days && time.Since(c.Time) > time.Duration(rule.Drift.Last)*24*time.Hour || !rule.Drift.Days && len(versions) == rule.Drift.Last {
			break
		}
		if p, ok := ProgressOf(c); ok && p.RowsOut > 0 {
			versions = append(versions, c.Version)
		}
	}
	if len(versions) == 0 {
		return nil, nil
	}
	if !into.replaces {
		added, err := into.table.ChangesUpTo(ctx, versions[len(versions)-1]-1, into.now.Version(), 0)
		if err != nil || added.Rewritten || added.Replaced {
			return []tables.Relation{into.now}, nil // files of that time may be gone; the rows are those that are there
		}
		return []tables.Relation{added}, nil
	}
	out := []tables.Relation{into.now}
	for _, v := range versions {
		if v == into.now.Version() {
			continue
		}
		if then, err := into.table.At(ctx, v); err == nil { // else the log was cleaned up
			out = append(out, then)
		}
	}
	return out, nil
}

// watch counts the rows that stay.
func (d *drift) watch(rows *tables.Batch, v *verdict) {
	at := rows.Schema.Index(d.rule.Drift.Column)
	for row := range rows.Len {
		if v.fates == nil || v.fates[row] == stays {
			d.compared.Add(rows, at, row)
		}
	}
}

// index returns the population stability index of the batch; ok is false for too few rows.
func (d *drift) index() (index float64, rows int64, ok bool) {
	index, _, rows = d.compared.Index()
	return index, rows, rows >= minDriftRows
}

// endDrift judges the batch by the drift rules, after all of its rows. held is the rule by which the whole batch goes into
// quarantine, -1 if none does.
func (j *judge) endDrift() (held int, err error) {
	held = -1
	if j.ended {
		return held, nil
	}
	j.ended = true
	for i, d := range j.drifts {
		if d == nil {
			continue
		}
		index, rows, ok := d.index()
		if !ok {
			continue
		}
		e := j.rules[i]
		j.counts[i].Value = index
		if index < d.rule.Drift.Limit {
			j.counts[i].Passed++
			continue
		}
		j.counts[i].Failed++
		switch e.Action {
		case ddl.FailUpdate:
			return held, fmt.Errorf("%w: %s %s: the index of the %d rows of this batch is %.3f", ErrExpectation, e.Name, e.Rule(), rows, index)
		case ddl.Quarantine:
			held = i
		}
	}
	return held, nil
}
