package queries

import (
	"fmt"
	"hash/fnv"
	"testing"

	"github.com/stretchr/testify/require"

	"smelt/tables"
)

// BenchmarkUniqueLookUp looks up the keys of a batch of 1,000 new rows in a table of a million rows in 16 files: keys that
// grow, keys without any order, and the latter where one in ten is there.
func BenchmarkUniqueLookUp(b *testing.B) {
	const files, perFile, batch = 16, 1 << 16, 1000
	random := func(i int) string {
		h := fnv.New128a()
		fmt.Fprint(h, i)
		return fmt.Sprintf("%x", h.Sum(nil))
	}
	growing := func(i int) string { return fmt.Sprintf("%010d", i) }
	rows := func(key func(int) string, from, n int) *tables.Batch {
		out := tables.NewBatch(tables.Schema{{Name: "k", Type: text}, {Name: "t", Type: text}}, n)
		for i := range n {
			out.Columns[0].AppendString(key(from + i))
			out.Columns[1].AppendString("a text of some length that is not read " + key(from+i))
		}
		out.Len = n
		return out
	}
	for name, key := range map[string]func(int) string{"growing": growing, "random": random} {
		store, err := tables.Open(b.TempDir(), tables.Options{})
		require.NoError(b, err)
		defer store.Close()
		t, err := store.Create(b.Context(), "live", "t", tables.Definition{Schema: tables.Schema{{Name: "k", Type: text}, {Name: "t", Type: text}},
			Properties: map[string]string{"smelt.bloom.columns": "k"}})
		require.NoError(b, err)
		for f := range files {
			part := rows(key, f*perFile, perFile)
			r, err := tables.FromBatches(part.Schema, part).Scan(b.Context(), nil)
			require.NoError(b, err)
			_, err = t.Commit(b.Context(), tables.Commit{Operation: "WRITE", Rows: r})
			require.NoError(b, err)
		}
		known := &knownKeys{filters: map[string]*keyFilter{}}
		for _, n := range []int{10, batch, 64 * batch} {
			part := rows(key, files*perFile, n)
			look := func() {
				u := newUniqueKeys([]string{"k"}, &target{table: t, now: t.Snapshot(), known: known})
				require.NoError(b, u.lookUp(b.Context(), []*tables.Batch{part}))
				require.Empty(b, u.seen)
			}
			b.Run(fmt.Sprintf("%s/%d/first", name, n), func(b *testing.B) {
				for b.Loop() {
					clear(known.filters)
					look()
				}
			})
			look() // by which a filter is made, if one is needed
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				for b.Loop() {
					look()
				}
			})
		}
	}
}
