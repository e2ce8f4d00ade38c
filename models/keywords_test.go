package models

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func TestCandidatesAreThoseOfCountVectorizer(t *testing.T) {
	require.Equal(t, []string{"car", "drive"}, termsOf(t, "The car, I drive!", KeywordOptions{}))
	require.Equal(t, []string{"car", "car drive", "drive"}, termsOf(t, "car I drive", KeywordOptions{MaxNgram: 2}), "stop words go before n-grams are made")
	// The dot over the small i is a mark and no part of a word, so the i stands alone and is too short.
	require.Equal(t, []string{"stanbul", "σίσυφος", "日本語"}, termsOf(t, "İstanbul ΣΊΣΥΦΟΣ 日本語 x", KeywordOptions{}))
	require.Equal(t, []string{"42", "a_b", "don", "naïve"}, termsOf(t, "don't 42 a_b naïve é", KeywordOptions{}))
	require.Empty(t, termsOf(t, "the and of", KeywordOptions{}))
	require.Empty(t, termsOf(t, "", KeywordOptions{MaxNgram: 3}))
	require.Equal(t, []string{"the car", "the"}, termsOf(t, "The car drives the", KeywordOptions{MaxNgram: 2, Language: "none", Candidates: []string{"bus", "the car", "The", "the"}}))
	require.Empty(t, termsOf(t, "car", KeywordOptions{Candidates: []string{"car", "car"}}), "KeyBERT finds nothing then")
	require.Equal(t, []string{"cc dd ee"}, termsOf(t, "cc dd ee", KeywordOptions{MinNgram: 3}))
}

func termsOf(t *testing.T, text string, o KeywordOptions) []string {
	t.Helper()
	o, err := o.filled()
	require.NoError(t, err)
	v, err := newVectorizer(o)
	require.NoError(t, err)
	return v.candidates(text).terms
}

func TestStopWordsOfALanguage(t *testing.T) {
	english, err := stopWords("")
	require.NoError(t, err)
	require.Len(t, english, 318, "scikit-learn's releases have as many")
	require.Equal(t, []string{"hund", "schläft"}, termsOf(t, "Der Hund schläft unter dem ...", KeywordOptions{Language: "de"}))
	require.Equal(t, []string{"chien", "dort"}, termsOf(t, "Le chien dort sous la", KeywordOptions{Language: "French"}))
	require.Equal(t, []string{"dem", "der", "hund"}, termsOf(t, "der Hund unter dem", KeywordOptions{StopWords: []string{"unter"}}))
	for code, name := range stopWordLanguages {
		set, err := stopWords(code)
		require.NoError(t, err)
		require.Greater(t, len(set), 150, name)
		for w := range set {
			if name == "english" && utf8.RuneCountInString(w) == 1 {
				continue // scikit-learn's list has a and i
			}
			require.Equal(t, []string{w}, termsOf(t, w, KeywordOptions{Language: "none"}), "%s: a stop word that is no word never matches", name)
		}
	}
	for _, bad := range []string{"klingon", "../english", "english.txt"} {
		_, err = stopWords(bad)
		require.ErrorContains(t, err, "portuguese", bad)
	}
}

func TestTermsInTheCasingOfTheText(t *testing.T) {
	v, err := newVectorizer(KeywordOptions{MinNgram: 1, MaxNgram: 2, OriginalCase: true})
	require.NoError(t, err)
	c := v.candidates("JBL and jbl in İZMİR, the ΌΜΗΡΟΣ; \xff New York")
	want := map[string]string{"jbl": "JBL", "jbl jbl": "JBL jbl", "όμηρος": "ΌΜΗΡΟΣ", "new york": "New York"}
	for lower, written := range want {
		require.Contains(t, c.terms, lower)
		require.Equal(t, written, c.cased[lower])
	}
}

func TestMaxSumPicksTheSetLeastAlike(t *testing.T) {
	doc := []float32{1, 0}
	terms := []string{"a", "b", "c", "d"}
	vectors := [][]float32{{0.9, 0.435890}, {0.88, 0.474974}, {0.6, -0.8}, {0, 1}}
	require.Equal(t, []Keyword{{"c", 0.6}, {"b", 0.88}}, maxSum(doc, terms, vectors, 2, 3), "d is not among the three best")
	require.Equal(t, []Keyword{{"d", 0}, {"c", 0.6}}, maxSum(doc, terms, vectors, 2, 20))
	require.Empty(t, maxSum(doc, terms, vectors, 5, 20))
	require.Equal(t, 15504.0, math.Round(sets(20, 5)))
	for want, o := range map[string]KeywordOptions{
		"nr_candidates 20 is less than top_n 30": {MaxSum: true, TopN: 30}, "more than 1000000": {MaxSum: true, TopN: 20, NrCandidates: 100}, "diversity 2": {MMR: true, Diversity: 2},
		"max_ngram 1 is less": {MinNgram: 2, MaxNgram: 1},
	} {
		_, err := o.filled()
		require.ErrorContains(t, err, want)
	}
}

