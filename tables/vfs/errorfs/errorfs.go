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
	// Err is what FailAt returns.
	Err error
	// SkipSync makes the syncs for which it is true do nothing: the negative control of a test. dir tells SyncDir.
	SkipSync func(path string, dir bool) bool

	mu    sync.Mutex
	ops   int
	trace []string
	dirs  map[string]*directory
	locks map[string]bool
}

// directory holds names; those in durable survive a crash.
type directory struct {
	names, durable map[string]any // *inode, or true for a directory
}

// inode is a file, whatever its names.
type inode struct {
	content, durable []byte
	modified         time.Time
}

var _ vfs.FS = (*FS)(nil)

// New returns an empty file system whose root "/" is durable.
func New() *FS {
	return &FS{dirs: map[string]*directory{"/": newDirectory()}, locks: map[string]bool{}}
}

func newDirectory() *directory { return &directory{names: map[string]any{}, durable: map[string]any{}} }

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

// Crash returns the file system as it is found after a power cut, and leaves f as it is.
func (f *FS) Crash() *FS {
	f.mu.Lock()
	defer f.mu.Unlock()
	after := New()
	copies := map[*inode]*inode{}
	var visit func(dir string)
	visit = func(dir string) {
		to := newDirectory()
		after.dirs[dir] = to
		for name, v := range f.dirs[dir].durable {
			if n, ok := v.(*inode); ok {
				if copies[n] == nil {
					copies[n] = &inode{content: slices.Clone(n.durable), durable: slices.Clone(n.durable), modified: n.modified}
				}
				to.names[name], to.durable[name] = copies[n], copies[n]
				continue
			}
			to.names[name], to.durable[name] = v, v
			visit(path.Join(dir, name))
		}
	}
	visit("/")
	return after
}

// step counts one operation and decides whether it happens. The caller holds mu.
func (f *FS) step(op, p string) error {
	f.ops++
	if f.CrashAt > 0 && f.ops >= f.CrashAt {
		return &fs.PathError{Op: op, Path: p, Err: ErrPower}
	}
	if f.FailAt == f.ops {
		return &fs.PathError{Op: op, Path: p, Err: f.Err}
	}
	f.trace = append(f.trace, op+" "+p)
	return nil
}

// dead reports whether the power is gone; reads do not count as operations. The caller holds mu.
func (f *FS) dead() error {
	if f.CrashAt > 0 && f.ops >= f.CrashAt {
		return ErrPower
	}
	return nil
}

func (f *FS) parent(p string) (*directory, string, error) {
	d, ok := f.dirs[path.Dir(p)]
	if !ok {
		return nil, "", &fs.PathError{Op: "open", Path: p, Err: fs.ErrNotExist}
	}
	return d, path.Base(p), nil
}

func (f *FS) inode(p string) (*inode, error) {
	d, name, err := f.parent(p)
	if err != nil {
		return nil, err
	}
	n, ok := d.names[name].(*inode)
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: p, Err: fs.ErrNotExist}
	}
	return n, nil
}

// Create implements vfs.FS.
func (f *FS) Create(p string) (vfs.File, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.step("create", p); err != nil {
		return nil, err
	}
	d, name, err := f.parent(p)
	if err != nil {
		return nil, err
	}
	if _, ok := d.names[name]; ok {
		return nil, &fs.PathError{Op: "create", Path: p, Err: fs.ErrExist}
	}
	n := &inode{modified: time.Now()}
	d.names[name] = n
	return &file{fs: f, path: p, inode: n}, nil
}

// Open implements vfs.FS.
func (f *FS) Open(p string) (vfs.File, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.dead(); err != nil {
		return nil, err
	}
	n, err := f.inode(p)
	if err != nil {
		return nil, err
	}
	return &file{fs: f, path: p, inode: n}, nil
}

// ReadFile implements vfs.FS.
func (f *FS) ReadFile(p string) ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.dead(); err != nil {
		return nil, err
	}
	n, err := f.inode(p)
	if err != nil {
		return nil, err
	}
	return slices.Clone(n.content), nil
}

// Link implements vfs.FS.
func (f *FS) Link(from, to string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.step("link", from+" -> "+to); err != nil {
		return err
	}
	n, err := f.inode(from)
	if err != nil {
		return err
	}
	d, name, err := f.parent(to)
	if err != nil {
		return err
	}
	if _, ok := d.names[name]; ok {
		return &fs.PathError{Op: "link", Path: to, Err: fs.ErrExist}
	}
	d.names[name] = n
	return nil
}

