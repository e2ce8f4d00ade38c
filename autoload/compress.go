package autoload

import (
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// A compressed file may grow to maxGrowth times its size, or to freeGrowth bytes if that is more: logs shrink to a
// fiftieth, and what shrinks more is made to fill a disk.
const (
	maxGrowth  = 200
	freeGrowth = 1 << 30
	// maxWindow bounds the memory that a zstd file may ask for; zstd --long=27 is within.
	maxWindow = 128 << 20
)

// diskError marks an error of reading the file itself, to tell it from damage inside an archive.
type diskError struct{ error }

// Unwrap returns the cause.
func (e diskError) Unwrap() error { return e.error }

// diskReader marks the errors of a file.
type diskReader struct{ io.Reader }

// Read implements io.Reader.
func (r diskReader) Read(b []byte) (int, error) {
	n, err := r.Reader.Read(b)
	if err != nil && err != io.EOF {
		err = diskError{fmt.Errorf("read: %w", cause(err))}
	}
	return n, err
}

// expanded reads what a compressed file holds. Damage is an error of its content.
type expanded struct {
	io.Reader
	codec string
	left  int64 // bytes that may still come
	most  int64
	close func()
}

// expand opens a compressed file of size bytes.
func expand(in io.Reader, codec string, size int64) (*expanded, error) {
	e := &expanded{codec: codec, most: max(freeGrowth, size*maxGrowth), close: func() {}}
	e.left = e.most
	switch codec {
	case "gz":
		z, err := gzip.NewReader(in)
		if err != nil {
			return nil, e.damaged(err)
		}
		e.Reader = z
	default:
		z, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, e.damaged(err)
		}
		e.Reader, e.close = z, z.Close
	}
	return e, nil
}

func (e *expanded) damaged(err error) error {
	var disk diskError
	if errors.As(err, &disk) {
		return err
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("damaged .%s archive: %w%w", e.codec, err, silent{errContent})
}

// Read implements io.Reader.
func (e *expanded) Read(b []byte) (int, error) {
	n, err := e.Reader.Read(b)
	if e.left -= int64(n); e.left < 0 {
		return 0, fmt.Errorf("the .%s archive holds more than %d bytes%w", e.codec, e.most, silent{errContent})
	}
	if err != nil && err != io.EOF {
		err = e.damaged(err)
	}
	return n, err
}
