// Package bench measures smelt as ratios: each figure is taken beside a peer or a limit in the same run, because
// seconds on one machine say nothing about another. README.md keeps the last results.
package bench

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"smelt/autoload"
	"smelt/engine"

	_ "github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/require"
)

// rounds is how often each side of a ratio is measured; the median is reported.
const rounds = 5

// airline returns the real tweets, or skips.
func airline(b *testing.B) string {
	b.Helper()
	path := filepath.Join("..", "..", "..", "shared", "data", "dscc", "airline.jsonl")
	if _, err := os.Stat(path); err != nil {
		b.Skip("skipped: real data is not beside the project (../shared/data)")
	}
	return path
}

// drop cuts the file into small files of rows each.
func drop(b *testing.B, file, into string, rows int) autoload.ReplayStats {
	b.Helper()
	stats, err := autoload.Replay(context.Background(), autoload.ReplayConfig{Source: file, Into: into, RowsPerFile: rows})
	require.NoError(b, err)
	return stats
}

// open starts an engine inside the benchmark and connects to it.
func open(b *testing.B, cfg engine.Config) (*engine.Engine, *sql.DB) {
	b.Helper()
	if cfg.DataDir == "" {
		cfg.DataDir = b.TempDir()
	}
	cfg.Listen = "127.0.0.1:0"
	e, err := engine.Open(context.Background(), cfg)
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, e.Close(context.Background())) })
	db, err := sql.Open("mysql", "root@tcp("+e.Address()+")/live")
	require.NoError(b, err)
	b.Cleanup(func() { _ = db.Close() })
	return e, db
}

// needLibrary names the ONNX Runtime library for the engine, or skips.
func needLibrary(b *testing.B) string {
	b.Helper()
	path := os.Getenv("SMELT_ONNXRUNTIME")
	if path == "" {
		var err error
		path, err = filepath.Abs("../../build/onnxruntime/libonnxruntime.so")
		require.NoError(b, err)
	}
	if _, err := os.Stat(path); err != nil {
		b.Skip("skipped: no ONNX Runtime library, run `make onnxruntime` or set SMELT_ONNXRUNTIME")
	}
	return path
}

// median runs f a few times and returns the middle duration.
func median(f func() time.Duration) time.Duration {
	times := make([]time.Duration, rounds)
	for i := range times {
		times[i] = f()
	}
	slices.Sort(times)
	return times[len(times)/2]
}

// timed returns how long f takes.
func timed(f func()) time.Duration {
	start := time.Now()
	f()
	return time.Since(start)
}

// scalar runs a query that yields one number.
func scalar(b *testing.B, db *sql.DB, query string) int64 {
	b.Helper()
	var n int64
	require.NoError(b, db.QueryRow(query).Scan(&n), query)
	return n
}

// until polls a query until it yields want.
func until(b *testing.B, db *sql.DB, query string, want int64, every time.Duration) {
	b.Helper()
	untilWithin(b, db, time.Minute, query, want, every)
}

func untilWithin(b *testing.B, db *sql.DB, limit time.Duration, query string, want int64, every time.Duration) {
	b.Helper()
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	deadline := time.Now().Add(limit)
	for {
		var n sql.NullInt64
		err := db.QueryRow(query).Scan(&n)
		if err == nil && n.Int64 == want {
			return
		}
		if time.Now().After(deadline) {
			b.Fatalf("%s: want %d, got %d %v", query, want, n.Int64, err)
		}
		<-ticker.C
	}
}

// quoted makes a list of SQL row values out of texts.
func quoted(texts []string) string {
	var s strings.Builder
	replacer := strings.NewReplacer(`\`, `\\`, `'`, `''`)
	for i, t := range texts {
		if i > 0 {
			s.WriteString(", ")
		}
		fmt.Fprintf(&s, "('%s')", replacer.Replace(t))
	}
	return s.String()
}
