// Package merge brings the rows of a SELECT up to date from what changed in the tables that it reads: it takes the SELECT
// apart, gives each place where it reads a table a name of its own, and runs it over what came and what went in one place
// at a time while the others stay. It knows no SQL engine: a Runner runs what it writes. What it cannot follow is refused
// with the reason, and then the whole SELECT is run anew.
package merge

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/dolthub/vitess/go/vt/sqlparser"

	"smelt/tables"
)

// Class is how the rows of a SELECT follow from those of its tables.
type Class int

const (
	Rows   Class = iota + 1 // each row comes from one row of each table: rows are added and taken out
	Totals                  // groups whose aggregates are added up
	Groups                  // groups, or partitions of windows, that are computed anew when one of their rows has changed
)

// OwnPrefix begins the names of the columns that a table has beside those of its SELECT.
const OwnPrefix = "__smelt_"

// counterName is the hidden column with the number of rows in a group.
const counterName = OwnPrefix + "n"

// Lookup says what a name stands for, both parts in lower case: a table, or with view an ordinary view with its SELECT;
// ok is false for what has no versions.
type Lookup func(database, table string) (query string, view, ok bool)

// Describe binds a SELECT over relations by placeholder and returns its columns.
type Describe func(ctx context.Context, sql string, relations map[string]tables.Relation) (tables.Schema, error)

// Plan is how one SELECT is brought up to date. It never changes.
type Plan struct {
	Class       Class
	Reason      string   // what is done, for people
	SQL         string   // the SELECT with hidden columns behind its own, over the placeholders: what a full run stores
	Keys        []string // columns by whose values rows are replaced; none for Rows, and for one total over all rows
	Schema      tables.Schema
	Occurrences []Occurrence
	Fingerprint string // of all of this: rows that were made by another plan are made anew

	keySQL  string   // the keys of all rows; "" for Totals and Rows
	keyExpr []string // the text of each key, in terms of the FROM clause of the groups
	inside  int      // how many SELECTs that only pick rows stand around that of the groups
	columns []column // what each column of Totals is

	joins []equality
	keyOf [][]origin // the columns that each key is, nil for what is computed
}

// planVersion goes into every Fingerprint: a change of what is stored for a plan must change it.
const planVersion = 1

// New makes the plan of a SELECT, or says with reason why there is none. empty returns a relation with the columns of a table and no
// rows. simple says why groups may only be computed anew, "" if they may be added up: their rows are judged by rules.
func New(ctx context.Context, query, database string, lookup Lookup, describe Describe, empty func(Occurrence) tables.Relation, simple string) (p *Plan, reason string, err error) {
	p, err = build(ctx, query, database, lookup, describe, empty, simple)
	var no refusal
	if errors.As(err, &no) {
		return nil, string(no), nil
	}
	return p, "", err
}

