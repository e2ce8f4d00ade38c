package spark

import (
	"reflect"
	"strconv"
	"strings"

	"github.com/dolthub/vitess/go/vt/sqlparser"
)

// want says for what a value is needed. A field of a JSON column has no type that is known before it is read, so it is
// read as what it is needed for.
type want uint8

const (
	asText  want = iota // a column, an argument: strings without their quotes
	asJSON              // to be ordered: numbers as numbers
	asTruth             // a condition
)

// field is a value inside a JSON value.
type field struct {
	base sqlparser.Expr
	path string // as MySQL writes it behind the $
	last string // the name of the last field, "" behind an index
}

// resolver puts what Spark means in the place of what the MySQL parser read: dotted paths into JSON columns, explode and
// the like. Everything that it changes is an error of unknown tables, columns or functions as it stands.
type resolver struct {
	aliases []map[string]bool // of the tables in sight, inner SELECT last; lower case
	schemas map[string]schema // of columns that from_json makes, by lower-case name
	order   want              // what the items of ORDER BY are read as
	made    int               // tables made of explode
	err     error
}

// resolve changes a statement in place; translated says that the MySQL parser did not take it as it was written.
// Statements that name rows in ways of their own, such as NEW.a in a trigger, are left alone.
func resolve(statement sqlparser.Statement, translated bool) error {
	r := &resolver{schemas: map[string]schema{}, order: asJSON}
	switch s := statement.(type) {
	case *sqlparser.Select, *sqlparser.SetOp, *sqlparser.ParenSelect:
	case *sqlparser.Insert:
		if _, reads := s.Rows.(sqlparser.SelectStatement); !reads && !translated {
			return nil // values, which may be very many
		}
	case *sqlparser.Explain:
		return resolve(s.Statement, translated)
	case *sqlparser.DDL:
		if s.ViewSpec == nil && s.OptSelect == nil {
			return nil
		}
	case *sqlparser.Update:
		r.aliases = append(r.aliases, namesOf(s.TableExprs))
	case *sqlparser.Delete:
		r.aliases = append(r.aliases, namesOf(s.TableExprs))
	default:
		return nil
	}
	r.learn(statement)
	r.walk(reflect.ValueOf(statement))
	return r.err
}

var (
	exprType = reflect.TypeFor[sqlparser.Expr]()
)

// walk goes through a tree; every expression in it is replaced by what expr makes of it.
func (r *resolver) walk(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return
		}
		switch n := v.Interface().(type) {
		case *sqlparser.Select:
			r.selects(n)
		case *sqlparser.Where:
			n.Expr = r.expr(n.Expr, asTruth)
		case *sqlparser.Order:
			n.Expr = r.expr(n.Expr, r.order)
		case *sqlparser.JoinTableExpr:
			if n.Condition.On != nil {
				n.Condition.On = r.expr(n.Condition.On, asTruth)
			}
			r.walk(v.Elem())
		default:
			r.walk(v.Elem())
		}
	case reflect.Interface:
		if v.IsNil() {
			return
		}
		if v.Type() == exprType && v.CanSet() {
			v.Set(reflect.ValueOf(r.expr(v.Interface().(sqlparser.Expr), asText)))
			return
		}
		if inner := v.Elem(); inner.Kind() == reflect.Pointer || !v.CanSet() {
			r.walk(inner)
			return
		}
		// A value behind an interface cannot be changed in place.
		changed := reflect.New(v.Elem().Type()).Elem()
		changed.Set(v.Elem())
		r.walk(changed)
		v.Set(changed)
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				r.walk(v.Field(i))
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			r.walk(v.Index(i))
		}
	}
}

// inside resolves what stands in an expression.
func (r *resolver) inside(e sqlparser.Expr) sqlparser.Expr {
	v := reflect.New(exprType).Elem()
	v.Set(reflect.ValueOf(e))
	if inner := v.Elem(); inner.Kind() == reflect.Pointer {
		r.walk(inner.Elem())
		return e
	}
	changed := reflect.New(v.Elem().Type()).Elem()
	changed.Set(v.Elem())
	r.walk(changed)
	return changed.Interface().(sqlparser.Expr)
}

// expr returns what stands for an expression, for a purpose.
func (r *resolver) expr(e sqlparser.Expr, w want) sqlparser.Expr {
	if f, ok := r.field(e); ok {
		return r.read(f, w)
	}
	switch e := e.(type) {
	case *sqlparser.Subquery:
		r.walk(reflect.ValueOf(e.Select))
	case *sqlparser.ParenExpr:
		e.Expr = r.expr(e.Expr, w)
	case *sqlparser.AndExpr:
		e.Left, e.Right = r.expr(e.Left, asTruth), r.expr(e.Right, asTruth)
	case *sqlparser.OrExpr:
		e.Left, e.Right = r.expr(e.Left, asTruth), r.expr(e.Right, asTruth)
	case *sqlparser.NotExpr:
		e.Expr = r.expr(e.Expr, asTruth)
	case *sqlparser.IsExpr:
		inner := asTruth
		if e.Operator == sqlparser.IsNullStr || e.Operator == sqlparser.IsNotNullStr {
			inner = asText
		}
		e.Expr = r.expr(e.Expr, inner)
	case *sqlparser.ComparisonExpr:
		r.comparison(e)
	case *sqlparser.CaseExpr:
		r.cases(e)
	case *sqlparser.FuncExpr:
		return r.call(e)
	default:
		return r.inside(e)
	}
	return e
}

