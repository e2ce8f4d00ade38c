package spark

import (
	"slices"
	"strings"

	"smelt/queries/lexer"
)

// piece is a part of the translated text and where it comes from.
type piece struct {
	text string
	at   int  // byte offset in the source that it stands for
	to   int  // byte offset behind what it stands for, where that is taken out of the source
	same bool // text is the source's own, so that each of its bytes has a place there
}

// translator copies a statement token by token and puts MySQL's spelling, or a call of one of our functions, in the place
// of what only Spark has. What it does not know it copies.
type translator struct {
	text    string
	all     []lexer.Token // the last one is of kind End
	at      int
	out     []piece
	copied  int // byte offset up to which the source is copied
	changed bool
	depth   int // of brackets
	err     error
}

// maxDepth bounds nested brackets: the translator calls itself for each.
const maxDepth = 500

// translate returns a statement in MySQL's spelling. changed is false for one that has nothing of Spark's, and for text
// that does not lex. An error is a *lexer.SyntaxError for what is Spark's and not known here.
func translate(sql string) (out []piece, changed bool, err error) {
	all, err := lexer.Tokens(sql)
	if err != nil {
		return nil, false, nil // the MySQL parser says what is wrong
	}
	t := &translator{text: sql, all: all}
	t.statement()
	for t.err == nil && t.peek().Kind != lexer.End {
		t.list()
		if t.peek().Kind != lexer.End {
			t.copyToken() // a bracket that nothing opened
		}
	}
	t.copyTo(len(sql))
	if t.err != nil {
		return nil, false, t.err
	}
	return t.out, t.changed, nil
}

func (t *translator) peek() lexer.Token { return t.all[t.at] }

func (t *translator) ahead(n int) lexer.Token {
	return t.all[max(0, min(t.at+n, len(t.all)-1))]
}

// copyTo copies the source up to an offset.
func (t *translator) copyTo(offset int) {
	if offset > t.copied {
		t.out = append(t.out, piece{text: t.text[t.copied:offset], at: t.copied, same: true})
		t.copied = offset
	}
}

// copyToken copies the next token and the space before it, which are pieces of their own.
func (t *translator) copyToken() {
	k := t.peek()
	if k.Kind == lexer.End {
		return
	}
	t.copyTo(k.Start)
	t.copyTo(k.Stop)
	t.at++
}

// replace writes text in the place of the next n tokens.
func (t *translator) replace(n int, text string) {
	first, last := t.ahead(0), t.ahead(n-1)
	t.copyTo(first.Start)
	t.out = append(t.out, piece{text: text, at: first.Start, to: last.Stop})
	t.copied = max(t.copied, last.Stop)
	t.at = min(t.at+n, len(t.all)-1)
	t.changed = true
}

// write adds text of ours where the copy stands.
func (t *translator) write(text string) {
	t.out = append(t.out, piece{text: text, at: t.copied})
	t.changed = true
}

// insert adds text of ours before the piece with this index.
func (t *translator) insert(index int, text string) {
	at := t.copied
	if index < len(t.out) {
		at = t.out[index].at
	}
	t.out = slices.Insert(t.out, index, piece{text: text, at: at})
	t.changed = true
}

// wrap makes the pieces from index on the first argument of a function; after follows them.
func (t *translator) wrap(index int, function, after string) {
	t.insert(index, function+"(")
	t.write(after)
}

// fail keeps the first error, at a token.
func (t *translator) fail(k lexer.Token, want, hint string) {
	if t.err != nil {
		return
	}
	line, column := lexer.Place(t.text, k.Start)
	got := "the end of the statement"
	if k.Kind != lexer.End {
		got = "\"" + t.text[k.Start:k.Stop] + "\""
	}
	t.err = &lexer.SyntaxError{Line: line, Column: column, Want: want, Got: got, Hint: hint}
}

func (t *translator) words(words ...string) bool {
	for i, w := range words {
		if !t.ahead(i).Is(w) {
			return false
		}
	}
	return true
}

// state is what the translator knows while it copies the inside of one pair of brackets.
type state struct {
	primary int   // index of the piece with which the last operand begins, -1 when the last token ends none
	item    int   // index of the piece with which the item of ORDER BY begins
	cases   []int // where the open CASEs begin
	tables  bool  // behind FROM, before WHERE and the like
	having  int   // index of the piece behind HAVING, 0 when the SELECT has none so far
}

