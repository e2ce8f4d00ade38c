package parquet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/big"

	pq "github.com/parquet-go/parquet-go"

	"smelt/tables/batch"
)

// batchRows is how many rows one batch of a scan holds: large enough to amortise the calls, small enough for a cache.
const batchRows = 8192

// Reader reads chosen columns of one Parquet file as batches. It is not safe for concurrent use.
type Reader struct {
	schema  batch.Schema
	groups  []pq.RowGroup
	group   int             // next row group to open
	left    int64           // rows left in the open row group
	columns []*columnReader // nil where the file lacks the column
	total   int64
	values  []pq.Value
}

// columnReader walks the pages of one column chunk.
type columnReader struct {
	leaf   int
	typ    batch.Type
	file   pq.Type
	pages  pq.Pages
	page   pq.Page
	values pq.ValueReader
}

// NewReader opens a file of size bytes and reads its footer. Columns of schema that the file lacks read as null.
func NewReader(in io.ReaderAt, size int64, schema batch.Schema) (r *Reader, err error) {
	defer guard("open Parquet file", &err)
	file, err := pq.OpenFile(in, size, pq.SkipPageIndex(true), pq.SkipBloomFilters(true))
	if err != nil {
		return nil, fmt.Errorf("open Parquet file: %w", err)
	}
	r = &Reader{schema: schema, groups: file.RowGroups(), columns: make([]*columnReader, len(schema)), total: file.NumRows(), values: make([]pq.Value, batchRows)}
	for i, f := range schema {
		leaf, ok := file.Schema().Lookup(f.Name)
		if !ok {
			continue
		}
		if err := check(f, leaf); err != nil {
			return nil, err
		}
		r.columns[i] = &columnReader{leaf: leaf.ColumnIndex, typ: f.Type, file: leaf.Node.Type()}
	}
	return r, nil
}

// Rows returns the number of rows that the footer claims.
func (r *Reader) Rows() int64 { return r.total }

// check refuses a file column whose physical type cannot hold the table's column.
func check(f batch.Field, leaf pq.LeafColumn) error {
	if leaf.MaxRepetitionLevel > 0 || leaf.MaxDefinitionLevel > 1 {
		return fmt.Errorf("read column %q: nested Parquet columns are not supported", f.Name)
	}
	var fits bool
	switch kind := leaf.Node.Type().Kind(); f.Type.Kind {
	case batch.Boolean:
		fits = kind == pq.Boolean
	case batch.Byte, batch.Short, batch.Integer, batch.Date:
		fits = kind == pq.Int32
	case batch.Long, batch.Timestamp:
		fits = kind == pq.Int64 || kind == pq.Int32
	case batch.Float, batch.Double:
		fits = kind == pq.Float || kind == pq.Double
	case batch.Decimal:
		fits = kind == pq.Int32 || kind == pq.Int64 || kind == pq.FixedLenByteArray || kind == pq.ByteArray
	default:
		fits = kind == pq.ByteArray
	}
	if !fits {
		return fmt.Errorf("read column %q: the file holds %s, which is no %s", f.Name, leaf.Node.Type(), f.Type)
	}
	return nil
}

// Next returns the next batch or io.EOF. Values are copies: they stay valid for ever.
func (r *Reader) Next() (b *batch.Batch, err error) {
	defer guard("read Parquet rows", &err)
	for r.left == 0 {
		if r.group == len(r.groups) {
			return nil, io.EOF
		}
		if err := r.openGroup(r.groups[r.group]); err != nil {
			return nil, err
		}
		r.group++
	}
	n := int(min(r.left, batchRows))
	b = batch.New(r.schema, n)
	for i, c := range r.columns {
		if c == nil {
			for range n {
				b.Columns[i].AppendNull(r.schema[i].Type.Kind)
			}
			continue
		}
		if err := c.read(&b.Columns[i], n, r.values); err != nil {
			return nil, fmt.Errorf("read column %q: %w", r.schema[i].Name, err)
		}
	}
	b.Len = n
	r.left -= int64(n)
	return b, nil
}

func (r *Reader) openGroup(g pq.RowGroup) error {
	chunks := g.ColumnChunks()
	for _, c := range r.columns {
		if c == nil {
			continue
		}
		if err := c.close(); err != nil {
			return err
		}
		c.pages = chunks[c.leaf].Pages()
	}
	r.left = g.NumRows()
	return nil
}

