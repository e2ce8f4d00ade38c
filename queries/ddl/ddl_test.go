package ddl

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/stretchr/testify/require"

	"smelt/queries/lexer"
)

// TestText runs the scripts: `parse` prints a statement, `split` the pieces of a script, `rewrite` a SELECT, `normal` the
// normal form.
func TestText(t *testing.T) {
	datadriven.Walk(t, "testdata/text", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "parse":
				return parseText(t, d.Input)
			case "split":
				pieces, err := lexer.Split(d.Input)
				if err != nil {
					return err.Error() + "\n"
				}
				var out strings.Builder
				for _, p := range pieces {
					fmt.Fprintf(&out, "%d:%d %q\n", p.Line, p.Column, p.Text)
				}
				return out.String()
			case "inline":
				pieces, err := lexer.Split(d.Input)
				require.NoError(t, err)
				if pieces, _, err = Inline(pieces); err != nil {
					return err.Error() + "\n"
				}
				var out strings.Builder
				for _, p := range pieces {
					fmt.Fprintf(&out, "%d: %s\n", p.Line, p.Text)
				}
				return out.String()
			case "rewrite":
				text, sources, err := RewriteQuery(d.Input)
				if err != nil {
					return err.Error() + "\n"
				}
				if len(sources) == 0 {
					require.Equal(t, d.Input, text)
					return "unchanged\n"
				}
				return text + "\n" + showSources(sources)
			case "clauses":
				rest, partitions, properties, err := CutClauses(d.Input)
				if err != nil {
					return err.Error() + "\n"
				}
				return fmt.Sprintf("%s\npartitions %q properties %q\n", rest, partitions, properties)
			case "normal":
				return lexer.Normal(d.Input) + "\n"
			default:
				t.Fatalf("unknown command %q", d.Cmd)
				return ""
			}
		})
	})
}

func parseText(t *testing.T, sql string) string {
	s, err := Parse(sql)
	if err != nil {
		var syntax *lexer.SyntaxError
		require.ErrorAs(t, err, &syntax)
		return err.Error() + "\n"
	}
	if s == nil {
		return "not ours\n"
	}
	if m, ok := s.(*OnModel); ok && m.Evaluation != nil {
		again, err := Parse(m.Print())
		require.NoError(t, err)
		require.Equal(t, m.Print(), again.(*OnModel).Print(), "what is printed reads as itself")
	}
	return show(s)
}

func show(s Statement) string {
	var out strings.Builder
	switch s := s.(type) {
	case *Create:
		fmt.Fprintf(&out, "create %s %s\n", s.Kind, qualified(s.Database, s.Name))
		if s.OrRefresh || s.IfNotExists {
			fmt.Fprintf(&out, "or refresh: %t, if not exists: %t\n", s.OrRefresh, s.IfNotExists)
		}
		for _, c := range s.Columns {
			fmt.Fprintf(&out, "column %q type %q comment %q\n", c.Name, c.Type, c.Comment)
		}
		for _, e := range s.Expectations {
			if !e.OnRows() || e.Check {
				fmt.Fprintf(&out, "expect %q %s %s\n", e.Name, e.Rule(), e.Action)
				continue
			}
			fmt.Fprintf(&out, "expect %q %q %s\n", e.Name, e.Expr, e.Action)
		}
		if s.Comment != "" {
			fmt.Fprintf(&out, "comment %q\n", s.Comment)
		}
		if len(s.Properties) > 0 {
			fmt.Fprintf(&out, "properties %q\n", s.Properties)
		}
		if len(s.Partitions) > 0 {
			fmt.Fprintf(&out, "partitions %q\n", s.Partitions)
		}
		if s.Schedule != nil {
			fmt.Fprintf(&out, "schedule %+v\n", *s.Schedule)
		}
		fmt.Fprintf(&out, "query %q\n", s.Query)
		out.WriteString(showSources(s.Sources))
		out.WriteString(showChanges(s.Changes))
	case *Flow:
		name := s.Name
		if name == "" {
			name = s.DefaultName()
		}
		fmt.Fprintf(&out, "flow %s into %s\n", qualified(s.Database, name), qualified(s.IntoDatabase, s.Into))
		if s.OrReplace || s.IfNotExists || s.Comment != "" {
			fmt.Fprintf(&out, "or replace: %t, if not exists: %t, comment %q\n", s.OrReplace, s.IfNotExists, s.Comment)
		}
		fmt.Fprintf(&out, "query %q\n", s.Query)
		out.WriteString(showSources(s.Sources))
		out.WriteString(showChanges(s.Changes))
	case *OnFlow:
		if s.Schedule != nil {
			fmt.Fprintf(&out, "schedule %+v\n", *s.Schedule)
		}
		plain := *s
		plain.Schedule = nil
		fmt.Fprintf(&out, "%+v\n", plain)
	case *OnModel:
		out.WriteString(showModel(*s))
	case *OnRules:
		fmt.Fprintf(&out, "%s %s%s", s.Verb, s.Kind, qualified(s.Database, s.Name))
		fmt.Fprintf(&out, " where %q rule %q if exists %t\n", s.Where, s.Rule.print(), s.IfExists)
	case *Inspect:
		fmt.Fprintf(&out, "%s of %s where %q limit %d\n", s.Verb, qualified(s.Database, s.Name), s.Where, s.Limit)
	case *OnTable:
		if s.File != "" {
			fmt.Fprintf(&out, "%s %q of %s\n", s.Verb, s.File, qualified(s.Database, s.Name))
			break
		}
		fmt.Fprintf(&out, "%+v\n", *s)
	}
	return out.String()
}

