package merge

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/dolthub/vitess/go/vt/sqlparser"

	"smelt/queries/spark"
)

// A block that only picks from the rows of another SELECT, such as those with ROW_NUMBER() = 1, shows whole groups or
// partitions of that SELECT as it is, or parts of them: it is computed anew by the same keys.

// wrapped returns the SELECT from which a block picks rows; nil for another kind of block, and for rows that come one by
// one anyway.
func wrapped(s *sqlparser.Select) *sqlparser.Select {
	if wholeBlock(s) != "" || s.Limit != nil || s.Lock != nil && s.Lock.Type != "" || s.Into != nil || len(s.From) != 1 {
		return nil
	}
	if s.With != nil && s.With.Recursive {
		return nil
	}
	t, ok := s.From[0].(*sqlparser.AliasedTableExpr)
	if !ok || t.AsOf != nil || t.Lateral {
		return nil
	}
	inner, ok := unwrapped(behind(t, s.With)).(*sqlparser.Select)
	if !ok || inner.QueryOpts.Distinct || wholeBlock(inner) == "" && wrapped(inner) == nil {
		return nil
	}
	return inner
}

// behind returns the SELECT that a table behind FROM is, with the common table expressions in its sight; nil for a table.
func behind(t *sqlparser.AliasedTableExpr, with *sqlparser.With) sqlparser.SelectStatement {
	switch e := t.Expr.(type) {
	case *sqlparser.Subquery:
		if len(e.Columns) > 0 {
			return nil
		}
		return inSight(e.Select, with, -1)
	case sqlparser.TableName:
		if with == nil || !e.DbQualifier.IsEmpty() {
			return nil
		}
		for i, c := range with.Ctes {
			if sub, ok := c.Expr.(*sqlparser.Subquery); ok && strings.EqualFold(c.As.String(), e.Name.String()) && len(c.Columns) == 0 {
				return inSight(sub.Select, with, i)
			}
		}
	}
	return nil
}

// inSight returns a SELECT with the first n common table expressions before its own, -1 for all.
func inSight(s sqlparser.SelectStatement, with *sqlparser.With, n int) sqlparser.SelectStatement {
	block, ok := unwrapped(s).(*sqlparser.Select)
	if !ok || with == nil || n == 0 {
		return s
	}
	if n < 0 {
		n = len(with.Ctes)
	}
	before := slices.Clone(with.Ctes[:n])
	if block.With != nil {
		before = append(before, block.With.Ctes...)
	}
	copied := *block
	copied.With = &sqlparser.With{Ctes: before}
	return &copied
}

// outside plans a block around inner: the plan of inner, whose keys the block passes on.
func (d *designer) outside(s, inner *sqlparser.Select) (*Plan, error) {
	t := s.From[0].(*sqlparser.AliasedTableExpr)
	if name, ok := t.Expr.(sqlparser.TableName); ok && t.As.IsEmpty() {
		t.As = name.Name
	}
	at := place{database: d.database}
	at, err := d.reader.with(s.With, at)
	if err != nil {
		return nil, err
	}
	nameColumns(inner)
	simple := d.simple
	d.simple = "what is around them may leave them out"
	p, err := d.design(inner)
	d.simple = simple
	if err != nil {
		return nil, err
	}
	if p.Class != Groups {
		return nil, refuse("what is inside is brought up to date in another way")
	}
	t.Expr = &sqlparser.Subquery{Select: inner}
	s.With, s.OrderBy = nil, nil
	for _, n := range []sqlparser.SQLNode{s.SelectExprs, s.Where} {
		if err := d.reader.expressions(n, at); err != nil {
			return nil, err
		}
	}
	known := slices.Clone(p.Keys)
	if err := p.pass(s, t.As); err != nil {
		return nil, err
	}
	p.inside++
	p.keySQL = renamed(p.keySQL, known, p.Keys)
	return d.finish(p, s)
}

// pass has a block around the plan's SELECT yield the keys, and names them as they are known there.
func (p *Plan) pass(s *sqlparser.Select, of sqlparser.TableIdent) error {
	last := len(s.SelectExprs) - 1
	except, _ := spark.Excepted(s.SelectExprs[last])
	if except != nil {
		last--
	}
	star := slices.IndexFunc(s.SelectExprs, func(e sqlparser.SelectExpr) bool { _, ok := e.(*sqlparser.StarExpr); return ok })
	for i, key := range p.Keys {
		if star >= 0 && !slices.Contains(except, strings.ToLower(key)) {
			if strings.HasPrefix(key, OwnPrefix) && star != last {
				return refuse("* stands before other columns, and its windows' partitions are not among the columns")
			}
			continue // * yields it under its name
		}
		at := slices.IndexFunc(s.SelectExprs, func(e sqlparser.SelectExpr) bool {
			a, ok := e.(*sqlparser.AliasedExpr)
			return ok && sameExpr(a.Expr, &sqlparser.ColName{Name: sqlparser.NewColIdent(key)})
		})
		if at >= 0 {
			p.Keys[i] = outputName(s.SelectExprs[at].(*sqlparser.AliasedExpr))
			continue
		}
		p.Keys[i] = OwnPrefix + "k" + strconv.Itoa(i)
		s.SelectExprs = append(s.SelectExprs, &sqlparser.AliasedExpr{
			Expr: &sqlparser.ColName{Name: sqlparser.NewColIdent(key), Qualifier: sqlparser.TableName{Name: of}}, As: sqlparser.NewColIdent(p.Keys[i])})
	}
	for i, key := range p.Keys {
		if slices.Contains(p.Keys[:i], key) {
			return refuse("two of its keys are called %s", key)
		}
	}
	return nil
}

// renamed is a SELECT with other names for its columns.
func renamed(query string, from, to []string) string {
	list := make([]string, len(from))
	for i := range from {
		list[i] = quote(from[i]) + " as " + quote(to[i])
	}
	return "select " + strings.Join(list, ", ") + " from (" + query + ") as q"
}

// innermost returns the block of a SELECT that is n deep behind FROM.
func innermost(s sqlparser.SelectStatement, n int) (*sqlparser.Select, error) {
	block, ok := unwrapped(s).(*sqlparser.Select)
	for ; ok && n > 0; n-- {
		var t *sqlparser.AliasedTableExpr
		var sub *sqlparser.Subquery
		if t, ok = block.From[0].(*sqlparser.AliasedTableExpr); !ok {
			break
		}
		if sub, ok = t.Expr.(*sqlparser.Subquery); !ok {
			break
		}
		block, ok = unwrapped(sub.Select).(*sqlparser.Select)
	}
	if !ok {
		return nil, fmt.Errorf("find the SELECT of %q that is to be restricted: it is no plain one", sqlparser.String(s))
	}
	return block, nil
}
