package status

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"smelt/tables"
)

// testServer answers without a listener; what is ingested is read and counted as one row a line.
func testServer(t *testing.T, change func(*Server)) http.Handler {
	t.Helper()
	s := newServer(Config{
		Logger: slog.New(slog.DiscardHandler),
		Query:  func(context.Context, string) (*tables.Batch, error) { return tables.NewBatch(nil, 0), nil },
		Ingest: func(_ context.Context, database, table string, body io.Reader) (Stored, error) {
			if table == "none" {
				return Stored{}, refuse(http.StatusNotFound, "there is no table %s.%s", database, table)
			}
			if table == "full" {
				return Stored{}, errors.New("no space left on device")
			}
			text, err := io.ReadAll(body)
			if err != nil {
				return Stored{}, err
			}
			return Stored{File: database + "." + table, Bytes: int64(len(text)), Rows: int64(bytes.Count(text, []byte("\n")))}, nil
		},
	})
	s.loopback = true
	if change != nil {
		change(s)
	}
	h, err := s.handler()
	require.NoError(t, err)
	return h
}

func ask(h http.Handler, method, path, body string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "http://127.0.0.1:8080"+path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/x-ndjson")
	for i := 0; i < len(header); i += 2 {
		if r.Header.Set(header[i], header[i+1]); header[i] == "Host" {
			r.Host = header[i+1]
		}
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func packed(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := w.Write([]byte(text))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return b.String()
}

func TestWhatIngestAnswers(t *testing.T) {
	const row = "{\"a\": 1}\n"
	huge := strings.Repeat(" ", maxIngestBytes+1)
	for _, c := range []struct {
		name, method, path, body string
		header                   []string
		code                     int
		want                     string
	}{
		{"lines", "POST", "/ingest/t", row + row, nil, 202, `{"file":"live.t","bytes":18,"rows":2}`},
		{"another database", "POST", "/ingest/db/t", row, nil, 202, "db.t"},
		{"odd name", "POST", "/ingest/a%2Fb%20c", row, nil, 202, "live.a/b c"},
		{"JSON with charset", "POST", "/ingest/t", row, []string{"Content-Type", "application/json; charset=UTF-8"}, 202, "live.t"},
		{"other charset", "POST", "/ingest/t", row, []string{"Content-Type", "application/json; charset=latin1"}, 415, "JSON is UTF-8"},
		{"what curl -d sends", "POST", "/ingest/t", row, []string{"Content-Type", "application/x-www-form-urlencoded"}, 415, "send application/x-ndjson"},
		{"plain text", "POST", "/ingest/t", row, []string{"Content-Type", "text/plain"}, 415, "send application/x-ndjson"},
		{"no type", "POST", "/ingest/t", row, []string{"Content-Type", ""}, 415, "send application/x-ndjson"},
		{"gzip", "POST", "/ingest/t", packed(t, row), []string{"Content-Encoding", "gzip"}, 202, `"rows":1`},
		{"not gzip", "POST", "/ingest/t", row + row, []string{"Content-Encoding", "gzip"}, 400, "gzip: invalid header"},
		{"half of gzip", "POST", "/ingest/t", packed(t, row)[:20], []string{"Content-Encoding", "gzip"}, 400, "unexpected EOF"},
		{"nothing as gzip", "POST", "/ingest/t", "", []string{"Content-Encoding", "gzip"}, 400, "EOF"},
		{"unknown encoding", "POST", "/ingest/t", row, []string{"Content-Encoding", "br"}, 415, "only gzip"},
		{"too large", "POST", "/ingest/t", huge, nil, 413, "more than 16777216 bytes"},
		{"small and unpacks to too much", "POST", "/ingest/t", packed(t, huge), []string{"Content-Encoding", "gzip"}, 413, "more than 16777216 bytes"},
		{"unknown table", "POST", "/ingest/none", row, nil, 404, "there is no table live.none"},
		{"no table", "POST", "/ingest/", row, nil, 404, "no table named"},
		{"no slash", "POST", "/ingest", row, nil, 404, "no table named"},
		{"deeper path", "POST", "/ingest/a/b/c", row, nil, 404, "no table named"},
		{"fault of the server", "POST", "/ingest/full", row, nil, 500, "no space left on device"},
		{"GET", "GET", "/ingest/t", "", nil, 405, "GET is not answered here"},
		{"a browser asking first", "OPTIONS", "/ingest/t", "", []string{"Origin", "https://evil.example"}, 405, "OPTIONS"},
		{"page of another site", "POST", "/ingest/t", row, []string{"Origin", "https://evil.example"}, 403, "another site"},
		{"page without an origin", "POST", "/ingest/t", row, []string{"Origin", "null"}, 403, "another site"},
		{"browser says so", "POST", "/ingest/t", row, []string{"Sec-Fetch-Site", "cross-site"}, 403, "another site"},
		{"other port of this machine", "POST", "/ingest/t", row, []string{"Origin", "http://127.0.0.1:9999"}, 403, "another site"},
		{"our own page", "POST", "/ingest/t", row, []string{"Origin", "http://127.0.0.1:8080", "Sec-Fetch-Site", "same-origin"}, 202, "live.t"},
		{"a name made to lead here", "POST", "/ingest/t", row, []string{"Host", "evil.example:8080", "Origin", "http://evil.example:8080"}, 403, "only localhost"},
		{"localhost", "POST", "/ingest/t", row, []string{"Host", "localhost:8080"}, 202, "live.t"},
		{"IPv6", "POST", "/ingest/t", row, []string{"Host", "[::1]:8080"}, 202, "live.t"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := ask(testServer(t, nil), c.method, c.path, c.body, c.header...)
			require.Equal(t, c.code, w.Code, w.Body.String())
			require.Contains(t, w.Body.String(), c.want)
			require.Equal(t, "application/json", w.Header().Get("Content-Type"))
			var answer map[string]any
			require.NoError(t, json.Unmarshal(w.Body.Bytes(), &answer))
			require.Equal(t, c.code != 202, answer["error"] != nil)
			require.Empty(t, w.Header().Get("Access-Control-Allow-Origin"))
		})
	}
}

func TestTheTokenIsAskedFor(t *testing.T) {
	bearer := func(token string) []string { return []string{"Authorization", "Bearer " + token} }
	for _, c := range []struct {
		name     string
		loopback bool
		token    string
		path     string
		header   []string
		code     int
		want     string
	}{
		{"loopback needs none", true, "", "/ingest/t", nil, 202, ""},
		{"but one that is set counts", true, "s3cret", "/ingest/t", nil, 401, "Authorization: Bearer"},
		{"right", true, "s3cret", "/ingest/t", bearer("s3cret"), 202, ""},
		{"off loopback without a token", false, "", "/ingest/t", nil, 403, "start it with SMELT_INGEST_TOKEN set"},
		{"an empty token is none", false, "", "/ingest/t", bearer(""), 403, "start it with"},
		{"off loopback, not sent", false, "s3cret", "/ingest/t", nil, 401, "Authorization: Bearer"},
		{"off loopback, wrong", false, "s3cret", "/ingest/t", bearer("S3cret"), 403, "not that of"},
		{"off loopback, longer", false, "s3cret", "/ingest/t", bearer("s3crets"), 403, "not that of"},
		{"off loopback, right, any name", false, "s3cret", "/ingest/t", append(bearer("s3cret"), "Host", "smelt.example"), 202, ""},
		{"off loopback, right, from another site", false, "s3cret", "/ingest/t", append(bearer("s3cret"), "Origin", "https://evil.example"), 403, "another site"},
		{"a password is no bearer", false, "s3cret", "/ingest/t", []string{"Authorization", "Basic OnMzY3JldA=="}, 401, "Authorization: Bearer"},
		{"pages off loopback are closed", false, "", "/json/streams", nil, 403, "start it with"},
		{"and ask for the token", false, "s3cret", "/json/streams", nil, 401, "Authorization: Bearer"},
		{"as a bearer", false, "s3cret", "/json/streams", bearer("s3cret"), 200, ""},
		{"or in a browser's dialog", false, "s3cret", "/json/streams", []string{"Authorization", "Basic OnMzY3JldA=="}, 200, ""},
		{"a wrong one", false, "s3cret", "/metrics", bearer("x"), 403, "not that of"},
		{"pages on loopback are open", true, "s3cret", "/json/streams", nil, 200, ""},
		{"whoever watches the process needs none", false, "s3cret", "/healthz", nil, 200, "ok"},
	} {
		t.Run(c.name, func(t *testing.T) {
			method := "POST"
			if !strings.HasPrefix(c.path, "/ingest/") {
				method = "GET"
			}
			h := testServer(t, func(s *Server) { s.loopback, s.cfg.Token = c.loopback, c.token })
			w := ask(h, method, c.path, "{}\n", c.header...)
			require.Equal(t, c.code, w.Code, w.Body.String())
			require.Contains(t, w.Body.String(), c.want)
			require.Equal(t, c.code == 401, w.Header().Get("WWW-Authenticate") != "")
		})
	}
}

func TestTooManyRequestsAtOnceAreAskedToWait(t *testing.T) {
	h := testServer(t, func(s *Server) {
		for range maxIngests - 1 {
			s.ingests <- struct{}{}
		}
		take := s.cfg.Ingest
		s.cfg.Ingest = func(ctx context.Context, database, table string, body io.Reader) (Stored, error) {
			if table == "first" {
				other, err := s.handler()
				require.NoError(t, err)
				w := ask(other, "POST", "/ingest/second", "{}\n")
				require.Equal(t, http.StatusServiceUnavailable, w.Code)
				require.Equal(t, "1", w.Header().Get("Retry-After"))
				require.Contains(t, w.Body.String(), "16 requests")
			}
			return take(ctx, database, table, body)
		}
	})
	require.Equal(t, http.StatusAccepted, ask(h, "POST", "/ingest/first", "{}\n").Code)
	require.Equal(t, http.StatusAccepted, ask(h, "POST", "/ingest/third", "{}\n").Code, "the place is free again")
}

// TestABodyThatDoesNotComeEndsTheRequest goes over a real connection, whose reads fail as they do after the deadline.
func TestABodyThatDoesNotComeEndsTheRequest(t *testing.T) {
	h := testServer(t, nil)
	late := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(hasty{w}, r)
	})
	server := httptest.NewServer(late)
	defer server.Close()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	_, err = io.WriteString(conn, "POST /ingest/t HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
	require.NoError(t, err)
	answer, err := io.ReadAll(conn)
	require.NoError(t, err)
	require.Contains(t, string(answer), "408 Request Timeout")
	require.Contains(t, string(answer), "the body did not arrive within 1m0s")
}

// hasty turns every deadline into one that has passed.
type hasty struct{ http.ResponseWriter }

// SetReadDeadline is what http.ResponseController calls.
func (h hasty) SetReadDeadline(time.Time) error {
	return http.NewResponseController(h.ResponseWriter).SetReadDeadline(time.Unix(1, 0))
}

func TestAServerKnowsWhetherItIsOnLoopback(t *testing.T) {
	for address, want := range map[string]bool{"127.0.0.1:0": true, ":0": false} {
		s, err := New(t.Context(), Config{Address: address, Logger: slog.New(slog.DiscardHandler)})
		require.NoError(t, err)
		require.Equal(t, want, s.loopback, address)
		require.NoError(t, s.Close(t.Context()))
	}
}
