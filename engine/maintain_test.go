package engine

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"smelt/queries"
	"smelt/queries/ddl"
	"smelt/tables"
)

// maintained are views of each class over the tables that the law test changes, with the strategy that they must have.
var maintained = []struct{ name, strategy, query string }{
	{"plain", "merge", "SELECT id, k, UPPER(s) AS s, n * 2 AS twice FROM a WHERE n > 3 OR n IS NULL"},
	{"star", "merge", "SELECT *, n+1 AS more FROM a"},
	{"exploded", "merge", "SELECT id, w.word FROM a, JSON_TABLE(words, '$[*]' COLUMNS (word VARCHAR(9) PATH '$')) w"},
	{"outerexploded", "merge", "SELECT id, w.word FROM a LEFT JOIN JSON_TABLE(words, '$[*]' COLUMNS (word VARCHAR(9) PATH '$')) w ON TRUE"},
	{"united", "merge", "SELECT k, n FROM a UNION ALL SELECT k, m FROM b UNION ALL SELECT k, n FROM a WHERE n > 5"},
	{"joined", "merge", "SELECT a.id, a.k, b.m, d.label FROM a JOIN b ON a.k = b.k JOIN dims d ON d.k = a.k"},
	{"selfjoined", "merge", "SELECT x.id AS one, y.id AS other FROM a x JOIN a y ON x.k = y.k WHERE x.n <= y.n"},
	{"viewed", "merge", "SELECT v.k, v.m, b.m AS b FROM ordinary v JOIN b ON v.k = b.k"},
	{"withs", "merge", "WITH big AS (SELECT id, k FROM a WHERE n > 4) SELECT x.id, y.id AS id2 FROM big x, big y WHERE x.k = y.k"},
	{"counted", "merge", "SELECT k, COUNT(*) AS n, COUNT(n) AS some, SUM(n) AS total, SUM(p) AS price, AVG(n) AS mean, MIN(n) AS least, MAX(s) AS most, MIN(at) AS first FROM a GROUP BY k"},
	{"conditional", "merge", "SELECT s, SUM(CASE WHEN n > 5 THEN 1 ELSE 0 END) AS big, SUM(n IS NULL) AS none FROM a GROUP BY s"},
	{"byexpression", "merge", "SELECT DATE(at) AS day, n % 3 AS r, COUNT(*) AS n FROM a GROUP BY DATE(at), n % 3"},
	{"byplace", "merge", "SELECT UPPER(k) AS big, COUNT(*) AS n, MAX(n) AS most FROM a GROUP BY 1"},
	{"hiddenkey", "merge", "SELECT COUNT(*) AS n, SUM(n) AS total FROM a GROUP BY k, s"},
	{"floats", "merge", "SELECT k, SUM(f) AS f, AVG(f) AS mean, COUNT(DISTINCT s) AS texts FROM a GROUP BY k"},
	{"had", "merge", "SELECT k, COUNT(*) AS n FROM a GROUP BY k HAVING COUNT(*) > 4"},
	{"computed", "merge", "SELECT k, SUM(n) / COUNT(*) AS mean, CONCAT(k, '!') AS loud FROM a GROUP BY k"},
	{"distincts", "merge", "SELECT DISTINCT k, n FROM a"},
	{"unioned", "merge", "SELECT k, n FROM a UNION SELECT k, m FROM b"},
	{"total", "merge", "SELECT COUNT(*) AS n, SUM(n) AS total, AVG(n) AS mean, MIN(n) AS least FROM a"},
	{"joincount", "merge", "SELECT b.k, COUNT(*) AS n, SUM(a.n) AS total, MAX(a.n) AS most FROM a JOIN b ON a.k = b.k GROUP BY b.k"},
	{"used", "merge", "SELECT a.id, b.m FROM a JOIN b USING (k)"},
	{"chained", "merge", "SELECT y.id, b.m, d.label FROM b JOIN dims d ON b.k = d.k JOIN a y ON y.s = d.label AND y.n = b.m"},
	{"crossed", "merge", "SELECT a.id, d.label FROM a JOIN dims d ON a.n > 7"},
	{"joinunion", "merge", "SELECT a.id, q.m FROM (SELECT k, m FROM b UNION ALL SELECT label, 0 FROM dims) q JOIN a ON q.k = a.s"},
	{"joingroups", "merge", "SELECT a.id, q.n FROM a LEFT JOIN (SELECT k, COUNT(*) AS n FROM b GROUP BY k) q ON q.k = a.k AND q.n > 1"},
	{"joinranked", "merge", "SELECT a.id, b.m, ROW_NUMBER() OVER (PARTITION BY a.k ORDER BY a.id, b.m) AS r FROM a JOIN b ON a.k = b.k AND a.n = b.m"},
	{"outergroups", "merge", "SELECT d.label, SUM(a.f) AS f FROM a LEFT JOIN dims d ON d.k = a.k GROUP BY d.label"},
	{"unioncount", "merge", "SELECT q.k, COUNT(*) AS n FROM (SELECT k FROM a UNION ALL SELECT k FROM b) q GROUP BY q.k"},
	{"ranked", "merge", "SELECT id, k, ROW_NUMBER() OVER (PARTITION BY k ORDER BY id) AS r, SUM(n) OVER (PARTITION BY k ORDER BY id) AS running FROM a"},
	{"newest", "merge", "SELECT id, n FROM (SELECT id, k, n, ROW_NUMBER() OVER (PARTITION BY k, s ORDER BY id DESC) AS r FROM a) q WHERE r = 1"},
	{"qualified", "merge", "SELECT * FROM a WHERE n > 1 QUALIFY RANK() OVER (PARTITION BY k ORDER BY n) <= 2"},
	{"exceptone", "merge", "SELECT * EXCEPT (k, r) FROM (SELECT id, k, n, ROW_NUMBER() OVER (PARTITION BY k ORDER BY n, id) AS r FROM a) q WHERE r <= 2"},
	{"withranks", "merge", "WITH big AS (SELECT * FROM a WHERE n > 1), w AS (SELECT big.*, COUNT(*) OVER (PARTITION BY k) AS many FROM big) SELECT many, id, k AS which FROM w WHERE many > (SELECT COUNT(*) FROM dims WHERE label = 'a')"},
	{"manygroups", "merge", "SELECT q.n, q.k AS which FROM (SELECT k, COUNT(*) AS n FROM a GROUP BY k) q WHERE q.n > 2"},
	{"twice", "merge", "SELECT p.m FROM (SELECT q.n + 1 AS m FROM (SELECT k, s, COUNT(*) AS n FROM a GROUP BY k, s) q WHERE q.n < 4) p WHERE p.m > 1"},
	{"leftjoined", "merge", "SELECT a.id, d.label FROM a LEFT JOIN dims d ON d.k = a.k"},
	{"unblocked", "merge", "SELECT id FROM a WHERE k NOT IN (SELECT k FROM dims WHERE label = 'b')"},
	{"ruled", "merge", "SELECT id, n FROM a"},
	{"ruledgroups", "merge", "SELECT k, COUNT(*) AS n FROM a GROUP BY k"},
	{"behind", "merge", "SELECT n, COUNT(*) AS many FROM counted GROUP BY n"},
	{"behindrows", "merge", "SELECT k, total FROM counted WHERE n > 2"},
	{"sorted", "merge", "SELECT id, n FROM a ORDER BY n DESC"},
	{"limited", "recompute", "SELECT id FROM a ORDER BY id LIMIT 3"},
	{"allranked", "recompute", "SELECT id, ROW_NUMBER() OVER (ORDER BY id) AS r FROM a"},
	{"nested", "recompute", "SELECT MAX(n) AS most FROM (SELECT k, COUNT(*) AS n FROM a GROUP BY k) q"},
	{"listed", "recompute", "SELECT k, GROUP_CONCAT(id ORDER BY id) AS ids FROM a GROUP BY k"},
	{"distincttotal", "recompute", "SELECT COUNT(DISTINCT k) AS n FROM a"},
	{"folded", "recompute", "SELECT k COLLATE utf8mb4_general_ci AS k2, COUNT(*) AS n FROM a GROUP BY k COLLATE utf8mb4_general_ci"},
}

