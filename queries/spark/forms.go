package spark

import (
	"slices"
	"strconv"
	"strings"

	"smelt/queries/lexer"
)

// postfix copies what Spark may put behind an operand: [index], .field behind a bracket, :path and ::type.
func (t *translator) postfix(s *state) {
	for t.err == nil {
		k := t.peek()
		switch {
		case k.IsSymbol("["):
			t.replace(1, ",")
			t.list()
			if !t.peek().IsSymbol("]") {
				t.fail(t.peek(), "a closing ]", "")
				return
			}
			t.replace(1, ")")
			t.insert(s.primary, itemFunction+"(")
		case k.IsSymbol(".") && isName(t.ahead(1)) && t.at > 0 && !isName(t.ahead(-1)):
			t.path(s.primary)
		case k.IsSymbol(":") && t.ahead(1).IsSymbol(":") && t.ahead(1).Start == k.Stop:
			t.doubleColon(s)
		case k.Is("FILTER") && t.ahead(1).IsSymbol("(") && t.ahead(2).Is("WHERE"):
			t.filter(s)
		case k.IsSymbol(":") && (isName(t.ahead(1)) || t.ahead(1).IsSymbol("[")):
			t.path(s.primary)
		default:
			return
		}
	}
}

// path replaces .field[0].field, or :field.field, behind the operand that begins at a piece.
func (t *translator) path(start int) {
	path := "$"
	first := t.peek()
	n := 0
	for {
		k, next := t.ahead(n), t.ahead(n+1)
		switch {
		case (k.IsSymbol(".") || n == 0 && k.IsSymbol(":")) && isName(next):
			path += "." + strconv.Quote(next.Text)
			n += 2
		case n == 0 && k.IsSymbol(":") && next.IsSymbol("["):
			n++
		case k.IsSymbol("[") && next.Kind == lexer.Number && t.ahead(n+2).IsSymbol("]"):
			path += "[" + next.Text + "]"
			n += 3
		case k.IsSymbol("[") && next.Kind == lexer.String && t.ahead(n+2).IsSymbol("]"):
			path += "." + strconv.Quote(next.Text)
			n += 3
		default:
			if n < 2 {
				t.fail(first, "the name of a field behind "+first.Text, "")
				return
			}
			t.insert(start, pathFunction+"(")
			t.replace(n, ", "+lexer.QuoteText(path)+")")
			return
		}
	}
}

// doubleColon is x::type, which is Databricks' CAST.
func (t *translator) doubleColon(s *state) {
	t.at += 2
	first := t.peek()
	typ, n := t.typeName()
	if n == 0 {
		t.at -= 2
		t.fail(first, "a type behind ::", "")
		return
	}
	before, after, ok := castTo(typ, true)
	t.at -= 2
	if !ok {
		t.fail(first, "a type that can be cast to: "+castTypes(), "")
		return
	}
	t.insert(s.primary, before)
	t.replace(n+2, after)
}

// cast is CAST(x AS type) and TRY_CAST(x AS type). Types of MySQL's own are left to it.
func (t *translator) cast() {
	try := t.peek().Is("TRY_CAST")
	start := len(t.out)
	t.copyToken()
	t.copyToken()
	inside := len(t.out)
	t.operands(&state{primary: -1}, "AS")
	if t.err != nil || !t.peek().Is("AS") {
		if t.peek().IsSymbol(")") {
			t.copyToken()
		}
		return
	}
	t.at++
	first := t.peek()
	typ, n := t.typeName()
	t.at--
	before, after, ok := castTo(typ, try)
	if !ok || !t.ahead(1+n).IsSymbol(")") {
		if try || spells(typ) {
			t.fail(first, "a type that can be cast to: "+castTypes(), "")
			return
		}
		for range n + 2 { // MySQL's own
			t.copyToken()
		}
		return
	}
	t.out = slices.Replace(t.out, start, inside, piece{text: before, at: t.out[start].at})
	t.replace(n+2, after)
}

// typeName returns the type at hand in upper case without spaces, and how many tokens it has.
func (t *translator) typeName() (name string, n int) {
	depth := 0
	for {
		k := t.ahead(n)
		switch {
		case k.Kind == lexer.End:
			return name, n
		case k.IsSymbol("(") || k.IsSymbol("<"):
			depth++
		case k.IsSymbol(")") || k.IsSymbol(">"):
			if depth == 0 {
				return name, n
			}
			depth--
		case depth == 0 && (n > 0 || k.Kind != lexer.Word):
			return name, n
		}
		name += strings.ToUpper(k.Text)
		n++
	}
}

// ilike is LIKE whatever the case: both sides are folded.
func (t *translator) ilike(s *state) {
	t.wrap(s.primary, "LOWER", ")")
	if t.peek().Is("NOT") {
		t.copyToken()
	}
	t.replace(1, "LIKE")
	t.operand(s)
	t.wrap(s.primary, "LOWER", ")")
}

