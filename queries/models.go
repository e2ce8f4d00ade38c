package queries

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/dolthub/vitess/go/vt/sqlparser"

	"smelt/queries/ddl"
	"smelt/queries/lineage"
	"smelt/tables"
)

// propertyModels says which version of each model made the rows that a table has: JSON of madeBy by flow ("" for the
// table's own) and by the name under which the flow calls the model.
const propertyModels = "smelt.models"

// madeBy is one model that a table's rows were made with.
type madeBy struct {
	Model   string   `json:"model"`
	Version string   `json:"version"`
	Digest  string   `json:"digest"`
	Columns []string `json:"columns,omitempty"` // that it wrote; none where it decided about rows, or nobody can tell
}

// modelCalls is which models a SELECT asks, by the names under which it calls them.
type modelCalls struct {
	columns map[string][]string // name -> columns of the result that it is computed for, lower case
	rows    map[string]bool     // name -> it decides which rows there are, or nobody can tell for which columns it is
	rules   map[string]bool     // name -> a rule asks it
}

// names lists all names, sorted.
func (c *modelCalls) names() []string {
	var out []string
	for name := range c.columns {
		out = append(out, name)
	}
	for name := range c.rows {
		out = append(out, name)
	}
	for name := range c.rules {
		out = append(out, name)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// modelCalls finds the models that the flow asks: in its SELECT, in its rules, and in the views that it reads.
func (f *flow) modelCalls() *modelCalls {
	c := &modelCalls{columns: map[string][]string{}, rows: map[string]bool{}, rules: map[string]bool{}}
	if f.g.cfg.Refers == nil || f.shape.statement == nil {
		return c
	}
	f.g.columnCalls(c, f.shape.statement)
	for _, e := range f.create.Expectations {
		if parsed, err := parseSQL("SELECT " + e.Expr); err == nil {
			for _, name := range f.g.callsIn(parsed) {
				c.rules[name] = true
			}
		}
	}
	f.g.viewCalls(c, f.shape.reads, nil)
	return c
}

// columnCalls tells the columns of the outermost SELECT apart; what stands anywhere else decides rows.
func (g *Graph) columnCalls(c *modelCalls, statement sqlparser.SelectStatement) {
	s, ok := statement.(*sqlparser.Select)
	if !ok {
		g.rowCalls(c, statement)
		return
	}
	for _, e := range s.SelectExprs {
		one, ok := e.(*sqlparser.AliasedExpr)
		if !ok {
			g.rowCalls(c, e)
			continue
		}
		for _, name := range g.callsIn(one.Expr) {
			c.columns[name] = append(c.columns[name], strings.ToLower(columnName(one)))
		}
	}
	rest := *s
	rest.SelectExprs = nil
	g.rowCalls(c, &rest)
}

// columnName is how the result calls an expression of the SELECT.
func columnName(e *sqlparser.AliasedExpr) string {
	if !e.As.IsEmpty() {
		return e.As.String()
	}
	if c, ok := e.Expr.(*sqlparser.ColName); ok {
		return c.Name.String()
	}
	if e.InputExpression != "" {
		return e.InputExpression
	}
	return sqlparser.String(e.Expr)
}

func (g *Graph) rowCalls(c *modelCalls, n sqlparser.SQLNode) {
	for _, name := range g.callsIn(n) {
		c.rows[name] = true
	}
}

// textCalls is rowCalls of a text; one that does not parse calls nothing, because it cannot run.
func (g *Graph) textCalls(c *modelCalls, query string) {
	if parsed, err := parseSQL(query); err == nil {
		g.rowCalls(c, parsed)
	}
}

// viewCalls looks through the views that are read.
func (g *Graph) viewCalls(c *modelCalls, reads, via []reference) {
	for _, r := range reads {
		view, err := g.cfg.Store.View(r.database, r.table)
		if err != nil || slices.Contains(via, r) {
			continue
		}
		g.textCalls(c, view.Query)
		if s, err := shapeOf(view.Query, r.database); err == nil {
			g.viewCalls(c, s.reads, append(slices.Clone(via), r))
		}
	}
}

// callsIn lists the models that the functions in a part of a statement ask, each once.
func (g *Graph) callsIn(n sqlparser.SQLNode) []string {
	var names []string
	// The visitor never fails.
	_ = sqlparser.Walk(func(n sqlparser.SQLNode) (bool, error) {
		call, ok := n.(*sqlparser.FuncExpr)
		if !ok {
			return true, nil
		}
		if name, ok := g.cfg.Refers(call.Name.Lowered(), constantsOf(call)); ok && !slices.Contains(names, name) {
			names = append(names, name)
		}
		return true, nil
	}, n)
	return names
}

// constantsOf returns the arguments of a call that are texts, "" for the others.
func constantsOf(call *sqlparser.FuncExpr) []string {
	out := make([]string, len(call.Exprs))
	for i, e := range call.Exprs {
		if e, ok := e.(*sqlparser.AliasedExpr); ok {
			if v, ok := e.Expr.(*sqlparser.SQLVal); ok && v.Type == sqlparser.StrVal {
				out[i] = string(v.Val)
			}
		}
	}
	return out
}

// ModelsChanged has the flows that ask models look whether one means another version now.
func (g *Graph) ModelsChanged() {
	g.mu.Lock()
	flows := slices.Collect(maps.Values(g.flows))
	g.mu.Unlock()
	for _, f := range flows {
		if len(f.modelCalls().names()) > 0 {
			f.signal()
		}
	}
}

// asked returns the versions that the flow's models mean now, by the names under which it calls them.
func (f *flow) asked() (map[string]lineage.Model, error) {
	names := f.modelCalls().names()
	if len(names) == 0 || f.g.cfg.Version == nil {
		return nil, nil
	}
	versions := map[string]lineage.Model{}
	for _, name := range names {
		m, err := f.g.cfg.Version(name)
		if err != nil {
			return nil, fmt.Errorf("find model %s: %w", name, err)
		}
		versions[name] = m
	}
	return versions, nil
}

// unlearned names a model that the batch asks and that has learned nothing yet, "" if there is none.
func (f *flow) unlearned() string {
	for _, name := range slices.Sorted(maps.Keys(f.versions)) {
		if f.versions[name].Digest == "" {
			return "model " + f.versions[name].Name + " has learned nothing yet"
		}
	}
	return ""
}

// unsteadyModel names a model of the flow that may say something else when it is asked again, "" for none. What such a model
// said of rows that go cannot be known, so its views are computed anew; what it said before comes from the ledger.
func (f *flow) unsteadyModel() string {
	if f.g.cfg.Version == nil {
		return ""
	}
	for _, name := range f.modelCalls().names() {
		if m, err := f.g.cfg.Version(name); err == nil && m.Unsteady {
			return m.Name
		}
	}
	return ""
}

// ask runs the flow's SELECT, with what its rules say of each row, over the overlay.
func (f *flow) ask(ctx context.Context, c *ddl.Create, overlay map[string]tables.Relation, p *Progress) (Result, error) {
	return f.g.cfg.Query(ctx, Query{Database: f.database, SQL: withExpectations(c), Tables: overlay, Models: f.versions, LookUpOnly: p.lookUpOnly, Count: func(scored, known, truncated, failed int) {
		atomic.AddInt64(&p.Scored, int64(scored))
		atomic.AddInt64(&p.Known, int64(known))
		atomic.AddInt64(&p.Truncated, int64(truncated))
		atomic.AddInt64(&p.Failed, int64(failed))
	}})
}

// modelsOf reads propertyModels.
func modelsOf(now *tables.Snapshot) (map[string]map[string]madeBy, error) {
	all := map[string]map[string]madeBy{}
	if text := now.Definition().Properties[propertyModels]; text != "" {
		if err := json.Unmarshal([]byte(text), &all); err != nil {
			return nil, fmt.Errorf("read property %s: %w", propertyModels, err)
		}
	}
	return all, nil
}

// movedModels returns the names of the models that mean another version now than when the table's rows were made, and
// what moved in words. A table that does not say has nothing to compare with.
func (f *flow) movedModels(now *tables.Snapshot, versions map[string]lineage.Model) (moved []string, why string, err error) {
	all, err := modelsOf(now)
	if err != nil {
		return nil, "", err
	}
	for _, name := range slices.Sorted(maps.Keys(versions)) {
		was, is := all[f.name][name], versions[name]
		if was.Digest == "" || was.Digest == is.Digest {
			continue
		}
		moved = append(moved, name)
		if why != "" {
			why += ", "
		}
		why += fmt.Sprintf("model %s was version %s and is version %s", is.Name, was.Version, is.Version)
	}
	return moved, why, nil
}

// withModels returns the definition with the versions that make the flow's rows, nil where it has them already; next is the
// one that the commit has for other reasons, or nil. anew says that the commit leaves no row of an older version; else what
// is there stays said.
func (f *flow) withModels(now *tables.Snapshot, next *tables.Definition, anew bool) (*tables.Definition, error) {
	all, err := modelsOf(now)
	if err != nil || len(all[f.name]) == 0 && len(f.versions) == 0 {
		return next, err
	}
	calls, before := f.modelCalls(), all[f.name]
	delete(all, f.name)
	for name, v := range f.versions {
		if was := before[name]; !anew && was.Digest != "" {
			v = lineage.Model{Name: was.Model, Version: was.Version, Digest: was.Digest}
		}
		if all[f.name] == nil {
			all[f.name] = map[string]madeBy{}
		}
		made := madeBy{Model: v.Name, Version: v.Version, Digest: v.Digest}
		if !calls.rows[name] {
			made.Columns = calls.columns[name]
		}
		all[f.name][name] = made
	}
	text, err := json.Marshal(all) // with sorted keys
	if err != nil {
		return nil, fmt.Errorf("encode property %s: %w", propertyModels, err)
	}
	if next == nil {
		d := now.Definition()
		if d.Properties[propertyModels] == string(text) {
			return nil, nil
		}
		next = &d
	}
	next.Properties = maps.Clone(next.Properties)
	next.Properties[propertyModels] = string(text)
	return next, nil
}

// carriedModels is propertyModels for another definition of the table; a new generation begins without.
func (f *flow) carriedModels(next string) (string, error) {
	t, err := f.table()
	if errors.Is(err, tables.ErrNotFound) {
		return "", nil // it is being made
	}
	if err != nil || next != generation(t.Snapshot()) {
		return "", err
	}
	return t.Snapshot().Definition().Properties[propertyModels], nil
}

// madeWith returns the versions that made the flow's rows, by the names under which it calls them.
func (f *flow) madeWith(now *tables.Snapshot) (map[string]lineage.Model, error) {
	all, err := modelsOf(now)
	if err != nil {
		return nil, err
	}
	versions := map[string]lineage.Model{}
	for name, m := range all[f.name] {
		versions[name] = lineage.Model{Name: m.Model, Version: m.Version, Digest: m.Digest}
	}
	return versions, nil
}

// staleness says which model has moved since the table's rows were made, "" if none has.
func (f *flow) staleness() string {
	t, err := f.table()
	if err != nil {
		return ""
	}
	versions, err := f.asked()
	if err != nil {
		return ""
	}
	_, why, err := f.movedModels(t.Snapshot(), versions)
	if err != nil {
		return ""
	}
	return why
}
