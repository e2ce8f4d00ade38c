package queries

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"smelt/queries/ddl"
	"smelt/queries/lexer"
	"smelt/tables"
)

// Create makes the table of a statement and its flow, or changes an existing one: the same text does nothing, a new
// SELECT refreshes the table in full, and new expectations or comments apply from now on. base is the directory for
// relative paths of read_files.
func (g *Graph) Create(ctx context.Context, c *ddl.Create, database, base string) (changed bool, err error) {
	g.define.Lock()
	defer g.define.Unlock()
	f, err := g.prepare(c, database, base)
	if err != nil {
		return false, err
	}
	if err := g.checkCycle(map[string][]reference{f.ref.String(): g.readsOf(f)}); err != nil {
		return false, err
	}
	if err := g.checkStreamed(f, nil); err != nil {
		return false, err
	}
	if done, err := g.unchanged(f); done || err != nil {
		return false, err
	}
	schema, err := f.describe(ctx, nil)
	if err != nil {
		return false, err
	}
	return true, g.install(ctx, f, schema)
}

// prepare makes the flow of a statement, not yet known to the graph.
func (g *Graph) prepare(c *ddl.Create, database, base string) (*flow, error) {
	at := c.Database
	if at == "" {
		at = database
	}
	return newFlow(g, c, reference{strings.ToLower(at), c.Name}, database, base)
}

// unchanged reports whether the flow exists with the same text, or IF NOT EXISTS leaves it alone. A name taken by
// something else is an error.
func (g *Graph) unchanged(f *flow) (bool, error) {
	old := g.find(f.ref.database, f.ref.table)
	if old == nil {
		_, err := g.cfg.Store.Table(f.ref.database, f.ref.table)
		if err != nil {
			_, err = g.cfg.Store.View(f.ref.database, f.ref.table)
		}
		if err == nil {
			return false, fmt.Errorf("table %s: %w", f.ref, tables.ErrExists)
		}
		return false, nil
	}
	if old.create.Kind != f.create.Kind {
		return false, fmt.Errorf("table %s is a %s: %w; drop it first", f.ref, old.create.Kind, tables.ErrExists)
	}
	if f.create.IfNotExists {
		return true, nil
	}
	if !slices.Equal(old.create.Partitions, f.create.Partitions) {
		return false, fmt.Errorf("table %s: %w: its PARTITIONED BY cannot change; drop the table first", f.ref, ErrUnsupported)
	}
	// Another base moves the directory of its relative paths: redefined, its rows kept.
	normal := lexer.Normal(f.create.Text)
	return old.broken == nil && (lexer.Normal(old.create.Text) == normal || old.loaded == normal) && strings.EqualFold(old.database, f.database) && old.base == f.base, nil
}

// install makes or changes the table and puts the flow into the graph. The caller holds define.
func (g *Graph) install(ctx context.Context, f *flow, schema tables.Schema) error {
	old := g.find(f.ref.database, f.ref.table)
	var before, after []*flow
	if old != nil {
		var err error
		before = g.flowsOf(old)
		f.suspended = old.isSuspended()
		if after, err = f.takeOver(before[1:]); err != nil {
			return err
		}
		// The old flows must not commit behind the new definition.
		for _, one := range before {
			if err := one.stop(); err != nil {
				return err
			}
		}
	}
	if err := f.redefine(ctx, old, schema); err != nil {
		for _, one := range before {
			g.adopt(one)
		}
		return err
	}
	// Nothing runs yet. What cannot be made here the first batch makes.
	t, err := f.table()
	if err == nil {
		_, err = f.quarantine(ctx, t)
	}
	for _, one := range append([]*flow{f}, after...) {
		g.adopt(one)
	}
	return err
}

// adopt puts a flow into the graph and starts it when the graph runs.
func (g *Graph) adopt(f *flow) {
	f.revive()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.flows[f.key()] = f
	if g.running != nil && !g.closed {
		f.start(g.running)
	}
}

// redefine writes the definition of the flow into its table, which is made if old is nil.
func (f *flow) redefine(ctx context.Context, old *flow, schema tables.Schema) error {
	ids, err := f.currentIDs()
	if err != nil {
		return err
	}
	if old == nil {
		d, err := f.definition(schema, newGeneration(), ids)
		if err != nil {
			return err
		}
		_, err = f.g.cfg.Store.Create(ctx, f.ref.database, f.ref.table, d)
		return err
	}
	t, err := f.table()
	if err != nil {
		return err
	}
	now := t.Snapshot()
	switch {
	case sameQuery(old.create, f.create) && strings.EqualFold(old.database, f.database):
		if ids, err = sourceIDs(now); err == nil {
			return f.alter(ctx, t, now.Schema(), generation(now), ids)
		}
		return err
	case f.create.Kind == ddl.MaterializedView:
		// The old rows stay until the new ones replace them and their columns in one commit.
		if computed(now) {
			schema = now.Schema()
		}
		return f.alter(ctx, t, schema, newGeneration(), ids)
	}
	if f.evolves(old) {
		if err := f.evolve(ctx, t); !errors.Is(err, errOtherRows) {
			return err
		}
	}
	if err := f.mayReset(); err != nil {
		return err
	}
	if schema, err = f.withAdded(ctx, schema); err != nil {
		return err
	}
	d, err := f.definition(schema, newGeneration(), ids)
	if err != nil {
		return err
	}
	void, err := f.voided(t)
	if err != nil {
		return err
	}
	_, err = t.Commit(ctx, tables.Commit{Operation: "FULL REFRESH", Parameters: map[string]string{"reason": "its SELECT has changed"}, Txns: void, Overwrite: true, Define: &d, NewID: true,
		Prepare: func(ctx context.Context) error { return old.carryAll(ctx, t, d.Properties[propertyFlow]) }})
	return err
}

