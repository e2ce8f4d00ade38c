package ddl

import "smelt/queries/lexer"

// training reads [SCHEDULE ... | TRIGGER ON UPDATE ...] [COMMENT 'text'] AS query behind the options of CREATE MODEL: what the
// model learns from, and when it learns again. A model with a source of its own has none of it but a comment.
func (p *parser) training(s *OnModel) (err error) {
	c := Create{}
	for err == nil {
		switch {
		case p.accept("SCHEDULE"):
			err = p.schedule(&c)
		case p.accept("TRIGGER", "ON", "UPDATE"):
			err = p.trigger(&c)
		case s.Comment == "" && p.accept("COMMENT"):
			s.Comment, err = p.literal("a comment in quotes")
		default:
			s.Schedule = c.Schedule
			return p.learnsFrom(s)
		}
	}
	return err
}

// learnsFrom reads AS query.
func (p *parser) learnsFrom(s *OnModel) error {
	if !p.accept("AS") {
		if s.Schedule != nil {
			return p.unexpected("AS and a SELECT of texts and labels")
		}
		return nil
	}
	at := p.peek()
	if !p.atQuery() {
		return p.unexpected("a SELECT of texts and labels")
	}
	_, query, sources, err := p.query()
	if err == nil && len(sources) > 0 {
		return p.errorAt(at, "a SELECT without STREAM: a model learns from all rows")
	}
	s.Query = query
	return err
}

// printTraining returns what stands behind the options of a model that learns from rows.
func (s *OnModel) printTraining() string {
	text := ""
	if s.Comment != "" {
		text += "\nCOMMENT " + lexer.QuoteText(s.Comment)
	}
	if s.Schedule != nil {
		text += "\n" + s.Schedule.Text
	}
	if s.Query != "" {
		text += "\nAS " + s.Query
	}
	return text
}
