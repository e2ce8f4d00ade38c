package ddl

import (
	"maps"
	"slices"
	"strings"

	"smelt/queries/cron"
	"smelt/queries/lexer"
)

// OnModel is a statement on machine-learning models and their versions.
type OnModel struct {
	// Verb is CREATE, ADD VERSION, RETRAIN, SET ALIAS, UNSET ALIAS, ROLLBACK, DROP, EVALUATE, DESCRIBE, DESCRIBE HISTORY,
	// SHOW, SHOW VERSIONS or SHOW CREATE.
	Verb        string
	Name        string // "" for SHOW
	OrReplace   bool   // of CREATE
	IfNotExists bool   // of CREATE
	IfExists    bool   // of DROP
	Options     map[string]string
	Comment     string         // of CREATE and ADD VERSION
	Query       string         // of CREATE: the SELECT that the model learns from; "" for one that has a source
	Schedule    *cron.Schedule // of CREATE with a Query: when it learns again; nil for when somebody says so
	Evaluation  *evaluation    // of EVALUATE
	Alias       string         // of SET ALIAS, UNSET ALIAS and EVALUATE; "" for none
	Version     int64          // of SET ALIAS, ROLLBACK, DROP and EVALUATE; 0 for none
	Time        string         // of ROLLBACK, as written; "" for none
	Condition   string         // of SET ALIAS and UNSET ALIAS: the expression behind IF, "" for none
	Like        string         // of SHOW: a pattern, "" for none
	Limit       int64          // of DESCRIBE HISTORY; 0 for none
}

func (*OnModel) ours() {}

// isOnModel reports whether a statement that begins with these words is an OnModel. DESCRIBE model without a further name
// is MySQL's, for a table of that name.
func isOnModel(sql string, words []string) bool {
	switch {
	case begins(words, "CREATE"):
		return begins(withoutOr(words[1:]), "MODEL")
	case begins(words, "DESCRIBE", "HISTORY", "MODEL"), begins(words, "DESC", "HISTORY", "MODEL"):
		return true
	case begins(words, "DESCRIBE", "MODEL"), begins(words, "DESC", "MODEL"):
		return len(words) > 2 || namesMore(sql)
	}
	for _, form := range []string{"ALTER MODEL", "DROP MODEL", "ROLLBACK MODEL", "SHOW MODELS", "SHOW MODEL VERSIONS", "SHOW CREATE MODEL"} {
		if begins(words, strings.Fields(form)...) {
			return true
		}
	}
	return false
}

func (p *parser) onModel() (Statement, error) {
	s := &OnModel{}
	var err error
	switch {
	case p.accept("CREATE"):
		err = p.createModel(s)
	case p.accept("ALTER", "MODEL"):
		err = p.alterModel(s)
	case p.accept("ROLLBACK", "MODEL"):
		err = p.rollbackModel(s)
	case p.accept("DROP", "MODEL"):
		s.Verb, s.IfExists = "DROP", p.accept("IF", "EXISTS")
		if err = p.modelName(s); err == nil && p.accept("VERSION") {
			s.Version, err = p.versionNumber()
		}
	case p.accept("SHOW", "MODELS"):
		if s.Verb = "SHOW"; p.accept("LIKE") {
			s.Like, err = p.literal("a pattern in quotes")
		}
	case p.accept("SHOW", "MODEL", "VERSIONS"):
		if s.Verb = "SHOW VERSIONS"; !p.accept("FROM") && !p.accept("IN") {
			return nil, p.unexpected("FROM and the name of a model")
		}
		err = p.modelName(s)
	case p.accept("SHOW", "CREATE", "MODEL"):
		s.Verb, err = "SHOW CREATE", p.modelName(s)
	default:
		err = p.describeModel(s)
	}
	if err != nil {
		return nil, err
	}
	return s, p.done()
}

func (p *parser) modelName(s *OnModel) (err error) {
	s.Name, err = p.identifier("the name of a model")
	return err
}

func (p *parser) createModel(s *OnModel) error {
	s.Verb = "CREATE"
	if s.OrReplace = p.accept("OR", "REPLACE"); !s.OrReplace && p.peek().Is("OR") {
		p.advance()
		return p.unexpected("REPLACE")
	}
	if err := p.expect("MODEL"); err != nil {
		return err
	}
	s.IfNotExists = p.accept("IF", "NOT", "EXISTS")
	if err := p.modelName(s); err != nil {
		return err
	}
	if err := p.modelOptions(s); err != nil {
		return err
	}
	return p.training(s)
}

