package ddl

import (
	"fmt"
	"strconv"
	"strings"

	"smelt/queries/lexer"
)

// Action is what happens to a row that does not meet an expectation.
type Action uint8

const (
	Warn       Action = iota // the row stays and is counted
	DropRow                  // the row is dropped and counted
	FailUpdate               // nothing of the batch is committed
	Quarantine               // the row goes into the table beside it, <table>__quarantine
)

// String returns the action as smelt.expectations shows it.
func (a Action) String() string {
	switch a {
	case DropRow:
		return "drop row"
	case FailUpdate:
		return "fail update"
	case Quarantine:
		return "quarantine"
	default:
		return "warn"
	}
}

// Expectation is a rule for rows: those for which Expr is not TRUE violate it, or, with Unique, those whose values in these
// columns another row had before.
type Expectation struct {
	Name   string
	Expr   string // "" with Unique
	Action Action
	Check  bool     // CHECK and not EXPECT was written: only FALSE violates it, as in SQL, and it is FailUpdate
	Unique []string // columns; nil for a rule with Expr
	// Drift is a rule on the values of a column in all rows of a batch, beside those of the batches before.
	Drift struct {
		Column string  // "" for a rule on rows
		Limit  float64 // the population stability index must be below
		Last   int     // so many versions, or days
		Days   bool
	}

	Implied bool // by NOT NULL in the column list
}

// OnRows reports whether the rule says of each row for itself whether it violates it.
func (e Expectation) OnRows() bool { return e.Unique == nil && e.Drift.Column == "" }

// Rule returns the rule without its name and action, as a statement writes it.
func (e Expectation) Rule() string {
	switch {
	case e.Check:
		return "CHECK (" + e.Expr + ")"
	case e.Drift.Column != "":
		unit := "VERSIONS"
		if e.Drift.Days {
			unit = "DAYS"
		}
		return fmt.Sprintf("EXPECT DRIFT psi(%s) < %s VERSUS LAST %d %s", lexer.QuoteName(e.Drift.Column), strconv.FormatFloat(e.Drift.Limit, 'f', -1, 64), e.Drift.Last, unit)
	case e.Unique != nil:
		return "EXPECT UNIQUE (" + quoteAll(e.Unique) + ")"
	default:
		return "EXPECT (" + e.Expr + ")"
	}
}

// expectation reads CONSTRAINT name and a rule.
func (p *parser) expectation(c *Create) error {
	name := p.ahead(1)
	e, err := p.constraint()
	if err != nil {
		return err
	}
	for _, known := range c.Expectations {
		if strings.EqualFold(known.Name, e.Name) {
			return p.errorAt(name, "a name that no other expectation of the table has")
		}
	}
	c.Expectations = append(c.Expectations, e)
	return nil
}

// constraint reads CONSTRAINT name EXPECT ((expression) | UNIQUE (columns) | DRIFT drift) [ON VIOLATION action] or CONSTRAINT name CHECK
// (expression).
func (p *parser) constraint() (e Expectation, err error) {
	if err = p.expect("CONSTRAINT"); err != nil {
		return e, err
	}
	if p.peek().Kind == lexer.String && p.peek().Text != "" { // as some notebooks quote it
		e.Name = p.advance().Text
	} else if e.Name, err = p.identifier("the name of the expectation"); err != nil {
		return e, err
	}
	switch {
	case p.accept("CHECK"):
		e.Check, e.Action = true, FailUpdate
		e.Expr, err = p.brackets()
		return e, err
	case p.peek().Is("PRIMARY"), p.peek().Is("FOREIGN"), p.peek().Is("UNIQUE"):
		return e, p.notYet("CONSTRAINT ... "+strings.ToUpper(p.peek().Text), "EXPECT (expression) or EXPECT UNIQUE (columns)")
	case !p.accept("EXPECT"):
		return e, p.unexpected("EXPECT or CHECK")
	case p.accept("DRIFT"):
		err = p.drift(&e)
	case p.accept("UNIQUE"):
		e.Unique, err = p.columnNames()
	default:
		e.Expr, err = p.brackets()
	}
	if err == nil && p.accept("ON") {
		at := p.ahead(1)
		if e.Action, err = p.violation(); err == nil && e.Drift.Column != "" && e.Action == DropRow {
			err = p.errorAt(at, "FAIL UPDATE or QUARANTINE, because a drift is that of a whole batch")
		}
	}
	return e, err
}

// drift reads psi(column) < number VERSUS LAST count (VERSIONS | DAYS).
func (p *parser) drift(e *Expectation) error {
	d := &e.Drift
	if !p.accept("PSI") {
		return p.unexpected("psi, the population stability index")
	}
	columns, err := p.columnNames()
	if err != nil {
		return err
	}
	if d.Column = columns[0]; len(columns) > 1 {
		return p.errorAt(p.all[p.at-1], "one column")
	}
	if err := p.expectSymbol("<"); err != nil {
		return err
	}
	t := p.peek()
	if d.Limit, err = strconv.ParseFloat(p.text[t.Start:t.Stop], 64); err != nil || t.Kind != lexer.Number || d.Limit <= 0 {
		return p.unexpected("a number above 0")
	}
	p.advance()
	if err := p.expect("VERSUS"); err != nil {
		return err
	}
	if err := p.expect("LAST"); err != nil {
		return err
	}
	at := p.peek()
	last, err := p.whole("how many")
	if err != nil {
		return err
	}
	if d.Last = int(last); last < 1 || last > maxDriftLast {
		return p.errorAt(at, fmt.Sprintf("a number from 1 to %d", maxDriftLast))
	}
	switch {
	case p.accept("VERSIONS"), p.accept("VERSION"):
	case p.accept("DAYS"), p.accept("DAY"):
		d.Days = true
	default:
		return p.unexpected("VERSIONS or DAYS")
	}
	return nil
}

// maxDriftLast bounds how far back a drift is looked for: each version is read.
const maxDriftLast = 1000

// violation reads what follows ON.
func (p *parser) violation() (Action, error) {
	if err := p.expect("VIOLATION"); err != nil {
		return Warn, err
	}
	switch {
	case p.accept("DROP", "ROW"):
		return DropRow, nil
	case p.accept("FAIL", "UPDATE"):
		return FailUpdate, nil
	case p.accept("QUARANTINE"):
		return Quarantine, nil
	default:
		return Warn, p.unexpected("DROP ROW, FAIL UPDATE or QUARANTINE")
	}
}

// print returns the expectation as a statement writes it.
func (e Expectation) print() string {
	text := "CONSTRAINT " + lexer.QuoteName(e.Name) + " " + e.Rule()
	if e.Action != Warn && !e.Check {
		text += " ON VIOLATION " + strings.ToUpper(e.Action.String())
	}
	return text
}
