package lineage

import (
	"strings"

	"github.com/dolthub/vitess/go/vt/sqlparser"
)

// metadata is what the columns of a file are qualified with.
const metadata = "_metadata"

// moreAggregates are aggregates of the SQL engine, and of ours, that the parser does not count among them.
var moreAggregates = map[string]bool{"any_value": true, "first": true, "last": true, "json_arrayagg": true, "json_objectagg": true, "smelt_sum": true,
	"grouping": true, "accuracy_score": true, "precision_score": true, "recall_score": true, "f1_score": true, "confusion_matrix": true}

// Aggregates reports whether a function makes one value of many rows.
func Aggregates(f *sqlparser.FuncExpr) bool {
	return f.IsAggregate() || moreAggregates[f.Name.Lowered()]
}

// combined is what is done with a column of which something was made (inner) that is used again (outer).
func combined(inner, outer Use) Use {
	switch {
	case !outer.Direct():
		return outer
	case !inner.Direct():
		return inner
	case inner == useAggregation || outer == useAggregation:
		return useAggregation
	case inner == useTransformation || outer == useTransformation:
		return useTransformation
	default:
		return useIdentity
	}
}

// within is what is done with a column inside an expression that is used so: a condition decides, whatever it is part of.
func within(outer, inner Use) Use {
	if outer.Direct() {
		return inner
	}
	return outer
}

// uses lists what an expression is made of; kind is what is done with its value.
func (r *resolver) uses(node sqlparser.SQLNode, kind Use, at *scope) []use {
	var out []use
	add := func(uses []use) {
		for _, u := range uses {
			out = addUse(out, u)
		}
	}
	// The visitor never fails.
	_ = sqlparser.Walk(func(n sqlparser.SQLNode) (bool, error) {
		switch n := n.(type) {
		case *sqlparser.ColName:
			add(as(at.column(n), kind))
			return false, nil
		case *sqlparser.Subquery:
			add(r.subquery(n, kind, at))
			return false, nil
		case *sqlparser.CaseExpr:
			add(r.cases(n, kind, at))
			return false, nil
		case *sqlparser.FuncExpr:
			add(r.call(n, kind, at))
			return false, nil
		case *sqlparser.GroupConcatExpr:
			add(r.uses(n.Exprs, within(kind, useAggregation), at))
			add(r.uses(n.OrderBy, within(kind, useAggregation), at))
			return false, nil
		}
		return true, nil
	}, node)
	return out
}

// subquery is one inside an expression: its columns are the value, and what decides about its rows decides about that.
func (r *resolver) subquery(s *sqlparser.Subquery, kind Use, at *scope) []use {
	b := r.statement(s.Select, at)
	var out []use
	for _, c := range b.columns {
		for _, u := range as(c.uses, kind) {
			out = addUse(out, u)
		}
		if c.star != "" {
			out = addUse(out, use{from: Source{Relation: c.star, Column: "*"}, kind: kind})
		}
	}
	for _, u := range b.rows {
		if !kind.Direct() {
			u.kind = kind
		}
		u.text = ""
		out = addUse(out, u)
	}
	return out
}

func (r *resolver) cases(c *sqlparser.CaseExpr, kind Use, at *scope) []use {
	value, condition := within(kind, combined(kind, useTransformation)), within(kind, useConditional)
	var out []use
	add := func(e sqlparser.Expr, kind Use) {
		if e == nil {
			return
		}
		for _, u := range r.uses(e, kind, at) {
			out = addUse(out, u)
		}
	}
	for _, w := range c.Whens {
		add(w.Val, value)
	}
	add(c.Else, value)
	add(c.Expr, condition)
	for _, w := range c.Whens {
		add(w.Cond, condition)
	}
	return out
}

