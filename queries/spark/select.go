package spark

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/dolthub/vitess/go/vt/sqlparser"

	"smelt/queries/lexer"
	"smelt/queries/lineage"
)

// selects resolves one SELECT. Its tables are in sight of everything in it.
func (r *resolver) selects(s *sqlparser.Select) {
	if s.With != nil {
		r.walk(reflect.ValueOf(s.With))
	}
	r.qualified(s)
	r.aliases = append(r.aliases, namesOf(s.From))
	outer := r.order
	defer func() { r.aliases, r.order = r.aliases[:len(r.aliases)-1], outer }()
	tables := slices.Clone(s.From)
	r.walk(reflect.ValueOf(&s.From).Elem())
	for i := range s.From {
		s.From[i] = r.tableFunction(s.From[i])
	}
	if before := len(s.From); r.explodeList(s) && len(s.From) > before {
		s.SelectExprs = starsOf(s.SelectExprs, tables)
	}
	r.stars(s)
	nameFields(r, s.SelectExprs)
	r.walk(reflect.ValueOf(s.SelectExprs))
	r.groupByAll(s)
	r.walk(reflect.ValueOf(&s.GroupBy).Elem())
	// An item of ORDER BY must be one of those that the rows were grouped by, letter for letter.
	if r.order = asJSON; len(s.GroupBy) > 0 || s.QueryOpts.Distinct {
		r.order = asText
	}
	for _, rest := range []any{s.Where, s.Having, s.OrderBy, s.Window} {
		r.walk(reflect.ValueOf(rest))
	}
}

// namesOf returns the names by which columns may be qualified. The name "" stands for any: of a kind of table that is not
// known here.
func namesOf(tables sqlparser.TableExprs) map[string]bool {
	names := map[string]bool{}
	var add func(t sqlparser.TableExpr)
	add = func(t sqlparser.TableExpr) {
		switch t := t.(type) {
		case *sqlparser.AliasedTableExpr:
			if name, ok := t.Expr.(sqlparser.TableName); ok && t.As.IsEmpty() {
				names[strings.ToLower(name.Name.String())] = true
				return
			}
			names[strings.ToLower(t.As.String())] = true
		case *sqlparser.JoinTableExpr:
			add(t.LeftExpr)
			add(t.RightExpr)
		case *sqlparser.ParenTableExpr:
			for _, e := range t.Exprs {
				add(e)
			}
		case *sqlparser.JSONTableExpr:
			names[strings.ToLower(t.Alias.String())] = true
		case *sqlparser.TableFuncExpr:
			if names[strings.ToLower(t.Alias.String())] = true; t.Alias.IsEmpty() {
				names[strings.ToLower(t.Name)] = true
			}
		default:
			names[""] = true
		}
	}
	for _, t := range tables {
		add(t)
	}
	return names
}

// nameFields gives a field that is selected bare its own name, as Spark does.
func nameFields(r *resolver, list sqlparser.SelectExprs) {
	for _, item := range list {
		if a, ok := item.(*sqlparser.AliasedExpr); ok && a.As.IsEmpty() {
			if f, ok := r.field(a.Expr); ok && f.last != "" {
				a.As = sqlparser.NewColIdent(f.last)
			}
		}
	}
}

// tableFunction returns the table that explode(...) behind FROM stands for, and any other table as it is.
func (r *resolver) tableFunction(t sqlparser.TableExpr) sqlparser.TableExpr {
	f, ok := t.(*sqlparser.TableFuncExpr)
	if !ok || !explodes(f.Name) || len(f.Exprs) == 0 {
		if j, ok := t.(*sqlparser.JoinTableExpr); ok {
			j.LeftExpr, j.RightExpr = r.tableFunction(j.LeftExpr), r.tableFunction(j.RightExpr)
		}
		return t
	}
	first, ok := f.Exprs[0].(*sqlparser.AliasedExpr)
	if !ok {
		return t
	}
	var columns []string
	for _, e := range f.Exprs[1:] {
		if a, ok := e.(*sqlparser.AliasedExpr); ok {
			if v, ok := a.Expr.(*sqlparser.SQLVal); ok && strings.HasPrefix(string(v.Val), columnMark) {
				columns = append(columns, strings.TrimPrefix(string(v.Val), columnMark))
			}
		}
	}
	alias := f.Alias.String()
	if alias == "" {
		alias = f.Name
	}
	return r.exploded(f.Name, first.Expr, alias, columns)
}

