package engine

import (
	"strings"

	"github.com/dolthub/go-mysql-server/sql"
	"github.com/dolthub/go-mysql-server/sql/types"
	"github.com/dolthub/vitess/go/vt/sqlparser"

	"smelt/queries"
	"smelt/queries/ddl"
)

// kindQuarantine is what propertyKind says of the quarantine of a table.
const kindQuarantine = "quarantine"

// The columns of the statements on quarantines.
var (
	replayColumns     = sql.Schema{{Name: "Table", Type: stringType}, {Name: "Moved", Type: types.Int64}, {Name: "Kept", Type: types.Int64}}
	quarantineColumns = sql.Schema{{Name: "Database", Type: stringType}, {Name: "Table", Type: stringType}, {Name: "Rules", Type: stringType},
		{Name: "Reason", Type: stringType}, {Name: "Rows", Type: types.Int64}, {Name: "First", Type: timestampType}, {Name: "Last", Type: timestampType}}
)

// onRules returns the plan of a statement on expectations and quarantines, and which privilege it asks for.
func (e *sqlEngine) onRules(s *ddl.OnRules) (n *node, auth string) {
	n = &node{name: s.Verb + " " + s.Name, schema: types.OkResultSchema}
	var run func(*sql.Context, Flows, *ddl.OnRules) (sql.RowIter, error)
	switch s.Verb {
	case "REPLAY QUARANTINE":
		auth, run, n.schema = sqlparser.AuthType_CREATE, e.replay, replayColumns
	case "SHOW QUARANTINE":
		auth, run, n.schema = sqlparser.AuthType_SELECT, e.showQuarantine, quarantineColumns
	default: // ADD CONSTRAINT, DROP CONSTRAINT
		auth, run = sqlparser.AuthType_CREATE, e.alterRules
	}
	n.run = func(ctx *sql.Context) (sql.RowIter, error) {
		flows, err := e.flows()
		if err != nil {
			return nil, err
		}
		return run(ctx, flows, s)
	}
	return n, auth
}

// replay judges the rows of a quarantine by the rules of today. Models may score them: it has no limit of time.
func (e *sqlEngine) replay(ctx *sql.Context, flows Flows, s *ddl.OnRules) (sql.RowIter, error) {
	work, done := untimed(ctx)
	defer done()
	db := e.database(ctx, s.Database)
	moved, kept, err := flows.Replay(work, s, db)
	if err != nil {
		return nil, err
	}
	statementOf(ctx).drop(db, s.Name)
	statementOf(ctx).drop(db, s.Name+queries.QuarantineSuffix)
	return sql.RowsToRowIter(sql.NewRow(db+"."+s.Name, moved, kept)), nil
}

func (e *sqlEngine) showQuarantine(ctx *sql.Context, flows Flows, s *ddl.OnRules) (sql.RowIter, error) {
	list, err := flows.Quarantined(ctx, e.database(ctx, s.Database), s.Name)
	if err != nil {
		return nil, err
	}
	rows := make([]sql.Row, len(list))
	for i, x := range list {
		rows[i] = sql.NewRow(x.Database, x.Table, x.Rules, x.Reason, x.Rows, x.First, x.Last)
	}
	return sql.RowsToRowIter(rows...), nil
}

func (e *sqlEngine) alterRules(ctx *sql.Context, flows Flows, s *ddl.OnRules) (sql.RowIter, error) {
	work, done := untimed(ctx)
	defer done()
	return okResult(0), flows.AlterRules(work, s, e.database(ctx, s.Database))
}

// ownedByQuarantine refuses a statement on a quarantine: its rows come from a flow and move into its table. Only DELETE may
// throw some away for good.
func ownedByQuarantine(database, name, statement string) error {
	of := strings.TrimSuffix(name, queries.QuarantineSuffix)
	if statement == "DROP TABLE" {
		return mysqlError(errWrongObject, "'%s.%s' is not BASE TABLE: it is the quarantine of '%s' and goes with it", database, name, of)
	}
	return mysqlError(errNotInsertable, "The target table %s of the %s is the quarantine of '%s': REPLAY QUARANTINE OF %s moves what meets the rules, DELETE throws rows away",
		name, statement, of, of)
}
