package queries

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"smelt/queries/ddl"
	"smelt/queries/lexer"
	"smelt/tables"
)

// waitFor waits until the condition holds; a minute is for a machine that is busy, not for the flow.
func waitFor(t *testing.T, what string, condition func() bool) {
	t.Helper()
	require.Eventually(t, condition, time.Minute, time.Millisecond, what)
}

func TestAFlowWaitsForItsFirstFileAndThoseThatReadItWaitToo(t *testing.T) {
	l := newLab(t)
	l.star("SELECT * FROM `files:1` AS `files_1`", "files:1")
	l.star("SELECT * FROM `stream:bronze` AS `bronze`", "stream:bronze")
	l.define("SELECT COUNT(*) AS n FROM silver", columnsOf("n"), func(in func(string) []row) []row { return []row{{"n": int64(len(in("live.silver")))}} })
	l.must("CREATE STREAMING TABLE bronze AS SELECT * FROM STREAM read_files('landing')")
	l.must("CREATE STREAMING TABLE silver AS SELECT * FROM STREAM(bronze)")
	l.must("CREATE MATERIALIZED VIEW counts AS SELECT COUNT(*) AS n FROM silver")
	require.ErrorIs(t, l.create("CREATE STREAMING TABLE typo AS SELECT * FROM STREAM(bronze) JOIN nowhere ON TRUE"), tables.ErrNotFound,
		"what is wrong is said even while the columns are not known")
	require.Empty(t, l.table("bronze").Snapshot().Schema())
	l.graph.Start()
	for table, reason := range map[string]string{
		"bronze": "no file has arrived in /watched/landing yet", "silver": "the columns of live.bronze are not known yet", "counts": "the columns of live.silver are not known yet",
	} {
		waitFor(t, table, func() bool {
			s := l.status(table)
			return s.State == "waiting" && s.Reason == reason && s.LastError == ""
		})
	}
	l.drop("landing", file{bad: true}) // seen, and nothing is known for it
	waitFor(t, "the bad file is in the ledger", func() bool {
		s := l.table("bronze").Snapshot()
		n, ok := s.Txn(progressOf(s, "files:1"))
		return ok && n == 1
	})
	require.Equal(t, "waiting", l.status("bronze").State)
	l.drop("landing", file{columns: []string{"a"}, rows: values("a", 1, 2)})
	waitFor(t, "counted", func() bool { return slices.Equal(l.column("counts", "n"), []any{int64(2)}) })
	for _, table := range []string{"bronze", "silver", "counts"} {
		waitFor(t, table, func() bool { return l.status(table).State == "idle" })
	}
	l.drop("landing", file{columns: []string{"a", "b"}, rows: []row{{"a": int64(3), "b": int64(30)}}})
	waitFor(t, "a field that a later file adds goes through", func() bool { return len(l.rows("silver")) == 3 })
	require.Equal(t, []string{"a", "b"}, l.table("silver").Snapshot().Schema().Names())
	require.Equal(t, []row{{"a": int64(1), "b": nil}, {"a": int64(2), "b": nil}, {"a": int64(3), "b": int64(30)}}, l.rows("silver"))
}

func TestTwoDirectoriesInOneTableLoseNothingWhileOneWaits(t *testing.T) {
	l := newLab(t)
	l.define("SELECT n FROM `files:1` AS `files_1` UNION ALL SELECT n FROM `files:2` AS `files_2`", columnsOf("n"), func(in func(string) []row) []row {
		return append(slices.Clone(in("files:1")), in("files:2")...)
	})
	l.must("CREATE STREAMING TABLE u AS SELECT n FROM STREAM read_files('a') UNION ALL SELECT n FROM STREAM read_files('b')")
	l.drop("a", file{columns: []string{"n"}, rows: values("n", 1)})
	l.settle()
	require.Equal(t, "waiting", l.status("u").State)
	l.drop("b", file{columns: []string{"n"}, rows: values("n", 2)})
	l.settle()
	require.ElementsMatch(t, []any{int64(1), int64(2)}, l.column("u", "n"))
	l.drop("a", file{columns: []string{"n"}, rows: values("n", 3)})
	l.reopen()
	l.settle()
	require.ElementsMatch(t, []any{int64(1), int64(2), int64(3)}, l.column("u", "n"))
}

