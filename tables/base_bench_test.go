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

	pq "github.com/parquet-go/parquet-go"
	"github.com/stretchr/testify/require"
)

var tweetSchema = Schema{{Name: "id", Type: Type{Kind: Long}}, {Name: "user", Type: Type{Kind: String}}, {Name: "text", Type: Type{Kind: String}},
	{Name: "score", Type: Type{Kind: Double}}, {Name: "ts", Type: Type{Kind: Timestamp}}, {Name: "lang", Type: Type{Kind: String}}}

func tweets(r *rand.Rand, n int) *Batch {
	b := NewBatch(tweetSchema, n)
	for i := range n {
		b.Columns[0].AppendInt(int64(i))
		b.Columns[1].AppendString(fmt.Sprintf("user%d", r.IntN(5000)))
		b.Columns[2].AppendString(fmt.Sprintf("this is the text number %d of a tweet with about a hundred characters %x %x", i, r.Uint64(), r.Uint64()))
		b.Columns[3].AppendFloat(r.Float64())
		b.Columns[4].AppendInt(1.7e15 + int64(i)*1e6)
		b.Columns[5].AppendString([]string{"en", "de", "fr"}[r.IntN(3)])
		b.Len++
	}
	return b
}

func BenchmarkBase(b *testing.B) {
	ctx := context.Background()
	r := rand.New(rand.NewPCG(1, 2))
	s, err := Open(b.TempDir(), Options{})
	require.NoError(b, err)
	defer s.Close()
	big, err := s.Create(ctx, "live", "big", Definition{Schema: tweetSchema})
	require.NoError(b, err)
	const total, per = 500_000, 10_000
	var batches []*Batch
	for range total / per {
		batches = append(batches, tweets(r, per))
	}
	b.Run("write", func(b *testing.B) {
		for range b.N {
			rows, _ := FromBatches(tweetSchema, batches...).Scan(ctx, nil)
			_, err := big.Commit(ctx, Commit{Operation: "WRITE", Rows: rows, Overwrite: true})
			require.NoError(b, err)
			b.ReportMetric(float64(total)/b.Elapsed().Seconds()*float64(b.N), "rows/s")
		}
	})
	for _, columns := range [][]string{nil, {"id"}, {"user"}, {"text"}, {"score"}, {"lang"}} {
		b.Run(fmt.Sprint("read", columns), func(b *testing.B) {
			b.ReportAllocs()
			for range b.N {
				rd, err := big.Snapshot().Scan(ctx, columns)
				require.NoError(b, err)
				n := 0
				for {
					x, err := rd.Next(ctx)
					if errors.Is(err, io.EOF) {
						break
					}
					require.NoError(b, err)
					n += x.Len
				}
				require.Equal(b, total, n)
				rd.Close()
			}
			b.ReportMetric(float64(total)/b.Elapsed().Seconds()*float64(b.N), "rows/s")
		})
	}
	files, _ := filepath.Glob(filepath.Join(big.Dir(), "*.parquet"))
	f, err := os.Open(files[len(files)-1])
	require.NoError(b, err)
	st, _ := f.Stat()
	pf, err := pq.OpenFile(f, st.Size())
	require.NoError(b, err)
	for c, col := range pf.Schema().Columns() {
		b.Run(fmt.Sprint("bare", col), func(b *testing.B) {
			vals := make([]pq.Value, 8192)
			for range b.N {
				for _, g := range pf.RowGroups() {
					p := g.ColumnChunks()[c].Pages()
					for {
						page, err := p.ReadPage()
						if err != nil {
							break
						}
						v := page.Values()
						for {
							_, err := v.ReadValues(vals)
							if err != nil {
								break
							}
						}
						pq.Release(page)
					}
					p.Close()
				}
			}
			b.ReportMetric(float64(pf.NumRows())/b.Elapsed().Seconds()*float64(b.N), "rows/s")
		})
	}
	small, err := s.Create(ctx, "live", "small", Definition{Schema: tweetSchema})
	require.NoError(b, err)
	tiny := tweets(r, 100)
	b.Run("commit100", func(b *testing.B) {
		for i := range b.N {
			rows, _ := FromBatches(tweetSchema, tiny).Scan(ctx, nil)
			_, err := small.Commit(ctx, Commit{Operation: "WRITE", Rows: rows, Txns: map[string]int64{"a": int64(i)}})
			require.NoError(b, err)
		}
	})
	b.Run("fsyncs", func(b *testing.B) {
		d := b.TempDir()
		dir, _ := os.Open(d)
		for i := range b.N {
			f, _ := os.Create(filepath.Join(d, fmt.Sprint("a", i)))
			f.Write(make([]byte, 8000))
			f.Sync()
			f.Close()
			dir.Sync()
			f, _ = os.Create(filepath.Join(d, fmt.Sprint("b", i)))
			f.Write(make([]byte, 1000))
			f.Sync()
			f.Close()
			os.Link(filepath.Join(d, fmt.Sprint("b", i)), filepath.Join(d, fmt.Sprint("c", i)))
			os.Remove(filepath.Join(d, fmt.Sprint("b", i)))
			dir.Sync()
		}
	})
	for small.Snapshot().Version() < 2000 {
		rows, _ := FromBatches(tweetSchema, tiny).Scan(ctx, nil)
		_, err := small.Commit(ctx, Commit{Operation: "WRITE", Rows: rows})
		require.NoError(b, err)
	}
	b.Run(fmt.Sprint("open", small.Snapshot().Version()), func(b *testing.B) {
		for range b.N {
			_, err := openTable(s, "live", "small", small.Dir())
			require.NoError(b, err)
		}
	})
	b.Run("scansmallfiles", func(b *testing.B) {
		for range b.N {
			_, err := ReadAll(ctx, small.Snapshot(), []string{"id"})
			require.NoError(b, err)
		}
		b.ReportMetric(float64(small.Snapshot().Files())/b.Elapsed().Seconds()*float64(b.N), "files/s")
	})
}
