package queries

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// bubble runs a test in a time of its own, and in a process of its own: the compressor of Parquet keeps its encoders for
// the life of the process, and one made in a bubble breaks the next.
func bubble(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	const inside = "SMELT_TEST_BUBBLE"
	if os.Getenv(inside) != "" {
		synctest.Test(t, test)
		return
	}
	command := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.count=1", "-test.timeout=2m")
	command.Env = append(os.Environ(), inside+"=1")
	out, err := command.CombinedOutput()
	require.NoError(t, err, string(out))
	require.Contains(t, string(out), "PASS")
}

// wait is a pause in the time of a test's bubble, which costs none.
func wait(d time.Duration) { <-time.After(d) }

func TestAViewRestsWhileItsSourceIsBusyAndThenCatchesUp(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := newLab(t)
		l.plain("src", columnsOf("n"))
		const query = "SELECT COUNT(*) AS n FROM src"
		l.define(query, columnsOf("n"), func(in func(string) []row) []row { return []row{{"n": int64(len(in("live.src")))}} })
		l.must("CREATE MATERIALIZED VIEW v AS " + query)
		l.setHook(func(point, _ string) error {
			if point == "query" {
				wait(time.Second)
			}
			return nil
		})
		l.graph.Start()
		wait(time.Minute)
		synctest.Wait()
		require.Equal(t, 1, l.runsOf(query), "nothing changes, nothing runs")
		l.insert("src", row{"n": int64(0)})
		synctest.Wait()
		require.Equal(t, 2, l.runsOf(query), "after a quiet time a change is taken up at once")
		const changes = 600
		began := time.Now()
		for i := range int64(changes) - 1 {
			wait(100 * time.Millisecond)
			l.insert("src", row{"n": i})
		}
		busy := time.Since(began)
		cycle := (1 + recomputeShare) * time.Second
		require.InDelta(t, 2+int(busy/cycle), l.runsOf(query), 1, "a recompute of a second in each %s", cycle)
		wait(2 * cycle)
		synctest.Wait()
		require.Equal(t, []any{int64(changes)}, l.column("v", "n"), "after the last change one recompute follows")
		runs := l.runsOf(query)
		wait(10 * time.Minute)
		require.Equal(t, runs, l.runsOf(query))
		require.Equal(t, "idle", l.status("v").State)
		require.Zero(t, l.status("v").Lag)
	})
}

func TestASlowViewRestsNoLongerThanTheLimit(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := newLab(t)
		l.plain("src", columnsOf("n"))
		l.star("SELECT n FROM src", "live.src")
		l.must("CREATE MATERIALIZED VIEW v AS SELECT n FROM src")
		l.setHook(func(point, _ string) error {
			if point == "query" {
				wait(time.Minute)
			}
			return nil
		})
		l.graph.Start()
		wait(30 * time.Second) // in the middle of the first recompute
		l.insert("src", row{"n": int64(1)})
		require.Greater(t, l.status("v").Lag, time.Duration(0))
		wait(30*time.Second + maxRest + time.Second)
		synctest.Wait()
		require.Equal(t, 2, l.runsOf("SELECT n FROM src"))
		require.Equal(t, "running", l.status("v").State)
	})
}

func TestErrorsAreTriedAgainWithGrowingPauses(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := newLab(t)
		l.plain("src", columnsOf("n"))
		const query = "SELECT n FROM `stream:src` AS `src`"
		l.star(query, "stream:src")
		l.must("CREATE STREAMING TABLE a AS SELECT n FROM STREAM(src)")
		l.setHook(func(point, _ string) error {
			if point == "next" {
				return errors.New("out of order\nand a trace")
			}
			return nil
		})
		l.graph.Start()
		l.insert("src", row{"n": int64(1)})
		wait(10 * time.Minute)
		synctest.Wait()
		// Ten doubled pauses make 51 seconds, then one try each 30.
		require.InDelta(t, 9+18, l.runsOf(query), 3)
		require.Equal(t, "retrying", l.status("a").State)
		require.Contains(t, l.status("a").LastError, "out of order")
		require.NotContains(t, l.status("a").LastError, "trace")
		l.setHook(nil)
		wait(maxRetry)
		synctest.Wait()
		require.Equal(t, []any{int64(1)}, l.column("a", "n"))
		require.Equal(t, "idle", l.status("a").State)
		require.Empty(t, l.status("a").LastError)
	})
}

