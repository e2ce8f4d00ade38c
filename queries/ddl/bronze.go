package ddl

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"smelt/queries/lexer"
)

// isBronze reports whether a statement is CREATE TABLE ... ENGINE = AUTOLOAD: a watched directory, as a user of MySQL
// writes it. It is another form of CREATE STREAMING TABLE over read_files().
func isBronze(sql string, words []string) bool {
	if !begins(words, "CREATE", "TABLE") || !strings.Contains(strings.ToUpper(sql), "AUTOLOAD") {
		return false
	}
	all, err := lexer.Tokens(sql)
	if err != nil {
		return false
	}
	depth := 0
	for i, t := range all[:len(all)-1] {
		switch {
		case t.IsSymbol("("):
			depth++
		case t.IsSymbol(")"):
			depth--
		case depth == 0 && t.Is("ENGINE"):
			return all[i+1].Is("AUTOLOAD") || all[i+1].IsSymbol("=") && i+2 < len(all) && all[i+2].Is("AUTOLOAD")
		}
	}
	return false
}

func (p *parser) bronze() (Statement, error) {
	c := &Create{Kind: StreamingTable, Text: lexer.Cut(p.text, p.all[:len(p.all)-1]), Properties: map[string]string{}}
	p.at = 2 // CREATE TABLE
	c.IfNotExists = p.accept("IF", "NOT", "EXISTS")
	var err error
	if c.Database, c.Name, err = p.name("the name of the table"); err != nil {
		return nil, err
	}
	if err := p.expectSymbol("("); err != nil {
		return nil, err
	}
	if err := p.elements(c); err != nil {
		return nil, err
	}
	options := map[string]string{}
	path := ""
	for p.peek().Kind != lexer.End {
		if err := p.bronzeOption(c, &path, options); err != nil {
			return nil, err
		}
		p.acceptSymbol(",")
	}
	if path == "" {
		return nil, p.unexpected("CONNECTION = 'directory'")
	}
	c.Select = bronzeSelect(c.Columns, path, options)
	c.line, c.column = 1, 1
	c.Query, c.Sources, err = RewriteQuery(c.Select)
	return c, err
}

// bronzeOption reads one table option of MySQL's.
func (p *parser) bronzeOption(c *Create, path *string, options map[string]string) (err error) {
	name := strings.ToUpper(p.peek().Text)
	switch name {
	case "ENGINE", "CONNECTION", "ENGINE_ATTRIBUTE", "COMMENT":
	default:
		return p.unexpected("ENGINE, CONNECTION, ENGINE_ATTRIBUTE or COMMENT")
	}
	p.advance()
	p.acceptSymbol("=")
	at := p.peek()
	switch name {
	case "ENGINE":
		return p.expect("AUTOLOAD")
	case "CONNECTION":
		*path, err = p.literal("the directory in quotes")
	case "COMMENT":
		c.Comment, err = p.literal("a comment in quotes")
	default:
		var text string
		if text, err = p.literal("options as a JSON object in quotes"); err != nil {
			return err
		}
		var values map[string]any
		if json.Unmarshal([]byte(text), &values) != nil {
			return p.errorAt(at, "options as a JSON object in quotes, such as '{\"format\": \"json\"}'")
		}
		for k, v := range values {
			options[k] = fmt.Sprint(v)
		}
	}
	return err
}

var optionName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$`)

// bronzeSelect is the SELECT over the files: the columns as they are declared, or all that the files have.
func bronzeSelect(columns []ColumnDef, path string, options map[string]string) string {
	var names, hints []string
	for _, c := range columns {
		names = append(names, lexer.QuoteName(c.Name))
		if c.Type != "" && !fileColumn(c.Name) {
			hints = append(hints, c.Name+" "+hintOf(c.Type))
		}
	}
	list := "*, source_file, processing_time"
	if len(names) > 0 {
		list = strings.Join(names, ", ")
	}
	if len(hints) > 0 && options["schemaHints"] == "" {
		options["schemaHints"] = strings.Join(hints, ", ")
	}
	if options["format"] == "" {
		options["format"] = "json"
	}
	call := lexer.QuoteText(path)
	for _, k := range slices.Sorted(maps.Keys(options)) {
		if optionName.MatchString(k) {
			call += ", " + k + " => " + lexer.QuoteText(options[k])
		}
	}
	return "SELECT " + list + " FROM STREAM read_files(" + call + ")"
}

// fileColumn reports whether a column tells of the file and is none of it.
func fileColumn(name string) bool {
	return slices.Contains([]string{"source_file", "processing_time", "_rescued_data", "_metadata"}, strings.ToLower(name))
}

// hintOf is Spark's name for a type of MySQL's.
func hintOf(typ string) string {
	typ = strings.TrimSpace(strings.TrimSuffix(strings.ToUpper(typ), "NOT NULL"))
	name, digits, _ := strings.Cut(typ, "(")
	switch strings.TrimSpace(name) {
	case "TINYINT":
		if strings.HasPrefix(digits, "1)") {
			return "BOOLEAN"
		}
		return "TINYINT"
	case "BOOL", "BOOLEAN":
		return "BOOLEAN"
	case "SMALLINT", "INT", "INTEGER", "BIGINT", "FLOAT", "DOUBLE", "DATE", "JSON":
		return strings.TrimSpace(name)
	case "DECIMAL", "NUMERIC":
		if digits == "" {
			return "DECIMAL(10,0)"
		}
		return "DECIMAL(" + strings.ReplaceAll(digits, " ", "")
	case "DATETIME", "TIMESTAMP":
		return "TIMESTAMP"
	}
	return "STRING"
}
