package models

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
)

// defaultCandidates is nr_candidates of KeyBERT.
const defaultCandidates = 20

// maxSets bounds what max-sum tries for one text: a million sets of ten take some 50 ms.
const maxSets = 1_000_000

// Keyword is a term of a text and its cosine similarity to the whole, rounded to four digits.
type Keyword struct {
	Term  string  `json:"keyword"`
	Score float64 `json:"score"`
}

// KeywordOptions are those of KeyBERT's extract_keywords, by their names there; the zero value gives its defaults.
// Its JSON is part of the key under which a ledger keeps keywords.
type KeywordOptions struct {
	TopN         int      `json:"top_n,omitempty"`         // how many keywords; 0 means 5
	MinNgram     int      `json:"min_ngram,omitempty"`     // least words of a term; 0 means 1
	MaxNgram     int      `json:"max_ngram,omitempty"`     // most words of a term; 0 means MinNgram
	MMR          bool     `json:"use_mmr,omitempty"`       // maximal marginal relevance: trade likeness to the text for variety; wins over MaxSum
	Diversity    float64  `json:"diversity,omitempty"`     // of MMR, 0 to 1
	MaxSum       bool     `json:"use_maxsum,omitempty"`    // of the NrCandidates best terms the TopN that are least alike, the best last
	NrCandidates int      `json:"nr_candidates,omitempty"` // of MaxSum; 0 means 20
	Language     string   `json:"language,omitempty"`      // whose stop words are no part of terms: a name or code; "" is english, "none" none
	StopWords    []string `json:"stop_words"`              // instead of those of a language, unless nil; in lower case
	Candidates   []string `json:"candidates"`              // unless nil, the only terms, in lower case; those that the text has count
	Seeds        []string `json:"seed_keywords,omitempty"` // texts towards which a text is moved
	OriginalCase bool     `json:"original_case,omitempty"` // terms are written as the text first writes them, scored as in lower case
}

// filled returns the options with their defaults, or says what is wrong with them.
func (o KeywordOptions) filled() (KeywordOptions, error) {
	o.TopN = cmp.Or(o.TopN, 5)
	o.MinNgram = cmp.Or(o.MinNgram, 1)
	o.MaxNgram = cmp.Or(o.MaxNgram, o.MinNgram)
	o.NrCandidates = cmp.Or(o.NrCandidates, defaultCandidates)
	switch {
	case o.TopN < 0 || o.MinNgram < 0 || o.NrCandidates < 0:
		return o, fmt.Errorf("top_n %d, min_ngram %d and nr_candidates %d must be positive", o.TopN, o.MinNgram, o.NrCandidates)
	case o.MaxNgram < o.MinNgram:
		return o, fmt.Errorf("max_ngram %d is less than min_ngram %d", o.MaxNgram, o.MinNgram)
	case !(o.Diversity >= 0 && o.Diversity <= 1):
		return o, fmt.Errorf("diversity %g must be between 0 and 1", o.Diversity)
	case !o.MaxSum || o.MMR:
		return o, nil
	case o.NrCandidates < o.TopN:
		return o, fmt.Errorf("nr_candidates %d is less than top_n %d: use_maxsum picks top_n of them", o.NrCandidates, o.TopN)
	case sets(o.NrCandidates, o.TopN) > maxSets:
		return o, fmt.Errorf("use_maxsum tries all sets of top_n %d out of nr_candidates %d, which are more than %d", o.TopN, o.NrCandidates, maxSets)
	}
	return o, nil
}

// Keywords returns the terms of each text that are most like the whole, as KeyBERT's extract_keywords does for one
// document at a time; nil where the model gave nothing that can be used, which WithUsage tells. Terms of equal score are in
// alphabetical order, which KeyBERT leaves open.
func (r *Registry) Keywords(ctx context.Context, name string, texts []string, o KeywordOptions) ([][]Keyword, error) {
	o, err := o.filled()
	if err != nil {
		return nil, fmt.Errorf("keywords with %q: %w", name, err)
	}
	if _, err := newVectorizer(o); err != nil {
		return nil, fmt.Errorf("keywords with %q: %w", name, err)
	}
	m, err := r.loaded(name, Encoder)
	if err != nil {
		return nil, err
	}
	return r.rememberedKeywords(ctx, m, texts, o)
}

