package engine

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"smelt/queries/ddl"
	"smelt/tables"
)

// createText returns the statement that makes a table like t. plain is go-mysql-server's, from which the columns come.
func createText(t *tables.Table, plain string) (string, error) {
	def := t.Snapshot().Definition()
	if t.External() {
		return fmt.Sprintf("CREATE TABLE %s USING DELTA LOCATION %s", quoteName(t.Name()), quoteText(t.Dir())), nil
	}
	text := def.Properties[propertyStatement]
	if text == "" {
		return plain + clauses(def.Partitions, ownProperties(def.Properties)), nil
	}
	statement, err := ddl.Parse(text)
	if err != nil {
		return "", fmt.Errorf("read the statement that made %s: %w", t.Name(), err)
	}
	c, ok := statement.(*ddl.Create)
	if !ok {
		return "", fmt.Errorf("read the statement that made %s: it is a %T", t.Name(), statement)
	}
	c.OrRefresh, c.IfNotExists, c.Database, c.Name = false, false, "", t.Name()
	return c.Print(columnLines(plain)), nil
}

// columnLines returns the lines of the column list without commas, never nil.
func columnLines(plain string) []string {
	lines := []string{}
	_, rest, ok := strings.Cut(plain, "(\n")
	if !ok {
		return lines
	}
	for _, line := range strings.Split(rest, "\n") {
		if !strings.HasPrefix(line, "  `") {
			break
		}
		lines = append(lines, strings.TrimSpace(strings.TrimSuffix(line, ",")))
	}
	return lines
}

// ownProperties leaves out what the system keeps in the properties for itself.
func ownProperties(all map[string]string) map[string]string {
	own := maps.Clone(all)
	maps.DeleteFunc(own, func(k, _ string) bool { return strings.HasPrefix(k, "smelt.") && k != "smelt.bloom.columns" })
	return own
}

func clauses(partitions []string, properties map[string]string) string {
	out := ""
	if len(partitions) > 0 {
		names := make([]string, len(partitions))
		for i, p := range partitions {
			names[i] = quoteName(p)
		}
		out += "\nPARTITIONED BY (" + strings.Join(names, ", ") + ")"
	}
	if len(properties) > 0 {
		var list []string
		for _, k := range slices.Sorted(maps.Keys(properties)) {
			list = append(list, quoteText(k)+" = "+quoteText(properties[k]))
		}
		out += "\nTBLPROPERTIES (" + strings.Join(list, ", ") + ")"
	}
	return out
}

func quoteName(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }

func quoteText(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", "''").Replace(text) + "'"
}