func showModel(m OnModel) string {
	if m.Evaluation != nil {
		return m.Print() + "\n"
	}
	text := ""
	if m.Schedule != nil {
		text = fmt.Sprintf("schedule %+v\n", *m.Schedule)
	}
	m.Schedule = nil
	return text + fmt.Sprintf("%+v\n", m)
}

func showChanges(c *Changes) string {
	if c == nil {
		return ""
	}
	return fmt.Sprintf("changes %+v\n", *c)
}

func qualified(database, name string) string { return fmt.Sprintf("%q.%q", database, name) }

func showSources(sources []Source) string {
	var out strings.Builder
	for _, s := range sources {
		if s.Files == nil {
			fmt.Fprintf(&out, "source %s = %s\n", s.Placeholder, qualified(s.Database, s.Table))
			continue
		}
		fmt.Fprintf(&out, "source %s = %q %q\n", s.Placeholder, s.Files.Path, s.Files.Options)
	}
	return out.String()
}

// TestTextOfACreateParsesToTheSame holds what a restart needs: a definition is stored as Text and parsed again.
func TestTextOfACreateParsesToTheSame(t *testing.T) {
	for _, sql := range corpus(t) {
		first := create(t, sql)
		if first == nil {
			continue
		}
		second := create(t, first.Text)
		require.NotNil(t, second, first.Text)
		require.Equal(t, anywhere(*first), anywhere(*second))
		// Splitting a statement that is alone changes nothing either.
		pieces, err := lexer.Split(sql)
		require.NoError(t, err)
		require.Len(t, pieces, 1)
		require.Equal(t, anywhere(*first), anywhere(*create(t, pieces[0].Text)))
	}
}

// TestWhatIsPrintedParsesToTheSame holds what SHOW CREATE is for.
func TestWhatIsPrintedParsesToTheSame(t *testing.T) {
	for _, sql := range corpus(t) {
		c := create(t, sql)
		if c == nil {
			continue
		}
		printed := c.Print(nil)
		again := create(t, printed)
		require.NotNil(t, again, printed)
		again.Text = c.Text
		require.Equal(t, anywhere(*c), anywhere(*again), printed)
	}
}

// TestWhatIsPrintedOfAModelParsesToTheSame holds what SHOW CREATE MODEL is for, and what a restart needs of a model that learns.
func TestWhatIsPrintedOfAModelParsesToTheSame(t *testing.T) {
	trained := 0
	for _, sql := range corpus(t) {
		s, err := Parse(sql)
		m, ok := s.(*OnModel)
		if err != nil || !ok || m.Verb != "CREATE" && m.Verb != "ADD VERSION" {
			continue
		}
		again, err := Parse(m.Print())
		require.NoError(t, err, m.Print())
		require.Equal(t, m, again, m.Print())
		if m.Query != "" {
			trained++
		}
	}
	require.Greater(t, trained, 3)
}

// anywhere forgets where in a text the SELECT stood.
func anywhere(c Create) Create {
	c.line, c.column = 0, 0
	return c
}

func create(t *testing.T, sql string) *Create {
	t.Helper()
	s, err := Parse(sql)
	if err != nil {
		return nil
	}
	c, _ := s.(*Create)
	return c
}

// corpus is every input of the scripts.
func corpus(t *testing.T) []string {
	t.Helper()
	var all []string
	datadriven.Walk(t, "testdata/text", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(_ *testing.T, d *datadriven.TestData) string {
			if d.Cmd == "parse" {
				all = append(all, d.Input)
			}
			return d.Expected
		})
	})
	require.NotEmpty(t, all)
	return all
}

