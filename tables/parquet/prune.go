package parquet

import (
	"bytes"
	"encoding/binary"
	"math"
	"strings"

	pq "github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"

	"smelt/tables/batch"
	"smelt/tables/filter"
)

// createdBy is how the footers of our files begin.
const createdBy = "smelt "

// Where is a condition and the column of the table that it is about. The condition fits the column's type.
type Where struct {
	Field     batch.Field
	Condition filter.Condition
}

// wanted is a condition and how the file holds its column.
type wanted struct {
	Where
	stored
}

func (w *wanted) may(b *filter.Bounds) bool { return w.Condition.May(w.Field.Type.Kind, b) }

// span is the rows [from, to) of a row group.
type span struct{ from, to int64 }

// survivors returns the rows of a row group that may satisfy all conditions: first the bounds of the whole group are
// asked, then its Bloom filters, then the bounds of its pages. Statistics that cannot be read are none.
func (f *File) survivors(group int) ([]span, error) {
	rows := f.groups[group].NumRows()
	if rows == 0 {
		return nil, nil
	}
	spans := []span{{0, rows}}
	for i := range f.where {
		w := &f.where[i]
		if b := f.groupBounds(group, w); !w.may(&b) {
			return nil, nil
		}
		if w.Condition.Op == filter.In && !f.bloomMay(group, w) {
			return nil, nil
		}
	}
	for i := range f.where {
		if spans = intersect(spans, f.pageSpans(group, &f.where[i], rows)); len(spans) == 0 {
			return nil, nil
		}
	}
	return spans, nil
}

// groupBounds returns what the footer says of a column in a row group.
func (f *File) groupBounds(group int, w *wanted) filter.Bounds {
	b := filter.Bounds{Rows: f.groups[group].NumRows(), Nulls: -1}
	switch {
	case w.column == nil:
		b.Nulls = b.Rows
		return b
	case w.nested:
		return b
	}
	stats := &f.file.Metadata().RowGroups[group].Columns[w.column.Index()].MetaData.Statistics
	switch {
	case w.column.MaxDefinitionLevel() == 0:
		b.Nulls = 0
	case stats.NullCount > 0 || strings.HasPrefix(f.file.Metadata().CreatedBy, createdBy):
		b.Nulls = stats.NullCount // 0 may also mean that a writer does not count
	}
	if f.ordered(w) && stats.MinValue != nil && stats.MaxValue != nil {
		b.Low, b.High = w.bound(stats.MinValue, false), w.bound(stats.MaxValue, true)
	}
	return b
}

// ordered reports whether the file's bounds of a column are of the order in which conditions compare.
func (f *File) ordered(w *wanted) bool {
	orders, leaf := f.file.Metadata().ColumnOrders, w.column.Index()
	if leaf >= len(orders) {
		return false // a file of the time when the order of bounds was nobody's business
	}
	if _, ok := orders[leaf].Value.(*format.TypeDefinedOrder); !ok {
		return false
	}
	typ := w.column.Type()
	if l := typ.LogicalType(); l != nil {
		if i, ok := l.Value.(*format.IntType); ok && !i.IsSigned {
			return false
		}
	}
	switch typ.Kind() {
	case pq.Boolean, pq.Int32, pq.Int64, pq.Float, pq.Double:
		return true
	case pq.ByteArray:
		return w.typ.Kind == batch.String || w.typ.Kind == batch.Binary
	default: // parquet-go orders decimals of fixed width as if they had no sign; INT96 has no order
		return false
	}
}

// bound decodes a bound as the column's values are; nil if it is none.
func (s *stored) bound(raw []byte, high bool) *filter.Value {
	if s.column.Type().Kind() == pq.ByteArray {
		if high && len(bytes.TrimLeft(raw, "\xff")) == 0 && len(raw) > 0 {
			return nil // cut, and could not be raised
		}
		return &filter.Value{Text: string(raw)}
	}
	v := values{n: 1}
	switch kind, width := s.column.Type().Kind(), len(raw); {
	case kind == pq.Boolean && width == 1:
		v.bits = raw
	case kind == pq.Int32 && width == 4:
		v.int32s = []int32{int32(binary.LittleEndian.Uint32(raw))}
	case kind == pq.Int64 && width == 8:
		v.int64s = []int64{int64(binary.LittleEndian.Uint64(raw))}
	case kind == pq.Float && width == 4:
		v.floats = []float32{math.Float32frombits(binary.LittleEndian.Uint32(raw))}
	case kind == pq.Double && width == 8:
		v.doubles = []float64{math.Float64frombits(binary.LittleEndian.Uint64(raw))}
	default:
		return nil
	}
	var col batch.Column
	if err := s.dense(&col, &v, 0, 1); err != nil {
		return nil
	}
	out := filter.At(&col, s.typ.Kind, 0)
	if math.IsNaN(out.Float) {
		return nil
	}
	return &out
}

// pageSpans returns the rows of the pages of a column that may satisfy its condition.
func (f *File) pageSpans(group int, w *wanted, rows int64) []span {
	whole := []span{{0, rows}}
	if w.column == nil || w.nested {
		return whole
	}
	pages, index := f.pageIndex(group, w.column.Index())
	if len(pages) < 2 || len(index.NullPages) != len(pages) {
		return whole // one page is the row group, which was asked
	}
	// A writer that leaves out the bounds of a column leaves zeros in the index, but nothing in the footer.
	stats := &f.file.Metadata().RowGroups[group].Columns[w.column.Index()].MetaData.Statistics
	bounded := f.ordered(w) && stats.MinValue != nil && stats.MaxValue != nil && len(index.MinValues) == len(pages) && len(index.MaxValues) == len(pages)
	var out []span
	for i, p := range pages {
		s := span{p.FirstRowIndex, rows}
		if i+1 < len(pages) {
			s.to = pages[i+1].FirstRowIndex
		}
		b := filter.Bounds{Rows: s.to - s.from, Nulls: -1}
		if len(index.NullCounts) == len(pages) {
			b.Nulls = index.NullCounts[i]
		}
		if index.NullPages[i] {
			b.Nulls = b.Rows
		} else if bounded {
			b.Low, b.High = w.bound(index.MinValues[i], false), w.bound(index.MaxValues[i], true)
		}
		if !w.may(&b) {
			continue
		}
		if n := len(out); n > 0 && out[n-1].to == s.from {
			out[n-1].to = s.to
		} else {
			out = append(out, s)
		}
	}
	return out
}

// pageIndex returns where the pages of a chunk lie and what they hold, nothing if the file does not say.
func (f *File) pageIndex(group, leaf int) (pages []format.PageLocation, index format.ColumnIndex) {
	c := &f.file.Metadata().RowGroups[group].Columns[leaf]
	b, ok := f.wellFormed(c.ColumnIndexOffset, int64(c.ColumnIndexLength))
	if !ok || thrift.Unmarshal(&thrift.CompactProtocol{}, b, &index) != nil {
		return nil, index
	}
	pages = f.offsetIndex(group, leaf)
	s := pageSource{next: c.MetaData.DataPageOffset, end: f.size, rows: f.groups[group].NumRows()}
	if !s.mayIndex(pages) {
		return nil, index
	}
	return pages, index
}

// intersect returns the rows in both.
func intersect(a, b []span) []span {
	var out []span
	for len(a) > 0 && len(b) > 0 {
		if s := (span{max(a[0].from, b[0].from), min(a[0].to, b[0].to)}); s.from < s.to {
			out = append(out, s)
		}
		if a[0].to < b[0].to {
			a = a[1:]
		} else {
			b = b[1:]
		}
	}
	return out
}
