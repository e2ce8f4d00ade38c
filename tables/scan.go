package tables

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"smelt/tables/delta"
	"smelt/tables/parquet"
	"smelt/tables/vfs"
)

const (
	// filesPerCore is how many files of a scan are open for each core: one is decoded while the footer of the next is
	// read. It bounds the open files and footers.
	filesPerCore = 2
	// groupBytes of decoded rows may wait in each row group that is decoded ahead of the consumer: about what a whole row
	// group of ours unpacks to, so that it can be finished while the one before is consumed. At most one row group for
	// each core is decoded ahead, which bounds the memory of a scan.
	groupBytes = 32 << 20
	// minAhead and maxAhead batches may wait in a row group, whatever their size.
	minAhead = 2
	maxAhead = 16
)

// scanFiles reads the columns of the data files in order.
func scanFiles(ctx context.Context, t *Table, schema Schema, columns []string, files []delta.File) (Reader, error) {
	return scanWhere(ctx, t, schema, columns, files, nil)
}

// scanWhere reads the columns of the data files in order, less some rows that fail a condition.
func scanWhere(ctx context.Context, t *Table, schema Schema, columns []string, files []delta.File, where []parquet.Where) (Reader, error) {
	chosen := schema
	if columns != nil {
		var err error
		if chosen, err = schema.Select(columns); err != nil {
			return nil, fmt.Errorf("scan %s.%s: %w", t.db, t.name, err)
		}
	}
	return newScan(ctx, t, chosen, files, where, len(where) > 0)
}

// newScan reads columns; indexes has the check sums of page indexes and Bloom filters compared, which only conditions read.
func newScan(ctx context.Context, t *Table, chosen Schema, files []delta.File, where []parquet.Where, indexes bool) (Reader, error) {
	ctx, cancel := context.WithCancel(ctx)
	cores := runtime.GOMAXPROCS(0)
	r := &fileScan{ctx: ctx, cancel: cancel, table: t, schema: chosen, where: where, indexes: indexes,
		parts: make(chan *rowGroup, cores-1), opened: make(chan *opening, cores*filesPerCore-1)}
	r.running.Go(func() { r.openAll(files) })
	r.running.Go(r.decodeAll)
	return r, nil
}

// fileScan reads files ahead of its consumer: openAll opens them, decodeAll decodes their row groups, many at once, and
// Next takes the batches in the order of files and row groups.
type fileScan struct {
	ctx     context.Context
	cancel  context.CancelFunc
	table   *Table
	schema  Schema
	where   []parquet.Where
	indexes bool // compare their check sums

	opened  chan *opening
	parts   chan *rowGroup
	now     *rowGroup // what Next reads
	failed  error     // what Next returned; it stays
	running sync.WaitGroup
}

// opening is a file that is being opened.
type opening struct {
	file delta.File
	done chan struct{} // closed when the rest is set
	*openFile
	err error
}

// openFile is a data file whose row groups are being read. The last of them closes it.
type openFile struct {
	*parquet.File
	in    vfs.File
	users atomic.Int32
}

func (f *openFile) release() error {
	if f.users.Add(-1) == 0 {
		return f.in.Close()
	}
	return nil
}

// rowGroup is what one row group yields: batches, and an error if that is how it ends.
type rowGroup struct {
	out chan *Batch // closed at the end
	err error       // set before
}

// openAll opens the files, as many at once as opened holds.
func (r *fileScan) openAll(files []delta.File) {
	defer close(r.opened)
	for _, f := range files {
		o := &opening{file: f, done: make(chan struct{})}
		select {
		case r.opened <- o:
		case <-r.ctx.Done():
			return
		}
		r.running.Go(func() {
			defer close(o.done)
			// What the log holds of the file's rows is not in the file.
			if inFile := stored(r.schema, slices.Collect(maps.Keys(f.PartitionValues))); len(inFile) > 0 {
				o.openFile, o.err = r.open(f, inFile)
			}
		})
	}
}

// decodeAll decodes the row groups of the files in order, as many at once as parts holds.
func (r *fileScan) decodeAll() {
	defer close(r.parts)
	for o := range r.opened {
		<-o.done
		switch {
		case o.err != nil:
			r.start(0, func(*rowGroup) error { return r.named(o.file, o.err) })
		case o.openFile == nil:
			r.start(0, func(p *rowGroup) error { return r.yieldEmpty(p, o.file) })
		default:
			r.decodeFile(o)
		}
	}
}

