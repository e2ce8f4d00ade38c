package engine

import (
	"math/big"
	"math/bits"
	"strings"

	"github.com/shopspring/decimal"

	"smelt/tables"
)

// accumulator is one column of the result of a vectorPlan: a state for each group.
type accumulator interface {
	// add takes in the rows of b; rows[i] belongs to groups[i], of count groups so far.
	add(b *tables.Batch, rows, groups []int32, count int)
	// value returns the result of one group as go-mysql-server's own aggregates would.
	value(group int) (any, error)
}

// grow returns s with n elements, the new ones zero.
func grow[T any](s []T, n int) []T {
	if n > len(s) {
		s = append(s, make([]T, n-len(s))...)
	}
	return s
}

// countRows is COUNT(*).
type countRows struct{ counts []int64 }

func (a *countRows) add(_ *tables.Batch, _, groups []int32, count int) {
	a.counts = grow(a.counts, count)
	for _, g := range groups {
		a.counts[g]++
	}
}

func (a *countRows) value(group int) (any, error) { return a.counts[group], nil }

// countValues is COUNT(x).
type countValues struct {
	of vectorExpr
	countRows
}

func (a *countValues) add(b *tables.Batch, rows, groups []int32, count int) {
	if b == nil {
		a.countRows.add(b, rows, groups, count)
		return
	}
	valid := a.of.column(b).Valid
	if valid == nil {
		a.countRows.add(b, rows, groups, count)
		return
	}
	a.counts = grow(a.counts, count)
	for i, r := range rows {
		if valid[r] {
			a.counts[groups[i]]++
		}
	}
}

// firstValue is a column that all rows of the group share, or any of them: that of the first row.
type firstValue struct {
	of     vectorExpr
	values []any
}

func (a *firstValue) add(b *tables.Batch, rows, groups []int32, count int) {
	had := len(a.values)
	if count == had {
		return
	}
	a.values = grow(a.values, count)
	if b == nil {
		return
	}
	c := a.of.column(b)
	for i, g := range groups {
		if int(g) < had {
			continue
		}
		// New groups come up in order: the first row of each raises the number by one.
		if had = int(g) + 1; !c.Null(int(rows[i])) {
			a.values[g] = boxed(c, a.of.typ(), int(rows[i]))
		}
	}
}

func (a *firstValue) value(group int) (any, error) { return a.values[group], nil }

// boxed returns a value as go-mysql-server wants it. It does not keep the memory of the batch.
func boxed(c *tables.Column, t tables.Type, i int) any {
	if t.Kind == tables.String {
		return strings.Clone(c.Strings[i])
	}
	return columnGetter(c, t)(i)
}

// newVectorSum returns SUM(of); s is its expression.
func newVectorSum(s *exactSum, of vectorExpr) (accumulator, bool) {
	switch k := of.typ().Kind; {
	case whole(k):
		return &wholeSum{of: of, text: s.child.String}, true
	case floating(k):
		return &floatSum{of: of}, true
	case k == tables.Decimal:
		return &decimalSum{of: of}, true
	}
	return nil, false
}

// newVectorAverage returns AVG(of). Whole numbers are added as floating-point ones, in the order of the rows.
func newVectorAverage(of vectorExpr) (accumulator, bool) {
	switch k := of.typ().Kind; {
	case whole(k):
		return &floatAverage{floatSum{of: &vectorFloat{of: of}}}, true
	case floating(k):
		return &floatAverage{floatSum{of: of}}, true
	case k == tables.Decimal:
		return &decimalAverage{decimalSum{of: of}}, true
	}
	return nil, false
}

// total is a sum of whole numbers in 128 bits, which no number of rows overflows.
type total struct {
	hi   int64
	lo   uint64
	some bool // a value that is not null came in
}

// wholeSum is SUM of whole numbers.
type wholeSum struct {
	of     vectorExpr
	text   func() string
	totals []total
}

func (a *wholeSum) add(b *tables.Batch, rows, groups []int32, count int) {
	a.totals = grow(a.totals, count)
	if b == nil {
		return
	}
	c := a.of.column(b)
	for i, r := range rows {
		if c.Valid != nil && !c.Valid[r] {
			continue
		}
		t, v := &a.totals[groups[i]], c.Ints[r]
		var carry uint64
		t.lo, carry = bits.Add64(t.lo, uint64(v), 0)
		t.hi += v>>63 + int64(carry)
		t.some = true
	}
}

func (a *wholeSum) value(group int) (any, error) {
	t := a.totals[group]
	switch {
	case !t.some:
		return nil, nil
	case t.hi != int64(t.lo)>>63:
		return nil, mysqlError(errValueOutOfRange, "BIGINT value is out of range in 'SUM(%s)'", a.text())
	}
	return int64(t.lo), nil
}

// floatSum is SUM of floating-point numbers, added in the order of the rows.
type floatSum struct {
	of     vectorExpr
	sums   []float64
	counts []int64 // of values that are not null
}

func (a *floatSum) add(b *tables.Batch, rows, groups []int32, count int) {
	a.sums, a.counts = grow(a.sums, count), grow(a.counts, count)
	if b == nil {
		return
	}
	c := a.of.column(b)
	sums, counts := a.sums, a.counts
	for i, r := range rows {
		if c.Valid == nil || c.Valid[r] {
			sums[groups[i]] += c.Floats[r]
			counts[groups[i]]++
		}
	}
}

func (a *floatSum) value(group int) (any, error) {
	if a.counts[group] == 0 {
		return nil, nil
	}
	return a.sums[group], nil
}

