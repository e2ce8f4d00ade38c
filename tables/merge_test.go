package tables

import (
	"fmt"
	"io/fs"
	"maps"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

var mergeSchema = Schema{{Name: "k", Type: Type{Kind: String}}, {Name: "d", Type: Type{Kind: Double}}, {Name: "v", Type: Type{Kind: Long}}}

type mergeKey struct {
	k string // "" is NULL
	d float64
}

func mergeBatch(columns int, keys []mergeKey, value int64) *Batch {
	b := NewBatch(mergeSchema[:columns], len(keys))
	for _, key := range keys {
		if key.k == "" {
			b.Columns[0].AppendNull(String)
		} else {
			b.Columns[0].AppendString(key.k)
		}
		b.Columns[1].AppendFloat(key.d)
		if columns > 2 {
			b.Columns[2].AppendInt(value)
		}
		b.Len++
	}
	return b
}

func mergeInto(t *testing.T, table *Table, keys, rows *Batch, txn int64) {
	t.Helper()
	c := Commit{Operation: "MERGE", Txns: map[string]int64{"m": txn}}
	if rows != nil {
		var err error
		c.Rows, err = FromBatches(rows.Schema, rows).Scan(t.Context(), nil)
		require.NoError(t, err)
	}
	_, err := table.Merge(t.Context(), keys, c)
	require.NoError(t, err)
	got, ok := table.Snapshot().Txn("m")
	require.True(t, ok)
	require.Equal(t, txn, got)
}

// sortedRows returns the rows of a relation as a sorted bag.
func sortedRows(t *testing.T, r Relation) []string {
	t.Helper()
	all, err := ReadAll(t.Context(), r, nil)
	require.NoError(t, err)
	out := texts(all)
	slices.Sort(out)
	return out
}

func TestMergeIsAMapWhateverHappensInBetween(t *testing.T) {
	for _, partitions := range [][]string{nil, {"k"}} {
		r := seeded(t)
		dir := t.TempDir()
		store, err := Open(dir, Options{})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, store.Close()) })
		table, err := store.Create(t.Context(), "live", "t", Definition{Schema: mergeSchema, Partitions: partitions})
		require.NoError(t, err)
		want := map[mergeKey]int64{}
		key := func() mergeKey {
			k := mergeKey{k: []string{"", "a", "b", "ä"}[r.IntN(4)], d: float64(r.IntN(1500))}
			if k.d == 0 && r.IntN(2) == 0 {
				k.d = math.Copysign(0, -1)
			}
			return k
		}
		for step := range int64(40) {
			touched := map[mergeKey]bool{}
			n := 1 + r.IntN(20)
			if r.IntN(8) == 0 {
				n = 1500
			}
			for range n {
				touched[key()] = true
			}
			keys := slices.Collect(maps.Keys(touched))
			back := keys[:r.IntN(len(keys)+1)] // the others are deleted
			mergeInto(t, table, mergeBatch(2, keys, 0), mergeBatch(3, back, step+1), step)
			for _, k := range keys {
				delete(want, k)
			}
			for _, k := range back {
				want[k] = step + 1
			}
			if k := key(); r.IntN(3) == 0 && want[k] == 0 { // rows may come otherwise, too
				want[k] = step + 1
				_, err := table.Commit(t.Context(), Commit{Rows: rowsOf(t, mergeBatch(3, []mergeKey{k}, step+1))})
				require.NoError(t, err)
			}
			require.Equal(t, int64(len(want)), table.Snapshot().Rows(), "step %d", step)
			switch r.IntN(8) {
			case 0:
				_, _, err := table.Optimize(t.Context())
				require.NoError(t, err)
			case 1:
				_, err := table.Vacuum(t.Context(), 0, false)
				require.NoError(t, err)
			case 2:
				require.NoError(t, store.Close())
				store, err = Open(dir, Options{})
				require.NoError(t, err)
				table, err = store.Table("live", "t")
				require.NoError(t, err)
			}
		}
		compareWithMap(t, table.Snapshot(), want)
	}
}

