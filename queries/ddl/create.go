package ddl

import (
	"slices"
	"strings"

	"smelt/queries/lexer"
)

// isCreate reports whether a statement that begins with these words is a Create. No MySQL statement begins so.
func isCreate(_ string, words []string) bool {
	return begins(words, "CREATE", "OR", "REFRESH") || begins(words, "CREATE") && beginsKind(withoutTemporary(withoutOr(words[1:])))
}

// withoutTemporary takes TEMPORARY and PRIVATE off: in Delta Live Tables they keep a table out of the catalogue. Here it
// is a table like any other.
func withoutTemporary(words []string) []string {
	if begins(words, "TEMPORARY") || begins(words, "TEMP") || begins(words, "PRIVATE") {
		return words[1:]
	}
	return words
}

func (p *parser) create() (Statement, error) {
	c := &Create{Text: lexer.Cut(p.text, p.all[:len(p.all)-1]), Properties: map[string]string{}}
	p.advance() // CREATE
	c.OrRefresh = p.accept("OR", "REFRESH") || p.accept("OR", "REPLACE")
	if !p.accept("TEMPORARY") && !p.accept("TEMP") {
		p.accept("PRIVATE")
	}
	var err error
	if c.Kind, err = p.mustKind(); err != nil {
		return nil, err
	}
	c.IfNotExists = p.accept("IF", "NOT", "EXISTS")
	if c.Database, c.Name, err = p.name("the name of the table"); err != nil {
		return nil, err
	}
	if p.acceptSymbol("(") {
		if err := p.elements(c); err != nil {
			return nil, err
		}
	}
	if err := p.clauses(c); err != nil {
		return nil, err
	}
	switch {
	case p.peek().Kind == lexer.End: // flows fill it; clauses lets that pass for streaming tables only
		return c, nil
	case p.peek().Is("FLOW"):
		if !p.accept("FLOW", "AUTO", "CDC") && !p.accept("FLOW", "APPLY", "CHANGES") {
			return nil, p.unexpected("FLOW AUTO CDC")
		}
		c.Changes, c.Query, c.Sources, err = p.changes()
		return c, err
	}
	p.advance() // AS
	if !p.atQuery() {
		return nil, p.unexpected("a SELECT")
	}
	c.line, c.column = lexer.Place(p.text, p.peek().Start)
	c.Select, c.Query, c.Sources, err = p.query()
	return c, err
}

// elements reads the list in brackets behind the name: columns, and expectations. It may be empty.
func (p *parser) elements(c *Create) error {
	for !p.acceptSymbol(")") {
		var err error
		if p.peek().Is("CONSTRAINT") {
			err = p.expectation(c)
		} else {
			err = p.column(c)
		}
		if err != nil {
			return err
		}
		if p.symbolAhead(0, ")") {
			continue
		}
		if p.peek().Is("CONSTRAINT") {
			continue // between /*! */ the comma may be missing
		}
		if err := p.expectSymbol(","); err != nil {
			return err
		}
		if p.symbolAhead(0, ")") {
			return p.unexpected("a column or CONSTRAINT behind the comma")
		}
	}
	return nil
}

// column reads name [type [NOT NULL]] [COMMENT 'text']. The type is kept as text and left to the SELECT; NOT NULL is a rule
// that nothing may break.
func (p *parser) column(c *Create) error {
	const what = "a column name, CONSTRAINT or )"
	if p.peek().Is("AS") || p.peek().Is("SELECT") {
		return p.unexpected(what) // the list was not closed
	}
	name, err := p.identifier(what)
	if err != nil {
		return err
	}
	col := ColumnDef{Name: name}
	if col.Type, err = p.columnType(); err != nil {
		return err
	}
	if p.accept("COMMENT") {
		if col.Comment, err = p.literal("a comment in quotes"); err != nil {
			return err
		}
	}
	c.Columns = append(c.Columns, col)
	if strings.HasSuffix(strings.ToUpper(col.Type), "NOT NULL") {
		rule := Expectation{Name: name + "_not_null", Expr: lexer.QuoteName(name) + " IS NOT NULL", Action: FailUpdate, Implied: true}
		first := slices.IndexFunc(c.Expectations, func(e Expectation) bool { return !e.Implied })
		if first < 0 {
			first = len(c.Expectations)
		}
		c.Expectations = slices.Insert(c.Expectations, first, rule) // before those that are written, as they are printed
	}
	return nil
}

