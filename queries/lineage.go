package queries

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/dolthub/vitess/go/vt/sqlparser"

	"smelt/queries/ddl"
	"smelt/queries/lineage"
	"smelt/tables"
)

// What an end of a lineage.Link is, beside the kinds of flows.
const (
	linkPath  = "path"
	linkTable = "table"
	linkView  = "view"
	linkModel = "model"
)

// Lineage lists what every flow's table and every view is made of: first the tables, directories and models as such, then
// column by column. A flow whose definition cannot run has none.
func (g *Graph) Lineage() []lineage.Link {
	var links []lineage.Link
	for _, m := range g.network() {
		database, table := cutName(m.name)
		if m.flow != nil {
			links = append(links, m.flow.lineage()...)
			continue
		}
		v, err := g.cfg.Store.View(database, table)
		if err != nil {
			continue // dropped meanwhile
		}
		if s, err := shapeOf(v.Query, database); err == nil {
			l := lineage.Of(s.statement, nil, nil, g.catalog(database, nil))
			links = append(links, g.links(l, lineage.Link{TargetType: linkView, Target: m.name}, nil)...)
		}
	}
	return links
}

func (f *flow) lineage() []lineage.Link {
	if f.shape.statement == nil {
		return nil
	}
	var target []string
	if t, err := f.table(); err == nil {
		target = shownColumns(t.Snapshot().Schema())
	}
	catalog := f.g.catalog(f.database, f)
	catalog.Model = f.madeBy()
	l := lineage.Of(f.shape.statement, target, rulesOf(f.own().create.Expectations), catalog)
	if f.create.Changes != nil {
		l = changesLinks(l, f.create.Changes, target)
	}
	to := lineage.Link{TargetType: kindName(f.create.Kind), Target: f.ref.String(), Flow: f.title()}
	return f.g.links(l, to, f)
}

// madeBy tells which version of a model made the rows that the table has; what it has none of yet means what it means now.
func (f *flow) madeBy() func(function string, literals []string) (lineage.Model, bool) {
	if f.g.cfg.Model == nil || f.g.cfg.Refers == nil {
		return f.g.cfg.Model
	}
	made := map[string]lineage.Model{}
	if t, err := f.table(); err == nil {
		if known, err := f.madeWith(t.Snapshot()); err == nil {
			made = known
		}
	}
	return func(function string, literals []string) (lineage.Model, bool) {
		if name, ok := f.g.cfg.Refers(function, literals); ok && made[name].Digest != "" {
			return made[name], true
		}
		return f.g.cfg.Model(function, literals)
	}
}

// shownColumns are the columns that SELECT * shows.
func shownColumns(schema tables.Schema) []string {
	return slices.DeleteFunc(schema.Names(), func(name string) bool { return strings.HasPrefix(strings.ToLower(name), hiddenPrefix) })
}

// title is the name of the flow: that of its table for the table's own.
func (f *flow) title() string {
	if f.name != "" {
		return f.name
	}
	return f.ref.table
}

// rulesOf parses expectations; one that is no expression of the parser's is left out.
func rulesOf(expectations []ddl.Expectation) []lineage.Rule {
	var rules []lineage.Rule
	for _, e := range expectations {
		expr := e.Expr
		if e.Unique != nil {
			expr = "COALESCE(`" + strings.Join(e.Unique, "`, `") + "`)" // what it looks at
		}
		parsed, err := parseSQL("SELECT 1 FROM dual WHERE " + expr)
		if err != nil {
			continue
		}
		if s, ok := parsed.(*sqlparser.Select); ok && s.Where != nil {
			rules = append(rules, lineage.Rule{Expr: s.Where.Expr, Text: "CONSTRAINT " + e.Name + " " + e.Rule() + ": " + e.Action.String()})
		}
	}
	return rules
}

// catalog is what the SELECT of a flow, or of a view for nil, is read with.
func (g *Graph) catalog(database string, f *flow) lineage.Catalog {
	return lineage.Catalog{Database: database, Model: g.cfg.Model, Columns: func(relation string) ([]string, bool) {
		at := g.behind(relation, f)
		if at.table == "" {
			return nil, false
		}
		if t, err := g.cfg.Store.Table(at.database, at.table); err == nil {
			names := shownColumns(t.Snapshot().Schema())
			return names, len(names) > 0
		}
		v, err := g.cfg.Store.View(at.database, at.table)
		if err != nil {
			return nil, false
		}
		s, err := shapeOf(v.Query, at.database)
		if err != nil {
			return nil, false
		}
		return lineage.Columns(s.statement, g.catalog(at.database, nil))
	}}
}

// behind returns the table or view that a relation of a SELECT stands for, nothing for a watched directory.
func (g *Graph) behind(relation string, f *flow) reference {
	if !placeholder(relation) {
		database, table := cutName(relation)
		return reference{database, table}
	}
	if f != nil {
		if s := f.sourceNamed(relation); s.Table != "" {
			return f.streamed(s)
		}
	}
	return reference{}
}

// sourceNamed finds a STREAM source by its placeholder.
func (f *flow) sourceNamed(placeholder string) ddl.Source {
	i := slices.IndexFunc(f.create.Sources, func(s ddl.Source) bool { return strings.EqualFold(s.Placeholder, placeholder) })
	if i < 0 {
		return ddl.Source{}
	}
	return f.create.Sources[i]
}

// links gives what was read from a SELECT the names that everybody knows. to is the end of all of them.
func (g *Graph) links(l lineage.Lineage, to lineage.Link, f *flow) []lineage.Link {
	var whole, columns []lineage.Link
	add := func(link lineage.Link) {
		if !slices.Contains(whole, link) {
			whole = append(whole, link)
		}
	}
	from := func(relation string) lineage.Link {
		link := to
		if r := g.behind(relation, f); r.table != "" {
			link.SourceType, link.Source = g.typeOf(r), r.String()
		} else if f != nil {
			link.SourceType, link.Source = linkPath, f.directory(f.sourceNamed(relation))
		}
		return link
	}
	for _, r := range l.Relations {
		add(from(r))
	}
	for _, e := range l.Edges {
		link := to
		if e.Model != nil {
			link.SourceType, link.Source, link.ModelVersion, link.ModelDigest = linkModel, e.Model.Name, e.Model.Version, e.Model.Digest
			add(link)
		} else {
			link = from(e.From.Relation)
			link.SourceColumn = e.From.Column
		}
		link.TargetColumn, link.Use, link.Expression = e.To, e.Use, e.Expression
		columns = append(columns, link)
	}
	return append(whole, columns...)
}

// typeOf is what a table or view is called in lineage.
func (g *Graph) typeOf(r reference) string {
	if f := g.find(r.database, r.table); f != nil {
		return kindName(f.create.Kind)
	}
	if _, err := g.cfg.Store.View(r.database, r.table); err == nil {
		return linkView
	}
	return linkTable
}

// directory is the path of a watched directory, as its flow looks it up.
func (f *flow) directory(s ddl.Source) string {
	if s.Files == nil {
		return ""
	}
	if filepath.IsAbs(s.Files.Path) {
		return filepath.Clean(s.Files.Path)
	}
	return filepath.Join(f.base, s.Files.Path)
}
