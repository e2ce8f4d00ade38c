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

// When a file counts as whole. A writer that renames a finished file into place shows only its creation; one that
// writes in place shows writes, and pauses of a second between them are rare.
const (
	settleCreated = 20 * time.Millisecond // only its creation was seen, and this long ago
	settleWritten = time.Second           // unchanged for this long
)

// candidate is a file that was listed and is not known, or known and different.
type candidate struct {
	path     string
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

// list returns the files of the directory that may hold data, oldest first. A directory that is not there yet is empty.
func list(dir string, o Options) ([]candidate, error) {
	root, err := filepath.EvalSymlinks(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", dir, err)
	}
	var files []candidate
	start := dir + string(filepath.Separator) // with the separator a symlink to a directory is walked, too
	walk := func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // gone since the listing
		}
		if err != nil {
			return err
		}
		if path == start {
			return nil
		}
		if !ours(d.Name()) {
			return skip(d)
		}
		if d.IsDir() {
			if o.Recursive {
				return nil
			}
			return fs.SkipDir
		}
		if o.Glob != "" {
			if ok, err := filepath.Match(o.Glob, d.Name()); err != nil || !ok {
				return err
			}
		}
		if c, ok := look(path, root, d); ok {
			files = append(files, c)
		}
		return nil
	}
	if err := filepath.WalkDir(start, walk); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list %s: %w", dir, err)
	}
	slices.SortFunc(files, func(a, b candidate) int {
		if c := a.modified.Compare(b.modified); c != 0 {
			return c
		}
		return strings.Compare(a.path, b.path)
	})
	return files, nil
}

func skip(d fs.DirEntry) error {
	if d.IsDir() {
		return fs.SkipDir
	}
	return nil
}

// look describes one entry. Symlinks are followed inside the directory only; what is no regular file is passed over.
func look(path, root string, d fs.DirEntry) (candidate, bool) {
	info, err := d.Info()
	if err != nil {
		return candidate{}, false
	}
	c := candidate{path: filepath.Clean(path), size: info.Size(), modified: info.ModTime()}
	if d.Type()&fs.ModeSymlink == 0 {
		return c, d.Type().IsRegular()
	}
	target, err := filepath.EvalSymlinks(path)
	if err != nil {
		c.failed = fmt.Errorf("follow symlink: %w", cause(err))
		return c, true
	}
	if rel, err := filepath.Rel(root, target); err != nil || rel == ".." || strings.HasPrefix(rel, ".."+string(filepath.Separator)) {
		c.failed = errors.New("symlink to a file outside the watched directory")
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
