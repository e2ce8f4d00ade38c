package bench

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"smelt/engine"

	"github.com/stretchr/testify/require"
)

const (
	watchedFiles = 100_000
	watchedDrops = 200 // single files after them: enough for a 99th percentile
)

// BenchmarkOneAmong100000 fills a directory with 100,000 files of one tweet each, and measures how long it takes to load
// and to open again, what memory the ledger needs, and from the rename of one more file until its row is in bronze.
func BenchmarkOneAmong100000(b *testing.B) {
	watch, data := b.TempDir(), b.TempDir()
	name := func(i int) string { return filepath.Join(watch, fmt.Sprintf("tweet-%06d.json", i)) }
	for i := range watchedFiles {
		require.NoError(b, os.WriteFile(name(i), content(i), 0o644))
	}
	cfg := engine.Config{DataDir: data, Watch: watch}
	for b.Loop() {
		before := heap()
		e, db := open(b, cfg)
		const count = "SELECT COUNT(*) FROM bronze"
		load := timed(func() { untilWithin(b, db, 5*time.Minute, count, watchedFiles, 20*time.Millisecond) })
		b.ReportMetric(load.Seconds(), "load-s")
		require.NoError(b, e.Close(b.Context()))
		reopen := timed(func() {
			e, db = open(b, cfg)
			until(b, db, "SELECT COUNT(*) FROM smelt.files", watchedFiles, time.Millisecond)
		})
		b.ReportMetric(float64(reopen.Milliseconds()), "reopen-ms")
		b.ReportMetric(float64(heap()-before)/(1<<20), "heap-MiB")
		until(b, db, "SELECT COUNT(*) FROM smelt.streams WHERE state = 'idle'", 1, time.Millisecond)
		latencies := dropped(b, db, watch, watchedFiles)
		slices.Sort(latencies)
		b.ReportMetric(float64(latencies[watchedDrops/2].Microseconds())/1000, "median-ms")
		b.ReportMetric(float64(latencies[watchedDrops*99/100].Microseconds())/1000, "p99-ms")
		require.NoError(b, e.Close(b.Context()))

		small := b.TempDir()
		require.NoError(b, os.WriteFile(filepath.Join(small, "first.json"), content(0), 0o644))
		_, db = open(b, engine.Config{Watch: small})
		until(b, db, count, 1, time.Millisecond)
		alone := dropped(b, db, small, 1)
		slices.Sort(alone)
		b.ReportMetric(float64(alone[watchedDrops/2].Microseconds())/1000, "small-directory-median-ms")
		b.ReportMetric(float64(alone[watchedDrops*99/100].Microseconds())/1000, "small-directory-p99-ms")
	}
}

func content(i int) []byte {
	return fmt.Appendf(nil, `{"id": %d, "user": "u%d", "text": "@smelt what a lovely morning", "sentiment": "positive"}`, i, i%977)
}

// dropped renames files into the directory, each when the row of the one before was seen in bronze, and returns how long
// that took. there is how many rows bronze has.
func dropped(b *testing.B, db *sql.DB, dir string, there int) []time.Duration {
	b.Helper()
	latencies := make([]time.Duration, 0, watchedDrops)
	for i := range watchedDrops {
		hidden := filepath.Join(dir, ".hidden")
		require.NoError(b, os.WriteFile(hidden, content(i), 0o644))
		latencies = append(latencies, timed(func() {
			require.NoError(b, os.Rename(hidden, filepath.Join(dir, fmt.Sprintf("one-more-%06d.json", i))))
			until(b, db, "SELECT COUNT(*) FROM bronze", int64(there+i+1), time.Millisecond)
		}))
	}
	return latencies
}

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
