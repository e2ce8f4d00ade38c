package engine

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dolthub/vitess/go/vt/sqlparser"
	"github.com/stretchr/testify/require"

	"smelt/tables"
	"smelt/tables/filter"
)

// askedRelation notes the conditions that it is told.
type askedRelation struct {
	tables.Relation
	asked *[]string
}

func (a askedRelation) Prune(conditions []filter.Condition) tables.Relation {
	for _, c := range conditions {
		*a.asked = append(*a.asked, printCondition(c))
	}
	return a.Relation
}

func printCondition(c filter.Condition) string {
	names := map[filter.Op]string{filter.In: "in", filter.Less: "<", filter.LessEqual: "<=", filter.Greater: ">", filter.GreaterEqual: ">=",
		filter.IsNull: "null", filter.NotNull: "not null"}
	out := c.Column + " " + names[c.Op]
	for _, v := range c.Values.Bools {
		out += fmt.Sprint(" ", v)
	}
	for _, v := range c.Values.Ints {
		out += fmt.Sprint(" ", v)
	}
	for _, v := range c.Values.Floats {
		out += fmt.Sprint(" ", v)
	}
	for _, v := range c.Values.Strings {
		out += fmt.Sprintf(" %q", v)
	}
	for _, v := range c.Values.Decimals {
		out += fmt.Sprint(" ", v.Big())
	}
	return out
}

// TestConditionsReachTables: what a statement asks of single columns is told to the table, as values of the column's own
// kind, and nothing that is not exactly so.
func TestConditionsReachTables(t *testing.T) {
	s := startSQL(t, nil)
	r := rand.New(rand.NewPCG(1, 1))
	asked := []string{}
	relations := map[string]tables.Relation{
		"live.t": askedRelation{troublesomeTable(r, 50), &asked}, "live.other": troublesomeTable(r, 50), "live.t2": askedRelation{troublesomeTable(r, 50), &asked},
	}
	for _, c := range []struct{ query, want string }{
		{"SELECT i32 FROM t WHERE i32 = 5", "i32 in 5"},
		{"SELECT i32 FROM t WHERE 5 < i32 AND i64 <= 7 AND i8 <=> 3 AND i16 <=> NULL", "i32 > 5; i64 <= 7; i8 in 3; i16 null"},
		{"SELECT i32 FROM t WHERE i32 > 3.5 AND i32 <= -3.5 AND i64 < 2.0 AND i16 = 2.5", "i32 > 3; i32 <= -4; i64 < 2"},
		{"SELECT i32 FROM t WHERE i32 > 200 AND i64 IN (1, 60000) AND i64 < 18446744073709551615 AND f64 < 200 AND price < 200", "i32 > 200; i64 in 1 60000; f64 < 200; price < 20000"},
		{"SELECT i32 FROM t WHERE flag = TRUE AND flag < 2", "flag in true"},
		{"SELECT i32 FROM t WHERE f64 > 0.5 AND 0.5 >= f32 AND f64 BETWEEN 1 AND 2", "f64 > 0.5; f64 >= 1; f64 <= 2"},
		{"SELECT i32 FROM t WHERE NOT (f64 <= 0.5) AND NOT (i8 <= 1)", "i8 > 1"},
		{"SELECT i32 FROM t WHERE price >= 1.5 AND price < 3 AND wide = 0.0000001", "price >= 150; price < 300; wide in 1"},
		{"SELECT i32 FROM t WHERE word = 'a' AND word IN ('b', 'c', NULL) AND word LIKE 'd%' AND word < 3", `word in "a"; word in "b" "c"; word >= "d"; word < "e"`},
		{"SELECT i32 FROM t WHERE word COLLATE utf8mb4_0900_ai_ci = 'a'", ""},
		{"SELECT i32 FROM t WHERE day = '2024-01-01' AND at >= '2024-01-01' AND at < TIMESTAMP('2024-01-02 00:00:00.000001')", "day in 19723; at >= 1704067200000000; at < 1704153600000001"},
		{"SELECT i32 FROM t WHERE at < STR_TO_DATE('2024-01-01 00:00:00.000000', '%Y-%m-%d %H:%i:%s.%f')", "at < 1704067200000000"},
		{"SELECT i32 FROM t WHERE day IN ('2024-01-01', '2024-01-03') AND day NOT IN ('2024-01-04')", "day in 19723 19725"},
		{"SELECT i32 FROM t WHERE i32 IS NULL AND i64 IS NOT NULL AND raw IS NOT NULL AND raw = 'a'", "i32 null; i64 not null; raw not null"},
		{"SELECT i32 FROM t WHERE i32 = 1 OR i64 = 2", ""},
		{"SELECT i32 FROM t WHERE i32 + 1 = 2 AND i32 = i64 AND i32 <> 4", ""},
		{"SELECT i32 FROM t AS a WHERE a.i32 = 5", "i32 in 5"},
		{"SELECT q.i32 FROM (SELECT i32, i64 AS n FROM t WHERE i16 = 3) AS q WHERE q.n = 5", "i16 in 3; i64 in 5"},
		{"SELECT a.i32 FROM t AS a JOIN other AS b ON a.i64 = b.i64 WHERE a.i32 = 5 AND b.i32 = 6", "i32 in 5"},
		{"SELECT a.i32 FROM t AS a LEFT JOIN t2 AS b ON a.i64 = b.i64 WHERE a.i32 = 5 AND b.i32 IS NULL", "i32 in 5"},
		{"SELECT a.i32 FROM other AS a LEFT JOIN t AS b ON a.i64 = b.i64 WHERE b.i32 = 6", ""},
		{"SELECT i32 FROM other WHERE i64 IN (SELECT i64 FROM t WHERE i32 = 5)", "i32 in 5"},
		{"SELECT i32 FROM other WHERE EXISTS (SELECT 1 FROM t WHERE t.i32 = other.i32 AND other.i64 = 1 AND t.i16 = 2)", "i16 in 2"},
		{"SELECT word, COUNT(*) FROM t WHERE i32 > 5 GROUP BY word", "i32 > 5"},
		{"SELECT COUNT(DISTINCT i8) FROM t WHERE i32 > 5", "i32 > 5"},
	} {
		asked = asked[:0]
		out := rowsOf(t, s.sqlEngine, relations, c.query)
		require.NotContains(t, strings.Join(out, "\n"), "error", c.query)
		seen := map[string]bool{}
		var once []string
		for _, a := range asked { // a join may read a side again
			if !seen[a] {
				once = append(once, a)
			}
			seen[a] = true
		}
		require.Equal(t, c.want, strings.Join(once, "; "), c.query)
	}
}

