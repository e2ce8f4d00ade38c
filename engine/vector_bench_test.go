package engine

import (
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/dolthub/go-mysql-server/sql"
	"github.com/stretchr/testify/require"

	"smelt/functions"
	"smelt/models"
	"smelt/tables"
)

const (
	benchRows  = 1_000_000
	benchBatch = 8192
	benchTries = 3
)

// benchSchema is a table of measurements: 8 words, 1,000 numbers and what is added up.
var benchSchema = tables.Schema{
	{Name: "word", Type: tables.Type{Kind: tables.String}}, {Name: "number", Type: tables.Type{Kind: tables.Integer}},
	{Name: "amount", Type: tables.Type{Kind: tables.Long}}, {Name: "score", Type: tables.Type{Kind: tables.Double}},
}

func benchBatches() []*tables.Batch {
	r := rand.New(rand.NewPCG(1, 2))
	words := []string{"positive", "negative", "neutral", "mixed", "none", "question", "answer", "advert"}
	var batches []*tables.Batch
	for rows := 0; rows < benchRows; rows += benchBatch {
		b := tables.NewBatch(benchSchema, benchBatch)
		for range min(benchBatch, benchRows-rows) {
			b.Columns[0].AppendString(words[r.IntN(len(words))])
			b.Columns[1].AppendInt(r.Int64N(1000))
			b.Columns[2].AppendInt(r.Int64N(1_000_000))
			b.Columns[3].AppendFloat(r.Float64())
			b.Len++
		}
		batches = append(batches, b)
	}
	return batches
}

// benchFeed yields batches to a commit.
type benchFeed struct{ tables.Reader }

func startBench(b *testing.B) *sqlEngine {
	store, err := tables.Open(b.TempDir(), tables.Options{})
	require.NoError(b, err)
	registry, err := models.Open(models.Config{})
	require.NoError(b, err)
	e, err := newSQL(sqlConfig{Store: store, Functions: functions.New(registry)})
	require.NoError(b, err)
	table, err := store.Create(b.Context(), "live", "disk", tables.Definition{Schema: benchSchema})
	require.NoError(b, err)
	reader, err := tables.FromBatches(benchSchema, benchBatches()...).Scan(b.Context(), nil)
	require.NoError(b, err)
	_, err = table.Commit(b.Context(), tables.Commit{Operation: "WRITE", Rows: benchFeed{reader}})
	require.NoError(b, err)
	b.Cleanup(func() {
		require.NoError(b, e.close())
		require.NoError(b, registry.Close())
		require.NoError(b, store.Close())
	})
	return e
}

// fastest returns the shortest time that a query took.
func fastest(b *testing.B, e *sqlEngine, relations map[string]tables.Relation, query string) time.Duration {
	best := time.Hour
	for range benchTries {
		start := time.Now()
		ctx := e.newContext(withStatement(b.Context(), query, relations), "live", query)
		_, rows, _, err := e.engine.Query(ctx, query)
		require.NoError(b, err)
		for err == nil {
			var row sql.Row
			row, err = rows.Next(ctx)
			_ = row
		}
		require.Equal(b, io.EOF, err)
		require.NoError(b, rows.Close(ctx))
		best = min(best, time.Since(start))
	}
	return best
}

// BenchmarkGroupBy sets GROUP BY over columns against GROUP BY over rows, ours and go-mysql-server's own, in one run:
// batches are in memory, so that decoding, which all three share, does not hide them; the last runs include it.
func BenchmarkGroupBy(b *testing.B) {
	e := startBench(b)
	relations := map[string]tables.Relation{"live.held": tables.FromBatches(benchSchema, benchBatches()...)}
	own := e.engine.Analyzer.ExecBuilder.PriorityBuilder
	for _, query := range []string{
		"SELECT word, COUNT(*), SUM(amount), AVG(score) FROM held GROUP BY word",
		"SELECT number, COUNT(*), SUM(amount), AVG(score) FROM held GROUP BY number",
		"SELECT word, number, COUNT(*) FROM held GROUP BY word, number",
		"SELECT word, MAX(score) FROM held WHERE score > 0.5 AND number IN (1, 2, 3, 500) GROUP BY word",
		"SELECT SUM(amount), MIN(word) FROM held",
		"SELECT word, COUNT(*), SUM(amount), AVG(score) FROM disk GROUP BY word",
		"SELECT number, COUNT(*), SUM(amount), AVG(score) FROM disk GROUP BY number",
	} {
		b.Run(query, func(b *testing.B) {
			for range b.N {
				vector := fastest(b, e, relations, query)
				e.vectors.off.Store(true)
				rows := fastest(b, e, relations, query)
				e.engine.Analyzer.ExecBuilder.PriorityBuilder = nil
				plain := fastest(b, e, relations, query)
				e.engine.Analyzer.ExecBuilder.PriorityBuilder = own
				e.vectors.off.Store(false)
				b.ReportMetric(float64(vector.Microseconds())/1000, "ms")
				b.ReportMetric(float64(rows)/float64(vector), "x-rows")
				b.ReportMetric(float64(plain)/float64(vector), "x-gms")
			}
		})
	}
	fmt.Println("x-rows, x-gms: how many times as long our rows and go-mysql-server's take")
}
