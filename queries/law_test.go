package queries

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"smelt/tables"
)

var errKilled = errors.New("kill -9")

const (
	selectBronze = "SELECT n FROM `files:1` AS `files_1`"
	selectSilver = "SELECT n, d.label FROM `stream:bronze` AS `bronze` JOIN dims d ON d.k = n % 3"
	selectBoth   = "SELECT n FROM `stream:bronze` AS `bronze` UNION ALL SELECT n + 1000000 FROM `stream:live.bronze` b UNION ALL SELECT n FROM `stream:src` AS `src`"
	selectTotals = "SELECT label, SUM(n) AS n FROM silver GROUP BY label"
	selectGrand  = "SELECT SUM(n) AS n FROM totals"
)

// lawLab is a pipeline with each kind of edge: files, a stream, a static side, a table streamed twice, views of views.
func lawLab(t *testing.T) *lab {
	l := newLab(t)
	l.plain("src", columnsOf("n"))
	l.plain("dims", tables.Schema{{Name: "k", Type: long}, {Name: "label", Type: text}})
	l.insert("dims", row{"k": int64(0), "label": "none"}, row{"k": int64(1), "label": "one"}, row{"k": int64(2), "label": "two"})
	l.define(selectBronze, columnsOf("n"), func(in func(string) []row) []row { return in("files:1") })
	labelled := append(columnsOf("n"), tables.Field{Name: "label", Type: text})
	l.define(selectSilver, labelled, func(in func(string) []row) []row {
		labels := map[any]any{}
		for _, d := range in("live.dims") {
			labels[d["k"]] = d["label"]
		}
		var out []row
		for _, r := range in("stream:bronze") {
			out = append(out, row{"n": r["n"], "label": labels[r["n"].(int64)%3]})
		}
		return out
	})
	l.define(selectBoth, columnsOf("n"), func(in func(string) []row) []row {
		out := slices.Clone(in("stream:bronze"))
		for _, r := range in("stream:live.bronze") {
			out = append(out, row{"n": r["n"].(int64) + 1_000_000})
		}
		return append(out, in("stream:src")...)
	})
	l.define(selectTotals, labelled, func(in func(string) []row) []row { return sums(in("live.silver")) })
	l.define(selectGrand, columnsOf("n"), func(in func(string) []row) []row {
		total := int64(0)
		for _, r := range in("live.totals") {
			total += r["n"].(int64)
		}
		return []row{{"n": total}}
	})
	l.exprs["n % 10 <> 0"] = func(r row) any {
		if r["n"] == nil {
			return nil
		}
		return r["n"].(int64)%10 != 0
	}
	l.must("CREATE STREAMING TABLE bronze AS SELECT n FROM STREAM read_files('in')")
	l.must("CREATE STREAMING TABLE silver (CONSTRAINT tens EXPECT (n % 10 <> 0) ON VIOLATION DROP ROW) AS SELECT n, d.label FROM STREAM(bronze) JOIN dims d ON d.k = n % 3")
	l.must("CREATE STREAMING TABLE both AS SELECT n FROM STREAM(bronze) UNION ALL SELECT n + 1000000 FROM STREAM(LIVE.bronze) b UNION ALL SELECT n FROM STREAM(src)")
	l.must("CREATE MATERIALIZED VIEW totals AS " + selectTotals)
	l.must("CREATE MATERIALIZED VIEW grand AS " + selectGrand)
	return l
}

func sums(rows []row) []row {
	by := map[any]int64{}
	for _, r := range rows {
		by[r["label"]] += r["n"].(int64)
	}
	out := []row{}
	for _, label := range slices.Sorted(maps.Keys(by2(by))) {
		out = append(out, row{"label": label, "n": by[label]})
	}
	return out
}

func by2(by map[any]int64) map[string]int64 {
	out := map[string]int64{}
	for k, v := range by {
		out[k.(string)] = v
	}
	return out
}

