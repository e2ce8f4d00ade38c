package queries

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"slices"
	"time"

	"smelt/queries/ddl"
	"smelt/tables"
)

// Limits of EXPECT DRIFT.
const (
	// minDriftRows is how many rows a batch and what it is compared with must have: the index of fewer is noise.
	minDriftRows = 100
	// maxDriftRows bounds the rows that a batch is compared with: their values are held in memory.
	maxDriftRows = 1 << 20
	// driftQuantiles is into how many equal parts numbers are divided, maxDriftValues how many texts are told apart.
	driftQuantiles, maxDriftValues = 10, 50
)

// drift compares the values of a column in one batch with those of the batches before.
type drift struct {
	rule  ddl.Expectation
	bins  *bins
	past  []int64 // rows by bin
	batch []int64
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
	d := &drift{rule: rule, bins: newBins(values)}
	d.past, d.batch = make([]int64, d.bins.n), make([]int64, d.bins.n)
	for row := range values.Len {
		d.past[d.bins.of(values, 0, row)]++
	}
	return d, nil
}

// readSome appends the values of a column, up to maxDriftRows.
func readSome(ctx context.Context, rows tables.Relation, column string, values *tables.Batch) error {
	if values.Len >= maxDriftRows {
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
		if values.Append(&tables.Batch{Schema: values.Schema, Columns: b.Columns, Len: b.Len}); values.Len >= maxDriftRows {
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
			d.batch[d.bins.of(rows, at, row)]++
		}
	}
}

// index returns the population stability index of the batch; ok is false for too few rows.
func (d *drift) index() (psi float64, rows int64, ok bool) {
	var past int64
	for i := range d.past {
		past, rows = past+d.past[i], rows+d.batch[i]
	}
	if rows < minDriftRows {
		return 0, rows, false
	}
	const half = 0.5 // of a row in each bin, so that an empty one is no infinity
	for i := range d.past {
		was := (float64(d.past[i]) + half) / (float64(past) + half*float64(d.bins.n))
		is := (float64(d.batch[i]) + half) / (float64(rows) + half*float64(d.bins.n))
		psi += (is - was) * math.Log(is/was)
	}
	return psi, rows, true
}

// bins divides the values of a column: NULL, then parts of numbers or single values, then the rest.
type bins struct {
	n    int
	cuts []float64 // upper ends of the parts of numbers
	by   map[string]int
}

// newBins makes them of the values that were there. Numbers with few values are told apart like texts.
func newBins(values *tables.Batch) *bins {
	count := map[string]int{}
	var numbers []float64
	for row := range values.Len {
		if values.Columns[0].Null(row) {
			continue
		}
		if x, ok := number(values, 0, row); ok {
			numbers = append(numbers, x)
		}
		if len(count) <= maxDriftRows/8 {
			count[string(appendValue(nil, values, 0, row))]++
		}
	}
	b := &bins{by: map[string]int{}}
	if len(numbers) > 0 && len(count) > maxDriftValues {
		slices.Sort(numbers)
		for i := 1; i < driftQuantiles; i++ {
			if cut := numbers[i*len(numbers)/driftQuantiles]; len(b.cuts) == 0 || cut > b.cuts[len(b.cuts)-1] {
				b.cuts = append(b.cuts, cut)
			}
		}
		b.n = len(b.cuts) + 2
		return b
	}
	var names []string
	for name := range count {
		names = append(names, name)
	}
	slices.SortFunc(names, func(x, y string) int {
		if count[x] != count[y] {
			return count[y] - count[x]
		}
		if x < y {
			return -1
		}
		return 1
	})
	for i, name := range names[:min(len(names), maxDriftValues)] {
		b.by[name] = i + 1
	}
	b.n = len(b.by) + 2
	return b
}

// of returns the bin of a value.
func (b *bins) of(rows *tables.Batch, column, row int) int {
	if column < 0 || rows.Columns[column].Null(row) {
		return 0
	}
	if len(b.cuts) > 0 {
		x, _ := number(rows, column, row)
		at, _ := slices.BinarySearch(b.cuts, x)
		return at + 1
	}
	if at, ok := b.by[string(appendValue(nil, rows, column, row))]; ok {
		return at
	}
	return b.n - 1
}

// number reads a value as a number; ok is false for those that are none. Precision does not matter to a distribution.
func number(b *tables.Batch, column, row int) (x float64, ok bool) {
	c, t := &b.Columns[column], b.Schema[column].Type
	switch t.Kind {
	case tables.Float, tables.Double:
		return c.Floats[row], !math.IsNaN(c.Floats[row])
	case tables.Decimal:
		x, _ := c.Decimals[row].Big().Float64()
		return x / math.Pow10(t.Scale), true
	case tables.Byte, tables.Short, tables.Integer, tables.Long, tables.Date, tables.Timestamp:
		return float64(c.Ints[row]), true
	default:
		return 0, false
	}
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
		psi, rows, ok := d.index()
		if !ok {
			continue
		}
		e := j.rules[i]
		j.counts[i].Value = psi
		if psi < d.rule.Drift.Limit {
			j.counts[i].Passed++
			continue
		}
		j.counts[i].Failed++
		switch e.Action {
		case ddl.FailUpdate:
			return held, fmt.Errorf("%w: %s %s: the index of the %d rows of this batch is %.3f", ErrExpectation, e.Name, e.Rule(), rows, psi)
		case ddl.Quarantine:
			held = i
		}
	}
	return held, nil
}
