package engine

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/stretchr/testify/require"

	"smelt/tables"
)

// TestLineageOfTheShippedPipelines prints smelt.lineage of each, target by target.
func TestLineageOfTheShippedPipelines(t *testing.T) {
	datadriven.Walk(t, "testdata/lineage", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			dir, err := filepath.Abs(filepath.Join("..", "queries", strings.TrimSpace(d.Input)))
			require.NoError(t, err)
			e, err := Open(t.Context(), Config{DataDir: t.TempDir(), Pipelines: []string{dir}})
			require.NoError(t, err)
			defer func() { require.NoError(t, e.Close(context.Background())) }()
			list, err := e.batch(t.Context(), "SELECT * FROM smelt.lineage")
			require.NoError(t, err)
			return strings.ReplaceAll(shownLineage(list), dir, "DIR")
		})
	})
}

func shownLineage(b *tables.Batch) string {
	var out strings.Builder
	text := func(row int, column string) string {
		c := &b.Columns[b.Schema.Index(column)]
		if c.Null(row) {
			return ""
		}
		return c.Strings[row]
	}
	for r := range b.Len {
		source := text(r, "source_type") + " " + text(r, "source_table_full_name") + text(r, "source_path") + text(r, "model")
		if v := text(r, "model_version"); v != "" {
			source += " version " + v
		}
		if text(r, "dependency") == "" {
			fmt.Fprintf(&out, "%s %s <- %s\n", text(r, "target_type"), text(r, "target_table_full_name"), source)
			continue
		}
		_, target, _ := strings.Cut(text(r, "target_table_full_name"), ".")
		if column := text(r, "source_column_name"); column != "" {
			source = strings.TrimPrefix(text(r, "source_table_full_name"), "live.") + "." + column
		}
		fmt.Fprintf(&out, "  %s.%s <- %s, %s %s: %s\n", target, text(r, "target_column_name"), source, text(r, "dependency"), text(r, "transformation"), text(r, "expression"))
	}
	return out.String()
}