// columnType reads what stands between the name of a column and its comment.
func (p *parser) columnType() (string, error) {
	first := p.at
	angles := 0 // open < of MAP<STRING, INT>
	for {
		t := p.peek()
		switch {
		case t.IsSymbol("("):
			if _, err := p.brackets(); err != nil {
				return "", err
			}
			continue
		case t.IsSymbol("<"):
			angles++
		case t.IsSymbol(">") && angles > 0:
			angles--
		case t.Kind == lexer.Symbol && angles > 0 && (t.Text == "," || t.Text == ":"):
		case t.Kind == lexer.Word && !t.Is("COMMENT") && !t.Is("CONSTRAINT"):
		default:
			if p.at == first {
				return "", nil
			}
			return strings.Join(strings.Fields(lexer.Cut(p.text, p.all[first:p.at])), " "), nil
		}
		p.advance()
	}
}

// brackets reads a text in round brackets, which may nest, and returns what is inside.
func (p *parser) brackets() (string, error) {
	open := p.peek()
	if err := p.expectSymbol("("); err != nil {
		return "", err
	}
	first := p.at
	depth := 1
	for {
		t := p.advance()
		switch {
		case t.Kind == lexer.End:
			return "", p.errorAt(t, "a bracket that closes the one at "+p.placeOf(open))
		case t.IsSymbol("("):
			depth++
		case t.IsSymbol(")"):
			if depth--; depth > 0 {
				continue
			}
			if p.at-1 == first {
				return "", p.errorAt(t, "an expression")
			}
			return lexer.Cut(p.text, p.all[first:p.at-1]), nil
		}
	}
}

// settable are the properties of Delta and of smelt that a statement may set; the others say what a table is.
var settable = []string{
	"delta.appendOnly", "delta.autoOptimize.autoCompact", "delta.checkpointInterval", "delta.deletedFileRetentionDuration",
	"delta.enableExpiredLogCleanup", "delta.logRetentionDuration", "smelt.bloom.columns",
}

// CutClauses takes the clauses of Spark that the MySQL parser does not know out of a CREATE TABLE: USING DELTA,
// PARTITIONED BY and TBLPROPERTIES. Another statement is returned as it is. Errors are *lexer.SyntaxError.
func CutClauses(sql string) (rest string, partitions []string, properties map[string]string, err error) {
	if !begins(lexer.Head(sql, headWords), "CREATE", "TABLE") {
		return sql, nil, nil, nil
	}
	all, err := lexer.Tokens(sql)
	if err != nil {
		return sql, nil, nil, nil // the MySQL parser says what is wrong
	}
	p := &parser{text: sql, all: all}
	properties = map[string]string{}
	out, from := "", 0
	for depth := 0; p.peek().Kind != lexer.End && (depth > 0 || !p.peek().Is("AS") && !p.peek().Is("SELECT")); {
		t := p.peek()
		switch {
		case depth == 0 && t.Is("USING") && p.accept("USING", "DELTA"):
		case depth == 0 && p.accept("PARTITIONED", "BY"):
			partitions, err = p.columnNames()
		case depth == 0 && p.accept("TBLPROPERTIES"):
			err = p.properties(properties)
		default:
			if t.IsSymbol("(") {
				depth++
			} else if t.IsSymbol(")") {
				depth--
			}
			p.advance()
			continue
		}
		if err != nil {
			return sql, nil, nil, err
		}
		out += sql[from:t.Start]
		from = p.peek().Start
	}
	return out + sql[from:], partitions, properties, nil
}

// properties reads ('key' = 'value', ...). As in Spark a key may be words with dots between them, and a value a number or
// a truth value.
func (p *parser) properties(into map[string]string) error {
	if err := p.expectSymbol("("); err != nil {
		return err
	}
	for {
		at := p.peek()
		key, err := p.propertyKey()
		if err != nil {
			return err
		}
		if lower := strings.ToLower(key); (strings.HasPrefix(lower, "smelt.") || strings.HasPrefix(lower, "delta.")) && !slices.Contains(settable, key) {
			return p.errorAt(at, "a property of your own, or one of "+strings.Join(settable, ", "))
		}
		if err := p.expectSymbol("="); err != nil {
			return err
		}
		if into[key], err = p.value(); err != nil {
			return err
		}
		if p.acceptSymbol(")") {
			return nil
		}
		if err := p.expectSymbol(","); err != nil {
			return err
		}
	}
}

func (p *parser) propertyKey() (string, error) {
	const what = "the name of a property"
	if p.peek().Kind == lexer.String {
		return p.literal(what)
	}
	return p.dotted(what)
}

// dotted reads words with dots between them.
func (p *parser) dotted(what string) (string, error) {
	text, err := p.identifier(what)
	for err == nil && p.acceptSymbol(".") {
		var part string
		part, err = p.identifier(what)
		text += "." + part
	}
	return text, err
}
