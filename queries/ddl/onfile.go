package ddl

import "smelt/queries/lexer"

// isOnFile reports whether a statement that begins with these words is about one file of a watched directory: ALTER
// STREAMING TABLE t RETRY FILE 'x', UNLOAD FILE 'x' FROM t, or RELOAD FILE 'x' FROM t (INTO t is the same).
func isOnFile(sql string, words []string) bool {
	if begins(words, "UNLOAD", "FILE") || begins(words, "RELOAD", "FILE") {
		return true
	}
	if !begins(words, "ALTER", "STREAMING") {
		return false
	}
	all, err := lexer.Tokens(sql)
	if err != nil {
		return false
	}
	p := &parser{text: sql, all: all, at: 1}
	if p.kind() != StreamingTable {
		return false
	}
	_, _, err = p.name("a name")
	return err == nil && p.peek().Is("RETRY")
}

func (p *parser) onFile() (Statement, error) {
	s := &OnTable{Version: -1, RetainHours: -1}
	var err error
	if p.accept("ALTER") {
		p.kind()
		if s.Database, s.Name, err = p.name("the name of a table"); err != nil {
			return nil, err
		}
		s.Verb = "RETRY FILE"
		p.advance()
		if err = p.expect("FILE"); err == nil {
			s.File, err = p.path()
		}
		if err != nil {
			return nil, err
		}
		return s, p.done()
	}
	if s.Verb = "UNLOAD FILE"; p.peek().Is("RELOAD") {
		s.Verb = "RELOAD FILE"
	}
	p.advance()
	if err = p.expect("FILE"); err != nil {
		return nil, err
	}
	if s.File, err = p.path(); err != nil {
		return nil, err
	}
	if s.Verb != "RELOAD FILE" || !p.accept("INTO") {
		if err = p.expect("FROM"); err != nil {
			return nil, err
		}
	}
	if s.Database, s.Name, err = p.name("the name of a table"); err != nil {
		return nil, err
	}
	return s, p.done()
}

func (p *parser) path() (string, error) {
	const what = "the path of a file in quotes"
	if t := p.peek(); t.Kind == lexer.String && t.Text == "" {
		return "", p.unexpected(what)
	}
	return p.literal(what)
}