// The expected picks follow by hand from the rule, over two-dimensional vectors.
func TestMMRTradesLikenessForVariety(t *testing.T) {
	doc := []float32{1, 0}
	terms := []string{"a", "b", "c", "d"}
	vectors := [][]float32{{0.9, 0.435890}, {0.88, 0.474974}, {0.6, -0.8}, {0, 1}}
	plain := nearest(doc, terms, vectors, 3)
	require.Equal(t, []Keyword{{"a", 0.9}, {"b", 0.88}, {"c", 0.6}}, plain)
	require.Equal(t, []Keyword{{"a", 0.9}, {"b", 0.88}, {"c", 0.6}}, mmr(doc, terms, vectors, 3, 0))
	varied := mmr(doc, terms, vectors, 2, 0.7)
	require.Equal(t, []Keyword{{"a", 0.9}, {"c", 0.6}}, varied)
	require.Len(t, mmr(doc, terms, vectors, 10, 0.5), 4)
	require.Empty(t, mmr(doc, nil, nil, 2, 0.5))
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

// keybertOptions are the settings of the golden file, by KeyBERT's names.
type keybertOptions struct {
	TopN       int             `json:"top_n"`
	Range      *[2]int         `json:"keyphrase_ngram_range"`
	StopWords  json.RawMessage `json:"stop_words"`
	MMR        bool            `json:"use_mmr"`
	MaxSum     bool            `json:"use_maxsum"`
	Diversity  *float64
	Nr         int `json:"nr_candidates"`
	Candidates []string
	Seeds      []string `json:"seed_keywords"`
}

func (k keybertOptions) ours(t *testing.T) KeywordOptions {
	t.Helper()
	o := KeywordOptions{TopN: k.TopN, MMR: k.MMR, MaxSum: k.MaxSum, NrCandidates: k.Nr, Candidates: k.Candidates, Seeds: k.Seeds, Diversity: 0.5}
	if k.Diversity != nil {
		o.Diversity = *k.Diversity
	}
	if k.Range != nil {
		o.MinNgram, o.MaxNgram = k.Range[0], k.Range[1]
	}
	if string(k.StopWords) == "null" {
		o.Language = "none"
	} else if k.StopWords != nil {
		require.NoError(t, json.Unmarshal(k.StopWords, &o.StopWords))
	}
	return o
}

// TestKeywordsAreKeyBERTs compares with KeyBERT 0.9.0 over the same encoder; testdata/make_keywords.py made the golden
// file. Terms of equal score may stand in another order: KeyBERT leaves that open. The last of the four digits may hang on
// the last bit of a vector, which another processor may round otherwise; here all are equal.
func TestKeywordsAreKeyBERTs(t *testing.T) {
	r := registry(t)
	var golden struct {
		Texts []string
		Cases []struct {
			Options  keybertOptions
			Keywords [][][2]any
		}
	}
	readJSON(t, "testdata/keybert.json", &golden)
	require.Greater(t, len(golden.Cases), 30)
	all, equal := 0, 0
	for _, g := range golden.Cases {
		found, err := r.Keywords(context.Background(), "encoder", golden.Texts, g.Options.ours(t))
		require.NoError(t, err)
		for i, want := range g.Keywords {
			what := fmt.Sprintf("%q with %+v: want %v, got %v", golden.Texts[i], g.Options, want, found[i])
			require.Len(t, found[i], len(want), what)
			scores := map[string]float64{}
			for j, k := range want {
				scores[k[0].(string)] = k[1].(float64)
				require.InDelta(t, k[1].(float64), found[i][j].Score, 1.01e-4, what)
			}
			for j, k := range found[i] {
				if all++; k.Score == want[j][1] {
					equal++
				}
				if score, ok := scores[k.Term]; ok {
					require.InDelta(t, score, k.Score, 1.01e-4, what)
					continue
				}
				// A term that KeyBERT left out must tie with one that it took: "words camelcase" has the words of "camelcase words".
				require.True(t, slices.ContainsFunc(want, func(other [2]any) bool { return math.Abs(other[1].(float64)-k.Score) < 1.01e-4 }), what)
			}
		}
	}
	require.Greater(t, float64(equal), 0.995*float64(all), "%d of %d scores equal in all four digits", equal, all)
}
