package merge

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/dolthub/vitess/go/vt/sqlparser"

	"smelt/queries/spark"
)

// Occurrence is one place where a SELECT reads a table. A table that is read in two places has two, because what came
// into it meets, in each place, another version of the other places.
type Occurrence struct {
	Placeholder     string // the name that the rewritten SELECT has for it
	Database, Table string // in lower case
	// Fixed says why a change here cannot be followed row by row: "" where it can.
	Fixed string

	branches []branch
}

// branch is one side of a UNION ALL around an occurrence.
type branch struct{ union, side int }

// excludes reports whether the two stand in different sides of one UNION ALL: then no row comes from both.
func (o *Occurrence) excludes(other *Occurrence) bool {
	for _, a := range o.branches {
		for _, b := range other.branches {
			if a.union == b.union && a.side != b.side {
				return true
			}
		}
	}
	return false
}

// refusal is why a SELECT is computed anew.
type refusal string

// Error implements error.
func (r refusal) Error() string { return string(r) }

func refuse(format string, args ...any) error { return refusal(fmt.Sprintf(format, args...)) }

// reader gives each place where a SELECT reads a table a name of its own. Views and common table expressions are written
// out where they are used.
type reader struct {
	lookup Lookup
	found  []Occurrence
	top    *sqlparser.Select // its own GROUP BY is followed; nil for none
	unions int
	depth  int
}

// maxDepth bounds views in views.
const maxDepth = 50

// place is where in a SELECT the reader is.
type place struct {
	database string
	names    map[string]cte // common table expressions in sight, by lower-case name
	branches []branch
	fixed    string
}

// cte is a common table expression as text, so that each use gets its own copy.
type cte struct {
	text string
	at   place
}

// statement reads a SELECT; its rows are those of its parts added up, or else what is in it is fixed.
func (r *reader) statement(s sqlparser.SelectStatement, at place) error {
	if r.depth++; r.depth > maxDepth {
		return refuse("it nests more than %d deep", maxDepth)
	}
	defer func() { r.depth-- }()
	switch s := s.(type) {
	case *sqlparser.ParenSelect:
		return r.statement(s.Select, at)
	case *sqlparser.SetOp:
		return r.set(s, at)
	case *sqlparser.Select:
		return r.block(s, at)
	default:
		return refuse("it holds a %T", s)
	}
}

func (r *reader) set(s *sqlparser.SetOp, at place) error {
	at, err := r.with(s.With, at)
	if err != nil {
		return err
	}
	s.With = nil
	if s.Limit != nil {
		return refuse("LIMIT leaves out rows by those around them")
	}
	if s.Type != sqlparser.UnionAllStr && at.fixed == "" {
		at.fixed = strings.ToUpper(s.Type) + " compares rows with one another"
	}
	s.OrderBy = nil
	union := r.unions
	r.unions++
	for side, part := range []sqlparser.SelectStatement{s.Left, s.Right} {
		before := len(r.found)
		inner := at
		inner.branches = append(slices.Clone(at.branches), branch{union, side})
		if err := r.statement(part, inner); err != nil {
			return err
		}
		if at.fixed == "" && !slices.ContainsFunc(r.found[before:], func(o Occurrence) bool { return o.Fixed == "" }) {
			return refuse("a side of UNION ALL has no table whose changes can be followed")
		}
	}
	return nil
}

// block reads one SELECT ... FROM ... WHERE.
func (r *reader) block(s *sqlparser.Select, at place) error {
	at, err := r.with(s.With, at)
	if err != nil {
		return err
	}
	s.With = nil
	if s.Limit != nil {
		return refuse("LIMIT leaves out rows by those around them")
	}
	if s.Lock != nil && s.Lock.Type != "" || s.QueryOpts.DistinctOn != nil || s.QueryOpts.SQLCalcFoundRows {
		return refuse("it has a clause beside the SELECT")
	}
	inner := at
	if reason := wholeBlock(s); reason != "" && inner.fixed == "" && s != r.top {
		inner.fixed = reason + " inside depends on all rows"
	}
	if s.OrderBy = nil; s.Into != nil {
		return refuse("it has a clause beside the SELECT")
	}
	for _, t := range s.From {
		if err := r.table(t, inner); err != nil {
			return err
		}
	}
	// What stands in expressions is asked once for each row: it must not change.
	nodes := []sqlparser.SQLNode{s.SelectExprs, s.GroupBy, s.Window}
	if s.Where != nil {
		nodes = append(nodes, s.Where)
	}
	if s.Having != nil {
		nodes = append(nodes, s.Having)
	}
	for _, n := range nodes {
		if err := r.expressions(n, at); err != nil {
			return err
		}
	}
	return nil
}

