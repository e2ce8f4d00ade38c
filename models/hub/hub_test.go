package hub

import (
	"bytes"
	"context"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"smelt/models/hub/hubtest"
)

const (
	secret = "hf_confidentialTokenOfTheTest"
	model  = "org/tiny"
)

// graph is content without a pattern, so that a wrong part cannot look right.
func graph(bytes int, seed uint64) []byte {
	r := rand.NewChaCha8([32]byte{byte(seed)})
	out := make([]byte, bytes)
	_, _ = r.Read(out)
	return out
}

// export is what a repository holds: more than a model needs.
func export() map[string][]byte {
	return map[string][]byte{
		"config.json": []byte(`{"model_type":"bert"}`), "tokenizer.json": []byte(`{"model":` + strings.Repeat(" ", 3000) + `{}}`), "tokenizer_config.json": []byte("{}"),
		"1_Pooling/config.json": []byte(`{"pooling_mode_mean_tokens":true}`), "onnx/model.onnx": graph(300_000, 1), "onnx/model_quantized.onnx": graph(100_000, 2),
		"README.md": []byte("---\nlicense: mit\n---\n"), "vocab.txt": []byte("[PAD]\n"), "pytorch_model.bin": graph(50_000, 3), ".gitattributes": []byte("*.onnx filter=lfs"),
	}
}

// tester is a hub and a client of it whose pauses take no time.
type tester struct {
	*hubtest.Hub
	t      *testing.T
	client *Client
	pauses atomic.Int64
}

func newTester(t *testing.T, change ...func(*Config)) *tester {
	t.Helper()
	h := &tester{Hub: hubtest.New(t), t: t}
	h.client = h.open(t.TempDir(), change...)
	return h
}

func (h *tester) open(cache string, change ...func(*Config)) *Client {
	c := Config{Endpoint: h.Endpoint + "/", Cache: cache, Allow: []string{"*"}}
	for _, f := range change {
		f(&c)
	}
	client := New(c)
	client.pause = func(ctx context.Context, _ time.Duration) error { h.pauses.Add(1); return ctx.Err() }
	return client
}

func (h *tester) pull(name, variant string) *Snapshot {
	h.t.Helper()
	s, err := h.client.Pull(context.Background(), name, variant)
	require.NoError(h.t, err)
	return s
}

// fails pulls and returns the text of the error, which never holds the token.
func (h *tester) fails(name, variant string, kind error) string {
	h.t.Helper()
	s, err := h.client.Pull(context.Background(), name, variant)
	require.ErrorIs(h.t, err, kind)
	require.Nil(h.t, s)
	require.NotContains(h.t, err.Error(), secret)
	require.NotContains(h.t, err.Error(), "confidential")
	return err.Error()
}

// content checks that a snapshot holds what was pushed, and only what a model needs.
func content(t *testing.T, s *Snapshot, pushed map[string][]byte, names ...string) {
	t.Helper()
	var got []string
	for _, f := range s.Files {
		got = append(got, f.Name)
		data, err := s.ReadFile(f.Name, 1<<20)
		require.NoError(t, err)
		require.True(t, bytes.Equal(pushed[f.Name], data), f.Name)
	}
	require.Equal(t, names, got)
	_, err := s.ReadFile("README.md", 1<<20)
	require.ErrorIs(t, err, fs.ErrNotExist)
}

var needed = []string{"onnx/model.onnx", "config.json", "tokenizer.json", "tokenizer_config.json", "1_Pooling/config.json"}

func TestAPullBringsWhatIsNeededPinnedAndProven(t *testing.T) {
	var log bytes.Buffer
	h := newTester(t, func(c *Config) { c.Token, c.Logger = secret, slog.New(slog.NewTextHandler(&log, nil)) })
	commit := h.Push(model, "main", "mit", export())
	s := h.pull(model, "")
	require.Equal(t, Snapshot{Name: model, Revision: "main", Commit: commit, License: "mit", Files: s.Files, dir: s.dir}, *s)
	content(t, s, export(), needed...)
	redirected := 0
	for _, r := range h.Requests() {
		if r.Host == "127.0.0.1" {
			redirected++
			require.Equal(t, "GET", r.Method)
			require.Empty(t, r.Authorization, "the token stays at its host: %s", r.Path)
			continue
		}
		require.Equal(t, "Bearer "+secret, r.Authorization, r.Path)
		if strings.Contains(r.Path, "/resolve/") {
			require.Contains(t, r.Path, "/resolve/"+commit+"/", "files are asked for by the commit")
		}
	}
	require.Equal(t, 2, redirected, "the graph and the large tokenizer.json")
	require.NotContains(t, log.String(), secret)
	require.NoError(t, filepath.WalkDir(h.client.cfg.Cache, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		require.NotContains(t, string(data), secret, path)
		return err
	}))

	// Another variant of the same commit brings its graph only.
	s = h.pull(model, "model_quantized.onnx")
	content(t, s, export(), append([]string{"onnx/model_quantized.onnx"}, needed[1:]...)...)
	files := 0
	for _, r := range h.Requests() {
		if r.Method == "GET" && r.Host == "127.0.0.1" {
			files++
		}
	}
	require.Equal(t, 1, files)
	// A commit that is there is not asked for at all.
	s = h.pull(model+"@"+commit, "onnx/model.onnx")
	content(t, s, export(), needed...)
	require.Empty(t, h.Requests())
	require.Contains(t, h.fails(model, "model_O4.onnx", ErrNotFound), "onnx/model.onnx, onnx/model_quantized.onnx")
	require.Contains(t, h.fails(model, "../../etc/x.onnx", ErrNotFound), "variant")
}

