package queries

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/stretchr/testify/require"

	"smelt/queries/ddl"
)

// TestShapes runs the scripts: `shape` prints what a CREATE statement reads and how its table is kept up to date, or why
// it cannot be.
func TestShapes(t *testing.T) {
	datadriven.Walk(t, "testdata/shape", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			require.Equal(t, "shape", d.Cmd)
			statement, err := ddl.Parse(d.Input)
			require.NoError(t, err)
			f, err := newFlow(New(Config{}), statement.(*ddl.Create), reference{"live", "x"}, "live", "")
			if err != nil {
				return err.Error() + "\n"
			}
			var out strings.Builder
			if f.create.Kind == ddl.StreamingTable {
				fmt.Fprintf(&out, "%s: %s\n", strategyAppend, appendReason)
			} else {
				out.WriteString("view\n")
			}
			for _, r := range f.shape.reads {
				fmt.Fprintf(&out, "reads %s\n", r)
			}
			for _, s := range f.create.Sources {
				if s.Files != nil {
					fmt.Fprintf(&out, "streams files of %s\n", s.Files.Path)
				} else {
					fmt.Fprintf(&out, "streams %s\n", f.streamed(s))
				}
			}
			return out.String()
		})
	})
}