func TestAFlowThatARuleStoppedIsNotTriedAgainUntilREFRESH(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := newLab(t)
		l.plain("src", columnsOf("n"))
		const query = "SELECT n FROM `stream:src` AS `src`"
		l.star(query, "stream:src")
		allowed := false
		var mu sync.Mutex
		l.exprs["n = 1"] = func(r row) any {
			mu.Lock()
			defer mu.Unlock()
			return allowed || r["n"] == int64(1)
		}
		l.must("CREATE STREAMING TABLE a (CONSTRAINT one EXPECT (n = 1) ON VIOLATION FAIL UPDATE) AS SELECT n FROM STREAM(src)")
		l.graph.Start()
		l.insert("src", row{"n": int64(1)})
		synctest.Wait()
		require.Equal(t, []any{int64(1)}, l.column("a", "n"))
		l.insert("src", row{"n": int64(2)})
		synctest.Wait()
		runs := l.runsOf(query)
		for range 10 {
			l.insert("src", row{"n": int64(1)})
			wait(time.Minute)
		}
		require.Equal(t, runs, l.runsOf(query), "new rows do not wake it")
		require.Equal(t, []any{int64(1)}, l.column("a", "n"), "nothing is committed")
		s := l.status("a")
		require.Equal(t, "failed", s.State)
		require.Equal(t, "an expectation says FAIL UPDATE; REFRESH tries again", s.Reason)
		require.Contains(t, s.LastError, "one EXPECT (n = 1) by the row (n = 2)")
		require.ErrorIs(t, l.graph.Refresh(t.Context(), "live", "a", false), ErrExpectation)
		synctest.Wait()
		require.Equal(t, "failed", l.status("a").State)
		mu.Lock()
		allowed = true
		mu.Unlock()
		require.NoError(t, l.graph.Refresh(t.Context(), "live", "a", false))
		require.Len(t, l.rows("a"), 12)
		l.insert("src", row{"n": int64(1)})
		synctest.Wait()
		require.Len(t, l.rows("a"), 13, "and the flow goes on by itself")
	})
}

func TestNoMoreBatchesRunAtOnceThanTheLimit(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := newLab(t)
		l.plain("src", columnsOf("n"))
		l.star("SELECT n FROM src", "live.src")
		running, most := 0, 0
		var mu sync.Mutex
		l.setHook(func(point, _ string) error {
			if point != "query" {
				return nil
			}
			mu.Lock()
			running++
			most = max(most, running)
			mu.Unlock()
			wait(time.Second)
			mu.Lock()
			running--
			mu.Unlock()
			return nil
		})
		for i := range 2*maxBatches + 1 {
			l.must(fmt.Sprintf("CREATE MATERIALIZED VIEW v%d AS SELECT n FROM src", i))
		}
		l.graph.Start()
		wait(time.Minute)
		require.Equal(t, maxBatches, most)
		require.Equal(t, 2*maxBatches+1, l.runsOf("SELECT n FROM src"))
	})
}

func TestCloseCutsABatchOffAndWaits(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := newLab(t)
		l.plain("src", columnsOf("n"))
		l.star("SELECT n FROM `stream:src` AS `src`", "stream:src")
		l.must("CREATE STREAMING TABLE a AS SELECT n FROM STREAM(src)")
		l.insert("src", row{"n": int64(1)})
		release := make(chan struct{})
		l.setHook(func(point, _ string) error {
			if point == "query" {
				<-release
			}
			return nil
		})
		l.graph.Start()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, l.graph.Close(ctx), context.DeadlineExceeded, "a query that does not listen is not waited for without end")
		close(release)
		require.NoError(t, l.graph.Close(t.Context()))
		require.Empty(t, l.rows("a"), "it lost its context before its commit")
		l.reopen()
		l.setHook(nil)
		l.settle()
		require.Equal(t, []any{int64(1)}, l.column("a", "n"))
	})
}
