package parquet

import (
	"encoding/binary"
	"errors"
)

// Types of Thrift's compact protocol.
const (
	thriftTrue   = 1
	thriftFalse  = 2
	thriftByte   = 3
	thriftInt16  = 4
	thriftInt32  = 5
	thriftInt64  = 6
	thriftDouble = 7
	thriftBinary = 8
	thriftList   = 9
	thriftSet    = 10
	thriftMap    = 11
	thriftStruct = 12
)

// maxThriftDepth bounds how deep structs and lists of a footer lie in each other; Parquet needs 8.
const maxThriftDepth = 32

var (
	errThriftEnds = errors.New("damaged Parquet data: metadata ends early")
	errThrift     = errors.New("damaged Parquet data: metadata is not well formed")
)

// thriftLength returns the length of the struct that b begins with. parquet-go allocates what the header of a list claims
// before it has seen one element, so that a flipped bit takes all memory: what was walked here holds what it claims.
func thriftLength(b []byte) (int, error) {
	w := thriftWalk{b: b}
	err := w.structure(0)
	return w.at, err
}

type thriftWalk struct {
	b  []byte
	at int
}

func (w *thriftWalk) structure(depth int) error {
	if depth > maxThriftDepth {
		return errThrift
	}
	for {
		head, err := w.one()
		if err != nil || head == 0 {
			return err
		}
		if head>>4 == 0 {
			if _, err := w.varint(); err != nil { // the field's number, in full
				return err
			}
		}
		kind := head & 0x0F
		if kind == thriftTrue || kind == thriftFalse {
			continue // the value is the type
		}
		if err := w.value(kind, depth); err != nil {
			return err
		}
	}
}

func (w *thriftWalk) value(kind byte, depth int) error {
	switch kind {
	case thriftTrue, thriftFalse, thriftByte:
		return w.skip(1)
	case thriftInt16, thriftInt32, thriftInt64:
		_, err := w.varint()
		return err
	case thriftDouble:
		return w.skip(8)
	case thriftBinary:
		n, err := w.varint()
		if err != nil {
			return err
		}
		return w.skip(n)
	case thriftList, thriftSet:
		return w.list(depth + 1)
	case thriftMap:
		return w.mapping(depth + 1)
	case thriftStruct:
		return w.structure(depth + 1)
	default:
		return errThrift
	}
}

func (w *thriftWalk) list(depth int) error {
	head, err := w.one()
	if err != nil {
		return err
	}
	n := uint64(head >> 4)
	if n == 15 {
		if n, err = w.varint(); err != nil {
			return err
		}
	}
	return w.values(n, depth, head&0x0F)
}

func (w *thriftWalk) mapping(depth int) error {
	n, err := w.varint()
	if err != nil || n == 0 {
		return err
	}
	kinds, err := w.one()
	if err != nil {
		return err
	}
	return w.values(n, depth, kinds>>4, kinds&0x0F)
}

// values walks n times one value of each kind.
func (w *thriftWalk) values(n uint64, depth int, kinds ...byte) error {
	if depth > maxThriftDepth {
		return errThrift
	}
	if n > uint64(len(w.b)-w.at) {
		return errThriftEnds // each element takes a byte at least
	}
	for range n {
		for _, kind := range kinds {
			if err := w.value(kind, depth); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *thriftWalk) one() (byte, error) {
	if w.at >= len(w.b) {
		return 0, errThriftEnds
	}
	w.at++
	return w.b[w.at-1], nil
}

func (w *thriftWalk) varint() (uint64, error) {
	v, n := binary.Uvarint(w.b[w.at:])
	if n < 0 {
		return 0, errThrift
	}
	if n == 0 {
		return 0, errThriftEnds
	}
	w.at += n
	return v, nil
}

func (w *thriftWalk) skip(n uint64) error {
	if n > uint64(len(w.b)-w.at) {
		return errThriftEnds
	}
	w.at += int(n)
	return nil
}
