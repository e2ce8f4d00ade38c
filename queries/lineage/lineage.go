// Package lineage reads a SELECT backwards: Of tells of each column of its result from which columns it is made, which
// others decide about it, and which models take part; Tracer finds for rows of its result the rows that they were made
// of. It knows SELECTs and relations and nothing of flows. Names of relations and columns are compared in any case.
package lineage

import (
	"context"
	"slices"
	"strings"

	"github.com/dolthub/vitess/go/vt/sqlparser"

	"smelt/tables"
)

// Use is what a SELECT does with a column. The words are those of OpenLineage, but for the last two.
type Use string

// The first three are direct: the value comes from the column. The others are indirect: the column decides whether there
// is a row, which, or which value it has.
const (
	useIdentity       Use = "identity"       // the value is the column's
	useTransformation Use = "transformation" // it is computed from it
	useAggregation    Use = "aggregation"    // it is computed from the column in several rows
	useConditional    Use = "conditional"    // WHEN of a CASE, IF: it chooses the value
	useWindow         Use = "window"         // PARTITION BY or ORDER BY of a window
	useFilter         Use = "filter"         // WHERE, HAVING
	useJoin           Use = "join"           // ON, USING
	useGroupBy        Use = "group_by"       // GROUP BY, DISTINCT
	useSort           Use = "sort"           // ORDER BY
	useExplode        Use = "explode"        // a row for each of its elements
	useExpectation    Use = "expectation"    // a rule for rows
)

// Direct reports whether the value comes from the column.
func (u Use) Direct() bool { return u == useIdentity || u == useTransformation || u == useAggregation }

// Model is a model that a function calls.
type Model struct {
	Name, Version, Digest string
	Unsteady              bool // it may say something else when it is asked again
}

// Source is a column of what stands behind FROM.
type Source struct {
	Relation string // "database.table" in lower case, or a placeholder
	Column   string
}

// Edge says that a column, or a model, is used for a column of the result.
type Edge struct {
	From       Source // empty for a model
	Model      *Model // nil for a column
	To         string // column of the result; "" for all of its rows
	Use        Use
	Expression string // where it is used, as the SELECT says it
}

// Catalog is what a SELECT is read with.
type Catalog struct {
	Database string // current database
	// Columns returns the columns of a relation; known false where they are not, and then any name is one of them.
	Columns func(relation string) (names []string, known bool)
	// Model tells whether a function calls a model: its name in lower case, and its arguments as far as they are literals, ""
	// for the others. nil knows no model.
	Model func(function string, literals []string) (Model, bool)
}

// Lineage is what Of finds.
type Lineage struct {
	Relations []string // behind FROM, in order of appearance, each once
	Edges     []Edge   // by column of the result, in order; last those of all rows
}

// Of reads a SELECT. target is the columns of its result, nil where they are not known: they say what a star over a
// relation without known columns stands for. rules are conditions that its rows have to meet.
func Of(statement sqlparser.SelectStatement, target []string, rules []Rule, c Catalog) Lineage {
	r := &resolver{catalog: c, ctes: map[string]*block{}}
	b := r.statement(statement, nil)
	columns := b.named(target)
	l := Lineage{Relations: r.relations}
	for _, col := range columns {
		for _, u := range col.uses {
			l.Edges = append(l.Edges, u.edge(col.name, col.text))
		}
	}
	for _, u := range b.rows {
		l.Edges = append(l.Edges, u.edge("", u.text))
	}
	output := &scope{relations: []*relation{{columns: columns}}}
	for _, rule := range rules {
		for _, u := range r.uses(rule.Expr, useExpectation, output) {
			l.Edges = append(l.Edges, u.edge("", rule.Text))
		}
	}
	return l
}

// Columns returns the names of the columns of a SELECT; known false where a star stands for unknown ones.
func Columns(statement sqlparser.SelectStatement, c Catalog) (names []string, known bool) {
	r := &resolver{catalog: c, ctes: map[string]*block{}}
	for _, col := range r.statement(statement, nil).columns {
		if col.star != "" {
			return nil, false
		}
		names = append(names, col.name)
	}
	return names, true
}

