package cdc

import (
	"fmt"
	"slices"
	"strings"

	"smelt/tables"
)

// events is a batch of events and where its columns are.
type events struct {
	*tables.Batch
	keys, values, tracked, sequence []int
	operation                       int
}

// result collects, for each row of the table, from which event each of its values comes.
type result struct {
	values     [][]int // by column of events.values
	start, end []int   // events that began and ended it; end is -1 for one that lives
	kept       []int   // events to remember
}

// Reduce returns what all events of some keys come to. Deletes and Truncates that are remembered must be among them;
// their sequence is never null. Rows come in the order of their keys' first events.
func (s *Spec) Reduce(batch *tables.Batch) (*Reduced, error) {
	if err := s.Check(batch.Schema); err != nil {
		return nil, err
	}
	e := s.find(batch)
	if e.operation < 0 {
		return nil, fmt.Errorf("the events have no column %s", Operation)
	}
	out := &result{values: make([][]int, len(e.values))}
	rows, truncated := e.living(s.History)
	if truncated >= 0 {
		out.kept = append(out.kept, truncated)
	}
	for _, key := range e.byKey(rows) {
		slices.SortFunc(key, e.order)
		s.reduceKey(e, key, out)
	}
	return &Reduced{Rows: s.rows(e, out), Kept: batch.Pick(out.kept)}, nil
}

// find says which columns are which.
func (s *Spec) find(batch *tables.Batch) *events {
	e := &events{Batch: batch, operation: -1}
	for i, f := range batch.Schema {
		switch {
		case f.Name == Operation:
			e.operation = i
		case IsSequence(f.Name):
			e.sequence = append(e.sequence, i)
		default:
			e.values = append(e.values, i)
			if s.tracks(f.Name) {
				e.tracked = append(e.tracked, i)
			}
		}
	}
	for _, name := range s.Keys {
		e.keys = append(e.keys, batch.Schema.Index(name))
	}
	return e
}

func (s *Spec) tracks(name string) bool {
	is := func(other string) bool { return strings.EqualFold(name, other) }
	if s.Track != nil {
		return slices.ContainsFunc(s.Track, is)
	}
	return !slices.ContainsFunc(s.TrackBut, is)
}

// living returns the events that no Truncate has ended, and the newest Truncate, -1 for none. History knows none.
func (e *events) living(history bool) (rows []int, truncated int) {
	ops := e.Columns[e.operation].Ints
	truncated = -1
	for row := range e.Len {
		if ops[row] == Truncate && !history && (truncated < 0 || compareColumns(e.Batch, e.sequence, row, truncated) > 0) {
			truncated = row
		}
	}
	for row := range e.Len {
		if ops[row] != Truncate && (truncated < 0 || compareColumns(e.Batch, e.sequence, row, truncated) > 0) {
			rows = append(rows, row)
		}
	}
	return rows, truncated
}

// byKey parts events by their keys, in the order in which keys appear.
func (e *events) byKey(rows []int) [][]int {
	var out [][]int
	at := map[string]int{}
	var key []byte
	for _, row := range rows {
		key = rowKey(key[:0], e.Batch, e.keys, row)
		i, ok := at[string(key)]
		if !ok {
			i = len(out)
			at[string(key)] = i
			out = append(out, nil)
		}
		out[i] = append(out[i], row)
	}
	return out
}

// state is the row of a key after some of its events.
type state struct {
	from   []int // by column of events.values: the event with the value; nil when there is no row
	newest int   // last event that made it so
}

