package functions

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"sync/atomic"

	"github.com/dolthub/go-mysql-server/sql"
	"github.com/dolthub/go-mysql-server/sql/types"

	"smelt/models"
)

const keywordsName = "keywords"

// Limits of keywords().
const (
	maxTopN        = 1000    // a text has no more terms worth naming
	maxNgramWords  = 5       // the number of candidates grows with it
	maxOptionBytes = 1 << 20 // of the options of one call, candidates and stop words included
)

// keywordArgs is what may follow the text in a call of keywords(): KeyBERT's options by their names, and ours. What is null
// or left out has KeyBERT's default.
type keywordArgs struct {
	TopN         *float64        `json:"top_n"`
	Range        *[2]float64     `json:"keyphrase_ngram_range"`
	MinNgram     *float64        `json:"min_ngram"`
	MaxNgram     *float64        `json:"max_ngram"`
	StopWords    json.RawMessage `json:"stop_words"` // a language, an array of words, or null for none
	MMR          bool            `json:"use_mmr"`
	Diversity    *float64        `json:"diversity"`
	MaxSum       bool            `json:"use_maxsum"`
	Nr           *float64        `json:"nr_candidates"`
	Candidates   []string        `json:"candidates"`
	Seeds        []string        `json:"seed_keywords"`
	OriginalCase bool            `json:"original_case"`
	Model        string          `json:"model"`
}

// keywordPlan is the options of a call, read.
type keywordPlan struct {
	text  string // as they were written
	model string // whom they ask
	task  string // models.KeywordOptions in JSON
}

func keywordsSpec() *spec {
	var last atomic.Pointer[keywordPlan] // options are mostly the same for all rows
	return &spec{name: keywordsName, model: encoderModel, least: 1, most: 4, typ: types.JSON,
		description: "the terms of a text that say most of it: keywords(text [, top_n [, max_ngram [, diversity]]]) or keywords(text, options), options being KeyBERT's as a JSON object",
		plan: func(resolve resolver, args []any) (job, error) {
			text, ok, err := textOf(args[0])
			if err != nil || !ok {
				return null, err
			}
			p, err := planKeywords(args[1:], &last)
			if err != nil || p == nil {
				return null, err
			}
			m, err := resolve(p.model)
			if err != nil {
				return null, err
			}
			return job{needs: []need{{task: task{kind: taskKeywords, model: m.ID, options: p.task}, text: text}}, result: func(found []any) (any, error) {
				words := found[0].([]models.Keyword)
				list := make([]any, len(words))
				for i, w := range words {
					list[i] = map[string]any{"keyword": w.Term, "score": w.Score}
				}
				return types.JSONDocument{Val: list}, nil
			}}, nil
		}}
}

// planKeywords reads what follows the text; nil where a NULL among it makes the result NULL.
func planKeywords(args []any, last *atomic.Pointer[keywordPlan]) (*keywordPlan, error) {
	for _, arg := range args {
		if arg == nil {
			return nil, nil
		}
	}
	if len(args) == 1 {
		text, err := optionText(args[0])
		if err != nil {
			return nil, err
		}
		if text != "" {
			if p := last.Load(); p != nil && p.text == text {
				return p, nil
			}
			p, err := namedOptions(text)
			if err != nil {
				return nil, err
			}
			last.Store(p)
			return p, nil
		}
	}
	a, err := positionalOptions(args)
	if err != nil {
		return nil, err
	}
	return a.plan("")
}

// optionText returns an argument that is a JSON object, "" for others.
func optionText(arg any) (string, error) {
	switch v := arg.(type) {
	case string:
		if strings.HasPrefix(strings.TrimSpace(v), "{") {
			return v, nil
		}
		return "", nil
	case sql.JSONWrapper:
		text, _, err := textOf(v)
		if err == nil && !strings.HasPrefix(text, "{") {
			err = badOption("options must be a JSON object, got %.40s", text)
		}
		return text, err
	}
	return "", nil
}

func badOption(format string, args ...any) error {
	return sql.ErrInvalidArgumentDetails.New(keywordsName, fmt.Sprintf(format, args...))
}

