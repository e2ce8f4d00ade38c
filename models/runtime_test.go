package models

import (
	"bytes"
	"context"
	"encoding/binary"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// poisoned is a directory with the shipped model whose number for one word is none.
func poisoned(t *testing.T, name, word string) string {
	t.Helper()
	dir := exported(t, name, nil)
	m, err := registry(t).loaded(name, registryKind(t, name))
	require.NoError(t, err)
	ids, _ := m.tokens.Encode(nil, word, 8, false)
	require.Len(t, ids, 1, "the word is a token")
	path := filepath.Join(dir, onnxFile)
	graph, err := os.ReadFile(path)
	require.NoError(t, err)
	// The scales of the words: field 9, raw data, of as many floats as there are words.
	raw := binary.AppendUvarint([]byte{9<<3 | 2}, uint64(4*m.tokens.Size()))
	at := bytes.Index(graph, raw)
	require.Positive(t, at)
	binary.LittleEndian.PutUint32(graph[at+len(raw)+4*int(ids[0]):], math.Float32bits(float32(math.NaN())))
	require.NoError(t, os.WriteFile(path, graph, 0o600))
	return dir
}

func registryKind(t *testing.T, name string) string {
	t.Helper()
	info, err := registry(t).Resolve(name)
	require.NoError(t, err)
	return info.Kind
}

// heard adds up what WithUsage tells.
type heard struct {
	mu    sync.Mutex
	total Usage
}

func (h *heard) context(ctx context.Context) context.Context {
	return WithUsage(ctx, false, func(u Usage) {
		h.mu.Lock()
		defer h.mu.Unlock()
		t := &h.total
		t.Scored, t.Known, t.Truncated, t.Failed = t.Scored+u.Scored, t.Known+u.Known, t.Truncated+u.Truncated, t.Failed+u.Failed
		if u.Fault != nil {
			t.Fault = u.Fault
		}
	})
}

func TestATextWithoutNumbersHasNoPredictionAndTheOthersHaveTheirs(t *testing.T) {
	for _, ledger := range []*memoryLedger{nil, {outputs: map[string]string{}}} {
		c := Config{Library: libraryPath(t), Disk: newDisk(), Permits: func(string) bool { return true }}
		if ledger != nil {
			c.Ledger = ledger
		}
		r, err := Open(c)
		require.NoError(t, err)
		defer func() { require.NoError(t, r.Close()) }()
		for _, name := range []string{"sentiment", "encoder"} {
			_, err := r.Create(t.Context(), "odd_"+name, "", "", map[string]string{"source": poisoned(t, name, "pizza")}, false, false)
			require.NoError(t, err)
		}
		texts := []string{"love this", "pizza for all", "late again"}
		for range 2 { // what failed is not kept: it fails again
			var h heard
			got, err := r.Classify(h.context(t.Context()), "odd_sentiment", texts)
			require.NoError(t, err)
			want, err := r.Classify(t.Context(), "sentiment", texts)
			require.NoError(t, err)
			want[1] = Classification{Failed: true}
			require.Equal(t, want, got)
			require.Equal(t, 1, h.total.Failed)
			require.ErrorContains(t, h.total.Fault, "NaN")

			h = heard{}
			vectors, err := r.Embed(h.context(t.Context()), "odd_encoder", texts)
			require.NoError(t, err)
			require.Nil(t, vectors[1])
			require.NotNil(t, vectors[2])
			require.Equal(t, 1, h.total.Failed)

			h = heard{}
			words, err := r.Keywords(h.context(t.Context()), "odd_encoder", texts, KeywordOptions{})
			require.NoError(t, err)
			require.Nil(t, words[1])
			require.NotEmpty(t, words[0])
			require.Equal(t, 1, h.total.Failed)
		}
		if ledger != nil {
			for key, output := range ledger.outputs {
				require.NotContains(t, output, "NaN", key)
			}
		}
	}
}

func TestATextThatIsCutIsCountedEachTime(t *testing.T) {
	for _, ledger := range []*memoryLedger{nil, {outputs: map[string]string{}}} {
		c := Config{Library: libraryPath(t)}
		if ledger != nil {
			c.Ledger = ledger
		}
		r, err := Open(c)
		require.NoError(t, err)
		defer func() { require.NoError(t, r.Close()) }()
		long := strings.Repeat("love this ", 1000)
		texts := []string{"love this", long, "late again", long + "flight"}
		var first [][]Keyword
		for round := range 2 {
			var h heard
			labels, err := r.Classify(h.context(t.Context()), "sentiment", texts)
			require.NoError(t, err)
			require.Equal(t, 2, h.total.Truncated, "round %d", round)
			require.Equal(t, labels[1], labels[3], "they begin alike")
			h = heard{}
			_, err = r.Embed(h.context(t.Context()), "encoder", texts)
			require.NoError(t, err)
			require.Equal(t, 2, h.total.Truncated, "round %d", round)
			h = heard{}
			words, err := r.Keywords(h.context(t.Context()), "encoder", texts, KeywordOptions{})
			require.NoError(t, err)
			require.Equal(t, 2, h.total.Truncated, "round %d", round)
			if round == 0 {
				first = words
			}
			require.Equal(t, first, words)
			require.Zero(t, h.total.Failed)
		}
	}
}

// TestHostileTextsHaveAPrediction: nothing that a text may hold is an error of the statement.
func TestHostileTextsHaveAPrediction(t *testing.T) {
	r := registry(t)
	texts := []string{"", "\x00", "\x00\x01\x02\x7f\u200b\ufeff", "\xff\xfe\xfd", "ok \xc3\x28 then", strings.Repeat("\xed\xa0\x80", 100), strings.Repeat("a", 1<<20),
		strings.Repeat("a ", 1<<19), strings.Repeat("😀", 1<<18), strings.Repeat("\u0301", 1<<19), strings.Repeat("@", 1<<20), strings.Repeat("https://", 1<<17),
		strings.Repeat("'", 1<<20), "\u202e\u2066\u2069", strings.Repeat("&amp;", 1<<17)}
	_, err := r.Classify(t.Context(), "sentiment", texts)
	require.NoError(t, err)
	topics, err := r.Classify(t.Context(), "topic", texts)
	require.NoError(t, err)
	for i := range topics {
		require.NotEmpty(t, topics[i].Label)
	}
	_, err = r.Embed(t.Context(), "encoder", texts)
	require.NoError(t, err)
	words, err := r.Keywords(t.Context(), "encoder", texts, KeywordOptions{})
	require.NoError(t, err)
	require.NotContains(t, words, []Keyword(nil))
}

func TestEverythingThatIsAskedOfATextSharesOneRun(t *testing.T) {
	r := registry(t)
	texts := []string{"the flight was late", "love this song", "zzz"}
	_, err := r.Embed(t.Context(), "encoder", texts)
	require.NoError(t, err)
	require.EqualValues(t, 3, r.vectors.misses)
	_, err = r.Keywords(t.Context(), "encoder", texts, KeywordOptions{})
	require.NoError(t, err)
	require.EqualValues(t, 3, r.vectors.misses, "no text was run again")
	require.EqualValues(t, 3, r.vectors.hits)
	met := r.terms.misses
	require.Positive(t, met)
	_, err = r.Keywords(t.Context(), "encoder", []string{"a late song"}, KeywordOptions{})
	require.NoError(t, err)
	require.Equal(t, met, r.terms.misses, "its terms were met before")
}

func TestVectorsAreKeptUpToANumberOfBytes(t *testing.T) {
	const entry = 4*100 + vectorOverhead
	c := newVectorCache(20 * entry)
	inputs := digestInputs("", strings.Fields("a b c d e f g h i j k l m n o p q r s t u v w x y z 1 2 3 4 5 6 7 8 9"))
	none := func(int, outcome) {}
	for _, in := range inputs {
		c.put("m", in, outcome{values: make([]float32, 100)})
		c.find("m", inputs[:1], none) // in use, so it stays
	}
	kept := maps.Clone(c.old)
	maps.Copy(kept, c.young)
	require.LessOrEqual(t, len(kept), 20)
	require.GreaterOrEqual(t, len(kept), 10)
	require.Empty(t, c.find("m", inputs[:1], none))
	require.Len(t, c.find("m", inputs[1:3], none), 2, "long unused")
	require.Len(t, c.find("another", inputs[:1], none), 1)
	c.put("m", InputDigest{}, outcome{values: make([]float32, 100_000)})
	require.False(t, slices.ContainsFunc(slices.Collect(maps.Values(c.young)), func(o outcome) bool { return len(o.values) > 100 }), "larger than all")
}
