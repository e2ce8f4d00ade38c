package parquet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"

	pq "github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"

	"smelt/tables/batch"
)

const (
	// batchRows is how many rows one batch of a scan holds: large enough to amortise the calls, small enough for a cache.
	batchRows = 8192
	// batchBytes bounds a batch of wide rows, so that a scan of long texts does not hold hundreds of megabytes.
	batchBytes = 8 << 20
	// tailBytes of a file are read at once: they hold the footer, and all of a file that a micro-batch left.
	tailBytes = 64 << 10
	// magicBytes end each file: the length of the footer and "PAR1".
	magicBytes = 8
)

// File is an open Parquet file. Its methods may be called by several goroutines at once.
type File struct {
	in      io.ReaderAt
	size    int64
	file    *pq.File
	groups  []pq.RowGroup
	schema  batch.Schema
	columns []stored // of schema
	where   []wanted
	footer  int64  // where it begins
	sum     uint32 // of the footer
}

// stored says how a file holds a column of the table.
type stored struct {
	conversion
	column *pq.Column // nil if the file lacks it: then it is null
	nested bool       // read as JSON text
}

// Open reads the footer of a file of size bytes. Columns of schema that the file lacks read as null; where is advice on
// rows that need not be read.
func Open(in io.ReaderAt, size int64, schema batch.Schema, where []Where) (f *File, err error) {
	defer guard("open Parquet file", &err)
	tail, footer, sum, err := readTail(in, size)
	if err != nil {
		return nil, fmt.Errorf("open Parquet file: %w", err)
	}
	in = tail
	file, err := pq.OpenFile(in, size, pq.SkipPageIndex(true), pq.SkipBloomFilters(true), pq.SkipMagicBytes(true))
	if err != nil {
		return nil, fmt.Errorf("open Parquet file: %w", err)
	}
	f = &File{in: in, size: size, footer: footer, sum: sum, file: file, groups: file.RowGroups(), schema: schema, columns: make([]stored, len(schema))}
	if err := f.checkRows(); err != nil {
		return nil, fmt.Errorf("open Parquet file: %w", err)
	}
	for i, field := range schema {
		if f.columns[i], err = f.find(field); err != nil {
			return nil, fmt.Errorf("read column %q: %w", field.Name, err)
		}
	}
	for _, w := range where {
		s, err := f.find(w.Field)
		if err != nil {
			continue // advice: if the column matters, it is read and refused
		}
		f.where = append(f.where, wanted{Where: w, stored: s})
	}
	return f, nil
}

// tailReader serves the end of a file from memory.
type tailReader struct {
	io.ReaderAt
	from int64
	tail []byte
}

// ReadAt implements io.ReaderAt.
func (r *tailReader) ReadAt(b []byte, offset int64) (int, error) {
	if offset < r.from {
		return r.ReaderAt.ReadAt(b, offset)
	}
	if at := offset - r.from; at < int64(len(r.tail)) {
		if n := copy(b, r.tail[at:]); n == len(b) {
			return n, nil
		}
	}
	return 0, io.ErrUnexpectedEOF
}

// readTail reads the end of a file and checks that its footer is what parquet-go can decode in bounded memory. It
// returns where the footer begins and its CRC-32C.
func readTail(in io.ReaderAt, size int64) (out io.ReaderAt, start int64, sum uint32, err error) {
	if size < 2*magicBytes {
		return nil, 0, 0, fmt.Errorf("damaged Parquet data: a file of %d bytes has no footer", size)
	}
	r := &tailReader{ReaderAt: in}
	if err := r.load(size, tailBytes); err != nil {
		return nil, 0, 0, err
	}
	end := r.tail[len(r.tail)-magicBytes:]
	if string(end[4:]) != "PAR1" {
		return nil, 0, 0, fmt.Errorf("damaged Parquet data: the file ends with %q", end[4:])
	}
	footer := int64(binary.LittleEndian.Uint32(end))
	if footer > size-magicBytes {
		return nil, 0, 0, fmt.Errorf("damaged Parquet data: a footer of %d bytes in a file of %d", footer, size)
	}
	if footer+magicBytes > int64(len(r.tail)) {
		if err := r.load(size, footer+magicBytes); err != nil {
			return nil, 0, 0, err
		}
	}
	at := int64(len(r.tail)) - magicBytes - footer
	if _, err := thriftLength(r.tail[at : at+footer]); err != nil {
		return nil, 0, 0, fmt.Errorf("read footer: %w", err)
	}
	return r, size - magicBytes - footer, crc32.Checksum(r.tail[at:at+footer], castagnoli), nil
}

func (r *tailReader) load(size, length int64) error {
	r.from = max(0, size-length)
	r.tail = make([]byte, size-r.from)
	if _, err := readFull(r.ReaderAt, r.tail, r.from); err != nil {
		return fmt.Errorf("read footer: %w", err)
	}
	return nil
}

// checkRows refuses a footer that contradicts itself.
func (f *File) checkRows() error {
	var rows int64
	for i, g := range f.groups {
		footer := &f.file.Metadata().RowGroups[i]
		if g.NumRows() < 0 || g.NumRows() > f.file.NumRows() {
			return fmt.Errorf("damaged Parquet data: a row group of %d rows in a file of %d", g.NumRows(), f.file.NumRows())
		}
		footer.Ordinal = int16(i) // old writers leave it 0, and parquet-go finds indexes by it
		rows += g.NumRows()
	}
	if rows != f.file.NumRows() {
		return fmt.Errorf("damaged Parquet data: row groups of %d rows in a file of %d", rows, f.file.NumRows())
	}
	return nil
}

