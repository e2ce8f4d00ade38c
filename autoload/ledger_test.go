package autoload

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestTheLedgerAt100000Files has a directory and a ledger of so many: none of them comes again, before the entries are
// compacted and after, and a new one among them does.
func TestTheLedgerAt100000Files(t *testing.T) {
	const files, batches, links = 100_000, compactEvery, 1000 // a file has no more than 65,000 names
	dir, state := t.TempDir(), filepath.Join(t.TempDir(), "state")
	path := func(i int) string { return filepath.Join(dir, fmt.Sprintf("%06d.json", i)) }
	put(t, path(0), `{"x": 1}`)
	info, err := os.Stat(path(0))
	require.NoError(t, err)
	l := open(t, dir, state, 0, nil)
	for b := range batches {
		e := entry{Batch: int64(b + 1)}
		for i := b * files / batches; i < (b+1)*files/batches; i++ {
			if i%links > 0 {
				require.NoError(t, os.Link(path(i-i%links), path(i)))
			} else {
				put(t, path(i), `{"x": 1}`)
				require.NoError(t, os.Chtimes(path(i), info.ModTime(), info.ModTime()))
			}
			e.Files = append(e.Files, File{Path: path(i), Size: info.Size(), Modified: info.ModTime(), Batch: e.Batch, State: Loaded, Rows: 1})
		}
		require.NoError(t, l.ledger.write(e))
	}
	require.NoError(t, l.Close())

	l = open(t, dir, state, batches, nil)
	require.Len(t, l.Files(), files)
	require.Nil(t, next(t, l, "x"))
	require.NoError(t, l.ledger.compact(batches, l.Files()))
	entries, err := os.ReadDir(l.ledger.dir)
	require.NoError(t, err)
	require.Len(t, entries, 1)
	require.NoError(t, l.Close())

	l = open(t, dir, state, batches, nil)
	require.Len(t, l.Files(), files)
	require.Nil(t, next(t, l, "x"))
	put(t, path(files), `{"x": 2}`)
	require.Equal(t, []string{"x=2"}, next(t, l, "x"))
	require.Len(t, l.Files(), files+1)
}
