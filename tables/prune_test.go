package tables

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"smelt/tables/filter"
)

// holds is the meaning of a condition, for one row.
func holds(c *filter.Condition, col *Column, k Kind, row int) bool {
	if col.Null(row) || c.Op == filter.IsNull || c.Op == filter.NotNull {
		return col.Null(row) == (c.Op == filter.IsNull)
	}
	v := filter.At(col, k, row)
	if math.IsNaN(v.Float) {
		return false
	}
	n := len(c.Values.Bools) + len(c.Values.Ints) + len(c.Values.Floats) + len(c.Values.Strings) + len(c.Values.Decimals)
	for i := range n {
		x := filter.At(&c.Values, k, i)
		d := filter.Compare(k, &v, &x)
		if c.Op == filter.In && d == 0 || c.Op == filter.Less && d < 0 || c.Op == filter.LessEqual && d <= 0 || c.Op == filter.Greater && d > 0 || c.Op == filter.GreaterEqual && d >= 0 {
			return true
		}
	}
	return false
}

func thatHold(b *Batch, conditions []filter.Condition) []string {
	keep := make([]bool, b.Len)
	for row := range keep {
		keep[row] = true
		for i := range conditions {
			at := b.Schema.Index(conditions[i].Column)
			keep[row] = keep[row] && holds(&conditions[i], &b.Columns[at], b.Schema[at].Type.Kind, row)
		}
	}
	return texts(b.Filter(keep))
}

// strangeBatch makes rows whose values lie near to base, with what is hard to bound among them.
func strangeBatch(r *rand.Rand, schema Schema, rows int, base int64) *Batch {
	b := NewBatch(schema, rows)
	strange := r.IntN(3) == 0
	for range rows {
		b.Len++
		for c, f := range schema {
			col, n := &b.Columns[c], base+r.Int64N(50)
			odd := strange && r.IntN(20) == 0
			switch {
			case r.IntN(10) == 0 || base%7 == int64(c)%7: // sometimes all of them
				col.AppendNull(f.Type.Kind)
			case f.Type.Kind == Boolean:
				col.AppendBool(base%2 == 0)
			case f.Type.Kind == Byte:
				col.AppendInt(int64(int8(n)))
			case (f.Type.Kind == Float || f.Type.Kind == Double) && odd:
				col.AppendFloat([]float64{math.NaN(), math.Inf(1), math.Inf(-1), math.Copysign(0, -1), 0}[r.IntN(5)])
			case f.Type.Kind == Float:
				col.AppendFloat(float64(float32(n) / 3))
			case f.Type.Kind == Double:
				col.AppendFloat(float64(n) / 3)
			case f.Type.Kind == Decimal && odd:
				col.AppendDecimal(randomDecimal(r, f.Type.Precision))
			case f.Type.Kind == Decimal:
				col.AppendDecimal(Int128{Hi: n >> 63, Lo: uint64(n)})
			case (f.Type.Kind == String || f.Type.Kind == Binary) && odd:
				col.AppendString([]string{"", strings.Repeat("\U0010FFFF", 35), strings.Repeat("é", 40), strings.Repeat("é", 32) + "\U0010FFFF" + "x", "�"}[r.IntN(5)])
			case f.Type.Kind == String || f.Type.Kind == Binary || f.Type.Kind == JSON:
				col.AppendString(fmt.Sprintf(`"%05d%s"`, max(n, 0), strings.Repeat("x", r.IntN(60))))
			case f.Type.Kind == Timestamp:
				col.AppendInt(n*1_000_000 + r.Int64N(3000) - 1500)
			default:
				col.AppendInt(n)
			}
		}
	}
	return b
}

// conditionsNear makes conditions on values of the rows, or values beside them.
func conditionsNear(r *rand.Rand, b *Batch) []filter.Condition {
	var out []filter.Condition
	for range 1 + r.IntN(3) {
		at := r.IntN(len(b.Schema))
		f := b.Schema[at]
		c := filter.Condition{Column: strings.ToUpper(f.Name), Op: filter.Op(1 + r.IntN(7))}
		n := 1
		if c.Op == filter.In {
			n = 1 + r.IntN(3)
		}
		values := NewBatch(Schema{f}, 0)
		for range n {
			row := r.IntN(b.Len)
			keep := make([]bool, b.Len)
			keep[row] = true
			one := (&Batch{Schema: Schema{f}, Columns: []Column{b.Columns[at]}, Len: b.Len}).Filter(keep)
			if one.Columns[0].Null(0) {
				one = strangeBatch(r, Schema{f}, 1, r.Int64N(2000))
			}
			values.Append(one)
		}
		if c.Values = values.Columns[0]; c.Fits(f.Type) {
			c.Values.Valid = nil
			out = append(out, c)
		}
	}
	return out
}

