package ddl

import (
	"fmt"
	"slices"
	"strings"
)

// parser walks the tokens of one statement.
type parser struct {
	text string
	all  []token
	at   int
}

// Parse reads one statement. Both results are nil for a statement that is not ours.
func Parse(sql string) (Statement, error) {
	all, err := tokens(sql)
	if err != nil {
		// Text that does not even lex is MySQL's to refuse, unless it begins like one of ours.
		return nil, oursOnly(sql, err)
	}
	p := &parser{text: sql, all: trimSemicolons(all)}
	switch {
	case p.peek().is("CREATE"):
		return p.create()
	case p.peek().is("REFRESH"):
		return p.refresh()
	case p.peek().is("DROP"):
		return p.drop()
	case p.peek().is("SHOW"):
		return p.show()
	default:
		return nil, nil
	}
}

func trimSemicolons(all []token) []token {
	n := len(all) - 1
	for n > 0 && all[n-1].kind == symbol && all[n-1].text == ";" {
		n--
	}
	return append(slices.Clone(all[:n]), token{kind: end, start: all[len(all)-1].start, stop: all[len(all)-1].stop})
}

// oursOnly returns the lexical error if the statement begins like ours.
func oursOnly(sql string, err error) error {
	l := &lexer{text: sql}
	var words []string
	for range 4 {
		t, lexErr := l.next()
		if lexErr != nil || t.kind != word {
			break
		}
		words = append(words, strings.ToUpper(t.text))
	}
	if slices.Contains(words, "STREAMING") || slices.Contains(words, "MATERIALIZED") {
		return err
	}
	return nil
}

func (p *parser) peek() token { return p.all[p.at] }

func (p *parser) ahead(n int) token {
	return p.all[min(p.at+n, len(p.all)-1)]
}

func (p *parser) advance() token {
	t := p.all[p.at]
	if p.at < len(p.all)-1 {
		p.at++
	}
	return t
}

// accept consumes the keywords if all of them come next.
func (p *parser) accept(keywords ...string) bool {
	for i, k := range keywords {
		if !p.ahead(i).is(k) {
			return false
		}
	}
	p.at += len(keywords)
	return true
}

func (p *parser) acceptSymbol(s string) bool {
	if t := p.peek(); t.kind == symbol && t.text == s {
		p.advance()
		return true
	}
	return false
}

// unexpected is the error for the next token.
func (p *parser) unexpected(want string) *SyntaxError {
	t := p.peek()
	line, column := place(p.text, t.start)
	got := "the end of the statement"
	if t.kind != end {
		got = fmt.Sprintf("%q", p.text[t.start:t.stop])
	}
	return &SyntaxError{Line: line, Column: column, Want: want, Got: got}
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
	if t := p.peek(); t.kind == word || t.kind == quoted {
		p.advance()
		return t.text, nil
	}
	return "", p.unexpected(what)
}

func (p *parser) literal(what string) (string, error) {
	if t := p.peek(); t.kind == str {
		p.advance()
		return t.text, nil
	}
	return "", p.unexpected(what)
}

// name reads [database.]name; LIVE.t is t of the current database, as in Delta Live Tables.
func (p *parser) name(what string) (database, name string, err error) {
	if name, err = p.identifier(what); err != nil {
		return "", "", err
	}
	if p.acceptSymbol(".") {
		database = name
		if name, err = p.identifier(what); err != nil {
			return "", "", err
		}
		if strings.EqualFold(database, "LIVE") {
			database = ""
		}
	}
	return database, name, nil
}

func (p *parser) done() error {
	if p.peek().kind != end {
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

func (p *parser) refresh() (Statement, error) {
	p.advance()
	r := &Refresh{Kind: p.kind()}
	var err error
	if r.Database, r.Name, err = p.name("the name of a table"); err != nil {
		return nil, err
	}
	r.Full = p.accept("FULL")
	if !p.accept("SYNC") && p.peek().is("ASYNC") {
		return nil, p.unexpected("SYNC or nothing: a refresh answers when it is done")
	}
	return r, p.done()
}

func (p *parser) drop() (Statement, error) {
	p.advance()
	d := &Drop{Kind: p.kind()}
	if d.Kind == 0 {
		return nil, nil
	}
	d.IfExists = p.accept("IF", "EXISTS")
	var err error
	if d.Database, d.Name, err = p.name("the name of a table"); err != nil {
		return nil, err
	}
	return d, p.done()
}

func (p *parser) show() (Statement, error) {
	p.advance()
	if p.accept("CREATE") {
		s := &ShowCreate{Kind: p.kind()}
		if s.Kind == 0 {
			return nil, nil
		}
		var err error
		if s.Database, s.Name, err = p.name("the name of a table"); err != nil {
			return nil, err
		}
		return s, p.done()
	}
	s := &Show{}
	switch {
	case p.accept("MATERIALIZED", "VIEWS"):
		s.Kind = MaterializedView
	case p.accept("STREAMING", "TABLES"):
		s.Kind = StreamingTable
	case p.accept("STREAMS"):
	default:
		return nil, nil
	}
	if p.accept("LIKE") {
		var err error
		if s.Like, err = p.literal("a pattern in quotes"); err != nil {
			return nil, err
		}
	}
	return s, p.done()
}
