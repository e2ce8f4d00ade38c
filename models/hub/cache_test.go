package hub

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTheCacheAnswersWithoutANetwork(t *testing.T) {
	h := newTester(t)
	commit := h.Push(model, "main", "cc-by-nc-4.0", export())
	online := h.pull(model, "")
	cache := h.client.cfg.Cache
	h.Requests()
	for name, change := range map[string]func(*Config){
		"HF_HUB_OFFLINE": func(c *Config) { c.Offline = true },
		"not let in":     func(c *Config) { c.Allow = []string{"other/*", "org/tin"} },
	} {
		h.client = h.open(cache, change)
		s := h.pull(model, "")
		require.Contains(t, s.Cached, name)
		require.Equal(t, online.Files, s.Files)
		require.Equal(t, "cc-by-nc-4.0", s.License)
		content(t, h.pull(model+"@"+commit, ""), export(), needed...)
		require.Contains(t, h.fails(model, "model_quantized.onnx", ErrNotFound), "onnx/model_quantized.onnx")
		require.Contains(t, h.fails("org/other", "", ErrNotFound), "the cache")
		require.Empty(t, h.Requests(), "nobody is asked")
	}
	h.client = h.open(cache, func(c *Config) { c.Allow = []string{"org/*"} })
	h.Close()
	content(t, h.pull(model, ""), export(), needed...)
	require.Contains(t, h.fails("org/other", "", ErrUnreachable), "the cache")

	// A file that was damaged is an error without a network.
	blob := filepath.Join(cache, "models--org--tiny", "blobs", online.Files[0].Hash)
	require.NoError(t, os.WriteFile(blob, graph(300_000, 9), 0o600))
	h.fails(model, "", ErrUnreachable)
	_, err := online.ReadFile("onnx/model.onnx", 1<<20)
	require.ErrorIs(t, err, ErrDamaged)
	var told []string
	files, size, err := h.client.Verify(context.Background(), func(path string, err error) {
		require.ErrorIs(t, err, ErrDamaged)
		told = append(told, path)
	})
	require.NoError(t, err)
	require.Equal(t, []string{blob}, told)
	require.Equal(t, len(needed), files)
	require.Positive(t, size)
	require.NoError(t, os.Remove(blob))
	told = nil
	_, _, err = h.client.Verify(context.Background(), func(path string, _ error) { told = append(told, path) })
	require.NoError(t, err)
	require.Equal(t, []string{filepath.Join(cache, "models--org--tiny", "snapshots", commit, "onnx", "model.onnx")}, told)
	entries, err := h.client.List()
	require.NoError(t, err)
	require.Equal(t, []Entry{{Name: model, Commit: commit, Revisions: []string{"main"}, License: "cc-by-nc-4.0", Files: len(needed) - 1, Bytes: entries[0].Bytes}}, entries)
}

func TestADamagedFileIsFetchedAnew(t *testing.T) {
	h := newTester(t)
	h.Push(model, "main", "mit", export())
	s := h.pull(model, "")
	for _, f := range s.Files {
		blob := filepath.Join(h.client.cfg.Cache, "models--org--tiny", "blobs", f.Hash)
		require.NoError(t, os.WriteFile(blob, []byte("damaged"), 0o600))
	}
	content(t, h.pull(model, ""), export(), needed...)
	require.NoError(t, os.RemoveAll(filepath.Join(s.dir, "onnx")))
	content(t, h.pull(model+"@"+s.Commit, ""), export(), needed...)
}

