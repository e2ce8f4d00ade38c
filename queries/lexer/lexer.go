// Package lexer cuts SQL text into tokens, as MySQL and Spark both do, without knowing a grammar: quotes, comments, the
// content of /*! */ comments, which MySQL executes, and the markers of Databricks notebooks. Places are byte offsets; lines
// and columns, which errors state, count from 1, columns in characters. Errors are *SyntaxError.
package lexer

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Kind of a token.
type Kind uint8

const (
	Word   Kind = iota + 1 // bare identifier or keyword
	Quoted                 // `identifier`
	String                 // 'text' or "text"
	Number                 // digits and what follows them without a space
	Symbol                 // one character, or =>
	End                    // of the text
)

// Token is one lexical element of a statement. Comments and white space are no tokens.
type Token struct {
	Kind  Kind
	Text  string // as written; for Quoted and String without quotes and escapes
	Start int    // byte offset of its first character
	Stop  int    // byte offset behind its last character
	Bang  int    // which /*! */ of the text it stands in, counted from 1; 0 for none
}

// Is reports whether the token is the bare keyword, in any case.
func (t Token) Is(keyword string) bool { return t.Kind == Word && strings.EqualFold(t.Text, keyword) }

// IsSymbol reports whether the token is this symbol.
func (t Token) IsSymbol(s string) bool { return t.Kind == Symbol && t.Text == s }

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

// Place returns line and column of a byte offset.
func Place(text string, offset int) (line, column int) {
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
	line, column := Place(l.text, offset)
	return &SyntaxError{Line: line, Column: column, Want: want, Got: got}
}

// next returns the next token; at the end of the text its kind is end.
func (l *lexer) next() (Token, error) {
	if err := l.skip(); err != nil {
		return Token{}, err
	}
	t, err := l.token()
	t.Bang = l.bang
	if t.Kind == End && l.bang != 0 {
		return Token{}, l.errorAt(l.open, "a closing */", "the end of the text")
	}
	return t, err
}

// token reads what begins at the present place.
func (l *lexer) token() (Token, error) {
	start := l.pos
	if start >= len(l.text) {
		return Token{Kind: End, Start: len(l.text), Stop: len(l.text)}, nil
	}
	c := l.text[start]
	switch {
	case c == '\'' || c == '"' || c == '`':
		return l.quotes(c)
	case c >= '0' && c <= '9':
		for l.pos < len(l.text) && (isWordByte(l.text[l.pos]) || l.text[l.pos] == '.') {
			l.pos++
		}
		return Token{Kind: Number, Text: l.text[start:l.pos], Start: start, Stop: l.pos}, nil
	case strings.HasPrefix(l.text[start:], "=>"):
		l.pos += 2
		return Token{Kind: Symbol, Text: "=>", Start: start, Stop: l.pos}, nil
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
		return Token{Kind: Word, Text: l.text[start:l.pos], Start: start, Stop: l.pos}, nil
	}
	l.pos += size
	return Token{Kind: Symbol, Text: l.text[start:l.pos], Start: start, Stop: l.pos}, nil
}

func isWordByte(c byte) bool {
	return c == '_' || c == '$' || c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z'
}

func isWordRune(r rune) bool {
	return r == '_' || r == '$' || r == '@' || r != utf8.RuneError && (unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r))
}

// quotes reads a quoted token; a doubled quote and, but for backticks, a backslash escape stand for themselves.
func (l *lexer) quotes(q byte) (Token, error) {
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
			k := String
			if q == '`' {
				k = Quoted
			}
			return Token{Kind: k, Text: text.String(), Start: start, Stop: l.pos}, nil
		default:
			text.WriteByte(c)
		}
	}
	return Token{}, l.errorAt(start, fmt.Sprintf("a closing %c", q), "the end of the text")
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

// Tokens reads the whole text; the last one is of kind End.
func Tokens(text string) ([]Token, error) {
	l := &lexer{text: text}
	var all []Token
	for {
		t, err := l.next()
		if err != nil {
			return nil, err
		}
		all = append(all, t)
		if t.Kind == End {
			return all, nil
		}
	}
}

// Cut returns the part of the text from the first to the last of the tokens, which are some. A /*! that begins before
// the part and ends in it, or the other way round, gets its missing bracket; one around the whole part is left out.
func Cut(text string, part []Token) string {
	first, last := part[0], part[len(part)-1]
	return Framed(text[first.Start:last.Stop], first, last)
}

// Framed gives text, which reaches from first to last, the brackets of /*! */ that were cut off it.
func Framed(text string, first, last Token) string {
	if first.Bang == last.Bang {
		return text
	}
	if first.Bang != 0 {
		text = "/*! " + text
	}
	if last.Bang != 0 {
		text += " */"
	}
	return text
}

// Head returns the bare words at the start of a statement in upper case, most of them at the most.
func Head(sql string, most int) []string {
	l := &lexer{text: sql}
	var words []string
	for len(words) < most {
		t, err := l.next()
		if err != nil || t.Kind != Word {
			break
		}
		words = append(words, strings.ToUpper(t.Text))
	}
	return words
}
