package engine

import (
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/dolthub/go-mysql-server/sql"
	"github.com/dolthub/go-mysql-server/sql/analyzer"
	"github.com/dolthub/go-mysql-server/sql/expression"
	"github.com/dolthub/go-mysql-server/sql/plan"
	"github.com/dolthub/go-mysql-server/sql/transform"
	"github.com/dolthub/go-mysql-server/sql/types"
	"github.com/shopspring/decimal"

	"smelt/tables"
	"smelt/tables/filter"
)

// pushConditions is a rule: it tells tables which of their rows the filter directly above them lets pass, so that files
// without such rows are not read. The filter stays. Filters reach the tables before, through inner joins, the outer
// side of outer joins, views and subqueries; one that stands above an outer join's inner side stays there, and
// tells nothing.
func pushConditions(ctx *sql.Context, _ *analyzer.Analyzer, n sql.Node, _ *plan.Scope, _ analyzer.RuleSelector, _ *sql.QueryFlags) (sql.Node, transform.TreeIdentity, error) {
	return transform.NodeWithOpaque(ctx, n, func(ctx *sql.Context, n sql.Node) (sql.Node, transform.TreeIdentity, error) {
		f, ok := n.(*plan.Filter)
		if !ok {
			return n, transform.SameTree, nil
		}
		switch child := f.Child.(type) {
		case *plan.ResolvedTable:
			return withConditions(ctx, f, child, child)
		case *plan.TableAlias:
			if table, ok := child.Child.(*plan.ResolvedTable); ok {
				return withConditions(ctx, f, table, child)
			}
		}
		return n, transform.SameTree, nil
	})
}

// withConditions returns f with the table below it, which the statement names as named says, told what f asks for.
func withConditions(ctx *sql.Context, f *plan.Filter, at *plan.ResolvedTable, named plan.TableIdNode) (sql.Node, transform.TreeIdentity, error) {
	r := relationOf(at.Table)
	if r == nil {
		return f, transform.SameTree, nil
	}
	if _, ok := r.relation.(tables.Pruner); !ok {
		return f, transform.SameTree, nil
	}
	t := toldTable{relationTable: r, name: named.Name(), ids: named.Columns().Union(at.Columns())}
	var conditions []filter.Condition
	for _, e := range expression.SplitConjunction(ctx, f.Expression) {
		conditions = append(conditions, t.conditions(ctx, e)...)
	}
	if len(conditions) == 0 {
		return f, transform.SameTree, nil
	}
	told, err := at.ReplaceTable(ctx, tell(at.Table, conditions))
	if err != nil {
		return nil, transform.SameTree, err
	}
	child := told.(sql.Node)
	if f.Child != sql.Node(at) {
		if child, err = f.Child.WithChildren(ctx, child); err != nil {
			return nil, transform.SameTree, err
		}
	}
	return plan.NewFilter(f.Expression, child), transform.NewTree, nil
}

// relationOf returns what t shows, nil if it is no table of this package.
func relationOf(t sql.Table) *relationTable {
	switch t := t.(type) {
	case *relationTable:
		return t
	case *storeTable:
		return t.relationTable
	}
	return nil
}

// tell returns t, which shows a relation, with the conditions.
func tell(t sql.Table, conditions []filter.Condition) sql.Table {
	told := *relationOf(t)
	told.conditions = conditions
	if stored, ok := t.(*storeTable); ok {
		with := *stored
		with.relationTable = &told
		return &with
	}
	return &told
}

// toldTable is a table as expressions name it.
type toldTable struct {
	*relationTable
	name string
	ids  sql.ColSet
}

// conditions returns conditions on columns of t that every row meets for which e is true; there may be none.
func (t toldTable) conditions(ctx *sql.Context, e sql.Expression) []filter.Condition {
	switch e := e.(type) {
	case *expression.IsNull:
		return t.null(e.Child, filter.IsNull)
	case *expression.Not:
		if null, ok := e.Child.(*expression.IsNull); ok {
			return t.null(null.Child, filter.NotNull)
		}
		return nil
	case *expression.Between:
		low, high := expression.NewLessThanOrEqual(e.Lower, e.Val), expression.NewGreaterThanOrEqual(e.Upper, e.Val)
		return append(t.conditions(ctx, low), t.conditions(ctx, high)...)
	case *expression.HashInTuple:
		return t.in(ctx, e.Left(), e.Right())
	case *expression.InTuple:
		return t.in(ctx, e.Left(), e.Right())
	}
	column, l, op, ok := comparisonOf(e)
	if !ok {
		return nil
	}
	field, ok := t.field(column)
	if !ok {
		return nil
	}
	if op == isSame && l.Value() == nil {
		return t.null(column, filter.IsNull)
	}
	v, op, ok := literalFor(ctx, l, field.Type, column.Type(ctx), op)
	if !ok {
		return nil
	}
	switch e.(type) {
	case *expression.GreaterThan, *expression.GreaterThanOrEqual:
		if floating(field.Type.Kind) {
			return nil // go-mysql-server lets NaN pass here, statistics do not know of it
		}
	}
	asked := map[comparison]filter.Op{isEqual: filter.In, isSame: filter.In, isLess: filter.Less, isLessEqual: filter.LessEqual,
		isGreater: filter.Greater, isGreaterEqual: filter.GreaterEqual}[op]
	return condition(field, asked, v)
}