// Link is one row of smelt.lineage: an end, what is made of it, and how. Types are path, table, view, streaming_table,
// materialized_view and model.
type Link struct {
	SourceType, Source        string // a directory, database.table, or the name of a model
	SourceColumn              string // "" for the source as such, or a model
	TargetType, Target        string
	TargetColumn              string // "" for the table as such, or all of its rows
	Flow                      string // "" for a view
	Use                       Use    // "" for the table as such
	Expression                string
	ModelVersion, ModelDigest string // of a model
}

// Explained is one row of EXPLAIN ROW: a row of a table or of a file, and what is known of how it came to be.
type Explained struct {
	ID     int64   // counts from 1
	UsedBy []int64 // the rows that were made of this one
	Depth  int64   // 0 for a row that was asked for
	Table  string  // database.table; "" for a row of a file
	// Version is the Delta version in which the row was read; -1 for a view or a file.
	Version int64
	Row     string // as JSON; "" where only the file is known, or for a note
	Copies  int64  // rows that are equal to this one, itself included: they cannot be told apart
	File    string
	Line    int64 // counts from 1; 0 where it is not known
	Flow    string
	Models  string // JSON: name, version, digest and columns of each model that the flow calls; "" for none
	Rules   string // JSON: what each expectation says of the row; "" for none
	Note    string
}

// Files is the files that a watched directory has brought.
type Files interface {
	// List returns the paths of those whose rows were taken in.
	List() []string
	// Rows reads a file again as it was read; no rows but the columns for "". A file that is gone or was changed since is an
	// error.
	Rows(ctx context.Context, path string) (tables.Relation, error)
	// Lines tells in which lines of a file these rows begin, by their index; 0 for a format without lines.
	Lines(ctx context.Context, path string, index []int64) ([]int64, error)
}

// Rule is a condition for the rows of a result, and how it is written.
type Rule struct {
	Expr sqlparser.Expr
	Text string
}

// use is one column, or model, and what is done with it.
type use struct {
	from  Source
	model *Model
	kind  Use
	text  string // of uses that are no column's
}

func (u use) edge(to, text string) Edge {
	return Edge{From: u.from, Model: u.model, To: to, Use: u.kind, Expression: text}
}

// same reports whether two uses are one edge.
func (u use) same(v use) bool {
	sameModel := u.model == nil && v.model == nil || u.model != nil && v.model != nil && *u.model == *v.model
	return sameModel && strings.EqualFold(u.from.Relation, v.from.Relation) && strings.EqualFold(u.from.Column, v.from.Column) && u.kind == v.kind && u.text == v.text
}

func addUse(list []use, u use) []use {
	if slices.ContainsFunc(list, u.same) {
		return list
	}
	return append(list, u)
}

// column is one column of a block: what it is made of.
type column struct {
	name string
	uses []use
	text string
	star string // of a star over a relation whose columns are not known: that relation; then there is no name
}

// block is what a SELECT yields.
type block struct {
	columns []column
	rows    []use // what decides about its rows
}

// named gives the columns of a block the names that the result has, and puts columns where a star stands for unknown ones.
func (b *block) named(target []string) []column {
	open := slices.ContainsFunc(b.columns, func(c column) bool { return c.star != "" })
	if !open {
		out := slices.Clone(b.columns)
		for i := range out {
			if len(target) == len(out) {
				out[i].name = target[i]
			}
		}
		return out
	}
	has := func(name string) bool {
		return slices.ContainsFunc(b.columns, func(c column) bool { return c.star == "" && strings.EqualFold(c.name, name) })
	}
	var out []column
	filled := false
	for _, c := range b.columns {
		if c.star == "" {
			out = append(out, c)
			continue
		}
		if filled {
			continue // the first one takes all: which has which is not known
		}
		filled = true
		for _, name := range target {
			if !has(name) {
				out = append(out, column{name: name, text: name, uses: []use{{from: Source{c.star, name}, kind: useIdentity}}})
			}
		}
	}
	return out
}
