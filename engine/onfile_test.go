package engine

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const onFilePipeline = `
CREATE STREAMING TABLE bronze AS SELECT n, k, _metadata.file_path AS file FROM STREAM read_files('in');
CREATE STREAMING TABLE nameless AS SELECT n FROM STREAM read_files('in');
CREATE STREAMING TABLE silver (CONSTRAINT small EXPECT (n < 12) ON VIOLATION DROP ROW) AS SELECT n, k FROM STREAM(bronze);
CREATE STREAMING TABLE stamped AS SELECT n, NOW() AS at FROM STREAM(bronze);
CREATE MATERIALIZED VIEW app AS SELECT k, SUM(n) AS n FROM silver GROUP BY k;`

// TestFilesAreRetriedUnloadedAndReloaded goes through SQL, all tables and smelt check.
func TestFilesAreRetriedUnloadedAndReloaded(t *testing.T) {
	dir := t.TempDir()
	in := filepath.Join(dir, "in")
	require.NoError(t, os.MkdirAll(in, 0o755))
	put := func(name, content string) {
		require.NoError(t, os.WriteFile(filepath.Join(in, name), []byte(content), 0o644))
		old := time.Now().Add(-time.Minute)
		require.NoError(t, os.Chtimes(filepath.Join(in, name), old, old))
	}
	for i := range 3 {
		put(fmt.Sprintf("%d.json", i), fmt.Sprintf(`{"n": %d, "k": "a"} {"n": %d, "k": "b"}`, i, i+10))
	}
	put("bad.json", `{"n": 7, "k": `)
	pipeline := filepath.Join(dir, "p.sql")
	require.NoError(t, os.WriteFile(pipeline, []byte(onFilePipeline), 0o644))
	cfg := Config{DataDir: filepath.Join(dir, "data"), Pipelines: []string{pipeline}}
	require.NoError(t, RunBatch(context.Background(), cfg, &bytes.Buffer{}))

	cfg.Listen = "127.0.0.1:0"
	e, err := Open(context.Background(), cfg)
	require.NoError(t, err)
	defer func() { require.NoError(t, e.Close(context.Background())) }()
	db, err := sql.Open("mysql", "root@tcp("+e.Address()+")/live")
	require.NoError(t, err)
	defer db.Close()
	eventually := func(want, query string) {
		t.Helper()
		got := ""
		require.Eventually(t, func() bool { got = runStatement(t.Context(), db, query, false); return got == want }, patience, 20*time.Millisecond, query)
	}
	run := func(statement string) string { return runStatement(t.Context(), db, statement, false) }
	state := func(want string) {
		t.Helper()
		eventually(want, "SELECT GROUP_CONCAT(n ORDER BY n) AS n FROM bronze UNION ALL SELECT GROUP_CONCAT(n ORDER BY n) FROM silver"+
			" UNION ALL SELECT GROUP_CONCAT(n ORDER BY n) FROM stamped UNION ALL SELECT SUM(n) FROM app")
	}
	state("n\n0,1,2,10,11,12\n0,1,2,10,11\n0,1,2,10,11,12\n24\n")

	require.Contains(t, run("ALTER STREAMING TABLE bronze RETRY FILE 'bad.json'"), "it failed again: line 1: not JSON")
	eventually("state | tries\nfailed | 2\n", "SELECT state, tries FROM smelt.files WHERE `table` = 'bronze' AND path LIKE '%bad.json'")
	require.Contains(t, run("ALTER STREAMING TABLE bronze RETRY FILE '1.json'"), "has not failed")
	require.Contains(t, run("UNLOAD FILE 'nowhere.json' FROM bronze"), "smelt.files lists them")
	require.Contains(t, run("UNLOAD FILE '1.json' FROM nameless"), "must keep source_file")
	require.Contains(t, run("UNLOAD FILE '1.json' FROM silver"), "reads no files")
	require.Contains(t, run("UNLOAD FILE '1.json' FROM nothere"), "nothere")

	require.Equal(t, "ok", run("UNLOAD FILE '1.json' FROM bronze"))
	state("n\n0,2,10,12\n0,2,10\n0,2,10,12\n12\n")
	eventually("state | rows\nunloaded | 0\n", "SELECT state, `rows` FROM smelt.files WHERE `table` = 'bronze' AND path LIKE '%1.json'")
	eventually("op\nUNLOAD FILE\n", "SELECT operation AS op FROM smelt.history WHERE `table` = 'silver' ORDER BY version DESC LIMIT 1")
	eventually("op | why\nFULL REFRESH | 1\n", "SELECT operation AS op, parameters LIKE '%NOW()%' AS why FROM smelt.history WHERE `table` = 'stamped' AND operation = 'FULL REFRESH'")
	require.Equal(t, "ok", run("UNLOAD FILE '1.json' FROM bronze"), "once more changes nothing")

	require.Equal(t, "ok", run("REFRESH STREAMING TABLE bronze FULL"))
	state("n\n0,2,10,12\n0,2,10\n0,2,10,12\n12\n")
	require.Equal(t, "ok", run("RELOAD FILE '"+filepath.Join(in, "1.json")+"' INTO bronze"))
	state("n\n0,1,2,10,11,12\n0,1,2,10,11\n0,1,2,10,11,12\n24\n")
	put("0.json", `{"n": 5, "k": "a"}`)
	require.Equal(t, "ok", run("RELOAD FILE '0.json' FROM bronze"))
	state("n\n1,2,5,11,12\n1,2,5,11\n1,2,5,11,12\n19\n")
	require.NoError(t, os.Remove(filepath.Join(in, "2.json")))
	require.Contains(t, run("RELOAD FILE '2.json' FROM bronze"), "when it is there")
	state("n\n1,5,11\n1,5,11\n1,5,11\n17\n")

	require.NoError(t, e.Close(context.Background()))
	cfg.Listen = ""
	out, err := check(t, cfg)
	require.NoError(t, err, out)
	require.Contains(t, out, "ok    live.bronze: read the 3 rows of the 2 files in its ledger")
}
