package functions

import (
	"slices"
	"unicode"
	"unicode/utf8"
)

// Mentions returns the names behind @ in a text, each once, in order of appearance. A mention is an @ (or the full-width
// ＠) that follows no letter, digit or underscore, and then one or more ASCII letters, digits or underscores: so the
// second half of a mail address is none.
func Mentions(text string) []string {
	return tagged(text, '@', '＠', func(r rune) bool { return r < utf8.RuneSelf && wordRune(r) }, func(string) bool { return true })
}

// Hashtags returns the words behind # in a text, each once, in order of appearance. A hashtag is a # (or the full-width
// ＃) that follows no letter, digit or underscore, and then letters, marks, digits or underscores of any language, not
// digits alone.
func Hashtags(text string) []string {
	return tagged(text, '#', '＃', func(r rune) bool { return wordRune(r) || unicode.IsMark(r) }, func(word string) bool {
		for _, r := range word {
			if !unicode.IsDigit(r) {
				return true
			}
		}
		return false
	})
}

func wordRune(r rune) bool { return r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r) }

// tagged collects the runs of inside that follow a mark.
func tagged(text string, mark, wide rune, inside func(rune) bool, valid func(string) bool) []string {
	found := []string{}
	before := ' '
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRuneInString(text[i:])
		if r != mark && r != wide || wordRune(before) {
			before = r
			i += size
			continue
		}
		end := i + size
		for end < len(text) {
			next, n := utf8.DecodeRuneInString(text[end:])
			if !inside(next) {
				break
			}
			end += n
		}
		if word := text[i+size : end]; word != "" && valid(word) && !slices.Contains(found, word) {
			found = append(found, word)
		}
		before, _ = utf8.DecodeLastRuneInString(text[:end])
		i = end
	}
	return found
}
