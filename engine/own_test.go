package engine

import (
	"testing"

	"github.com/stretchr/testify/require"

	"smelt/tables"
)

// TestColumnsOfTheSystemAreHidden reads a table with a counter that the system keeps for itself.
func TestColumnsOfTheSystemAreHidden(t *testing.T) {
	s := startSQL(t, nil)
	schema := tables.Schema{{Name: "__smelt_count", Type: tables.Type{Kind: tables.Long}}, {Name: "mention", Type: tables.Type{Kind: tables.String}},
		{Name: "total", Type: tables.Type{Kind: tables.Long}}}
	app, err := s.store.Create(t.Context(), "live", "app", tables.Definition{Schema: schema})
	require.NoError(t, err)
	b := tables.NewBatch(schema, 0)
	for i, mention := range []string{"a", "b"} {
		b.Columns[0].AppendInt(int64(10 + i))
		b.Columns[1].AppendString(mention)
		b.Columns[2].AppendInt(int64(i))
		b.Len++
	}
	rows, err := tables.FromBatches(schema, b).Scan(t.Context(), nil)
	require.NoError(t, err)
	_, err = app.Commit(t.Context(), tables.Commit{Rows: rows})
	require.NoError(t, err)
	s.must(t, "CREATE VIEW v AS SELECT * FROM app")
	for statement, want := range map[string]string{
		"SELECT * FROM app ORDER BY mention":                                     "mention | total\na | 0\nb | 1\n",
		"SELECT * FROM v ORDER BY mention":                                       "mention | total\na | 0\nb | 1\n",
		"SELECT a.*, b.total AS t FROM app a JOIN app b USING (mention) LIMIT 1": "mention | total | t\na | 0 | 0\n",
		"SELECT * FROM app FOR VERSION AS OF 1 WHERE mention = 'b'":              "mention | total\nb | 1\n",
		"SELECT COUNT(*) AS n FROM app":                                          "n\n2\n",
		"SELECT SUM(total) AS n FROM app WHERE mention > 'a'":                    "n\n1\n",
		"DESCRIBE app": "Field | Type | Null | Key | Default | Extra\nmention | varchar(16383) | YES |  | NULL | \ntotal | bigint | YES |  | NULL | \n",
		"SELECT column_name AS c FROM information_schema.columns WHERE table_name = 'app' ORDER BY ordinal_position": "c\nmention\ntotal\n",

		"SELECT __smelt_count, mention FROM app ORDER BY 1":                                                      "__smelt_count | mention\n10 | a\n11 | b\n",
		"SELECT x.__smelt_count + 1 AS n FROM app AS x WHERE x.`__SMELT_count` = 11":                             "n\n12\n",
		"SELECT *, __smelt_count FROM app ORDER BY __smelt_count DESC":                                           "mention | total | __smelt_count\nb | 1 | 11\na | 0 | 10\n",
		"SELECT SUM(__smelt_count) AS n, mention FROM app GROUP BY mention HAVING SUM(__smelt_count) > 10":       "n | mention\n11 | b\n",
		"SELECT d.__smelt_x FROM (SELECT MAX(total) AS __smelt_x FROM app) d":                                    "__smelt_x\n1\n",
		"SELECT d.__smelt_count AS n FROM (SELECT __smelt_count FROM app WHERE mention = 'a') d":                 "n\n10\n",
		"WITH c AS (SELECT __smelt_count, mention FROM app) SELECT COUNT(*) AS n FROM c WHERE __smelt_count > 9": "n\n2\n",
		"SELECT '__smelt_count' AS t, app.* FROM app ORDER BY mention LIMIT 1":                                   "t | mention | total\n__smelt_count | a | 0\n",
	} {
		require.Equal(t, want, runStatement(t.Context(), s.db, statement, false), statement)
	}
	require.NotContains(t, runStatement(t.Context(), s.db, "SHOW CREATE TABLE app", false), "__smelt")
	require.Contains(t, runStatement(t.Context(), s.db, "CREATE TABLE x (__smelt_count INT)", false), "ERROR 1166")
	require.Contains(t, runStatement(t.Context(), s.db, "SELECT __smelt_other FROM app", false), "ERROR 1054 (42S22): Unknown column '__smelt_other'")
	s.must(t, "CREATE TABLE copied AS SELECT * FROM app")
	require.Equal(t, "mention | total\n", runStatement(t.Context(), s.db, "SELECT * FROM copied WHERE total > 5", false))
}
