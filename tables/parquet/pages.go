package parquet

import (
	"errors"
	"fmt"
	"io"
	"sort"

	pq "github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

const (
	// headerGuess is read to see the header of a page: without statistics it has about 40 bytes.
	headerGuess = 256
	// maxHeader bounds a header, in which old writers put the bounds of the page in full.
	maxHeader = 16 << 20
	// maxPageValues bounds the values of one page: parquet-go takes memory for their levels before it has seen any.
	maxPageValues = 64 << 20
	// A page may unpack to maxPageBytes, and beyond that to maxPageRatio times its size: parquet-go takes as much memory
	// as the header says.
	maxPageBytes = 64 << 20
	maxPageRatio = 256
	// windowBytes are read at once from a column chunk, instead of a header and a page at a time: system calls took a sixth
	// of a scan. A scan that passes over pages reads less.
	windowBytes     = 256 << 10
	seekWindowBytes = 16 << 10
)

// window reads a column chunk in larger pieces.
type window struct {
	in   io.ReaderAt
	from int64
	buf  []byte // what is read from there on
	end  int64  // of the chunk
	most int64
}

// ReadAt implements io.ReaderAt.
func (w *window) ReadAt(b []byte, at int64) (int, error) {
	n := 0
	if skip := at - w.from; skip >= 0 && skip < int64(len(w.buf)) {
		n = copy(b, w.buf[skip:])
	}
	if n == len(b) {
		return n, nil
	}
	at += int64(n)
	most := min(w.most, w.end-at)
	if int64(len(b)-n) >= most {
		more, err := w.in.ReadAt(b[n:], at)
		return n + more, err
	}
	if int64(cap(w.buf)) < most {
		w.buf = make([]byte, most)
	}
	w.buf, w.from = w.buf[:most], at
	if got, err := readFull(w.in, w.buf, at); err != nil {
		w.buf = w.buf[:got]
		more := copy(b[n:], w.buf)
		return n + more, err
	}
	return n + copy(b[n:], w.buf), nil
}

// pageSource reads the pages of one column chunk. It looks at each header before parquet-go does, because parquet-go
// allocates what a header claims.
type pageSource struct {
	in       io.ReaderAt
	pages    pq.Pages
	next     int64 // where the next page's header begins
	end      int64 // where the chunk ends
	protocol thrift.CompactProtocol
	head     []byte // buffer of headers

	index []format.PageLocation // nil if pages are read one after another only
	rows  int64                 // of the row group
	page  int                   // number of the next page, with an index
}

// openPages begins a column chunk. With seek it uses the chunk's offset index, if there is one that can be right.
func (f *File) openPages(group, leaf int, seek bool) (*pageSource, error) {
	chunk, ok := f.groups[group].ColumnChunks()[leaf].(*pq.FileColumnChunk)
	if !ok {
		return nil, errors.New("damaged Parquet data: a column chunk is no part of a file")
	}
	footer := &f.file.Metadata().RowGroups[group]
	meta := &footer.Columns[leaf].MetaData
	s := &pageSource{in: f.in, next: meta.DataPageOffset, rows: footer.NumRows}
	if meta.DictionaryPageOffset != 0 {
		s.next = meta.DictionaryPageOffset
	}
	s.end = s.next + meta.TotalCompressedSize
	if s.next < 0 || s.end < s.next || s.end > f.size {
		return nil, fmt.Errorf("damaged Parquet data: a column chunk at bytes %d to %d of %d", s.next, s.end, f.size)
	}
	if tail, ok := f.in.(*tailReader); ok && s.next < tail.from {
		s.in = &window{in: f.in, end: s.end, most: windowBytes}
		if seek {
			s.in = &window{in: f.in, end: s.end, most: seekWindowBytes}
		}
	}
	if seek {
		if index := f.offsetIndex(group, leaf); s.mayIndex(index) {
			s.index = index
			if h, _, err := s.header(); err != nil {
				return nil, err
			} else if err := s.check(h); err != nil { // the dictionary, which a seek reads by itself
				return nil, err
			}
		}
	}
	s.pages = chunk.PagesFrom(s.in)
	return s, nil
}

// mayIndex reports whether pages lie one behind the other within the chunk, in rows and in bytes.
func (s *pageSource) mayIndex(index []format.PageLocation) bool {
	row, offset := int64(-1), s.next-1
	for _, p := range index {
		if p.FirstRowIndex <= row || p.Offset <= offset || p.FirstRowIndex >= s.rows || p.Offset >= s.end {
			return false
		}
		row, offset = p.FirstRowIndex, p.Offset
	}
	return len(index) > 0 && index[0].FirstRowIndex == 0
}

// offsetIndex returns where the pages of a chunk lie, nil if the file does not say.
func (f *File) offsetIndex(group, leaf int) []format.PageLocation {
	c := &f.file.Metadata().RowGroups[group].Columns[leaf]
	if _, ok := f.wellFormed(c.OffsetIndexOffset, int64(c.OffsetIndexLength)); !ok {
		return nil
	}
	chunk, ok := f.groups[group].ColumnChunks()[leaf].(*pq.FileColumnChunk)
	if !ok {
		return nil
	}
	index, err := chunk.OffsetIndexFrom(f.in)
	if err != nil {
		return nil
	}
	out := make([]format.PageLocation, index.NumPages())
	for i := range out {
		out[i] = format.PageLocation{Offset: index.Offset(i), FirstRowIndex: index.FirstRowIndex(i)}
	}
	return out
}

// wellFormed returns the bytes of the file at an offset if they are one Thrift struct.
func (f *File) wellFormed(offset, length int64) ([]byte, bool) {
	if offset <= 0 || length <= 0 || offset > f.size-length {
		return nil, false
	}
	b := make([]byte, length)
	if _, err := readFull(f.in, b, offset); err != nil {
		return nil, false
	}
	n, err := thriftLength(b)
	return b, err == nil && int64(n) == length
}

// header reads the header at next and returns its length.
func (s *pageSource) header() (h format.PageHeader, length int64, err error) {
	for guess := int64(headerGuess); ; guess *= 16 {
		most := min(guess, s.end-s.next)
		if int64(len(s.head)) < most {
			s.head = make([]byte, most)
		}
		n, err := readFull(s.in, s.head[:most], s.next)
		if err != nil {
			return h, 0, fmt.Errorf("read page header at byte %d: %w", s.next, err)
		}
		length, err := thriftLength(s.head[:n])
		if errors.Is(err, errThriftEnds) && most == guess && guess < maxHeader {
			continue
		}
		if err == nil {
			err = thrift.Unmarshal(&s.protocol, s.head[:length], &h)
		}
		if err != nil {
			return h, 0, fmt.Errorf("read page header at byte %d: %w", s.next, err)
		}
		return h, int64(length), nil
	}
}

// check refuses a page that claims more than its bytes can hold.
func (s *pageSource) check(h format.PageHeader) error {
	packed, unpacked, values := int64(h.CompressedPageSize), int64(h.UncompressedPageSize), valuesIn(h)
	if packed < 0 || packed > s.end-s.next || unpacked < 0 || unpacked > maxPageBytes+maxPageRatio*packed || values < 0 || values > maxPageValues {
		return fmt.Errorf("damaged Parquet data: a page at byte %d claims %d bytes, %d unpacked, and %d values", s.next, packed, unpacked, values)
	}
	return nil
}

func valuesIn(h format.PageHeader) int64 {
	switch h.Type {
	case format.DictionaryPage:
		return int64(h.DictionaryPageHeader.V.NumValues)
	case format.DataPageV2:
		return int64(h.DataPageHeaderV2.V.NumValues)
	default:
		return int64(h.DataPageHeader.V.NumValues)
	}
}

// read returns the next page that holds values, or io.EOF.
func (s *pageSource) read() (pq.Page, error) {
	for s.next < s.end {
		h, length, err := s.header()
		if err != nil {
			return nil, err
		}
		if err := s.check(h); err != nil {
			return nil, err
		}
		s.next += length + int64(h.CompressedPageSize)
		if h.Type == format.DictionaryPage {
			continue // parquet-go reads it with the first page that needs it
		}
		page, err := s.pages.ReadPage()
		if err != nil {
			return nil, err
		}
		if page.NumValues() != valuesIn(h) {
			pq.Release(page)
			return nil, fmt.Errorf("damaged Parquet data: a page of %d values holds %d", valuesIn(h), page.NumValues())
		}
		if s.index != nil {
			if s.page >= len(s.index) || page.NumRows() != s.pageEnd(s.page)-s.index[s.page].FirstRowIndex {
				pq.Release(page)
				return nil, fmt.Errorf("damaged Parquet data: a page of %d rows is not where the offset index says", page.NumRows())
			}
			s.page++
		}
		return page, nil
	}
	return nil, io.EOF
}

func (s *pageSource) pageEnd(page int) int64 {
	if page+1 < len(s.index) {
		return s.index[page+1].FirstRowIndex
	}
	return s.rows
}

// seek goes on to the page that holds a row and returns the page's first row; the row lies behind the next page's first.
func (s *pageSource) seek(row int64) (first int64, err error) {
	page := sort.Search(len(s.index), func(i int) bool { return s.index[i].FirstRowIndex > row }) - 1
	first = s.index[page].FirstRowIndex
	if page == s.page {
		return first, nil
	}
	if err := s.pages.SeekToRow(first); err != nil {
		return 0, fmt.Errorf("seek to row %d: %w", first, err)
	}
	s.page, s.next = page, s.index[page].Offset
	return first, nil
}

func (s *pageSource) close() error { return s.pages.Close() }

// readFull reads len(b) bytes at an offset.
func readFull(in io.ReaderAt, b []byte, offset int64) (int, error) {
	n, err := in.ReadAt(b, offset)
	if n == len(b) {
		return n, nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}
