// Package hubtest is a small Hugging Face hub for tests, on loopback under two host names: the hub itself is localhost,
// and large files are behind a redirect to 127.0.0.1, as they are behind a CDN. Commits are made of what they hold, so
// they are the same in each run.
package hubtest

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// largeBytes is from where on a file is kept as LFS does, behind a redirect.
const largeBytes = 1 << 10

// Request is one request that the hub got.
type Request struct {
	Method        string
	Host          string // localhost or 127.0.0.1
	Path          string
	Range         string
	Authorization string
}

// Hub is a hub with the repositories that tests push. It is safe for concurrent use.
type Hub struct {
	Endpoint string // URL

	server *httptest.Server
	cdn    string

	mu        sync.Mutex
	repos     map[string]*repo
	moved     map[string]string
	requests  []Request
	intercept func(w http.ResponseWriter, r *http.Request) bool
}

type repo struct {
	refs    map[string]string // revision -> commit
	commits map[string]commit
	token   string // "" lets everybody in
}

type commit struct {
	files   map[string][]byte
	license string
}

// New starts a hub that ends with the test.
func New(t testing.TB) *Hub {
	t.Helper()
	h := &Hub{repos: map[string]*repo{}, moved: map[string]string{}}
	h.server = httptest.NewServer(h)
	_, port, err := net.SplitHostPort(h.server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	h.Endpoint, h.cdn = "http://localhost:"+port, h.server.URL
	t.Cleanup(h.Close)
	return h
}

// Close ends the hub, as a network that goes away: connections are refused from then on.
func (h *Hub) Close() {
	h.server.CloseClientConnections()
	h.server.Close()
}

// Push gives a repository a commit and returns it; revision means it from then on.
func (h *Hub) Push(name, revision, license string, files map[string][]byte) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	sum := sha1.New()
	fmt.Fprintf(sum, "%s %s\n", name, license)
	for _, file := range slices.Sorted(maps.Keys(files)) {
		fmt.Fprintf(sum, "%s %x\n", file, sha256.Sum256(files[file]))
	}
	id := hex.EncodeToString(sum.Sum(nil))
	r := h.repos[name]
	if r == nil {
		r = &repo{refs: map[string]string{}, commits: map[string]commit{}}
		h.repos[name] = r
	}
	r.commits[id] = commit{files: maps.Clone(files), license: license}
	r.refs[revision] = id
	return id
}

// Gate asks for a token before files of a repository are given.
func (h *Hub) Gate(name, token string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.repos[name].token = token
}

// Unref takes a branch or tag away; its commits stay.
func (h *Hub) Unref(name, revision string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.repos[name].refs, revision)
}

// Move renames a repository: the old name redirects to the new one.
func (h *Hub) Move(old, now string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.repos[now], h.moved[old] = h.repos[old], now
	delete(h.repos, old)
}

// Intercept has f answer requests first; true tells that it did. nil ends it.
func (h *Hub) Intercept(f func(w http.ResponseWriter, r *http.Request) bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.intercept = f
}

// Interceptor returns what answers first now; nil for nothing.
func (h *Hub) Interceptor() func(w http.ResponseWriter, r *http.Request) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.intercept
}

// ServeHalf answers a request for a large file with half of what is left of it, and cuts the connection.
func (h *Hub) ServeHalf(w http.ResponseWriter, r *http.Request) {
	data := h.large(strings.TrimPrefix(r.URL.Path, "/cdn/"))
	begin := 0
	if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &begin); err == nil {
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", begin, len(data)-1, len(data)))
	}
	w.Header().Set("Content-Length", fmt.Sprint(len(data)-begin))
	if begin > 0 {
		w.WriteHeader(http.StatusPartialContent)
	}
	_, _ = w.Write(data[begin : begin+(len(data)-begin)/2])
	w.(http.Flusher).Flush()
	panic(http.ErrAbortHandler)
}

// Requests returns what was asked since the last call.
func (h *Hub) Requests() []Request {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := h.requests
	h.requests = nil
	return all
}

// ServeHTTP implements http.Handler.
func (h *Hub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	host, _, _ := strings.Cut(r.Host, ":")
	h.mu.Lock()
	h.requests = append(h.requests, Request{r.Method, host, r.URL.Path, r.Header.Get("Range"), r.Header.Get("Authorization")})
	intercept := h.intercept
	h.mu.Unlock()
	if intercept != nil && intercept(w, r) {
		return
	}
	path := r.URL.EscapedPath()
	if sum, ok := strings.CutPrefix(path, "/cdn/"); ok {
		h.serveLarge(w, r, sum)
		return
	}
	api, isAPI := strings.CutPrefix(path, "/api/models/")
	for _, kind := range []string{"/revision/", "/tree/"} {
		if name, revision, ok := strings.Cut(api, kind); ok && isAPI {
			h.serveAPI(w, r, name, revision, kind)
			return
		}
	}
	if name, rest, ok := strings.Cut(strings.TrimPrefix(path, "/"), "/resolve/"); ok {
		revision, file, _ := strings.Cut(rest, "/")
		h.serveFile(w, r, name, revision, file)
		return
	}
	http.NotFound(w, r)
}

