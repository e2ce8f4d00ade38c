package parquet

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"

	pq "github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/encoding"

	"smelt/tables/batch"
)

// chunkReader takes the values from the pages of one column chunk as typed slices: going through parquet-go's Value costs
// two to four times as much.
type chunkReader struct {
	conversion
	src        *pageSource
	page       pq.Page
	data       values
	dictionary *batch.Column // values that indexes refer to, for the chunk
}

// columnReader reads a column that is not nested, row by row.
type columnReader struct {
	chunkReader
	level byte  // definition level of a value that is not null
	row   int64 // the next row of the row group
	at    int   // the next row of the page
	used  int   // values of the page that were taken; nulls have none
}

// values is what a page holds, nulls left out. One of the slices is in use, and all but text belong to the page.
type values struct {
	n       int
	bits    []byte
	int32s  []int32
	int64s  []int64
	int96s  []deprecated.Int96
	floats  []float32
	doubles []float64
	text    string // a copy, shared by all strings of the page
	ends    []uint32
	fixed   []byte
	width   int
	indexes []int32
}

// valuesOf takes the content of a page. Text is copied at once, because pages are recycled: to keep their memory instead is
// no faster, as parquet-go then unpacks into memory that no cache has seen.
func valuesOf(data encoding.Values, n int, indexed bool) (v values, err error) {
	v.n = n
	if indexed {
		v.indexes = data.Int32()
		return v, nil
	}
	switch data.Kind() {
	case encoding.Boolean:
		v.bits = data.Boolean()
	case encoding.Int32:
		v.int32s = data.Int32()
	case encoding.Int64:
		v.int64s = data.Int64()
	case encoding.Int96:
		v.int96s = data.Int96()
	case encoding.Float:
		v.floats = data.Float()
	case encoding.Double:
		v.doubles = data.Double()
	case encoding.FixedLenByteArray:
		v.fixed, v.width = data.FixedLenByteArray()
	case encoding.ByteArray:
		raw, ends := data.ByteArray()
		v.text, v.ends = string(raw), ends
	default:
		return v, fmt.Errorf("physical type %v is not supported", data.Kind())
	}
	return v, nil
}

func (c *chunkReader) close() error {
	c.release()
	if c.src == nil {
		return nil
	}
	err := c.src.close()
	c.src = nil
	return err
}

func (c *chunkReader) release() {
	if c.page != nil {
		pq.Release(c.page)
		c.page, c.data = nil, values{}
	}
}

// nextPage opens the next page.
func (c *chunkReader) nextPage() error {
	c.release()
	page, err := c.src.read()
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("damaged Parquet data: the values end early: %w", io.ErrUnexpectedEOF)
	}
	if err != nil {
		return err
	}
	c.page = page
	d := page.Dictionary()
	if d != nil && c.dictionary == nil {
		if err := c.readDictionary(d); err != nil {
			return err
		}
	}
	c.data, err = valuesOf(page.Data(), int(page.NumValues()-page.NumNulls()), d != nil)
	return err
}

func (c *chunkReader) readDictionary(d pq.Dictionary) error {
	all, err := valuesOf(d.Page().Data(), d.Len(), false)
	if err != nil {
		return fmt.Errorf("read dictionary: %w", err)
	}
	c.dictionary = &batch.Column{}
	return c.dense(c.dictionary, &all, 0, d.Len())
}

// values appends values [from, from+n) of the page.
func (c *chunkReader) values(col *batch.Column, from, n int) error {
	if n == 0 {
		return nil
	}
	if from+n > c.data.n {
		return fmt.Errorf("damaged Parquet data: a page of %d values ends early", c.data.n)
	}
	if c.data.indexes != nil {
		return c.gather(col, c.data.indexes[from:from+n])
	}
	return c.dense(col, &c.data, from, n)
}

// read appends exactly n values to col.
func (c *columnReader) read(col *batch.Column, n int) error {
	had := c.length(col)
	for n > 0 {
		if err := c.open(); err != nil {
			return err
		}
		take := int(min(int64(n), c.page.NumValues()-int64(c.at)))
		if err := c.take(col, had, take); err != nil {
			return err
		}
		had, n = had+take, n-take
	}
	return nil
}

