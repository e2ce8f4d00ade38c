// Package errorfs is a file system in memory that loses power and fails on demand, for tests. It keeps apart what was
// written and what was made durable: after Crash only contents that were synced stand behind names whose directory was
// synced, which is the least that a real one promises. It is stricter than most real ones.
package errorfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"smelt/tables/vfs"
)

// ErrPower is what every operation returns once the power is gone.
var ErrPower = errors.New("power lost")

// FS implements vfs.FS. Its fields are set before use; methods are safe for concurrent use.
type FS struct {
	// CrashAt is the operation, counted from 1, before which the power goes; 0 for never.
	CrashAt int
	// FailAt is the operation that fails once with Err; 0 for none.
	FailAt int
	// FailLate lets the operation FailAt happen before it fails: the caller cannot know.
	FailLate bool
	// Err is what FailAt returns.
	Err error
	// FailIf returns the error of an operation that is not to happen, nil for one that is. It may be changed between
	// operations: a disk that is full has room again later.
	FailIf func(op, path string) error
	// SkipSync makes the syncs for which it is true do nothing: the negative control of a test. dir tells SyncDir.
	SkipSync func(path string, dir bool) bool
	// FailRead returns the error of reading a path, nil for none.
	FailRead func(path string) error

	mu    sync.Mutex
	ops   int
	trace []string
	root  *node
	locks map[string]bool
}

var _ vfs.FS = (*FS)(nil)

// New returns an empty file system whose root "/" is durable.
func New() *FS { return &FS{root: newDirectory(), locks: map[string]bool{}} }

// Ops returns how many operations were done.
func (f *FS) Ops() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ops
}

// Trace returns the mutating operations so far, one a line.
func (f *FS) Trace() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.trace)
}

// do counts one operation, decides whether it happens and whether it is said to have. The caller holds mu.
func (f *FS) do(op, p string, deed func() error) error {
	f.ops++
	if f.CrashAt > 0 && f.ops >= f.CrashAt {
		return &fs.PathError{Op: op, Path: p, Err: ErrPower}
	}
	failed := f.FailAt == f.ops
	if failed && !f.FailLate {
		return &fs.PathError{Op: op, Path: p, Err: f.Err}
	}
	if f.FailIf != nil {
		if err := f.FailIf(op, p); err != nil {
			return &fs.PathError{Op: op, Path: p, Err: err}
		}
	}
	f.trace = append(f.trace, op+" "+p)
	if err := deed(); err != nil {
		return &fs.PathError{Op: op, Path: p, Err: err}
	}
	if failed {
		return &fs.PathError{Op: op, Path: p, Err: f.Err}
	}
	return nil
}

// reading returns the node of a path for an operation that changes nothing and is not counted. The caller holds mu.
func (f *FS) reading(op, p string, dir bool) (*node, error) {
	if f.CrashAt > 0 && f.ops >= f.CrashAt {
		return nil, &fs.PathError{Op: op, Path: p, Err: ErrPower}
	}
	if f.FailRead != nil {
		if err := f.FailRead(p); err != nil {
			return nil, &fs.PathError{Op: op, Path: p, Err: err}
		}
	}
	n := f.root.at(p)
	if n == nil {
		return nil, &fs.PathError{Op: op, Path: p, Err: fs.ErrNotExist}
	}
	if n.dir != dir {
		return nil, &fs.PathError{Op: op, Path: p, Err: fs.ErrInvalid}
	}
	return n, nil
}

// parent returns the directory that holds the name of a path.
func (f *FS) parent(p string) (dir *node, name string, err error) {
	dir = f.root.at(path.Dir(p))
	if dir == nil || !dir.dir {
		return nil, "", fs.ErrNotExist
	}
	return dir, path.Base(p), nil
}