var maintainedRules = map[string]string{
	"ruled":       " (CONSTRAINT small EXPECT (n < 8) ON VIOLATION DROP ROW, CONSTRAINT odd EXPECT (n % 2 = 1))",
	"ruledgroups": " (CONSTRAINT enough EXPECT (n > 3) ON VIOLATION DROP ROW)",
}

// law is a set of views over tables that change at random.
type law struct {
	*testSQL
	graph *queries.Graph
	r     *rand.Rand
	next  int
}

func newLaw(t *testing.T, seed uint64) *law {
	t.Helper()
	l := &law{r: rand.New(rand.NewPCG(seed, 3))}
	l.testSQL, l.graph = startGraph(t)
	l.define(t)
	return l
}

// tables makes the tables and an ordinary view.
func (l *law) tables(t *testing.T) {
	t.Helper()
	l.must(t, "CREATE TABLE a (id BIGINT, k VARCHAR(9), s VARCHAR(20), n INT, p DECIMAL(10,2), f DOUBLE, at DATETIME, words JSON)",
		"CREATE TABLE b (k VARCHAR(9), m INT)", "CREATE TABLE dims (k VARCHAR(9), label VARCHAR(9))",
		"INSERT INTO dims VALUES ('x', 'a'), ('y', 'b'), ('z', 'c')",
		"CREATE VIEW ordinary AS SELECT b.k, b.m FROM b WHERE b.m > 2")
}

