package engine

import (
	"cmp"
	"slices"
	"unicode/utf8"

	"github.com/dolthub/go-mysql-server/sql"
	"github.com/dolthub/go-mysql-server/sql/expression"
	"github.com/dolthub/go-mysql-server/sql/types"

	"smelt/tables"
)

// truth is a truth value of SQL. AND is the smaller and OR the larger of two.
type truth uint8

const (
	no truth = iota
	unknown
	yes
)

// vectorTest is a condition on the rows of a batch.
type vectorTest interface {
	// test writes one truth for each row of b to out.
	test(b *tables.Batch, out []truth)
}

// test compiles a condition.
func (c *vectorCompiler) test(e sql.Expression, scope vectorScope) (vectorTest, bool) {
	switch e := e.(type) {
	case *expression.And:
		return c.both(e.LeftChild, e.RightChild, scope, false)
	case *expression.Or:
		return c.both(e.LeftChild, e.RightChild, scope, true)
	case *expression.Not:
		of, ok := c.test(e.Child, scope)
		return &notTest{of: of}, ok
	case *expression.IsNull:
		of, ok := c.expr(e.Child, scope)
		return &nullTest{of: of}, ok
	case *expression.GetField:
		of, ok := c.expr(e, scope)
		if !ok || !whole(of.typ().Kind) {
			return nil, false
		}
		return &truthTest{of: of}, true
	case *expression.Between:
		return c.both(expression.NewLessThanOrEqual(e.Lower, e.Val), expression.NewGreaterThanOrEqual(e.Upper, e.Val), scope, false)
	case *expression.HashInTuple:
		return c.in(e.Left(), e.Right(), scope)
	case *expression.InTuple:
		return c.in(e.Left(), e.Right(), scope)
	}
	return c.comparison(e, scope)
}

func (c *vectorCompiler) both(left, right sql.Expression, scope vectorScope, or bool) (vectorTest, bool) {
	l, ok := c.test(left, scope)
	if !ok {
		return nil, false
	}
	r, ok := c.test(right, scope)
	return &bothTest{left: l, right: r, or: or}, ok
}

func (c *vectorCompiler) comparison(e sql.Expression, scope vectorScope) (vectorTest, bool) {
	left, l, op, ok := comparisonOf(e)
	if !ok {
		return nil, false
	}
	of, ok := c.expr(left, scope)
	if !ok {
		return nil, false
	}
	if _, column := left.(*expression.GetField); !column && types.IsDecimal(l.Type(c.ctx)) {
		return nil, false // compared as decimals by rows
	}
	v, op, ok := literalFor(c.ctx, l, of.typ(), left.Type(c.ctx), op)
	if !ok {
		return nil, false
	}
	t := &compareTest{of: of, value: v, below: no, equal: no, above: no, other: no, null: unknown}
	switch op {
	case isEqual:
		t.equal = yes
	case isSame:
		t.equal, t.null = yes, no
	case isLess, isLessEqual:
		t.below = yes
	case isGreater, isGreaterEqual:
		t.above = yes
	}
	if op == isLessEqual || op == isGreaterEqual {
		t.equal = yes
	}
	switch e.(type) {
	case *expression.GreaterThan, *expression.GreaterThanOrEqual:
		t.other = yes // go-mysql-server takes what is neither less nor equal for greater, NaN on either side
	}
	return t, true
}

func (c *vectorCompiler) in(left, right sql.Expression, scope vectorScope) (vectorTest, bool) {
	field, ok := left.(*expression.GetField)
	if !ok {
		return nil, false
	}
	of, ok := c.expr(field, scope)
	if !ok {
		return nil, false
	}
	values, null, ok := literalsIn(c.ctx, right, of.typ(), field.Type(c.ctx))
	if !ok {
		return nil, false
	}
	t := &inTest{of: of, miss: no, whole: map[int64]bool{}, texts: map[string]bool{}, decimals: map[tables.Int128]bool{}}
	if null {
		t.miss = unknown
	}
	for _, v := range values {
		switch of.typ().Kind {
		case tables.String:
			t.texts[v.text] = true
		case tables.Decimal:
			t.decimals[v.decimal] = true
		default:
			t.whole[v.whole] = true
		}
	}
	return t, true
}

type notTest struct{ of vectorTest }

func (t *notTest) test(b *tables.Batch, out []truth) {
	t.of.test(b, out)
	for i := range out {
		out[i] = yes - out[i]
	}
}

type bothTest struct {
	left, right vectorTest
	or          bool
	second      []truth
}

func (t *bothTest) test(b *tables.Batch, out []truth) {
	t.second = resize(t.second, len(out))
	t.left.test(b, out)
	t.right.test(b, t.second)
	if t.or {
		for i, v := range t.second {
			out[i] = max(out[i], v)
		}
		return
	}
	for i, v := range t.second {
		out[i] = min(out[i], v)
	}
}

