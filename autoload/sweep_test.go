package autoload

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestAStartSweepsWhatACrashLeftHalfWritten has a crash leave a temporary file of each kind.
func TestAStartSweepsWhatACrashLeftHalfWritten(t *testing.T) {
	dir, state := t.TempDir(), t.TempDir()
	put(t, filepath.Join(dir, "a.json"), `{"n": 1}`)
	require.Len(t, next(t, open(t, dir, state, 0, nil)), 1)
	ledger := filepath.Join(state, "ledger")
	for _, path := range []string{
		filepath.Join(state, ".schema.json.tmp"),
		filepath.Join(ledger, ".00000000000000000002.json.tmp"),
		filepath.Join(ledger, ".upto-00000000000000000100.json.tmp"),
	} {
		require.NoError(t, os.WriteFile(path, []byte("{"), 0o644))
	}
	l := open(t, dir, state, 1, nil)
	require.Empty(t, next(t, l), "the file was seen")
	require.Equal(t, []string{"ledger", "schema.json"}, namesIn(t, state))
	require.Equal(t, []string{"00000000000000000001.json"}, namesIn(t, ledger))
}

func namesIn(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}
