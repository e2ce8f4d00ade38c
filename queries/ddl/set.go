package ddl

import (
	"slices"
	"strings"

	"smelt/queries/lexer"
)

// settings begin the names of settings of Spark; MySQL has no variable that is called so.
var settings = []string{"SPARK", "PIPELINES", "DELTA", "DATABRICKS", "HIVE", "CLOUDFILES"}

// isSet reports whether a statement that begins with these words is SET key = value of a setting of Spark, as notebooks
// begin with. Other SETs are MySQL's.
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
	return &OnFlow{Verb: "SET", Name: key}, nil
}
