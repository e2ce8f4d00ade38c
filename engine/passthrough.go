package engine

import (
	"context"
	"slices"

	"github.com/dolthub/go-mysql-server/sql"
	"github.com/dolthub/go-mysql-server/sql/expression"
	"github.com/dolthub/go-mysql-server/sql/plan"
	"github.com/dolthub/go-mysql-server/sql/planbuilder"
	"github.com/dolthub/vitess/go/vt/sqlparser"

	"smelt/queries"
	"smelt/tables"
)

// passed is the result of a SELECT that only chooses columns of one relation, as that of most bronze tables does: its
// batches go through as they are, without becoming rows and batches again.
type passed struct {
	tables.Reader
	schema tables.Schema
	cancel context.CancelFunc
}

// Schema implements queries.Result.
func (p *passed) Schema() tables.Schema { return p.schema }

// Next implements tables.Reader.
func (p *passed) Next(ctx context.Context) (*tables.Batch, error) {
	b, err := p.Reader.Next(ctx)
	if err != nil {
		return nil, err
	}
	return &tables.Batch{Schema: p.schema, Columns: b.Columns, Len: b.Len}, nil
}

// Close implements tables.Reader.
func (p *passed) Close() error {
	defer p.cancel()
	return p.Reader.Close()
}

// choosesOnly reports whether a SELECT has nothing but columns and one table: what costs more than a look is not tried.
func choosesOnly(statement sqlparser.Statement) bool {
	s, ok := statement.(*sqlparser.Select)
	if !ok || len(s.From) != 1 || s.Where != nil || s.GroupBy != nil || s.Having != nil || s.OrderBy != nil || s.Limit != nil || s.With != nil || s.Window != nil || s.Into != nil ||
		s.QueryOpts.Distinct {
		return false
	}
	for _, e := range s.SelectExprs {
		switch e := e.(type) {
		case *sqlparser.StarExpr:
		case *sqlparser.AliasedExpr:
			if _, ok := e.Expr.(*sqlparser.ColName); !ok {
				return false
			}
		default:
			return false
		}
	}
	t, ok := s.From[0].(*sqlparser.AliasedTableExpr)
	if !ok {
		return false
	}
	_, ok = t.Expr.(sqlparser.TableName)
	return ok
}

// passThrough returns the result of a SELECT that only chooses columns of one relation, nil for any other. text is that of
// the query.
func (e *sqlEngine) passThrough(ctx *sql.Context, statement sqlparser.Statement, q queries.Query) (*passed, error) {
	if !choosesOnly(statement) {
		return nil, nil
	}
	node, _, err := planbuilder.New(ctx, e.engine.Analyzer.Catalog, nil).BindOnly(statement, q.SQL, nil)
	if err != nil {
		return nil, err
	}
	project, ok := node.(*plan.Project)
	if !ok {
		return nil, nil
	}
	table := tableOf(project.Child)
	if table == nil {
		return nil, nil
	}
	all := table.relation.Schema()
	out, err := columnSchema(node.Schema(ctx))
	if err != nil || len(out) != len(project.Projections) {
		return nil, nil // by rows it is told
	}
	names := make([]string, len(out))
	for i, p := range project.Projections {
		if a, ok := p.(*expression.Alias); ok {
			p = a.Child
		}
		field, ok := p.(*expression.GetField)
		if !ok {
			return nil, nil
		}
		at := all.Index(plainName(field.Name()))
		if at < 0 || all[at].Type != out[i].Type || slices.Contains(names, all[at].Name) {
			return nil, nil
		}
		names[i] = all[at].Name
	}
	reader, err := table.relation.Scan(ctx, names)
	if err != nil {
		return nil, err
	}
	return &passed{Reader: reader, schema: out}, nil
}

// tableOf returns the relation that a plan reads with nothing between, or nil.
func tableOf(n sql.Node) *relationTable {
	switch n := n.(type) {
	case *plan.TableAlias:
		return tableOf(n.Child)
	case *plan.ResolvedTable:
		return relationOf(n.Table)
	}
	return nil
}
