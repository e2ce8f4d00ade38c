package queries

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"smelt/queries/ddl"
	"smelt/tables"
)

// State of a flow, as smelt.streams shows it.
type state string

const (
	stateIdle     state = "idle"     // everything that is there was read
	stateRunning  state = "running"  // a batch is on its way
	stateWaiting  state = "waiting"  // the columns are not known yet
	stateRetrying state = "retrying" // the last batch failed and will be tried again
	stateFailed   state = "failed"   // an expectation stopped the flow until REFRESH or a new definition
)

// flow keeps one table up to date.
type flow struct {
	g        *Graph
	ref      reference // the table, as it was named
	database string    // current database of the statement
	base     string    // directory for relative paths
	create   *ddl.Create
	shape    *shape

	batch sync.Mutex // held while a batch runs: one at a time
	feeds map[string]Feed

	wake   chan struct{} // buffered 1: something may have changed, or the state was reset
	cancel context.CancelFunc
	done   chan struct{} // closed when the goroutine of the flow has ended; nil before it was started

	mu        sync.Mutex // guards what follows; nothing slow happens under it
	state     state
	reason    string // what a waiting flow waits for
	lastError string
}

func newFlow(g *Graph, c *ddl.Create, ref reference, database, base string) (*flow, error) {
	s, err := shapeOf(c.Query, database)
	if err != nil {
		return nil, err
	}
	if err := checkShape(c, s); err != nil {
		return nil, err
	}
	return &flow{g: g, ref: ref, database: database, base: base, create: c, shape: s, feeds: map[string]Feed{}, wake: make(chan struct{}, 1), state: stateIdle}, nil
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

// generation returns the UUID under which the table's present content keeps its progress.
func generation(s *tables.Snapshot) string { return s.Definition().Properties[propertyFlow] }

// sourceIDs returns the ids of the source tables that the present content began with.
func sourceIDs(s *tables.Snapshot) (map[string]string, error) {
	ids := map[string]string{}
	text := s.Definition().Properties[propertySources]
	if text == "" {
		return ids, nil
	}
	if err := json.Unmarshal([]byte(text), &ids); err != nil {
		return nil, fmt.Errorf("read property %s: %w", propertySources, err)
	}
	return ids, nil
}

// step does one batch of work. did is false when there was nothing to do.
func (f *flow) step(ctx context.Context) (did bool, p Progress, err error) {
	f.batch.Lock()
	defer f.batch.Unlock()
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("refresh %s: panic: %v", f.ref, r)
			f.g.cfg.Logger.Error("panic in a flow", "table", f.ref.String(), "panic", r)
		}
	}()
	p = Progress{Database: f.ref.database, Table: f.ref.table, Started: time.Now()}
	if f.create.Kind == ddl.StreamingTable {
		did, err = f.appendBatch(ctx, &p)
	} else {
		did, err = f.recompute(ctx, &p, false)
	}
	if err != nil {
		err = fmt.Errorf("refresh %s: %w", f.ref, err)
	}
	return did, p, err
}

// input is what one batch of a streaming table reads.
type input struct {
	tables map[string]tables.Relation // placeholder -> new rows
	txns   map[string]int64           // progress to commit with them
	feeds  []FeedBatch
	rows   int64
	empty  string // what is waited for when a source has no columns yet
}

// appendBatch runs the SELECT over the new rows of the streams and appends what it yields.
func (f *flow) appendBatch(ctx context.Context, p *Progress) (bool, error) {
	t, err := f.table()
	if err != nil {
		return false, err
	}
	now := t.Snapshot()
	if again, why, err := f.outdated(now); err != nil || again {
		if err != nil {
			return false, err
		}
		return true, f.restart(ctx, t, why)
	}
	in, err := f.read(ctx, t, now)
	p.Read = time.Since(p.Started)
	if err != nil || in.rows == 0 && len(in.feeds) == 0 {
		if err == nil && in.empty != "" {
			f.set(stateWaiting, in.empty, nil)
		}
		return false, err
	}
	f.set(stateRunning, "", nil)
	p.RowsIn, p.Strategy, p.Reason = in.rows, strategyAppend, "each source row is seen once"
	return true, f.write(ctx, t, in.tables, tables.Commit{Operation: "STREAMING UPDATE", Txns: in.txns}, p, in.feeds)
}

// read gathers the new rows of every stream of the SELECT.
func (f *flow) read(ctx context.Context, t *tables.Table, now *tables.Snapshot) (*input, error) {
	in := &input{tables: map[string]tables.Relation{}, txns: map[string]int64{}}
	for _, s := range f.create.Sources {
		var err error
		if s.Files != nil {
			err = f.readFeed(ctx, in, s, t, now)
		} else {
			err = f.readTable(ctx, in, s, now)
		}
		if err != nil {
			return nil, err
		}
	}
	return in, nil
}

func (f *flow) sourceOf(s ddl.Source) (*tables.Table, error) {
	database := s.Database
	if database == "" {
		database = f.database
	}
	return f.g.cfg.Store.Table(database, s.Table)
}

