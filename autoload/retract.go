package autoload

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"smelt/tables"
	"smelt/tables/vfs"
)

// unloadedFile is the name of the list, in the state directory, of files that were unloaded before the ledger began.
const unloadedFile = "unloaded.json"

// Lookup finds a file of the ledger by its path, or by its path in the watched directory.
func (l *Loader) Lookup(file string) (File, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f, ok := l.files[filepath.Clean(file)]
	if !ok {
		f, ok = l.files[filepath.Join(l.cfg.Dir, file)]
	}
	return f, ok
}

// Retry has a file that failed read again by the next batch, whatever its error was.
func (l *Loader) Retry(path string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	f, ok := l.files[path]
	if !ok || f.State != Failed {
		return fmt.Errorf("retry file %q: it has not failed, its state is %q", path, f.State)
	}
	f.Content = false
	l.files[path] = f
	delete(l.retryAt, path)
	return nil
}

// Retract returns a batch without rows that notes a file as unloaded, so that it is not read again, or as new, so that
// it is. Its commit is to take the rows of the file out of the table.
func (l *Loader) Retract(path string, again bool) (*Batch, error) {
	l.next.Lock()
	defer l.next.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	f, ok := l.files[path]
	if !ok {
		return nil, fmt.Errorf("unload file %q: the ledger does not have it", path)
	}
	f.State, f.Rows, f.Error, f.Content = Unloaded, 0, "", false
	if again {
		f.State = Fresh
	}
	f.Batch, f.Read = l.committed+1, time.Now().UTC()
	return &Batch{Relation: tables.FromBatches(l.columns.full()), loader: l, number: f.Batch, files: []File{f}}, nil
}

// Carry notes in the state directory of a ledger that is to begin which files the present one has as unloaded, up to a
// committed batch: they stay out of the table when it is filled anew.
func Carry(files vfs.FS, from, to string, committed int64) error {
	old := ledger{fs: files, dir: filepath.Join(from, ledgerDir)}
	known, _, err := old.read(committed)
	if err == nil {
		err = old.addUnloaded(known)
	}
	if err != nil {
		return err
	}
	var out []File
	for _, f := range known {
		if f.State == Unloaded {
			f.Batch = passedOver
			out = append(out, f)
		}
	}
	if len(out) == 0 {
		return nil
	}
	slices.SortFunc(out, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	text, err := json.Marshal(out)
	if err != nil {
		return fmt.Errorf("encode unloaded files: %w", err)
	}
	fresh := ledger{fs: files, dir: filepath.Join(to, ledgerDir)}
	if err := fresh.make(); err != nil {
		return fmt.Errorf("make ledger: %w", err)
	}
	return vfs.WriteFile(files, filepath.Join(to, unloadedFile), text)
}

// addUnloaded adds the files that were unloaded before the ledger began to those that it knows.
func (l *ledger) addUnloaded(known map[string]File) error {
	text, err := l.fs.ReadFile(filepath.Join(filepath.Dir(l.dir), unloadedFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var list []File
	if err == nil {
		err = json.Unmarshal(text, &list)
	}
	if err != nil {
		return fmt.Errorf("read unloaded files: %w", err)
	}
	for _, f := range list {
		if _, ok := known[f.Path]; !ok {
			known[f.Path] = f
		}
	}
	return nil
}