// open makes sure that there is a page with a row not yet read.
func (c *columnReader) open() error {
	for c.page == nil || int64(c.at) >= c.page.NumValues() {
		if err := c.nextPage(); err != nil {
			return err
		}
		c.at, c.used = 0, 0
	}
	return nil
}

// skip passes over n rows. Pages that hold no other rows are not read if the file has an offset index.
func (c *columnReader) skip(n int64) error {
	to := c.row + n
	if c.src.index != nil && (c.page == nil || to-c.row >= c.page.NumValues()-int64(c.at)) {
		first, err := c.src.seek(to)
		if err != nil {
			return err
		}
		c.release()
		c.row = first
	}
	for c.row < to {
		if err := c.open(); err != nil {
			return err
		}
		take := int(min(to-c.row, c.page.NumValues()-int64(c.at)))
		c.used += c.present(take)
		c.row, c.at = c.row+int64(take), c.at+take
	}
	return nil
}

// present returns how many of the next n rows of the page are not null.
func (c *columnReader) present(n int) int {
	if levels := c.page.DefinitionLevels(); len(levels) > 0 {
		return bytes.Count(levels[c.at:c.at+n], []byte{c.level})
	}
	return n
}

// take appends the next n rows of the page to a column that has had of them.
func (c *columnReader) take(col *batch.Column, had, n int) error {
	present := c.present(n)
	if err := c.values(col, c.used, present); err != nil {
		return err
	}
	if present < n {
		spread(col, had, n, present, c.page.DefinitionLevels()[c.at:c.at+n], c.level)
	} else if col.Valid != nil {
		col.Valid = appendTrue(col.Valid, n)
	}
	c.row, c.at, c.used = c.row+int64(n), c.at+n, c.used+present
	return nil
}

// gather appends the dictionary's values at the indexes; one out of range panics, which guard reports.
func (c *chunkReader) gather(col *batch.Column, indexes []int32) error {
	d := c.dictionary
	switch c.typ.Kind {
	case batch.Boolean:
		col.Bools = pick(col.Bools, d.Bools, indexes)
	case batch.Float, batch.Double:
		col.Floats = pick(col.Floats, d.Floats, indexes)
	case batch.Decimal:
		col.Decimals = pick(col.Decimals, d.Decimals, indexes)
	case batch.String, batch.Binary, batch.JSON:
		col.Strings = pick(col.Strings, d.Strings, indexes)
	default:
		col.Ints = pick(col.Ints, d.Ints, indexes)
	}
	return nil
}

func pick[T any](out, from []T, indexes []int32) []T {
	out = slices.Grow(out, len(indexes))
	for _, i := range indexes {
		out = append(out, from[i])
	}
	return out
}

// spread moves the last present values of col, which has had rows and is to have n more, to the rows whose level says
// that they are not null.
func spread(col *batch.Column, had, n, present int, levels []byte, level byte) {
	if col.Valid == nil {
		col.Valid = appendTrue(make([]bool, 0, had+n), had)
	}
	for _, l := range levels {
		col.Valid = append(col.Valid, l == level)
	}
	valid := col.Valid[had:]
	col.Bools = spreadOut(col.Bools, had, n, present, valid)
	col.Ints = spreadOut(col.Ints, had, n, present, valid)
	col.Floats = spreadOut(col.Floats, had, n, present, valid)
	col.Strings = spreadOut(col.Strings, had, n, present, valid)
	col.Decimals = spreadOut(col.Decimals, had, n, present, valid)
}

// spreadOut does it for one slice, from the end, so that no value is overwritten before it has moved. A slice that is
// not the column's own is nil and stays so.
func spreadOut[T any](s []T, had, n, present int, valid []bool) []T {
	if s == nil {
		return nil
	}
	var zero T
	s = slices.Grow(s, n-present)[:had+n]
	from := had + present
	for i := n - 1; i >= 0; i-- {
		if valid[i] {
			from--
			s[had+i] = s[from]
		} else {
			s[had+i] = zero
		}
	}
	return s
}

func appendTrue(s []bool, n int) []bool {
	for range n {
		s = append(s, true)
	}
	return s
}
