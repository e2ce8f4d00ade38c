package models

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestBatchesHoldTextsOfLikeLength(t *testing.T) {
	var rows []encoded
	for n := range 300 { // sorted, as forward sorts them
		rows = append(rows, encoded{ids: make([]int64, n*n/100)})
	}
	m := &model{}
	padded, real := 0, 0
	for len(rows) > 0 {
		n := m.batchSize(rows)
		longest := len(rows[n-1].ids)
		require.True(t, n == 1 || n <= batchRows && n*longest <= batchTokens)
		for _, row := range rows[:n] {
			real += len(row.ids)
		}
		padded += n * longest
		rows = rows[n:]
	}
	require.Less(t, float64(padded), 1.05*float64(real))
	m.settings.Single = true
	require.Equal(t, 1, m.batchSize(make([]encoded, 5)))
}

// TestCallersShareTheThreads has many callers and counts who works at once.
func TestCallersShareTheThreads(t *testing.T) {
	r, err := Open(Config{Library: libraryPath(t), Workers: 2})
	require.NoError(t, err)
	defer func() { require.NoError(t, r.Close()) }()
	m, err := r.loaded("sentiment", Classifier)
	require.NoError(t, err)
	var at, most atomic.Int64
	prepare := m.prepare
	m.prepare = func(text string) string {
		n := at.Add(1)
		defer at.Add(-1)
		for before := most.Load(); n > before && !most.CompareAndSwap(before, n); before = most.Load() {
		}
		return prepare(text)
	}
	texts := make([]string, 5*encodeRows)
	for i := range texts {
		texts[i] = "what a long flight that was, and late again"
	}
	var callers sync.WaitGroup
	for range 10 {
		callers.Go(func() {
			_, err := r.Classify(t.Context(), "sentiment", texts)
			noError(t, err)
		})
	}
	callers.Wait()
	require.EqualValues(t, 2, most.Load())
}
