package autoload

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"time"

	"smelt/tables"
)

// Batch is the rows of some files. It implements tables.Relation and tables.Counter. The rows of a large file are counted
// when they are scanned, or by Record; before that they are those of its beginning.
type Batch struct {
	tables.Relation
	loader  *Loader
	number  int64
	files   []File
	rows    int64
	rescued int64 // rows with something in the rescued column
	bytes   int64
}

// newBatch makes the next batch of decoded files; nil if there is nothing to tell of any of them.
func (l *Loader) newBatch(results []decoded, now time.Time) *Batch {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := &Batch{loader: l, number: l.committed + 1}
	for _, r := range results {
		if errors.Is(r.err, errUnsettled) || errors.Is(r.err, errVanished) && l.cfg.Options.IgnoreMissing {
			continue // the next look finds it, or does not
		}
		known := l.files[r.path]
		f := File{Path: r.path, Size: r.size, Modified: r.modified, Batch: b.number, State: Loaded, Tries: 1, Read: now}
		if known.State == Failed {
			f.Tries = known.Tries + 1
		}
		if r.err != nil {
			f.State, f.Error, f.Content = Failed, r.err.Error(), errors.Is(r.err, errContent)
			if known.State == Failed && known.same(r.size, r.modified) {
				l.fail(f, known.Batch) // still so: no news for the table
				continue
			}
			l.cfg.Logger.Warn("file not loaded", "path", r.path, "err", r.err)
		}
		f.Rows = r.fileRows.rows
		b.rows += f.Rows
		if !r.streamed {
			b.rescued += r.fileRows.rescued
		}
		b.bytes += r.size
		b.files = append(b.files, f)
	}
	if len(b.files) == 0 {
		return nil
	}
	b.Relation = l.assemble(results, now)
	return b
}

// fail notes another try of a file that failed before; the ledger's entry of the first says enough. The caller holds mu.
func (l *Loader) fail(f File, batch int64) {
	f.Batch = batch
	l.files[f.Path] = f
	l.retryAt[f.Path] = time.Now().Add(retryAfter(f.Tries))
}

// assemble joins the rows of the files into batches of the full schema; large files are read when they are scanned. The
// caller holds mu.
func (l *Loader) assemble(results []decoded, now time.Time) tables.Relation {
	c, full := l.columns, l.columns.full()
	var out []*tables.Batch
	var at *tables.Batch
	var files []*stream
	for _, r := range results {
		if r.err != nil {
			continue
		}
		if r.streamed {
			s := &stream{decoded: r, dir: l.cfg.Dir, options: l.cfg.Options, columns: c, now: now}
			if s.counted.Store(r.rows); r.begun {
				s.counted.Store(-1)
			}
			files = append(files, s)
		}
		first := int64(0)
		for _, rows := range r.batches {
			wide := c.widen(full, r, rows, first, now)
			first += int64(rows.Len)
			switch {
			case wide.Len == 0:
			case wide.Len > chunkRows/2: // large enough to go as it is
				out, at = append(out, wide), nil
			case at == nil || at.Len+wide.Len > chunkRows:
				at = tables.NewBatch(full, chunkRows)
				at.Append(wide)
				out = append(out, at)
			default:
				at.Append(wide)
			}
		}
	}
	memory := tables.FromBatches(full, out...)
	if len(files) == 0 {
		return memory
	}
	return &relation{schema: full, memory: memory, files: files}
}

// widen gives rows of one file the columns that others had meanwhile added, which are null here, and those of the
// directory; first is the index of the first row in the file.
func (c *columns) widen(full tables.Schema, r decoded, rows *tables.Batch, first int64, now time.Time) *tables.Batch {
	wide := &tables.Batch{Schema: full, Columns: make([]tables.Column, len(full)), Len: rows.Len}
	had, data := len(rows.Columns)-1, len(c.schema)
	copy(wide.Columns, rows.Columns[:had])
	wide.Columns[data] = rows.Columns[had]
	for i := had; i < data; i++ {
		for range rows.Len {
			wide.Columns[i].AppendNull(full[i].Type.Kind)
		}
	}
	c.fillPartitions(wide, r.path)
	fillHidden(wide.Columns[data+1:], r.candidate, first, rows.Len, now)
	return wide
}

// Number counts the batches of a loader from 1.
func (b *Batch) Number() int64 { return b.number }

// Rows implements tables.Counter.
func (b *Batch) Rows() int64 { return b.rows }

// streams returns the files that are read by each scan.
func (b *Batch) streams() []*stream {
	if r, ok := b.Relation.(*relation); ok {
		return r.files
	}
	return nil
}

// Again reports whether a file of which only the beginning had been read turned out to be damaged, changed or wider when
// its rows were scanned. The error of the scan says which; the next batch reads that file whole before it promises rows.
func (b *Batch) Again() bool {
	again := false
	for _, s := range b.streams() {
		if s.refused.Load() {
			b.loader.distrust(s.path)
			again = true
		}
	}
	return again
}

// count counts the rows of files of which only the beginning had been read.
func (b *Batch) count(ctx context.Context) error {
	for _, s := range b.streams() {
		if !s.begun {
			continue
		}
		rows, err := s.total(ctx)
		if err != nil {
			return err
		}
		at := slices.IndexFunc(b.files, func(f File) bool { return f.Path == s.path })
		b.rows += rows - b.files[at].Rows
		b.files[at].Rows = rows
	}
	return nil
}

// Metrics returns the counts of the batch for a commit.
func (b *Batch) Metrics() map[string]string {
	failed := 0
	for _, f := range b.files {
		if f.State == Failed {
			failed++
		}
	}
	rescued := b.rescued
	for _, s := range b.streams() {
		rescued += s.spoiled.Load()
	}
	return map[string]string{
		"files": strconv.Itoa(len(b.files)), "filesFailed": strconv.Itoa(failed),
		"bytes": strconv.FormatInt(b.bytes, 10), "rescued": strconv.FormatInt(rescued, 10),
	}
}

// Record makes the outcome of the batch durable. It is called when the rows are durable and before they are committed.
func (b *Batch) Record(ctx context.Context) error {
	if err := b.count(ctx); err != nil {
		return err
	}
	if err := b.loader.writeSchema(); err != nil {
		return err
	}
	return b.loader.ledger.write(entry{Batch: b.number, Files: b.files})
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
		delete(l.distrusted, f.Path)
		if f.State == Failed && !f.Content {
			l.retryAt[f.Path] = now.Add(retryAfter(f.Tries))
		}
	}
	var snapshot []File
	if b.number%compactEvery == 0 {
		snapshot = make([]File, 0, len(l.files))
		for _, f := range l.files {
			snapshot = append(snapshot, f)
		}
	}
	l.mu.Unlock()
	for _, f := range b.files {
		l.watch.forget(f.Path)
	}
	if snapshot == nil || !l.compacting.CompareAndSwap(false, true) {
		return
	}
	l.beside.Go(func() { // with 100,000 files it takes a third of a second
		defer l.compacting.Store(false)
		if err := l.ledger.compact(b.number, snapshot); err != nil {
			// The entries stand; the next round tries again.
			l.cfg.Logger.Warn("compact ledger", "dir", l.ledger.dir, "err", err)
		}
	})
}
