package engine

import (
	"context"
	"errors"
	"strings"

	"github.com/dolthub/go-mysql-server/sql"
	"github.com/dolthub/vitess/go/vt/sqlparser"

	"smelt/queries/ddl"
)

// parser is the front of the MySQL parser: it takes our own statements, replaces STREAM(...) in queries, and refuses
// what the server does not do before anything is half done. Refusals and syntax errors are returned as statements that
// fail when they are bound, because an error of a parser loses its MySQL number on the way to the client.
type parser struct{ engine *sqlEngine }

var _ sql.Parser = (*parser)(nil)

// ParseSimple implements sql.Parser.
func (p *parser) ParseSimple(query string) (sqlparser.Statement, error) {
	statement, _, err := p.ParseOneWithOptions(context.Background(), query, sqlparser.ParserOptions{})
	return statement, err
}

// Parse implements sql.Parser.
func (p *parser) Parse(ctx *sql.Context, query string, multi bool) (sqlparser.Statement, string, string, error) {
	return p.ParseWithOptions(ctx, query, ';', multi, sql.LoadSqlMode(ctx).ParserOptions())
}

// ParseWithOptions implements sql.Parser.
func (p *parser) ParseWithOptions(ctx context.Context, query string, delimiter rune, multi bool, options sqlparser.ParserOptions) (sqlparser.Statement, string, string, error) {
	text := sql.RemoveSpaceAndDelimiter(query, delimiter)
	statement, end, err := p.ParseOneWithOptions(ctx, text, options)
	if end <= 0 || end >= len(text) {
		return statement, text, "", err
	}
	if !multi {
		line := 1 + strings.Count(text[:end], "\n")
		return refused(mysqlError(errSyntax, syntaxText, firstLine(text[end:]), line)), text, "", nil
	}
	return statement, sql.RemoveSpaceAndDelimiter(text[:end], delimiter), text[end:], err
}

// ParseOneWithOptions implements sql.Parser: it parses the first statement of text and returns where the next begins.
func (p *parser) ParseOneWithOptions(ctx context.Context, text string, options sqlparser.ParserOptions) (sqlparser.Statement, int, error) {
	end := statementEnd(text)
	if blank(text[end:]) {
		end = len(text)
	}
	first := strings.TrimRight(text[:end], "; \t\r\n") // from the start of text: views are cut from it by offset
	if first == "" && end < len(text) {
		statement, next, err := p.ParseOneWithOptions(ctx, text[end:], options)
		return statement, end + next, err
	}
	first, view, err := inlineViews(ctx, first)
	if err != nil {
		return refused(err), end, nil
	}
	if view != nil {
		return sqlparser.InjectedStatement{Auth: sqlparser.AuthInformation{AuthType: sqlparser.AuthType_IGNORE}, Statement: view}, end, nil
	}
	ours, err := ddl.Parse(first)
	if err != nil {
		return refused(err), end, nil
	}
	if ours != nil {
		return p.inject(ours), end, nil
	}
	plain, partitions, properties, err := ddl.CutClauses(first)
	if err != nil {
		return refused(err), end, nil
	}
	rewritten, sources, err := ddl.RewriteQuery(plain)
	if err != nil {
		return refused(err), end, nil
	}
	if err := guardFiles(plain, sources); err != nil {
		return refused(err), end, nil
	}
	if len(sources) == 0 {
		rewritten = plain
	}
	statement, err := p.parseSQL(ctx, rewritten, options)
	if errors.Is(err, sqlparser.ErrEmpty) {
		return nil, end, err
	}
	if err != nil {
		if missing := missingSpark(rewritten); missing != nil {
			err = missing
		}
		return refused(err), end, nil
	}
	if err := p.guard(statement, len(sources) > 0); err != nil {
		return refused(err), end, nil
	}
	renameSums(statement)
	if namesOwn(first) {
		revealOwn(statement)
	}
	if len(partitions)+len(properties) > 0 {
		return p.withClauses(statement, partitions, properties), end, nil
	}
	return p.replace(statement), end, nil
}

// statementEnd returns the offset behind the first statement of text and its semicolon. Semicolons in quotes and
// comments do not count.
func statementEnd(text string) int {
	for i := 0; i < len(text); i++ {
		rest := text[i:]
		switch {
		case rest[0] == ';':
			return i + 1
		case rest[0] == '\'' || rest[0] == '"' || rest[0] == '`':
			i += quotedLength(rest) - 1
		case strings.HasPrefix(rest, "/*"):
			i += lengthThrough(rest, "*/", 2) - 1
		case rest[0] == '#' || strings.HasPrefix(rest, "-- ") || strings.HasPrefix(rest, "--\n") || strings.HasPrefix(rest, "--\t"):
			i += lengthThrough(rest, "\n", 0) - 1
		}
	}
	return len(text)
}

// blank reports whether text holds nothing but space, semicolons and comments. A comment that MySQL executes is more.
func blank(text string) bool {
	for text != "" {
		switch {
		case strings.ContainsRune(" \t\r\n;", rune(text[0])):
			text = text[1:]
		case strings.HasPrefix(text, "/*") && !strings.HasPrefix(text, "/*!"):
			text = text[lengthThrough(text, "*/", 2):]
		case text[0] == '#' || strings.HasPrefix(text, "--"):
			text = text[lengthThrough(text, "\n", 0):]
		default:
			return false
		}
	}
	return true
}

// quotedLength returns the length of the quoted text that text starts with. A doubled quote is two quoted texts in a
// row, which comes to the same.
func quotedLength(text string) int {
	for i := 1; i < len(text); i++ {
		switch {
		case text[i] == '\\' && text[0] != '`':
			i++
		case text[i] == text[0]:
			return i + 1
		}
	}
	return len(text)
}

// lengthThrough returns the length of text up to and with the first mark at or after from.
func lengthThrough(text, mark string, from int) int {
	if at := strings.Index(text[from:], mark); at >= 0 {
		return from + at + len(mark)
	}
	return len(text)
}

// refusal is a statement that fails when it is bound, with an error that keeps its number.
type refusal struct{ err error }

// WithResolvedChildren implements sqlparser.Injectable.
func (r refusal) WithResolvedChildren(context.Context, []any) (any, error) { return nil, r.err }

func refused(err error) sqlparser.Statement {
	return sqlparser.InjectedStatement{
		Auth:      sqlparser.AuthInformation{AuthType: sqlparser.AuthType_IGNORE},
		Statement: refusal{edge(err)},
	}
}
