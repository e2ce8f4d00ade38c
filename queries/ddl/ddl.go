// Package ddl reads smelt's own statements: the text of Spark 4.1 Declarative Pipelines and of Databricks' Delta Live
// Tables for streaming tables and materialized views, and STREAM() inside a SELECT. It knows nothing of a MySQL parser:
// what it does not recognise by its first words is not ours and is left alone, and a SELECT is passed on as text.
// Errors are *lexer.SyntaxError.
package ddl

import (
	"smelt/queries/cron"
	"smelt/queries/lexer"
)

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

// Statement is one of *Create, *Flow, *OnFlow, *OnModel, *OnRules, *OnTable.
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
	Cluster        []string // of CLUSTER BY: the columns that get Bloom filters, unless the properties name them
	Policy         string   // of REFRESH POLICY: AUTO, INCREMENTAL, INCREMENTAL STRICT or FULL; "" for AUTO
	Select         string   // the SELECT as written
	Query          string   // the SELECT, with placeholders for STREAM sources; "" for a table that flows fill
	Sources        []Source
	Schedule       *cron.Schedule // nil: brought up to date whenever a source changes
	Changes        *Changes       // of FLOW AUTO CDC: what the rows of the query are events of
	Text           string         // the whole statement as written, without a trailing semicolon

	line, column int // where the SELECT begins in the text that was parsed
}

// Place returns the line and the column, in the text that was parsed, of a byte offset in Query.
func (c *Create) Place(offset int) (line, column int) {
	line, column = lexer.Place(c.Select, selectOffset(c.Sources, offset))
	if line == 1 {
		column += c.column - 1
	}
	return line + c.line - 1, column
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

	from, to  int // where it stands in the SELECT as written
	at, until int // where its placeholder stands in the query
}

// Files is a watched directory and its options, keys as written. A pattern at the end of the path is the option
// pathGlobFilter.
type Files struct {
	Path    string
	Options map[string]string
}

func (*Create) ours() {}