// TestConditionsOfPreparedStatements: values are bound before the plan is made, so they reach the tables, also in views.
func TestConditionsOfPreparedStatements(t *testing.T) {
	s := startSQL(t, nil)
	s.must(t, "CREATE TABLE t (i INT, s VARCHAR(9))", "INSERT INTO t VALUES (1, 'a'), (2, 'b')", "CREATE VIEW v AS SELECT i AS n, s FROM t WHERE s <> 'c'")
	asked := []string{}
	batch := tables.NewBatch(tables.Schema{{Name: "i", Type: tables.Type{Kind: tables.Integer}}, {Name: "s", Type: tables.Type{Kind: tables.String}}}, 0)
	relations := map[string]tables.Relation{"live.t": askedRelation{tables.FromBatches(batch.Schema, batch), &asked}}
	query := "SELECT n FROM v WHERE n = ? AND s < ?"
	ctx := s.newContext(withStatement(t.Context(), query, relations), "live", query)
	bindings := map[string]sqlparser.Expr{"v1": sqlparser.NewIntVal([]byte("2")), "v2": sqlparser.NewStrVal([]byte("x"))}
	_, rows, _, err := s.engine.QueryWithBindings(ctx, query, nil, bindings, nil)
	require.NoError(t, err)
	_, err = rows.Next(ctx)
	require.Equal(t, io.EOF, err)
	require.NoError(t, rows.Close(ctx))
	require.Equal(t, []string{"i in 2", `s < "x"`}, asked)
}

// keepingRelation leaves out every row that fails a condition, which is the most that advice may do.
type keepingRelation struct {
	tables.Relation
	conditions []filter.Condition
}

func (k keepingRelation) Prune(conditions []filter.Condition) tables.Relation {
	return keepingRelation{k.Relation, conditions}
}

func (k keepingRelation) Scan(ctx context.Context, columns []string) (tables.Reader, error) {
	all, err := tables.ReadAll(ctx, k.Relation, nil)
	if err != nil {
		return nil, err
	}
	keep := make([]bool, all.Len)
	for i := range keep {
		keep[i] = true
		for _, c := range k.conditions {
			at := all.Schema.Index(c.Column)
			keep[i] = keep[i] && meets(c, &all.Columns[at], all.Schema[at].Type.Kind, i)
		}
	}
	return tables.FromBatches(all.Schema, all.Filter(keep)).Scan(ctx, columns)
}

