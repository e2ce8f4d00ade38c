package tables

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/google/uuid"

	"smelt/tables/delta"
	"smelt/tables/vfs"
)

// Errors of a Store; wrapped, with the name.
var (
	// ErrNotFound is returned when a database, table or view of that name does not exist.
	ErrNotFound = errors.New("not found")
	// ErrExists is returned when a database, table or view of that name exists already.
	ErrExists = errors.New("exists already")
	// ErrLocked is returned by Open when another process holds the directory.
	ErrLocked = vfs.ErrLocked
)

// defaultDatabase is made by Open; pipelines live in it unless they say otherwise.
const defaultDatabase = "live"

const (
	lockName    = "_lock"
	trashPrefix = "_dropped-"
)

// nameRule keeps names of databases and tables usable as directory names on every system. A leading underscore is
// ours, a leading dot is hidden.
var nameRule = regexp.MustCompile(`^[\p{L}\p{N}$-][\p{L}\p{N}$_ -]{0,63}$`)

// Options of a Store; the zero value is the machine's file system and no log.
type Options struct {
	FS     vfs.FS       // nil means that of the operating system
	Logger *slog.Logger // nil discards
}

// Store is a directory of databases, each a directory of tables. One process at a time may open it. All methods are
// safe for concurrent use.
type Store struct {
	dir  string
	fs   vfs.FS
	log  *slog.Logger
	lock io.Closer

	// ddl is held while anything is created or dropped, I/O included; taken before a table's commitMu and before mu.
	ddl     sync.Mutex
	writers sync.WaitGroup // commits in flight
	closing chan struct{}  // closed by Close
	pollers sync.WaitGroup // of attached tables

	mu        sync.RWMutex // guards what follows; never held during I/O
	closed    bool
	databases map[string]*database // by lower-case name
}

type database struct {
	name   string
	tables map[string]*Table // by lower-case name
	views  map[string]View   // by lower-case name
}

// Open opens the directory, making it when missing, takes its lock and reads the log of every table. ErrLocked names
// the directory when another process has it. A table that cannot be read is an error that names it.
func Open(dir string, o Options) (*Store, error) {
	s := &Store{dir: dir, fs: o.FS, log: o.Logger, databases: map[string]*database{}, closing: make(chan struct{})}
	if s.fs == nil {
		s.fs = vfs.OS()
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if err := vfs.MakeDirs(s.fs, dir); err != nil {
		return nil, err
	}
	lock, err := s.fs.Lock(filepath.Join(dir, lockName))
	if err != nil {
		return nil, fmt.Errorf("open data directory %s: %w", dir, err)
	}
	s.lock = lock
	if err := s.load(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Store) load() error {
	// A database may have come about in a process that ended before its name was durable; commits are acknowledged in it.
	if err := s.fs.SyncDir(s.dir); err != nil {
		return fmt.Errorf("sync data directory: %w", err)
	}
	entries, err := s.fs.List(s.dir)
	if err != nil {
		return fmt.Errorf("list data directory: %w", err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name, trashPrefix) {
			if err := s.emptyTrash(filepath.Join(s.dir, e.Name)); err != nil {
				return err
			}
		}
		if !e.Dir || !nameRule.MatchString(e.Name) {
			continue
		}
		if err := s.loadDatabase(e.Name); err != nil {
			return fmt.Errorf("open database %s: %w", e.Name, err)
		}
	}
	if _, ok := s.databases[defaultDatabase]; !ok {
		return s.CreateDatabase(defaultDatabase)
	}
	return nil
}

func (s *Store) loadDatabase(name string) error {
	db := &database{name: name, tables: map[string]*Table{}, views: map[string]View{}}
	dir := filepath.Join(s.dir, name)
	entries, err := s.fs.List(dir)
	if err != nil {
		return fmt.Errorf("list %s: %w", dir, err)
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name)
		switch {
		case strings.HasPrefix(e.Name, trashPrefix):
			if err := s.emptyTrash(path); err != nil {
				return err
			}
		case e.Name == viewDir:
			if err := s.loadViews(db, path); err != nil {
				return err
			}
		case e.Name == externalDir:
			if err := s.loadExternal(db, path); err != nil {
				return err
			}
		case e.Dir && nameRule.MatchString(e.Name):
			t, err := openTable(s, name, e.Name, path)
			if errors.Is(err, errNoTable) {
				continue
			}
			if err != nil {
				return fmt.Errorf("open table %s: %w", e.Name, err)
			}
			db.tables[strings.ToLower(e.Name)] = t
		}
	}
	s.databases[strings.ToLower(name)] = db
	return nil
}

// emptyTrash ends a drop that a crash cut short: what was dropped was gone when it was renamed.
func (s *Store) emptyTrash(path string) error {
	if err := s.fs.RemoveAll(path); err != nil {
		return fmt.Errorf("remove what was dropped: %w", err)
	}
	return nil
}

// errClosed is what a Store that was closed answers to whoever wants to change something.
var errClosed = errors.New("the data directory was closed")

// begin lets a commit start; writers.Done ends it.
func (s *Store) begin() error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return errClosed
	}
	s.writers.Add(1)
	return nil
}

