// Package ddl reads smelt's own statements: the text of Spark 4.1 Declarative Pipelines and of Databricks' Delta Live
// Tables for streaming tables and materialized views, and STREAM() inside a SELECT. It knows nothing of a MySQL parser:
// what it does not recognise by its first words is not ours and is left alone, and a SELECT is passed on as text.
// Errors are *SyntaxError.
package ddl

import "strings"

// Kind is what a statement makes or names.
type Kind uint8

const (
	StreamingTable   Kind = iota + 1 // sees each source row once
	MaterializedView                 // equals its SELECT
)

// String returns the words of the kind as a statement writes them.
func (k Kind) String() string {
	switch k {
	case StreamingTable:
		return "STREAMING TABLE"
	case MaterializedView:
		return "MATERIALIZED VIEW"
	default:
		return "TABLE"
	}
}

// Statement is one of *Create, *Flow, *OnFlow, *OnModel, *OnTable.
type Statement interface{ ours() }

// Create is CREATE STREAMING TABLE or CREATE MATERIALIZED VIEW.
type Create struct {
	Kind           Kind
	OrRefresh      bool // OR REFRESH or OR REPLACE was written
	IfNotExists    bool
	Database, Name string // Database is "" for the current one
	Columns        []ColumnDef
	Expectations   []Expectation
	Comment        string
	Properties     map[string]string
	Partitions     []string // of PARTITIONED BY
	Select         string   // the SELECT as written
	Query          string   // the SELECT, with placeholders for STREAM sources; "" for a table that flows fill
	Sources        []Source
	Changes        *Changes // of FLOW AUTO CDC: what the rows of the query are events of
	Text           string   // the whole statement as written, without a trailing semicolon
}

// ColumnDef names a column and may comment it. Its type is what the SELECT yields; Type is only what the list says.
type ColumnDef struct {
	Name, Comment string
	Type          string // as written, NOT NULL included; "" for none
}

// Source is one STREAM in a query: of a table, or of files.
type Source struct {
	Placeholder     string // the identifier that stands for it in the query
	Database, Table string // of STREAM(t); Database is "" for the current one
	Files           *Files // of STREAM read_files(...)
}

// Files is a watched directory and its options, keys as written.
type Files struct {
	Path    string
	Options map[string]string
}

func (*Create) ours() {}

// Piece is one statement of a script and where it begins, counted from 1; columns are characters.
type Piece struct {
	Text         string
	Line, Column int
}

// Split cuts a script at its semicolons. Pieces without any token are left out; notebook lines that begin with
// "-- MAGIC" or "-- COMMAND" are comments like any other. A quote or comment that does not end is a *SyntaxError.
func Split(script string) ([]Piece, error) {
	l := &lexer{text: script}
	var pieces []Piece
	var part []token
	for {
		t, err := l.next()
		if err != nil {
			return nil, err
		}
		if t.kind != end && (t.kind != symbol || t.text != ";") {
			part = append(part, t)
			continue
		}
		if len(part) > 0 {
			line, column := place(script, part[0].start)
			pieces = append(pieces, Piece{Text: cut(script, part), Line: line, Column: column})
			part = part[:0]
		}
		if t.kind == end {
			return pieces, nil
		}
	}
}

// Normal returns the text with its tokens as they are written, one space between them, and no comments: two statements
// with the same normal form mean the same. Text that does not lex is returned as it is.
func Normal(sql string) string {
	all, err := tokens(sql)
	if err != nil {
		return sql
	}
	var out strings.Builder
	for i, t := range all[:len(all)-1] {
		if i > 0 {
			out.WriteByte(' ')
		}
		out.WriteString(sql[t.start:t.stop])
	}
	return out.String()
}
