package models

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// preprocessors are the ways in which a model wants its text before the tokenizer, by the name in its config.json.
var preprocessors = map[string]func(string) string{
	"":              func(text string) string { return text },
	"none":          func(text string) string { return text },
	"tweet":         tweet,
	"cardiffnlp":    cardiffnlp,
	"tweet-topic":   tweetTopic,
	"pysentimiento": pysentimiento,
}

// preprocessor returns the function of that name.
func preprocessor(name string) (func(string) string, error) {
	f, ok := preprocessors[name]
	if !ok {
		known := slices.Sorted(maps.Keys(preprocessors))[1:]
		return nil, fmt.Errorf("preprocess %q: there is no such preprocessing; known are %s", name, strings.Join(known, ", "))
	}
	return f, nil
}

var (
	entities = strings.NewReplacer("&amp;", "&", "&lt;", "<", "&gt;", ">", "&quot;", `"`, "&#39;", "'", "&apos;", "'", "&nbsp;", " ")
	quotes   = strings.NewReplacer("’", "'", "‘", "'", "“", `"`, "”", `"`)
)

// tweet is what the shipped models were trained on, in this order: entities, links, names, quotes, apostrophes inside
// words, runs of one character. builtin/train/common.py is its twin, and builtin/testdata/golden.json holds both to it.
func tweet(text string) string {
	if strings.IndexByte(text, '&') >= 0 {
		text = entities.Replace(text)
	}
	text = replaceLinks(text, "url")
	if strings.IndexByte(text, '@') >= 0 {
		text = replaceNames(text, "user")
	}
	if strings.Contains(text, "\u2018") || strings.Contains(text, "\u2019") || strings.Contains(text, "\u201c") || strings.Contains(text, "\u201d") {
		text = quotes.Replace(text)
	}
	if strings.IndexByte(text, '\'') >= 0 {
		text = dropApostrophes(text)
	}
	return squeezeRuns(text)
}

// blank is white space as Python sees it: Unicode's and the four ASCII separators.
func blank(r rune) bool { return unicode.IsSpace(r) || r >= 0x1c && r <= 0x1f }

// replaceLinks writes mark for http://..., https://... and www...., up to the next blank.
func replaceLinks(text, mark string) string {
	var out strings.Builder
	for {
		at, scheme := findLink(text)
		if at < 0 {
			break
		}
		end := strings.IndexFunc(text[at+scheme:], blank)
		if end < 0 {
			end = len(text)
		} else {
			end += at + scheme
		}
		out.WriteString(text[:at])
		out.WriteString(mark)
		text = text[end:]
	}
	if out.Len() == 0 {
		return text
	}
	out.WriteString(text)
	return out.String()
}

// findLink returns where the first link begins and how long its scheme is; -1 for none. Something must follow the scheme.
func findLink(text string) (at, scheme int) {
	for i := range len(text) {
		c := text[i] | 0x20
		if c != 'h' && c != 'w' {
			continue
		}
		for _, s := range []string{"https://", "http://", "www."} {
			n := len(s)
			if len(text)-i > n && strings.EqualFold(text[i:i+n], s) {
				if r, _ := utf8.DecodeRuneInString(text[i+n:]); !blank(r) {
					return i, n
				}
			}
		}
	}
	return -1, 0
}

func nameByte(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z'
}

// replaceNames writes mark for @name.
func replaceNames(text, mark string) string {
	var out strings.Builder
	for i := 0; i < len(text); {
		end := i + 1
		if text[i] == '@' {
			for end < len(text) && nameByte(text[end]) {
				end++
			}
		}
		if end > i+1 {
			out.WriteString(mark)
		} else {
			out.WriteByte(text[i])
		}
		i = end
	}
	return out.String()
}

// dropApostrophes removes those between two letters.
func dropApostrophes(text string) string {
	var out strings.Builder
	before := rune(0)
	for i, r := range text {
		if r == '\'' && unicode.IsLetter(before) {
			if after, _ := utf8.DecodeRuneInString(text[i+1:]); unicode.IsLetter(after) {
				before = r
				continue
			}
		}
		out.WriteRune(r)
		before = r
	}
	return out.String()
}

// squeezeRuns shortens three or more equal characters in a row to two.
func squeezeRuns(text string) string {
	before, run, found := rune(-1), 0, false
	for _, r := range text {
		if r != before {
			before, run = r, 0
		}
		if run++; run > 2 {
			found = true
			break
		}
	}
	if !found {
		return text
	}
	var out strings.Builder
	before, run = -1, 0
	for _, r := range text {
		if r != before {
			before, run = r, 0
		}
		if run++; run <= 2 {
			out.WriteRune(r)
		}
	}
	return out.String()
}