// nulls is NULLS FIRST and NULLS LAST behind an item of ORDER BY. MySQL puts NULL first, and last behind DESC.
func (t *translator) nulls(s *state) {
	k := t.peek()
	last, descends := t.ahead(1).Is("LAST"), t.ahead(-1).Is("DESC")
	t.replace(2, "")
	if last == descends {
		return
	}
	stop := len(t.out) - 1
	item := strings.TrimSpace(textOf(t.out[s.item:stop]))
	expr := strings.TrimSpace(item)
	for _, direction := range []string{"DESC", "ASC"} {
		if n := len(expr) - len(direction); n > 0 && strings.EqualFold(expr[n:], direction) && (descends || t.all[t.at-3].Is("ASC")) {
			expr = expr[:n]
			break
		}
	}
	if strings.Trim(strings.TrimSpace(expr), "0123456789") == "" {
		t.fail(k, "the name of the column instead of its number before NULLS", "")
		return
	}
	if descends {
		t.insert(s.item, " ("+expr+") IS NULL DESC,")
		return
	}
	t.insert(s.item, " ("+expr+") IS NULL,")
}

// starExcept is * EXCEPT (a, b): a call marks the star before it.
func (t *translator) starExcept() {
	t.copyToken()
	n := 2
	var names []string
	for isName(t.ahead(n)) || t.ahead(n).IsSymbol(",") {
		if isName(t.ahead(n)) {
			names = append(names, lexer.QuoteText(t.ahead(n).Text))
		}
		n++
	}
	if !t.ahead(n).IsSymbol(")") || len(names) == 0 {
		t.fail(t.ahead(n), "the names of columns in brackets behind EXCEPT", "")
		return
	}
	t.replace(n+1, ", "+exceptFunction+"("+strings.Join(names, ", ")+")")
}

// lateralView is LATERAL VIEW [OUTER] explode(x) t AS a [, b]: one more table behind a comma.
func (t *translator) lateralView() {
	t.replace(2, ",")
	outer := t.peek().Is("OUTER")
	if outer {
		t.replace(1, "")
	}
	if !explodes(t.peek().Text) || !t.ahead(1).IsSymbol("(") {
		t.fail(t.peek(), "explode(...) or posexplode(...) behind LATERAL VIEW", "")
		return
	}
	if name := strings.ToLower(t.peek().Text); outer && !strings.HasSuffix(name, "_outer") {
		t.replace(1, name+"_outer")
	} else {
		t.copyToken()
	}
	t.brackets()
	closing := len(t.out) - 1
	alias := "explode_" + strconv.Itoa(t.at)
	if isName(t.peek()) && !t.peek().Is("AS") && !slices.Contains(noOperands, strings.ToUpper(t.peek().Text)) {
		alias = t.peek().Text
		t.replace(1, "")
	}
	if t.peek().Is("AS") {
		t.replace(1, "")
		t.columns(closing, t.columnNames())
	}
	t.write(" " + lexer.QuoteName(alias))
}

// columnNames takes a, b out of the statement.
func (t *translator) columnNames() []string {
	var names []string
	for isName(t.peek()) {
		names = append(names, t.peek().Text)
		t.replace(1, "")
		if !t.peek().IsSymbol(",") || !isName(t.ahead(1)) {
			break
		}
		t.replace(1, "")
	}
	return names
}

// columns hands names to explode(...) whose closing bracket is the piece with this index.
func (t *translator) columns(closing int, names []string) {
	for i := len(names) - 1; i >= 0; i-- {
		t.insert(closing, ", "+lexer.QuoteText(columnMark+names[i]))
	}
}

// tableFunction is explode(x) [AS] t [(a, b)] behind FROM.
func (t *translator) tableFunction() {
	if !explodes(t.peek().Text) {
		return
	}
	t.copyToken()
	t.brackets()
	closing := len(t.out) - 1
	if t.peek().Is("AS") {
		t.copyToken()
	}
	if !isName(t.peek()) || slices.Contains(noOperands, strings.ToUpper(t.peek().Text)) {
		return
	}
	t.copyToken()
	if !t.peek().IsSymbol("(") {
		return
	}
	t.replace(1, "")
	t.columns(closing, t.columnNames())
	if !t.peek().IsSymbol(")") {
		t.fail(t.peek(), `")"`, "")
		return
	}
	t.replace(1, "")
}

// units are MySQL's names for the units of INTERVAL, by Spark's.
var units = map[string]string{"YEARS": "YEAR", "MONTHS": "MONTH", "WEEKS": "WEEK", "DAYS": "DAY", "HOURS": "HOUR", "MINUTES": "MINUTE", "SECONDS": "SECOND",
	"YEAR": "YEAR", "MONTH": "MONTH", "WEEK": "WEEK", "DAY": "DAY", "HOUR": "HOUR", "MINUTE": "MINUTE", "SECOND": "SECOND"}

// interval is INTERVAL 7 DAYS and INTERVAL '7 days'.
func (t *translator) interval() {
	t.copyToken()
	k := t.peek()
	if words := strings.Fields(k.Text); k.Kind == lexer.String && len(words) == 2 && units[strings.ToUpper(words[1])] != "" {
		t.replace(1, lexer.QuoteText(words[0])+" "+units[strings.ToUpper(words[1])])
		return
	}
	s := &state{primary: -1}
	if k.IsSymbol("-") {
		t.copyToken()
	}
	if t.peek().Kind != lexer.End && !t.peek().IsSymbol(")") {
		t.operand(s)
	}
	if unit := units[strings.ToUpper(t.peek().Text)]; t.peek().Kind == lexer.Word && unit != "" && !t.peek().Is(unit) {
		t.replace(1, unit)
	}
}
