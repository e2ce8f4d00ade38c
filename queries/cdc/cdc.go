// Package cdc turns change events into the rows of a table: the newest row of each key (SCD type 1) or its history (SCD
// type 2). It is pure: rows go in, rows come out, and the result depends on the set of events only, not on their order,
// on how they fall into batches, nor on how often one comes. Errors say what is wrong with an event or a Spec.
package cdc

import (
	"bytes"
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"smelt/tables"
	"smelt/tables/filter"
)

// Columns that this package adds. Those that begin with __smelt_ are hidden from SELECT *.
const (
	// Sequence is the place of an event among those of its key, never null. With several, 2, 3 and so on follow the name.
	Sequence = "__smelt_sequence"
	// Operation is what an event does: one of Upsert, Delete and Truncate, a Long.
	Operation = "__smelt_operation"
	// StartAt and EndAt bound the life of a row of history by sequence; EndAt is null for a row that lives.
	StartAt = "__START_AT"
	EndAt   = "__END_AT"
)

// Values of Operation. Of two events of one key and one sequence the one with the greater value counts.
const (
	Upsert   = 0
	Delete   = 1
	Truncate = 2 // ends all keys; its own key says nothing
)

// Spec says what the events of one table mean.
type Spec struct {
	Keys        []string // columns that tell rows apart; NULL is a value like others
	History     bool     // SCD type 2
	IgnoreNulls bool     // a null in an event leaves the column as it was
	Track       []string // of History: columns whose changes begin a new row; nil for all
	TrackBut    []string // of History, with Track nil: columns whose changes do not
}

// Reduced is what events come to.
type Reduced struct {
	// Rows is what the table has for the keys of the events: the columns of the events less Operation, where with History
	// StartAt and EndAt stand for Sequence, and with IgnoreNulls there is no Sequence either.
	Rows *tables.Batch
	// Kept is the events that must be remembered beside the table, with the columns of the events: a late event would have
	// another meaning without them.
	Kept *tables.Batch
}

// Stored reports whether the rows of the table are all that must be remembered of the upserts behind them: then Kept has
// deletes only, and RowEvents makes events of rows again.
func (s *Spec) Stored() bool { return !s.History && !s.IgnoreNulls }

// IsSequence reports whether a column holds the sequence, or a part of it.
func IsSequence(name string) bool {
	rest, ok := strings.CutPrefix(name, Sequence)
	if !ok || rest == "" {
		return ok
	}
	n, err := strconv.Atoi(rest)
	return err == nil && n > 1
}

// Check says what is wrong with the spec for events of the schema.
func (s *Spec) Check(schema tables.Schema) error {
	sequences := 0
	for _, f := range schema {
		if IsSequence(f.Name) {
			sequences++
		}
	}
	for _, list := range [][]string{s.Keys, s.Track, s.TrackBut} {
		for _, name := range list {
			if schema.Index(name) < 0 || IsSequence(name) || name == Operation {
				return fmt.Errorf("column %q is not among those of the table: %s", name, strings.Join(values(schema).Names(), ", "))
			}
		}
	}
	for _, name := range []string{StartAt, EndAt} {
		if s.History && schema.Index(name) >= 0 {
			return fmt.Errorf("column %q is what SCD TYPE 2 adds; give that of the source another name", name)
		}
	}
	switch {
	case len(s.Keys) == 0:
		return fmt.Errorf("KEYS names no column")
	case sequences == 0:
		return fmt.Errorf("the events have no column %s", Sequence)
	case sequences > 1 && s.History:
		return fmt.Errorf("SEQUENCE BY has %d parts, and SCD TYPE 2 shows one in %s; make one value of them", sequences, StartAt)
	}
	return nil
}

// values returns the columns of events that hold values of the table.
func values(schema tables.Schema) tables.Schema {
	return slices.DeleteFunc(slices.Clone(schema), func(f tables.Field) bool { return IsSequence(f.Name) || f.Name == Operation })
}

// TableSchema returns the columns of the table for events of the schema.
func (s *Spec) TableSchema(events tables.Schema) tables.Schema {
	out := values(events)
	for _, f := range events {
		switch {
		case !IsSequence(f.Name):
		case s.History:
			return append(out, tables.Field{Name: StartAt, Type: f.Type, Comment: "sequence of the event that began this row"},
				tables.Field{Name: EndAt, Type: f.Type, Comment: "sequence of the event that ended it; NULL while it lives"})
		case s.Stored():
			out = append(out, f)
		}
	}
	return out
}

// RowEvents returns rows of a table whose spec is Stored as the events that they stand for.
func RowEvents(rows *tables.Batch, schema tables.Schema) *tables.Batch {
	out := &tables.Batch{Schema: schema, Columns: make([]tables.Column, len(schema)), Len: rows.Len}
	for i, f := range schema {
		switch at := rows.Schema.Index(f.Name); {
		case f.Name == Operation:
			out.Columns[i].Ints = make([]int64, rows.Len)
		case at >= 0:
			out.Columns[i] = rows.Columns[at]
		default:
			for range rows.Len {
				out.Columns[i].AppendNull(f.Type.Kind)
			}
		}
	}
	return out
}

