package models

import (
	"slices"
	"strings"
	"unicode"
)

// maxCandidates bounds the terms of one text, in the order in which it brings them: the cost of keywords is their embedding.
const maxCandidates = 5000

// candidates are the terms of a text that may be its keywords, in KeyBERT's order.
type candidates struct {
	terms []string
	cased map[string]string // how the text writes them where it first does; nil unless that was asked for
}

// vectorizer is scikit-learn's CountVectorizer with some options.
type vectorizer struct {
	o    KeywordOptions
	stop map[string]bool // nil for none
}

// newVectorizer checks the language of the stop words.
func newVectorizer(o KeywordOptions) (vectorizer, error) {
	stop, err := stopWords(o.Language)
	if err == nil && o.StopWords != nil {
		stop = wordSet(o.StopWords)
	}
	return vectorizer{o: o, stop: stop}, err
}

// candidates are the n-grams of a text without stop words, each once, sorted; or, where candidates were given, those of
// them that are among its n-grams, in the order given. One that was given twice makes KeyBERT find nothing.
func (v vectorizer) candidates(text string) candidates {
	var c candidates
	words := v.words(text)
	if v.o.OriginalCase {
		c.cased = map[string]string{}
	}
	seen := map[string]bool{}
	for n := v.o.MinNgram; n <= v.o.MaxNgram; n++ {
		for i := 0; i+n <= len(words); i++ {
			t := joined(words[i:i+n], func(w word) string { return w.lower })
			if seen[t] {
				continue
			}
			seen[t] = true
			c.terms = append(c.terms, t)
			if c.cased != nil {
				c.cased[t] = joined(words[i:i+n], func(w word) string { return w.written })
			}
		}
	}
	if v.o.Candidates == nil {
		c.terms = c.terms[:min(len(c.terms), maxCandidates)]
		slices.Sort(c.terms)
		return c
	}
	c.terms = nil
	given := map[string]bool{}
	for _, t := range v.o.Candidates {
		if given[t] {
			return candidates{}
		}
		if given[t] = true; seen[t] {
			c.terms = append(c.terms, t)
		}
	}
	return c
}

func joined(words []word, part func(word) string) string {
	if len(words) == 1 {
		return part(words[0])
	}
	var b strings.Builder
	for i, w := range words {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(part(w))
	}
	return b.String()
}

// word is a word in lower case, and as the text has it, which is left out unless it was asked for.
type word struct{ lower, written string }

// words matches (?u)\b\w\w+\b in the text in lower case: two or more letters, digits or underscores in a row. Stop words
// are left out.
func (v vectorizer) words(text string) []word {
	lower := lowerPython(text)
	var places []int
	if v.o.OriginalCase {
		places = lowerPlaces(text)
	}
	var words []word
	from, letters, at := 0, 0, 0
	end := func(to int) {
		if w := lower[from:to]; letters >= 2 && !v.stop[w] {
			found := word{lower: w}
			if places != nil {
				found.written = text[places[at-letters]:places[at]]
			}
			words = append(words, found)
		}
		letters = 0
	}
	for i, r := range lower {
		switch inWord := r == '_' || unicode.IsLetter(r) || unicode.IsNumber(r); {
		case !inWord:
			end(i)
		case letters == 0:
			from, letters = i, 1
		default:
			letters++
		}
		at++
	}
	end(len(lower))
	return words
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

// lowerPlaces tells for each character of the text in lower case, and for its end, at which byte of the text it stands.
func lowerPlaces(text string) []int {
	places := make([]int, 0, len(text)+1)
	for i, r := range text {
		if places = append(places, i); r == 'İ' {
			places = append(places, i)
		}
	}
	return append(places, len(text))
}