// positionalOptions reads top_n, max_ngram and diversity; a diversity asks for MMR.
func positionalOptions(args []any) (a keywordArgs, err error) {
	for i, arg := range args {
		n, err := numberOf(arg)
		if err != nil {
			return a, fmt.Errorf("read argument %d of keywords: %w", i+2, err)
		}
		switch i {
		case 0:
			a.TopN = &n
		case 1:
			a.MaxNgram = &n
		case 2:
			a.MMR, a.Diversity = true, &n
		}
	}
	return a, nil
}

// namedOptions reads a JSON object.
func namedOptions(text string) (*keywordPlan, error) {
	if len(text) > maxOptionBytes {
		return nil, badOption("options have %d bytes, the most are %d", len(text), maxOptionBytes)
	}
	var a keywordArgs
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&a); err != nil {
		return nil, badOption("options: %v", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, badOption("options: more than one JSON value")
	}
	return a.plan(text)
}

// plan checks the options and writes them as the models take them.
func (a keywordArgs) plan(text string) (*keywordPlan, error) {
	o := models.KeywordOptions{MMR: a.MMR, MaxSum: a.MaxSum, Candidates: a.Candidates, Seeds: a.Seeds, OriginalCase: a.OriginalCase}
	if a.Range != nil {
		if a.MinNgram != nil || a.MaxNgram != nil {
			return nil, badOption("keyphrase_ngram_range and min_ngram or max_ngram say the same")
		}
		a.MinNgram, a.MaxNgram = &a.Range[0], &a.Range[1]
	}
	for _, n := range []struct {
		name  string
		value *float64
		most  float64
		to    *int
	}{{"top_n", a.TopN, maxTopN, &o.TopN}, {"min_ngram", a.MinNgram, maxNgramWords, &o.MinNgram}, {"max_ngram", a.MaxNgram, maxNgramWords, &o.MaxNgram}, {"nr_candidates", a.Nr, maxTopN, &o.NrCandidates}} {
		if n.value == nil {
			continue
		}
		if *n.value != math.Trunc(*n.value) || *n.value < 1 || *n.value > n.most {
			return nil, badOption("%s must be a whole number from 1 to %v, got %v", n.name, n.most, *n.value)
		}
		*n.to = int(*n.value)
	}
	if a.MMR {
		o.Diversity = 0.5
		if a.Diversity != nil {
			o.Diversity = *a.Diversity
		}
	}
	if a.Diversity != nil && !(*a.Diversity >= 0 && *a.Diversity <= 1) {
		return nil, badOption("diversity must be between 0 and 1, got %v", *a.Diversity)
	}
	if err := a.stopWords(&o); err != nil {
		return nil, err
	}
	key, err := json.Marshal(o)
	if err != nil {
		return nil, fmt.Errorf("write options of keywords: %w", err)
	}
	return &keywordPlan{text: text, model: modelOr(a.Model), task: string(key)}, nil
}

// stopWords reads the option of that name.
func (a keywordArgs) stopWords(o *models.KeywordOptions) error {
	switch {
	case a.StopWords == nil:
		return nil
	case bytes.Equal(a.StopWords, []byte("null")):
		o.Language = "none"
		return nil
	case json.Unmarshal(a.StopWords, &o.Language) == nil:
		return nil
	case json.Unmarshal(a.StopWords, &o.StopWords) == nil:
		return nil
	}
	return badOption("stop_words must be a language, an array of words or null, got %.40s", a.StopWords)
}

// keywordsModel returns the model that options name, where they can be read.
func keywordsModel(options string) string {
	var a struct {
		Model string `json:"model"`
	}
	if !strings.HasPrefix(strings.TrimSpace(options), "{") || json.Unmarshal([]byte(options), &a) != nil {
		return encoderModel
	}
	return modelOr(a.Model)
}

// modelOr is the normal name of the model, that of the shipped encoder for "".
func modelOr(name string) string {
	if name == "" {
		return encoderModel
	}
	return normal(name)
}
