package engine

import (
	"database/sql"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// oneConnection connects to an engine once, so that SHOW WARNINGS is of the statement before.
func oneConnection(t *testing.T, e *Engine) *sql.DB {
	t.Helper()
	db, err := sql.Open("mysql", "root@tcp("+e.Address()+")/live")
	require.NoError(t, err)
	db.SetMaxOpenConns(1)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

func execute(t *testing.T, db *sql.DB, statements ...string) {
	t.Helper()
	for _, s := range statements {
		_, err := db.Exec(s)
		require.NoError(t, err, s)
	}
}

// warnings runs a SELECT to its end and returns what SHOW WARNINGS says then.
func warnings(t *testing.T, db *sql.DB, statement string) []string {
	t.Helper()
	answer := runStatement(t.Context(), db, statement, false)
	require.NotContains(t, strings.ToLower(answer), "error", statement)
	rows, err := db.Query("SHOW WARNINGS")
	require.NoError(t, err)
	defer rows.Close()
	var out []string
	for rows.Next() {
		var level, code, message string
		require.NoError(t, rows.Scan(&level, &code, &message))
		out = append(out, code+" "+message)
	}
	require.NoError(t, rows.Err())
	return out
}

func TestCutTextsAreToldToClientsAndInProgress(t *testing.T) {
	e := serving(t, nil)
	db := oneConnection(t, e)
	execute(t, db, "CREATE TABLE t (id INT, text TEXT)", "INSERT INTO t VALUES (1, 'love it'), (2, '"+strings.Repeat("love it ", 100)+"'), (3, NULL), (4, '"+strings.Repeat("hate it ", 100)+"')")
	const cut = "1265 Data truncated: 2 of the texts had more tokens than the 64 that model 'sentiment' takes, and were cut"
	for _, statement := range []string{
		"SELECT sentiment(text), sentiment_score(text) FROM t",                           // scored
		"SELECT id FROM t WHERE sentiment(text) = 'positive'",                            // known
		"SELECT IF(id > 0, sentiment(text), '') FROM t",                                  // one by one, known
		"SELECT sentiment(text), COUNT(*) FROM t GROUP BY 1",                             //
		"SELECT CASE WHEN id > 100 THEN '' ELSE predict('sentiment', text) END p FROM t", //
	} {
		require.Equal(t, []string{cut}, warnings(t, db, statement), statement)
	}
	require.Len(t, warnings(t, db, "SELECT sentiment(text), topic(text) FROM t"), 2, "one a model")
	require.Empty(t, warnings(t, db, "SELECT sentiment(text) FROM t WHERE id = 1"))
	require.Equal(t, []string{strings.Replace(cut, "2 of", "1 of", 1)}, warnings(t, db, "SELECT sentiment(REPEAT('so ', 100)) AS s"))

	execute(t, db, "CREATE MATERIALIZED VIEW v AS SELECT id, sentiment(text) AS s FROM t", "REFRESH MATERIALIZED VIEW v")
	var known, truncated, failed int
	require.NoError(t, db.QueryRow("SELECT SUM(texts_known), SUM(texts_truncated), SUM(texts_failed) FROM smelt.progress WHERE `table` = 'v'").Scan(&known, &truncated, &failed))
	require.Equal(t, [3]int{3, 2, 0}, [3]int{known, truncated, failed}, "counted where the predictions are known, too")
	execute(t, db, "CREATE STREAMING TABLE s AS SELECT id, topic(text) AS s FROM STREAM(t)", "REFRESH STREAMING TABLE s")
	require.NoError(t, db.QueryRow("SELECT SUM(texts_truncated), SUM(texts_failed) FROM smelt.progress WHERE `table` = 's'").Scan(&truncated, &failed))
	require.Equal(t, [2]int{2, 0}, [2]int{truncated, failed})
}

// TestExplainRefreshCountsTheTextsThatModelsWouldScore compares what is said before with what the batch counts then.
func TestExplainRefreshCountsTheTextsThatModelsWouldScore(t *testing.T) {
	e := serving(t, nil)
	db := oneConnection(t, e)
	explain := func(name string) []any {
		t.Helper()
		var strategy, reason sql.NullString
		var rows, score, hits sql.NullInt64
		var seconds sql.NullFloat64
		require.NoError(t, db.QueryRow("EXPLAIN REFRESH "+name).Scan(&strategy, &reason, &rows, &score, &hits, &seconds))
		if !score.Valid {
			return []any{strategy.String, rows.Int64, nil, nil}
		}
		return []any{strategy.String, rows.Int64, score.Int64, hits.Int64}
	}
	counted := func(name string) []any {
		t.Helper()
		execute(t, db, "REFRESH "+name)
		var strategy string
		var rows, score, hits int64
		require.NoError(t, db.QueryRow("SELECT strategy, rows_in, texts_scored, texts_known FROM smelt.progress WHERE `table` = ? ORDER BY version DESC LIMIT 1", name).
			Scan(&strategy, &rows, &score, &hits))
		return []any{strategy, rows, score, hits}
	}
	execute(t, db, "CREATE TABLE t (id INT, text TEXT)",
		"CREATE STREAMING TABLE s AS SELECT id, sentiment(text) AS s, sentiment_score(text) AS p FROM STREAM(t)", "REFRESH s", "ALTER STREAMING TABLE s SUSPEND",
		"CREATE MATERIALIZED VIEW v REFRESH POLICY INCREMENTAL AS SELECT sentiment(text) AS s, COUNT(*) AS n FROM t GROUP BY 1", "REFRESH v", "ALTER MATERIALIZED VIEW v SUSPEND",
		"CREATE MATERIALIZED VIEW w (CONSTRAINT known EXPECT (s IS NOT NULL OR id = 4) ON VIOLATION FAIL UPDATE) REFRESH POLICY FULL AS SELECT id, sentiment(text) AS s FROM t", "REFRESH w", "ALTER MATERIALIZED VIEW w SUSPEND",
		"CREATE MATERIALIZED VIEW plain AS SELECT id FROM t", "REFRESH plain", "ALTER MATERIALIZED VIEW plain SUSPEND",
		"INSERT INTO t VALUES (1, 'love it'), (2, 'hate it'), (3, 'love it'), (4, NULL)")
	require.Equal(t, []any{"append", int64(4), int64(2), int64(0)}, explain("s"))
	require.Equal(t, explain("s"), explain("s"), "it scores nothing and takes nothing")
	require.Equal(t, []any{"append", int64(4), int64(2), int64(0)}, counted("s"))
	require.Equal(t, []any{"", int64(0), int64(0), int64(0)}, explain("s"))
	for view, strategy := range map[string]string{"v": "merge", "w": "recompute"} {
		said := explain(view)
		require.Equal(t, []any{strategy, int64(4), int64(0), int64(2)}, said, view)
		require.Equal(t, said, counted(view))
	}
	require.Equal(t, []any{"merge", int64(4), nil, nil}, explain("plain"), "it asks no model")
	execute(t, db, "INSERT INTO t VALUES (5, 'so so'), (6, 'love it')")
	for view, want := range map[string][]any{"v": {"merge", int64(2), int64(1), int64(1)}, "w": {"recompute", int64(6), int64(1), int64(2)}} {
		require.Equal(t, want, explain(view), view)
	}
}
