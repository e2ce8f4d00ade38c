// Package hub fetches models from a Hugging Face hub into the cache that Hugging Face's own tools use, and finds them
// there again without a network. A revision is pinned to its commit before anything is fetched, only what a model needs
// is fetched, and each file is proven by the hash that the hub keeps of it: SHA-256 of large files, git's SHA-1 of small
// ones. Sizes are bytes. The token goes to the hub's own host and into no text of ours.
package hub

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// DefaultEndpoint is the public hub.
const DefaultEndpoint = "https://huggingface.co"

// parallel is how many files are fetched at once: an export has a dozen, and one of them takes nearly all the time.
const parallel = 4

// Errors of a pull; wrapped, with a hint of what to do.
var (
	// ErrNotFound is returned for a name, a revision or a file that the hub, or offline the cache, does not have.
	ErrNotFound = errors.New("not found")
	// ErrDenied is returned where the hub asks for a token, for another one, or for conditions to be accepted.
	ErrDenied = errors.New("access denied")
	// ErrDamaged is returned for content that is not what its hash says.
	ErrDamaged = errors.New("content is damaged")
	// ErrUnreachable is returned when the hub does not answer, or with errors of its own.
	ErrUnreachable = errors.New("the hub cannot be reached")
	// ErrUnsupported is returned for a repository from which no model can be made.
	ErrUnsupported = errors.New("no model can be made of it")
)

// Config says where the hub and the cache are.
type Config struct {
	Endpoint string   // base URL of the hub; "" means DefaultEndpoint
	Token    string   // sent to the hub as Bearer, and to no other host; "" for none
	Cache    string   // directory, made if missing; required
	Offline  bool     // the cache answers, and nothing is fetched
	Allow    []string // names that may be fetched: org/name, org/* or *; of others the cache answers

	// Progress is told how far each file is, by several goroutines at once; nil is not told.
	Progress func(file string, done, size int64)
	Logger   *slog.Logger // nil discards
}

// FromEnvironment reads the variables of Hugging Face's own tools: HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE, and for the
// cache HF_HUB_CACHE, HF_HOME and XDG_CACHE_HOME. Nothing is allowed yet.
func FromEnvironment(getenv func(string) string) Config {
	home, err := os.UserHomeDir()
	if err != nil {
		home = os.TempDir()
	}
	base := cmp.Or(getenv("HF_HOME"), filepath.Join(cmp.Or(getenv("XDG_CACHE_HOME"), filepath.Join(home, ".cache")), "huggingface"))
	dir := cmp.Or(getenv("HF_HUB_CACHE"), getenv("HUGGINGFACE_HUB_CACHE"), filepath.Join(base, "hub"))
	if short, ok := strings.CutPrefix(dir, "~/"); ok {
		dir = filepath.Join(home, short)
	}
	offline := slices.Contains([]string{"1", "ON", "YES", "TRUE"}, strings.ToUpper(cmp.Or(getenv("HF_HUB_OFFLINE"), getenv("TRANSFORMERS_OFFLINE"))))
	return Config{Endpoint: getenv("HF_ENDPOINT"), Token: strings.TrimSpace(getenv("HF_TOKEN")), Cache: os.ExpandEnv(dir), Offline: offline}
}

// Client fetches models. It is safe for concurrent use, also by several processes on one cache.
type Client struct {
	cfg   Config
	http  *http.Client
	stall time.Duration                                    // without a byte, after which a connection is given up
	pause func(ctx context.Context, d time.Duration) error // between tries
	write func(f *os.File, p []byte) (int, error)          // of what was fetched
}

// New returns a client; nothing is asked and nothing made yet.
func New(c Config) *Client {
	c.Endpoint = strings.TrimRight(cmp.Or(c.Endpoint, DefaultEndpoint), "/")
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return &Client{cfg: c, http: newHTTP(), stall: stallTimeout, pause: pause, write: (*os.File).Write}
}

