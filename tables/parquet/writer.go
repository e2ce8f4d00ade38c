package parquet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync/atomic"
	"unsafe"

	pq "github.com/parquet-go/parquet-go"
	"golang.org/x/sync/errgroup"

	"smelt/tables/batch"
)

const (
	// rowGroupRows and rowGroupBytes bound what a writer holds in memory, and what a reader can skip or must decode at
	// once. Bytes are those of the values before compression.
	rowGroupRows  = 128 << 10
	rowGroupBytes = 64 << 20
	// writeRows is how many values are handed to parquet-go in one call, through one reused buffer.
	writeRows = 1024
	// pageBytes ends a page: it is the least that a reader decodes. Smaller pages pack worse, larger ones skip less.
	pageBytes = 128 << 10
	// indexBytes is where the bounds of pages are cut: enough to tell apart what begins alike, as addresses do.
	indexBytes = 64
	// fixedBytes is what a value that is no text counts for in rowGroupBytes.
	fixedBytes = 8
	// parallelValues is how many values are worth starting goroutines for: some hundred microseconds of work.
	parallelValues = 16 << 10
)

// limits are what ends a part of a file; tests make small files of many parts.
type limits struct{ groupRows, pageBytes, writeRows int }

var usualLimits = limits{groupRows: rowGroupRows, pageBytes: pageBytes, writeRows: writeRows}

// Writer writes one Parquet file. It is not safe for concurrent use.
type Writer struct {
	out    *countingWriter
	file   *pq.GenericWriter[any]
	schema batch.Schema
	leaf   []int // position of each column among the file's columns, which parquet-go sorts by name
	limits limits
	stats  *stats
	rows   int // of the open row group
	bytes  int // of the open row group, see rowGroupBytes

	scratch []*scratch // one for each core that writes
}

type countingWriter struct {
	io.Writer
	n int64
}

// Write implements io.Writer.
func (w *countingWriter) Write(p []byte) (int, error) {
	n, err := w.Writer.Write(p)
	w.n += int64(n)
	return n, err
}

// NewWriter begins a file of the schema on out. Each file needs a writer of its own: parquet-go's Reset leaves later
// files without column paths (parquet-go#602). Of the table's properties it knows smelt.bloom.columns.
func NewWriter(out io.Writer, schema batch.Schema, properties map[string]string) (*Writer, error) {
	return newWriter(out, schema, properties, usualLimits)
}

func newWriter(out io.Writer, schema batch.Schema, properties map[string]string, at limits) (w *Writer, err error) {
	defer guard("begin Parquet file", &err)
	if len(schema) == 0 {
		return nil, errors.New("begin Parquet file: there are no columns")
	}
	group := pq.Group{}
	for _, f := range schema {
		n, err := node(f.Type)
		if err != nil {
			return nil, fmt.Errorf("column %q: %w", f.Name, err)
		}
		group[f.Name] = n
	}
	shape := pq.NewSchema("spark_schema", group)
	w = &Writer{out: &countingWriter{Writer: out}, schema: schema, limits: at, leaf: make([]int, len(schema)), stats: newStats(schema)}
	for i, f := range schema {
		column, ok := shape.Lookup(f.Name)
		if !ok {
			return nil, fmt.Errorf("place column %q: it is not in the file's schema", f.Name)
		}
		w.leaf[i] = column.ColumnIndex
	}
	options := []pq.WriterOption{shape, pq.Compression(codec), pq.DataPageVersion(1), pq.CreatedBy("smelt", "1", "1"), pq.PageBufferSize(at.pageBytes),
		pq.DataPageStatistics(false), pq.ColumnIndexSizeLimit(func([]string) int { return indexBytes }), pq.BloomFilters(bloomFilters(schema, properties)...)}
	for _, f := range schema {
		if f.Type.Kind == batch.Decimal && f.Type.Precision > int64Digits {
			options = append(options, pq.SkipPageBounds(f.Name)) // see wideDecimal
		}
	}
	w.file = pq.NewGenericWriter[any](w.out, options...)
	return w, nil
}

