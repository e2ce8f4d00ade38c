package engine

import (
	"context"
	"errors"
	"log/slog"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/dolthub/vitess/go/mysql"
	"github.com/dolthub/vitess/go/sqltypes"
	querypb "github.com/dolthub/vitess/go/vt/proto/query"
	"github.com/dolthub/vitess/go/vt/sqlparser"
)

// handler stands before the handler of go-mysql-server: it gives each statement its own context with a limit of time,
// turns panics into errors, and restates all errors in MySQL's words. It does not implement mysql.ExtendedHandler.
type handler struct {
	inner   mysql.Handler
	log     *slog.Logger
	timeout time.Duration
	stop    context.Context // cancelled when the server closes

	mu          sync.Mutex
	connections map[*mysql.Conn]struct{}
	closing     bool
	idle        *sync.Cond // signalled under mu when a connection has gone
}

var _ mysql.Handler = (*handler)(nil)

func newHandler(stop context.Context, inner mysql.Handler, log *slog.Logger, timeout time.Duration) *handler {
	h := &handler{inner: inner, log: log, timeout: timeout, stop: stop, connections: map[*mysql.Conn]struct{}{}}
	h.idle = sync.NewCond(&h.mu)
	return h
}

// NewConnection implements mysql.Handler. The AUTOCOMMIT flag of the handshake is on: clients that see it off send a
// SET autocommit first.
func (h *handler) NewConnection(c *mysql.Conn) {
	h.mu.Lock()
	h.connections[c] = struct{}{}
	closing := h.closing
	h.mu.Unlock()
	c.StatusFlags |= mysql.ServerStatusAutocommit
	plainConn(c)
	h.inner.NewConnection(c)
	if closing {
		c.Close()
	}
}

// ConnectionClosed implements mysql.Handler.
func (h *handler) ConnectionClosed(c *mysql.Conn) {
	h.inner.ConnectionClosed(c)
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.connections, c)
	h.idle.Broadcast()
}

// closeAll closes every connection and refuses new ones.
func (h *handler) closeAll() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closing = true
	for c := range h.connections {
		c.Close()
	}
}

// wait returns when no connection is left or ctx has ended.
func (h *handler) wait(ctx context.Context) error {
	wake := context.AfterFunc(ctx, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.idle.Broadcast()
	})
	defer wake()
	h.mu.Lock()
	defer h.mu.Unlock()
	for len(h.connections) > 0 && ctx.Err() == nil {
		h.idle.Wait()
	}
	return ctx.Err()
}

// ConnectionAuthenticated implements mysql.Handler.
func (h *handler) ConnectionAuthenticated(c *mysql.Conn) error {
	return h.inner.ConnectionAuthenticated(c)
}

// ConnectionAborted implements mysql.Handler.
func (h *handler) ConnectionAborted(c *mysql.Conn, reason string) error {
	return h.inner.ConnectionAborted(c, reason)
}

// ComInitDB implements mysql.Handler.
func (h *handler) ComInitDB(c *mysql.Conn, database string) error {
	return h.run(context.Background(), "", func(context.Context) error { return h.inner.ComInitDB(c, database) })
}

// ComQuery implements mysql.Handler.
func (h *handler) ComQuery(ctx context.Context, c *mysql.Conn, query string, callback mysql.ResultSpoolFn) error {
	return h.run(ctx, query, func(ctx context.Context) error { return h.inner.ComQuery(ctx, c, query, typed(callback)) })
}

// ComMultiQuery implements mysql.Handler: it runs the first statement of query and returns the rest.
func (h *handler) ComMultiQuery(ctx context.Context, c *mysql.Conn, query string, callback mysql.ResultSpoolFn) (rest string, err error) {
	err = h.run(ctx, query, func(ctx context.Context) (err error) {
		rest, err = h.inner.ComMultiQuery(ctx, c, query, typed(callback))
		return err
	})
	return rest, err
}

// ComPrepare implements mysql.Handler.
func (h *handler) ComPrepare(ctx context.Context, c *mysql.Conn, query string, prepare *mysql.PrepareData) (fields []*querypb.Field, err error) {
	err = h.run(ctx, query, func(ctx context.Context) (err error) {
		fields, err = h.inner.ComPrepare(ctx, c, query, prepare)
		return err
	})
	return textAsVarchar(fields), err
}

