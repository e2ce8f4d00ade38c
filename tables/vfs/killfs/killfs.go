// Package killfs is a file system that ends the process at a named point of the life of a table, for tests that start
// the real program: no deferred call runs, as with kill -9. It knows the points by the file operations alone, so the
// code of tables and ledgers has no hooks.
package killfs

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"smelt/tables/vfs"
)

// Variable is the environment variable that names the point: "name" for its first time, "name:n" for its n-th.
const Variable = "SMELT_CRASH_AT"

// FS implements vfs.FS over another. Operations run one at a time, so that none is under way beside the deadly one.
type FS struct {
	under vfs.FS
	point point
	die   func() // does not return

	mu   sync.Mutex
	left int               // how many more times the point is to be reached
	text map[string]string // content of commits that have only a temporary name, by that name
	last map[string]string // content of the last commit that was linked into a log directory and not synced, by directory
}

var _ vfs.FS = (*FS)(nil)

// New wraps a file system. at is the value of Variable; a point that is not known is an error that lists those that are.
func New(under vfs.FS, at string) (*FS, error) {
	name, count, counted := strings.Cut(at, ":")
	p, ok := find(name)
	if !ok {
		return nil, fmt.Errorf("read %s: there is no crash point %q; known are %s", Variable, name, strings.Join(Points(), ", "))
	}
	n := 1
	if counted {
		var err error
		if n, err = strconv.Atoi(count); err != nil || n < 1 {
			return nil, fmt.Errorf("read %s: %q is no count: want a whole number from 1", Variable, count)
		}
	}
	return &FS{under: under, point: p, left: n, die: kill, text: map[string]string{}, last: map[string]string{}}, nil
}

// kill ends the process at once.
func kill() {
	if err := syscall.Kill(os.Getpid(), syscall.SIGKILL); err != nil {
		os.Exit(1) // never heard of
	}
	select {}
}

// reached dies if this is the moment. The caller holds mu.
func (f *FS) reached(op operation, path string, when moment) {
	if f.point.is(op, path, when) && f.follows(path) {
		f.hit()
	}
}

// hit counts. The caller holds mu.
func (f *FS) hit() {
	if f.left--; f.left == 0 {
		f.die()
	}
}

// follows reports whether the point is not bound to a commit, or its commit was the last one in this log directory.
func (f *FS) follows(path string) bool {
	if f.point.commit == "" {
		return true
	}
	text, ok := f.last[path]
	return ok && strings.Contains(text, f.point.commit)
}

// do runs an operation between the two moments at which a point may stand.
func (f *FS) do(op operation, path string, deed func() error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reached(op, path, before)
	if err := deed(); err != nil {
		return err
	}
	f.reached(op, path, after)
	return nil
}

// Create implements vfs.FS.
func (f *FS) Create(path string) (vfs.File, error) {
	opened, err := f.under.Create(path)
	if err != nil {
		return nil, err
	}
	return &file{File: opened, fs: f, path: path}, nil
}

// Link implements vfs.FS.
func (f *FS) Link(from, to string) error {
	return f.do(link, to, func() error {
		err := f.under.Link(from, to)
		if text, ok := f.text[from]; ok && err == nil {
			f.last[filepath.Dir(to)] = text
		}
		return err
	})
}

// Rename implements vfs.FS.
func (f *FS) Rename(from, to string) error {
	return f.do(rename, to, func() error { return f.under.Rename(from, to) })
}

// Remove implements vfs.FS.
func (f *FS) Remove(path string) error {
	return f.do(remove, path, func() error {
		delete(f.text, path)
		return f.under.Remove(path)
	})
}

// SyncDir implements vfs.FS.
func (f *FS) SyncDir(path string) error {
	err := f.do(syncDir, path, func() error { return f.under.SyncDir(path) })
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.last, path)
	return err
}

// Open implements vfs.FS.
func (f *FS) Open(path string) (vfs.File, error) { return f.under.Open(path) }

// ReadFile implements vfs.FS.
func (f *FS) ReadFile(path string) ([]byte, error) { return f.under.ReadFile(path) }

// RemoveAll implements vfs.FS.
func (f *FS) RemoveAll(path string) error { return f.under.RemoveAll(path) }

// MkdirAll implements vfs.FS.
func (f *FS) MkdirAll(path string) error { return f.under.MkdirAll(path) }

// List implements vfs.FS.
func (f *FS) List(path string) ([]vfs.Info, error) { return f.under.List(path) }

// Names implements vfs.FS.
func (f *FS) Names(path string) ([]string, error) { return f.under.Names(path) }

// Stat implements vfs.FS.
func (f *FS) Stat(path string) (vfs.Info, error) { return f.under.Stat(path) }

// Lock implements vfs.FS.
func (f *FS) Lock(path string) (io.Closer, error) { return f.under.Lock(path) }

// file is one being written.
type file struct {
	vfs.File
	fs   *FS
	path string
}

// Write implements io.Writer. At a point that is a torn write, half of the bytes go to the file first.
func (f *file) Write(b []byte) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if f.fs.point.is(write, f.path, half) && len(b) > 1 {
		if f.fs.left == 1 {
			if _, err := f.File.Write(b[:len(b)/2]); err != nil {
				return 0, err
			}
		}
		f.fs.hit()
	}
	if commitTmp.MatchString(f.path) {
		f.fs.text[f.path] += string(b)
	}
	return f.File.Write(b)
}

// Sync implements vfs.File.
func (f *file) Sync() error { return f.fs.do(syncFile, f.path, f.File.Sync) }