// TestPruneKeepsAllThatHolds compares, for random rows and conditions, what satisfies them with and without Prune.
func TestPruneKeepsAllThatHolds(t *testing.T) {
	ctx, r := context.Background(), seeded(t)
	for round := range 2 {
		s := openStore(t, t.TempDir())
		def := Definition{Schema: everyKind, Properties: map[string]string{"delta.autoOptimize.autoCompact": "false", "smelt.bloom.columns": "string, long"}}
		if round%2 == 1 {
			def.Partitions = []string{"bool", "dec9"}
		}
		table, err := s.Create(ctx, "live", "t", def)
		require.NoError(t, err)
		for range 10 {
			b := strangeBatch(r, everyKind, 1+r.IntN(40), r.Int64N(2000)-500)
			_, err := table.Commit(ctx, Commit{Operation: "WRITE", Rows: rowsOf(t, b)})
			require.NoError(t, err)
		}
		snapshot := table.Snapshot()
		all, err := ReadAll(ctx, snapshot, nil)
		require.NoError(t, err)
		read, most := 0, 0
		for range 80 {
			conditions := conditionsNear(r, all)
			got, err := ReadAll(ctx, snapshot.Prune(conditions), nil)
			require.NoError(t, err)
			require.Equal(t, thatHold(all, conditions), thatHold(got, conditions), "%+v", conditions)
			read, most = read+got.Len, most+all.Len
		}
		t.Logf("%d of %d rows read", read, most)
		require.Less(t, read, most*9/10)
	}
}

func TestPruneOpensOnlyFilesThatMayHold(t *testing.T) {
	ctx := context.Background()
	table, fs := countedTable(t, 100, 100, 100, 100)
	read := func(conditions ...filter.Condition) (rows, files int) {
		before := fs.opened.Load()
		got, err := ReadAll(ctx, table.Snapshot().Prune(conditions), []string{"s"})
		require.NoError(t, err)
		return got.Len, int(fs.opened.Load() - before)
	}
	ints := func(v ...int64) Column { return Column{Ints: v} }
	for _, c := range []struct {
		condition   filter.Condition
		rows, files int
	}{
		{filter.Condition{Column: "n", Op: filter.In, Values: ints(150, 152)}, 100, 1},
		{filter.Condition{Column: "N", Op: filter.In, Values: ints(0, 399)}, 200, 2},
		{filter.Condition{Column: "n", Op: filter.GreaterEqual, Values: ints(300)}, 100, 1},
		{filter.Condition{Column: "n", Op: filter.Greater, Values: ints(399)}, 0, 0},
		{filter.Condition{Column: "n", Op: filter.Less, Values: ints(0)}, 0, 0},
		{filter.Condition{Column: "n", Op: filter.IsNull}, 0, 0},
		{filter.Condition{Column: "n", Op: filter.NotNull}, 400, 4},
		{filter.Condition{Column: "s", Op: filter.In, Values: Column{Strings: []string{"t"}}}, 0, 0},
		{filter.Condition{Column: "none", Op: filter.IsNull}, 400, 4},
		{filter.Condition{Column: "n", Op: filter.In, Values: Column{Strings: []string{"x"}}}, 400, 4},
	} {
		rows, files := read(c.condition)
		require.Equal(t, [2]int{c.rows, c.files}, [2]int{rows, files}, "%+v", c.condition)
	}
	_, counts := table.Snapshot().Prune([]filter.Condition{{Column: "n", Op: filter.IsNull}}).(Counter)
	require.False(t, counts, "what is pruned does not know how many rows it has")
	before := len(table.stats.files)
	require.Equal(t, 4, before, "statistics are parsed once")
}

