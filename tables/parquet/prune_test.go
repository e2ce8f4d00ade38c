package parquet

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	pq "github.com/parquet-go/parquet-go"
	"github.com/stretchr/testify/require"

	"smelt/tables/batch"
	"smelt/tables/filter"
)

var kinds = batch.Schema{
	{Name: "bool", Type: batch.Type{Kind: batch.Boolean}},
	{Name: "byte", Type: batch.Type{Kind: batch.Byte}},
	{Name: "int", Type: batch.Type{Kind: batch.Integer}},
	{Name: "long", Type: batch.Type{Kind: batch.Long}},
	{Name: "float", Type: batch.Type{Kind: batch.Float}},
	{Name: "double", Type: batch.Type{Kind: batch.Double}},
	{Name: "dec9", Type: batch.Type{Kind: batch.Decimal, Precision: 9, Scale: 2}},
	{Name: "dec18", Type: batch.Type{Kind: batch.Decimal, Precision: 18, Scale: 3}},
	{Name: "dec38", Type: batch.Type{Kind: batch.Decimal, Precision: 38, Scale: 5}},
	{Name: "string", Type: batch.Type{Kind: batch.String}},
	{Name: "binary", Type: batch.Type{Kind: batch.Binary}},
	{Name: "date", Type: batch.Type{Kind: batch.Date}},
	{Name: "time", Type: batch.Type{Kind: batch.Timestamp}},
	{Name: "json", Type: batch.Type{Kind: batch.JSON}},
}

// appendRandom appends a value near to at, or a special one, or null.
func appendRandom(r *rand.Rand, col *batch.Column, t batch.Type, at int64) {
	special := r.IntN(40) == 0
	switch t.Kind {
	case batch.Boolean:
		col.AppendBool(at%64 < 32)
	case batch.Byte:
		col.AppendInt(int64(int8(at)))
	case batch.Float, batch.Double:
		v := float64(at) / 4
		if special {
			v = []float64{math.NaN(), math.Inf(1), math.Inf(-1), 0, math.Copysign(0, -1)}[r.IntN(5)]
		}
		col.AppendFloat(v)
	case batch.Decimal:
		v := widen(at)
		if special && t.Precision > 20 {
			v = batch.Int128{Hi: at, Lo: r.Uint64()}
		}
		col.AppendDecimal(v)
	case batch.String, batch.Binary, batch.JSON:
		s := fmt.Sprintf("%08d", max(at, 0))
		if special {
			s = []string{"", "\U0010FFFF\U0010FFFF", strings.Repeat("\U0010FFFF", 40), strings.Repeat("é", 100) + s, s + strings.Repeat("x", 90), "~"}[r.IntN(6)]
		}
		if special && t.Kind == batch.Binary {
			s = strings.Repeat("\xff", r.IntN(80))
		}
		col.AppendString(s)
	default:
		if special && t.Kind == batch.Long {
			at = []int64{math.MinInt64, math.MaxInt64}[r.IntN(2)]
		}
		col.AppendInt(at)
	}
}

// clustered makes rows whose values wander, with stretches of nulls, so that bounds of pages differ.
func clustered(r *rand.Rand, schema batch.Schema, rows int) *batch.Batch {
	b := batch.New(schema, rows)
	b.Len = rows
	for c, f := range schema {
		at, step, nulls := r.Int64N(1000), r.Int64N(3), 0
		for range rows {
			if r.IntN(200) == 0 {
				nulls = r.IntN(60)
			}
			if at += r.Int64N(2*step + 2); r.IntN(50) == 0 {
				at = max(at-r.Int64N(500), -100)
			}
			if nulls--; nulls > 0 {
				b.Columns[c].AppendNull(f.Type.Kind)
			} else {
				appendRandom(r, &b.Columns[c], f.Type, at)
			}
		}
	}
	return b
}