func TestTheTokenDoesNotFollowToASubdomain(t *testing.T) {
	h := newTester(t, func(c *Config) { c.Token = secret })
	h.Push(model, "main", "mit", export())
	request := func(url, method string) *http.Request {
		r, err := http.NewRequest(method, url, nil)
		require.NoError(t, err)
		r.Header.Set("Authorization", "Bearer "+secret)
		return r
	}
	first := request("https://hub.test/a", "GET")
	for url, kept := range map[string]bool{"https://hub.test/b": true, "https://cdn.hub.test/b": false, "https://hub.test:8443/b": false, "https://other.test/b": false} {
		next := request(url, "GET")
		require.NoError(t, redirected(next, []*http.Request{first}))
		require.Equal(t, kept, next.Header.Get("Authorization") != "", url)
		// The way back over another host does not bring it back either, unless it is the hub itself.
		back := request("https://evil.hub.test/c", "GET")
		require.NoError(t, redirected(back, []*http.Request{first, next}))
		require.Empty(t, back.Header.Get("Authorization"))
	}
	require.ErrorContains(t, redirected(request("http://hub.test/b", "GET"), []*http.Request{first}), "https")
	require.ErrorIs(t, redirected(request("https://cdn.hub.test/b", "HEAD"), []*http.Request{request("https://hub.test/a", "HEAD")}), http.ErrUseLastResponse)
}

func TestRefusalsSayWhatToDo(t *testing.T) {
	h := newTester(t)
	h.Push(model, "main", "mit", export())
	require.Contains(t, h.fails("org/nobody", "", ErrNotFound), "check the name")
	require.Contains(t, h.fails(model+"@v9", "", ErrNotFound), "no revision v9")
	require.Contains(t, h.fails(model+"@"+strings.Repeat("a", 40), "", ErrNotFound), "no revision")
	h.Gate(model, secret)
	says := h.fails(model, "", ErrDenied)
	require.Contains(t, says, "HF_TOKEN")
	require.Contains(t, says, h.Endpoint+"/org/tiny")
	h.client = h.open(t.TempDir(), func(c *Config) { c.Token = "hf_anotherConfidential" })
	require.Contains(t, h.fails(model, "", ErrDenied), "accept its conditions")
	h.Intercept(func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("X-Error-Message", "Invalid credentials in Authorization header: hf_anotherConfidential")
		w.WriteHeader(401)
		return true
	})
	require.Contains(t, h.fails(model, "", ErrDenied), "not accepted")
	h.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, "/config.json") {
			w.Header().Set("X-Error-Code", "EntryNotFound")
			w.WriteHeader(404)
			return true
		}
		return false
	})
	h.client = h.open(t.TempDir(), func(c *Config) { c.Token = secret })
	require.Contains(t, h.fails(model, "", ErrNotFound), "config.json: not found")
	h.Intercept(nil)
	content(t, h.pull(model, ""), export(), needed...)

	files := export()
	files["onnx/model.onnx_data"] = graph(10, 1)
	h.Push("org/split", "main", "mit", files)
	require.Contains(t, h.fails("org/split", "", ErrUnsupported), "onnx/model.onnx_data")
	h.Push("org/torch", "main", "mit", map[string][]byte{"config.json": []byte("{}"), "pytorch_model.bin": nil})
	require.Contains(t, h.fails("org/torch", "", ErrUnsupported), "export")
	for _, name := range []string{"", "/", "a/b/c", "../x", "a/..", "a--b/c", "org/x.git", "org/x@", "org/x@../y", "org/x@a b", "org/x@/y", "http://x/y", "org/x@main@main", "org/" + strings.Repeat("x", 100), "org/x@a//b"} {
		require.ErrorIs(t, Check(name), ErrNotFound, name)
	}
	for _, name := range []string{"gpt2", "a/b", "sentence-transformers/all-MiniLM-L6-v2", "x/y@refs/pr/1", "x/y@v1.0", "x_/y.z@" + strings.Repeat("a", 40)} {
		require.NoError(t, Check(name), name)
	}
}

func TestNobodyAtTheAddress(t *testing.T) {
	h := newTester(t)
	h.Push(model, "main", "mit", export())
	h.Close()
	require.Contains(t, h.fails(model, "", ErrUnreachable), "HF_ENDPOINT")
	h.client = h.open(t.TempDir(), func(c *Config) { c.Endpoint = "http://user:confidential@127.0.0.1:1" })
	h.fails(model, "", ErrUnreachable)
	h.client = h.open(t.TempDir(), func(c *Config) { c.Endpoint = "no address" })
	h.fails(model, "", ErrNotFound)
}

