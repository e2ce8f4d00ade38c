package integration

import (
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// put writes a file as a careful producer does: under a hidden name, then renamed into place.
func put(t *testing.T, path, content string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	tmp := filepath.Join(filepath.Dir(path), "."+filepath.Base(path))
	require.NoError(t, os.WriteFile(tmp, []byte(content), 0o644))
	require.NoError(t, os.Rename(tmp, path))
}

func TestBadFilesStandInSmeltFilesAndTheGoodOnesArrive(t *testing.T) {
	watch, outside := t.TempDir(), t.TempDir()
	put(t, filepath.Join(outside, "secret.json"), `{"a": "must not be read"}`)
	put(t, filepath.Join(watch, "good1.json"), `{"a": 1, "b": "x"}`)
	put(t, filepath.Join(watch, "notjson.json"), "GET / HTTP/1.1\r\n")
	put(t, filepath.Join(watch, "cut.json"), "{\"a\": 2, \"b\": \"y\"}\n{\"a\": 3, \"b\": \"z")
	put(t, filepath.Join(watch, "number.json"), "42")
	put(t, filepath.Join(watch, "empty.json"), "")
	put(t, filepath.Join(watch, "bytes.json"), "\xff\xfe\x00\x01")
	require.NoError(t, os.Symlink(filepath.Join(outside, "secret.json"), filepath.Join(watch, "link.json")))
	require.NoError(t, os.Symlink(filepath.Join(watch, "loop.json"), filepath.Join(watch, "loop.json")))
	put(t, filepath.Join(watch, "good2.json"), "[{\"a\": 4, \"b\": \"v\"},\n {\"a\": 5, \"b\": \"w\"}]")

	s := start(t, nil, "--data", t.TempDir(), "--watch", watch)
	s.eventually("SELECT COUNT(*) FROM bronze", 3)
	s.eventually("SELECT COUNT(*) FROM smelt.files WHERE state = 'failed'", 6)
	require.Equal(t, [][]string{{"10"}}, s.rows("SELECT SUM(a) FROM bronze"))
	for _, name := range []string{"notjson", "cut", "number", "bytes", "link", "loop"} {
		got := s.rows("SELECT state, error FROM smelt.files WHERE path LIKE '%" + name + ".json'")
		require.Len(t, got, 1, name)
		require.Equal(t, "failed", got[0][0], name)
		require.NotContains(t, []string{"", "NULL"}, got[0][1], name)
		require.NotContains(t, got[0][1], "must not be read")
	}
	require.Equal(t, [][]string{{"loaded", "0"}}, s.rows("SELECT state, `rows` FROM smelt.files WHERE path LIKE '%empty.json'"))

	put(t, filepath.Join(watch, "cut.json"), "{\"a\": 2, \"b\": \"y\"}\n{\"a\": 3, \"b\": \"z\"}\n")
	s.eventually("SELECT SUM(a) FROM bronze", 15)
	s.eventually("SELECT COUNT(*) FROM smelt.files WHERE state = 'failed'", 5)
}

func TestErrorsAreOneClearLineWithAMySQLNumber(t *testing.T) {
	s := start(t, nil, "--data", t.TempDir())
	for _, c := range []struct{ statement, number, says string }{
		{"SELECT * FROM nowhere", "1146", "nowhere"},
		{"SELECT nothing FROM (SELECT 1 AS a) t", "1054", "nothing"},
		{"SELEKT 1", "1064", "syntax"},
		{"SELECT nomodel('x')", "1305", "nomodel"},
		{"USE nobase", "1049", "nobase"},
		{"CREATE MATERIALIZED VIEW v AS SELECT a FROM nowhere", "1146", "nowhere"},
		{"CREATE MATERIALIZED VIEW v AS SELEC 1", "1064", "syntax"},
		{"CREATE STREAMING TABLE v AS SELECT a FROM STREAM(nowhere)", "1146", "nowhere"},
		{"CREATE STREAMING TABLE v (CONSTRAINT c EXPECT (a > 1) ON VIOLATION SHRUG) AS SELECT 1 AS a", "1064", "SHRUG"},
		{"REFRESH MATERIALIZED VIEW nowhere", "1146", "nowhere"},
		{"SELECT LOAD_FILE('/etc/passwd') INTO OUTFILE '/tmp/x'", "", ""},
	} {
		_, err := s.db.Exec(c.statement)
		require.Error(t, err, c.statement)
		require.Contains(t, err.Error(), "Error "+c.number, c.statement)
		require.Contains(t, err.Error(), c.says, c.statement)
		require.NotContains(t, err.Error(), "goroutine", c.statement)
		require.NotContains(t, err.Error(), "\n", c.statement)
	}
	require.Empty(t, s.rows("SHOW TABLES"), "nothing half made")
}

func TestAPipelineThatCannotRunMakesNothing(t *testing.T) {
	for name, c := range map[string]struct{ script, says string }{
		"cycle":          {"CREATE MATERIALIZED VIEW a AS SELECT * FROM b;\nCREATE MATERIALIZED VIEW b AS SELECT * FROM c;\nCREATE MATERIALIZED VIEW c AS SELECT * FROM a;", "cycle"},
		"unknown table":  {"CREATE MATERIALIZED VIEW a AS SELECT 1 AS x;\nCREATE MATERIALIZED VIEW b AS SELECT * FROM nowhere;", "nowhere"},
		"unknown column": {"CREATE MATERIALIZED VIEW a AS SELECT 1 AS x;\nCREATE MATERIALIZED VIEW b AS SELECT y FROM a;", "y"},
		"unknown model":  {"CREATE MATERIALIZED VIEW a AS SELECT 1 AS x;\nCREATE MATERIALIZED VIEW b AS SELECT nomodel(x) FROM a;", "nomodel"},
		"syntax":         {"CREATE MATERIALIZED VIEW a AS SELECT 1 AS x;\nCREATE MATERIALIZED VIEW b SELECT 1;", "line 2"},
	} {
		t.Run(name, func(t *testing.T) {
			dir, data := t.TempDir(), t.TempDir()
			put(t, filepath.Join(dir, "p.sql"), c.script)
			_, errs, code := command(t, "serve", "--data", data, "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--pipeline", dir)
			require.Equal(t, 1, code, errs)
			require.Contains(t, errs, c.says)
			require.Equal(t, 1, strings.Count(errs, "\n"), "one line: %s", errs)
			s := start(t, nil, "--data", data)
			require.Empty(t, s.rows("SHOW TABLES"), "nothing half made")
		})
	}
}

func TestAPortInUseAndALockedDataDirectoryAreOneClearLine(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	_, errs, code := command(t, "serve", "--data", t.TempDir(), "--listen", taken.Addr().String(), "--http", "127.0.0.1:0")
	require.Equal(t, 1, code)
	require.Contains(t, errs, taken.Addr().String())
	require.Contains(t, errs, "address already in use")
	require.Equal(t, 1, strings.Count(errs, "\n"), errs)

	data := t.TempDir()
	start(t, nil, "--data", data)
	_, errs, code = command(t, "serve", "--data", data, "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0")
	require.Equal(t, 1, code)
	require.Contains(t, errs, data)
	require.Contains(t, errs, "another process")
	require.Equal(t, 1, strings.Count(errs, "\n"), errs)

	_, _, code = command(t, "serve", "--no-such-flag")
	require.Equal(t, 2, code, "wrong usage")
}

func TestWithoutTheLibraryTablesAreServedAndModelCallsSayWhatToDo(t *testing.T) {
	s := start(t, []string{"SMELT_ONNXRUNTIME=" + filepath.Join(t.TempDir(), "none.so")}, "--data", t.TempDir())
	_, err := s.db.Exec("CREATE TABLE t (a TEXT)")
	require.NoError(t, err)
	_, err = s.db.Exec("INSERT INTO t VALUES ('x')")
	require.NoError(t, err)
	require.Equal(t, [][]string{{"x"}}, s.rows("SELECT a FROM t"))
	_, err = s.db.Exec("SELECT sentiment(a) FROM t")
	require.ErrorContains(t, err, "SMELT_ONNXRUNTIME")
	require.Equal(t, [][]string{{"1"}}, s.rows("SELECT COUNT(*) FROM t"), "the server goes on")
}

func TestTheStatusPageShowsFlowsAndIsHealthy(t *testing.T) {
	watch := t.TempDir()
	put(t, filepath.Join(watch, "one.json"), `{"a": 1}`)
	s := start(t, nil, "--data", t.TempDir(), "--watch", watch)
	s.eventually("SELECT COUNT(*) FROM bronze", 1)
	for path, want := range map[string]string{"": "bronze", "healthz": "ok", "metrics": `smelt_table_rows{database="live",table="bronze"} 1`, "json/streams": `"table":"bronze"`} {
		answer, err := http.Get(s.http + path)
		require.NoError(t, err)
		body := new(strings.Builder)
		_, err = copyAll(body, answer.Body)
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, answer.StatusCode, path)
		require.Contains(t, body.String(), want, path)
	}
}
