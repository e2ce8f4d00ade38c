package tables

import (
	"context"
	"encoding/binary"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
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

// flips damages one bit of a file at a time, among its last bytes, and counts what look says of it: that it saw the
// damage, or that what it read is right.
func flips(t *testing.T, path string, tail, times int, look func() (seen, right bool)) (wrong int) {
	t.Helper()
	r := seeded(t)
	whole, err := os.ReadFile(path)
	require.NoError(t, err)
	footer := len(whole) - 8 - int(binary.LittleEndian.Uint32(whole[len(whole)-8:]))
	errs, bodyWrong := 0, 0
	for range times {
		hurt := slices.Clone(whole)
		at := len(hurt) - 1 - r.IntN(min(len(hurt), tail))
		hurt[at] ^= 1 << r.IntN(8)
		require.NoError(t, os.WriteFile(path, hurt, 0o644))
		seen, right := look()
		if seen {
			errs++
		} else if !right {
			wrong++
			if at < footer {
				bodyWrong++
			}
		}
	}
	require.NoError(t, os.WriteFile(path, whole, 0o644))
	t.Logf("%d bits flipped in %s of %d bytes, its footer %d: %d errors, %d wrong answers, %d of them before the footer", times, filepath.Base(path), len(whole), len(whole)-footer, errs, wrong, bodyWrong)
	return wrong
}

func TestAFlippedBitOfADataFileIsAnErrorOrHarmless(t *testing.T) {
	ctx := context.Background()
	s := openStore(t, t.TempDir())
	table, err := s.Create(ctx, "live", "t", Definition{Schema: everyKind})
	require.NoError(t, err)
	_, err = table.Commit(ctx, Commit{Operation: "WRITE", Rows: rowsOf(t, randomBatch(seeded(t), everyKind, 200))})
	require.NoError(t, err)
	whole, err := ReadAll(ctx, table.Snapshot(), nil)
	require.NoError(t, err)
	want := texts(whole)
	files, err := filepath.Glob(filepath.Join(table.Dir(), "*.parquet"))
	require.NoError(t, err)
	require.Len(t, files, 1)
	require.Zero(t, flips(t, files[0], 1<<20, 400, func() (seen, right bool) {
		got, err := ReadAll(ctx, table.Snapshot(), nil)
		if err != nil {
			assert.ErrorContains(t, err, filepath.Base(files[0]))
			return true, false
		}
		return false, slices.Equal(want, texts(got))
	}))
}
