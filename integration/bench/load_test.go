package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"smelt/engine"
	"smelt/queries"

	"github.com/stretchr/testify/require"
)

// BenchmarkFilesToBronze measures 1,464 files of ten tweets from the first listing to the last commit, against
// `wc -l` over the same files and against reading and decoding them with encoding/json on one core.
func BenchmarkFilesToBronze(b *testing.B) {
	file, landing := airline(b), b.TempDir()
	stats := drop(b, file, landing, 10)
	for b.Loop() {
		wc := median(func() time.Duration { return timed(func() { countLines(b, landing) }) })
		decode := median(func() time.Duration { return timed(func() { decodeAll(b, landing, stats.Rows) }) })
		smelt := median(func() time.Duration { return loadOnce(b, landing, stats.Rows) })
		b.ReportMetric(float64(stats.Rows)/smelt.Seconds(), "rows/s")
		b.ReportMetric(wc.Seconds()/smelt.Seconds(), "x-of-wc")
		b.ReportMetric(decode.Seconds()/smelt.Seconds(), "x-of-decode")
	}
}

func countLines(b *testing.B, dir string) {
	out, err := exec.Command("sh", "-c", `cat "$0"/*.json* | wc -l`, dir).CombinedOutput()
	require.NoError(b, err, string(out))
}

func decodeAll(b *testing.B, dir string, want int64) {
	entries, err := os.ReadDir(dir)
	require.NoError(b, err)
	var rows int64
	for _, e := range entries {
		f, err := os.Open(filepath.Join(dir, e.Name()))
		require.NoError(b, err)
		d := json.NewDecoder(bufio.NewReader(f))
		for {
			var row struct{ Date, User, Text, Sentiment string }
			if err := d.Decode(&row); err == io.EOF {
				break
			} else {
				require.NoError(b, err)
			}
			rows++
		}
		require.NoError(b, f.Close())
	}
	require.Equal(b, want, rows)
}

func loadOnce(b *testing.B, landing string, rows int64) time.Duration {
	ctx := context.Background()
	e, err := engine.Open(ctx, engine.Config{DataDir: b.TempDir(), Watch: landing})
	require.NoError(b, err)
	var loaded int64
	took := timed(func() {
		require.NoError(b, e.Run(ctx, func(p queries.Progress) { loaded += p.RowsOut }))
	})
	require.NoError(b, e.Close(ctx))
	require.Equal(b, rows, loaded)
	return took
}
