package engine

import (
	"context"
	"errors"

	"github.com/dolthub/go-mysql-server/sql"
	"github.com/dolthub/vitess/go/vt/sqlparser"

	"smelt/tables"
)

// maxEditRows bounds the rows of one UPDATE or DELETE: they are held in memory until the statement ends, old and new.
const maxEditRows = 2 << 20

var (
	_ sql.DeletableTable = (*storeTable)(nil)
	_ sql.UpdatableTable = (*storeTable)(nil)
)

// Deleter implements sql.DeletableTable.
func (t *storeTable) Deleter(*sql.Context) sql.RowDeleter { return t.editor("DELETE") }

// Updater implements sql.UpdatableTable.
func (t *storeTable) Updater(*sql.Context) sql.RowUpdater { return t.editor("UPDATE") }

func (t *storeTable) editor(operation string) *tableEditor {
	w := &tableEditor{table: t.table, operation: operation, old: newBatchBuilder(t.all, t.relation.Schema())}
	w.refused = t.provider.ownedByFlow(t.table.Database(), t.table.Name(), operation)
	if operation == "UPDATE" {
		w.updated = newBatchBuilder(t.all, t.relation.Schema())
	}
	return w
}

// tableEditor gathers the rows of one UPDATE or DELETE and changes the table once, at the end.
type tableEditor struct {
	table     *tables.Table
	operation string
	refused   error
	old       *batchBuilder
	updated   *batchBuilder // nil for DELETE
	failed    bool
	closed    bool
}

// StatementBegin implements sql.EditOpenerCloser.
func (w *tableEditor) StatementBegin(*sql.Context) {}

// DiscardChanges implements sql.EditOpenerCloser.
func (w *tableEditor) DiscardChanges(*sql.Context, error) error {
	w.failed = true
	return nil
}

// StatementComplete implements sql.EditOpenerCloser. Rows are changed by Close: go-mysql-server calls it exactly once.
func (w *tableEditor) StatementComplete(*sql.Context) error { return nil }

// Delete implements sql.RowDeleter.
func (w *tableEditor) Delete(ctx *sql.Context, row sql.Row) error { return w.take(ctx, row, nil) }

// Update implements sql.RowUpdater.
func (w *tableEditor) Update(ctx *sql.Context, old, updated sql.Row) error {
	return w.take(ctx, old, updated)
}

func (w *tableEditor) take(ctx *sql.Context, old, updated sql.Row) error {
	err := w.refused
	if err == nil && w.old.batch.Len >= maxEditRows {
		err = mysqlError(errResultTooBig, "%s of more than %d rows: CREATE TABLE ... AS SELECT makes a table of any size", w.operation, maxEditRows)
	}
	if err == nil {
		err = w.old.add(ctx, old)
	}
	if err == nil && w.updated != nil {
		err = w.updated.add(ctx, updated)
	}
	if err != nil {
		w.failed = true
	}
	return edge(err)
}

// Close implements sql.Closer: it changes the table unless the statement failed.
func (w *tableEditor) Close(ctx *sql.Context) error {
	if w.closed || w.failed {
		return nil
	}
	w.closed = true
	if ctx.Err() != nil { // a cancelled statement is closed like a complete one
		return context.Cause(ctx)
	}
	old := w.old.take()
	if old == nil {
		return nil
	}
	var updated *tables.Batch
	if w.updated != nil {
		updated = w.updated.take()
	}
	_, err := w.table.Edit(ctx, old, updated, tables.Commit{Operation: w.operation, Parameters: statementOf(ctx).parameters()})
	statementOf(ctx).drop(w.table.Database(), w.table.Name())
	if err == nil {
		noteChange(ctx)
	}
	if errors.Is(err, tables.ErrChanged) {
		if joined(statementOf(ctx)) {
			return notYet("DELETE of joined tables where a row matches several others (WHERE may hold a subquery)")
		}
		return mysqlError(errLockWait, "%s: another statement has changed these rows; try again", w.operation)
	}
	return edge(err)
}

// joined reports whether a statement is a DELETE of joined tables. Such a one names a row as often as it has matches, and
// rows are known by value, so that the one that matches twice looks like two of which one is gone.
func joined(s *statement) bool {
	if s == nil {
		return false
	}
	parsed, err := sqlparser.Parse(s.text[:statementEnd(s.text)])
	d, ok := parsed.(*sqlparser.Delete)
	return err == nil && ok && (len(d.TableExprs) != 1 || joins(d.TableExprs[0]))
}