// wholeBlock says what makes the rows of a block depend on one another; "" for nothing.
func wholeBlock(s *sqlparser.Select) string {
	switch {
	case len(s.GroupBy) > 0:
		return "GROUP BY"
	case s.Having != nil:
		return "HAVING"
	case s.QueryOpts.Distinct:
		return "DISTINCT"
	}
	return whole(s.SelectExprs)
}

// with puts the common table expressions of a statement in sight.
func (r *reader) with(w *sqlparser.With, at place) (place, error) {
	if w == nil {
		return at, nil
	}
	if w.Recursive {
		return at, refuse("WITH RECURSIVE builds rows from rows")
	}
	names := map[string]cte{}
	for k, v := range at.names {
		names[k] = v
	}
	for _, c := range w.Ctes {
		sub, ok := c.Expr.(*sqlparser.Subquery)
		if !ok || len(c.Columns) > 0 {
			return at, refuse("WITH names the columns of %s", c.As.String())
		}
		inner := at
		inner.names = map[string]cte{}
		for k, v := range names {
			inner.names[k] = v
		}
		names[strings.ToLower(c.As.String())] = cte{sqlparser.String(sub.Select), inner}
	}
	at.names = names
	return at, nil
}

func (r *reader) table(t sqlparser.TableExpr, at place) error {
	switch t := t.(type) {
	case *sqlparser.AliasedTableExpr:
		return r.aliased(t, at)
	case *sqlparser.ParenTableExpr:
		for _, e := range t.Exprs {
			if err := r.table(e, at); err != nil {
				return err
			}
		}
		return nil
	case *sqlparser.JoinTableExpr:
		return r.join(t, at)
	case *sqlparser.JSONTableExpr:
		return r.expressions(t.Data, at)
	case *sqlparser.TableFuncExpr:
		if name := strings.ToLower(t.Name); name != "explode" && name != "posexplode" {
			return refuse("the table function %s() has no versions", name)
		}
		return r.expressions(t.Exprs, at)
	default:
		return refuse("it reads a %T", t)
	}
}

// join reads both sides. The side that an outer join fills with NULL decides about rows by what it lacks: it is fixed.
func (r *reader) join(j *sqlparser.JoinTableExpr, at place) error {
	left, right := at, at
	kind := strings.ToLower(j.Join)
	if at.fixed == "" {
		fixed := strings.ToUpper(kind) + " shows rows without a match"
		if strings.Contains(kind, "left") || strings.Contains(kind, "full") {
			right.fixed = fixed
		}
		if strings.Contains(kind, "right") || strings.Contains(kind, "full") {
			left.fixed = fixed
		}
	}
	if err := r.table(j.LeftExpr, left); err != nil {
		return err
	}
	if err := r.table(j.RightExpr, right); err != nil {
		return err
	}
	if j.Condition.On != nil {
		return r.expressions(j.Condition.On, at)
	}
	return nil
}

func (r *reader) aliased(t *sqlparser.AliasedTableExpr, at place) error {
	switch e := t.Expr.(type) {
	case *sqlparser.Subquery:
		return r.derived(e, at)
	case sqlparser.TableName:
		return r.named(t, e, at)
	default:
		return refuse("it reads a %T", e)
	}
}

// derived reads a SELECT behind FROM.
func (r *reader) derived(s *sqlparser.Subquery, at place) error { return r.statement(s.Select, at) }

