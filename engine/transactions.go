package engine

import (
	"smelt/queries/lexer"

	"github.com/dolthub/go-mysql-server/sql"
	"github.com/dolthub/go-mysql-server/sql/types"
	"github.com/dolthub/vitess/go/vt/sqlparser"
)

// session is that of a client. Every statement is its own transaction, but a client that rolls back changes of several
// must hear that they stay, as MySQL tells it of tables that know no transactions.
type session struct {
	*sql.BaseSession
	open    bool // since BEGIN
	changed bool // a table, since BEGIN or without autocommit

	views []lexer.Piece // statements that made temporary views; of one name the last counts
}

// errNotRolledBack is a warning.
const errNotRolledBack = 1196

// noteChange is called when a statement has changed a table.
func noteChange(ctx *sql.Context) {
	s, ok := ctx.Session.(*session)
	if !ok {
		return
	}
	s.changed = s.changed || s.open || !autocommit(ctx)
}

func autocommit(ctx *sql.Context) bool {
	v, err := ctx.GetSessionVariable(ctx, "autocommit")
	if err != nil {
		return true
	}
	on, err := sql.ConvertToBool(ctx, v)
	return on || err != nil
}

// transaction returns what runs instead of BEGIN, COMMIT and ROLLBACK.
func transaction(statement sqlparser.Statement) *node {
	run := func(ctx *sql.Context) (sql.RowIter, error) {
		s, ok := ctx.Session.(*session)
		if !ok {
			return okResult(0), nil
		}
		open := false
		switch statement.(type) {
		case *sqlparser.Begin:
			open = true
		case *sqlparser.Rollback:
			if s.changed {
				ctx.Warn(errNotRolledBack, "Some non-transactional changed tables couldn't be rolled back")
			}
		}
		s.open, s.changed = open, false
		return okResult(0), nil
	}
	return &node{name: "Transaction", schema: types.OkResultSchema, run: run}
}