// checkLaw compares every table with what follows from all that was dropped and inserted.
func checkLaw(t *testing.T, l *lab, files, inserted []int64) {
	t.Helper()
	want := func(numbers []int64) []any {
		out := []any{}
		for _, n := range numbers {
			out = append(out, n)
		}
		return out
	}
	require.Equal(t, want(files), l.column("bronze", "n"), "each file once, in order")
	kept := slices.DeleteFunc(slices.Clone(files), func(n int64) bool { return n%10 == 0 })
	require.Equal(t, want(kept), l.column("silver", "n"), "each row of bronze once, less what the rule drops")
	both := slices.Concat(files, inserted)
	for _, n := range files {
		both = append(both, n+1_000_000)
	}
	got := l.column("both", "n")
	require.ElementsMatch(t, want(both), got, "each row of each branch once")
	require.Equal(t, sums(l.rows("silver")), l.rows("totals"), "a view equals its SELECT")
	total := int64(0)
	for _, n := range kept {
		total += n
	}
	require.Equal(t, []row{{"n": total}}, l.rows("grand"), "and so does a view of a view")
}

// TestTheLawAfterKillsAtAnyPoint drops files and rows, kills the process at a random point of a random batch, lets
// batches fail, refreshes in full, rebuilds sources and restarts, and checks the law after each round.
func TestTheLawAfterKillsAtAnyPoint(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	l := lawLab(t)
	var files, inserted []int64
	next := int64(0)
	fresh := func(n int) []int64 {
		var out []int64
		for range n {
			next++
			out = append(out, next)
		}
		return out
	}
	// A directory without a file has no columns yet, and what reads it waits.
	files = fresh(1)
	l.drop("in", file{columns: []string{"n"}, rows: values("n", files...)})
	kills := 0
	rounds := 60
	if testing.Short() {
		rounds = 20
	}
	for range rounds {
		for range r.IntN(5) {
			n := fresh(r.IntN(4))
			files = append(files, n...)
			l.drop("in", file{columns: []string{"n"}, rows: values("n", n...)})
		}
		if r.IntN(2) == 0 {
			n := fresh(1 + r.IntN(3))
			inserted = append(inserted, n...)
			l.insert("src", values("n", n...)...)
		}
		switch r.IntN(5) {
		case 0:
			kills += killedRun(t, l, r)
		case 1: // a batch fails, the process lives
			countdown := 1 + r.IntN(12)
			l.setHook(func(point, sql string) error {
				if countdown--; countdown == 0 {
					return fmt.Errorf("broken at %s of %s", point, sql)
				}
				return nil
			})
			_ = l.graph.RunOnce(context.Background(), nil) // it fails where the countdown ends, or not at all
			l.setHook(nil)
		case 2:
			names := []string{"bronze", "silver", "both", "totals", "grand"}
			require.NoError(t, l.graph.Refresh(context.Background(), "live", names[r.IntN(len(names))], r.IntN(3) > 0))
		case 3:
			l.reopen()
		}
		l.settle()
		checkLaw(t, l, files, inserted)
	}
	require.Positive(t, kills, "no kill hit: the test proves nothing")
}

// killedRun runs all flows and kills the process at a random point: the directory as it is then goes on.
func killedRun(t *testing.T, l *lab, r *rand.Rand) int {
	t.Helper()
	image := ""
	countdown := 1 + r.IntN(10)
	die := func(string, string) error {
		if image != "" {
			return errKilled
		}
		if countdown--; countdown > 0 {
			return nil
		}
		image = l.image()
		return errKilled
	}
	l.setHook(die)
	err := l.graph.RunOnce(context.Background(), func(Progress) { _ = die("committed", "") })
	l.setHook(nil)
	if image == "" {
		require.NoError(t, err)
		return 0
	}
	l.kill(image)
	return 1
}

// TestEveryPointOfABatchMayBeTheLast kills at each point in turn, so that none depends on luck.
func TestEveryPointOfABatchMayBeTheLast(t *testing.T) {
	for point := 1; ; point++ {
		l := lawLab(t)
		l.drop("in", file{columns: []string{"n"}, rows: values("n", 1, 10)}, file{columns: []string{"n"}, rows: values("n", 3)})
		l.insert("src", values("n", 7)...)
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
		_ = l.graph.RunOnce(context.Background(), nil)
		l.setHook(nil)
		if image == "" {
			require.Greater(t, point, 10, "the points of five flows")
			return
		}
		l.kill(image)
		l.drop("in", file{columns: []string{"n"}, rows: values("n", 4)})
		l.settle()
		checkLaw(t, l, []int64{1, 10, 3, 4}, []int64{7})
	}
}
