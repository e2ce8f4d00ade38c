package errorfs

import (
	"errors"
	"io"
	"io/fs"
)

// file is an open node.
type file struct {
	fs     *FS
	path   string
	node   *node
	closed bool
}

// Write implements io.Writer. A write that fails half way is a write of half the bytes.
func (f *file) Write(b []byte) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if f.closed {
		return 0, fs.ErrClosed
	}
	wrote := 0
	err := f.fs.do("write", f.path, func() error {
		f.node.content = append(f.node.content, b...)
		wrote = len(b)
		return nil
	})
	if err != nil && wrote == 0 && !errors.Is(err, ErrPower) {
		wrote = len(b) / 2
		f.node.content = append(f.node.content, b[:wrote]...)
	}
	return wrote, err
}

// ReadAt implements io.ReaderAt.
func (f *file) ReadAt(b []byte, at int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if _, err := f.fs.reading("read", f.path, false); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	if at >= int64(len(f.node.content)) {
		return 0, io.EOF
	}
	n := copy(b, f.node.content[at:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

// Sync implements vfs.File.
func (f *file) Sync() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if f.closed {
		return fs.ErrClosed
	}
	return f.fs.do("sync", f.path, func() error {
		if f.fs.SkipSync == nil || !f.fs.SkipSync(f.path, false) {
			f.node.sync()
		}
		return nil
	})
}

// Size implements vfs.File.
func (f *file) Size() (int64, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	return int64(len(f.node.content)), nil
}

// Close implements io.Closer.
func (f *file) Close() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if f.closed {
		return fs.ErrClosed
	}
	f.closed = true
	return nil
}