// list copies everything up to a closing bracket or the end.
func (t *translator) list() {
	if t.depth++; t.depth > maxDepth {
		t.fail(t.peek(), "fewer brackets in one another", "")
	}
	defer func() { t.depth-- }()
	t.operands(&state{primary: -1, item: len(t.out)})
}

// operands copies everything up to a closing bracket, the end, or one of these words.
func (t *translator) operands(s *state, until ...string) {
	for t.err == nil {
		k := t.peek()
		switch {
		case k.Kind == lexer.End, k.IsSymbol(")"), k.IsSymbol("]"), k.Kind == lexer.Word && slices.Contains(until, strings.ToUpper(k.Text)):
			return
		case k.Kind == lexer.Symbol:
			t.symbol(s, k)
		case k.Kind == lexer.Word:
			t.word(s, k)
		default:
			t.operand(s)
		}
	}
}

// symbol copies one that is no word: an operator, a comma, or a bracket that opens.
func (t *translator) symbol(s *state, k lexer.Token) {
	switch {
	case k.Text == "(":
		t.operand(s)
		return
	case k.Text == "*" && (t.ahead(1).Is("EXCEPT") || t.ahead(1).Is("EXCLUDE")) && t.ahead(2).IsSymbol("(") && !t.ahead(3).Is("SELECT") && !t.ahead(3).IsSymbol("("):
		t.starExcept()
	case k.Text == "=" && t.ahead(1).IsSymbol("=") && t.ahead(1).Start == k.Stop:
		t.replace(2, "=")
	default:
		t.copyToken()
		if k.Text == "," {
			s.item = len(t.out)
		}
	}
	s.primary = -1
}

// word copies a keyword, or what begins with a name.
func (t *translator) word(s *state, k lexer.Token) {
	switch {
	case s.primary >= 0 && (k.Is("ILIKE") || k.Is("NOT") && t.ahead(1).Is("ILIKE")):
		t.ilike(s)
	case k.Is("QUALIFY") && s.primary >= 0 && t.beginsOperand(1):
		t.qualify(s)
	case k.Is("NULLS") && (t.ahead(1).Is("FIRST") || t.ahead(1).Is("LAST")):
		t.nulls(s)
	case t.words("GROUP", "BY", "ALL") && !t.ahead(3).IsSymbol("("):
		t.copyToken()
		t.copyToken()
		t.replace(1, lexer.QuoteName(groupByAllColumn))
	case t.words("FOR", "TIMESTAMP", "AS", "OF"):
		t.replace(2, "")
	case t.words("VERSION", "AS", "OF") || t.words("TIMESTAMP", "AS", "OF"):
		t.replace(1, "")
	case t.words("LATERAL", "VIEW"):
		t.lateralView()
	case k.Is("LATERAL") && t.ahead(1).Kind == lexer.Word && t.ahead(2).IsSymbol("("):
		t.replace(1, "")
		t.tableFunction()
	case s.tables && explodes(k.Text) && t.ahead(1).IsSymbol("("):
		t.tableFunction()
	case t.words("IS", "NOT", "DISTINCT", "FROM"):
		t.replace(4, "<=>")
	case k.Is("INTERVAL"):
		t.interval()
	case k.Is("CASE"):
		s.cases = append(s.cases, len(t.out)+1)
		t.copyToken()
	case k.Is("END") && len(s.cases) > 0:
		t.copyToken()
		start := s.cases[len(s.cases)-1]
		s.cases = s.cases[:len(s.cases)-1]
		s.primary = min(start, len(t.out)-1)
		t.postfix(s)
		return
	case slices.Contains(noOperands, strings.ToUpper(k.Text)) && !t.ahead(1).IsSymbol("."):
		t.keyword(s, k)
	default:
		t.operand(s)
		return
	}
	s.primary = -1
}

// keyword copies one that neither is nor begins an operand.
func (t *translator) keyword(s *state, k lexer.Token) {
	switch strings.ToUpper(k.Text) {
	case "FROM", "JOIN":
		s.tables = true
	case "WHERE", "GROUP", "HAVING", "SELECT", "ORDER", "WINDOW", "UNION", "ON":
		s.tables = false
	}
	t.copyToken()
	switch {
	case k.Is("BY"):
		s.item = len(t.out)
	case k.Is("HAVING"):
		s.having = len(t.out)
	case k.Is("SELECT"):
		s.having = 0
	}
}

