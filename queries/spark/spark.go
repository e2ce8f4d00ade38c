// Package spark reads SQL in the spelling of Spark and Databricks into the MySQL parser's tree. The MySQL parser comes
// first: what it takes means what it means to MySQL, but for names and functions that MySQL would not find, such as
// explode(...) and dotted paths into JSON columns. What it refuses is put into MySQL's spelling and read again.
// Errors are *lexer.SyntaxError, or an *Error for what the MySQL parser does not take.
package spark

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/dolthub/vitess/go/vt/sqlparser"

	"smelt/queries/lexer"
)

// Error is returned for text that the MySQL parser does not take.
type Error struct {
	Source string // the text
	Offset int    // of what did not fit, in bytes
}

// Error implements error.
func (e *Error) Error() string {
	line, column := lexer.Place(e.Source, e.Offset)
	return fmt.Sprintf("syntax error at line %d, column %d near %s", line, column, e.Near())
}

// Near returns what did not fit with the rest of its line, or says that nothing was left.
func (e *Error) Near() string {
	near, _, _ := strings.Cut(strings.TrimSpace(e.Source[e.Offset:]), "\n")
	const most = 80 // bytes: enough to find the place
	if len(near) > most {
		near = strings.ToValidUTF8(near[:most], "") + "..."
	}
	if near == "" {
		return "the end of the statement"
	}
	return strconv.Quote(near)
}

// parse is the MySQL parser, which panics for some texts such as SELECT”.
func parse(ctx context.Context, text string, options sqlparser.ParserOptions) (statement sqlparser.Statement, err error) {
	defer func() {
		if r := recover(); r != nil {
			statement, err = nil, fmt.Errorf("syntax error at position %d: %v", len(text)+1, r)
		}
	}()
	return sqlparser.ParseWithOptions(ctx, text, options)
}

// Parse reads one statement. Columns without an alias are called by what text says.
func Parse(ctx context.Context, text string, options sqlparser.ParserOptions) (sqlparser.Statement, error) {
	statement, err := parse(ctx, text, options)
	if errors.Is(err, sqlparser.ErrEmpty) {
		return nil, err
	}
	translated := err != nil
	if translated {
		if statement, err = parseTranslated(ctx, text, options, err); err != nil {
			return nil, err
		}
	}
	return statement, resolve(statement, translated)
}

// Text returns a statement in a spelling that the MySQL parser takes, itself where it does; ok is false where there is none.
func Text(ctx context.Context, sql string, options sqlparser.ParserOptions) (mysql string, ok bool) {
	if _, err := parse(ctx, sql, options); err == nil {
		return sql, true
	}
	out, _, err := translate(sql)
	if err != nil {
		return "", false
	}
	mysql = textOf(out)
	_, err = parse(ctx, mysql, options)
	return mysql, err == nil
}

func parseTranslated(ctx context.Context, source string, options sqlparser.ParserOptions, first error) (sqlparser.Statement, error) {
	out, changed, err := translate(source)
	if err != nil {
		return nil, err
	}
	if !changed {
		return nil, positioned(source, nil, first)
	}
	statement, err := parse(ctx, textOf(out), options)
	if err != nil {
		return nil, positioned(source, out, err)
	}
	restore(statement, source, out)
	return statement, nil
}

// restore puts the source in the place of the translation where the tree holds text: the names of columns without an
// alias, and where the SELECT of a view begins and ends.
func restore(statement sqlparser.Statement, source string, out []piece) {
	if d, ok := statement.(*sqlparser.DDL); ok && d.ViewSpec != nil {
		d.SubStatementPositionStart = place(out, d.SubStatementPositionStart)
		d.SubStatementPositionEnd = place(out, d.SubStatementPositionEnd)
	}
	// The visitor never fails.
	_ = sqlparser.Walk(func(n sqlparser.SQLNode) (bool, error) {
		if a, ok := n.(*sqlparser.AliasedExpr); ok && a.As.IsEmpty() && a.EndParsePos > a.StartParsePos {
			from, to := place(out, a.StartParsePos), place(out, a.EndParsePos)
			if from < to && to <= len(source) && rewritten(out, a.StartParsePos, a.EndParsePos) {
				a.InputExpression = strings.TrimSpace(source[from:to])
			}
		}
		return true, nil
	}, statement)
}

// rewritten reports whether a part of the translation is not the source's own.
func rewritten(out []piece, from, to int) bool {
	at := 0
	for _, p := range out {
		if !p.same && at < to && at+len(p.text) > from {
			return true
		}
		at += len(p.text)
	}
	return false
}

// parserPosition finds the offset that the MySQL parser states in its errors: one behind the word that did not fit.
var parserPosition = regexp.MustCompile(`position (\d+)`)

// positioned returns an error of the MySQL parser with its place in the source. out is nil where that was what was parsed.
func positioned(source string, out []piece, err error) error {
	parsed := source
	if out != nil {
		parsed = textOf(out)
	}
	match := parserPosition.FindStringSubmatch(err.Error())
	if match == nil {
		return fmt.Errorf("parse SQL: %w", err)
	}
	at, _ := strconv.Atoi(match[1]) // digits only; out of range is checked by all that follows
	start := min(max(at-1, 0), len(parsed))
	if all, err := lexer.Tokens(parsed); err == nil {
		for _, k := range all {
			if k.Start < at-1 && k.Kind != lexer.End {
				start = k.Start
			}
		}
	}
	if out != nil {
		start = place(out, start)
	}
	return &Error{Source: source, Offset: min(start, len(source))}
}
