package engine

import (
	"context"
	"errors"
	"io"

	"github.com/dolthub/go-mysql-server/sql"

	"smelt/tables"
)

// storeTable is a table of the store as one statement sees it: reads come from the pinned snapshot, an INSERT makes one
// commit.
type storeTable struct {
	*relationTable
	provider *provider
	table    *tables.Table
}

var (
	_ sql.InsertableTable   = (*storeTable)(nil)
	_ sql.TruncateableTable = (*storeTable)(nil)
	_ sql.ProjectedTable    = (*storeTable)(nil)
)

// newStoreTable shows rows of a table; own has the columns be there that the system keeps for itself.
func newStoreTable(p *provider, t *tables.Table, snapshot *tables.Snapshot, rows tables.Relation, own bool) (*storeTable, error) {
	def := snapshot.Definition()
	r, err := newRelationTable(t.Database(), t.Name(), def.Comment, withoutOwn(rows, own))
	if err != nil {
		return nil, err
	}
	r.bytes = snapshot.Bytes()
	applyProperties(r.all, def.Properties)
	return &storeTable{relationTable: r, provider: p, table: t}, nil
}

// WithProjections implements sql.ProjectedTable.
func (t *storeTable) WithProjections(_ *sql.Context, names []string) (sql.Table, error) {
	r, err := t.relationTable.project(names)
	if err != nil {
		return nil, err
	}
	return &storeTable{relationTable: r, provider: t.provider, table: t.table}, nil
}

// Inserter implements sql.InsertableTable.
func (t *storeTable) Inserter(*sql.Context) sql.RowInserter {
	w := &tableWriter{table: t.table, operation: "WRITE"}
	w.refused = t.provider.ownedByFlow(t.table.Database(), t.table.Name(), "INSERT")
	w.builder = newBatchBuilder(t.all, t.relation.Schema())
	return w
}

// Truncate implements sql.TruncateableTable. It returns how many rows went.
func (t *storeTable) Truncate(ctx *sql.Context) (int, error) {
	if err := t.provider.ownedByFlow(t.table.Database(), t.table.Name(), "TRUNCATE"); err != nil {
		return 0, err
	}
	rows := t.table.Snapshot().Rows()
	noteChange(ctx)
	_, err := t.table.Commit(ctx, tables.Commit{Operation: "TRUNCATE", Overwrite: true})
	statementOf(ctx).drop(t.table.Database(), t.table.Name())
	return int(rows), edge(err)
}

// errDiscarded stops a commit whose statement has failed; no client sees it.
var errDiscarded = errors.New("insert rows: the statement failed")

// tableWriter gathers the rows of one INSERT and commits them once, at the end. Rows beyond one batch flow through a
// channel to the running commit, so that INSERT ... SELECT of any size holds only a few batches in memory.
type tableWriter struct {
	table     *tables.Table
	operation string
	refused   error
	builder   *batchBuilder

	feed   chan *tables.Batch // nil until the first full batch
	abort  chan struct{}      // closed by discard
	result chan error         // of the commit in the background
	failed bool
	closed bool
}

// StatementBegin implements sql.EditOpenerCloser.
func (w *tableWriter) StatementBegin(*sql.Context) {}

// DiscardChanges implements sql.EditOpenerCloser.
func (w *tableWriter) DiscardChanges(*sql.Context, error) error {
	w.discard()
	return nil
}

// StatementComplete implements sql.EditOpenerCloser. Rows are committed by Close: go-mysql-server calls it exactly once.
func (w *tableWriter) StatementComplete(*sql.Context) error { return nil }

// Insert implements sql.RowInserter.
func (w *tableWriter) Insert(ctx *sql.Context, row sql.Row) error {
	if w.refused != nil {
		w.failed = true
		return w.refused
	}
	if err := w.builder.add(ctx, row); err != nil {
		w.discard()
		return edge(err)
	}
	if w.builder.batch.Len < batchRows {
		return nil
	}
	w.start(ctx)
	select {
	case w.feed <- w.builder.take():
		return nil
	case err := <-w.result:
		w.failed, w.feed = true, nil
		return edge(err)
	case <-ctx.Done():
		w.discard()
		return context.Cause(ctx)
	}
}

// start begins the commit in the background.
func (w *tableWriter) start(ctx context.Context) {
	if w.feed != nil {
		return
	}
	w.feed, w.abort, w.result = make(chan *tables.Batch), make(chan struct{}), make(chan error, 1)
	go func() {
		_, err := w.table.Commit(ctx, tables.Commit{Operation: w.operation, Rows: &feedReader{feed: w.feed, abort: w.abort}})
		w.result <- err
	}()
}

// discard ends a running commit without effect and waits for it.
func (w *tableWriter) discard() {
	w.failed = true
	if w.feed != nil {
		close(w.abort)
		<-w.result
		w.feed = nil
	}
}

// Close implements sql.RowInserter: it commits unless the statement failed.
func (w *tableWriter) Close(ctx *sql.Context) error {
	if w.closed || w.failed {
		return nil
	}
	w.closed = true
	noteChange(ctx)
	// A cancelled statement is closed like a complete one: without this look its first rows would be committed.
	if ctx.Err() != nil {
		w.discard()
		return context.Cause(ctx)
	}
	last := w.builder.take()
	if w.feed == nil {
		if last == nil {
			return nil
		}
		_, err := w.table.Commit(ctx, tables.Commit{Operation: w.operation, Rows: &feedReader{first: last}})
		statementOf(ctx).drop(w.table.Database(), w.table.Name())
		return edge(err)
	}
	if last != nil {
		select {
		case w.feed <- last:
		case err := <-w.result:
			return edge(err)
		}
	}
	close(w.feed)
	err := <-w.result
	statementOf(ctx).drop(w.table.Database(), w.table.Name())
	return edge(err)
}

// feedReader is the tables.Reader end of a tableWriter: the batches of feed until it is closed.
type feedReader struct {
	first *tables.Batch
	feed  chan *tables.Batch // nil: first is all
	abort chan struct{}
}

// Next implements tables.Reader.
func (r *feedReader) Next(ctx context.Context) (*tables.Batch, error) {
	if b := r.first; b != nil {
		r.first = nil
		return b, nil
	}
	if r.feed == nil {
		return nil, io.EOF
	}
	select {
	case b, ok := <-r.feed:
		if !ok {
			return nil, io.EOF
		}
		return b, nil
	case <-r.abort:
		return nil, errDiscarded
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Close implements tables.Reader.
func (r *feedReader) Close() error { return nil }
