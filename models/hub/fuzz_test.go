package hub

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// answers is a hub that answers each request with one of a few prepared answers, in turn. Files are fetched side by side.
type answers struct {
	all  []http.Response
	body [][]byte

	mu sync.Mutex
	at int
}

// RoundTrip implements http.RoundTripper.
func (a *answers) RoundTrip(r *http.Request) (*http.Response, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	i := a.at % len(a.all)
	if a.at++; a.at > 200 {
		return nil, errors.New("the network is gone")
	}
	answer := a.all[i]
	answer.Header = answer.Header.Clone()
	answer.Request, answer.Body = r, io.NopCloser(bytes.NewReader(a.body[i]))
	return &answer, nil
}

// FuzzAnswers pulls from a hub that answers anything: an error of ours, or files that are what their hashes say and lie in
// the cache.
func FuzzAnswers(f *testing.F) {
	commit := strings.Repeat("a", 40)
	listing := `{"sha":"` + commit + `","siblings":[{"rfilename":"config.json","size":2},{"rfilename":"model.onnx","size":1},{"rfilename":"tokenizer.json"}]}`
	f.Add(200, listing, "ETag: \"x\"\nContent-Length: 2", 200, "{}", "ETag: \"9e26dfeeb6e641a33dae4961196235bdb965b21b\"\nX-Repo-Commit: "+commit)
	f.Add(200, listing, "", 302, "", "Location: http://elsewhere.example/x\nX-Linked-Size: -1\nX-Linked-Etag: W/\"9e26dfeeb6e641a33dae4961196235bdb965b21b\"")
	f.Add(307, "", "Location: /api/models/other/name", 206, "{}", "Content-Range: bytes 0-1/2")
	f.Add(401, "", "X-Error-Code: GatedRepo", 429, "", "Retry-After: 99999999999999999999")
	f.Add(200, `{"sha":"`+commit+`","siblings":[{"rfilename":"../../config.json"}]}`, "Content-Encoding: gzip", 416, "x", "Content-Range: bytes */9")
	f.Fuzz(func(t *testing.T, status int, body, header string, status2 int, body2, header2 string) {
		a := &answers{}
		for _, said := range []struct {
			status       int
			body, header string
		}{{status, body, header}, {status2, body2, header2}} {
			h := http.Header{}
			for line := range strings.SplitSeq(said.header, "\n") {
				if key, value, ok := strings.Cut(line, ": "); ok {
					h.Set(key, value)
				}
			}
			a.all = append(a.all, http.Response{StatusCode: 100 + (said.status&0xffff)%500, Header: h, ProtoMajor: 1, ProtoMinor: 1, ContentLength: -1})
			a.body = append(a.body, []byte(said.body))
		}
		a.all[0].StatusCode, a.all[1].StatusCode = status&1023, status2&1023
		cache := t.TempDir()
		c := New(Config{Endpoint: "http://hub.example", Token: secret, Cache: cache, Allow: []string{"*"}})
		c.http = &http.Client{Transport: a, CheckRedirect: redirected}
		c.pause = func(ctx context.Context, _ time.Duration) error { return ctx.Err() }
		s, err := c.Pull(t.Context(), model, "")
		if err != nil {
			require.NotContains(t, err.Error(), secret)
			require.Nil(t, s)
			return
		}
		for _, file := range s.Files {
			require.True(t, filepath.IsLocal(file.Name))
			_, err := s.ReadFile(file.Name, maxSmallBytes)
			require.NoError(t, err)
		}
	})
}
