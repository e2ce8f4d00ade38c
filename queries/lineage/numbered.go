package lineage

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"

	"smelt/tables"
)

// rowColumn is the hidden column with the number of each row of a relation. No table can have a column of that name.
const rowColumn = "explain:row"

// maxHeld bounds the rows of a relation that are kept in memory, where the SQL engine can count them and read them twice;
// of a larger one they come from its files each time.
const maxHeld = 100_000

// numbered is a relation whose rows are numbered from 0, in the order of a scan, and of which some may be left out.
type numbered struct {
	inner   tables.Relation
	columns []int // of the inner relation, that decide which rows stay; none for all
	values  []map[string]bool
}

// Schema implements tables.Relation.
func (n *numbered) Schema() tables.Schema {
	return append(slices.Clone(n.inner.Schema()), tables.Field{Name: rowColumn, Type: tables.Type{Kind: tables.Long}, Hidden: true})
}

// Scan implements tables.Relation.
func (n *numbered) Scan(ctx context.Context, columns []string) (tables.Reader, error) {
	schema := n.Schema()
	if columns != nil {
		var err error
		if schema, err = schema.Select(columns); err != nil {
			return nil, err
		}
	}
	inner := n.inner.Schema()
	r := &numberedReader{schema: schema, values: n.values}
	var needed []string
	place := func(name string) int {
		at := slices.IndexFunc(needed, func(s string) bool { return strings.EqualFold(s, name) })
		if at < 0 {
			needed = append(needed, name)
			at = len(needed) - 1
		}
		return at
	}
	for _, f := range schema {
		at := -1
		if f.Name != rowColumn {
			at = place(f.Name)
		}
		r.from = append(r.from, at)
	}
	for _, i := range n.columns {
		r.tested = append(r.tested, place(inner[i].Name))
	}
	if needed == nil {
		needed = []string{}
	}
	var err error
	if r.inner, err = n.inner.Scan(ctx, needed); err != nil {
		return nil, err
	}
	return r, nil
}

type numberedReader struct {
	inner  tables.Reader
	schema tables.Schema
	from   []int // where each column comes from; -1 for the number
	tested []int
	values []map[string]bool
	next   int64
}

// Next implements tables.Reader.
func (r *numberedReader) Next(ctx context.Context) (*tables.Batch, error) {
	for {
		b, err := r.inner.Next(ctx)
		if err != nil {
			return nil, err
		}
		keep := make([]bool, b.Len)
		any := false
		for row := range keep {
			keep[row] = true
			for i, at := range r.tested {
				keep[row] = keep[row] && r.values[i][key(b, row, []int{at})]
			}
			any = any || keep[row]
		}
		first := r.next
		r.next += int64(b.Len)
		if !any {
			continue
		}
		out := &tables.Batch{Schema: r.schema, Columns: make([]tables.Column, len(r.schema)), Len: b.Len}
		for i, at := range r.from {
			if at >= 0 {
				out.Columns[i] = b.Columns[at]
				continue
			}
			for row := range int64(b.Len) {
				out.Columns[i].AppendInt(first + row)
			}
		}
		return out.Filter(keep), nil
	}
}

// Close implements tables.Reader.
func (r *numberedReader) Close() error { return r.inner.Close() }

// held returns the relation in memory if it is small, or else as it is.
func (n *numbered) held(ctx context.Context) (tables.Relation, error) {
	rows, err := n.Scan(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	all := tables.NewBatch(n.Schema(), 0)
	for {
		b, err := rows.Next(ctx)
		if errors.Is(err, io.EOF) {
			return tables.FromBatches(all.Schema, all), nil
		}
		if err != nil {
			return nil, err
		}
		if all.Append(b); all.Len > maxHeld {
			return n, nil
		}
	}
}

// pick reads the rows with these numbers, in order; without the numbers.
func pick(ctx context.Context, r tables.Relation, numbers []int64) (*tables.Batch, error) {
	rows, err := r.Scan(ctx, r.Schema().Names())
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	out := tables.NewBatch(r.Schema(), len(numbers))
	at := int64(0)
	for len(numbers) > 0 {
		b, err := rows.Next(ctx)
		if err != nil {
			return nil, err // rows that were there a moment ago: an end is an error, too
		}
		var chosen []int
		for len(numbers) > 0 && numbers[0] < at+int64(b.Len) {
			chosen = append(chosen, int(numbers[0]-at))
			numbers = numbers[1:]
		}
		at += int64(b.Len)
		if len(chosen) > 0 {
			out.Append(b.Pick(chosen))
		}
	}
	return out, nil
}