// exploded is the table of the elements of a JSON array, or of the keys and values of an object.
func (r *resolver) exploded(function string, of sqlparser.Expr, alias string, columns []string) sqlparser.TableExpr {
	function = strings.ToLower(function)
	defaults := []string{"col"}
	switch positions := strings.HasPrefix(function, "pos"); {
	case positions && len(columns) == 3:
		defaults = []string{"pos", "key", "value"}
	case positions:
		defaults = []string{"pos", "col"}
	case len(columns) == 2:
		defaults = []string{"key", "value"}
	}
	if len(columns) == 0 {
		columns = defaults
	}
	if len(columns) != len(defaults) {
		r.fail("%s makes %d columns (%s), and %d are named", function, len(defaults), strings.Join(defaults, ", "), len(columns))
		return &sqlparser.ParenTableExpr{}
	}
	list := make([]string, len(columns))
	for i, name := range columns {
		typ := "LONGTEXT"
		if defaults[i] == "pos" {
			typ = "INT"
		}
		list[i] = fmt.Sprintf("%s %s PATH '$.%s'", lexer.QuoteName(name), typ, defaults[i])
	}
	template := fmt.Sprintf("SELECT 1 FROM JSON_TABLE('', '$[*]' COLUMNS (%s)) AS %s", strings.Join(list, ", "), lexer.QuoteName(alias))
	parsed, err := sqlparser.Parse(template)
	if err != nil {
		r.fail("name the columns of %s: %q cannot be one", function, columns)
		return &sqlparser.ParenTableExpr{}
	}
	table := parsed.(*sqlparser.Select).From[0].(*sqlparser.JSONTableExpr)
	table.Data = call(entriesFunction, of, literal(function), literal(strings.Join(defaults, ",")))
	return table
}

// starsOf names the tables that * stands for, so that it does not take in those that were added.
func starsOf(list sqlparser.SelectExprs, tables sqlparser.TableExprs) sqlparser.SelectExprs {
	var out sqlparser.SelectExprs
	for _, item := range list {
		star, ok := item.(*sqlparser.StarExpr)
		if !ok || !star.TableName.IsEmpty() {
			out = append(out, item)
			continue
		}
		for _, t := range tables {
			for _, name := range slices.Sorted(maps.Keys(namesOf(sqlparser.TableExprs{t}))) {
				out = append(out, &sqlparser.StarExpr{TableName: sqlparser.TableName{Name: sqlparser.NewTableIdent(name)}})
			}
		}
	}
	return out
}

// explodeList is explode(...) among what is selected: one more table, of which the column is selected. It reports whether
// there was one.
func (r *resolver) explodeList(s *sqlparser.Select) (found bool) {
	for i, item := range s.SelectExprs {
		a, ok := item.(*sqlparser.AliasedExpr)
		if !ok {
			continue
		}
		f, ok := a.Expr.(*sqlparser.FuncExpr)
		if !ok || !explodes(f.Name.String()) || len(f.Exprs) != 1 {
			continue
		}
		r.made++
		alias := fmt.Sprintf("explode_%d", r.made)
		name := "col"
		if !a.As.IsEmpty() {
			name = a.As.String()
		}
		columns := []string{name}
		if strings.HasPrefix(f.Name.Lowered(), "pos") {
			columns = []string{"pos", name}
		}
		table := r.exploded(f.Name.String(), r.expr(argument(f, 0), asText), alias, columns)
		if len(s.From) == 1 && isDual(s.From[0]) {
			s.From = nil
		}
		s.From = append(s.From, table)
		r.aliases[len(r.aliases)-1][alias] = true
		items := sqlparser.SelectExprs{}
		for _, c := range columns {
			items = append(items, &sqlparser.AliasedExpr{Expr: column(alias, c), As: sqlparser.NewColIdent(c)})
		}
		s.SelectExprs = slices.Concat(s.SelectExprs[:i:i], items, s.SelectExprs[i+1:])
		r.explodeList(s)
		return true
	}
	return false
}

func isDual(t sqlparser.TableExpr) bool {
	a, ok := t.(*sqlparser.AliasedTableExpr)
	if !ok {
		return false
	}
	name, ok := a.Expr.(sqlparser.TableName)
	return ok && name.Name.String() == "dual"
}

// stars is data.* where data is what from_json made with a schema that the statement holds.
func (r *resolver) stars(s *sqlparser.Select) {
	var out sqlparser.SelectExprs
	for _, item := range s.SelectExprs {
		star, ok := item.(*sqlparser.StarExpr)
		name := ""
		if ok {
			name = strings.ToLower(star.TableName.Name.String())
		}
		fields, known := r.schemas[name]
		if name == "" || !star.TableName.DbQualifier.IsEmpty() || r.inSight(name) || !known || len(fields.fields) == 0 {
			out = append(out, item)
			continue
		}
		for _, f := range fields.fields {
			out = append(out, &sqlparser.AliasedExpr{Expr: call(pathFunction, column("", name), literal(`$."`+f.name+`"`)), As: sqlparser.NewColIdent(f.name)})
		}
	}
	s.SelectExprs = out
}

