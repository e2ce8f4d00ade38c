package parquet

import (
	"encoding/binary"
	"fmt"
	"io"
	"unsafe"

	pq "github.com/parquet-go/parquet-go"

	"smelt/tables/batch"
)

const (
	// rowGroupRows bounds what a reader decodes at once, and what a writer holds in memory.
	rowGroupRows = 128 << 10
	// writeRows is how many rows are handed to parquet-go in one call, through one reused buffer.
	writeRows = 1024
)

// Writer writes one Parquet file. It is not safe for concurrent use.
type Writer struct {
	out    *countingWriter
	file   *pq.GenericWriter[any]
	schema batch.Schema
	leaf   []int // position of each column among the file's columns, which parquet-go sorts by name
	rows   []pq.Row
	values []pq.Value
	stats  *stats
	fixed  []byte // backing of wide decimals of the rows in flight
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
// files without column paths (parquet-go#602).
func NewWriter(out io.Writer, schema batch.Schema) (w *Writer, err error) {
	defer guard("begin Parquet file", &err)
	group := pq.Group{}
	for _, f := range schema {
		n, err := node(f.Type)
		if err != nil {
			return nil, fmt.Errorf("column %q: %w", f.Name, err)
		}
		group[f.Name] = n
	}
	shape := pq.NewSchema("spark_schema", group)
	w = &Writer{out: &countingWriter{Writer: out}, schema: schema, leaf: make([]int, len(schema)), stats: newStats(schema)}
	for i, f := range schema {
		column, ok := shape.Lookup(f.Name)
		if !ok {
			return nil, fmt.Errorf("place column %q: it is not in the file's schema", f.Name)
		}
		w.leaf[i] = column.ColumnIndex
	}
	w.file = pq.NewGenericWriter[any](w.out, shape, pq.Compression(codec), pq.DataPageVersion(1), pq.MaxRowsPerRowGroup(rowGroupRows), pq.CreatedBy("smelt", "1", "1"))
	w.values = make([]pq.Value, writeRows*len(schema))
	w.rows = make([]pq.Row, writeRows)
	for r := range w.rows {
		w.rows[r] = w.values[r*len(schema) : (r+1)*len(schema)]
	}
	return w, nil
}

// Write appends the rows of a batch whose columns are those of the file, in the same order.
func (w *Writer) Write(b *batch.Batch) (err error) {
	defer guard("write Parquet rows", &err)
	for from := 0; from < b.Len; from += writeRows {
		n := min(writeRows, b.Len-from)
		w.fixed = w.fixed[:0]
		for c := range b.Columns {
			w.fill(&b.Columns[c], c, from, n)
		}
		if _, err := w.file.WriteRows(w.rows[:n]); err != nil {
			return fmt.Errorf("write rows: %w", err)
		}
	}
	w.stats.add(b)
	return nil
}

// fill puts values [from, from+n) of one column into the row buffer.
func (w *Writer) fill(col *batch.Column, c, from, n int) {
	kind, leaf, width := w.schema[c].Type, w.leaf[c], len(w.schema)
	for r := range n {
		i := from + r
		if col.Null(i) {
			w.values[r*width+leaf] = pq.NullValue().Level(0, 0, leaf)
			continue
		}
		w.values[r*width+leaf] = w.value(col, kind, i).Level(0, 1, leaf)
	}
}

func (w *Writer) value(col *batch.Column, t batch.Type, i int) pq.Value {
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
		// The bytes are only read, and only until WriteRows returns.
		return pq.ByteArrayValue(unsafe.Slice(unsafe.StringData(s), len(s)))
	}
}

func (w *Writer) decimal(v batch.Int128, precision int) pq.Value {
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

// Size returns the bytes written so far; rows still buffered are not in it.
func (w *Writer) Size() int64 { return w.out.n }
