package queries

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/dolthub/vitess/go/vt/sqlparser"

	"smelt/queries/ddl"
	"smelt/tables"
)

// Planned is what loading a pipeline would do to one table, view or flow.
type Planned struct {
	Line            int    // of the statement, counted from 1; 0 for what the script does not name
	Database, Table string // of a flow that is added: its table
	Flow            string // name of a flow that is added; "" for none
	Kind            string // streaming_table, materialized_view, view, flow or statement
	Action          string // create, change, rebuild, run or nothing
	Reason          string // why so, and what becomes of the rows
	Columns         []string
	Sources         []string
	Strategy        string // of a materialized view: how changes of its sources are followed, merge or recompute; "" for others
	Because         string // why so; what a merge does
}

// Plan says what Load of a script would do, in the order in which it would, and does nothing of it. What Load refuses Plan
// refuses, too. Tables of CREATE TABLE statements that are not there yet are bound by what the statements say; so are models that learn, and no others.
func (g *Graph) Plan(ctx context.Context, script, database, base string) ([]Planned, error) {
	g.define.Lock()
	defer g.define.Unlock()
	members, plain, err := g.members(script, database, base)
	if err != nil {
		return nil, err
	}
	added, err := g.edges(members)
	if err != nil {
		return nil, err
	}
	if err := g.checkCycle(added); err != nil {
		return nil, err
	}
	if err := g.checkMembers(members); err != nil {
		return nil, err
	}
	var plan []Planned
	overlay := map[string]tables.Relation{}
	for _, p := range plain {
		one, err := g.planPlain(ctx, p, overlay)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", p.line, err)
		}
		plan = append(plan, one)
	}
	members = ordered(members)
	ctx = g.promising(ctx, plain)
	schemas, err := g.bindOver(ctx, members, overlay)
	if err != nil {
		return nil, err
	}
	rebuilt := map[string]bool{}
	for _, m := range members {
		one, err := g.planOne(m, rebuilt)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", m.line, err)
		}
		one.Columns = schemas[m.name].Names()
		if m.flow != nil && m.flow.create.Kind == ddl.MaterializedView {
			one.Strategy, one.Because = m.flow.strategyOver(ctx, overlay)
		}
		plan = append(plan, one)
	}
	return append(plan, g.planRest(members, rebuilt)...), nil
}

// planPlain is Plan for a statement that another part of the program runs. A table that it would make is put into overlay.
func (g *Graph) planPlain(ctx context.Context, p member, overlay map[string]tables.Relation) (Planned, error) {
	one := Planned{Line: p.line, Kind: "statement", Action: "run", Reason: strings.Join(strings.Fields(firstLine(p.view)), " ")}
	parsed, err := parseSQL(p.view)
	if err != nil {
		return one, nil // one of ours, which checks itself when it runs
	}
	s, ok := parsed.(*sqlparser.DDL)
	if !ok || s.TableSpec == nil {
		return one, nil
	}
	one.Database, one.Table = strings.ToLower(s.Table.DbQualifier.String()), s.Table.Name.String()
	if one.Database == "" {
		one.Database = p.db
	}
	if _, err := g.cfg.Store.Table(one.Database, one.Table); err == nil {
		one.Action, one.Reason = "nothing", "it exists"
		return one, nil
	}
	one.Action = "create"
	var casts []string
	for _, c := range s.TableSpec.Columns {
		of := "CHAR"
		switch strings.ToUpper(c.Type.Type) {
		case "INT", "INTEGER", "BIGINT", "SMALLINT", "TINYINT", "MEDIUMINT":
			of = "SIGNED"
		case "DATE", "DATETIME", "DOUBLE", "FLOAT", "JSON":
			of = strings.ToUpper(c.Type.Type)
		case "TIMESTAMP":
			of = "DATETIME"
		}
		casts = append(casts, fmt.Sprintf("CAST(NULL AS %s) AS `%s`", of, c.Name.String()))
	}
	schema, err := g.cfg.Describe(ctx, Query{Database: p.db, SQL: "SELECT " + strings.Join(casts, ", ")})
	if err != nil {
		return one, err
	}
	one.Columns = schema.Names()
	overlay[key(one.Database, one.Table)] = tables.FromBatches(schema)
	return one, nil
}

