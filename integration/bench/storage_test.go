package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"smelt/engine"
	"smelt/tables"

	"github.com/stretchr/testify/require"
)

const (
	scanRows   = 1_000_000
	smallFiles = 2_000
	smallRows  = 100
	manyCommit = 20_000
)

var tweetSchema = tables.Schema{
	{Name: "id", Type: tables.Type{Kind: tables.Long}}, {Name: "at", Type: tables.Type{Kind: tables.Timestamp}}, {Name: "user", Type: tables.Type{Kind: tables.String}},
	{Name: "lang", Type: tables.Type{Kind: tables.String}}, {Name: "text", Type: tables.Type{Kind: tables.String}}, {Name: "score", Type: tables.Type{Kind: tables.Double}},
}

// tweets makes rows that look like those of the main job: few users and languages, texts of about 97 characters.
func tweets(r *rand.Rand, from, rows int) *tables.Batch {
	words := strings.Fields("the plane was late again and nobody told us why so we waited at the gate for hours without any news coffee or help thanks")
	b := tables.NewBatch(tweetSchema, rows)
	for i := range rows {
		var text strings.Builder
		for text.Len() < 92 {
			text.WriteString(words[r.IntN(len(words))] + " ")
		}
		b.Columns[0].AppendInt(int64(from + i))
		b.Columns[1].AppendInt(1_700_000_000_000_000 + int64(from+i)*1_000_000)
		b.Columns[2].AppendString("user" + strconv.Itoa(r.IntN(5000)))
		b.Columns[3].AppendString([]string{"en", "de", "fr", "es", "it", "pt", "nl", "ja"}[r.IntN(8)])
		b.Columns[4].AppendString(text.String())
		b.Columns[5].AppendFloat(r.Float64())
		b.Len++
	}
	return b
}

func store(b *testing.B, dir string) *tables.Store {
	b.Helper()
	s, err := tables.Open(dir, tables.Options{})
	require.NoError(b, err)
	b.Cleanup(func() { _ = s.Close() })
	return s
}

func commit(b *testing.B, t *tables.Table, batches ...*tables.Batch) {
	b.Helper()
	rows, err := tables.FromBatches(tweetSchema, batches...).Scan(context.Background(), nil)
	require.NoError(b, err)
	_, err = t.Commit(context.Background(), tables.Commit{Operation: "WRITE", Rows: rows})
	require.NoError(b, err)
}

// BenchmarkCommits sets commits of a hundred rows against a bare loop that writes as many bytes into as many files with
// the same syncs.
func BenchmarkCommits(b *testing.B) {
	const commits = 200
	batch := tweets(rand.New(rand.NewPCG(1, 1)), 0, smallRows)
	for b.Loop() {
		s := store(b, b.TempDir())
		// Joining files is work that the bare loop has not.
		t, err := s.Create(context.Background(), "live", "t", tables.Definition{Schema: tweetSchema, Properties: map[string]string{"delta.autoOptimize.autoCompact": "false"}})
		require.NoError(b, err)
		var ours, ratios []float64 // one after the other: the disk belongs to others, too
		for range rounds {
			start := time.Now()
			for range commits {
				commit(b, t, batch)
			}
			took := time.Since(start).Seconds()
			ours = append(ours, took)
			ratios = append(ratios, bareSyncs(b, commits, t.Snapshot().Bytes()/int64(t.Snapshot().Files())).Seconds()/took)
		}
		slices.Sort(ours)
		slices.Sort(ratios)
		b.ReportMetric(commits/ours[rounds/2], "commits/s")
		b.ReportMetric(ratios[rounds/2], "x-of-bare-syncs")
		b.ReportMetric(ratios[0], "x-lowest")
		b.ReportMetric(ratios[rounds-1], "x-highest")
	}
}

