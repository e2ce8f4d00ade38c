package ddl

import (
	"slices"
	"time"

	"smelt/queries/cron"
	"smelt/queries/lexer"
)

// interval reads n unit.
func (p *parser) interval() (time.Duration, error) {
	n, unit := p.peek(), p.ahead(1)
	d, err := cron.Interval(n.Text + " " + unit.Text)
	if err != nil || n.Kind == lexer.End || unit.Kind != lexer.Word {
		return 0, p.unexpected("a number and SECONDS, MINUTES, HOURS, DAYS or WEEKS")
	}
	p.advance()
	p.advance()
	return d, nil
}

// schedule reads what follows SCHEDULE.
func (p *parser) schedule(c *Create) error {
	p.accept("REFRESH")
	s := &cron.Schedule{}
	var err error
	switch {
	case p.accept("EVERY"):
		start := p.at
		if s.Every, err = p.interval(); err == nil {
			s.Text = "SCHEDULE EVERY " + lexer.Cut(p.text, p.all[start:p.at])
		}
	case p.accept("CRON"):
		err = p.cron(s)
	default:
		err = p.unexpected("EVERY or CRON")
	}
	if err == nil && c.Schedule != nil {
		err = p.unexpected("SCHEDULE or TRIGGER, not both")
	}
	c.Schedule = s
	return err
}

func (p *parser) cron(s *cron.Schedule) (err error) {
	at := p.peek()
	if s.Cron, err = p.literal("a cron expression in quotes"); err != nil {
		return err
	}
	s.Text = "SCHEDULE CRON " + lexer.QuoteText(s.Cron)
	if p.accept("AT", "TIME", "ZONE") {
		if s.Zone, err = p.literal("a time zone in quotes"); err != nil {
			return err
		}
		s.Text += " AT TIME ZONE " + lexer.QuoteText(s.Zone)
	}
	if _, err := cron.Parse(s.Cron, s.Zone); err != nil {
		return p.errorAt(at, "a cron expression ("+err.Error()+")")
	}
	return nil
}

// trigger reads what follows TRIGGER ON UPDATE.
func (p *parser) trigger(c *Create) (err error) {
	s := &cron.Schedule{OnUpdate: true, Text: "TRIGGER ON UPDATE"}
	if p.accept("AT", "MOST", "EVERY") {
		p.accept("INTERVAL")
		start := p.at
		if s.AtMostEvery, err = p.interval(); err != nil {
			return err
		}
		s.Text += " AT MOST EVERY INTERVAL " + lexer.Cut(p.text, p.all[start:p.at])
	}
	if c.Schedule != nil {
		return p.unexpected("SCHEDULE or TRIGGER, not both")
	}
	c.Schedule = s
	return nil
}

func printSchedule(c *Create) string {
	if c.Schedule == nil || c.Schedule.OnUpdate {
		return ""
	}
	return c.Schedule.Text
}

func printTrigger(c *Create) string {
	if c.Schedule == nil || !c.Schedule.OnUpdate {
		return ""
	}
	return c.Schedule.Text
}

// alterVerbs are what may follow the name in ALTER STREAMING TABLE and ALTER MATERIALIZED VIEW, by their first words.
var alterVerbs = [][]string{
	{"ADD", "SCHEDULE"}, {"ALTER", "SCHEDULE"}, {"ADD", "TRIGGER"}, {"ALTER", "TRIGGER"}, {"DROP", "SCHEDULE"}, {"DROP", "TRIGGER"},
	{"SUSPEND"}, {"RESUME"}, {"RENAME"}, {"AS"},
}

// altersFlow reports whether a statement is an ALTER of a table of ours that this file reads.
func altersFlow(sql string, words []string) bool { return alters(sql, words, alterVerbs) }

// alters reports whether a statement is an ALTER of a table of ours by one of the verbs.
func alters(sql string, words []string, verbs [][]string) bool {
	if !begins(words, "ALTER") || !beginsKind(words[1:]) {
		return false
	}
	all, err := lexer.Tokens(sql)
	if err != nil {
		return false
	}
	p := &parser{text: sql, all: all, at: 1}
	if p.kind() == 0 {
		return false
	}
	if _, _, err := p.name("a name"); err != nil {
		return false
	}
	return slices.ContainsFunc(verbs, func(verb []string) bool { return p.accept(verb...) })
}

// alter reads kind name verb ... behind ALTER.
func (p *parser) alter(s *OnFlow) (err error) {
	s.Kind = p.kind()
	if s.Database, s.Name, err = p.name("the name of a table"); err != nil {
		return err
	}
	c := &Create{Kind: s.Kind}
	switch {
	case p.accept("SUSPEND"):
		s.Verb = "SUSPEND"
	case p.accept("RESUME"):
		s.Verb = "RESUME"
	case p.accept("DROP", "SCHEDULE"), p.accept("DROP", "TRIGGER"):
		s.Verb = "SCHEDULE"
	case p.accept("RENAME"):
		s.Verb = "RENAME"
		if err = p.expect("TO"); err == nil {
			s.ToDatabase, s.To, err = p.name("the new name")
		}
	case p.accept("AS"):
		s.Verb = "AS"
		if !p.atQuery() {
			return p.unexpected("a SELECT")
		}
		s.Select, s.Query, s.Sources, err = p.query()
	default:
		p.advance() // ADD or ALTER
		s.Verb = "SCHEDULE"
		if p.accept("SCHEDULE") {
			err = p.schedule(c)
		} else if p.advance(); p.accept("ON", "UPDATE") {
			err = p.trigger(c)
		} else {
			err = p.unexpected("ON UPDATE")
		}
		s.Schedule = c.Schedule
	}
	return err
}
