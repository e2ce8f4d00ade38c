package ddl

import (
	"strings"

	"smelt/queries/lexer"
)

// Print returns a statement that makes the same table; reading it gives the same Create but for Text. columns are the
// lines of the column list without commas; nil stands for those that the statement named.
func (c *Create) Print(columns []string) string {
	lines := columns
	if columns == nil {
		for _, col := range c.Columns {
			lines = append(lines, col.print())
		}
	}
	for _, e := range c.Expectations {
		if e.Implied && columns == nil {
			continue
		}
		lines = append(lines, e.print())
	}
	head := "CREATE "
	if c.OrRefresh {
		head += "OR REFRESH "
	}
	head += c.Kind.String() + " "
	if c.IfNotExists {
		head += "IF NOT EXISTS "
	}
	if c.Database != "" {
		head += lexer.QuoteName(c.Database) + "."
	}
	out := []string{head + lexer.QuoteName(c.Name)}
	if len(lines) > 0 {
		out[0] += " (\n  " + strings.Join(lines, ",\n  ") + "\n)"
	}
	for _, k := range clauseTable() {
		if k.print == nil {
			continue
		}
		if text := k.print(c); text != "" {
			out = append(out, text)
		}
	}
	switch {
	case c.Changes != nil:
		out = append(out, "FLOW AUTO CDC "+c.Changes.Text)
	case c.Query != "":
		out = append(out, "AS "+c.Select)
	}
	return strings.Join(out, "\n")
}

// print returns the column as a statement writes it.
func (d ColumnDef) print() string {
	text := lexer.QuoteName(d.Name)
	if d.Type != "" {
		text += " " + d.Type
	}
	if d.Comment != "" {
		text += " COMMENT " + lexer.QuoteText(d.Comment)
	}
	return text
}

func quoteAll(names []string) string {
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = lexer.QuoteName(n)
	}
	return strings.Join(quoted, ", ")
}
