// Package parquet writes batches to Parquet files and reads them back. Files are what Delta readers of any age expect:
// zstd, data pages V1, PLAIN strings, every column optional. Damaged input is an error, never a panic: parquet-go
// panics on some damaged footers, and every call into it here is guarded.
package parquet

import (
	"bytes"
	"fmt"

	pq "github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"
	"github.com/parquet-go/parquet-go/format"

	"smelt/tables/batch"
)

// Digits of a decimal that fit the fixed widths of Parquet.
const (
	int32Digits = 9
	int64Digits = 18
	wideBytes   = 16
)

// codec is shared by all files: it pools its encoders, and a new one for each file costs more than a small file does.
var codec = &zstd.Codec{Level: zstd.SpeedFastest}

// node returns the Parquet type of a column.
func node(t batch.Type) (pq.Node, error) {
	var n pq.Node
	switch t.Kind {
	case batch.Boolean:
		n = pq.Leaf(pq.BooleanType)
	case batch.Byte:
		n = pq.Int(8)
	case batch.Short:
		n = pq.Int(16)
	case batch.Integer:
		n = pq.Leaf(pq.Int32Type)
	case batch.Long:
		n = pq.Leaf(pq.Int64Type)
	case batch.Float:
		n = pq.Leaf(pq.FloatType)
	case batch.Double:
		n = pq.Leaf(pq.DoubleType)
	case batch.Decimal:
		n = decimalNode(t)
	case batch.String, batch.JSON:
		n = pq.String()
	case batch.Binary:
		n = pq.Leaf(pq.ByteArrayType)
	case batch.Date:
		n = pq.Date()
	case batch.Timestamp:
		n = pq.Timestamp(pq.Microsecond)
	default:
		return nil, fmt.Errorf("write column of kind %d: no Parquet type", t.Kind)
	}
	return pq.Optional(pq.Encoded(n, &pq.Plain)), nil
}

func decimalNode(t batch.Type) pq.Node {
	switch {
	case t.Precision <= int32Digits:
		return pq.Decimal(t.Scale, t.Precision, pq.Int32Type)
	case t.Precision <= int64Digits:
		return pq.Decimal(t.Scale, t.Precision, pq.Int64Type)
	default:
		return pq.Leaf(wideDecimal{pq.Decimal(t.Scale, t.Precision, pq.FixedLenByteArrayType(wideBytes)).Type()})
	}
}

// wideDecimal keeps parquet-go from writing wrong bounds: it compares such decimals as if they had no sign, so that -1 is
// the largest, and leaves gaps in the page index for pages of nulls. With SkipPageBounds the footer has none, and the
// page index says that any value may be on any page. Files still have exact bounds in Delta's statistics.
type wideDecimal struct{ pq.Type }

// NewColumnIndexer implements pq.Type.
func (wideDecimal) NewColumnIndexer(int) pq.ColumnIndexer { return &openIndexer{} }

type openIndexer struct{ index format.ColumnIndex }

// Reset implements pq.ColumnIndexer.
func (x *openIndexer) Reset() { x.index = format.ColumnIndex{} }

// IndexPage implements pq.ColumnIndexer.
func (x *openIndexer) IndexPage(values, nulls int64, _, _ pq.Value) {
	lowest, highest := make([]byte, wideBytes), bytes.Repeat([]byte{0xFF}, wideBytes)
	lowest[0], highest[0] = 0x80, 0x7F
	if nulls == values {
		lowest, highest = nil, nil
	}
	x.index.NullPages = append(x.index.NullPages, nulls == values)
	x.index.NullCounts = append(x.index.NullCounts, nulls)
	x.index.MinValues = append(x.index.MinValues, lowest)
	x.index.MaxValues = append(x.index.MaxValues, highest)
}

// ColumnIndex implements pq.ColumnIndexer.
func (x *openIndexer) ColumnIndex() format.ColumnIndex { return x.index }

// guard turns a panic of parquet-go into an error that names what was being done.
func guard(doing string, err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("%s: damaged Parquet data: %v", doing, r)
	}
}
