package ddl

import (
	"strings"

	"smelt/queries/lexer"
)

// Action is what happens to a row that does not meet an expectation.
type Action uint8

const (
	Warn       Action = iota // the row stays and is counted
	DropRow                  // the row is dropped and counted
	FailUpdate               // nothing of the batch is committed
)

// String returns the action as smelt.expectations shows it.
func (a Action) String() string {
	switch a {
	case DropRow:
		return "drop row"
	case FailUpdate:
		return "fail update"
	default:
		return "warn"
	}
}

// Expectation is a rule for rows: those for which Expr is not TRUE violate it.
type Expectation struct {
	Name, Expr string
	Action     Action
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
			return p.errorAt(p.all[p.at-1], "a name that no other expectation of the table has")
		}
	}
	switch {
	case p.peek().Is("CHECK"), p.peek().Is("PRIMARY"), p.peek().Is("FOREIGN"), p.peek().Is("UNIQUE"):
		return p.notYet("CONSTRAINT ... "+strings.ToUpper(p.peek().Text), "EXPECT (expression)")
	case !p.accept("EXPECT"):
		return p.unexpected("EXPECT")
	case p.peek().Is("UNIQUE"), p.peek().Is("DRIFT"):
		return p.notYet("EXPECT "+strings.ToUpper(p.peek().Text), "EXPECT (expression)")
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
		case p.peek().Is("QUARANTINE"):
			return p.notYet("ON VIOLATION QUARANTINE", "DROP ROW or FAIL UPDATE")
		default:
			return p.unexpected("DROP ROW or FAIL UPDATE")
		}
	}
	c.Expectations = append(c.Expectations, e)
	return nil
}

// print returns the expectation as a statement writes it.
func (e Expectation) print() string {
	text := "CONSTRAINT " + lexer.QuoteName(e.Name) + " EXPECT (" + e.Expr + ")"
	if e.Action != Warn {
		text += " ON VIOLATION " + strings.ToUpper(e.Action.String())
	}
	return text
}
