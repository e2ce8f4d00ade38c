package ddl

import (
	"strings"

	"smelt/queries/lexer"
)

// laterStatements are those of smelt's grammar that this version does not know yet, told by words that no statement of MySQL
// begins with; behind CREATE without OR REPLACE and TEMPORARY. They are refused by their names: a syntax error of the MySQL
// parser would not say whether one was mistyped or is missing.
var laterStatements = []string{"CREATE ALERT", "ALTER ALERT", "DROP ALERT", "SHOW ALERTS"}

// laterStatement returns the name of the statement that begins with the words, "" for any other.
func laterStatement(words []string) string {
	if begins(words, "CREATE") {
		words = withoutOr(words[1:])
		if begins(words, "TEMPORARY") {
			words = words[1:]
		}
		words = append([]string{"CREATE"}, words...)
	}
	for _, name := range laterStatements {
		if begins(words, strings.Fields(name)...) {
			return name
		}
	}
	return ""
}

func isLater(_ string, words []string) bool {
	return laterStatement(words) != "" || begins(words, "ALTER") && beginsKind(words[1:])
}

// refuseLater is the error for a statement that is not there yet, and for an ALTER of ours that no other family knows.
func (p *parser) refuseLater() (Statement, error) {
	name := laterStatement(lexer.Head(p.text, headWords))
	if name == "" {
		p.advance() // ALTER
		if _, err := p.mustKind(); err != nil {
			return nil, err
		}
		if _, _, err := p.name("the name of a table"); err != nil {
			return nil, err
		}
		return nil, p.unexpected("ADD or DROP CONSTRAINT, ADD, ALTER or DROP SCHEDULE or TRIGGER, SUSPEND, RESUME, RENAME TO, AS, or, of a streaming table, RETRY FILE")
	}
	return nil, p.notYet(name, "")
}
