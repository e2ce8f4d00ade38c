package ddl

import (
	"strconv"
	"strings"

	"smelt/queries/lexer"
)

// evaluation is what EVALUATE MODEL says beside the model and its version or alias: what the model says of labelled rows is
// compared with their labels.
type evaluation struct {
	Query   string // the SELECT behind ON, "" for a table
	Table   string // behind ON, as written, with its database if that is named; "" for a SELECT
	AsOf    string // of the table: FOR VERSION AS OF 3 and the like, "" for none
	Rows    string // alias of table or SELECT, "" for none
	Label   string // expression
	Input   string // expression; "" for the column text
	Average string // WEIGHTED, MACRO or MICRO; "" for none named
	Run     string // name of the run; "" for none
	Text    string // the whole statement as written, without a trailing semicolon
}

func isEvaluate(_ string, words []string) bool { return begins(words, "EVALUATE", "MODEL") }

// evaluate reads EVALUATE MODEL name [VERSION n | ALIAS a] ON relation LABEL expression [INPUT expression]
// [AVERAGE (WEIGHTED | MACRO | MICRO)] [AS RUN 'name'].
func (p *parser) evaluate() (Statement, error) {
	s := &evaluation{Text: lexer.Cut(p.text, p.all[:len(p.all)-1])}
	m := &OnModel{Verb: "EVALUATE", Evaluation: s}
	p.accept("EVALUATE", "MODEL")
	if err := p.modelName(m); err != nil {
		return nil, err
	}
	var err error
	switch {
	case p.accept("VERSION"):
		m.Version, err = p.versionNumber()
	case p.accept("ALIAS"):
		m.Alias, err = p.alias()
	}
	if err == nil {
		err = p.expect("ON")
	}
	if err == nil {
		err = p.evaluated(s)
	}
	if err == nil {
		err = p.expect("LABEL")
	}
	if err == nil {
		s.Label, err = p.evaluateExpression()
	}
	if err == nil && p.accept("INPUT") {
		s.Input, err = p.evaluateExpression()
	}
	if err == nil && p.accept("AVERAGE") {
		s.Average, err = p.average()
	}
	if err == nil && p.accept("AS") {
		if err = p.expect("RUN"); err == nil {
			s.Run, err = p.literal("the name of the run in quotes")
		}
	}
	if err != nil {
		return nil, err
	}
	return m, p.done()
}

// evaluated reads a SELECT in brackets, or name [FOR (VERSION | SYSTEM_TIME) AS OF value], and an alias if there is one.
func (p *parser) evaluated(s *evaluation) (err error) {
	if p.symbolAhead(0, "(") {
		s.Query, err = p.brackets()
	} else {
		err = p.evaluatedTable(s)
	}
	if err != nil || p.peek().Is("LABEL") {
		return err
	}
	p.accept("AS")
	s.Rows, err = p.identifier("LABEL")
	return err
}

func (p *parser) evaluatedTable(s *evaluation) error {
	first := p.at
	if p.peek().Is("STREAM") {
		return p.unexpected("a table or a SELECT in brackets: a stream has no end")
	}
	if _, _, err := p.name("a table or a SELECT in brackets"); err != nil {
		return err
	}
	s.Table = lexer.Cut(p.text, p.all[first:p.at])
	if first = p.at; !p.accept("FOR") {
		return nil
	}
	if !p.accept("VERSION") && !p.accept("SYSTEM_TIME") {
		return p.unexpected("VERSION or SYSTEM_TIME")
	}
	if !p.accept("AS", "OF") {
		return p.unexpected("AS OF")
	}
	if _, err := p.value(); err != nil {
		return err
	}
	s.AsOf = lexer.Cut(p.text, p.all[first:p.at])
	return nil
}

// evaluateExpression reads an expression, up to a word that begins the next clause.
func (p *parser) evaluateExpression() (string, error) {
	first, depth := p.at, 0
	for ; p.peek().Kind != lexer.End; p.advance() {
		t := p.peek()
		if depth == 0 && p.at > first && (t.Is("INPUT") || t.Is("AVERAGE") || t.Is("AS")) {
			break
		}
		switch {
		case t.IsSymbol("("):
			depth++
		case t.IsSymbol(")"):
			depth--
		}
		if depth < 0 || t.IsSymbol(";") {
			return "", p.unexpected("an expression")
		}
	}
	if p.at == first || depth > 0 {
		return "", p.unexpected("an expression")
	}
	return lexer.Cut(p.text, p.all[first:p.at]), nil
}

// average reads the name of an average.
func (p *parser) average() (string, error) {
	for _, name := range []string{"WEIGHTED", "MACRO", "MICRO"} {
		if p.accept(name) {
			return name, nil
		}
	}
	return "", p.unexpected("WEIGHTED, MACRO or MICRO")
}

// print returns what stands behind model and version.
func (s *evaluation) print() string {
	text := " ON " + s.relation()
	if s.Rows != "" {
		text += " AS " + lexer.QuoteName(s.Rows)
	}
	text += " LABEL " + s.Label
	if s.Input != "" {
		text += " INPUT " + s.Input
	}
	if s.Average != "" {
		text += " AVERAGE " + s.Average
	}
	if s.Run != "" {
		text += " AS RUN " + lexer.QuoteText(s.Run)
	}
	return text
}

// printEvaluate returns EVALUATE MODEL as a statement.
func (s *OnModel) printEvaluate() string {
	text := "EVALUATE MODEL " + lexer.QuoteName(s.Name)
	switch {
	case s.Version > 0:
		text += " VERSION " + strconv.FormatInt(s.Version, 10)
	case s.Alias != "":
		text += " ALIAS " + lexer.QuoteName(s.Alias)
	}
	return text + s.Evaluation.print()
}

// Asked returns the expression that the model is asked about.
func (s *evaluation) Asked() string {
	if s.Input == "" {
		return "text"
	}
	return s.Input
}

func (s *evaluation) relation() string {
	if s.Query != "" {
		return "(" + s.Query + "\n)" // a comment may end the query
	}
	return strings.TrimSpace(s.Table + " " + s.AsOf)
}

// From returns what stands behind ON as MySQL's FROM takes it.
func (s *evaluation) From() string {
	switch {
	case s.Rows != "":
		return s.relation() + " AS " + lexer.QuoteName(s.Rows)
	case s.Query != "":
		return s.relation() + " AS " + lexer.QuoteName("evaluated")
	default:
		return s.relation()
	}
}
