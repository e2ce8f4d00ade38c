package ddl

import (
	"slices"
	"strings"

	"smelt/queries/lexer"
)

// Set is SET key = value of a setting of Spark, as notebooks begin with: it has no effect here. Other SETs are MySQL's.
type Set struct{ Key string }

func (*Set) ours() {}

// settings begin the names of settings of Spark; MySQL has no variable that is called so.
var settings = []string{"SPARK", "PIPELINES", "DELTA", "DATABRICKS", "HIVE", "CLOUDFILES"}

func isSet(sql string, words []string) bool {
	return len(words) == 2 && words[0] == "SET" && slices.Contains(settings, words[1]) && strings.Contains(sql, ".")
}

func (p *parser) set() (Statement, error) {
	p.advance()
	key, err := p.dotted("the name of a setting")
	if err != nil {
		return nil, err
	}
	if !p.acceptSymbol("=") || p.peek().Kind == lexer.End {
		return nil, p.unexpected("= and a value behind the name of a setting")
	}
	return &Set{Key: key}, nil
}