// decodeFile starts a part for each row group. A stopped scan starts none, but closes the file.
func (r *fileScan) decodeFile(o *opening) {
	groups := o.Groups()
	if r.ctx.Err() != nil {
		groups = 0
	}
	o.users.Store(int32(groups) + 1)
	for g := range groups {
		ahead := int(max(minAhead, min(maxAhead, groupBytes/o.BatchBytes(g))))
		r.start(ahead, func(p *rowGroup) error {
			if err := errors.Join(r.decode(p, o, g), o.release()); err != nil {
				return r.named(o.file, err)
			}
			return nil
		})
	}
	if err := o.release(); err != nil {
		r.start(0, func(*rowGroup) error { return r.named(o.file, err) })
	}
}

// start hands a part to the consumer, waiting until it takes one, and runs work to fill it. Work runs even if the scan is
// stopped, to clean up behind itself.
func (r *fileScan) start(ahead int, work func(*rowGroup) error) {
	p := &rowGroup{out: make(chan *Batch, ahead)}
	if r.ctx.Err() == nil { // once one was left out, none may follow
		select {
		case r.parts <- p:
		case <-r.ctx.Done():
		}
	}
	r.running.Go(func() {
		defer close(p.out)
		p.err = work(p)
	})
}

func (r *fileScan) named(f delta.File, err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return fmt.Errorf("scan %s.%s: file %s: %w", r.table.db, r.table.name, f.Path, err)
}

// decode yields the batches of a row group.
func (r *fileScan) decode(p *rowGroup, o *opening, group int) (err error) {
	rows, err := o.Group(group)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	var got int64
	for {
		b, err := rows.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		got += int64(b.Len)
		if err := r.yield(p, o.file, b); err != nil {
			return err
		}
	}
	if got != rows.Rows() {
		return fmt.Errorf("damaged data file: %d rows read, the row group has %d", got, rows.Rows())
	}
	return nil
}

func (r *fileScan) yield(p *rowGroup, f delta.File, b *Batch) error {
	b, err := parted(b, r.schema, f.PartitionValues)
	if err != nil {
		return err
	}
	select {
	case p.out <- b:
		return nil
	case <-r.ctx.Done():
		return r.ctx.Err()
	}
}

// yieldEmpty yields the rows of a file of which no column is wanted: a COUNT(*) needs no file.
func (r *fileScan) yieldEmpty(p *rowGroup, f delta.File) error {
	const most = 1 << 16
	for left := f.Rows; left > 0; {
		n := min(left, most)
		if err := r.yield(p, f, &Batch{Schema: Schema{}, Len: int(n)}); err != nil {
			return err
		}
		left -= n
	}
	return nil
}

// Next implements Reader.
func (r *fileScan) Next(ctx context.Context) (*Batch, error) {
	for r.failed == nil {
		if r.now == nil {
			select {
			case p, ok := <-r.parts:
				if r.now = p; !ok {
					r.failed = io.EOF
					if err := r.ctx.Err(); err != nil {
						r.failed = err
					}
				}
			case <-ctx.Done():
				return nil, ctx.Err()
			}
			continue
		}
		select {
		case b, ok := <-r.now.out:
			if ok {
				return b, nil
			}
			r.failed, r.now = r.now.err, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	r.cancel()
	return nil, r.failed
}

// Close implements Reader. It waits for all that reads files.
func (r *fileScan) Close() error {
	r.cancel()
	r.running.Wait()
	if r.failed == nil {
		r.failed = context.Canceled
	}
	return nil
}

// open opens one data file and checks it against what the log says of it.
func (r *fileScan) open(add delta.File, schema Schema) (f *openFile, err error) {
	name, err := url.PathUnescape(add.Path)
	if err != nil {
		return nil, fmt.Errorf("decode path: %w", err)
	}
	if !filepath.IsLocal(name) {
		return nil, fmt.Errorf("path %q leaves the table: %w", name, delta.ErrUnsupported)
	}
	in, err := r.table.store.fs.Open(filepath.Join(r.table.dir, name))
	if err != nil {
		return nil, err
	}
	f = &openFile{in: in}
	defer func() {
		if err != nil {
			err = errors.Join(err, in.Close())
		}
	}()
	size, err := in.Size()
	if err != nil {
		return nil, err
	}
	if size != add.Size {
		return nil, fmt.Errorf("damaged data file: %d bytes, the log says %d", size, add.Size)
	}
	if f.File, err = parquet.Open(in, size, schema, r.where); err != nil {
		return nil, err
	}
	if err := checkSums(f.File, add.Tags, r.indexes); err != nil {
		return nil, err
	}
	if f.Rows() != add.Rows {
		return nil, fmt.Errorf("damaged data file: %d rows, the log says %d", f.Rows(), add.Rows)
	}
	return f, nil
}