// NullSequence returns the first row of events without a sequence, -1 if there is none.
func NullSequence(events *tables.Batch) int {
	for i, f := range events.Schema {
		if !IsSequence(f.Name) {
			continue
		}
		for row := range events.Len {
			c := &events.Columns[i]
			if c.Null(row) || c.Floats != nil && math.IsNaN(c.Floats[row]) {
				return row
			}
		}
	}
	return -1
}

// KeysOf returns the distinct keys of events, those of Truncate left out.
func (s *Spec) KeysOf(events *tables.Batch) *tables.Batch {
	schema, err := events.Schema.Select(s.Keys)
	if err != nil {
		return tables.NewBatch(nil, 0) // Check said so
	}
	out := &tables.Batch{Schema: schema, Len: events.Len}
	for _, f := range schema {
		out.Columns = append(out.Columns, events.Columns[events.Schema.Index(f.Name)])
	}
	operation := events.Schema.Index(Operation)
	seen := map[string]bool{}
	keep := make([]bool, out.Len)
	var key []byte
	for row := range keep {
		if operation >= 0 && events.Columns[operation].Ints[row] == Truncate {
			continue
		}
		if key = rowKey(key[:0], out, allColumns(out), row); !seen[string(key)] {
			seen[string(key)], keep[row] = true, true
		}
	}
	return out.Filter(keep)
}

// Of returns the rows with one of the keys.
func (s *Spec) Of(rows, keys *tables.Batch) *tables.Batch {
	has := map[string]bool{}
	for row := range keys.Len {
		has[string(rowKey(nil, keys, allColumns(keys), row))] = true
	}
	var columns []int
	for _, name := range s.Keys {
		columns = append(columns, rows.Schema.Index(name))
	}
	keep := make([]bool, rows.Len)
	var key []byte
	for row := range keep {
		key = rowKey(key[:0], rows, columns, row)
		keep[row] = has[string(key)]
	}
	return rows.Filter(keep)
}

// Difference returns the rows of a that b has not, and those of b that a has not, each as often as that is so. They have
// the same columns in the same order.
func Difference(a, b *tables.Batch) (onlyA, onlyB *tables.Batch) {
	left := map[string]int{}
	var key []byte
	for row := range a.Len {
		key = rowKey(key[:0], a, allColumns(a), row)
		left[string(key)]++
	}
	more := make([]bool, b.Len)
	for row := range b.Len {
		key = rowKey(key[:0], b, allColumns(b), row)
		if left[string(key)]--; left[string(key)] < 0 {
			more[row] = true
		}
	}
	gone := make([]bool, a.Len)
	for row := range a.Len {
		key = rowKey(key[:0], a, allColumns(a), row)
		if left[string(key)] > 0 {
			left[string(key)]--
			gone[row] = true
		}
	}
	return a.Filter(gone), b.Filter(more)
}

func allColumns(b *tables.Batch) []int {
	out := make([]int, len(b.Columns))
	for i := range out {
		out[i] = i
	}
	return out
}

// rowKey appends what tells the values of some columns of a row from others.
func rowKey(key []byte, b *tables.Batch, columns []int, row int) []byte {
	for _, i := range columns {
		c := &b.Columns[i]
		if c.Null(row) {
			key = append(key, 'n', ',')
			continue
		}
		switch b.Schema[i].Type.Kind {
		case tables.Boolean:
			key = strconv.AppendBool(key, c.Bools[row])
		case tables.Float, tables.Double:
			v := c.Floats[row]
			if v == 0 {
				v = 0 // no sign: equal to SQL
			}
			key = strconv.AppendFloat(key, v, 'g', -1, 64)
		case tables.String, tables.Binary, tables.JSON:
			key = strconv.AppendInt(key, int64(len(c.Strings[row])), 10)
			key = append(append(key, ':'), c.Strings[row]...)
		case tables.Decimal:
			key = strconv.AppendInt(key, c.Decimals[row].Hi, 36)
			key = strconv.AppendUint(append(key, '.'), c.Decimals[row].Lo, 36)
		default:
			key = strconv.AppendInt(key, c.Ints[row], 36)
		}
		key = append(key, ',')
	}
	return key
}

// compareColumns orders two rows by some columns, none of which is null.
func compareColumns(b *tables.Batch, columns []int, x, y int) int {
	for _, i := range columns {
		k := b.Schema[i].Type.Kind
		vx, vy := filter.At(&b.Columns[i], k, x), filter.At(&b.Columns[i], k, y)
		if c := filter.Compare(k, &vx, &vy); c != 0 {
			return c
		}
	}
	return 0
}

// order is that of the events of one key: by sequence, then by operation, then by content, so that there is one order.
func (e *events) order(x, y int) int {
	ops := e.Columns[e.operation].Ints
	if c := cmp.Or(compareColumns(e.Batch, e.sequence, x, y), cmp.Compare(ops[x], ops[y])); c != 0 {
		return c
	}
	return bytes.Compare(rowKey(nil, e.Batch, e.values, x), rowKey(nil, e.Batch, e.values, y))
}

// same reports whether two events have the same sequence.
func (e *events) same(x, y int) bool { return compareColumns(e.Batch, e.sequence, x, y) == 0 }
