package spark

import (
	"strings"

	"github.com/dolthub/vitess/go/vt/sqlparser"

	"smelt/queries/lexer"
)

// schema is a type as from_json names it: 'a INT, b STRUCT<c: STRING>'.
type schema struct {
	cast   string   // the function that casts a text to it, "" for text itself and for what has fields or elements
	fields []member // of a struct
	each   *schema  // of the elements of an array, or of the values of a map
}

type member struct {
	name string
	schema
}

// fromJSON returns the schema of a call of from_json whose second argument is a text.
func fromJSON(e sqlparser.Expr) (schema, bool) {
	f, ok := e.(*sqlparser.FuncExpr)
	if !ok || f.Name.Lowered() != "from_json" || len(f.Exprs) < 2 {
		return schema{}, false
	}
	text, ok := argument(f, 1).(*sqlparser.SQLVal)
	if !ok {
		return schema{}, false
	}
	return readSchema(string(text.Val))
}

// readSchema reads the columns of a struct, or one type.
func readSchema(text string) (schema, bool) {
	all, err := lexer.Tokens(text)
	if err != nil {
		return schema{}, false
	}
	r := &schemaReader{all: all}
	s := schema{}
	first := all[0]
	if first.Is("STRUCT") || first.Is("ARRAY") || first.Is("MAP") {
		s = r.typ()
	} else {
		s.fields = r.members()
	}
	return s, !r.bad && r.peek().Kind == lexer.End
}

type schemaReader struct {
	all   []lexer.Token
	at    int
	depth int
	bad   bool
}

func (r *schemaReader) peek() lexer.Token { return r.all[r.at] }

func (r *schemaReader) accept(symbol string) bool {
	if r.peek().IsSymbol(symbol) {
		r.at++
		return true
	}
	return false
}

func (r *schemaReader) members() []member {
	var out []member
	for isName(r.peek()) && !r.bad {
		m := member{name: r.peek().Text}
		r.at++
		r.accept(":")
		m.schema = r.typ()
		out = append(out, m)
		if !r.accept(",") {
			break
		}
	}
	return out
}

// typ reads a type, with what may follow it: its digits, NOT NULL and a comment.
func (r *schemaReader) typ() (s schema) {
	if r.depth++; r.depth > maxDepth || !isName(r.peek()) {
		r.bad = true
		return s
	}
	defer func() { r.depth-- }()
	name := strings.ToUpper(r.peek().Text)
	r.at++
	switch {
	case name == "STRUCT" && r.accept("<"):
		s.fields = r.members()
		r.bad = r.bad || !r.accept(">")
	case name == "ARRAY" && r.accept("<"):
		each := r.typ()
		s.each = &each
		r.bad = r.bad || !r.accept(">")
	case name == "MAP" && r.accept("<"):
		r.typ()
		r.bad = r.bad || !r.accept(",")
		each := r.typ()
		s.each = &each
		r.bad = r.bad || !r.accept(">")
	case casts[name] != "":
		s.cast = casts[name]
	case tryCasts[name] != "":
		s.cast = tryCasts[name]
	case name == "DECIMAL" || name == "NUMERIC":
		s.cast = "smelt_number"
	}
	if r.accept("(") {
		for r.peek().Kind == lexer.Number || r.peek().IsSymbol(",") {
			r.at++
		}
		r.bad = r.bad || !r.accept(")")
	}
	for r.peek().Is("NOT") || r.peek().Is("NULL") || r.peek().Is("COMMENT") || r.peek().Kind == lexer.String {
		r.at++
	}
	return s
}

// typeOf returns the type of a field where the statement says what from_json yields.
func (r *resolver) typeOf(f field) (schema, bool) {
	s, ok := fromJSON(f.base)
	if c, isColumn := f.base.(*sqlparser.ColName); isColumn && !ok {
		s, ok = r.schemas[c.Name.Lowered()]
	}
	if !ok {
		return schema{}, false
	}
	all, err := lexer.Tokens(strings.ReplaceAll(f.path, `"`, "`"))
	if err != nil {
		return schema{}, false
	}
	for _, k := range all {
		switch {
		case k.Kind == lexer.Quoted && s.each == nil:
			found := false
			for _, m := range s.fields {
				if strings.EqualFold(m.name, k.Text) {
					s, found = m.schema, true
					break
				}
			}
			if !found {
				return schema{}, false
			}
		case (k.Kind == lexer.Number || k.Kind == lexer.Quoted) && s.each != nil:
			s = *s.each
		case k.Kind == lexer.Number:
			return schema{}, false
		}
	}
	return s, true
}
