package tables

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"smelt/tables/delta"
)

// damaged makes a table on the disk, lets it be damaged while closed, and returns what opening and reading it says.
func damaged(t *testing.T, damage func(dir, file string)) (file string, err error) {
	t.Helper()
	ctx, dir := context.Background(), t.TempDir()
	s, err := Open(dir, Options{})
	require.NoError(t, err)
	table, err := s.Create(ctx, "live", "t", Definition{Schema: everyKind})
	require.NoError(t, err)
	_, err = table.Commit(ctx, Commit{Operation: "WRITE", Rows: rowsOf(t, randomBatch(seeded(t), everyKind, 50))})
	require.NoError(t, err)
	files, err := filepath.Glob(filepath.Join(table.Dir(), "*.parquet"))
	require.NoError(t, err)
	require.Len(t, files, 1)
	require.NoError(t, s.Close())
	damage(table.Dir(), files[0])
	s, err = Open(dir, Options{})
	if err != nil {
		return filepath.Base(files[0]), err
	}
	defer s.Close()
	table, err = s.Table("live", "t")
	require.NoError(t, err)
	_, err = ReadAll(ctx, table.Snapshot(), nil)
	return filepath.Base(files[0]), err
}

func TestAMissingDataFileAndATornCommitAreNamed(t *testing.T) {
	name, err := damaged(t, func(_, file string) { require.NoError(t, os.Remove(file)) })
	require.ErrorContains(t, err, name)
	require.ErrorIs(t, err, fs.ErrNotExist)
	commit := filepath.Join(delta.LogDir, "00000000000000000001.json")
	_, err = damaged(t, func(dir, _ string) {
		path := filepath.Join(dir, commit)
		info, err := os.Stat(path)
		require.NoError(t, err)
		require.NoError(t, os.Truncate(path, info.Size()*2/3))
	})
	require.ErrorContains(t, err, commit)
	require.ErrorIs(t, err, delta.ErrCorrupt)
	_, err = damaged(t, func(dir, _ string) { // what some file systems leave of a file that was not synced
		require.NoError(t, os.WriteFile(filepath.Join(dir, commit), make([]byte, 700), 0o644))
	})
	require.ErrorContains(t, err, commit)
	require.ErrorIs(t, err, delta.ErrCorrupt)
}