// comparison reads a field that is compared with TRUE or FALSE as a condition, and two fields as JSON, so that two numbers
// compare as numbers.
func (r *resolver) comparison(e *sqlparser.ComparisonExpr) {
	left, right := asText, asText
	_, isFieldLeft := r.field(e.Left)
	_, isFieldRight := r.field(e.Right)
	if _, truth := e.Right.(sqlparser.BoolVal); truth {
		left = asTruth
	}
	if _, truth := e.Left.(sqlparser.BoolVal); truth {
		right = asTruth
	}
	if isFieldLeft && isFieldRight {
		left, right = asJSON, asJSON
	}
	e.Left, e.Right = r.expr(e.Left, left), r.expr(e.Right, right)
	if e.Escape != nil {
		e.Escape = r.expr(e.Escape, asText)
	}
}

func (r *resolver) cases(e *sqlparser.CaseExpr) {
	condition := asTruth
	if e.Expr != nil {
		e.Expr, condition = r.expr(e.Expr, asText), asText
	}
	for _, when := range e.Whens {
		when.Cond, when.Val = r.expr(when.Cond, condition), r.expr(when.Val, asText)
	}
	if e.Else != nil {
		e.Else = r.expr(e.Else, asText)
	}
}

// field recognises a value inside a JSON value: a qualified name whose qualifier is no table in sight, or what the
// translator made of x[0], f(x).y and x:y.
func (r *resolver) field(e sqlparser.Expr) (f field, ok bool) {
	switch e := e.(type) {
	case *sqlparser.ColName:
		return r.dotted(e)
	case *sqlparser.FuncExpr:
		name := e.Name.Lowered()
		if name != pathFunction && name != itemFunction || len(e.Exprs) != 2 {
			return f, false
		}
		base, step := argument(e, 0), argument(e, 1)
		path, last, ok := stepOf(name, step)
		if base == nil || !ok {
			return f, false
		}
		if f, ok = r.field(base); !ok {
			f = field{base: base}
		}
		f.path, f.last = f.path+path, last
		return f, true
	}
	return f, false
}

// stepOf returns the path that the second argument of a path or item function stands for; ok is false for an index that
// is computed.
func stepOf(function string, step sqlparser.Expr) (path, last string, ok bool) {
	value, isLiteral := step.(*sqlparser.SQLVal)
	switch {
	case !isLiteral:
		return "", "", false
	case function == pathFunction:
		path = strings.TrimPrefix(string(value.Val), "$")
		if i := strings.LastIndex(path, `."`); i >= 0 && strings.HasSuffix(path, `"`) {
			if name, err := strconv.Unquote(path[i+1:]); err == nil {
				last = name
			}
		}
		return path, last, true
	case value.Type == sqlparser.IntVal:
		return "[" + string(value.Val) + "]", "", true
	case value.Type == sqlparser.StrVal:
		return "." + strconv.Quote(string(value.Val)), string(value.Val), true
	}
	return "", "", false
}

// fileColumn is the column of read_files whose fields the engine knows: _metadata.file_path and the like.
const fileColumn = "_metadata"

// dotted is a.b, a.b.c where a is a column.
func (r *resolver) dotted(c *sqlparser.ColName) (field, bool) {
	table, database := c.Qualifier.Name.String(), c.Qualifier.DbQualifier.String()
	if table == "" || len(r.aliases) == 0 || strings.EqualFold(table, fileColumn) || strings.HasPrefix(table, "@") || !c.Qualifier.SchemaQualifier.IsEmpty() {
		return field{}, false
	}
	last := c.Name.String()
	switch {
	case database == "" && r.inSight(table):
		return field{}, false
	case database == "":
		return field{base: column("", table), path: "." + strconv.Quote(last), last: last}, true
	case r.inSight(database):
		return field{base: column(database, table), path: "." + strconv.Quote(last), last: last}, true
	case r.inSight(table):
		return field{}, false
	default:
		return field{base: column("", database), path: "." + strconv.Quote(table) + "." + strconv.Quote(last), last: last}, true
	}
}

func (r *resolver) inSight(table string) bool {
	for _, names := range r.aliases {
		if names[strings.ToLower(table)] {
			return true
		}
	}
	return false
}

func column(table, name string) *sqlparser.ColName {
	return &sqlparser.ColName{Name: sqlparser.NewColIdent(name), Qualifier: sqlparser.TableName{Name: sqlparser.NewTableIdent(table)}}
}

// read returns the call that reads a field for a purpose.
func (r *resolver) read(f field, w want) sqlparser.Expr {
	typ, typed := r.typeOf(f)
	base := r.expr(f.base, asText)
	function := textFunction
	switch {
	case typed && typ.cast != "":
		return call(typ.cast, call(textFunction, base, literal("$"+f.path)))
	case w == asJSON:
		function = jsonFunction
	case w == asTruth:
		function = truthFunction
	}
	return call(function, base, literal("$"+f.path))
}

func literal(s string) sqlparser.Expr { return sqlparser.NewStrVal([]byte(s)) }

func call(name string, args ...sqlparser.Expr) *sqlparser.FuncExpr {
	f := &sqlparser.FuncExpr{Name: sqlparser.NewColIdent(name)}
	for _, a := range args {
		f.Exprs = append(f.Exprs, &sqlparser.AliasedExpr{Expr: a})
	}
	return f
}

// argument returns the n-th argument of a call, nil if there is none.
func argument(f *sqlparser.FuncExpr, n int) sqlparser.Expr {
	if n >= len(f.Exprs) {
		return nil
	}
	if a, ok := f.Exprs[n].(*sqlparser.AliasedExpr); ok {
		return a.Expr
	}
	return nil
}
