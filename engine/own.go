package engine

import (
	"context"
	"strings"

	"github.com/dolthub/vitess/go/vt/sqlparser"

	"smelt/tables"
	"smelt/tables/filter"
)

// ownPrefix begins the names of columns that a table keeps for the system: counters beside aggregates, from which a
// view is brought up to date. Who names one reads it; nothing else shows them.
const ownPrefix = "__smelt_"

func ownColumn(name string) bool {
	return len(name) >= len(ownPrefix) && strings.EqualFold(name[:len(ownPrefix)], ownPrefix)
}

// namesOwn reports whether a statement may name a column of the system: only then do tables show them to the planner.
func namesOwn(text string) bool { return strings.Contains(strings.ToLower(text), ownPrefix) }

// withoutOwn returns a relation without the columns of the system, or, for a statement that names some, with these as
// hidden ones.
func withoutOwn(r tables.Relation, named bool) tables.Relation {
	all := r.Schema()
	schema := make(tables.Schema, 0, len(all))
	found := false
	for _, f := range all {
		if own := ownColumn(f.Name); own {
			found = true
			if f.Hidden = true; !named {
				continue
			}
		}
		schema = append(schema, f)
	}
	if !found {
		return r
	}
	v := &visible{Relation: r, schema: schema}
	if c, ok := r.(tables.Counter); ok {
		return struct {
			*visible
			tables.Counter
		}{v, c}
	}
	return v
}

// visible is a relation with some of its columns hidden.
type visible struct {
	tables.Relation
	schema tables.Schema
}

// Schema implements tables.Relation.
func (v *visible) Schema() tables.Schema { return v.schema }

// Scan implements tables.Relation.
func (v *visible) Scan(ctx context.Context, columns []string) (tables.Reader, error) {
	if columns == nil {
		columns = make([]string, len(v.schema))
		for i, f := range v.schema {
			columns[i] = f.Name
		}
	}
	return v.Relation.Scan(ctx, columns)
}

// Prune implements tables.Pruner.
func (v *visible) Prune(conditions []filter.Condition) tables.Relation {
	if p, ok := v.Relation.(tables.Pruner); ok {
		return &visible{Relation: p.Prune(conditions), schema: v.schema}
	}
	return v
}

// revealOwn marks the columns of the system that a statement names, as the tables show them to the planner. A name that
// the statement itself gives to a column is that column.
func revealOwn(statement sqlparser.SQLNode) {
	nameOwn(statement)
	given := map[string]bool{}
	visit := func(f func(sqlparser.SQLNode)) {
		// The visitor never fails.
		_ = sqlparser.Walk(func(n sqlparser.SQLNode) (bool, error) {
			f(n)
			return true, nil
		}, statement)
	}
	visit(func(n sqlparser.SQLNode) {
		if e, ok := n.(*sqlparser.AliasedExpr); ok && !e.As.IsEmpty() && !sameName(e) {
			given[e.As.Lowered()] = true
		}
	})
	visit(func(n sqlparser.SQLNode) {
		if c, ok := n.(*sqlparser.ColName); ok && ownColumn(c.Name.String()) && !given[c.Name.Lowered()] && !strings.HasSuffix(c.Name.String(), hiddenMark) {
			c.Name = sqlparser.NewColIdent(c.Name.String() + hiddenMark)
		}
	})
}

// nameOwn gives the columns that the statement yields to the client the names without the mark. Inside it they keep the
// mark, and stay hidden.
func nameOwn(statement sqlparser.SQLNode) {
	switch s := statement.(type) {
	case *sqlparser.ParenSelect:
		nameOwn(s.Select)
	case *sqlparser.SetOp:
		nameOwn(s.Left)
		nameOwn(s.Right)
	case *sqlparser.Select:
		for _, e := range s.SelectExprs {
			if e, ok := e.(*sqlparser.AliasedExpr); ok && e.As.IsEmpty() {
				if c, ok := e.Expr.(*sqlparser.ColName); ok && ownColumn(c.Name.String()) {
					e.As = sqlparser.NewColIdent(c.Name.String())
				}
			}
		}
	}
}

// sameName reports whether an expression is a column under its own name.
func sameName(e *sqlparser.AliasedExpr) bool {
	c, ok := e.Expr.(*sqlparser.ColName)
	return ok && c.Name.EqualString(e.As.String())
}
