package queries

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"smelt/queries/ddl"
	"smelt/tables"
	"smelt/tables/vfs"
)

// commitPoints is a file system that stops at each commit of a table, before it and behind it.
type commitPoints struct {
	vfs.FS
	lab *lab
}

func (f *commitPoints) Link(from, to string) error {
	if filepath.Base(filepath.Dir(to)) != "_delta_log" {
		return f.FS.Link(from, to)
	}
	if err := f.lab.at("commit", to); err != nil {
		return err
	}
	if err := f.FS.Link(from, to); err != nil {
		return err
	}
	return f.lab.at("linked", to)
}

// onCommits has the lab stop at commits, too.
func (l *lab) onCommits() {
	l.t.Helper()
	require.NoError(l.t, l.graph.Close(context.Background()))
	require.NoError(l.t, l.store.Close())
	l.fs = &commitPoints{FS: l.lost, lab: l}
	l.open()
}

// held returns what is in the quarantine of a table, and checks that nothing else is left there.
func (l *lab) held(name string) []row {
	l.t.Helper()
	if _, err := l.store.Table("live", name+QuarantineSuffix); err != nil {
		return nil
	}
	s := spanOf(l.table(name).Snapshot())
	rows := l.rows(name + QuarantineSuffix)
	for _, r := range rows {
		require.GreaterOrEqual(l.t, r[columnSince], s.from, "row %v of a time before", r)
		require.LessOrEqual(l.t, r[columnSince], s.moved, "row %v of a batch that never was", r)
		require.Nil(l.t, r[columnUntil], "row %v is marked", r)
	}
	return rows
}

// sortedOf returns one column of rows, sorted.
func sortedOf(rows []row, column string) []int64 {
	out := []int64{}
	for _, r := range rows {
		out = append(out, r[column].(int64))
	}
	slices.Sort(out)
	return out
}

// dividing is a rule: NULL and what the number divides violate it.
func (l *lab) dividing(by int64) string {
	rule := fmt.Sprintf("n %% %d <> 0", by)
	l.exprs[rule] = func(r row) any {
		if r["n"] == nil {
			return nil
		}
		return r["n"].(int64)%by != 0
	}
	return rule
}

// quarantineLab is a pipeline with a quarantine behind files, behind a stream and behind a view.
func quarantineLab(t *testing.T) *lab {
	l := newLab(t)
	l.onCommits()
	l.paths = true
	withPath := append(columnsOf("n"), tables.Field{Name: "source_file", Type: text})
	l.define(selectBronze, withPath, func(in func(string) []row) []row { return in("files:1") })
	l.define("SELECT n FROM `stream:bronze` AS `bronze`", columnsOf("n"), func(in func(string) []row) []row { return pick(in("stream:bronze"), "n") })
	l.define("SELECT n FROM silver", columnsOf("n"), func(in func(string) []row) []row { return pick(in("live.silver"), "n") })
	l.must("CREATE STREAMING TABLE bronze (CONSTRAINT a EXPECT (" + l.dividing(5) + ") ON VIOLATION QUARANTINE) AS SELECT n, source_file FROM STREAM read_files('in')")
	l.must("CREATE STREAMING TABLE silver (CONSTRAINT a EXPECT (" + l.dividing(3) + ") ON VIOLATION QUARANTINE, CONSTRAINT b EXPECT (" + l.dividing(7) +
		") ON VIOLATION DROP ROW) AS SELECT n FROM STREAM(bronze)")
	l.must("CREATE MATERIALIZED VIEW v (CONSTRAINT a EXPECT (" + l.dividing(2) + ") ON VIOLATION QUARANTINE) AS SELECT n FROM silver")
	return l
}

func pick(rows []row, columns ...string) []row {
	var out []row
	for _, r := range rows {
		one := row{}
		for _, c := range columns {
			one[c] = r[c]
		}
		out = append(out, one)
	}
	return out
}

