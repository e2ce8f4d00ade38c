package engine

import (
	"context"

	"github.com/dolthub/go-mysql-server/sql"
	"github.com/dolthub/vitess/go/vt/sqlparser"

	"smelt/queries/spark"
)

// parseSQL parses a statement in the spelling of MySQL or of Spark. The columns of SELECT * EXCEPT (...) are those of this
// moment, which takes a session.
func (p *parser) parseSQL(ctx context.Context, text string, options sqlparser.ParserOptions) (sqlparser.Statement, error) {
	parse := func() (sqlparser.Statement, error) { return spark.Parse(ctx, text, options) }
	statement, err := parse()
	sqlCtx, ok := ctx.(*sql.Context)
	if err != nil || !ok || p.engine == nil {
		return statement, err
	}
	return statement, spark.ExpandExcept(statement, parse, func(s *sqlparser.Select) ([]spark.Column, error) {
		n, err := p.engine.bindPlain(sqlCtx, s)
		if err != nil {
			return nil, err
		}
		var columns []spark.Column
		for _, c := range n.Schema(sqlCtx) {
			columns = append(columns, spark.Column{Table: c.Source, Name: c.Name})
		}
		return columns, nil
	})
}