// alter commits a definition and leaves the rows alone.
func (f *flow) alter(ctx context.Context, t *tables.Table, schema tables.Schema, generation string, ids map[string]string) error {
	d, err := f.definition(schema, generation, ids)
	if err != nil {
		return err
	}
	if plan, ok := t.Snapshot().Definition().Properties[propertyPlan]; ok {
		d.Properties[propertyPlan] = plan // by which the rows were made that stay
	}
	_, err = t.Commit(ctx, tables.Commit{Operation: "ALTER TABLE", Define: &d})
	return err
}

// checkStreamed refuses to stream from a table whose rows are replaced and not only added to. made holds flows that are not
// in the graph yet; they count more than those of their names that are.
func (g *Graph) checkStreamed(f *flow, made []*flow) error {
	for _, s := range f.create.Sources {
		if s.Files != nil {
			continue
		}
		r := f.streamed(s)
		isFlow := func(name string) bool {
			return g.find(cutName(name)) != nil || slices.ContainsFunc(made, func(one *flow) bool { return strings.EqualFold(one.ref.String(), name) })
		}
		if of := ownerOf(r.String()); of != r.String() && isFlow(of) {
			return fmt.Errorf("streaming table %s: %w: rows leave the quarantine %s when they are replayed; read it without STREAM in a MATERIALIZED VIEW", f.create.Name, ErrUnsupported, r)
		}
		flows := map[string]*flow{}
		if own := g.find(r.database, r.table); own != nil {
			for _, one := range g.flowsOf(own) {
				flows[one.key()] = one
			}
		}
		for _, one := range made {
			flows[one.key()] = one
		}
		for _, source := range flows {
			if key(source.ref.database, source.ref.table) != key(r.database, r.table) {
				continue
			}
			if source.create.Kind == ddl.MaterializedView {
				return fmt.Errorf("streaming table %s: %w: %s is a MATERIALIZED VIEW, whose rows are replaced at each refresh; read it without STREAM, or make a MATERIALIZED VIEW",
					f.create.Name, ErrUnsupported, r)
			}
			if source.create.Changes != nil {
				return fmt.Errorf("streaming table %s: %w: %s gets its rows by APPLY CHANGES, which replaces them; read it without STREAM, or make a MATERIALIZED VIEW",
					f.create.Name, ErrUnsupported, r)
			}
		}
	}
	return nil
}

// checkCycle refuses definitions by which a table would be made from itself, naming the way round. added holds what
// the new or changed tables read, views among them.
func (g *Graph) checkCycle(added map[string][]reference) error {
	g.mu.Lock()
	edges := map[string][]reference{}
	for _, f := range g.flows {
		name := strings.ToLower(f.ref.String())
		edges[name] = append(edges[name], f.reads()...)
	}
	g.mu.Unlock()
	maps.Copy(edges, g.viewEdges())
	for name, reads := range added {
		edges[strings.ToLower(name)] = reads
	}
	// In order, so that the same script is refused with the same words.
	for _, name := range slices.Sorted(maps.Keys(added)) {
		if way := wayRound(strings.ToLower(name), edges); way != nil {
			return fmt.Errorf("%w: %s", ErrCycle, strings.Join(way, " -> "))
		}
	}
	return nil
}

// viewEdges lists what each ordinary view reads.
func (g *Graph) viewEdges() map[string][]reference {
	edges := map[string][]reference{}
	for _, database := range g.cfg.Store.Databases() {
		for _, v := range g.cfg.Store.Views(database) {
			if s, err := shapeOf(v.Query, database); err == nil {
				edges[key(database, v.Name)] = s.reads
			}
		}
	}
	return edges
}

// wayRound finds a path from name back to itself: each table, then what it reads.
func wayRound(name string, edges map[string][]reference) []string {
	visited := map[string]bool{}
	var path []string
	var visit func(at string) bool
	visit = func(at string) bool {
		path = append(path, at)
		for _, r := range edges[at] {
			next := ownerOf(r.String())
			if next == name {
				path = append(path, name)
				return true
			}
			if !visited[next] {
				visited[next] = true
				if visit(next) {
					return true
				}
			}
		}
		path = path[:len(path)-1]
		return false
	}
	if visit(name) {
		return path
	}
	return nil
}