var fuzzSeeds = []string{
	"CREATE OR REFRESH STREAMING TABLE a.b (c STRING COMMENT 'x', CONSTRAINT d EXPECT (c <> ')') ON VIOLATION DROP ROW) COMMENT 'it''s' AS SELECT * FROM STREAM(LIVE.t) q, JSON_TABLE(x, '$[*]' COLUMNS (y INT PATH '$')) m;",
	"/*! CREATE MATERIALIZED VIEW v AS SELECT 1 */", "CREATE /*! OR REFRESH */ LIVE TABLE v ( ) TBLPROPERTIES ('a' = 'b') AS WITH x AS (SELECT 1) SELECT * FROM x -- end",
	"SELECT id, stream s FROM stream", "REFRESH v FULL; SHOW STREAMS LIKE 'a%'", "DROP STREAMING TABLE IF EXISTS `a``b`", "SHOW CREATE MATERIALIZED VIEW v",
	"SELECT * FROM cloud_files(\"/d\", \"json\", map(\"a\", \"b\"))", "SELECT * FROM STREAM read_files('d', format => 'json', a.b => 1.5) WHERE \"x\\\"y\" = 'z\\''",
	"CREATE OR REPLACE MODEL m OPTIONS (encoder = 'e', c = -1) COMMENT 'x' SCHEDULE CRON '0 0 2 * * ?' AS SELECT a, b FROM t -- end", "ALTER MODEL m RETRAIN",
	"CREATE TEMPORARY LIVE VIEW v (a) AS SELECT a FROM STREAM(t); CREATE STREAMING TABLE s AS SELECT * FROM STREAM(LIVE.v) w, v", "SET spark.a = 1",
	"CREATE TABLE t (a INT) ENGINE=AUTOLOAD CONNECTION='d' ENGINE_ATTRIBUTE='{}'", "INSERT INTO t VALUES ('/*! STREAM(', \"--\", `#`)", "SELECT /* \x00 */ \xff FROM STREAM(", "/*!", "'", "CREATE STREAMING",
}

// FuzzParse holds for any text: nothing panics; what is not ours is left alone; a Create stands on its own text; a query
// comes back whole when nothing in it streams; pieces of a script hold all of its tokens.
func FuzzParse(f *testing.F) {
	for _, s := range fuzzSeeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, sql string) {
		s, err := Parse(sql)
		if s == nil && err == nil && familyOf(sql) != nil {
			t.Fatalf("ours, and neither statement nor error: %q", sql)
		}
		if (s != nil || err != nil) && familyOf(sql) == nil {
			t.Fatalf("not ours, and eaten: %q", sql)
		}
		var syntax *lexer.SyntaxError
		if err != nil && (!errors.As(err, &syntax) || syntax.Line < 1 || syntax.Column < 1 || syntax.Want == "" || syntax.Got == "") {
			t.Fatalf("error without a place: %v", err)
		}
		if c, ok := s.(*Create); ok {
			require.NotEmpty(t, c.Name)
			require.True(t, c.Query != "" || c.Select == "" && c.Kind == StreamingTable, "only a table that flows fill has no SELECT")
			again, err := Parse(c.Text)
			if err != nil {
				t.Fatalf("text of a Create: %v: %q", err, c.Text)
			}
			require.Equal(t, anywhere(*c), anywhere(*again.(*Create)))
			again, err = Parse(c.Print(nil))
			require.NoError(t, err, c.Print(nil))
			printed := *again.(*Create)
			printed.Text = c.Text
			require.Equal(t, anywhere(*c), anywhere(printed))
		}
		rewritten, sources, err := RewriteQuery(sql)
		if err == nil && len(sources) == 0 && rewritten != sql {
			t.Fatalf("changed without a source: %q to %q", sql, rewritten)
		}
		checkSplit(t, sql)
		if pieces, err := lexer.Split(sql); err == nil {
			_, _, err = Inline(pieces)
			if errors.As(err, &syntax) && (syntax.Line < 1 || syntax.Column < 1) {
				t.Fatalf("inline: error without a place: %v", err)
			}
		}
	})
}

func checkSplit(t *testing.T, script string) {
	t.Helper()
	pieces, err := lexer.Split(script)
	if err != nil {
		var syntax *lexer.SyntaxError
		if !errors.As(err, &syntax) {
			t.Fatalf("split: %T", err)
		}
		return
	}
	all, err := lexer.Tokens(script)
	require.NoError(t, err, "what splits also lexes")
	var want, got []string
	for _, tok := range all[:len(all)-1] {
		if tok.Kind != lexer.Symbol || tok.Text != ";" {
			want = append(want, script[tok.Start:tok.Stop])
		}
	}
	for _, p := range pieces {
		part, err := lexer.Tokens(p.Text)
		require.NoError(t, err, p.Text)
		for _, tok := range part[:len(part)-1] {
			got = append(got, p.Text[tok.Start:tok.Stop])
		}
	}
	require.True(t, slices.Equal(want, got), "pieces of %q: %q, tokens %q", script, got, want)
}