// call is a function: an aggregate, a model, or any other.
func (r *resolver) call(f *sqlparser.FuncExpr, kind Use, at *scope) []use {
	name := f.Name.Lowered()
	inside := kind
	switch {
	case Aggregates(f):
		inside = within(kind, useAggregation)
	case kind == useIdentity:
		inside = useTransformation
	}
	var out []use
	add := func(uses []use) {
		for _, u := range uses {
			out = addUse(out, u)
		}
	}
	if name == "input_file_name" && len(f.Exprs) == 0 {
		add(as(at.find(metadata, "file_path"), within(kind, inside)))
	}
	for i, e := range f.Exprs {
		k := inside
		if i == 0 && name == "if" && len(f.Exprs) == 3 {
			k = within(kind, useConditional)
		}
		if _, isStar := e.(*sqlparser.StarExpr); !isStar { // COUNT(*) looks at no column
			add(r.uses(e, k, at))
		}
	}
	if r.catalog.Model != nil {
		if m, ok := r.catalog.Model(name, literals(f)); ok {
			out = addUse(out, use{model: &m, kind: inside})
		}
	}
	if f.Over != nil {
		for _, u := range r.window((*sqlparser.WindowDef)(f.Over), at) {
			u.kind = within(kind, u.kind)
			out = addUse(out, u)
		}
	}
	return out
}

// window lists what decides which rows a window function sees, and in which order.
func (r *resolver) window(w *sqlparser.WindowDef, at *scope) []use {
	var out []use
	for _, e := range w.PartitionBy {
		for _, u := range r.uses(e, useWindow, at) {
			out = addUse(out, u)
		}
	}
	for _, o := range w.OrderBy {
		for _, u := range r.uses(o.Expr, useWindow, at) {
			out = addUse(out, u)
		}
	}
	return out
}

// overNamed reports whether an expression calls a function over the window of that name.
func overNamed(e sqlparser.Expr, name string) bool {
	found := false
	// The visitor never fails.
	_ = sqlparser.Walk(func(n sqlparser.SQLNode) (bool, error) {
		if f, ok := n.(*sqlparser.FuncExpr); ok && f.Over != nil && f.Over.NameRef.Lowered() == name {
			found = true
		}
		return !found, nil
	}, e)
	return found
}

// literals are the arguments of a call as texts, "" for those that are no literals.
func literals(f *sqlparser.FuncExpr) []string {
	out := make([]string, len(f.Exprs))
	for i, e := range f.Exprs {
		if a, ok := e.(*sqlparser.AliasedExpr); ok {
			if v, ok := a.Expr.(*sqlparser.SQLVal); ok {
				out[i] = string(v.Val)
			}
		}
	}
	return out
}

// column finds what a name in an expression stands for.
func (s *scope) column(c *sqlparser.ColName) []use {
	return s.find(c.Qualifier.Name.String(), c.Name.String())
}

// find looks a column up, from the inside out. A qualifier that is no relation may be a column with fields.
func (s *scope) find(qualifier, name string) []use {
	for at := s; at != nil; at = at.outer {
		if uses, ok := at.here(qualifier, name); ok {
			return uses
		}
	}
	if qualifier != "" && !strings.EqualFold(qualifier, metadata) {
		return as(s.find("", qualifier), useTransformation)
	}
	return nil
}

// text returns how a column of a subquery behind FROM is made, "" for others.
func (s *scope) text(c *sqlparser.ColName) string {
	for _, rel := range s.relations {
		if q := c.Qualifier.Name.String(); q != "" && !strings.EqualFold(q, rel.alias) {
			continue
		}
		for _, col := range rel.columns {
			if strings.EqualFold(col.name, c.Name.String()) {
				return col.text
			}
		}
	}
	return ""
}

func (s *scope) known(name string) bool {
	for _, rel := range s.relations {
		if _, ok := rel.named(name); ok {
			return true
		}
	}
	return false
}

func (s *scope) here(qualifier, name string) ([]use, bool) {
	file := strings.EqualFold(qualifier, metadata)
	for _, rel := range s.relations {
		if qualifier != "" && !strings.EqualFold(qualifier, rel.alias) || qualifier == "" && rel.merged[strings.ToLower(name)] {
			continue
		}
		if uses, ok := rel.named(name); ok {
			return uses, true
		}
	}
	for _, rel := range s.relations {
		if rel.open == "" || qualifier != "" && !file && !strings.EqualFold(qualifier, rel.alias) {
			continue
		}
		if file {
			name = metadata + "." + name
		}
		return []use{{from: Source{rel.open, name}, kind: useIdentity}}, true
	}
	return nil, false
}

func (rel *relation) named(name string) ([]use, bool) {
	for _, c := range rel.columns {
		if c.star == "" && strings.EqualFold(c.name, name) {
			return c.uses, true
		}
	}
	return nil, false
}
