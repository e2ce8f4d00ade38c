package engine

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"smelt/queries"
	"smelt/queries/ddl"
	"smelt/tables"
)

// startGraph starts a SQL engine with a real graph of flows; change may alter the configuration before.
func startGraph(t *testing.T, change ...func(*sqlConfig)) (*testSQL, *queries.Graph) {
	t.Helper()
	store, err := tables.Open(t.TempDir(), tables.Options{})
	require.NoError(t, err)
	return startGraphOver(t, store, func(r queries.Result, err error) (queries.Result, error) { return r, err }, change...)
}

// startGraphOver is startGraph over a store; between may come between the graph and the result of each query.
func startGraphOver(t *testing.T, store *tables.Store, between func(queries.Result, error) (queries.Result, error),
	change ...func(*sqlConfig)) (*testSQL, *queries.Graph) {
	t.Helper()
	var s *testSQL
	var graph *queries.Graph
	s = startSQLOver(t, store, func(c *sqlConfig, _ *listenConfig) {
		graph = queries.New(queries.Config{
			Store:    c.Store,
			Query:    func(ctx context.Context, q queries.Query) (queries.Result, error) { return between(s.query(ctx, q)) },
			Describe: func(ctx context.Context, q queries.Query) (tables.Schema, error) { return s.describe(ctx, q) },
			Feed: func(context.Context, ddl.Files, string, string, int64) (queries.Feed, error) {
				t.Error("no test here reads files")
				return nil, context.Canceled
			},
			Exec: func(ctx context.Context, database, statement string) error { return s.exec(ctx, database, statement) },
		})
		c.Flows = graph
		for _, f := range change {
			f(c)
		}
	})
	require.NoError(t, graph.Open(t.Context()))
	t.Cleanup(func() { require.NoError(t, graph.Close(context.Background())) })
	return s, graph
}

// TestATableIsFilledWhenCreateAnswers reads what was defined in the statement before, and defines what cannot be filled.
func TestATableIsFilledWhenCreateAnswers(t *testing.T) {
	s, graph := startGraph(t)
	s.db.SetMaxOpenConns(1) // SHOW WARNINGS is of the statement before
	s.must(t, "CREATE TABLE b (id BIGINT)", "INSERT INTO b VALUES (1), (2)", "CREATE STREAMING TABLE st AS SELECT id FROM STREAM(b)")
	require.Equal(t, "n\n2\n", runStatement(t.Context(), s.db, "SELECT COUNT(*) AS n FROM st", false))
	s.must(t, "CREATE MATERIALIZED VIEW mv AS SELECT SUM(id) AS total FROM st")
	require.Equal(t, "total\n3\n", runStatement(t.Context(), s.db, "SELECT * FROM mv", false))
	require.Empty(t, warnings(t, s.db, "CREATE OR REFRESH MATERIALIZED VIEW mv AS SELECT SUM(id) + 1 AS total FROM st"))
	require.Equal(t, "total\n4\n", runStatement(t.Context(), s.db, "SELECT * FROM mv", false))
	told := warnings(t, s.db, "CREATE STREAMING TABLE odd (CONSTRAINT c EXPECT (id % 2 = 1) ON VIOLATION FAIL UPDATE) AS SELECT id FROM STREAM(b)")
	require.Len(t, told, 1)
	require.Contains(t, told[0], "Table 'live.odd' is defined and could not be filled yet: ")
	require.Equal(t, "n\n0\n", runStatement(t.Context(), s.db, "SELECT COUNT(*) AS n FROM odd", false))
	require.Len(t, graph.Flows(), 3)
}

// TestFlowsOverTheWire defines, fills, refreshes and drops tables of flows as a client does.
func TestFlowsOverTheWire(t *testing.T) {
	s, graph := startGraph(t)
	s.must(t,
		"CREATE TABLE bronze (id BIGINT, lang VARCHAR(2), words JSON)",
		"INSERT INTO bronze VALUES (1, 'en', '[\"a\",\"b\"]'), (2, 'de', '[]'), (3, NULL, NULL)",
		"CREATE STREAMING TABLE silver (CONSTRAINT has_lang EXPECT (lang IS NOT NULL) ON VIOLATION DROP ROW) COMMENT 'one row per word' AS "+
			"SELECT id, lang, m.word FROM STREAM(bronze) LEFT JOIN JSON_TABLE(words, '$[*]' COLUMNS (word VARCHAR(9) PATH '$')) m ON TRUE",
		"CREATE MATERIALIZED VIEW app AS SELECT lang, SUM(word IS NOT NULL) AS words, COUNT(*) AS total FROM silver GROUP BY lang",
	)
	require.NoError(t, graph.RunOnce(t.Context(), nil))
	read := func(statement string) string { return runStatement(t.Context(), s.db, statement, true) }
	require.Equal(t, "id BIGINT | lang VARCHAR | word VARCHAR\n1 | en | a\n1 | en | b\n2 | de | NULL\n", read("SELECT * FROM silver ORDER BY id, word"))
	require.Equal(t, "lang VARCHAR | words BIGINT | total BIGINT\nde | 0 | 1\nen | 2 | 2\n", read("SELECT * FROM app ORDER BY lang"))

	s.must(t, "INSERT INTO bronze SELECT id + 10, 'de', words FROM bronze WHERE id = 1")
	require.NoError(t, graph.RunOnce(t.Context(), nil))
	require.Equal(t, "lang VARCHAR | words BIGINT | total BIGINT\nde | 2 | 3\nen | 2 | 2\n", read("SELECT * FROM app ORDER BY lang"))
	require.Equal(t, "n BIGINT\n4\n", read("SELECT COUNT(*) AS n FROM STREAM(bronze)"), "outside of a flow STREAM is the whole table")

	for statement, want := range map[string]uint16{
		"INSERT INTO silver VALUES (1, 'x', 'y')":                                     1471,
		"DROP TABLE bronze":                                                           3730,
		"DROP TABLE app":                                                              1347,
		"DROP MATERIALIZED VIEW silver":                                               1347,
		"REFRESH MATERIALIZED VIEW missing":                                           1146,
		"CREATE STREAMING TABLE bad AS SELECT missing FROM STREAM(bronze)":            1054,
		"CREATE STREAMING TABLE bad AS SELECT id FROM STREAM(missing)":                1146,
		"CREATE MATERIALIZED VIEW bad AS SELECT no_such_model(lang) AS x FROM bronze": 1305,
		"CREATE MATERIALIZED VIEW bad AS SELECT lang FROM":                            1064,
	} {
		_, err := s.db.ExecContext(t.Context(), statement)
		wantMySQLError(t, err, want, stateOf(want), "")
	}
	_, err := s.store.Table("live", "bad")
	require.ErrorIs(t, err, tables.ErrNotFound, "nothing half made")

	s.must(t, "REFRESH STREAMING TABLE silver FULL", "DROP MATERIALIZED VIEW app", "DROP STREAMING TABLE silver", "DROP TABLE bronze")
	require.Equal(t, "Tables_in_live VARCHAR\n", read("SHOW TABLES"))
}

func stateOf(number uint16) string {
	for _, c := range []sqlCode{errNotInsertable, errDependentObject, errWrongObject, errNoSuchTable, errUnknownColumn, errUnknownFunction, errSyntax} {
		if c.number == int(number) {
			return c.state
		}
	}
	return "?"
}