func TestANullViolatesAndEachRuleIsCounted(t *testing.T) {
	l := newLab(t)
	l.plain("src", columnsOf("n"))
	l.star("SELECT n FROM `stream:src` AS `src`", "stream:src")
	l.exprs["n > 0"] = func(r row) any {
		if r["n"] == nil {
			return nil
		}
		return r["n"].(int64) > 0
	}
	l.exprs["n < 5"] = func(r row) any { return r["n"] != nil && r["n"].(int64) < 5 }
	l.must("CREATE STREAMING TABLE a (CONSTRAINT positive EXPECT (n > 0) ON VIOLATION DROP ROW, CONSTRAINT small EXPECT (n < 5)) AS SELECT n FROM STREAM(src)")
	l.insert("src", append(values("n", 1, -1, 9), row{"n": nil})...)
	l.settle()
	require.Equal(t, []any{int64(1), int64(9)}, l.column("a", "n"))
	require.Equal(t, columnsOf("n"), l.table("a").Snapshot().Schema(), "the columns of the rules are not those of the table")
	history, err := l.table("a").History(t.Context(), 1)
	require.NoError(t, err)
	p, ok := ProgressOf(history[0])
	require.True(t, ok)
	require.Equal(t, []ExpectationCount{{"positive", "drop row", 2, 2, 0}, {"small", "warn", 2, 2, 0}}, p.Expectations)
	require.EqualValues(t, 2, p.Dropped)
	require.Equal(t, map[string]string{"positive": "drop row", "small": "warn"}, l.status("a").Actions)
}

func TestAViewSwapsItsRowsAndColumnsInOneCommit(t *testing.T) {
	l := newLab(t)
	l.plain("src", columnsOf("n"))
	l.insert("src", values("n", 1, 2)...)
	l.define("SELECT COUNT(*) AS c FROM src", columnsOf("c"), func(in func(string) []row) []row { return []row{{"c": int64(len(in("live.src")))}} })
	l.define("SELECT n AS m, n AS c FROM src", columnsOf("m", "c"), func(in func(string) []row) []row {
		var out []row
		for _, r := range in("live.src") {
			out = append(out, row{"m": r["n"], "c": r["n"]})
		}
		return out
	})
	l.star("SELECT * FROM v", "live.v")
	l.must("CREATE MATERIALIZED VIEW v AS SELECT COUNT(*) AS c FROM src")
	l.must("CREATE MATERIALIZED VIEW w AS SELECT * FROM v")
	l.settle()
	id := l.table("v").Snapshot().ID()
	l.must("CREATE OR REFRESH MATERIALIZED VIEW v COMMENT 'new' AS SELECT n AS m, n AS c FROM src")
	require.Equal(t, []row{{"c": int64(2)}}, l.rows("v"), "the old rows stay until the new ones are there")
	require.Equal(t, "new", l.table("v").Snapshot().Definition().Comment)
	require.NoError(t, l.graph.Refresh(t.Context(), "live", "w", false))
	require.Equal(t, "waiting", l.status("w").State, "it would show rows that the definition of v denies")
	require.Equal(t, "live.v is not computed yet", l.status("w").Reason)
	l.settle()
	want := []row{{"m": int64(1), "c": int64(1)}, {"m": int64(2), "c": int64(2)}}
	require.Equal(t, want, l.rows("v"))
	require.Equal(t, want, l.rows("w"), "columns that a view gets reach those that read it")
	require.Equal(t, []string{"m", "c"}, l.table("w").Snapshot().Schema().Names())
	require.Equal(t, id, l.table("v").Snapshot().ID())
}

func TestAViewFollowsATypeThatASourceChanges(t *testing.T) {
	l := newLab(t)
	l.plain("src", columnsOf("n"))
	l.plain("words", tables.Schema{{Name: "n", Type: text}})
	l.insert("src", values("n", 1)...)
	l.insert("words", row{"n": "one"})
	l.star("SELECT n FROM `stream:src` AS `src`", "stream:src")
	l.star("SELECT n FROM `stream:words` AS `words`", "stream:words")
	l.star("SELECT * FROM a", "live.a")
	l.must("CREATE STREAMING TABLE a AS SELECT n FROM STREAM(src)")
	l.must("CREATE MATERIALIZED VIEW v AS SELECT * FROM a")
	l.settle()
	l.must("CREATE STREAMING TABLE a AS SELECT n FROM STREAM(words)")
	l.settle()
	require.Equal(t, []row{{"n": "one"}}, l.rows("v"))
	require.Equal(t, "idle", l.status("v").State)
}

