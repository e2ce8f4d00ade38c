package tables

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"smelt/tables/filter"
	"smelt/tables/parquet"
)

func TestAStreamLearnsThatItsFilesWereJoinedOrVacuumed(t *testing.T) {
	ctx := context.Background()
	_, table := numberTable(t, nil)
	for i := range int64(4) {
		appendNumbers(t, table, 10*i, 10*i+10)
	}
	_, _, err := table.Optimize(ctx)
	require.NoError(t, err)
	c, err := table.Changes(ctx, -1, 0)
	require.NoError(t, err)
	require.True(t, c.Replaced, "the newest version has the rows in one file")
	require.Equal(t, span(0, 40), numbersOf(t, c), "and the old files are still there")
	_, err = table.Vacuum(ctx, 0, false)
	require.NoError(t, err)
	c, err = table.Changes(ctx, -1, 0)
	require.NoError(t, err)
	require.True(t, c.Replaced)
	_, err = table.Changes(ctx, 2, 0)
	require.ErrorContains(t, err, "was vacuumed before it was read", "a stream in the middle cannot go on")
	_, err = table.Changes(ctx, 4, 0)
	require.NoError(t, err)
}

func TestVacuumKeepsWhatOthersHaveCommitted(t *testing.T) {
	ctx := context.Background()
	_, table := numberTable(t, nil)
	appendNumbers(t, table, 0, 10)
	theirs := newTable(table.store, "live", "t", table.Dir()) // as another program sees it
	theirs.external = true
	listing, err := theirs.log.List()
	require.NoError(t, err)
	require.NoError(t, theirs.load(listing))
	_, err = theirs.Commit(ctx, Commit{Operation: "WRITE", Rows: rowsOf(t, numberBatch(10, 20))})
	require.NoError(t, err)
	old := time.Now().Add(-9 * 24 * time.Hour)
	for _, f := range theirs.Snapshot().state.Files {
		require.NoError(t, os.Chtimes(theirs.pathOf(f), old, old))
	}
	gone, err := table.Vacuum(ctx, -1, false)
	require.NoError(t, err)
	require.Empty(t, gone)
	require.Equal(t, span(0, 20), numbersOf(t, table.Snapshot()))
}

func TestJoiningManyPartitionsEnds(t *testing.T) {
	ctx := context.Background()
	s := openStore(t, t.TempDir())
	table, err := s.Create(ctx, "live", "t", Definition{Schema: numbers, Partitions: []string{"s"}})
	require.NoError(t, err)
	const partitions = 50
	optimized := 0
	for range 12 {
		_, err := table.Commit(ctx, Commit{Operation: "WRITE", Rows: rowsOf(t, numberBatch(0, partitions))})
		require.NoError(t, err)
	}
	history, err := table.History(ctx, 0)
	require.NoError(t, err)
	for _, c := range history {
		if c.Operation == "OPTIMIZE" {
			optimized++
		}
	}
	require.Equal(t, 2, optimized, "each join waits until it is worth it")
	_, added, err := table.Optimize(ctx)
	require.NoError(t, err)
	require.Equal(t, partitions, added)
	removed, _, err := table.Optimize(ctx)
	require.NoError(t, err)
	require.Zero(t, removed, "one file for each partition is left")
}

func TestOldCommitsAreNotHeldForEver(t *testing.T) {
	_, table := numberTable(t, nil)
	filler := make([]commitEntry, 12*maxCommits/10)
	for i := range filler {
		filler[i].info.Version = int64(i) - int64(len(filler))
	}
	table.mu.Lock()
	table.commits, table.first = append(filler, table.commits...), -int64(len(filler))
	table.mu.Unlock()
	appendNumbers(t, table, 0, 10)
	require.Len(t, table.commits, maxCommits)
	require.EqualValues(t, 1, table.commits[len(table.commits)-1].info.Version)
	require.Equal(t, table.first, table.commits[0].info.Version)
}

func TestReplacedFilesGoByThemselvesWhereTheTableSaysSo(t *testing.T) {
	_, table := numberTable(t, map[string]string{PropertyAutoVacuum: "true", "delta.deletedFileRetentionDuration": "interval 0 seconds", "delta.checkpointInterval": "5"})
	for i := range int64(11) {
		_, err := table.Commit(context.Background(), Commit{Operation: "REFRESH", Overwrite: true, Rows: rowsOf(t, numberBatch(i, i+1))})
		require.NoError(t, err)
	}
	files, err := filepath.Glob(filepath.Join(table.Dir(), "*.parquet"))
	require.NoError(t, err)
	require.LessOrEqual(t, len(files), 6, "those since the last checkpoint, and what was replaced in the same moment")
	require.Equal(t, span(10, 11), numbersOf(t, table.Snapshot()))
}

func TestAnEmptyTextIsNoPartition(t *testing.T) {
	s := openStore(t, t.TempDir())
	table, err := s.Create(context.Background(), "live", "t", Definition{Schema: numbers, Partitions: []string{"s"}})
	require.NoError(t, err)
	b := numberBatch(0, 2)
	b.Columns[1].Strings[1] = ""
	_, err = table.Commit(context.Background(), Commit{Operation: "WRITE", Rows: rowsOf(t, b)})
	require.ErrorContains(t, err, "no empty text")
	require.Zero(t, table.Snapshot().Rows())
}

