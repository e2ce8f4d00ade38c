package hub

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// lockPoll is how often a lock that another process holds is tried: what it does takes seconds.
const lockPoll = 100 * time.Millisecond

// lock keeps other processes, Hugging Face's own tools among them, from fetching the same blob at the same time. It is
// theirs: a flock on a file named after the blob.
func (c *Client) lock(ctx context.Context, r repository, hash string) (io.Closer, error) {
	dir := filepath.Join(c.cfg.Cache, ".locks", folderName(r.name))
	for _, d := range []string{dir, filepath.Dir(c.blob(r, hash)), c.snapshot(r)} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return nil, fmt.Errorf("make the cache: %w", err)
		}
	}
	path := filepath.Join(dir, hash+".lock")
	for {
		file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o664)
		if err != nil {
			return nil, fmt.Errorf("lock the cache: %w", err)
		}
		err = unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil && stillNamed(file, path) {
			return file, nil // closing it releases the lock
		}
		if err := errors.Join(ignoreHeld(err), file.Close()); err != nil {
			return nil, fmt.Errorf("lock the cache: %w", err)
		}
		if err := pause(ctx, lockPoll); err != nil {
			return nil, err
		}
	}
}

func ignoreHeld(err error) error {
	if errors.Is(err, unix.EWOULDBLOCK) || errors.Is(err, unix.EINTR) {
		return nil
	}
	return err
}

// stillNamed reports whether a lock file is the one that others open: some of its users remove it when they are done.
func stillNamed(file *os.File, path string) bool {
	a, err := file.Stat()
	if err != nil {
		return false
	}
	b, err := os.Stat(path)
	return err == nil && os.SameFile(a, b)
}
