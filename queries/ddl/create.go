package ddl

import (
	"fmt"
	"strings"
)

// later names clauses of the grammar that are not there yet, so that a script says which and not merely "syntax error".
var later = []string{"SCHEDULE", "TRIGGER", "REFRESH", "PARTITIONED", "CLUSTER", "FLOW", "WITH"}

// create reads CREATE ..., or returns nil for a CREATE that is not ours.
func (p *parser) create() (Statement, error) {
	p.advance()
	c := &Create{Text: statementText(p.text, p.all), Properties: map[string]string{}}
	c.OrRefresh = p.accept("OR", "REFRESH") || p.accept("OR", "REPLACE")
	if c.Kind = p.kind(); c.Kind == 0 {
		return nil, nil
	}
	c.IfNotExists = p.accept("IF", "NOT", "EXISTS")
	var err error
	if c.Database, c.Name, err = p.name("the name of the table"); err != nil {
		return nil, err
	}
	if p.acceptSymbol("(") {
		if err := p.elements(c); err != nil {
			return nil, err
		}
	}
	for !p.accept("AS") {
		if err := p.clause(c); err != nil {
			return nil, err
		}
	}
	if p.peek().kind == end {
		return nil, p.unexpected("a SELECT")
	}
	query := strings.TrimSpace(p.text[p.peek().start:p.all[len(p.all)-1].start])
	query = strings.TrimRight(query, "; \t\r\n")
	c.Query, c.Sources, err = rewriteAt(p.text, p.peek().start, query)
	return c, err
}

func statementText(text string, all []token) string {
	if len(all) < 2 {
		return ""
	}
	return text[all[0].start:all[len(all)-2].stop]
}

// elements reads the list in brackets behind the name: columns, and expectations. It may be empty.
func (p *parser) elements(c *Create) error {
	for !p.acceptSymbol(")") {
		if p.peek().is("CONSTRAINT") {
			if err := p.expectation(c); err != nil {
				return err
			}
		} else if err := p.column(c); err != nil {
			return err
		}
		if t := p.peek(); t.kind == symbol && t.text == ")" {
			continue
		}
		if p.peek().is("CONSTRAINT") {
			continue // between /*! */ the comma may be missing
		}
		if err := p.expectSymbol(","); err != nil {
			return err
		}
	}
	return nil
}

// column reads name [type [NOT NULL]] [COMMENT 'text']. The type is read and left to the SELECT.
func (p *parser) column(c *Create) error {
	name, err := p.identifier("a column name, CONSTRAINT or )")
	if err != nil {
		return err
	}
	col := ColumnDef{Name: name}
	for {
		t := p.peek()
		switch {
		case p.accept("COMMENT"):
			if col.Comment, err = p.literal("a comment in quotes"); err != nil {
				return err
			}
		case t.kind == symbol && t.text == "(":
			if _, err := p.brackets(); err != nil {
				return err
			}
		case t.kind == word && !t.is("CONSTRAINT"):
			p.advance()
		default:
			c.Columns = append(c.Columns, col)
			return nil
		}
	}
}

// expectation reads CONSTRAINT name EXPECT (expression) [ON VIOLATION action].
func (p *parser) expectation(c *Create) error {
	p.advance()
	var e Expectation
	var err error
	if e.Name, err = p.identifier("the name of the expectation"); err != nil {
		return err
	}
	for _, known := range c.Expectations {
		if strings.EqualFold(known.Name, e.Name) {
			p.at--
			return p.unexpected("a name that no other expectation of the table has")
		}
	}
	if err := p.expect("EXPECT"); err != nil {
		return err
	}
	if p.peek().is("UNIQUE") || p.peek().is("DRIFT") {
		return p.unexpected("an expression in brackets (EXPECT " + strings.ToUpper(p.peek().text) + " is not supported yet)")
	}
	if e.Expr, err = p.brackets(); err != nil {
		return err
	}
	if p.accept("ON") {
		if err := p.expect("VIOLATION"); err != nil {
			return err
		}
		switch {
		case p.accept("DROP", "ROW"):
			e.Action = DropRow
		case p.accept("FAIL", "UPDATE"):
			e.Action = FailUpdate
		case p.peek().is("QUARANTINE"):
			return p.unexpected("DROP ROW or FAIL UPDATE (QUARANTINE is not supported yet)")
		default:
			return p.unexpected("DROP ROW or FAIL UPDATE")
		}
	}
	c.Expectations = append(c.Expectations, e)
	return nil
}

// brackets reads a text in round brackets, which may nest, and returns what is inside.
func (p *parser) brackets() (string, error) {
	open := p.peek()
	if err := p.expectSymbol("("); err != nil {
		return "", err
	}
	depth := 1
	for {
		t := p.advance()
		switch {
		case t.kind == end:
			line, column := place(p.text, open.start)
			return "", &SyntaxError{Line: line, Column: column, Want: "a closing bracket for this one", Got: "the end of the statement"}
		case t.kind == symbol && t.text == "(":
			depth++
		case t.kind == symbol && t.text == ")":
			if depth--; depth == 0 {
				inside := strings.TrimSpace(p.text[open.stop:t.start])
				if inside == "" {
					p.at--
					return "", p.unexpected("an expression")
				}
				return inside, nil
			}
		}
	}
}

// clause reads one of the clauses between the list and AS.
func (p *parser) clause(c *Create) error {
	switch {
	case p.accept("COMMENT"):
		text, err := p.literal("a comment in quotes")
		c.Comment = text
		return err
	case p.accept("TBLPROPERTIES"):
		return p.properties(c.Properties)
	}
	for _, word := range later {
		if p.peek().is(word) {
			return p.unexpected(fmt.Sprintf("COMMENT, TBLPROPERTIES or AS (%s is not supported yet)", word))
		}
	}
	return p.unexpected("COMMENT, TBLPROPERTIES or AS")
}

// properties reads ('key' = 'value', ...).
func (p *parser) properties(into map[string]string) error {
	if err := p.expectSymbol("("); err != nil {
		return err
	}
	for {
		key, err := p.literal("a property name in quotes")
		if err != nil {
			return err
		}
		if err := p.expectSymbol("="); err != nil {
			return err
		}
		if into[key], err = p.literal("a property value in quotes"); err != nil {
			return err
		}
		if strings.HasPrefix(key, "smelt.") || strings.HasPrefix(key, "delta.") {
			p.at--
			return p.unexpected("a property whose name does not begin with smelt. or delta.")
		}
		if p.acceptSymbol(")") {
			return nil
		}
		if err := p.expectSymbol(","); err != nil {
			return err
		}
	}
}
