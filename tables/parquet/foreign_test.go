package parquet

import (
	"bytes"
	"math"
	"math/big"
	"testing"
	"time"

	pq "github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/stretchr/testify/require"

	"smelt/tables/batch"
	"smelt/tables/filter"
)

// foreign writes rows of a schema as another writer would. Each row is the values of all leaves, with their levels.
func foreign(t testing.TB, schema *pq.Schema, rows []pq.Row, options ...pq.WriterOption) []byte {
	t.Helper()
	var file bytes.Buffer
	w := pq.NewGenericWriter[any](&file, append([]pq.WriterOption{schema}, options...)...)
	_, err := w.WriteRows(rows)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return file.Bytes()
}

func decimal(t testing.TB, text string) batch.Int128 {
	b, ok := new(big.Int).SetString(text, 10)
	require.True(t, ok)
	v, ok := batch.Int128FromBig(b)
	require.True(t, ok)
	return v
}

// TestColumnsThatWereWidened reads files that are older than the type of the table's column.
func TestColumnsThatWereWidened(t *testing.T) {
	int32s := []pq.Value{pq.Int32Value(-7), pq.Int32Value(math.MaxInt32)}
	dec := func(p, s int) batch.Type { return batch.Type{Kind: batch.Decimal, Precision: p, Scale: s} }
	for name, c := range map[string]struct {
		node   pq.Node
		values []pq.Value
		as     batch.Type
		want   batch.Column
	}{
		"byte as long":       {pq.Int(8), []pq.Value{pq.Int32Value(-7), pq.Int32Value(9)}, batch.Type{Kind: batch.Long}, batch.Column{Ints: []int64{-7, 9}}},
		"short as integer":   {pq.Int(16), []pq.Value{pq.Int32Value(-7), pq.Int32Value(9)}, batch.Type{Kind: batch.Integer}, batch.Column{Ints: []int64{-7, 9}}},
		"int as long":        {pq.Leaf(pq.Int32Type), int32s, batch.Type{Kind: batch.Long}, batch.Column{Ints: []int64{-7, math.MaxInt32}}},
		"int as double":      {pq.Leaf(pq.Int32Type), int32s, batch.Type{Kind: batch.Double}, batch.Column{Floats: []float64{-7, math.MaxInt32}}},
		"long as double":     {pq.Leaf(pq.Int64Type), []pq.Value{pq.Int64Value(-1 << 53), pq.Int64Value(1 << 53)}, batch.Type{Kind: batch.Double}, batch.Column{Floats: []float64{-1 << 53, 1 << 53}}},
		"date as timestamp":  {pq.Date(), []pq.Value{pq.Int32Value(-1), pq.Int32Value(2)}, batch.Type{Kind: batch.Timestamp}, batch.Column{Ints: []int64{-86_400_000_000, 172_800_000_000}}},
		"float as double":    {pq.Leaf(pq.FloatType), []pq.Value{pq.FloatValue(0.5), pq.FloatValue(-2)}, batch.Type{Kind: batch.Double}, batch.Column{Floats: []float64{0.5, -2}}},
		"int as decimal":     {pq.Leaf(pq.Int32Type), int32s, dec(12, 2), batch.Column{Decimals: []batch.Int128{decimal(t, "-700"), decimal(t, "214748364700")}}},
		"long as decimal":    {pq.Leaf(pq.Int64Type), []pq.Value{pq.Int64Value(math.MinInt64), pq.Int64Value(1)}, dec(38, 3), batch.Column{Decimals: []batch.Int128{decimal(t, "-9223372036854775808000"), decimal(t, "1000")}}},
		"decimal, wider":     {pq.Decimal(2, 9, pq.Int32Type), int32s, dec(20, 2), batch.Column{Decimals: []batch.Int128{decimal(t, "-7"), decimal(t, "2147483647")}}},
		"decimal, finer":     {pq.Decimal(2, 9, pq.Int32Type), int32s, dec(30, 12), batch.Column{Decimals: []batch.Int128{decimal(t, "-70000000000"), decimal(t, "21474836470000000000")}}},
		"decimal, few bytes": {pq.Decimal(1, 5, pq.FixedLenByteArrayType(3)), []pq.Value{pq.FixedLenByteArrayValue([]byte{0xFF, 0xFF, 0xF9}), pq.FixedLenByteArrayValue([]byte{0, 1, 0})}, dec(5, 1), batch.Column{Decimals: []batch.Int128{decimal(t, "-7"), decimal(t, "256")}}},
		"milliseconds":       {pq.Timestamp(pq.Millisecond), []pq.Value{pq.Int64Value(-1), pq.Int64Value(1500)}, batch.Type{Kind: batch.Timestamp}, batch.Column{Ints: []int64{-1000, 1500000}}},
		"nanoseconds":        {pq.Timestamp(pq.Nanosecond), []pq.Value{pq.Int64Value(-1), pq.Int64Value(1500)}, batch.Type{Kind: batch.Timestamp}, batch.Column{Ints: []int64{-1, 1}}},
		"INT96": {pq.Leaf(pq.Int96Type), []pq.Value{pq.Int96Value(deprecated.Int96{1000, 0, 2440588}), pq.Int96Value(deprecated.Int96{0, 0, 2440587})}, batch.Type{Kind: batch.Timestamp},
			batch.Column{Ints: []int64{1, -24 * time.Hour.Microseconds()}}},
	} {
		t.Run(name, func(t *testing.T) {
			var rows []pq.Row
			for _, v := range c.values {
				rows = append(rows, pq.Row{v.Level(0, 1, 0)}, pq.Row{pq.NullValue().Level(0, 0, 0)})
			}
			file := foreign(t, pq.NewSchema("s", pq.Group{"c": pq.Optional(c.node)}), rows)
			schema := batch.Schema{{Name: "c", Type: c.as}}
			got := readAll(t, bytes.NewReader(file), int64(len(file)), schema, nil)
			require.Equal(t, []bool{true, false, true, false}, got.Columns[0].Valid)
			want := c.want
			want.Valid = []bool{true, true}
			require.Equal(t, want, got.Filter([]bool{true, false, true, false}).Columns[0])
			for i := range c.values { // bounds are widened with the values
				where := Where{Field: schema[0], Condition: filter.Condition{Op: filter.In, Values: one(&c.want, c.as.Kind, i)}}
				require.Equal(t, matching(got, []Where{where}), matching(readAll(t, bytes.NewReader(file), int64(len(file)), schema, []Where{where}), []Where{where}))
			}
		})
	}
}