// define makes the tables and the views.
func (l *law) define(t *testing.T) {
	t.Helper()
	l.tables(t)
	for _, v := range maintained {
		l.must(t, "CREATE MATERIALIZED VIEW "+v.name+maintainedRules[v.name]+" REFRESH POLICY INCREMENTAL AS "+v.query)
	}
}

// value returns one of some SQL texts, now and then NULL.
func (l *law) value(texts ...string) string {
	if l.r.IntN(8) == 0 {
		return "NULL"
	}
	return texts[l.r.IntN(len(texts))]
}

func (l *law) row() string {
	l.next++
	var words []string
	for range l.r.IntN(3) {
		words = append(words, fmt.Sprintf(`"%c"`, 'a'+rune(l.r.IntN(3))))
	}
	return fmt.Sprintf("(%d, %s, %s, %s, %s, %s, %s, %s)", l.next, l.value("'x'", "'y'", "'z'", "'it''s'", "''"), l.value("'A'", "'a'", `'b\\c'`, "'ä'"),
		l.value("1", "2", "3", "7", "9", "-4"), l.value("1.10", "2.25", "-3.00"), l.value("0.1", "0.2", "1e15", "-0.0"),
		l.value("'2024-01-01 10:00:00'", "'2024-01-01 23:59:59'", "'2024-02-01 00:00:00'"), l.value("'["+strings.Join(words, ",")+"]'"))
}

// change does something to a table.
func (l *law) change(t *testing.T) {
	t.Helper()
	switch l.r.IntN(12) {
	case 0, 1, 2, 3:
		var rows []string
		for range 1 + l.r.IntN(4) {
			rows = append(rows, l.row())
		}
		l.must(t, "INSERT INTO a VALUES "+strings.Join(rows, ", "))
	case 4, 5:
		l.must(t, fmt.Sprintf("INSERT INTO b VALUES (%s, %d), (%s, %d)", l.value("'x'", "'y'", "'w'"), l.r.IntN(9), l.value("'x'", "'z'"), l.r.IntN(9)))
	case 6:
		l.must(t, fmt.Sprintf("DELETE FROM a WHERE id %% 7 = %d", l.r.IntN(7)))
	case 7:
		l.must(t, fmt.Sprintf("UPDATE a SET n = n + 1, k = %s WHERE id %% 5 = %d", l.value("'x'", "'z'"), l.r.IntN(5)))
	case 8:
		l.must(t, fmt.Sprintf("DELETE FROM b WHERE m = %d", l.r.IntN(9)))
	case 9:
		if l.r.IntN(3) == 0 {
			l.must(t, fmt.Sprintf("INSERT INTO dims VALUES (%s, 'd')", l.value("'x'", "'w'")))
		}
	case 10:
		all := l.store.Tables("live")
		_, _, err := all[l.r.IntN(len(all))].Optimize(t.Context())
		require.NoError(t, err)
	case 11:
		if l.r.IntN(4) == 0 {
			table, err := l.store.Table("live", "a")
			require.NoError(t, err)
			_, err = table.Vacuum(t.Context(), 0, false)
			require.NoError(t, err)
		}
	}
}

// changes does one or two things.
func (l *law) changes(t *testing.T) {
	t.Helper()
	for range 1 + l.r.IntN(2) {
		l.change(t)
	}
}

// touch does something that changes each view, whatever random changes there were.
func (l *law) touch(t *testing.T) {
	t.Helper()
	l.must(t, fmt.Sprintf("INSERT INTO b VALUES ('x', %d)", 100+l.next))
	l.touchRows(t, 100+l.next)
}

