package engine

import (
	"context"
	"fmt"
	"io"
	"math"
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/dolthub/go-mysql-server/sql"
	"github.com/dolthub/go-mysql-server/sql/types"
	"github.com/shopspring/decimal"
	"github.com/stretchr/testify/require"

	"smelt/tables"
)

// vectorSchema has two columns of most kinds, so that they can be set against each other.
var vectorSchema = tables.Schema{
	{Name: "flag", Type: tables.Type{Kind: tables.Boolean}},
	{Name: "i8", Type: tables.Type{Kind: tables.Byte}},
	{Name: "i16", Type: tables.Type{Kind: tables.Short}},
	{Name: "i32", Type: tables.Type{Kind: tables.Integer}},
	{Name: "i64", Type: tables.Type{Kind: tables.Long}},
	{Name: "f32", Type: tables.Type{Kind: tables.Float}},
	{Name: "f64", Type: tables.Type{Kind: tables.Double}},
	{Name: "price", Type: tables.Type{Kind: tables.Decimal, Precision: 10, Scale: 2}},
	{Name: "wide", Type: tables.Type{Kind: tables.Decimal, Precision: 38, Scale: 7}},
	{Name: "word", Type: tables.Type{Kind: tables.String}},
	{Name: "day", Type: tables.Type{Kind: tables.Date}},
	{Name: "at", Type: tables.Type{Kind: tables.Timestamp}},
	{Name: "raw", Type: tables.Type{Kind: tables.Binary}},
	{Name: "doc", Type: tables.Type{Kind: tables.JSON}},
}

// appendTroublesome appends a value out of few, so that groups have many rows, and out of those that are hard.
func appendTroublesome(r *rand.Rand, c *tables.Column, t tables.Type) {
	if r.IntN(6) == 0 {
		c.AppendNull(t.Kind)
		return
	}
	whole := func(low, high int64) {
		c.AppendInt([]int64{low, high, 0, 1, -1, 2, 3, 7}[r.IntN(8)])
	}
	switch t.Kind {
	case tables.Boolean:
		c.AppendBool(r.IntN(2) == 0)
	case tables.Byte:
		whole(math.MinInt8, math.MaxInt8)
	case tables.Short:
		whole(math.MinInt16, math.MaxInt16)
	case tables.Integer:
		whole(math.MinInt32, math.MaxInt32)
	case tables.Long:
		if r.IntN(50) > 0 { // sums rarely leave the range, or no query would have a result
			c.AppendInt(int64(r.IntN(9) - 4))
			return
		}
		whole(math.MinInt64, math.MaxInt64)
	case tables.Float:
		c.AppendFloat(float64([]float32{0, float32(math.Copysign(0, -1)), 0.1, 3.5, -2, math.MaxFloat32, float32(math.NaN()), float32(math.Inf(1))}[r.IntN(8)]))
	case tables.Double:
		c.AppendFloat([]float64{0, math.Copysign(0, -1), 0.1, 3.5, -2, 1e300, math.NaN(), math.Inf(-1)}[r.IntN(8)])
	case tables.Decimal:
		if t.Precision == 10 {
			n := []int64{0, 1, -1, 150, -150, 9_999_999_999, -9_999_999_999, 350}[r.IntN(8)]
			v, _ := tables.Int128FromBig(big.NewInt(n))
			c.AppendDecimal(v)
			return
		}
		most := new(big.Int).Sub(new(big.Int).Exp(big.NewInt(10), big.NewInt(38), nil), big.NewInt(1))
		v, _ := tables.Int128FromBig([]*big.Int{most, new(big.Int).Neg(most), big.NewInt(0), big.NewInt(35_000_000)}[r.IntN(4)])
		c.AppendDecimal(v)
	case tables.Date:
		c.AppendInt([]int64{0, -1, 19723, 19724, -100_000, 2_000_000}[r.IntN(6)])
	case tables.Timestamp:
		c.AppendInt([]int64{0, -1, 1_704_067_200_000_000, 1_704_067_200_000_001, 1_704_110_400_123_456}[r.IntN(5)])
	case tables.JSON:
		c.AppendString([]string{`{"a":1}`, `[]`, `null`, `"x"`}[r.IntN(4)])
	default:
		c.AppendString([]string{"", "a", "A", "ab", "aÿz", "a日本", "日", "日本", "e\xff", "e\xfe", "e�", "😀", "a\x00", "3.5"}[r.IntN(14)])
	}
}

