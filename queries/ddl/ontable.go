package ddl

import (
	"fmt"
	"strconv"
	"strings"

	"smelt/queries/lexer"
)

// OnTable is a statement on the files and versions of one table: DESCRIBE HISTORY, DESCRIBE DETAIL, RESTORE, OPTIMIZE,
// VACUUM, CREATE TABLE ... USING DELTA LOCATION, or RETRY FILE, UNLOAD FILE and RELOAD FILE.
type OnTable struct {
	Verb           string // one of the above, without TABLE: "CREATE" for USING DELTA LOCATION
	Database, Name string
	Limit          int64   // of DESCRIBE HISTORY; 0 for none
	Version        int64   // of RESTORE; -1 when it says a time
	Time           string  // of RESTORE, as written
	RetainHours    float64 // of VACUUM; -1 when it says nothing
	DryRun         bool    // of VACUUM
	IfNotExists    bool    // of CREATE
	Location       string  // of CREATE
	File           string  // of ... FILE, as written: as smelt.files shows it, or relative to the directory
}

func (*OnTable) ours() {}

// isOnTable reports whether a statement that begins with these words is an OnTable. DESCRIBE history without a further
// word is MySQL's, for a table of that name.
func isOnTable(sql string, words []string) bool {
	describes := begins(words, "DESCRIBE") || begins(words, "DESC")
	switch {
	case describes && len(words) >= 3 && (words[1] == "HISTORY" || words[1] == "DETAIL"):
		return words[2] != "MODEL"
	case describes && len(words) == 2 && (words[1] == "HISTORY" || words[1] == "DETAIL"):
		return namesMore(sql)
	case begins(words, "RESTORE"), begins(words, "OPTIMIZE"), begins(words, "VACUUM"):
		return true
	case begins(words, "CREATE", "TABLE"):
		return attaches(sql)
	}
	return false
}

// namesMore reports whether a quoted name follows the first two words.
func namesMore(sql string) bool {
	all, err := lexer.Tokens(sql)
	return err == nil && len(all) > 3 && all[2].Kind == lexer.Quoted
}

// attaches reports whether a CREATE TABLE has LOCATION, or USING and nothing of a new table, behind its name.
func attaches(sql string) bool {
	all, err := lexer.Tokens(sql)
	if err != nil {
		return false
	}
	p := &parser{text: sql, all: all}
	p.at = 2
	p.accept("IF", "NOT", "EXISTS")
	if _, _, err := p.name("a name"); err != nil {
		return false
	}
	after := p.ahead(2)
	isNew := after.Is("AS") || after.Is("SELECT") || after.Is("COMMENT") || after.Is("TBLPROPERTIES") || after.Is("PARTITIONED")
	return p.peek().Is("LOCATION") || p.peek().Is("USING") && !isNew
}

func (p *parser) onTable() (Statement, error) {
	s := &OnTable{Version: -1, RetainHours: -1}
	var err error
	switch {
	case p.accept("DESCRIBE", "HISTORY"), p.accept("DESC", "HISTORY"):
		s.Verb = "DESCRIBE HISTORY"
	case p.accept("DESCRIBE", "DETAIL"), p.accept("DESC", "DETAIL"):
		s.Verb = "DESCRIBE DETAIL"
	case p.accept("CREATE", "TABLE"):
		return p.attach(s)
	default:
		s.Verb = strings.ToUpper(p.advance().Text)
		p.accept("NO_WRITE_TO_BINLOG")
		p.accept("LOCAL")
		p.accept("TABLE")
	}
	if s.Database, s.Name, err = p.name("the name of a table"); err != nil {
		return nil, err
	}
	switch s.Verb {
	case "DESCRIBE HISTORY":
		if p.accept("LIMIT") {
			if s.Limit, err = p.whole("a number of commits"); err != nil {
				return nil, err
			}
		}
	case "RESTORE":
		err = p.restore(s)
	case "VACUUM":
		err = p.vacuum(s)
	case "OPTIMIZE":
		if p.peek().Is("ZORDER") || p.peek().Is("WHERE") {
			return nil, p.notYet("OPTIMIZE ... "+strings.ToUpper(p.peek().Text), "OPTIMIZE with the name alone")
		}
	}
	if err != nil {
		return nil, err
	}
	return s, p.done()
}

func (p *parser) restore(s *OnTable) (err error) {
	p.accept("TO")
	switch {
	case p.accept("VERSION", "AS", "OF"):
		s.Version, err = p.whole("a version")
	case p.accept("TIMESTAMP", "AS", "OF"):
		s.Time, err = p.literal("a time in quotes")
	default:
		err = p.unexpected("VERSION AS OF or TIMESTAMP AS OF")
	}
	return err
}

func (p *parser) vacuum(s *OnTable) error {
	if p.accept("RETAIN") {
		t := p.peek()
		hours, err := strconv.ParseFloat(p.text[t.Start:t.Stop], 64)
		if err != nil || hours < 0 {
			return p.unexpected("a number of hours")
		}
		p.advance()
		if !p.accept("HOURS") && !p.accept("HOUR") {
			return p.unexpected("HOURS")
		}
		s.RetainHours = hours
	}
	s.DryRun = p.accept("DRY", "RUN")
	return nil
}

// attach reads the rest of CREATE TABLE name USING DELTA LOCATION 'dir'.
func (p *parser) attach(s *OnTable) (Statement, error) {
	s.Verb = "CREATE"
	s.IfNotExists = p.accept("IF", "NOT", "EXISTS")
	var err error
	if s.Database, s.Name, err = p.name("the name of a table"); err != nil {
		return nil, err
	}
	if p.accept("USING") && !p.accept("DELTA") {
		return nil, p.unexpected("DELTA, the only format of tables here")
	}
	if err := p.expect("LOCATION"); err != nil {
		return nil, err
	}
	if s.Location, err = p.literal("a directory in quotes"); err != nil {
		return nil, err
	}
	return s, p.done()
}

// whole reads a number without sign and point.
func (p *parser) whole(what string) (int64, error) {
	t := p.peek()
	n, err := strconv.ParseInt(p.text[t.Start:t.Stop], 10, 64)
	if err != nil || n < 0 {
		return 0, p.unexpected(fmt.Sprintf("%s, a whole number", what))
	}
	p.advance()
	return n, nil
}
