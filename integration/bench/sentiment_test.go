package bench

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"sync"
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

// BenchmarkSentimentInSQL measures sentiment() over the wire against a bare loop in Go over the same distinct texts:
// tokenize, sort by length, run ONNX Runtime in batches of eight, on as many goroutines as cores, both from raw text.
func BenchmarkSentimentInSQL(b *testing.B) {
	library := needLibrary(b)
	texts := distinctTexts(b, airline(b))
	_, db := open(b, engine.Config{OnnxLibrary: library})
	_, err := db.Exec("CREATE TABLE t (text TEXT)")
	require.NoError(b, err)
	for part := range slices.Chunk(texts, 1000) {
		_, err := db.Exec("INSERT INTO t VALUES " + quoted(part))
		require.NoError(b, err)
	}
	require.EqualValues(b, len(texts), scalar(b, db, "SELECT COUNT(*) FROM t"))
	scalar(b, db, "SELECT COUNT(*) FROM t WHERE sentiment(text) = 'positive'") // loads the model
	loop := newBareLoop(b)
	for b.Loop() {
		sql := median(func() time.Duration {
			return timed(func() { scalar(b, db, "SELECT COUNT(*) FROM t WHERE sentiment(text) = 'positive'") })
		})
		bare := median(func() time.Duration { return timed(func() { loop.run(b, texts) }) })
		b.ReportMetric(float64(len(texts))/sql.Seconds(), "sql-texts/s")
		b.ReportMetric(float64(len(texts))/bare.Seconds(), "bare-texts/s")
		b.ReportMetric(bare.Seconds()/sql.Seconds(), "x-of-bare")
	}
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
}

func newBareLoop(b *testing.B) *bareLoop {
	b.Helper()
	files, err := builtin.Files("sentiment")
	require.NoError(b, err)
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
	return &bareLoop{tokens, session}
}

func (l *bareLoop) run(b *testing.B, texts []string) {
	rows := make([][]int64, len(texts))
	each(len(texts), 256, func(from, to int) error {
		for i := from; i < to; i++ {
			rows[i], _ = l.tokens.Encode(nil, texts[i], 64, false)
		}
		return nil
	})
	slices.SortFunc(rows, func(a, b []int64) int { return cmp.Compare(len(a), len(b)) })
	var mu sync.Mutex
	positive := 0
	err := each(len(rows), batch, func(from, to int) error {
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
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		for i := range part {
			if v := out.Values[i*3 : i*3+3]; v[2] > v[0] && v[2] > v[1] {
				positive++
			}
		}
		return nil
	})
	require.NoError(b, err)
	require.Positive(b, positive)
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