func TestAStreamThatChangesATypeSaysHowToGoOn(t *testing.T) {
	l := newLab(t)
	l.plain("src", columnsOf("n"))
	l.star("SELECT n FROM `stream:src` AS `src`", "stream:src")
	l.must("CREATE STREAMING TABLE a AS SELECT n FROM STREAM(src)")
	l.insert("src", values("n", 1)...)
	l.settle()
	l.selects[lexer.Normal("SELECT n FROM `stream:src` AS `src`")] = selectFunc{
		func(func(string) tables.Schema) tables.Schema { return tables.Schema{{Name: "n", Type: text}} },
		func(in func(string) []row) []row {
			var out []row
			for range in("stream:src") {
				out = append(out, row{"n": "x"})
			}
			return out
		},
	}
	l.insert("src", values("n", 2)...)
	err := l.graph.RunOnce(t.Context(), nil)
	require.ErrorIs(t, err, ErrUnsupported)
	require.ErrorContains(t, err, `column "n" is string now and was long; REFRESH STREAMING TABLE a FULL rebuilds the table`)
	require.NoError(t, l.graph.Refresh(t.Context(), "live", "a", true))
	require.Equal(t, []any{"x", "x"}, l.column("a", "n"))
}

func TestAViewIsComputedOnceForEachChange(t *testing.T) {
	l := newLab(t)
	l.plain("src", columnsOf("n"))
	l.star("SELECT n FROM src", "live.src")
	for _, n := range []string{"1", "2"} {
		l.define("SELECT "+n+" AS n", columnsOf("n"), func(func(string) []row) []row { return values("n", int64(n[0]-'0')) })
	}
	l.must("CREATE MATERIALIZED VIEW v AS SELECT n FROM src")
	l.must("CREATE MATERIALIZED VIEW one AS SELECT 1 AS n")
	l.settle()
	l.settle()
	l.reopen()
	l.settle()
	require.Equal(t, 1, l.runsOf("SELECT n FROM src"))
	require.Equal(t, 1, l.runsOf("SELECT 1 AS n"), "a view without sources is computed, too, and once")
	l.must("CREATE MATERIALIZED VIEW one AS SELECT 2 AS n")
	l.insert("src", values("n", 5)...)
	l.insert("src", values("n", 6)...)
	l.settle()
	require.Equal(t, 2, l.runsOf("SELECT n FROM src"), "two changes, one recompute")
	require.Equal(t, []any{int64(2)}, l.column("one", "n"), "a new SELECT is computed, sources or none")
	require.NoError(t, l.graph.Refresh(t.Context(), "live", "v", true))
	require.Equal(t, 3, l.runsOf("SELECT n FROM src"), "FULL asks for it")
}

func TestAStreamBeginsWithWhatIsThereWhenRowsWereRemovedBefore(t *testing.T) {
	l := newLab(t)
	l.plain("src", columnsOf("n"))
	l.star("SELECT n FROM `stream:src` AS `src`", "stream:src")
	l.insert("src", values("n", 1)...)
	l.replace("src", values("n", 2, 3)...)
	l.must("CREATE STREAMING TABLE a AS SELECT n FROM STREAM(src)")
	l.settle()
	require.Equal(t, []any{int64(2), int64(3)}, l.column("a", "n"))
	l.insert("src", values("n", 4)...)
	l.settle()
	require.Equal(t, []any{int64(2), int64(3), int64(4)}, l.column("a", "n"))
	l.replace("src", values("n", 9)...)
	require.ErrorContains(t, l.graph.RunOnce(t.Context(), nil), "REFRESH STREAMING TABLE a FULL starts over with what is there")
	require.NoError(t, l.graph.Refresh(t.Context(), "live", "a", true), "and so it does")
	require.Equal(t, []any{int64(9)}, l.column("a", "n"))
	require.Equal(t, "idle", l.status("a").State)
}

