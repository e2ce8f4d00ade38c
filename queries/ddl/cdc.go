package ddl

import (
	"fmt"
	"slices"
	"strings"

	"smelt/queries/lexer"
)

// Changes is what APPLY CHANGES and AUTO CDC say behind FROM: how the rows of a stream change those of a table.
type Changes struct {
	Keys        []string // columns that tell rows apart
	IgnoreNulls bool     // IGNORE NULL UPDATES
	History     bool     // STORED AS SCD TYPE 2
	Columns     []string // of COLUMNS (...); nil for all
	Except      []string // of COLUMNS * EXCEPT (...)
	Track       []string // of TRACK HISTORY ON (...); nil for all
	TrackBut    []string // of TRACK HISTORY ON * EXCEPT (...)
	Sequences   int      // how many values SEQUENCE BY has
	Text        string   // as written, from FROM on
}

// Columns that the query of Changes yields beside those of its source; package cdc knows them, too. Further values of the
// sequence have 2, 3 and so on behind the name; the others are truth values.
const (
	sequenceColumn = "__smelt_sequence"
	deleteColumn   = "__smelt_delete"
	truncateColumn = "__smelt_truncate"
)

// changesWords begin the clauses behind the source; an expression ends before each of them.
var changesWords = [][]string{
	{"KEYS"}, {"IGNORE", "NULL", "UPDATES"}, {"APPLY", "AS"}, {"SEQUENCE", "BY"}, {"COLUMNS"}, {"STORED", "AS"}, {"TRACK", "HISTORY"}, {"WHERE"},
}

// changing is the text of Changes on its way to a query.
type changing struct {
	*Changes
	sequence                []string
	where, deletes, truncts string
	seen                    map[string]bool
}

// changes reads FROM source KEYS (...) and so on, and returns the query that yields the events.
func (p *parser) changes() (*Changes, string, []Source, error) {
	first := p.peek()
	if err := p.expect("FROM"); err != nil {
		return nil, "", nil, err
	}
	sources, alias, err := p.changesSource()
	if err != nil {
		return nil, "", nil, err
	}
	c := &changing{Changes: &Changes{}, seen: map[string]bool{}}
	for p.peek().Kind != lexer.End {
		if err := p.changesClause(c); err != nil {
			return nil, "", nil, err
		}
	}
	switch {
	case !c.seen["KEYS"]:
		return nil, "", nil, p.unexpected("KEYS (...)")
	case !c.seen["SEQUENCE"]:
		return nil, "", nil, p.unexpected("SEQUENCE BY and an expression")
	case c.History && c.truncts != "":
		return nil, "", nil, p.unexpected("no APPLY AS TRUNCATE WHEN beside STORED AS SCD TYPE 2, which keeps history")
	case !c.History && (c.Track != nil || c.TrackBut != nil):
		return nil, "", nil, p.unexpected("STORED AS SCD TYPE 2, which TRACK HISTORY belongs to")
	}
	last := p.all[len(p.all)-2]
	c.Text = lexer.Framed(p.text[first.Start:last.Stop], first, last)
	c.Sequences = len(c.sequence)
	return c.Changes, c.query(alias), sources, nil
}

// changesSource reads the stream behind FROM and how the query names it: a table, files, or a SELECT over such.
func (p *parser) changesSource() ([]Source, string, error) {
	if p.symbolAhead(0, "(") && (p.ahead(1).Is("SELECT") || p.ahead(1).Is("WITH")) {
		return p.changesSelect()
	}
	source, alias, err := p.changesStream()
	return []Source{source}, alias, err
}

// changesSelect reads (SELECT ...) [AS] alias.
func (p *parser) changesSelect() ([]Source, string, error) {
	start := p.peek()
	first := p.at + 1
	if _, err := p.brackets(); err != nil {
		return nil, "", err
	}
	inside := slices.Clone(p.all[first : p.at-1])
	query, sources, err := (&parser{text: p.text, all: append(inside, lexer.Token{Kind: lexer.End, Start: p.all[p.at-1].Start, Stop: p.all[p.at-1].Start})}).rewrite()
	if err != nil {
		return nil, "", err
	}
	if len(sources) == 0 {
		return nil, "", p.errorAt(start, "a SELECT with a STREAM source: changes are read once")
	}
	alias := "changes"
	if p.aliasAhead() {
		p.accept("AS")
		if alias, err = p.identifier("a name for the SELECT"); err != nil {
			return nil, "", err
		}
	}
	return sources, "(" + query + ") AS " + lexer.QuoteName(alias), nil
}

func (p *parser) changesStream() (Source, string, error) {
	if !(p.peek().Is("STREAM") && p.streams()) && !(p.peek().Is("CLOUD_FILES") && p.symbolAhead(1, "(")) {
		return Source{}, "", p.unexpected("STREAM(table) or STREAM read_files(...): changes are read once")
	}
	source, err := p.source(1)
	if err != nil {
		return source, "", err
	}
	alias := p.placeholder(source)
	for _, w := range changesWords {
		if p.peek().Is(w[0]) { // a word that begins a clause is no alias
			name := source.Table
			if source.Files != nil {
				name = strings.ReplaceAll(source.Placeholder, ":", "_")
			}
			return source, lexer.QuoteName(source.Placeholder) + " AS " + lexer.QuoteName(name), nil
		}
	}
	if p.accept("AS") || p.peek().Kind == lexer.Quoted || p.peek().Kind == lexer.Word {
		name, err := p.identifier("another name for the source")
		return source, lexer.QuoteName(source.Placeholder) + " AS " + lexer.QuoteName(name), err
	}
	return source, alias, nil
}

