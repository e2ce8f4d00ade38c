package tables

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"smelt/tables/delta"
)

const (
	// leafRows is how many rows a data file of a merged table has at most when it was split: a merge that touches ten keys
	// writes ten such files, and a file costs its sync, about what a thousand rows cost.
	leafRows = 1024
	// maxLeafDepth ends the splitting at 256 files: a scan pays for each what it pays for some thousand rows.
	maxLeafDepth = 8
)

// Merge takes the rows out of the table whose key is one of keys, and puts c.Rows in, in one commit: rows that c.Rows
// has for a key replace it, a key without any is deleted, and rows with other keys are added. keys has the key
// columns under the names and with the types of the table; NULL is a key like others. Only the data files with one of
// these keys, or where keys of c.Rows belong, are written anew, and they are split by the hash of the key as the table grows.
// c.Rows is held in memory, at most 10 million rows.
func (t *Table) Merge(ctx context.Context, keys *Batch, c Commit) (version int64, err error) {
	return t.change(ctx, func(now *Snapshot) (change, error) {
		ch := change{Commit: c}
		metadata, def, err := t.definition(c, now)
		if err != nil {
			return ch, err
		}
		if err := errors.Join(now.checkWrite(true, true), now.checkRows()); err != nil {
			return ch, err
		}
		ch.metadata = metadata
		gone, err := newKeySet(keys, def.Schema)
		if err != nil {
			return ch, err
		}
		m := &merging{table: t, now: now, def: def, gone: gone, files: map[leaf][]delta.File{}, rows: map[leaf][]int{}}
		if err := m.read(ctx, c.Rows); err != nil {
			return ch, err
		}
		if err := m.find(ctx); err != nil {
			return ch, err
		}
		m.place()
		for _, l := range m.leaves() {
			ch.removes = append(ch.removes, m.files[l]...)
		}
		ch.adds, err = m.write(ctx)
		if ch.Metrics == nil {
			ch.Metrics = map[string]string{}
		}
		maps.Copy(ch.Metrics, fileMetrics(ch))
		ch.Metrics["numMergedRows"] = strconv.Itoa(m.incoming.Len)
		return ch, err
	})
}

// merging is one Merge on its way.
type merging struct {
	table    *Table
	now      *Snapshot
	def      Definition
	gone     *keySet
	incoming *Batch
	hashes   []uint64 // of the keys of incoming

	files map[leaf][]delta.File // those that are written anew, by the keys that they may hold
	rows  map[leaf][]int        // rows of incoming, by where they are to stand
}

