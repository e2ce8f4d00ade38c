package autoload

import (
	"bytes"
	"fmt"
	"io"
	"sync"

	"github.com/go-json-experiment/json/jsontext"
)

const (
	// pieceBytes is how much of a large file is decoded at once: enough for some batches of rows, and little beside
	// the memory of a core.
	pieceBytes = 2 << 20
	// maxRowBytes bounds one row, the only part of a file that must be in memory whole.
	maxRowBytes = 64 << 20
)

// piece is a part of a file that can be decoded by itself.
type piece struct {
	shape  *shape
	data   []byte
	line   int  // lines in front of it
	first  bool // of the file
	last   bool
	err    error // what is wrong where it begins
	buffer *[]byte
}

// release gives the memory of a piece back.
func (p *piece) release() {
	if p.buffer != nil && cap(*p.buffer) == pieceBytes+2 {
		buffers.Put(p.buffer)
	}
	p.buffer, p.data = nil, nil
}

// buffers are reused from piece to piece.
var buffers = sync.Pool{New: func() any { b := make([]byte, 0, pieceBytes+2); return &b }}

// splitter cuts what a reader yields into pieces, in order.
type splitter struct {
	in      io.Reader
	shape   *shape
	size    int64 // bytes that will come, -1 if that is not known
	step    int   // bytes of a piece, 0 for pieceBytes
	got     int64
	rest    []byte // was read and belongs to the next piece
	line    int
	inArray bool // the rest begins behind an element of an array
	begun   bool
	ended   bool
}

// next returns the next piece, or io.EOF. A file without content is one empty piece.
func (s *splitter) next() (piece, error) {
	if s.ended && len(s.rest) == 0 && !s.inArray && s.begun {
		return piece{}, io.EOF
	}
	buffer := s.buffer()
	// One byte in front is for the bracket that a piece of an array lacks, one behind for the other.
	buf := append(append((*buffer)[:0], 0), s.rest...)
	var end int
	for {
		var err error
		if buf, err = s.fill(buf); err != nil {
			return piece{}, err
		}
		if !s.begun && s.shape.format == formatJSON && !s.shape.decided {
			s.shape.byLines, s.shape.decided = hasLines(buf[1:]), true
		}
		inArray := false
		end = len(buf) - 1
		if !s.ended {
			end, inArray = s.shape.cut(buf[1:], s.inArray)
		}
		if end > 0 || s.ended {
			return s.give(buffer, buf, end, inArray), nil
		}
		if len(buf) > maxRowBytes {
			p := s.give(buffer, buf, len(buf)-1, false)
			p.err = fmt.Errorf("line %d: the row that begins here is larger than %d bytes%w", p.line+1, maxRowBytes, silent{errContent})
			return p, nil
		}
		bigger := make([]byte, len(buf), 2*cap(buf))
		copy(bigger, buf)
		buf = bigger
	}
}

func (s *splitter) buffer() *[]byte {
	if s.step == 0 {
		return buffers.Get().(*[]byte)
	}
	b := make([]byte, 0, s.step+2)
	return &b
}

// give makes a piece of the first end bytes of what is read, and keeps the others.
func (s *splitter) give(buffer *[]byte, buf []byte, end int, inArray bool) piece {
	*buffer = buf
	data := buf[1 : 1+end]
	p := piece{shape: s.shape, line: s.line, first: !s.begun, buffer: buffer}
	s.line += bytes.Count(data, []byte("\n"))
	s.rest = append(s.rest[:0], buf[1+end:]...)
	if s.inArray {
		p.err = bareComma(data, p.line)
		buf[0] = '['
		data = buf[:1+end]
	}
	if inArray {
		data = append(data, ']')
	}
	s.inArray, s.begun = inArray, true
	p.data, p.last = data, s.ended && len(s.rest) == 0 && !inArray
	return p
}

// fill reads until the buffer is full, but for the byte behind, or the file ends.
func (s *splitter) fill(buf []byte) ([]byte, error) {
	for len(buf) < cap(buf)-1 && !s.ended {
		n, err := s.in.Read(buf[len(buf) : cap(buf)-1])
		buf = buf[:len(buf)+n]
		s.got += int64(n)
		switch {
		case err == io.EOF && s.got < s.size:
			return buf, errUnsettled
		case err == io.EOF || err == nil && s.got == s.size:
			s.ended = true
		case err != nil:
			return buf, err
		}
	}
	return buf, nil
}

// cut returns how much of data is whole rows, 0 if there is no end of a row in it. inArray says of the beginning and of
// the end whether it stands behind an element of an array.
func (s *shape) cut(data []byte, inArray bool) (end int, endInArray bool) {
	switch {
	case s.format == formatJSON && !s.byLines:
		return cutJSON(data, inArray)
	case s.format == formatCSV && !s.unquoted:
		return s.cutCSV(data), false
	case s.format == formatText && s.wholeText:
		return 0, false
	default:
		return bytes.LastIndexByte(data, '\n') + 1, false
	}
}

// hasLines reports whether a JSON file begins with an object on a line of its own. It is a guess: where a later piece
// proves it wrong, the file is cut by its brackets.
func hasLines(data []byte) bool {
	line, _, more := bytes.Cut(bytes.TrimLeft(data, " \t\r\n\ufeff"), []byte("\n"))
	return more && len(line) > 0 && line[0] == '{' && jsontext.Value(line).IsValid()
}

// cutJSON finds the last object that ends at the top or as an element of an array at the top. Brackets that do not
// match mislead it, but then a piece is no JSON, and decoding it says so.
func cutJSON(data []byte, inArray bool) (end int, endInArray bool) {
	depth := 0
	if inArray {
		depth = 1
	}
	for i := 0; i < len(data); i++ {
		switch data[i] {
		case '"':
			length := textLength(data[i:])
			if length == 0 {
				return end, endInArray
			}
			i += length - 1
		case '[':
			if depth == 0 {
				inArray = true
			}
			depth++
		case '{':
			depth++
		case ']':
			if depth--; depth <= 0 {
				depth, inArray = 0, false
			}
		case '}':
			depth = max(0, depth-1)
			if depth == 0 || depth == 1 && inArray {
				end, endInArray = i+1, depth == 1
			}
		}
	}
	return end, endInArray
}

// textLength returns the length of the quoted text that data begins with, 0 if it does not end.
func textLength(data []byte) int {
	for at := 1; ; {
		quote := bytes.IndexByte(data[at:], '"')
		if quote < 0 {
			return 0
		}
		at += quote
		slashes := 0
		for data[at-1-slashes] == '\\' {
			slashes++
		}
		at++
		if slashes%2 == 0 {
			return at
		}
	}
}

// bareComma takes the comma away that a piece from within an array begins with. What is wrong around it would be right
// without it, so it is found here.
func bareComma(data []byte, line int) error {
	at := len(data) - len(bytes.TrimLeft(data, " \t\r\n"))
	wrong := ""
	switch {
	case at == len(data), data[at] == ']':
		return nil
	case data[at] != ',':
		wrong = "missing comma between the elements of an array"
	default:
		data[at] = ' '
		at = len(data) - len(bytes.TrimLeft(data, " \t\r\n"))
		if at < len(data) && data[at] != ']' {
			return nil
		}
		wrong = "a comma that no element follows"
	}
	return fmt.Errorf("line %d: not JSON: %s%w", line+1+bytes.Count(data[:at], []byte("\n")), wrong, silent{errContent})
}