// noOperands are the words behind which a bracket is no call, and which cannot be indexed or cast.
var noOperands = []string{"SELECT", "DISTINCT", "ALL", "FROM", "WHERE", "AND", "OR", "XOR", "NOT", "IN", "LIKE", "RLIKE", "REGEXP", "IS", "BETWEEN",
	"WHEN", "THEN", "ELSE", "END", "JOIN", "INNER", "OUTER", "CROSS", "NATURAL", "ON", "USING", "GROUP", "ORDER", "BY", "HAVING", "LIMIT", "OFFSET", "UNION",
	"INTERSECT", "EXCEPT", "AS", "ASC", "DESC", "OVER", "WITH", "RECURSIVE", "VALUES", "INTO", "INSERT", "UPDATE", "DELETE", "DIV", "EXISTS", "ANY", "SOME",
	"ESCAPE", "WINDOW", "LATERAL", "CREATE", "TABLE", "VIEW", "RETURNING", "EXPLAIN"}

// beginsOperand reports whether an expression can begin with the token n ahead.
func (t *translator) beginsOperand(n int) bool {
	k := t.ahead(n)
	switch k.Kind {
	case lexer.End:
		return false
	case lexer.Symbol:
		return k.Text == "(" || k.Text == "-" || k.Text == "+" || k.Text == "!"
	case lexer.Word:
		return k.Is("NOT") || k.Is("EXISTS") || !slices.Contains(noOperands, strings.ToUpper(k.Text))
	}
	return true
}

// operand copies a name, a call, a literal or an expression in brackets, and all that Spark may put behind one.
func (t *translator) operand(s *state) {
	k := t.peek()
	t.copyTo(k.Start)
	s.primary = len(t.out)
	switch {
	case k.IsSymbol("("):
		t.brackets()
	case k.Kind == lexer.Word && (k.Is("R")) && t.ahead(1).Kind == lexer.String && t.ahead(1).Start == k.Stop:
		t.rawString()
	case k.Kind == lexer.Number:
		t.number(k)
	case (k.Is("CAST") || k.Is("TRY_CAST")) && t.ahead(1).IsSymbol("("):
		t.cast()
	case k.Kind == lexer.Word || k.Kind == lexer.Quoted:
		t.name()
	default:
		t.copyToken()
	}
	t.postfix(s)
}

// brackets copies a pair of brackets and what is inside.
func (t *translator) brackets() {
	t.copyToken()
	t.list()
	if t.err == nil && t.peek().IsSymbol(")") {
		t.copyToken()
	}
}

// maxNameParts is how many names with dots between them the MySQL parser takes.
const maxNameParts = 3

// name copies a name with dots, and the arguments if it is that of a function.
func (t *translator) name() {
	start := len(t.out)
	t.copyToken()
	for parts := 1; t.peek().IsSymbol(".") && isName(t.ahead(1)); parts++ {
		if parts >= maxNameParts {
			t.path(start)
			return
		}
		t.copyToken()
		t.copyToken()
	}
	if t.peek().IsSymbol("(") {
		t.brackets()
	}
}

func isName(k lexer.Token) bool { return k.Kind == lexer.Word || k.Kind == lexer.Quoted }

// number leaves out the letter that gives a literal of Spark's its type, as in 5L.
func (t *translator) number(k lexer.Token) {
	digits := strings.TrimRight(k.Text, "LlSsYyDdFfBb")
	if digits == k.Text || strings.Trim(digits, "0123456789.") != "" {
		t.copyToken()
		return
	}
	t.replace(1, digits)
}

// rawString is r'...', in which a backslash stands for itself.
func (t *translator) rawString() {
	k := t.ahead(1)
	t.replace(2, lexer.QuoteText(t.text[k.Start+1:k.Stop-1]))
}

// textOf joins the pieces.
func textOf(out []piece) string {
	var b strings.Builder
	for _, p := range out {
		b.WriteString(p.text)
	}
	return b.String()
}

// place returns the offset in the source of an offset in the joined pieces.
func place(out []piece, offset int) int {
	last, end := 0, 0
	for _, p := range out {
		end = max(end, p.to)
		if offset < len(p.text) {
			if p.same {
				return p.at + offset
			}
			return p.at
		}
		offset -= len(p.text)
		last = p.at
		if p.same {
			last += len(p.text)
		}
	}
	return max(last, end)
}