// ComStmtExecute implements mysql.Handler.
func (h *handler) ComStmtExecute(ctx context.Context, c *mysql.Conn, prepare *mysql.PrepareData, callback func(*sqltypes.Result) error) error {
	return h.run(ctx, prepare.PrepareStmt, func(ctx context.Context) error {
		return h.inner.ComStmtExecute(ctx, c, prepare, func(r *sqltypes.Result) error {
			r.Fields = textAsVarchar(r.Fields)
			return callback(r)
		})
	})
}

// resultBytesMax bounds the values of one result: go-mysql-server keeps the bytes of a result in memory until its last
// row is sent.
const resultBytesMax = 4 << 30

// shortestInfo is the length, in bytes, below which MariaDB's client takes the words that go with an OK for a broken
// packet: vitess writes a # before them, 35, which it reads as their length. "Statement prepared" is shorter.
const shortestInfo = '#'

// typed passes results on with the column types that MySQL would state, up to resultBytesMax.
func typed(callback mysql.ResultSpoolFn) mysql.ResultSpoolFn {
	bytes := 0
	return func(r *sqltypes.Result, more bool) error {
		r.Fields = textAsVarchar(r.Fields)
		if len(r.Info) < shortestInfo {
			r.Info = ""
		}
		for _, row := range r.Rows {
			for _, v := range row {
				bytes += v.Len()
			}
		}
		if bytes > resultBytesMax {
			return mysqlError(errResultTooBig, "The result has more than %d bytes; add a LIMIT or read the table's Parquet files", resultBytesMax)
		}
		return callback(r, more)
	}
}

// textAsVarchar states VARCHAR where go-mysql-server says TEXT: it gives that type to every literal and to every
// function of text, MySQL does not, and dashboards leave TEXT columns without a type.
func textAsVarchar(fields []*querypb.Field) []*querypb.Field {
	for _, f := range fields {
		if f.Type == sqltypes.Text {
			f.Type = sqltypes.VarChar
		}
	}
	return fields
}

// WarningCount implements mysql.Handler.
func (h *handler) WarningCount(c *mysql.Conn) uint16 { return h.inner.WarningCount(c) }

// ComResetConnection implements mysql.Handler.
func (h *handler) ComResetConnection(c *mysql.Conn) error {
	return h.run(context.Background(), "", func(context.Context) error { return h.inner.ComResetConnection(c) })
}

// ParserOptionsForConnection implements mysql.Handler.
func (h *handler) ParserOptionsForConnection(c *mysql.Conn) (sqlparser.ParserOptions, error) {
	return h.inner.ParserOptionsForConnection(c)
}

// maxConflicts bounds how often a statement is run again because others changed its rows while it ran. One of those that
// are in each other's way always gets through, so that this many in a row are the sign of a long one among short ones.
const maxConflicts = 100

// run calls f for one statement, and again while another statement was faster to change its rows: MySQL would have let
// it wait, and a statement that failed has changed nothing and answered nothing.
func (h *handler) run(ctx context.Context, query string, f func(context.Context) error) (err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	limit := time.AfterFunc(h.timeout, func() { cancel(errTimeout) })
	defer limit.Stop()
	for try := 0; ; try++ {
		var conflict *mysql.SQLError
		ctx := withStatement(ctx, strings.TrimSpace(query), nil)
		statementOf(ctx).limit = limit
		err = h.once(ctx, f)
		if try == maxConflicts || !errors.As(err, &conflict) || conflict.Num != errLockWait.number {
			return err
		}
	}
}

// once calls f. A panic in it becomes an error whose stack only the log sees.
func (h *handler) once(ctx context.Context, f func(context.Context) error) (err error) {
	ctx, interrupt := context.WithCancelCause(ctx)
	defer interrupt(nil)
	defer context.AfterFunc(h.stop, func() { interrupt(errShutdown) })()
	defer func() {
		if fault := recover(); fault != nil {
			h.log.Error("statement panicked", "panic", fault, "stack", string(debug.Stack()))
			err = mysqlError(errUnknown, "%s", internalErrorText)
		}
	}()
	if err = f(ctx); err != nil {
		return restate(ctx, h.log, err)
	}
	return nil
}

// errTimeout is what a statement gets that has run for longer than the listener allows.
var errTimeout = mysqlError(errQueryTimeout, "Query execution was interrupted, maximum statement execution time exceeded")

// errShutdown is what statements in flight get when the server closes.
var errShutdown = mysqlError(sqlCode{1053, "08S01"}, "Server shutdown in progress")
