package autoload

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"smelt/tables"
	"smelt/tables/vfs"
)

const (
	// maxFileBytes bounds one file: it is decoded in memory.
	maxFileBytes = 256 << 20
	// chunkRows is how many rows of small files are joined into one batch of rows.
	chunkRows = 8192
)

// Batch is the rows of some files. It implements tables.Relation and tables.Counter and never changes.
type Batch struct {
	tables.Relation
	loader *Loader
	number int64
	files  []File
	rows   int64
	bytes  int64
	grown  bool // the files added columns
}

// decoded is what became of one file.
type decoded struct {
	candidate
	rows    *tables.Batch
	unknown []namedType
	columns int // data columns that rows were decoded with
	err     error
}

// read decodes the files and makes the next batch of them.
func (l *Loader) read(ctx context.Context, files []candidate) (*Batch, error) {
	now := time.Now().UTC()
	l.mu.Lock()
	before := len(l.columns.schema)
	number := l.committed + 1
	l.mu.Unlock()
	results, err := l.decode(ctx, files)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	columns := l.columns
	known := make([]File, len(results))
	for i, r := range results {
		known[i] = l.files[r.path]
	}
	l.mu.Unlock()
	b := &Batch{loader: l, number: number, grown: len(columns.schema) > before}
	for i, r := range results {
		f := File{Path: r.path, Size: r.size, Modified: r.modified, Batch: number, State: Loaded, Tries: 1}
		if known[i].State == Failed {
			f.Tries = known[i].Tries + 1
		}
		b.bytes += r.size
		if r.err != nil {
			f.State, f.Error, f.Content = Failed, r.err.Error(), errors.Is(r.err, errContent)
			l.cfg.Logger.Warn("file not loaded", "path", r.path, "err", r.err)
		} else {
			f.Rows = int64(r.rows.Len)
			b.rows += f.Rows
		}
		b.files = append(b.files, f)
	}
	b.Relation = tables.FromBatches(columns.full(), assemble(columns, results, now)...)
	return b, nil
}

// decode decodes files on all cores. Fields that are no columns yet become columns, and the files that have them are
// decoded again.
func (l *Loader) decode(ctx context.Context, files []candidate) ([]decoded, error) {
	l.mu.Lock()
	columns := l.columns
	l.mu.Unlock()
	results := make([]decoded, len(files))
	for i, c := range files {
		results[i].candidate = c
	}
	for {
		if err := decodeAll(ctx, columns, results); err != nil {
			return nil, err
		}
		wider := l.widen(results)
		again := false
		for i := range results {
			if len(results[i].unknown) > 0 {
				results[i].rows, results[i].unknown = nil, nil
				again = true
			}
		}
		columns = wider
		if !again {
			return results, nil
		}
	}
}

// decodeAll decodes the results that have neither rows nor an error yet.
func decodeAll(ctx context.Context, columns columns, results []decoded) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i := range results {
		r := &results[i]
		if r.rows != nil || r.err != nil {
			continue
		}
		group.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			r.columns = len(columns.schema)
			r.rows, r.unknown, r.err = readFile(columns, r.candidate)
			return nil
		})
	}
	return group.Wait()
}

// readFile reads and decodes one file. A file that changes meanwhile is not loaded: it is still being written.
func readFile(columns columns, c candidate) (rows *tables.Batch, unknown []namedType, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("decode: panic: %v%w", r, silent{errContent})
		}
	}()
	if c.failed != nil {
		return nil, nil, c.failed
	}
	if c.size > maxFileBytes {
		return nil, nil, fmt.Errorf("larger than %d bytes%w", maxFileBytes, silent{errContent})
	}
	data, err := os.ReadFile(c.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, errors.New("the file vanished before it was read")
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read: %w", cause(err))
	}
	if info, err := os.Stat(c.path); err != nil || info.Size() != c.size || !info.ModTime().Equal(c.modified) || int64(len(data)) != c.size {
		return nil, nil, errors.New("the file changed while it was read")
	}
	return decodeFile(columns, c.path, data)
}

