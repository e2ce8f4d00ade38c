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

	"smelt/queries/ddl"
	"smelt/tables"
)

var errKilled = errors.New("kill -9")

const (
	selectBronze = "SELECT n, source_file FROM `files:1` AS `files_1`"
	selectSilver = "SELECT n, d.label FROM `stream:bronze` AS `bronze` JOIN dims d ON d.k = n % 3"
	selectBoth   = "SELECT n FROM `stream:bronze` AS `bronze` UNION ALL SELECT n + 1000000 FROM `stream:live.bronze` b UNION ALL SELECT n FROM `stream:src` AS `src`"
	selectTotals = "SELECT label, SUM(n) AS n FROM silver GROUP BY label"
	selectGrand  = "SELECT SUM(n) AS n FROM totals"
)

// lawLab is a pipeline with each kind of edge: files, a stream, a static side, a table streamed twice, views of views.
func lawLab(t *testing.T) *lab {
	l := newLab(t)
	l.paths = true
	l.plain("src", columnsOf("n"))
	l.plain("dims", tables.Schema{{Name: "k", Type: long}, {Name: "label", Type: text}})
	l.insert("dims", row{"k": int64(0), "label": "none"}, row{"k": int64(1), "label": "one"}, row{"k": int64(2), "label": "two"})
	l.define(selectBronze, append(columnsOf("n"), tables.Field{Name: "source_file", Type: text}), func(in func(string) []row) []row { return in("files:1") })
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
	l.must("CREATE STREAMING TABLE bronze AS SELECT n, source_file FROM STREAM read_files('in')")
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
	same := require.Equal
	if l.reordered {
		same = func(t require.TestingT, a, b any, say ...any) { require.ElementsMatch(t, a, b, say...) }
	}
	same(t, want(files), l.column("bronze", "n"), "each file once, in order")
	kept := slices.DeleteFunc(slices.Clone(files), func(n int64) bool { return n%10 == 0 })
	same(t, want(kept), l.column("silver", "n"), "each row of bronze once, less what the rule drops")
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

// landing is the model of the directory: the rows of each file, and which files are out of the tables.
type landing struct {
	lab  *lab
	next int64
	rows [][]int64
	out  map[int]bool
}

// fresh returns numbers that were not there before.
func (d *landing) fresh(n int) []int64 {
	var out []int64
	for range n {
		d.next++
		out = append(out, d.next)
	}
	return out
}

func (d *landing) drop(n int) {
	d.rows = append(d.rows, d.fresh(n))
	d.lab.drop("in", file{columns: []string{"n"}, rows: values("n", d.rows[len(d.rows)-1]...)})
}

// all returns the numbers of the files that must be in the tables.
func (d *landing) all() []int64 {
	var all []int64
	for i, n := range d.rows {
		if !d.out[i] {
			all = append(all, n...)
		}
	}
	return all
}

// onFile unloads or reloads a random file, and perhaps dies of it. It returns whether it was killed.
func (d *landing) onFile(t *testing.T, r *rand.Rand) bool {
	t.Helper()
	l, i := d.lab, r.IntN(len(d.rows))
	verb := []string{"UNLOAD", "RELOAD"}[r.IntN(2)]
	do := func() error {
		_, err := l.graph.OnFile(context.Background(), &ddl.OnTable{Verb: verb + " FILE", Name: "bronze", File: fmt.Sprint(i)}, "live")
		return err
	}
	image, countdown, lost := "", r.IntN(8), 0
	var err error
	if r.IntN(4) == 0 {
		lost, err = l.doubtful(r, do)
	} else {
		l.setHook(func(string, string) error {
			if countdown--; countdown == 0 {
				image = l.image()
			}
			if image != "" {
				return errKilled
			}
			return nil
		})
		err = do()
		l.setHook(nil)
	}
	if errors.Is(err, tables.ErrNotFound) {
		return false // it was not read yet
	}
	l.reordered = true
	switch {
	case image != "":
		l.kill(image)
	case err == nil || lost == 0:
		require.NoError(t, err)
		d.out[i] = verb == "UNLOAD"
		return false
	}
	l.settle()
	// It was done or it was not: the table tells.
	rows := append(l.rows("bronze"), l.held("bronze")...) // which may hold all of them
	there := slices.ContainsFunc(rows, func(r row) bool { return r["source_file"] == fmt.Sprint(i) })
	if len(d.rows[i]) > 0 && there == d.out[i] {
		require.Equal(t, verb == "UNLOAD", !there, "%s of file %d", verb, i)
	}
	d.out[i] = len(d.rows[i]) > 0 && !there
	return true
}

// TestTheLawAfterKillsAtAnyPoint drops files and rows, unloads and reloads files, kills the process at a random point of
// a random batch, lets batches fail, refreshes in full, rebuilds sources and restarts, and checks the law after each round.
func TestTheLawAfterKillsAtAnyPoint(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	l := lawLab(t)
	var inserted []int64
	// A directory without a file has no columns yet, and what reads it waits.
	d := &landing{lab: l, out: map[int]bool{}}
	d.drop(1)
	kills, killsOnFile, doubts := 0, 0, 0
	rounds := 60
	if testing.Short() {
		rounds = 20
	}
	unloads := func(table string) int {
		history, err := l.table(table).History(context.Background(), 0)
		require.NoError(t, err)
		return count(history, unloadOperation)
	}
	// So many rounds, and more where chance has left out what the test is for.
	lacks := func() bool { return kills == 0 || killsOnFile == 0 || unloads("bronze") == 0 || unloads("both") == 0 }
	for round := 0; round < rounds || round < 10*rounds && lacks(); round++ {
		for range r.IntN(5) {
			d.drop(r.IntN(4))
		}
		if r.IntN(2) == 0 {
			n := d.fresh(1 + r.IntN(3))
			inserted = append(inserted, n...)
			l.insert("src", values("n", n...)...)
		}
		if r.IntN(10) == 0 {
			l.insert("dims", row{"k": int64(0), "label": fmt.Sprint("none ", d.next)})
		}
		for range r.IntN(3) {
			if d.onFile(t, r) {
				killsOnFile++
			}
		}
		what := r.IntN(6)
		if kills == 0 {
			what = 0 // until one hits
		}
		switch what {
		case 0:
			kills += killedRun(t, l, r)
		case 1: // a batch fails, the process lives
			brokenRun(l, 1+r.IntN(12))
		case 2:
			names := []string{"bronze", "silver", "both", "totals", "grand"}
			require.NoError(t, l.graph.Refresh(context.Background(), "live", names[r.IntN(len(names))], r.IntN(3) > 0))
		case 3:
			l.reopen()
		case 4:
			lost, _ := l.doubtful(r, l.runOnce)
			doubts += lost
		}
		l.settle()
		checkLaw(t, l, d.all(), inserted)
	}
	t.Logf("%d kills, %d on files, %d lost answers", kills, killsOnFile, doubts)
	require.Positive(t, kills, "no kill hit: the test proves nothing")
	require.Positive(t, killsOnFile, "no kill hit a statement on a file")
	for _, name := range []string{"bronze", "silver", "both"} {
		n := unloads(name)
		t.Logf("%s: %d commits took rows out", name, n)
		if name != "silver" {
			require.Positive(t, n, name)
		}
	}
}

func count(history []tables.CommitInfo, operation string) (n int) {
	for _, c := range history {
		if c.Operation == operation {
			n++
		}
	}
	return n
}

// brokenRun runs all flows and fails at a point, unless they end before it.
func brokenRun(l *lab, countdown int) {
	l.setHook(func(point, sql string) error {
		if countdown--; countdown == 0 {
			return fmt.Errorf("broken at %s of %s", point, sql)
		}
		return nil
	})
	_ = l.graph.RunOnce(context.Background(), nil)
	l.setHook(nil)
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