// find returns a commit, or answers why there is none.
func (h *Hub) find(w http.ResponseWriter, r *http.Request, name, revision string) (id string, c commit, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if now := h.moved[name]; now != "" {
		http.Redirect(w, r, strings.Replace(r.URL.RequestURI(), name, now, 1), http.StatusTemporaryRedirect)
		return "", c, false
	}
	found := h.repos[name]
	if found == nil {
		status := http.StatusNotFound
		if r.Header.Get("Authorization") == "" {
			status = http.StatusUnauthorized // the hub does not tell what is private from what is not there
		}
		refuse(w, status, "RepoNotFound")
		return "", c, false
	}
	id, err := url.PathUnescape(revision)
	if err == nil && found.refs[id] != "" {
		id = found.refs[id]
	}
	if c, ok = found.commits[id]; !ok {
		refuse(w, http.StatusNotFound, "RevisionNotFound")
		return "", c, false
	}
	if strings.Contains(r.URL.Path, "/resolve/") && found.token != "" && r.Header.Get("Authorization") != "Bearer "+found.token {
		refuse(w, http.StatusForbidden, "GatedRepo")
		return "", c, false
	}
	return id, c, true
}

func refuse(w http.ResponseWriter, status int, code string) {
	w.Header().Set("X-Error-Code", code)
	w.Header().Set("X-Error-Message", "in words")
	w.WriteHeader(status)
}

func (h *Hub) serveAPI(w http.ResponseWriter, r *http.Request, name, revision, kind string) {
	id, c, ok := h.find(w, r, name, revision)
	if !ok {
		return
	}
	var siblings, tree []map[string]any
	for _, file := range slices.Sorted(maps.Keys(c.files)) {
		data := c.files[file]
		one := map[string]any{"rfilename": file, "size": len(data), "blobId": gitSum(data)}
		leaf := map[string]any{"type": "file", "path": file, "size": len(data), "oid": gitSum(data)}
		if large(file, data) {
			one["lfs"] = map[string]any{"sha256": lfsSum(data), "size": len(data), "pointerSize": 130}
			leaf["lfs"] = map[string]any{"oid": lfsSum(data), "size": len(data), "pointerSize": 130}
		}
		siblings, tree = append(siblings, one), append(tree, leaf)
	}
	var answer any = tree
	if kind == "/revision/" {
		answer = map[string]any{"id": name, "modelId": name, "sha": id, "siblings": siblings, "tags": []string{"onnx"}, "cardData": map[string]any{"license": c.license}}
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer) // a client that went away is its own affair
}

func (h *Hub) serveFile(w http.ResponseWriter, r *http.Request, name, revision, file string) {
	id, c, ok := h.find(w, r, name, revision)
	if !ok {
		return
	}
	path, err := url.PathUnescape(file)
	data, there := c.files[path]
	w.Header().Set("X-Repo-Commit", id)
	if err != nil || !there {
		refuse(w, http.StatusNotFound, "EntryNotFound")
		return
	}
	if large(path, data) {
		w.Header().Set("X-Linked-Etag", `"`+lfsSum(data)+`"`)
		w.Header().Set("X-Linked-Size", fmt.Sprint(len(data)))
		w.Header().Set("ETag", `"of the pointer"`)
		http.Redirect(w, r, h.cdn+"/cdn/"+lfsSum(data)+"?Signature=confidential", http.StatusFound)
		return
	}
	w.Header().Set("ETag", `W/"`+gitSum(data)+`"`)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
}

func (h *Hub) serveLarge(w http.ResponseWriter, r *http.Request, sum string) {
	w.Header().Set("ETag", `"the CDN's own"`)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(h.large(sum)))
}

// large finds a file by its SHA-256.
func (h *Hub) large(sum string) (found []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, one := range h.repos {
		for _, c := range one.commits {
			for _, data := range c.files {
				if found == nil && lfsSum(data) == sum {
					found = data
				}
			}
		}
	}
	return found
}

func large(name string, data []byte) bool {
	return len(data) > largeBytes || strings.HasSuffix(name, ".onnx")
}

func lfsSum(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func gitSum(data []byte) string {
	sum := sha1.Sum(append(fmt.Appendf(nil, "blob %d\x00", len(data)), data...))
	return hex.EncodeToString(sum[:])
}