// Rename implements vfs.FS.
func (f *FS) Rename(from, to string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.step("rename", from+" -> "+to); err != nil {
		return err
	}
	d, name, err := f.parent(from)
	if err != nil {
		return err
	}
	v, ok := d.names[name]
	if !ok {
		return &fs.PathError{Op: "rename", Path: from, Err: fs.ErrNotExist}
	}
	e, other, err := f.parent(to)
	if err != nil {
		return err
	}
	delete(d.names, name)
	e.names[other] = v
	if v == true {
		for p, dir := range f.dirs {
			if p == from || strings.HasPrefix(p, from+"/") {
				delete(f.dirs, p)
				f.dirs[to+strings.TrimPrefix(p, from)] = dir
			}
		}
	}
	return nil
}

// Remove implements vfs.FS.
func (f *FS) Remove(p string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.step("remove", p); err != nil {
		return err
	}
	d, name, err := f.parent(p)
	if err != nil {
		return err
	}
	if _, ok := d.names[name]; !ok {
		return &fs.PathError{Op: "remove", Path: p, Err: fs.ErrNotExist}
	}
	delete(d.names, name)
	return nil
}

// RemoveAll implements vfs.FS.
func (f *FS) RemoveAll(p string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.step("removeall", p); err != nil {
		return err
	}
	if d, name, err := f.parent(p); err == nil {
		delete(d.names, name)
	}
	for dir := range f.dirs {
		if dir == p || strings.HasPrefix(dir, p+"/") {
			delete(f.dirs, dir)
		}
	}
	return nil
}

// MkdirAll implements vfs.FS.
func (f *FS) MkdirAll(p string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.step("mkdirall", p); err != nil {
		return err
	}
	at := "/"
	for _, name := range strings.Split(strings.Trim(p, "/"), "/") {
		d := f.dirs[at]
		at = path.Join(at, name)
		if f.dirs[at] == nil {
			d.names[name] = true
			f.dirs[at] = newDirectory()
		}
	}
	return nil
}

// SyncDir implements vfs.FS.
func (f *FS) SyncDir(p string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.step("syncdir", p); err != nil {
		return err
	}
	d, ok := f.dirs[p]
	if !ok {
		return &fs.PathError{Op: "sync", Path: p, Err: fs.ErrNotExist}
	}
	if f.SkipSync != nil && f.SkipSync(p, true) {
		return nil
	}
	d.durable = map[string]any{}
	for k, v := range d.names {
		d.durable[k] = v
	}
	return nil
}

// List implements vfs.FS.
func (f *FS) List(p string) ([]vfs.Info, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.dead(); err != nil {
		return nil, err
	}
	d, ok := f.dirs[p]
	if !ok {
		return nil, &fs.PathError{Op: "list", Path: p, Err: fs.ErrNotExist}
	}
	var out []vfs.Info
	for name, v := range d.names {
		info := vfs.Info{Name: name, Dir: v == true}
		if n, ok := v.(*inode); ok {
			info.Size, info.Modified = int64(len(n.content)), n.modified
		}
		out = append(out, info)
	}
	slices.SortFunc(out, func(a, b vfs.Info) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
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

type closer func() error

// Close implements io.Closer.
func (c closer) Close() error { return c() }

// file is an open inode.
type file struct {
	fs    *FS
	path  string
	inode *inode
}

// Write implements io.Writer.
func (f *file) Write(b []byte) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.fs.step("write", f.path); err != nil {
		return 0, err
	}
	f.inode.content = append(f.inode.content, b...)
	return len(b), nil
}

// ReadAt implements io.ReaderAt.
func (f *file) ReadAt(b []byte, at int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if at >= int64(len(f.inode.content)) {
		return 0, io.EOF
	}
	n := copy(b, f.inode.content[at:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

// Sync implements vfs.File.
func (f *file) Sync() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.fs.step("sync", f.path); err != nil {
		return err
	}
	if f.fs.SkipSync == nil || !f.fs.SkipSync(f.path, false) {
		f.inode.durable = slices.Clone(f.inode.content)
	}
	return nil
}

// Size implements vfs.File.
func (f *file) Size() (int64, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	return int64(len(f.inode.content)), nil
}

// Close implements io.Closer.
func (f *file) Close() error { return nil }