// reduceKey follows the events of one key in order.
func (s *Spec) reduceKey(e *events, key []int, out *result) {
	var now state
	open := -1        // row of out that lives, of History
	last := -1        // newest delete
	var upserts []int // that may still count, since the newest delete
	for len(key) > 0 {
		// Of the events of one sequence the last one decides: a delete, or else the upsert that comes last.
		n := 1
		for n < len(key) && e.same(key[n], key[0]) {
			n++
		}
		group := key[:n]
		key = key[n:]
		winner := group[n-1]
		if e.Columns[e.operation].Ints[winner] == Delete {
			if open >= 0 {
				out.end[open] = winner
			}
			now, open, last, upserts = state{}, -1, winner, nil
			if s.History {
				out.kept = append(out.kept, winner)
			}
			continue
		}
		if !s.IgnoreNulls {
			group = group[n-1:]
		}
		before := now.from
		for i, row := range group {
			if i > 0 && e.order(row, group[i-1]) == 0 {
				continue // the same event again
			}
			now = s.fold(e, now, row)
			upserts = append(upserts, row)
			if s.History {
				out.kept = append(out.kept, row)
			}
		}
		if s.History {
			open = e.follow(out, open, before, now)
		}
	}
	if s.History {
		return
	}
	if now.from != nil {
		out.add(now.from, now.newest)
	}
	out.keep(s, e, now, last, upserts)
}

// fold is the row after one more upsert.
func (s *Spec) fold(e *events, now state, row int) state {
	from := make([]int, len(e.values))
	for i, column := range e.values {
		from[i] = row
		if s.IgnoreNulls && now.from != nil && e.Columns[column].Null(row) {
			from[i] = now.from[i]
		}
	}
	return state{from, row}
}

// follow writes the history on: a change of a tracked column ends the row that lives and begins one, others change it.
func (e *events) follow(out *result, open int, before []int, now state) int {
	if open >= 0 && e.equal(before, now.from) {
		for i := range out.values {
			out.values[i][open] = now.from[i]
		}
		return open
	}
	if open >= 0 {
		out.end[open] = now.newest
	}
	out.add(now.from, now.newest)
	return len(out.start) - 1
}

// equal reports whether two rows, given as the events of their values, have the same tracked values.
func (e *events) equal(a, b []int) bool {
	for i, column := range e.values {
		if a[i] == b[i] || !slices.Contains(e.tracked, column) {
			continue
		}
		if string(rowKey(nil, e.Batch, []int{column}, a[i])) != string(rowKey(nil, e.Batch, []int{column}, b[i])) {
			return false
		}
	}
	return true
}

func (r *result) add(from []int, start int) {
	for i := range r.values {
		r.values[i] = append(r.values[i], from[i])
	}
	r.start, r.end = append(r.start, start), append(r.end, -1)
}

// keep remembers of a key without history what its row cannot tell.
func (r *result) keep(s *Spec, e *events, now state, deleted int, upserts []int) {
	if !s.IgnoreNulls {
		if now.from == nil {
			r.kept = append(r.kept, deleted) // an upsert behind it would say as much
		}
		return
	}
	if deleted >= 0 {
		r.kept = append(r.kept, deleted)
	}
	for _, row := range upserts {
		// The newest says since when there is a row, the others give values.
		if row == now.newest || slices.Contains(now.from, row) {
			r.kept = append(r.kept, row)
		}
	}
}

// rows builds the rows of the table, value by value.
func (s *Spec) rows(e *events, r *result) *tables.Batch {
	out := &tables.Batch{Schema: s.TableSchema(e.Schema), Len: len(r.start)}
	for i, column := range e.values {
		out.Columns = append(out.Columns, pick(e.Batch, column, r.values[i]))
	}
	switch {
	case s.History:
		out.Columns = append(out.Columns, pick(e.Batch, e.sequence[0], r.start), pick(e.Batch, e.sequence[0], r.end))
	case s.Stored():
		for _, column := range e.sequence {
			out.Columns = append(out.Columns, pick(e.Batch, column, r.start))
		}
	}
	return out
}

// pick returns values of one column by row; -1 gives null.
func pick(b *tables.Batch, column int, rows []int) tables.Column {
	one := &tables.Batch{Schema: b.Schema[column : column+1], Columns: b.Columns[column : column+1], Len: b.Len}
	if !slices.Contains(rows, -1) {
		return one.Pick(rows).Columns[0]
	}
	with := tables.NewBatch(one.Schema, b.Len+1)
	with.Append(one)
	with.Columns[0].AppendNull(one.Schema[0].Type.Kind)
	places := slices.Clone(rows)
	for i, row := range places {
		if row < 0 {
			places[i] = b.Len
		}
	}
	return with.Pick(places).Columns[0]
}