type nullTest struct{ of vectorExpr }

func (t *nullTest) test(b *tables.Batch, out []truth) {
	valid := t.of.column(b).Valid
	for i := range out {
		out[i] = no
		if valid != nil && !valid[i] {
			out[i] = yes
		}
	}
}

// truthTest is a number taken as a condition.
type truthTest struct{ of vectorExpr }

func (t *truthTest) test(b *tables.Batch, out []truth) {
	c := t.of.column(b)
	for i := range out {
		out[i] = yes
		if c.Ints[i] == 0 {
			out[i] = no
		}
	}
	markNulls(out, c.Valid, unknown)
}

func markNulls(out []truth, valid []bool, null truth) {
	if valid == nil {
		return
	}
	for i, ok := range valid[:len(out)] {
		if !ok {
			out[i] = null
		}
	}
}

// compareTest compares a column with a value of its own kind.
type compareTest struct {
	of                  vectorExpr
	value               literal
	below, equal, above truth // for columns below the value, equal to it, above it
	other               truth // for NaN
	null                truth
}

func (t *compareTest) test(b *tables.Batch, out []truth) {
	c := t.of.column(b)
	switch k := t.of.typ().Kind; {
	case k == tables.String && t.below == no && t.above == no:
		for i, v := range c.Strings[:len(out)] {
			out[i] = no
			if v == t.value.text {
				out[i] = yes
			}
		}
	case k == tables.String:
		for i, v := range c.Strings[:len(out)] {
			out[i] = t.of3(compareText(v, t.value.text))
		}
	case k == tables.Decimal:
		for i, v := range c.Decimals[:len(out)] {
			out[i] = t.of3(compareDecimals(v, t.value.decimal))
		}
	case floating(k):
		compareAll(t, c.Floats[:len(out)], t.value.float, out)
	default:
		compareAll(t, c.Ints[:len(out)], t.value.whole, out)
	}
	markNulls(out, c.Valid, t.null)
}

func (t *compareTest) of3(order int) truth {
	switch {
	case order < 0:
		return t.below
	case order > 0:
		return t.above
	}
	return t.equal
}

func compareAll[T int64 | float64](t *compareTest, values []T, with T, out []truth) {
	below, equal, above, other := t.below, t.equal, t.above, t.other
	for i, v := range values {
		switch {
		case v < with:
			out[i] = below
		case v > with:
			out[i] = above
		case v == with:
			out[i] = equal
		default:
			out[i] = other
		}
	}
}

// inTest looks whole numbers, times, texts and decimals up in a list.
type inTest struct {
	of       vectorExpr
	whole    map[int64]bool
	texts    map[string]bool
	decimals map[tables.Int128]bool
	miss     truth // unknown if the list has a null
}

func (t *inTest) test(b *tables.Batch, out []truth) {
	c := t.of.column(b)
	switch t.of.typ().Kind {
	case tables.String:
		lookAll(c.Strings[:len(out)], t.texts, t.miss, out)
	case tables.Decimal:
		lookAll(c.Decimals[:len(out)], t.decimals, t.miss, out)
	default:
		lookAll(c.Ints[:len(out)], t.whole, t.miss, out)
	}
	markNulls(out, c.Valid, unknown)
}

func lookAll[T comparable](values []T, list map[T]bool, miss truth, out []truth) {
	for i, v := range values {
		out[i] = miss
		if list[v] {
			out[i] = yes
		}
	}
}

func compareDecimals(a, b tables.Int128) int {
	if a.Hi != b.Hi {
		return cmp.Compare(a.Hi, b.Hi)
	}
	return cmp.Compare(a.Lo, b.Lo)
}

// compareText compares by code point, as go-mysql-server does under its default collation. That is the order of the
// bytes, except that a byte which belongs to no character counts as U+FFFD.
func compareText(a, b string) int {
	n := min(len(a), len(b))
	i := 0
	for i < n && a[i] == b[i] {
		i++
	}
	if i == len(a) && i == len(b) {
		return 0
	}
	for i > 0 && !(beginsAt(a, i) && beginsAt(b, i)) {
		i--
	}
	if i == len(a) || i == len(b) {
		return cmp.Compare(len(a), len(b))
	}
	ra, _ := utf8.DecodeRuneInString(a[i:])
	rb, _ := utf8.DecodeRuneInString(b[i:])
	if ra != rb {
		return cmp.Compare(ra, rb)
	}
	return slices.Compare([]rune(a), []rune(b)) // two different faults
}

// beginsAt reports whether a character may begin at byte i of s, or s ends there.
func beginsAt(s string, i int) bool { return i == len(s) || utf8.RuneStart(s[i]) }