// bareSyncs writes as many files with the same syncs and links.
func bareSyncs(b *testing.B, commits int, dataBytes int64) time.Duration {
	dir := b.TempDir()
	log := filepath.Join(dir, "log")
	require.NoError(b, os.Mkdir(log, 0o755))
	start := time.Now()
	for i := range commits {
		writeSynced(b, filepath.Join(dir, strconv.Itoa(i)), make([]byte, dataBytes))
		syncDir(b, dir)
		tmp := filepath.Join(log, "tmp"+strconv.Itoa(i))
		writeSynced(b, tmp, make([]byte, 1200))
		require.NoError(b, os.Link(tmp, filepath.Join(log, strconv.Itoa(i))))
		require.NoError(b, os.Remove(tmp))
		syncDir(b, log)
	}
	return time.Since(start)
}

func writeSynced(b *testing.B, path string, content []byte) {
	f, err := os.Create(path)
	require.NoError(b, err)
	_, err = f.Write(content)
	require.NoError(b, errors.Join(err, f.Sync(), f.Close()))
}

func syncDir(b *testing.B, path string) {
	d, err := os.Open(path)
	require.NoError(b, err)
	require.NoError(b, errors.Join(d.Sync(), d.Close()))
}

// duck runs a query in DuckDB some times and returns the median, or ok false without it. The import is not counted.
func duck(b *testing.B, query string) (took time.Duration, ok bool) {
	return duckTimes(b, query, rounds)
}

// duckTimes is duck with another number of rounds than five.
func duckTimes(b *testing.B, query string, n int) (took time.Duration, ok bool) {
	b.Helper()
	python := os.Getenv("SMELT_TEST_PYTHON")
	if python == "" {
		python = "python3"
	}
	script := `
import sys, time
try: import duckdb
except ImportError: sys.exit(9)
c = duckdb.connect(); times = []
for _ in range(int(sys.argv[2])):
    t = time.perf_counter(); c.execute(sys.argv[1]).fetchall(); times.append(time.perf_counter() - t)
print(sorted(times)[len(times) // 2])`
	out, err := exec.Command(python, "-c", script, query, strconv.Itoa(n)).Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 9 {
		b.Logf("no comparison with DuckDB: %s cannot import it", python)
		return 0, false
	}
	if exit != nil {
		b.Logf("%s", exit.Stderr)
	}
	require.NoError(b, err)
	seconds, err := strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
	require.NoError(b, err)
	return time.Duration(seconds * float64(time.Second)), true
}

func scan(b *testing.B, t *tables.Table, columns []string) time.Duration {
	start := time.Now()
	r, err := t.Snapshot().Scan(context.Background(), columns)
	require.NoError(b, err)
	for err == nil {
		_, err = r.Next(context.Background())
	}
	require.ErrorIs(b, err, io.EOF)
	require.NoError(b, r.Close())
	return time.Since(start)
}

// BenchmarkScanAndGroup reads a million rows, one column and all, and groups them over the wire, beside DuckDB over the
// same files. DuckDB decodes what it must to add it up; both use all cores.
func BenchmarkScanAndGroup(b *testing.B) {
	for b.Loop() {
		dir := b.TempDir()
		s := store(b, dir)
		t := millionRows(b, s)
		files := "read_parquet('" + t.Dir() + "/*.parquet')"
		one := median(func() time.Duration { return scan(b, t, []string{"id"}) })
		all := median(func() time.Duration { return scan(b, t, nil) })
		require.NoError(b, s.Close())
		_, db := open(b, engine.Config{DataDir: dir})
		const grouped = "SELECT lang, COUNT(*), SUM(id), AVG(score) FROM %s GROUP BY lang"
		group := median(func() time.Duration {
			start := time.Now()
			rows, err := db.Query(fmt.Sprintf(grouped, "t"))
			require.NoError(b, err)
			n := 0
			for rows.Next() {
				n++
			}
			require.NoError(b, errors.Join(rows.Err(), rows.Close()))
			require.Equal(b, 8, n)
			return time.Since(start)
		})
		b.ReportMetric(float64(one.Microseconds())/1000, "one-column-ms")
		b.ReportMetric(float64(all.Microseconds())/1000, "all-columns-ms")
		b.ReportMetric(float64(group.Microseconds())/1000, "group-by-ms")
		if took, ok := duck(b, "SELECT SUM(id) FROM "+files); ok {
			b.ReportMetric(took.Seconds()/one.Seconds(), "one-column-x-of-duckdb")
		}
		if took, ok := duck(b, `SELECT SUM(id), EPOCH(MAX("at")), MAX("user"), MAX(lang), MAX(LENGTH(text)), SUM(score) FROM `+files); ok {
			b.ReportMetric(took.Seconds()/all.Seconds(), "all-columns-x-of-duckdb")
		}
		if took, ok := duck(b, fmt.Sprintf(grouped, files)); ok {
			b.ReportMetric(took.Seconds()/group.Seconds(), "group-by-x-of-duckdb")
		}
	}
}