func TestARefreshEndsThoughItsSourceNeverRests(t *testing.T) {
	l := newLab(t)
	l.plain("src", columnsOf("n"))
	l.define("SELECT n FROM `stream:src` AS `src`", columnsOf("n"), func(in func(string) []row) []row {
		l.insert("src", values("n", int64(l.runsOf("SELECT n FROM `stream:src` AS `src`")))...) // each batch brings another
		return in("stream:src")
	})
	l.star("SELECT n FROM `files:1` AS `files_1`", "files:1")
	l.must("CREATE STREAMING TABLE a AS SELECT n FROM STREAM(src)")
	l.must("CREATE STREAMING TABLE b AS SELECT n FROM STREAM read_files('in')")
	l.insert("src", values("n", 0)...)
	require.NoError(t, l.graph.Refresh(t.Context(), "live", "a", false))
	require.Equal(t, []any{int64(0)}, l.column("a", "n"), "what was there at the call")
	for i := range int64(2 * filesPerBatch) {
		l.drop("in", file{columns: []string{"n"}, rows: values("n", i)})
	}
	require.NoError(t, l.graph.Refresh(t.Context(), "live", "b", false))
	require.Len(t, l.rows("b"), 2*filesPerBatch, "all files, in as many batches as it takes")
}

func TestAReplacedFlowCommitsNothingMore(t *testing.T) {
	l := newLab(t)
	l.plain("src", columnsOf("n"))
	l.star("SELECT n FROM `stream:src` AS `src`", "stream:src")
	l.star("SELECT n FROM `stream:src` AS `src` WHERE TRUE", "stream:src")
	l.must("CREATE STREAMING TABLE a AS SELECT n FROM STREAM(src)")
	old := l.graph.find("live", "a")
	l.must("CREATE STREAMING TABLE a AS SELECT n FROM STREAM(src) WHERE TRUE")
	l.insert("src", values("n", 1)...)
	version := l.table("a").Snapshot().Version()
	_, err := old.step(t.Context())
	require.ErrorIs(t, err, errRetired)
	require.ErrorIs(t, old.full(t.Context(), "late"), errRetired)
	require.Equal(t, version, l.table("a").Snapshot().Version())
	l.settle()
	require.Equal(t, []any{int64(1)}, l.column("a", "n"))
	require.NoError(t, l.graph.Close(t.Context()))
	require.ErrorIs(t, l.graph.Refresh(t.Context(), "live", "a", false), errRetired, "nor does one of a closed graph")
}

func TestAPanicIsAnErrorOfItsFlowAndOthersGoOn(t *testing.T) {
	l := newLab(t)
	l.plain("src", columnsOf("n"))
	l.star("SELECT n FROM `stream:src` AS `src`", "stream:src")
	l.define("SELECT boom FROM `stream:src` AS `src`", columnsOf("n"), func(func(string) []row) []row { panic("boom") })
	l.must("CREATE STREAMING TABLE a AS SELECT boom FROM STREAM(src)")
	l.must("CREATE STREAMING TABLE b AS SELECT n FROM STREAM(src)")
	l.insert("src", values("n", 1)...)
	err := l.graph.RunOnce(t.Context(), nil)
	require.EqualError(t, err, "refresh live.a: panic: boom")
	require.Equal(t, []any{int64(1)}, l.column("b", "n"))
	require.Equal(t, "retrying", l.status("a").State)
	require.ErrorContains(t, l.graph.Refresh(t.Context(), "live", "a", true), "panic: boom")
}

func TestACommitThatStandsThoughItFailedIsNotMadeTwice(t *testing.T) {
	for _, lost := range []int{1, 2, 3, 6} {
		l := newLab(t)
		l.star("SELECT n FROM `files:1` AS `files_1`", "files:1")
		l.must("CREATE STREAMING TABLE a AS SELECT n FROM STREAM read_files('in')")
		l.drop("in", file{columns: []string{"n"}, rows: values("n", 1)})
		l.lost.arm(0, lost)
		require.ErrorIs(t, l.graph.RunOnce(t.Context(), nil), errLost)
		l.drop("in", file{columns: []string{"n"}, rows: values("n", 2)})
		_ = l.runOnce() // which fails while more answers are lost
		require.GreaterOrEqual(t, l.lost.disarm(), min(lost, 2))
		l.settle()
		require.Equal(t, []any{int64(1), int64(2)}, l.column("a", "n"), "%d answers lost", lost)
		l.reopen()
		l.settle()
		require.Equal(t, []any{int64(1), int64(2)}, l.column("a", "n"), "%d answers lost", lost)
	}
}