// named reads a table, or puts what the name stands for in its place.
func (r *reader) named(t *sqlparser.AliasedTableExpr, name sqlparser.TableName, at place) error {
	if t.AsOf != nil {
		return refuse("it reads %s as it was at a time", name.Name.String())
	}
	database, table := strings.ToLower(name.DbQualifier.String()), strings.ToLower(name.Name.String())
	if t.As.IsEmpty() {
		t.As = name.Name
	}
	if table == "dual" && database == "" {
		return refuse("it reads no table")
	}
	if c, ok := at.names[table]; ok && database == "" {
		inner := c.at
		inner.branches, inner.fixed = at.branches, at.fixed
		return r.inline(t, c.text, inner)
	}
	if database == "" {
		database = at.database
	}
	query, isView, ok := r.lookup(database, table)
	switch {
	case !ok:
		return refuse("%s.%s has no versions", database, table)
	case isView:
		return r.inline(t, query, place{database: database, branches: at.branches, fixed: at.fixed})
	}
	o := Occurrence{Placeholder: fmt.Sprintf("merge:%d", len(r.found)), Database: database, Table: table, Fixed: at.fixed, branches: at.branches}
	r.found = append(r.found, o)
	t.Expr = sqlparser.TableName{Name: sqlparser.NewTableIdent(o.Placeholder)}
	return nil
}

// inline reads the text of a view or common table expression in place of its name.
func (r *reader) inline(t *sqlparser.AliasedTableExpr, text string, at place) error {
	s, err := parse(text)
	if err != nil {
		return err
	}
	if err := r.statement(s, at); err != nil {
		return err
	}
	nameColumns(s)
	t.Expr = &sqlparser.Subquery{Select: s}
	return nil
}

// expressions reads the SELECTs inside of expressions.
func (r *reader) expressions(n sqlparser.SQLNode, at place) error {
	if at.fixed == "" {
		at.fixed = "a SELECT inside an expression is asked for each row"
	}
	return sqlparser.Walk(func(n sqlparser.SQLNode) (bool, error) {
		switch n := n.(type) {
		case *sqlparser.Subquery:
			return false, r.statement(n.Select, at)
		case *sqlparser.ColName:
			n.Qualifier.DbQualifier = sqlparser.NewTableIdent("") // tables are read under an alias
		}
		return true, nil
	}, n)
}

// parse parses a SELECT.
func parse(text string) (sqlparser.SelectStatement, error) {
	parsed, err := spark.Parse(context.Background(), text, sqlparser.ParserOptions{})
	if err != nil {
		return nil, refuse("its text cannot be taken apart: %s", err.Error())
	}
	s, ok := parsed.(sqlparser.SelectStatement)
	if !ok {
		return nil, refuse("it is no SELECT")
	}
	return s, nil
}

// printed parses an expression that was printed before, in any scope: as Spark's text, a.k without a table a is a field of JSON.
func printed(text string) (*sqlparser.Select, error) {
	parsed, err := sqlparser.Parse("select 1 from t where " + text)
	if err != nil {
		return nil, fmt.Errorf("parse %.100q: %w", text, err)
	}
	return parsed.(*sqlparser.Select), nil
}

// nameColumns gives every expression of a SELECT the name under which it is known, which is its text: printed again the
// text is another.
func nameColumns(s sqlparser.SelectStatement) {
	switch s := s.(type) {
	case *sqlparser.ParenSelect:
		nameColumns(s.Select)
	case *sqlparser.SetOp:
		nameColumns(s.Left)
		nameColumns(s.Right)
	case *sqlparser.Select:
		for _, e := range s.SelectExprs {
			e, ok := e.(*sqlparser.AliasedExpr)
			if !ok {
				continue
			}
			if _, column := e.Expr.(*sqlparser.ColName); e.As.IsEmpty() && !column && e.InputExpression != "" {
				e.As = sqlparser.NewColIdent(e.InputExpression)
			}
			e.InputExpression = ""
		}
	}
}

// outputName returns the name of the column that an expression of the SELECT list becomes.
func outputName(e *sqlparser.AliasedExpr) string {
	if !e.As.IsEmpty() {
		return e.As.String()
	}
	if c, ok := e.Expr.(*sqlparser.ColName); ok {
		return c.Name.String()
	}
	return ""
}
