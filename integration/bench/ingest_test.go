package bench

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/metrics"
	"slices"
	"strconv"
	"testing"
	"time"

	"smelt/engine"
	"smelt/queries"

	"github.com/stretchr/testify/require"
)

// bigFile writes a file of JSON lines of about so many MiB, and returns its rows.
func bigFile(b *testing.B, path string, mib int) (rows int64) {
	b.Helper()
	f, err := os.Create(path)
	require.NoError(b, err)
	w := bufio.NewWriterSize(f, 1<<20)
	for size := 0; size < mib<<20; rows++ {
		n, err := fmt.Fprintf(w, `{"date": "Mon Apr 06 22:19:45 PDT 2009", "user": "user%d", "text": "@someone what a \"lovely\" morning, number %d \u00e9 &amp; so on and on", "sentiment": "positive", "likes": %d, "score": %d.5}`+"\n",
			rows, rows*7919%1000003, rows%977, rows%100)
		require.NoError(b, err)
		size += n
	}
	require.NoError(b, w.Flush())
	require.NoError(b, f.Close())
	old := time.Now().Add(-time.Hour)
	require.NoError(b, os.Chtimes(path, old, old))
	return rows
}

// held returns the memory that the Go runtime holds, in bytes.
func held() uint64 {
	s := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64() - s[1].Value.Uint64()
}

// BenchmarkBigFile loads one file of JSON lines to a committed table, beside DuckDB's read_json into a table of a file on
// disk. SMELT_BENCH_MB is its size, 256 MiB without it. The peak is that of the Go runtime during the load.
func BenchmarkBigFile(b *testing.B) {
	mib := 256
	if n, err := strconv.Atoi(os.Getenv("SMELT_BENCH_MB")); err == nil {
		mib = n
	}
	landing := b.TempDir()
	path := filepath.Join(landing, "big.jsonl")
	rows := bigFile(b, path, mib)
	for b.Loop() {
		var most uint64
		smelt := bigOnce(b, landing, rows, &most)
		b.ReportMetric(float64(mib)/smelt.Seconds(), "MiB/s")
		b.ReportMetric(float64(most)/(1<<20), "MiB-peak")
		db := filepath.Join(b.TempDir(), "duck.db")
		if took, ok := duck(b, "SET enable_progress_bar = false; ATTACH IF NOT EXISTS '"+db+"' AS d; CREATE OR REPLACE TABLE d.t AS SELECT * FROM read_json('"+path+"', format = 'newline_delimited'); CHECKPOINT d"); ok {
			b.ReportMetric(took.Seconds()/smelt.Seconds(), "x-of-duckdb")
		}
	}
}

// bigOnce loads a directory into a fresh store, and notes the most memory held meanwhile.
func bigOnce(b *testing.B, landing string, rows int64, most *uint64) time.Duration {
	ctx := context.Background()
	e, err := engine.Open(ctx, engine.Config{DataDir: b.TempDir(), Watch: landing})
	require.NoError(b, err)
	done, idle := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(idle)
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			*most = max(*most, held())
			select {
			case <-done:
				return
			case <-tick.C:
			}
		}
	}()
	var loaded int64
	took := timed(func() {
		require.NoError(b, e.Run(ctx, func(p queries.Progress) { loaded += p.RowsOut }))
	})
	close(done)
	<-idle
	require.NoError(b, e.Close(ctx))
	require.Equal(b, rows, loaded)
	return took
}

// coldRounds is how often each side loads 100,000 files: in turn, because the disk is shared.
const coldRounds = 3

// BenchmarkColdFiles loads 100,000 files of one tweet each into bronze, the page cache emptied before where this process
// may do that, beside cat of the same files and DuckDB's read_json into a table of a file on disk, in turn.
func BenchmarkColdFiles(b *testing.B) {
	landing := b.TempDir()
	old := time.Now().Add(-time.Hour)
	for i := range watchedFiles {
		name := filepath.Join(landing, fmt.Sprintf("tweet-%06d.json", i))
		require.NoError(b, os.WriteFile(name, content(i), 0o644))
		require.NoError(b, os.Chtimes(name, old, old))
	}
	read := "SELECT * FROM read_json('" + landing + "/*.json')"
	for b.Loop() {
		var smelts, cats, ducks []time.Duration
		var most uint64
		for range coldRounds {
			cold(b)
			smelts = append(smelts, bigOnce(b, landing, watchedFiles, &most))
			cold(b)
			cats = append(cats, timed(func() {
				require.NoError(b, exec.Command("sh", "-c", `find "$0" -name '*.json' -print0 | xargs -0 cat | wc -c`, landing).Run())
			}))
			cold(b)
			into := filepath.Join(b.TempDir(), "duck.db")
			if took, ok := duckTimes(b, "SET enable_progress_bar = false; ATTACH '"+into+"' AS d; CREATE TABLE d.t AS "+read+"; CHECKPOINT d", 1); ok {
				ducks = append(ducks, took)
			}
		}
		slices.Sort(smelts)
		slices.Sort(cats)
		b.ReportMetric(smelts[coldRounds/2].Seconds(), "load-s")
		b.ReportMetric(cats[coldRounds/2].Seconds()/smelts[coldRounds/2].Seconds(), "x-of-cat")
		b.ReportMetric(float64(most)/(1<<20), "MiB-peak")
		if len(ducks) == coldRounds {
			slices.Sort(ducks)
			b.ReportMetric(ducks[coldRounds/2].Seconds()/smelts[coldRounds/2].Seconds(), "x-of-duckdb")
		}
	}
}

// cold empties the page cache, so that files are read from the disk; without the right to it, it says so.
func cold(b *testing.B) {
	require.NoError(b, exec.Command("sync").Run())
	if err := os.WriteFile("/proc/sys/vm/drop_caches", []byte("3"), 0); err != nil {
		b.Logf("the page cache stays warm: %v", err)
	}
}
