package ddl

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/stretchr/testify/require"
)

// TestScripts runs testdata: `parse` prints what a statement says, `rewrite` a SELECT, `split` the pieces of a script.
func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "parse":
				return parsed(d.Input)
			case "rewrite":
				query, sources, err := RewriteQuery(d.Input)
				if err != nil {
					return err.Error()
				}
				return query + show(sources)
			case "split":
				pieces, err := Split(d.Input)
				if err != nil {
					return err.Error()
				}
				var out strings.Builder
				for _, p := range pieces {
					fmt.Fprintf(&out, "%d: %s\n", p.Line, strings.ReplaceAll(p.Text, "\n", "⏎"))
				}
				return out.String()
			}
			return "unknown command " + d.Cmd
		})
	})
}

func parsed(sql string) string {
	statement, err := Parse(sql)
	if err != nil {
		return err.Error()
	}
	if statement == nil {
		return "not ours"
	}
	c, ok := statement.(*Create)
	if !ok {
		return fmt.Sprintf("%T %+v", statement, statement)
	}
	var out strings.Builder
	fmt.Fprintf(&out, "%s %q.%q orRefresh=%v ifNotExists=%v\n", c.Kind, c.Database, c.Name, c.OrRefresh, c.IfNotExists)
	for _, col := range c.Columns {
		fmt.Fprintf(&out, "column %s %q\n", col.Name, col.Comment)
	}
	for _, e := range c.Expectations {
		fmt.Fprintf(&out, "expect %s: %s, %s\n", e.Name, e.Expr, e.Action)
	}
	if c.Comment != "" {
		fmt.Fprintf(&out, "comment %s\n", c.Comment)
	}
	if len(c.Properties) > 0 {
		fmt.Fprintf(&out, "properties %v\n", c.Properties)
	}
	return out.String() + "query " + c.Query + show(c.Sources)
}

func show(sources []Source) string {
	var out strings.Builder
	for _, s := range sources {
		fmt.Fprintf(&out, "\nsource %s", s.Placeholder)
		if s.Files != nil {
			// Maps are encoded by key, and these always encode.
			options, _ := json.Marshal(s.Files.Options)
			fmt.Fprintf(&out, " %s %s", s.Files.Path, options)
		}
	}
	return out.String()
}

func FuzzParseNeverPanicsAndLeavesWhatIsNotOurs(f *testing.F) {
	for _, s := range []string{"CREATE STREAMING TABLE t AS SELECT * FROM STREAM(b)", "SELECT 1", "CREATE OR REFRESH MATERIALIZED VIEW `a` (x COMMENT 'y') AS SELECT 1;", "/*! CREATE */ LIVE TABLE", "REFRESH t FULL", "'", "CREATE TABLE t (a INT)"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, sql string) {
		statement, err := Parse(sql)
		if c, ok := statement.(*Create); ok && err == nil {
			require.NotEmpty(t, c.Name)
			require.NotEmpty(t, c.Query)
		}
		var syntax *SyntaxError
		if err != nil {
			require.True(t, errors.As(err, &syntax))
			require.Positive(t, syntax.Line)
		}
		query, sources, err := RewriteQuery(sql)
		if err == nil && len(sources) == 0 && !strings.Contains(strings.ToUpper(sql), "LIVE") {
			require.Equal(t, sql, query, "a query without STREAM comes back as it was")
		}
		_, _ = Split(sql)
	})
}
