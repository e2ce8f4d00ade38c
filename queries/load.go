package queries

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/dolthub/vitess/go/vt/sqlparser"

	"smelt/queries/ddl"
	"smelt/tables"
)

// member is one statement of a pipeline that makes something.
type member struct {
	name  string // database.table, lower case
	line  int
	flow  *flow  // nil for a view
	view  string // the CREATE VIEW statement
	query string // SELECT of the view
	db    string // current database of the statement
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
	added := map[string][]reference{}
	for _, m := range members {
		if _, twice := added[m.name]; twice {
			return fmt.Errorf("line %d: %s is made twice", m.line, m.name)
		}
		added[m.name] = m.reads
	}
	if err := g.checkCycle(added); err != nil {
		return err
	}
	for _, p := range plain {
		if err := g.cfg.Exec(ctx, p.db, p.view); err != nil {
			return fmt.Errorf("line %d: %w", p.line, err)
		}
	}
	members = ordered(members)
	schemas, err := g.bind(ctx, members)
	if err != nil {
		return err
	}
	return g.make(ctx, members, schemas)
}

// members parses the statements of a script. plain are those that make neither a flow nor a view.
func (g *Graph) members(script, database, base string) (members, plain []member, err error) {
	pieces, err := ddl.Split(script)
	if err != nil {
		return nil, nil, err
	}
	for _, p := range pieces {
		statement, err := ddl.Parse(p.Text)
		if err != nil {
			var syntax *ddl.SyntaxError
			if errors.As(err, &syntax) {
				syntax.Line += p.Line - 1 // the place in the script
			}
			return nil, nil, err
		}
		if c, ok := statement.(*ddl.Create); ok {
			f, err := g.prepare(c, database, base)
			if err != nil {
				return nil, nil, fmt.Errorf("line %d: %w", p.Line, err)
			}
			members = append(members, member{name: strings.ToLower(f.ref.String()), line: p.Line, flow: f, db: database, reads: f.reads()})
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
	return members, plain, nil
}

// plainStatement lets USE, CREATE DATABASE and CREATE TABLE pass; it returns the database of a USE. Everything else is
// refused: a pipeline is loaded at each start, and an INSERT would run each time.
func plainStatement(p ddl.Piece) (use string, err error) {
	parsed, err := sqlparser.Parse(p.Text)
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

// ordered sorts members so that each comes after those it reads. There is no cycle.
func ordered(members []member) []member {
	byName := map[string]member{}
	for _, m := range members {
		byName[m.name] = m
	}
	var out []member
	done := map[string]bool{}
	var visit func(m member)
	visit = func(m member) {
		if done[m.name] {
			return
		}
		done[m.name] = true
		for _, r := range m.reads {
			if next, ok := byName[strings.ToLower(r.String())]; ok {
				visit(next)
			}
		}
		out = append(out, m)
	}
	for _, m := range members {
		visit(m)
	}
	return out
}

// bind finds the columns of every member, each over those before it, without making anything.
func (g *Graph) bind(ctx context.Context, members []member) (map[string]tables.Schema, error) {
	schemas := map[string]tables.Schema{}
	overlay := map[string]tables.Relation{}
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
		schemas[m.name] = schema
		overlay[m.name] = tables.FromBatches(schema)
	}
	return schemas, nil
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

func (g *Graph) describeFlow(ctx context.Context, m member, overlay map[string]tables.Relation) (tables.Schema, error) {
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

// make creates what is new or changed, in order.
func (g *Graph) make(ctx context.Context, members []member, schemas map[string]tables.Schema) error {
	for _, m := range members {
		if m.flow == nil {
			if g.sameView(m) {
				continue
			}
			if err := g.cfg.Exec(ctx, m.db, m.view); err != nil {
				return fmt.Errorf("line %d: %w", m.line, err)
			}
			continue
		}
		same, err := g.unchanged(m.flow)
		if err != nil {
			return err
		}
		if same {
			continue
		}
		if err := g.install(ctx, m.flow, schemas[m.name]); err != nil {
			return fmt.Errorf("line %d: %w", m.line, err)
		}
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
	parsed, err := sqlparser.Parse(v.Query)
	return err == nil && sqlparser.String(parsed) == m.query
}

// RunOnce runs every flow, sources before what reads them, until nothing is left to do. progress may be nil. It is for
// graphs that were not started. An error of one flow ends the run.
func (g *Graph) RunOnce(ctx context.Context, progress func(Progress)) error {
	g.mu.Lock()
	members := make([]member, 0, len(g.flows))
	for _, f := range g.flows {
		members = append(members, member{name: strings.ToLower(f.ref.String()), flow: f, reads: f.reads()})
	}
	g.mu.Unlock()
	slices.SortFunc(members, func(a, b member) int { return strings.Compare(a.name, b.name) })
	for {
		worked := false
		for i, m := range ordered(members) {
			did, err := m.flow.runAll(ctx, int64(i), int64(len(members)), progress)
			if err != nil {
				return err
			}
			worked = worked || did
		}
		if !worked {
			return nil
		}
	}
}

// flowParts is into how many parts the progress of one flow is divided.
const flowParts = 1000

// runAll runs a flow until nothing is left for it to do. i of n flows are done already.
func (f *flow) runAll(ctx context.Context, i, n int64, progress func(Progress)) (worked bool, err error) {
	var rows int64
	for {
		if err := ctx.Err(); err != nil {
			return worked, err
		}
		did, p, err := f.step(ctx)
		if err != nil {
			f.set(stateRetrying, "", err)
			return worked, err
		}
		if !did {
			f.quiet()
			return worked, nil
		}
		worked = true
		rows += max(p.RowsIn, 1)
		if progress != nil {
			p.Done, p.Total = i*flowParts+flowParts*rows/(rows+f.pending(ctx, rows, p.Files)), n*flowParts
			progress(p)
		}
	}
}

// pending estimates how many source rows a flow still has to read, from the files that wait or the rows of its source.
func (f *flow) pending(ctx context.Context, rows, files int64) int64 {
	f.batch.Lock()
	defer f.batch.Unlock()
	var waiting int64
	for _, feed := range f.feeds {
		waiting += feed.Pending() * rows / max(files, 1)
	}
	t, err := f.table()
	if err != nil || f.create.Kind != ddl.StreamingTable {
		return waiting
	}
	now := t.Snapshot()
	for _, s := range f.create.Sources {
		if s.Files != nil {
			continue
		}
		source, err := f.sourceOf(s)
		if err != nil {
			continue
		}
		from, _ := now.Txn(generation(now) + ":" + source.Snapshot().ID())
		if c, err := source.Changes(ctx, from, 0); err == nil {
			waiting += c.RowCount
		}
	}
	return waiting
}
