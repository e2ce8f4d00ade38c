package queries

import (
	"context"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"smelt/queries/ddl"
	"smelt/tables"
)

// add runs CREATE FLOW and the like.
func (l *lab) add(sql string) error {
	l.t.Helper()
	statement, err := ddl.Parse(sql)
	require.NoError(l.t, err, sql)
	require.IsType(l.t, &ddl.Flow{}, statement, sql)
	_, err = l.graph.AddFlow(context.Background(), statement.(*ddl.Flow), "live", "/base")
	return err
}

// sorted returns a column of whole numbers in order.
func (l *lab) sorted(table, column string) []int64 {
	l.t.Helper()
	out := []int64{}
	for _, v := range l.column(table, column) {
		n, _ := v.(int64)
		out = append(out, n)
	}
	slices.Sort(out)
	return out
}

func twoSources(t *testing.T) *lab {
	l := newLab(t)
	l.plain("x", columnsOf("n"))
	l.plain("y", columnsOf("n"))
	for _, name := range []string{"x", "y", "t"} {
		l.star("SELECT n FROM `stream:"+name+"` AS `"+name+"`", "stream:"+name)
	}
	l.define("SELECT n + 100 AS n FROM `stream:y` AS `y`", columnsOf("n"), func(in func(string) []row) []row {
		var out []row
		for _, r := range in("stream:y") {
			out = append(out, row{"n": r["n"].(int64) + 100})
		}
		return out
	})
	return l
}

func TestSeveralFlowsIntoOneTable(t *testing.T) {
	l := twoSources(t)
	l.must("CREATE STREAMING TABLE t")
	require.Empty(t, l.table("t").Snapshot().Schema())
	require.NoError(t, l.add("CREATE FLOW one AS INSERT INTO t BY NAME SELECT n FROM STREAM(x)"))
	require.Equal(t, []string{"n"}, l.table("t").Snapshot().Schema().Names(), "the first flow gives the columns")
	require.NoError(t, l.add("INSERT INTO t SELECT n FROM STREAM(y)"))
	l.insert("x", values("n", 1, 2)...)
	l.insert("y", values("n", 11)...)
	l.settle()
	require.Equal(t, []int64{1, 2, 11}, l.sorted("t", "n"))
	l.settle()
	l.reopen()
	l.settle()
	require.Equal(t, []int64{1, 2, 11}, l.sorted("t", "n"), "each row once, after a restart too")
	var names []string
	for _, s := range l.graph.Flows() {
		names = append(names, s.Table+"/"+s.Flow)
	}
	require.Equal(t, []string{"t/", "t/one", "t/t_from_y"}, names)

	// Changed: it goes on where it was, and what stands stays.
	require.NoError(t, l.add("CREATE FLOW t_from_y AS INSERT INTO t SELECT n + 100 AS n FROM STREAM(y)"))
	l.insert("y", values("n", 12)...)
	l.settle()
	require.Equal(t, []int64{1, 2, 11, 112}, l.sorted("t", "n"))

	// Dropped: its rows stay, and made again under its name it reads no row twice.
	require.NoError(t, l.graph.DropFlow(context.Background(), "live", "T_FROM_Y", false))
	require.ErrorIs(t, l.graph.DropFlow(context.Background(), "live", "t_from_y", false), tables.ErrNotFound)
	require.NoError(t, l.graph.DropFlow(context.Background(), "live", "t_from_y", true))
	l.insert("y", values("n", 13)...)
	l.insert("x", values("n", 3)...)
	l.settle()
	require.Equal(t, []int64{1, 2, 3, 11, 112}, l.sorted("t", "n"))
	l.reopen()
	require.Len(t, l.graph.Flows(), 2)
	require.NoError(t, l.add("INSERT INTO t SELECT n FROM STREAM(y)"))
	l.settle()
	require.Equal(t, []int64{1, 2, 3, 11, 13, 112}, l.sorted("t", "n"))

	// From the start: all flows begin anew, and today's SELECTs count.
	require.NoError(t, l.graph.Refresh(context.Background(), "live", "t", true))
	require.Equal(t, []int64{1, 2, 3, 11, 12, 13}, l.sorted("t", "n"))
	for _, s := range l.graph.Flows() {
		require.Equal(t, "idle", s.State)
	}
	require.NoError(t, l.graph.Drop(context.Background(), "live", "t", ddl.StreamingTable, false))
	require.Empty(t, l.graph.Flows())
}

