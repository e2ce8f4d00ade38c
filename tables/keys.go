package tables

import (
	"context"
	"fmt"
	"hash/fnv"
	"math/bits"
	"slices"
	"strconv"
	"strings"

	"smelt/tables/batch"
	"smelt/tables/delta"
	"smelt/tables/filter"
	"smelt/tables/parquet"
)

// keyDigits tell every two floats apart, but for the sign of zero, which SQL does not see.
const keyDigits = batch.KeyDigits

// maxKeyConditions is how many keys are looked for in the statistics of files, row groups and pages: each costs some comparisons
// for each of them, and with more keys most have one.
const maxKeyConditions = 100_000

// keySet is a set of keys: values of some columns. NULL is equal to NULL in it, 0 to -0, and texts byte by byte.
type keySet struct {
	schema Schema
	has    map[string]bool
	hashes map[uint64]bool
	where  []parquet.Where // what the rows with one of the keys satisfy; advice, nil for nothing
}

// newKeySet takes the keys that the rows of a batch are; the table must have its columns.
func newKeySet(keys *Batch, table Schema) (*keySet, error) {
	s := &keySet{schema: keys.Schema, has: make(map[string]bool, keys.Len), hashes: make(map[uint64]bool, keys.Len)}
	if len(keys.Schema) == 0 {
		return nil, fmt.Errorf("keys without a column")
	}
	for _, f := range keys.Schema {
		i := table.Index(f.Name)
		if i < 0 {
			return nil, fmt.Errorf("key column %q: the table has no such column", f.Name)
		}
		if table[i].Type != f.Type {
			return nil, fmt.Errorf("key column %q: the keys hold %s, the table %s", f.Name, f.Type, table[i].Type)
		}
	}
	var key []byte
	for row := range keys.Len {
		key = rowKey(key[:0], keys, row, keyDigits)
		if !s.has[string(key)] {
			s.has[string(key)] = true
			s.hashes[hashKey(key)] = true
		}
	}
	if len(s.has) <= maxKeyConditions {
		s.conditions(keys)
	}
	return s, nil
}

// conditions finds what each column of a row with one of the keys must be.
func (s *keySet) conditions(keys *Batch) {
	for i, f := range keys.Schema {
		c := filter.Condition{Column: f.Name, Op: filter.In, Values: keys.Columns[i]}
		if !c.Fits(f.Type) || keys.Len == 0 {
			continue
		}
		rows := make([]int, keys.Len)
		for row := range rows {
			rows[row] = row
		}
		slices.SortFunc(rows, func(a, b int) int {
			x, y := filter.At(&c.Values, f.Type.Kind, a), filter.At(&c.Values, f.Type.Kind, b)
			return filter.Compare(f.Type.Kind, &x, &y)
		})
		column := &Batch{Schema: keys.Schema[i : i+1], Columns: keys.Columns[i : i+1], Len: keys.Len}
		c.Values, c.Sorted = column.Pick(rows).Columns[0], true
		s.where = append(s.where, parquet.Where{Field: f, Condition: c})
	}
}

// chosen returns the key columns of a batch.
func (s *keySet) chosen(b *Batch) *Batch {
	out := &Batch{Schema: s.schema, Len: b.Len}
	for _, f := range s.schema {
		out.Columns = append(out.Columns, b.Columns[b.Schema.Index(f.Name)])
	}
	return out
}

func (s *keySet) names() []string {
	names := make([]string, len(s.schema))
	for i, f := range s.schema {
		names[i] = f.Name
	}
	return names
}

// filter returns those of the data files of a snapshot that may hold one of the keys.
func (s *keySet) filter(now *Snapshot, files []delta.File) []delta.File {
	var out []delta.File
	for i := range files {
		f := &files[i]
		if f.Rows > 0 && leafOf(f, s.names()).holdsAny(s.hashes) && s.may(now, f) {
			out = append(out, *f)
		}
	}
	return out
}

// may reports whether the statistics of a file leave room for one of the keys.
func (s *keySet) may(now *Snapshot, f *delta.File) bool {
	for i := range s.where {
		if !fileMay(now, f, &s.where[i]) {
			return false
		}
	}
	return true
}

// hashKey is stable: data files are named after it in the log.
func hashKey(key []byte) uint64 {
	h := fnv.New64a()
	_, _ = h.Write(key) // never fails
	// FNV's low bits depend little on the last bytes: mixed as MurmurHash3 does at its end.
	v := h.Sum64()
	v = (v ^ v>>33) * 0xff51afd7ed558ccd
	v = (v ^ v>>33) * 0xc4ceb9fe1a85ec53
	return v ^ v>>33
}

// tagKeys is the tag of a data file in the log that says which keys it may hold: "3/64 a,b" says that the hash of the
// columns a and b leaves 3 when divided by 64. A file without it, or with it for other columns, may hold any.
const tagKeys = "smelt.keys"

