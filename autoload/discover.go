package autoload

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// candidate is a file that was listed.
type candidate struct {
	path     string
	inside   string // path from the watched directory, symlinks resolved
	size     int64
	modified time.Time
	failed   error // why it must not be opened at all: a symlink out of the directory
}

// ours reports whether a name may hold data: not hidden, not a temporary name of a well-known writer.
func ours(name string) bool {
	if name[0] == '.' || name[0] == '_' {
		return false
	}
	for _, suffix := range []string{".tmp", ".part", ".partial", ".crdownload", ".swp", "~"} {
		if strings.HasSuffix(name, suffix) {
			return false
		}
	}
	return true
}

// lister lists one directory, again and again.
type lister struct {
	dir       string
	options   Options
	asides    []string      // files that the last look met under the hidden name of cleanSource
	whole     time.Time     // when every file was last looked at
	wholeCost time.Duration // and how long it took
}

// Looking at every file finds those that changed after they were loaded. It may take one part in lookShare of the time
// where it takes long: with 100,000 files it is a third of a second, the names alone a tenth.
const (
	lookShare = 50
	lookCheap = 10 * time.Millisecond
)

// list returns the files of the directory that may hold data, oldest first. A directory that is not there yet is empty.
// Files that are loaded are left out, but for a whole look now and then.
func (l *lister) list(loaded func(path string) bool) ([]candidate, error) {
	start := time.Now()
	since := start.Sub(l.whole)
	if l.wholeCost > lookCheap && since < lookShare*l.wholeCost && (l.options.Backfill == 0 || since < l.options.Backfill) {
		return l.walk(loaded)
	}
	files, err := l.walk(nil)
	l.whole = time.Now()
	l.wholeCost = l.whole.Sub(start)
	return files, err
}

func (l *lister) walk(loaded func(path string) bool) ([]candidate, error) {
	root, err := filepath.EvalSymlinks(l.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", l.dir, err)
	}
	var files []candidate
	l.asides = nil
	start := l.dir + string(filepath.Separator) // with the separator a symlink to a directory is walked, too
	visit := func(path string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil // gone since the listing
		case path == start:
			return err
		case err != nil: // a sub-directory that cannot be read keeps nothing else back
			files = append(files, candidate{path: filepath.Clean(path), failed: fmt.Errorf("list directory: %w", cause(err))})
			return nil
		case !ours(d.Name()):
			if d.Type().IsRegular() && d.Name()[0] == '.' && strings.HasSuffix(d.Name(), asideSuffix) {
				l.asides = append(l.asides, filepath.Clean(path))
			}
			return skip(d)
		case d.IsDir() && !l.options.enters(d.Name()):
			return fs.SkipDir
		case d.IsDir():
			return nil
		}
		if l.options.Glob != "" {
			if ok, err := filepath.Match(l.options.Glob, d.Name()); err != nil || !ok {
				return err
			}
		}
		path = filepath.Clean(path)
		if loaded != nil && loaded(path) {
			return nil
		}
		if c, ok := look(path, l.dir, root, d); ok {
			files = append(files, c)
		}
		return nil
	}
	if err := filepath.WalkDir(start, visit); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list %s: %w", l.dir, err)
	}
	slices.SortFunc(files, func(a, b candidate) int {
		if c := a.modified.Compare(b.modified); c != 0 {
			return c
		}
		return strings.Compare(a.path, b.path)
	})
	return files, nil
}

// enters reports whether files are looked for in a sub-directory of that name.
func (o Options) enters(name string) bool {
	column, _, ok := partitionOf(name)
	return o.Recursive || ok && slices.ContainsFunc(o.Partitions, func(p string) bool { return strings.EqualFold(p, column) })
}

func skip(d fs.DirEntry) error {
	if d.IsDir() {
		return fs.SkipDir
	}
	return nil
}

// look describes one entry. Symlinks are followed inside the directory only; what is no regular file is passed over.
// root is dir with its symlinks resolved.
func look(path, dir, root string, d fs.DirEntry) (candidate, bool) {
	info, err := d.Info()
	if err != nil {
		return candidate{}, false
	}
	c := candidate{path: path, inside: inside(dir, path), size: info.Size(), modified: info.ModTime()}
	if d.Type()&fs.ModeSymlink == 0 {
		return c, d.Type().IsRegular()
	}
	target, err := filepath.EvalSymlinks(path)
	if err != nil {
		c.failed = fmt.Errorf("follow symlink: %w", cause(err))
		return c, true
	}
	c.inside = inside(root, target)
	if !filepath.IsLocal(c.inside) {
		c.failed = fmt.Errorf("symlink to a file outside the watched directory%w", silent{errContent})
		return c, true
	}
	if info, err = os.Stat(path); err != nil {
		c.failed = fmt.Errorf("follow symlink: %w", cause(err))
		return c, true
	}
	c.size, c.modified = info.Size(), info.ModTime()
	return c, info.Mode().IsRegular()
}

// cause strips the path from an error of package os: smelt.files has it in a column of its own.
func cause(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}
