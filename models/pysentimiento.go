package models

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"smelt/models/emoji"
)

// pysentimiento is what that library does to an English tweet before its models see it, in this order: hashtags become words,
// some characters others or none, then names, links, runs, emoji and laughter. Names of emoji are those of Unicode 15.0.
func pysentimiento(text string) string {
	text = hashtagWords(text)
	text = strings.Map(plainer, plainQuotes.Replace(text))
	text = atNames.ReplaceAllLiteralString(text, "@USER")
	text = markedLinks(text)
	text = runsOfThree(text)
	text = barred.ReplaceAllStringFunc(emoji.Demojize(text, "|"), func(name string) string {
		return " emoji " + strings.ReplaceAll(strings.Trim(name, "|"), "_", " ") + " emoji "
	})
	text = laughter.ReplaceAllLiteralString(text, "haha")
	return strings.TrimFunc(text, blank)
}

var (
	atNames  = regexp.MustCompile(`@[a-zA-Z0-9_]{0,15}`)
	barred   = regexp.MustCompile(`\|[^|]+\|`)
	laughter = regexp.MustCompile(`[ha][ha]+ah[ha]+`)
	camel    = regexp.MustCompile(`[A-Z]+`)
	// The characters that it replaces, and those that it drops.
	plainQuotes = strings.NewReplacer("¨", `"`, "«", `"`, "»", `"`, "“", `"`, "”", `"`, "‼", "!", "€", "$", "☻", "😃", "♡", "❤️", "♥", "❤️", "❤", "")
)

const dropped = "~£¥©°´¶·º×ا–—‘’•…™●☠☹☺♀♂⚰⛱⛹✈✓ー🕯🛰"

func plainer(r rune) rune {
	if r >= '~' && strings.ContainsRune(dropped, r) {
		return -1
	}
	return r
}

// pythonWord is \w of Python.
func pythonWord(r rune) bool { return r == '_' || unicode.IsLetter(r) || unicode.IsNumber(r) }

// hashtagWords writes #OneTwo as hashtag one two; a hashtag has an ASCII letter and stands behind no word.
func hashtagWords(text string) string {
	var out strings.Builder
	before := rune(-1)
	for len(text) > 0 {
		r, size := utf8.DecodeRuneInString(text)
		end := size
		if r == '#' && !pythonWord(before) {
			if end = strings.IndexFunc(text[size:], func(r rune) bool { return !pythonWord(r) }) + size; end < size {
				end = len(text)
			}
		}
		if tag := text[size:end]; strings.ContainsFunc(tag, func(r rune) bool { return r < utf8.RuneSelf && unicode.IsLetter(r) }) {
			out.WriteString("hashtag " + lowerPython(strings.TrimFunc(camel.ReplaceAllString(tag, " $0"), blank)))
		} else {
			out.WriteString(text[:size])
			end = size
		}
		before, _ = utf8.DecodeLastRuneInString(text[:end])
		text = text[end:]
	}
	return out.String()
}

// A link of pysentimiento: a protocol, or a part of a domain, or the beginning of a word, and then parts up to one of some endings.
const (
	linkParts  = `(?:[\p{L}\p{N}_]+\.){1,5}(?:com|co|org|edu|gov|uk|net|ca|de|jp|fr|au|us|ru|ch|it|nl|se|no|es|mil|iq|io|ac|ly|sm)(?:/[a-zA-Z0-9]+)*`
	linkBegins = `^(?:https?://|[a-zA-Z0-9]+\.`
)

var (
	linkInside = regexp.MustCompile(linkBegins + `)` + linkParts)
	linkWhole  = regexp.MustCompile(linkBegins + `|)` + linkParts) // where a word begins or ends
)

// markedLinks writes HTTPURL for links; one at the beginning of a text, or behind an ASCII letter or digit, is not found.
func markedLinks(text string) string {
	var out strings.Builder
	from := 0 // of what is not written yet
	before := rune(-1)
	for at := 0; at < len(text); {
		r, size := utf8.DecodeRuneInString(text[at:])
		if at > 0 && (before >= utf8.RuneSelf || !unicode.IsLetter(before) && !unicode.IsDigit(before)) && pythonWord(r) {
			link := linkInside
			if !pythonWord(before) {
				link = linkWhole
			}
			if m := link.FindStringIndex(text[at:]); m != nil {
				out.WriteString(text[from:at] + "HTTPURL")
				size = m[1]
				from = at + size
			}
		}
		at += size
		before, _ = utf8.DecodeLastRuneInString(text[:at])
	}
	return out.String() + text[from:]
}

// runsOfThree leaves three of more equal characters in a row, but for line ends.
func runsOfThree(text string) string {
	var out strings.Builder
	before, run := rune(-1), 0
	for _, r := range text {
		if r != before {
			before, run = r, 0
		}
		if run++; run <= 3 || r == '\n' {
			out.WriteRune(r)
		}
	}
	return out.String()
}
