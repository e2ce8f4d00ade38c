package ddl

import (
	"strings"

	"smelt/queries/cron"
	"smelt/queries/lexer"
)

// OnFlow is a statement on streaming tables and materialized views that are there: REFRESH, DROP, SHOW and SHOW CREATE;
// DROP FLOW; EXPLAIN PIPELINE, whose name is a path; EXPLAIN CREATE, with the statement in Select; or of ALTER: SCHEDULE (ADD,
// ALTER and DROP), SUSPEND, RESUME, RENAME and AS.
type OnFlow struct {
	Verb           string         // one of the above
	Kind           Kind           // 0 when the statement does not say; of SHOW: for both kinds
	Database, Name string         // "" for SHOW and for REFRESH ALL
	All            bool           // of REFRESH: all tables
	Full, Async    bool           // of REFRESH
	IfExists       bool           // of DROP
	Like           string         // of SHOW: a pattern, "" for none
	Schedule       *cron.Schedule // of SCHEDULE; nil drops it
	ToDatabase, To string         // of RENAME; ToDatabase is "" for the same one
	Select, Query  string         // of AS, as of Create
	Sources        []Source
}

func (*OnFlow) ours() {}

// isOnFlow reports whether a statement that begins with these words is an OnFlow. No MySQL statement begins so.
func isOnFlow(sql string, words []string) bool {
	switch {
	case begins(words, "ALTER"):
		return altersFlow(sql, words)
	case begins(words, "EXPLAIN", "PIPELINE"):
		return true
	case begins(words, "EXPLAIN"):
		rest := sql[strings.Index(strings.ToUpper(sql), "EXPLAIN")+len("EXPLAIN"):]
		return isCreate(rest, words[1:]) || isFlow(rest, words[1:])
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
	case s.Verb == "ALTER":
		err = p.alter(s)
	case s.Verb == "EXPLAIN" && p.accept("PIPELINE"):
		if s.Verb = "EXPLAIN PIPELINE"; p.peek().Kind != lexer.End {
			s.Name, err = p.literal("the path of a pipeline in quotes")
		}
	case s.Verb == "EXPLAIN":
		s.Verb, s.Select = "EXPLAIN CREATE", p.text[p.peek().Start:]
		_, err = Parse(s.Select)
		return s, err
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
	if next := p.ahead(1); p.peek().Is("ALL") && (next.Kind == lexer.End || next.Is("FULL") || next.Is("SYNC") || next.Is("ASYNC")) {
		p.advance()
		s.All = true
	} else if s.Database, s.Name, err = p.name("the name of a table"); err != nil {
		return err
	}
	s.Full = p.accept("FULL")
	if s.Async = p.accept("ASYNC"); !s.Async {
		p.accept("SYNC")
	}
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
