package tables

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var numbers = Schema{{Name: "n", Type: Type{Kind: Long}}, {Name: "s", Type: Type{Kind: String}}}

func numberBatch(from, to int64) *Batch {
	b := NewBatch(numbers, int(to-from))
	for n := from; n < to; n++ {
		b.Columns[0].AppendInt(n)
		b.Columns[1].AppendString(fmt.Sprint("s", n))
		b.Len++
	}
	return b
}

func numbersOf(t *testing.T, r Relation) []int64 {
	t.Helper()
	all, err := ReadAll(context.Background(), r, []string{"n"})
	require.NoError(t, err)
	out := append([]int64{}, all.Columns[0].Ints...)
	slices.Sort(out)
	return out
}

func span(from, to int64) []int64 {
	out := []int64{}
	for n := from; n < to; n++ {
		out = append(out, n)
	}
	return out
}

func numberTable(t *testing.T, properties map[string]string) (*Store, *Table) {
	t.Helper()
	s := openStore(t, t.TempDir())
	table, err := s.Create(context.Background(), "live", "t", Definition{Schema: numbers, Properties: properties})
	require.NoError(t, err)
	return s, table
}

func appendNumbers(t *testing.T, table *Table, from, to int64) int64 {
	t.Helper()
	v, err := table.Commit(context.Background(), Commit{Operation: "WRITE", Rows: rowsOf(t, numberBatch(from, to)), Txns: map[string]int64{"app": to}})
	require.NoError(t, err)
	return v
}

// reopened is the table as a later process sees it.
func reopened(t *testing.T, s *Store) *Table {
	t.Helper()
	require.NoError(t, s.Close())
	again := openStore(t, s.dir)
	table, err := again.Table("live", "t")
	require.NoError(t, err)
	return table
}

func logNames(t *testing.T, table *Table, pattern string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(table.Dir(), "_delta_log", pattern))
	require.NoError(t, err)
	for i := range found {
		found[i] = filepath.Base(found[i])
	}
	return found
}

func TestACheckpointStandsForTheLogBeforeIt(t *testing.T) {
	ctx := context.Background()
	s, table := numberTable(t, map[string]string{"delta.checkpointInterval": "5", "delta.logRetentionDuration": "interval 0 seconds"})
	for i := range int64(12) {
		appendNumbers(t, table, 10*i, 10*i+10)
	}
	require.Equal(t, []string{"00000000000000000009.checkpoint.parquet"}, logNames(t, table, "*.checkpoint.parquet"), "the older one was cleaned up")
	require.Equal(t, []string{"00000000000000000009.json", "00000000000000000010.json", "00000000000000000011.json", "00000000000000000012.json"}, logNames(t, table, "*.json"))
	require.Len(t, logNames(t, table, "_last_checkpoint"), 1)
	before := table.Snapshot()

	again := reopened(t, s)
	now := again.Snapshot()
	require.Equal(t, before.Version(), now.Version())
	require.Equal(t, before.ID(), now.ID())
	require.Equal(t, before.Modified(), now.Modified())
	require.Equal(t, span(0, 120), numbersOf(t, now))
	v, ok := now.Txn("app")
	require.True(t, ok)
	require.EqualValues(t, 120, v)
	history, err := again.History(ctx, 0)
	require.NoError(t, err)
	require.Len(t, history, 4, "what the log still has")
	changes, err := again.Changes(ctx, 10, 0)
	require.NoError(t, err)
	require.False(t, changes.Rewritten)
	require.Equal(t, span(100, 120), numbersOf(t, changes))
	changes, err = again.Changes(ctx, 3, 0)
	require.NoError(t, err)
	require.True(t, changes.Rewritten, "what came after version 3 is no longer told")
	appendNumbers(t, again, 120, 130)
	require.Equal(t, span(0, 130), numbersOf(t, again.Snapshot()))
}

func TestADamagedCheckpointIsPassedOverWhileTheLogIsWhole(t *testing.T) {
	s, table := numberTable(t, map[string]string{"delta.checkpointInterval": "3"})
	for i := range int64(8) {
		appendNumbers(t, table, 10*i, 10*i+10)
	}
	names := logNames(t, table, "*.checkpoint.parquet")
	require.Len(t, names, 3)
	for _, name := range names {
		require.NoError(t, os.WriteFile(filepath.Join(table.Dir(), "_delta_log", name), []byte("PAR1 nothing PAR1"), 0o644))
	}
	again := reopened(t, s)
	require.Equal(t, span(0, 80), numbersOf(t, again.Snapshot()))
	require.NoError(t, os.Remove(filepath.Join(again.Dir(), "_delta_log", "00000000000000000000.json")))
	require.NoError(t, again.store.Close())
	_, err := Open(s.dir, Options{})
	require.ErrorContains(t, err, names[2])
}

