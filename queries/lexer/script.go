package lexer

import (
	"errors"
	"strings"
)

// Piece is one statement of a script and where it begins, counted from 1; columns are characters.
type Piece struct {
	Text         string
	Line, Column int
}

// In returns an error of the piece with its place in the script.
func (p Piece) In(err error) error {
	var syntax *SyntaxError
	if errors.As(err, &syntax) {
		if syntax.Line == 1 {
			syntax.Column += p.Column - 1
		}
		syntax.Line += p.Line - 1
	}
	return err
}

// cellMark begins the line between two cells of a Databricks notebook that was exported as a file.
const cellMark = "-- COMMAND ------"

// newCell reports whether a cell of a notebook begins in what stands between two tokens.
func newCell(between string) bool {
	for line := range strings.Lines(between) {
		if strings.HasPrefix(strings.TrimSpace(line), cellMark) {
			return true
		}
	}
	return false
}

// Split cuts a script at its semicolons, and at the cells of a notebook, which may go without. Pieces without any token
// are left out; other lines of notebooks, such as "-- MAGIC", are comments like any other. A quote or comment that does
// not end is a *SyntaxError.
func Split(script string) ([]Piece, error) {
	l := &lexer{text: script}
	var pieces []Piece
	var part []Token
	for {
		t, err := l.next()
		if err != nil {
			return nil, err
		}
		ends := t.Kind == End || t.IsSymbol(";")
		if len(part) > 0 && (ends || newCell(script[part[len(part)-1].Stop:t.Start])) {
			line, column := Place(script, part[0].Start)
			pieces = append(pieces, Piece{Text: Cut(script, part), Line: line, Column: column})
			part = part[:0]
		}
		if t.Kind == End {
			return pieces, nil
		}
		if !ends {
			part = append(part, t)
		}
	}
}

// OneLine returns the text without comments and line breaks, but for those inside quotes. Text that does not lex is
// returned as it is.
func OneLine(sql string) string {
	all, err := Tokens(sql)
	if err != nil {
		return sql
	}
	var out strings.Builder
	for i, t := range all[:len(all)-1] {
		if i > 0 && all[i-1].Stop < t.Start {
			out.WriteByte(' ')
		}
		out.WriteString(sql[t.Start:t.Stop])
	}
	return out.String()
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