// leaf is a part of all keys: those whose hash has these low bits. The leaves of a table's files are those of a binary
// tree, or overlap where files were written otherwise.
type leaf struct {
	depth int // number of bits; 0 for all keys
	low   uint64
}

// leafOf returns the keys that a file may hold.
func leafOf(f *delta.File, columns []string) leaf {
	tag, ok := f.Tags[tagKeys]
	if !ok {
		return leaf{}
	}
	place, names, _ := strings.Cut(tag, " ")
	text, of, _ := strings.Cut(place, "/")
	low, err := strconv.ParseUint(text, 10, 64)
	n, err2 := strconv.ParseUint(of, 10, 64)
	if err != nil || err2 != nil || !strings.EqualFold(names, strings.Join(columns, ",")) || n == 0 || n&(n-1) != 0 || low >= n {
		return leaf{}
	}
	return leaf{bits.Len64(n) - 1, low}
}

func (l leaf) tag(columns []string) string {
	return fmt.Sprintf("%d/%d %s", l.low, uint64(1)<<l.depth, strings.Join(columns, ","))
}

// holds reports whether a key of this hash belongs to the leaf.
func (l leaf) holds(hash uint64) bool { return hash&(uint64(1)<<l.depth-1) == l.low }

func (l leaf) holdsAny(hashes map[uint64]bool) bool {
	if l.depth == 0 {
		return true
	}
	for h := range hashes {
		if l.holds(h) {
			return true
		}
	}
	return false
}

// Matching returns the rows of the snapshot whose key is one of keys, which has the key columns under the names and
// with the types of the table; of several lists, by columns of their own, the rows that have a key of each. NULL matches NULL.
// Files, row groups and pages that cannot hold one are not read.
func (s *Snapshot) Matching(keys ...*Batch) (Relation, error) {
	m := &matching{of: s, files: s.state.Files}
	for _, k := range keys {
		set, err := newKeySet(k, s.Schema())
		if err != nil {
			return nil, fmt.Errorf("match rows of %s.%s: %w", s.table.db, s.table.name, err)
		}
		m.sets, m.files = append(m.sets, set), set.filter(s, m.files)
	}
	return m, nil
}

// matching is the rows of some files with a key of each set.
type matching struct {
	of    *Snapshot
	sets  []*keySet
	files []delta.File
}

// Schema implements Relation.
func (m *matching) Schema() Schema { return m.of.Schema() }

// Scan implements Relation.
func (m *matching) Scan(ctx context.Context, columns []string) (Reader, error) {
	chosen := m.of.Schema()
	if columns != nil {
		var err error
		if chosen, err = chosen.Select(columns); err != nil {
			return nil, err
		}
	}
	names := slices.Clone(chosen).Names()
	for _, set := range m.sets {
		for _, f := range set.schema {
			if !slices.Contains(names, f.Name) {
				names = append(names, f.Name)
			}
		}
	}
	rows, err := scanWhere(ctx, m.of.table, m.of.Schema(), names, m.files, m.inFiles())
	if err != nil {
		return nil, err
	}
	for _, set := range m.sets {
		rows = &keyReader{Reader: rows, set: set, keep: true, columns: len(names)}
	}
	if r, ok := rows.(*keyReader); ok {
		r.columns = len(chosen)
	}
	return rows, nil
}

// inFiles returns the conditions on columns that the files hold.
func (m *matching) inFiles() []parquet.Where {
	var out []parquet.Where
	for _, set := range m.sets {
		for _, w := range set.where {
			if stored(m.of.def.Schema, m.of.def.Partitions).Index(w.Field.Name) >= 0 {
				out = append(out, w)
			}
		}
	}
	return out
}

// keyReader yields the rows whose key is in the set, or all others.
type keyReader struct {
	Reader
	set     *keySet
	keep    bool
	columns int // how many columns to yield, the first ones; the rest are only there for the key
}

// Next implements Reader.
func (r *keyReader) Next(ctx context.Context) (*Batch, error) {
	for {
		b, err := r.Reader.Next(ctx)
		if err != nil {
			return nil, err
		}
		if out := b.Filter(r.set.of(b, r.keep)); out.Len > 0 {
			out.Schema, out.Columns = out.Schema[:r.columns], out.Columns[:r.columns]
			return out, nil
		}
	}
}

// of says of each row of a batch whether its key is in the set; or, with in false, whether it is not.
func (s *keySet) of(b *Batch, in bool) []bool {
	keys := s.chosen(b)
	out := make([]bool, b.Len)
	var key []byte
	for row := range out {
		key = rowKey(key[:0], keys, row, keyDigits)
		out[row] = s.has[string(key)] == in
	}
	return out
}
