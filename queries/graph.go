package queries

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"smelt/queries/ddl"
	"smelt/tables"
)

// Graph is all flows of a store. All methods are safe for concurrent use.
type Graph struct {
	cfg Config

	define sync.Mutex // held while a definition changes: one at a time

	mu      sync.Mutex // guards what follows; nothing slow happens under it
	flows   map[string]*flow
	running context.Context // nil until Start
	cancel  context.CancelFunc
	closed  bool
}

// New returns a graph without flows. Nothing is read until Open.
func New(c Config) *Graph {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return &Graph{cfg: c, flows: map[string]*flow{}}
}

func key(database, name string) string { return strings.ToLower(database + "." + name) }

// cutName is the reverse of key.
func cutName(name string) (database, table string) {
	database, table, _ = strings.Cut(name, ".")
	return database, table
}

// Open reads the definitions back from the tables of the store. No flow runs before Start.
func (g *Graph) Open(context.Context) error {
	for _, database := range g.cfg.Store.Databases() {
		for _, t := range g.cfg.Store.Tables(database) {
			f, err := storedFlow(g, t)
			if err != nil {
				return err
			}
			if f != nil {
				g.flows[key(database, t.Name())] = f
			}
		}
	}
	return nil
}

// Start runs every flow continuously, and those that are created later.
func (g *Graph) Start() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.running != nil || g.closed {
		return
	}
	g.running, g.cancel = context.WithCancel(context.Background())
	for _, f := range g.flows {
		f.start(g.running)
	}
}

// Close stops all flows: a batch in flight is cut off, which loses nothing. It waits until they have ended or ctx has,
// and may be called more than once.
func (g *Graph) Close(ctx context.Context) error {
	g.mu.Lock()
	g.closed = true
	if g.cancel != nil {
		g.cancel()
	}
	flows := make([]*flow, 0, len(g.flows))
	for _, f := range g.flows {
		flows = append(flows, f)
	}
	g.mu.Unlock()
	ended := make(chan error, 1)
	go func() {
		var errs []error
		for _, f := range flows {
			errs = append(errs, f.stop())
		}
		ended <- errors.Join(errs...)
	}()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return fmt.Errorf("stop flows: %w", ctx.Err())
	}
}

// find returns a flow by name, nil if there is none.
func (g *Graph) find(database, name string) *flow {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.flows[key(database, name)]
}

// must returns a flow by name and kind (0 for either), or why there is none.
func (g *Graph) must(database, name string, kind ddl.Kind) (*flow, error) {
	f := g.find(database, name)
	if f == nil {
		if _, err := g.cfg.Store.Table(database, name); err != nil {
			return nil, err
		}
		return nil, fmt.Errorf("table %s.%s: %w: it is an ordinary table", database, name, ErrNotFlow)
	}
	if kind != 0 && f.create.Kind != kind {
		return nil, fmt.Errorf("table %s.%s: %w: it is a %s", database, name, ErrNotFlow, f.create.Kind)
	}
	return f, nil
}

// Refresh brings one table up to date and returns when it is; full rebuilds it from the start. A flow that an
// expectation stopped runs again.
func (g *Graph) Refresh(ctx context.Context, database, name string, full bool) error {
	f, err := g.must(database, name, 0)
	if err != nil {
		return err
	}
	defer f.signal()
	if full {
		if err := f.full(ctx, "REFRESH ... FULL"); err != nil {
			f.set(stateRetrying, "", err)
			return err
		}
	}
	for {
		did, _, err := f.step(ctx)
		if err != nil {
			f.set(stateRetrying, "", err)
			return err
		}
		if !did {
			f.quiet()
			return nil
		}
	}
}

// Drop removes a flow and its table. The kind must be right; a missing one is no error with ifExists.
func (g *Graph) Drop(ctx context.Context, database, name string, kind ddl.Kind, ifExists bool) error {
	g.define.Lock()
	defer g.define.Unlock()
	f, err := g.must(database, name, kind)
	if ifExists && errors.Is(err, tables.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if readers := g.readers(f.ref); len(readers) > 0 {
		return fmt.Errorf("drop %s: %w: %s read it; drop them first", f.ref, ErrUnsupported, strings.Join(readers, ", "))
	}
	g.remove(f)
	if err := f.stop(); err != nil {
		return err
	}
	return g.cfg.Store.Drop(ctx, f.ref.database, f.ref.table)
}

func (g *Graph) remove(f *flow) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.flows, key(f.ref.database, f.ref.table))
}