// randomWhere is conditions whose values mostly stand in the rows.
func randomWhere(r *rand.Rand, b *batch.Batch) []Where {
	var out []Where
	for range 1 + r.IntN(3) {
		c := r.IntN(len(b.Schema))
		w := Where{Field: b.Schema[c], Condition: filter.Condition{Column: b.Schema[c].Name, Op: filter.Op(1 + r.IntN(7))}}
		n := 1
		if w.Condition.Op == filter.In {
			n = 1 + r.IntN(4)
		}
		for range n {
			row := r.IntN(b.Len)
			if b.Columns[c].Null(row) || r.IntN(5) == 0 {
				appendRandom(r, &w.Condition.Values, w.Field.Type, r.Int64N(4000))
				continue
			}
			one := b.Columns[c]
			one.Valid = nil
			v := filter.At(&one, w.Field.Type.Kind, row)
			switch w.Field.Type.Kind {
			case batch.Boolean:
				w.Condition.Values.AppendBool(v.Int == 1)
			case batch.Float, batch.Double:
				w.Condition.Values.AppendFloat(v.Float)
			case batch.Decimal:
				w.Condition.Values.AppendDecimal(v.Decimal)
			case batch.String, batch.Binary, batch.JSON:
				w.Condition.Values.AppendString(v.Text)
			default:
				w.Condition.Values.AppendInt(v.Int)
			}
		}
		if w.Condition.Fits(w.Field.Type) {
			out = append(out, w)
		}
	}
	return out
}

// satisfies is the meaning of a condition, row by row.
func satisfies(w *Where, col *batch.Column, row int) bool {
	c, kind := &w.Condition, w.Field.Type.Kind
	if col.Null(row) {
		return c.Op == filter.IsNull
	}
	if c.Op == filter.IsNull || c.Op == filter.NotNull {
		return c.Op == filter.NotNull
	}
	v := filter.At(col, kind, row)
	if math.IsNaN(v.Float) {
		return false
	}
	compare := func(i int) int {
		x := filter.At(&c.Values, kind, i)
		return filter.Compare(kind, &v, &x)
	}
	switch c.Op {
	case filter.In:
		n := len(c.Values.Bools) + len(c.Values.Ints) + len(c.Values.Floats) + len(c.Values.Strings) + len(c.Values.Decimals)
		return slices.ContainsFunc(make([]int, n), func(int) bool { n--; return compare(n) == 0 })
	case filter.Less:
		return compare(0) < 0
	case filter.LessEqual:
		return compare(0) <= 0
	case filter.Greater:
		return compare(0) > 0
	default:
		return compare(0) >= 0
	}
}

func matching(b *batch.Batch, where []Where) []string {
	out := []string{}
	for row := range b.Len {
		all := true
		for i := range where {
			all = all && satisfies(&where[i], &b.Columns[b.Schema.Index(where[i].Field.Name)], row)
		}
		if all {
			out = append(out, rowText(b, row))
		}
	}
	return out
}

func rowText(b *batch.Batch, row int) string {
	var cells []string
	for c, f := range b.Schema {
		if b.Columns[c].Null(row) {
			cells = append(cells, "null")
		} else {
			cells = append(cells, fmt.Sprint(filter.At(&b.Columns[c], f.Type.Kind, row)))
		}
	}
	return strings.Join(cells, "|")
}

// readAll reads all row groups of a file.
func readAll(t testing.TB, in io.ReaderAt, size int64, schema batch.Schema, where []Where) *batch.Batch {
	t.Helper()
	f, err := Open(in, size, schema, where)
	require.NoError(t, err)
	out, err := drain(f, schema)
	require.NoError(t, err)
	return out
}

