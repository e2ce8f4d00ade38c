package ddl

import (
	"strings"

	"smelt/queries/lexer"
)

// OnRules is a statement on the expectations of a table and the rows that violate them: REPLAY QUARANTINE, SHOW QUARANTINE,
// ADD CONSTRAINT and DROP CONSTRAINT.
type OnRules struct {
	Verb           string      // one of the above
	Kind           Kind        // of ADD and DROP CONSTRAINT
	Database, Name string      // "" of SHOW QUARANTINE for all tables
	Where          string      // of REPLAY QUARANTINE: which rows, "" for all
	Rule           Expectation // of ADD CONSTRAINT; of DROP CONSTRAINT its name alone
	IfExists       bool        // of DROP CONSTRAINT
}

func (*OnRules) ours() {}

// isOnRules reports whether a statement that begins with these words is an OnRules. No MySQL statement begins so.
func isOnRules(sql string, words []string) bool {
	if begins(words, "REPLAY", "QUARANTINE") || begins(words, "SHOW", "QUARANTINE") {
		return true
	}
	return alters(sql, words, [][]string{{"ADD", "CONSTRAINT"}, {"DROP", "CONSTRAINT"}})
}

func (p *parser) onRules() (Statement, error) {
	s := &OnRules{}
	var err error
	switch {
	case p.accept("REPLAY", "QUARANTINE"):
		s.Verb, err = "REPLAY QUARANTINE", p.replay(s)
	case p.accept("SHOW", "QUARANTINE"):
		s.Verb = "SHOW QUARANTINE"
		if p.accept("FROM") || p.accept("OF") || p.accept("IN") {
			s.Database, s.Name, err = p.name("the name of a table")
		}
	default:
		err = p.alterRules(s)
	}
	if err != nil {
		return nil, err
	}
	return s, p.done()
}

// replay reads OF table [WHERE expression]; the expression is all the rest.
func (p *parser) replay(s *OnRules) (err error) {
	if !p.accept("OF") && !p.accept("FROM") {
		return p.unexpected("OF")
	}
	if s.Database, s.Name, err = p.name("the name of a table"); err != nil || !p.accept("WHERE") {
		return err
	}
	first := p.at
	if p.peek().Kind == lexer.End {
		return p.unexpected("an expression")
	}
	for p.peek().Kind != lexer.End {
		p.advance()
	}
	s.Where = lexer.Cut(p.text, p.all[first:p.at])
	return nil
}

func (p *parser) alterRules(s *OnRules) (err error) {
	p.advance() // ALTER
	if s.Kind, err = p.mustKind(); err != nil {
		return err
	}
	if s.Database, s.Name, err = p.name("the name of a table"); err != nil {
		return err
	}
	s.Verb = strings.ToUpper(p.advance().Text) + " CONSTRAINT"
	if s.Verb == "ADD CONSTRAINT" {
		s.Rule, err = p.constraint()
		return err
	}
	p.advance() // CONSTRAINT
	s.IfExists = p.accept("IF", "EXISTS")
	s.Rule.Name, err = p.identifier("the name of the expectation")
	return err
}
