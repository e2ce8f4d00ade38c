package tables

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"smelt/tables/delta"
)

// maxOpenFiles bounds the files that rows of a partitioned table are written to at once: each holds a row group in
// memory. Rows of one partition more close the others, which costs small files and no memory.
const maxOpenFiles = 32

// rowWriter spreads the rows of one commit over data files: one after another, or one for each partition.
type rowWriter struct {
	table *Table
	def   Definition
	open  map[string]*dataFile // by partition; the key of a table without partitions is ""
	adds  []delta.Add
	dirs  map[string]bool // in which files were made

	maxOpen int                            // files at once
	split   func(b *Batch) map[string]part // parts the rows in another way than by partitions; nil for those
}

// write takes a batch of the table's schema.
func (w *rowWriter) write(b *Batch) error {
	columns := w.def.Partitions
	if len(columns) == 0 && w.split == nil {
		return w.append("", part{values: map[string]string{}, rows: b})
	}
	var parts map[string]part
	if w.split != nil {
		parts = w.split(b)
	} else {
		var err error
		if parts, err = partition(b, columns); err != nil {
			return err
		}
	}
	for _, key := range slices.Sorted(maps.Keys(parts)) {
		if err := w.append(key, parts[key]); err != nil {
			return err
		}
	}
	return nil
}

func (w *rowWriter) append(key string, p part) error {
	b, file := p.rows, w.open[key]
	if file == nil {
		if len(w.open) >= w.maxOpen {
			if err := w.finish(); err != nil {
				return err
			}
		}
		var err error
		if file, err = w.table.newDataFile(b.Schema, w.def, p.values); err != nil {
			return err
		}
		file.keys = p.tag
		w.open[key], w.dirs[filepath.Dir(file.path())] = file, true
	}
	if err := file.writer.Write(b); err != nil {
		return fmt.Errorf("write %s: %w", file.name, err)
	}
	file.rows += int64(b.Len)
	if !file.full() {
		return nil
	}
	return w.end(key)
}

// end finishes one file.
func (w *rowWriter) end(key string) error {
	file := w.open[key]
	delete(w.open, key)
	add, err := file.finish()
	if err != nil {
		return err
	}
	w.adds = append(w.adds, add)
	return nil
}

// sync makes the names of the files durable, and those of the directories that lead to them.
func (w *rowWriter) sync() error {
	for dir := range maps.Clone(w.dirs) {
		for ; dir != w.table.dir; dir = filepath.Dir(dir) {
			w.dirs[filepath.Dir(dir)] = true
		}
	}
	for _, dir := range slices.Sorted(maps.Keys(w.dirs)) {
		if err := w.table.store.fs.SyncDir(dir); err != nil {
			return fmt.Errorf("sync table directory: %w", err)
		}
	}
	return nil
}

// finish ends every file.
func (w *rowWriter) finish() error {
	for _, key := range slices.Sorted(maps.Keys(w.open)) {
		if err := w.end(key); err != nil {
			return err
		}
	}
	return nil
}

// abandon removes the files that were not finished.
func (w *rowWriter) abandon() error {
	var errs []error
	for _, file := range w.open {
		errs = append(errs, file.abandon())
	}
	return errors.Join(errs...)
}

// part is the rows of one partition, without the columns that part them; or those of one leaf.
type part struct {
	values map[string]string
	rows   *Batch
	tag    string // which keys they have; "" if that is not known
}

// partition parts a batch by the values of columns.
func partition(b *Batch, columns []string) (map[string]part, error) {
	at := make([]int, len(columns))
	for i, name := range columns {
		if at[i] = b.Schema.Index(name); at[i] < 0 {
			return nil, fmt.Errorf("part rows by column %q: there is no such column", name)
		}
	}
	keys := make([]string, b.Len)
	masks := map[string][]bool{}
	for row := range b.Len {
		var key strings.Builder
		for _, c := range at {
			if !b.Columns[c].Null(row) && b.Schema[c].Type.Kind == String && b.Columns[c].Strings[row] == "" {
				return nil, fmt.Errorf("part rows by column %q: Delta has no empty text as a partition, it would become NULL", b.Schema[c].Name)
			}
			text := partitionText(&b.Columns[c], b.Schema[c].Type, row)
			fmt.Fprintf(&key, "%d:%s", len(text), text)
		}
		keys[row] = key.String()
		if masks[keys[row]] == nil {
			masks[keys[row]] = make([]bool, b.Len)
		}
		masks[keys[row]][row] = true
	}
	bare := without(b, at)
	out := make(map[string]part, len(masks))
	for key, keep := range masks {
		p := part{values: map[string]string{}, rows: bare}
		if len(masks) > 1 {
			p.rows = bare.Filter(keep)
		}
		first := slices.Index(keep, true)
		for _, c := range at {
			p.values[b.Schema[c].Name] = partitionText(&b.Columns[c], b.Schema[c].Type, first)
		}
		out[key] = p
	}
	return out, nil
}

// without returns a batch without some of its columns.
func without(b *Batch, at []int) *Batch {
	out := &Batch{Len: b.Len}
	for i := range b.Schema {
		if !slices.Contains(at, i) {
			out.Schema = append(out.Schema, b.Schema[i])
			out.Columns = append(out.Columns, b.Columns[i])
		}
	}
	return out
}
