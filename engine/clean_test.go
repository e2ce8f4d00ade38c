package engine

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestCleanSourceWaitsForEveryFlowOfTheDirectory has two flows read one directory by two names, of which one cannot run.
func TestCleanSourceWaitsForEveryFlowOfTheDirectory(t *testing.T) {
	dir := t.TempDir()
	in, loaded := filepath.Join(dir, "in"), filepath.Join(dir, "loaded")
	require.NoError(t, os.MkdirAll(in, 0o755))
	require.NoError(t, os.Symlink(in, filepath.Join(dir, "alias")))
	require.NoError(t, os.WriteFile(filepath.Join(in, "a.json"), []byte(`{"n": 1}`), 0o644))
	run := func(pipeline string) error {
		path := filepath.Join(dir, "p.sql")
		require.NoError(t, os.WriteFile(path, []byte(pipeline), 0o644))
		return RunBatch(context.Background(), Config{DataDir: filepath.Join(dir, "data"), Pipelines: []string{path}}, &bytes.Buffer{})
	}
	const fast = `CREATE STREAMING TABLE fast AS SELECT n, _metadata.file_name FROM STREAM read_files('in',
		cloudFiles.cleanSource => 'MOVE', cloudFiles.cleanSource.moveDestination => 'loaded', cleanSource.retentionDuration => '0 seconds');`
	const slow = "CREATE OR REFRESH STREAMING TABLE slow (CONSTRAINT c EXPECT (n > %) ON VIOLATION FAIL UPDATE) AS SELECT n FROM STREAM read_files('alias');"
	require.Error(t, run(fast+string(bytes.ReplaceAll([]byte(slow), []byte("%"), []byte("1")))), "slow fails on the row")
	require.FileExists(t, filepath.Join(in, "a.json"))
	require.NoError(t, run(fast+string(bytes.ReplaceAll([]byte(slow), []byte("%"), []byte("0")))))
	require.NoFileExists(t, filepath.Join(in, "a.json"))
	require.FileExists(t, filepath.Join(loaded, "a.json"))
	out, err := check(t, Config{DataDir: filepath.Join(dir, "data"), Pipelines: []string{filepath.Join(dir, "p.sql")}})
	require.NoError(t, err, out)
	for place, why := range map[string]string{"in/sub": "inside the watched directory", "/elsewhere": "under none of"} {
		require.ErrorContains(t, run("CREATE STREAMING TABLE t AS SELECT * FROM STREAM read_files('in', cleanSource => 'MOVE', cleanSource.moveDestination => '"+place+"')"), why)
	}
}