// planOne is Plan for one member. rebuilt holds the tables that begin anew, and gets this one if it does.
func (g *Graph) planOne(m member, rebuilt map[string]bool) (Planned, error) {
	database, table := cutName(m.name)
	one := Planned{Line: m.line, Database: database, Table: table}
	for _, r := range m.reads {
		one.Sources = append(one.Sources, r.String())
	}
	if m.flow == nil {
		one.Kind = "view"
		if one.Action, one.Reason = "create", "it is new"; g.sameView(m) {
			one.Action, one.Reason = "nothing", "it exists as it is"
		} else if _, err := g.cfg.Store.View(database, table); err == nil {
			one.Action, one.Reason = "change", "its SELECT has changed"
		}
		return one, nil
	}
	f := m.flow
	one.Table, one.Flow, one.Kind = f.ref.table, f.name, kindName(f.create.Kind)
	for _, s := range f.create.Sources {
		if s.Files != nil {
			one.Sources = append(one.Sources, s.Files.Path)
		}
	}
	var err error
	if m.added != nil {
		one.Kind = "flow"
		one.Action, one.Reason, err = g.planFlow(f, m.added)
	} else {
		one.Action, one.Reason, err = g.planTable(f)
	}
	if err == nil && one.Action != "create" && one.Action != "rebuild" {
		if source := f.streamsFrom(rebuilt); source != "" {
			one.Action, one.Reason = "rebuild", fmt.Sprintf("its source %s is rebuilt from the start", source)
			err = f.mayReset()
		}
	}
	if one.Action == "rebuild" {
		rebuilt[m.name] = true
	}
	return one, err
}

// strategyOver says how a view would be maintained that is not made yet. known holds the tables that are not made either.
func (f *flow) strategyOver(ctx context.Context, known map[string]tables.Relation) (strategy, reason string) {
	for _, r := range f.reads() {
		if rel, ok := known[r.String()]; ok && len(rel.Schema()) == 0 {
			return "", "the columns of " + r.String() + " are not known yet"
		}
	}
	p := f.planOf(ctx, known)
	if p.plan == nil {
		return strategyRecompute, p.reason
	}
	for _, o := range p.plan.Occurrences {
		if o.Fixed != "" {
			return strategyMerge, fmt.Sprintf("%s; when %s.%s changes it is computed anew: %s", p.reason, o.Database, o.Table, o.Fixed)
		}
	}
	return strategyMerge, p.reason
}

func (g *Graph) planFlow(f *flow, s *ddl.Flow) (action, reason string, err error) {
	same, err := g.sameFlow(f, s)
	switch {
	case err != nil:
		return "", "", err
	case same:
		return "nothing", "it exists as it is", nil
	case g.findFlow(f.ref.database, f.name) != nil:
		return "change", "its statement has changed: it goes on where it was, and the rows that it wrote stay", nil
	default:
		return "create", "it is new", nil
	}
}

func (g *Graph) planTable(f *flow) (action, reason string, err error) {
	same, err := g.unchanged(f)
	old := g.find(f.ref.database, f.ref.table)
	switch {
	case err != nil:
		return "", "", err
	case same:
		return "nothing", "it exists as it is", nil
	case old == nil:
		return "create", "it is new", nil
	case sameQuery(old.create, f.create) && strings.EqualFold(old.database, f.database):
		return "change", "its rules, comment or schedule have changed: they apply from now on, and the rows stay", nil
	case f.create.Kind == ddl.MaterializedView:
		return "rebuild", "its SELECT has changed: the old rows stay until the new ones replace them", nil
	default:
		return "rebuild", "its SELECT has changed: it is emptied and filled from the start", f.mayReset()
	}
}

// streamsFrom names a table among some that the flow streams from, "" if there is none.
func (f *flow) streamsFrom(names map[string]bool) string {
	if f.create.Kind != ddl.StreamingTable {
		return ""
	}
	for _, s := range f.create.Sources {
		if s.Files == nil && names[f.streamed(s).String()] {
			return f.streamed(s).String()
		}
	}
	return ""
}

// planRest lists the tables beside the script that begin anew because a source does.
func (g *Graph) planRest(members []member, rebuilt map[string]bool) []Planned {
	var plan []Planned
	for _, m := range ordered(g.network()) {
		if m.flow == nil || rebuilt[m.name] || slices.ContainsFunc(members, func(o member) bool { return o.flow != nil && o.flow.key() == m.flow.key() }) {
			continue
		}
		if source := m.flow.streamsFrom(rebuilt); source != "" {
			rebuilt[m.name] = true
			plan = append(plan, Planned{Database: m.flow.ref.database, Table: m.flow.ref.table, Kind: kindName(m.flow.create.Kind), Action: "rebuild",
				Reason: fmt.Sprintf("its source %s is rebuilt from the start", source), Sources: []string{source}})
		}
	}
	return plan
}