// troublesomeTable returns a relation of some rows in batches of different sizes.
func troublesomeTable(r *rand.Rand, rows int) tables.Relation {
	var batches []*tables.Batch
	for rows > 0 {
		n := min(rows, 1+r.IntN(300))
		b := tables.NewBatch(vectorSchema, n)
		for i, f := range vectorSchema {
			for range n {
				appendTroublesome(r, &b.Columns[i], f.Type)
			}
		}
		b.Len = n
		batches = append(batches, b)
		rows -= n
	}
	return tables.FromBatches(vectorSchema, batches...)
}

// rowsOf runs a query over relations and prints the rows with their Go types. go-mysql-server panics when it compares
// NaN with a decimal.
func rowsOf(t *testing.T, e *sqlEngine, relations map[string]tables.Relation, query string) (out []string) {
	t.Helper()
	defer func() {
		if fault := recover(); fault != nil {
			out = []string{fmt.Sprint("panic: ", fault)}
		}
	}()
	ctx := withStatement(t.Context(), query, relations)
	sqlCtx := e.newContext(ctx, "live", query)
	schema, rows, _, err := e.engine.Query(sqlCtx, query)
	if err != nil {
		return []string{"error: " + err.Error()}
	}
	for _, c := range schema {
		out = append(out, c.Name+" "+c.Type.String())
	}
	for {
		row, err := rows.Next(sqlCtx)
		if err != nil {
			if err != io.EOF {
				out = append(out, "error: "+err.Error())
			}
			require.NoError(t, rows.Close(sqlCtx))
			return out
		}
		var line strings.Builder
		for _, v := range row {
			line.WriteString(printExactly(t, v) + " | ")
		}
		out = append(out, line.String())
	}
}

// printExactly prints a value so that two that differ in anything print differently, but for the origin of NaN: which of
// two the processor hands on is left to the compiler.
func printExactly(t *testing.T, v any) string {
	switch v := v.(type) {
	case float64:
		if math.IsNaN(v) {
			return "float64 NaN"
		}
		return fmt.Sprintf("float64 %x %v", math.Float64bits(v), v)
	case float32:
		if v != v {
			return "float32 NaN"
		}
		return fmt.Sprintf("float32 %x %v", math.Float32bits(v), v)
	case decimal.Decimal:
		return fmt.Sprintf("decimal %se%d", v.Coefficient(), v.Exponent())
	case time.Time:
		return "time " + v.Format(time.RFC3339Nano)
	case sql.JSONWrapper:
		text, err := types.JsonToMySqlBytes(t.Context(), v)
		require.NoError(t, err)
		return "json " + string(text)
	}
	return fmt.Sprintf("%T %q", v, fmt.Sprint(v))
}

// literalsFor are what conditions of the random queries compare a column with.
var literalsFor = map[string][]string{
	"flag": {"TRUE", "FALSE", "1", "0", "2"}, "i8": {"1", "-1", "127", "1000", "2.5", "2.0"}, "i16": {"1", "7", "-32768", "3.5", "200", "40000"},
	"i32": {"1", "0", "2147483647", "9223372036854775807", "-0.5"}, "i64": {"1", "-4", "9223372036854775807", "9223372036854775806", "-9223372036854775808", "18446744073709551615", "200", "3000000000", "1e0", "2.5"},
	"f32": {"0", "1", "3.5", "0.1", "1e0", "-2"}, "f64": {"200", "0", "1", "3.5", "0.1", "1e300", "-2"},
	"price": {"200", "1.5", "1", "3.50", "0.005", "-1.5", "99999999.99", "1e0"}, "wide": {"3.5", "0", "9999999999999999999999999999999.9999999", "-1"},
	"word": {"'a'", "''", "'ab'", "'日'", "'aÿz'", "'😀'", "'e�'", "3.5"}, "day": {"'2024-01-01'", "'1969-12-31'", "'2024-01-01 12:00:00'", "TIMESTAMP('2024-01-01 00:00:00')", "'x'"},
	"at":  {"'2024-01-01'", "'2024-01-01 00:00:00.000001'", "TIMESTAMP('2024-01-01 12:00:00')", "'1970-01-01'", "DATE('2024-01-01')"},
	"raw": {"'a'"}, "doc": {"'[]'"},
}

