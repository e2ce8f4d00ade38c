package engine

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/stretchr/testify/require"

	"smelt/queries"
)

// TestScriptsOfDeltaLiveTables runs whole pipelines as people write them for Databricks, over small files. Each directory
// of testdata/dlt holds pipeline.sql, the files that it reads, and want: what is in its tables when all is done.
func TestScriptsOfDeltaLiveTables(t *testing.T) {
	const scripts = "testdata/dlt"
	list, err := os.ReadDir(scripts)
	require.NoError(t, err)
	require.NotEmpty(t, list)
	for _, script := range list {
		t.Run(script.Name(), func(t *testing.T) {
			source, in := filepath.Join(scripts, script.Name()), filepath.Join(t.TempDir(), "in")
			require.NoError(t, filepath.WalkDir(source, func(path string, d fs.DirEntry, err error) error {
				if err != nil {
					return err
				}
				to := filepath.Join(in, path[len(source):])
				if d.IsDir() {
					return os.MkdirAll(to, 0o755)
				}
				content, err := os.ReadFile(path)
				putOld(t, to, string(content))
				return err
			}))
			library, err := filepath.Abs("../build/onnxruntime/libonnxruntime.so")
			require.NoError(t, err)
			if _, err := os.Stat(library); err != nil && script.Name() == "one_text" {
				t.Skip("skipped: no ONNX Runtime library, run `make onnxruntime`")
			}
			e, err := Open(t.Context(), Config{OnnxLibrary: library, DataDir: filepath.Join(t.TempDir(), "data"), Pipelines: []string{filepath.Join(in, "pipeline.sql")}})
			require.NoError(t, err)
			defer func() { require.NoError(t, e.Close(context.WithoutCancel(t.Context()))) }()
			require.NoError(t, e.Run(t.Context(), func(queries.Progress) {}))
			datadriven.RunTest(t, filepath.Join(source, "want"), func(t *testing.T, d *datadriven.TestData) string {
				result, err := e.sql.query(t.Context(), queries.Query{Database: defaultDatabase, SQL: d.Input})
				if err != nil {
					return printSQLError(err)
				}
				defer result.Close()
				text, err := printResult(t.Context(), result)
				require.NoError(t, err)
				return text
			})
		})
	}
}