// Write appends the rows of a batch whose columns are those of the file, in the same order. A value that its column
// cannot hold, such as 300 in a byte, is an error: it must not arrive as another value. Invalid UTF-8 in a text becomes
// U+FFFD, because outside readers refuse files that hold any. Large batches are written by all cores, column by column.
func (w *Writer) Write(b *batch.Batch) error {
	columns := make([]batch.Column, len(b.Columns))
	err := w.eachColumn(b.Len, func(_ *scratch, c int) (err error) {
		if columns[c], err = checked(b.Columns[c], w.schema[c].Type, b.Len); err != nil {
			return fmt.Errorf("column %q: %w", w.schema[c].Name, err)
		}
		w.stats.add(c, &columns[c], b.Len)
		return nil
	})
	if err != nil {
		return err
	}
	w.stats.rows += int64(b.Len)
	for from := 0; from < b.Len; {
		n := w.room(columns, from, b.Len)
		if err := w.write(columns, from, n); err != nil {
			return err
		}
		from += n
		if w.rows >= w.limits.groupRows || w.bytes >= rowGroupBytes {
			if err := w.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

// room returns how many rows behind from the open row group takes, and counts them.
func (w *Writer) room(columns []batch.Column, from, until int) (rows int) {
	for from+rows < until && w.rows < w.limits.groupRows && w.bytes < rowGroupBytes {
		n := min(w.limits.writeRows, until-from-rows, w.limits.groupRows-w.rows)
		for c := range columns {
			w.bytes += fixedBytes * n
			if columns[c].Strings != nil {
				for _, s := range columns[c].Strings[from+rows : from+rows+n] {
					w.bytes += len(s)
				}
			}
		}
		rows += n
		w.rows += n
	}
	return rows
}

// write hands rows [from, from+n) to parquet-go, each column by itself: its writers share nothing before a row group ends.
func (w *Writer) write(columns []batch.Column, from, n int) error {
	writers := w.file.ColumnWriters()
	return w.eachColumn(n, func(to *scratch, c int) error {
		for at, end := from, from+n; at < end; {
			part := min(w.limits.writeRows, end-at)
			to.fill(&columns[c], w.schema[c].Type, w.leaf[c], at, part)
			if _, err := writers[w.leaf[c]].WriteRowValues(to.values); err != nil {
				return fmt.Errorf("write column %q: %w", w.schema[c].Name, err)
			}
			at += part
		}
		return nil
	})
}

func (w *Writer) flush() (err error) {
	defer guard("end Parquet row group", &err)
	if err := w.file.Flush(); err != nil {
		return fmt.Errorf("end row group: %w", err)
	}
	w.rows, w.bytes = 0, 0
	return nil
}

// eachColumn calls f for each column of so many rows: on all cores where that is worth it. A panic becomes an error.
func (w *Writer) eachColumn(rows int, f func(s *scratch, c int) error) error {
	workers := min(runtime.GOMAXPROCS(0), len(w.schema))
	if rows*len(w.schema) < parallelValues {
		workers = 1
	}
	for len(w.scratch) < workers {
		w.scratch = append(w.scratch, &scratch{})
	}
	var taken atomic.Int64
	work := func(s *scratch) (err error) {
		defer guard("write Parquet rows", &err)
		for err == nil {
			c := int(taken.Add(1)) - 1
			if c >= len(w.schema) {
				return nil
			}
			err = f(s, c)
		}
		return err
	}
	if workers == 1 {
		return work(w.scratch[0])
	}
	var group errgroup.Group
	for _, s := range w.scratch[:workers] {
		group.Go(func() error { return work(s) })
	}
	return group.Wait()
}

// scratch is the buffer through which one core hands values to parquet-go.
type scratch struct {
	values []pq.Value
	fixed  []byte // backing of the wide decimals in values
}

// fill puts values [from, from+n) of one column into the buffer.
func (w *scratch) fill(col *batch.Column, typ batch.Type, leaf, from, n int) {
	w.values, w.fixed = w.values[:0], w.fixed[:0]
	null := pq.NullValue().Level(0, 0, leaf)
	for i := from; i < from+n; i++ {
		switch {
		case col.Null(i):
			w.values = append(w.values, null)
		case i > from && repeats(col, i):
			w.values = append(w.values, w.values[i-from-1])
		default:
			w.values = append(w.values, w.value(col, typ, i).Level(0, 1, leaf))
		}
	}
}

// repeats reports whether a value is that before it: the path of a file is the same in all of its rows, for one.
func repeats(col *batch.Column, i int) bool {
	if col.Null(i - 1) {
		return false
	}
	switch {
	case col.Strings != nil:
		return col.Strings[i] == col.Strings[i-1]
	case col.Ints != nil:
		return col.Ints[i] == col.Ints[i-1]
	default:
		return false
	}
}

func (w *scratch) value(col *batch.Column, t batch.Type, i int) pq.Value {
	switch t.Kind {
	case batch.Boolean:
		return pq.BooleanValue(col.Bools[i])
	case batch.Byte, batch.Short, batch.Integer, batch.Date:
		return pq.Int32Value(int32(col.Ints[i]))
	case batch.Long, batch.Timestamp:
		return pq.Int64Value(col.Ints[i])
	case batch.Float:
		return pq.FloatValue(float32(col.Floats[i]))
	case batch.Double:
		return pq.DoubleValue(col.Floats[i])
	case batch.Decimal:
		return w.decimal(col.Decimals[i], t.Precision)
	default:
		s := col.Strings[i]
		// The bytes are only read, and only until WriteRowValues returns.
		return pq.ByteArrayValue(unsafe.Slice(unsafe.StringData(s), len(s)))
	}
}

func (w *scratch) decimal(v batch.Int128, precision int) pq.Value {
	switch {
	case precision <= int32Digits:
		return pq.Int32Value(int32(v.Lo))
	case precision <= int64Digits:
		return pq.Int64Value(int64(v.Lo))
	default:
		start := len(w.fixed)
		w.fixed = binary.BigEndian.AppendUint64(w.fixed, uint64(v.Hi))
		w.fixed = binary.BigEndian.AppendUint64(w.fixed, v.Lo)
		return pq.FixedLenByteArrayValue(w.fixed[start:])
	}
}

// Close ends the file and returns the statistics of its rows as Delta wants them. The caller syncs and closes out.
func (w *Writer) Close() (rows int64, stats string, err error) {
	defer guard("end Parquet file", &err)
	if err := w.file.Close(); err != nil {
		return 0, "", fmt.Errorf("end Parquet file: %w", err)
	}
	text, err := w.stats.json()
	return w.stats.rows, text, err
}

// Size returns the bytes of the file so far: those written, and those of the open row group before compression.
func (w *Writer) Size() int64 { return w.out.n + int64(w.bytes) }
