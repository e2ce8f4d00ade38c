package autoload

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"smelt/tables/vfs"
)

func TestAFailedFileIsTriedAgainWhenAsked(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.json")
	put(t, path, `{"x": `)
	l := open(t, dir, filepath.Join(t.TempDir(), "state"), 0, nil)
	require.Empty(t, next(t, l))
	require.Nil(t, next(t, l))
	f, ok := l.Lookup("a.json")
	require.True(t, ok)
	require.Equal(t, path, f.Path)
	require.NoError(t, l.Retry(f.Path))
	require.Nil(t, next(t, l), "no news for the table")
	f, _ = l.Lookup(path)
	require.Equal(t, Failed, f.State)
	require.EqualValues(t, 2, f.Tries)
	require.True(t, f.Content)
	require.ErrorContains(t, l.Retry("/nowhere"), "has not failed")
}

func TestAnUnloadedFileStaysOutUntilItIsReloaded(t *testing.T) {
	dir, state := t.TempDir(), filepath.Join(t.TempDir(), "state")
	path := filepath.Join(dir, "a.json")
	put(t, path, `{"x": 1}`)
	m := map[string]string{"allowOverwrites": "true"}
	l := open(t, dir, state, 0, m)
	require.Equal(t, []string{"x=1"}, next(t, l, "x"))
	retract := func(l *Loader, again, commit bool) {
		b, err := l.Retract(path, again)
		require.NoError(t, err)
		require.Zero(t, b.Rows())
		require.NoError(t, b.Record(context.Background()))
		if commit {
			b.Committed()
		}
	}
	retract(l, false, false)
	l = open(t, dir, state, 1, m)
	f, _ := l.Lookup(path)
	require.Equal(t, Loaded, f.State, "it was never committed")
	retract(l, false, true)
	require.Nil(t, next(t, l))
	put(t, path, `{"x": 22}`)
	l = open(t, dir, state, 2, m)
	require.Nil(t, next(t, l), "whatever becomes of the file")

	// A table that is filled anew begins another ledger.
	fresh := filepath.Join(t.TempDir(), "fresh")
	require.NoError(t, Carry(vfs.OS(), state, fresh, 2))
	put(t, filepath.Join(dir, "b.json"), `{"x": 3}`)
	anew := open(t, dir, fresh, 0, m)
	require.Equal(t, []string{"x=3"}, next(t, anew, "x"))
	third := filepath.Join(t.TempDir(), "third")
	require.NoError(t, Carry(vfs.OS(), fresh, third, 1))
	require.Equal(t, []string{"x=3"}, next(t, open(t, dir, third, 0, m), "x"))

	retract(anew, true, true)
	anew = open(t, dir, fresh, 2, m)
	require.Equal(t, []string{"x=22"}, next(t, anew, "x"))
	require.NoError(t, Carry(vfs.OS(), fresh, third, 3))
	_, err := anew.Retract("/nowhere", false)
	require.ErrorContains(t, err, "/nowhere")
}