func (f *flow) readTable(ctx context.Context, in *input, s ddl.Source, now *tables.Snapshot) error {
	source, err := f.sourceOf(s)
	if err != nil {
		return err
	}
	snapshot := source.Snapshot()
	if len(snapshot.Schema()) == 0 {
		in.empty = fmt.Sprintf("the columns of %s are not known yet", source.Name())
		return nil
	}
	app := generation(now) + ":" + snapshot.ID()
	from, ok := now.Txn(app)
	if !ok {
		from = -1
	}
	changes, err := source.Changes(ctx, from, maxBatchRows)
	if err != nil {
		return err
	}
	if changes.Rewritten {
		return fmt.Errorf("%w: version %d of %s removed or changed rows, a stream only sees new ones; REFRESH STREAMING TABLE %s FULL starts over",
			ErrUnsupported, changes.RewriteVersion, source.Name(), f.ref.table)
	}
	in.tables[strings.ToLower(s.Placeholder)] = changes
	in.txns[app] = changes.To
	in.rows += changes.RowCount
	return nil
}

func (f *flow) readFeed(ctx context.Context, in *input, s ddl.Source, t *tables.Table, now *tables.Snapshot) error {
	feed, err := f.feed(ctx, s, t, now)
	if err != nil {
		return err
	}
	batch, err := feed.Next(ctx)
	if err != nil {
		return err
	}
	if batch == nil {
		if feed.Empty() {
			in.empty = "no file has arrived in " + s.Files.Path
		}
		in.tables[strings.ToLower(s.Placeholder)] = tables.FromBatches(feed.Schema())
		return nil
	}
	in.tables[strings.ToLower(s.Placeholder)] = batch
	in.feeds = append(in.feeds, batch)
	in.txns[generation(now)+":"+s.Placeholder] = batch.Number()
	if c, ok := batch.(tables.Counter); ok {
		in.rows += c.Rows()
	}
	return nil
}

// feed returns the open feed of a source.
func (f *flow) feed(ctx context.Context, s ddl.Source, t *tables.Table, now *tables.Snapshot) (Feed, error) {
	if feed, ok := f.feeds[s.Placeholder]; ok {
		return feed, nil
	}
	committed, _ := now.Txn(generation(now) + ":" + s.Placeholder)
	state := t.StateDir(generation(now) + "-" + strings.ReplaceAll(s.Placeholder, ":", "-"))
	feed, err := f.g.cfg.Feed(ctx, *s.Files, f.base, state, committed)
	if err != nil {
		return nil, err
	}
	f.feeds[s.Placeholder] = feed
	return feed, nil
}

func (f *flow) closeFeeds() error {
	var errs []error
	for name, feed := range f.feeds {
		errs = append(errs, feed.Close())
		delete(f.feeds, name)
	}
	return errors.Join(errs...)
}

// write runs the SELECT over the overlay and commits what it yields.
func (f *flow) write(ctx context.Context, t *tables.Table, overlay map[string]tables.Relation, c tables.Commit, p *Progress, feeds []FeedBatch) error {
	for _, r := range f.shape.reads {
		if source, err := f.g.cfg.Store.Table(r.database, r.table); err == nil && overlay[r.String()] == nil {
			overlay[r.String()] = source.Snapshot()
		}
	}
	result, err := f.g.cfg.Query(ctx, Query{Database: f.database, SQL: withExpectations(f.create), Tables: overlay})
	if err != nil {
		return err
	}
	defer result.Close()
	rows := newChecked(result, f.create.Expectations, p)
	if c.Define == nil {
		if c.Define, err = f.widened(t.Snapshot(), rows.Schema()); err != nil {
			return err
		}
	}
	c.Rows = rows
	c.Parameters = map[string]string{"kind": kindName(f.create.Kind)}
	c.Metrics = map[string]string{}
	c.Prepare = func(ctx context.Context) error {
		for _, b := range feeds {
			if err := b.Record(ctx); err != nil {
				return err
			}
			maps.Copy(c.Metrics, b.Metrics())
		}
		p.Duration = time.Since(p.Started)
		p.Write = max(0, p.Duration-p.Read-p.Query)
		maps.Copy(c.Metrics, p.metrics())
		return nil
	}
	if p.Version, err = t.Commit(ctx, c); err != nil {
		return err
	}
	for _, b := range feeds {
		b.Committed()
	}
	return nil
}

// widened returns a definition with the columns that the result has and the table lacks, nil if there are none. A type
// that differs is an error: files of the old type are there.
func (f *flow) widened(now *tables.Snapshot, result tables.Schema) (*tables.Definition, error) {
	schema := now.Schema()
	var added tables.Schema
	for _, col := range result {
		i := schema.Index(col.Name)
		switch {
		case i < 0:
			added = append(added, col)
		case schema[i].Type != col.Type:
			return nil, fmt.Errorf("column %q is %s now and was %s; REFRESH ... FULL rebuilds the table: %w", col.Name, col.Type, schema[i].Type, ErrUnsupported)
		}
	}
	if len(added) == 0 {
		return nil, nil
	}
	d := now.Definition()
	d.Schema = f.commented(append(append(tables.Schema{}, schema...), added...))
	return &d, nil
}

// newGeneration is a name for the progress of fresh content.
func newGeneration() string { return uuid.NewString() }
