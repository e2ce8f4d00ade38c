package queries

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"smelt/queries/ddl"
	"smelt/tables"
)

// TestTheFirstRowOfAKeyIsTheOneThatStays is true for NULLs, within a batch, across batches, and over several columns.
func TestTheFirstRowOfAKeyIsTheOneThatStays(t *testing.T) {
	for action, want := range map[string][][]int64{
		"":                        {{1, 1, 2, 2, 3, 1}, nil},
		"ON VIOLATION DROP ROW":   {{1, 2, 3}, nil},
		"ON VIOLATION QUARANTINE": {{1, 2, 3}, {1, 2, 1}},
	} {
		l := newLab(t)
		l.plain("src", columnsOf("n", "m"))
		l.star("SELECT n, m FROM `stream:src` AS `src`", "stream:src")
		l.star("SELECT n, m FROM src", "live.src")
		l.must("CREATE STREAMING TABLE a (CONSTRAINT once EXPECT UNIQUE (n) " + action + ") AS SELECT n, m FROM STREAM(src)")
		l.must("CREATE MATERIALIZED VIEW v (CONSTRAINT once EXPECT UNIQUE (n) " + action + ") AS SELECT n, m FROM src")
		l.must("CREATE STREAMING TABLE pairs (CONSTRAINT once EXPECT UNIQUE (m, n) ON VIOLATION DROP ROW) AS SELECT n, m FROM STREAM(src)")
		for _, batch := range [][]row{
			{{"n": int64(1), "m": int64(1)}, {"n": int64(1), "m": int64(2)}, {"n": int64(2), "m": int64(1)}, {"n": nil, "m": int64(1)}},
			{{"n": int64(2), "m": int64(1)}, {"n": nil, "m": int64(1)}, {"n": int64(3), "m": nil}},
			{{"n": int64(1), "m": nil}},
		} {
			l.insert("src", batch...)
			l.settle()
		}
		all := len(want[0]) + 2
		for _, name := range []string{"a", "v"} {
			require.Len(t, l.rows(name), all, "%s: NULLs are equal to nothing", name)
			got := slices.DeleteFunc(l.rows(name), func(r row) bool { return r["n"] == nil })
			require.ElementsMatch(t, want[0], columnOf(got, "n"), "%s %s", name, action)
			held := l.held(name)
			require.ElementsMatch(t, want[1], columnOf(held, "n"), "%s %s", name, action)
		}
		require.Len(t, l.rows("pairs"), 7, "of the rows without NULL one came twice")
	}
	l := newLab(t)
	l.plain("src", columnsOf("n"))
	l.star("SELECT n FROM `stream:src` AS `src`", "stream:src")
	l.must("CREATE STREAMING TABLE a (CONSTRAINT once EXPECT UNIQUE (n) ON VIOLATION FAIL UPDATE) AS SELECT n FROM STREAM(src)")
	l.insert("src", values("n", 1, 2)...)
	l.settle()
	l.insert("src", values("n", 3, 1)...)
	err := l.graph.RunOnce(t.Context(), nil)
	require.ErrorIs(t, err, ErrExpectation)
	require.ErrorContains(t, err, "once EXPECT UNIQUE (`n`) by the row (n = 1)")
	require.Equal(t, []any{int64(1), int64(2)}, l.column("a", "n"), "nothing of the batch is there")
	require.Equal(t, "n", l.table("a").Snapshot().Definition().Properties[propertyBloom])
}

func columnOf(rows []row, name string) []int64 {
	var out []int64
	for _, r := range rows {
		out = append(out, r[name].(int64))
	}
	return out
}

// TestARowThatIsKeptOutKeepsNobodyOut: what another rule drops is not in the table, so its key is free.
func TestARowThatIsKeptOutKeepsNobodyOut(t *testing.T) {
	l := newLab(t)
	l.plain("src", columnsOf("n", "m"))
	l.star("SELECT n, m FROM `stream:src` AS `src`", "stream:src")
	l.exprs["m > 0"] = func(r row) any { return r["m"].(int64) > 0 }
	l.must("CREATE STREAMING TABLE a (CONSTRAINT once EXPECT UNIQUE (n) ON VIOLATION QUARANTINE, CONSTRAINT pos EXPECT (m > 0) ON VIOLATION QUARANTINE) AS SELECT n, m FROM STREAM(src)")
	l.insert("src", row{"n": int64(1), "m": int64(-1)}, row{"n": int64(1), "m": int64(5)}, row{"n": int64(1), "m": int64(6)})
	l.settle()
	require.Equal(t, []int64{5}, columnOf(l.rows("a"), "m"))
	require.ElementsMatch(t, []int64{-1, 6}, columnOf(l.held("a"), "m"))
	moved, kept := l.replay("a", "")
	require.Equal(t, []int64{0, 2}, []int64{moved, kept}, "the key is taken")
}

