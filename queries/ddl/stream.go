package ddl

import (
	"fmt"
	"strings"
)

// RewriteQuery replaces each STREAM source of a SELECT by a placeholder that a MySQL parser takes for a table:
// STREAM(db.t) becomes `stream:db.t`, STREAM read_files(...) becomes `files:1` and so on, with the alias t where the
// user gave none. A text without STREAM comes back unchanged.
func RewriteQuery(sql string) (string, []Source, error) { return rewriteAt(sql, 0, sql) }

// rewriteAt rewrites query, which begins at offset of the statement text, so that errors name places in the statement.
func rewriteAt(text string, offset int, query string) (string, []Source, error) {
	if !containsFold(query, "STREAM") && !containsFold(query, "LIVE") {
		return query, nil, nil
	}
	all, err := tokens(text)
	if err != nil {
		return "", nil, err
	}
	p := &parser{text: text, all: all}
	for p.peek().start < offset && p.peek().kind != end {
		p.at++
	}
	stop := offset + len(query)
	var out strings.Builder
	var sources []Source
	copied := offset
	fromLike := false // the token before asks for a table: FROM, JOIN or a comma
	for p.peek().kind != end && p.peek().start < stop {
		t := p.peek()
		if fromLike && t.is("STREAM") && p.streams() {
			source, err := p.source(len(sources) + 1)
			if err != nil {
				return "", nil, err
			}
			out.WriteString(text[copied:t.start])
			out.WriteString(p.placeholder(source))
			copied = p.all[p.at-1].stop
			sources = append(sources, source)
			fromLike = false
			continue
		}
		if t.is("LIVE") && p.ahead(1).kind == symbol && p.ahead(1).text == "." {
			// LIVE.t is t of the pipeline's database.
			out.WriteString(text[copied:t.start])
			copied = p.ahead(1).stop
			p.at += 2
			continue
		}
		fromLike = t.is("FROM") || t.is("JOIN") || t.kind == symbol && (t.text == "," || t.text == "(")
		p.advance()
	}
	out.WriteString(text[copied:stop])
	return out.String(), sources, nil
}

func containsFold(s, upper string) bool { return strings.Contains(strings.ToUpper(s), upper) }

// streams reports whether the STREAM at hand is the keyword and not a table or column of that name.
func (p *parser) streams() bool {
	next := p.ahead(1)
	switch {
	case next.kind == symbol:
		return next.text == "("
	case next.kind == quoted:
		return true
	case next.kind != word:
		return false
	}
	for _, k := range []string{"AS", "WHERE", "JOIN", "ON", "GROUP", "ORDER", "LIMIT", "LEFT", "RIGHT", "INNER", "CROSS", "UNION", "HAVING", "USING", "SET"} {
		if next.is(k) {
			return false
		}
	}
	return true
}

// source reads STREAM(t), STREAM t, STREAM read_files(...) or STREAM cloud_files(...), in brackets or not.
func (p *parser) source(n int) (Source, error) {
	p.advance()
	bracket := p.acceptSymbol("(")
	var s Source
	var err error
	switch {
	case p.peek().is("READ_FILES"):
		s.Files, err = p.readFiles()
		s.Placeholder = fmt.Sprintf("files:%d", n)
	case p.peek().is("CLOUD_FILES"):
		s.Files, err = p.cloudFiles()
		s.Placeholder = fmt.Sprintf("files:%d", n)
	default:
		s.Database, s.Table, err = p.name("the name of a table, or read_files(...)")
		s.Placeholder = "stream:" + s.Table
		if s.Database != "" {
			s.Placeholder = "stream:" + s.Database + "." + s.Table
		}
	}
	if err == nil && bracket {
		err = p.expectSymbol(")")
	}
	return s, err
}

// placeholder returns the text that replaces the source. Columns may be qualified by the table's name, so that becomes
// the alias unless the statement gives one.
func (p *parser) placeholder(s Source) string {
	text := "`" + strings.ReplaceAll(s.Placeholder, "`", "``") + "`"
	if p.hasAlias() {
		return text
	}
	alias := s.Table
	if s.Files != nil {
		alias = strings.ReplaceAll(s.Placeholder, ":", "_")
	}
	return text + " AS `" + strings.ReplaceAll(alias, "`", "``") + "`"
}

// hasAlias reports whether the next token names the source anew.
func (p *parser) hasAlias() bool {
	t := p.peek()
	if t.kind == quoted || t.is("AS") {
		return true
	}
	if t.kind != word {
		return false
	}
	for _, k := range []string{"WHERE", "JOIN", "ON", "GROUP", "ORDER", "LIMIT", "LEFT", "RIGHT", "INNER", "CROSS", "NATURAL", "STRAIGHT_JOIN",
		"UNION", "INTERSECT", "EXCEPT", "HAVING", "USING", "WINDOW", "FOR", "LATERAL", "FORCE", "USE", "IGNORE", "PROCEDURE", "INTO", "LOCK"} {
		if t.is(k) {
			return false
		}
	}
	return true
}

// readFiles reads read_files('dir', key => value, ...).
func (p *parser) readFiles() (*Files, error) {
	p.advance()
	f := &Files{Options: map[string]string{}}
	if err := p.expectSymbol("("); err != nil {
		return nil, err
	}
	var err error
	if f.Path, err = p.literal("the directory in quotes"); err != nil {
		return nil, err
	}
	for p.acceptSymbol(",") {
		key, err := p.identifier("the name of an option")
		if err != nil {
			return nil, err
		}
		for p.acceptSymbol(".") { // cloudFiles.format
			part, err := p.identifier("the name of an option")
			if err != nil {
				return nil, err
			}
			key += "." + part
		}
		if err := p.expectSymbol("=>"); err != nil {
			return nil, err
		}
		if f.Options[key], err = p.value(); err != nil {
			return nil, err
		}
	}
	return f, p.expectSymbol(")")
}

// cloudFiles reads cloud_files('dir', 'format' [, map('key', 'value', ...)]), as Delta Live Tables writes it.
func (p *parser) cloudFiles() (*Files, error) {
	p.advance()
	f := &Files{Options: map[string]string{}}
	if err := p.expectSymbol("("); err != nil {
		return nil, err
	}
	var err error
	if f.Path, err = p.literal("the directory in quotes"); err != nil {
		return nil, err
	}
	if err := p.expectSymbol(","); err != nil {
		return nil, err
	}
	if f.Options["format"], err = p.literal("the format in quotes"); err != nil {
		return nil, err
	}
	if p.acceptSymbol(",") {
		if err := p.expect("MAP"); err != nil {
			return nil, err
		}
		if err := p.optionMap(f.Options); err != nil {
			return nil, err
		}
	}
	return f, p.expectSymbol(")")
}

func (p *parser) optionMap(into map[string]string) error {
	if err := p.expectSymbol("("); err != nil {
		return err
	}
	for {
		key, err := p.literal("the name of an option in quotes")
		if err != nil {
			return err
		}
		if err := p.expectSymbol(","); err != nil {
			return err
		}
		if into[key], err = p.value(); err != nil {
			return err
		}
		if p.acceptSymbol(")") {
			return nil
		}
		if err := p.expectSymbol(","); err != nil {
			return err
		}
	}
}

// value reads a literal: text, number, TRUE or FALSE.
func (p *parser) value() (string, error) {
	t := p.peek()
	if t.kind == str || t.kind == number || t.is("TRUE") || t.is("FALSE") {
		p.advance()
		return t.text, nil
	}
	return "", p.unexpected("a text in quotes, a number, TRUE or FALSE")
}