func TestEveryVersionCanBeReadAgain(t *testing.T) {
	ctx := context.Background()
	s, table := numberTable(t, map[string]string{"delta.checkpointInterval": "4"})
	start := time.Now()
	for i := range int64(10) {
		appendNumbers(t, table, 10*i, 10*i+10)
	}
	for _, at := range []*Table{table, reopened(t, s)} {
		for v := range int64(11) {
			then, err := at.At(ctx, v)
			require.NoError(t, err)
			require.Equal(t, span(0, 10*v), numbersOf(t, then), "version %d", v)
			require.Equal(t, v, then.Version())
		}
		now, err := at.AtTime(ctx, time.Now())
		require.NoError(t, err)
		require.EqualValues(t, 10, now.Version())
		_, err = at.AtTime(ctx, start.Add(-time.Hour))
		require.ErrorIs(t, err, ErrNotFound)
		_, err = at.At(ctx, 11)
		require.ErrorIs(t, err, ErrNotFound)
		all, err := at.History(ctx, 0)
		require.NoError(t, err)
		require.Len(t, all, 11)
	}
}

func TestEditsTakeRowsOutAndPutOthersIn(t *testing.T) {
	ctx, r := context.Background(), seeded(t)
	_, table := numberTable(t, nil)
	want := map[int64]int{}
	for range 20 {
		from := int64(r.IntN(50))
		to := from + int64(r.IntN(30))
		if to > from {
			appendNumbers(t, table, from, to)
		}
		for n := from; n < to; n++ {
			want[n]++
		}
	}
	for range 30 {
		chosen := NewBatch(numbers, 0)
		for n, times := range want {
			for range r.IntN(times + 1) {
				chosen.Append(numberBatch(n, n+1))
				want[n]--
			}
		}
		var updated *Batch
		if r.IntN(2) == 0 {
			updated = NewBatch(numbers, 0)
			for range chosen.Len {
				n := int64(r.IntN(100))
				updated.Append(numberBatch(n, n+1))
				want[n]++
			}
		}
		files := table.Snapshot().Files()
		_, err := table.Edit(ctx, chosen, updated, Commit{Operation: "DELETE"})
		require.NoError(t, err)
		got := map[int64]int{}
		for _, n := range numbersOf(t, table.Snapshot()) {
			got[n]++
		}
		for n, times := range want {
			if times == 0 {
				delete(want, n)
			}
		}
		require.Equal(t, want, got, "%d files before", files)
	}
	version := table.Snapshot().Version()
	_, err := table.Edit(ctx, numberBatch(1000, 1001), nil, Commit{Operation: "DELETE"})
	require.ErrorIs(t, err, ErrChanged)
	require.Equal(t, version, table.Snapshot().Version())
}

func TestAnEditRewritesOnlyTheFilesThatHaveItsRows(t *testing.T) {
	_, table := numberTable(t, nil)
	for i := range int64(5) {
		appendNumbers(t, table, 10*i, 10*i+10)
	}
	before := paths(table.Snapshot())
	_, err := table.Edit(context.Background(), numberBatch(12, 14), nil, Commit{Operation: "DELETE"})
	require.NoError(t, err)
	after := paths(table.Snapshot())
	require.Len(t, after, 5)
	require.Equal(t, 4, len(slices.DeleteFunc(after, func(p string) bool { return !slices.Contains(before, p) })))
	changes, err := table.Changes(context.Background(), 5, 0)
	require.NoError(t, err)
	require.True(t, changes.Rewritten)
	history, err := table.History(context.Background(), 1)
	require.NoError(t, err)
	require.Equal(t, "2", history[0].Metrics["numDeletedRows"])
}

func paths(s *Snapshot) []string {
	var out []string
	for _, f := range s.state.Files {
		out = append(out, f.Path)
	}
	return out
}

