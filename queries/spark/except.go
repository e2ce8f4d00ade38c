package spark

import (
	"fmt"
	"slices"
	"strings"

	"github.com/dolthub/vitess/go/vt/sqlparser"
)

// Column is one column of what a star stands for.
type Column struct{ Table, Name string }

// excepted is a SELECT in which * EXCEPT (...) stands.
type excepted struct {
	s    *sqlparser.Select
	with *sqlparser.With // the common table expressions in its sight
}

// ExpandExcept puts columns in the place of each * EXCEPT (...) of a statement. columns returns those of a SELECT * and may
// change it, so probe is the same text parsed once more. Nothing is changed where there is no EXCEPT.
func ExpandExcept(statement sqlparser.Statement, probe func() (sqlparser.Statement, error), columns func(*sqlparser.Select) ([]Column, error)) error {
	found := exceptedIn(statement)
	if len(found) == 0 {
		return nil
	}
	// Innermost first, because those around it see the columns that are left; a probe has its own inner ones expanded.
	for i := len(found) - 1; i >= 0; i-- {
		again, err := probe()
		if err != nil {
			return err
		}
		twins := exceptedIn(again)
		for j := len(twins) - 1; j > i; j-- {
			twins[j].s.SelectExprs = found[j].s.SelectExprs
		}
		twin := twins[i]
		all, err := columns(&sqlparser.Select{With: twin.with, From: twin.s.From, SelectExprs: sqlparser.SelectExprs{&sqlparser.StarExpr{}}})
		if err != nil {
			return err
		}
		if found[i].s.SelectExprs, err = without(found[i].s.SelectExprs, all); err != nil {
			return err
		}
	}
	return nil
}

// exceptedIn returns the SELECTs that name EXCEPT, each after those around it.
func exceptedIn(statement sqlparser.Statement) []excepted {
	var found []excepted
	var with []*sqlparser.With
	// The visitor never fails.
	_ = sqlparser.Walk(func(n sqlparser.SQLNode) (bool, error) {
		s, ok := n.(*sqlparser.Select)
		if !ok {
			return true, nil
		}
		if s.With != nil {
			with = append(with, s.With)
		}
		if slices.ContainsFunc(s.SelectExprs, func(e sqlparser.SelectExpr) bool { return exceptOf(e) != nil }) {
			e := excepted{s: s, with: s.With}
			if e.with == nil && len(with) > 0 {
				e.with = with[len(with)-1]
			}
			found = append(found, e)
		}
		return true, nil
	}, statement)
	return found
}

// Excepted returns the columns, in lower case, that an item of a list takes from the star before it; ok is false for other items.
func Excepted(e sqlparser.SelectExpr) (names []string, ok bool) {
	f := exceptOf(e)
	if f == nil {
		return nil, false
	}
	for n := range f.Exprs {
		if v, ok := argument(f, n).(*sqlparser.SQLVal); ok {
			names = append(names, strings.ToLower(string(v.Val)))
		}
	}
	return names, true
}

// exceptOf returns the call that marks the star before it.
func exceptOf(e sqlparser.SelectExpr) *sqlparser.FuncExpr {
	a, ok := e.(*sqlparser.AliasedExpr)
	if !ok {
		return nil
	}
	f, ok := a.Expr.(*sqlparser.FuncExpr)
	if !ok || f.Name.Lowered() != exceptFunction {
		return nil
	}
	return f
}

// without returns the list with columns for each star that EXCEPT follows.
func without(list sqlparser.SelectExprs, all []Column) (sqlparser.SelectExprs, error) {
	var out sqlparser.SelectExprs
	for i, item := range list {
		star, isStar := item.(*sqlparser.StarExpr)
		switch {
		case exceptOf(item) != nil:
			continue
		case !isStar || i+1 == len(list) || exceptOf(list[i+1]) == nil:
			out = append(out, item)
			continue
		}
		gone := map[string]bool{}
		names, _ := Excepted(list[i+1])
		for _, name := range names {
			gone[name] = false
		}
		for _, c := range all {
			if t := star.TableName.Name.String(); t != "" && !strings.EqualFold(t, c.Table) {
				continue
			}
			if _, except := gone[strings.ToLower(c.Name)]; except {
				gone[strings.ToLower(c.Name)] = true
				continue
			}
			out = append(out, &sqlparser.AliasedExpr{Expr: column(c.Table, c.Name), As: sqlparser.NewColIdent(c.Name)})
		}
		for name, met := range gone {
			if !met {
				return nil, fmt.Errorf("unknown column %q behind EXCEPT", name)
			}
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("nothing is left to select behind EXCEPT")
	}
	return out, nil
}