func TestAnAttachedTableThatWasMadeAnewIsAnother(t *testing.T) {
	ctx := context.Background()
	theirs, table := numberTable(t, nil)
	appendNumbers(t, table, 0, 10)
	ours := openStore(t, t.TempDir())
	attached, err := ours.Attach(ctx, "live", "their", table.Dir())
	require.NoError(t, err)
	id := attached.Snapshot().ID()
	for _, commits := range []int64{1, 4} { // as many commits as before, and more
		require.NoError(t, theirs.Drop(ctx, "live", "t"))
		table, err = theirs.Create(ctx, "live", "t", Definition{Schema: numbers})
		require.NoError(t, err)
		for i := range commits {
			appendNumbers(t, table, 100+i, 101+i)
		}
		require.NoError(t, attached.Refresh())
		require.NotEqual(t, id, attached.Snapshot().ID())
		require.Equal(t, span(100, 100+commits), numbersOf(t, attached.Snapshot()))
		id = attached.Snapshot().ID()
	}
}

func TestPropertiesThatCannotBeReadAreRefused(t *testing.T) {
	s := openStore(t, t.TempDir())
	for name, value := range map[string]string{
		"delta.checkpointInterval": "often", "delta.deletedFileRetentionDuration": "interval 1 month", "delta.logRetentionDuration": "7", "delta.appendOnly": "perhaps",
	} {
		_, err := s.Create(context.Background(), "live", "t", Definition{Schema: numbers, Properties: map[string]string{name: value}})
		require.ErrorContains(t, err, fmt.Sprintf("%s = %q", name, value))
	}
}

func TestADifferenceIsToldByColumn(t *testing.T) {
	two := Schema{{Name: "a", Type: Type{Kind: Double}}, {Name: "b", Type: Type{Kind: Double}}}
	one, other := NewBatch(two, 1), NewBatch(two, 1)
	one.Columns[0].AppendFloat(1)
	one.Columns[1].AppendNull(Double)
	other.Columns[0].AppendNull(Double)
	other.Columns[1].AppendFloat(1)
	one.Len, other.Len = 1, 1
	onlyA, onlyB, err := Difference(context.Background(), FromBatches(two, one), FromBatches(two, other))
	require.NoError(t, err)
	require.Equal(t, []string{"(a = 1, b = NULL)", "(a = NULL, b = 1)"}, []string{onlyA, onlyB})
}

func TestVerifyLooksAtTheIndexesToo(t *testing.T) {
	ctx := context.Background()
	_, table := numberTable(t, map[string]string{"smelt.bloom.columns": "n"})
	appendNumbers(t, table, 0, 1000)
	path := table.pathOf(table.Snapshot().state.Files[0])
	whole, err := os.ReadFile(path)
	require.NoError(t, err)
	found := 0
	for at := len(whole) * 3 / 4; at < len(whole); at += 7 {
		hurt := append([]byte{}, whole...)
		hurt[at] ^= 4
		require.NoError(t, os.WriteFile(path, hurt, 0o644))
		if _, err := table.Verify(ctx); err != nil {
			found++
			continue
		}
		require.Equal(t, span(0, 1000), numbersOf(t, table.Snapshot().Prune([]filter.Condition{{Column: "s", Op: filter.NotNull}})))
		t.Fatalf("a flipped bit at %d of %d was not seen", at, len(whole))
	}
	require.Positive(t, found)
}

func TestACheckpointOfSeveralPartsIsRead(t *testing.T) {
	s, table := numberTable(t, nil)
	for i := range int64(6) {
		appendNumbers(t, table, 10*i, 10*i+10)
	}
	_, err := table.Edit(context.Background(), numberBatch(3, 5), nil, Commit{Operation: "DELETE"})
	require.NoError(t, err)
	actions := table.replay.Checkpoint(0)
	const parts = 3
	version, names := table.Snapshot().Version(), []string{}
	for part := range parts {
		name := filepath.Join(table.Dir(), "_delta_log", fmt.Sprintf("%020d.checkpoint.%010d.%010d.parquet", version, part+1, parts))
		out, err := os.Create(name)
		require.NoError(t, err)
		require.NoError(t, parquet.WriteCheckpoint(out, actions[part*len(actions)/parts:(part+1)*len(actions)/parts]))
		require.NoError(t, out.Close())
		names = append(names, name)
	}
	commits, err := filepath.Glob(filepath.Join(table.Dir(), "_delta_log", "*.json"))
	require.NoError(t, err)
	for _, c := range commits {
		require.NoError(t, os.Remove(c))
	}
	want := append(span(0, 3), span(5, 60)...)
	again := reopened(t, s)
	require.Equal(t, want, numbersOf(t, again.Snapshot()))
	require.Equal(t, version, again.Snapshot().Version())
	appendNumbers(t, again, 60, 70)
	require.Equal(t, append(want, span(60, 70)...), numbersOf(t, again.Snapshot()))
	require.NoError(t, again.store.Close())
	require.NoError(t, os.Remove(names[1]))
	_, err = Open(s.dir, Options{})
	require.ErrorContains(t, err, "commit", "a checkpoint without one of its parts is none")
}
