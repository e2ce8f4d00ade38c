// Package archive reads the files of a model out of a .zip, .tar, .tar.gz, .tgz or .tar.zst. Nothing is written to the
// disk: what is wanted is kept in memory, and everything else is passed over. An archive is judged as a whole: one name
// that leads out of it, one link, or more than its size can explain, and none of it is used.
package archive

import (
	"archive/tar"
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// Limits of an archive.
const (
	maxFiles      = 10_000     // an export has a dozen; names alone may not fill the memory
	maxDirectory  = 16 << 20   // bytes of the list that a .zip ends in: it is held in memory
	maxUnpacked   = 8 << 30    // bytes that a .tar unpacks to: an export with all its variants
	maxKept       = 2304 << 20 // bytes that are kept: one graph, which ends at 2 GiB, and the small files beside it
	maxRatio      = 200        // times its own size that an archive may unpack to: weights hardly shrink, vocabularies to a fifth
	ratioMatters  = 64 << 20   // bytes under which the ratio is not looked at: they harm nobody
	maxZstdWindow = 128 << 20  // bytes of history that a .zst may ask for: zstd --long=27
)

// ErrRefused is returned for what is no archive of a model; the text says why.
var ErrRefused = errors.New("archive refused")

// marker is the file that stands at the top of every export.
const marker = "config.json"

var suffixes = []string{".zip", ".tar", ".tar.gz", ".tgz", ".tar.zst"}

// Is reports whether a path is named like an archive.
func Is(name string) bool {
	for _, s := range suffixes {
		if strings.HasSuffix(strings.ToLower(name), s) {
			return true
		}
	}
	return false
}

// Read returns the files of an archive by their names below the directory that holds config.json, which may be any one
// of it. want says how many bytes a file may have, by its name; 0 passes it over. Errors are ErrRefused, those of the
// file, and the context's.
func Read(ctx context.Context, file string, want func(name string) (limit int64)) (map[string][]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("read archive: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("read archive: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%w: %s is no plain file", ErrRefused, file)
	}
	in := &reader{ctx: ctx, size: info.Size(), want: want, files: map[string][]byte{}, seen: map[string]bool{}}
	if strings.HasSuffix(strings.ToLower(file), ".zip") {
		err = in.zip(f)
	} else {
		err = in.tar(f, strings.ToLower(file))
	}
	if err == nil {
		err = in.root()
	}
	switch {
	case err == nil:
		return in.files, nil
	case ctx.Err() != nil:
		return nil, fmt.Errorf("read archive: %w", context.Cause(ctx))
	case errors.Is(err, ErrRefused):
		return nil, err
	}
	return nil, fmt.Errorf("%w: %s: %w", ErrRefused, file, err)
}

// reader is one archive while it is read.
type reader struct {
	ctx   context.Context
	size  int64 // of the archive, bytes
	want  func(string) int64
	files map[string][]byte
	seen  map[string]bool
	kept  int64 // bytes
	all   int64 // bytes that were unpacked
}

// zip reads an archive whose list of files comes last.
func (in *reader) zip(f *os.File) error {
	source := &budget{ReaderAt: f, left: maxDirectory}
	z, err := zip.NewReader(source, in.size)
	if err != nil {
		return err
	}
	source.free = true
	for _, member := range z.File {
		mode := member.Mode()
		if member.Flags&1 != 0 {
			return fmt.Errorf("%w: %q is encrypted", ErrRefused, member.Name)
		}
		name, limit, err := in.judge(member.Name, mode.IsDir(), mode.IsRegular())
		if err != nil {
			return err
		}
		if limit == 0 {
			continue
		}
		content, err := member.Open()
		if err != nil {
			return fmt.Errorf("%q: %w", member.Name, err)
		}
		if err := errors.Join(in.keep(name, &bounded{in, content}, limit), content.Close()); err != nil {
			return err
		}
	}
	return nil
}

// budget bounds what is read of a file until it is free.
type budget struct {
	io.ReaderAt
	left int64 // bytes
	free bool
}

// ReadAt implements io.ReaderAt.
func (b *budget) ReadAt(p []byte, at int64) (int, error) {
	if b.left -= int64(len(p)); b.left < 0 && !b.free {
		return 0, fmt.Errorf("%w: its list of files has more than %d bytes", ErrRefused, maxDirectory)
	}
	return b.ReaderAt.ReadAt(p, at)
}

// tar reads an archive from its beginning to its end.
func (in *reader) tar(f *os.File, name string) error {
	var unpacked io.Reader = f
	switch {
	case strings.HasSuffix(name, "gz"):
		z, err := gzip.NewReader(f)
		if err != nil {
			return err
		}
		defer z.Close()
		unpacked = z
	case strings.HasSuffix(name, ".zst"):
		z, err := zstd.NewReader(f, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxZstdWindow))
		if err != nil {
			return err
		}
		defer z.Close()
		unpacked = z
	}
	t := tar.NewReader(&bounded{in, unpacked})
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if h.Typeflag == tar.TypeXGlobalHeader {
			continue // the comment that git archive leaves
		}
		name, limit, err := in.judge(h.Name, h.Typeflag == tar.TypeDir, h.Typeflag == tar.TypeReg)
		if err != nil {
			return err
		}
		if limit > 0 {
			if err := in.keep(name, t, limit); err != nil {
				return err
			}
		}
	}
}

