// Package autoload turns the files of a watched directory into batches of rows, each file exactly once. A Loader lists
// the directory, decodes what is new and whole, and keeps a ledger of what became of each file; its batches become
// seen when the table that takes their rows has committed them. Sizes are bytes, times UTC. A file that cannot be
// loaded stands in Files with its reason and keeps none of the others back.
package autoload

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"smelt/tables"
	"smelt/tables/vfs"
)

const (
	// defaultPoll bounds how long a file waits where notifications fail.
	defaultPoll = 500 * time.Millisecond
	// minRetry and maxRetry bound the pause before a file is tried again that could not be opened or read.
	minRetry = time.Second
	maxRetry = 5 * time.Minute
)

// Config says what a Loader watches.
type Config struct {
	Dir          string // absolute; it may be made later
	Options      Options
	StateDir     string        // ledger and schema; "" only to look at the columns
	FS           vfs.FS        // of StateDir; nil means that of the operating system
	Committed    int64         // number of the last committed batch, 0 for none
	PollInterval time.Duration // 0 means half a second
	Logger       *slog.Logger  // nil discards
}

// Loader watches one directory for one table. Its methods are safe for concurrent use, but one batch at a time is read:
// Next returns the next only after Committed of the last, or the same files again.
type Loader struct {
	cfg    Config
	ledger ledger
	watch  *watcher // nil without a StateDir

	next sync.Mutex // held while a batch is read

	mu        sync.Mutex // guards what follows; nothing slow happens under it
	columns   columns
	fileNames []string // name in the files of each data column
	files     map[string]File
	retryAt   map[string]time.Time // of files that failed by an I/O error
	committed int64
	pending   int64
}

// storedSchema is the form of schema.json: the columns survive restarts in their order.
type storedSchema struct {
	Columns []storedColumn `json:"columns"`
}

type storedColumn struct {
	FileName string      `json:"fileName"`
	Name     string      `json:"name"`
	Type     tables.Type `json:"type"`
}

// Open reads the ledger and begins to watch. A ledger that lacks a committed entry is an error.
func Open(ctx context.Context, c Config) (*Loader, error) {
	if c.FS == nil {
		c.FS = vfs.OS()
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.PollInterval <= 0 {
		c.PollInterval = defaultPoll
	}
	l := &Loader{cfg: c, ledger: ledger{fs: c.FS, dir: filepath.Join(c.StateDir, "ledger")}, retryAt: map[string]time.Time{}, committed: c.Committed, files: map[string]File{}}
	if err := l.readSchema(); err != nil {
		return nil, err
	}
	if c.StateDir == "" {
		return l, l.peek(ctx)
	}
	var err error
	if l.files, err = l.ledger.read(c.Committed); err != nil {
		return nil, err
	}
	if c.Committed == 0 && !c.Options.IncludeExisting {
		if err := l.passOver(); err != nil {
			return nil, err
		}
	}
	l.watch = newWatcher(c.Dir, c.PollInterval, c.Logger)
	if len(l.columns.schema) == 0 {
		if err := l.peek(ctx); err != nil {
			return nil, errors.Join(err, l.Close())
		}
	}
	return l, nil
}

// readSchema takes the hinted columns and those that earlier batches found.
func (l *Loader) readSchema() error {
	schema := slices.Clone(l.cfg.Options.Hints)
	fileNames := schema.Names()
	if l.cfg.StateDir != "" {
		text, err := l.cfg.FS.ReadFile(l.schemaPath())
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("read schema: %w", err)
		}
		if err == nil {
			var stored storedSchema
			if err := json.Unmarshal(text, &stored); err != nil {
				return fmt.Errorf("read schema %s: %w", l.schemaPath(), err)
			}
			for _, c := range stored.Columns {
				if schema.Index(c.Name) < 0 {
					schema = append(schema, tables.Field{Name: c.Name, Type: c.Type})
					fileNames = append(fileNames, c.FileName)
				}
			}
		}
	}
	l.columns, l.fileNames = newColumns(schema, fileNames, l.cfg.Options.Rescued), fileNames
	return nil
}

