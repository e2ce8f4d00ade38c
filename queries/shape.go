package queries

import (
	"fmt"
	"strings"

	"github.com/dolthub/vitess/go/vt/sqlparser"

	"smelt/queries/ddl"
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
}

// shapeOf parses a SELECT whose STREAM sources are placeholders already.
func shapeOf(query, database string) (*shape, error) {
	parsed, err := sqlparser.Parse(query)
	if err != nil {
		return nil, fmt.Errorf("parse SELECT: %w", err)
	}
	statement, ok := parsed.(sqlparser.SelectStatement)
	if !ok {
		return nil, fmt.Errorf("parse SELECT: %w: the statement behind AS is no SELECT", ErrUnsupported)
	}
	s := &shape{}
	s.tables(statement, database)
	s.whole = wholeReason(statement)
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
		case strings.Contains(table, ":"):
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
// the others.
func wholeReason(statement sqlparser.SelectStatement) string {
	switch s := statement.(type) {
	case *sqlparser.Select:
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
	case *sqlparser.SetOp:
		if s.Type != sqlparser.UnionAllStr {
			return strings.ToUpper(s.Type)
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
			if n.IsAggregate() || n.Over != nil {
				found = strings.ToUpper(n.Name.String()) + "()"
			}
		case *sqlparser.GroupConcatExpr:
			found = "GROUP_CONCAT()"
		}
		return found == "", nil
	}, s.SelectExprs)
	return found
}

// unions reports whether the SELECT is a UNION ALL at its top, whose branches read their streams independently.
func unions(query string) bool {
	parsed, err := sqlparser.Parse(query)
	if err != nil {
		return false
	}
	op, ok := parsed.(*sqlparser.SetOp)
	return ok && op.Type == sqlparser.UnionAllStr
}

// checkShape refuses what no strategy can keep up to date, with what to do instead.
func checkShape(c *ddl.Create, s *shape) error {
	if c.Kind == ddl.MaterializedView {
		if len(c.Sources) > 0 {
			return fmt.Errorf("materialized view %s: %w: STREAM reads each row once, a view reads whole tables; write the table's name without STREAM, or make a STREAMING TABLE",
				c.Name, ErrUnsupported)
		}
		return nil
	}
	switch {
	case len(c.Sources) == 0:
		return fmt.Errorf("streaming table %s: %w: the SELECT has no STREAM source; write STREAM(t), or make a MATERIALIZED VIEW", c.Name, ErrUnsupported)
	case s.whole != "":
		return fmt.Errorf("streaming table %s: %w: %s over a stream would only see one batch at a time; use a MATERIALIZED VIEW", c.Name, ErrUnsupported, s.whole)
	case len(c.Sources) > 1 && !unions(c.Query):
		return fmt.Errorf("streaming table %s: %w: a join of two streams; let one side be an ordinary table, or use UNION ALL", c.Name, ErrUnsupported)
	}
	return nil
}

// viewOf returns the name and SELECT of a CREATE VIEW, ok false for another statement.
func viewOf(statement, database string) (name reference, query string, ok bool) {
	parsed, err := sqlparser.Parse(statement)
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