// checkQuarantines compares tables and quarantines with the rows that were dropped. dropped says that silver may drop those
// that 7 divides.
func checkQuarantines(t *testing.T, l *lab, files []int64) {
	t.Helper()
	slices.Sort(files)
	bronze, silver, view := l.rows("bronze"), l.rows("silver"), l.rows("v")
	require.Equal(t, files, sortedOf(slices.Concat(bronze, l.held("bronze")), "n"), "bronze and its quarantine hold each row of each file once")
	got := sortedOf(slices.Concat(silver, l.held("silver")), "n")
	want := slices.DeleteFunc(sortedOf(bronze, "n"), func(n int64) bool { return n%7 == 0 && n%3 != 0 })
	require.Equal(t, want, slices.DeleteFunc(got, func(n int64) bool { return n%7 == 0 && n%3 != 0 }), "silver and its quarantine hold each row of bronze once")
	require.Equal(t, sortedOf(silver, "n"), sortedOf(slices.Concat(view, l.held("v")), "n"))
	for _, r := range view {
		require.NotZero(t, r["n"].(int64)%2, "view")
	}
	for _, r := range l.held("v") {
		require.Zero(t, r["n"].(int64)%2, "quarantine of the view")
	}
}

func TestRowsGoIntoQuarantineWithTheirReason(t *testing.T) {
	l := quarantineLab(t)
	l.drop("in", file{columns: []string{"n"}, rows: append(values("n", 1, 5, 6, 21), row{"n": nil})})
	l.settle()
	held := l.held("bronze")
	require.Len(t, held, 2)
	require.Equal(t, row{"n": int64(5), "source_file": "0", columnRules: "[a]", columnReason: "a EXPECT (n % 5 <> 0)", columnSource: "0",
		columnTime: held[0][columnTime], columnSince: int64(1), columnUntil: nil}, held[0])
	require.Nil(t, held[1]["n"], "NULL violates")
	require.WithinDuration(t, time.Now(), time.UnixMicro(held[0][columnTime].(int64)), time.Minute)
	silver := l.held("silver")
	require.Equal(t, []int64{6, 21}, sortedOf(silver, "n"))
	require.Equal(t, "[a;b]", silver[1][columnRules], "it violates both rules, and is kept")
	require.Equal(t, "live.bronze version 1", silver[0][columnSource])
	p := newest(t, l, "silver")
	require.Equal(t, []ExpectationCount{{"a", "quarantine", 1, 2, 0}, {"b", "drop row", 2, 1, 0}}, p.Expectations)
	require.EqualValues(t, 2, p.Quarantined)
	require.Zero(t, p.Dropped)
	list, err := l.graph.Quarantined(t.Context(), "live", "")
	require.NoError(t, err)
	require.Len(t, list, 3)
	require.Equal(t, "a EXPECT (n % 5 <> 0)", list[0].Reason)
	require.EqualValues(t, 2, list[0].Rows)
}

func newest(t *testing.T, l *lab, name string) Progress {
	t.Helper()
	history, err := l.table(name).History(t.Context(), 0)
	require.NoError(t, err)
	for _, c := range history {
		if p, ok := ProgressOf(c); ok {
			return p
		}
	}
	t.Fatalf("no batch of %s", name)
	return Progress{}
}

func (l *lab) replay(name, where string) (moved, kept int64) {
	l.t.Helper()
	moved, kept, err := l.graph.Replay(l.t.Context(), &ddl.OnRules{Verb: "REPLAY QUARANTINE", Name: name, Where: where}, "live")
	require.NoError(l.t, err)
	return moved, kept
}

func (l *lab) alter(verb, name, rule string) {
	l.t.Helper()
	s := &ddl.OnRules{Verb: verb + " CONSTRAINT", Name: name, Rule: ddl.Expectation{Name: "a", Expr: rule, Action: ddl.Quarantine}}
	require.NoError(l.t, l.graph.AlterRules(context.Background(), s, "live"))
}

