package queries

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"smelt/queries/cron"
	"smelt/queries/ddl"
	"smelt/queries/lexer"
	"smelt/queries/lineage"
	"smelt/queries/spark"
	"smelt/tables"
)

// State of a flow, as smelt.streams shows it.
type state string

const (
	stateIdle      state = "idle"      // everything that is there was read
	stateRunning   state = "running"   // a batch is on its way
	stateWaiting   state = "waiting"   // the columns of a source are not known yet
	stateStale     state = "stale"     // a model that it asks means another version now: its columns are about to be computed anew
	stateRetrying  state = "retrying"  // the last batch failed and will be tried again
	stateSuspended state = "suspended" // ALTER ... SUSPEND
	stateFailed    state = "failed"    // an expectation stopped the flow until REFRESH or a new definition
)

var (
	// errRetired is what a flow answers that was dropped, replaced or closed in the meantime.
	errRetired = errors.New("it was dropped, defined anew or closed meanwhile")
	// errStored is what a flow answers whose definition, made by another version of smelt, cannot run in this one.
	errStored = errors.New("its stored definition cannot run")
)

// flow keeps one table up to date, or is one of several that do.
type flow struct {
	g        *Graph
	name     string    // of a flow that was added to a table; "" for the table's own
	into     *flow     // the table's own flow, of one that was added; guarded by Graph.mu
	text     string    // the statement that made it
	ref      reference // the table, as it was named
	database string    // current database of the statement
	base     string    // directory for relative paths
	create   *ddl.Create
	shape    *shape
	schedule *cron.Schedule // when it runs; nil for whenever a source changes
	loaded   string         // the statement in its normal form that ALTER has changed since; "" for none
	broken   error          // why a stored definition cannot run; nil for all others

	batch     *sync.Mutex // held while a batch of the table runs: one at a time; guards the fields down to seen
	feeds     map[string]Feed
	versions  map[string]lineage.Model // of the models that the batch asks, by the names that the SELECT calls
	retired   bool                     // no batch may begin: another definition may have taken the table
	beside    *tables.Table            // the open state of a table of changes, and its name; of the table's own flow
	stateName string
	known     *knownKeys
	last      map[string]*tables.Snapshot // the sources as the view has read them, by id
	seen      map[string]int64            // versions of sources, by id, up to which nothing was to be done; written under mu, too

	wake   chan struct{} // buffered 1: something may have changed, or the state was reset
	cancel context.CancelFunc
	done   chan struct{} // closed when the goroutine of the flow has ended; nil before it was started; guarded by Graph.mu

	mu        sync.Mutex // guards what follows; nothing slow happens under it
	state     state
	reason    string // what a waiting or failed flow waits for
	lastError string
	planned   *planned  // how a view is maintained; nil before it was asked
	next      time.Time // when a schedule lets it run again; zero without one
	suspended bool      // of the table's own flow
}

func newFlow(g *Graph, c *ddl.Create, ref reference, database, base string) (*flow, error) {
	schedule, err := scheduleOf(c)
	if err != nil {
		return nil, err
	}
	if c.Query == "" {
		f := emptyFlow(g, c, ref, database, base) // flows that are added fill the table
		f.schedule = schedule
		return f, nil
	}
	s, err := shapeOf(c.Query, database)
	var syntax *spark.Error
	if errors.As(err, &syntax) {
		line, column := c.Place(syntax.Offset)
		return nil, &lexer.SyntaxError{Line: line, Column: column, Want: "what MySQL or Spark take here", Got: syntax.Near()}
	}
	if err != nil {
		return nil, err
	}
	if err := checkShape(c, s); err != nil {
		return nil, err
	}
	f := emptyFlow(g, c, ref, database, base)
	f.shape, f.schedule = s, schedule
	if slices.Contains(f.modelCalls().names(), "") {
		return nil, fmt.Errorf("%s %s: %w: predict() reads the name of its model from the rows; write it in quotes, so that the table knows when it moves",
			strings.ToLower(c.Kind.String()), c.Name, ErrUnsupported)
	}
	return f, nil
}

func emptyFlow(g *Graph, c *ddl.Create, ref reference, database, base string) *flow {
	return &flow{g: g, ref: ref, database: database, base: base, create: c, text: c.Text, batch: &sync.Mutex{}, shape: &shape{}, feeds: map[string]Feed{},
		wake: make(chan struct{}, 1), state: stateIdle}
}