// Create implements vfs.FS.
func (f *FS) Create(p string) (vfs.File, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := &node{modified: time.Now()}
	err := f.do("create", p, func() error {
		dir, name, err := f.parent(p)
		if err != nil {
			return err
		}
		if dir.names[name] != nil {
			return fs.ErrExist
		}
		dir.apply(change{name: n})
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &file{fs: f, path: p, node: n}, nil
}

// Open implements vfs.FS.
func (f *FS) Open(p string) (vfs.File, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, err := f.reading("open", p, false)
	if err != nil {
		return nil, err
	}
	return &file{fs: f, path: p, node: n}, nil
}

// ReadFile implements vfs.FS.
func (f *FS) ReadFile(p string) ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, err := f.reading("read", p, false)
	if err != nil {
		return nil, err
	}
	return slices.Clone(n.content), nil
}

// Link implements vfs.FS.
func (f *FS) Link(from, to string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.do("link", from+" -> "+to, func() error {
		n := f.root.at(from)
		dir, name, err := f.parent(to)
		if n == nil || n.dir || err != nil {
			return fs.ErrNotExist
		}
		if dir.names[name] != nil {
			return fs.ErrExist
		}
		dir.apply(change{name: n})
		return nil
	})
}

// Rename implements vfs.FS.
func (f *FS) Rename(from, to string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.do("rename", from+" -> "+to, func() error {
		n := f.root.at(from)
		old, oldName, err := f.parent(from)
		if n == nil || err != nil {
			return fs.ErrNotExist
		}
		dir, name, err := f.parent(to)
		if err != nil {
			return err
		}
		if there := dir.names[name]; there != nil && there.dir {
			return fs.ErrExist
		}
		if old == dir {
			dir.apply(change{oldName: nil, name: n})
			return nil
		}
		dir.apply(change{name: n})
		old.apply(change{oldName: nil})
		return nil
	})
}

// Remove implements vfs.FS.
func (f *FS) Remove(p string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.do("remove", p, func() error {
		dir, name, err := f.parent(p)
		if err != nil {
			return err
		}
		n := dir.names[name]
		if n == nil {
			return fs.ErrNotExist
		}
		if len(n.names) > 0 {
			return errors.New("directory not empty")
		}
		dir.apply(change{name: nil})
		return nil
	})
}

// RemoveAll implements vfs.FS. Files go one by one, from the inside, as they do on a real one.
func (f *FS) RemoveAll(p string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.do("removeall", p, func() error {
		dir, name, err := f.parent(p)
		if err != nil || dir.names[name] == nil {
			return nil
		}
		dir.names[name].empty()
		dir.apply(change{name: nil})
		return nil
	})
}

func (n *node) empty() {
	for name, child := range n.names {
		child.empty()
		n.apply(change{name: nil})
	}
}

// MkdirAll implements vfs.FS.
func (f *FS) MkdirAll(p string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.do("mkdirall", p, func() error {
		at := f.root
		for _, name := range strings.Split(strings.Trim(p, "/"), "/") {
			next := at.names[name]
			if next == nil {
				next = newDirectory()
				at.apply(change{name: next})
			}
			if !next.dir {
				return fs.ErrExist
			}
			at = next
		}
		return nil
	})
}

// SyncDir implements vfs.FS.
func (f *FS) SyncDir(p string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.do("syncdir", p, func() error {
		n := f.root.at(p)
		if n == nil || !n.dir {
			return fs.ErrNotExist
		}
		if f.SkipSync == nil || !f.SkipSync(p, true) {
			n.sync()
		}
		return nil
	})
}

// List implements vfs.FS.
func (f *FS) List(p string) ([]vfs.Info, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, err := f.reading("list", p, true)
	if err != nil {
		return nil, err
	}
	var out []vfs.Info
	for name, v := range n.names {
		out = append(out, v.info(name))
	}
	slices.SortFunc(out, func(a, b vfs.Info) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// Names implements vfs.FS.
func (f *FS) Names(p string) ([]string, error) {
	list, err := f.List(p)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(list))
	for i, info := range list {
		names[i] = info.Name
	}
	return names, nil
}

// Stat implements vfs.FS.
func (f *FS) Stat(p string) (vfs.Info, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, err := f.reading("stat", p, true)
	if errors.Is(err, fs.ErrInvalid) {
		n, err = f.reading("stat", p, false)
	}
	if err != nil {
		return vfs.Info{}, err
	}
	return n.info(path.Base(p)), nil
}

func (n *node) info(name string) vfs.Info {
	return vfs.Info{Name: name, Size: int64(len(n.content)), Modified: n.modified, Dir: n.dir}
}

// Lock implements vfs.FS.
func (f *FS) Lock(p string) (io.Closer, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.locks[p] {
		return nil, fmt.Errorf("lock %s: %w", p, vfs.ErrLocked)
	}
	f.locks[p] = true
	return closer(func() error {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.locks, p)
		return nil
	}), nil
}

// Unlock takes every lock from its holder, as the kernel does when a process ends.
func (f *FS) Unlock() {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.locks)
}

type closer func() error

// Close implements io.Closer.
func (c closer) Close() error { return c() }