// TestKeysAreOnceThroughKillsAndReplays drops numbers that come again and again, kills the process at any point, and checks
// after each round that each number is once in the table, and each row once in table or quarantine.
func TestKeysAreOnceThroughKillsAndReplays(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	l := newLab(t)
	l.onCommits()
	l.paths = true
	l.define(selectBronze, append(columnsOf("n"), tables.Field{Name: "source_file", Type: text}), func(in func(string) []row) []row { return in("files:1") })
	l.must("CREATE STREAMING TABLE bronze (CONSTRAINT once EXPECT UNIQUE (n) ON VIOLATION QUARANTINE) AS SELECT n, source_file FROM STREAM read_files('in')")
	var files [][]int64
	out := map[int]bool{}
	kills := 0
	for range 40 {
		for range 1 + r.IntN(4) {
			var n []int64
			for range r.IntN(6) {
				n = append(n, int64(r.IntN(50)))
			}
			files = append(files, n)
			l.drop("in", file{columns: []string{"n"}, rows: values("n", n...)})
		}
		switch r.IntN(5) {
		case 4:
			_, _ = l.doubtful(r, l.runOnce)
		case 0:
			kills += killedRun(t, l, r)
		case 1: // a duplicate may come in when what was before it has gone
			i := r.IntN(len(files))
			if _, err := l.graph.OnFile(t.Context(), &ddl.OnTable{Verb: "UNLOAD FILE", Name: "bronze", File: fmt.Sprint(i)}, "live"); err == nil {
				out[i] = true
			}
		case 2:
			if killedWhile(l, r, func() error {
				_, _, err := l.graph.Replay(t.Context(), &ddl.OnRules{Name: "bronze"}, "live")
				return err
			}) {
				kills++
			}
		default:
			if killedWhile(l, r, func() error { return l.graph.Refresh(t.Context(), "live", "bronze", r.IntN(3) == 0) }) {
				kills++
			}
		}
		l.settle()
		want := []int64{}
		for i, n := range files {
			if !out[i] {
				want = append(want, n...)
			}
		}
		slices.Sort(want)
		got := sortedOf(l.rows("bronze"), "n")
		require.Len(t, slices.Compact(slices.Clone(got)), len(got), "each number once: %v", got)
		require.Equal(t, want, sortedOf(slices.Concat(l.rows("bronze"), l.held("bronze")), "n"))
	}
	require.Positive(t, kills)
}

// TestAFilterOfKeysForgetsNone looks keys up before and after the filter is made, after rows came, were taken out and were
// replaced.
func TestAFilterOfKeysForgetsNone(t *testing.T) {
	l := newLab(t)
	schema := columnsOf("n")
	table := l.plain("a", schema)
	r := rand.New(rand.NewPCG(1, 2))
	known := &knownKeys{filters: map[string]*keyFilter{}}
	there := map[int64]bool{}
	commit := func(c tables.Commit, n int) {
		t.Helper()
		b := tables.NewBatch(schema, n)
		for range n {
			v := r.Int64N(1 << 40)
			there[v] = true
			b.Columns[0].AppendInt(v)
		}
		b.Len = n
		var err error
		c.Operation = "WRITE"
		c.Rows, err = tables.FromBatches(schema, b).Scan(t.Context(), nil)
		require.NoError(t, err)
		_, err = table.Commit(t.Context(), c)
		require.NoError(t, err)
	}
	look := func(filtered bool) {
		t.Helper()
		into := &target{table: table, now: table.Snapshot(), known: known}
		u := newUniqueKeys([]string{"N"}, into)
		var want []row
		found := 0
		for v := range there {
			if want = append(want, row{"n": v}); len(want) == 3000 {
				break
			}
		}
		found = len(want)
		for range 3000 {
			v := r.Int64N(1 << 40)
			if !there[v] {
				want = append(want, row{"n": v})
			}
		}
		require.NoError(t, u.lookUp(t.Context(), []*tables.Batch{batchOf(schema, want)}))
		require.Len(t, u.seen, found)
		require.Equal(t, filtered, known.filters["n"] != nil && known.filters["n"].bits != nil)
	}
	commit(tables.Commit{}, manyLookedUp+1)
	look(false)
	look(true)
	commit(tables.Commit{}, 500)
	look(true)
	commit(tables.Commit{}, 3*manyLookedUp) // more than there was room for
	look(true)
	clear(there)
	d := table.Snapshot().Definition()
	commit(tables.Commit{Overwrite: true, Define: &d, NewID: true}, 2000)
	look(true)
	commit(tables.Commit{}, 10)
	_, _, err := table.Optimize(t.Context())
	require.NoError(t, err)
	_, err = table.Vacuum(t.Context(), 0, false)
	require.NoError(t, err)
	look(true)
}