func (l *Loader) schemaPath() string { return filepath.Join(l.cfg.StateDir, "schema.json") }

// passOver marks the files that are there already as loaded without rows.
func (l *Loader) passOver() error {
	found, err := list(l.cfg.Dir, l.cfg.Options)
	if err != nil {
		return err
	}
	for _, c := range found {
		l.files[c.path] = File{Path: c.path, Size: c.size, Modified: c.modified, State: Loaded}
	}
	return nil
}

// peek infers the columns from the first files without reading them as a batch.
func (l *Loader) peek(ctx context.Context) error {
	found, err := list(l.cfg.Dir, l.cfg.Options)
	if err != nil {
		return err
	}
	const most = 10 // the sample: later files may add columns
	_, err = l.decode(ctx, found[:min(most, len(found))])
	return err
}

// Schema returns the columns known so far, hidden ones last; later files may add some.
func (l *Loader) Schema() tables.Schema {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.columns.full()
}

// Empty reports whether nothing is known of the columns: no hint was given and no file was seen.
func (l *Loader) Empty() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.columns.schema) == 0
}

// Changed is signalled when there may be something new.
func (l *Loader) Changed() <-chan struct{} { return l.watch.signal }

// Pending returns how many files the last Next saw and left for later.
func (l *Loader) Pending() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.pending
}

// Files returns what is known of each file, by path.
func (l *Loader) Files() []File {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := make([]File, 0, len(l.files))
	for _, f := range l.files {
		list = append(list, f)
	}
	slices.SortFunc(list, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	return list
}

// Close stops watching. It may be called more than once.
func (l *Loader) Close() error {
	if l.watch != nil {
		l.watch.close()
	}
	return nil
}

// Next returns the next batch, nil when nothing is new. Files that were only just written are waited for, a second at
// most, so that whoever asks after dropping a file sees it.
func (l *Loader) Next(ctx context.Context) (*Batch, error) {
	l.next.Lock()
	defer l.next.Unlock()
	for {
		found, err := list(l.cfg.Dir, l.cfg.Options)
		if err != nil {
			return nil, err
		}
		ready, wait := l.choose(found, time.Now())
		if len(ready) > 0 {
			return l.read(ctx, ready)
		}
		if wait == 0 {
			return nil, nil
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil, ctx.Err()
		case <-l.watch.signal: // perhaps the notification that shortens the wait
			timer.Stop()
		case <-timer.C:
		}
	}
}

// choose picks the files of the next batch. wait is how long until the first of the others is whole, 0 if there is none.
func (l *Loader) choose(found []candidate, now time.Time) (ready []candidate, wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var bytes, left int64
	for _, c := range found {
		if !l.wanted(c, now) {
			continue
		}
		if pause := l.watch.settled(c, now); pause > 0 && c.failed == nil {
			if wait == 0 || pause < wait {
				wait = pause
			}
			left++
			continue
		}
		if len(ready) > 0 && (len(ready) >= l.cfg.Options.MaxFiles || bytes+c.size > l.cfg.Options.MaxBytes) {
			left++
			continue
		}
		bytes += c.size
		ready = append(ready, c)
	}
	l.pending = left
	return ready, wait
}

// wanted reports whether a listed file is to be read: new, failed and changed since, due for another try, or changed
// where that is allowed. A change that is not read is noted. The caller holds mu.
func (l *Loader) wanted(c candidate, now time.Time) bool {
	known, ok := l.files[c.path]
	if !ok {
		return true
	}
	same := known.same(c.size, c.modified)
	switch {
	case known.State == Failed && !same:
		return true
	case known.State == Failed:
		return !known.Content && now.After(l.retryAt[c.path])
	case same:
		return false
	case l.cfg.Options.AllowOverwrites:
		return true
	default:
		known.State = Changed
		known.Error = "the file has changed since it was loaded; allowOverwrites => true would load it again"
		l.files[c.path] = known
		return false
	}
}

// retryAfter is the pause after the n-th failed try.
func retryAfter(tries int64) time.Duration {
	pause := minRetry
	for range tries - 1 {
		if pause *= 2; pause >= maxRetry {
			return maxRetry
		}
	}
	return pause
}
