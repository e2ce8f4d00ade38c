package models

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode"
)

// maxCandidates bounds the terms of one text: the cost of keywords is their embedding.
const maxCandidates = 1000

// maxCachedTerms bounds the embeddings of terms that are kept, about 16 MB at 128 dimensions.
const maxCachedTerms = 32_768

// Keyword is a term of a text and its cosine similarity to the whole, rounded to four digits.
type Keyword struct {
	Term  string  `json:"keyword"`
	Score float64 `json:"score"`
}

// KeywordOptions are KeyBERT's; the zero value gives its defaults.
type KeywordOptions struct {
	TopN      int     // how many keywords; 0 means 5
	MaxNgram  int     // words in a term; 0 means 1
	MMR       bool    // maximal marginal relevance: trade likeness to the text for variety
	Diversity float64 // of MMR, 0 to 1
}

// Keywords returns the terms of each text that are most like the whole, as KeyBERT's extract_keywords does for one
// document at a time. Terms of equal score are in alphabetical order, which KeyBERT leaves open.
func (r *Registry) Keywords(ctx context.Context, name string, texts []string, o KeywordOptions) ([][]Keyword, error) {
	if o.TopN == 0 {
		o.TopN = 5
	}
	if o.MaxNgram == 0 {
		o.MaxNgram = 1
	}
	if o.TopN < 0 || o.MaxNgram < 0 || o.Diversity < 0 || o.Diversity > 1 {
		return nil, fmt.Errorf("keywords with %q: top_n %d and max_ngram %d must be positive and diversity %g between 0 and 1", name, o.TopN, o.MaxNgram, o.Diversity)
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
		count(ctx, len(texts), 0)
		return r.keywords(ctx, m, texts, o)
	}
	out := make([][]Keyword, len(texts))
	task := fmt.Sprintf("keywords %d %d %t %g", o.TopN, o.MaxNgram, o.MMR, o.Diversity)
	take := func(i int, output string) (bool, error) { return json.Unmarshal([]byte(output), &out[i]) == nil, nil }
	return out, r.remembered(ctx, m, task, texts, take, func(texts []string) ([]string, error) {
		found, err := r.keywords(ctx, m, texts, o)
		if err != nil {
			return nil, err
		}
		outputs := make([]string, len(found))
		for i, f := range found {
			text, err := json.Marshal(f)
			if err != nil {
				return nil, fmt.Errorf("keep keywords: %w", err)
			}
			outputs[i] = string(text)
		}
		return outputs, nil
	})
}

func (r *Registry) keywords(ctx context.Context, m *model, texts []string, o KeywordOptions) ([][]Keyword, error) {
	docs, err := r.embed(ctx, m, texts, r.run)
	if err != nil {
		return nil, err
	}
	terms := make([][]string, len(texts))
	for i, text := range texts {
		terms[i] = candidateTerms(text, o.MaxNgram)
	}
	vectors, err := r.embedTerms(ctx, m, terms)
	if err != nil {
		return nil, err
	}
	out := make([][]Keyword, len(texts))
	for i := range texts {
		of := make([][]float32, len(terms[i]))
		for j, t := range terms[i] {
			of[j] = vectors[t]
		}
		if o.MMR {
			out[i] = mmr(docs[i], terms[i], of, o)
		} else {
			out[i] = nearest(docs[i], terms[i], of, o.TopN)
		}
	}
	return out, nil
}

// candidateTerms are the n-grams of a text without stop words, each once, sorted: scikit-learn's CountVectorizer.
func candidateTerms(text string, maxNgram int) []string {
	var words []string
	for _, w := range vectorizerWords(lowerPython(text)) {
		if !englishStopWords[w] {
			words = append(words, w)
		}
	}
	seen := map[string]bool{}
	var terms []string
	for n := 1; n <= maxNgram; n++ {
		for i := 0; i+n <= len(words); i++ {
			if t := strings.Join(words[i:i+n], " "); !seen[t] {
				seen[t] = true
				terms = append(terms, t)
			}
		}
	}
	slices.Sort(terms)
	return terms[:min(len(terms), maxCandidates)]
}

// lowerPython is str.lower: the one letter whose lower case has two characters, and the sigma at the end of a word.
func lowerPython(text string) string {
	text = strings.ReplaceAll(text, "İ", "i\u0307")
	lower := strings.ToLower(text)
	if !strings.Contains(text, "Σ") {
		return lower
	}
	in, out := []rune(text), []rune(lower)
	for i, r := range in {
		if r == 'Σ' && i > 0 && unicode.IsLetter(in[i-1]) && (i+1 == len(in) || !unicode.IsLetter(in[i+1])) {
			out[i] = 'ς'
		}
	}
	return string(out)
}

