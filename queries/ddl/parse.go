package ddl

import (
	"fmt"
	"slices"
	"strings"

	"smelt/queries/lexer"
)

// parser walks the tokens of one statement.
type parser struct {
	text string
	all  []lexer.Token // the last one is of kind end
	at   int
}

// headWords is how many words at the start of a statement tell whether it is ours.
const headWords = 7

// family is a group of statements that one function reads. A new one is a row of families, a file of its own, and a
// case of engine's inject.
type family struct {
	is   func(sql string, words []string) bool // words are the first bare ones of sql, in upper case
	read func(p *parser) (Statement, error)
}

// families returns all families; the first that says yes reads the statement.
func families() []family {
	return []family{
		{isOnFile, (*parser).onFile},
		{isSet, (*parser).set},
		{isBronze, (*parser).bronze},
		{isFlow, (*parser).flow},
		{isOnRules, (*parser).onRules},
		{isInspect, (*parser).inspect},
		{altersFlow, (*parser).onFlow},
		{isLater, (*parser).refuseLater},
		{isEvaluate, (*parser).evaluate},
		{isOnModel, (*parser).onModel},
		{isOnTable, (*parser).onTable},
		{isCreate, (*parser).create},
		{isOnFlow, (*parser).onFlow},
	}
}

// Parse reads one statement. Both results are nil for a statement that is not ours: it is left to the MySQL parser, text
// that does not lex included. An error is a *lexer.SyntaxError.
func Parse(sql string) (Statement, error) {
	f := familyOf(sql)
	if f == nil {
		return nil, nil
	}
	all, err := lexer.Tokens(sql)
	if err != nil {
		return nil, err
	}
	statement, err := f.read(&parser{text: sql, all: trimSemicolons(all)})
	if err != nil {
		return nil, err
	}
	return statement, nil
}

// familyOf returns the family of a statement by its first words, nil for one that is not ours.
func familyOf(sql string) *family {
	words := lexer.Head(sql, headWords)
	for _, f := range families() {
		if f.is(sql, words) {
			return &f
		}
	}
	return nil
}

// beginsKind reports whether the words name a streaming table or materialized view, or begin to.
func beginsKind(words []string) bool {
	return begins(words, "STREAMING") || begins(words, "MATERIALIZED") || begins(words, "LIVE", "TABLE")
}

func begins(words []string, with ...string) bool {
	return len(words) >= len(with) && slices.Equal(words[:len(with)], with)
}

// withoutOr takes OR REFRESH and OR REPLACE off the words behind CREATE.
func withoutOr(words []string) []string {
	if begins(words, "OR", "REFRESH") || begins(words, "OR", "REPLACE") {
		return words[2:]
	}
	return words
}

func trimSemicolons(all []lexer.Token) []lexer.Token {
	n := len(all) - 1
	for n > 0 && all[n-1].IsSymbol(";") {
		n--
	}
	return append(slices.Clone(all[:n]), all[len(all)-1])
}

func (p *parser) peek() lexer.Token { return p.all[p.at] }

func (p *parser) ahead(n int) lexer.Token {
	return p.all[min(p.at+n, len(p.all)-1)]
}

func (p *parser) advance() lexer.Token {
	t := p.all[p.at]
	if p.at < len(p.all)-1 {
		p.at++
	}
	return t
}

// accept consumes the keywords if all of them come next.
func (p *parser) accept(keywords ...string) bool {
	for i, k := range keywords {
		if !p.ahead(i).Is(k) {
			return false
		}
	}
	p.at += len(keywords)
	return true
}

// symbolAhead reports whether the token n places ahead is this symbol.
func (p *parser) symbolAhead(n int, s string) bool {
	t := p.ahead(n)
	return t.Kind == lexer.Symbol && t.Text == s
}

func (p *parser) acceptSymbol(s string) bool {
	if p.symbolAhead(0, s) {
		p.advance()
		return true
	}
	return false
}

// unexpected is the error for the next token.
func (p *parser) unexpected(want string) *lexer.SyntaxError { return p.errorAt(p.peek(), want) }

func (p *parser) errorAt(t lexer.Token, want string) *lexer.SyntaxError {
	line, column := lexer.Place(p.text, t.Start)
	got := "the end of the statement"
	if t.Kind != lexer.End {
		got = fmt.Sprintf("%q", p.text[t.Start:t.Stop])
	}
	return &lexer.SyntaxError{Line: line, Column: column, Want: want, Got: got}
}

// placeOf names the place of a token.
func (p *parser) placeOf(t lexer.Token) string {
	line, column := lexer.Place(p.text, t.Start)
	return fmt.Sprintf("line %d, column %d", line, column)
}

// notYet is the error for something of smelt's grammar that this version lacks; instead says what to write, "" if
// there is nothing.
func (p *parser) notYet(what, instead string) *lexer.SyntaxError {
	e := p.unexpected("a statement that this version knows: " + what + " is not supported yet")
	e.Hint = what + " is not supported yet"
	if instead != "" {
		e.Want = instead + " (" + what + " is not supported yet)"
		e.Hint += ": use " + instead
	}
	return e
}

func (p *parser) expect(keyword string) error {
	if !p.accept(keyword) {
		return p.unexpected(keyword)
	}
	return nil
}

func (p *parser) expectSymbol(s string) error {
	if !p.acceptSymbol(s) {
		return p.unexpected(fmt.Sprintf("%q", s))
	}
	return nil
}

func (p *parser) identifier(what string) (string, error) {
	if t := p.peek(); (t.Kind == lexer.Word || t.Kind == lexer.Quoted) && t.Text != "" {
		p.advance()
		return t.Text, nil
	}
	return "", p.unexpected(what)
}

func (p *parser) literal(what string) (string, error) {
	if t := p.peek(); t.Kind == lexer.String {
		p.advance()
		return t.Text, nil
	}
	return "", p.unexpected(what)
}

// name reads [database.]name; LIVE.t of Delta Live Tables is t of the database live.
func (p *parser) name(what string) (database, name string, err error) {
	if name, err = p.identifier(what); err != nil {
		return "", "", err
	}
	if p.acceptSymbol(".") {
		database = name
		if strings.EqualFold(database, "live") {
			database = "live"
		}
		if name, err = p.identifier(what); err != nil {
			return "", "", err
		}
	}
	return database, name, nil
}

func (p *parser) done() error {
	if p.peek().Kind != lexer.End {
		return p.unexpected("the end of the statement")
	}
	return nil
}

// kind reads STREAMING [LIVE] TABLE, MATERIALIZED VIEW or LIVE TABLE, or returns 0 and consumes nothing.
func (p *parser) kind() Kind {
	switch {
	case p.accept("STREAMING", "LIVE", "TABLE"), p.accept("STREAMING", "TABLE"):
		return StreamingTable
	case p.accept("MATERIALIZED", "VIEW"), p.accept("LIVE", "TABLE"):
		return MaterializedView
	default:
		return 0
	}
}

// mustKind is kind for a statement that names one.
func (p *parser) mustKind() (Kind, error) {
	if k := p.kind(); k != 0 {
		return k, nil
	}
	if !p.accept("STREAMING", "LIVE") && !p.accept("STREAMING") && !p.accept("MATERIALIZED") {
		return 0, p.unexpected("STREAMING TABLE or MATERIALIZED VIEW")
	}
	if p.all[p.at-1].Is("MATERIALIZED") {
		return 0, p.unexpected("VIEW")
	}
	return 0, p.unexpected("TABLE")
}
