package queries

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"smelt/queries/ddl"
	"smelt/queries/lexer"
	"smelt/tables"
)

// propertyFlows holds the flows that were added to a table by CREATE FLOW, APPLY CHANGES INTO and INSERT INTO ... FROM
// STREAM: JSON of addedFlow by name.
const propertyFlows = "smelt.flows"

// addedFlow is how such a flow lives in the definition of its table.
type addedFlow struct {
	Statement string            `json:"statement"`
	Database  string            `json:"database"` // current database of the statement
	Base      string            `json:"base"`     // directory for relative paths
	Sources   map[string]string `json:"sources"`  // as propertySources
}

// Operations of commits that change which flows a table has; parameterFlow names the flow, in all commits of it.
const (
	addFlowOperation    = "ADD FLOW"
	changeFlowOperation = "CHANGE FLOW"
	dropFlowOperation   = "DROP FLOW"
	parameterFlow       = "flow"
)

// key is the name of the flow in Graph.flows. No name of a table has a colon.
func (f *flow) key() string {
	if f.name == "" {
		return key(f.ref.database, f.ref.table)
	}
	return key(f.ref.database, f.ref.table) + ":" + strings.ToLower(f.name)
}

// own returns the table's own flow, which knows its definition.
func (f *flow) own() *flow {
	if f.into != nil {
		return f.into
	}
	return f
}

// parameters are what all commits of the flow say of it.
func (f *flow) parameters() map[string]string {
	p := map[string]string{"kind": kindName(f.create.Kind)}
	if f.name != "" {
		p[parameterFlow] = f.name
	}
	return p
}

// flowsOf returns all flows of a table: its own, then those that were added, by name.
func (g *Graph) flowsOf(own *flow) []*flow {
	g.mu.Lock()
	defer g.mu.Unlock()
	out := []*flow{own}
	for _, f := range g.flows {
		if f.name != "" && key(f.ref.database, f.ref.table) == key(own.ref.database, own.ref.table) {
			out = append(out, f)
		}
	}
	slices.SortFunc(out[1:], func(a, b *flow) int { return strings.Compare(a.key(), b.key()) })
	return out
}

// addedFlows reads the flows that were added back from the definition of their table.
func addedFlows(now *tables.Snapshot) (map[string]addedFlow, error) {
	added := map[string]addedFlow{}
	if text := now.Definition().Properties[propertyFlows]; text != "" {
		if err := json.Unmarshal([]byte(text), &added); err != nil {
			return nil, fmt.Errorf("read property %s: %w", propertyFlows, err)
		}
	}
	return added, nil
}

func encodeFlows(added map[string]addedFlow) (string, error) {
	if len(added) == 0 {
		return "", nil
	}
	text, err := json.Marshal(added) // with sorted keys
	if err != nil {
		return "", fmt.Errorf("encode property %s: %w", propertyFlows, err)
	}
	return string(text), nil
}

// carriedFlows is propertyFlows for another definition of the table; a new generation begins with the sources as they are.
func (f *flow) carriedFlows(next string) (string, error) {
	t, err := f.table()
	if errors.Is(err, tables.ErrNotFound) {
		return "", nil // it is being made
	}
	if err != nil {
		return "", err
	}
	added, err := addedFlows(t.Snapshot())
	if err != nil {
		return "", err
	}
	if next != generation(t.Snapshot()) {
		for _, one := range f.g.flowsOf(f)[1:] {
			record := added[one.name]
			if record.Sources, err = one.currentIDs(); err != nil {
				return "", err
			}
			added[one.name] = record
		}
	}
	return encodeFlows(added)
}

// began returns the ids of the source tables that the flow's part of the present content began with.
func (f *flow) began(now *tables.Snapshot) (map[string]string, error) {
	if f.name == "" {
		return sourceIDs(now)
	}
	added, err := addedFlows(now)
	return added[f.name].Sources, err
}

