package runs

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"smelt/tables"
	"smelt/tables/filter"
)

func openStore(t *testing.T) *tables.Store {
	t.Helper()
	store, err := tables.Open(t.TempDir(), tables.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	return store
}

func someRun(n int) Run {
	at := time.Date(2026, 1, 1, 0, 0, n, 0, time.UTC)
	return Run{ID: fmt.Sprintf("run %04d", n), Model: "m", Version: 1, Digest: "d", Started: at, Ended: at, Params: map[string]string{"a": "b", "c": "d"},
		Metrics: []Metric{{Key: "f1", Value: 0.5}, {Key: "f1/x", Label: "x", Value: 0.25}}, Artifacts: []Artifact{{Path: "p", MediaType: "image/png", Content: []byte{0, 255, byte(n)}}}}
}

// shown returns the ids of a table's rows, and how often each is there.
func shown(t *testing.T, b *Book, table string) map[string]int {
	t.Helper()
	r, err := b.Relation(t.Context(), table)
	require.NoError(t, err)
	rows, err := tables.ReadAll(t.Context(), r, []string{"run_id"})
	require.NoError(t, err)
	out := map[string]int{}
	for i := range rows.Len {
		out[rows.Columns[0].Strings[i]]++
	}
	return out
}

func TestARunIsKeptWithAllThatBelongsToIt(t *testing.T) {
	b := New(Config{Store: openStore(t)})
	for _, table := range Names() {
		require.Empty(t, shown(t, b, table), "before anything is there")
	}
	require.NoError(t, b.Add(t.Context(), someRun(1)))
	require.NoError(t, b.Add(t.Context(), someRun(2)))
	for table, each := range map[string]int{"RUNS": 1, "metrics": 2, "Params": 2, "artifacts": 1} {
		require.Equal(t, map[string]int{"run 0001": each, "run 0002": each}, shown(t, b, table), table)
	}
	r, err := b.Relation(t.Context(), "artifacts")
	require.NoError(t, err)
	pruned := r.(tables.Pruner).Prune([]filter.Condition{})
	rows, err := tables.ReadAll(t.Context(), pruned, []string{"content", "bytes"})
	require.NoError(t, err)
	require.Equal(t, []string{"\x00\xff\x01", "\x00\xff\x02"}, rows.Columns[0].Strings)
	require.Equal(t, []int64{3, 3}, rows.Columns[1].Ints)
}

// TestAHalfRunIsNotShown breaks off before each of the four commits, as a crash would.
func TestAHalfRunIsNotShown(t *testing.T) {
	store := openStore(t)
	b := New(Config{Store: store})
	require.NoError(t, b.Add(t.Context(), someRun(1)))
	for _, parts := range [][]string{{"artifacts"}, {"artifacts", "params"}, {"artifacts", "params", "metrics"}} {
		for _, table := range parts {
			r := someRun(len(parts) + 1)
			require.NoError(t, b.append(t.Context(), table, map[string]*tables.Batch{"artifacts": r.artifacts(), "params": r.params(), "metrics": r.metrics()}[table]))
		}
		for _, table := range Names() {
			require.Len(t, shown(t, b, table), 1, table)
		}
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, b.Add(gone, someRun(9)), context.Canceled)
	require.Len(t, shown(t, b, "runs"), 1)
	require.NoError(t, b.Add(t.Context(), someRun(10)))
	require.Len(t, shown(t, b, "metrics"), 2)
}

func TestTheOldestRunsGoWhenThereAreTooMany(t *testing.T) {
	store := openStore(t)
	b := New(Config{Store: store, Runs: 20})
	require.NoError(t, b.append(t.Context(), "metrics", someRun(999).metrics())) // left by a crash
	for n := range 21 {
		require.NoError(t, b.Add(t.Context(), someRun(n)))
	}
	for _, table := range Names() {
		left := shown(t, b, table)
		require.Len(t, left, 19, table)
		require.NotContains(t, left, "run 0001")
		require.Contains(t, left, "run 0002")
		require.Contains(t, left, "run 0020")
	}
	metrics, err := store.Table(database, "metrics")
	require.NoError(t, err)
	require.EqualValues(t, 2*19, metrics.Snapshot().Rows(), "what a crash left goes too")
	b.cfg.Bytes = 1
	require.NoError(t, b.Add(t.Context(), someRun(21)))
	require.Len(t, shown(t, b, "runs"), 18, "two of twenty")
}

// TestAReaderSeesWholeRunsWhileOneIsWritten reads all the time: what is in runs has its metrics.
func TestAReaderSeesWholeRunsWhileOneIsWritten(t *testing.T) {
	b := New(Config{Store: openStore(t)})
	done := make(chan error, 1)
	go func() {
		for n := range 30 {
			if err := b.Add(context.Background(), someRun(n)); err != nil {
				done <- err
				return
			}
		}
		done <- errors.New("written")
	}()
	for {
		for id, n := range shown(t, b, "metrics") {
			require.Equal(t, 2, n, id)
		}
		seen := shown(t, b, "runs")
		metrics := shown(t, b, "metrics")
		for id := range seen {
			require.Contains(t, metrics, id)
		}
		select {
		case err := <-done:
			require.EqualError(t, err, "written")
			require.Len(t, shown(t, b, "runs"), 30)
			return
		default:
		}
	}
}
