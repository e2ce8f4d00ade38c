package engine

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestOurStatementsArePrepared sends what a client sends that prepares everything.
func TestOurStatementsArePrepared(t *testing.T) {
	s := startSQL(t, nil)
	s.must(t, "CREATE TABLE t (id BIGINT, a JSON)", `INSERT INTO t VALUES (1, '{"x": 5}'), (2, '{"x": 10}')`, "CREATE STREAMING TABLE s AS SELECT id FROM STREAM(t)")
	exec := func(query string, args ...any) error {
		stmt, err := s.db.PrepareContext(t.Context(), query)
		if err != nil {
			return err
		}
		_, err = stmt.ExecContext(t.Context(), args...)
		require.NoError(t, stmt.Close())
		return err
	}
	require.NoError(t, exec("CREATE OR REFRESH MATERIALIZED VIEW v AS SELECT COUNT(*) AS n FROM t WHERE id == 1 -- it's \"ours\""))
	require.Contains(t, s.flows.calls, "create live.v")
	require.NoError(t, exec("REFRESH MATERIALIZED VIEW v FULL"))
	require.NoError(t, exec("CALL smelt.refresh('live.v')"))
	require.NoError(t, exec("CALL smelt.refresh(?, ?)", "s", "full"))
	require.NoError(t, exec("CALL smelt.run(?)", "REFRESH s"))
	require.Equal(t, []string{"refresh live.v full=true", "refresh live.v full=false", "refresh live.s full=true", "refresh live.s full=false"}, s.flows.calls[len(s.flows.calls)-4:])
	wantMySQLError(t, exec("REFRESH v NOW"), 1064, "42000", "near 'NOW'")
	wantMySQLError(t, exec("CALL smelt.refresh(?, ?)", "s", "full; DROP TABLE t"), 1210, "HY000", "is no option")
	wantMySQLError(t, exec("CALL smelt.run(?)", "DROP TABLE t"), 1210, "HY000", "no statement of smelt's")
	wantMySQLError(t, exec("CALL smelt.nothing(1)"), 1305, "42000", "smelt.nothing")

	rows, err := s.db.QueryContext(t.Context(), "SELECT id::string AS id, a.x FROM t WHERE id == ? ORDER BY a.x NULLS LAST", 2)
	require.NoError(t, err)
	require.True(t, rows.Next())
	var id, x string
	require.NoError(t, rows.Scan(&id, &x))
	require.Equal(t, "2 10", id+" "+x)
	require.NoError(t, rows.Close())

	history, err := s.db.QueryContext(t.Context(), "CALL smelt.describe_history(?, ?)", "t", 1)
	require.NoError(t, err)
	columns, err := history.Columns()
	require.NoError(t, err)
	require.Equal(t, "version", columns[0])
	require.True(t, history.Next())
	require.False(t, history.Next())
	require.NoError(t, history.Close())
	s.must(t, "PREPARE p FROM 'REFRESH v'", "EXECUTE p", "CALL smelt.optimize_table('t')")
}