// touchRows is touch for the views that are computed anew when b changes: it changes a alone. The rows meet those of b that have
// this m, and those of dims; one is a group and a partition of its own.
func (l *law) touchRows(t *testing.T, m int) {
	t.Helper()
	for range 5 {
		l.must(t, fmt.Sprintf("INSERT INTO a VALUES (%d, 'x', 'A', 7, 1.10, 0.1, '2024-01-01 10:00:00', '[\"a\"]'), (%d, 'x', 'a', %d, 1.10, 0.1, '2024-01-01 10:00:00', '[]')",
			l.next+1, l.next+2, m))
		l.next += 2
	}
	l.next++
	l.must(t, fmt.Sprintf("INSERT INTO a VALUES (%d, 'k%d', 't%d', 7, 1.10, 0.1, '2024-01-01 10:00:00', '[]')", l.next, l.next, l.next))
}

// broken returns the first view that is not what its SELECT yields.
func (l *law) broken(t *testing.T) string {
	t.Helper()
	found := ""
	require.NoError(t, l.graph.Check(t.Context(), func(table, what string, proven bool, err error) {
		if err != nil && found == "" {
			found = table + " " + what + ": " + err.Error()
		}
		require.True(t, proven || err != nil, "%s %s", table, what)
	}))
	return found
}

// lawSeed returns that of the environment, or another each time.
func lawSeed(t *testing.T) uint64 {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("SMELT_TEST_SEED"); text != "" {
		var err error
		seed, err = strconv.ParseUint(text, 10, 64)
		require.NoError(t, err)
	}
	t.Logf("seed %d", seed)
	return seed
}

func TestMaintainedViewsEqualTheirSelect(t *testing.T) {
	seeds, steps := 2, 15
	if testing.Short() {
		seeds, steps = 1, 10
	}
	batches := map[string]int{}
	for range seeds {
		seed := lawSeed(t)
		l := newLaw(t, seed)
		strategies := map[string]string{}
		reasons := map[string]string{}
		for _, s := range l.graph.Flows() {
			strategies[s.Table], reasons[s.Table] = s.Strategy, s.Reason
		}
		for _, v := range maintained {
			require.Equal(t, v.strategy, strategies[v.name], "%s: %s", v.name, reasons[v.name])
		}
		for step := range steps + 3 {
			switch {
			case step < steps:
				l.changes(t)
			case step < steps+2:
				l.touch(t) // twice: at the first time the history that a view stands at may be gone
			default:
				l.touchRows(t, 7)
			}
			require.NoError(t, l.graph.RunOnce(t.Context(), func(p queries.Progress) {
				batches[p.Table+" "+p.Strategy]++
				if p.Strategy == "recompute" && strategies[p.Table] == "merge" && step > 0 {
					batches[p.Table+" because "+p.Reason]++
				}
			}))
			if wrong := l.broken(t); wrong != "" {
				t.Fatalf("step %d, seed %d: %s", step, seed, wrong)
			}
		}
	}
	t.Logf("%v", batches)
	for _, v := range maintained {
		if v.strategy == "merge" {
			require.Positive(t, batches[v.name+" merge"], "%s was never merged: %v", v.name, batches)
		}
	}
}

func TestExplainRefresh(t *testing.T) {
	s, graph := startGraph(t)
	s.must(t, "CREATE TABLE a (k VARCHAR(9), n INT)", "INSERT INTO a VALUES ('x', 1), ('y', 2)")
	require.NoError(t, graph.Load(t.Context(), "CREATE MATERIALIZED VIEW v AS SELECT k, COUNT(*) AS n, SUM(n) AS total FROM a GROUP BY k; "+
		"CREATE MATERIALIZED VIEW w AS SELECT k FROM a ORDER BY n LIMIT 1", "live", ""))
	explain := func(statement string) string { return runStatement(t.Context(), s.db, statement, false) }
	require.Contains(t, explain("EXPLAIN REFRESH v"), "\nrecompute | it is computed for the first time | 2 | NULL | NULL | NULL\n")
	require.NoError(t, graph.RunOnce(t.Context(), nil))
	require.Contains(t, explain("EXPLAIN REFRESH MATERIALIZED VIEW live.v"), "\nNULL | nothing has changed; a change is followed by merge: counters, sums and extremes of each group are added up | 0 | NULL | NULL | 0\n")
	s.must(t, "INSERT INTO a VALUES ('x', 1)")
	require.Contains(t, explain("EXPLAIN REFRESH v"), "\nmerge | counters, sums and extremes of each group are added up | 1 | NULL | NULL | NULL\n")
	require.Contains(t, explain("EXPLAIN REFRESH w"), "\nrecompute | LIMIT leaves out rows by those around them | 3 | NULL | NULL | ")
	require.NoError(t, graph.RunOnce(t.Context(), nil))
	require.Equal(t, "k | n | total\nx | 2 | 2\ny | 1 | 2\n", explain("SELECT * FROM v ORDER BY k"))
	require.Contains(t, explain("EXPLAIN REFRESH a"), "ERROR 1347", "an ordinary table")
	require.Contains(t, explain("CREATE MATERIALIZED VIEW x REFRESH POLICY INCREMENTAL STRICT AS SELECT k FROM a ORDER BY n LIMIT 1"),
		"REFRESH POLICY INCREMENTAL STRICT, and it would be computed anew: LIMIT leaves out rows by those around them")
	require.Contains(t, explain("CREATE STREAMING TABLE x REFRESH POLICY FULL AS SELECT k FROM STREAM(a)"), "ERROR 1064")
	s.must(t, "CREATE MATERIALIZED VIEW whole REFRESH POLICY FULL AS SELECT k FROM a")
	require.Contains(t, explain("SHOW CREATE TABLE whole"), "REFRESH POLICY FULL")
}