// floatAverage is AVG of all but decimals.
type floatAverage struct{ floatSum }

func (a *floatAverage) value(group int) (any, error) {
	if a.counts[group] == 0 {
		return nil, nil
	}
	return a.sums[group] / float64(a.counts[group]), nil
}

// decimalSum is SUM of decimals, in units of their scale.
type decimalSum struct {
	of     vectorExpr
	sums   []tables.Int128
	counts []int64          // of values that are not null
	wide   map[int]*big.Int // what no longer fitted into sums, by group
}

func (a *decimalSum) add(b *tables.Batch, rows, groups []int32, count int) {
	a.sums, a.counts = grow(a.sums, count), grow(a.counts, count)
	if b == nil {
		return
	}
	c := a.of.column(b)
	for i, r := range rows {
		if c.Valid != nil && !c.Valid[r] {
			continue
		}
		g, v := groups[i], c.Decimals[r]
		a.counts[g]++
		s := a.sums[g]
		lo, carry := bits.Add64(s.Lo, v.Lo, 0)
		hi := s.Hi + v.Hi + int64(carry)
		if (s.Hi < 0) == (v.Hi < 0) && (hi < 0) != (s.Hi < 0) {
			a.carry(int(g), s)
			a.sums[g] = v
			continue
		}
		a.sums[g] = tables.Int128{Hi: hi, Lo: lo}
	}
}

// carry puts a sum to which the next value cannot be added aside.
func (a *decimalSum) carry(group int, sum tables.Int128) {
	if a.wide == nil {
		a.wide = map[int]*big.Int{}
	}
	if a.wide[group] == nil {
		a.wide[group] = new(big.Int)
	}
	a.wide[group].Add(a.wide[group], sum.Big())
}

func (a *decimalSum) sum(group int) decimal.Decimal {
	sum := a.sums[group].Big()
	if wide := a.wide[group]; wide != nil {
		sum.Add(sum, wide)
	}
	return decimal.NewFromBigInt(sum, -int32(a.of.typ().Scale))
}

func (a *decimalSum) value(group int) (any, error) {
	if a.counts[group] == 0 {
		return nil, nil
	}
	return a.sum(group), nil
}

// averageDigits is how many digits MySQL adds behind the point of an average of decimals.
const averageDigits = 4

// decimalAverage is AVG of decimals.
type decimalAverage struct{ decimalSum }

func (a *decimalAverage) value(group int) (any, error) {
	if a.counts[group] == 0 {
		return nil, nil
	}
	return a.sum(group).DivRound(decimal.NewFromInt(a.counts[group]), int32(a.of.typ().Scale)+averageDigits), nil
}

// extreme is MIN or MAX.
type extreme struct {
	of      vectorExpr
	largest bool
	some    []bool
	values  tables.Column
	touched []int32 // groups whose text is still part of the batch
	dirty   []bool  // by group: whether touched has it
}

func (a *extreme) add(b *tables.Batch, rows, groups []int32, count int) {
	a.some = grow(a.some, count)
	k := a.of.typ().Kind
	switch {
	case k == tables.String:
		a.values.Strings, a.dirty = grow(a.values.Strings, count), grow(a.dirty, count)
	case k == tables.Decimal:
		a.values.Decimals = grow(a.values.Decimals, count)
	case floating(k):
		a.values.Floats = grow(a.values.Floats, count)
	default:
		a.values.Ints = grow(a.values.Ints, count)
	}
	if b == nil {
		return
	}
	c := a.of.column(b)
	switch {
	case k == tables.String:
		pickExtremes(a, c, c.Strings, a.values.Strings, rows, groups, func(v, best string) bool {
			order := compareText(v, best)
			return order < 0 && !a.largest || order > 0 && a.largest
		})
	case k == tables.Decimal:
		pickExtremes(a, c, c.Decimals, a.values.Decimals, rows, groups, func(v, best tables.Int128) bool {
			order := compareDecimals(v, best)
			return order < 0 && !a.largest || order > 0 && a.largest
		})
	case floating(k) && a.largest:
		// go-mysql-server takes NaN for greater than all, and all for greater than NaN.
		pickExtremes(a, c, c.Floats, a.values.Floats, rows, groups, func(v, best float64) bool { return !(v <= best) })
	case floating(k):
		pickExtremes(a, c, c.Floats, a.values.Floats, rows, groups, func(v, best float64) bool { return v < best })
	case a.largest:
		pickExtremes(a, c, c.Ints, a.values.Ints, rows, groups, func(v, best int64) bool { return v > best })
	default:
		pickExtremes(a, c, c.Ints, a.values.Ints, rows, groups, func(v, best int64) bool { return v < best })
	}
	for _, g := range a.touched {
		a.values.Strings[g], a.dirty[g] = strings.Clone(a.values.Strings[g]), false
	}
	a.touched = a.touched[:0]
}

// pickExtremes keeps in best what is better than what is there.
func pickExtremes[T any](a *extreme, c *tables.Column, values, best []T, rows, groups []int32, better func(v, best T) bool) {
	for i, r := range rows {
		if c.Valid != nil && !c.Valid[r] {
			continue
		}
		if g := groups[i]; !a.some[g] || better(values[r], best[g]) {
			best[g], a.some[g] = values[r], true
			if a.dirty != nil && !a.dirty[g] {
				a.touched, a.dirty[g] = append(a.touched, g), true
			}
		}
	}
}

// value implements accumulator.
func (a *extreme) value(group int) (any, error) {
	if !a.some[group] {
		return nil, nil
	}
	return boxed(&a.values, a.of.typ(), group), nil
}
