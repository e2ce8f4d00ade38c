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
	s.mu.Lock()
	defer s.mu.Unlock()
	d, ok := s.databases[strings.ToLower(db)]
	if !ok {
		return fmt.Errorf("database %q: %w", db, ErrNotFound)
	}
	if _, ok := d.tables[strings.ToLower(v.Name)]; ok {
		return fmt.Errorf("table %s.%s: %w", db, v.Name, ErrExists)
	}
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("create view %s.%s: %w", db, v.Name, err)
	}
	dir := filepath.Join(s.dir, d.name, viewDir)
	if err := s.fs.MkdirAll(dir); err != nil {
		return fmt.Errorf("create view %s.%s: %w", db, v.Name, err)
	}
	if err := s.fs.SyncDir(filepath.Dir(dir)); err != nil {
		return fmt.Errorf("create view %s.%s: %w", db, v.Name, err)
	}
	if err := vfs.WriteFile(s.fs, s.viewPath(d, v.Name), text); err != nil {
		return fmt.Errorf("create view %s.%s: %w", db, v.Name, err)
	}
	d.views[strings.ToLower(v.Name)] = v
	return nil
}

// DropView removes a view, or returns ErrNotFound.
func (s *Store) DropView(db, name string) error {
	if _, err := s.View(db, name); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.databases[strings.ToLower(db)]
	path := s.viewPath(d, name)
	if err := s.fs.Remove(path); err != nil {
		return fmt.Errorf("drop view %s.%s: %w", db, name, err)
	}
	if err := s.fs.SyncDir(filepath.Dir(path)); err != nil {
		return fmt.Errorf("drop view %s.%s: %w", db, name, err)
	}
	delete(d.views, strings.ToLower(name))
	return nil
}

func (s *Store) viewPath(d *database, name string) string {
	return filepath.Join(s.dir, d.name, viewDir, strings.ToLower(name)+".json")
}
