package ddl

import (
	"fmt"
	"slices"
	"strings"

	"smelt/queries/lexer"
)

// RewriteQuery replaces each STREAM source of a SELECT by a placeholder that a MySQL parser takes for a table:
// STREAM(db.t) becomes `stream:db.t`, STREAM read_files(...) becomes `files:1` and so on, with the alias t where the
// user gave none. A text without STREAM comes back unchanged, and so does one that does not lex: it is MySQL's to refuse.
func RewriteQuery(sql string) (string, []Source, error) {
	if !mayStream(sql) {
		return sql, nil, nil
	}
	all, err := lexer.Tokens(sql)
	if err != nil || len(all) == 1 {
		return sql, nil, nil
	}
	p := &parser{text: sql, all: all}
	first, last := all[0], all[len(all)-2]
	query, sources, err := p.rewrite()
	if err != nil || len(sources) == 0 {
		return sql, nil, err
	}
	return sql[:first.Start] + query + sql[last.Stop:], sources, nil
}

// mayStream is a cheap test that spares most statements the lexer.
func mayStream(sql string) bool {
	upper := strings.ToUpper(sql)
	return strings.Contains(upper, "STREAM") || strings.Contains(upper, "CLOUD_FILES")
}

// part says in which part of a SELECT a token stands.
type part uint8

const (
	outside part = iota // of any SELECT: in the arguments of a function, say
	listing             // between SELECT and FROM
	from                // behind FROM
	behind              // WHERE and all that follows
)

// scope is what the rewriter knows of one pair of round brackets, or of the statement around them.
type scope struct {
	part  part
	table bool // a table is to come: behind FROM, JOIN or a comma of FROM
}

// rewrite copies the rest of the statement and replaces its STREAM sources. A word STREAM anywhere else than where a
// table is to come is left alone: columns may be called so.
func (p *parser) rewrite() (string, []Source, error) {
	var out strings.Builder
	var sources []Source
	begin := p.peek().Start
	copied := begin
	scopes := []scope{{}}
	for p.peek().Kind != lexer.End {
		t := p.peek()
		now := &scopes[len(scopes)-1]
		if now.table && (t.Is("STREAM") && p.streams() || t.Is("CLOUD_FILES") && p.symbolAhead(1, "(")) {
			source, err := p.source(len(sources) + 1)
			if err != nil {
				return "", nil, err
			}
			out.WriteString(p.text[copied:t.Start])
			source.at = out.Len()
			out.WriteString(p.placeholder(source))
			copied = p.all[p.at-1].Stop
			source.until, source.from, source.to = out.Len(), t.Start-begin, copied-begin
			sources = append(sources, source)
			now.table = false
			continue
		}
		scopes = step(scopes, t)
		p.advance()
	}
	out.WriteString(p.text[copied:p.all[p.at-1].Stop])
	return out.String(), sources, nil
}

// selectOffset returns the offset in the SELECT as written of an offset in the query with placeholders.
func selectOffset(sources []Source, offset int) int {
	moved := 0
	for _, s := range sources {
		if offset < s.at {
			break
		}
		if offset < s.until {
			return s.from
		}
		moved = s.to - s.until
	}
	return offset + moved
}

// step follows one token.
func step(scopes []scope, t lexer.Token) []scope {
	now := &scopes[len(scopes)-1]
	table := now.table
	now.table = false
	switch {
	case t.IsSymbol("("):
		next := scope{}
		if table { // FROM (a JOIN b), or FROM (SELECT ...)
			next = scope{part: from, table: true}
		}
		return append(scopes, next)
	case t.IsSymbol(")") && len(scopes) > 1:
		return scopes[:len(scopes)-1]
	case t.IsSymbol(","):
		now.table = now.part == from
	case t.Is("SELECT"):
		now.part = listing
	case t.Is("FROM") && now.part == listing:
		now.part, now.table = from, true
	case t.Is("JOIN") && now.part == from, t.Is("STRAIGHT_JOIN") && now.part == from:
		now.table = true
	case t.Is("LATERAL") && table:
		now.table = true
	case t.Kind == lexer.Word && now.part == from && slices.Contains(tailWords, strings.ToUpper(t.Text)):
		now.part = behind
	}
	return scopes
}

// tailWords begin what may follow FROM.
var tailWords = []string{"WHERE", "GROUP", "HAVING", "ORDER", "LIMIT", "WINDOW", "UNION", "INTERSECT", "EXCEPT", "INTO", "PROCEDURE"}

// noNames are words that cannot be the alias of a table, nor the name of a table behind STREAM, unless quoted.
var noNames = append([]string{"AS", "JOIN", "ON", "LEFT", "RIGHT", "INNER", "OUTER", "CROSS", "FULL", "NATURAL", "STRAIGHT_JOIN", "USING", "FOR", "LATERAL",
	"FORCE", "USE", "IGNORE", "LOCK", "PARTITION", "SET", "SELECT", "VALUES"}, tailWords...)

