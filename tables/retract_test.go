package tables

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRemovedIsWhatACommitTookOut(t *testing.T) {
	_, table := numberTable(t, nil)
	appendNumbers(t, table, 0, 10)
	appendNumbers(t, table, 5, 15) // 5 to 9 are there twice
	third := appendNumbers(t, table, 100, 110)
	old := numberBatch(5, 8)
	old.Append(numberBatch(7, 8)) // both of them
	version, err := table.Edit(context.Background(), old, nil, Commit{Operation: "UNLOAD FILE", Txns: map[string]int64{"flow:files:1": 4}})
	require.NoError(t, err)
	gone, err := table.Removed(context.Background(), version)
	require.NoError(t, err)
	require.Equal(t, sortedKeys(old), sortedKeys(gone))

	all, err := table.Changes(context.Background(), -1, 0)
	require.NoError(t, err)
	require.True(t, all.Rewritten)
	require.Equal(t, version, all.RewriteVersion)
	require.Equal(t, "UNLOAD FILE", all.RewriteOperation)
	before, err := table.ChangesUpTo(context.Background(), -1, version-1, 0)
	require.NoError(t, err)
	require.False(t, before.Rewritten)
	require.Equal(t, third, before.To)
	require.EqualValues(t, 30, before.RowCount)

	_, err = table.Edit(context.Background(), numberBatch(7, 8), nil, Commit{Operation: "UNLOAD FILE"})
	require.ErrorIs(t, err, ErrChanged)
	at, ok := table.Snapshot().Txn("flow:files:1")
	require.True(t, ok)
	require.EqualValues(t, 4, at)
	_, err = table.Removed(context.Background(), version+1)
	require.ErrorIs(t, err, ErrNotFound)
}
