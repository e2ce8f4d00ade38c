package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/dolthub/go-mysql-server/sql"
	"github.com/dolthub/go-mysql-server/sql/types"
	"github.com/dolthub/vitess/go/vt/sqlparser"

	"smelt/queries/ddl"
)

// node is a statement of ours in go-mysql-server's plan: it runs when its rows are read.
type node struct {
	name   string
	schema sql.Schema
	run    func(ctx *sql.Context) (sql.RowIter, error)
}

var _ sql.ExecSourceRel = (*node)(nil)

// WithResolvedChildren implements sqlparser.Injectable.
func (n *node) WithResolvedChildren(context.Context, []any) (any, error) { return n, nil }

// Resolved implements sql.Node.
func (n *node) Resolved() bool { return true }

// String implements sql.Node.
func (n *node) String() string { return n.name }

// Schema implements sql.Node.
func (n *node) Schema(*sql.Context) sql.Schema { return n.schema }

// Children implements sql.Node.
func (n *node) Children() []sql.Node { return nil }

// WithChildren implements sql.Node.
func (n *node) WithChildren(_ *sql.Context, children ...sql.Node) (sql.Node, error) {
	if len(children) > 0 {
		return nil, sql.ErrInvalidChildrenNumber.New(n, len(children), 0)
	}
	return n, nil
}

// IsReadOnly implements sql.Node.
func (n *node) IsReadOnly() bool { return len(n.schema) > 0 && !types.IsOkResultSchema(n.schema) }

// RowIter implements sql.ExecSourceRel.
func (n *node) RowIter(ctx *sql.Context, _ sql.Row) (sql.RowIter, error) {
	rows, err := n.run(ctx)
	if err != nil {
		return nil, edge(err)
	}
	return rows, nil
}

// inject wraps one of our statements for the planner. Privileges are those of the plain statement nearest to it.
func (p *parser) inject(statement ddl.Statement) sqlparser.Statement {
	n, auth := &node{schema: types.OkResultSchema}, sqlparser.AuthType_CREATE
	e := p.engine
	switch s := statement.(type) {
	case *ddl.Create:
		n.name, n.run = "Create "+s.Name, func(ctx *sql.Context) (sql.RowIter, error) { return e.create(ctx, s) }
	case *ddl.Flow:
		n.name, n.run = "Create flow into "+s.Into, func(ctx *sql.Context) (sql.RowIter, error) { return e.addFlow(ctx, s) }
	case *ddl.OnFlow:
		n, auth = e.onFlow(s)
	case *ddl.OnModel:
		if s.Verb == "EVALUATE" {
			n = e.onEvaluate(s)
			break
		}
		if n = e.onModel(s); n.IsReadOnly() && !trains(s) {
			auth = sqlparser.AuthType_IGNORE
		}
	case *ddl.OnRules:
		n, auth = e.onRules(s)
	case *ddl.Inspect:
		n, auth = e.inspect(s), sqlparser.AuthType_SELECT
	case *ddl.OnTable:
		if s.File != "" {
			n.name, n.run = s.Verb, func(ctx *sql.Context) (sql.RowIter, error) { return e.onFile(ctx, s) }
			break
		}
		auth = sqlparser.AuthType_CREATE
		if n = e.onTable(s); n.IsReadOnly() && s.Verb != "VACUUM" && s.Verb != "OPTIMIZE" {
			auth = sqlparser.AuthType_SELECT
		}
	default:
		return refused(notYet(fmt.Sprintf("%T", statement)))
	}
	return sqlparser.InjectedStatement{
		Auth:      sqlparser.AuthInformation{AuthType: auth, TargetType: sqlparser.AuthTargetType_Global},
		Statement: n,
	}
}

// Properties of a flow's table: what it is, and the statement that made it.
const (
	propertyKind      = "smelt.kind"
	propertyStatement = "smelt.statement"
)

// okResult is the outcome of a statement without rows.
func okResult(affected uint64) sql.RowIter {
	return sql.RowsToRowIter(sql.NewRow(types.OkResult{RowsAffected: affected}))
}

// textSchema returns a schema of text columns.
func textSchema(names ...string) sql.Schema {
	out := make(sql.Schema, len(names))
	for i, name := range names {
		out[i] = &sql.Column{Name: name, Type: stringType, Nullable: true}
	}
	return out
}

// flows returns the graph of flows, or an error that says that there is none.
func (e *sqlEngine) flows() (Flows, error) {
	if e.config.Flows == nil {
		return nil, mysqlError(errNotSupportedYet, "This server runs no flows")
	}
	return e.config.Flows, nil
}

// database returns the database that a statement names, or else the current one, as it is spelt in the store.
func (e *sqlEngine) database(ctx *sql.Context, named string) string {
	if named == "" {
		named = ctx.GetCurrentDatabase()
	}
	if named == "" {
		named = defaultDatabase
	}
	if d, err := e.provider.Database(ctx, named); err == nil {
		return d.Name()
	}
	return named
}

// untimed takes the limit of time off a statement, and returns a context that ends with the statement's but not at that limit,
// should it have passed already: filling a table may score every row by a model, which takes as long as it takes. KILL still
// stops it.
func untimed(ctx *sql.Context) (context.Context, func()) {
	if s := statementOf(ctx); s != nil && s.limit != nil {
		s.limit.Stop() // rows that are answered behind the work have their time, too
	}
	work, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		if cause := context.Cause(ctx); !errors.Is(cause, errTimeout) {
			cancel(cause)
		}
	})
	return work, func() {
		stop()
		cancel(nil)
	}
}

func (e *sqlEngine) create(ctx *sql.Context, s *ddl.Create) (sql.RowIter, error) {
	flows, err := e.flows()
	if err != nil {
		return nil, err
	}
	d, err := e.provider.storeDatabase(e.database(ctx, s.Database))
	if err != nil {
		return nil, err
	}
	work, done := untimed(ctx)
	defer done()
	changed, err := flows.Create(work, s, d.name, e.config.Base)
	if err != nil || !changed {
		return okResult(0), err
	}
	// Whoever reads the table next shall find the rows of its SELECT there. A table that cannot be filled is defined all the
	// same, and tried again.
	if err := flows.Refresh(work, d.name, s.Name, false); err != nil && work.Err() == nil {
		ctx.Warn(errUserWarning, "Table '%s.%s' is defined and could not be filled yet: %s", d.name, s.Name, err)
	}
	return okResult(1), work.Err()
}

func (e *sqlEngine) onFile(ctx *sql.Context, s *ddl.OnTable) (sql.RowIter, error) {
	flows, err := e.flows()
	if err != nil {
		return nil, err
	}
	work, done := untimed(ctx)
	defer done()
	db := e.database(ctx, s.Database)
	rows, err := flows.OnFile(work, s, db)
	if err != nil {
		return nil, err
	}
	statementOf(ctx).drop(db, s.Name)
	return okResult(uint64(rows)), nil
}