// vectorizerWords matches (?u)\b\w\w+\b: two or more letters, digits or underscores in a row.
func vectorizerWords(text string) []string {
	var words []string
	for _, w := range strings.FieldsFunc(text, func(r rune) bool { return r != '_' && !unicode.IsLetter(r) && !unicode.IsNumber(r) }) {
		if first := []rune(w); len(first) >= 2 {
			words = append(words, w)
		}
	}
	return words
}

// embedTerms embeds the terms of all texts, each once; those met before come from the cache.
func (r *Registry) embedTerms(ctx context.Context, m *model, terms [][]string) (map[string][]float32, error) {
	vectors := map[string][]float32{}
	var missing []string
	for _, of := range terms {
		for _, t := range of {
			if _, ok := vectors[t]; ok {
				continue
			}
			v, ok := r.terms.get(m.info.Digest, t)
			if !ok {
				missing = append(missing, t)
			}
			vectors[t] = v
		}
	}
	fresh, err := r.embed(ctx, m, missing, r.run)
	if err != nil {
		return nil, err
	}
	for i, t := range missing {
		vectors[t] = fresh[i]
		r.terms.put(m.info.Digest, t, fresh[i])
	}
	return vectors, nil
}

// nearest returns the terms most like the text.
func nearest(doc []float32, terms []string, vectors [][]float32, top int) []Keyword {
	all := make([]Keyword, len(terms))
	cosines := make(map[string]float64, len(terms))
	for i, t := range terms {
		cosines[t] = dot(doc, vectors[i])
		all[i] = Keyword{t, round4(cosines[t])}
	}
	slices.SortStableFunc(all, func(a, b Keyword) int { return cmp.Compare(cosines[b.Term], cosines[a.Term]) })
	all = all[:min(top, len(all))]
	slices.SortStableFunc(all, byScore)
	return all
}

// mmr picks the term most like the text, and then again and again the one that is like the text and unlike those
// picked. The result is sorted by rounded score; equal ones stay in the order of picking.
func mmr(doc []float32, terms []string, vectors [][]float32, o KeywordOptions) []Keyword {
	if len(terms) == 0 {
		return nil
	}
	toDoc := make([]float64, len(terms))
	best := 0
	for i, v := range vectors {
		if toDoc[i] = dot(doc, v); toDoc[i] > toDoc[best] {
			best = i
		}
	}
	picked := []int{best}
	taken := make([]bool, len(terms))
	taken[best] = true
	nearestPicked := make([]float64, len(terms)) // likeness to the most alike of those picked
	for i, v := range vectors {
		nearestPicked[i] = dot(v, vectors[best])
	}
	for range min(o.TopN-1, len(terms)-1) {
		next, most := -1, 0.0
		for i := range terms {
			if taken[i] {
				continue
			}
			if value := (1-o.Diversity)*toDoc[i] - o.Diversity*nearestPicked[i]; next < 0 || value > most {
				next, most = i, value
			}
		}
		picked = append(picked, next)
		taken[next] = true
		for i, v := range vectors {
			nearestPicked[i] = max(nearestPicked[i], dot(v, vectors[next]))
		}
	}
	out := make([]Keyword, len(picked))
	for i, p := range picked {
		out[i] = Keyword{terms[p], round4(toDoc[p])}
	}
	slices.SortStableFunc(out, byScore)
	return out
}

func byScore(a, b Keyword) int { return cmp.Compare(b.Score, a.Score) }

func dot(a, b []float32) float64 {
	sum := 0.0
	for i := range min(len(a), len(b)) {
		sum += float64(a[i]) * float64(b[i])
	}
	return sum
}

// round4 rounds as Python's round(x, 4) does: to the nearest decimal, judged by the exact value.
func round4(x float64) float64 {
	r, err := strconv.ParseFloat(strconv.FormatFloat(x, 'f', 4, 64), 64)
	if err != nil {
		return x // not a number stays none
	}
	return r
}

// termCache keeps embeddings of terms: tweets repeat their words, and embedding them is what keywords cost. When it is
// full it starts over, which costs one embedding of each term in use.
type termCache struct {
	mu      sync.Mutex
	vectors map[string][]float32 // by digest of the encoder and term
}

func newTermCache() *termCache { return &termCache{vectors: map[string][]float32{}} }

func (c *termCache) get(digest, term string) ([]float32, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	v, ok := c.vectors[digest+" "+term]
	return v, ok
}

func (c *termCache) put(digest, term string, v []float32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.vectors) >= maxCachedTerms {
		clear(c.vectors)
	}
	c.vectors[digest+" "+term] = v
}
