package ddl

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// kind of a token.
type kind uint8

const (
	word   kind = iota + 1 // bare identifier or keyword
	quoted                 // `identifier`
	str                    // 'text' or "text"
	number
	symbol // one character, or =>
	end
)

// token is one lexical element of a statement. Comments and white space are no tokens.
type token struct {
	kind  kind
	text  string // as written; for quoted and str without quotes and escapes
	start int    // byte offset of its first character
	stop  int    // byte offset behind its last character
	bang  int    // which /*! */ of the text it stands in, counted from 1; 0 for none
}

// is reports whether the token is the bare keyword, in any case.
func (t token) is(keyword string) bool { return t.kind == word && strings.EqualFold(t.text, keyword) }

// SyntaxError says where a statement of ours could not be read. It is returned wrapped in nothing, so that clients get
// the text as it stands.
type SyntaxError struct {
	Line, Column int    // of what was found, counted from 1; columns are characters
	Want, Got    string // what was expected and what stands there
	Hint         string // for what smelt's grammar has and this version has not: says so, and what to use; else ""
}

// Error implements error.
func (e *SyntaxError) Error() string {
	if e.Hint != "" {
		return fmt.Sprintf("line %d, column %d: %s", e.Line, e.Column, e.Hint)
	}
	return fmt.Sprintf("syntax error at line %d, column %d: want %s, got %s", e.Line, e.Column, e.Want, e.Got)
}

// place returns line and column of a byte offset.
func place(text string, offset int) (line, column int) {
	before := text[:min(offset, len(text))]
	line = 1 + strings.Count(before, "\n")
	return line, 1 + utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:])
}

// lexer splits SQL text into tokens. The content of /*! */ comments is executed by MySQL and so it is read as text.
type lexer struct {
	text  string
	pos   int
	bangs int // how many /*! were met
	bang  int // the one that is open now, 0 for none
	open  int // where that one begins
}

func (l *lexer) errorAt(offset int, want, got string) *SyntaxError {
	line, column := place(l.text, offset)
	return &SyntaxError{Line: line, Column: column, Want: want, Got: got}
}

// next returns the next token; at the end of the text its kind is end.
func (l *lexer) next() (token, error) {
	if err := l.skip(); err != nil {
		return token{}, err
	}
	t, err := l.token()
	t.bang = l.bang
	if t.kind == end && l.bang != 0 {
		return token{}, l.errorAt(l.open, "a closing */", "the end of the text")
	}
	return t, err
}

// token reads what begins at the present place.
func (l *lexer) token() (token, error) {
	start := l.pos
	if start >= len(l.text) {
		return token{kind: end, start: len(l.text), stop: len(l.text)}, nil
	}
	c := l.text[start]
	switch {
	case c == '\'' || c == '"' || c == '`':
		return l.quotes(c)
	case c >= '0' && c <= '9':
		for l.pos < len(l.text) && (isWordByte(l.text[l.pos]) || l.text[l.pos] == '.') {
			l.pos++
		}
		return token{kind: number, text: l.text[start:l.pos], start: start, stop: l.pos}, nil
	case strings.HasPrefix(l.text[start:], "=>"):
		l.pos += 2
		return token{kind: symbol, text: "=>", start: start, stop: l.pos}, nil
	}
	r, size := utf8.DecodeRuneInString(l.text[start:])
	if isWordRune(r) {
		for l.pos < len(l.text) {
			r, size := utf8.DecodeRuneInString(l.text[l.pos:])
			if !isWordRune(r) {
				break
			}
			l.pos += size
		}
		return token{kind: word, text: l.text[start:l.pos], start: start, stop: l.pos}, nil
	}
	l.pos += size
	return token{kind: symbol, text: l.text[start:l.pos], start: start, stop: l.pos}, nil
}

func isWordByte(c byte) bool {
	return c == '_' || c == '$' || c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z'
}

func isWordRune(r rune) bool {
	return r == '_' || r == '$' || r == '@' || r != utf8.RuneError && (unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r))
}

// quotes reads a quoted token; a doubled quote and, but for backticks, a backslash escape stand for themselves.
func (l *lexer) quotes(q byte) (token, error) {
	start := l.pos
	var text strings.Builder
	for l.pos++; l.pos < len(l.text); l.pos++ {
		c := l.text[l.pos]
		switch {
		case c == '\\' && q != '`' && l.pos+1 < len(l.text):
			l.pos++
			text.WriteString(unescape(l.text[l.pos]))
		case c == q && l.pos+1 < len(l.text) && l.text[l.pos+1] == q:
			l.pos++
			text.WriteByte(q)
		case c == q:
			l.pos++
			k := str
			if q == '`' {
				k = quoted
			}
			return token{kind: k, text: text.String(), start: start, stop: l.pos}, nil
		default:
			text.WriteByte(c)
		}
	}
	return token{}, l.errorAt(start, fmt.Sprintf("a closing %c", q), "the end of the text")
}

// unescape returns what MySQL makes of a backslash and c; % and _ keep the backslash, as in LIKE patterns.
func unescape(c byte) string {
	switch c {
	case 'n':
		return "\n"
	case 't':
		return "\t"
	case 'r':
		return "\r"
	case '0':
		return "\x00"
	case 'b':
		return "\b"
	case 'Z':
		return "\x1a"
	case '%', '_':
		return "\\" + string(c)
	default:
		return string(c)
	}
}

// skip passes over white space and comments.
func (l *lexer) skip() error {
	for l.pos < len(l.text) {
		rest := l.text[l.pos:]
		r, size := utf8.DecodeRuneInString(rest)
		switch {
		case unicode.IsSpace(r) || r == '\ufeff':
			l.pos += size
		case rest[0] == '#', strings.HasPrefix(rest, "--"), strings.HasPrefix(rest, "//"):
			// As Spark and our MySQL parser have it: MySQL itself wants a blank behind --, and takes 5--3 for 8.
			n := strings.IndexByte(rest, '\n')
			if n < 0 {
				n = len(rest) - 1
			}
			l.pos += n + 1
		case strings.HasPrefix(rest, "/*!"):
			l.bangs++
			l.bang, l.open = l.bangs, l.pos
			l.pos += len("/*!")
			for l.pos < len(l.text) && l.text[l.pos] >= '0' && l.text[l.pos] <= '9' {
				l.pos++ // the version number of MySQL's form
			}
		case l.bang != 0 && strings.HasPrefix(rest, "*/"):
			l.pos += len("*/")
			l.bang = 0
		case strings.HasPrefix(rest, "/*"):
			n := strings.Index(rest[2:], "*/")
			if n < 0 {
				return l.errorAt(l.pos, "a closing */", "the end of the text")
			}
			l.pos += 2 + n + 2
		default:
			return nil
		}
	}
	return nil
}

// tokens reads the whole text.
func tokens(text string) ([]token, error) {
	l := &lexer{text: text}
	var all []token
	for {
		t, err := l.next()
		if err != nil {
			return nil, err
		}
		all = append(all, t)
		if t.kind == end {
			return all, nil
		}
	}
}

// cut returns the part of the text from the first to the last of the tokens, which are some. A /*! that begins before
// the part and ends in it, or the other way round, gets its missing bracket; one around the whole part is left out.
func cut(text string, part []token) string {
	first, last := part[0], part[len(part)-1]
	return framed(text[first.start:last.stop], first, last)
}

// framed gives text, which reaches from first to last, the brackets that were cut off it.
func framed(text string, first, last token) string {
	if first.bang == last.bang {
		return text
	}
	if first.bang != 0 {
		text = "/*! " + text
	}
	if last.bang != 0 {
		text += " */"
	}
	return text
}
