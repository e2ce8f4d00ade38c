package engine

import (
	"regexp"
	"testing"

	"github.com/cockroachdb/datadriven"
)

// changing is what differs from run to run in the answers: times.
var changing = regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?`)

// TestRules runs the scripts of testdata/rules over a real graph of flows: `sql` runs statements, `settle` lets all flows run
// until nothing is left to do.
func TestRules(t *testing.T) {
	datadriven.Walk(t, "testdata/rules", func(t *testing.T, path string) {
		s, graph := startGraph(t)
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "sql":
				return changing.ReplaceAllString(runStatement(t.Context(), s.db, d.Input, false), "TIME")
			case "settle":
				if err := graph.RunOnce(t.Context(), nil); err != nil {
					return err.Error() + "\n"
				}
				return "ok\n"
			default:
				t.Fatalf("unknown command %q", d.Cmd)
				return ""
			}
		})
	})
}