func TestAFullDiskLeavesNothingHalf(t *testing.T) {
	h := newTester(t)
	h.Push(model, "main", "mit", export())
	var left atomic.Int64
	for after := int64(0); after < 300_000; after += 37_000 {
		left.Store(after)
		h.client.write = func(f *os.File, p []byte) (int, error) {
			n := min(int64(len(p)), max(left.Load(), 0))
			if left.Add(-int64(len(p))) >= 0 {
				return f.Write(p)
			}
			m, err := f.Write(p[:n])
			return m, errors.Join(err, &os.PathError{Op: "write", Path: f.Name(), Err: syscall.ENOSPC})
		}
		says := h.fails(model, "", syscall.ENOSPC)
		require.Contains(t, says, "HF_HUB_CACHE")
		entries, err := h.client.List()
		require.NoError(t, err)
		for _, e := range entries {
			require.Empty(t, e.Revisions)
		}
		parts, err := filepath.Glob(filepath.Join(h.client.cfg.Cache, "models--*", "blobs", "*.incomplete"))
		require.NoError(t, err)
		require.Empty(t, parts, "others need the disk, too")
	}
	require.ErrorIs(t, room(filepath.Join(t.TempDir(), "x"), 1<<62), syscall.ENOSPC)
	h.client.write = (*os.File).Write
	content(t, h.pull(model, ""), export(), needed...)
}

func TestAPullThatIsStoppedGoesOnLater(t *testing.T) {
	h := newTester(t)
	files := export()
	h.Push(model, "main", "mit", files)
	ctx, cancel := context.WithCancelCause(context.Background())
	stopped := errors.New("KILL")
	h.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasPrefix(r.URL.Path, "/cdn/") {
			return false
		}
		w.Header().Set("Content-Length", "300000")
		_, _ = w.Write(files["onnx/model.onnx"][:1000])
		w.(http.Flusher).Flush()
		cancel(stopped)
		<-r.Context().Done()
		return true
	})
	_, err := h.client.Pull(ctx, model, "")
	require.ErrorIs(t, err, stopped)
	require.NoFileExists(t, filepath.Join(h.client.cfg.Cache, "models--org--tiny", "refs", "main"))
	h.Intercept(nil)
	content(t, h.pull(model, ""), files, needed...)
}

// TestHelperPull is no test: TestTwoProcessesFetchEachFileOnce runs it in processes of its own.
func TestHelperPull(t *testing.T) {
	endpoint, cache := os.Getenv("HUB_TEST_ENDPOINT"), os.Getenv("HUB_TEST_CACHE")
	if endpoint == "" {
		t.Skip("skipped: it is a part of TestTwoProcessesFetchEachFileOnce")
	}
	s, err := New(Config{Endpoint: endpoint, Cache: cache, Allow: []string{"*"}}).Pull(context.Background(), model, "")
	require.NoError(t, err)
	content(t, s, export(), needed...)
}

func TestTwoProcessesFetchEachFileOnce(t *testing.T) {
	h := newTester(t)
	h.Push(model, "main", "mit", export())
	// The first to ask for a file waits until the other process has come as well.
	var processes sync.WaitGroup
	both := make(chan struct{})
	var lists atomic.Int64
	h.Intercept(func(_ http.ResponseWriter, r *http.Request) bool {
		if strings.HasPrefix(r.URL.Path, "/api/") && lists.Add(1) == 2 {
			close(both)
		}
		if r.Method == http.MethodGet && !strings.HasPrefix(r.URL.Path, "/api/") {
			select {
			case <-both:
			case <-r.Context().Done():
			}
		}
		return false
	})
	outputs := make([]string, 2)
	for i := range outputs {
		processes.Go(func() {
			command := exec.Command(os.Args[0], "-test.run=^TestHelperPull$")
			command.Env = append(os.Environ(), "HUB_TEST_ENDPOINT="+h.Endpoint, "HUB_TEST_CACHE="+h.client.cfg.Cache)
			out, err := command.CombinedOutput()
			outputs[i] = fmt.Sprint(err, " ", string(out))
		})
	}
	processes.Wait()
	for _, out := range outputs {
		require.Contains(t, out, "<nil> PASS")
	}
	asked := map[string]int{}
	for _, r := range h.Requests() {
		if r.Method == http.MethodGet && r.Host == "localhost" && !strings.HasPrefix(r.Path, "/api/") {
			asked[r.Path]++
		}
	}
	require.Len(t, asked, len(needed))
	for path, n := range asked {
		require.Equal(t, 1, n, path)
	}
}