func TestOptimizeJoinsFilesAndStreamsPassOverIt(t *testing.T) {
	ctx := context.Background()
	s, table := numberTable(t, nil)
	for i := range int64(20) {
		appendNumbers(t, table, 10*i, 10*i+10)
	}
	removed, added, err := table.Optimize(ctx)
	require.NoError(t, err)
	require.Equal(t, []int{20, 1}, []int{removed, added})
	require.Equal(t, span(0, 200), numbersOf(t, table.Snapshot()))
	removed, added, err = table.Optimize(ctx)
	require.NoError(t, err)
	require.Equal(t, []int{0, 0}, []int{removed, added}, "one file is not rewritten")
	require.EqualValues(t, 21, table.Snapshot().Version(), "and makes no version")
	changes, err := table.Changes(ctx, 10, 0)
	require.NoError(t, err)
	require.False(t, changes.Rewritten)
	require.Equal(t, span(100, 200), numbersOf(t, changes))
	require.Equal(t, span(0, 200), numbersOf(t, reopened(t, s).Snapshot()))
}

func TestManySmallFilesAreJoinedByThemselves(t *testing.T) {
	_, table := numberTable(t, nil)
	for i := range int64(130) {
		appendNumbers(t, table, i, i+1)
	}
	require.Less(t, table.Snapshot().Files(), manySmallFiles)
	require.Equal(t, span(0, 130), numbersOf(t, table.Snapshot()))
	_, left := numberTable(t, map[string]string{"delta.autoOptimize.autoCompact": "false"})
	for i := range int64(105) {
		appendNumbers(t, left, i, i+1)
	}
	require.Equal(t, 105, left.Snapshot().Files())
}

func TestVacuumRemovesWhatNoVersionNeeds(t *testing.T) {
	ctx := context.Background()
	s, table := numberTable(t, nil)
	for i := range int64(5) {
		appendNumbers(t, table, 10*i, 10*i+10)
	}
	_, _, err := table.Optimize(ctx)
	require.NoError(t, err)
	stray := filepath.Join(table.Dir(), "part-00000-of-a-crash.parquet")
	require.NoError(t, os.WriteFile(stray, nil, 0o644))
	require.NoError(t, os.MkdirAll(filepath.Join(table.Dir(), "_checkpoints", "x"), 0o755))
	state := filepath.Join(table.Dir(), "_checkpoints", "x", "1.json")
	require.NoError(t, os.WriteFile(state, nil, 0o644))

	gone, err := table.Vacuum(ctx, -1, false)
	require.NoError(t, err)
	require.Empty(t, gone, "all is younger than a week")
	gone, err = table.Vacuum(ctx, 0, true)
	require.NoError(t, err)
	require.Len(t, gone, 6)
	require.FileExists(t, stray, "a dry run removes nothing")
	gone, err = table.Vacuum(ctx, 0, false)
	require.NoError(t, err)
	require.Len(t, gone, 6)
	require.NoFileExists(t, stray)
	require.FileExists(t, state)
	require.Equal(t, span(0, 50), numbersOf(t, table.Snapshot()))
	then, err := table.At(ctx, 2)
	require.NoError(t, err)
	_, err = ReadAll(ctx, then, nil)
	require.ErrorContains(t, err, ".parquet", "an old version is an error that names the file")
	_, err = table.Restore(ctx, 2)
	require.ErrorContains(t, err, ".parquet")
	require.Equal(t, span(0, 50), numbersOf(t, reopened(t, s).Snapshot()))
}

func TestRestoreBringsAVersionBack(t *testing.T) {
	ctx := context.Background()
	s, table := numberTable(t, nil)
	for i := range int64(3) {
		appendNumbers(t, table, 10*i, 10*i+10)
	}
	_, err := table.Edit(ctx, numberBatch(5, 25), nil, Commit{Operation: "DELETE"})
	require.NoError(t, err)
	appendNumbers(t, table, 90, 95)
	def := table.Snapshot().Definition()
	def.Schema = append(slices.Clone(def.Schema), Field{Name: "later", Type: Type{Kind: Double}})
	_, err = table.Redefine(ctx, def, Commit{Operation: "ADD COLUMNS"})
	require.NoError(t, err)
	version, err := table.Restore(ctx, 2)
	require.NoError(t, err)
	require.EqualValues(t, 7, version)
	require.Equal(t, span(0, 20), numbersOf(t, table.Snapshot()))
	require.Equal(t, numbers, table.Snapshot().Schema())
	require.Equal(t, span(0, 20), numbersOf(t, reopened(t, s).Snapshot()))
}

