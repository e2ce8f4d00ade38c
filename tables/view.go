package tables

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"smelt/tables/vfs"
)

// viewDir holds the ordinary views of a database, one file each. Delta readers skip directories that begin with _.
const viewDir = "_views"

// View is an ordinary view: a name for a SELECT, run anew at each use.
type View struct {
	Name            string `json:"name"`
	Query           string `json:"query"`
	CreateStatement string `json:"createStatement"`
	Comment         string `json:"comment,omitempty"`
}

func (s *Store) loadViews(db *database, dir string) error {
	entries, err := s.fs.List(dir)
	if err != nil {
		return fmt.Errorf("list views: %w", err)
	}
	for _, e := range entries {
		if e.Name[0] == '.' {
			// A view that a crash caught while it was written.
			if err := s.fs.Remove(filepath.Join(dir, e.Name)); err != nil {
				return fmt.Errorf("sweep views: %w", err)
			}
			continue
		}
		text, err := s.fs.ReadFile(filepath.Join(dir, e.Name))
		if err != nil {
			return fmt.Errorf("read view: %w", err)
		}
		var v View
		if err := json.Unmarshal(text, &v); err != nil {
			return fmt.Errorf("read view %s: %w", e.Name, err)
		}
		db.views[strings.ToLower(v.Name)] = v
	}
	return nil
}

// Views returns the views of a database, sorted by name; none for an unknown database.
func (s *Store) Views(db string) []View {
	s.mu.RLock()
	defer s.mu.RUnlock()
	d, ok := s.databases[strings.ToLower(db)]
	if !ok {
		return nil
	}
	list := make([]View, 0, len(d.views))
	for _, v := range d.views {
		list = append(list, v)
	}
	slices.SortFunc(list, func(a, b View) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// View returns a view by name, ignoring case, or ErrNotFound.
func (s *Store) View(db, name string) (View, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if d, ok := s.databases[strings.ToLower(db)]; ok {
		if v, ok := d.views[strings.ToLower(name)]; ok {
			return v, nil
		}
	}
	return View{}, fmt.Errorf("view %s.%s: %w", db, name, ErrNotFound)
}

// PutView makes a view, or replaces the view of that name. ErrExists if a table has the name.
func (s *Store) PutView(db string, v View) error {
	if !nameRule.MatchString(v.Name) {
		return fmt.Errorf("create view %q: not a usable name", v.Name)
	}
	s.ddl.Lock()
	defer s.ddl.Unlock()
	if err := s.begin(); err != nil {
		return fmt.Errorf("create view %s.%s: %w", db, v.Name, err)
	}
	defer s.writers.Done()
	d, err := s.database(db)
	if err != nil {
		return err
	}
	if _, err := s.Table(db, v.Name); err == nil {
		return fmt.Errorf("table %s.%s: %w", db, v.Name, ErrExists)
	}
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("create view %s.%s: %w", db, v.Name, err)
	}
	path := s.viewPath(d, v.Name)
	if err := vfs.MakeDirs(s.fs, filepath.Dir(path)); err != nil {
		return fmt.Errorf("create view %s.%s: %w", db, v.Name, err)
	}
	if err := vfs.WriteFile(s.fs, path, text); err != nil {
		return fmt.Errorf("create view %s.%s: %w", db, v.Name, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	d.views[strings.ToLower(v.Name)] = v
	return nil
}

// DropView removes a view, or returns ErrNotFound.
func (s *Store) DropView(db, name string) error {
	s.ddl.Lock()
	defer s.ddl.Unlock()
	if err := s.begin(); err != nil {
		return fmt.Errorf("drop view %s.%s: %w", db, name, err)
	}
	defer s.writers.Done()
	if _, err := s.View(db, name); err != nil {
		return err
	}
	d, err := s.database(db)
	if err != nil {
		return err
	}
	path := s.viewPath(d, name)
	if err := s.fs.Remove(path); err != nil {
		return fmt.Errorf("drop view %s.%s: %w", db, name, err)
	}
	s.mu.Lock()
	delete(d.views, strings.ToLower(name))
	s.mu.Unlock()
	if err := s.fs.SyncDir(filepath.Dir(path)); err != nil {
		return fmt.Errorf("drop view %s.%s: %w", db, name, err)
	}
	return nil
}

func (s *Store) viewPath(d *database, name string) string {
	return filepath.Join(s.dir, d.name, viewDir, strings.ToLower(name)+".json")
}