func TestMainMovesAndTheCommitStays(t *testing.T) {
	h := newTester(t)
	old := export()
	first := h.Push(model, "main", "mit", old)
	// It moves in the middle of a pull, too: what was pinned is fetched.
	next := export()
	next["config.json"], next["onnx/model.onnx"] = []byte(`{"model_type":"roberta"}`), graph(1000, 7)
	var second string
	var once sync.Once
	h.Intercept(func(_ http.ResponseWriter, r *http.Request) bool {
		if strings.Contains(r.URL.Path, "/resolve/") {
			once.Do(func() { second = h.Push(model, "main", "apache-2.0", next) })
		}
		return false
	})
	s := h.pull(model, "")
	require.Equal(t, first, s.Commit)
	content(t, s, old, needed...)
	s = h.pull(model, "")
	require.Equal(t, second, s.Commit)
	require.Equal(t, "apache-2.0", s.License)
	content(t, s, next, needed...)
	s = h.pull(model+"@"+first, "")
	require.Equal(t, "mit", s.License)
	content(t, s, old, needed...)
	// main is renamed to trunk: who pinned goes on, who asks for main is told.
	h.Push(model, "trunk", "apache-2.0", next)
	h.Unref(model, "main")
	h.fails(model, "", ErrNotFound)
	content(t, h.pull(model+"@trunk", ""), next, needed...)
	content(t, h.pull(model+"@"+first, ""), old, needed...)
	// The repository is renamed: the old name leads to it.
	h.Move(model, "neworg/tiny")
	h.client = h.open(t.TempDir())
	content(t, h.pull(model+"@trunk", ""), next, needed...)
}

func TestCautionOfLicences(t *testing.T) {
	for license, says := range map[string]string{"mit": "", "apache-2.0": "", "cc-by-4.0": "", "cc-by-sa-4.0": "", "openrail": "", "bsd-3-clause": "", "": "states no licence", "other": "of its own",
		"cc-by-nc-4.0": "forbids", "CC-BY-NC-SA-4.0": "forbids", "fair-noncommercial-research-license": "forbids", "apple-amlr, cc-by-nc-nd-4.0": "forbids"} {
		if says == "" {
			require.Empty(t, Caution(license), license)
		} else {
			require.Contains(t, Caution(license), says, license)
		}
	}
	require.Equal(t, "lab-license", licenseOf(map[string]any{"license": "other", "license_name": "lab-license"}, nil))
	require.Equal(t, "mit, apache-2.0", licenseOf(map[string]any{"license": []any{"mit", "apache-2.0"}}, nil))
	require.Equal(t, "gpl-3.0", licenseOf(nil, []string{"onnx", "license:gpl-3.0"}))
}

func TestTheEnvironmentIsThatOfHuggingFacesTools(t *testing.T) {
	t.Setenv("HOME", "/home/ann")
	for _, c := range []struct {
		env   map[string]string
		cache string
	}{
		{nil, "/home/ann/.cache/huggingface/hub"},
		{map[string]string{"XDG_CACHE_HOME": "/x"}, "/x/huggingface/hub"},
		{map[string]string{"XDG_CACHE_HOME": "/x", "HF_HOME": "/h"}, "/h/hub"},
		{map[string]string{"HF_HOME": "/h", "HF_HUB_CACHE": "/c"}, "/c"},
		{map[string]string{"HF_HUB_CACHE": "~/c"}, "/home/ann/c"},
	} {
		require.Equal(t, c.cache, FromEnvironment(func(key string) string { return c.env[key] }).Cache)
	}
	require.True(t, FromEnvironment(func(key string) string { return map[string]string{"HF_HUB_OFFLINE": "true"}[key] }).Offline)
	require.False(t, FromEnvironment(func(key string) string { return map[string]string{"HF_HUB_OFFLINE": "0"}[key] }).Offline)
	require.Equal(t, DefaultEndpoint, New(Config{}).cfg.Endpoint)
}

func FuzzReadListing(f *testing.F) {
	f.Add([]byte(`{"sha":"` + strings.Repeat("a", 40) + `","siblings":[{"rfilename":"config.json","size":3,"blobId":"x","lfs":{"sha256":"y"}}],"cardData":{"license":["mit"]}}`))
	f.Add([]byte(`{"sha":"` + strings.Repeat("a", 40) + `","siblings":[{"rfilename":"model.onnx","size":-3}],"cardData":[]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		found, err := readListing(text)
		if err != nil {
			return
		}
		require.True(t, utf8.ValidString(found.License))
		require.LessOrEqual(t, len(found.License), maxLicenseBytes)
		files, err := plan(found.Files, "")
		require.LessOrEqual(t, len(files), len(wanted)+len(vocabularies)+1)
		for _, f := range files {
			require.True(t, filepath.IsLocal(f.Name), err)
		}
	})
}
