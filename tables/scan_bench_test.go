package tables

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	pq "github.com/parquet-go/parquet-go"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

var benchSchema = Schema{
	{Name: "id", Type: Type{Kind: Long}},
	{Name: "value", Type: Type{Kind: Double}},
	{Name: "at", Type: Type{Kind: Timestamp}},
	{Name: "lang", Type: Type{Kind: String}},
	{Name: "user", Type: Type{Kind: String}},
	{Name: "text", Type: Type{Kind: String}},
}

// benchTable writes rows like those of tweets, in files of a size.
func benchTable(b testing.TB, rows, perFile int) *Table {
	b.Helper()
	ctx, r := context.Background(), rand.New(rand.NewPCG(1, 2))
	s, err := Open(b.TempDir(), Options{})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, s.Close()) })
	table, err := s.Create(ctx, "live", "t", Definition{Schema: benchSchema, Properties: map[string]string{"delta.autoOptimize.autoCompact": "false"}})
	require.NoError(b, err)
	words := []string{"cloud", "data", "great", "slow", "the", "a", "lake", "bricks", "flakes", "warm", "tweet", "today"}
	for at := 0; at < rows; at += perFile {
		batch := NewBatch(benchSchema, perFile)
		for i := at; i < at+perFile; i++ {
			c := batch.Columns
			c[0].AppendInt(int64(i))
			c[1].AppendFloat(r.NormFloat64())
			c[2].AppendInt(1_700_000_000_000_000 + int64(i)*1_000_003)
			c[3].AppendString([]string{"en", "de", "fr", "es"}[r.IntN(4)])
			c[4].AppendString(fmt.Sprintf("user%04d", r.IntN(5000)))
			text := make([]byte, 0, 110)
			for len(text) < 93 {
				text = append(append(text, words[r.IntN(len(words))]...), ' ')
			}
			c[5].AppendString(string(text))
			batch.Len++
		}
		rows, err := FromBatches(benchSchema, batch).Scan(ctx, nil)
		require.NoError(b, err)
		_, err = table.Commit(ctx, Commit{Operation: "WRITE", Rows: rows})
		require.NoError(b, err)
	}
	return table
}

// plainScan reads the columns with parquet-go alone, page after page, and returns the number of values.
func plainScan(b testing.TB, table *Table, columns []string) (n int64) {
	b.Helper()
	for _, add := range table.Snapshot().state.Files {
		f, err := os.Open(filepath.Join(table.Dir(), add.Path))
		require.NoError(b, err)
		info, err := f.Stat()
		require.NoError(b, err)
		file, err := pq.OpenFile(f, info.Size(), pq.SkipPageIndex(true), pq.SkipBloomFilters(true))
		require.NoError(b, err)
		for _, g := range file.RowGroups() {
			for _, column := range columns {
				leaf, ok := file.Schema().Lookup(column)
				require.True(b, ok)
				n += plainColumn(b, g.ColumnChunks()[leaf.ColumnIndex])
			}
		}
		require.NoError(b, f.Close())
	}
	return n
}

var sink int64

func plainColumn(b testing.TB, chunk pq.ColumnChunk) (n int64) {
	pages := chunk.Pages()
	for {
		page, err := pages.ReadPage()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(b, err)
		n += page.NumValues()
		data := page.Data()
		sink += data.Size()
		pq.Release(page)
	}
	require.NoError(b, pages.Close())
	return n
}

func ourScan(b testing.TB, r Relation, columns []string) (n int64) {
	b.Helper()
	rows, err := r.Scan(context.Background(), columns)
	require.NoError(b, err)
	for {
		batch, err := rows.Next(context.Background())
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(b, err)
		n += int64(batch.Len) * int64(len(batch.Columns))
	}
	require.NoError(b, rows.Close())
	return n
}

// used returns the processor time of this process so far.
func used(b testing.TB) time.Duration {
	b.Helper()
	var u unix.Rusage
	require.NoError(b, unix.Getrusage(unix.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkScan compares scans of a million rows, and of many small files, with parquet-go alone on the same files. The
// ratio is parquet-go's time divided by ours: 1 is as fast. The cpu-ratio counts processor time, of all cores.
func BenchmarkScan(b *testing.B) {
	for _, shape := range []struct {
		name          string
		rows, perFile int
	}{{"1M rows in one file", 1 << 20, 1 << 20}, {"2000 files of 100 rows", 200_000, 100}} {
		table := benchTable(b, shape.rows, shape.perFile)
		for _, columns := range [][]string{{"id"}, {"lang"}, {"text"}, benchSchema.Names()} {
			name := columns[0]
			if len(columns) > 1 {
				name = "all"
			}
			b.Run(shape.name+"/"+name, func(b *testing.B) {
				var ours, plain, ourCPU, plainCPU time.Duration
				for b.Loop() {
					start, cpu := time.Now(), used(b)
					want := plainScan(b, table, columns)
					plain, plainCPU = plain+time.Since(start), plainCPU+used(b)-cpu
					start, cpu = time.Now(), used(b)
					got := ourScan(b, table.Snapshot(), columns)
					ours, ourCPU = ours+time.Since(start), ourCPU+used(b)-cpu
					require.Equal(b, want, got)
				}
				b.ReportMetric(float64(plain)/float64(ours), "ratio")
				b.ReportMetric(float64(plainCPU)/float64(ourCPU), "cpu-ratio")
				b.ReportMetric(float64(ours.Milliseconds())/float64(b.N), "ours-ms")
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}
