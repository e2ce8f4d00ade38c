package lineage

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/dolthub/vitess/go/vt/sqlparser"
	"github.com/stretchr/testify/require"
)

// TestLineage runs the scripts. `table` names a relation and its columns; one without columns has unknown ones. `lineage`
// prints what a SELECT reads and its edges; target=(a, b) are the columns of its result, a line EXPECT is a rule.
func TestLineage(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		known := map[string][]string{}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			if d.Cmd == "table" {
				known[d.CmdArgs[0].Key] = d.CmdArgs[len(d.CmdArgs)-1].Vals
				return ""
			}
			require.Equal(t, "lineage", d.Cmd)
			query, rule, ruled := strings.Cut(d.Input, "\nEXPECT ")
			parsed, err := sqlparser.Parse(query)
			if err != nil {
				return err.Error() + "\n"
			}
			var target []string
			var rules []Rule
			for _, a := range d.CmdArgs {
				target = a.Vals
			}
			if ruled {
				where, err := sqlparser.Parse("SELECT 1 FROM dual WHERE " + rule)
				require.NoError(t, err)
				rules = append(rules, Rule{where.(*sqlparser.Select).Where.Expr, "EXPECT " + rule})
			}
			l := Of(parsed.(sqlparser.SelectStatement), target, rules, Catalog{
				Database: "live",
				Columns:  func(relation string) ([]string, bool) { c, ok := known[relation]; return c, ok && len(c) > 0 },
				Model: func(function string, literals []string) (Model, bool) {
					switch {
					case function == "sentiment":
						return Model{Name: "sentiment", Version: "1"}, true
					case function == "predict":
						return Model{Name: strings.TrimPrefix(literals[0], "models:/")}, true
					}
					return Model{}, false
				},
			})
			return printed(l)
		})
	})
}

func printed(l Lineage) string {
	var out strings.Builder
	fmt.Fprintf(&out, "reads %s\n", strings.Join(l.Relations, ", "))
	for _, e := range l.Edges {
		from, to := e.From.Relation+"."+e.From.Column, e.To
		if e.Model != nil {
			from = "model " + e.Model.Name
		}
		if to == "" {
			to = "(rows)"
		}
		fmt.Fprintf(&out, "%s <- %s %s: %s\n", to, from, e.Use, e.Expression)
	}
	return out.String()
}
