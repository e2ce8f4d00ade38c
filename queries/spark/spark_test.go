package spark

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/dolthub/vitess/go/vt/sqlparser"
	"github.com/stretchr/testify/require"

	"smelt/queries/lexer"
)

// TestForms runs the scripts: `mysql` prints what a statement of Spark's means, and the names of columns without an alias.
func TestForms(t *testing.T) {
	datadriven.Walk(t, "testdata/text", func(t *testing.T, path string) {
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

// statements are those of the scripts of a folder.
func statements(t testing.TB, folder string) map[string][]string {
	t.Helper()
	byFile := map[string][]string{}
	files, err := filepath.Glob(filepath.Join(folder, "*"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, f := range files {
		text, err := os.ReadFile(f)
		require.NoError(t, err)
		for _, block := range strings.Split(string(text), "\n\n") {
			if input, _, ok := strings.Cut(block, "\n----"); ok {
				_, input, _ = strings.Cut(input, "\n")
				byFile[filepath.Base(f)] = append(byFile[filepath.Base(f)], input)
			}
		}
	}
	return byFile
}

// TestMySQLIsLeftAlone holds the rule that nothing here may change what a statement of MySQL means: the tree of each
// statement of the engine's scripts is the MySQL parser's own, but in those scripts that are about Spark.
func TestMySQLIsLeftAlone(t *testing.T) {
	same := 0
	for file, list := range statements(t, "../../engine/testdata/sql") {
		if strings.HasPrefix(file, "spark") || file == "tempviews" {
			continue
		}
		for _, text := range list {
			plain, err := sqlparser.Parse(text)
			if err != nil {
				continue
			}
			ours, err := Parse(t.Context(), text, sqlparser.ParserOptions{})
			require.NoError(t, err, text)
			require.Equal(t, sqlparser.String(plain), sqlparser.String(ours), "%s: %s", file, text)
			same++
		}
	}
	require.Greater(t, same, 400, "the scripts must be found")
}

// FuzzParse holds for any text: nothing panics; what the MySQL parser takes is never refused but for names that only we
// know; places are inside the text.
func FuzzParse(f *testing.F) {
	for _, list := range statements(f, "testdata/text") {
		for _, text := range list {
			f.Add(text)
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		_, err := Parse(context.Background(), text, sqlparser.ParserOptions{})
		var at *Error
		if errors.As(err, &at) && (at.Offset < 0 || at.Offset > len(text)) {
			t.Fatalf("offset %d in a text of %d bytes", at.Offset, len(text))
		}
		var syntax *lexer.SyntaxError
		if errors.As(err, &syntax) && (syntax.Line < 1 || syntax.Column < 1 || syntax.Line > 1+strings.Count(text, "\n")) {
			t.Fatalf("line %d, column %d of %q", syntax.Line, syntax.Column, text)
		}
		if _, plain := parse(context.Background(), text, sqlparser.ParserOptions{}); plain == nil && (at != nil || syntax != nil) {
			t.Fatalf("refused what MySQL takes: %v", err)
		}
		out, changed, err := translate(text)
		if err == nil && out != nil && !changed && textOf(out) != text {
			t.Fatalf("changed without a word: %q to %q", text, textOf(out))
		}
		for i := 0; i <= len(textOf(out)); i++ {
			if p := place(out, i); p < 0 || p > len(text) {
				t.Fatalf("place %d of %d", p, len(text))
			}
		}
	})
}