// Close waits for commits in flight and gives the directory back; later changes fail. Scans may go on. It may be called
// more than once.
func (s *Store) Close() error {
	s.mu.Lock()
	closed := s.closed
	s.closed = true
	s.mu.Unlock()
	if closed {
		return nil
	}
	close(s.closing)
	s.pollers.Wait()
	s.writers.Wait()
	if err := s.lock.Close(); err != nil {
		return fmt.Errorf("unlock data directory: %w", err)
	}
	return nil
}

// database returns a database by name, ignoring case, or ErrNotFound.
func (s *Store) database(name string) (*database, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	d, ok := s.databases[strings.ToLower(name)]
	if !ok {
		return nil, fmt.Errorf("database %q: %w", name, ErrNotFound)
	}
	return d, nil
}

// Databases returns the names of the databases, sorted.
func (s *Store) Databases() []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	names := make([]string, 0, len(s.databases))
	for _, db := range s.databases {
		names = append(names, db.name)
	}
	slices.Sort(names)
	return names
}

// CreateDatabase makes an empty database. ErrExists if there is one.
func (s *Store) CreateDatabase(name string) error {
	if !nameRule.MatchString(name) {
		return fmt.Errorf("create database %q: not a usable name", name)
	}
	s.ddl.Lock()
	defer s.ddl.Unlock()
	if err := s.begin(); err != nil {
		return fmt.Errorf("create database %q: %w", name, err)
	}
	defer s.writers.Done()
	if _, err := s.database(name); err == nil {
		return fmt.Errorf("database %q: %w", name, ErrExists)
	}
	if err := s.fs.MkdirAll(filepath.Join(s.dir, name)); err != nil {
		return fmt.Errorf("create database %q: %w", name, err)
	}
	if err := s.fs.SyncDir(s.dir); err != nil {
		return fmt.Errorf("create database %q: %w", name, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.databases[strings.ToLower(name)] = &database{name: name, tables: map[string]*Table{}, views: map[string]View{}}
	return nil
}

// DropDatabase removes a database with all of its tables and views. It waits for commits in flight.
func (s *Store) DropDatabase(name string) error {
	s.ddl.Lock()
	defer s.ddl.Unlock()
	if err := s.begin(); err != nil {
		return fmt.Errorf("drop database %q: %w", name, err)
	}
	defer s.writers.Done()
	db, err := s.database(name)
	if err != nil {
		return err
	}
	list := s.Tables(name)
	for _, t := range list {
		t.commitMu.Lock()
		defer t.commitMu.Unlock()
	}
	if err := s.trash(filepath.Join(s.dir, db.name), s.dir, func() {
		for _, t := range list {
			t.drop()
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.databases, strings.ToLower(name))
	}); err != nil {
		return fmt.Errorf("drop database %q: %w", name, err)
	}
	return nil
}

// trash renames a directory away and then deletes it: it is never half there under its own name. forget is called
// once the name is gone, even if what follows fails: the rest is removed at the next start.
func (s *Store) trash(path, parent string, forget func()) error {
	away := filepath.Join(parent, trashPrefix+uuid.NewString())
	if err := s.fs.Rename(path, away); err != nil {
		return err
	}
	forget()
	if err := s.fs.SyncDir(parent); err != nil {
		return err
	}
	return s.fs.RemoveAll(away)
}

// Tables returns the tables of a database, sorted by name; none for an unknown database.
func (s *Store) Tables(db string) []*Table {
	s.mu.RLock()
	defer s.mu.RUnlock()
	d, ok := s.databases[strings.ToLower(db)]
	if !ok {
		return nil
	}
	list := make([]*Table, 0, len(d.tables))
	for _, t := range d.tables {
		list = append(list, t)
	}
	slices.SortFunc(list, func(a, b *Table) int { return strings.Compare(a.name, b.name) })
	return list
}

// Table returns a table by name, ignoring case, or ErrNotFound. What its last commit left open is read now, if it can be.
func (s *Store) Table(db, name string) (*Table, error) {
	t := s.find(db, name)
	if t == nil {
		return nil, fmt.Errorf("table %s.%s: %w", db, name, ErrNotFound)
	}
	_ = t.Settle() // who commits is told
	return t, nil
}

func (s *Store) find(db, name string) *Table {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if d, ok := s.databases[strings.ToLower(db)]; ok {
		return d.tables[strings.ToLower(name)]
	}
	return nil
}

// Create makes a table; version 0 is durable when it returns. ErrExists if a table or view has the name.
func (s *Store) Create(ctx context.Context, db, name string, def Definition) (*Table, error) {
	if !nameRule.MatchString(name) {
		return nil, fmt.Errorf("create table %q: not a usable name", name)
	}
	s.ddl.Lock()
	defer s.ddl.Unlock()
	if err := s.begin(); err != nil {
		return nil, fmt.Errorf("create table %s.%s: %w", db, name, err)
	}
	defer s.writers.Done()
	d, err := s.free(db, name)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(s.dir, d.name, name)
	if err := s.clear(path); err != nil {
		return nil, fmt.Errorf("create table %s.%s: %w", db, name, err)
	}
	t := newTable(s, d.name, name, path)
	if err := t.create(ctx, def); err != nil {
		// Nobody has seen the table. If even this fails, the next create or start clears it away.
		return nil, errors.Join(fmt.Errorf("create table %s.%s: %w", db, name, err), s.fs.RemoveAll(path))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	d.tables[strings.ToLower(name)] = t
	return t, nil
}

// clear removes what a crash left of an earlier create: directories, and a commit 0 that never got its name. Anything
// else in the place of the new table belongs to somebody, and is an error.
func (s *Store) clear(path string) error {
	entries, err := s.fs.List(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name != delta.LogDir {
			return fmt.Errorf("directory %s holds %s: %w", path, e.Name, ErrExists)
		}
		inside, err := s.fs.List(filepath.Join(path, e.Name))
		if err != nil {
			return err
		}
		for _, f := range inside {
			if !delta.IsTemporary(f.Name) {
				return fmt.Errorf("directory %s holds %s: %w", path, f.Name, ErrExists)
			}
		}
	}
	return s.fs.RemoveAll(path)
}

// free returns the database if it has no table or view of that name.
func (s *Store) free(db, name string) (*database, error) {
	d, err := s.database(db)
	if err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	_, table := d.tables[strings.ToLower(name)]
	_, view := d.views[strings.ToLower(name)]
	if table || view {
		return nil, fmt.Errorf("table %s.%s: %w", db, name, ErrExists)
	}
	return d, nil
}

// Drop removes a table: its directory is renamed away first, so that it is never half there. It waits for a commit in
// flight; scans in flight may fail.
func (s *Store) Drop(_ context.Context, db, name string) error {
	s.ddl.Lock()
	defer s.ddl.Unlock()
	if err := s.begin(); err != nil {
		return fmt.Errorf("drop table %s.%s: %w", db, name, err)
	}
	defer s.writers.Done()
	t, err := s.Table(db, name)
	if err != nil {
		return err
	}
	t.commitMu.Lock()
	defer t.commitMu.Unlock()
	forget := func() {
		t.drop()
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.databases[strings.ToLower(db)].tables, strings.ToLower(name))
	}
	if t.external {
		if err = s.detach(t); err == nil {
			forget()
		}
	} else {
		err = s.trash(t.dir, filepath.Dir(t.dir), forget)
	}
	if err != nil {
		return fmt.Errorf("drop table %s.%s: %w", db, name, err)
	}
	return nil
}

// errNoTable is returned by openTable for a directory without a log.
var errNoTable = errors.New("no Delta table")

func openTable(s *Store, db, name, path string) (*Table, error) {
	t := newTable(s, db, name, path)
	listing, err := t.log.List()
	if errors.Is(err, fs.ErrNotExist) || (err == nil && listing.Newest() < 0) {
		return nil, errNoTable
	}
	if err != nil {
		return nil, err
	}
	if err := t.log.Sweep(listing); err != nil {
		return nil, err
	}
	// The last commit may have been linked by a process that ended before it was durable.
	if err := t.log.Sync(); err != nil {
		return nil, err
	}
	return t, t.load(listing)
}