// compareWithMap compares a table, and what Matching finds in it, with the model of it.
func compareWithMap(t *testing.T, now *Snapshot, want map[mergeKey]int64) {
	t.Helper()
	expected := NewBatch(mergeSchema, 0)
	for k, v := range want {
		expected.Append(mergeBatch(3, []mergeKey{k}, v))
	}
	onlyA, onlyB, err := Difference(t.Context(), now, FromBatches(mergeSchema, expected))
	require.NoError(t, err)
	require.Empty(t, onlyA+onlyB)

	some := slices.Collect(maps.Keys(want))[:min(5, len(want))]
	some = append(some, mergeKey{"absent", 1})
	matched, err := now.Matching(mergeBatch(2, some, 0))
	require.NoError(t, err)
	require.Len(t, sortedRows(t, matched), len(some)-1)
	values, err := ReadAll(t.Context(), matched, []string{"v"})
	require.NoError(t, err)
	require.Equal(t, len(some)-1, values.Len)
	require.Len(t, values.Schema, 1)
}

// many returns keys with numbers from a first one.
func manyKeys(from, n int) []mergeKey {
	keys := make([]mergeKey, n)
	for i := range keys {
		keys[i] = mergeKey{"g", float64(from + i)}
	}
	return keys
}

func TestAMergeOfTenKeysLeavesTheFilesOfTheOthers(t *testing.T) {
	store := openStore(t, t.TempDir())
	table, err := store.Create(t.Context(), "live", "t", Definition{Schema: mergeSchema})
	require.NoError(t, err)
	all := mergeBatch(3, manyKeys(0, 50_000), 0)
	rows, err := FromBatches(mergeSchema, all).Scan(t.Context(), nil)
	require.NoError(t, err)
	_, err = table.Commit(t.Context(), Commit{Operation: "REFRESH", Rows: rows})
	require.NoError(t, err)
	mergeInto(t, table, mergeBatch(2, manyKeys(0, 1), 0), mergeBatch(3, manyKeys(0, 1), 1), 1) // splits the one file
	require.Equal(t, 64, table.Snapshot().Files())
	for step := range int64(5) {
		before := table.Snapshot()
		keys := manyKeys(int(step)*1000, 10)
		mergeInto(t, table, mergeBatch(2, keys, 0), mergeBatch(3, keys, 2+step), 2+step)
		kept := 0
		for _, f := range table.Snapshot().state.Files {
			if before.live()[f.Path] {
				kept++
			}
		}
		require.GreaterOrEqual(t, kept, 54)
		require.Equal(t, 64, table.Snapshot().Files())
	}
	require.Equal(t, int64(50_000), table.Snapshot().Rows())
	matched, err := table.Snapshot().Matching(mergeBatch(2, manyKeys(77, 1), 0))
	require.NoError(t, err)
	require.Len(t, matched.(*matching).files, 1)

	// New keys join the files that are there.
	mergeInto(t, table, mergeBatch(2, nil, 0), mergeBatch(3, manyKeys(50_000, 3), 9), 9)
	require.Equal(t, 64, table.Snapshot().Files())
	require.Equal(t, int64(50_003), table.Snapshot().Rows())
}

func TestMergeRefusesKeysThatTheTableDoesNotHave(t *testing.T) {
	store := openStore(t, t.TempDir())
	table, err := store.Create(t.Context(), "live", "t", Definition{Schema: mergeSchema})
	require.NoError(t, err)
	other := NewBatch(Schema{{Name: "x", Type: Type{Kind: Long}}}, 0)
	_, err = table.Merge(t.Context(), other, Commit{})
	require.ErrorContains(t, err, `"x"`)
	wrong := NewBatch(Schema{{Name: "v", Type: Type{Kind: String}}}, 0)
	_, err = table.Merge(t.Context(), wrong, Commit{})
	require.ErrorContains(t, err, "the table long")
	_, err = table.Merge(t.Context(), NewBatch(nil, 0), Commit{})
	require.ErrorContains(t, err, "keys without a column")
	require.Zero(t, table.Snapshot().Version())
}

