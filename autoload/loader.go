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
	"sync/atomic"
	"time"

	"github.com/fsnotify/fsnotify"

	"smelt/tables"
	"smelt/tables/vfs"
)

const (
	// defaultPoll bounds how long a file waits where notifications fail.
	defaultPoll = 500 * time.Millisecond
	// minRetry and maxRetry bound the pause before a file is tried again that could not be opened or read.
	minRetry = time.Second
	maxRetry = 5 * time.Minute
	// maxWait bounds how long Next waits for files to become whole: somewhat longer than the longest rule asks for.
	maxWait = settleWritten + settleWritten/2
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

	notifier func() (*fsnotify.Watcher, error) // of tests; nil means the system's

	// Settled returns what says whether every flow that reads a file of this size and time has its rows in its table, so
	// that cleanSource may take it away; nil when this loader is the only one. It is asked once a look.
	Settled func() func(path string, size int64, modified time.Time) bool
}

// Loader watches one directory for one table. Its methods are safe for concurrent use, but one batch at a time is read:
// Next returns the next only after Committed of the last, or the same files again.
type Loader struct {
	cfg    Config
	ledger ledger
	watch  *watcher // nil without a StateDir

	beside     sync.WaitGroup // looks and compactions
	compacting atomic.Bool

	next       sync.Mutex // held while a batch is read; guards those below, up to mu
	lister     lister
	looking    chan listing // of a look that runs beside; nil for none
	left       []string     // files of the last look that were too many for a batch, oldest first
	trickles   bool         // the last batch was of files that notifications told of
	cleanAfter time.Time    // of the last error of cleanSource
	keep       int64        // bytes of memory that the rows of a batch may take
	begin      int64        // bytes of a file beyond it that are read before its rows are promised
	sampled    bool         // columns were inferred from a sample

	mu        sync.Mutex // guards what follows; nothing slow happens under it
	columns   columns
	refused   map[string][]tables.Type // wider types that the table could not follow to, by column
	narrower  map[string]tables.Type   // what types were that became wider since the columns were durable, by column
	durable   string                   // schema.json
	files     map[string]File
	retryAt   map[string]time.Time // of files that failed by an I/O error
	committed int64
	pending   int64

	distrusted map[string]bool // large files whose beginning promised what the rest did not keep
}

// storedSchema is the form of schema.json: the columns survive restarts in their order.
type storedSchema struct {
	Columns  []storedColumn `json:"columns"`
	Excluded []string       `json:"excluded,omitempty"`
}

type storedColumn struct {
	FileName string      `json:"fileName"`
	Name     string      `json:"name"`
	Type     tables.Type `json:"type"`

	Refused []tables.Type `json:"refused,omitempty"` // wider types that the table could not follow to
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
	l := &Loader{cfg: c, ledger: ledger{fs: c.FS, dir: filepath.Join(c.StateDir, ledgerDir)}, lister: lister{dir: c.Dir, options: c.Options},
		retryAt: map[string]time.Time{}, distrusted: map[string]bool{}, keep: keepBytes, begin: beginBytes, committed: c.Committed, files: map[string]File{},
		refused: map[string][]tables.Type{}, narrower: map[string]tables.Type{}}
	if err := l.readSchema(); err != nil {
		return nil, err
	}
	if c.StateDir == "" {
		return l, l.peek(ctx)
	}
	if err := l.ledger.sweep(); err != nil {
		return nil, err
	}
	if err := l.readLedger(); err != nil {
		return nil, err
	}
	l.watch = newWatcher(c)
	if l.durable == "" { // as whoever made the table has done: hints are no sample
		if err := l.peek(ctx); err != nil {
			return nil, errors.Join(err, l.Close())
		}
	}
	return l, nil
}

// readLedger learns which files are seen. With includeExistingFiles => false the first start notes, for good, which
// files were there before the table.
func (l *Loader) readLedger() error {
	files, found, err := l.ledger.read(l.cfg.Committed)
	if err != nil {
		return err
	}
	l.files = files
	if err := l.ledger.addUnloaded(files); err != nil {
		return err
	}
	if found || l.cfg.Options.IncludeExisting {
		return nil
	}
	existing := l.lister.list(nil)
	if existing.err != nil {
		return existing.err
	}
	passed := entry{Batch: passedOver}
	for _, c := range existing.files {
		f := File{Path: c.path, Size: c.size, Modified: c.modified, Batch: passedOver, State: Loaded}
		l.files[c.path] = f
		passed.Files = append(passed.Files, f)
	}
	return l.ledger.write(passed)
}

// readSchema takes the hinted columns and those that earlier batches found.
func (l *Loader) readSchema() error {
	schema := slices.Clone(l.cfg.Options.Hints)
	fileNames := schema.Names()
	for i := range schema {
		schema[i].Name = clean(schema[i].Name)
	}
	stored, err := l.storedSchema()
	if err != nil {
		return err
	}
	l.cfg.Options.excluded = stored.Excluded
	for _, c := range stored.Columns {
		if len(c.Refused) > 0 {
			l.refused[c.Name] = c.Refused
		}
		if schema.Index(c.Name) < 0 {
			schema = append(schema, tables.Field{Name: c.Name, Type: c.Type})
			fileNames = append(fileNames, c.FileName)
		}
	}
	l.columns = newColumns(schema, fileNames, l.cfg.Options)
	return nil
}

