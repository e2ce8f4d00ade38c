package engine

import (
	"context"
	"fmt"

	"github.com/dolthub/go-mysql-server/sql"
	"github.com/dolthub/go-mysql-server/sql/planbuilder"
	"github.com/dolthub/vitess/go/vt/sqlparser"

	"smelt/functions"
	"smelt/models"
	"smelt/queries"
	"smelt/queries/lineage"
	"smelt/tables"
)

var (
	_ queries.QueryFunc    = (*sqlEngine)(nil).query
	_ queries.DescribeFunc = (*sqlEngine)(nil).describe
)

// query runs one SELECT over the relations of q and returns its rows in batches; it is a queries.QueryFunc. Names that
// q.Tables does not hold are read from the store, each at one version.
func (e *sqlEngine) query(ctx context.Context, q queries.Query) (queries.Result, error) {
	ctx, cancel := context.WithCancel(functions.WithVersions(withStatement(ctx, q.SQL, q.Tables), versionIDs(q.Models)))
	if q.Count != nil {
		ctx = models.WithUsage(ctx, q.LookUpOnly, func(u models.Usage) {
			q.Count(u.Scored, u.Known, u.Truncated, u.Failed)
		})
	}
	result, err := e.start(ctx, q, cancel)
	if err != nil {
		err = inward(ctx, e.log, err) // before cancel, which would look like a KILL
		cancel()
		return nil, err
	}
	return result, nil
}

// versionIDs names versions as functions want them.
func versionIDs(versions map[string]lineage.Model) map[string]string {
	ids := make(map[string]string, len(versions))
	for name, m := range versions {
		ids[name] = models.VersionID(m.Name, m.Digest)
	}
	return ids
}

func (e *sqlEngine) start(ctx context.Context, q queries.Query, cancel context.CancelFunc) (result queries.Result, err error) {
	defer recovered(e.log, &err)
	sqlCtx := e.newContext(ctx, q.Database, q.SQL)
	statement, err := e.selectStatement(sqlCtx, q)
	if err != nil {
		return nil, err
	}
	if pass, err := e.passThrough(sqlCtx, statement, q); err != nil {
		return nil, err
	} else if pass != nil {
		pass.cancel = cancel
		return pass, nil
	}
	from, rows, _, err := e.engine.QueryWithBindings(sqlCtx, q.SQL, statement, nil, &sql.QueryFlags{})
	if err != nil {
		return nil, err
	}
	to, err := columnSchema(from)
	if err != nil {
		return nil, errorsJoinClose(err, rows.Close(sqlCtx))
	}
	return &rowReader{engine: e, ctx: sqlCtx, rows: rows, builder: newBatchBuilder(from, to), cancel: cancel}, nil
}

// describe binds one SELECT without running it and returns its columns; it is a queries.DescribeFunc.
func (e *sqlEngine) describe(ctx context.Context, q queries.Query) (tables.Schema, error) {
	ctx = withStatement(ctx, q.SQL, q.Tables)
	schema, err := e.bind(ctx, q)
	if err != nil {
		return nil, inward(ctx, e.log, err)
	}
	return schema, nil
}

func (e *sqlEngine) bind(ctx context.Context, q queries.Query) (schema tables.Schema, err error) {
	defer recovered(e.log, &err)
	sqlCtx := e.newContext(ctx, q.Database, q.SQL)
	statement, err := e.selectStatement(sqlCtx, q)
	if err != nil {
		return nil, err
	}
	node, _, err := planbuilder.New(sqlCtx, e.engine.Analyzer.Catalog, nil).BindOnly(statement, q.SQL, nil)
	if err != nil {
		return nil, err
	}
	return columnSchema(node.Schema(sqlCtx))
}

// selectStatement parses the SELECT of q and makes the hidden columns of its relations reachable.
func (e *sqlEngine) selectStatement(ctx *sql.Context, q queries.Query) (sqlparser.Statement, error) {
	parsed, _, _, err := (&parser{engine: e}).ParseWithOptions(ctx, q.SQL, ';', false, sql.LoadSqlMode(ctx).ParserOptions())
	if err != nil {
		return nil, err
	}
	switch s := parsed.(type) {
	case sqlparser.SelectStatement:
		revealHidden(s, q.Tables)
		return s, nil
	case sqlparser.InjectedStatement:
		if r, ok := s.Statement.(refusal); ok {
			return nil, r.err
		}
	}
	return nil, mysqlError(errSyntax, syntaxText+": want a SELECT", firstLine(q.SQL), 1)
}

// rowReader is the result of a query; it owns the iterator and implements queries.Result.
type rowReader struct {
	engine  *sqlEngine
	ctx     *sql.Context // the statement's context: go-mysql-server's iterators need its session
	rows    sql.RowIter
	builder *batchBuilder
	cancel  context.CancelFunc
	ended   error
	closed  bool
}

// Schema implements queries.Result.
func (r *rowReader) Schema() tables.Schema { return r.builder.to }

// Next implements tables.Reader. It watches ctx and the context that the query was started with.
func (r *rowReader) Next(ctx context.Context) (*tables.Batch, error) {
	if r.ended != nil {
		return nil, r.ended
	}
	defer context.AfterFunc(ctx, r.cancel)()
	batch, err := r.fill(ctx)
	if err != nil {
		r.ended = err
	}
	if batch != nil {
		return batch, nil
	}
	return nil, err
}

// Close implements tables.Reader.
func (r *rowReader) Close() (err error) {
	if r.closed {
		return nil
	}
	r.closed = true
	defer r.cancel()
	defer recovered(r.engine.log, &err)
	if err := r.rows.Close(r.ctx); err != nil && r.ctx.Err() == nil {
		return fmt.Errorf("close query: %w", err)
	}
	return nil
}