func one(col *batch.Column, k batch.Kind, i int) (out batch.Column) {
	v := filter.At(col, k, i)
	switch k {
	case batch.Double:
		out.AppendFloat(v.Float)
	case batch.Decimal:
		out.AppendDecimal(v.Decimal)
	default:
		out.AppendInt(v.Int)
	}
	return out
}

func TestColumnsThatWouldChangeTheirValuesAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		node pq.Node
		as   batch.Type
	}{
		"long as integer":  {pq.Leaf(pq.Int64Type), batch.Type{Kind: batch.Integer}},
		"time as double":   {pq.Timestamp(pq.Microsecond), batch.Type{Kind: batch.Double}},
		"number as time":   {pq.Leaf(pq.Int32Type), batch.Type{Kind: batch.Timestamp}},
		"double as float":  {pq.Leaf(pq.DoubleType), batch.Type{Kind: batch.Float}},
		"decimal, coarser": {pq.Decimal(3, 9, pq.Int32Type), batch.Type{Kind: batch.Decimal, Precision: 9, Scale: 2}},
		"nested as string": {pq.Group{"x": pq.Leaf(pq.Int32Type)}, batch.Type{Kind: batch.String}},
	} {
		t.Run(name, func(t *testing.T) {
			file := foreign(t, pq.NewSchema("s", pq.Group{"c": c.node}), nil)
			_, err := Open(bytes.NewReader(file), int64(len(file)), batch.Schema{{Name: "c", Type: c.as}}, nil)
			require.ErrorContains(t, err, `column "c"`)
		})
	}
}

// TestBoundsOfOthersAreReadWithCare has writers that leave bounds out, or order them otherwise.
func TestBoundsOfOthersAreReadWithCare(t *testing.T) {
	schema := batch.Schema{{Name: "c", Type: batch.Type{Kind: batch.Long}}}
	where := func(op filter.Op, v ...int64) []Where {
		return []Where{{Field: schema[0], Condition: filter.Condition{Op: op, Values: batch.Column{Ints: v}}}}
	}
	rows := []pq.Row{{pq.Int64Value(-5).Level(0, 1, 0)}, {pq.NullValue().Level(0, 0, 0)}, {pq.Int64Value(5).Level(0, 1, 0)}}
	shape := pq.NewSchema("s", pq.Group{"c": pq.Optional(pq.Leaf(pq.Int64Type))})
	count := func(file []byte, where []Where) int {
		return readAll(t, bytes.NewReader(file), int64(len(file)), schema, where).Len
	}
	plain := foreign(t, shape, rows)
	require.Zero(t, count(plain, where(filter.Greater, 5)))
	require.Equal(t, 3, count(plain, where(filter.IsNull)))
	require.Equal(t, 3, count(foreign(t, shape, rows, pq.SkipPageBounds("c")), where(filter.Greater, 5)))
	require.Equal(t, 3, count(foreign(t, shape, rows[:0:0], pq.SkipPageBounds("c")), nil)+3)
	unsigned := foreign(t, pq.NewSchema("s", pq.Group{"c": pq.Optional(pq.Uint(64))}), rows)
	require.Equal(t, 3, count(unsigned, where(filter.Less, -5)), "the order of unsigned numbers is not ours")
	require.Zero(t, count(foreign(t, shape, rows[1:2], pq.CreatedBy("smelt", "1", "1")), where(filter.Greater, 0)))
	others := foreign(t, shape, rows[:1])
	require.Equal(t, 1, count(others, where(filter.IsNull)), "0 nulls may mean that nobody counted")
	lacking := batch.Schema{{Name: "other", Type: batch.Type{Kind: batch.Long}}}
	for op, want := range map[filter.Op]int{filter.IsNull: 3, filter.NotNull: 0} {
		w := []Where{{Field: lacking[0], Condition: filter.Condition{Op: op}}}
		require.Equal(t, want, readAll(t, bytes.NewReader(plain), int64(len(plain)), schema, w).Len, "a column that the file lacks is null")
	}
}
