package ddl

import (
	"strings"

	"smelt/queries/lexer"
)

// OnFlow is a statement on streaming tables and materialized views that are there: REFRESH, DROP, SHOW and SHOW CREATE;
// or DROP FLOW.
type OnFlow struct {
	Verb           string // one of the above
	Kind           Kind   // 0 when the statement does not say; of SHOW: for both kinds
	Database, Name string // "" for SHOW
	Full           bool   // of REFRESH
	IfExists       bool   // of DROP
	Like           string // of SHOW: a pattern, "" for none
}

func (*OnFlow) ours() {}

// isOnFlow reports whether a statement that begins with these words is an OnFlow. No MySQL statement begins so.
func isOnFlow(_ string, words []string) bool {
	switch {
	case begins(words, "REFRESH"):
		return true
	case begins(words, "DROP"):
		return begins(words, "DROP", "FLOW") || beginsKind(words[1:])
	case begins(words, "SHOW", "CREATE"):
		return beginsKind(words[2:])
	case begins(words, "SHOW"):
		words = words[1:]
		return begins(words, "MATERIALIZED", "VIEWS") || begins(words, "STREAMING", "TABLES") || begins(words, "STREAMS")
	default:
		return false
	}
}

func (p *parser) onFlow() (Statement, error) {
	s := &OnFlow{Verb: strings.ToUpper(p.advance().Text)}
	var err error
	switch {
	case s.Verb == "REFRESH":
		err = p.refresh(s)
	case s.Verb == "SHOW" && !p.accept("CREATE"):
		err = p.show(s)
	case s.Verb == "DROP" && p.accept("FLOW"):
		s.Verb = "DROP FLOW"
		s.IfExists = p.accept("IF", "EXISTS")
		s.Database, s.Name, err = p.name("the name of a flow")
	default: // DROP, SHOW CREATE
		if s.Verb == "SHOW" {
			s.Verb = "SHOW CREATE"
		}
		if s.Kind, err = p.mustKind(); err != nil {
			return nil, err
		}
		s.IfExists = s.Verb == "DROP" && p.accept("IF", "EXISTS")
		s.Database, s.Name, err = p.name("the name of a table")
	}
	if err != nil {
		return nil, err
	}
	return s, p.done()
}

func (p *parser) refresh(s *OnFlow) (err error) {
	s.Kind = p.kind()
	if p.peek().Is("ALL") && (p.ahead(1).Kind == lexer.End || p.ahead(1).Is("FULL")) {
		return p.notYet("REFRESH ALL", "REFRESH with one name")
	}
	if s.Database, s.Name, err = p.name("the name of a table"); err != nil {
		return err
	}
	s.Full = p.accept("FULL")
	if p.peek().Is("ASYNC") {
		return p.notYet("REFRESH ... ASYNC", "SYNC or nothing, which answer when the refresh is done")
	}
	p.accept("SYNC")
	return nil
}

func (p *parser) show(s *OnFlow) (err error) {
	switch {
	case p.accept("MATERIALIZED", "VIEWS"):
		s.Kind = MaterializedView
	case p.accept("STREAMING", "TABLES"):
		s.Kind = StreamingTable
	default:
		p.advance() // STREAMS
	}
	if p.accept("LIKE") {
		s.Like, err = p.literal("a pattern in quotes")
	}
	return err
}