// readers lists the flows whose SELECT reads a table.
func (g *Graph) readers(table reference) []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	var names []string
	for _, f := range g.flows {
		for _, r := range f.reads() {
			if strings.EqualFold(r.String(), table.String()) {
				names = append(names, f.ref.String())
				break
			}
		}
	}
	slices.Sort(names)
	return names
}

// reads lists every table that the flow reads, streams included.
func (f *flow) reads() []reference {
	refs := slices.Clone(f.shape.reads)
	for _, s := range f.create.Sources {
		if s.Files == nil {
			database := s.Database
			if database == "" {
				database = f.database
			}
			refs = append(refs, reference{strings.ToLower(database), strings.ToLower(s.Table)})
		}
	}
	return refs
}

// Status is what smelt.streams shows of a flow.
type Status struct {
	Database, Table string
	Kind            string // streaming_table or materialized_view
	State           string // idle, running, waiting, retrying or failed
	Strategy        string // append or recompute
	Reason          string // why this strategy, or what is waited for
	Sources         []string
	Statement       string            // the CREATE statement
	Actions         map[string]string // expectation -> what it does
	Lag             time.Duration     // age of the oldest source change that the table does not show yet; 0 when there is none
	LastError       string
}

// Flows returns the status of every flow, by database and table.
func (g *Graph) Flows() []Status {
	g.mu.Lock()
	flows := make([]*flow, 0, len(g.flows))
	for _, f := range g.flows {
		flows = append(flows, f)
	}
	g.mu.Unlock()
	slices.SortFunc(flows, func(a, b *flow) int { return strings.Compare(a.ref.String(), b.ref.String()) })
	list := make([]Status, len(flows))
	for i, f := range flows {
		list[i] = f.status()
	}
	return list
}

func (f *flow) status() Status {
	f.mu.Lock()
	s := Status{Database: f.ref.database, Table: f.ref.table, Kind: kindName(f.create.Kind), State: string(f.state), Reason: f.reason,
		Statement: f.create.Text, LastError: f.lastError, Actions: map[string]string{}}
	f.mu.Unlock()
	s.Strategy = strategyAppend
	reason := "each source row is seen once"
	if f.create.Kind == ddl.MaterializedView {
		s.Strategy, reason = strategyRecompute, f.recomputeReason()
	}
	if s.Reason == "" {
		s.Reason = reason
	}
	for _, r := range f.reads() {
		s.Sources = append(s.Sources, r.String())
	}
	for _, source := range f.create.Sources {
		if source.Files != nil {
			s.Sources = append(s.Sources, source.Files.Path)
		}
	}
	for _, e := range f.create.Expectations {
		s.Actions[e.Name] = e.Action.String()
	}
	s.Lag = f.lag()
	return s
}

// lag returns the age of the oldest commit of a source that the table does not show yet.
func (f *flow) lag() time.Duration {
	t, err := f.table()
	if err != nil {
		return 0
	}
	now := t.Snapshot()
	var oldest time.Time
	for _, r := range f.reads() {
		source, err := f.g.cfg.Store.Table(r.database, r.table)
		if err != nil {
			continue
		}
		snapshot := source.Snapshot()
		shown, ok := now.Txn(generation(now) + ":" + snapshot.ID())
		static := f.create.Kind == ddl.StreamingTable && slices.Contains(f.shape.reads, r)
		if static || ok && shown >= snapshot.Version() || !ok && snapshot.Rows() == 0 {
			continue
		}
		if !ok {
			shown = -1
		}
		if f.create.Kind == ddl.StreamingTable {
			changes, err := source.Changes(context.Background(), shown, 1)
			if err != nil || changes.RowCount == 0 {
				continue
			}
			shown = changes.To - 1
		}
		if at, ok := source.CommitTime(shown + 1); ok && (oldest.IsZero() || at.Before(oldest)) {
			oldest = at
		}
	}
	if oldest.IsZero() {
		return 0
	}
	return max(time.Since(oldest), time.Millisecond)
}
