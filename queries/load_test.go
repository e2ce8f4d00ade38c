package queries

import (
	"errors"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"smelt/queries/ddl"
	"smelt/queries/lexer"
	"smelt/tables"
)

// pipelineLab knows the SELECTs of the pipelines below.
func pipelineLab(t *testing.T) *lab {
	l := newLab(t)
	l.plain("src", columnsOf("n"))
	for sql, source := range map[string]string{
		"SELECT n FROM `stream:src` AS `src`": "stream:src", "SELECT * FROM `stream:a` AS `a`": "stream:a", "select n from b": "live.b", "SELECT n FROM v": "live.v", "SELECT n FROM m": "live.m",
		"SELECT * FROM `files:1` AS `files_1`": "files:1", "SELECT n FROM `stream:live.src` AS `src`": "stream:live.src", "SELECT * FROM `stream:m` AS `m`": "stream:m",
		"SELECT n FROM b": "live.b",
	} {
		l.star(sql, source)
	}
	return l
}

func (l *lab) load(script string) error { return l.graph.Load(l.t.Context(), script, "live", "/base") }

func TestAPipelineIsMadeInAnyOrderWithViewsBetween(t *testing.T) {
	l := pipelineLab(t)
	script := `-- the last first
CREATE MATERIALIZED VIEW m AS SELECT n FROM v;
CREATE VIEW v AS SELECT n FROM b; /*! CREATE STREAMING TABLE b AS SELECT * FROM STREAM(a) */;
CREATE STREAMING TABLE a AS SELECT n FROM STREAM(src);
CREATE DATABASE IF NOT EXISTS other; CREATE TABLE IF NOT EXISTS dims (k INT); USE other;
CREATE STREAMING TABLE c AS SELECT n FROM STREAM(live.src);`
	l.setHook(func(_, sql string) error {
		if sql == "CREATE DATABASE IF NOT EXISTS other" {
			return l.store.CreateDatabase("other")
		}
		return nil
	})
	require.NoError(t, l.load(script))
	l.setHook(nil)
	require.Equal(t, []string{"live: CREATE DATABASE IF NOT EXISTS other", "live: CREATE TABLE IF NOT EXISTS dims (k INT)", "live: CREATE VIEW v AS SELECT n FROM b"}, l.execs)
	l.insert("src", values("n", 1, 2)...)
	l.settle()
	require.Equal(t, []any{int64(1), int64(2)}, l.column("m", "n"))
	require.Equal(t, 1, l.runsOf("SELECT n FROM v"), "what a view reads comes before what reads the view")
	c, err := l.store.Table("other", "c")
	require.NoError(t, err)
	require.EqualValues(t, 2, c.Snapshot().Rows())
	var states []string
	for _, s := range l.graph.Flows() {
		states = append(states, s.Database+"."+s.Table+" "+s.State)
	}
	require.Equal(t, []string{"live.a idle", "live.b idle", "live.m idle", "other.c idle"}, states)

	versions := func() (list []int64) {
		for _, name := range []string{"a", "b", "m"} {
			list = append(list, l.table(name).Snapshot().Version())
		}
		return list
	}
	before, execs := versions(), len(l.execs)
	require.NoError(t, l.load(script), "loaded again at each start")
	l.settle()
	require.Equal(t, before, versions())
	require.Len(t, l.execs, execs+2, "plain statements say IF NOT EXISTS themselves; the view is the same")
}

