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
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"unicode/utf8"

	"golang.org/x/sync/errgroup"
)

const (
	// sampleFiles and sampleBytes bound what is read to find the columns before the first batch.
	sampleFiles = 10
	sampleBytes = 1 << 20 // of each file
	// beginBytes is how much is read of a file too large to be kept, to find its columns, before it is read whole.
	beginBytes = 8 << 20
	// maxCores bounds the cores that decode one large file, and so the memory of the pieces on their way.
	maxCores = 8
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
	l.partition(files)
	r := reader{root: root, options: l.cfg.Options, sample: sample, keep: l.keep, begin: l.begin, trusts: l.trusts}
	for {
		l.mu.Lock()
		r.columns = l.columns
		l.mu.Unlock()
		r.kept.Store(0)
		for i := range results {
			r.kept.Add(results[i].bytes)
		}
		if sample {
			r.columns.content.evolution = addNewColumns
		}
		if err := r.all(ctx, results); err != nil {
			return nil, err
		}
		if !l.widen(results, sample) {
			return results, nil
		}
	}
}

// widen makes columns of the fields that no column takes, in the order of the files, and has those files decoded again.
// Where a column gets a wider type, all are.
func (l *Loader) widen(results []decoded, sample bool) (again bool) {
	var needs map[string]need
	types := map[string]inferred{}
	var order []string
	for i := range results {
		r := &results[i]
		for _, u := range r.unknown {
			before, ok := types[u.name]
			if !ok {
				order = append(order, u.name)
			}
			if !ok {
				before = u.typ
			}
			types[u.name] = before.join(u.typ)
		}
		needs = addNeeds(needs, r.needs)
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
	again = len(order) > 0
	if !sample && l.widenTypes(needs) {
		again = true
		for i := range results {
			if results[i].err == nil {
				results[i].fileRows, results[i].done = fileRows{}, false
			}
		}
	}
	return again
}

// reader reads and decodes files.
type reader struct {
	root    *os.Root // symlinks that lead out of it are not followed, whenever they are made
	options Options
	columns columns
	sample  bool                   // only the beginning of each file
	begin   int64                  // bytes of a large file that are read for its columns
	trusts  func(path string) bool // whether they are enough; nil means of no file
	step    int                    // bytes of a piece, 0 for the usual size
	keep    int64                  // bytes of memory that rows may take
	kept    atomic.Int64           // and are
	large   sync.Mutex
}

// all decodes the results that are not done yet.
func (r *reader) all(ctx context.Context, results []decoded) error {
	group, ctx := errgroup.WithContext(ctx)
	var taken atomic.Int64
	for range min(runtime.GOMAXPROCS(0), len(results)) {
		group.Go(func() error {
			d := newDecoder(r.columns)
			for {
				i := int(taken.Add(1)) - 1
				if i >= len(results) {
					return nil
				}
				if err := ctx.Err(); err != nil {
					return err
				}
				if !results[i].done {
					results[i].fileRows, results[i].err = r.file(ctx, d, results[i].candidate)
					results[i].done = true
				}
			}
		})
	}
	return group.Wait()
}

// errBegun ends the reading of a file of which the beginning is enough.
var errBegun = errors.New("only the beginning was asked for")

// file reads and decodes one file. Of one that is too large to be kept it reads the beginning, if the rest may be trusted to
// be like it: whoever scans its rows finds out.
func (r *reader) file(ctx context.Context, d *decoder, c candidate) (fileRows, error) {
	if c.failed != nil {
		return fileRows{}, c.failed
	}
	s := shapeOf(r.options, c.path)
	for {
		rows := fileRows{shape: s, streamed: s.codec == "" && c.size > r.keep}
		s.check = new(atomic.Bool)
		s.check.Store(rows.streamed)
		trusted := r.trusts != nil && r.trusts(c.path) && !r.columns.content.widens // which must know all values first
		begun := int64(0)                                                           // bytes
		err := r.scan(ctx, d, c, s, func(part fileRows) error {
			begun += part.bytes
			rows.add(part)
			if r.kept.Add(part.bytes); r.kept.Load() > r.keep || len(rows.unknown) > 0 || rows.streamed {
				r.kept.Add(-rows.bytes)
				rows.bytes, rows.batches, rows.streamed = 0, nil, true
				s.check.Store(true)
			}
			if trusted && rows.streamed && rows.rows > 0 && begun >= r.begin {
				rows.begun = true
				return errBegun
			}
			return nil
		})
		switch {
		case err == nil, errors.Is(err, errBegun):
			return rows, nil
		case s.byLines && errors.Is(err, errContent):
			s.byLines = false // perhaps the values stand otherwise
		default:
			return fileRows{}, err
		}
	}
}

// add takes the rows of the next part of a file.
func (f *fileRows) add(part fileRows) {
	f.batches = append(f.batches, part.batches...)
	f.rows += part.rows
	f.bytes += part.bytes
	f.rescued += part.rescued
	f.needs = addNeeds(f.needs, part.needs)
	for _, u := range part.unknown {
		at := slices.IndexFunc(f.unknown, func(k namedType) bool { return k.name == u.name })
		if at < 0 {
			f.unknown = append(f.unknown, u)
		} else {
			f.unknown[at].typ = f.unknown[at].typ.join(u.typ)
		}
	}
}

// scan reads a file from its beginning to its end and yields its rows in order. The file must be the one that was listed
// before and after.
func (r *reader) scan(ctx context.Context, d *decoder, c candidate, s *shape, yield func(fileRows) error) error {
	// Not to wait for a writer, should the file have become a pipe.
	f, err := r.root.OpenFile(c.inside, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return errVanished
	}
	if err != nil {
		return fmt.Errorf("open: %w", cause(err))
	}
	defer f.Close()
	before, err := f.Stat()
	if err != nil {
		return fmt.Errorf("look at: %w", cause(err))
	}
	if !c.is(before) {
		return errUnsettled
	}
	err = r.content(ctx, d, f, c, s, yield)
	after, statErr := f.Stat()
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case statErr != nil:
		return fmt.Errorf("look at: %w", cause(statErr))
	case !c.is(after):
		return errUnsettled
	}
	return err
}

