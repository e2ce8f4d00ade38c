package integration

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const deltaScript = `
import json, os, sys
from deltalake import DeltaTable
out = {}
for path in sys.argv[1:]:
    t = DeltaTable(path)
    rows = t.to_pyarrow_table().to_pylist()
    out[path] = {"version": t.version(), "rows": len(rows), "description": t.metadata().description, "names": [f.name for f in t.schema().fields], "history": len(t.history())}
print(json.dumps(out), flush=True)
os._exit(0)  # the threads of both libraries sometimes abort an orderly exit of the interpreter
`

// TestAnOutsideDeltaReaderSeesEveryTable reads the tables of the sample pipeline with the deltalake package while the
// server runs.
func TestAnOutsideDeltaReaderSeesEveryTable(t *testing.T) {
	python := needPython(t, "deltalake, pyarrow")
	env := needLibrary(t)
	data, watch := t.TempDir(), t.TempDir()
	s := start(t, env, "--data", data, "--watch", watch, "--pipeline", pipeline("sentiment"))
	_, errs, code := command(t, "replay", filepath.Join(pipeline("sentiment"), "tweets"), "--into", filepath.Join(watch, "tweets"))
	require.Zero(t, code, errs)
	s.eventually("SELECT COUNT(*) FROM bronze", 400)
	settled(s)

	tables := []string{"bronze", "silver", "gold", "app"}
	args := []string{"-c", deltaScript}
	for _, name := range tables {
		args = append(args, filepath.Join(data, "live", name))
	}
	out, err := exec.Command(python, args...).CombinedOutput()
	require.NoError(t, err, string(out))
	var seen map[string]struct {
		Version, Rows, History int64
		Description            string
		Names                  []string
	}
	require.NoError(t, json.Unmarshal(out, &seen), string(out))
	for _, name := range tables {
		got := seen[filepath.Join(data, "live", name)]
		rows, err := s.number("SELECT COUNT(*) FROM " + name)
		require.NoError(t, err)
		require.Equal(t, rows, got.Rows, name)
		require.Equal(t, got.Version+1, got.History, name)
		require.NotEmpty(t, got.Description, name)
		var columns []string
		for _, r := range s.rows("SELECT column_name FROM information_schema.columns WHERE table_schema = 'live' AND table_name = '" + name + "' ORDER BY ordinal_position") {
			columns = append(columns, r[0])
		}
		// Counters by which a view is kept up to date are ordinary columns to others, behind those of its SELECT.
		others := slices.DeleteFunc(slices.Clone(got.Names), func(column string) bool { return strings.HasPrefix(column, "__smelt_") })
		require.Equal(t, columns, others, name)
		require.Equal(t, columns, got.Names[:len(columns)], name)
	}
}

// settled waits until no flow has anything left to do.
func settled(s *server) {
	s.t.Helper()
	ok := poll(settleTimeout, func() bool {
		n, err := s.number("SELECT COUNT(*) FROM smelt.streams WHERE lag_seconds > 0 OR state <> 'idle'")
		return err == nil && n == 0
	})
	require.True(s.t, ok, "streams: %v\n%s", s.state(), s.logs)
}
