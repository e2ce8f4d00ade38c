package queries

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"smelt/queries/ddl"
	"smelt/tables"
)

func TestTheColumnOfTheFile(t *testing.T) {
	schema := tables.Schema{{Name: "n", Type: long}, {Name: "source_file", Type: text}, {Name: "f", Type: text}, {Name: "input_file_name()", Type: text}}
	for query, want := range map[string]string{
		"SELECT n, source_file FROM `files:1`":                          "source_file",
		"SELECT n, x.Source_File AS f FROM `files:1` x":                 "f",
		"SELECT n, _metadata.file_path AS f FROM `files:1`":             "f",
		"SELECT n, input_file_name() AS f FROM `files:1`":               "f",
		"SELECT n, input_file_name() FROM `files:1`":                    "input_file_name()",
		"SELECT * FROM (SELECT n, source_file FROM `files:1`) x":        "source_file",
		"SELECT n, source_file AS n2 FROM `files:1`":                    "",
		"SELECT n, x.file_path AS f, source_file AS n FROM `files:1` x": "", // n is a number
	} {
		s, err := shapeOf(query, "live")
		require.NoError(t, err)
		require.Equal(t, want, (&flow{shape: s}).pathColumn(schema), query)
	}
}

func TestWhatCannotBeTakenBackIsRebuilt(t *testing.T) {
	for name, c := range map[string]struct {
		query  string
		meddle func(l *lab)
		reason string // "" when the rows are taken out
	}{
		"steady":      {"SELECT n FROM STREAM(bronze)", nil, ""},
		"unsteady":    {"SELECT n FROM STREAM(bronze) WHERE RAND() < 2", nil, "calls RAND()"},
		"of a time":   {"SELECT n FROM STREAM(bronze) WHERE UNIX_TIMESTAMP(n) > 0", nil, ""},
		"static side": {"SELECT n FROM STREAM(bronze) JOIN dims ON k = n", func(l *lab) { l.insert("dims", row{"k": int64(3)}) }, "live.dims has changed"},
		"rules": {"SELECT n FROM STREAM(bronze)", func(l *lab) {
			l.must("CREATE OR REFRESH STREAMING TABLE sink (CONSTRAINT c EXPECT (n > 1)) AS SELECT n FROM STREAM(bronze)")
		}, "rules of the table have changed"},
		"another result": {"SELECT n FROM STREAM(bronze)", func(l *lab) { l.shift = 1 }, "yields other rows now"},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			l.paths = true
			l.plain("dims", columnsOf("k"))
			l.insert("dims", row{"k": int64(1)}, row{"k": int64(2)})
			l.exprs["n > 1"] = func(r row) any { return r["n"].(int64) > 1 }
			l.star("SELECT * FROM `files:1` AS `files_1`", "files:1")
			create := "CREATE STREAMING TABLE sink AS " + c.query
			statement, err := ddl.Parse(create)
			require.NoError(t, err)
			l.define(statement.(*ddl.Create).Query, columnsOf("n"), func(in func(string) []row) []row {
				out := []row{}
				for _, r := range in("stream:bronze") {
					out = append(out, row{"n": r["n"].(int64) + l.shift})
				}
				return out
			})
			l.drop("in", file{columns: []string{"n"}, rows: values("n", 1, 2)}, file{columns: []string{"n"}, rows: values("n", 2, 1)})
			l.must("CREATE STREAMING TABLE bronze AS SELECT * FROM STREAM read_files('in')")
			l.must(create)
			l.settle()
			if c.meddle != nil {
				c.meddle(l)
				l.settle()
			}
			rows, err := l.graph.OnFile(context.Background(), &ddl.OnTable{Verb: "UNLOAD FILE", Name: "bronze", File: "1"}, "live")
			require.NoError(t, err)
			require.EqualValues(t, 2, rows)
			l.settle()
			require.ElementsMatch(t, []any{1 + l.shift, 2 + l.shift}, l.column("sink", "n"))
			history, err := l.table("sink").History(context.Background(), 0)
			require.NoError(t, err)
			if c.reason == "" {
				require.Equal(t, unloadOperation, history[0].Operation)
				return
			}
			require.Equal(t, 1, count(history, "FULL REFRESH"))
			for _, h := range history {
				if h.Operation == "FULL REFRESH" {
					require.Contains(t, h.Parameters["reason"], c.reason)
				}
			}
		})
	}
}

func TestATableThatMustNotBeResetIsNot(t *testing.T) {
	l := newLab(t)
	l.star("SELECT * FROM `files:1` AS `files_1`", "files:1")
	l.star("SELECT * FROM `stream:bronze` AS `bronze`", "stream:bronze")
	l.star("SELECT n FROM `files:1` AS `files_1`", "files:1")
	const properties = " TBLPROPERTIES (pipelines.reset.allowed = FALSE) AS SELECT "
	l.drop("in", file{columns: []string{"n"}, rows: values("n", 1, 2)})
	l.must("CREATE STREAMING TABLE bronze" + properties + "* FROM STREAM read_files('in')")
	l.must("CREATE STREAMING TABLE silver AS SELECT * FROM STREAM(bronze)")
	l.settle()
	require.ErrorContains(t, l.graph.Refresh(context.Background(), "live", "bronze", true), "pipelines.reset.allowed")
	require.ErrorContains(t, l.create("CREATE OR REFRESH STREAMING TABLE bronze"+properties+"n FROM STREAM read_files('in')"), "pipelines.reset.allowed")
	require.NoError(t, l.graph.Refresh(context.Background(), "live", "silver", true))
	require.NoError(t, l.graph.Refresh(context.Background(), "live", "bronze", false))
	l.settle()
	require.Equal(t, []any{int64(1), int64(2)}, l.column("bronze", "n"))
	l.must("CREATE OR REFRESH STREAMING TABLE bronze AS SELECT * FROM STREAM read_files('in')")
	require.NoError(t, l.graph.Refresh(context.Background(), "live", "bronze", true))
	l.settle()
	require.Equal(t, []any{int64(1), int64(2)}, l.column("silver", "n"))
}
