package parquet

import (
	"math"
	"slices"
	"strings"

	pq "github.com/parquet-go/parquet-go"

	"smelt/tables/batch"
)

const (
	// bloomProperty is the table property that lists the columns with Bloom filters, divided by commas.
	bloomProperty = "smelt.bloom.columns"
	// bloomBits is how many bits a filter has for each value: about one absent value in a hundred seems to be there.
	bloomBits = 10
	// bloomBlock is the bytes of a block, the smallest filter.
	bloomBlock = 32
)

// bloomFilters returns the filters that a table's properties ask for. Names that are no columns are passed over.
func bloomFilters(schema batch.Schema, properties map[string]string) []pq.BloomFilterColumn {
	var out []pq.BloomFilterColumn
	for name := range strings.SplitSeq(properties[bloomProperty], ",") {
		i := schema.Index(strings.TrimSpace(name))
		if i >= 0 && schema[i].Type.Kind != batch.Boolean {
			out = append(out, pq.SplitBlockFilter(bloomBits, schema[i].Name))
		}
	}
	return out
}

// bloomMay reports whether a row group may hold one of the values of an In, as far as its Bloom filter knows.
func (f *File) bloomMay(group int, w *wanted) bool {
	if w.column == nil || w.nested {
		return true
	}
	meta := &f.file.Metadata().RowGroups[group].Columns[w.column.Index()].MetaData
	if meta.BloomFilterOffset <= 0 || meta.BloomFilterOffset >= f.size {
		return true
	}
	values, ok := w.bloomValues()
	if !ok {
		return true
	}
	head := make([]byte, min(headerGuess, f.size-meta.BloomFilterOffset))
	if _, err := readFull(f.in, head, meta.BloomFilterOffset); err != nil {
		return true
	}
	if _, err := thriftLength(head); err != nil {
		return true
	}
	bloom := f.groups[group].ColumnChunks()[w.column.Index()].BloomFilter()
	if bloom == nil || bloom.Size() < bloomBlock || bloom.Size() > f.size-meta.BloomFilterOffset {
		return true
	}
	return slices.ContainsFunc(values, func(v pq.Value) bool {
		there, err := bloom.Check(v)
		return there || err != nil
	})
}

// bloomValues returns the values of an In as the file holds them, less those that it cannot hold; not ok if the file
// holds them in a form that is not worth the search.
func (w *wanted) bloomValues() (out []pq.Value, ok bool) {
	kind, col := w.column.Type().Kind(), &w.Condition.Values
	switch {
	case kind == pq.ByteArray && (w.typ.Kind == batch.String || w.typ.Kind == batch.Binary):
		for _, s := range col.Strings {
			out = append(out, pq.ByteArrayValue([]byte(s)))
		}
	case kind == pq.Double && w.typ.Kind == batch.Double:
		for _, v := range col.Floats {
			if v == 0 {
				out = append(out, pq.DoubleValue(math.Copysign(0, -1)), pq.DoubleValue(0))
			} else {
				out = append(out, pq.DoubleValue(v))
			}
		}
	case kind == pq.Int64 && (w.typ.Kind == batch.Long || w.typ.Kind == batch.Timestamp && w.unit == microsecond{times: 1, per: 1}):
		for _, v := range col.Ints {
			out = append(out, pq.Int64Value(v))
		}
	case kind == pq.Int32 && slices.Contains([]batch.Kind{batch.Byte, batch.Short, batch.Integer, batch.Long, batch.Date}, w.typ.Kind):
		for _, v := range col.Ints {
			if v >= math.MinInt32 && v <= math.MaxInt32 {
				out = append(out, pq.Int32Value(int32(v)))
			}
		}
	default:
		return nil, false
	}
	return out, true
}