// groupByAll puts the selected expressions without aggregates in the place of GROUP BY ALL.
func (r *resolver) groupByAll(s *sqlparser.Select) {
	if len(s.GroupBy) != 1 {
		return
	}
	if c, ok := s.GroupBy[0].(*sqlparser.ColName); !ok || c.Name.String() != groupByAllColumn {
		return
	}
	s.GroupBy = nil
	for _, item := range s.SelectExprs {
		a, ok := item.(*sqlparser.AliasedExpr)
		if !ok {
			r.fail("GROUP BY ALL of a SELECT with *: name the columns")
			return
		}
		if _, constant := a.Expr.(*sqlparser.SQLVal); !constant && !aggregates(a.Expr) {
			s.GroupBy = append(s.GroupBy, a.Expr)
		}
	}
}

// aggregates reports whether an expression looks at several rows.
func aggregates(e sqlparser.Expr) (found bool) {
	// The visitor never fails.
	_ = sqlparser.Walk(func(n sqlparser.SQLNode) (bool, error) {
		switch n := n.(type) {
		case *sqlparser.Subquery:
			return false, nil
		case *sqlparser.FuncExpr:
			found = found || lineage.Aggregates(n) || n.Over != nil
		case *sqlparser.GroupConcatExpr:
			found = true
		}
		return !found, nil
	}, e)
	return found
}

func (r *resolver) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf(format, args...)
	}
}

// call resolves a call of a function: some have another name or another form in MySQL.
func (r *resolver) call(f *sqlparser.FuncExpr) sqlparser.Expr {
	name := f.Name.Lowered()
	if (name == "min" || name == "max") && len(f.Exprs) == 1 {
		if found, ok := r.field(argument(f, 0)); ok {
			f.Exprs[0].(*sqlparser.AliasedExpr).Expr = r.read(found, asJSON)
			return call(unquoteFunction, f)
		}
	}
	if name == "if" && len(f.Exprs) == 3 {
		if a, ok := f.Exprs[0].(*sqlparser.AliasedExpr); ok {
			a.Expr = r.expr(a.Expr, asTruth)
		}
	}
	for i := range f.Exprs {
		r.walk(reflect.ValueOf(f.Exprs).Index(i))
	}
	if f.Over != nil {
		r.walk(reflect.ValueOf(f.Over))
	}
	return r.inMySQL(f, name)
}

// inMySQL returns what MySQL writes for a call.
func (r *resolver) inMySQL(f *sqlparser.FuncExpr, name string) sqlparser.Expr {
	second, _ := argument(f, 1).(*sqlparser.SQLVal)
	switch {
	case name == filterFunction:
		return r.filtered(f)
	case renamed[name] != "":
		f.Name = sqlparser.NewColIdent(renamed[name])
	case name == "count_if" && len(f.Exprs) == 1:
		return call("count", &sqlparser.CaseExpr{Whens: []*sqlparser.When{{Cond: argument(f, 0), Val: sqlparser.NewIntVal([]byte("1"))}}})
	case name == "approx_count_distinct" && len(f.Exprs) == 1:
		f.Name, f.Distinct = sqlparser.NewColIdent("count"), true
	case (name == "date_add" || name == "date_sub") && len(f.Exprs) == 2:
		if days := argument(f, 1); days != nil {
			if _, ok := days.(*sqlparser.IntervalExpr); !ok {
				f.Exprs[1].(*sqlparser.AliasedExpr).Expr = &sqlparser.IntervalExpr{Expr: days, Unit: "DAY"}
			}
		}
	case name == "unix_timestamp" && len(f.Exprs) == 2:
		f.Name = sqlparser.NewColIdent("smelt_unix_timestamp")
	case (name == "date_format" || name == "from_unixtime") && len(f.Exprs) == 2 && second != nil && javaPattern(string(second.Val)):
		f.Name = sqlparser.NewColIdent("smelt_" + name)
	}
	return f
}

// renamed are functions that MySQL has under another name.
var renamed = map[string]string{"nvl": "ifnull", "len": "char_length", "collect_list": "json_arrayagg", "array_agg": "json_arrayagg", "getdate": "now"}

// javaPattern reports whether a format is one of Java's: it has letters, and no % as all that mean anything to MySQL have.
func javaPattern(format string) bool {
	return !strings.Contains(format, "%") && strings.ContainsAny(format, "yuMLdDHhKkmsSEaXxzZVOGQq")
}

// learn notes the schemas of the columns that from_json makes.
func (r *resolver) learn(statement sqlparser.Statement) {
	ambiguous := map[string]bool{}
	// The visitor never fails.
	_ = sqlparser.Walk(func(n sqlparser.SQLNode) (bool, error) {
		a, ok := n.(*sqlparser.AliasedExpr)
		if !ok || a.As.IsEmpty() {
			return true, nil
		}
		if s, ok := fromJSON(a.Expr); ok {
			name := a.As.Lowered()
			if _, twice := r.schemas[name]; twice {
				ambiguous[name] = true
			}
			r.schemas[name] = s
		}
		return true, nil
	}, statement)
	maps.DeleteFunc(r.schemas, func(name string, _ schema) bool { return ambiguous[name] })
}