// content yields the rows of an open file.
func (r *reader) content(ctx context.Context, d *decoder, f *os.File, c candidate, s *shape, yield func(fileRows) error) error {
	split := splitter{in: diskReader{f}, shape: s, size: c.size, step: r.step}
	if s.codec != "" && c.size > 0 {
		archive, err := expand(split.in, s.codec, c.size)
		if err != nil {
			return err
		}
		defer archive.close()
		split.in, split.size = archive, -1
	}
	if s.format == formatParquet {
		return r.parquet(d, f, c, &split, yield)
	}
	cut := false
	if r.sample && (s.codec != "" || c.size > sampleBytes) {
		split.in, split.size, cut = io.LimitReader(split.in, sampleBytes), -1, true
	}
	first, err := split.next()
	if err != nil {
		return err
	}
	if cut && !utf8.Valid(first.data) {
		if at := firstInvalid(first.data); at > len(first.data)-utf8.UTFMax {
			first.data = first.data[:at] // it was cut inside a character
		}
	}
	for err := s.begin(&first); ; err = s.begin(&first) {
		if err != nil {
			return err
		}
		if s.format != formatCSV || len(s.names) > 0 || first.last || cut {
			break
		}
		first.release() // empty lines and comments only
		if first, err = split.next(); err != nil {
			return err
		}
	}
	if first.last || cut {
		rows, err := decodePiece(d, c.path, &first, cut)
		if err != nil {
			return err
		}
		return yield(rows)
	}
	r.large.Lock() // one large file at a time has all cores
	defer r.large.Unlock()
	return r.pieces(ctx, c.path, first, &split, yield)
}

// decodePiece decodes a piece and gives its memory back. A panic becomes an error of the content.
func decodePiece(d *decoder, path string, p *piece, cut bool) (rows fileRows, err error) {
	defer p.release()
	defer func() {
		if r := recover(); r != nil {
			*d = *newDecoder(d.columns) // it was in the middle of something
			rows, err = fileRows{}, fmt.Errorf("decode: panic: %v%w", r, silent{errContent})
		}
	}()
	return d.decode(path, p, cut)
}

// pieces decodes the pieces of a large file on all cores and yields their rows in order.
func (r *reader) pieces(ctx context.Context, path string, first piece, split *splitter, yield func(fileRows) error) error {
	type job struct {
		piece
		rows fileRows
		err  error
		done chan struct{}
	}
	cores := min(runtime.GOMAXPROCS(0), maxCores)
	work, order := make(chan *job, cores), make(chan *job, cores)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		defer close(order)
		defer close(work)
		for p := first; ; {
			j := &job{piece: p, done: make(chan struct{})}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case order <- j:
				work <- j
			}
			var err error
			if p, err = split.next(); errors.Is(err, io.EOF) {
				return nil
			} else if err != nil {
				return err
			}
		}
	})
	for range cores {
		group.Go(func() error {
			d := newDecoder(r.columns)
			for j := range work {
				if j.err = ctx.Err(); j.err == nil {
					j.rows, j.err = decodePiece(d, path, &j.piece, false)
				}
				close(j.done)
			}
			return nil
		})
	}
	group.Go(func() error {
		for j := range order {
			<-j.done
			if j.err != nil {
				return j.err
			}
			if err := yield(j.rows); err != nil {
				return err
			}
		}
		return nil
	})
	return group.Wait()
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