func (t toldTable) null(e sql.Expression, op filter.Op) []filter.Condition {
	if field, ok := t.field(e); ok {
		return []filter.Condition{{Column: field.Name, Op: op}}
	}
	return nil
}

// in leaves nulls of the list out: no row is equal to them.
func (t toldTable) in(ctx *sql.Context, left, right sql.Expression) []filter.Condition {
	field, ok := t.field(left)
	if !ok {
		return nil
	}
	values, _, ok := literalsIn(ctx, right, field.Type, left.Type(ctx))
	if !ok || len(values) == 0 {
		return nil
	}
	return condition(field, filter.In, values...)
}

// condition returns a condition with the values as the columnar form has them; none if one of them has no such form.
// Texts in data files are UTF-8, whose bytes have the order of its characters.
func condition(field tables.Field, op filter.Op, values ...literal) []filter.Condition {
	c := filter.Condition{Column: field.Name, Op: op}
	for _, v := range values {
		switch k := field.Type.Kind; {
		case k == tables.Boolean:
			if v.whole != 0 && v.whole != 1 {
				return nil
			}
			c.Values.AppendBool(v.whole == 1)
		case k == tables.String:
			c.Values.AppendString(v.text)
		case k == tables.Decimal:
			c.Values.AppendDecimal(v.decimal)
		case floating(k):
			c.Values.AppendFloat(v.float)
		default:
			c.Values.AppendInt(v.whole)
		}
	}
	return []filter.Condition{c}
}

// field returns the field that e reads if it is a column of t.
func (t toldTable) field(e sql.Expression) (tables.Field, bool) {
	column, ok := e.(*expression.GetField)
	if !ok || !strings.EqualFold(column.Table(), t.name) || !t.ids.Contains(column.Id()) {
		return tables.Field{}, false
	}
	schema := t.relation.Schema()
	at := schema.Index(plainName(column.Name()))
	if at < 0 {
		return tables.Field{}, false
	}
	return schema[at], true
}

// comparison is how a column is compared with a literal.
type comparison uint8

const (
	isEqual comparison = iota + 1
	isSame             // <=>
	isLess
	isLessEqual
	isGreater
	isGreaterEqual
)

// comparisonOf takes a comparison of anything with a literal apart; the literal comes second in what it returns.
func comparisonOf(e sql.Expression) (sql.Expression, *expression.Literal, comparison, bool) {
	var op, swapped comparison
	switch e.(type) {
	case *expression.Equals:
		op, swapped = isEqual, isEqual
	case *expression.NullSafeEquals:
		op, swapped = isSame, isSame
	case *expression.LessThan:
		op, swapped = isLess, isGreater
	case *expression.LessThanOrEqual:
		op, swapped = isLessEqual, isGreaterEqual
	case *expression.GreaterThan:
		op, swapped = isGreater, isLess
	case *expression.GreaterThanOrEqual:
		op, swapped = isGreaterEqual, isLessEqual
	default:
		return nil, nil, 0, false
	}
	left, right := e.Children()[0], e.Children()[1]
	if _, ok := left.(*expression.Literal); ok {
		left, right, op = right, left, swapped
	}
	l, ok := right.(*expression.Literal)
	return left, l, op, ok
}

// literal is a value in the columnar form of the column that it is compared with.
type literal struct {
	whole   int64 // whole numbers and truth values; days and microseconds
	float   float64
	text    string
	decimal tables.Int128
}