// add makes a flow that writes the table of another one; it is not yet known to the graph.
func (f *flow) add(s *ddl.Flow, name, database, base string) (*flow, error) {
	c := *f.create
	c.Select, c.Query, c.Sources, c.Changes, c.Text = s.Select, s.Query, s.Sources, s.Changes, s.Text
	one, err := newFlow(f.g, &c, f.ref, database, base)
	if err != nil {
		return nil, fmt.Errorf("flow %s: %w", name, err)
	}
	one.name, one.into, one.batch = name, f, f.batch
	return one, nil
}

// takeOver makes the added flows of a table anew for another definition of it, whose rules are theirs, too.
func (f *flow) takeOver(added []*flow) ([]*flow, error) {
	var out []*flow
	for _, old := range added {
		f.batch = old.batch
		s, err := storedStatement(old.text)
		if err != nil {
			return nil, err
		}
		one, err := f.add(s, old.name, old.database, old.base)
		if err != nil {
			return nil, err
		}
		out = append(out, one)
	}
	for _, one := range out {
		if err := f.g.mayAdd(one, append([]*flow{f}, out...)); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func storedStatement(text string) (*ddl.Flow, error) {
	statement, err := ddl.Parse(text)
	if err != nil {
		return nil, err
	}
	s, ok := statement.(*ddl.Flow)
	if !ok {
		return nil, fmt.Errorf("read definition: %q is no flow", text)
	}
	return s, nil
}

// storedFlows reads all flows of a table back from its definition, its own first; none if it is no flow's.
func storedFlows(g *Graph, t *tables.Table) []*flow {
	own := storedFlow(g, t)
	if own == nil {
		return nil
	}
	flows := []*flow{own}
	added, err := addedFlows(t.Snapshot())
	if err != nil {
		own.broken = fmt.Errorf("%w: %w", errStored, err)
		own.settle(outcome{}, own.broken)
	}
	for _, name := range slices.Sorted(maps.Keys(added)) {
		record := added[name]
		s, err := storedStatement(record.Statement)
		var one *flow
		if err == nil {
			one, err = own.add(s, name, record.Database, record.Base)
		}
		if err != nil {
			one = emptyFlow(g, own.create, own.ref, record.Database, record.Base)
			one.name, one.into, one.batch, one.text = name, own, own.batch, record.Statement
			one.broken = fmt.Errorf("%w: %w", errStored, err)
			one.settle(outcome{}, one.broken)
		}
		one.settleSuspended(own.suspended)
		flows = append(flows, one)
	}
	return flows
}

// AddFlow makes a flow into a streaming table that is there, or changes one: the same text does nothing, and another goes on
// where the old one was, with the rows that it wrote left as they are. base is the directory for relative paths.
func (g *Graph) AddFlow(ctx context.Context, s *ddl.Flow, database, base string) (changed bool, err error) {
	g.define.Lock()
	defer g.define.Unlock()
	one, err := g.prepareFlow(s, database, base, nil)
	if err != nil {
		return false, err
	}
	if err := g.mayAdd(one, g.flowsOf(one.own())); err != nil {
		return false, err
	}
	if same, err := g.sameFlow(one, s); same || err != nil {
		return false, err
	}
	if err := g.checkCycle(map[string][]reference{one.ref.String(): g.readsOf(one)}); err != nil {
		return false, err
	}
	if err := g.checkStreamed(one, nil); err != nil {
		return false, err
	}
	schema, err := one.describe(ctx, nil)
	if err != nil {
		return false, err
	}
	return true, g.installFlow(ctx, one, schema)
}

// prepareFlow makes the flow of a statement, not yet known to the graph. made holds tables that are to be made with it.
func (g *Graph) prepareFlow(s *ddl.Flow, database, base string, made map[string]*flow) (*flow, error) {
	name, at := s.Name, s.IntoDatabase
	if name == "" {
		name = s.DefaultName()
	}
	if at == "" {
		at = database
	}
	own := made[key(at, s.Into)]
	if own == nil {
		var err error
		if own, err = g.must(at, s.Into, ddl.StreamingTable); err != nil {
			return nil, fmt.Errorf("flow %s: %w", name, err)
		}
	}
	if own.broken != nil {
		return nil, own.broken
	}
	if s.Database != "" && !strings.EqualFold(s.Database, own.ref.database) {
		return nil, fmt.Errorf("flow %s.%s: %w: a flow belongs to the database of its table %s", s.Database, name, ErrUnsupported, own.ref)
	}
	if other, err := g.cfg.Store.Table(own.ref.database, name); err == nil && IsFlow(other.Snapshot().Definition()) {
		return nil, fmt.Errorf("flow %s: %w: %s is the name of a table and of its own flow", name, tables.ErrExists, name)
	}
	one, err := own.add(s, name, database, base)
	if err != nil {
		return nil, err
	}
	if other := g.findFlow(own.ref.database, name); other != nil && other.key() != one.key() {
		return nil, fmt.Errorf("flow %s: %w: it writes %s; drop it first", name, tables.ErrExists, other.ref)
	}
	return one, nil
}

// findFlow returns a flow that was added to a table of the database by its name, nil if there is none.
func (g *Graph) findFlow(database, name string) *flow {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, f := range g.flows {
		if f.name != "" && strings.EqualFold(f.ref.database, database) && strings.EqualFold(f.name, name) {
			return f
		}
	}
	return nil
}

// sameFlow reports whether the flow exists with the same text, or IF NOT EXISTS leaves it alone.
func (g *Graph) sameFlow(one *flow, s *ddl.Flow) (bool, error) {
	old := g.findFlow(one.ref.database, one.name)
	if old == nil {
		return false, nil
	}
	return s.IfNotExists || old.broken == nil && lexer.Normal(old.text) == lexer.Normal(s.Text) && strings.EqualFold(old.database, one.database) && old.base == one.base, nil
}

// readsOf lists what the table of a flow will read with it.
func (g *Graph) readsOf(one *flow) []reference {
	refs := one.reads()
	own := one.own()
	for _, f := range g.flowsOf(own) {
		if f.key() != one.key() {
			refs = append(refs, f.reads()...)
		}
	}
	return refs
}

// installFlow writes the flow into the definition of its table, with its new columns, and puts it into the graph. The
// caller holds define.
func (g *Graph) installFlow(ctx context.Context, one *flow, schema tables.Schema) error {
	old := g.findFlow(one.ref.database, one.name)
	if old != nil {
		if err := old.stop(); err != nil {
			return err
		}
	}
	err := one.own().alone(ctx, func() error { return one.register(ctx, schema) })
	if err != nil {
		if old != nil {
			g.adopt(old)
		}
		return err
	}
	g.adopt(one)
	one.own().signal()
	return nil
}

// register commits the flow into the definition of its table.
func (one *flow) register(ctx context.Context, schema tables.Schema) error {
	t, err := one.table()
	if err != nil {
		return err
	}
	now := t.Snapshot()
	added, err := addedFlows(now)
	if err != nil {
		return err
	}
	record := addedFlow{Statement: one.text, Database: one.database, Base: one.base}
	if record.Sources, err = one.currentIDs(); err != nil {
		return err
	}
	before, existed := added[one.name]
	operation := addFlowOperation
	if existed {
		operation = changeFlowOperation
		for placeholder, id := range record.Sources { // it goes on with the sources that it has read
			if was := before.Sources[placeholder]; was != "" && was != id {
				record.Sources[placeholder] = was
			}
		}
	}
	added[one.name] = record
	d := now.Definition()
	d.Partitions = one.create.Partitions // of a table that has no columns yet
	if d.Schema, err = one.widened(now.Schema(), schema); err != nil {
		return err
	}
	return commitFlows(ctx, t, d, added, operation, one.name)
}

// widened returns the columns of the table and those that the flow adds at the end.
func (one *flow) widened(has, adds tables.Schema) (tables.Schema, error) {
	out := slices.Clone(has)
	for _, col := range adds {
		switch i := out.Index(col.Name); {
		case i < 0:
			out = append(out, col)
		case out[i].Type != col.Type:
			return nil, fmt.Errorf("flow %s: %w: its column %q is %s, that of %s is %s; CAST it", one.name, ErrUnsupported, col.Name, col.Type, one.ref, out[i].Type)
		}
	}
	return one.commented(out), nil
}

func commitFlows(ctx context.Context, t *tables.Table, d tables.Definition, added map[string]addedFlow, operation, name string) error {
	text, err := encodeFlows(added)
	if err != nil {
		return err
	}
	d.Properties = maps.Clone(d.Properties)
	if d.Properties[propertyFlows] = text; text == "" {
		delete(d.Properties, propertyFlows)
	}
	_, err = t.Commit(ctx, tables.Commit{Operation: operation, Parameters: map[string]string{parameterFlow: name}, Define: &d})
	return err
}

// DropFlow takes a flow away from its table; the rows that it wrote stay. A missing one is no error with ifExists.
func (g *Graph) DropFlow(ctx context.Context, database, name string, ifExists bool) error {
	g.define.Lock()
	defer g.define.Unlock()
	one := g.findFlow(database, name)
	if one == nil {
		if ifExists {
			return nil
		}
		return fmt.Errorf("flow %s.%s: %w", database, name, tables.ErrNotFound)
	}
	if err := one.stop(); err != nil {
		return err
	}
	err := one.own().alone(ctx, func() error {
		t, err := one.table()
		if err != nil {
			return err
		}
		added, err := addedFlows(t.Snapshot())
		if err != nil {
			return err
		}
		delete(added, one.name)
		return commitFlows(ctx, t, t.Snapshot().Definition(), added, dropFlowOperation, one.name)
	})
	if err != nil {
		g.adopt(one)
		return err
	}
	g.remove(one)
	return nil
}

// withAdded adds the columns of the flows that were added to those of the table's own.
func (f *flow) withAdded(ctx context.Context, schema tables.Schema) (tables.Schema, error) {
	for _, one := range f.g.flowsOf(f)[1:] {
		more, err := one.describe(ctx, nil)
		if err != nil {
			return nil, err
		}
		if schema, err = one.widened(schema, more); err != nil {
			return nil, err
		}
	}
	return schema, nil
}

// carryAll is carry for all flows of the table.
func (f *flow) carryAll(ctx context.Context, t *tables.Table, to string) error {
	for _, one := range f.g.flowsOf(f) {
		if err := one.carry(ctx, t, to); err != nil {
			return err
		}
	}
	return nil
}

// mayAdd says what keeps a flow from writing a table together with others, of which it may be one itself.
func (g *Graph) mayAdd(one *flow, others []*flow) error {
	for _, f := range others {
		if f.key() == one.key() || f.create.Query == "" {
			continue
		}
		if (f.create.Changes == nil) != (one.create.Changes == nil) {
			return fmt.Errorf("flow %s: %w: %s gets rows appended by one flow and changed by key by another; give each a table", one.name, ErrUnsupported, one.ref)
		}
		if !sameMeaning(f.create.Changes, one.create.Changes) {
			return fmt.Errorf("flow %s: %w: all changes of %s must have the same KEYS, SCD TYPE, IGNORE NULL UPDATES, TRACK HISTORY and number of values in SEQUENCE BY",
				one.name, ErrUnsupported, one.ref)
		}
	}
	return nil
}

// sameMeaning reports whether the events of two flows can be told apart and ordered by the same rules.
func sameMeaning(a, b *ddl.Changes) bool {
	if a == nil || b == nil {
		return a == b
	}
	same := func(x, y []string) bool { return slices.EqualFunc(x, y, strings.EqualFold) }
	return same(a.Keys, b.Keys) && a.History == b.History && a.IgnoreNulls == b.IgnoreNulls && same(a.Track, b.Track) && same(a.TrackBut, b.TrackBut) &&
		a.Sequences == b.Sequences
}