// rememberedKeywords asks the ledger first. It keeps the keywords of a text and not the embeddings behind them, which are
// a hundred times as long.
func (r *Registry) rememberedKeywords(ctx context.Context, m *model, texts []string, o KeywordOptions) ([][]Keyword, error) {
	if r.cfg.Ledger == nil {
		if m.tell(ctx, Usage{Scored: len(texts)}); looksUpOnly(ctx) {
			return make([][]Keyword, len(texts)), nil
		}
		found, cut, err := r.keywords(ctx, m, texts, o)
		for i := range found {
			if found[i] != nil && cut[i] {
				m.tell(ctx, Usage{Truncated: 1})
			}
		}
		return found, err
	}
	out := make([][]Keyword, len(texts))
	key, err := json.Marshal(o)
	if err != nil {
		return nil, fmt.Errorf("keep keywords: %w", err)
	}
	task := "keywords " + string(key)
	take := func(i int, output string) (bool, error) {
		ok := json.Unmarshal([]byte(output), &out[i]) == nil
		if out[i] == nil {
			out[i] = []Keyword{} // a text without any word
		}
		return ok, nil
	}
	return out, r.remembered(ctx, m, task, texts, take, func(texts []string) ([]string, error) {
		found, cut, err := r.keywords(ctx, m, texts, o)
		if err != nil {
			return nil, err
		}
		outputs := make([]string, len(found))
		for i, f := range found {
			if f == nil {
				continue
			}
			text, err := json.Marshal(f)
			if err != nil {
				return nil, fmt.Errorf("keep keywords: %w", err)
			}
			outputs[i] = markCut(string(text), cut[i])
		}
		return outputs, nil
	})
}

// keywords returns the keywords of each text, nil where there are none to be had, and which texts were cut.
func (r *Registry) keywords(ctx context.Context, m *model, texts []string, o KeywordOptions) (out [][]Keyword, cut []bool, err error) {
	v, err := newVectorizer(o)
	if err != nil {
		return nil, nil, err
	}
	docs, cut, err := r.embed(ctx, m, texts)
	if err != nil {
		return nil, nil, err
	}
	seeds, _, err := r.embed(untold(ctx), m, o.Seeds)
	if err != nil {
		return nil, nil, err
	}
	if at := slices.IndexFunc(seeds, func(v []float32) bool { return v == nil }); at >= 0 {
		return nil, nil, fmt.Errorf("keywords with %q: it gives no numbers for the seed %.40q", m.info.Name, o.Seeds[at])
	}
	found := make([]candidates, len(texts))
	terms := make([][]string, len(texts))
	for i, text := range texts {
		found[i] = v.candidates(text)
		terms[i] = found[i].terms
	}
	vectors, err := r.embedTerms(ctx, m, terms)
	if err != nil {
		return nil, nil, err
	}
	out = make([][]Keyword, len(texts))
	for i := range texts {
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
		if docs[i] == nil {
			continue
		}
		of := make([][]float32, len(terms[i]))
		for j, t := range terms[i] {
			of[j] = vectors[t]
		}
		if out[i] = o.rank(guided(docs[i], seeds), terms[i], of); out[i] == nil {
			out[i] = []Keyword{} // nil is for a text without a vector
		}
		for j, k := range out[i] {
			if cased, ok := found[i].cased[k.Term]; ok {
				out[i][j].Term = cased
			}
		}
	}
	return out, cut, nil
}

// rank picks the keywords of a text; all vectors have the length 1, or 0.
func (o KeywordOptions) rank(doc []float32, terms []string, vectors [][]float32) []Keyword {
	switch {
	case o.MMR:
		return mmr(doc, terms, vectors, o.TopN, o.Diversity)
	case o.MaxSum:
		return maxSum(doc, terms, vectors, o.TopN, o.NrCandidates)
	default:
		return nearest(doc, terms, vectors, o.TopN)
	}
}