// widen makes columns of the fields that no column takes, in the order of the files.
func (l *Loader) widen(results []decoded) columns {
	l.mu.Lock()
	defer l.mu.Unlock()
	types := map[string]inferred{}
	var order []string
	for _, r := range results {
		for _, u := range r.unknown {
			before, ok := types[u.name]
			if !ok {
				order = append(order, u.name)
			}
			types[u.name] = before.join(u.typ)
		}
	}
	for _, name := range order {
		if !l.columns.takes(name) {
			continue // taken by another name of this round
		}
		schema := append(slices.Clone(l.columns.schema), tables.Field{Name: clean(name), Type: types[name].columnType()})
		l.fileNames = append(slices.Clone(l.fileNames), name)
		l.columns = newColumns(schema, l.fileNames, l.cfg.Options.Rescued)
	}
	return l.columns
}

// assemble joins the rows of the files into batches of the full schema.
func assemble(columns columns, results []decoded, now time.Time) []*tables.Batch {
	full := columns.full()
	data := len(columns.schema)
	var out []*tables.Batch
	var at *tables.Batch
	for _, r := range results {
		if r.err != nil || r.rows.Len == 0 {
			continue
		}
		wide := &tables.Batch{Schema: full, Columns: make([]tables.Column, len(full)), Len: r.rows.Len}
		copy(wide.Columns, r.rows.Columns[:r.columns])
		wide.Columns[data] = r.rows.Columns[r.columns] // the rescued column
		for range r.rows.Len {
			for i := r.columns; i < data; i++ {
				wide.Columns[i].AppendNull(full[i].Type.Kind)
			}
			wide.Columns[data+1].AppendString(r.path)
			wide.Columns[data+2].AppendInt(now.UnixMicro())
		}
		if at == nil || at.Len+wide.Len > chunkRows {
			at = tables.NewBatch(full, chunkRows)
			out = append(out, at)
		}
		at.Append(wide)
	}
	return out
}

// Number counts the batches of a loader from 1.
func (b *Batch) Number() int64 { return b.number }

// Rows implements tables.Counter.
func (b *Batch) Rows() int64 { return b.rows }

// Metrics returns the counts of the batch for a commit.
func (b *Batch) Metrics() map[string]string {
	failed := 0
	for _, f := range b.files {
		if f.State == Failed {
			failed++
		}
	}
	return map[string]string{"files": strconv.Itoa(len(b.files)), "bytes": strconv.FormatInt(b.bytes, 10), "filesFailed": strconv.Itoa(failed)}
}

// Record makes the outcome of the batch durable. It is called when the rows are durable and before they are committed.
func (b *Batch) Record(context.Context) error {
	if b.grown {
		if err := b.loader.writeSchema(); err != nil {
			return err
		}
	}
	return b.loader.ledger.write(entry{Batch: b.number, Files: b.files})
}

func (l *Loader) writeSchema() error {
	l.mu.Lock()
	var stored storedSchema
	for i, f := range l.columns.schema {
		stored.Columns = append(stored.Columns, storedColumn{FileName: l.fileNames[i], Name: f.Name, Type: f.Type})
	}
	l.mu.Unlock()
	text, err := json.Marshal(stored)
	if err != nil {
		return fmt.Errorf("encode schema: %w", err)
	}
	if err := l.cfg.FS.MkdirAll(l.cfg.StateDir); err != nil {
		return fmt.Errorf("make state directory: %w", err)
	}
	return vfs.WriteFile(l.cfg.FS, l.schemaPath(), text)
}

// Committed tells the loader that the rows of the batch are in the table: its files are seen.
func (b *Batch) Committed() {
	l := b.loader
	l.mu.Lock()
	l.committed = b.number
	now := time.Now()
	for _, f := range b.files {
		l.files[f.Path] = f
		delete(l.retryAt, f.Path)
		if f.State == Failed && !f.Content {
			l.retryAt[f.Path] = now.Add(retryAfter(f.Tries))
		}
	}
	var snapshot map[string]File
	if b.number%compactEvery == 0 {
		snapshot = make(map[string]File, len(l.files))
		for k, v := range l.files {
			snapshot[k] = v
		}
	}
	l.mu.Unlock()
	for _, f := range b.files {
		l.watch.forget(f.Path)
	}
	if snapshot != nil {
		if err := l.ledger.compact(b.number, snapshot); err != nil {
			// The entries stand; the next round tries again.
			l.cfg.Logger.Warn("compact ledger", "dir", l.ledger.dir, "err", err)
		}
	}
}

var _ io.Closer = (*Loader)(nil)
