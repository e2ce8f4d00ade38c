package engine

import (
	"github.com/dolthub/go-mysql-server/sql"
	"github.com/dolthub/go-mysql-server/sql/types"

	"smelt/queries/ddl"
)

// refreshPlanColumns are those of EXPLAIN REFRESH, one row for each flow of the table.
var refreshPlanColumns = sql.Schema{
	{Name: "strategy", Type: stringType, Nullable: true}, {Name: "reason", Type: stringType}, {Name: "rows_to_read", Type: types.Int64},
	{Name: "texts_to_score", Type: types.Int64, Nullable: true}, {Name: "ledger_hits", Type: types.Int64, Nullable: true},
	{Name: "estimated_seconds", Type: types.Float64, Nullable: true},
}

func (e *sqlEngine) explainRefresh(ctx *sql.Context, s *ddl.Inspect) (sql.RowIter, error) {
	flows, err := e.flows()
	if err != nil {
		return nil, err
	}
	list, err := flows.ExplainRefresh(ctx, e.database(ctx, s.Database), s.Name)
	if err != nil {
		return nil, err
	}
	var rows []sql.Row
	for _, p := range list {
		var seconds any
		if p.Duration >= 0 {
			seconds = p.Duration.Seconds()
		}
		rows = append(rows, sql.NewRow(orNull(p.Strategy), p.Reason, p.RowsIn, countOrNull(p.Scored), countOrNull(p.Known), seconds))
	}
	return sql.RowsToRowIter(rows...), nil
}

func countOrNull(n int64) any {
	if n < 0 {
		return nil
	}
	return n
}
