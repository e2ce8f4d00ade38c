package queries

import (
	"context"
	"fmt"
	"strings"

	"github.com/dolthub/vitess/go/vt/sqlparser"

	"smelt/queries/lineage"
	"smelt/queries/spark"
)

// reference is a table that a SELECT reads, by lower-case names; Database is never "".
type reference struct{ database, table string }

// String returns database.table.
func (r reference) String() string { return r.database + "." + r.table }

// shape is what a SELECT reads, and whether it can run over a part of its rows.
type shape struct {
	reads   []reference // ordinary tables and views, placeholders excluded, each once
	streams int         // placeholders met
	whole   string      // why the SELECT needs all rows at once; "" when it does not

	statement sqlparser.SelectStatement
}

// shapeOf parses a SELECT whose STREAM sources are placeholders already.
func shapeOf(query, database string) (*shape, error) {
	parsed, err := parseSQL(query)
	if err != nil {
		return nil, fmt.Errorf("parse SELECT: %w", err)
	}
	statement, ok := parsed.(sqlparser.SelectStatement)
	if !ok {
		return nil, fmt.Errorf("parse SELECT: %w: the statement behind AS is no SELECT", ErrUnsupported)
	}
	s := &shape{statement: statement, whole: wholeReason(statement)}
	s.tables(statement, database)
	return s, nil
}

// tables collects what stands behind FROM and JOIN, in subqueries too; names of common table expressions are no tables.
func (s *shape) tables(statement sqlparser.SelectStatement, database string) {
	ctes := map[string]bool{}
	seen := map[reference]bool{}
	visit := func(collect func(sqlparser.SQLNode)) {
		// The visitor never fails.
		_ = sqlparser.Walk(func(n sqlparser.SQLNode) (bool, error) {
			collect(n)
			return true, nil
		}, statement)
	}
	visit(func(n sqlparser.SQLNode) {
		if cte, ok := n.(*sqlparser.CommonTableExpr); ok {
			ctes[strings.ToLower(cte.As.String())] = true
		}
	})
	visit(func(n sqlparser.SQLNode) {
		aliased, ok := n.(*sqlparser.AliasedTableExpr)
		if !ok {
			return
		}
		name, ok := aliased.Expr.(sqlparser.TableName)
		if !ok {
			return
		}
		table, db := strings.ToLower(name.Name.String()), strings.ToLower(name.DbQualifier.String())
		switch {
		case placeholder(table):
			s.streams++
			return
		case table == "dual" || db == "" && ctes[table]:
			return
		case db == "":
			db = strings.ToLower(database)
		}
		if r := (reference{db, table}); !seen[r] {
			seen[r] = true
			s.reads = append(s.reads, r)
		}
	})
}

// wholeReason says why a SELECT cannot run batch by batch, "" if it can: what it computes for one row would depend on
// the others. It looks at the SELECT itself, not at what stands behind FROM.
func wholeReason(statement sqlparser.SelectStatement) string {
	switch s := statement.(type) {
	case *sqlparser.Select:
		return blockReason(s)
	case *sqlparser.SetOp:
		if reason := setReason(s); reason != "" {
			return reason
		}
		if reason := wholeReason(s.Left); reason != "" {
			return reason
		}
		return wholeReason(s.Right)
	case *sqlparser.ParenSelect:
		return wholeReason(s.Select)
	default:
		return ""
	}
}

func blockReason(s *sqlparser.Select) string {
	switch {
	case len(s.GroupBy) > 0:
		return "GROUP BY"
	case s.Having != nil:
		return "HAVING"
	case s.QueryOpts.Distinct:
		return "DISTINCT"
	case len(s.OrderBy) > 0:
		return "ORDER BY"
	case s.Limit != nil:
		return "LIMIT"
	}
	return aggregateIn(s)
}

func setReason(s *sqlparser.SetOp) string {
	switch {
	case s.Type != sqlparser.UnionAllStr:
		return strings.ToUpper(s.Type)
	case len(s.OrderBy) > 0:
		return "ORDER BY"
	case s.Limit != nil:
		return "LIMIT"
	}
	return ""
}

// aggregateIn names an aggregate or window function among the expressions of the SELECT itself; those of subqueries
// have a scope of their own.
func aggregateIn(s *sqlparser.Select) string {
	found := ""
	// The visitor never fails.
	_ = sqlparser.Walk(func(n sqlparser.SQLNode) (bool, error) {
		switch n := n.(type) {
		case *sqlparser.Subquery:
			return false, nil
		case *sqlparser.FuncExpr:
			if lineage.Aggregates(n) || n.Over != nil {
				found = strings.ToUpper(n.Name.String()) + "()"
			}
		case *sqlparser.GroupConcatExpr:
			found = "GROUP_CONCAT()"
		}
		return found == "", nil
	}, s.SelectExprs)
	return found
}

// parseSQL parses a statement of plain SQL, in the spelling of MySQL or of Spark.
func parseSQL(text string) (sqlparser.Statement, error) {
	return spark.Parse(context.Background(), text, sqlparser.ParserOptions{})
}

// viewOf returns the name and SELECT of a CREATE VIEW, ok false for another statement.
func viewOf(statement, database string) (name reference, query string, ok bool) {
	parsed, err := parseSQL(statement)
	if err != nil {
		return reference{}, "", false
	}
	d, isDDL := parsed.(*sqlparser.DDL)
	if !isDDL || d.ViewSpec == nil {
		return reference{}, "", false
	}
	db := strings.ToLower(d.ViewSpec.ViewName.DbQualifier.String())
	if db == "" {
		db = strings.ToLower(database)
	}
	return reference{db, strings.ToLower(d.ViewSpec.ViewName.Name.String())}, sqlparser.String(d.ViewSpec.ViewExpr), true
}
