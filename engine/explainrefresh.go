package engine

import (
	"github.com/dolthub/go-mysql-server/sql"
	"github.com/dolthub/go-mysql-server/sql/types"

	"smelt/queries/ddl"
)

// refreshPlanColumns are those of EXPLAIN REFRESH. What a view would ask of models is not known before it runs.
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
	p, err := flows.ExplainRefresh(ctx, e.database(ctx, s.Database), s.Name)
	if err != nil {
		return nil, err
	}
	var seconds any
	if p.Duration >= 0 {
		seconds = p.Duration.Seconds()
	}
	return sql.RowsToRowIter(sql.NewRow(orNull(p.Strategy), p.Reason, p.RowsIn, nil, nil, seconds)), nil
}