func cannotName(t lexer.Token) bool { return slices.Contains(noNames, strings.ToUpper(t.Text)) }

// streams reports whether the STREAM at hand is the keyword and not a table of that name.
func (p *parser) streams() bool {
	next := p.ahead(1)
	switch next.Kind {
	case lexer.Symbol:
		return next.Text == "("
	case lexer.Quoted:
		return true
	case lexer.Word:
		return !cannotName(next)
	default:
		return false
	}
}

// source reads STREAM(t), STREAM t, STREAM read_files(...) or [STREAM] cloud_files(...), in brackets or not. Delta Live
// Tables writes cloud_files without STREAM.
func (p *parser) source(n int) (Source, error) {
	bracket := p.accept("STREAM") && p.acceptSymbol("(")
	var s Source
	var err error
	switch {
	case p.peek().Is("READ_FILES"):
		s.Files, err = p.readFiles()
		s.Placeholder = fmt.Sprintf("files:%d", n)
	case p.peek().Is("CLOUD_FILES"):
		s.Files, err = p.cloudFiles()
		s.Placeholder = fmt.Sprintf("files:%d", n)
	default:
		const want = "the name of a table, or read_files(...)"
		if t := p.peek(); t.Kind == lexer.Word && cannotName(t) {
			return s, p.unexpected(want)
		}
		s.Database, s.Table, err = p.name(want)
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
	text := lexer.QuoteName(s.Placeholder)
	if t := p.peek(); t.Kind == lexer.Quoted || t.Is("AS") || t.Kind == lexer.Word && !cannotName(t) {
		return text
	}
	alias := s.Table
	if s.Files != nil {
		alias = strings.ReplaceAll(s.Placeholder, ":", "_")
	}
	return text + " AS " + lexer.QuoteName(alias)
}

// readFiles reads read_files('dir', key => value, ...).
func (p *parser) readFiles() (*Files, error) {
	p.advance()
	f := &Files{Options: map[string]string{}}
	if err := p.expectSymbol("("); err != nil {
		return nil, err
	}
	path := p.peek()
	var err error
	if f.Path, err = p.literal("the directory in quotes"); err != nil {
		return nil, err
	}
	for p.acceptSymbol(",") {
		key, err := p.dotted("the name of an option") // cloudFiles.format
		if err != nil {
			return nil, err
		}
		if err := p.expectSymbol("=>"); err != nil {
			return nil, err
		}
		if f.Options[key], err = p.value(); err != nil {
			return nil, err
		}
	}
	if err := p.pattern(f, path); err != nil {
		return nil, err
	}
	return f, p.expectSymbol(")")
}

// pattern takes a pattern from the end of the path, as in 'dir/*.json': it is the option pathGlobFilter.
func (p *parser) pattern(f *Files, path lexer.Token) error {
	const signs = "*?"
	at := strings.LastIndexByte(f.Path, '/') + 1
	dir, pattern := f.Path[:at], f.Path[at:]
	if strings.ContainsAny(dir, signs) {
		return p.errorAt(path, "a path with * or ? only behind its last /")
	}
	if !strings.ContainsAny(pattern, signs) {
		return nil
	}
	for key := range f.Options {
		if strings.EqualFold(key, globOption) || strings.EqualFold(key, "cloudFiles."+globOption) {
			return p.errorAt(path, "a path without a pattern beside "+globOption)
		}
	}
	f.Options[globOption] = pattern
	if f.Path = dir; len(dir) > 1 {
		f.Path = dir[:len(dir)-1]
	}
	if f.Path == "" {
		f.Path = "."
	}
	return nil
}

// globOption is the name of the option for the names of files.
const globOption = "pathGlobFilter"

// cloudFiles reads cloud_files('dir', 'format' [, map('key', 'value', ...)]), as Delta Live Tables writes it.
func (p *parser) cloudFiles() (*Files, error) {
	p.advance()
	f := &Files{Options: map[string]string{}}
	if err := p.expectSymbol("("); err != nil {
		return nil, err
	}
	path := p.peek()
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
	if err := p.pattern(f, path); err != nil {
		return nil, err
	}
	return f, p.expectSymbol(")")
}

// optionMap reads ('key', 'value', ...), which may be empty.
func (p *parser) optionMap(into map[string]string) error {
	if err := p.expectSymbol("("); err != nil {
		return err
	}
	if p.acceptSymbol(")") {
		return nil
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
	if t.Kind == lexer.String || t.Kind == lexer.Number || t.Is("TRUE") || t.Is("FALSE") {
		p.advance()
		return t.Text, nil
	}
	return "", p.unexpected("a text in quotes, a number, TRUE or FALSE")
}