// find returns how the file holds a column.
func (f *File) find(field batch.Field) (stored, error) {
	s := stored{conversion: conversion{typ: field.Type}, column: f.file.Root().Column(field.Name)}
	if s.column == nil {
		return s, nil
	}
	if !s.column.Leaf() || s.column.Repeated() {
		if s.nested = field.Type.Kind == batch.JSON; !s.nested {
			return s, errors.New("nested Parquet columns are not supported, except as JSON")
		}
		return s, nil
	}
	if field.Type.Kind == batch.JSON && s.column.Type().Kind() != pq.ByteArray {
		s.nested = true // numbers and times of a foreign file, as JSON
		return s, nil
	}
	var err error
	if s.conversion, err = convert(field.Type, s.column.Type()); err != nil {
		return s, err
	}
	return s, checkCodecs(f.file.Metadata(), s.column.Index())
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
func (f *File) Rows() int64 { return f.file.NumRows() }

// Groups returns the number of row groups.
func (f *File) Groups() int { return len(f.groups) }

// BatchBytes estimates the memory of one batch of a row group.
func (f *File) BatchBytes(group int) int64 { return min(batchBytes, batchRows*f.rowBytes(group)) }

// rowBytes estimates the memory of a row of a row group, at least 1.
func (f *File) rowBytes(group int) int64 {
	footer := &f.file.Metadata().RowGroups[group]
	var size int64
	for i := range f.columns {
		forEachLeaf(f.columns[i].column, func(leaf *pq.Column) {
			size += min(max(0, footer.Columns[leaf.Index()].MetaData.TotalUncompressedSize), math.MaxInt32)
		})
	}
	return size/max(1, footer.NumRows) + 1
}

// column reads the values of one column of a row group, in order.
type column interface {
	read(col *batch.Column, n int) error
	skip(n int64) error
	close() error
}

// Reader reads the rows of one row group as batches. It is not safe for concurrent use.
type Reader struct {
	schema  batch.Schema
	columns []column
	spans   []span // what is left to read
	at      int64  // rows passed
	rows    int64  // of all spans
	most    int64  // rows of a batch
}

// Group returns a reader of the rows of a row group, less some or all of those that fail a condition.
func (f *File) Group(group int) (r *Reader, err error) {
	defer guard("open Parquet row group", &err)
	r = &Reader{schema: f.schema, most: max(1, min(batchRows, batchBytes/f.rowBytes(group)))}
	if r.spans, err = f.survivors(group); err != nil || len(r.spans) == 0 {
		return r, err
	}
	whole := f.groups[group].NumRows()
	for _, s := range r.spans {
		r.rows += s.to - s.from
	}
	for i := range f.columns {
		c, err := f.openColumn(group, &f.columns[i], r.rows < whole)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("read column %q: %w", f.schema[i].Name, err), r.Close())
		}
		r.columns = append(r.columns, c)
	}
	return r, nil
}

func (f *File) openColumn(group int, s *stored, seek bool) (column, error) {
	if s.column == nil {
		return nullColumn{s.typ.Kind}, nil
	}
	if s.nested {
		return f.openNested(group, s.column)
	}
	src, err := f.openPages(group, s.column.Index(), seek)
	if err != nil {
		return nil, err
	}
	return &columnReader{chunkReader: chunkReader{conversion: s.conversion, src: src}, level: byte(s.column.MaxDefinitionLevel())}, nil
}

// Rows returns the number of rows that are read.
func (r *Reader) Rows() int64 { return r.rows }

// Next returns the next batch or io.EOF. Values are copies: they stay valid for ever.
func (r *Reader) Next() (b *batch.Batch, err error) {
	defer guard("read Parquet rows", &err)
	var now []span
	var n int64
	for len(r.spans) > 0 && n < r.most {
		s := &r.spans[0]
		take := min(s.to-s.from, r.most-n)
		now = append(now, span{s.from, s.from + take})
		n += take
		if s.from += take; s.from == s.to {
			r.spans = r.spans[1:]
		}
	}
	if n == 0 {
		return nil, io.EOF
	}
	b = batch.New(r.schema, int(n))
	for i, c := range r.columns {
		at := r.at
		for _, s := range now {
			if s.from > at {
				err = c.skip(s.from - at)
			}
			if err == nil {
				err = c.read(&b.Columns[i], int(s.to-s.from))
			}
			if err != nil {
				return nil, fmt.Errorf("read column %q: %w", r.schema[i].Name, err)
			}
			at = s.to
		}
	}
	b.Len, r.at = int(n), now[len(now)-1].to
	return b, nil
}

// Close releases the open pages. It may be called more than once.
func (r *Reader) Close() (err error) {
	defer guard("close Parquet file", &err)
	var errs []error
	for _, c := range r.columns {
		errs = append(errs, c.close())
	}
	r.columns, r.spans = nil, nil
	return errors.Join(errs...)
}

// nullColumn is a column that the file lacks.
type nullColumn struct{ kind batch.Kind }

func (c nullColumn) read(col *batch.Column, n int) error {
	for range n {
		col.AppendNull(c.kind)
	}
	return nil
}

func (nullColumn) skip(int64) error { return nil }
func (nullColumn) close() error     { return nil }