// millionRows fills a table.
func millionRows(b *testing.B, s *tables.Store) *tables.Table {
	b.Helper()
	t, err := s.Create(context.Background(), "live", "t", tables.Definition{Schema: tweetSchema})
	require.NoError(b, err)
	r := rand.New(rand.NewPCG(2, 2))
	var batches []*tables.Batch
	for from := 0; from < scanRows; from += 50_000 {
		batches = append(batches, tweets(r, from, 50_000))
	}
	commit(b, t, batches...)
	return t
}

// BenchmarkSmallFiles scans what two thousand commits of a hundred rows left, before and after OPTIMIZE.
func BenchmarkSmallFiles(b *testing.B) {
	for b.Loop() {
		s := store(b, b.TempDir())
		t, err := s.Create(context.Background(), "live", "t", tables.Definition{Schema: tweetSchema, Properties: map[string]string{"delta.autoOptimize.autoCompact": "false"}})
		require.NoError(b, err)
		r := rand.New(rand.NewPCG(3, 3))
		for i := range smallFiles {
			commit(b, t, tweets(r, i*smallRows, smallRows))
		}
		before := median(func() time.Duration { return scan(b, t, nil) })
		start := time.Now()
		removed, added, err := t.Optimize(context.Background())
		require.NoError(b, err)
		require.Equal(b, []int{smallFiles, 1}, []int{removed, added})
		optimize := time.Since(start)
		after := median(func() time.Duration { return scan(b, t, nil) })
		b.ReportMetric(float64(before.Microseconds())/1000, "before-ms")
		b.ReportMetric(float64(after.Microseconds())/1000, "after-ms")
		b.ReportMetric(before.Seconds()/after.Seconds(), "x-faster")
		b.ReportMetric(float64(optimize.Milliseconds()), "optimize-ms")
	}
}

// BenchmarkOpen opens a store whose table has twenty thousand commits, with checkpoints and without.
func BenchmarkOpen(b *testing.B) {
	for b.Loop() {
		for _, interval := range []int{100, 2 * manyCommit} {
			dir := b.TempDir()
			s := store(b, dir)
			t, err := s.Create(context.Background(), "live", "t", tables.Definition{Schema: tweetSchema, Properties: map[string]string{"delta.checkpointInterval": strconv.Itoa(interval)}})
			require.NoError(b, err)
			for i := range manyCommit {
				_, err := t.Commit(context.Background(), tables.Commit{Operation: "WRITE", Txns: map[string]int64{"flow": int64(i)}, Metrics: map[string]string{"numOutputRows": "0"}})
				require.NoError(b, err)
			}
			require.NoError(b, s.Close())
			took := median(func() time.Duration {
				start := time.Now()
				s, err := tables.Open(dir, tables.Options{})
				require.NoError(b, err)
				took := time.Since(start)
				require.NoError(b, s.Close())
				return took
			})
			name := "with-checkpoints-ms"
			if interval > manyCommit {
				name = "without-ms"
			}
			b.ReportMetric(float64(took.Microseconds())/1000, name)
		}
	}
}
