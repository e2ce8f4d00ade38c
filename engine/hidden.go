package engine

import (
	"slices"
	"strings"

	"github.com/dolthub/go-mysql-server/sql"
	"github.com/dolthub/vitess/go/vt/sqlparser"

	"smelt/tables"
)

// hiddenMark ends the names of hidden columns. go-mysql-server leaves every column out of SELECT * whose name holds
// these letters, but lets nobody name one that begins with them.
const hiddenMark = sql.HiddenSystemColumnPrefix

// plainName returns the name that a user writes for a column.
func plainName(column string) string { return strings.TrimSuffix(column, hiddenMark) }

// hiddenColumns are the hidden columns in sight of one SELECT: lower-case column name -> aliases of the relations that
// have it.
type hiddenColumns map[string][]string

// revealHidden lets a SELECT name the hidden columns of the relations in overlay, such as the file columns of
// read_files. They carry a mark that keeps them out of SELECT *; each reference to one gets the mark, and a
// column that is selected by its bare name keeps that name.
func revealHidden(statement sqlparser.SelectStatement, overlay map[string]tables.Relation) {
	names := map[string][]string{}
	files := true
	for placeholder, r := range overlay {
		for _, f := range r.Schema() {
			if f.Hidden {
				names[placeholder] = append(names[placeholder], strings.ToLower(f.Name))
			}
			files = files && !strings.EqualFold(f.Name, metadataName)
		}
	}
	if len(names) > 0 && files {
		nameFileColumns(statement)
	}
	if len(names) > 0 {
		revealIn(statement, names, nil)
	}
}

// revealIn walks one query; outer are the hidden columns that a correlated subquery may name.
func revealIn(node sqlparser.SQLNode, names map[string][]string, outer hiddenColumns) {
	_ = sqlparser.Walk(func(n sqlparser.SQLNode) (bool, error) {
		if s, ok := n.(*sqlparser.Select); ok {
			revealSelect(s, names, outer)
			return false, nil
		}
		return true, nil
	}, node)
}

func revealSelect(s *sqlparser.Select, names map[string][]string, outer hiddenColumns) {
	hidden := hiddenColumns{}
	for column, aliases := range outer {
		hidden[column] = slices.Clone(aliases)
	}
	for _, from := range s.From {
		collectHidden(from, names, hidden)
	}
	output := hidden.name(s.SelectExprs)
	// ORDER BY and HAVING mean the output column if there is one of that name.
	later := hiddenColumns{}
	for column, aliases := range hidden {
		if !output[column] {
			later[column] = aliases
		}
	}
	if s.With != nil {
		revealIn(s.With, names, nil)
	}
	renameIn(s.SelectExprs, names, hidden)
	renameIn(s.From, names, hidden)
	renameIn(s.GroupBy, names, hidden)
	renameIn(s.Window, names, hidden)
	if s.Where != nil {
		renameIn(s.Where, names, hidden)
	}
	if s.Having != nil {
		renameIn(s.Having, names, later)
	}
	renameIn(s.OrderBy, names, later)
}

// name gives hidden columns that are selected bare their own name as alias, and returns all output names that are
// stated, in lower case.
func (h hiddenColumns) name(list sqlparser.SelectExprs) map[string]bool {
	output := map[string]bool{}
	for _, e := range list {
		aliased, ok := e.(*sqlparser.AliasedExpr)
		if !ok {
			continue
		}
		if column, ok := aliased.Expr.(*sqlparser.ColName); ok && aliased.As.IsEmpty() && h.has(column) {
			aliased.As = sqlparser.NewColIdent(column.Name.String())
		}
		if !aliased.As.IsEmpty() {
			output[aliased.As.Lowered()] = true
		}
	}
	return output
}

func renameIn(node sqlparser.SQLNode, names map[string][]string, hidden hiddenColumns) {
	_ = sqlparser.Walk(func(n sqlparser.SQLNode) (bool, error) {
		switch n := n.(type) {
		case *sqlparser.Select:
			revealSelect(n, names, hidden)
			return false, nil
		case *sqlparser.AliasedTableExpr:
			if _, derived := n.Expr.(*sqlparser.Subquery); derived && !n.Lateral {
				revealIn(n.Expr, names, nil) // a derived table sees nothing of the query around it
				return false, nil
			}
		case *sqlparser.ColName:
			if hidden.has(n) {
				n.Name = sqlparser.NewColIdent(n.Name.String() + hiddenMark)
			}
		}
		return true, nil
	}, node)
}

func (h hiddenColumns) has(c *sqlparser.ColName) bool {
	aliases, ok := h[c.Name.Lowered()]
	if !ok || c.Qualifier.IsEmpty() {
		return ok
	}
	return slices.Contains(aliases, strings.ToLower(c.Qualifier.Name.String()))
}

// collectHidden adds the hidden columns of the relations that a table expression names.
func collectHidden(from sqlparser.TableExpr, names map[string][]string, hidden hiddenColumns) {
	switch from := from.(type) {
	case *sqlparser.JoinTableExpr:
		collectHidden(from.LeftExpr, names, hidden)
		collectHidden(from.RightExpr, names, hidden)
	case *sqlparser.ParenTableExpr:
		for _, e := range from.Exprs {
			collectHidden(e, names, hidden)
		}
	case *sqlparser.AliasedTableExpr:
		table, ok := from.Expr.(sqlparser.TableName)
		if !ok {
			return
		}
		alias := from.As
		if alias.IsEmpty() {
			alias = table.Name
		}
		for _, column := range names[strings.ToLower(table.Name.String())] {
			hidden[column] = append(hidden[column], strings.ToLower(alias.String()))
		}
	}
}
