package engine

import (
	"context"
	"strconv"

	"smelt/queries/lineage"
	"smelt/tables"
)

// lineageSchema has the names of Unity Catalog's system.access.table_lineage and column_lineage where there are any.
var lineageSchema = tables.Schema{
	{Name: "source_type", Type: textType, Comment: "path, table, view, streaming_table, materialized_view or model"},
	{Name: "source_table_full_name", Type: textType, Comment: "database.table; NULL for a path or a model"},
	{Name: "source_path", Type: textType, Comment: "watched directory; NULL for others"},
	{Name: "source_column_name", Type: textType, Comment: "NULL in rows about whole tables, and for models"},
	{Name: "target_type", Type: textType, Comment: "view, streaming_table or materialized_view"},
	{Name: "target_table_full_name", Type: textType},
	{Name: "target_column_name", Type: textType, Comment: "NULL in rows about whole tables, and where all rows of the target depend on the source"},
	{Name: "flow", Type: textType, Comment: "flow that writes the target; NULL for a view"},
	{Name: "dependency", Type: textType, Comment: "direct: the value comes from the source; indirect: the source decides about rows or values; NULL in rows about whole tables"},
	{Name: "transformation", Type: textType, Comment: "direct: identity, transformation, aggregation; indirect: conditional, window, filter, join, group_by, sort, explode, expectation"},
	{Name: "expression", Type: textType, Comment: "where the source is used"},
	{Name: "model", Type: textType, Comment: "name of the model; NULL for others"},
	{Name: "model_version", Type: textType},
	{Name: "model_digest", Type: textType, Comment: "SHA-256 over its files"},
}

// lineage is what every table is made of: one row for each pair of tables, directories or models, and one for each use of
// a column or model in a column.
func (e *Engine) lineage(context.Context) (tables.Relation, error) {
	b := tables.NewBatch(lineageSchema, 0)
	for _, l := range e.graph.Lineage() {
		var table, path, model, dependency any
		switch l.SourceType {
		case "path":
			path = l.Source
		case "model":
			model = l.Source
		default:
			table = l.Source
		}
		if l.Use != "" {
			dependency = "indirect"
			if l.Use.Direct() {
				dependency = "direct"
			}
		}
		b.AppendRow(l.SourceType, table, path, orNull(l.SourceColumn), l.TargetType, l.Target, orNull(l.TargetColumn), orNull(l.Flow), dependency,
			orNull(string(l.Use)), orNull(l.Expression), model, orNull(l.ModelVersion), orNull(l.ModelDigest))
	}
	return tables.FromBatches(lineageSchema, b), nil
}

// version tells the flows which version of a model a name means now.
func (e *Engine) version(name string) (lineage.Model, error) {
	m, err := e.models.Resolve(name)
	return lineage.Model{Name: m.Name, Version: strconv.Itoa(m.Version), Digest: m.Digest, Unsteady: err == nil && !e.models.Steady(name)}, err
}

// modelOf tells the flows which version of a model a function asks now.
func (e *Engine) modelOf(function string, literals []string) (lineage.Model, bool) {
	name, ok := e.functions.Refers(function, literals)
	if !ok {
		return lineage.Model{}, false
	}
	m, err := e.models.Resolve(name)
	if err != nil {
		return lineage.Model{Name: name}, true // there is no such version any more
	}
	return lineage.Model{Name: m.Name, Version: strconv.Itoa(m.Version), Digest: m.Digest}, true
}