// judge refuses what cannot be a file of a model, and says how many bytes a member may have; 0 for one to pass over.
func (in *reader) judge(name string, dir, regular bool) (clean string, limit int64, err error) {
	if err := in.ctx.Err(); err != nil {
		return "", 0, err
	}
	clean = path.Clean(strings.TrimSuffix(name, "/"))
	switch {
	case strings.ContainsAny(name, "\\\x00") || path.IsAbs(name) || !filepath.IsLocal(filepath.FromSlash(clean)) || strings.Contains("/"+name+"/", "/../"):
		return "", 0, fmt.Errorf("%w: the name %.200q leads out of it", ErrRefused, name)
	case dir:
		return clean, 0, nil
	case !regular:
		return "", 0, fmt.Errorf("%w: %.200q is a link or a device; pack the files themselves (tar --dereference)", ErrRefused, name)
	case in.seen[clean]:
		return "", 0, fmt.Errorf("%w: %.200q is there twice", ErrRefused, name)
	case len(in.seen) >= maxFiles:
		return "", 0, fmt.Errorf("%w: it has more than %d files", ErrRefused, maxFiles)
	}
	in.seen[clean] = true
	return clean, in.want(clean), nil
}

// keep reads one member.
func (in *reader) keep(name string, content io.Reader, limit int64) error {
	data, err := io.ReadAll(io.LimitReader(content, limit+1))
	if err != nil {
		return fmt.Errorf("%q: %w", name, err)
	}
	if int64(len(data)) > limit {
		return fmt.Errorf("%w: %q has more than %d bytes", ErrRefused, name, limit)
	}
	if in.kept += int64(len(data)); in.kept > maxKept {
		return fmt.Errorf("%w: the files of a model have more than %d bytes together", ErrRefused, int64(maxKept))
	}
	in.files[name] = data
	return nil
}

// root names the files as they are called below the directory of the export: the one of config.json that is nearest to
// the top.
func (in *reader) root() error {
	var tops []string
	for name := range in.files {
		if path.Base(name) != marker {
			continue
		}
		depth := strings.Count(name, "/")
		if len(tops) > 0 && depth < strings.Count(tops[0], "/") {
			tops = nil
		}
		if len(tops) == 0 || depth == strings.Count(tops[0], "/") {
			tops = append(tops, name)
		}
	}
	if len(tops) != 1 {
		return fmt.Errorf("%w: it has %d directories with a %s; pack the one of the model", ErrRefused, len(tops), marker)
	}
	top, below := strings.TrimSuffix(tops[0], marker), map[string][]byte{}
	for name, data := range in.files {
		if short, ok := strings.CutPrefix(name, top); ok {
			below[short] = data
		}
	}
	in.files = below
	return nil
}

// bounded ends what unpacks to more than an archive of its size can hold, and what nobody waits for any more.
type bounded struct {
	in   *reader
	from io.Reader
}

// Read implements io.Reader.
func (b *bounded) Read(p []byte) (int, error) {
	if err := b.in.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := b.from.Read(p)
	b.in.all += int64(n)
	if all := b.in.all; all > maxUnpacked || all > ratioMatters && all/maxRatio > b.in.size {
		return n, fmt.Errorf("%w: its %d bytes unpack to %d and more", ErrRefused, b.in.size, all)
	}
	return n, err
}