func (f *flow) set(s state, reason string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.state, f.reason = s, reason
	switch {
	case err != nil:
		f.lastError = firstLine(err.Error())
	case s == stateIdle:
		f.lastError = ""
	}
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

// signal wakes the flow's goroutine.
func (f *flow) signal() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

func (f *flow) table() (*tables.Table, error) {
	return f.g.cfg.Store.Table(f.ref.database, f.ref.table)
}

// newGeneration is a name for the progress of fresh content.
func newGeneration() string { return uuid.NewString() }

// outcome is what one step of a flow did.
type outcome struct {
	did      bool     // a batch was committed, or the table was made anew
	waiting  string   // what the flow waits for; "" when it waits for nothing but news
	progress Progress // of the batch
}

// step does one batch of work.
func (f *flow) step(ctx context.Context) (o outcome, err error) {
	err = f.alone(ctx, func() error {
		if o.waiting = f.unlearned(); o.waiting != "" {
			return nil
		}
		if err := f.tidy(ctx); err != nil {
			return err
		}
		o.progress = Progress{Database: f.ref.database, Table: f.ref.table, Started: time.Now()}
		if f.create.Kind == ddl.StreamingTable {
			return f.appendBatch(ctx, &o)
		}
		return f.recompute(ctx, &o, false)
	})
	return o, err
}

// full rebuilds the table from the start.
func (f *flow) full(ctx context.Context, why string) error {
	return f.alone(ctx, func() error {
		if why := f.unlearned(); why != "" {
			return fmt.Errorf("%w: %s", ErrUnsupported, why)
		}
		if f.create.Kind == ddl.StreamingTable {
			t, err := f.table()
			if err != nil {
				return err
			}
			return f.own().restart(ctx, t, why)
		}
		o := outcome{progress: Progress{Database: f.ref.database, Table: f.ref.table, Started: time.Now()}}
		return f.recompute(ctx, &o, true)
	})
}

// alone runs work while no other batch of the flow runs and no more than maxBatches of all. A panic becomes its error.
func (f *flow) alone(ctx context.Context, work func() error) (err error) {
	f.batch.Lock()
	defer f.batch.Unlock()
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
			f.g.cfg.Logger.Error("panic in a flow", "table", f.ref.String(), "panic", r)
		}
		if err != nil {
			err = fmt.Errorf("refresh %s: %w", f.ref, err)
		}
	}()
	if f.retired {
		return errRetired
	}
	if f.broken != nil {
		return f.broken
	}
	select {
	case f.g.slots <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-f.g.slots }()
	if err := f.settleTable(); err != nil {
		return err
	}
	if f.versions, err = f.asked(); err != nil {
		return err
	}
	return work()
}

// settleTable finds out, before anything is planned by what the table holds, whether an earlier commit stands.
func (f *flow) settleTable() error {
	t, err := f.table()
	if errors.Is(err, tables.ErrNotFound) {
		return nil // the work says what that means
	}
	if err != nil {
		return err
	}
	return t.Settle()
}

// settle shows the outcome of a step in the flow's state.
func (f *flow) settle(o outcome, err error) {
	switch {
	case errors.Is(err, ErrExpectation):
		f.set(stateFailed, "an expectation says FAIL UPDATE; REFRESH tries again", err)
	case errors.Is(err, errStored):
		f.set(stateFailed, "its stored definition cannot run; define it anew", err)
	case err != nil:
		f.set(stateRetrying, "", err)
	case o.waiting != "":
		f.set(stateWaiting, o.waiting, nil)
	case !o.did || f.create.Kind == ddl.MaterializedView:
		// What changes while a view rests is taken up by the next recompute, whichever changes come.
		f.set(stateIdle, "", nil)
	}
}

// appendBatch runs the SELECT over the new rows of the streams and appends what it yields.
func (f *flow) appendBatch(ctx context.Context, o *outcome) error {
	t, err := f.table()
	if err != nil {
		return err
	}
	now := t.Snapshot()
	if why, err := f.outdated(now); err != nil || why != "" {
		if err != nil {
			return err
		}
		o.did = true
		return f.own().restart(ctx, t, why)
	}
	if moved, why, err := f.movedModels(now, f.versions); err != nil {
		return err
	} else if len(moved) > 0 {
		return f.remodel(ctx, t, moved, why, o)
	}
	pinned, err := f.pin()
	if err != nil {
		return err
	}
	if o.waiting = unready(pinned); o.waiting != "" {
		return nil
	}
	in, err := f.read(ctx, t, now)
	p := &o.progress
	p.Read = time.Since(p.Started)
	switch {
	case err != nil:
		return err
	case in.rebuilt:
		o.did = true // outdated sees it the next time
		return nil
	case in.gone != nil:
		return f.retract(ctx, t, in.gone, pinned, o) // what else was read comes again
	case in.waiting != "":
		o.waiting = in.waiting
		// What others have read comes again with the next batch.
		if o.did = len(in.feeds) > 0 && in.rows == 0; o.did {
			return f.pass(ctx, t, in)
		}
		return nil
	case in.rows == 0 && len(in.feeds) == 0:
		return nil
	}
	if f.exclude() {
		o.did = true
		return nil // what was read comes again
	}
	f.set(stateRunning, "", nil)
	for name, s := range pinned {
		in.tables[name] = s
	}
	p.RowsIn, o.did = in.rows, true
	p.Strategy, p.Reason = f.strategy()
	write := f.write
	if f.create.Changes != nil {
		write = f.applyChanges
	}
	err = write(ctx, t, in.tables, tables.Commit{Operation: "STREAMING UPDATE", Txns: in.txns}, p, in.feeds)
	if err == nil || !slices.ContainsFunc(in.feeds, FeedBatch.Again) {
		return err
	}
	f.g.cfg.Logger.Info("batch is planned anew", "table", f.ref.String(), "err", err)
	o.progress = Progress{Database: p.Database, Table: p.Table, Started: p.Started}
	return f.appendBatch(ctx, o) // each time there are fewer files that can disappoint
}