// Close releases the open pages. It may be called more than once.
func (r *Reader) Close() (err error) {
	defer guard("close Parquet file", &err)
	var errs []error
	for _, c := range r.columns {
		if c != nil {
			errs = append(errs, c.close())
		}
	}
	r.left, r.group = 0, len(r.groups)
	return errors.Join(errs...)
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
		c.page, c.values = nil, nil
	}
}

// read appends exactly n values to col.
func (c *columnReader) read(col *batch.Column, n int, buffer []pq.Value) error {
	var text arena
	start := len(col.Strings)
	for n > 0 {
		if c.values == nil {
			page, err := c.pages.ReadPage()
			if errors.Is(err, io.EOF) {
				return fmt.Errorf("damaged Parquet data: %d values are missing: %w", n, io.ErrUnexpectedEOF)
			}
			if err != nil {
				return err
			}
			c.page, c.values = page, page.Values()
		}
		got, err := c.values.ReadValues(buffer[:min(n, len(buffer))])
		for i := range got {
			if err := c.append(col, &buffer[i], &text); err != nil {
				return err
			}
		}
		n -= got
		if errors.Is(err, io.EOF) || (err == nil && got == 0) {
			c.releasePage()
		} else if err != nil {
			return err
		}
	}
	text.share(col.Strings[start:])
	return nil
}

func (c *columnReader) append(col *batch.Column, v *pq.Value, text *arena) error {
	if v.IsNull() {
		col.AppendNull(c.typ.Kind)
		text.addNull()
		return nil
	}
	switch c.typ.Kind {
	case batch.Boolean:
		col.AppendBool(v.Boolean())
	case batch.Byte, batch.Short, batch.Integer, batch.Date:
		col.AppendInt(int64(v.Int32()))
	case batch.Long, batch.Timestamp:
		if v.Kind() == pq.Int32 {
			col.AppendInt(int64(v.Int32()))
		} else {
			col.AppendInt(v.Int64())
		}
	case batch.Float, batch.Double:
		if v.Kind() == pq.Float {
			col.AppendFloat(float64(v.Float()))
		} else {
			col.AppendFloat(v.Double())
		}
	case batch.Decimal:
		d, err := decimal(v)
		if err != nil {
			return err
		}
		col.AppendDecimal(d)
	default:
		text.add(v.ByteArray())
		col.AppendString("")
	}
	return nil
}

func decimal(v *pq.Value) (batch.Int128, error) {
	switch v.Kind() {
	case pq.Int32:
		n := int64(v.Int32())
		return batch.Int128{Hi: n >> 63, Lo: uint64(n)}, nil
	case pq.Int64:
		n := v.Int64()
		return batch.Int128{Hi: n >> 63, Lo: uint64(n)}, nil
	}
	raw := v.ByteArray()
	if len(raw) == wideBytes {
		return batch.Int128{Hi: int64(binary.BigEndian.Uint64(raw)), Lo: binary.BigEndian.Uint64(raw[8:])}, nil
	}
	n := new(big.Int).SetBytes(raw)
	if len(raw) > 0 && raw[0]&0x80 != 0 {
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(raw))))
	}
	d, ok := batch.Int128FromBig(n)
	if !ok {
		return d, fmt.Errorf("decimal of %d bytes does not fit 128 bits", len(raw))
	}
	return d, nil
}

// arena gathers the bytes of many strings so that they cost one allocation: pages are recycled, so bytes must be copied.
type arena struct {
	bytes []byte
	ends  []int
}

// addNull keeps the place of a null. Before the first text nothing is kept, so that columns of other kinds cost nothing.
func (a *arena) addNull() {
	if a.ends != nil {
		a.ends = append(a.ends, len(a.bytes))
	}
}

func (a *arena) add(b []byte) {
	a.bytes = append(a.bytes, b...)
	a.ends = append(a.ends, len(a.bytes))
}

// share gives the last len(a.ends) of the strings their text; those before are leading nulls.
func (a *arena) share(out []string) {
	if len(a.ends) == 0 {
		return
	}
	all := string(a.bytes)
	lead := len(out) - len(a.ends)
	start := 0
	for i, end := range a.ends {
		out[lead+i] = all[start:end]
		start = end
	}
}