// TestBoundsOfOtherWriters has the forms in which Spark, delta-rs and others write statistics.
func TestBoundsOfOtherWriters(t *testing.T) {
	dec := Type{Kind: Decimal, Precision: 38, Scale: 2}
	int128 := func(n int64) filter.Value { return filter.Value{Decimal: Int128{Hi: n >> 63, Lo: uint64(n)}} }
	day := int64(24 * 60 * 60 * 1e6)
	for _, c := range []struct {
		kind Type
		text string
		high bool
		want filter.Value
		ok   bool
	}{
		{Type{Kind: Long}, `9223372036854775807`, false, filter.Value{Int: math.MaxInt64}, true},
		{Type{Kind: Long}, `1.0E3`, false, filter.Value{}, false},
		{Type{Kind: Long}, `"5"`, false, filter.Value{}, false},
		{Type{Kind: Double}, `1.0E3`, false, filter.Value{Float: 1000}, true},
		{Type{Kind: Double}, `"NaN"`, true, filter.Value{}, false},
		{Type{Kind: Float}, `0.1`, true, filter.Value{Float: float64(float32(0.1))}, true},
		{Type{Kind: Date}, `"1969-12-31"`, false, filter.Value{Int: -1}, true},
		{Type{Kind: Date}, `"31.12.1969"`, false, filter.Value{}, false},
		{Type{Kind: Timestamp}, `"1970-01-02T00:00:00.001Z"`, false, filter.Value{Int: day + 1000}, true},
		{Type{Kind: Timestamp}, `"1970-01-02T00:00:00.001Z"`, true, filter.Value{Int: day + 1999}, true},
		{Type{Kind: Timestamp}, `"1970-01-01T16:00:00.000-08:00"`, false, filter.Value{Int: day}, true},
		{Type{Kind: String}, `"abc"`, true, filter.Value{Text: "abc"}, true},
		{Type{Kind: String}, `"a\ud800"`, true, filter.Value{}, false},
		{Type{Kind: String}, `"` + strings.Repeat("é", 32) + `"`, true, filter.Value{Text: strings.Repeat("é", 32) + "\xff"}, true},
		{Type{Kind: String}, `"` + strings.Repeat("é", 32) + "\U0010FFFF" + `"`, true, filter.Value{Text: strings.Repeat("é", 32) + "\xff"}, true},
		{Type{Kind: String}, `"` + strings.Repeat("é", 32) + `"`, false, filter.Value{Text: strings.Repeat("é", 32)}, true},
		{dec, `-1.5`, false, int128(-150), true},
		{dec, `-1.505`, false, int128(-151), true},
		{dec, `-1.505`, true, int128(-150), true},
		{dec, `1.505`, true, int128(151), true},
		{dec, `12345678901234.567`, true, int128(1234567890123457 + 1234567890123457>>50 + 1), true},
		{dec, `1.0e3`, true, filter.Value{}, false},
		{Type{Kind: Binary}, `"abc"`, false, filter.Value{}, false},
		{Type{Kind: Boolean}, `true`, false, filter.Value{}, false},
	} {
		var v filter.Value
		ok := readBound(&v, c.kind, c.text, c.high)
		require.Equal(t, c.ok, ok, "%s %s", c.kind, c.text)
		if ok {
			require.Equal(t, c.want, v, "%s %s", c.kind, c.text)
		}
	}
	stats := parseStats(`{"numRecords":3,"minValues":{"a":1,"n":{"x":1}},"maxValues":{"a":2},"nullCount":{"a":0,"n":{"x":1}}}`)
	require.EqualValues(t, 0, *stats.columns["a"].Nulls)
	require.Nil(t, stats.columns["n"].Nulls)
	require.Empty(t, parseStats(`{"minValues":[]}`).columns)
}

// FuzzStatistics reads any text as the statistics of a file: none makes it panic, and no bound contradicts itself.
func FuzzStatistics(f *testing.F) {
	f.Add(`{"numRecords":3,"minValues":{"a":1,"n":{"x":1}},"maxValues":{"a":"2026-01-01T00:00:00.000Z"},"nullCount":{"a":0,"n":{"x":1}}}`)
	f.Add(`{"minValues":{"a":-12.50,"b":"x"},"maxValues":{"a":1e400,"b":null}}`)
	f.Fuzz(func(t *testing.T, text string) {
		for _, c := range parseStats(text).columns {
			for _, field := range everyKind {
				low, high := c.bounds(field.Type)
				same := columnText{Low: c.Low, High: c.Low}
				if l, h := same.bounds(field.Type); l != nil && h != nil && filter.Compare(field.Type.Kind, l, h) > 0 {
					t.Fatalf("%s: the bounds of one value %s contradict each other", field.Type, c.Low)
				}
				b := filter.Bounds{Rows: 1, Nulls: -1, Low: low, High: high}
				condition := filter.Condition{Op: filter.NotNull}
				if !condition.May(field.Type.Kind, &b) {
					t.Fatal("a row that is not null is left out")
				}
			}
		}
	})
}
