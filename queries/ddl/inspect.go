package ddl

import "smelt/queries/lexer"

// Inspect is a statement that looks and changes nothing: EXPLAIN ROW t WHERE ..., EXPLAIN REFRESH t and CHECK PIPELINE [t].
type Inspect struct {
	Verb           string // EXPLAIN ROW, EXPLAIN REFRESH or CHECK PIPELINE
	Database, Name string // Name is "" for a CHECK of everything
	Where          string // of EXPLAIN ROW: which rows, as written
	Limit          int64  // of EXPLAIN ROW: how many of them; 0 when the statement does not say
}

func (*Inspect) ours() {}

// isInspect reports whether a statement that begins with these words is an Inspect.
func isInspect(_ string, words []string) bool {
	return begins(words, "EXPLAIN", "ROW") || begins(words, "EXPLAIN", "REFRESH") || begins(words, "CHECK", "PIPELINE")
}

func (p *parser) inspect() (Statement, error) {
	s := &Inspect{Verb: "EXPLAIN ROW"}
	var err error
	if p.accept("CHECK", "PIPELINE") {
		s.Verb = "CHECK PIPELINE"
		if p.peek().Kind != lexer.End {
			s.Database, s.Name, err = p.name("the name of a table")
		}
		if err != nil {
			return nil, err
		}
		return s, p.done()
	}
	if p.accept("EXPLAIN", "REFRESH") {
		s.Verb = "EXPLAIN REFRESH"
		p.accept("MATERIALIZED", "VIEW")
		if s.Database, s.Name, err = p.name("the name of a materialized view"); err != nil {
			return nil, err
		}
		return s, p.done()
	}
	p.accept("EXPLAIN", "ROW")
	if s.Database, s.Name, err = p.name("the name of a table"); err != nil {
		return nil, err
	}
	if err := p.expect("WHERE"); err != nil {
		return nil, err
	}
	if p.peek().Kind == lexer.End {
		return nil, p.unexpected("a condition that chooses rows")
	}
	first := p.peek().Start
	n := len(p.all) - 1 // tokens but for the end
	stop := p.all[n-1].Stop
	if n-2 > p.at && p.all[n-2].Is("LIMIT") {
		stop = p.all[n-3].Stop
		p.at = n - 1
		if s.Limit, err = p.whole("a number of rows"); err != nil {
			return nil, err
		}
	}
	s.Where = p.text[first:stop]
	return s, p.balanced(first, stop)
}

// balanced refuses a condition that closes a bracket which it has not opened: it is put into brackets.
func (p *parser) balanced(first, stop int) error {
	depth := 0
	for _, t := range p.all {
		if t.Start < first || t.Stop > stop || t.Kind != lexer.Symbol {
			continue
		}
		switch t.Text {
		case "(":
			depth++
		case ")":
			if depth--; depth < 0 {
				return p.errorAt(t, "the end of the condition")
			}
		}
	}
	return nil
}
