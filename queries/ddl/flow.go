package ddl

import (
	"slices"
	"strings"

	"smelt/queries/lexer"
)

// Flow is a statement that adds a flow to a streaming table that is there: CREATE FLOW, INSERT INTO t SELECT ... FROM
// STREAM(...), or APPLY CHANGES INTO.
type Flow struct {
	OrReplace, IfNotExists bool
	Database, Name         string // of the flow; "" where the statement gives none
	IntoDatabase, Into     string // the table; IntoDatabase is "" for the current one
	Comment                string
	Select, Query          string // as of Create
	Sources                []Source
	Changes                *Changes // what its rows are events of; nil for rows that are appended
	Text                   string   // the whole statement as written, without a trailing semicolon
}

func (*Flow) ours() {}

// isFlow reports whether a statement that begins with these words makes a flow. An INSERT does so if its SELECT streams:
// as a statement of MySQL it could not be.
func isFlow(sql string, words []string) bool {
	switch {
	case begins(words, "APPLY", "CHANGES"), begins(words, "AUTO", "CDC"):
		return true
	case begins(words, "CREATE"):
		return begins(withoutOr(words[1:]), "FLOW")
	case begins(words, "INSERT", "INTO"):
		return mayStream(sql) && insertsStream(sql)
	default:
		return false
	}
}

// insertsStream reports whether an INSERT INTO t [BY NAME] is followed by a query with a STREAM source.
func insertsStream(sql string) bool {
	all, err := lexer.Tokens(sql)
	if err != nil {
		return false
	}
	p := &parser{text: sql, all: trimSemicolons(all), at: 2}
	p.accept("TABLE")
	if _, _, err := p.name("a name"); err != nil {
		return false
	}
	p.accept("BY", "NAME")
	if p.symbolAhead(0, "(") && !p.atQuery() {
		if _, err := p.columnNames(); err != nil { // which insertFlow refuses
			return false
		}
	}
	if !p.atQuery() {
		return false
	}
	_, sources, err := p.rewrite()
	return err != nil || len(sources) > 0 // an error of a STREAM source is ours to tell
}

// atQuery reports whether a SELECT begins here, in brackets or not.
func (p *parser) atQuery() bool {
	n := 0
	for p.symbolAhead(n, "(") {
		n++
	}
	return p.ahead(n).Is("SELECT") || p.ahead(n).Is("WITH")
}

func (p *parser) flow() (Statement, error) {
	f := &Flow{Text: lexer.Cut(p.text, p.all[:len(p.all)-1])}
	var err error
	if p.accept("CREATE") {
		f.OrReplace = p.accept("OR", "REPLACE") || p.accept("OR", "REFRESH")
		p.advance() // FLOW
		f.IfNotExists = p.accept("IF", "NOT", "EXISTS")
		if f.Database, f.Name, err = p.name("the name of the flow"); err != nil {
			return nil, err
		}
		if p.accept("COMMENT") {
			if f.Comment, err = p.literal("a comment in quotes"); err != nil {
				return nil, err
			}
		}
		if err := p.expect("AS"); err != nil {
			return nil, err
		}
	}
	switch {
	case p.accept("INSERT", "INTO"):
		err = p.insertFlow(f)
	case p.accept("AUTO", "CDC", "INTO"), p.accept("APPLY", "CHANGES", "INTO"):
		err = p.changesFlow(f)
	default:
		err = p.unexpected("INSERT INTO, AUTO CDC INTO or APPLY CHANGES INTO")
	}
	if err != nil {
		return nil, err
	}
	return f, p.done()
}

// insertFlow reads name [BY NAME] query. Columns always go by name, as those of a stream do in Spark.
func (p *parser) insertFlow(f *Flow) (err error) {
	if p.peek().Is("ONCE") && p.ahead(1).Kind == lexer.Word && !p.ahead(1).Is("BY") {
		return p.notYet("INSERT INTO ONCE", "INSERT INTO with a STREAM source, which reads each row once")
	}
	p.accept("TABLE")
	if f.IntoDatabase, f.Into, err = p.name("the name of the streaming table"); err != nil {
		return err
	}
	p.accept("BY", "NAME")
	if !p.atQuery() {
		return p.unexpected("BY NAME or a SELECT with a STREAM source")
	}
	start := p.peek()
	f.Select, f.Query, f.Sources, err = p.query()
	if err == nil && len(f.Sources) == 0 {
		err = p.errorAt(start, "a SELECT with a STREAM source: a flow reads each row once")
	}
	return err
}

// query reads a SELECT up to the end of the statement, with placeholders for its STREAM sources.
func (p *parser) query() (text, query string, sources []Source, err error) {
	first, last := p.peek(), p.all[len(p.all)-2]
	query, sources, err = p.rewrite()
	if err != nil {
		return "", "", nil, err
	}
	return lexer.Framed(p.text[first.Start:last.Stop], first, last), lexer.Framed(query, first, last), sources, nil
}

func (p *parser) changesFlow(f *Flow) (err error) {
	if f.IntoDatabase, f.Into, err = p.name("the name of the streaming table"); err != nil {
		return err
	}
	f.Changes, f.Query, f.Sources, err = p.changes()
	return err
}

// DefaultName returns the name of a flow whose statement gives none: the table and what it reads.
func (f *Flow) DefaultName() string {
	var from []string
	for _, s := range f.Sources {
		name := s.Table
		if s.Files != nil {
			name = strings.Trim(strings.Map(func(r rune) rune {
				if r == '/' || r == '.' || r == '\\' || r == ':' {
					return '_'
				}
				return r
			}, s.Files.Path), "_")
		}
		if !slices.Contains(from, name) {
			from = append(from, name)
		}
	}
	return strings.ToLower(f.Into + "_from_" + strings.Join(from, "_"))
}