func TestAPipelineThatIsRefusedMakesNothing(t *testing.T) {
	const a = "CREATE STREAMING TABLE a AS SELECT n FROM STREAM(src);\n"
	for script, want := range map[string]string{
		a + "CREATE STREAMING TABLE b SELECT":                                                    "syntax error at line 2, column 26: want COMMENT",
		"SELECT 1; CREATE STREAMING TABLE t AS SELECT 1 FROM STREAM(":                            "line 1",
		"CREATE STREAMING TABLE a AS SELECT 1 FROM STREAM(src); CREATE STREAMING TABLE b SELECT": "syntax error at line 1, column 81",
		a + "CREATE STREAMING TABLE b AS SELECT * FROM STREAM(nowhere)":                          "line 2: live.b: table live.nowhere: not found",
		a + "CREATE STREAMING TABLE b AS SELECT oops FROM STREAM(a)":                             "line 2: live.b: no such SELECT",
		a + a: "line 2: live.a is made twice",
		"CREATE STREAMING TABLE a AS SELECT * FROM STREAM(b); CREATE STREAMING TABLE b AS SELECT * FROM STREAM(a);":                                     "cycle: live.a -> live.b -> live.a",
		"CREATE MATERIALIZED VIEW m AS SELECT n FROM v; CREATE VIEW v AS SELECT n FROM m":                                                               "cycle: live.m -> live.v -> live.m",
		"CREATE MATERIALIZED VIEW m AS SELECT n FROM m":                                                                                                 "cycle: live.m -> live.m",
		"CREATE STREAMING TABLE x AS SELECT * FROM STREAM(m); CREATE MATERIALIZED VIEW m AS SELECT n FROM b; " + a + "CREATE VIEW b AS SELECT n FROM a": "live.m is a MATERIALIZED VIEW",
		a + "INSERT INTO src VALUES (1)": "line 2: not supported: a pipeline is loaded at each start",
		a + "SET @x = 1":                 "line 2: not supported",
		a + "CREATE TABLE t (a INT)":     "line 2: not supported",
		a + "DROP TABLE t":               "line 2: not supported",
		a + "REFRESH a":                  "line 2: not supported: a pipeline holds CREATE statements only",
		a + "SELEC 1":                    "line 2: syntax error",
		a + "APPLY CHANGES INTO t FROM STREAM(a) KEYS (k)":                                                                 "line 2, column 45: want SEQUENCE BY",
		a + "INSERT INTO t SELECT n FROM STREAM(a)":                                                                        "line 2: flow t_from_a: table live.t: not found",
		a + "INSERT INTO a SELECT n FROM STREAM(a)":                                                                        "cycle: live.a -> live.a",
		a + "CREATE STREAMING TABLE t; CREATE FLOW f AS INSERT INTO t SELECT oops FROM STREAM(a)":                          "line 2: live.t: no such SELECT",
		"CREATE STREAMING TABLE t; CREATE VIEW v AS SELECT n FROM t; INSERT INTO t SELECT n FROM STREAM(src) CROSS JOIN v": "cycle: live.t -> live.v -> live.t",
		a + "CREATE STREAMING TABLE t; INSERT INTO t SELECT n FROM STREAM(a); INSERT INTO t SELECT n FROM STREAM(a)":       "line 2: live.t:t_from_a is made twice; flows get a name by CREATE FLOW",
		a + "CREATE STREAMING TABLE b AS SELECT 'open":                                                                     "line 2, column 36: want a closing '",
		a + "CREATE STREAMING TABLE src AS SELECT * FROM STREAM read_files('in')":                                          "table live.src: exists already",
		"CREATE STREAMING TABLE nodb.a AS SELECT n FROM STREAM(src);":                                                      "nodb",
		a + "CREATE STREAMING TABLE `a/b` AS SELECT n FROM STREAM(src);":                                                   "not a usable name",
		a + "CREATE STREAMING TABLE b (zz INT) AS SELECT n FROM STREAM(src)":                                               `column "zz" of the list is not among those of the SELECT: n`,
	} {
		t.Run(want, func(t *testing.T) {
			l := pipelineLab(t)
			require.ErrorContains(t, l.load(script), want)
			require.Empty(t, l.graph.Flows(), "nothing is made")
			require.Len(t, l.store.Tables("live"), 1)
			require.Empty(t, l.store.Views("live"))
		})
	}
}