// meets is what package filter says a condition means.
func meets(c filter.Condition, column *tables.Column, k tables.Kind, i int) bool {
	if column.Null(i) || c.Op == filter.IsNull {
		return column.Null(i) && c.Op == filter.IsNull
	}
	switch {
	case c.Op == filter.NotNull:
		return true
	case k == tables.Boolean:
		number := map[bool]int{true: 1}
		return among(c.Op, column.Bools[i], c.Values.Bools, func(a, b bool) int { return number[a] - number[b] })
	case k == tables.String:
		return among(c.Op, column.Strings[i], c.Values.Strings, strings.Compare)
	case k == tables.Decimal:
		return among(c.Op, column.Decimals[i], c.Values.Decimals, func(a, b tables.Int128) int { return a.Big().Cmp(b.Big()) })
	case floating(k):
		v := column.Floats[i]
		return v == v && among(c.Op, v, c.Values.Floats, ordered[float64])
	}
	return among(c.Op, column.Ints[i], c.Values.Ints, ordered[int64])
}

func ordered[T int64 | float64](a, b T) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func among[T any](op filter.Op, v T, values []T, compare func(a, b T) int) bool {
	for _, w := range values {
		order := compare(v, w)
		switch op {
		case filter.In:
			if order == 0 {
				return true
			}
		case filter.Less:
			return order < 0
		case filter.LessEqual:
			return order <= 0
		case filter.Greater:
			return order > 0
		case filter.GreaterEqual:
			return order >= 0
		}
	}
	return false
}

// TestConditionsLoseNoRow: a table that leaves out all that the conditions let it leave out gives the same results.
func TestConditionsLoseNoRow(t *testing.T) {
	s := startSQL(t, nil)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	var whole, pruned map[string]tables.Relation
	for n := range 600 {
		if n%100 == 0 {
			relation := troublesomeTable(r, 200)
			whole, pruned = map[string]tables.Relation{"live.t": relation}, map[string]tables.Relation{"live.t": keepingRelation{Relation: relation}}
		}
		query := "SELECT * FROM t WHERE " + randomCondition(r, 2)
		want := rowsOf(t, s.sqlEngine, whole, query)
		if strings.Contains(want[0]+want[len(want)-1], "error") || strings.HasPrefix(want[0], "panic") {
			continue // fewer rows may well have no error
		}
		require.Equal(t, want, rowsOf(t, s.sqlEngine, pruned, query), "seed %d, query %d: %s", seed, n, query)
	}
}

// TestCountReadsNoFile: COUNT(*) of a table comes from its log.
func TestCountReadsNoFile(t *testing.T) {
	s := startSQL(t, nil)
	s.must(t, "CREATE TABLE t (i INT)", "INSERT INTO t VALUES (1), (2), (NULL)", "INSERT INTO t VALUES (4)", "CREATE VIEW v AS SELECT i + 1 AS n FROM t")
	table, err := s.store.Table("live", "t")
	require.NoError(t, err)
	files, err := filepath.Glob(filepath.Join(table.Dir(), "*.parquet"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, f := range files {
		require.NoError(t, os.Remove(f))
	}
	for _, query := range []string{"SELECT COUNT(*) FROM t", "SELECT COUNT(1) AS n FROM t AS x HAVING n > 1", "SELECT COUNT(*) FROM v", "SELECT COUNT(*) FROM (SELECT i FROM t) AS q"} {
		require.Contains(t, runStatement(t.Context(), s.db, query, false), "4", query)
	}
	require.Contains(t, runStatement(t.Context(), s.db, "SELECT COUNT(i) FROM t", false), "ERROR")
	for _, query := range []string{"SELECT SUM(i) FROM t WHERE i > 200", "SELECT i FROM t WHERE i > 200", "SELECT i FROM t WHERE i IN (200, 300) OR FALSE"} {
		require.NotContains(t, runStatement(t.Context(), s.db, query, false), "ERROR", "the log says that no file has such rows")
	}
}

// countingRelation counts the batches that are asked for.
type countingRelation struct {
	tables.Relation
	batches *int
}

func (c countingRelation) Rows() int64 { return 1 << 40 }

func (c countingRelation) Scan(context.Context, []string) (tables.Reader, error) {
	*c.batches++
	return nil, io.ErrUnexpectedEOF
}

// TestCountTakesNoTime: the time of a COUNT(*) does not depend on the number of rows.
func TestCountTakesNoTime(t *testing.T) {
	s := startSQL(t, nil)
	batches := 0
	relations := map[string]tables.Relation{"live.t": countingRelation{troublesomeTable(rand.New(rand.NewPCG(1, 1)), 1), &batches}}
	require.Equal(t, []string{"COUNT(*) bigint", "COUNT(1) bigint", `int64 "1099511627776" | int64 "1099511627776" | `}, rowsOf(t, s.sqlEngine, relations, "SELECT COUNT(*), COUNT(1) FROM t"))
	require.Zero(t, batches)
}
