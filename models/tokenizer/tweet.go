package tokenizer

import (
	"encoding/xml"
	"math/big"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"smelt/models/emoji"

	"golang.org/x/text/encoding/charmap"
)

// This file is BERTweet's normalization: NLTK's tokenizer of tweets, marks for names, links and emoji, and the spelling of
// contractions. Go's regular expressions find what Python's find, in linear time; they lack Unicode's classes for \w and \s, and
// what looks at the characters around a match.

// Classes of Python's regex module, without regard to case: of a-z, \s, \w and letters.
const (
	az     = `a-zA-Z\x{130}\x{17f}\x{212a}`
	space  = `\t-\r \x{85}\p{Z}`
	letter = `\p{L}\p{M}\p{Nl}\x{203f}\x{2040}\x{2054}\x{fe33}\x{fe34}\x{fe4d}-\x{fe4f}\x{ff3f}\x{24b6}-\x{24e9}\x{1f130}-\x{1f149}\x{1f150}-\x{1f169}\x{1f170}-\x{1f189}\x{200c}\x{200d}`
	word   = letter + `\p{Nd}_`
)

// tweetLink is a link with its protocol, or with a path behind its domain.
var tweetLink = regexp.MustCompile(`^(?:(?:(?i:https?):(?:/{1,3}|[` + az + `0-9%])|[` + az + `0-9.\-]+\.[` + az + `]{2,13}/)` +
	`(?:[^` + space + `()<>{}\[\]]+|\([^` + space + `()]*?\([^` + space + `()]+\)[^` + space + `()]*?\)|\([^` + space + `]+?\))+` +
	`(?:\([^` + space + `()]*?\([^` + space + `()]+\)[^` + space + `()]*?\)|\([^` + space + `]+?\)|[^` + space + "`!()\\[\\]{};:'\".,<>?«»“”‘’]))")

// tweetWord is all else, in this order: telephone numbers, emoticons, tags, arrows, names, hashtags, addresses, words with
// apostrophes or dashes, numbers, words, dots, and any other character.
var tweetWord = regexp.MustCompile(`^(?:` +
	`(?:\+?[01][ *\-.)]*)?(?:\(?\p{Nd}{3}[ *\-.)]*)?\p{Nd}{3}[ *\-.)]*\p{Nd}{4}` +
	`|[<>]?[:;=8][\-oO*']?[)\](\[dDpP/:}{@|\\]|[)\](\[dDpP/:}{@|\\][\-oO*']?[:;=8][<>]?|<3` +
	`|<[^>` + space + `]+>` +
	`|-+>|<-+` +
	`|@[` + word + `]+` +
	`|#+[` + word + `]+[` + word + `'\-]*[` + word + `]+` +
	`|[` + word + `.+\-]+@[` + word + `\-]+\.(?:[` + word + `\-]\.?)+[` + word + `\-]` +
	`|[` + letter + `][` + letter + `'\-_]+[` + letter + `]` +
	`|[+\-]?\p{Nd}+[,/.:\-]\p{Nd}+[+\-]?` +
	`|[` + word + `]+` +
	`|\.(?:[` + space + `]*\.)+` +
	`|[^` + space + `])`)

var (
	azRune   = regexp.MustCompile(`^[` + az + `]$`)
	wordRune = regexp.MustCompile(`^[` + word + `]$`)
)

func isWord(r rune) bool {
	if r < utf8.RuneSelf {
		return r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r)
	}
	return wordRune.MatchString(string(r))
}

func isAZ(r rune) bool {
	if r < utf8.RuneSelf {
		return unicode.IsLetter(r)
	}
	return azRune.MatchString(string(r))
}

// bareDomain returns the length of a domain without anything around it, which is a link too; 0 for none. before is the
// character before it: an address of somebody is none.
func bareDomain(text string, before rune) int {
	if before == '@' {
		return 0
	}
	inside := func(r rune) bool { return isAZ(r) || r >= '0' && r <= '9' }
	found, at := 0, 0
	for at < len(text) { // a part, and then a dot or a dash
		size := strings.IndexFunc(text[at:], func(r rune) bool { return !inside(r) })
		if size <= 0 {
			break
		}
		if at += size; text[at] != '.' && text[at] != '-' {
			break
		}
		if n := topDomain(text, at); n > 0 {
			found = n
		}
		at++
	}
	return found
}

// topDomain returns the end of a domain whose last part begins behind the dot at at; 0 where it is none.
func topDomain(text string, at int) int {
	if text[at] != '.' {
		return 0
	}
	letters, end := 0, at+1
	for end < len(text) {
		r, size := utf8.DecodeRuneInString(text[end:])
		if !isWord(r) {
			break
		}
		if letters++; !isAZ(r) {
			return 0
		}
		end += size
	}
	switch {
	case letters < 2 || letters > 13:
		return 0
	case strings.HasPrefix(text[end:], "/") && !strings.HasPrefix(text[end:], "/@"):
		return end + 1
	case strings.HasPrefix(text[end:], "@"):
		return 0
	}
	return end
}

// tweetWords cuts a tweet into words as NLTK does, at most so many.
func tweetWords(text string, most int) []string {
	text = shortenRuns(replaceEntities(text))
	var words []string
	before := rune(-1)
	for at := 0; at < len(text) && len(words) < most; {
		r, size := utf8.DecodeRuneInString(text[at:])
		if !unicode.IsSpace(r) {
			size = wordLength(text[at:], before)
			words = append(words, text[at:at+size])
		}
		at += size
		before, _ = utf8.DecodeLastRuneInString(text[:at])
	}
	return words
}

