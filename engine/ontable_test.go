package engine

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"smelt/tables"
)

func TestTheHistoryAndTheFilesOfATableAreTold(t *testing.T) {
	s := startSQL(t, nil)
	for _, statement := range []string{"CREATE TABLE t (n INT) COMMENT 'c' PARTITIONED BY (n)", "DROP TABLE IF EXISTS t", "CREATE TABLE t (n INT) COMMENT 'c' TBLPROPERTIES ('owner' = 'me')",
		"INSERT INTO t VALUES (1), (2)", "UPDATE t SET n = 3 WHERE n = 2", "DELETE FROM t WHERE n = 1", "ALTER TABLE t ADD COLUMN m INT", "TRUNCATE TABLE t"} {
		_, err := s.db.Exec(statement)
		if strings.Contains(statement, "PARTITIONED") {
			require.ErrorContains(t, err, "a column must be left")
			continue
		}
		require.NoError(t, err, statement)
	}
	history := runStatement(t.Context(), s.db, "DESCRIBE HISTORY t LIMIT 4", false)
	lines := strings.Split(strings.TrimSpace(history), "\n")
	require.Equal(t, "version | timestamp | operation | operationParameters | operationMetrics", lines[0])
	var operations []string
	for _, line := range lines[1:] {
		cells := strings.Split(line, " | ")
		operations = append(operations, cells[0]+" "+cells[2])
	}
	require.Equal(t, []string{"5 TRUNCATE", "4 ADD COLUMNS", "3 DELETE", "2 UPDATE"}, operations)
	require.Contains(t, history, `"numDeletedRows":"1"`)
	detail := runStatement(t.Context(), s.db, "DESCRIBE DETAIL t", false)
	require.Contains(t, detail, "delta | ")
	require.Contains(t, detail, " | live.t | c | ")
	require.Contains(t, detail, `| 0 | 0 | {"owner":"me"} | 1 | 2`)
}

func TestATableElsewhereIsAttachedWhereItMayBeRead(t *testing.T) {
	elsewhere := t.TempDir()
	other, err := tables.Open(elsewhere, tables.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, other.Close()) })
	_, err = other.Create(t.Context(), "live", "their", tables.Definition{Schema: tables.Schema{{Name: "n", Type: tables.Type{Kind: tables.Long}}}})
	require.NoError(t, err)
	location := filepath.Join(elsewhere, "live", "their")
	s := startSQL(t, func(c *sqlConfig, _ *listenConfig) {
		c.Permits = func(dir string) bool { return strings.HasPrefix(dir, elsewhere) }
	})
	run := func(statement string) string { return runStatement(t.Context(), s.db, statement, false) }
	require.Equal(t, "ok", run("CREATE TABLE mine USING DELTA LOCATION '"+location+"'"))
	require.Contains(t, run("CREATE TABLE mine USING DELTA LOCATION '"+location+"'"), "ERROR 1050")
	require.Equal(t, "ok", run("CREATE TABLE IF NOT EXISTS mine USING DELTA LOCATION '"+location+"'"))
	require.Contains(t, run("CREATE TABLE none USING DELTA LOCATION '"+elsewhere+"'"), "there is no Delta table in it")
	require.Contains(t, run("CREATE TABLE none USING DELTA LOCATION '/'"), "ERROR 1290")
	require.Equal(t, "ok", run("INSERT INTO mine VALUES (1)"))
	require.Equal(t, "COUNT(*)\n1\n", run("SELECT COUNT(*) FROM mine"))
	require.Contains(t, run("SHOW CREATE TABLE mine"), "CREATE TABLE `mine` USING DELTA LOCATION '"+location+"'")
	require.Equal(t, "ok", run("DROP TABLE mine"))
	require.DirExists(t, filepath.Join(location, "_delta_log"))
}
