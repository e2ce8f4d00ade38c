package models

import (
	"context"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// memoryLedger remembers everything.
type memoryLedger struct {
	mu      sync.Mutex
	outputs map[string]string
}

func (l *memoryLedger) Find(_ context.Context, model string, inputs []InputDigest, outputs []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, in := range inputs {
		outputs[i] = l.outputs[model+string(in[:])]
	}
}

func (l *memoryLedger) Add(model, _ string, inputs []InputDigest, outputs []string, _ time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, in := range inputs {
		l.outputs[model+string(in[:])] = outputs[i]
	}
}

func TestOutputsComeBackBitForBit(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	values := []float32{0, float32(math.Copysign(0, -1)), 1, -0.1, math.MaxFloat32, math.SmallestNonzeroFloat32}
	for range 1000 {
		v := math.Float32frombits(random.Uint32())
		if f := float64(v); !math.IsNaN(f) && !math.IsInf(f, 0) {
			values = append(values, v)
		}
	}
	got, err := parseOutput(formatOutput(values))
	require.NoError(t, err)
	require.Len(t, got, len(values))
	for i := range values {
		require.Equal(t, math.Float32bits(values[i]), math.Float32bits(got[i]))
	}
	for _, bad := range []string{"", "[", "1,2", "[1,]x", "[one]", "[1,,2]"} {
		_, err := parseOutput(bad)
		require.Error(t, err, bad)
	}
}

// TestWithALedgerEachTextIsScoredOnce asks with and without one, in pieces and again: the answers are the same, bit for bit.
func TestWithALedgerEachTextIsScoredOnce(t *testing.T) {
	plain := registry(t)
	ledger := &memoryLedger{outputs: map[string]string{}}
	texts := []string{"I love this", "so sad today", "", "what a goal, the team won", "日本 \xff", "I love this plane"}
	for name, ask := range map[string]func(r *Registry, ctx context.Context, texts []string) (any, error){
		"classify": func(r *Registry, ctx context.Context, texts []string) (any, error) {
			return r.Classify(ctx, "sentiment", texts)
		},
		"topics": func(r *Registry, ctx context.Context, texts []string) (any, error) {
			return r.Classify(ctx, "topic", texts)
		},
		"embed": func(r *Registry, ctx context.Context, texts []string) (any, error) {
			return r.Embed(ctx, "encoder", texts)
		},
		"keywords": func(r *Registry, ctx context.Context, texts []string) (any, error) {
			return r.Keywords(ctx, "encoder", texts, KeywordOptions{TopN: 3, MaxNgram: 2})
		},
		"diverse": func(r *Registry, ctx context.Context, texts []string) (any, error) {
			return r.Keywords(ctx, "encoder", texts, KeywordOptions{MMR: true, Diversity: 0.5})
		},
	} {
		t.Run(name, func(t *testing.T) {
			want, err := ask(plain, t.Context(), texts)
			require.NoError(t, err)
			// A restart between: nothing but the ledger stays.
			for round, expected := range [][2]int{{3, 0}, {3, 3}, {0, 6}} {
				r, err := Open(Config{Library: plain.cfg.Library, Ledger: ledger})
				require.NoError(t, err)
				var scored, known int
				var mu sync.Mutex
				ctx := WithUsage(t.Context(), false, func(u Usage) {
					mu.Lock()
					defer mu.Unlock()
					scored, known = scored+u.Scored, known+u.Known
				})
				asked := texts
				if round == 0 {
					asked = texts[:3]
				}
				got, err := ask(r, ctx, asked)
				require.NoError(t, err)
				require.Equal(t, expected, [2]int{scored, known}, "scored and known")
				if round > 0 {
					require.Equal(t, want, got)
				}
				require.NoError(t, r.Close())
			}
		})
	}
	for key, text := range ledger.outputs {
		ledger.outputs[key] = text[:len(text)-1] // damaged
	}
	r, err := Open(Config{Library: plain.cfg.Library, Ledger: ledger})
	require.NoError(t, err)
	want, err := plain.Classify(t.Context(), "sentiment", texts)
	require.NoError(t, err)
	got, err := r.Classify(t.Context(), "sentiment", texts)
	require.NoError(t, err)
	require.Equal(t, want, got, "what cannot be read is scored again")
	require.NoError(t, r.Close())
}

// BenchmarkLedger is what the ledger costs: texts that it does not know, and texts that it knows, against none.
func BenchmarkLedger(b *testing.B) {
	library := registry(b).cfg.Library
	texts := benchmarkTexts(10_000)
	for _, name := range []string{"none", "unknown", "known"} {
		b.Run(name, func(b *testing.B) {
			ledger := &memoryLedger{outputs: map[string]string{}}
			c := Config{Library: library}
			if name != "none" {
				c.Ledger = ledger
			}
			r, err := Open(c)
			require.NoError(b, err)
			defer r.Close()
			_, err = r.Classify(b.Context(), "sentiment", texts)
			require.NoError(b, err)
			for b.Loop() {
				if name == "unknown" {
					ledger.outputs = map[string]string{}
				}
				_, err := r.Classify(b.Context(), "sentiment", texts)
				require.NoError(b, err)
			}
			b.ReportMetric(float64(b.N*len(texts))/b.Elapsed().Seconds(), "texts/s")
		})
	}
}

// TestCallsThatMeetScoreEachTextOnce asks for overlapping texts from many goroutines at once; some give up half way.
func TestCallsThatMeetScoreEachTextOnce(t *testing.T) {
	library := registry(t).cfg.Library
	r, err := Open(Config{Library: library, Ledger: &memoryLedger{outputs: map[string]string{}}})
	require.NoError(t, err)
	texts := benchmarkTexts(400)
	var mu sync.Mutex
	scored := 0
	ctx := WithUsage(t.Context(), false, func(u Usage) {
		mu.Lock()
		defer mu.Unlock()
		scored += u.Scored
	})
	var calls sync.WaitGroup
	for i := range 12 {
		calls.Go(func() {
			from := (i % 4) * 50
			asked := append(texts[from:from+250:from+250], texts[from]) // one of them twice
			found, err := r.Classify(ctx, "sentiment", asked)
			if !noError(t, err) {
				return
			}
			for _, f := range found {
				if f.Label == "" {
					t.Error("a text without an answer")
				}
			}
		})
	}
	calls.Wait()
	distinct := map[string]bool{}
	for _, text := range texts {
		distinct[text] = true
	}
	require.LessOrEqual(t, scored, len(distinct)+12, "the doubled ones may count twice")

	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = r.Classify(canceled, "topic", texts)
	require.ErrorIs(t, err, context.Canceled)
	_, err = r.Classify(t.Context(), "topic", texts)
	require.NoError(t, err, "a claim that was given up holds nobody")
	require.Empty(t, r.claims.all)
	require.NoError(t, r.Close())
}
