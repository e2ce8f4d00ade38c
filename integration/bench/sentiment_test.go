package bench

import (
	"bufio"
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"smelt/engine"
	"smelt/models/builtin"
	"smelt/models/onnx"
	"smelt/models/tokenizer"

	"github.com/stretchr/testify/require"
)

// batch is how many texts the bare loop runs at once, as package models does.
const batch = 8

// BenchmarkSentimentInSQL measures sentiment() over the wire against a bare loop in Go over the same distinct texts: from raw
// text, and from ids that are sorted by length already; ONNX Runtime in batches of eight, on as many goroutines as cores. The
// ledger is off: it would answer all but the first round.
func BenchmarkSentimentInSQL(b *testing.B) {
	library := needLibrary(b)
	texts := distinctTexts(b, airline(b))
	_, db := open(b, engine.Config{OnnxLibrary: library, LedgerBytes: -1})
	insert(b, db, texts)
	query := "SELECT COUNT(*) FROM t WHERE sentiment(text) = 'positive'"
	scalar(b, db, query) // loads the model
	files, err := builtin.Files("sentiment")
	require.NoError(b, err)
	loop := newBareLoop(b, files, 64, false)
	for b.Loop() {
		compareWithLoop(b, db, query, texts, loop, rounds)
	}
}

// insert makes the table t of texts.
func insert(b *testing.B, db *sql.DB, texts []string) {
	b.Helper()
	_, err := db.Exec("CREATE TABLE t (text TEXT)")
	require.NoError(b, err)
	for part := range slices.Chunk(texts, 1000) {
		_, err := db.Exec("INSERT INTO t VALUES " + quoted(part))
		require.NoError(b, err)
	}
	require.EqualValues(b, len(texts), scalar(b, db, "SELECT COUNT(*) FROM t"))
}

// compareWithLoop reports a query's speed as a part of that of the bare loop; the sides take turns. It returns the query's median.
func compareWithLoop(b *testing.B, db *sql.DB, query string, texts []string, loop *bareLoop, turns int) time.Duration {
	b.Helper()
	rows := loop.tokenize(texts)
	var sql, whole, bare, single []time.Duration
	for range turns {
		sql = append(sql, timed(func() { scalar(b, db, query) }))
		whole = append(whole, timed(func() { loop.score(b, loop.tokenize(texts), batch) }))
		bare = append(bare, timed(func() { loop.score(b, rows, batch) }))
		single = append(single, timed(func() { loop.score(b, rows, 1) }))
	}
	took := middle(sql)
	b.ReportMetric(float64(len(texts))/took.Seconds(), "sql-texts/s")
	b.ReportMetric(middle(whole).Seconds()/took.Seconds(), "x-of-bare")
	b.ReportMetric(middle(bare).Seconds()/took.Seconds(), "x-of-pretokenized")
	b.ReportMetric(middle(bare).Seconds()/middle(single).Seconds(), "x-one-row-a-run")
	return took
}

func middle(times []time.Duration) time.Duration {
	slices.Sort(times)
	return times[len(times)/2]
}

func distinctTexts(b *testing.B, path string) []string {
	b.Helper()
	f, err := os.Open(path)
	require.NoError(b, err)
	defer f.Close()
	seen := map[string]bool{}
	var texts []string
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		var row struct{ Text string }
		require.NoError(b, json.Unmarshal(lines.Bytes(), &row))
		if !seen[row.Text] {
			seen[row.Text] = true
			texts = append(texts, row.Text)
		}
	}
	require.NoError(b, lines.Err())
	return texts
}

// bareLoop is the least that scoring takes; it leaves out the preparation of the text, which makes it faster, not slower.
type bareLoop struct {
	tokens  *tokenizer.Tokenizer
	session *onnx.Session
	limit   int // tokens
	special bool
}

func newBareLoop(b *testing.B, files fs.FS, limit int, special bool) *bareLoop {
	b.Helper()
	read := func(name string) []byte {
		data, err := fs.ReadFile(files, name)
		require.NoError(b, err)
		return data
	}
	tokens, err := tokenizer.Load(read("tokenizer.json"))
	require.NoError(b, err)
	session, err := onnx.Open(read("model.onnx"), nil, "logits")
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, session.Close()) })
	return &bareLoop{tokens, session, limit, special}
}

// tokenize returns the ids of texts, sorted by length.
func (l *bareLoop) tokenize(texts []string) [][]int64 {
	rows := make([][]int64, len(texts))
	_ = each(len(texts), 256, func(from, to int) error {
		for i := from; i < to; i++ {
			rows[i], _ = l.tokens.Encode(nil, texts[i], l.limit, l.special)
		}
		return nil
	})
	slices.SortFunc(rows, func(a, b []int64) int { return cmp.Compare(len(a), len(b)) })
	return rows
}

func (l *bareLoop) score(b *testing.B, rows [][]int64, size int) {
	var scored atomic.Int64
	err := each(len(rows), size, func(from, to int) error {
		part := rows[from:to]
		width := max(1, len(part[len(part)-1]))
		ids, mask := make([]int64, len(part)*width), make([]int64, len(part)*width)
		for i, r := range part {
			copy(ids[i*width:], r)
			for j := range r {
				mask[i*width+j] = 1
			}
		}
		out, err := l.session.Run(context.Background(), ids, mask, len(part), width)
		scored.Add(int64(len(out.Values) / 3))
		return err
	})
	require.NoError(b, err)
	require.EqualValues(b, len(rows), scored.Load())
}

// each calls f for the parts of n things on two goroutines and returns the first error.
func each(n, size int, f func(from, to int) error) error {
	parts := make(chan int)
	errs := make(chan error, 2)
	for range 2 {
		go func() {
			var first error
			for from := range parts {
				if err := f(from, min(from+size, n)); err != nil && first == nil {
					first = fmt.Errorf("part at %d: %w", from, err)
				}
			}
			errs <- first
		}()
	}
	for from := 0; from < n; from += size {
		parts <- from
	}
	close(parts)
	return cmp.Or(<-errs, <-errs)
}
