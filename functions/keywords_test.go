package functions

import (
	"encoding/json"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/dolthub/go-mysql-server/sql/types"
	"github.com/stretchr/testify/require"

	"smelt/models"
)

// readOptions plans a call and returns what the models are asked.
func readOptions(t *testing.T, args ...any) (models.KeywordOptions, string) {
	t.Helper()
	p, err := planKeywords(args, new(atomic.Pointer[keywordPlan]))
	require.NoError(t, err)
	var o models.KeywordOptions
	require.NoError(t, json.Unmarshal([]byte(p.task), &o))
	return o, p.model
}

func TestOptionsOfKeywordsAreKeyBERTs(t *testing.T) {
	for text, want := range map[string]models.KeywordOptions{
		`{}`:                   {},
		`{"use_mmr": true}`:    {MMR: true, Diversity: 0.5},
		`{"diversity": 0.7}`:   {},
		`{"stop_words": null}`: {Language: "none"},
		`{"stop_words": "de"}`: {Language: "de"},
		`{"stop_words": []}`:   {StopWords: []string{}},
		`{"top_n": 3, "candidates": null, "seed_keywords": null, "nr_candidates": null}`:                                     {TopN: 3},
		`{"candidates": [], "original_case": true}`:                                                                          {Candidates: []string{}, OriginalCase: true},
		`{"keyphrase_ngram_range": [2, 3], "use_maxsum": true, "nr_candidates": 9}`:                                          {MinNgram: 2, MaxNgram: 3, MaxSum: true, NrCandidates: 9},
		` {"use_mmr": true, "diversity": 0, "stop_words": ["a", "b"], "seed_keywords": ["x"], "min_ngram":1,"max_ngram":2} `: {MMR: true, StopWords: []string{"a", "b"}, Seeds: []string{"x"}, MinNgram: 1, MaxNgram: 2},
	} {
		got, model := readOptions(t, text)
		require.Equal(t, want, got, text)
		require.Equal(t, "encoder", model)
	}
	got, _ := readOptions(t, int64(7), int64(2), 0.3)
	require.Equal(t, models.KeywordOptions{TopN: 7, MaxNgram: 2, MMR: true, Diversity: 0.3}, got)
	got, model := readOptions(t, types.MustJSON(`{"top_n": 2, "model": " MiniLM"}`))
	require.Equal(t, models.KeywordOptions{TopN: 2}, got)
	require.Equal(t, "minilm", model)
}

func TestBadOptionsOfKeywordsSayWhatIsWrong(t *testing.T) {
	for text, want := range map[string]string{
		`{"top_k": 3}`:             `unknown field "top_k"`,
		`{"top_n": 0}`:             "top_n must be a whole number from 1 to 1000, got 0",
		`{"top_n": "three"}`:       "top_n",
		`{"top_n": 1.5}`:           "got 1.5",
		`{"min_ngram": 9}`:         "min_ngram",
		`{"diversity": 2}`:         "diversity must be between 0 and 1",
		`{"stop_words": 3}`:        "stop_words must be a language",
		`{"top_n": 3} {`:           "more than one JSON value",
		`{"top_n": `:               "options",
		`{"candidates": "learn"}`:  "candidates",
		`{"nr_candidates": 10000}`: "nr_candidates",
		`{"keyphrase_ngram_range": [1, 2], "max_ngram": 2}`: "say the same",
		`{"keyphrase_ngram_range": [1]}`:                    "max_ngram",
	} {
		_, err := planKeywords([]any{text}, new(atomic.Pointer[keywordPlan]))
		require.ErrorContains(t, err, want, text)
	}
	_, err := planKeywords([]any{types.MustJSON(`[1]`)}, new(atomic.Pointer[keywordPlan]))
	require.ErrorContains(t, err, "JSON object")
}

func TestKeywordsWithOptionsOfEachRow(t *testing.T) {
	b := newBench(t, true)
	rows := b.must("SELECT t.id, k.w FROM t, JSON_TABLE(keywords(t.text, JSON_OBJECT('top_n', 1 + t.id % 2, 'seed_keywords', JSON_ARRAY(t.lang))), '$[*]' COLUMNS (w VARCHAR(50) PATH '$.keyword')) k")
	require.Equal(t, []string{fmt.Sprintf("[%d]", len(rows))}, b.must("SELECT SUM(1 + id % 2) FROM t WHERE text IS NOT NULL"))
	require.Equal(t, []string{"[[]]"}, b.must(`SELECT keywords('', '{"top_n": 2}')`))
	_, err := b.run(`SELECT keywords(text, '{"model": "nobody"}') FROM t`)
	require.ErrorContains(t, err, models.ErrUnknownModel.Error())
}

func TestTheModelOfKeywordsIsKnownFromTheStatement(t *testing.T) {
	s := New(&fake{})
	for options, want := range map[string]string{"": "encoder", "5": "encoder", `{"top_n": 3}`: "encoder", `{"model": "Mini"}`: "mini", `{"model": `: "encoder"} {
		ref, ok := s.Refers("keywords", []string{"", options})
		require.True(t, ok)
		require.Equal(t, want, ref, options)
	}
	ref, ok := s.Refers("keywords", []string{`{"model": "text"}`})
	require.True(t, ok)
	require.Equal(t, "encoder", ref)
	ref, ok = s.Refers("predict", []string{"models:/M/1", ""})
	require.True(t, ok)
	require.Equal(t, "models:/m/1", ref)
	_, ok = s.Refers("mentions", nil)
	require.False(t, ok)
}
