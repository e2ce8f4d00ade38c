package engine

import (
	"context"

	"smelt/queries"
	"smelt/tables"
	"smelt/tables/psi"
)

var driftSchema = tables.Schema{
	{Name: "database", Type: textType},
	{Name: "table", Type: textType},
	{Name: "column", Type: textType, Comment: "that a model writes"},
	{Name: "model", Type: textType},
	{Name: "model_version", Type: textType},
	{Name: "version", Type: longType, Comment: "Delta version of the newest batch"},
	{Name: "started", Type: timeType, Comment: "when that batch began, UTC"},
	{Name: "value", Type: textType, Comment: "a value, a range of numbers, NULL, or others"},
	{Name: "rows_before", Type: longType, Comment: "of the seven commits before, or of the table as it was"},
	{Name: "rows_now", Type: longType},
	{Name: "share_before", Type: floatType},
	{Name: "share_now", Type: floatType},
	{Name: "psi_part", Type: floatType, Comment: "what the value adds to the index"},
	{Name: "psi", Type: floatType, Comment: "population stability index of the column: above 0.2 much has shifted"},
}

// drift is how the predictions of the newest batches differ from those before: a row for each value of each column.
func (e *Engine) drift(ctx context.Context) (tables.Relation, error) { return driftOf(ctx, e.graph) }

func driftOf(ctx context.Context, graph *queries.Graph) (tables.Relation, error) {
	b := tables.NewBatch(driftSchema, 0)
	err := graph.Drift(ctx, func(f queries.Status, column, model, modelVersion string, newest queries.Progress, c *psi.Comparison) {
		index, past, now := c.Index()
		for _, p := range c.Parts() {
			if p.Past+p.Now == 0 {
				continue // most columns have neither NULL nor others
			}
			b.AppendRow(f.Database, f.Table, column, model, modelVersion, newest.Version, newest.Started, p.Name, p.Past, p.Now,
				float64(p.Past)/float64(past), float64(p.Now)/float64(now), p.Index, index)
		}
	})
	return tables.FromBatches(driftSchema, b), err
}