func TestAStoredDefinitionThatCannotRunFailsAlone(t *testing.T) {
	l := newLab(t)
	l.plain("src", columnsOf("n"))
	l.star("SELECT n FROM `stream:src` AS `src`", "stream:src")
	l.must("CREATE STREAMING TABLE a AS SELECT n FROM STREAM(src)")
	l.must("CREATE STREAMING TABLE b AS SELECT n FROM STREAM(src)")
	d := l.table("a").Snapshot().Definition()
	d.Properties[propertyStatement] = "CREATE STREAMING TABLE a (CONSTRAINT c EXPECT (n) ON VIOLATION ASK) AS SELECT n FROM STREAM(src)"
	_, err := l.table("a").Commit(t.Context(), tables.Commit{Operation: "ALTER TABLE", Define: &d})
	require.NoError(t, err)
	l.reopen()
	require.Equal(t, "failed", l.status("a").State)
	require.Contains(t, l.status("a").LastError, "want DROP ROW, FAIL UPDATE or QUARANTINE")
	l.insert("src", values("n", 1)...)
	require.ErrorIs(t, l.graph.RunOnce(t.Context(), nil), errStored)
	require.Equal(t, []any{int64(1)}, l.column("b", "n"))
	l.must("CREATE STREAMING TABLE a AS SELECT n FROM STREAM(src)")
	l.settle()
	require.Equal(t, []any{int64(1)}, l.column("a", "n"))
	require.NoError(t, l.graph.Drop(t.Context(), "live", "a", ddl.StreamingTable, false))
}

func TestCommentsAreNoTextAndANewDatabaseIsOne(t *testing.T) {
	l := newLab(t)
	l.plain("src", columnsOf("n"))
	l.star("SELECT n FROM `stream:src` AS `src`", "stream:src")
	l.must("CREATE STREAMING TABLE a AS SELECT n -- don't\n FROM STREAM(src)")
	version := l.table("a").Snapshot().Version()
	l.must("CREATE STREAMING TABLE a AS SELECT n FROM STREAM(src) -- mind")
	require.Equal(t, version, l.table("a").Snapshot().Version())
	require.ErrorContains(t, l.create("CREATE STREAMING TABLE a AS SELECT n -- FROM STREAM(src)"), "no STREAM source", "a comment that swallows the rest is another text")
	require.NoError(t, l.store.CreateDatabase("other"))
	_, err := l.store.Create(t.Context(), "other", "src", tables.Definition{Schema: columnsOf("n")})
	require.NoError(t, err)
	statement, err := ddl.Parse("CREATE STREAMING TABLE live.a AS SELECT n FROM STREAM(src)")
	require.NoError(t, err)
	changed, err := l.graph.Create(t.Context(), statement.(*ddl.Create), "other", "/base")
	require.NoError(t, err)
	require.True(t, changed, "src is another table now")
	require.Equal(t, []string{"other.src"}, l.status("a").Sources)
}

// TestABatchThatBreaksItsPromiseIsPlannedAnew within the same step, and what it counted before is forgotten.
func TestABatchThatBreaksItsPromiseIsPlannedAnew(t *testing.T) {
	l := newLab(t)
	l.define("SELECT n FROM `files:1` AS `files_1`", columnsOf("n"), func(in func(string) []row) []row { return in("files:1") })
	l.must("CREATE STREAMING TABLE bronze AS SELECT n FROM STREAM read_files('in')")
	l.drop("in", file{columns: []string{"n"}, rows: values("n", 1, 2)})
	broken := 0
	l.setHook(func(point, _ string) error {
		if point == "record" && broken < 2 || point == "again" {
			broken++
			return errUnlike
		}
		return nil
	})
	var batches []Progress
	require.NoError(t, l.graph.RunOnce(t.Context(), func(p Progress) { batches = append(batches, p) }))
	require.Equal(t, []any{int64(1), int64(2)}, l.column("bronze", "n"))
	require.Positive(t, broken)
	require.Len(t, batches, 1)
	require.EqualValues(t, 2, batches[0].RowsOut)
	require.EqualValues(t, 2, batches[0].RowsIn)
}