func build(ctx context.Context, query, database string, lookup Lookup, describe Describe, empty func(Occurrence) tables.Relation, simple string) (*Plan, error) {
	if strings.Contains(strings.ToLower(query), OwnPrefix) {
		return nil, refuse("it names columns that the system keeps for itself")
	}
	s, err := parse(query)
	if err != nil {
		return nil, err
	}
	if err := steady(s); err != nil {
		return nil, err
	}
	nameColumns(s)
	d := &designer{ctx: ctx, describe: describe, empty: empty, reader: &reader{lookup: lookup}, database: strings.ToLower(database), simple: simple}
	p, err := d.design(s)
	if err != nil {
		return nil, err
	}
	p.Occurrences = d.reader.found
	p.joins, p.keyOf = d.joinsOf(p.SQL, p.keyExpr)
	if !slices.ContainsFunc(p.Occurrences, func(o Occurrence) bool { return o.Fixed == "" }) {
		for _, o := range p.Occurrences {
			return nil, refusal(o.Fixed)
		}
		return nil, refuse("it reads no table")
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%d %d %s %v %v", planVersion, p.Class, p.SQL, p.Keys, p.Occurrences))
	p.Fingerprint = hex.EncodeToString(sum[:8])
	return p, nil
}

// Fixed returns why a change of a table cannot be followed, "" if it can.
func (p *Plan) Fixed(database, table string) string {
	for _, o := range p.Occurrences {
		if o.Database == database && o.Table == table && o.Fixed != "" {
			return o.Fixed
		}
	}
	return ""
}

// Conditional names the first reason for which a change of some table would have everything computed anew, "" for none.
func (p *Plan) Conditional() string {
	for _, o := range p.Occurrences {
		if o.Fixed != "" {
			return o.Fixed
		}
	}
	return ""
}

// Relations returns what each place of the plan reads, from what each table is.
func (p *Plan) Relations(of func(database, table string) tables.Relation) map[string]tables.Relation {
	out := map[string]tables.Relation{}
	for _, o := range p.Occurrences {
		out[o.Placeholder] = of(o.Database, o.Table)
	}
	return out
}

// designer makes one plan.
type designer struct {
	ctx      context.Context
	describe Describe
	empty    func(Occurrence) tables.Relation
	reader   *reader
	database string
	simple   string
}

// columnsOf binds a SELECT over the placeholders.
func (d *designer) columnsOf(sql string) (tables.Schema, error) {
	relations := map[string]tables.Relation{}
	for _, o := range d.reader.found {
		relations[o.Placeholder] = d.empty(o)
	}
	schema, err := d.describe(d.ctx, sql, relations)
	if err != nil {
		return nil, refuse("it cannot be taken apart: %s", firstLine(err.Error()))
	}
	return schema, nil
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

func (d *designer) design(s sqlparser.SelectStatement) (*Plan, error) {
	s = unwrapped(s)
	if set, ok := s.(*sqlparser.SetOp); ok && allDistinct(set) {
		return d.distinct(set, func() { unionAll(set) })
	}
	block, ok := s.(*sqlparser.Select)
	if ok {
		if inner := wrapped(block); inner != nil {
			return d.outside(block, inner)
		}
	}
	if !ok || wholeBlock(block) == "" {
		return d.rows(s)
	}
	d.reader.top = block
	windows, calls := windowsOf(block), aggregatesOf(block)
	switch {
	case len(windows) > 0 && (len(block.GroupBy) > 0 || block.QueryOpts.Distinct || calls || block.Having != nil):
		return nil, refuse("windows over groups depend on all rows")
	case len(windows) > 0:
		return d.windows(block, windows)
	case block.QueryOpts.Distinct && (len(block.GroupBy) > 0 || calls || block.Having != nil):
		return nil, refuse("DISTINCT over groups compares groups with one another")
	case block.QueryOpts.Distinct:
		return d.distinct(block, func() { block.QueryOpts.Distinct = false })
	case len(block.GroupBy) == 0 && !calls:
		return nil, refuse("HAVING without GROUP BY")
	}
	return d.groups(block)
}

func unwrapped(s sqlparser.SelectStatement) sqlparser.SelectStatement {
	for {
		p, ok := s.(*sqlparser.ParenSelect)
		if !ok {
			return s
		}
		s = p.Select
	}
}

// rows plans a SELECT whose rows come one by one.
func (d *designer) rows(s sqlparser.SelectStatement) (*Plan, error) {
	if err := d.reader.statement(s, place{database: d.database}); err != nil {
		return nil, err
	}
	p := &Plan{Class: Rows, SQL: sqlparser.String(s), Reason: "rows are added and taken out"}
	var err error
	p.Schema, err = d.columnsOf(p.SQL)
	return p, err
}

// allDistinct reports whether a UNION yields each row once: it is distinct at the top.
func allDistinct(s *sqlparser.SetOp) bool {
	return s.Type == sqlparser.UnionStr || s.Type == sqlparser.UnionDistinctStr
}

// unionAll has the sides of a UNION, and those of the UNIONs that are its sides, yield all of their rows.
func unionAll(s sqlparser.SelectStatement) {
	set, ok := unwrapped(s).(*sqlparser.SetOp)
	if !ok || set.Limit != nil || !allDistinct(set) && set.Type != sqlparser.UnionAllStr {
		return
	}
	set.Type = sqlparser.UnionAllStr
	unionAll(set.Left)
	unionAll(set.Right)
}

// distinct plans rows that count once each: groups by all columns. all has the SELECT yield every row.
func (d *designer) distinct(s sqlparser.SelectStatement, all func()) (*Plan, error) {
	all()
	if err := d.reader.statement(s, place{database: d.database}); err != nil {
		return nil, err
	}
	inner := sqlparser.String(s)
	schema, err := d.columnsOf(inner)
	if err != nil {
		return nil, err
	}
	p := &Plan{Class: Totals, Reason: "rows are counted: one goes with its last copy"}
	var list []string
	for _, f := range schema {
		name := quote(f.Name)
		list = append(list, name)
		p.Keys, p.keyExpr, p.columns = append(p.Keys, f.Name), append(p.keyExpr, "q."+name), append(p.columns, column{kind: keyColumn})
	}
	keys := strings.Join(list, ", ")
	p.columns = append(p.columns, column{kind: countColumn})
	p.SQL = fmt.Sprintf("select %s, count(*) as %s from (%s) as q group by %s", keys, counterName, inner, keys)
	if p.Schema, err = d.columnsOf(p.SQL); err != nil {
		return nil, err
	}
	for i, f := range schema {
		if p.Schema[i].Type != f.Type {
			return nil, refuse("DISTINCT yields column %s as %s and groups of it as %s", f.Name, f.Type, p.Schema[i].Type)
		}
	}
	if why := p.coarse(); why != "" {
		p.Class, p.Reason = Groups, "the rows of which a copy has changed are counted anew: "+why
		p.keySQL = fmt.Sprintf("select distinct %s from (%s) as q", keys, inner)
	}
	return p, nil
}

func quote(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }

// coarse names a key whose stored values may be equal where the groups are not, "" for none. Groups with equal stored keys
// are computed anew together, but cannot be added up.
func (p *Plan) coarse() string {
	for _, name := range p.Keys {
		switch t := p.Schema[p.Schema.Index(name)].Type; {
		case t.Kind == tables.JSON, t.Kind == tables.Binary:
			return fmt.Sprintf("its key %s is of type %s", name, t)
		case t.Kind == tables.Decimal && t.Precision == 38:
			return fmt.Sprintf("its key %s is a computed decimal, which may be stored shorter than it is", name)
		}
	}
	return ""
}
