package models

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// registry returns the shipped models, or skips where there is no ONNX Runtime.
func registry(t testing.TB) *Registry {
	t.Helper()
	path := os.Getenv("SMELT_ONNXRUNTIME")
	if path == "" {
		var err error
		path, err = filepath.Abs("../build/onnxruntime/libonnxruntime.so")
		require.NoError(t, err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Skip("skipped: no ONNX Runtime library, run `make onnxruntime` or set SMELT_ONNXRUNTIME")
	}
	r, err := Open(Config{Library: path})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, r.Close()) })
	return r
}

func readJSON(t *testing.T, path string, into any) {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, into))
}

func TestPreprocessingAndIdsAreThoseOfTheTraining(t *testing.T) {
	var golden []struct {
		Text, Preprocessed string
		IDs                []int64
	}
	readJSON(t, "builtin/testdata/golden.json", &golden)
	require.Greater(t, len(golden), 60)
	for _, g := range golden {
		require.Equal(t, g.Preprocessed, tweet(g.Text), "%q", g.Text)
	}
	r := registry(t)
	m, err := r.loaded("sentiment", Classifier)
	require.NoError(t, err)
	for _, g := range golden {
		ids, _ := m.tokens.Encode([]int64{}, m.prepare(g.Text), m.info.MaxTokens, m.settings.Special)
		require.Equal(t, fmt.Sprint(g.IDs), fmt.Sprint(ids), "%q", g.Text)
	}
}

func TestOutputsAreThoseOfTheOfficialRuntime(t *testing.T) {
	r := registry(t)
	var golden map[string][]struct {
		Text   string
		Output []float64
	}
	readJSON(t, "builtin/testdata/logits.json", &golden)
	require.Len(t, golden, 3)
	for name, cases := range golden {
		m, err := r.described(name)
		require.NoError(t, err)
		_, err = r.loaded(name, m.info.Kind)
		require.NoError(t, err)
		texts := make([]string, len(cases))
		for i, c := range cases {
			texts[i] = c.Text
		}
		got := outputs(t, r, m, texts)
		for i, c := range cases {
			require.Len(t, got[i], len(c.Output))
			for j := range c.Output {
				require.InDelta(t, c.Output[j], float64(got[i][j]), 1e-4, "%s %q", name, c.Text)
			}
		}
	}
}

// outputs runs texts as Classify and Embed do and returns the raw values.
func outputs(t *testing.T, r *Registry, m *model, texts []string) [][]float32 {
	t.Helper()
	got := make([][]float32, len(texts))
	require.NoError(t, r.run(context.Background(), m, texts, func(i int, o outcome) error {
		got[i] = o.values
		return nil
	}))
	return got
}

func TestAPredictionDoesNotDependOnItsNeighbours(t *testing.T) {
	r := registry(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	words := strings.Fields("the flight was late again thanks for nothing love this 😀 @user https://example.com/x café 日本 zzzq !!! don't match goal song")
	texts := make([]string, 300)
	for i := range texts {
		var text []string
		for range random.IntN(40) {
			text = append(text, words[random.IntN(len(words))])
		}
		texts[i] = strings.Join(text, " ")
	}
	for _, info := range r.Models() {
		m, err := r.loaded(info.Name, info.Kind)
		require.NoError(t, err)
		together := outputs(t, r, m, texts)
		for range 60 {
			i := random.IntN(len(texts))
			alone := outputs(t, r, m, texts[i:i+1])
			require.Equal(t, alone[0], together[i], "%s, bit for bit: %q", info.Name, texts[i])
		}
	}
}

func TestTheShippedModelsSayWhatTheyAre(t *testing.T) {
	r, err := Open(Config{})
	require.NoError(t, err)
	infos := r.Models()
	require.Len(t, infos, 3)
	require.Equal(t, []string{"negative", "neutral", "positive"}, infos[1].Labels)
	require.False(t, infos[1].MultiLabel)
	require.Len(t, infos[2].Labels, 19)
	require.True(t, infos[2].MultiLabel)
	require.Equal(t, Encoder, infos[0].Kind)
	require.Equal(t, 128, infos[0].Dimension)
	total := 0
	for _, i := range infos {
		require.Len(t, i.Digest, 64)
		require.NotEmpty(t, i.License)
		for _, name := range []string{configFile, tokenizerFile, onnxFile} {
			stat, err := os.Stat(filepath.Join("builtin", i.Name, name))
			require.NoError(t, err)
			total += int(stat.Size())
		}
	}
	require.Less(t, total, 16<<20, "together under 16 MB")
}

func TestCallsThatCannotBeAnswered(t *testing.T) {
	ctx := context.Background()
	none, err := Open(Config{Library: filepath.Join(t.TempDir(), "none.so")})
	require.NoError(t, err)
	_, err = none.Classify(ctx, "nobody", []string{"x"})
	require.ErrorIs(t, err, ErrUnknownModel)
	_, err = none.Classify(ctx, "encoder", []string{"x"})
	require.ErrorIs(t, err, ErrWrongKind)
	r := registry(t)
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	_, err = r.Classify(canceled, "sentiment", []string{"x"})
	require.ErrorIs(t, err, context.Canceled)
	_, err = r.Keywords(ctx, "encoder", []string{"x"}, KeywordOptions{TopN: -1})
	require.ErrorContains(t, err, "top_n -1")
	got, err := r.Classify(ctx, "sentiment", nil)
	require.NoError(t, err)
	require.Empty(t, got)
}

func TestProbabilitiesAndEmbeddingsAreWhatTheyClaim(t *testing.T) {
	r := registry(t)
	ctx := context.Background()
	texts := []string{"I love this, thank you!", "worst flight ever, I hate you", "", "\xff\xfe broken \x00 bytes", strings.Repeat("long ", 100_000)}
	found, err := r.Classify(ctx, "sentiment", texts)
	require.NoError(t, err)
	require.Equal(t, "positive", found[0].Label)
	require.Equal(t, "negative", found[1].Label)
	for _, f := range found {
		sum := 0.0
		for _, s := range f.Scores {
			sum += s.Score
		}
		require.InDelta(t, 1, sum, 1e-9)
	}
	topics, err := r.Classify(ctx, "topic", []string{"what a goal, the team won the match again", "asdf"})
	require.NoError(t, err)
	require.Equal(t, "sports", topics[0].Label)
	require.Contains(t, topics[0].Selected, "sports")
	vectors, err := r.Embed(ctx, "encoder", append(texts, "日本"))
	require.NoError(t, err)
	for i, v := range vectors {
		length := math.Sqrt(dot(v, v))
		if length != 0 {
			require.InDelta(t, 1, length, 1e-5, i)
		}
	}
	require.Greater(t, dot(vectors[0], vectors[0]), 0.99)
}

// benchmarkTexts makes up texts of 5 to 24 words.
func benchmarkTexts(n int) []string {
	texts := make([]string, n)
	random := rand.New(rand.NewPCG(1, 2))
	words := strings.Fields("the flight was late again thanks for nothing love this so much why is it raining today coffee please")
	for i := range texts {
		var text []string
		for range 5 + random.IntN(20) {
			text = append(text, words[random.IntN(len(words))])
		}
		texts[i] = strings.Join(text, " ")
	}
	return texts
}

func BenchmarkClassify(b *testing.B) {
	r := registry(b)
	texts := benchmarkTexts(10_000)
	for _, name := range []string{"sentiment", "topic"} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				_, err := r.Classify(context.Background(), name, texts)
				require.NoError(b, err)
			}
			b.ReportMetric(float64(b.N*len(texts))/b.Elapsed().Seconds(), "texts/s")
		})
	}
}
