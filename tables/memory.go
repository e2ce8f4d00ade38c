package tables

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// maxReadAllRows bounds ReadAll, which is meant for small results such as system tables.
const maxReadAllRows = 10 << 20

// memory is a relation of batches that are held in memory.
type memory struct {
	schema  Schema
	batches []*Batch
}

// FromBatches returns a relation of the batches, which must have the schema. Empty batches are passed over.
func FromBatches(schema Schema, batches ...*Batch) Relation {
	m := &memory{schema: schema}
	for _, b := range batches {
		if b.Len > 0 {
			m.batches = append(m.batches, b)
		}
	}
	return m
}

// Schema implements Relation.
func (m *memory) Schema() Schema { return m.schema }

// Rows implements Counter.
func (m *memory) Rows() int64 {
	var n int64
	for _, b := range m.batches {
		n += int64(b.Len)
	}
	return n
}

// Scan implements Relation.
func (m *memory) Scan(_ context.Context, columns []string) (Reader, error) {
	chosen := m.schema
	if columns != nil {
		var err error
		if chosen, err = m.schema.Select(columns); err != nil {
			return nil, err
		}
	}
	return &memoryReader{schema: chosen, batches: m.batches}, nil
}

type memoryReader struct {
	schema  Schema
	batches []*Batch
}

// Next implements Reader.
func (r *memoryReader) Next(ctx context.Context) (*Batch, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if len(r.batches) == 0 {
		return nil, io.EOF
	}
	b := r.batches[0]
	r.batches = r.batches[1:]
	out := &Batch{Schema: r.schema, Columns: make([]Column, len(r.schema)), Len: b.Len}
	for i, f := range r.schema {
		at := b.Schema.Index(f.Name)
		if at < 0 {
			return nil, fmt.Errorf("read batch: it lacks column %q", f.Name)
		}
		out.Columns[i] = b.Columns[at]
	}
	return out, nil
}

// Close implements Reader.
func (r *memoryReader) Close() error { return nil }

// ReadAll reads the columns of a relation (nil for all) into one batch. More than 10 million rows is an error.
func ReadAll(ctx context.Context, rel Relation, columns []string) (*Batch, error) {
	r, err := rel.Scan(ctx, columns)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	schema := rel.Schema()
	if columns != nil {
		if schema, err = schema.Select(columns); err != nil {
			return nil, err
		}
	}
	out := NewBatch(schema, 0)
	err = EachBatch(ctx, r, func(b *Batch) error {
		if out.Len+b.Len > maxReadAllRows {
			return fmt.Errorf("read relation: more than %d rows", maxReadAllRows)
		}
		out.Append(b)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// EachBatch calls f for each batch of a reader until its end or the first error. The reader is not closed.
func EachBatch(ctx context.Context, r Reader, f func(*Batch) error) error {
	for {
		b, err := r.Next(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = f(b)
		}
		if err != nil {
			return err
		}
	}
}