func TestAPipelineThatBreaksInTheMiddleIsUndone(t *testing.T) {
	l := pipelineLab(t)
	l.setHook(func(point, _ string) error {
		if point == "exec" {
			return errors.New("the disk is full")
		}
		return nil
	})
	script := "CREATE STREAMING TABLE a AS SELECT n FROM STREAM(src);\nCREATE STREAMING TABLE b AS SELECT * FROM STREAM(a);\nCREATE VIEW v AS SELECT n FROM b;"
	require.ErrorContains(t, l.load(script), "line 3: the disk is full")
	require.Empty(t, l.graph.Flows())
	require.Len(t, l.store.Tables("live"), 1, "src was there before")
	l.setHook(nil)
	require.NoError(t, l.load(script), "and can be loaded again")
}

func TestIfNotExistsLeavesAloneWhatIsThere(t *testing.T) {
	l := pipelineLab(t)
	l.must("CREATE STREAMING TABLE a AS SELECT n FROM STREAM(src)")
	version := l.table("a").Snapshot().Version()
	l.must("CREATE STREAMING TABLE IF NOT EXISTS a COMMENT 'x' AS SELECT n FROM STREAM(live.src)")
	require.NoError(t, l.load("CREATE STREAMING TABLE IF NOT EXISTS a COMMENT 'y' AS SELECT n FROM STREAM(live.src)"))
	require.Equal(t, version, l.table("a").Snapshot().Version())
	require.ErrorIs(t, l.create("CREATE MATERIALIZED VIEW IF NOT EXISTS a AS SELECT n FROM b"), tables.ErrExists)
	require.NoError(t, l.store.PutView("live", tables.View{Name: "v", Query: "SELECT 1"}))
	require.ErrorIs(t, l.create("CREATE STREAMING TABLE v AS SELECT n FROM STREAM(src)"), tables.ErrExists)
	require.NoError(t, l.create("CREATE STREAMING TABLE b AS SELECT * FROM STREAM(a)"))
	err := l.graph.Drop(t.Context(), "live", "a", ddl.StreamingTable, false)
	require.ErrorContains(t, err, "live.b read it; drop them first")
}

func TestARunGoesOnBehindAFlowThatFailsAndShowsItsProgress(t *testing.T) {
	l := pipelineLab(t)
	l.star("SELECT n, 1 FROM `stream:src` AS `src`", "stream:src")
	require.NoError(t, l.load(`CREATE STREAMING TABLE a AS SELECT n FROM STREAM(src);
CREATE STREAMING TABLE b AS SELECT * FROM STREAM(a);
CREATE STREAMING TABLE bad1 AS SELECT n, 1 FROM STREAM(src); CREATE STREAMING TABLE bad2 AS SELECT n, 1 FROM STREAM(src);
CREATE STREAMING TABLE f AS SELECT * FROM STREAM read_files('in')`))
	for i := range int64(10) {
		l.insert("src", values("n", i)...)
		l.drop("in", file{columns: []string{"n"}, rows: values("n", i)})
	}
	l.setHook(func(point, sql string) error {
		if point == "next" && sql == lexer.Normal("SELECT n, 1 FROM `stream:src` AS `src`") {
			return errors.New("broken")
		}
		return nil
	})
	var seen []Progress
	err := l.graph.RunOnce(t.Context(), func(p Progress) { seen = append(seen, p) })
	require.ErrorContains(t, err, "live.bad1: ")
	require.ErrorContains(t, err, "live.bad2: ")
	require.Len(t, l.rows("b"), 10)
	require.Len(t, l.rows("f"), 10)
	require.True(t, slices.IsSortedFunc(seen, func(a, b Progress) int { return int(a.Done - b.Done) }), "a bar never goes back")
	var files, rows int64
	for _, p := range seen {
		require.LessOrEqual(t, p.Done, p.Total)
		require.NotZero(t, p.Version)
		if p.Table == "f" {
			files += p.Files
			rows += p.RowsOut
		}
	}
	require.EqualValues(t, 10, files)
	require.EqualValues(t, 10, rows)
	history, err := l.table("f").History(t.Context(), 1)
	require.NoError(t, err)
	require.Equal(t, "0", history[0].Metrics["filesFailed"], "what a feed counts is kept")
	last, ok := ProgressOf(history[0])
	require.True(t, ok)
	require.EqualValues(t, 1, last.Files)
	require.EqualValues(t, 10, last.Bytes)
}