// modelOptions reads OPTIONS (key = value, ...) [COMMENT 'text'].
func (p *parser) modelOptions(s *OnModel) error {
	if err := p.expect("OPTIONS"); err != nil {
		return err
	}
	if err := p.expectSymbol("("); err != nil {
		return err
	}
	s.Options = map[string]string{}
	for !p.acceptSymbol(")") {
		if len(s.Options) > 0 {
			if err := p.expectSymbol(","); err != nil {
				return err
			}
		}
		at := p.peek()
		key, err := p.identifier("the name of an option")
		if err != nil {
			return err
		}
		key = strings.ToLower(key)
		if _, twice := s.Options[key]; twice {
			return p.errorAt(at, "each option once")
		}
		if !p.acceptSymbol("=") {
			return p.unexpected(`"="`)
		}
		sign := ""
		if p.acceptSymbol("-") {
			sign = "-"
		}
		if s.Options[key], err = p.value(); err != nil {
			return err
		}
		s.Options[key] = sign + s.Options[key]
	}
	var err error
	if p.accept("COMMENT") {
		s.Comment, err = p.literal("a comment in quotes")
	}
	return err
}

func (p *parser) alterModel(s *OnModel) error {
	if err := p.modelName(s); err != nil {
		return err
	}
	var err error
	switch {
	case p.accept("ADD", "VERSION"):
		s.Verb = "ADD VERSION"
		return p.modelOptions(s)
	case p.accept("RETRAIN"):
		s.Verb = "RETRAIN"
		return nil
	case p.accept("SET", "ALIAS"):
		s.Verb = "SET ALIAS"
		if s.Alias, err = p.alias(); err != nil {
			return err
		}
		if !p.acceptSymbol("=") {
			return p.unexpected(`"=" and the number of a version`)
		}
		if s.Version, err = p.versionNumber(); err != nil {
			return err
		}
	case p.accept("UNSET", "ALIAS"):
		s.Verb = "UNSET ALIAS"
		if s.Alias, err = p.alias(); err != nil {
			return err
		}
	default:
		return p.unexpected("ADD VERSION, RETRAIN, SET ALIAS or UNSET ALIAS")
	}
	if p.accept("IF") {
		s.Condition, err = p.inBrackets()
	}
	return err
}

// alias reads the name of an alias, quoted or not.
func (p *parser) alias() (string, error) {
	if p.peek().Kind == lexer.String {
		return p.literal("the name of an alias")
	}
	return p.identifier("the name of an alias")
}

// inBrackets reads (text) with balanced brackets and returns the text.
func (p *parser) inBrackets() (string, error) {
	if err := p.expectSymbol("("); err != nil {
		return "", err
	}
	first := p.peek()
	for depth := 1; ; {
		t := p.peek()
		switch {
		case t.Kind == lexer.End:
			return "", p.unexpected(`")"`)
		case p.symbolAhead(0, "("):
			depth++
		case p.symbolAhead(0, ")"):
			if depth--; depth == 0 {
				if t.Start == first.Start {
					return "", p.unexpected("a condition")
				}
				text := strings.TrimSpace(p.text[first.Start:t.Start])
				p.advance()
				return text, nil
			}
		}
		p.advance()
	}
}

// versionNumber reads the number of a version, counted from 1.
func (p *parser) versionNumber() (int64, error) {
	at := p.peek()
	n, err := p.whole("the number of a version")
	if err == nil && n == 0 {
		return 0, p.errorAt(at, "the number of a version, from 1")
	}
	return n, err
}

func (p *parser) rollbackModel(s *OnModel) (err error) {
	s.Verb = "ROLLBACK"
	if err := p.modelName(s); err != nil {
		return err
	}
	if err := p.expect("TO"); err != nil {
		return err
	}
	switch {
	case p.accept("VERSION"):
		s.Version, err = p.versionNumber()
	case p.accept("TIMESTAMP"):
		s.Time, err = p.literal("a time in quotes")
	default:
		err = p.unexpected("VERSION or TIMESTAMP")
	}
	return err
}

func (p *parser) describeModel(s *OnModel) (err error) {
	p.advance() // DESCRIBE or DESC
	if s.Verb = "DESCRIBE"; p.accept("HISTORY") {
		s.Verb = "DESCRIBE HISTORY"
	}
	p.advance() // MODEL
	if err := p.modelName(s); err != nil {
		return err
	}
	if s.Verb == "DESCRIBE HISTORY" && p.accept("LIMIT") {
		s.Limit, err = p.whole("a number of changes")
	}
	return err
}

// Print returns CREATE MODEL or ALTER MODEL ... ADD VERSION as a statement.
func (s *OnModel) Print() string {
	if s.Evaluation != nil {
		return s.printEvaluate()
	}
	head := "CREATE "
	if s.OrReplace {
		head += "OR REPLACE "
	}
	head += "MODEL "
	if s.IfNotExists {
		head += "IF NOT EXISTS "
	}
	head += lexer.QuoteName(s.Name)
	if s.Verb == "ADD VERSION" {
		head = "ALTER MODEL " + lexer.QuoteName(s.Name) + " ADD VERSION"
	}
	var options []string
	for _, key := range slices.Sorted(maps.Keys(s.Options)) {
		options = append(options, "  "+lexer.QuoteName(key)+" = "+lexer.QuoteText(s.Options[key]))
	}
	return head + " OPTIONS (\n" + strings.Join(options, ",\n") + "\n)" + s.printTraining()
}
