package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/dolthub/go-mysql-server/sql"
	"github.com/dolthub/go-mysql-server/sql/planbuilder"
	"github.com/dolthub/go-mysql-server/sql/types"
	"github.com/dolthub/vitess/go/vt/sqlparser"

	"smelt/tables"
)

// bound is a statement whose plan is made when it is bound, with the session at hand.
type bound func(ctx *sql.Context) (sql.Node, error)

// WithResolvedChildren implements sqlparser.Injectable.
func (b bound) WithResolvedChildren(ctx context.Context, _ []any) (any, error) {
	sqlCtx, ok := ctx.(*sql.Context)
	if !ok {
		return nil, fmt.Errorf("bind statement: got a %T for the session", ctx)
	}
	n, err := b(sqlCtx)
	return n, edge(err)
}

// replace returns what runs instead of a plain statement that go-mysql-server would run in a way that does not fit,
// mostly the statement itself.
func (p *parser) replace(statement sqlparser.Statement) sqlparser.Statement {
	switch s := statement.(type) {
	case *sqlparser.Begin, *sqlparser.Commit, *sqlparser.Rollback:
		return sqlparser.InjectedStatement{Auth: sqlparser.AuthInformation{AuthType: sqlparser.AuthType_IGNORE}, Statement: transaction(s)}
	case *sqlparser.Call:
		if ours := p.callOf(s); ours != nil {
			return ours
		}
	case *sqlparser.Explain:
		if s.ExplainFormat == "" && !s.Plan && !s.Analyze {
			s.ExplainFormat = sqlparser.TreeStr // without a format there is only a row of NULLs
		}
	case *sqlparser.DDL:
		if s.Action == sqlparser.CreateStr && s.OptSelect != nil {
			return sqlparser.InjectedStatement{Auth: s.Auth, Statement: bound(func(ctx *sql.Context) (sql.Node, error) {
				return p.engine.bindCreateSelect(ctx, s)
			})}
		}
		if s.Action == sqlparser.DropStr && len(s.FromTables) > 0 {
			return sqlparser.InjectedStatement{Auth: s.Auth, Statement: bound(func(ctx *sql.Context) (sql.Node, error) {
				return p.engine.bindDropTable(s), nil
			})}
		}
	case *sqlparser.Show:
		if strings.EqualFold(s.Type, sqlparser.CreateTableStr) && s.HasTable() {
			return sqlparser.InjectedStatement{Auth: s.Auth, Statement: bound(func(ctx *sql.Context) (sql.Node, error) {
				return p.engine.bindShowCreateTable(ctx, s)
			})}
		}
	}
	return statement
}

// withClauses is CREATE TABLE with the clauses that only Delta knows: they travel beside the statement.
func (p *parser) withClauses(statement sqlparser.Statement, partitions []string, properties map[string]string) sqlparser.Statement {
	d, ok := statement.(*sqlparser.DDL)
	if !ok {
		return p.replace(statement)
	}
	return sqlparser.InjectedStatement{Auth: d.Auth, Statement: bound(func(ctx *sql.Context) (sql.Node, error) {
		if current := statementOf(ctx); current != nil {
			current.partitions, current.properties = partitions, properties
		}
		if d.OptSelect != nil {
			return p.engine.bindCreateSelect(ctx, d)
		}
		plain, err := p.engine.bindPlain(ctx, d)
		if err != nil {
			return nil, err
		}
		return &node{name: "CreateTable", schema: plain.Schema(ctx), run: func(ctx *sql.Context) (sql.RowIter, error) {
			rows, _, err := p.engine.rows(ctx, plain)
			return rows, err
		}}, nil
	})}
}

// bindPlain returns the plan that go-mysql-server makes of a statement.
func (e *sqlEngine) bindPlain(ctx *sql.Context, statement sqlparser.Statement) (sql.Node, error) {
	n, _, err := planbuilder.New(ctx, e.engine.Analyzer.Catalog, nil).BindOnly(statement, sqlparser.String(statement), nil)
	return n, err
}

// rows analyses and runs a plan made by bindPlain.
func (e *sqlEngine) rows(ctx *sql.Context, n sql.Node) (sql.RowIter, sql.Schema, error) {
	analyzed, err := e.engine.Analyzer.Analyze(ctx, n, nil, &sql.QueryFlags{})
	if err != nil {
		return nil, nil, err
	}
	rows, err := e.engine.Analyzer.ExecBuilder.Build(ctx, analyzed, nil)
	if err != nil {
		return nil, nil, err
	}
	return rows, analyzed.Schema(ctx), nil
}

