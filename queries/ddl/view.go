package ddl

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"smelt/queries/lexer"
)

// tempView is CREATE TEMPORARY [STREAMING] [LIVE] VIEW: a name for a SELECT in the other statements of its script.
// Nothing of it is stored: its SELECT takes the place of its name.
type tempView struct {
	name    string
	columns []ColumnDef
	query   string // the SELECT on one line
	streams bool   // the SELECT reads a STREAM
	open    bool   // it is being put in place: met again, it reads itself
}

// maxInlined bounds what the SELECTs of views add up to in one statement, in bytes: views that each read the one before
// twice would double at every step.
const maxInlined = 1 << 20

// Inline takes the temporary views out of a script and puts their SELECTs where the other statements name them, as a
// table or behind STREAM. A view with expectations becomes a table of its own, because rules are counted once. Lines stay
// what they were. made are the names of the views in lower case. Errors are *lexer.SyntaxError with the place in the
// script.
func Inline(script []lexer.Piece) (rest []lexer.Piece, made []string, err error) {
	views := map[string]*tempView{}
	for _, piece := range script {
		if !isTempView(lexer.Head(piece.Text, headWords)) {
			rest = append(rest, piece)
			continue
		}
		v, table, err := readView(piece.Text)
		switch {
		case err != nil:
			return nil, nil, piece.In(err)
		case table != "":
			piece.Text = table
			rest = append(rest, piece)
		case views[strings.ToLower(v.name)] != nil && !begins(lexer.Head(piece.Text, headWords), "CREATE", "OR"):
			return nil, nil, piece.In(&lexer.SyntaxError{Line: 1, Column: 1, Want: "OR REPLACE, or a name that no other temporary view has", Got: v.name})
		default:
			views[strings.ToLower(v.name)] = v
		}
	}
	made = slices.Sorted(maps.Keys(views))
	if len(views) == 0 {
		return rest, nil, nil
	}
	for i, piece := range rest {
		text, err := inline(piece.Text, views)
		if err != nil {
			return nil, nil, piece.In(err)
		}
		rest[i].Text = text
	}
	return rest, made, nil
}

// isTempView reports whether a statement that begins with these words makes a view that lives for its script. LIVE VIEW
// and STREAMING VIEW are temporary in Delta Live Tables, too.
func isTempView(words []string) bool {
	if !begins(words, "CREATE") {
		return false
	}
	words = withoutOr(words[1:])
	plain := true
	for len(words) > 0 && slices.Contains([]string{"TEMPORARY", "TEMP", "PRIVATE", "STREAMING", "LIVE"}, words[0]) {
		words, plain = words[1:], false
	}
	return !plain && begins(words, "VIEW")
}

// readView reads the statement of a temporary view; table is the statement of the table that it becomes, if it does.
func readView(sql string) (v *tempView, table string, err error) {
	all, err := lexer.Tokens(sql)
	if err != nil {
		return nil, "", err
	}
	p := &parser{text: sql, all: trimSemicolons(all)}
	for !p.accept("VIEW") {
		p.advance()
	}
	words := p.all[p.at-1]
	c := &Create{Properties: map[string]string{}}
	p.accept("IF", "NOT", "EXISTS")
	if _, c.Name, err = p.name("the name of the view"); err != nil {
		return nil, "", err
	}
	if p.acceptSymbol("(") {
		if err := p.elements(c); err != nil {
			return nil, "", err
		}
	}
	if err := p.clauses(c); err != nil {
		return nil, "", err
	}
	if err := p.expect("AS"); err != nil {
		return nil, "", err
	}
	if !p.atQuery() {
		return nil, "", p.unexpected("a SELECT")
	}
	text, _, sources, err := p.query()
	if err != nil {
		return nil, "", err
	}
	if len(c.Expectations) > 0 {
		kind := MaterializedView
		if len(sources) > 0 {
			kind = StreamingTable
		}
		return nil, "CREATE " + strings.Repeat("\n", strings.Count(sql[:words.Start], "\n")) + kind.String() + sql[words.Stop:], nil
	}
	return &tempView{name: c.Name, columns: c.Columns, query: lexer.OneLine(text), streams: len(sources) > 0}, "", nil
}

// inline puts the SELECTs of views into one statement.
func inline(sql string, views map[string]*tempView) (string, error) {
	all, err := lexer.Tokens(sql)
	if err != nil {
		return sql, nil // who reads the statement says what is wrong
	}
	p := &parser{text: sql, all: all}
	head := lexer.Head(sql, headWords)
	events := slices.Contains(head, "CDC") || begins(head, "APPLY", "CHANGES") || slices.Contains(head, "FLOW")
	var out strings.Builder
	copied := 0
	scopes := []scope{{}}
	for p.peek().Kind != lexer.End {
		t := p.peek()
		now := &scopes[len(scopes)-1]
		if events && len(scopes) == 1 && now.part == outside && p.at > 0 && p.all[p.at-1].Is("FROM") {
			now.table = true
		}
		if v, streamed, n := p.viewAhead(now.table, views); v != nil {
			text, err := v.inPlace(streamed, views)
			if err != nil {
				line, column := lexer.Place(sql, t.Start)
				return "", &lexer.SyntaxError{Line: line, Column: column, Want: err.Error(), Got: fmt.Sprintf("%q", v.name)}
			}
			out.WriteString(sql[copied:t.Start])
			out.WriteString("(" + text + ")")
			p.at += n
			copied = p.all[p.at-1].Stop
			if !p.aliasAhead() {
				out.WriteString(" AS " + lexer.QuoteName(v.name))
			}
			if out.Len() > maxInlined {
				line, column := lexer.Place(sql, t.Start)
				return "", &lexer.SyntaxError{Line: line, Column: column, Want: fmt.Sprintf("views whose SELECTs have %d bytes together", maxInlined), Got: "more"}
			}
			now.table = false
			continue
		}
		scopes = step(scopes, t)
		p.advance()
	}
	out.WriteString(sql[copied:])
	return out.String(), nil
}