func pickOne[T any](r *rand.Rand, from ...T) T { return from[r.IntN(len(from))] }

func randomColumn(r *rand.Rand) string { return vectorSchema[r.IntN(len(vectorSchema)-2)].Name }

func randomCondition(r *rand.Rand, depth int) string {
	if depth > 0 && r.IntN(2) == 0 {
		switch r.IntN(3) {
		case 0:
			return "(" + randomCondition(r, depth-1) + " AND " + randomCondition(r, depth-1) + ")"
		case 1:
			return "(" + randomCondition(r, depth-1) + " OR " + randomCondition(r, depth-1) + ")"
		}
		return "NOT (" + randomCondition(r, depth-1) + ")"
	}
	c := randomColumn(r)
	if r.IntN(20) == 0 {
		c = pickOne(r, "raw", "doc")
	}
	one := func() string { return pickOne(r, literalsFor[c]...) }
	switch r.IntN(10) {
	case 0:
		return c + " IS NULL"
	case 1:
		return c + " IS NOT NULL"
	case 2:
		return c + " BETWEEN " + one() + " AND " + one()
	case 3:
		list := []string{one(), one()}
		if r.IntN(3) == 0 {
			list = append(list, "NULL")
		}
		return c + pickOne(r, " IN (", " NOT IN (") + strings.Join(list, ", ") + ")"
	case 4:
		return "word" + pickOne(r, " LIKE ", " NOT LIKE ") + pickOne(r, "'a%'", "'%a'", "'日%'", "'a'", "'_'", "'%'", "''", `'a\\%'`)
	case 5:
		return one() + pickOne(r, " < ", " <= ", " > ", " >= ", " = ", " <=> ") + c
	case 6:
		return pickOne(r, "flag", "i32", "flag")
	}
	if r.IntN(6) == 0 {
		return randomOperand(r) + pickOne(r, " < ", " >= ", " = ") + pickOne(r, "1", "2.5", "-1e0", "'a'")
	}
	return c + pickOne(r, " < ", " <= ", " > ", " >= ", " = ", " <> ", " <=> ") + one()
}

func randomOperand(r *rand.Rand) string {
	if r.IntN(4) > 0 {
		return randomColumn(r)
	}
	numbers := []string{"flag", "i8", "i16", "i32", "i64", "f32", "f64", "2", "200", "1.5e0", "price"}
	return "(" + pickOne(r, numbers...) + pickOne(r, " + ", " - ", " * ") + pickOne(r, numbers...) + ")"
}

func randomQuery(r *rand.Rand) string {
	var columns, keys []string
	for range r.IntN(4) {
		key := randomColumn(r)
		if r.IntN(8) == 0 {
			key = randomOperand(r)
		}
		keys = append(keys, key)
		if r.IntN(4) > 0 {
			columns = append(columns, key)
		}
	}
	for range 1 + r.IntN(4) {
		columns = append(columns, pickOne(r, "COUNT(*)", "COUNT("+pickOne(r, randomOperand(r), "doc", "raw")+")", "SUM("+randomOperand(r)+")", "AVG("+randomOperand(r)+")",
			"MIN("+randomOperand(r)+")", "MAX("+randomOperand(r)+")", "COUNT(DISTINCT i8)", "MIN(word)", "MAX(f64)"))
	}
	from := pickOne(r, "t", "t", "t AS u", "(SELECT * FROM t WHERE "+randomCondition(r, 1)+") AS v")
	q := "SELECT " + strings.Join(columns, ", ") + " FROM " + from
	if r.IntN(3) > 0 {
		q += " WHERE " + randomCondition(r, 2)
	}
	if len(keys) > 0 {
		q += " GROUP BY " + strings.Join(keys, ", ")
		if r.IntN(5) == 0 {
			q += " HAVING COUNT(*) > 2"
		}
	}
	return q
}

