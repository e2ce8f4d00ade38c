package tables

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"smelt/tables/delta"
)

// TestAFlippedBitOfACheckpointIsAnErrorOrHarmless has the checkpoint be all that there is: the log before it is gone.
func TestAFlippedBitOfACheckpointIsAnErrorOrHarmless(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	s, err := Open(dir, Options{})
	require.NoError(t, err)
	table, err := s.Create(ctx, "live", "t", Definition{Schema: numbers, Properties: map[string]string{"delta.checkpointInterval": "7", "delta.logRetentionDuration": "interval 0 seconds"}})
	require.NoError(t, err)
	for n := range int64(8) {
		appendNumbers(t, table, 10*n, 10*n+10)
	}
	want := state(table)
	require.NoError(t, s.Close())
	checkpoints := logNames(t, table, "*.checkpoint.parquet")
	require.Len(t, checkpoints, 1)
	commits := logNames(t, table, "*.json")
	require.NotEqual(t, "00000000000000000000.json", commits[0])
	require.Zero(t, flips(t, filepath.Join(table.Dir(), delta.LogDir, checkpoints[0]), 5000, 1000, func() (seen, right bool) {
		s, err := Open(dir, Options{})
		if err != nil {
			assert.ErrorContains(t, err, checkpoints[0])
			return true, false
		}
		defer s.Close()
		again, err := s.Table("live", "t")
		require.NoError(t, err)
		return false, want == state(again)
	}))
}

// state is what the log says of a table.
func state(t *Table) string {
	s := t.Snapshot()
	var out strings.Builder
	fmt.Fprintln(&out, s.Version(), s.ID(), s.Rows(), s.Definition(), s.state.Born)
	for _, f := range s.state.Files {
		fmt.Fprintln(&out, f.Path, f.Size, f.Rows, f.PartitionValues)
	}
	txn, ok := s.Txn("app")
	fmt.Fprintln(&out, txn, ok)
	return out.String()
}