// read takes the rows that come in into memory.
func (m *merging) read(ctx context.Context, rows Reader) error {
	m.incoming = NewBatch(m.def.Schema, 0)
	if rows != nil {
		err := EachBatch(ctx, rows, func(b *Batch) error {
			fitted, err := fit(b, m.def.Schema)
			if err != nil {
				return err
			}
			if m.incoming.Append(fitted); m.incoming.Len > maxReadAllRows {
				return fmt.Errorf("merge more than %d rows", maxReadAllRows)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	m.hashes = m.gone.hashesOf(m.incoming)
	return nil
}

// hashesOf returns the hash of the key of each row.
func (s *keySet) hashesOf(b *Batch) []uint64 {
	keys := s.chosen(b)
	out := make([]uint64, b.Len)
	var key []byte
	for row := range out {
		key = rowKey(key[:0], keys, row, keyDigits)
		out[row] = hashKey(key)
	}
	return out
}

// find looks for the files that hold a row to be taken out.
func (m *merging) find(ctx context.Context) error {
	for _, f := range m.gone.filter(m.now, m.now.state.Files) {
		hit, err := m.hit(ctx, f)
		if err != nil {
			return err
		}
		if l := leafOf(&f, m.gone.names()); hit {
			m.files[l] = append(m.files[l], f)
		}
	}
	return nil
}

var errHit = errors.New("hit")

func (m *merging) hit(ctx context.Context, f delta.File) (bool, error) {
	rows, err := scanFiles(ctx, m.table, m.def.Schema, m.gone.names(), []delta.File{f})
	if err != nil {
		return false, err
	}
	defer rows.Close()
	err = EachBatch(ctx, rows, func(b *Batch) error {
		if slices.Contains(m.gone.of(b, true), true) {
			return errHit
		}
		return nil
	})
	if errors.Is(err, errHit) {
		return true, nil
	}
	return false, err
}

// place decides where the rows that come in are to stand: in the file for their keys, which is written anew then, so that
// each leaf stays one file; or in a new one where there is none.
func (m *merging) place() {
	if len(m.def.Partitions) > 0 {
		for row := range m.incoming.Len { // parted already: rows go where their partition is
			m.rows[leaf{}] = append(m.rows[leaf{}], row)
		}
		return
	}
	known := map[leaf][]delta.File{}
	deepest := 0
	for i := range m.now.state.Files {
		f := m.now.state.Files[i]
		if l := leafOf(&f, m.gone.names()); f.Tags[tagKeys] != "" {
			known[l] = append(known[l], f)
			deepest = max(deepest, l.depth)
		}
	}
	joined := map[leaf]bool{}
	for row, hash := range m.hashes {
		at, ok := leaf{}, len(m.files[leaf{}]) > 0
		for depth := deepest; depth >= 0; depth-- {
			if l := (leaf{depth, hash & (1<<depth - 1)}); len(known[l]) > 0 {
				at, ok = l, true
				m.join(l, known[l])
				delete(known, l)
				joined[l] = true
				break
			} else if joined[l] {
				at, ok = l, true
				break
			}
		}
		if !ok {
			at = leaf{deepest, hash & (1<<deepest - 1)}
		}
		m.rows[at] = append(m.rows[at], row)
	}
}

// join adds the files of a leaf to those that are written anew. A file without a tag may be among them already.
func (m *merging) join(l leaf, files []delta.File) {
	for _, f := range files {
		if !slices.ContainsFunc(m.files[l], func(g delta.File) bool { return g.Path == f.Path }) {
			m.files[l] = append(m.files[l], f)
		}
	}
}

// leaves returns the leaves that are written anew, in order.
func (m *merging) leaves() []leaf {
	set := map[leaf]bool{}
	for l := range m.files {
		set[l] = true
	}
	for l := range m.rows {
		set[l] = true
	}
	return slices.SortedFunc(maps.Keys(set), func(a, b leaf) int {
		if a.depth != b.depth {
			return a.depth - b.depth
		}
		return int(a.low) - int(b.low)
	})
}

// write writes the rows that stay in the files, and those that come in.
func (m *merging) write(ctx context.Context) (adds []delta.Add, err error) {
	w := &rowWriter{table: m.table, def: m.def, open: map[string]*dataFile{}, dirs: map[string]bool{}, maxOpen: maxOpenFiles}
	defer func() {
		err = errors.Join(err, w.abandon())
		adds = w.adds
	}()
	for _, l := range m.leaves() {
		if err := m.writeLeaf(ctx, w, l); err != nil {
			return nil, err
		}
		if err := w.finish(); err != nil {
			return nil, err
		}
	}
	return nil, w.sync()
}

func (m *merging) writeLeaf(ctx context.Context, w *rowWriter, l leaf) error {
	rows := int64(len(m.rows[l]))
	for _, f := range m.files[l] {
		rows += f.Rows
	}
	if len(m.def.Partitions) == 0 {
		depth := l.depth
		for n := rows; n > 2*leafRows && depth < maxLeafDepth || depth > l.depth && n > leafRows && depth < maxLeafDepth; n /= 2 {
			depth++
		}
		w.split = func(b *Batch) map[string]part { return m.split(b, depth) }
		w.maxOpen = 1 << maxLeafDepth
	}
	if len(m.files[l]) > 0 {
		scan, err := scanFiles(ctx, m.table, m.def.Schema, nil, m.files[l])
		if err != nil {
			return err
		}
		defer scan.Close()
		kept := &keyReader{Reader: scan, set: m.gone, columns: len(m.def.Schema)}
		if err := EachBatch(ctx, kept, w.write); err != nil {
			return err
		}
	}
	if len(m.rows[l]) == 0 {
		return nil
	}
	return w.write(m.incoming.Pick(m.rows[l]))
}

// split parts rows by the low bits of the hashes of their keys.
func (m *merging) split(b *Batch, depth int) map[string]part {
	places := map[leaf][]int{}
	for row, hash := range m.gone.hashesOf(b) {
		l := leaf{depth, hash & (1<<depth - 1)}
		places[l] = append(places[l], row)
	}
	out := make(map[string]part, len(places))
	for l, rows := range places {
		p := part{values: map[string]string{}, rows: b, tag: l.tag(m.gone.names())}
		if len(places) > 1 {
			p.rows = b.Pick(rows)
		}
		out[p.tag] = p
	}
	return out
}
