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
	dir     string
	options Options
	whole   time.Time     // when every file was last looked at
	cost    time.Duration // and how long it took
	last    time.Time     // when the last look began that has ended
}

// Looking at every file finds those that changed after they were loaded. It may take one part in lookShare of the time
// where it takes long: with 100,000 files it is a third of a second, the names alone a tenth.
const (
	lookShare = 50
	lookCheap = 10 * time.Millisecond
)

// listing is what one look at the directory found.
type listing struct {
	files  []candidate   // that may hold data, oldest first
	dirs   []string      // inside, in which files are looked for
	asides []string      // under the hidden name of cleanSource
	whole  bool          // files that are loaded are among them
	start  time.Time     // what was there by then is in it
	took   time.Duration // 0 for a directory that is not there
	err    error
}

// list looks at the directory. One that is not there yet is empty.
func (l *lister) list(loaded func(path string) bool) listing {
	r := l.look(loaded, l.due())
	l.note(r)
	return r
}

// due reports whether the next look should see every file, also those that are loaded.
func (l *lister) due() bool {
	since := time.Since(l.whole)
	return l.cheap() || since >= lookShare*l.cost || l.options.Backfill > 0 && since >= l.options.Backfill
}

// cheap reports whether looking at every file costs next to nothing.
func (l *lister) cheap() bool { return l.cost <= lookCheap }

// recent reports whether the last look was so short a time ago that files of which notifications told may come before
// the next one: else those that nobody told of would wait for ever.
func (l *lister) recent() bool { return time.Since(l.last) < pollShare*l.cost }

// look looks at the directory and changes nothing in the lister, so that it may run beside. Loaded files are left out
// unless whole is true.
func (l *lister) look(loaded func(path string) bool, whole bool) listing {
	r := listing{whole: whole, start: time.Now()}
	if whole {
		loaded = nil
	}
	r.err = l.walk(&r, loaded)
	r.took = time.Since(r.start)
	return r
}

// note learns from a look what the next costs.
func (l *lister) note(r listing) {
	l.last = r.start
	if r.whole {
		l.whole, l.cost = time.Now(), r.took
	}
}

func (l *lister) walk(r *listing, loaded func(path string) bool) error {
	root, err := filepath.EvalSymlinks(l.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list %s: %w", l.dir, err)
	}
	if info, err := os.Stat(root); err == nil && !info.IsDir() {
		return fmt.Errorf("list %s: it is a file; name its directory, with pathGlobFilter => '%s' for this file alone", l.dir, filepath.Base(l.dir))
	}
	start := l.dir + string(filepath.Separator) // with the separator a symlink to a directory is walked, too
	visit := func(path string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil // gone since the listing
		case path == start:
			return err
		case err != nil: // a sub-directory that cannot be read keeps nothing else back
			r.files = append(r.files, candidate{path: filepath.Clean(path), failed: fmt.Errorf("list directory: %w", cause(err))})
			return nil
		case !ours(d.Name()):
			if d.Type().IsRegular() && d.Name()[0] == '.' && strings.HasSuffix(d.Name(), asideSuffix) {
				r.asides = append(r.asides, filepath.Clean(path))
			}
			return skip(d)
		case d.IsDir() && !l.options.enters(d.Name()):
			return fs.SkipDir
		case d.IsDir():
			r.dirs = append(r.dirs, filepath.Clean(path))
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
			r.files = append(r.files, c)
		}
		return nil
	}
	if err := filepath.WalkDir(start, visit); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("list %s: %w", l.dir, err)
	}
	slices.SortFunc(r.files, oldestFirst)
	return nil
}

func oldestFirst(a, b candidate) int {
	if c := a.modified.Compare(b.modified); c != 0 {
		return c
	}
	return strings.Compare(a.path, b.path)
}

// named looks at single files, of which notifications told; what is not there or may hold no data is left out.
func (l *lister) named(paths []string) []candidate {
	root, err := filepath.EvalSymlinks(l.dir)
	if err != nil {
		return nil // the next look says why
	}
	var files []candidate
	for _, path := range paths {
		if !l.options.reads(inside(l.dir, path)) {
			continue
		}
		info, err := os.Lstat(path)
		if err != nil || info.IsDir() {
			continue
		}
		if c, ok := look(path, l.dir, root, fs.FileInfoToDirEntry(info)); ok {
			files = append(files, c)
		}
	}
	slices.SortFunc(files, oldestFirst)
	return files
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