func wordLength(text string, before rune) int {
	if at := tweetLink.FindStringIndex(text); at != nil {
		return at[1]
	}
	if n := bareDomain(text, before); n > 0 {
		return n
	}
	if at := tweetWord.FindStringIndex(text); at != nil {
		return at[1]
	}
	return len(text)
}

// shortenRuns leaves three of four or more equal characters in a row that are no ASCII letters or digits.
func shortenRuns(text string) string {
	var out strings.Builder
	before, run := rune(-1), 0
	for _, r := range text {
		if r != before {
			before, run = r, 0
		}
		if run++; run <= 3 || r < utf8.RuneSelf && (unicode.IsLetter(r) || unicode.IsDigit(r)) {
			out.WriteRune(r)
		}
	}
	return out.String()
}

// entity is what NLTK takes for an entity of HTML.
var entity = regexp.MustCompile(`&(#?(x?))([^&;` + space + `]+);`)

// replaceEntities writes the characters that entities stand for; those that stand for none are dropped.
func replaceEntities(text string) string {
	if strings.IndexByte(text, '&') < 0 {
		return text
	}
	var out strings.Builder
	for {
		m := entity.FindStringSubmatchIndex(text)
		if m == nil {
			break
		}
		out.WriteString(text[:m[0]])
		switch body := text[m[6]:m[7]]; {
		case m[3] == m[2]:
			out.WriteString(xml.HTMLEntity[body])
		case m[5] > m[4]:
			out.WriteString(numbered(body, 16))
		default:
			out.WriteString(numbered(body, 10))
		}
		text = text[m[1]:]
	}
	out.WriteString(text)
	return out.String()
}

// numbered is the character of a number as Python's int reads it; those of the C1 controls are read as Windows-1252, as
// browsers do.
func numbered(body string, base int) string {
	n, ok := pythonInt(body, base)
	switch {
	case !ok || n > unicode.MaxRune:
		return ""
	case n >= 0x80 && n <= 0x9f:
		if r := charmap.Windows1252.DecodeByte(byte(n)); r != utf8.RuneError && (r < 0x80 || r > 0x9f) {
			return string(r)
		}
		return ""
	}
	return string(rune(n)) // U+FFFD for half a character
}

// pythonInt reads a number that is not negative.
func pythonInt(body string, base int) (int64, bool) {
	body = strings.TrimFunc(body, pythonSpace)
	body = strings.TrimPrefix(body, "+")
	if base == 16 {
		body = strings.TrimPrefix(strings.TrimPrefix(body, "0x"), "0X")
	}
	digits := strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Nd, r) {
			return '0' + digitOf(r)
		}
		return r
	}, body)
	if strings.HasPrefix(digits, "_") || strings.HasSuffix(digits, "_") || strings.Contains(digits, "__") || strings.ContainsAny(digits, "+-") {
		return 0, false
	}
	n, ok := new(big.Int).SetString(strings.ReplaceAll(digits, "_", ""), base)
	if !ok || !n.IsInt64() {
		return 0, false
	}
	return n.Int64(), true
}

// digitOf returns the value of a decimal digit of any script: they stand in tens, from zero on.
func digitOf(r rune) rune {
	for _, in := range unicode.Nd.R16 {
		if rune(in.Lo) <= r && r <= rune(in.Hi) {
			return (r - rune(in.Lo)) % 10
		}
	}
	for _, in := range unicode.Nd.R32 {
		if rune(in.Lo) <= r && r <= rune(in.Hi) {
			return (r - rune(in.Lo)) % 10
		}
	}
	return 0
}

var (
	puncts = strings.NewReplacer("’", "'", "…", "...")
	// contractions are applied one after another.
	contractions = [][2]string{{"cannot ", "can not "}, {"n't ", " n't "}, {"n 't ", " n't "}, {"ca n't", "can't"}, {"ai n't", "ain't"},
		{"'m ", " 'm "}, {"'re ", " 're "}, {"'s ", " 's "}, {"'ll ", " 'll "}, {"'d ", " 'd "}, {"'ve ", " 've "},
		{" p . m .", "  p.m."}, {" p . m ", " p.m "}, {" a . m .", " a.m."}, {" a . m ", " a.m "}}
)

// normalizeTweet writes at most so many words of a tweet as BERTweet knows them, one blank between two.
func normalizeTweet(text string, most int) string {
	words := tweetWords(puncts.Replace(text), most)
	for i, w := range words {
		words[i] = normalizeWord(w)
	}
	text = strings.Join(words, " ")
	for _, c := range contractions {
		text = strings.ReplaceAll(text, c[0], c[1])
	}
	return strings.Join(strings.FieldsFunc(text, pythonSpace), " ")
}

func normalizeWord(w string) string {
	switch {
	case w[0] == '@':
		return "@USER"
	case len(w) >= 4 && strings.EqualFold(w[:4], "http") || len(w) >= 3 && strings.EqualFold(w[:3], "www"):
		return "HTTPURL"
	}
	r, size := utf8.DecodeRuneInString(w)
	switch {
	case size < len(w):
		return w
	case r == '\ufe0f': // a selector behind what is no emoji by itself
		return ""
	}
	if name, ok := emoji.OldName(r); ok {
		return ":" + name + ":"
	}
	return puncts.Replace(w) // which an entity may have brought
}