// TestExplainCreateTellsTheStrategy asks before anything is made, of a script too, whose ordinary views are seen through.
func TestExplainCreateTellsTheStrategy(t *testing.T) {
	s, graph := startGraph(t)
	s.must(t, "CREATE TABLE a (k VARCHAR(9), n INT)")
	explain := func(query string) string {
		return runStatement(t.Context(), s.db, "EXPLAIN CREATE MATERIALIZED VIEW v AS "+query, false)
	}
	require.Contains(t, explain("SELECT k, COUNT(*) AS n FROM a GROUP BY k"), " | merge | counters, sums and extremes of each group are added up\n")
	require.Contains(t, explain("SELECT k FROM a ORDER BY n LIMIT 1"), " | recompute | LIMIT leaves out rows by those around them\n")
	require.Contains(t, explain("SELECT a.k FROM a LEFT JOIN a b ON a.n = b.n"), "; when live.a changes it is computed anew: LEFT JOIN shows rows without a match\n")
	require.Contains(t, runStatement(t.Context(), s.db, "EXPLAIN CREATE STREAMING TABLE t AS SELECT k FROM STREAM(a)", false), "|  | \n", "only views have a choice")
	require.Empty(t, graph.Flows())
	list, err := graph.Plan(t.Context(), "CREATE VIEW few AS SELECT k FROM a ORDER BY n LIMIT 1; CREATE VIEW all_of AS SELECT k FROM a; CREATE MATERIALIZED VIEW x AS SELECT k FROM few; "+
		"CREATE MATERIALIZED VIEW y AS SELECT k FROM all_of; CREATE MATERIALIZED VIEW z AS SELECT k FROM y WHERE k > 'a'", "live", "")
	require.NoError(t, err)
	said := map[string]string{}
	for _, p := range list {
		said[p.Table] = p.Strategy
	}
	require.Equal(t, map[string]string{"few": "", "all_of": "", "x": "recompute", "y": "merge", "z": "merge"}, said)
	_, err = graph.Plan(t.Context(), "CREATE VIEW few AS SELECT k FROM a ORDER BY n LIMIT 1; CREATE MATERIALIZED VIEW x REFRESH POLICY INCREMENTAL STRICT AS SELECT k FROM few", "live", "")
	require.ErrorContains(t, err, "REFRESH POLICY INCREMENTAL STRICT")
}

// TestSubstitutionByNameIsWrong is the control of the law: what came in one place of a self join must not stand in the other.
func TestSubstitutionByNameIsWrong(t *testing.T) {
	s := startSQL(t, nil)
	graph := queries.New(queries.Config{Store: s.store,
		Describe: func(ctx context.Context, q queries.Query) (tables.Schema, error) { return s.describe(ctx, q) },
		Query: func(ctx context.Context, q queries.Query) (queries.Result, error) {
			if _, whole := q.Tables["merge:0"].(*tables.Snapshot); !whole && q.Tables["merge:1"] != nil {
				q.Tables["merge:1"] = q.Tables["merge:0"]
			}
			return s.query(ctx, q)
		}})
	s.must(t, "CREATE TABLE a (id BIGINT, k BIGINT)", "INSERT INTO a VALUES (1, 1), (2, 1)")
	statement, err := ddl.Parse("CREATE MATERIALIZED VIEW pairs REFRESH POLICY INCREMENTAL AS SELECT x.id AS one, y.id AS other FROM a x JOIN a y ON x.k = y.k")
	require.NoError(t, err)
	_, err = graph.Create(t.Context(), statement.(*ddl.Create), "live", "")
	require.NoError(t, err)
	require.NoError(t, graph.RunOnce(t.Context(), nil))
	s.must(t, "INSERT INTO a VALUES (3, 1)")
	require.NoError(t, graph.RunOnce(t.Context(), nil))
	wrong := false
	require.NoError(t, graph.Check(t.Context(), func(_, _ string, _ bool, err error) { wrong = wrong || err != nil }))
	require.True(t, wrong, "the law's check sees no difference")
}

