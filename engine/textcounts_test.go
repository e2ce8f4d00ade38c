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
