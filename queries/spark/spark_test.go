package spark

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/dolthub/vitess/go/vt/sqlparser"
	"github.com/stretchr/testify/require"

	"smelt/queries/lexer"
)

// TestForms runs the scripts: `mysql` prints what a statement of Spark's means, and the names of columns without an alias.
func TestForms(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			statement, err := Parse(t.Context(), d.Input, sqlparser.ParserOptions{})
			var at *Error
			if errors.As(err, &at) {
				line, column := lexer.Place(d.Input, at.Offset)
				return fmt.Sprintf("line %d, column %d near %q\n", line, column, d.Input[at.Offset:])
			}
			if err != nil {
				return err.Error() + "\n"
			}
			out := sqlparser.String(statement) + "\n"
			if s, ok := statement.(*sqlparser.Select); ok {
				var names []string
				for _, e := range s.SelectExprs {
					if a, ok := e.(*sqlparser.AliasedExpr); ok && a.As.IsEmpty() {
						names = append(names, a.InputExpression)
					}
				}
				if d.HasArg("names") {
					out += "names: " + strings.Join(names, " | ") + "\n"
				}
			}
			return out
		})
	})
}

var _ = context.Background
var _ = require.NoError
