package hub

import (
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"os"
	"strings"
)

// hashLength is how many digits the two hashes of the hub have.
const (
	gitLength = 2 * sha1.Size
	lfsLength = 2 * sha256.Size
)

// isHash reports whether a text is one of the hub's hashes.
func isHash(text string) bool {
	_, err := hex.DecodeString(text)
	return err == nil && (len(text) == gitLength || len(text) == lfsLength) && text == strings.ToLower(text)
}

// newHash returns the hash of the kind that want is, for content of size bytes.
func newHash(want string, size int64) hash.Hash {
	if len(want) == lfsLength {
		return sha256.New()
	}
	h := sha1.New() // git's choice; it names the blob
	fmt.Fprintf(h, "blob %d\x00", size)
	return h
}

// prove reads a file and compares it with its hash.
func (f File) prove(ctx context.Context, file io.Reader, size int64) error {
	if f.Size >= 0 && size != f.Size {
		return fmt.Errorf("%w: %s has %d bytes and should have %d", ErrDamaged, f.Name, size, f.Size)
	}
	h := newHash(f.Hash, size)
	if _, err := io.Copy(h, &cancelled{ctx, file}); err != nil {
		return fmt.Errorf("read %s: %w", f.Name, err)
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != f.Hash {
		return fmt.Errorf("%w: the hash of %s is %.12s and should be %.12s", ErrDamaged, f.Name, got, f.Hash)
	}
	return nil
}

// cancelled is a reader that ends with its context.
type cancelled struct {
	ctx  context.Context
	from io.Reader
}

// Read implements io.Reader.
func (c *cancelled) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.from.Read(p)
}

// check proves the file at a path; os.ErrNotExist for a missing one.
func (f File) check(ctx context.Context, path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%w: %s is no plain file", ErrDamaged, path)
	}
	return f.prove(ctx, file, info.Size())
}

// read returns the content at a path, proven.
func (f File) read(path string, limit int64) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > limit {
		return nil, fmt.Errorf("%w: %s has %d bytes; at most %d are read", ErrUnsupported, f.Name, info.Size(), limit)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if err := f.prove(context.Background(), bytes.NewReader(data), int64(len(data))); err != nil {
		return nil, err
	}
	return data, nil
}