func TestRowsArePartedByTheirPartitionColumns(t *testing.T) {
	ctx, r := context.Background(), seeded(t)
	schema := slices.DeleteFunc(slices.Clone(everyKind), func(f Field) bool { return f.Type.Kind == Binary || f.Type.Kind == JSON })
	for _, column := range schema {
		t.Run(column.Name, func(t *testing.T) {
			s := openStore(t, t.TempDir())
			table, err := s.Create(ctx, "live", "t", Definition{Schema: schema, Partitions: []string{column.Name}})
			require.NoError(t, err)
			b := partable(r, schema, column.Name)
			_, err = table.Commit(ctx, Commit{Operation: "WRITE", Rows: rowsOf(t, b)})
			require.NoError(t, err)
			values := map[string]bool{}
			for row := range b.Len {
				values[partitionText(&b.Columns[schema.Index(column.Name)], column.Type, row)] = true
			}
			require.Equal(t, len(values), table.Snapshot().Files(), "a file for each value")
			require.True(t, slices.Equal(sortedKeys(b), sortedKeys(readAll(t, table.Snapshot()))))
			_, _, err = table.Optimize(ctx)
			require.NoError(t, err)
			require.True(t, slices.Equal(sortedKeys(b), sortedKeys(readAll(t, reopened(t, s).Snapshot()))))
		})
	}
	s := openStore(t, t.TempDir())
	_, err := s.Create(ctx, "live", "t", Definition{Schema: everyKind, Partitions: []string{"binary"}})
	require.ErrorContains(t, err, "binary")
	_, err = s.Create(ctx, "live", "t", Definition{Schema: everyKind, Partitions: []string{"nothing"}})
	require.ErrorContains(t, err, "no such column")
}

// partable makes rows in which few values of one column come again and again, null among them and no empty text, which
// a partition cannot tell from null.
func partable(r *rand.Rand, schema Schema, column string) *Batch {
	few := randomBatch(r, schema, 5)
	at := schema.Index(column)
	for i, s := range few.Columns[at].Strings {
		if s == "" {
			few.Columns[at].Strings[i] = "x"
		}
	}
	out := NewBatch(schema, 0)
	for range 10 {
		for _, keep := range []int{0, 1, 2, 3, 4} {
			next := randomBatch(r, schema, 1)
			mask := make([]bool, 5)
			mask[keep] = true
			next.Columns[at] = few.Filter(mask).Columns[at]
			out.Append(next)
		}
	}
	return out
}

func readAll(t *testing.T, r Relation) *Batch {
	t.Helper()
	all, err := ReadAll(context.Background(), r, nil)
	require.NoError(t, err)
	return all
}

func sortedKeys(b *Batch) []string {
	keys := make([]string, b.Len)
	for row := range keys {
		keys[row] = strings.ToValidUTF8(string(rowKey(nil, b, row, allDigits)), "?")
	}
	slices.Sort(keys)
	return keys
}

func TestAnAttachedTableIsReadAsOthersWriteIt(t *testing.T) {
	ctx := context.Background()
	theirs, table := numberTable(t, nil)
	appendNumbers(t, table, 0, 10)
	ours := openStore(t, t.TempDir())
	attached, err := ours.Attach(ctx, "live", "their", table.Dir())
	require.NoError(t, err)
	require.Equal(t, span(0, 10), numbersOf(t, attached.Snapshot()))
	changed := attached.Changed()
	appendNumbers(t, table, 10, 20)
	<-changed // told by the poll
	require.Equal(t, span(0, 20), numbersOf(t, attached.Snapshot()))
	appendNumbers(t, table, 20, 30)
	require.NoError(t, attached.Refresh())
	require.Equal(t, span(0, 30), numbersOf(t, attached.Snapshot()))
	appendNumbers(t, attached, 30, 40)
	_, err = table.Commit(ctx, Commit{Operation: "WRITE", Rows: rowsOf(t, numberBatch(40, 50))})
	require.NoError(t, err)
	require.Equal(t, span(0, 50), numbersOf(t, table.Snapshot()), "a writer finds the other's commit")

	_, err = ours.Attach(ctx, "live", "their", table.Dir())
	require.ErrorIs(t, err, ErrExists)
	_, err = ours.Attach(ctx, "live", "none", t.TempDir())
	require.ErrorIs(t, err, ErrNotFound)
	require.NoError(t, ours.Close())
	ours = openStore(t, ours.dir)
	attached, err = ours.Table("live", "their")
	require.NoError(t, err)
	require.Equal(t, span(0, 50), numbersOf(t, attached.Snapshot()))
	require.NoError(t, ours.Drop(ctx, "live", "their"))
	_, err = ours.Table("live", "their")
	require.ErrorIs(t, err, ErrNotFound)
	require.Equal(t, span(0, 50), numbersOf(t, reopened(t, theirs).Snapshot()), "the table itself stays")
}