// TestAMergeReadsOfTheOtherTablesWhatMeetsTheChange counts the rows that a join is given beside those that came.
func TestAMergeReadsOfTheOtherTablesWhatMeetsTheChange(t *testing.T) {
	given := map[string]int64{}
	var s *testSQL
	var graph *queries.Graph
	s = startSQL(t, func(c *sqlConfig, _ *listenConfig) {
		graph = queries.New(queries.Config{Store: c.Store,
			Describe: func(ctx context.Context, q queries.Query) (tables.Schema, error) { return s.describe(ctx, q) },
			Query: func(ctx context.Context, q queries.Query) (queries.Result, error) {
				for name, r := range q.Tables {
					all, err := tables.ReadAll(ctx, r, nil)
					require.NoError(t, err)
					given[name] += int64(all.Len)
				}
				return s.query(ctx, q)
			}})
		c.Flows = graph
	})
	s.must(t, "CREATE TABLE a (id BIGINT, k VARCHAR(9), n INT)", "CREATE TABLE d (k VARCHAR(9), g BIGINT)", "CREATE TABLE e (g INT, label VARCHAR(9))", "INSERT INTO a VALUES (0, 'k0', 0)")
	for i := range 50 {
		s.must(t, fmt.Sprintf("INSERT INTO d VALUES ('k%d', %d), ('l%d', NULL)", i, i/5, i), fmt.Sprintf("INSERT INTO e VALUES (%d, 'e')", i))
	}
	explain := func(view string) string { return runStatement(t.Context(), s.db, "EXPLAIN REFRESH "+view, false) }
	for _, c := range []struct {
		query, says string
		given       []int64 // rows at the places of the SELECT
	}{
		{"SELECT a.id, e.label FROM a JOIN d ON a.k = d.k JOIN e ON d.g = e.g", "added and taken out | 3 |", []int64{3, 2, 1}},
		{"SELECT a.id, d.g, e.label FROM a LEFT JOIN d USING (k) LEFT JOIN e ON e.g = a.n AND e.label > 'a'", "added and taken out | 3 |", []int64{3, 2, 1}},
		{"SELECT a.id, q.n FROM a JOIN (SELECT k, COUNT(*) AS n FROM d GROUP BY k) q ON q.k = a.k", "added and taken out | 3 |", []int64{3, 2}},
		{"SELECT a.id, q.k FROM a, (SELECT k FROM d UNION ALL SELECT label FROM e) q WHERE (a.id > 0 AND q.k = a.k)", "added and taken out | 3 |", []int64{3, 2, 0}},
		{"SELECT a.id FROM a JOIN d ON a.k = UPPER(d.k)", "live.d is read whole: no equal columns join it with what changed | 103 |", []int64{3, 100}},
		{"SELECT a.id FROM a JOIN e ON a.n = e.g OR a.k = e.label", "live.e is read whole: no equal columns join it with what changed | 53 |", []int64{3, 50}},
		{"SELECT a.id, e.g FROM a JOIN e ON a.k = e.g", "live.e is read whole: no equal columns join it with what changed | 53 |", []int64{3, 50}},
	} {
		s.must(t, "CREATE MATERIALIZED VIEW v REFRESH POLICY INCREMENTAL AS "+c.query)
		require.NoError(t, graph.RunOnce(t.Context(), nil))
		s.must(t, "INSERT INTO a VALUES (1, 'k7', 1), (2, 'k8', 1), (3, 'k8', 1)")
		require.Contains(t, explain("v"), c.says, c.query)
		clear(given)
		require.NoError(t, graph.RunOnce(t.Context(), nil))
		for place, rows := range c.given {
			require.Equal(t, rows, given[fmt.Sprintf("merge:%d", place)], "place %d of %s", place, c.query)
		}
		s.must(t, "DROP MATERIALIZED VIEW v")
	}
}
