package hub

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// cut answers the first n requests for large files with half of what is left, and then closes the connection.
func (h *tester) cut(n int64) *atomic.Int64 {
	var cuts atomic.Int64
	h.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasPrefix(r.URL.Path, "/cdn/") || cuts.Load() >= n {
			return false
		}
		cuts.Add(1)
		h.ServeHalf(w, r)
		return true
	})
	return &cuts
}

func TestACutDownloadGoesOnWhereItStopped(t *testing.T) {
	h := newTester(t)
	files := export()
	delete(files, "tokenizer.json") // so that the graph is the only large file
	h.Push(model, "main", "mit", files)
	cuts := h.cut(maxTries + 3) // more than tries in a row: each gains something
	s := h.pull(model, "")
	content(t, s, files, "onnx/model.onnx", "config.json", "tokenizer_config.json", "1_Pooling/config.json", "vocab.txt")
	require.EqualValues(t, maxTries+3, cuts.Load())
	var ranges []string
	for _, r := range h.Requests() {
		if r.Host == "127.0.0.1" {
			ranges = append(ranges, r.Range)
		}
	}
	require.Equal(t, []string{"", "bytes=150000-", "bytes=225000-"}, ranges[:3])

	// What a process left that ended in the middle is used by the next one; what is wrong in it is found out.
	for name, part := range map[string][]byte{"good": files["onnx/model.onnx"][:100_000], "bad": graph(100_000, 9), "whole": files["onnx/model.onnx"], "bad whole": graph(300_000, 9), "long": graph(300_001, 9)} {
		h.client = h.open(t.TempDir())
		s.Files[0].Name = "onnx/model.onnx"
		blob := filepath.Join(h.client.cfg.Cache, "models--org--tiny", "blobs", s.Files[0].Hash)
		require.NoError(t, os.MkdirAll(filepath.Dir(blob), 0o755))
		require.NoError(t, os.WriteFile(blob+".incomplete", part, 0o600))
		h.Requests()
		content(t, h.pull(model, ""), files, "onnx/model.onnx", "config.json", "tokenizer_config.json", "1_Pooling/config.json", "vocab.txt")
		ranges = nil
		for _, r := range h.Requests() {
			if r.Host == "127.0.0.1" {
				ranges = append(ranges, r.Range)
			}
		}
		require.Equal(t, map[string][]string{"good": {"bytes=100000-"}, "bad": {"bytes=100000-", ""}, "whole": nil, "bad whole": {""}, "long": {""}}[name], ranges, name)
		require.NoFileExists(t, blob+".incomplete")
	}
}

func TestAServerThatKnowsNoRangesIsAskedForAll(t *testing.T) {
	h := newTester(t)
	files := export()
	h.Push(model, "main", "mit", files)
	cuts := h.cut(1)
	var ranges atomic.Int64
	inner := h.Interceptor()
	h.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("Range") != "" {
			r.Header.Del("Range")
			ranges.Add(1)
		}
		return inner(w, r)
	})
	content(t, h.pull(model, ""), files, needed...)
	require.EqualValues(t, 1, cuts.Load())
	require.Positive(t, ranges.Load())
}

func TestFailuresThatPassAreTriedAgain(t *testing.T) {
	h := newTester(t)
	h.Push(model, "main", "mit", export())
	var mu sync.Mutex
	failed := map[string]int{}
	h.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		if failed[r.Method+r.URL.Path]++; failed[r.Method+r.URL.Path] < maxTries/2 {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader([]int{500, 502, 503, 429}[failed[r.Method+r.URL.Path]%4])
			return true
		}
		return false
	})
	content(t, h.pull(model, ""), export(), needed...)
	require.Positive(t, h.pauses.Load())
	// Those that do not pass are errors, after so many tries.
	h.client = h.open(t.TempDir())
	h.Requests()
	h.Intercept(func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(503); return true })
	require.Contains(t, h.fails(model, "", ErrUnreachable), "status 503")
	require.Len(t, h.Requests(), maxTries)
}

func TestASilentConnectionIsGivenUp(t *testing.T) {
	h := newTester(t)
	files := export()
	h.Push(model, "main", "mit", files)
	var silent atomic.Bool
	h.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasPrefix(r.URL.Path, "/cdn/") || !silent.CompareAndSwap(false, true) {
			return false
		}
		w.Header().Set("Content-Length", "300000")
		w.WriteHeader(http.StatusOK)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		return true
	})
	h.client.stall = 200 * time.Millisecond
	content(t, h.pull(model, ""), files, needed...)
	require.True(t, silent.Load())
}

func TestContentThatIsNotWhatItsHashSaysIsRefused(t *testing.T) {
	for _, victim := range []string{"onnx/model.onnx", "config.json"} {
		h := newTester(t)
		files := export()
		h.Push(model, "main", "mit", files)
		h.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method != http.MethodGet || strings.HasPrefix(r.URL.Path, "/api/") || strings.HasPrefix(r.URL.Path, "/cdn/") != (victim != "config.json") || victim == "config.json" && !strings.HasSuffix(r.URL.Path, victim) {
				return false
			}
			changed := bytes.Clone(files[victim])
			changed[7] ^= 1
			_, _ = w.Write(changed) // who was told of the first fault hangs up
			return true
		})
		says := h.fails(model, "", ErrDamaged)
		require.Contains(t, says, "changes them")
		h.Intercept(nil)
		require.NoFileExists(t, filepath.Join(h.client.cfg.Cache, "models--org--tiny", "refs", "main"), "nothing half is found later")
		content(t, h.pull(model, ""), files, needed...)
	}
}

func TestAHashThatChangesBetweenTriesIsAnError(t *testing.T) {
	h := newTester(t)
	h.Push(model, "main", "mit", export())
	var heads atomic.Int64
	h.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/model.onnx") {
			return false
		}
		if r.Method == http.MethodGet {
			w.WriteHeader(500)
			return true
		}
		if heads.Add(1) == 1 {
			return false
		}
		w.Header().Set("X-Linked-Etag", `"`+strings.Repeat("ab", 32)+`"`)
		return true
	})
	require.Contains(t, h.fails(model, "", ErrDamaged), "abababababab")
	require.EqualValues(t, 2, heads.Load())
	h.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("X-Repo-Commit", strings.Repeat("c", 40))
		return r.Method == http.MethodHead
	})
	require.Contains(t, h.fails(model, "", ErrDamaged), "cccc")
}
