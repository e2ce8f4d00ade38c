package lexer

import "strings"

// Piece is one statement of a script and where it begins, counted from 1; columns are characters.
type Piece struct {
	Text         string
	Line, Column int
}

// Split cuts a script at its semicolons. Pieces without any token are left out; notebook lines that begin with
// "-- MAGIC" or "-- COMMAND" are comments like any other. A quote or comment that does not end is a *SyntaxError.
func Split(script string) ([]Piece, error) {
	l := &lexer{text: script}
	var pieces []Piece
	var part []Token
	for {
		t, err := l.next()
		if err != nil {
			return nil, err
		}
		if t.Kind != End && (t.Kind != Symbol || t.Text != ";") {
			part = append(part, t)
			continue
		}
		if len(part) > 0 {
			line, column := Place(script, part[0].Start)
			pieces = append(pieces, Piece{Text: Cut(script, part), Line: line, Column: column})
			part = part[:0]
		}
		if t.Kind == End {
			return pieces, nil
		}
	}
}

// Normal returns the text with its tokens as they are written, one space between them, and no comments: two statements
// with the same normal form mean the same. Text that does not lex is returned as it is.
func Normal(sql string) string {
	all, err := Tokens(sql)
	if err != nil {
		return sql
	}
	var out strings.Builder
	for i, t := range all[:len(all)-1] {
		if i > 0 {
			out.WriteByte(' ')
		}
		out.WriteString(sql[t.Start:t.Stop])
	}
	return out.String()
}

// QuoteName returns the name in backticks.
func QuoteName(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }

// QuoteText returns the text in single quotes.
func QuoteText(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", "''").Replace(text) + "'"
}
