package tables

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"smelt/tables/vfs"
)

// countingFS counts the data files that are opened, and those that were closed again.
type countingFS struct {
	vfs.FS
	opened, closed atomic.Int64
}

type countedFile struct {
	vfs.File
	fs *countingFS
}

// Open implements vfs.FS.
func (f *countingFS) Open(path string) (vfs.File, error) {
	in, err := f.FS.Open(path)
	if err != nil || filepath.Ext(path) != ".parquet" {
		return in, err
	}
	f.opened.Add(1)
	return countedFile{File: in, fs: f}, nil
}

// Close implements vfs.File.
func (f countedFile) Close() error {
	f.fs.closed.Add(1)
	return f.File.Close()
}

var counted = Schema{{Name: "n", Type: Type{Kind: Long}}, {Name: "s", Type: Type{Kind: String}}}

// countedTable has a file for each of the sizes; its column n counts all rows.
func countedTable(t testing.TB, sizes ...int) (*Table, *countingFS) {
	t.Helper()
	ctx, fs := context.Background(), &countingFS{FS: vfs.OS()}
	s, err := Open(t.TempDir(), Options{FS: fs})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	table, err := s.Create(ctx, "live", "t", Definition{Schema: counted, Properties: map[string]string{"delta.autoOptimize.autoCompact": "false"}})
	require.NoError(t, err)
	n := int64(0)
	for _, size := range sizes {
		b := NewBatch(counted, size)
		for range size {
			b.Columns[0].AppendInt(n)
			b.Columns[1].AppendString("s")
			b.Len++
			n++
		}
		rows, err := FromBatches(counted, b).Scan(ctx, nil)
		require.NoError(t, err)
		_, err = table.Commit(ctx, Commit{Operation: "WRITE", Rows: rows})
		require.NoError(t, err)
	}
	return table, fs
}

// TestScansKeepTheOrderOfRows has files of several row groups, of one, and of a few rows.
func TestScansKeepTheOrderOfRows(t *testing.T) {
	sizes := []int{300_000, 5, 140_000, 1, 1, 1, 20_000}
	table, fs := countedTable(t, sizes...)
	snapshot := table.Snapshot()
	changes, err := table.Changes(context.Background(), -1, 0)
	require.NoError(t, err)
	for _, r := range []Relation{snapshot, changes} {
		got, err := ReadAll(context.Background(), r, []string{"n"})
		require.NoError(t, err)
		require.EqualValues(t, snapshot.Rows(), got.Len)
		for i, n := range got.Columns[0].Ints {
			if int64(i) != n {
				t.Fatalf("row %d is %d", i, n)
			}
		}
	}
	require.EqualValues(t, 2*len(sizes), fs.opened.Load(), "each file is opened once")
	require.Equal(t, fs.opened.Load(), fs.closed.Load())
}

func TestTheFirstErrorInTheOrderOfFilesIsReturned(t *testing.T) {
	ctx := context.Background()
	table, fs := countedTable(t, 10_000, 10, 10, 10)
	var paths []string
	for _, f := range table.Snapshot().state.Files {
		paths = append(paths, f.Path)
	}
	for _, i := range []int{1, 3} {
		require.NoError(t, os.Truncate(filepath.Join(table.Dir(), paths[i]), 50))
	}
	for range 20 {
		r, err := table.Snapshot().Scan(ctx, nil)
		require.NoError(t, err)
		rows := 0
		for {
			var b *Batch
			if b, err = r.Next(ctx); err != nil {
				break
			}
			rows += b.Len
		}
		require.Equal(t, 10_000, rows)
		require.ErrorContains(t, err, paths[1])
		_, again := r.Next(ctx)
		require.Equal(t, err, again, "it stays")
		require.NoError(t, r.Close())
	}
	require.Equal(t, fs.opened.Load(), fs.closed.Load())
}

// TestAScanThatIsLeftClosesItsFiles stops scans after some batches, by Close or by their context.
func TestAScanThatIsLeftClosesItsFiles(t *testing.T) {
	table, fs := countedTable(t, 140_000, 10, 10, 10, 10, 10_000)
	for batches := range 12 {
		ctx, cancel := context.WithCancel(context.Background())
		r, err := table.Snapshot().Scan(ctx, nil)
		require.NoError(t, err)
		for range batches {
			_, err := r.Next(ctx)
			require.NoError(t, err)
		}
		if batches%2 == 0 {
			cancel()
			for err == nil {
				_, err = r.Next(context.Background())
			}
			require.ErrorIs(t, err, context.Canceled)
		}
		require.NoError(t, r.Close())
		require.NoError(t, r.Close(), "Close may be called again")
		if _, err := r.Next(context.Background()); batches < 24 {
			require.Error(t, err)
			require.False(t, errors.Is(err, io.EOF), "a scan that was cut short does not end well")
		}
		cancel()
		require.Equal(t, fs.opened.Load(), fs.closed.Load())
	}
}