func (l *Loader) storedSchema() (storedSchema, error) {
	var stored storedSchema
	if l.cfg.StateDir == "" {
		return stored, nil
	}
	text, err := l.cfg.FS.ReadFile(l.schemaPath())
	if errors.Is(err, fs.ErrNotExist) {
		return stored, nil
	}
	if err != nil {
		return stored, fmt.Errorf("read schema: %w", err)
	}
	if err := json.Unmarshal(text, &stored); err != nil {
		return stored, fmt.Errorf("read schema %s: %w", l.schemaPath(), err)
	}
	l.durable = string(text)
	return stored, nil
}

func (l *Loader) schemaPath() string { return filepath.Join(l.cfg.StateDir, "schema.json") }

// writeSchema makes the columns durable if there is anything new about them.
func (l *Loader) writeSchema() error {
	var stored storedSchema
	l.mu.Lock()
	for i, f := range l.columns.schema {
		stored.Columns = append(stored.Columns, storedColumn{FileName: l.columns.fileNames[i], Name: f.Name, Type: f.Type, Refused: l.refused[f.Name]})
	}
	stored.Excluded = l.cfg.Options.excluded
	durable := l.durable
	l.mu.Unlock()
	if len(stored.Columns) == 0 {
		return nil
	}
	text, err := json.Marshal(stored)
	if err != nil {
		return fmt.Errorf("encode schema: %w", err)
	}
	if string(text) != durable {
		if err := l.ledger.make(); err != nil {
			return fmt.Errorf("make state directory: %w", err)
		}
		if err := vfs.WriteFile(l.cfg.FS, l.schemaPath(), text); err != nil {
			return err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.durable = string(text)
	clear(l.narrower)
	return nil
}

// peek infers the columns from the beginnings of the first files without reading them as a batch.
func (l *Loader) peek(ctx context.Context) error {
	found := l.lister.list(nil)
	if found.err != nil {
		return found.err
	}
	return l.sample(ctx, found.files)
}

// sample infers the columns from the beginnings of the first of some files.
func (l *Loader) sample(ctx context.Context, files []candidate) error {
	results, err := l.decode(ctx, files[:min(sampleFiles, len(files))], true)
	for _, r := range results {
		l.sampled = l.sampled || r.err == nil && r.size > 0
	}
	return err
}

// unsampled reports whether the columns are still to be inferred from a sample because later files may add none.
func (l *Loader) unsampled() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cfg.Options.content.evolution != addNewColumns && l.durable == "" && (!l.sampled || len(l.columns.schema) == 0)
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

// Last returns the number of the last batch that is committed, as far as it was told.
func (l *Loader) Last() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.committed
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
	l.beside.Wait()
	return nil
}

// choose picks the files of the next batch; rest are those that are too many for it. wait is how long until the first of
// the others is whole, 0 if there is none.
func (l *Loader) choose(wanted []candidate, now time.Time) (ready, rest []candidate, wait time.Duration) {
	var bytes, left int64
	for _, c := range wanted {
		if len(ready) > 0 && (len(ready) >= l.cfg.Options.MaxFiles || bytes+c.size > l.cfg.Options.MaxBytes) {
			rest = append(rest, c)
			continue
		}
		if c.failed == nil {
			if pause := l.watch.settled(c, now); pause > 0 {
				if wait == 0 || pause < wait {
					wait = pause
				}
				left++
				continue
			}
		}
		bytes += c.size
		ready = append(ready, c)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pending = left + int64(len(rest))
	return ready, rest, wait
}

// loaded reports whether there is nothing more to know of a file unless it changes.
func (l *Loader) loaded(path string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	f, ok := l.files[path]
	return ok && (f.State == Loaded || f.State == Unloaded)
}

// trusts reports whether the beginning of a large file is enough to promise its rows.
func (l *Loader) trusts(path string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.distrusted[path]
}

func (l *Loader) distrust(path string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.distrusted[path] = true
}

// wanted returns the listed files that are to be read.
func (l *Loader) wanted(found []candidate, now time.Time) []candidate {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.DeleteFunc(found, func(c candidate) bool { return !l.wants(c, now) })
}

// wants reports whether a listed file is to be read: new, failed and changed since, due for another try, or changed
// where that is allowed or cannot bring a row twice, because the file was empty. A change that is not read is noted.
// The caller holds mu.
func (l *Loader) wants(c candidate, now time.Time) bool {
	known, ok := l.files[c.path]
	if !ok {
		return true
	}
	same := known.same(c.size, c.modified)
	switch {
	case known.State == Fresh, known.State == Failed && !same:
		return true
	case known.State == Unloaded:
		return false
	case known.State == Failed:
		return !known.Content && now.After(l.retryAt[c.path])
	case same:
		return false
	case l.cfg.Options.AllowOverwrites, known.Size == 0:
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