// viewAhead recognises v, LIVE.v, STREAM v and STREAM(v) where a table is to come, and returns how many tokens it has.
func (p *parser) viewAhead(table bool, views map[string]*tempView) (v *tempView, streamed bool, n int) {
	if !table {
		return nil, false, 0
	}
	bracket := false
	if p.peek().Is("STREAM") && p.streams() {
		streamed, n = true, 1
		if p.symbolAhead(1, "(") {
			bracket, n = true, 2
		}
	}
	if p.ahead(n).Is("LIVE") && p.symbolAhead(n+1, ".") {
		n += 2
	}
	t := p.ahead(n)
	if t.Kind != lexer.Word && t.Kind != lexer.Quoted || p.symbolAhead(n+1, ".") || p.symbolAhead(n+1, "(") {
		return nil, false, 0
	}
	n++
	if bracket {
		if !p.symbolAhead(n, ")") {
			return nil, false, 0
		}
		n++
	}
	return views[strings.ToLower(t.Text)], streamed, n
}

// aliasAhead reports whether the statement names the table that was just read.
func (p *parser) aliasAhead() bool {
	t := p.peek()
	if t.Is("AS") || t.Kind == lexer.Quoted {
		return true
	}
	for _, w := range changesWords {
		if t.Is(w[0]) {
			return false
		}
	}
	return t.Kind == lexer.Word && !cannotName(t)
}

// inPlace returns the SELECT of the view as it stands in another statement. One that is read without STREAM reads all that
// is there; one that streams must say itself which of its tables is the stream, unless it has only one.
func (v *tempView) inPlace(streamed bool, views map[string]*tempView) (string, error) {
	if v.open {
		return "", fmt.Errorf("a view that does not read itself")
	}
	v.open = true
	defer func() { v.open = false }()
	text := v.query
	if streamed != v.streams {
		var err error
		if text, err = restream(text, streamed); err != nil {
			return "", err
		}
	}
	text, err := inline(text, views)
	if err != nil {
		var syntax *lexer.SyntaxError
		if errors.As(err, &syntax) {
			return "", fmt.Errorf("%s", syntax.Want)
		}
		return "", err
	}
	if len(v.columns) == 0 {
		return text, nil
	}
	names := make([]string, len(v.columns))
	for i, c := range v.columns {
		names[i] = c.Name
	}
	return "SELECT * FROM (" + text + ") AS " + lexer.QuoteName(v.name) + " (" + quoteAll(names) + ")", nil
}

// restream puts STREAM before the only table of a SELECT, or takes all STREAMs out.
func restream(sql string, streamed bool) (string, error) {
	all, err := lexer.Tokens(sql)
	if err != nil {
		return "", err
	}
	p := &parser{text: sql, all: all}
	var out strings.Builder
	copied, tables := 0, 0
	scopes := []scope{{}}
	for p.peek().Kind != lexer.End {
		t := p.peek()
		now := &scopes[len(scopes)-1]
		isName := t.Kind == lexer.Quoted || t.Kind == lexer.Word && !cannotName(t)
		switch {
		case now.table && !streamed && t.Is("STREAM") && p.streams():
			out.WriteString(sql[copied:t.Start])
			p.advance()
			copied = t.Stop
			if p.acceptSymbol("(") {
				for i := p.at; i < len(p.all); i++ {
					if p.all[i].IsSymbol(")") {
						out.WriteString(" " + sql[p.all[p.at].Start:p.all[i].Start])
						p.at, copied = i+1, p.all[i].Stop
						break
					}
				}
			}
			now.table = false
			continue
		case now.table && streamed && isName && !p.symbolAhead(1, "("):
			first := t
			p.advance()
			for p.symbolAhead(0, ".") {
				p.advance()
				p.advance()
			}
			out.WriteString(sql[copied:first.Start] + "STREAM(" + sql[first.Start:p.all[p.at-1].Stop] + ")")
			copied = p.all[p.at-1].Stop
			if !p.aliasAhead() {
				out.WriteString(" AS " + lexer.QuoteName(p.all[p.at-1].Text))
			}
			tables++
			now.table = false
			continue
		}
		scopes = step(scopes, t)
		p.advance()
	}
	out.WriteString(sql[copied:])
	if streamed && tables != 1 {
		return "", fmt.Errorf("STREAM() inside the view before the table that streams: the view reads %d tables", tables)
	}
	return out.String(), nil
}
