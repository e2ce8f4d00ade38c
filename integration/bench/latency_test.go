package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"smelt/engine"

	"github.com/stretchr/testify/require"
)

// drops is how many single files are dropped to measure the way to app: enough for a 99th percentile.
const drops = 200

// BenchmarkDropToApp measures from the rename of one file with one tweet until a client sees its row in app, through
// bronze, silver and gold, with a model in between.
func BenchmarkDropToApp(b *testing.B) {
	library := needLibrary(b)
	watch := b.TempDir()
	_, db := open(b, engine.Config{Watch: watch, OnnxLibrary: library, Pipelines: []string{filepath.Join("..", "..", "queries", "sentiment")}})
	dir := filepath.Join(watch, "tweets")
	round := 0
	for b.Loop() {
		round++
		latencies := make([]time.Duration, 0, drops)
		for i := range drops {
			mention := fmt.Sprintf("bench_%d_%d", round, i)
			line := fmt.Sprintf(`{"date": "Mon Apr 06 22:19:45 PDT 2009", "user": "u", "text": "@%s what a lovely morning", "sentiment": "positive"}`, mention)
			require.NoError(b, os.MkdirAll(dir, 0o755))
			hidden, visible := filepath.Join(dir, "."+mention), filepath.Join(dir, mention+".json")
			require.NoError(b, os.WriteFile(hidden, []byte(line+"\n"), 0o644))
			latencies = append(latencies, timed(func() {
				require.NoError(b, os.Rename(hidden, visible))
				until(b, db, "SELECT SUM(total) FROM app WHERE mention = '"+mention+"'", 1, time.Millisecond)
			}))
		}
		slices.Sort(latencies)
		b.ReportMetric(float64(latencies[drops/2].Microseconds())/1000, "median-ms")
		b.ReportMetric(float64(latencies[drops*99/100].Microseconds())/1000, "p99-ms")
	}
}
