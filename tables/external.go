package tables

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"smelt/tables/vfs"
)

// externalDir holds, in the directory of a database, a file for each table that lies elsewhere.
const externalDir = "_external"

// externalPoll is how often the log of a table that others write is looked at, for those who wait for its changes.
const externalPoll = time.Second

// storedExternal is the content of such a file.
type storedExternal struct {
	Location string `json:"location"`
}

// Attach gives a Delta table that lies elsewhere a name in a database. Others may write it meanwhile; its files are not
// tended, and Drop only takes the name away. location is absolute.
func (s *Store) Attach(_ context.Context, db, name, location string) (*Table, error) {
	if !nameRule.MatchString(name) {
		return nil, fmt.Errorf("attach table %q: not a usable name", name)
	}
	s.ddl.Lock()
	defer s.ddl.Unlock()
	if err := s.begin(); err != nil {
		return nil, fmt.Errorf("attach table %s.%s: %w", db, name, err)
	}
	defer s.writers.Done()
	d, err := s.free(db, name)
	if err != nil {
		return nil, err
	}
	t, err := s.openExternal(d.name, name, location)
	if err != nil {
		return nil, fmt.Errorf("attach %s as %s.%s: %w", location, db, name, err)
	}
	text, err := json.Marshal(storedExternal{Location: location})
	if err != nil {
		return nil, fmt.Errorf("attach %s as %s.%s: %w", location, db, name, err)
	}
	dir := filepath.Join(s.dir, d.name, externalDir)
	if err := vfs.MakeDirs(s.fs, dir); err != nil {
		return nil, fmt.Errorf("attach %s as %s.%s: %w", location, db, name, err)
	}
	if err := vfs.WriteFile(s.fs, filepath.Join(dir, name+".json"), text); err != nil {
		return nil, fmt.Errorf("attach %s as %s.%s: %w", location, db, name, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	d.tables[strings.ToLower(name)] = t
	s.poll(t)
	return t, nil
}

func (s *Store) openExternal(db, name, location string) (*Table, error) {
	t := newTable(s, db, name, location)
	t.external = true
	listing, err := t.log.List()
	if errors.Is(err, fs.ErrNotExist) || err == nil && listing.Newest() < 0 {
		return nil, fmt.Errorf("there is no Delta table in it: %w", ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	return t, t.load(listing)
}

// loadExternal opens the attached tables of a database. One that cannot be opened keeps nothing else from starting: its
// disk may come back.
func (s *Store) loadExternal(db *database, dir string) error {
	entries, err := s.fs.List(dir)
	if err != nil {
		return fmt.Errorf("list %s: %w", dir, err)
	}
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name, ".json")
		if !ok || !nameRule.MatchString(name) {
			continue
		}
		text, err := s.fs.ReadFile(filepath.Join(dir, e.Name))
		if err != nil {
			return fmt.Errorf("read attached table %s: %w", name, err)
		}
		var stored storedExternal
		if err := json.Unmarshal(text, &stored); err != nil {
			return fmt.Errorf("read attached table %s: %w", name, err)
		}
		t, err := s.openExternal(db.name, name, stored.Location)
		if err != nil {
			s.log.Error("attached table not opened", "table", db.name+"."+name, "location", stored.Location, "err", err)
			continue
		}
		db.tables[strings.ToLower(name)] = t
		s.poll(t)
	}
	return nil
}

// detach takes the name of an attached table away. The caller holds ddl and the table's commitMu.
func (s *Store) detach(t *Table) error {
	dir := filepath.Join(s.dir, t.db, externalDir)
	if err := s.fs.Remove(filepath.Join(dir, t.name+".json")); err != nil {
		return err
	}
	return s.fs.SyncDir(dir)
}

// poll looks at the log of an attached table until the store is closed or the table dropped.
func (s *Store) poll(t *Table) {
	s.pollers.Add(1)
	go func() {
		defer s.pollers.Done()
		ticker := time.NewTicker(externalPoll)
		defer ticker.Stop()
		for {
			select {
			case <-s.closing:
				return
			case <-ticker.C:
			}
			t.mu.RLock()
			dropped := t.dropped
			t.mu.RUnlock()
			if dropped {
				return
			}
			if err := t.Refresh(); err != nil {
				s.log.Warn("attached table not read", "table", t.db+"."+t.name, "err", err)
			}
		}
	}()
}

// Refresh takes in what others have committed to a table that lies outside the store; other tables are always as new as
// they can be. Call it before Snapshot to see the newest version.
func (t *Table) Refresh() error {
	if !t.external {
		return nil
	}
	// A commit of ours may take its time; what is at hand is no older than the last poll.
	if !t.commitMu.TryLock() {
		return nil
	}
	defer t.commitMu.Unlock()
	if err := t.refresh(); err != nil {
		return fmt.Errorf("read the log of %s.%s: %w", t.db, t.name, err)
	}
	return nil
}

// External reports whether the table lies outside the store.
func (t *Table) External() bool { return t.external }