func (p *parser) changesClause(c *changing) (err error) {
	start := p.peek()
	word := strings.ToUpper(start.Text)
	switch {
	case p.accept("KEYS"):
		c.Keys, err = p.columnNames()
	case p.accept("IGNORE", "NULL", "UPDATES"):
		c.IgnoreNulls = true
	case p.accept("APPLY", "AS", "DELETE", "WHEN"):
		word = "DELETE"
		c.deletes, err = p.condition()
	case p.accept("APPLY", "AS", "TRUNCATE", "WHEN"):
		word = "TRUNCATE"
		c.truncts, err = p.condition()
	case p.accept("SEQUENCE", "BY"):
		c.sequence, err = p.sequence()
	case p.accept("WHERE"):
		c.where, err = p.condition()
	case p.accept("COLUMNS"):
		c.Columns, c.Except, err = p.chosen()
	case p.accept("STORED", "AS"):
		err = p.stored(c.Changes)
	case p.accept("TRACK", "HISTORY", "ON"):
		c.Track, c.TrackBut, err = p.chosen()
	default:
		return p.unexpected("KEYS, IGNORE NULL UPDATES, APPLY AS DELETE WHEN, APPLY AS TRUNCATE WHEN, SEQUENCE BY, COLUMNS, STORED AS SCD TYPE or TRACK HISTORY ON")
	}
	if err == nil && c.seen[word] {
		err = p.errorAt(start, "each clause once")
	}
	c.seen[word] = true
	return err
}

// condition reads an expression up to the next clause.
func (p *parser) condition() (string, error) {
	first := p.at
	for depth := 0; p.peek().Kind != lexer.End; p.advance() {
		t := p.peek()
		if t.Kind == lexer.Symbol && t.Text == "(" {
			depth++
		} else if t.Kind == lexer.Symbol && t.Text == ")" {
			depth--
		}
		if depth == 0 && p.at > first && p.atChangesClause() {
			break
		}
	}
	if p.at == first {
		return "", p.unexpected("an expression")
	}
	return lexer.Cut(p.text, p.all[first:p.at]), nil
}

func (p *parser) atChangesClause() bool {
	for _, words := range changesWords {
		at := p.at
		if p.accept(words...) {
			p.at = at
			// A column may be called so: a clause is followed by what it is about.
			if next := p.ahead(len(words)); words[0] != "COLUMNS" && words[0] != "KEYS" || next.Kind == lexer.Symbol && (next.Text == "(" || next.Text == "*") {
				return true
			}
		}
	}
	return false
}

// sequence reads an expression, or STRUCT(a, b, ...): rows with equal a are told apart by b.
func (p *parser) sequence() ([]string, error) {
	if !p.peek().Is("STRUCT") || !p.symbolAhead(1, "(") {
		one, err := p.condition()
		return []string{one}, err
	}
	p.advance()
	p.advance()
	var list []string
	first, depth := p.at, 0
	for {
		t := p.advance()
		switch {
		case t.Kind == lexer.End:
			return nil, p.errorAt(t, "a bracket that closes STRUCT(")
		case t.Kind == lexer.Symbol && t.Text == "(":
			depth++
		case t.Kind == lexer.Symbol && t.Text == ")" && depth > 0:
			depth--
		case depth == 0 && t.Kind == lexer.Symbol && (t.Text == "," || t.Text == ")"):
			if p.at-1 == first {
				return nil, p.errorAt(t, "an expression")
			}
			list = append(list, lexer.Cut(p.text, p.all[first:p.at-1]))
			if first = p.at; t.Text == ")" {
				return list, nil
			}
		}
	}
}

// chosen reads a list of columns, with or without brackets, or * EXCEPT (...).
func (p *parser) chosen() (columns, except []string, err error) {
	if p.acceptSymbol("*") {
		if err := p.expect("EXCEPT"); err != nil {
			return nil, nil, err
		}
		except, err = p.columnNames()
		return nil, except, err
	}
	if p.symbolAhead(0, "(") && p.symbolAhead(1, "*") {
		p.advance()
		if columns, except, err = p.chosen(); err == nil {
			err = p.expectSymbol(")")
		}
		return columns, except, err
	}
	columns, err = p.columnNames()
	return columns, nil, err
}

// stored reads SCD TYPE 1 or 2.
func (p *parser) stored(c *Changes) error {
	if !p.accept("SCD", "TYPE") {
		return p.unexpected("SCD TYPE 1 or SCD TYPE 2")
	}
	t := p.peek()
	if t.Kind != lexer.Number || t.Text != "1" && t.Text != "2" {
		return p.unexpected("1 or 2")
	}
	p.advance()
	c.History = t.Text == "2"
	return nil
}

// query yields the columns of the source, the sequence, and what is to be done. The line breaks keep a trailing comment
// from swallowing a bracket.
func (c *changing) query(source string) string {
	var out strings.Builder
	out.WriteString("SELECT *")
	for i, e := range c.sequence {
		name := sequenceColumn
		if i > 0 {
			name = fmt.Sprintf("%s%d", sequenceColumn, i+1)
		}
		fmt.Fprintf(&out, ", (%s\n) AS `%s`", e, name)
	}
	for _, truth := range []struct{ expr, name string }{{c.deletes, deleteColumn}, {c.truncts, truncateColumn}} {
		if truth.expr != "" {
			fmt.Fprintf(&out, ", ((%s\n) IS TRUE) AS `%s`", truth.expr, truth.name)
		}
	}
	out.WriteString(" FROM " + source)
	if c.where != "" {
		out.WriteString(" WHERE (" + c.where + "\n)")
	}
	return out.String()
}