// TestVectorsEqualRows: whatever runs over columns gives what it gives over rows, down to the bit, the Go type, the
// order of the groups and the text of an error.
func TestVectorsEqualRows(t *testing.T) {
	s := startSQL(t, nil)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	queries := 1000
	if testing.Short() {
		queries = 200
	}
	var relations map[string]tables.Relation
	for n := range queries {
		if n%100 == 0 {
			relations = map[string]tables.Relation{"live.t": troublesomeTable(r, pickOne(r, 0, 1, 30, 700))}
		}
		query := randomQuery(r)
		s.vectors.off.Store(true)
		want := rowsOf(t, s.sqlEngine, relations, query)
		s.vectors.off.Store(false)
		got := rowsOf(t, s.sqlEngine, relations, query)
		require.Equal(t, want, got, "seed %d, query %d: %s", seed, n, query)
	}
	t.Logf("%d of %d queries ran over columns", s.vectors.taken.Load(), queries)
	require.Greater(t, s.vectors.taken.Load(), int64(queries/4), "the test must reach what it tests")
}

// TestWhatRunsOverColumns: the shapes that are meant to run over columns do, and others do not.
func TestWhatRunsOverColumns(t *testing.T) {
	s := startSQL(t, nil)
	relations := map[string]tables.Relation{"live.t": troublesomeTable(rand.New(rand.NewPCG(1, 1)), 40), "live.t2": troublesomeTable(rand.New(rand.NewPCG(1, 2)), 40)}
	for _, c := range []struct {
		query string
		times int64
	}{
		{"SELECT COUNT(*) FROM t", 1},
		{"SELECT word, COUNT(*), COUNT(doc), SUM(i64), SUM(price), SUM(f32), AVG(i8), AVG(wide), MIN(word), MAX(at), MIN(day), MAX(flag) FROM t GROUP BY word", 1},
		{"SELECT word, day, at, flag, i8, f64, price, COUNT(*) AS n FROM t GROUP BY 1, 2, 3, 4, 5, 6, 7 HAVING n > 1 ORDER BY n DESC LIMIT 3", 1},
		{"SELECT 'x' AS k, SUM(i8 * 2 + i16 - 1), MAX(f64 * 0.5e0) FROM t GROUP BY k, i32", 1},
		{"SELECT i8 + 1, COUNT(*) FROM t GROUP BY i8 + 1", 1},
		{"SELECT COUNT(*) FROM t WHERE word LIKE 'a%' AND (i32 > 3.5 OR price BETWEEN 1 AND 2.5) AND NOT (f64 <= 1) AND day IN ('2024-01-01') AND at IS NOT NULL AND flag", 1},
		{"SELECT n, COUNT(*) FROM (SELECT i8 + 1 AS n, doc FROM t WHERE i8 > 0) AS q WHERE n < 9 GROUP BY n", 1},
		{"WITH q AS (SELECT word, i8 FROM t) SELECT word, SUM(i8) FROM q GROUP BY word", 1},
		{"SELECT COUNT(*) FROM (SELECT word, COUNT(*) AS n FROM t GROUP BY word) AS q", 1},
		{"SELECT word, COUNT(*) FROM t GROUP BY word UNION ALL SELECT word, SUM(i8) FROM t2 GROUP BY word", 2},
		{"SELECT a.word FROM (SELECT word, COUNT(*) AS n FROM t GROUP BY word) AS a JOIN (SELECT word, COUNT(*) AS n FROM t2 GROUP BY word) AS b ON a.n = b.n", 2},
		{"SELECT DISTINCT n FROM (SELECT COUNT(*) AS n FROM t GROUP BY word) AS q", 1},

		{"SELECT word FROM t", 0},
		{"SELECT word FROM t2 WHERE i8 IN (SELECT MAX(i8) FROM t GROUP BY word)", 0},
		{"SELECT COUNT(DISTINCT i8) FROM t", 0},
		{"SELECT GROUP_CONCAT(word) FROM t", 0},
		{"SELECT STDDEV(i8) FROM t", 0},
		{"SELECT SUM(word), AVG(day) FROM t", 0},
		{"SELECT MIN(doc), MAX(raw) FROM t", 0},
		{"SELECT doc, COUNT(*) FROM t GROUP BY doc", 0},
		{"SELECT raw, COUNT(*) FROM t GROUP BY raw", 0},
		{"SELECT UPPER(word), COUNT(*) FROM t GROUP BY UPPER(word)", 0},
		{"SELECT word COLLATE utf8mb4_0900_ai_ci, COUNT(*) FROM t GROUP BY word COLLATE utf8mb4_0900_ai_ci", 0},
		{"SELECT COUNT(*) FROM t WHERE word LIKE '%a'", 0},
		{"SELECT COUNT(*) FROM t WHERE word < 5", 0},
		{"SELECT COUNT(*) FROM t WHERE i8 = i16", 0},
		{"SELECT COUNT(*) FROM t WHERE i8 IN (SELECT i8 FROM t2)", 0},
		{"SELECT SUM(i8) OVER (PARTITION BY word) FROM t", 0},
		{"SELECT i8 / 2, COUNT(*) FROM t GROUP BY i8 / 2", 0},
		{"SELECT word, COUNT(*) FROM (SELECT word FROM t LIMIT 3) AS q GROUP BY word", 0},
		{"SELECT COUNT(*) FROM t JOIN t2 ON t.i32 = t2.i32", 0},
		{"SELECT word, (SELECT COUNT(*) FROM t WHERE t.i8 = t2.i8) FROM t2", 0},
		{"SELECT hashtags(word), COUNT(*) FROM t GROUP BY hashtags(word)", 0},
		{"SELECT COUNT(*) FROM t WHERE JSON_LENGTH(hashtags(word)) = 0", 0},
	} {
		before := s.vectors.taken.Load()
		out := rowsOf(t, s.sqlEngine, relations, c.query)
		require.NotContains(t, strings.Join(out, "\n"), "error", c.query)
		require.Equal(t, c.times, s.vectors.taken.Load()-before, c.query)
		s.vectors.off.Store(true)
		require.Equal(t, rowsOf(t, s.sqlEngine, relations, c.query), out, c.query)
		s.vectors.off.Store(false)
	}
}

