package spark

import (
	"strings"

	"smelt/queries/lexer"
)

// columnTypes are MySQL's names for types of columns that only Spark has.
var columnTypes = map[string]string{"STRING": "TEXT", "TIMESTAMP_NTZ": "DATETIME", "LONG": "BIGINT", "SHORT": "SMALLINT", "BYTE": "TINYINT"}

// statement copies the beginning of statements that have forms of their own: DESCRIBE EXTENDED, CREATE TABLE, ALTER
// TABLE and CREATE VIEW.
func (t *translator) statement() {
	switch {
	case t.peek().IsSymbol("("):
		t.bracketedSelect(0)
	case t.peek().Is("DESCRIBE") || t.peek().Is("DESC"):
		t.copyToken()
		n := 0
		if t.peek().Is("TABLE") {
			n = 1
		}
		if t.ahead(n).Is("EXTENDED") || t.ahead(n).Is("FORMATTED") {
			t.replace(n+1, "")
		}
	case t.words("CREATE", "TABLE"):
		t.bracketedSelect(2)
		t.columnList()
	case t.words("ALTER", "TABLE"):
		t.columnList()
	case t.words("CREATE", "VIEW"), t.words("CREATE", "OR", "REPLACE", "VIEW"):
		t.view()
	}
}

// view copies a CREATE VIEW up to its SELECT without comments and properties, which views do not keep.
func (t *translator) view() {
	for t.peek().Kind != lexer.End && !t.peek().Is("SELECT") && !t.peek().Is("WITH") {
		switch {
		case t.peek().Is("COMMENT") && t.ahead(1).Kind == lexer.String:
			t.replace(2, "")
		case t.peek().Is("TBLPROPERTIES") && t.ahead(1).IsSymbol("("):
			n := 2
			for t.ahead(n).Kind != lexer.End && !t.ahead(n).IsSymbol(")") {
				n++
			}
			t.replace(n+1, "")
		default:
			t.copyToken()
		}
	}
}

// columnList copies a CREATE or ALTER TABLE up to its SELECT with the types of columns in MySQL's spelling.
func (t *translator) columnList() {
	for t.peek().Kind != lexer.End && !t.peek().Is("SELECT") && !t.peek().Is("WITH") {
		k := t.peek()
		typ := columnTypes[strings.ToUpper(k.Text)]
		switch {
		case k.Kind == lexer.Word && typ != "" && isName(t.ahead(-1)):
			t.replace(1, typ)
		case t.words("ADD", "COLUMNS") && t.ahead(2).IsSymbol("("):
			t.addColumns()
		default:
			t.copyToken()
		}
	}
}

// addColumns is ADD COLUMNS (a INT, b INT), of which the MySQL parser knows only one column at a time.
func (t *translator) addColumns() {
	t.copyToken()
	t.replace(2, "COLUMN ")
	for depth := 0; t.peek().Kind != lexer.End; {
		k := t.peek()
		switch {
		case depth == 0 && k.IsSymbol(")"):
			t.replace(1, "")
			return
		case depth == 0 && k.IsSymbol(","):
			t.replace(1, ", ADD COLUMN")
			continue
		case k.IsSymbol("("):
			depth++
		case k.IsSymbol(")"):
			depth--
		}
		if typ := columnTypes[strings.ToUpper(k.Text)]; k.Kind == lexer.Word && typ != "" && isName(t.ahead(-1)) {
			t.replace(1, typ)
			continue
		}
		t.copyToken()
	}
}

// bracketedSelect takes the brackets off (SELECT ...), which may stand behind AS: as dbt writes CREATE TABLE ... AS.
func (t *translator) bracketedSelect(from int) {
	last := len(t.all) - 2
	if last < 0 || !t.all[last].IsSymbol(")") {
		return
	}
	depth := 0
	for i := last; i >= from; i-- {
		switch {
		case t.all[i].IsSymbol(")"):
			depth++
		case t.all[i].IsSymbol("("):
			if depth--; depth > 0 {
				continue
			}
			if (i == 0 || t.all[i-1].Is("AS")) && (t.all[i+1].Is("SELECT") || t.all[i+1].Is("WITH")) {
				t.blank(last)
				t.blank(i)
			}
			return
		}
	}
}

// blank takes a token out: its place stays, so that nothing else moves.
func (t *translator) blank(i int) {
	k := t.all[i]
	t.text = t.text[:k.Start] + strings.Repeat(" ", k.Stop-k.Start) + t.text[k.Stop:]
	t.all = append(t.all[:i:i], t.all[i+1:]...)
	t.changed = true
}