// netOf returns the bag of a delta: what is left when equal rows of both sides are taken out.
func netOf(t *testing.T, d *Delta) (plus, minus []string) {
	t.Helper()
	left := map[string]int{}
	for _, row := range sortedRows(t, d.Plus) {
		left[row]++
	}
	for _, row := range sortedRows(t, d.Minus) {
		left[row]--
	}
	for row, n := range left {
		for ; n > 0; n-- {
			plus = append(plus, row)
		}
		for ; n < 0; n++ {
			minus = append(minus, row)
		}
	}
	slices.Sort(plus)
	slices.Sort(minus)
	return plus, minus
}

// checkDelta has the changes since from make of its rows those of to.
func checkDelta(t *testing.T, from, to *Snapshot) {
	t.Helper()
	d, err := to.Since(from)
	require.NoError(t, err)
	plus, minus := netOf(t, d)
	bag := append(sortedRows(t, from), plus...)
	for _, row := range minus {
		i := slices.Index(bag, row)
		require.GreaterOrEqual(t, i, 0, "%s goes and was not there", row)
		bag = slices.Delete(bag, i, i+1)
	}
	slices.Sort(bag)
	require.Equal(t, sortedRows(t, to), bag, "from %d to %d", from.Version(), to.Version())
}

func TestTheChangesBetweenAnyTwoVersionsMakeOneOfTheOther(t *testing.T) {
	r := seeded(t)
	dir := t.TempDir()
	store, err := Open(dir, Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	table, err := store.Create(t.Context(), "live", "t", Definition{Schema: faultWide})
	require.NoError(t, err)
	versions := []*Snapshot{table.Snapshot()}
	for step := range int64(30) {
		switch r.IntN(6) {
		case 0:
			_, _, err = table.Optimize(t.Context())
		case 1:
			_, err = table.Restore(t.Context(), r.Int64N(table.Snapshot().Version()+1))
		case 2:
			keys := NewBatch(faultWide[:1], 0)
			for range 3 {
				keys.Columns[0].AppendInt(r.Int64N(20))
				keys.Len++
			}
			_, err = table.Merge(t.Context(), keys, Commit{})
		case 3:
			all, err := ReadAll(t.Context(), table.Snapshot(), nil)
			require.NoError(t, err)
			if all.Len > 0 {
				_, err = table.Edit(t.Context(), all.Pick([]int{r.IntN(all.Len)}), nil, Commit{})
				require.NoError(t, err)
			}
		default:
			err = faultWrite(faultBatch(faultWide, r.Int64N(20), r.Int64N(20)), r.IntN(6) == 0, nil)(t.Context(), table, Commit{Metrics: map[string]string{"step": fmt.Sprint(step)}})
		}
		require.NoError(t, err)
		versions = append(versions, table.Snapshot())
	}
	for range 40 {
		i := r.IntN(len(versions))
		checkDelta(t, versions[i], versions[i+r.IntN(len(versions)-i)])
	}
	// Another process has only the log.
	newest := table.Snapshot().Version()
	require.NoError(t, store.Close())
	store, err = Open(dir, Options{})
	require.NoError(t, err)
	table, err = store.Table("live", "t")
	require.NoError(t, err)
	table.mu.Lock()
	known := min(20, len(table.commits)-1)                                       // a step may have nothing to do
	table.first, table.commits = table.first+int64(known), table.commits[known:] // as where a checkpoint was loaded
	table.mu.Unlock()
	for range 20 {
		from := r.Int64N(newest + 1)
		old, err := table.At(t.Context(), from)
		require.NoError(t, err)
		checkDelta(t, old, table.Snapshot())
		_, err = table.reach(t.Context(), from)
		require.NoError(t, err)
		checkDelta(t, old, table.Snapshot())
	}
}

func TestWhatOnlyRearrangesRowsIsNoChange(t *testing.T) {
	table := newTestTable(t, faultWide)
	for i := range int64(3) {
		require.NoError(t, faultWrite(faultBatch(faultWide, i), false, nil)(t.Context(), table, Commit{}))
	}
	before := table.Snapshot()
	_, _, err := table.Optimize(t.Context())
	require.NoError(t, err)
	d, err := table.Snapshot().Since(before)
	require.NoError(t, err)
	require.Zero(t, d.Plus.(Counter).Rows()+d.Minus.(Counter).Rows())
}

func TestChangesWhoseFilesWereVacuumedSaySo(t *testing.T) {
	table := newTestTable(t, faultWide)
	require.NoError(t, faultWrite(faultBatch(faultWide, 1, 2), false, nil)(t.Context(), table, Commit{}))
	first := table.Snapshot()
	require.NoError(t, faultWrite(faultBatch(faultWide, 3), true, nil)(t.Context(), table, Commit{}))
	require.NoError(t, faultWrite(faultBatch(faultWide, 4), false, nil)(t.Context(), table, Commit{}))
	_, _, err := table.Optimize(t.Context()) // the file of 4 goes, and is not needed
	require.NoError(t, err)
	_, err = table.Vacuum(t.Context(), 0, false)
	require.NoError(t, err)
	_, err = table.Snapshot().Since(first)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.ErrorContains(t, err, "was vacuumed")
	require.ErrorContains(t, err, "part-")
}

func newTestTable(t *testing.T, schema Schema) *Table {
	t.Helper()
	table, err := openStore(t, t.TempDir()).Create(t.Context(), "live", "t", Definition{Schema: schema})
	require.NoError(t, err)
	return table
}

// TestMatchingTakesRowsWithAKeyOfEachList compares with looking at every row; the keys are in files and pages by size or anywhere.
func TestMatchingTakesRowsWithAKeyOfEachList(t *testing.T) {
	random := seeded(t)
	schema := Schema{{Name: "a", Type: Type{Kind: Long}}, {Name: "s", Type: Type{Kind: String}}, {Name: "v", Type: Type{Kind: Long}}}
	const rows, files, values = 40_000, 3, 5_000
	table, err := openStore(t, t.TempDir()).Create(t.Context(), "live", "t", Definition{Schema: schema})
	require.NoError(t, err)
	all := NewBatch(schema, 0)
	for file := range files {
		b := NewBatch(schema, 0)
		for i := range rows {
			if v := int64(i * values / rows); i%97 == 0 {
				b.Columns[0].AppendNull(Long)
			} else {
				b.Columns[0].AppendInt(v)
			}
			b.Columns[1].AppendString(fmt.Sprint(random.IntN(values)))
			b.Columns[2].AppendInt(int64(file*rows + i))
			b.Len++
		}
		r, err := FromBatches(schema, b).Scan(t.Context(), nil)
		require.NoError(t, err)
		_, err = table.Commit(t.Context(), Commit{Operation: "WRITE", Rows: r})
		require.NoError(t, err)
		all.Append(b)
	}
	for range 20 {
		inA, inS := map[int64]bool{}, map[string]bool{}
		a, s := NewBatch(schema[:1], 0), NewBatch(schema[1:2], 0)
		for range random.IntN(300) {
			v, text := int64(random.IntN(values+10)), fmt.Sprint(random.IntN(values+10))
			inA[v], inS[text] = true, true
			a.Columns[0].AppendInt(v)
			s.Columns[0].AppendString(text)
			a.Len, s.Len = a.Len+1, s.Len+1
		}
		keep := make([]bool, all.Len)
		for i := range keep {
			keep[i] = !all.Columns[0].Null(i) && inA[all.Columns[0].Ints[i]] && inS[all.Columns[1].Strings[i]]
		}
		matched, err := table.Snapshot().Matching(a, s)
		require.NoError(t, err)
		got, err := ReadAll(t.Context(), matched, []string{"v", "a"})
		require.NoError(t, err)
		require.Equal(t, all.Filter(keep).Columns[2].Ints, got.Columns[0].Ints)
	}
}