// File is one file of a model.
type File struct {
	Name string `json:"name"` // in its repository, with slashes
	Size int64  `json:"size"` // -1 where nobody says
	Hash string `json:"hash"` // SHA-256, or git's SHA-1 of a blob, hexadecimal; "" where nobody says
}

// Snapshot is a model as it is in the cache: the files of one commit that were asked for, all of them proven.
type Snapshot struct {
	Name     string
	Revision string // as it was asked for
	Commit   string
	License  string // as the model card's metadata has it; "" where it has none, or nobody asked the hub
	Files    []File
	Cached   string // why the hub was not asked; "" if it was

	dir     string // of the commit
	partial bool   // nobody knows which further files the repository has
}

// ReadFile reads and proves a file; fs.ErrNotExist where the model has none of that name. limit is in bytes.
func (s *Snapshot) ReadFile(name string, limit int64) ([]byte, error) {
	i := slices.IndexFunc(s.Files, func(f File) bool { return f.Name == name })
	if i < 0 {
		return nil, &os.PathError{Op: "open", Path: s.Name + "/" + name, Err: os.ErrNotExist}
	}
	return s.Files[i].read(filepath.Join(s.dir, filepath.FromSlash(name)), limit)
}

// Pull brings a model into the cache and returns it. name is org/name or org/name@revision, without one main; variant
// names another graph than model.onnx, as it is or below onnx/. What is in the cache already is not fetched again. When the
// hub is not to be asked, or does not answer, the cache does.
func (c *Client) Pull(ctx context.Context, name, variant string) (*Snapshot, error) {
	r, err := parse(name)
	if err != nil {
		return nil, err
	}
	s, err := c.pull(ctx, r, variant)
	if err != nil {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("pull %s: %w", name, context.Cause(ctx))
		}
		return nil, fmt.Errorf("pull %s: %w", name, c.hinted(err, r))
	}
	return s, nil
}

func (c *Client) pull(ctx context.Context, r repository, variant string) (*Snapshot, error) {
	if why := c.reserved(r); why != "" {
		return c.cached(ctx, r, variant, why)
	}
	if r.pinned() {
		// A commit never changes: if all of it is there, there is nothing to ask.
		if s, err := c.cached(ctx, r, variant, "the cache has that commit"); err == nil && !s.partial {
			return s, nil
		}
	}
	found, err := c.list(ctx, r)
	if errors.Is(err, ErrUnreachable) && ctx.Err() == nil {
		s, missing := c.cached(ctx, r, variant, "the hub does not answer")
		if missing != nil {
			return nil, fmt.Errorf("%w; and %w", err, missing)
		}
		c.cfg.Logger.Warn("the hub does not answer: the cache does", "model", r.name, "commit", s.Commit, "err", err)
		return s, nil
	}
	if err != nil {
		return nil, err
	}
	files, err := plan(found.Files, variant)
	if err != nil {
		return nil, err
	}
	r.commit = found.Commit
	if err := c.fetchAll(ctx, r, files); err != nil {
		return nil, err
	}
	found.proven(files)
	if err := c.keep(r, found); err != nil {
		return nil, err
	}
	return &Snapshot{Name: r.name, Revision: r.revision, Commit: r.commit, License: found.License, Files: files, dir: c.snapshot(r)}, nil
}

// reserved says why the hub is not to be asked for a model; "" where it may be.
func (c *Client) reserved(r repository) string {
	if c.cfg.Offline {
		return "HF_HUB_OFFLINE is set"
	}
	for _, pattern := range c.cfg.Allow {
		if ok, err := path.Match(pattern, r.name); pattern == "*" || ok && err == nil {
			return ""
		}
	}
	return notLetIn
}

// notLetIn says that a model is none of Config.Allow.
const notLetIn = "it is not let in from the hub"

// fetchAll brings the files of a commit into the cache.
func (c *Client) fetchAll(ctx context.Context, r repository, files []File) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for i := range files {
		group.Go(func() error { return c.fetch(ctx, r, &files[i]) })
	}
	return group.Wait()
}