func TestReplayMovesWhatPassesAndKeepsTheRest(t *testing.T) {
	l := quarantineLab(t)
	l.drop("in", file{columns: []string{"n"}, rows: values("n", 1, 5, 10, 15)})
	l.settle()
	moved, kept := l.replay("bronze", "")
	require.EqualValues(t, []int64{0, 3}, []int64{moved, kept}, "under the same rules nothing moves")
	l.alter("DROP", "bronze", "")
	l.alter("ADD", "bronze", l.dividing(10))
	l.exprs["n < 15"] = func(r row) any { return r["n"].(int64) < 15 }
	moved, kept = l.replay("bronze", "n < 15")
	require.EqualValues(t, []int64{1, 1}, []int64{moved, kept})
	held := l.held("bronze")
	require.Equal(t, []int64{10, 15}, sortedOf(held, "n"))
	reasons := []any{}
	for _, r := range held {
		reasons = append(reasons, r[columnReason])
	}
	require.ElementsMatch(t, []any{"a EXPECT (n % 10 <> 0)", "a EXPECT (n % 5 <> 0)"}, reasons, "those that were judged have their new reason")
	l.settle()
	require.Equal(t, []int64{1, 5}, sortedOf(l.rows("silver"), "n"), "the stream behind sees a new row")
	moved, kept = l.replay("bronze", "")
	require.EqualValues(t, []int64{1, 1}, []int64{moved, kept})
	p := newest(t, l, "bronze")
	require.Equal(t, strategyReplay, p.Strategy)
	require.EqualValues(t, 1, p.RowsOut)
	l.settle()
	checkQuarantines(t, l, []int64{1, 5, 10, 15})
	_, _, err := l.graph.Replay(t.Context(), &ddl.OnRules{Name: "v"}, "live")
	require.ErrorContains(t, err, "REFRESH it")
}

func TestAQuarantineGoesWithItsTableAndItsContent(t *testing.T) {
	l := quarantineLab(t)
	l.drop("in", file{columns: []string{"n"}, rows: values("n", 1, 5, 6)})
	l.settle()
	l.star("SELECT n FROM v__quarantine", "live.v__quarantine")
	l.must("CREATE MATERIALIZED VIEW w AS SELECT n FROM v__quarantine")
	require.ErrorContains(t, l.graph.Drop(t.Context(), "live", "v", ddl.MaterializedView, false), "live.w read it")
	require.NoError(t, l.graph.Drop(t.Context(), "live", "w", ddl.MaterializedView, false))
	require.NoError(t, l.graph.Refresh(t.Context(), "live", "bronze", true))
	l.settle()
	checkQuarantines(t, l, []int64{1, 5, 6})
	require.NoError(t, l.graph.Drop(t.Context(), "live", "v", ddl.MaterializedView, false))
	_, err := l.store.Table("live", "v"+QuarantineSuffix)
	require.ErrorIs(t, err, tables.ErrNotFound)
	l.must("CREATE MATERIALIZED VIEW v (CONSTRAINT a EXPECT (" + l.dividing(2) + ") ON VIOLATION QUARANTINE) AS SELECT n FROM silver")
	l.settle()
	require.NoError(t, l.store.Drop(t.Context(), "live", "v")) // killed between the two
	l.kill(l.image())
	l.settle()
	_, err = l.store.Table("live", "v"+QuarantineSuffix)
	require.ErrorIs(t, err, tables.ErrNotFound, "no quarantine stays without its table")
	l.plain("v"+QuarantineSuffix, columnsOf("n"))
	err = l.create("CREATE MATERIALIZED VIEW v (CONSTRAINT a EXPECT (" + l.dividing(2) + ") ON VIOLATION QUARANTINE) AS SELECT n FROM silver")
	require.ErrorIs(t, err, tables.ErrExists)
	l.define("SELECT n AS _quarantine_rules FROM silver", columnsOf("_quarantine_rules"), func(func(string) []row) []row { return nil })
	err = l.create("CREATE MATERIALIZED VIEW x (CONSTRAINT a EXPECT (" + l.dividing(2) + ") ON VIOLATION QUARANTINE) AS SELECT n AS _quarantine_rules FROM silver")
	require.ErrorContains(t, err, "belong to the quarantine")
}

// TestQuarantinesHoldTheLawAfterKillsAtAnyPoint drops, unloads and reloads files, changes rules, replays, refreshes in full,
// kills the process between any two commits, and checks after each round that table and quarantine hold each row once.
func TestQuarantinesHoldTheLawAfterKillsAtAnyPoint(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	l := quarantineLab(t)
	d := &landing{lab: l, out: map[int]bool{}}
	d.drop(1)
	kills, doubts, replays, moves, rounds := 0, 0, 0, int64(0), 50
	if testing.Short() {
		rounds = 25
	}
	for range rounds {
		for range r.IntN(4) {
			d.drop(r.IntN(9))
		}
		switch r.IntN(9) {
		case 0, 1:
			kills += killedRun(t, l, r)
		case 2:
			name := []string{"bronze", "silver", "v"}[r.IntN(3)]
			if killedWhile(l, r, func() error { return l.graph.Refresh(context.Background(), "live", name, r.IntN(2) > 0) }) {
				kills++
			}
		case 3:
			l.reopen()
		case 4:
			if d.onFile(t, r) {
				kills++
			}
		case 5:
			lost, _ := l.doubtful(r, l.runOnce)
			doubts += lost
		default:
			name := []string{"bronze", "silver"}[r.IntN(2)]
			if r.IntN(2) == 0 {
				l.alter("DROP", name, "")
				l.alter("ADD", name, l.dividing([]int64{3, 5, 10, 4}[r.IntN(4)]))
			}
			before := l.table(name).Snapshot().Rows()
			if killedWhile(l, r, func() error {
				_, _, err := l.graph.Replay(context.Background(), &ddl.OnRules{Name: name}, "live")
				return err
			}) {
				kills++
			}
			replays++
			moves += l.table(name).Snapshot().Rows() - before
		}
		l.settle()
		checkLoose(t, l, d.all())
	}
	t.Logf("%d kills, %d lost answers, %d replays moved %d rows", kills, doubts, replays, moves)
	require.Positive(t, kills, "no kill hit: the test proves nothing")
}

