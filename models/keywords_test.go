package models

import (
	"context"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCandidatesAreThoseOfCountVectorizer(t *testing.T) {
	require.Len(t, englishStopWords, stopWordCount)
	require.Equal(t, []string{"car", "drive"}, candidateTerms("The car, I drive!", 1))
	require.Equal(t, []string{"car", "car drive", "drive"}, candidateTerms("car I drive", 2), "stop words go before n-grams are made")
	// The dot over the small i is a mark and no part of a word, so the i stands alone and is too short.
	require.Equal(t, []string{"stanbul", "σίσυφος", "日本語"}, candidateTerms("İstanbul ΣΊΣΥΦΟΣ 日本語 x", 1))
	require.Equal(t, []string{"42", "a_b", "don", "naïve"}, candidateTerms("don't 42 a_b naïve é", 1))
	require.Empty(t, candidateTerms("the and of", 1))
	require.Empty(t, candidateTerms("", 3))
}

// The expected picks follow by hand from the rule, over two-dimensional vectors.
func TestMMRTradesLikenessForVariety(t *testing.T) {
	doc := []float32{1, 0}
	terms := []string{"a", "b", "c", "d"}
	vectors := [][]float32{{0.9, 0.435890}, {0.88, 0.474974}, {0.6, -0.8}, {0, 1}}
	plain := nearest(doc, terms, vectors, 3)
	require.Equal(t, []Keyword{{"a", 0.9}, {"b", 0.88}, {"c", 0.6}}, plain)
	require.Equal(t, []Keyword{{"a", 0.9}, {"b", 0.88}, {"c", 0.6}}, mmr(doc, terms, vectors, KeywordOptions{TopN: 3, Diversity: 0}))
	varied := mmr(doc, terms, vectors, KeywordOptions{TopN: 2, Diversity: 0.7})
	require.Equal(t, []Keyword{{"a", 0.9}, {"c", 0.6}}, varied)
	require.Len(t, mmr(doc, terms, vectors, KeywordOptions{TopN: 10, Diversity: 0.5}), 4)
	require.Empty(t, mmr(doc, nil, nil, KeywordOptions{TopN: 2}))
}

func TestRoundingIsPythons(t *testing.T) {
	for x, want := range map[float64]float64{0.12345: 0.1235, 0.00005: 0.0001, 2.5e-5: 0, -0.12345: -0.1235, 0.50005: 0.5, 1: 1} {
		require.Equal(t, want, round4(x), "round(%v, 4)", x)
	}
}

func TestKeywordsOfEachTextByItself(t *testing.T) {
	r := registry(t)
	ctx := context.Background()
	texts := []string{"The pilot landed the plane at the airport in heavy snow", "", "the and of", "music music music festival"}
	together, err := r.Keywords(ctx, "encoder", texts, KeywordOptions{TopN: 3, MaxNgram: 2})
	require.NoError(t, err)
	require.Len(t, together[0], 3)
	require.Empty(t, together[1])
	require.Empty(t, together[2])
	for i, text := range texts {
		alone, err := r.Keywords(ctx, "encoder", []string{text}, KeywordOptions{TopN: 3, MaxNgram: 2})
		require.NoError(t, err)
		require.Equal(t, together[i], alone[0])
	}
	for i := 1; i < 3; i++ {
		require.GreaterOrEqual(t, together[0][i-1].Score, together[0][i].Score)
	}
}

// TestKeywordsAreKeyBERTs compares with KeyBERT 0.9.0 over the same encoder; testdata/make_keywords.py made the golden
// file. Terms of equal score may stand in another order: KeyBERT leaves that open.
func TestKeywordsAreKeyBERTs(t *testing.T) {
	r := registry(t)
	var golden []struct {
		Text      string
		TopN      int `json:"top_n"`
		MaxNgram  int `json:"max_ngram"`
		MMR       bool
		Diversity float64
		Keywords  [][]any
	}
	readJSON(t, "testdata/keybert.json", &golden)
	require.Greater(t, len(golden), 100)
	for _, g := range golden {
		found, err := r.Keywords(context.Background(), "encoder", []string{g.Text}, KeywordOptions{TopN: g.TopN, MaxNgram: g.MaxNgram, MMR: g.MMR, Diversity: g.Diversity})
		require.NoError(t, err)
		require.Len(t, found[0], len(g.Keywords), "%+v", g)
		scores := map[string]float64{}
		for i, k := range g.Keywords {
			scores[k[0].(string)] = k[1].(float64)
			require.InDelta(t, k[1].(float64), found[0][i].Score, 1.01e-4, "score %d of %+v: %v", i, g, found[0])
		}
		for _, k := range found[0] {
			want, ok := scores[k.Term]
			if ok {
				require.InDelta(t, want, k.Score, 1.01e-4, k.Term)
				continue
			}
			// A term that KeyBERT left out must tie with one that it took: "words camelcase" has the words of "camelcase words".
			require.True(t, slices.ContainsFunc(g.Keywords, func(other []any) bool { return math.Abs(other[1].(float64)-k.Score) < 1.01e-4 }), "%q in %+v, found %v", k.Term, g, found[0])
		}
	}
}
