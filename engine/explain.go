package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/dolthub/go-mysql-server/sql"
	"github.com/dolthub/go-mysql-server/sql/types"

	"smelt/autoload"
	"smelt/queries/ddl"
	"smelt/queries/lineage"
	"smelt/tables"
)

// explainColumns is the result of EXPLAIN ROW.
var explainColumns = sql.Schema{
	{Name: "depth", Type: types.Int64},
	{Name: "table", Type: stringType, Nullable: true},
	{Name: "version", Type: types.Int64, Nullable: true},
	{Name: "row", Type: types.JSON, Nullable: true},
	{Name: "file", Type: stringType, Nullable: true},
	{Name: "line", Type: types.Int64, Nullable: true},
	{Name: "flow", Type: stringType, Nullable: true},
	{Name: "models", Type: types.JSON, Nullable: true},
	{Name: "rules", Type: types.JSON, Nullable: true},
	{Name: "note", Type: stringType, Nullable: true},
	{Name: "copies", Type: types.Int64, Nullable: true},
	{Name: "id", Type: types.Int64},
	{Name: "used_by", Type: types.JSON, Nullable: true},
}

// checkColumns is the result of CHECK PIPELINE.
var checkColumns = textSchema("Table", "Comparison", "Result", "Difference")

// inspect returns the plan of a statement that looks and changes nothing.
func (e *sqlEngine) inspect(s *ddl.Inspect) *node {
	if s.Verb == "CHECK PIPELINE" {
		return &node{name: s.Verb, schema: checkColumns, run: func(ctx *sql.Context) (sql.RowIter, error) { return e.checkPipeline(ctx, s) }}
	}
	if s.Verb == "EXPLAIN REFRESH" {
		return &node{name: s.Verb, schema: refreshPlanColumns, run: func(ctx *sql.Context) (sql.RowIter, error) { return e.explainRefresh(ctx, s) }}
	}
	return &node{name: s.Verb, schema: explainColumns, run: func(ctx *sql.Context) (sql.RowIter, error) { return e.explainRow(ctx, s) }}
}

func (e *sqlEngine) explainRow(ctx *sql.Context, s *ddl.Inspect) (sql.RowIter, error) {
	flows, err := e.flows()
	if err != nil {
		return nil, err
	}
	list, err := flows.ExplainRow(ctx, s, e.database(ctx, s.Database))
	if err != nil {
		return nil, err
	}
	rows := make([]sql.Row, len(list))
	for i, x := range list {
		usedBy, err := json.Marshal(x.UsedBy)
		if err != nil {
			return nil, fmt.Errorf("list rows: %w", err)
		}
		rows[i] = sql.NewRow(x.Depth, orNull(x.Table), numberOr(x.Version, -1), jsonOr(x.Row), orNull(x.File), numberOr(x.Line, 0), orNull(x.Flow), jsonOr(x.Models),
			jsonOr(x.Rules), orNull(x.Note), numberOr(x.Copies, 0), x.ID, jsonOr(string(usedBy)))
	}
	return sql.RowsToRowIter(rows...), nil
}

// numberOr is a number, or NULL for one that stands for none.
func numberOr(n, none int64) any {
	if n == none {
		return nil
	}
	return n
}

func jsonOr(text string) any {
	if text == "" || text == "null" {
		return nil
	}
	return jsonOf(text)
}

func (e *sqlEngine) checkPipeline(ctx *sql.Context, s *ddl.Inspect) (sql.RowIter, error) {
	flows, err := e.flows()
	if err != nil {
		return nil, err
	}
	work, done := untimed(ctx)
	defer done()
	var rows []sql.Row
	err = flows.CheckPipeline(work, e.database(ctx, s.Database), s.Name, func(table, what string, proven bool, err error) {
		switch {
		case err != nil:
			rows = append(rows, sql.NewRow(table, what, "FAULT", err.Error()))
		case proven:
			rows = append(rows, sql.NewRow(table, what, "ok", nil))
		default:
			rows = append(rows, sql.NewRow(table, what, "not compared", nil))
		}
	})
	if err != nil {
		return nil, err
	}
	return sql.RowsToRowIter(rows...), nil
}

// filesOf is the files behind a feed, for EXPLAIN ROW.
func (e *Engine) filesOf(stateDir string) (lineage.Files, error) {
	for _, f := range e.feeds.list() {
		if f.stateDir == stateDir {
			return feedFiles{f}, nil
		}
	}
	return nil, fmt.Errorf("find files of %s: its directory is not being read now", stateDir)
}

// feedFiles adapts a feed.
type feedFiles struct{ *feed }

// List implements lineage.Files.
func (f feedFiles) List() []string {
	var paths []string
	for _, file := range f.Files() {
		if file.State == autoload.Loaded || file.State == autoload.Changed {
			paths = append(paths, file.Path)
		}
	}
	slices.Sort(paths)
	return paths
}

// Rows implements lineage.Files.
func (f feedFiles) Rows(ctx context.Context, path string) (tables.Relation, error) {
	return f.Reread(ctx, path)
}
