package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"smelt/autoload"
	"smelt/queries"
	"smelt/queries/ddl"
	"smelt/tables"
	"smelt/tables/vfs"
)

// feeds opens watched directories for flows and remembers them, so that smelt.files can list their ledgers.
type feeds struct {
	watch   string
	allowed []string // directories that read_files may name, symlinks resolved
	files   vfs.FS   // of the ledgers
	log     *slog.Logger
	watched func() ([]queries.Watched, error) // the directories of all flows; set before the first flow runs

	mu       sync.Mutex
	running  map[*feed]struct{}
	prepared map[string]bool // directories that are durable and without left-overs of requests
}

// feed adapts one autoload.Loader to what a flow reads from.
type feed struct {
	*autoload.Loader
	owner    *feeds
	dir      string
	options  autoload.Options
	stateDir string
}

// Dir is the watched directory.
func (f *feed) Dir() string { return f.dir }

func newFeeds(cfg Config, files vfs.FS, log *slog.Logger) *feeds {
	f := &feeds{watch: cfg.Watch, files: files, log: log, running: map[*feed]struct{}{}, prepared: map[string]bool{}}
	dirs := append([]string{}, cfg.AllowPaths...)
	if cfg.Watch != "" {
		dirs = append(dirs, cfg.Watch)
	}
	for _, p := range cfg.Pipelines {
		dirs = append(dirs, p, filepath.Dir(p))
	}
	for _, d := range dirs {
		f.allowed = append(f.allowed, resolved(d))
	}
	return f
}

// resolved follows the symlinks of path; what does not exist yet is appended to the nearest ancestor that does.
func resolved(path string) string {
	rest := ""
	for p := filepath.Clean(path); ; p = filepath.Dir(p) {
		real, err := filepath.EvalSymlinks(p)
		if err == nil {
			return filepath.Join(real, rest)
		}
		if !errors.Is(err, fs.ErrNotExist) || p == filepath.Dir(p) {
			return filepath.Clean(path)
		}
		rest = filepath.Join(filepath.Base(p), rest)
	}
}

func (f *feeds) permits(dir string) bool {
	real := resolved(dir)
	for _, allowed := range f.allowed {
		if below(real, allowed) {
			return true
		}
	}
	return false
}

// below reports whether path is dir or inside it; both have their symlinks resolved.
func below(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}

func absolute(path, base string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(base, path)
}

// settled returns what says whether every flow that reads a file has committed its rows. A flow whose feed is not open
// may have anything still before it: nothing that it reads is settled.
func (f *feeds) settled() func(path string, size int64, modified time.Time) bool {
	watched, err := f.watched()
	if err != nil {
		f.log.Warn("list watched directories", "err", err)
		return func(string, int64, time.Time) bool { return false }
	}
	open := map[string]*feed{}
	for _, one := range f.list() {
		open[one.stateDir] = one
	}
	roots := make([]string, len(watched))
	for i, w := range watched {
		roots[i] = resolved(absolute(w.Files.Path, w.Base))
	}
	return func(path string, size int64, modified time.Time) bool {
		real := filepath.Join(resolved(filepath.Dir(path)), filepath.Base(path))
		for i, w := range watched {
			if !below(real, roots[i]) {
				continue
			}
			one := open[w.StateDir]
			// Its ledger has the path as its own directory is spelt.
			if one == nil || !one.Has(filepath.Join(one.dir, strings.TrimPrefix(real, roots[i])), size, modified) {
				return false
			}
		}
		return true
	}
}

// open is the queries.FeedFunc of the engine.
func (f *feeds) open(ctx context.Context, files ddl.Files, base, stateDir string, committed int64) (queries.Feed, error) {
	options, err := autoload.ParseOptions(files.Options)
	if err != nil {
		return nil, err
	}
	dir := absolute(files.Path, base)
	if !f.permits(dir) {
		return nil, fmt.Errorf("watch directory %q: it is under none of --watch, the pipelines' directories and --allow-path", dir)
	}
	if options.MoveTo != "" {
		options.MoveTo = absolute(options.MoveTo, base)
		if !f.permits(options.MoveTo) {
			return nil, fmt.Errorf("cleanSource.moveDestination %q: it is under none of --watch, the pipelines' directories and --allow-path", options.MoveTo)
		}
		if below(resolved(options.MoveTo), resolved(dir)) {
			return nil, fmt.Errorf("cleanSource.moveDestination %q: it is inside the watched directory %q", options.MoveTo, dir)
		}
	}
	loader, err := autoload.Open(ctx, autoload.Config{Dir: dir, Options: options, StateDir: stateDir, FS: f.files, Committed: committed, Logger: f.log, Settled: f.settled})
	if err != nil {
		return nil, err
	}
	one := &feed{Loader: loader, owner: f, dir: dir, options: options, stateDir: stateDir}
	if stateDir == "" {
		return one, nil // has no ledger to list
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.running[one] = struct{}{}
	return one, nil
}

// Next returns the next batch of files; the explicit nil keeps an empty *autoload.Batch from becoming a non-nil interface.
func (f *feed) Next(ctx context.Context) (queries.FeedBatch, error) {
	batch, err := f.Loader.Next(ctx)
	if batch == nil || err != nil {
		return nil, err
	}
	return batch, nil
}

// Lookup finds a file of the ledger.
func (f *feed) Lookup(file string) (queries.FeedFile, bool) {
	known, ok := f.Loader.Lookup(file)
	return queries.FeedFile{Path: known.Path, State: string(known.State), Error: known.Error, Rows: known.Rows}, ok
}

// Retract returns the batch that notes a file as unloaded, or as new.
func (f *feed) Retract(path string, again bool) (queries.FeedBatch, error) {
	batch, err := f.Loader.Retract(path, again)
	if err != nil {
		return nil, err
	}
	return batch, nil
}

// Evolve returns the batch that notes what the options change.
func (f *feed) Evolve(ctx context.Context, rows tables.Relation) (queries.FeedBatch, error) {
	batch, err := f.Loader.Evolve(ctx, rows)
	if err != nil {
		return nil, err
	}
	return batch, nil
}

// Close closes the loader and takes it off the list.
func (f *feed) Close() error {
	f.owner.mu.Lock()
	delete(f.owner.running, f)
	f.owner.mu.Unlock()
	return f.Loader.Close()
}

// table says whose files the feed reads: a flow's state lies in <data>/<database>/<table>/_checkpoints/<flow>.
func (f *feed) table(dataDir string) (database, table string, err error) {
	rel, err := filepath.Rel(dataDir, f.stateDir)
	if err != nil {
		return "", "", fmt.Errorf("place ledger %q: %w", f.stateDir, err)
	}
	parts := strings.Split(filepath.ToSlash(rel), "/")
	if len(parts) < 2 {
		return "", "", fmt.Errorf("place ledger %q: it is not inside a table", f.stateDir)
	}
	return parts[0], parts[1], nil
}

// list returns the feeds that are open now.
func (f *feeds) list() []*feed {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := make([]*feed, 0, len(f.running))
	for one := range f.running {
		list = append(list, one)
	}
	return list
}
