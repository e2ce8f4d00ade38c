package integration

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	posters     = 8   // clients at once
	posts       = 200 // of all of them
	rowsPerPost = 5
)

// post sends rows and returns the status code, 0 if no answer came.
func post(url, body string) (code int, answer string) {
	r, err := http.Post(url, "application/x-ndjson", strings.NewReader(body))
	if err != nil {
		return 0, err.Error()
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		return 0, err.Error()
	}
	return r.StatusCode, string(text)
}

// storm posts the given requests from several clients at once and reports each answer. done is called for each.
func storm(s *server, from, to int, done func(n, code int)) {
	var clients sync.WaitGroup
	var next atomic.Int64
	next.Store(int64(from))
	for range posters {
		clients.Go(func() {
			for n := int(next.Add(1)) - 1; n < to; n = int(next.Add(1)) - 1 {
				var body strings.Builder
				for i := range rowsPerPost {
					fmt.Fprintf(&body, "{\"id\": %d, \"post\": %d}\n", n*rowsPerPost+i, n)
				}
				code, _ := post(s.http+"ingest/bronze", body.String())
				done(n, code)
			}
		})
	}
	clients.Wait()
}

const ingestPipeline = `CREATE STREAMING TABLE bronze AS SELECT *, source_file FROM STREAM read_files('in', format => 'json', schemaHints => 'id BIGINT, post BIGINT');`

func TestEveryRowThatIsPostedIsInBronzeOnce(t *testing.T) {
	watch, sql := t.TempDir(), filepath.Join(t.TempDir(), "p.sql")
	put(t, sql, ingestPipeline)
	s := start(t, nil, "--data", t.TempDir(), "--watch", watch, "--pipeline", sql)
	ready(s)
	var accepted atomic.Int64
	storm(s, 0, posts, func(_, code int) {
		if code == http.StatusAccepted {
			accepted.Add(1)
		}
	})
	require.EqualValues(t, posts, accepted.Load())
	s.eventually("SELECT COUNT(*) FROM bronze", posts*rowsPerPost)
	n := posts * rowsPerPost
	require.Equal(t, [][]string{{"0", fmt.Sprint(n - 1), fmt.Sprint(n), fmt.Sprint(posts)}},
		s.rows("SELECT MIN(id), MAX(id), COUNT(DISTINCT id), COUNT(DISTINCT source_file) FROM bronze"))

	code, answer := post(s.http+"ingest/live/bronze", "{\"id\": 1}\n{\"id\": \n")
	require.Equal(t, http.StatusBadRequest, code)
	require.Contains(t, answer, "line 3: not JSON")
	code, answer = post(s.http+"ingest/nothing", "{}")
	require.Equal(t, http.StatusNotFound, code)
	require.JSONEq(t, `{"error": "there is no table live.nothing"}`, answer)
	hidden, err := filepath.Glob(filepath.Join(watch, "in", ".*"))
	require.NoError(t, err)
	require.Empty(t, hidden)
	s.stop()
}

// ready waits until the server takes rows, which begins with the first look of the flow into its directory.
func ready(s *server) {
	s.t.Helper()
	var code int
	var answer string
	// No row: refused by what it says, not by where it goes.
	require.True(s.t, poll(startTimeout, func() bool {
		code, answer = post(s.http+"ingest/bronze", "")
		return code == http.StatusBadRequest
	}), "%d %s", code, answer)
}

// TestAcknowledgedRowsSurviveKill kills the server while clients post, starts it again, and again. Each row that was
// acknowledged is in bronze once; of those that were not, each request is there whole or not at all.
func TestAcknowledgedRowsSurviveKill(t *testing.T) {
	watch, data, sql := t.TempDir(), t.TempDir(), filepath.Join(t.TempDir(), "p.sql")
	put(t, sql, ingestPipeline)
	args := []string{"--data", data, "--watch", watch, "--pipeline", sql}
	var mu sync.Mutex
	acknowledged := map[int]bool{}
	const kills = 3
	for round := range kills {
		s := start(t, nil, args...)
		ready(s)
		from := round * posts
		var once sync.Once
		storm(s, from, from+posts, func(n, code int) {
			mu.Lock()
			defer mu.Unlock()
			if code == http.StatusAccepted {
				acknowledged[n] = true
			}
			if len(acknowledged) >= (round+1)*posts/4 {
				once.Do(func() { _ = s.cmd.Process.Kill() })
			}
		})
		killed(t, s.cmd, "the server outlived its clients")
	}
	s := start(t, nil, args...)
	ready(s)
	require.Greater(t, len(acknowledged), kills*posts/8)
	require.Less(t, len(acknowledged), kills*posts, "it was to die in the middle")
	t.Logf("%d of %d requests were acknowledged", len(acknowledged), kills*posts)
	files, err := filepath.Glob(filepath.Join(watch, "in", "ingest-*"))
	require.NoError(t, err)
	s.eventually("SELECT COUNT(*) FROM bronze", int64(len(files)*rowsPerPost))
	found := map[int]bool{}
	for _, r := range s.rows("SELECT post, COUNT(*), COUNT(DISTINCT id) FROM bronze GROUP BY post") {
		var n int
		require.NoError(t, json.Unmarshal([]byte(r[0]), &n))
		found[n] = true
		require.Equal(t, []string{fmt.Sprint(rowsPerPost), fmt.Sprint(rowsPerPost)}, r[1:], "request %d is there whole and once", n)
	}
	for n := range acknowledged {
		require.True(t, found[n], "request %d was acknowledged", n)
	}
	s.stop()
}
