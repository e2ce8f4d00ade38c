package queries

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/dolthub/vitess/go/vt/sqlparser"

	"smelt/queries/ddl"
	"smelt/queries/lexer"
	"smelt/tables"
)

// member is one statement of a pipeline that makes something.
type member struct {
	name  string // database.table, lower case; of a flow that is added to a table: that table's
	line  int
	flow  *flow        // nil for a view
	added *ddl.Flow    // the statement, of a flow that is added to a table
	view  string       // the CREATE VIEW statement
	model *ddl.OnModel // the statement, of a model that learns from a SELECT
	query string       // SELECT of the view
	db    string       // current database of the statement
	reads []reference
}

// Load makes the tables of a pipeline: CREATE statements in any order, with views and CREATE DATABASE, CREATE TABLE and
// USE between them. Everything is parsed, ordered and bound before anything is made, so that a pipeline with a cycle,
// an unknown table or a SELECT that does not compile makes nothing. Plain CREATE DATABASE and CREATE TABLE statements
// run first: the SELECTs need them to bind.
func (g *Graph) Load(ctx context.Context, script, database, base string) error {
	g.define.Lock()
	defer g.define.Unlock()
	members, plain, err := g.members(script, database, base)
	if err != nil {
		return err
	}
	added, err := g.edges(members)
	if err != nil {
		return err
	}
	if err := g.checkCycle(added); err != nil {
		return err
	}
	if err := g.checkMembers(members); err != nil {
		return err
	}
	for _, p := range plain {
		if p.model != nil {
			continue
		}
		if err := g.cfg.Exec(ctx, p.db, p.view); err != nil {
			return fmt.Errorf("line %d: %w", p.line, err)
		}
	}
	members = ordered(members)
	overlay := map[string]tables.Relation{}
	schemas, err := g.bindOver(g.promising(ctx, plain), members, overlay)
	if err != nil {
		return err
	}
	undo, err := g.declare(ctx, plain, overlay)
	if err == nil {
		err = g.make(ctx, members, schemas)
	}
	if err != nil {
		return errors.Join(err, undo())
	}
	return nil
}

// edges returns what each table and view of the script will read. A name that is made twice is an error.
func (g *Graph) edges(members []member) (map[string][]reference, error) {
	made := map[string]bool{}
	edges := map[string][]reference{}
	for _, m := range members {
		name := m.name
		if m.flow != nil {
			name = strings.ToLower(m.flow.key())
		}
		if made[name] {
			return nil, fmt.Errorf("line %d: %s is made twice; flows get a name by CREATE FLOW", m.line, name)
		}
		made[name] = true
		edges[m.name] = append(edges[m.name], m.reads...)
	}
	// A table goes on being filled by flows that were added before and that the script does not tell of.
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, f := range g.flows {
		name := strings.ToLower(f.ref.String())
		if _, ok := edges[name]; ok && (f.name != "" || !made[name]) && !made[f.key()] {
			edges[name] = append(edges[name], f.reads()...)
		}
	}
	return edges, nil
}

// members parses the statements of a script. plain are those that make neither a flow nor a view.
func (g *Graph) members(script, database, base string) (members, plain []member, err error) {
	pieces, err := read(script)
	if err != nil {
		return nil, nil, err
	}
	var later []func() error // flows are added to tables that may be made further down
	made := map[string]*flow{}
	for _, p := range pieces {
		statement, err := parsePiece(p)
		if err != nil {
			return nil, nil, err
		}
		if c, ok := statement.(*ddl.Create); ok {
			f, err := g.prepare(c, database, base)
			if err != nil {
				return nil, nil, fmt.Errorf("line %d: %w", p.Line, p.In(err))
			}
			made[f.key()] = f
			members = append(members, member{name: strings.ToLower(f.ref.String()), line: p.Line, flow: f, db: database, reads: f.reads()})
			continue
		}
		if m, ok := statement.(*ddl.OnModel); ok && m.Verb == "CREATE" && (m.OrReplace || m.IfNotExists) {
			plain = append(plain, modelMember(p.Line, m, base, database))
			continue
		}
		if s, ok := statement.(*ddl.Flow); ok {
			at, db := len(members), database
			members = append(members, member{line: p.Line, added: s, db: db})
			later = append(later, func() error {
				f, err := g.prepareFlow(s, db, base, made)
				if err != nil {
					return fmt.Errorf("line %d: %w", p.Line, err)
				}
				members[at].name, members[at].flow, members[at].reads = strings.ToLower(f.ref.String()), f, f.reads()
				return nil
			})
			continue
		}
		if statement != nil {
			return nil, nil, fmt.Errorf("line %d: %w: a pipeline holds CREATE statements only", p.Line, ErrUnsupported)
		}
		if name, query, ok := viewOf(p.Text, database); ok {
			s, err := shapeOf(query, name.database)
			if err != nil {
				return nil, nil, fmt.Errorf("line %d: %w", p.Line, err)
			}
			members = append(members, member{name: name.String(), line: p.Line, view: p.Text, query: query, db: database, reads: s.reads})
			continue
		}
		use, err := plainStatement(p)
		if err != nil {
			return nil, nil, err
		}
		if use != "" {
			database = use
			continue
		}
		plain = append(plain, member{line: p.Line, view: p.Text, db: database})
	}
	for _, prepare := range later {
		if err := prepare(); err != nil {
			return nil, nil, err
		}
	}
	return members, plain, nil
}