// literalFor returns l as a value of type t, whose MySQL type is shown, and the comparison that means the same with
// this value. It is not ok where there is no such value, or go-mysql-server compares in another way.
func literalFor(ctx *sql.Context, l *expression.Literal, t tables.Type, shown sql.Type, op comparison) (v literal, _ comparison, ok bool) {
	if l.Value() == nil {
		return v, op, false
	}
	if retyped, ok := retype(ctx, l, shown).(*expression.Literal); ok {
		l = retyped
	}
	from := l.Type(ctx)
	switch k := t.Kind; {
	case whole(k):
		if v.whole, ok = wholeLiteral(ctx, l); ok {
			return v, op, true
		}
		return literalBetween(l, op)
	case floating(k):
		if f, is := l.Value().(float64); is && from == types.Float64 {
			return literal{float: f}, op, true
		}
		v.whole, ok = wholeLiteral(ctx, l)
		return literal{float: float64(v.whole)}, op, ok
	case k == tables.Decimal:
		v.decimal, ok = decimalLiteral(ctx, l, t)
	case k == tables.String:
		v.text, ok = l.Value().(string)
		ok = ok && types.TypesEqual(from, shown) && utf8.ValidString(v.text) && !strings.ContainsRune(v.text, utf8.RuneError)
	case k == tables.Date, k == tables.Timestamp:
		at, is := l.Value().(time.Time)
		if ok = is && types.TypesEqual(from, shown); k == tables.Date {
			v.whole = at.UTC().Truncate(24*time.Hour).Unix() / secondsPerDay
		} else {
			v.whole = at.UnixMicro()
			ok = ok && at.Nanosecond()%1000 == 0
		}
	}
	return v, op, ok
}

// maxExact is the greatest whole number up to which a DOUBLE holds every one.
const maxExact = 1 << 53

// wholeLiteral returns the value of a whole number or truth value. go-mysql-server makes literals such as 200 unsigned
// and compares them with columns as DOUBLE, which means the same while the literal is exact in it.
func wholeLiteral(ctx *sql.Context, l *expression.Literal) (int64, bool) {
	if !types.IsInteger(l.Type(ctx)) {
		return 0, false
	}
	v, in, err := types.Int64.Convert(ctx, l.Value())
	n, ok := v.(int64)
	return n, ok && err == nil && in == sql.InRange && (n <= maxExact || types.IsSigned(l.Type(ctx)))
}

// literalBetween returns the whole number that separates the same whole numbers as the decimal l does: x > 3.5 is
// x > 3, and x <= 3.5 is x <= 3.
func literalBetween(l *expression.Literal, op comparison) (v literal, _ comparison, ok bool) {
	d, ok := l.Value().(decimal.Decimal)
	if !ok {
		return v, op, false
	}
	below := d.Floor()
	if !below.BigInt().IsInt64() {
		return v, op, false
	}
	v.whole = below.IntPart()
	if below.Equal(d) {
		return v, op, true
	}
	switch op {
	case isLess, isLessEqual:
		return v, isLessEqual, true
	case isGreater, isGreaterEqual:
		return v, isGreater, true
	}
	return v, op, false
}

// decimalLiteral returns l in units of the scale of t. A literal with more digits is not ok: go-mysql-server rounds it
// or not, by the side on which it stands.
func decimalLiteral(ctx *sql.Context, l *expression.Literal, t tables.Type) (v tables.Int128, ok bool) {
	d, ok := l.Value().(decimal.Decimal)
	if n, is := wholeLiteral(ctx, l); is {
		d, ok = decimal.NewFromInt(n), true
	}
	if !ok || !types.IsDecimal(l.Type(ctx)) && !types.IsInteger(l.Type(ctx)) {
		return v, false
	}
	units := d.Shift(int32(t.Scale))
	if !units.IsInteger() {
		return v, false
	}
	return tables.Int128FromBig(units.BigInt())
}

// literalsIn returns the values of the list of an IN, and whether it holds a null. Every value must be exact: what
// go-mysql-server makes of a mixed list depends on the first of it. Floating-point numbers are left to it.
func literalsIn(ctx *sql.Context, list sql.Expression, t tables.Type, shown sql.Type) (values []literal, null, ok bool) {
	tuple, ok := list.(expression.Tuple)
	if !ok || floating(t.Kind) {
		return nil, false, false
	}
	for i, e := range tuple {
		l, ok := e.(*expression.Literal)
		if !ok {
			return nil, false, false
		}
		if l.Value() == nil && i > 0 {
			null = true
			continue
		}
		if whole(t.Kind) && !types.IsInteger(l.Type(ctx)) {
			return nil, false, false
		}
		v, _, ok := literalFor(ctx, l, t, shown, isEqual)
		if !ok {
			return nil, false, false
		}
		// After an unsigned literal all are compared as DOUBLE.
		if whole(t.Kind) && !types.IsSigned(tuple[0].Type(ctx)) && (v.whole > maxExact || v.whole < -maxExact) {
			return nil, false, false
		}
		values = append(values, v)
	}
	return slices.Clip(values), null, true
}
