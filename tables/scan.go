package tables

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"path/filepath"
	"sync"

	"smelt/tables/delta"
	"smelt/tables/parquet"
)

// aheadBatches is how many decoded batches may wait for the consumer of one scan: decoding goes on while the consumer
// works, and memory stays at a few batches whatever the size of the table.
const aheadBatches = 4

// scanFiles reads the columns of the data files in order.
func scanFiles(ctx context.Context, t *Table, schema Schema, columns []string, files []delta.File) (Reader, error) {
	chosen := schema
	if columns != nil {
		var err error
		if chosen, err = schema.Select(columns); err != nil {
			return nil, fmt.Errorf("scan %s.%s: %w", t.db, t.name, err)
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	r := &fileScan{cancel: cancel, out: make(chan decoded, aheadBatches)}
	r.done.Add(1)
	go func() {
		defer r.done.Done()
		defer close(r.out)
		defer func() { r.stopped = ctx.Err() }()
		for _, f := range files {
			if err := readFile(ctx, t, f, chosen, r.out); err != nil {
				send(ctx, r.out, decoded{err: fmt.Errorf("scan %s.%s: file %s: %w", t.db, t.name, f.Path, err)})
				return
			}
		}
	}()
	return r, nil
}

type decoded struct {
	batch *Batch
	err   error
}

// fileScan hands over what its goroutine decodes.
type fileScan struct {
	cancel  context.CancelFunc
	out     chan decoded
	stopped error // why the scan was cancelled; set before out is closed
	failed  error // what Next returned; it stays
	done    sync.WaitGroup
}

// Next implements Reader.
func (r *fileScan) Next(ctx context.Context) (*Batch, error) {
	if r.failed != nil {
		return nil, r.failed
	}
	select {
	case d, ok := <-r.out:
		switch {
		case ok:
			r.failed = d.err
		case r.stopped != nil:
			r.failed = r.stopped
		default:
			r.failed = io.EOF
		}
		return d.batch, r.failed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Close implements Reader. It waits for the decoding goroutine.
func (r *fileScan) Close() error {
	r.cancel()
	r.done.Wait()
	return nil
}

func send(ctx context.Context, out chan<- decoded, d decoded) bool {
	select {
	case out <- d:
		return true
	case <-ctx.Done():
		return false
	}
}

// readFile decodes one data file and checks it against what the log says of it.
func readFile(ctx context.Context, t *Table, add delta.File, whole Schema, out chan<- decoded) error {
	want := add.Rows
	schema := stored(whole, t.Snapshot().def.Partitions)
	if len(schema) == 0 {
		return sendEmpty(ctx, want, whole, add.PartitionValues, out)
	}
	fsys, dir := t.store.fs, t.dir
	name, err := url.PathUnescape(add.Path)
	if err != nil {
		return fmt.Errorf("decode path: %w", err)
	}
	if !filepath.IsLocal(name) {
		return fmt.Errorf("path %q leaves the table: %w", name, delta.ErrUnsupported)
	}
	f, err := fsys.Open(filepath.Join(dir, name))
	if err != nil {
		return err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return err
	}
	if size != add.Size {
		return fmt.Errorf("damaged data file: %d bytes, the log says %d", size, add.Size)
	}
	r, err := parquet.NewReader(f, size, schema)
	if err != nil {
		return err
	}
	defer r.Close()
	if r.Rows() != want {
		return fmt.Errorf("damaged data file: %d rows, the log says %d", r.Rows(), want)
	}
	var got int64
	for {
		b, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		got += int64(b.Len)
		if b, err = parted(b, whole, add.PartitionValues); err != nil {
			return err
		}
		if !send(ctx, out, decoded{batch: b}) {
			return ctx.Err()
		}
	}
	if got != want {
		return fmt.Errorf("damaged data file: %d rows read, the log says %d", got, want)
	}
	return nil
}

// sendEmpty yields rows without columns: a COUNT(*) needs no file.
func sendEmpty(ctx context.Context, rows int64, schema Schema, values map[string]string, out chan<- decoded) error {
	const most = 1 << 16
	for rows > 0 {
		n := min(rows, most)
		b, err := parted(&Batch{Schema: Schema{}, Len: int(n)}, schema, values)
		if err != nil {
			return err
		}
		if !send(ctx, out, decoded{batch: b}) {
			return ctx.Err()
		}
		rows -= n
	}
	return nil
}
