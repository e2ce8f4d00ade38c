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

// stream is a file that is too large to be kept. Its beginning was read, or all of it without an error, and it is read
// again by each scan; it must be the same file each time.
type stream struct {
	decoded
	dir     string
	options Options
	columns columns
	now     time.Time    // of the batch
	counted atomic.Int64 // rows, as the first whole reading has found; -1 before it
	spoiled atomic.Int64 // rows with something rescued, as the last whole scan has found
	refused atomic.Bool  // of one that was only begun: the rest is not what was promised
}

// errUnlike is what is behind the beginning of a file when it does not go on like it.
var errUnlike = errors.New("it has fields that its beginning has not")

// total returns the rows of the file; it reads the file where no scan has come to its end.
func (s *stream) total(ctx context.Context) (int64, error) {
	if n := s.counted.Load(); n >= 0 {
		return n, nil
	}
	rows := s.open(ctx, nil)
	defer rows.Close()
	if err := tables.EachBatch(ctx, rows, func(*tables.Batch) error { return nil }); err != nil {
		return 0, err
	}
	return s.counted.Load(), nil
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
			s.refused.Store(s.begun && ctx.Err() == nil)
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
		if len(part.unknown) > 0 {
			return errUnlike
		}
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
	if err != nil {
		return err
	}
	s.spoiled.Store(rescued)
	if !s.counted.CompareAndSwap(-1, rows) && rows != s.counted.Load() {
		return fmt.Errorf("%d rows now, %d before", rows, s.counted.Load())
	}
	return nil
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
