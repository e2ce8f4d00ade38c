package tables

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
)

// Rename gives a table another name in its database. It waits for a commit in flight; scans in flight may fail, and the
// Table of the old name is as one that was dropped. ErrExists if a table or view has the name.
func (s *Store) Rename(_ context.Context, db, name, to string) error {
	if !nameRule.MatchString(to) {
		return fmt.Errorf("rename table %s.%s to %q: not a usable name", db, name, to)
	}
	s.ddl.Lock()
	defer s.ddl.Unlock()
	if err := s.begin(); err != nil {
		return fmt.Errorf("rename table %s.%s: %w", db, name, err)
	}
	defer s.writers.Done()
	t, err := s.Table(db, name)
	if err != nil {
		return err
	}
	d, err := s.free(db, to)
	if err != nil {
		return err
	}
	if t.external {
		return fmt.Errorf("rename table %s.%s: it lies elsewhere and is kept by others", db, name)
	}
	t.commitMu.Lock()
	defer t.commitMu.Unlock()
	path := filepath.Join(filepath.Dir(t.dir), to)
	if err := s.clear(path); err != nil {
		return fmt.Errorf("rename table %s.%s: %w", db, name, err)
	}
	if err := s.fs.Rename(t.dir, path); err != nil {
		return fmt.Errorf("rename table %s.%s: %w", db, name, err)
	}
	renamed, err := openTable(s, d.name, to, path)
	if err != nil {
		return fmt.Errorf("rename table %s.%s: %w", db, name, err)
	}
	t.drop()
	s.mu.Lock()
	delete(d.tables, strings.ToLower(name))
	d.tables[strings.ToLower(to)] = renamed
	s.mu.Unlock()
	if err := s.fs.SyncDir(filepath.Dir(path)); err != nil {
		return fmt.Errorf("rename table %s.%s: %w", db, name, err)
	}
	return nil
}
