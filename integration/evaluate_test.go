package integration

import (
	"bytes"
	"fmt"
	"image/png"
	"io"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"smelt/tables/vfs/killfs"
)

// get asks the page and returns code, media type and body.
func (s *server) get(path string) (code int, mediaType string, body []byte) {
	s.t.Helper()
	r, err := http.Get(s.http + path)
	require.NoError(s.t, err)
	defer r.Body.Close()
	body, err = io.ReadAll(r.Body)
	require.NoError(s.t, err)
	return r.StatusCode, r.Header.Get("Content-Type"), body
}

// TestAModelIsJudgedAndPromotedOnlyIfItIsGood does what a data scientist does: two versions are judged by the same rows, the
// worse one is not let in, and all of it is there after kill -9.
func TestAModelIsJudgedAndPromotedOnlyIfItIsGood(t *testing.T) {
	env, data, dir := needLibrary(t), t.TempDir(), otherSentiment(t)
	s := start(t, env, "--data", data, "--allow-path", dir)
	s.rows("CREATE TABLE gold (text VARCHAR(100), label VARCHAR(20))")
	s.rows("INSERT INTO gold VALUES ('I love this, thank you', 'positive'), ('worst flight ever, so angry', 'negative'), ('great crew, awesome', 'positive'), ('terrible, I hate it', 'negative')")
	s.rows("ALTER MODEL sentiment ADD VERSION OPTIONS (source = '" + dir + "')")
	s.rows("ALTER MODEL sentiment SET ALIAS production = 2")
	gate := func(version int) string {
		return fmt.Sprintf("ALTER MODEL sentiment SET ALIAS production = %d IF ((SELECT f1 FROM evaluation('sentiment', %d, 'gold')) >= 0.8)", version, version)
	}
	s.fails(gate(1), 3819, "is not met") // it was never judged
	s.rows("EVALUATE MODEL sentiment VERSION 1 ON gold LABEL label AS RUN 'first'")
	s.rows("EVALUATE MODEL sentiment ALIAS production ON gold LABEL label AS RUN 'second'")
	require.Equal(t, [][]string{{"1", "1", "4"}}, s.rows("SELECT version, f1, `rows` FROM evaluation('sentiment', 1)"))
	require.Equal(t, [][]string{{"2", "0"}}, s.rows("SELECT version, f1 FROM evaluation('sentiment', 'production')"))
	s.rows(gate(1))
	s.fails(gate(2), 3819, "is not met")
	require.Equal(t, [][]string{{"positive"}}, s.rows("SELECT sentiment('I love this, thank you')"))

	queries := []string{"SELECT * FROM smelt.runs ORDER BY run_id", "SELECT * FROM smelt.metrics ORDER BY run_id, `key`", "SELECT * FROM smelt.params ORDER BY run_id, `key`",
		"SELECT run_id, path, media_type, bytes, HEX(content) FROM smelt.artifacts ORDER BY run_id, path", "SELECT * FROM confusion_matrix('second') ORDER BY truth, predicted"}
	var before [][][]string
	for _, q := range queries {
		before = append(before, s.rows(q))
	}
	id := s.rows("SELECT run_id FROM smelt.runs WHERE run_name = 'first'")[0][0]
	s.kill()
	s = start(t, env, "--data", data)
	for i, q := range queries {
		require.Equal(t, before[i], s.rows(q), "after kill -9: %s", q)
	}
	code, mediaType, picture := s.get("runs/" + id + "/confusion_matrix.png")
	require.Equal(t, http.StatusOK, code)
	require.Equal(t, "image/png", mediaType)
	size, err := png.DecodeConfig(bytes.NewReader(picture))
	require.NoError(t, err)
	require.Greater(t, size.Width, 300)
	code, _, page := s.get("runs/" + id)
	require.Equal(t, http.StatusOK, code)
	for _, shown := range []string{"sentiment, version 1 · first", "/runs/" + id + "/confusion_matrix.png", "macro_f1", "data_version", "EVALUATE MODEL sentiment VERSION 1 ON gold"} {
		require.Contains(t, string(page), shown)
	}
	_, _, page = s.get("")
	require.Contains(t, string(page), `<a href="/runs/`+id+`">`)
	for _, missing := range []string{"runs/x", "runs/' OR 1=1 --", "runs/" + id + "/none.png", "runs/00000000-0000-4000-8000-000000000000"} {
		code, _, _ = s.get(missing)
		require.Equal(t, http.StatusNotFound, code, missing)
	}
	s.stop()
}

// TestACrashLeavesNoHalfRun kills the server behind each of the commits that keep a run: four tables are made and written.
func TestACrashLeavesNoHalfRun(t *testing.T) {
	env := needLibrary(t)
	const evaluate = "EVALUATE MODEL sentiment ON (SELECT 'I love this, thank you' AS text, 'positive' AS label) LABEL label"
	count := func(s *server) []string {
		return s.rows("SELECT (SELECT COUNT(*) FROM smelt.runs), (SELECT COUNT(*) FROM smelt.metrics), (SELECT COUNT(*) FROM smelt.params), (SELECT COUNT(*) FROM smelt.artifacts)")[0]
	}
	for commit := 1; commit <= 8; commit++ {
		at := fmt.Sprintf("commit-linked:%d", commit)
		t.Run(at, func(t *testing.T) {
			data := t.TempDir()
			s := start(t, append([]string{killfs.Variable + "=" + at}, env...), "--data", data, "--ledger-mb", "0") // whose commits would be counted
			_, err := queryRows(s.db, evaluate)
			require.Error(t, err, "the server is gone")
			dies(t, s.cmd, at)
			s = start(t, env, "--data", data)
			left := count(s)
			if commit < 8 {
				require.Equal(t, []string{"0", "0", "0", "0"}, left)
			} else {
				require.Equal(t, "1", left[0])
			}
			s.rows(evaluate)
			after := count(s)
			require.Equal(t, s.rows(fmt.Sprintf("SELECT %d, %d * 22, %d * 10, %d * 2", 1+commit/8, 1+commit/8, 1+commit/8, 1+commit/8))[0], after)
			s.stop()
		})
	}
}