func drain(f *File, schema batch.Schema) (*batch.Batch, error) {
	out := batch.New(schema, 0)
	for g := range f.Groups() {
		r, err := f.Group(g)
		if err != nil {
			return nil, err
		}
		for {
			b, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return nil, errors.Join(err, r.Close())
			}
			out.Append(b)
		}
		if err := r.Close(); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func written(t testing.TB, b *batch.Batch, properties map[string]string, at limits) []byte {
	t.Helper()
	var file bytes.Buffer
	w, err := newWriter(&file, b.Schema, properties, at)
	require.NoError(t, err)
	require.NoError(t, w.Write(b))
	_, _, err = w.Close()
	require.NoError(t, err)
	return file.Bytes()
}

// TestPruningLosesNoRow compares, for random rows and conditions, what satisfies the conditions among all rows and among
// those that are read.
func TestPruningLosesNoRow(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	var all, read int
	for range 12 {
		b := clustered(r, kinds, 1+r.IntN(3000))
		bloom := map[string]string{}
		if r.IntN(2) == 0 {
			bloom[bloomProperty] = "long, string,double,none"
		}
		file := written(t, b, bloom, limits{groupRows: 100 + r.IntN(2000), pageBytes: 64 + r.IntN(2000), writeRows: 1 + r.IntN(50)})
		want := readAll(t, bytes.NewReader(file), int64(len(file)), kinds, nil)
		require.Equal(t, matching(b, nil), matching(want, nil), "what was written is read")
		for range 30 {
			where := randomWhere(r, b)
			got := readAll(t, bytes.NewReader(file), int64(len(file)), kinds, where)
			require.Equal(t, matching(want, where), matching(got, where), "%+v", where)
			all, read = all+b.Len, read+got.Len
		}
	}
	t.Logf("%d of %d rows read", read, all)
	require.Less(t, read, all*9/10, "bounds leave out rows")
}

// countingReader counts what is read of a file.
type countingReader struct {
	io.ReaderAt
	bytes int
}

func (c *countingReader) ReadAt(b []byte, at int64) (int, error) {
	c.bytes += len(b)
	return c.ReaderAt.ReadAt(b, at)
}

func TestPagesAndRowGroupsAreNotEvenRead(t *testing.T) {
	schema := batch.Schema{{Name: "n", Type: batch.Type{Kind: batch.Long}}, {Name: "text", Type: batch.Type{Kind: batch.String}}}
	b := batch.New(schema, 0)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 40_000 {
		b.Columns[0].AppendInt(int64(i))
		b.Columns[1].AppendString(fmt.Sprintf("%08d %x", i, r.Uint64()))
		b.Len++
	}
	file := written(t, b, map[string]string{bloomProperty: "text"}, limits{groupRows: 10_000, pageBytes: 8 << 10, writeRows: 100})
	read := func(c filter.Condition, field int) (int, int) {
		in := &countingReader{ReaderAt: bytes.NewReader(file)}
		where := []Where{{Field: schema[field], Condition: c}}
		if c.Op == 0 {
			where = nil
		}
		return readAll(t, in, int64(len(file)), schema, where).Len, in.bytes
	}
	rows, whole := read(filter.Condition{}, 0)
	require.Equal(t, b.Len, rows)
	rows, some := read(filter.Condition{Op: filter.In, Values: batch.Column{Ints: []int64{12_345}}}, 0)
	require.LessOrEqual(t, rows, 2000, "one page of a row group of 10,000")
	require.Less(t, some, whole/4)
	rows, _ = read(filter.Condition{Op: filter.Greater, Values: batch.Column{Ints: []int64{40_000}}}, 0)
	require.Zero(t, rows)
	rows, _ = read(filter.Condition{Op: filter.In, Values: batch.Column{Strings: []string{"00012345 "}}}, 1)
	require.Zero(t, rows, "the Bloom filter knows that it is not there")
	rows, _ = read(filter.Condition{Op: filter.In, Values: batch.Column{Strings: []string{b.Columns[1].Strings[777]}}}, 1)
	require.Positive(t, rows)
	rows, _ = read(filter.Condition{Op: filter.IsNull}, 0)
	require.Zero(t, rows)
}

// TestPagesOfWideDecimalsHaveValidBounds reads the page index as other readers would.
func TestPagesOfWideDecimalsHaveValidBounds(t *testing.T) {
	schema := batch.Schema{{Name: "d", Type: batch.Type{Kind: batch.Decimal, Precision: 38}}}
	b := batch.New(schema, 0)
	for i := range 300 {
		if b.Len++; i >= 100 && i < 200 {
			b.Columns[0].AppendNull(batch.Decimal)
		} else {
			b.Columns[0].AppendDecimal(widen(int64(i) - 50))
		}
	}
	file := written(t, b, nil, limits{groupRows: 1000, pageBytes: 1, writeRows: 100})
	f, err := pq.OpenFile(bytes.NewReader(file), int64(len(file)))
	require.NoError(t, err)
	index := f.ColumnIndexes()[0]
	require.Equal(t, []bool{false, true, false}, []bool(index.NullPages))
	require.Len(t, index.MinValues, 3)
	require.Len(t, index.MaxValues, 3)
	require.Equal(t, byte(0x80), index.MinValues[0][0])
	require.Equal(t, byte(0x7F), index.MaxValues[2][0])
	require.Nil(t, f.Metadata().RowGroups[0].Columns[0].MetaData.Statistics.MinValue)
}
