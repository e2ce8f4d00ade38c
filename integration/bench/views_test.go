package bench

import (
	"bufio"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"smelt/engine"

	"github.com/stretchr/testify/require"
)

const (
	newRows    = 1_000 // behind each base, in one file
	wideGroups = 50_000
	touched    = 10 // groups that the new rows belong to
	chained    = 20 // views, each made from the one before
)

// rowsFile writes rows to a hidden file and gives it its name when it is whole. The group of row i is group(i).
func rowsFile(b *testing.B, dir, name string, from, n int, group func(i int) int) {
	b.Helper()
	hidden := filepath.Join(dir, "."+name)
	f, err := os.Create(hidden)
	require.NoError(b, err)
	w := bufio.NewWriter(f)
	for i := from; i < from+n; i++ {
		_, err := fmt.Fprintf(w, `{"id": %d, "g": %d, "v": %d, "text": "what a lovely morning number %d"}`+"\n", i, group(i), i%1000, i)
		require.NoError(b, err)
	}
	require.NoError(b, w.Flush())
	require.NoError(b, f.Close())
	require.NoError(b, os.Rename(hidden, filepath.Join(dir, name)))
}

// BenchmarkRefresh measures how long views take to follow 1,000 new rows behind bases of 10 thousand, 100 thousand and a
// million rows, beside computing them in full: a view of rows, and one of up to 50,000 groups of which ten are touched.
func BenchmarkRefresh(b *testing.B) {
	for b.Loop() {
		smallest := map[string]time.Duration{}
		for _, base := range []int{10_000, 100_000, 1_000_000} {
			for view, merge := range refreshed(b, base) {
				if base == 10_000 {
					smallest[view] = merge
				}
				b.ReportMetric(float64(merge)/float64(smallest[view]), fmt.Sprintf("%s-%dk-x-of-10k", view, base/1000))
			}
		}
	}
}

// refreshed returns how long each view takes for the new rows; it reports this and what it takes in full.
func refreshed(b *testing.B, base int) map[string]time.Duration {
	watch := b.TempDir()
	groups := min(wideGroups, base)
	rowsFile(b, watch, "base.json", 0, base, func(i int) int { return i % groups })
	_, db := open(b, engine.Config{Watch: watch})
	until(b, db, "SELECT COUNT(*) FROM bronze", int64(base), 10*time.Millisecond)
	for _, statement := range []string{
		"CREATE MATERIALIZED VIEW mapped REFRESH POLICY INCREMENTAL STRICT AS SELECT id, UPPER(text) AS text, v * 2 AS v FROM bronze WHERE v < 900",
		"CREATE MATERIALIZED VIEW grouped REFRESH POLICY INCREMENTAL STRICT AS SELECT g, COUNT(*) AS n, SUM(v) AS v, MIN(id) AS first, MAX(id) AS last FROM bronze GROUP BY g",
	} {
		_, err := db.Exec(statement)
		require.NoError(b, err)
	}
	out := map[string]time.Duration{}
	for round := range rounds {
		from := base + round*newRows
		rowsFile(b, watch, fmt.Sprintf("new-%d.json", round), from, newRows, func(i int) int { return i % touched })
		until(b, db, "SELECT MAX(last) FROM grouped", int64(from+newRows-1), time.Millisecond)
		// 1,000 rows in a row have each v from 0 to 999 once.
		until(b, db, "SELECT COUNT(*) FROM mapped", int64(base+(round+1)*newRows)*9/10, time.Millisecond)
	}
	for _, view := range []string{"mapped", "grouped"} {
		out[view] = lastBatches(b, db, view, rounds)
		full := median(func() time.Duration { return fullRefresh(b, db, view) })
		b.ReportMetric(float64(out[view].Milliseconds()), fmt.Sprintf("%s-%dk-ms", view, base/1000))
		b.ReportMetric(full.Seconds()/out[view].Seconds(), fmt.Sprintf("%s-%dk-x-of-full", view, base/1000))
	}
	return out
}

// lastBatches returns the median duration of the newest batches of a view, which must be merges.
func lastBatches(b *testing.B, db *sql.DB, view string, n int) time.Duration {
	b.Helper()
	rows, err := db.Query("SELECT duration_ms, strategy FROM smelt.progress WHERE `table` = '" + view + "' ORDER BY version DESC LIMIT " + fmt.Sprint(n))
	require.NoError(b, err)
	defer rows.Close()
	var batches []time.Duration
	for rows.Next() {
		var ms int64
		var strategy string
		require.NoError(b, rows.Scan(&ms, &strategy))
		require.Equal(b, "merge", strategy)
		batches = append(batches, time.Duration(max(ms, 1))*time.Millisecond)
	}
	require.NoError(b, rows.Err())
	slices.Sort(batches)
	return batches[len(batches)/2]
}

func fullRefresh(b *testing.B, db *sql.DB, view string) time.Duration {
	return timed(func() {
		_, err := db.Exec("REFRESH MATERIALIZED VIEW " + view + " FULL")
		require.NoError(b, err)
	})
}

// BenchmarkChain measures from the rename of a file of 100 rows until they are in the last of 20 views, each made from the
// one before, on a base of 10,000 rows.
func BenchmarkChain(b *testing.B) {
	const base, fresh = 10_000, 100
	for b.Loop() {
		watch := b.TempDir()
		rowsFile(b, watch, "base.json", 0, base, func(i int) int { return i % touched })
		_, db := open(b, engine.Config{Watch: watch})
		until(b, db, "SELECT COUNT(*) FROM bronze", base, 10*time.Millisecond)
		for i := range chained {
			source := "bronze"
			if i > 0 {
				source = fmt.Sprintf("chain_%d", i)
			}
			_, err := db.Exec(strings.NewReplacer("$n", fmt.Sprint(i+1), "$s", source).Replace("CREATE MATERIALIZED VIEW chain_$n AS SELECT id, v + 1 AS v FROM $s"))
			require.NoError(b, err)
		}
		last := fmt.Sprintf("SELECT COUNT(*) FROM chain_%d", chained)
		until(b, db, last, base, time.Millisecond)
		var times []time.Duration
		for round := range rounds * 3 {
			from := base + round*fresh
			times = append(times, timed(func() {
				rowsFile(b, watch, fmt.Sprintf("new-%d.json", round), from, fresh, func(i int) int { return i % touched })
				until(b, db, last, int64(from+fresh), time.Millisecond)
			}))
		}
		slices.Sort(times)
		b.ReportMetric(float64(times[len(times)/2].Microseconds())/1000, "median-ms")
		b.ReportMetric(float64(times[len(times)-1].Microseconds())/1000, "most-ms")
	}
}
