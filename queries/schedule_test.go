package queries

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"smelt/queries/ddl"
	"smelt/tables"
)

// alterFlow runs ALTER of a flow's table.
func (l *lab) alterFlow(sql string) error {
	l.t.Helper()
	statement, err := ddl.Parse(sql)
	require.NoError(l.t, err, sql)
	require.IsType(l.t, &ddl.OnFlow{}, statement, sql)
	return l.graph.Alter(context.Background(), statement.(*ddl.OnFlow), "live", "/base")
}

func scheduleLab(t *testing.T) *lab {
	l := newLab(t)
	l.plain("src", columnsOf("n"))
	l.star("SELECT n FROM src", "live.src")
	l.star("SELECT n FROM `stream:src` AS `src`", "stream:src")
	return l
}

func TestSchedulesRunWhenTheyAreDue(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := scheduleLab(t)
		l.must("CREATE STREAMING TABLE hourly SCHEDULE EVERY 1 HOUR AS SELECT n FROM STREAM(src)")
		l.must("CREATE MATERIALIZED VIEW nightly SCHEDULE CRON '0 0 2 * * ?' AS SELECT n FROM src")
		l.insert("src", values("n", 1)...)
		l.graph.Start()
		synctest.Wait()
		began := time.Now()
		require.Len(t, l.rows("hourly"), 1, "it is filled once at the start")
		require.Len(t, l.rows("nightly"), 1)
		require.Equal(t, "SCHEDULE EVERY 1 HOUR", l.status("hourly").Schedule)
		require.Equal(t, began.Add(time.Hour), l.status("hourly").Next)
		two := l.status("nightly").Next
		require.Equal(t, 2, two.UTC().Hour())

		l.insert("src", values("n", 2)...)
		wait(59 * time.Minute)
		synctest.Wait()
		require.Len(t, l.rows("hourly"), 1, "a change does not wake it")
		wait(2 * time.Minute)
		synctest.Wait()
		require.Len(t, l.rows("hourly"), 2)

		l.insert("src", values("n", 3)...)
		require.NoError(t, l.graph.Refresh(context.Background(), "live", "hourly", false))
		require.Len(t, l.rows("hourly"), 3, "REFRESH does not wait")
		require.Len(t, l.rows("nightly"), 1)
		wait(time.Until(two) + time.Minute)
		synctest.Wait()
		require.Len(t, l.rows("nightly"), 3)

		// A restart keeps the schedule; what became due meanwhile is done at once.
		l.insert("src", values("n", 4)...)
		l.reopen()
		l.graph.Start()
		synctest.Wait()
		require.Len(t, l.rows("nightly"), 3, "not due")
		l.reopen()
		wait(25 * time.Hour)
		l.graph.Start()
		synctest.Wait()
		require.Len(t, l.rows("nightly"), 4, "it was due while nobody was there")
	})
}

func TestATriggerRunsAtMostSoOften(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := scheduleLab(t)
		l.must("CREATE STREAMING TABLE t TRIGGER ON UPDATE AT MOST EVERY INTERVAL 10 MINUTES AS SELECT n FROM STREAM(src)")
		l.must("CREATE STREAMING TABLE p TBLPROPERTIES ('pipelines.trigger.interval' = '10 minutes') AS SELECT n FROM STREAM(src)")
		l.graph.Start()
		synctest.Wait()
		runs := l.runsOf("SELECT n FROM `stream:src` AS `src`")
		wait(30 * time.Second) // so that no change comes in the moment of a run
		for i := range int64(60) {
			l.insert("src", values("n", i)...)
			wait(time.Minute)
		}
		synctest.Wait()
		// Two tables, six intervals in an hour.
		require.InDelta(t, 2*6, l.runsOf("SELECT n FROM `stream:src` AS `src`")-runs, 2)
		wait(10 * time.Minute)
		synctest.Wait()
		require.Len(t, l.rows("t"), 60)
		require.Len(t, l.rows("p"), 60)
		runs = l.runsOf("SELECT n FROM `stream:src` AS `src`")
		wait(24 * time.Hour)
		require.Equal(t, runs, l.runsOf("SELECT n FROM `stream:src` AS `src`"), "without a change nothing runs")
	})
	l := scheduleLab(t)
	require.ErrorContains(t, l.create("CREATE STREAMING TABLE p TBLPROPERTIES ('pipelines.trigger.interval' = 'often') AS SELECT n FROM STREAM(src)"), `interval "often"`)
}

func TestSuspendAndResume(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := scheduleLab(t)
		l.must("CREATE STREAMING TABLE t AS SELECT n FROM STREAM(src)")
		require.NoError(t, l.add("CREATE FLOW more AS INSERT INTO t SELECT n FROM STREAM(src)"))
		l.graph.Start()
		synctest.Wait()
		require.NoError(t, l.alterFlow("ALTER STREAMING TABLE t SUSPEND"))
		l.insert("src", values("n", 1)...)
		wait(time.Hour)
		synctest.Wait()
		require.Empty(t, l.rows("t"))
		require.Equal(t, "suspended", l.status("t").State)
		l.reopen()
		require.Equal(t, "suspended", l.status("t").State)
		l.must("CREATE OR REFRESH STREAMING TABLE t COMMENT 'another definition' AS SELECT n FROM STREAM(src)")
		l.graph.Start()
		wait(time.Hour)
		synctest.Wait()
		require.Empty(t, l.rows("t"), "a restart and another definition keep it")
		require.NoError(t, l.graph.Refresh(context.Background(), "live", "t", false))
		synctest.Wait()
		require.Len(t, l.rows("t"), 2, "REFRESH is the user's word: both flows")
		require.Equal(t, "suspended", l.status("t").State)
		l.insert("src", values("n", 2)...)
		require.NoError(t, l.graph.RefreshAll(context.Background(), false))
		wait(time.Hour)
		require.Len(t, l.rows("t"), 2, "REFRESH ALL leaves it alone")
		require.NoError(t, l.alterFlow("ALTER STREAMING TABLE t RESUME"))
		synctest.Wait()
		require.Len(t, l.rows("t"), 4)
		require.Equal(t, "idle", l.status("t").State)
	})
}

