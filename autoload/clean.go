package autoload

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"smelt/tables/vfs"
)

const (
	// cleanMost bounds the files that are cleaned at one look, so that new ones do not wait for it.
	cleanMost = 1000
	// cleanPause is how long nothing is cleaned after an error.
	cleanPause = time.Minute
	// asideSuffix ends the hidden name that a file has while it is moved or deleted.
	asideSuffix = ".smelt-clean"
	// freeNames is how many names are tried for a file in the destination.
	freeNames = 10_000
)

// tidying keeps two loaders of one directory from cleaning it at the same time.
var tidying sync.Mutex

// clean moves or deletes listed files that are in the tables of all flows that read them, for long enough. It also ends
// what a crash cut short: asides are the hidden names that the listing met. Errors are logged, and it pauses then.
func (l *Loader) clean(found []candidate, asides []string, now time.Time) {
	if len(asides) == 0 && l.cfg.Options.Clean == cleanOff || now.Before(l.cleanAfter) {
		return
	}
	tidying.Lock()
	defer tidying.Unlock()
	err := l.finish(asides)
	if l.cfg.Options.Clean != cleanOff {
		settled := l.cfg.settled()
		done := 0
		for _, c := range found {
			if err != nil || done == cleanMost {
				break
			}
			if !l.loadedBefore(c, now.Add(-l.cfg.Options.Retain)) || !settled(c.path, c.size, c.modified) {
				continue
			}
			err = l.tidy(c)
			done++
		}
	}
	if err != nil {
		l.cleanAfter = now.Add(cleanPause)
		l.cfg.Logger.Warn("cleanSource", "dir", l.cfg.Dir, "again in", cleanPause, "err", err)
	}
}

// settled returns what says whether all flows have a file; without the callback there is only this one.
func (c Config) settled() func(string, int64, time.Time) bool {
	if c.Settled == nil {
		return func(string, int64, time.Time) bool { return true }
	}
	return c.Settled()
}

// loadedBefore reports whether the rows of this very file are in the table since a time. Failed files, changed ones and
// those that were there before the table never are.
func (l *Loader) loadedBefore(c candidate, since time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	f, ok := l.files[c.path]
	return ok && c.failed == nil && f.State == Loaded && f.Batch > passedOver && f.same(c.size, c.modified) && !f.Read.After(since)
}

