package queries

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"

	"smelt/queries/ddl"
	"smelt/tables"
)

// Graph is all flows of a store. All methods are safe for concurrent use.
type Graph struct {
	cfg   Config
	slots chan struct{} // one for each batch that runs; its capacity is maxBatches

	define sync.Mutex // held while a definition changes: one at a time

	mu      sync.Mutex // guards what follows; nothing slow happens under it
	flows   map[string]*flow
	running context.Context // nil until Start
	cancel  context.CancelFunc
	closed  bool

	background sync.WaitGroup // refreshes that nobody waits for
}

// New returns a graph without flows. Nothing is read until Open.
func New(c Config) *Graph {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return &Graph{cfg: c, slots: make(chan struct{}, maxBatches), flows: map[string]*flow{}}
}

func key(database, name string) string { return strings.ToLower(database + "." + name) }

// cutName is the reverse of key.
func cutName(name string) (database, table string) {
	database, table, _ = strings.Cut(name, ".")
	return database, table
}

// Open reads the definitions back from the tables of the store. One that this version cannot run becomes a flow in state
// failed: its table stays readable, and the others go on. No flow runs before Start.
func (g *Graph) Open(context.Context) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, database := range g.cfg.Store.Databases() {
		for _, t := range g.cfg.Store.Tables(database) {
			for _, f := range storedFlows(g, t) {
				g.flows[f.key()] = f
			}
		}
	}
	return nil
}

// Start runs every flow continuously, and those that are created later.
func (g *Graph) Start() {
	if err := g.sweepAll(context.Background()); err != nil {
		g.cfg.Logger.Error("drop quarantines whose tables are gone", "err", err)
	}
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
		g.background.Wait()
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

// Refresh brings one table up to date and returns when it shows everything that was there at the call; full rebuilds it
// from the start. A flow that an expectation stopped runs again.
func (g *Graph) Refresh(ctx context.Context, database, name string, full bool) error {
	f, err := g.must(database, name, 0)
	if err != nil {
		return err
	}
	if full {
		defer f.signal()
		if err := f.full(ctx, "REFRESH ... FULL"); err != nil {
			f.settle(outcome{}, err)
			return err
		}
	}
	var errs []error
	for _, one := range g.flowsOf(f) {
		errs = append(errs, one.refresh(ctx))
	}
	return errors.Join(errs...)
}

// refresh runs the flow until it shows what was there at the call.
func (f *flow) refresh(ctx context.Context) error {
	defer f.signal()
	newest := f.newest()
	for {
		o, err := f.step(ctx)
		if !errors.Is(err, errRetired) {
			f.settle(o, err)
		}
		if err != nil {
			return err
		}
		if !o.did {
			return nil
		}
		if f.shows(newest) {
			f.settle(outcome{}, nil) // there may be more by now: the flow's own loop looks
			return nil
		}
	}
}

// newest returns the version that each source table of a stream has now, by id.
func (f *flow) newest() map[string]int64 {
	versions := map[string]int64{}
	for _, s := range f.create.Sources {
		if s.Files == nil {
			if t, err := f.sourceOf(s); err == nil {
				versions[t.Snapshot().ID()] = t.Snapshot().Version()
			}
		}
	}
	return versions
}

// shows reports whether the table has read its sources up to these versions, and all files that were listed. A busy
// source would keep a REFRESH that waits for quiet from ever ending.
func (f *flow) shows(newest map[string]int64) bool {
	if f.create.Kind == ddl.MaterializedView {
		return true
	}
	t, err := f.table()
	if err != nil {
		return false
	}
	now := t.Snapshot()
	for id, version := range newest {
		if at, ok := now.Txn(f.progressOf(now, id)); !ok || at < version {
			return false
		}
	}
	f.batch.Lock()
	defer f.batch.Unlock()
	for _, s := range f.create.Sources {
		if s.Files == nil {
			continue
		}
		if feed, ok := f.feeds[s.Placeholder]; !ok || feed.Pending() > 0 {
			return false
		}
	}
	return true
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
	readers := slices.Concat(g.readers(f.ref), g.readers(reference{f.ref.database, strings.ToLower(f.ref.table + QuarantineSuffix)}))
	if len(readers) > 0 {
		return fmt.Errorf("drop %s: %w: %s read it; drop them first", f.ref, ErrUnsupported, strings.Join(readers, ", "))
	}
	all := g.flowsOf(f)
	var errs []error
	for _, one := range all {
		g.remove(one)
		errs = append(errs, one.stop())
	}
	if err = errors.Join(errs...); err == nil {
		err = g.dropTables(ctx, f.ref)
	}
	if err != nil && !errors.Is(err, tables.ErrNotFound) {
		for _, one := range all {
			g.adopt(one)
		}
	}
	return err
}

// dropTables drops the table of a flow and then its quarantine. A crash between the two leaves one without a table, which
// sweep drops.
func (g *Graph) dropTables(ctx context.Context, table reference) error {
	if err := g.cfg.Store.Drop(ctx, table.database, table.table); err != nil {
		return err
	}
	q, err := g.cfg.Store.Table(table.database, table.table+QuarantineSuffix)
	if err != nil || !isQuarantine(q.Snapshot().Definition()) {
		return nil // it has none
	}
	return g.cfg.Store.Drop(ctx, table.database, q.Name())
}

// sweepAll is sweep of all databases.
func (g *Graph) sweepAll(ctx context.Context) error {
	var errs []error
	for _, database := range g.cfg.Store.Databases() {
		errs = append(errs, g.sweep(ctx, database))
	}
	return errors.Join(errs...)
}

// sweep takes quarantines along whose tables have another name, and drops those of a database whose tables are gone.
func (g *Graph) sweep(ctx context.Context, database string) error {
	var errs []error
	for _, t := range g.cfg.Store.Tables(database) {
		of, ok := strings.CutSuffix(t.Name(), QuarantineSuffix)
		if !ok || !isQuarantine(t.Snapshot().Definition()) {
			continue
		}
		if _, err := g.cfg.Store.Table(database, of); !errors.Is(err, tables.ErrNotFound) {
			continue
		}
		if to := t.Snapshot().Definition().Properties[propertyNewName]; to != "" {
			if _, err := g.cfg.Store.Table(database, to); err == nil {
				errs = append(errs, g.renameQuarantine(ctx, t, to))
				continue
			}
		}
		errs = append(errs, g.cfg.Store.Drop(ctx, database, t.Name()))
	}
	return errors.Join(errs...)
}

func (g *Graph) remove(f *flow) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.flows, f.key())
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
	return slices.Compact(names)
}

// reads lists every table that the flow reads, streams included.
func (f *flow) reads() []reference {
	refs := slices.Clone(f.shape.reads)
	for _, s := range f.create.Sources {
		if s.Files == nil {
			refs = append(refs, f.streamed(s))
		}
	}
	return refs
}
