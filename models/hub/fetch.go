package hub

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// fetch brings one file of a commit into the cache, unless it is there and proven.
func (c *Client) fetch(ctx context.Context, r repository, f *File) error {
	if f.Hash != "" && f.check(ctx, c.path(r, f.Name)) == nil {
		c.progress(*f, max(f.Size, 0))
		return nil
	}
	failures := 0
	for tries := 1; ; tries++ {
		gained, err := c.fetchOnce(ctx, r, f)
		if err == nil {
			return nil
		}
		if gained {
			failures = 0
		}
		failures++
		d, ok := again(err, failures)
		if !ok || tries >= maxTriesInAll {
			return fmt.Errorf("%s: %w", f.Name, err)
		}
		if err := c.pause(ctx, d); err != nil {
			return err
		}
	}
}

// fetchOnce asks what the file is, and then for as much of it as is not here. gained tells whether any byte came.
func (c *Client) fetchOnce(ctx context.Context, r repository, f *File) (gained bool, err error) {
	said, err := c.head(ctx, r, *f)
	if err != nil {
		return false, err
	}
	lock, err := c.lock(ctx, r, said.Hash)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	blob := c.blob(r, said.Hash)
	bad := said.check(ctx, blob) // another process, or another commit, may have brought it
	if bad != nil && ctx.Err() != nil {
		return false, context.Cause(ctx)
	}
	if bad != nil {
		if gained, err = c.download(ctx, r, said, blob); err != nil {
			return gained, err
		}
	}
	if err := c.link(r, said.Name, blob); err != nil {
		return gained, err
	}
	*f = said
	c.progress(said, max(said.Size, 0))
	return gained, nil
}

func (c *Client) progress(f File, done int64) {
	if c.cfg.Progress != nil {
		c.cfg.Progress(f.Name, done, f.Size)
	}
}

// address is where a file of a commit is asked for.
func (r repository) address(name string) string {
	parts := strings.Split(name, "/")
	for i := range parts {
		parts[i] = url.PathEscape(parts[i])
	}
	return "/" + r.name + "/resolve/" + r.commit + "/" + strings.Join(parts, "/")
}

// head asks for hash and size of a file, and compares them with what the hub said before.
func (c *Client) head(ctx context.Context, r repository, f File) (File, error) {
	response, err := c.ask(ctx, http.MethodHead, r.address(f.Name), nil)
	if err != nil {
		return f, err
	}
	defer response.Body.Close()
	h := response.Header
	if commit := h.Get("X-Repo-Commit"); commit != "" && commit != r.commit {
		return f, fmt.Errorf("%w: the hub answers with commit %.40q", ErrDamaged, commit)
	}
	tag := cmp.Or(h.Get("X-Linked-Etag"), h.Get("ETag"))
	tag = strings.Trim(strings.TrimPrefix(tag, "W/"), `"`)
	switch {
	case f.Hash == "" && isHash(tag):
		f.Hash = tag
	case f.Hash == "":
		return f, fmt.Errorf("%w: the hub gives no hash to prove it by", ErrUnsupported)
	case isHash(tag) && len(tag) == len(f.Hash) && tag != f.Hash:
		return f, fmt.Errorf("%w: the hub gives the hash %.12s for it, and %.12s", ErrDamaged, f.Hash, tag)
	}
	length := h.Get("X-Linked-Size")
	if length == "" && response.StatusCode < 300 {
		length = h.Get("Content-Length")
	}
	size, err := strconv.ParseInt(length, 10, 64)
	if err != nil || size < 0 {
		return f, nil
	}
	if f.Size >= 0 && f.Size != size {
		return f, fmt.Errorf("%w: the hub gives %d bytes for it, and %d", ErrDamaged, f.Size, size)
	}
	if limit := limitOf(f.Name); size > limit {
		return f, fmt.Errorf("%w: it has %d bytes; at most %d are read", ErrUnsupported, size, limit)
	}
	f.Size = size
	return f, nil
}