// parsePiece parses a statement of a script; errors name the place in the script.
func parsePiece(p lexer.Piece) (ddl.Statement, error) {
	statement, err := ddl.Parse(p.Text)
	return statement, p.In(err)
}

// plainStatement lets USE, CREATE DATABASE and CREATE TABLE pass; it returns the database of a USE. Everything else is
// refused: a pipeline is loaded at each start, and an INSERT would run each time.
func plainStatement(p lexer.Piece) (use string, err error) {
	parsed, err := parseSQL(p.Text)
	if err != nil {
		return "", fmt.Errorf("line %d: %w", p.Line, err)
	}
	switch s := parsed.(type) {
	case *sqlparser.Use:
		return s.DBName.String(), nil
	case *sqlparser.DBDDL:
		if s.Action == sqlparser.CreateStr {
			return "", nil
		}
	case *sqlparser.DDL:
		if s.Action == sqlparser.CreateStr && s.ViewSpec == nil && s.IfNotExists {
			return "", nil
		}
	}
	return "", fmt.Errorf("line %d: %w: a pipeline is loaded at each start; it holds CREATE statements of streaming tables, materialized views and views, CREATE ... IF NOT EXISTS and USE", p.Line, ErrUnsupported)
}

// ordered sorts members so that each comes after those it reads, and a table right before the flows that are added to it.
// There is no cycle.
func ordered(members []member) []member {
	byName := map[string][]member{}
	for _, m := range members {
		byName[m.name] = append(byName[m.name], m)
	}
	var out []member
	done := map[string]bool{}
	var visit func(name string)
	visit = func(name string) {
		if done[name] {
			return
		}
		done[name] = true
		group := byName[name]
		for _, m := range group {
			for _, r := range m.reads {
				visit(ownerOf(r.String()))
			}
		}
		for _, added := range []bool{false, true} {
			for _, m := range group {
				if (m.flow != nil && m.flow.name != "") == added {
					out = append(out, m)
				}
			}
		}
	}
	for _, m := range members {
		visit(m.name)
	}
	return out
}

// bindOver finds the columns of every member, each over those before it, without making anything. overlay holds tables that
// are not there either; the members are added to them.
func (g *Graph) bindOver(ctx context.Context, members []member, overlay map[string]tables.Relation) (map[string]tables.Schema, error) {
	schemas := map[string]tables.Schema{}
	for _, m := range members {
		var schema tables.Schema
		var err error
		if m.flow == nil {
			schema, err = g.describeView(ctx, m, overlay)
		} else {
			schema, err = g.describeFlow(ctx, m, overlay)
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %s: %w", m.line, m.name, err)
		}
		if m.added != nil {
			if schema, err = g.boundAdded(m, members, schemas[m.name], schema); err != nil {
				return nil, fmt.Errorf("line %d: %w", m.line, err)
			}
		}
		schemas[m.name] = schema
		overlay[m.name] = tables.FromBatches(schema)
		if m.flow == nil {
			overlay[m.name] = unmadeView{overlay[m.name], m.query}
		}
		if m.flow != nil && quarantines(m.flow.create.Expectations) {
			overlay[m.name+QuarantineSuffix] = tables.FromBatches(quarantineSchema(schema))
		}
	}
	return schemas, nil
}

// unmadeView stands for an ordinary view of a script that is not run yet. What reads it is maintained by what its SELECT reads.
type unmadeView struct {
	tables.Relation
	query string
}

