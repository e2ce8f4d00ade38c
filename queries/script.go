package queries

import (
	"strings"

	"smelt/queries/ddl"
	"smelt/queries/lexer"
)

// read cuts the script of a pipeline into the statements that make something: settings take the places of their ${names},
// and temporary views those of theirs.
func read(script string) ([]lexer.Piece, error) {
	pieces, err := lexer.Split(script)
	if err != nil {
		return nil, err
	}
	settings := map[string]string{}
	var rest []lexer.Piece
	for _, p := range pieces {
		p.Text = filled(p.Text, settings)
		if key, value, ok := setting(p.Text); ok {
			settings[key] = value
			continue
		}
		rest = append(rest, p)
	}
	rest, _, err = ddl.Inline(rest)
	return rest, err
}

// setting reads SET key = value, as notebooks of Databricks have it. Settings of Spark itself have no effect here.
func setting(text string) (key, value string, ok bool) {
	all, err := lexer.Tokens(text)
	if err != nil || !all[0].Is("SET") {
		return "", "", false
	}
	at := 1
	for ; all[at].Kind == lexer.Word || all[at].Kind == lexer.Quoted || all[at].IsSymbol("."); at++ {
		key += all[at].Text
	}
	if key == "" || strings.HasPrefix(key, "@") || !all[at].IsSymbol("=") || all[at+1].Kind == lexer.End {
		return "", "", false
	}
	if first := all[at+1]; first.Kind == lexer.String && all[at+2].Kind == lexer.End {
		return key, first.Text, true
	}
	return key, strings.TrimSpace(text[all[at+1].Start:]), true
}

// filled puts the values of settings where a statement says ${key}. An unknown key stays as it is.
func filled(text string, settings map[string]string) string {
	for key, value := range settings {
		text = strings.ReplaceAll(text, "${"+key+"}", value)
	}
	return text
}
