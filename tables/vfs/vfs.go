// Package vfs is the seam between smelt's tables and the file system: everything that must survive a power cut goes
// through FS, so that tests can lose power or fail at any operation. Paths are ordinary paths of the machine; errors
// wrap those of package os and can be tested with errors.Is(err, fs.ErrNotExist) and the like.
package vfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ErrLocked is returned by Lock when another process holds the lock.
var ErrLocked = errors.New("locked by another process")

// File is an open file. Writes append at the end; a file opened by FS.Open only reads.
type File interface {
	io.Writer
	io.ReaderAt
	io.Closer
	// Sync makes the content durable, not the name: see FS.SyncDir.
	Sync() error
	// Size returns the length in bytes.
	Size() (int64, error)
}

// Info describes a name in a directory.
type Info struct {
	Name     string
	Size     int64 // bytes
	Modified time.Time
	Dir      bool
}

// FS is the file operations that tables need. Implementations are safe for concurrent use.
type FS interface {
	// Create makes a new file for writing; an existing one is fs.ErrExist.
	Create(path string) (File, error)
	// Open opens a file for reading.
	Open(path string) (File, error)
	// ReadFile reads a whole file.
	ReadFile(path string) ([]byte, error)
	// Link gives an existing file a second name; an existing name is fs.ErrExist, which makes commits atomic.
	Link(from, to string) error
	// Rename moves a name, replacing what is there.
	Rename(from, to string) error
	// Remove removes a file or an empty directory.
	Remove(path string) error
	// RemoveAll removes a tree; a missing one is no error.
	RemoveAll(path string) error
	// MkdirAll makes a directory and its missing parents.
	MkdirAll(path string) error
	// SyncDir makes the names in a directory durable.
	SyncDir(path string) error
	// List returns what stands in a directory, sorted by name.
	List(path string) ([]Info, error)
	// Names returns the names in a directory, sorted: it costs a tenth of List where there are many.
	Names(path string) ([]string, error)
	// Stat describes one name; a missing one is fs.ErrNotExist.
	Stat(path string) (Info, error)
	// Lock takes an exclusive lock on a file, made if missing, until Close; ErrLocked if another process holds it.
	Lock(path string) (io.Closer, error)
}

// OS returns the file system of the machine.
func OS() FS { return osFS{} }

type osFS struct{}

type osFile struct{ *os.File }

// Size implements File.
func (f osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// Create implements FS.
func (osFS) Create(path string) (File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

// Open implements FS.
func (osFS) Open(path string) (File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

// ReadFile implements FS.
func (osFS) ReadFile(path string) ([]byte, error) { return os.ReadFile(path) }

// Link implements FS.
func (osFS) Link(from, to string) error { return os.Link(from, to) }

// Rename implements FS.
func (osFS) Rename(from, to string) error { return os.Rename(from, to) }

// Remove implements FS.
func (osFS) Remove(path string) error { return os.Remove(path) }

// RemoveAll implements FS.
func (osFS) RemoveAll(path string) error { return os.RemoveAll(path) }

// MkdirAll implements FS.
func (osFS) MkdirAll(path string) error { return os.MkdirAll(path, 0o755) }

// SyncDir implements FS.
func (osFS) SyncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// List implements FS.
func (osFS) List(path string) ([]Info, error) {
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	out := make([]Info, 0, len(entries))
	for _, e := range entries {
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed between the listing and the look
		}
		if err != nil {
			return nil, err
		}
		out = append(out, Info{Name: e.Name(), Size: info.Size(), Modified: info.ModTime(), Dir: e.IsDir()})
	}
	return out, nil
}

// Names implements FS.
func (osFS) Names(path string) (names []string, err error) {
	d, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	if names, err = d.Readdirnames(-1); err != nil {
		return nil, err
	}
	slices.Sort(names)
	return names, nil
}

// Stat implements FS.
func (osFS) Stat(path string) (Info, error) {
	info, err := os.Stat(path)
	if err != nil {
		return Info{}, err
	}
	return Info{Name: info.Name(), Size: info.Size(), Modified: info.ModTime(), Dir: info.IsDir()}, nil
}

// Lock implements FS. The kernel gives the lock back when the process ends, however it ends.
func (osFS) Lock(path string) (io.Closer, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		closeErr := f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = ErrLocked
		}
		return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), closeErr)
	}
	return f, nil
}

// MakeDirs makes a directory and its missing parents, and makes the names of all that it made durable. The name of the
// directory itself is made durable even if it was there: an earlier call may have failed half way.
func MakeDirs(fsys FS, path string) error {
	made := []string{filepath.Dir(filepath.Clean(path))} // what holds the names that were missing, from the inside
	for at := made[0]; ; at = filepath.Dir(at) {
		_, err := fsys.Stat(at)
		if err == nil {
			break
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("make directory %s: %w", path, err)
		}
		made = append(made, filepath.Dir(at))
	}
	if err := fsys.MkdirAll(path); err != nil {
		return fmt.Errorf("make directory %s: %w", path, err)
	}
	for _, dir := range slices.Backward(made) {
		if err := fsys.SyncDir(dir); err != nil {
			return fmt.Errorf("make directory %s: sync %s: %w", path, dir, err)
		}
	}
	return nil
}

// WriteFile makes a file appear whole under its final name and durable: temporary name, content, sync, rename, sync of
// the directory. An existing file is replaced.
func WriteFile(fsys FS, path string, content []byte) error {
	dir, base := filepath.Split(path)
	tmp := filepath.Join(dir, "."+base+".tmp")
	if err := fsys.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("write %s: remove left-over: %w", path, err)
	}
	if err := writeSynced(fsys, tmp, content); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := fsys.Rename(tmp, path); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := fsys.SyncDir(filepath.Clean(dir)); err != nil {
		return fmt.Errorf("write %s: sync directory: %w", path, err)
	}
	return nil
}

func writeSynced(fsys FS, path string, content []byte) error {
	f, err := fsys.Create(path)
	if err != nil {
		return err
	}
	if _, err := f.Write(content); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := f.Sync(); err != nil {
		return errors.Join(err, f.Close())
	}
	return f.Close()
}