// describeView binds a view; over something without columns it has none yet either.
func (g *Graph) describeView(ctx context.Context, m member, overlay map[string]tables.Relation) (tables.Schema, error) {
	for _, r := range m.reads {
		if known, ok := overlay[r.String()]; ok && len(known.Schema()) == 0 {
			return nil, nil
		}
	}
	return g.cfg.Describe(ctx, Query{Database: m.db, SQL: m.query, Tables: overlay})
}

// boundAdded returns the columns of a table with those of a flow that is added to it.
func (g *Graph) boundAdded(m member, members []member, has, adds tables.Schema) (tables.Schema, error) {
	others := []*flow{}
	for _, other := range members {
		if other.flow != nil && other.name == m.name {
			others = append(others, other.flow)
		}
	}
	if own := g.find(m.flow.ref.database, m.flow.ref.table); own != nil {
		for _, f := range g.flowsOf(own) {
			if !slices.ContainsFunc(others, func(o *flow) bool { return o.key() == f.key() }) {
				others = append(others, f)
			}
		}
		if t, err := own.table(); err == nil && has == nil {
			has = t.Snapshot().Schema()
		}
	}
	if err := g.mayAdd(m.flow, others); err != nil {
		return nil, err
	}
	return m.flow.widened(has, adds)
}

func (g *Graph) describeFlow(ctx context.Context, m member, overlay map[string]tables.Relation) (tables.Schema, error) {
	if m.added != nil {
		return m.flow.describe(ctx, overlay)
	}
	same, err := g.unchanged(m.flow)
	if err != nil {
		return nil, err
	}
	if same {
		t, err := m.flow.table()
		if err != nil {
			return nil, err
		}
		return t.Snapshot().Schema(), nil
	}
	return m.flow.describe(ctx, overlay)
}

// checkMembers refuses streams of tables whose rows are replaced, made by this pipeline or before.
func (g *Graph) checkMembers(members []member) error {
	var made []*flow
	for _, m := range members {
		if m.flow != nil {
			made = append(made, m.flow)
		}
	}
	for _, m := range members {
		if m.flow == nil {
			continue
		}
		if err := g.checkStreamed(m.flow, made); err != nil {
			return fmt.Errorf("line %d: %w", m.line, err)
		}
	}
	return nil
}

// make creates what is new or changed, in order. When one cannot be made, those that are new are taken away again; a
// table that was there keeps its new definition.
func (g *Graph) make(ctx context.Context, members []member, schemas map[string]tables.Schema) error {
	var added []*flow
	for _, m := range members {
		err := g.makeOne(ctx, m, schemas[m.name], &added)
		if err == nil {
			continue
		}
		errs := []error{fmt.Errorf("line %d: %w", m.line, err)}
		for _, f := range added {
			for _, one := range g.flowsOf(f) {
				g.remove(one)
				errs = append(errs, one.stop())
			}
			// The pipeline may be refused because the context has ended: that must not keep half of it.
			errs = append(errs, g.dropTables(context.WithoutCancel(ctx), f.ref))
		}
		return errors.Join(errs...)
	}
	return nil
}

func (g *Graph) makeOne(ctx context.Context, m member, schema tables.Schema, added *[]*flow) error {
	if m.flow == nil {
		if g.sameView(m) {
			return nil
		}
		return g.cfg.Exec(ctx, m.db, m.view)
	}
	if m.added != nil {
		if same, err := g.sameFlow(m.flow, m.added); same || err != nil {
			return err
		}
		own, err := g.must(m.flow.ref.database, m.flow.ref.table, ddl.StreamingTable)
		if err != nil {
			return err
		}
		m.flow.into, m.flow.batch = own, own.batch // the one that the graph has now: its text may be unchanged
		return g.installFlow(ctx, m.flow, schema)
	}
	if same, err := g.unchanged(m.flow); same || err != nil {
		return err
	}
	isNew := g.find(m.flow.ref.database, m.flow.ref.table) == nil
	if err := g.install(ctx, m.flow, schema); err != nil {
		return err
	}
	if isNew {
		*added = append(*added, m.flow)
	}
	return nil
}

// sameView reports whether the view exists with the same SELECT.
func (g *Graph) sameView(m member) bool {
	database, name := cutName(m.name)
	v, err := g.cfg.Store.View(database, name)
	if err != nil {
		return false
	}
	parsed, err := parseSQL(v.Query)
	return err == nil && sqlparser.String(parsed) == m.query
}