// bindShowCreateTable is SHOW CREATE TABLE: our own statement around the column list in MySQL's form, because SQLAlchemy,
// and with it Superset, reads the columns from there.
func (e *sqlEngine) bindShowCreateTable(ctx *sql.Context, s *sqlparser.Show) (sql.Node, error) {
	plain, err := e.bindPlain(ctx, s)
	if err != nil {
		return nil, err
	}
	db := e.database(ctx, s.Table.DbQualifier.String())
	t, err := e.config.Store.Table(db, s.Table.Name.String())
	if err != nil {
		t = nil // a view, or a table of the system
	}
	run := func(ctx *sql.Context) (sql.RowIter, error) {
		rows, _, err := e.rows(ctx, plain)
		if err != nil || t == nil {
			return rows, err
		}
		row, err := rows.Next(ctx)
		if err != nil {
			return nil, errors.Join(err, rows.Close(ctx))
		}
		if row[1], err = createText(t, fmt.Sprint(row[1])); err != nil {
			return nil, errors.Join(err, rows.Close(ctx))
		}
		return sql.RowsToRowIter(row), rows.Close(ctx)
	}
	return &node{name: "ShowCreateTable", schema: plain.Schema(ctx), run: run}, nil
}

// bindDropTable is DROP TABLE. go-mysql-server takes the table under a view for the view, and stops half way through a
// list; here all names are looked at before anything goes.
func (e *sqlEngine) bindDropTable(s *sqlparser.DDL) sql.Node {
	run := func(ctx *sql.Context) (sql.RowIter, error) {
		var missing []string
		type target struct{ database, name string }
		var targets []target
		for _, t := range s.FromTables {
			db, name := e.database(ctx, t.DbQualifier.String()), t.Name.String()
			if strings.EqualFold(db, systemDatabase) {
				return nil, mysqlError(errDatabaseAccess, "Access denied: database '%s' is read-only", systemDatabase)
			}
			if _, err := e.config.Store.Table(db, name); err != nil {
				missing = append(missing, db+"."+name)
				continue
			}
			if err := e.provider.mayDrop(db, name); err != nil {
				return nil, err
			}
			targets = append(targets, target{db, name})
		}
		if len(missing) > 0 && !s.IfExists {
			return nil, mysqlError(errUnknownTable, "Unknown table '%s'", strings.Join(missing, ","))
		}
		for _, name := range missing {
			ctx.Warn(errUnknownTable.number, "Unknown table '%s'", name)
		}
		for _, t := range targets {
			d := &storeDatabase{provider: e.provider, name: t.database}
			if err := d.DropTable(ctx, t.name); err != nil {
				return nil, err
			}
		}
		return okResult(0), nil
	}
	return &node{name: "DropTable", schema: types.OkResultSchema, run: run}
}

// bindCreateSelect is CREATE TABLE ... AS SELECT. go-mysql-server would create the table, fail in the SELECT, and leave
// the empty table behind.
func (e *sqlEngine) bindCreateSelect(ctx *sql.Context, s *sqlparser.DDL) (sql.Node, error) {
	source, err := e.bindPlain(ctx, s.OptSelect.Select)
	if err != nil {
		return nil, err
	}
	db, name := e.database(ctx, s.Table.DbQualifier.String()), s.Table.Name.String()
	if _, err := e.provider.storeDatabase(db); err != nil {
		return nil, err
	}
	run := func(ctx *sql.Context) (sql.RowIter, error) {
		rows, schema, err := e.rows(ctx, source)
		if err != nil {
			return nil, err
		}
		defer rows.Close(ctx)
		n, err := e.createFrom(ctx, db, name, schema, rows)
		if s.IfNotExists && sql.ErrTableAlreadyExists.Is(err) {
			return okResult(0), nil
		}
		return okResult(uint64(n)), err
	}
	return &node{name: "CreateTable " + name, schema: types.OkResultSchema, run: run}, nil
}

// createFrom creates a table and fills it; on an error there is no table.
func (e *sqlEngine) createFrom(ctx *sql.Context, db, name string, schema sql.Schema, rows sql.RowIter) (int64, error) {
	d, err := e.provider.storeDatabase(db)
	if err != nil {
		return 0, err
	}
	created := make(sql.Schema, len(schema))
	for i, c := range schema {
		created[i] = &sql.Column{Name: c.Name, Type: c.Type, DatabaseSource: c.DatabaseSource, Nullable: true}
	}
	if err := d.CreateTable(ctx, name, sql.NewPrimaryKeySchema(created), sql.Collation_Default, ""); err != nil {
		return 0, err
	}
	t, err := e.config.Store.Table(d.name, name)
	if err != nil {
		return 0, err
	}
	source := &rowReader{engine: e, ctx: ctx, rows: rows, cancel: func() {}, builder: newBatchBuilder(created, t.Snapshot().Schema())}
	if _, err = t.Commit(ctx, tables.Commit{Operation: "CREATE TABLE AS SELECT", Rows: source}); err != nil {
		return 0, errorsJoinClose(err, e.config.Store.Drop(context.WithoutCancel(ctx), d.name, name))
	}
	return t.Snapshot().Rows(), nil
}