// download brings a blob, going on where an earlier try was cut off, proves it and gives it its name.
func (c *Client) download(ctx context.Context, r repository, f File, blob string) (gained bool, err error) {
	part := blob + ".incomplete"
	file, err := os.OpenFile(part, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return false, fmt.Errorf("keep a part: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	begin, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		return false, fmt.Errorf("keep a part: %w", err)
	}
	if f.Size >= 0 && begin > f.Size {
		begin = 0
		if err := file.Truncate(0); err != nil {
			return false, fmt.Errorf("keep a part: %w", err)
		}
	}
	if err := room(part, f.Size-begin); err != nil {
		return false, err
	}
	size := begin
	if f.Size < 0 || begin != f.Size {
		if size, err = c.receive(ctx, r, f, file, begin); err != nil {
			if errors.Is(err, syscall.ENOSPC) {
				err = errors.Join(err, os.Remove(part)) // others need the disk, too
			}
			return size > begin, err
		}
	}
	if _, err = file.Seek(0, io.SeekStart); err == nil {
		err = f.prove(ctx, file, size)
	}
	if errors.Is(err, ErrDamaged) {
		// What an earlier try left may be the bad part: it is fetched once more from the beginning.
		if begin > 0 {
			err = fmt.Errorf("%w: %w", ErrUnreachable, err)
		}
		return false, errors.Join(err, os.Remove(part))
	}
	if err != nil {
		return false, err
	}
	if err := file.Sync(); err != nil {
		return false, fmt.Errorf("keep it: %w", err)
	}
	if err := os.Rename(part, blob); err != nil {
		return false, fmt.Errorf("keep it: %w", err)
	}
	return true, syncDir(filepath.Dir(blob))
}

// room refuses what the disk has no space for, before it is full.
func room(path string, bytes int64) error {
	var disk unix.Statfs_t
	if err := unix.Statfs(filepath.Dir(path), &disk); err != nil || bytes <= 0 {
		return nil // writing will tell
	}
	if free := int64(disk.Bavail) * int64(disk.Bsize); free < bytes {
		return fmt.Errorf("it needs %d bytes and %d are free: %w", bytes, free, syscall.ENOSPC)
	}
	return nil
}

// receive appends what comes to a part, and returns how many bytes it has then.
func (c *Client) receive(ctx context.Context, r repository, f File, file *os.File, begin int64) (size int64, err error) {
	header := map[string]string{}
	if begin > 0 {
		header["Range"] = fmt.Sprintf("bytes=%d-", begin)
	}
	response, err := c.ask(ctx, http.MethodGet, r.address(f.Name), header)
	if err != nil {
		return begin, err
	}
	defer response.Body.Close()
	rest := response.StatusCode == http.StatusPartialContent && strings.HasPrefix(response.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", begin))
	if !rest { // all of it, or something that was not asked for
		begin = 0
		if err := file.Truncate(0); err != nil {
			return 0, fmt.Errorf("keep a part: %w", err)
		}
	}
	if !rest && response.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("%w: status %d for a part", ErrUnreachable, response.StatusCode)
	}
	if e := response.Header.Get("Content-Encoding"); e != "" && e != "identity" {
		return begin, fmt.Errorf("%w: it comes packed (%.20q), which was not asked for", ErrUnsupported, e)
	}
	if _, err := file.Seek(begin, io.SeekStart); err != nil {
		return begin, fmt.Errorf("keep a part: %w", err)
	}
	limit := limitOf(f.Name)
	if f.Size >= 0 {
		limit = f.Size
	}
	into := &counted{c: c, file: file, f: f, n: begin}
	if _, err := io.Copy(into, io.LimitReader(response.Body, limit-begin+1)); err != nil {
		return into.n, err
	}
	if into.n > limit {
		return into.n, errors.Join(fmt.Errorf("%w: more than %d bytes come", ErrDamaged, limit), file.Truncate(0))
	}
	if into.n < f.Size {
		return into.n, fmt.Errorf("%w: the connection ended after %d of %d bytes", ErrUnreachable, into.n, f.Size)
	}
	return into.n, nil
}

// counted is a part that tells how far it is.
type counted struct {
	c    *Client
	file *os.File
	f    File
	n    int64
}

// Write implements io.Writer.
func (w *counted) Write(p []byte) (int, error) {
	n, err := w.c.write(w.file, p)
	w.n += int64(n)
	if err != nil {
		return n, fmt.Errorf("keep a part: %w", err)
	}
	w.c.progress(w.f, w.n)
	return n, nil
}

// syncDir makes the names in a directory durable.
func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("keep it: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("keep it: %w", err)
	}
	return nil
}