// checkLoose is checkQuarantines for rules that change: silver drops what 7 divides unless it is kept for another reason.
func checkLoose(t *testing.T, l *lab, files []int64) {
	t.Helper()
	slices.Sort(files)
	bronze, silver := l.rows("bronze"), l.rows("silver")
	require.Equal(t, files, sortedOf(slices.Concat(bronze, l.held("bronze")), "n"), "bronze and its quarantine hold each row of each file once")
	sevens := func(n int64) bool { return n%7 == 0 }
	got := slices.DeleteFunc(sortedOf(slices.Concat(silver, l.held("silver")), "n"), sevens)
	require.Equal(t, slices.DeleteFunc(sortedOf(bronze, "n"), sevens), got, "silver and its quarantine hold each row of bronze once")
	require.Equal(t, sortedOf(silver, "n"), sortedOf(slices.Concat(l.rows("v"), l.held("v")), "n"))
	for _, x := range l.held("v") {
		require.Zero(t, x["n"].(int64)%2, "quarantine of the view")
	}
}

// killedWhile kills the process at a random point of some work, and reports whether it did; now and then it does not, and answers
// of the disk are lost.
func killedWhile(l *lab, r *rand.Rand, work func() error) bool {
	if r.IntN(3) == 0 {
		if lost, err := l.doubtful(r, work); lost == 0 {
			require.NoError(l.t, err)
		}
		return false
	}
	image, countdown := "", 1+r.IntN(12)
	l.setHook(func(string, string) error {
		if countdown--; countdown == 0 {
			image = l.image()
		}
		if image != "" {
			return errKilled
		}
		return nil
	})
	err := work()
	l.setHook(nil)
	if image == "" {
		require.NoError(l.t, err)
		return false
	}
	l.kill(image)
	return true
}

// TestEveryPointOfAQuarantineMayBeTheLast kills at each point of a batch, of a replay and of a full refresh in turn.
func TestEveryPointOfAQuarantineMayBeTheLast(t *testing.T) {
	works := map[string]func(l *lab) error{
		"batch":        func(l *lab) error { return l.graph.RunOnce(context.Background(), nil) },
		"full refresh": func(l *lab) error { return l.graph.Refresh(context.Background(), "live", "bronze", true) },
		"replay": func(l *lab) error {
			_, _, err := l.graph.Replay(context.Background(), &ddl.OnRules{Name: "bronze"}, "live")
			return err
		},
		"unload": func(l *lab) error {
			_, err := l.graph.OnFile(context.Background(), &ddl.OnTable{Verb: "UNLOAD FILE", Name: "bronze", File: "0"}, "live")
			return err
		},
	}
	for name, work := range works {
		t.Run(name, func(t *testing.T) {
			for point := 1; ; point++ {
				l := quarantineLab(t)
				l.drop("in", file{columns: []string{"n"}, rows: values("n", 1, 5, 6, 10)})
				l.settle()
				l.alter("DROP", "bronze", "")
				l.alter("ADD", "bronze", l.dividing(10))
				l.drop("in", file{columns: []string{"n"}, rows: values("n", 2, 20, 25, 30)})
				image, count := "", 0
				l.setHook(func(string, string) error {
					if count++; count == point {
						image = l.image()
					}
					if image != "" {
						return errKilled
					}
					return nil
				})
				err := work(l)
				l.setHook(nil)
				if image == "" {
					require.NoError(t, err)
					require.Greater(t, point, 4)
					return
				}
				l.kill(image)
				l.settle()
				files := []int64{1, 5, 6, 10, 2, 20, 25, 30}
				if there := sortedOf(slices.Concat(l.rows("bronze"), l.held("bronze")), "n"); strings.HasPrefix(name, "un") && !slices.Contains(there, 1) {
					files = files[4:]
				}
				checkLoose(t, l, files)
			}
		})
	}
}