func TestAFlowThatFailsHoldsNoOtherUp(t *testing.T) {
	l := twoSources(t)
	l.exprs["n < 10"] = func(r row) any { return r["n"].(int64) < 10 }
	l.must("CREATE STREAMING TABLE t (CONSTRAINT small EXPECT (n < 10) ON VIOLATION FAIL UPDATE)")
	require.NoError(t, l.add("CREATE FLOW one AS INSERT INTO t SELECT n FROM STREAM(x)"))
	require.NoError(t, l.add("CREATE FLOW two AS INSERT INTO t SELECT n FROM STREAM(y)"))
	l.insert("x", values("n", 1)...)
	l.insert("y", values("n", 11)...)
	require.ErrorIs(t, l.graph.RunOnce(context.Background(), nil), ErrExpectation, "the rules of the table are those of its flows")
	require.Equal(t, []int64{1}, l.sorted("t", "n"))
	// Other rules for the table are other rules for its flows at once.
	l.must("CREATE STREAMING TABLE t")
	l.settle()
	require.Equal(t, []int64{1, 11}, l.sorted("t", "n"))
}

func TestATableWithASelectOfItsOwnTakesFlowsToo(t *testing.T) {
	l := twoSources(t)
	l.star("SELECT * FROM `files:1` AS `files_1`", "files:1")
	l.must("CREATE STREAMING TABLE t AS SELECT n FROM STREAM(x)")
	require.NoError(t, l.add("CREATE FLOW files AS INSERT INTO t SELECT * FROM STREAM read_files('in')"))
	l.drop("in", file{columns: []string{"n", "m"}, rows: []row{{"n": int64(7), "m": int64(70)}}})
	l.insert("x", values("n", 1)...)
	l.settle()
	require.Equal(t, []int64{1, 7}, l.sorted("t", "n"))
	require.Equal(t, []string{"n", "m"}, l.table("t").Snapshot().Schema().Names())
	l.reopen()
	l.settle()
	require.Equal(t, []int64{1, 7}, l.sorted("t", "n"), "its ledger is its own and survives")
	// Another SELECT of the table itself starts the whole table over, its flows as well.
	l.star("SELECT n FROM `stream:x` AS `x` WHERE TRUE", "stream:x")
	l.must("CREATE STREAMING TABLE t AS SELECT n FROM STREAM(x) WHERE TRUE")
	l.settle()
	require.Equal(t, []int64{1, 7}, l.sorted("t", "n"))
	// A source that is rebuilt does so, too.
	require.NoError(t, l.store.Drop(context.Background(), "live", "x"))
	l.plain("x", columnsOf("n"))
	l.insert("x", values("n", 5)...)
	l.settle()
	require.Equal(t, []int64{5, 7}, l.sorted("t", "n"))
}

func TestFlowsThatAreRefused(t *testing.T) {
	l := twoSources(t)
	l.must("CREATE STREAMING TABLE t AS SELECT n FROM STREAM(x)")
	l.must("CREATE STREAMING TABLE u AS SELECT n FROM STREAM(t)")
	l.star("SELECT n FROM `stream:u` AS `u`", "stream:u")
	l.star("SELECT n AS m FROM `stream:y` AS `y`", "stream:y")
	require.ErrorIs(t, l.add("INSERT INTO t SELECT n FROM STREAM(u)"), ErrCycle)
	require.ErrorIs(t, l.add("INSERT INTO nowhere SELECT n FROM STREAM(x)"), tables.ErrNotFound)
	require.ErrorIs(t, l.add("INSERT INTO x SELECT n FROM STREAM(y)"), ErrNotFlow)
	require.ErrorContains(t, l.add("INSERT INTO t SELECT n FROM STREAM(y) ORDER BY n"), "ORDER BY over a stream")
	require.ErrorContains(t, l.add("CREATE FLOW u AS INSERT INTO t SELECT n FROM STREAM(y)"), "u is the name of a table")
	require.NoError(t, l.add("CREATE FLOW f AS INSERT INTO t SELECT n FROM STREAM(y)"))
	require.ErrorIs(t, l.add("CREATE FLOW f AS INSERT INTO u SELECT n FROM STREAM(y)"), tables.ErrExists)
	require.NoError(t, l.add("CREATE FLOW IF NOT EXISTS f AS INSERT INTO t SELECT n FROM STREAM(x)"))
	require.ErrorContains(t, l.graph.Drop(context.Background(), "live", "t", ddl.StreamingTable, false), "live.u read it")
	l.insert("y", values("n", 4)...)
	l.settle()
	require.Equal(t, []int64{4}, l.sorted("u", "n"))
}

