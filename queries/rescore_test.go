package queries

import (
	"strings"
	"testing"

	"github.com/dolthub/vitess/go/vt/sqlparser"
	"github.com/stretchr/testify/require"

	"smelt/queries/ddl"
	"smelt/tables"
)

// TestTheSelectOverTheTableItself holds which columns can be computed anew, by what the SELECT keeps.
func TestTheSelectOverTheTableItself(t *testing.T) {
	for _, c := range []struct{ query, affected, columns, want, missing string }{
		{"SELECT id, text, sentiment(text) AS s FROM b", "s", "id text s",
			"SELECT `kept 0` AS `id`, `kept 1` AS `text`, sentiment(text) AS `s` FROM (SELECT `id` AS `kept 0`, `text` AS `kept 1`, `text` AS `text` FROM `live`.`t`) r", ""},
		{"SELECT id, b.text AS said, upper(x) AS text, sentiment(b.text) AS s FROM b", "s", "id said text s",
			"SELECT `kept 0` AS `id`, `kept 1` AS `said`, `kept 2` AS `text`, sentiment(`text`) AS `s` FROM (SELECT `id` AS `kept 0`, `said` AS `kept 1`, `said` AS `text`, `text` AS `kept 2` FROM `live`.`t`) r", ""},
		{"SELECT *, sentiment(text) AS s FROM b", "s", "id text s",
			"SELECT `kept 0` AS `id`, `kept 1` AS `text`, sentiment(text) AS `s` FROM (SELECT `id` AS `kept 0`, `text` AS `kept 1`, `text` AS `text` FROM `live`.`t`) r", ""},
		{"SELECT sentiment('x') AS s FROM b", "s", "s", "SELECT sentiment('x') AS `s` FROM (SELECT 1 AS `kept` FROM `live`.`t`) r", ""},
		{"SELECT id, sentiment(text) AS s FROM b", "s", "id s", "", "the table does not keep text"},
		{"SELECT id, trim(text) AS said, sentiment(trim(text)) AS s FROM b", "s", "id said s", "", "the table does not keep text"},
		{"SELECT id, lower(text) AS text, sentiment(text) AS s FROM b", "s", "id text s", "", "the table does not keep text"},
		{"SELECT *, upper(text) AS text, sentiment(text) AS s FROM b", "s", "id text s", "", "the table does not keep text"},
		{"SELECT a.text, c.text AS other, sentiment(c.text) AS s FROM a JOIN c ON a.id = c.id", "s", "text other s", "", "the table does not keep text"},
		{"SELECT text, sentiment((SELECT MAX(text) FROM c)) AS s FROM b", "s", "text s", "", "made by a subquery"},
	} {
		parsed, err := sqlparser.Parse(c.query)
		require.NoError(t, err)
		s := parsed.(*sqlparser.Select)
		var schema tables.Schema
		for _, name := range strings.Fields(c.columns) {
			schema = append(schema, tables.Field{Name: name, Type: tables.Type{Kind: tables.String}})
		}
		affected := map[string]bool{c.affected: true}
		kept, err := keptColumns(s, schema, affected)
		require.NoError(t, err)
		got, err := anewQuery(s, schema, reference{"live", "t"}, affected, kept)
		if c.missing != "" {
			require.ErrorIs(t, err, errNotInPlace, c.query)
			require.ErrorContains(t, err, c.missing, c.query)
			continue
		}
		require.NoError(t, err, c.query)
		require.Equal(t, strings.ReplaceAll(c.want, "`text`)", "text)"), strings.ReplaceAll(got, "`text`)", "text)"), c.query)
	}
}

// TestRulesThatLookAtAModel tells those that can be judged again from those that left rows out.
func TestRulesThatLookAtAModel(t *testing.T) {
	g := New(Config{Refers: func(function string, _ []string) (string, bool) {
		return "sentiment", strings.HasPrefix(function, "sentiment")
	}})
	rules := func(action ddl.Action, expr string) ([]ddl.Expectation, error) {
		f := emptyFlow(g, &ddl.Create{Expectations: []ddl.Expectation{{Name: "r", Expr: expr, Action: action}}}, reference{"live", "t"}, "live", "")
		return f.rulesOver(map[string]bool{"score": true}, []string{"sentiment"})
	}
	for expr, looks := range map[string]bool{"score > 1": true, "sentiment(text) = 'x'": true, "id > 1": false} {
		for _, action := range []ddl.Action{ddl.Warn, ddl.FailUpdate, ddl.DropRow} {
			got, err := rules(action, expr)
			switch {
			case looks && action == ddl.DropRow:
				require.ErrorIs(t, err, errNotInPlace)
			case looks:
				require.NoError(t, err)
				require.Len(t, got, 1)
			default:
				require.NoError(t, err)
				require.Empty(t, got, "what it said of the row stands")
			}
		}
	}
}
