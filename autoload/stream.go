package autoload

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	"smelt/tables"
)

const (
	// keepBytes is how much memory the rows of a batch may take between the first reading of its files, which checks them
	// and finds the columns, and the commit. What is beyond it is read again by each scan.
	keepBytes = 128 << 20
	// cellBytes and hiddenBytes are about what a value and the hidden columns of a row take beside the text.
	cellBytes   = 16
	hiddenBytes = 100
)

// weigh estimates the memory of rows that were decoded from so many bytes.
func (f *fileRows) weigh(content int64, columns int) {
	f.bytes = content + f.rows*int64(columns*cellBytes+hiddenBytes)
}

// stream is a file that is too large to be kept. It was read once, whole, without an error, and is read again by each
// scan; it must be the same file each time.
type stream struct {
	decoded
	dir     string
	options Options
	columns columns
	now     time.Time    // of the batch
	spoiled atomic.Int64 // rows with something rescued, as the last whole scan has found
}

// relation is the rows of a batch: those in memory, and those of streams. Its schema is that of the directory.
type relation struct {
	schema tables.Schema
	memory tables.Relation
	files  []*stream
}

// Schema implements tables.Relation.
func (r *relation) Schema() tables.Schema { return r.schema }

// Scan implements tables.Relation.
func (r *relation) Scan(ctx context.Context, names []string) (tables.Reader, error) {
	in, err := r.memory.Scan(ctx, names)
	if err != nil {
		return nil, err
	}
	schema := r.schema
	if names != nil {
		if schema, err = r.schema.Select(names); err != nil {
			return nil, errors.Join(err, in.Close())
		}
	}
	return &streamReader{Reader: in, schema: schema, files: r.files}, nil
}

// streamReader reads what is in memory, then one stream after another.
type streamReader struct {
	tables.Reader // of the rows in memory, then of a stream
	schema        tables.Schema
	files         []*stream // to come
}

// Next implements tables.Reader.
func (r *streamReader) Next(ctx context.Context) (*tables.Batch, error) {
	for {
		b, err := r.Reader.Next(ctx)
		if !errors.Is(err, io.EOF) || len(r.files) == 0 {
			return b, err
		}
		if err := r.Close(); err != nil {
			return nil, err
		}
		r.Reader = r.files[0].open(ctx, r.schema)
		r.files = r.files[1:]
	}
}

// open begins to read a stream.
func (s *stream) open(ctx context.Context, schema tables.Schema) tables.Reader {
	ctx, cancel := context.WithCancel(ctx)
	r := &fileReader{cancel: cancel, batches: make(chan *tables.Batch, 1), schema: schema, full: s.columns.full(), done: make(chan struct{})}
	go func() {
		defer close(r.done)
		defer close(r.batches)
		if err := s.read(ctx, r.batches); err != nil {
			r.err = fmt.Errorf("read %s again: %w", s.path, err)
		}
	}()
	return r
}

// read sends the rows of the file.
func (s *stream) read(ctx context.Context, out chan<- *tables.Batch) error {
	root, err := os.OpenRoot(s.dir)
	if err != nil {
		return fmt.Errorf("open watched directory: %w", err)
	}
	defer root.Close()
	r := reader{root: root, options: s.options, columns: s.columns}
	full, rows, rescued := s.columns.full(), int64(0), int64(0)
	shape := *s.shape
	shape.check = nil
	err = r.scan(ctx, newDecoder(s.columns), s.candidate, &shape, func(part fileRows) error {
		rescued += part.rescued
		for _, b := range part.batches {
			if b.Len == 0 {
				continue
			}
			wide := s.columns.widen(full, s.decoded, b, rows, s.now)
			rows += int64(b.Len)
			select {
			case <-ctx.Done():
				return ctx.Err()
			case out <- wide:
			}
		}
		return nil
	})
	s.spoiled.Store(rescued)
	if err == nil && rows != s.rows {
		err = fmt.Errorf("%d rows now, %d before", rows, s.rows)
	}
	return err
}

// fileReader reads a stream.
type fileReader struct {
	cancel       context.CancelFunc
	batches      chan *tables.Batch
	done         chan struct{} // closed behind the last batch, when err is set
	err          error
	schema, full tables.Schema
}

// Next implements tables.Reader.
func (r *fileReader) Next(ctx context.Context) (*tables.Batch, error) {
	var b *tables.Batch
	ok := false
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case b, ok = <-r.batches:
	}
	if !ok {
		<-r.done
		if r.err != nil {
			return nil, r.err
		}
		return nil, io.EOF
	}
	out := &tables.Batch{Schema: r.schema, Columns: make([]tables.Column, len(r.schema)), Len: b.Len}
	for i, f := range r.schema {
		out.Columns[i] = b.Columns[r.full.Index(f.Name)]
	}
	return out, nil
}

// Close implements tables.Reader.
func (r *fileReader) Close() error {
	r.cancel()
	for range r.batches { // nothing reads them any more
	}
	<-r.done
	return nil
}