// Has reports whether the rows of a file of this size and time are committed, or its place and name keep it from being
// read at all.
func (l *Loader) Has(path string, size int64, modified time.Time) bool {
	if !l.cfg.Options.reads(inside(l.cfg.Dir, path)) {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	f, ok := l.files[path]
	return ok && f.State == Loaded && f.same(size, modified)
}

// reads reports whether a file at this place in the directory may be read.
func (o Options) reads(rel string) bool {
	if !filepath.IsLocal(rel) {
		return false
	}
	dir, name := filepath.Split(rel)
	for _, d := range strings.Split(filepath.Clean(dir), string(filepath.Separator)) {
		if d != "." && (!ours(d) || !o.enters(d)) {
			return false
		}
	}
	fits := o.Glob == ""
	if !fits {
		fits, _ = filepath.Match(o.Glob, name) // the pattern was checked with the options
	}
	return ours(name) && fits
}

// tidy takes one loaded file away. It gets a hidden name first: if somebody replaced it in this moment, the new one is
// put back.
func (l *Loader) tidy(c candidate) error {
	info, err := os.Lstat(c.path)
	if err != nil || !c.is(info) { // gone, changed, or a symlink
		return nil
	}
	if err := l.prepareMove(); err != nil {
		return err
	}
	aside := filepath.Join(filepath.Dir(c.path), "."+filepath.Base(c.path)+asideSuffix)
	if err := os.Rename(c.path, aside); err != nil {
		return fmt.Errorf("take aside %s: %w", c.path, cause(err))
	}
	return l.finish([]string{aside})
}

func (l *Loader) prepareMove() error {
	if l.cfg.Options.Clean != cleanMove {
		return nil
	}
	if err := os.MkdirAll(l.cfg.Options.MoveTo, 0o755); err != nil {
		return fmt.Errorf("make cleanSource.moveDestination %s: %w", l.cfg.Options.MoveTo, cause(err))
	}
	return nil
}

// finish deletes or moves files that have their hidden name already, and puts back those that were never loaded.
func (l *Loader) finish(asides []string) error {
	for _, aside := range asides {
		dir, hidden := filepath.Split(aside)
		path := filepath.Join(dir, strings.TrimSuffix(strings.TrimPrefix(hidden, "."), asideSuffix))
		info, err := os.Lstat(aside)
		if errors.Is(err, fs.ErrNotExist) {
			continue // another loader was faster
		}
		if err != nil {
			return fmt.Errorf("look at %s: %w", aside, cause(err))
		}
		l.mu.Lock()
		known := l.files[path]
		l.mu.Unlock()
		loaded := known.State == Loaded && known.same(info.Size(), info.ModTime())
		switch {
		case loaded && l.cfg.Options.Clean == cleanDelete:
			err = os.Remove(aside)
		case loaded && l.cfg.Options.Clean == cleanMove:
			if err = l.prepareMove(); err == nil {
				err = moveTo(aside, filepath.Join(l.cfg.Options.MoveTo, inside(l.cfg.Dir, path)))
			}
			if err != nil {
				err = errors.Join(err, putBack(aside, path))
			}
		default:
			err = putBack(aside, path)
		}
		if err != nil {
			return fmt.Errorf("clean %s: %w", path, err)
		}
		l.cfg.Logger.Debug("cleanSource", "path", path, "mode", l.cfg.Options.Clean, "loaded", loaded)
	}
	return nil
}

// putBack gives a file its name again. If the name is taken, a writer has replaced the file meanwhile.
func putBack(aside, path string) error {
	if err := os.Link(aside, path); err != nil && !errors.Is(err, fs.ErrExist) {
		return os.Rename(aside, path) // a file system without hard links
	}
	return os.Remove(aside)
}

// moveTo moves a file to a free name at the destination, durably before it leaves its place.
func moveTo(aside, to string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	for n := range freeNames {
		name := to
		if n > 0 {
			name = to + "." + strconv.Itoa(n)
		}
		err := os.Link(aside, name)
		switch {
		case errors.Is(err, fs.ErrExist) && sameContent(aside, name): // a crash came between this and the removal
		case errors.Is(err, fs.ErrExist):
			continue
		case errors.Is(err, syscall.EXDEV), errors.Is(err, syscall.EPERM), errors.Is(err, syscall.ENOTSUP):
			err = copyTo(aside, name)
			if errors.Is(err, fs.ErrExist) {
				continue
			}
			if err != nil {
				return err
			}
		case err != nil:
			return err
		}
		if err := vfs.OS().SyncDir(filepath.Dir(name)); err != nil {
			return err
		}
		return os.Remove(aside)
	}
	return fmt.Errorf("move to %s: %d files of that name are there", to, freeNames)
}

// sameContent reports whether a name is another one of the file, or a copy that kept its time.
func sameContent(a, b string) bool {
	x, errA := os.Lstat(a)
	y, errB := os.Lstat(b)
	return errA == nil && errB == nil && (os.SameFile(x, y) || x.Size() == y.Size() && x.ModTime().Equal(y.ModTime()))
}

// copyTo copies a file to another file system under a name that must be free, its time with it.
func copyTo(from, to string) (err error) {
	if _, err := os.Lstat(to); err == nil {
		return fs.ErrExist
	}
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	hidden := filepath.Join(filepath.Dir(to), "."+filepath.Base(to)+asideSuffix)
	out, err := os.Create(hidden)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	err = errors.Join(err, out.Sync(), out.Close())
	if err == nil {
		err = os.Chtimes(hidden, info.ModTime(), info.ModTime())
	}
	if err == nil {
		err = os.Rename(hidden, to)
	}
	if err != nil {
		return errors.Join(err, os.Remove(hidden))
	}
	return nil
}
