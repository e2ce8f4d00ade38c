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

// columnReader walks the pages of one column chunk. It takes values from the pages as typed slices: going through
// parquet-go's Value costs two to four times as much.
type columnReader struct {
	leaf  int
	typ   batch.Type
	level byte        // definition level of a value that is not null
	unit  microsecond // for timestamps

	pages      pq.Pages
	page       pq.Page
	data       values
	at         int           // next row of the page
	used       int           // values of the page that were taken; nulls have none
	dictionary *batch.Column // values that indexes refer to, for the chunk
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

// valuesOf takes the content of a page. Text is copied at once, because pages are recycled.
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

// open begins a column chunk.
func (c *columnReader) open(chunk pq.ColumnChunk) error {
	if err := c.close(); err != nil {
		return err
	}
	c.pages, c.dictionary = chunk.Pages(), nil
	return nil
}

func (c *columnReader) close() error {
	c.releasePage()
	if c.pages == nil {
		return nil
	}
	err := c.pages.Close()
	c.pages = nil
	return err
}

func (c *columnReader) releasePage() {
	if c.page != nil {
		pq.Release(c.page)
		c.page, c.data = nil, values{}
	}
}

// read appends exactly n values to col.
func (c *columnReader) read(col *batch.Column, n int) error {
	had := 0
	for n > 0 {
		if c.page == nil {
			if err := c.nextPage(n); err != nil {
				return err
			}
		}
		take := int(min(int64(n), c.page.NumValues()-int64(c.at)))
		if err := c.take(col, had, take); err != nil {
			return err
		}
		had, n, c.at = had+take, n-take, c.at+take
		if int64(c.at) >= c.page.NumValues() {
			c.releasePage()
		}
	}
	return nil
}

// nextPage opens the next page; missing values are still wanted.
func (c *columnReader) nextPage(missing int) error {
	page, err := c.pages.ReadPage()
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("damaged Parquet data: %d values are missing: %w", missing, io.ErrUnexpectedEOF)
	}
	if err != nil {
		return err
	}
	c.page, c.at, c.used = page, 0, 0
	present := int(page.NumValues() - page.NumNulls())
	if d := page.Dictionary(); d != nil && c.dictionary == nil {
		if err := c.readDictionary(d); err != nil {
			return err
		}
	}
	c.data, err = valuesOf(page.Data(), present, page.Dictionary() != nil)
	return err
}

func (c *columnReader) readDictionary(d pq.Dictionary) error {
	all, err := valuesOf(d.Page().Data(), d.Len(), false)
	if err != nil {
		return fmt.Errorf("read dictionary: %w", err)
	}
	c.dictionary = &batch.Column{}
	return c.dense(c.dictionary, &all, 0, d.Len())
}

// take appends the next n rows of the page to a column that has had of them.
func (c *columnReader) take(col *batch.Column, had, n int) error {
	present, levels := n, c.page.DefinitionLevels()
	if len(levels) > 0 {
		levels = levels[c.at : c.at+n]
		present = bytes.Count(levels, []byte{c.level})
	}
	if c.used+present > c.data.n {
		return fmt.Errorf("damaged Parquet data: a page of %d values ends early", c.data.n)
	}
	var err error
	if c.data.indexes != nil {
		err = c.gather(col, c.data.indexes[c.used:c.used+present])
	} else {
		err = c.dense(col, &c.data, c.used, present)
	}
	if err != nil {
		return err
	}
	c.used += present
	if present < n {
		spread(col, had, n, present, levels, c.level)
	} else if col.Valid != nil {
		col.Valid = appendTrue(col.Valid, n)
	}
	return nil
}

// gather appends the dictionary's values at the indexes; one out of range panics, which guard reports.
func (c *columnReader) gather(col *batch.Column, indexes []int32) error {
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

// dense appends values [from, from+n) of a page.
func (c *columnReader) dense(col *batch.Column, v *values, from, n int) error {
	to := from + n
	switch c.typ.Kind {
	case batch.Boolean:
		for i := from; i < to; i++ {
			col.Bools = append(col.Bools, v.bits[i/8]&(1<<(i%8)) != 0)
		}
	case batch.Float, batch.Double:
		if v.doubles != nil {
			col.Floats = append(col.Floats, v.doubles[from:to]...)
			return nil
		}
		for _, x := range v.floats[from:to] {
			col.Floats = append(col.Floats, float64(x))
		}
	case batch.Timestamp:
		return c.timestamps(col, v, from, to)
	case batch.Decimal:
		return decimals(col, v, from, to)
	case batch.String, batch.Binary, batch.JSON:
		for i := from; i < to; i++ {
			col.Strings = append(col.Strings, v.text[v.ends[i]:v.ends[i+1]])
		}
	default:
		if v.int64s != nil {
			col.Ints = append(col.Ints, v.int64s[from:to]...)
			return nil
		}
		for _, x := range v.int32s[from:to] {
			col.Ints = append(col.Ints, int64(x))
		}
	}
	return nil
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
