package engine

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"smelt/queries"
	"smelt/queries/ddl"
	"smelt/queries/lineage"
	"smelt/tables"
)

// startShouting starts a SQL engine with a real graph of flows in which UPPER stands for a function of a model, so that
// nothing has to be scored; move moves the model.
func startShouting(t *testing.T) (s *testSQL, graph *queries.Graph, move func(version string)) {
	t.Helper()
	var version atomic.Pointer[string]
	move = func(to string) { version.Store(&to) }
	move("1")
	s = startSQL(t, func(c *sqlConfig, _ *listenConfig) {
		graph = queries.New(queries.Config{
			Store:    c.Store,
			Query:    func(ctx context.Context, q queries.Query) (queries.Result, error) { return s.query(ctx, q) },
			Describe: func(ctx context.Context, q queries.Query) (tables.Schema, error) { return s.describe(ctx, q) },
			Feed: func(context.Context, ddl.Files, string, string, int64) (queries.Feed, error) {
				t.Error("no test here reads files")
				return nil, context.Canceled
			},
			Exec:   func(ctx context.Context, database, statement string) error { return s.exec(ctx, database, statement) },
			Refers: func(function string, _ []string) (string, bool) { return "shout", function == "upper" },
			Version: func(string) (lineage.Model, error) {
				return lineage.Model{Name: "shout", Version: *version.Load(), Digest: "digest of " + *version.Load()}, nil
			},
		})
		c.Flows = graph
	})
	require.NoError(t, graph.Open(t.Context()))
	t.Cleanup(func() { require.NoError(t, graph.Close(context.Background())) })
	return s, graph, move
}

// TestAMovedModelMakesItsTablesStale looks at the tables of a model before, while and after it moves.
func TestAMovedModelMakesItsTablesStale(t *testing.T) {
	s, graph, move := startShouting(t)
	s.must(t,
		"CREATE TABLE b (id BIGINT, word VARCHAR(9))",
		"INSERT INTO b VALUES (1, 'x'), (2, 'y')",
		"CREATE STREAMING TABLE gold (CONSTRAINT loud EXPECT (w <> 'X')) AS SELECT id, word, UPPER(word) AS w, NOW(6) AS seen FROM STREAM(b)",
		"CREATE STREAMING TABLE thrown (CONSTRAINT loud EXPECT (w <> 'X') ON VIOLATION DROP ROW) AS SELECT id, word, UPPER(word) AS w FROM STREAM(b)",
		"CREATE STREAMING TABLE guarded TBLPROPERTIES (pipelines.reset.allowed = false) AS SELECT id, UPPER(word) AS w FROM STREAM(b)",
		"CREATE STREAMING TABLE other AS SELECT id, word FROM STREAM(b)",
		"CREATE MATERIALIZED VIEW v AS SELECT UPPER(word) AS w FROM b",
		"CREATE MATERIALIZED VIEW app AS SELECT w, COUNT(*) AS n FROM gold GROUP BY w",
	)
	states := func() map[string]string {
		out := map[string]string{}
		for _, f := range graph.Flows() {
			if out[f.Table] = f.State; strings.HasPrefix(f.Reason, "stale: ") {
				out[f.Table] += " " + f.Reason
			}
		}
		return out
	}
	newest := func(table string) string {
		found, err := s.store.Table("live", table)
		require.NoError(t, err)
		history, err := found.History(t.Context(), 1)
		require.NoError(t, err)
		return history[0].Operation + ": " + history[0].Parameters["reason"]
	}
	require.NoError(t, graph.RunOnce(t.Context(), nil))
	idle := map[string]string{"gold": "idle", "thrown": "idle", "guarded": "idle", "other": "idle", "v": "idle", "app": "idle"}
	require.Equal(t, idle, states())
	read := func(statement string) string { return runStatement(t.Context(), s.db, statement, false) }
	before, others := read("SELECT * FROM gold ORDER BY id"), newest("other")

	move("2")
	const why = "model shout was version 1 and is version 2"
	stale := "stale stale: " + why
	require.Equal(t, map[string]string{"gold": stale, "thrown": stale, "guarded": stale, "other": "idle", "v": stale, "app": "idle"}, states(), "exactly those that ask it")
	require.NoError(t, graph.RunOnce(t.Context(), nil))
	require.Equal(t, idle, states())
	require.Equal(t, "RESCORE: "+why, newest("gold"))
	require.Equal(t, before, read("SELECT * FROM gold ORDER BY id"), "this model says the same, and the rest stays")
	require.Contains(t, read("DESCRIBE HISTORY thrown"), "FULL REFRESH")
	require.Contains(t, read("DESCRIBE HISTORY thrown"), "rule loud (drop row) looks at what the model says")
	require.Contains(t, newest("guarded"), "TBLPROPERTIES keep the rows")
	require.Equal(t, others, newest("other"))
	progress := progressOfTable(t, s, "gold")
	require.Equal(t, []queries.ExpectationCount{{Name: "loud", Action: "warn", Passed: 1, Failed: 1}}, progress.Expectations, "rules that look at the model are judged again")

	// What comes afterwards goes on where it was.
	s.must(t, "INSERT INTO b VALUES (3, 'z')")
	require.NoError(t, graph.RunOnce(t.Context(), nil))
	for _, table := range []string{"gold", "guarded", "other"} {
		require.Equal(t, "n\n3\n", read("SELECT COUNT(DISTINCT id) AS n FROM "+table), table)
	}
	require.Equal(t, "n\n3\n", read("SELECT SUM(n) AS n FROM app"))
}

// progressOfTable returns the newest batch of a table.
func progressOfTable(t *testing.T, s *testSQL, table string) queries.Progress {
	t.Helper()
	found, err := s.store.Table("live", table)
	require.NoError(t, err)
	history, err := found.History(t.Context(), 1)
	require.NoError(t, err)
	p, ok := queries.ProgressOf(history[0])
	require.True(t, ok)
	return p
}