// TestAllFlowsOfATableShareItsQuarantine: CREATE FLOW obeys the rules of its table, and REPLAY moves rows of every flow.
func TestAllFlowsOfATableShareItsQuarantine(t *testing.T) {
	l := twoSources(t)
	l.must("CREATE STREAMING TABLE t (CONSTRAINT a EXPECT (" + l.dividing(3) + ") ON VIOLATION QUARANTINE, CONSTRAINT once EXPECT UNIQUE (n) ON VIOLATION QUARANTINE)")
	require.NoError(t, l.add("CREATE FLOW one AS INSERT INTO t BY NAME SELECT n FROM STREAM(x)"))
	require.NoError(t, l.add("INSERT INTO t SELECT n FROM STREAM(y)"))
	l.insert("x", values("n", 1, 2, 3)...)
	l.insert("y", values("n", 2, 4, 6)...)
	l.settle()
	require.Equal(t, []int64{1, 2, 4}, l.sorted("t", "n"))
	held := l.held("t")
	require.Equal(t, []int64{2, 3, 6}, sortedOf(held, "n"))
	sources := map[any]any{}
	for _, r := range held {
		sources[r["n"]] = r[columnSource]
	}
	require.Equal(t, map[any]any{int64(2): "live.y version 1", int64(3): "live.x version 1", int64(6): "live.y version 1"}, sources)
	list, err := l.graph.Quarantined(t.Context(), "live", "t")
	require.NoError(t, err)
	require.Len(t, list, 2)
	l.alter("DROP", "t", "")
	moved, kept := l.replay("t", "")
	require.Equal(t, []int64{2, 1}, []int64{moved, kept})
	l.insert("y", values("n", 9, 3)...)
	l.reopen()
	l.settle()
	require.Equal(t, []int64{1, 2, 3, 4, 6, 9}, l.sorted("t", "n"), "the flows go on under the new rules")
	require.Equal(t, []int64{2, 3}, sortedOf(l.held("t"), "n"))
	require.NoError(t, l.graph.Refresh(t.Context(), "live", "t", true))
	l.settle()
	require.Equal(t, []int64{1, 2, 3, 4, 6, 9}, l.sorted("t", "n"))
	require.Equal(t, []int64{2, 3}, sortedOf(l.held("t"), "n"))
	faults := 0
	require.NoError(t, l.graph.Check(t.Context(), func(table, what string, proven bool, err error) {
		if err != nil {
			t.Log(table, what, err)
			faults++
		}
	}))
	require.Zero(t, faults)
}

// TestAQuarantineFollowsItsTable through RENAME, and through a crash between the two.
func TestAQuarantineFollowsItsTable(t *testing.T) {
	for _, crash := range []bool{false, true} {
		l := quarantineLab(t)
		l.drop("in", file{columns: []string{"n"}, rows: values("n", 1, 2, 4)})
		l.settle()
		held := len(l.held("v"))
		require.Positive(t, held)
		if crash {
			require.NoError(t, l.graph.find("live", "v").announceName(t.Context(), "w"))
			require.NoError(t, l.store.Rename(t.Context(), "live", "v", "w"))
			l.kill(l.image())
			l.settle()
		} else {
			require.NoError(t, l.graph.Alter(t.Context(), &ddl.OnFlow{Verb: "RENAME", Name: "v", Kind: ddl.MaterializedView, To: "w"}, "live", "/base"))
			l.reopen()
			l.settle()
		}
		_, err := l.store.Table("live", "v"+QuarantineSuffix)
		require.ErrorIs(t, err, tables.ErrNotFound)
		require.Len(t, l.held("w"), held)
		require.NoError(t, l.graph.Drop(t.Context(), "live", "w", ddl.MaterializedView, false))
		_, err = l.store.Table("live", "w"+QuarantineSuffix)
		require.ErrorIs(t, err, tables.ErrNotFound)
	}
}
