package ddl

import (
	"fmt"
	"slices"
	"strings"
)

// parser walks the tokens of one statement.
type parser struct {
	text string
	all  []token // the last one is of kind end
	at   int
}

// headWords is how many words at the start of a statement tell whether it is ours.
const headWords = 7

// Parse reads one statement. Both results are nil for a statement that is not ours: it is left to the MySQL parser, text
// that does not lex included. An error is a *SyntaxError.
func Parse(sql string) (Statement, error) {
	words := head(sql)
	onTable, onFile := isOnTable(sql, words), isOnFile(sql, words)
	if !onTable && !onFile && !ours(words) {
		return nil, nil
	}
	all, err := tokens(sql)
	if err != nil {
		return nil, err
	}
	p := &parser{text: sql, all: trimSemicolons(all)}
	if onFile {
		return p.onFile()
	}
	if err := p.refuseLater(); err != nil {
		return nil, err
	}
	switch {
	case onTable:
		return p.onTable()
	case p.accept("CREATE"):
		return p.create()
	case p.accept("REFRESH"):
		return p.refresh()
	case p.accept("DROP"):
		return p.drop()
	default:
		p.advance()
		return p.show()
	}
}

// head returns the bare words at the start of a statement in upper case, as many as are needed to know it.
func head(sql string) []string {
	l := &lexer{text: sql}
	var words []string
	for len(words) < headWords {
		t, err := l.next()
		if err != nil || t.kind != word {
			break
		}
		words = append(words, strings.ToUpper(t.text))
	}
	return words
}

// ours reports whether a statement that begins with these words is ours. No MySQL statement begins so.
func ours(words []string) bool {
	if laterStatement(words) != nil {
		return true
	}
	switch {
	case begins(words, "REFRESH"), begins(words, "CREATE", "OR", "REFRESH"):
		return true
	case begins(words, "CREATE"):
		words = withoutOr(words[1:])
	case begins(words, "DROP"):
		words = words[1:]
	case begins(words, "SHOW", "CREATE"):
		words = words[2:]
	case begins(words, "SHOW"):
		words = words[1:]
		return begins(words, "MATERIALIZED", "VIEWS") || begins(words, "STREAMING", "TABLES") || begins(words, "STREAMS")
	default:
		return false
	}
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

func trimSemicolons(all []token) []token {
	n := len(all) - 1
	for n > 0 && all[n-1].kind == symbol && all[n-1].text == ";" {
		n--
	}
	return append(slices.Clone(all[:n]), all[len(all)-1])
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

// symbolAhead reports whether the token n places ahead is this symbol.
func (p *parser) symbolAhead(n int, s string) bool {
	t := p.ahead(n)
	return t.kind == symbol && t.text == s
}

func (p *parser) acceptSymbol(s string) bool {
	if p.symbolAhead(0, s) {
		p.advance()
		return true
	}
	return false
}

// unexpected is the error for the next token.
func (p *parser) unexpected(want string) *SyntaxError { return p.errorAt(p.peek(), want) }

func (p *parser) errorAt(t token, want string) *SyntaxError {
	line, column := place(p.text, t.start)
	got := "the end of the statement"
	if t.kind != end {
		got = fmt.Sprintf("%q", p.text[t.start:t.stop])
	}
	return &SyntaxError{Line: line, Column: column, Want: want, Got: got}
}

// placeOf names the place of a token.
func (p *parser) placeOf(t token) string {
	line, column := place(p.text, t.start)
	return fmt.Sprintf("line %d, column %d", line, column)
}

// notYet is the error for something of smelt's grammar that this version lacks; instead says what to write, "" if
// there is nothing.
func (p *parser) notYet(what, instead string) *SyntaxError {
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
	if t := p.peek(); (t.kind == word || t.kind == quoted) && t.text != "" {
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

// mustKind is kind for a statement that names one.
func (p *parser) mustKind() (Kind, error) {
	if k := p.kind(); k != 0 {
		return k, nil
	}
	if !p.accept("STREAMING", "LIVE") && !p.accept("STREAMING") && !p.accept("MATERIALIZED") {
		return 0, p.unexpected("STREAMING TABLE or MATERIALIZED VIEW")
	}
	if p.all[p.at-1].is("MATERIALIZED") {
		return 0, p.unexpected("VIEW")
	}
	return 0, p.unexpected("TABLE")
}

func (p *parser) refresh() (Statement, error) {
	r := &Refresh{Kind: p.kind()}
	if p.peek().is("ALL") && (p.ahead(1).kind == end || p.ahead(1).is("FULL")) {
		return nil, p.notYet("REFRESH ALL", "REFRESH with one name")
	}
	var err error
	if r.Database, r.Name, err = p.name("the name of a table"); err != nil {
		return nil, err
	}
	r.Full = p.accept("FULL")
	if p.peek().is("ASYNC") {
		return nil, p.notYet("REFRESH ... ASYNC", "SYNC or nothing, which answer when the refresh is done")
	}
	p.accept("SYNC")
	return r, p.done()
}

func (p *parser) drop() (Statement, error) {
	d := &Drop{}
	var err error
	if d.Kind, err = p.mustKind(); err != nil {
		return nil, err
	}
	d.IfExists = p.accept("IF", "EXISTS")
	if d.Database, d.Name, err = p.name("the name of a table"); err != nil {
		return nil, err
	}
	return d, p.done()
}

func (p *parser) show() (Statement, error) {
	var err error
	if p.accept("CREATE") {
		s := &ShowCreate{}
		if s.Kind, err = p.mustKind(); err != nil {
			return nil, err
		}
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
	default:
		p.advance() // STREAMS
	}
	if p.accept("LIKE") {
		if s.Like, err = p.literal("a pattern in quotes"); err != nil {
			return nil, err
		}
	}
	return s, p.done()
}
