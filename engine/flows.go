package engine

import (
	"context"
	"strings"

	"github.com/dolthub/go-mysql-server/sql"

	"smelt/queries"
	"smelt/queries/ddl"
)

// Flows is what the SQL side needs of the graph of flows; *queries.Graph provides it.
type Flows interface {
	Create(ctx context.Context, c *ddl.Create, database, base string) (changed bool, err error)
	Refresh(ctx context.Context, database, name string, full bool) error
	Drop(ctx context.Context, database, name string, kind ddl.Kind, ifExists bool) error
	Flows() []queries.Status
}

var flowColumns = []string{"name"}

func (e *sqlEngine) showFlows(ctx *sql.Context, s *ddl.Show) (sql.RowIter, error) {
	return sql.RowsToRowIter(), nil
}

// readersOf returns the flows that read a table, sorted as the graph sorts them.
func readersOf(list []queries.Status, database, name string) []string {
	var out []string
	for _, f := range list {
		for _, source := range f.Sources {
			if strings.EqualFold(source, database+"."+name) {
				out = append(out, f.Database+"."+f.Table)
			}
		}
	}
	return out
}