// TestVectorsWatchTheContext: a cancelled statement stops at the next batch.
func TestVectorsWatchTheContext(t *testing.T) {
	s := startSQL(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	relations := map[string]tables.Relation{"live.t": endless{troublesomeTable(rand.New(rand.NewPCG(1, 1)), 40), cancel}}
	query := "SELECT word, COUNT(*) FROM t GROUP BY word"
	sqlCtx := s.newContext(withStatement(ctx, query, relations), "live", query)
	_, rows, _, err := s.engine.Query(sqlCtx, query)
	require.NoError(t, err)
	_, err = rows.Next(sqlCtx)
	require.ErrorIs(t, err, context.Canceled)
	require.NoError(t, rows.Close(sqlCtx))
	require.Equal(t, int64(1), s.vectors.taken.Load())
}

// endless yields its rows again and again; after a while it cancels who reads.
type endless struct {
	tables.Relation
	cancel func()
}

func (e endless) Scan(ctx context.Context, columns []string) (tables.Reader, error) {
	b, err := tables.ReadAll(ctx, e.Relation, columns)
	return &endlessReader{b: b, cancel: e.cancel}, err
}

type endlessReader struct {
	b      *tables.Batch
	n      int
	cancel func()
}

func (r *endlessReader) Next(context.Context) (*tables.Batch, error) {
	if r.n++; r.n == 10 {
		r.cancel()
	}
	return r.b, nil
}

func (r *endlessReader) Close() error { return nil }

func TestCompareText(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	text := func() string {
		var out strings.Builder
		for range r.IntN(5) {
			out.WriteString(pickOne(r, "a", "b", "é", "日", "月", "😀", "\xff", "\xe6\x97", "\x97", "\xa5", "�"))
		}
		return out.String()
	}
	for range 20_000 {
		a, b := text(), text()
		want, err := stringType.Compare(t.Context(), a, b)
		require.NoError(t, err)
		require.Equal(t, want, compareText(a, b), "seed %d: %q %q", seed, a, b)
	}
}