func TestAlterOutlivesTheReloadOfThePipeline(t *testing.T) {
	l := scheduleLab(t)
	l.star("SELECT n FROM src WHERE TRUE", "live.src")
	const script = "CREATE MATERIALIZED VIEW v AS SELECT n FROM src"
	require.NoError(t, l.load(script))
	l.insert("src", values("n", 1)...)
	l.settle()
	require.NoError(t, l.alterFlow("ALTER MATERIALIZED VIEW v ADD SCHEDULE EVERY 1 DAY"))
	require.NoError(t, l.alterFlow("ALTER MATERIALIZED VIEW v AS SELECT n FROM src WHERE TRUE"))
	l.reopen()
	require.NoError(t, l.load(script))
	require.Equal(t, "SCHEDULE EVERY 1 DAY", l.status("v").Schedule, "the same script does not take the ALTER back")
	require.Contains(t, l.status("v").Statement, "WHERE TRUE")
	require.NoError(t, l.alterFlow("ALTER MATERIALIZED VIEW v DROP SCHEDULE"))
	require.Empty(t, l.status("v").Schedule)
	require.ErrorContains(t, l.alterFlow("ALTER MATERIALIZED VIEW v DROP SCHEDULE"), "it has no schedule")
	require.NoError(t, l.load("CREATE MATERIALIZED VIEW v COMMENT 'other' AS SELECT n FROM src"))
	require.NotContains(t, l.status("v").Statement, "WHERE TRUE", "another script counts")
	require.ErrorIs(t, l.alterFlow("ALTER MATERIALIZED VIEW v AS SELECT n FROM v"), ErrCycle)
	require.ErrorIs(t, l.alterFlow("ALTER STREAMING TABLE v SUSPEND"), ErrNotFlow)
	require.ErrorIs(t, l.alterFlow("ALTER MATERIALIZED VIEW nosuch SUSPEND"), tables.ErrNotFound)
}

func TestRename(t *testing.T) {
	l := scheduleLab(t)
	l.star("SELECT n FROM `stream:t` AS `t`", "stream:t")
	l.star("SELECT * FROM `files:1` AS `files_1`", "files:1")
	l.must("CREATE STREAMING TABLE t AS SELECT n FROM STREAM(src)")
	require.NoError(t, l.add("CREATE FLOW files AS INSERT INTO t SELECT * FROM STREAM read_files('in')"))
	l.insert("src", values("n", 1)...)
	l.drop("in", file{columns: []string{"n"}, rows: values("n", 7)})
	l.settle()
	l.must("CREATE STREAMING TABLE u AS SELECT n FROM STREAM(t)")
	require.ErrorContains(t, l.alterFlow("ALTER STREAMING TABLE t RENAME TO w"), "live.u read it")
	require.NoError(t, l.graph.Drop(context.Background(), "live", "u", ddl.StreamingTable, false))
	require.ErrorIs(t, l.alterFlow("ALTER STREAMING TABLE t RENAME TO src"), tables.ErrExists)
	require.NoError(t, l.alterFlow("ALTER STREAMING TABLE t RENAME TO w"))
	l.insert("src", values("n", 2)...)
	l.settle()
	require.Equal(t, []int64{1, 2, 7}, l.sorted("w", "n"), "it goes on where it was")
	require.Contains(t, l.status("w").Statement, "`w`")
	_, err := l.store.Table("live", "t")
	require.ErrorIs(t, err, tables.ErrNotFound)
	l.reopen()
	l.settle()
	require.Equal(t, []int64{1, 2, 7}, l.sorted("w", "n"))
	require.Len(t, l.graph.Flows(), 2)
	l.must("CREATE STREAMING TABLE t AS SELECT n FROM STREAM(src)")
	l.settle()
	require.Equal(t, []int64{1, 2}, l.sorted("t", "n"))
}

func TestRefreshLater(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := scheduleLab(t)
		l.must("CREATE STREAMING TABLE t SCHEDULE EVERY 1 WEEK AS SELECT n FROM STREAM(src)")
		require.ErrorContains(t, l.graph.RefreshLater("live", "t", false), "the flows do not run")
		l.insert("src", values("n", 1)...)
		l.graph.Start()
		synctest.Wait()
		l.insert("src", values("n", 2)...)
		require.ErrorIs(t, l.graph.RefreshLater("live", "nosuch", false), tables.ErrNotFound)
		require.NoError(t, l.graph.RefreshLater("", "", true))
		synctest.Wait()
		require.Len(t, l.rows("t"), 2)
	})
}
