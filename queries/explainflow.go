package queries

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"smelt/queries/cdc"
	"smelt/queries/ddl"
	"smelt/queries/lineage"
	"smelt/tables"
)

// eventOf tells by which columns the events of a row are found: the newest one by key and sequence, where it alone made the
// row, or else all of its key.
func eventOf(c *ddl.Changes) func(column string) bool {
	return func(column string) bool {
		isKey := slices.ContainsFunc(c.Keys, func(k string) bool { return strings.EqualFold(k, column) })
		return isKey || cdc.IsSequence(column) && specOf(c).Stored()
	}
}

// changesLinks says of the columns that ddl adds to the SELECT of changes what they are for, and of the keys that they tell
// rows apart.
func changesLinks(l lineage.Lineage, c *ddl.Changes, target []string) lineage.Lineage {
	edges := slices.Clone(l.Edges)
	for i, e := range edges {
		words, use := "", lineage.Use("filter")
		switch {
		case cdc.IsSequence(e.To):
			words, use = "SEQUENCE BY ", "sort"
		case e.To == deleteColumn:
			words = "APPLY AS DELETE WHEN "
		case e.To == truncateColumn:
			words = "APPLY AS TRUNCATE WHEN "
		default:
			if slices.ContainsFunc(c.Keys, func(k string) bool { return strings.EqualFold(k, e.To) }) && e.Use.Direct() {
				e.To, e.Use, e.Expression = "", "group_by", "KEYS ("+strings.Join(c.Keys, ", ")+")"
				edges = append(edges, e)
			}
			continue
		}
		edges[i].To, edges[i].Use, edges[i].Expression = "", use, words+e.Expression
	}
	l.Edges = slices.DeleteFunc(edges, func(e lineage.Edge) bool { return e.To != "" && !slices.Contains(target, e.To) }) // by COLUMNS
	return l
}

// modelsUsed lists the models that the SELECT calls, and in which columns, as JSON; "" for none.
func (f *flow) modelsUsed() string {
	type used struct {
		Model   string   `json:"model"`
		Version string   `json:"version,omitempty"`
		Digest  string   `json:"digest,omitempty"`
		Columns []string `json:"columns,omitempty"`
	}
	var list []used
	for _, l := range f.lineage() {
		if l.SourceType != linkModel {
			continue
		}
		at := slices.IndexFunc(list, func(u used) bool {
			return u.Model == l.Source && u.Version == l.ModelVersion && u.Digest == l.ModelDigest
		})
		if at < 0 {
			at = len(list)
			list = append(list, used{Model: l.Source, Version: l.ModelVersion, Digest: l.ModelDigest})
		}
		if l.TargetColumn != "" && !slices.Contains(list[at].Columns, l.TargetColumn) {
			list[at].Columns = append(list[at].Columns, l.TargetColumn)
		}
	}
	if len(list) == 0 {
		return ""
	}
	text, err := json.Marshal(list)
	if err != nil {
		return ""
	}
	return string(text)
}

// rulesSay tells for each row what the expectations of today say of it, as JSON; nil where there are none or they cannot
// be asked.
func (f *flow) rulesSay(ctx context.Context, rows *tables.Batch) []string {
	rules := f.create.Expectations
	if len(rules) == 0 {
		return nil
	}
	sql := "SELECT 1 AS one" + expectationColumns(rules) + " FROM `" + explainedRows + "` AS q"
	result, err := f.g.cfg.Query(ctx, Query{Database: f.database, SQL: sql, Tables: map[string]tables.Relation{explainedRows: tables.FromBatches(rows.Schema, rows)}})
	if err != nil {
		return nil
	}
	defer result.Close()
	var out []string
	err = tables.EachBatch(ctx, result, func(b *tables.Batch) error {
		for r := range b.Len {
			said := make([]string, len(rules))
			for i, e := range rules {
				verdict := "not judged again" // UNIQUE: by which other rows is not known any more
				if at := b.Schema.Index(expectPrefix + strconv.Itoa(i)); at >= 0 {
					if verdict = "passed"; !truth(b, at, r) {
						verdict = "failed (" + e.Action.String() + ")"
					}
				}
				said[i] = strconv.Quote(e.Name) + ": " + strconv.Quote(verdict)
			}
			out = append(out, "{"+strings.Join(said, ", ")+"}")
		}
		return nil
	})
	if err != nil || len(out) != rows.Len {
		return nil
	}
	return out
}
