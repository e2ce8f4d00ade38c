package autoload

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"syscall"

	"golang.org/x/sync/errgroup"
)

const (
	// maxFileBytes bounds one file: it is decoded in memory.
	maxFileBytes = 256 << 20
	// sampleFiles and sampleBytes bound what is read to find the columns before the first batch.
	sampleFiles = 10
	sampleBytes = 1 << 20 // of each file
	// maxKeptBytes bounds the buffer that a core keeps from one file to the next.
	maxKeptBytes = 4 << 20
)

var (
	// errUnsettled marks a file that changed while it was read: its writer is not done.
	errUnsettled = errors.New("the file changed while it was read")
	errVanished  = errors.New("the file vanished before it was read")
)

// decoded is what became of one file.
type decoded struct {
	candidate
	fileRows
	done bool
	err  error
}

// decode decodes files on all cores. Fields that are no columns yet become columns, and the files that have them are
// decoded again. Of a sample only the beginning of each file is read.
func (l *Loader) decode(ctx context.Context, files []candidate, sample bool) ([]decoded, error) {
	results := make([]decoded, len(files))
	for i, c := range files {
		results[i].candidate = c
	}
	if len(files) == 0 {
		return results, nil
	}
	root, err := os.OpenRoot(l.cfg.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		for i := range results {
			results[i].err = errVanished
		}
		return results, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open watched directory: %w", err)
	}
	defer root.Close()
	for {
		l.mu.Lock()
		columns := l.columns
		l.mu.Unlock()
		if err := decodeAll(ctx, root, columns, results, sample); err != nil {
			return nil, err
		}
		if !l.widen(results) {
			return results, nil
		}
	}
}

// widen makes columns of the fields that no column takes, in the order of the files, and has those files decoded again.
func (l *Loader) widen(results []decoded) (again bool) {
	types := map[string]inferred{}
	var order []string
	for i := range results {
		r := &results[i]
		for _, u := range r.unknown {
			before, ok := types[u.name]
			if !ok {
				order = append(order, u.name)
			}
			types[u.name] = before.join(u.typ)
		}
		if len(r.unknown) > 0 {
			r.fileRows, r.done = fileRows{}, false
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, name := range order {
		if _, isNew := l.columns.place(name); isNew {
			l.columns = l.columns.with(name, types[name], l.cfg.Options)
		}
	}
	return len(order) > 0
}

// decodeAll decodes the results that are not done yet.
func decodeAll(ctx context.Context, root *os.Root, c columns, results []decoded, sample bool) error {
	group, ctx := errgroup.WithContext(ctx)
	var taken atomic.Int64
	for range min(runtime.GOMAXPROCS(0), len(results)) {
		group.Go(func() error {
			r := reader{root: root, decoder: newDecoder(c), sample: sample}
			for {
				i := int(taken.Add(1)) - 1
				if i >= len(results) {
					return nil
				}
				if err := ctx.Err(); err != nil {
					return err
				}
				if results[i].done {
					continue
				}
				results[i].fileRows, results[i].err = r.read(results[i].candidate)
				results[i].done = true
			}
		})
	}
	return group.Wait()
}

// reader reads and decodes one file after another.
type reader struct {
	root    *os.Root // symlinks that lead out of it are not followed, whenever they are made
	decoder *decoder
	sample  bool
	buffer  []byte
}

// read reads and decodes one file.
func (r *reader) read(c candidate) (rows fileRows, err error) {
	defer func() {
		if p := recover(); p != nil {
			r.decoder = newDecoder(r.decoder.columns) // in the middle of something
			rows, err = fileRows{}, fmt.Errorf("decode: panic: %v%w", p, silent{errContent})
		}
	}()
	if c.failed != nil {
		return fileRows{}, c.failed
	}
	if c.size > maxFileBytes {
		return fileRows{}, fmt.Errorf("larger than %d bytes%w", maxFileBytes, silent{errContent})
	}
	data, err := r.content(c)
	if err != nil {
		return fileRows{}, err
	}
	return r.decoder.decode(c.path, data, r.sample)
}

// content reads a file whole, or its beginning as a sample. It is valid until the next call.
func (r *reader) content(c candidate) ([]byte, error) {
	// Not to wait for a writer, should the file have become a pipe.
	f, err := r.root.OpenFile(c.inside, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errVanished
	}
	if err != nil {
		return nil, fmt.Errorf("open: %w", cause(err))
	}
	defer f.Close()
	before, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("look at: %w", cause(err))
	}
	if !c.is(before) {
		return nil, errUnsettled
	}
	size := c.size
	if r.sample {
		size = min(size, sampleBytes)
	}
	if int64(cap(r.buffer)) < size || cap(r.buffer) > maxKeptBytes {
		r.buffer = make([]byte, size)
	}
	data := r.buffer[:size]
	if _, err := io.ReadFull(f, data); errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, errUnsettled
	} else if err != nil {
		return nil, fmt.Errorf("read: %w", cause(err))
	}
	after, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("look at: %w", cause(err))
	}
	if !c.is(after) {
		return nil, errUnsettled
	}
	return data, nil
}

// is reports whether a file on disk is still the one that was listed.
func (c candidate) is(info fs.FileInfo) bool {
	return info.Mode().IsRegular() && info.Size() == c.size && info.ModTime().Equal(c.modified)
}

// inside returns the path of a file of the directory for os.Root.
func inside(dir, path string) string {
	rel, err := filepath.Rel(dir, path)
	if err != nil {
		return path // os.Root refuses it
	}
	return rel
}