func TestAPipelineWithFlowsInAnyOrder(t *testing.T) {
	l := twoSources(t)
	l.define("SELECT COUNT(*) AS c FROM t", columnsOf("c"), func(in func(string) []row) []row { return []row{{"c": int64(len(in("live.t")))}} })
	script := `CREATE MATERIALIZED VIEW m AS SELECT COUNT(*) AS c FROM t;
INSERT INTO t SELECT n FROM STREAM(y); CREATE FLOW one AS INSERT INTO t BY NAME SELECT n FROM STREAM(x); CREATE STREAMING TABLE t;`
	require.NoError(t, l.load(script))
	l.insert("x", values("n", 1)...)
	l.insert("y", values("n", 2)...)
	l.settle()
	require.Equal(t, []int64{1, 2}, l.sorted("t", "n"))
	require.Equal(t, []any{int64(2)}, l.column("m", "c"))
	version := l.table("t").Snapshot().Version()
	require.NoError(t, l.load(script))
	require.Equal(t, version, l.table("t").Snapshot().Version(), "the same script does nothing")
}

// TestSeveralFlowsThroughKillsAndChanges is the law for flows into one table: each row of each source once, whatever is
// added, dropped, made again, killed and restarted.
func TestSeveralFlowsThroughKillsAndChanges(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	l := twoSources(t)
	l.star("SELECT * FROM `files:1` AS `files_1`", "files:1")
	l.must("CREATE STREAMING TABLE t AS SELECT n FROM STREAM(x)")
	flows := []string{"CREATE FLOW one AS INSERT INTO t SELECT n FROM STREAM(y)", "CREATE FLOW two AS INSERT INTO t SELECT * FROM STREAM read_files('in')"}
	there := map[int]bool{}
	kills, n := 0, int64(0)
	var want []int64
	for step := range 60 {
		for range 1 + r.IntN(3) {
			n++
			want = append(want, n)
			switch r.IntN(3) {
			case 0:
				l.insert("x", values("n", n)...)
			case 1:
				l.insert("y", values("n", n)...)
			default:
				l.drop("in", file{columns: []string{"n"}, rows: values("n", n)})
			}
		}
		i, what := r.IntN(2), r.IntN(6)
		if kills == 0 {
			what = 2 // until one hits
		}
		switch what {
		case 0:
			if there[i] {
				require.NoError(t, l.graph.DropFlow(context.Background(), "live", []string{"one", "two"}[i], false))
			} else {
				require.NoError(t, l.add(flows[i]))
			}
			there[i] = !there[i]
		case 1:
			l.reopen()
		case 2:
			kills += l.diesIn(r.IntN(10))
		case 4:
			_, _ = l.doubtful(r, l.runOnce)
		case 3:
			if there[0] && there[1] { // what a dropped flow wrote would go with the old content
				require.NoError(t, l.graph.Refresh(context.Background(), "live", "t", true))
			}
		}
		l.settle()
		if there[0] && there[1] {
			require.Equal(t, want, l.sorted("t", "n"), "seed %d, step %d", seed, step)
		}
	}
	for i, statement := range flows {
		if !there[i] {
			require.NoError(t, l.add(statement))
		}
	}
	l.settle()
	require.Equal(t, want, l.sorted("t", "n"), "seed %d", seed)
	require.Positive(t, kills, "no kill hit: the test proves nothing")
}
