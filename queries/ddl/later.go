package ddl

import (
	"strings"

	"smelt/queries/lexer"
)

// later is one statement of smelt's grammar that this version does not know yet. It is refused by its name: a syntax
// error of the MySQL parser would not say whether it was mistyped or is missing.
type later struct {
	words   string // first words; behind CREATE without OR REPLACE and TEMPORARY
	name    string
	instead string
}

// laterStatements are told by words that no statement of MySQL begins with.
var laterStatements = []later{
	{"CREATE ALERT", "CREATE ALERT", ""},
	{"ALTER ALERT", "ALTER ALERT", ""},
	{"DROP ALERT", "DROP ALERT", ""},
	{"SHOW ALERTS", "SHOW ALERTS", ""},
}

// laterStatement returns the entry for a statement that begins with the words, nil for any other.
func laterStatement(words []string) *later {
	if begins(words, "CREATE") {
		words = withoutOr(words[1:])
		if begins(words, "TEMPORARY") {
			words = words[1:]
		}
		words = append([]string{"CREATE"}, words...)
	}
	for i := range laterStatements {
		if begins(words, strings.Fields(laterStatements[i].words)...) {
			return &laterStatements[i]
		}
	}
	return nil
}

func isLater(_ string, words []string) bool {
	return laterStatement(words) != nil || begins(words, "ALTER") && beginsKind(words[1:])
}

// refuseLater is the error for a statement that is not there yet, and for an ALTER of ours that no other family knows.
func (p *parser) refuseLater() (Statement, error) {
	l := laterStatement(lexer.Head(p.text, headWords))
	if l == nil {
		p.advance() // ALTER
		if _, err := p.mustKind(); err != nil {
			return nil, err
		}
		if _, _, err := p.name("the name of a table"); err != nil {
			return nil, err
		}
		return nil, p.unexpected("ADD or DROP CONSTRAINT, ADD, ALTER or DROP SCHEDULE or TRIGGER, SUSPEND, RESUME, RENAME TO, AS, or, of a streaming table, RETRY FILE")
	}
	return nil, p.notYet(l.name, l.instead)
}
