package parquet

import (
	"errors"
	"fmt"
	"io"

	pq "github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"

	"smelt/tables/batch"
)

const (
	// batchRows is how many rows one batch of a scan holds: large enough to amortise the calls, small enough for a cache.
	batchRows = 8192
	// batchBytes bounds a batch of wide rows, so that a scan of long texts does not hold hundreds of megabytes.
	batchBytes = 8 << 20
)

// Reader reads chosen columns of one Parquet file as batches. It is not safe for concurrent use.
type Reader struct {
	schema  batch.Schema
	file    *pq.File
	groups  []pq.RowGroup
	group   int             // next row group to open
	left    int64           // rows left in the open row group
	most    int64           // rows of a batch, for the open row group
	columns []*columnReader // nil where the file lacks the column
	total   int64
}

// NewReader opens a file of size bytes and reads its footer. Columns of schema that the file lacks read as null.
func NewReader(in io.ReaderAt, size int64, schema batch.Schema) (r *Reader, err error) {
	defer guard("open Parquet file", &err)
	file, err := pq.OpenFile(in, size, pq.SkipPageIndex(true), pq.SkipBloomFilters(true))
	if err != nil {
		return nil, fmt.Errorf("open Parquet file: %w", err)
	}
	r = &Reader{schema: schema, file: file, groups: file.RowGroups(), columns: make([]*columnReader, len(schema)), total: file.NumRows()}
	for i, f := range schema {
		leaf, ok := file.Schema().Lookup(f.Name)
		if !ok {
			if at := file.Root().Column(f.Name); at != nil {
				return nil, fmt.Errorf("read column %q: nested Parquet columns are not supported", f.Name)
			}
			continue
		}
		unit, err := check(f, leaf)
		if err != nil {
			return nil, err
		}
		if err := checkCodecs(file.Metadata(), leaf.ColumnIndex); err != nil {
			return nil, fmt.Errorf("read column %q: %w", f.Name, err)
		}
		r.columns[i] = &columnReader{leaf: leaf.ColumnIndex, typ: f.Type, level: byte(leaf.MaxDefinitionLevel), unit: unit}
	}
	return r, nil
}

// checkCodecs refuses LZ4: parquet-go doubles its output buffer until the data fits, so that one damaged byte takes all memory
// there is. No Delta writer that we know chooses it by itself.
func checkCodecs(footer *format.FileMetaData, leaf int) error {
	for i := range footer.RowGroups {
		if c := footer.RowGroups[i].Columns[leaf].MetaData.Codec; c == format.Lz4Raw {
			return fmt.Errorf("compression %v is not supported", c)
		}
	}
	return nil
}

// Rows returns the number of rows that the footer claims.
func (r *Reader) Rows() int64 { return r.total }

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
	n := int(min(r.left, r.most))
	b = batch.New(r.schema, n)
	for i, c := range r.columns {
		if c == nil {
			for range n {
				b.Columns[i].AppendNull(r.schema[i].Type.Kind)
			}
			continue
		}
		if err := c.read(&b.Columns[i], n); err != nil {
			return nil, fmt.Errorf("read column %q: %w", r.schema[i].Name, err)
		}
	}
	b.Len = n
	r.left -= int64(n)
	return b, nil
}

func (r *Reader) openGroup(g pq.RowGroup) error {
	chunks := g.ColumnChunks()
	footer := r.file.Metadata().RowGroups[r.group]
	var size int64
	for _, c := range r.columns {
		if c == nil {
			continue
		}
		if err := c.open(chunks[c.leaf]); err != nil {
			return err
		}
		size += footer.Columns[c.leaf].MetaData.TotalUncompressedSize
	}
	r.left, r.most = g.NumRows(), batchRows
	if r.left > 0 && size > 0 {
		r.most = max(1, min(batchRows, batchBytes/(size/r.left+1)))
	}
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
