package filter

import (
	"cmp"
	"math"
	"slices"
	"sort"
	"strings"

	"smelt/tables/batch"
)

// Value is one value that is not null; the column's kind says which field holds it, as in batch.Column.
type Value struct {
	Int     int64 // also of a Boolean: 0 or 1
	Float   float64
	Text    string
	Decimal batch.Int128
}

// Bounds is what is known of a column's values in a set of rows. They may be wider than the values, never narrower.
type Bounds struct {
	Rows      int64 // at least 1
	Nulls     int64 // how many of the rows are null; -1 if that is not known
	Low, High *Value
}

// Fits reports whether the condition can be judged for a column of the type: its values are of the column's kind, and as
// many as its operator takes. NaN fits nothing.
func (c *Condition) Fits(t batch.Type) bool {
	n := c.values(t.Kind)
	switch c.Op {
	case IsNull, NotNull:
		return true
	case In:
		if n == 0 {
			return false
		}
	case Less, LessEqual, Greater, GreaterEqual:
		if n != 1 {
			return false
		}
	default:
		return false
	}
	for i := range n {
		if c.Values.Null(i) {
			return false
		}
	}
	return t.Kind != batch.JSON && !slices.ContainsFunc(c.Values.Floats, math.IsNaN)
}

// values returns how many values of the kind the condition has.
func (c *Condition) values(k batch.Kind) int {
	switch k {
	case batch.Boolean:
		return len(c.Values.Bools)
	case batch.Float, batch.Double:
		return len(c.Values.Floats)
	case batch.String, batch.Binary, batch.JSON:
		return len(c.Values.Strings)
	case batch.Decimal:
		return len(c.Values.Decimals)
	default:
		return len(c.Values.Ints)
	}
}

// At returns value i of a column of the kind, which must not be null.
func At(col *batch.Column, k batch.Kind, i int) Value {
	switch k {
	case batch.Boolean:
		if col.Bools[i] {
			return Value{Int: 1}
		}
		return Value{}
	case batch.Float, batch.Double:
		return Value{Float: col.Floats[i]}
	case batch.String, batch.Binary, batch.JSON:
		return Value{Text: col.Strings[i]}
	case batch.Decimal:
		return Value{Decimal: col.Decimals[i]}
	default:
		return Value{Int: col.Ints[i]}
	}
}

// Compare orders two values of one kind as conditions do: numbers by value, texts byte by byte. NaN has no place.
func Compare(k batch.Kind, a, b *Value) int {
	switch k {
	case batch.Float, batch.Double:
		switch {
		case a.Float < b.Float:
			return -1
		case a.Float > b.Float:
			return 1
		default:
			return 0
		}
	case batch.String, batch.Binary, batch.JSON:
		return strings.Compare(a.Text, b.Text)
	case batch.Decimal:
		return cmp.Or(cmp.Compare(a.Decimal.Hi, b.Decimal.Hi), cmp.Compare(a.Decimal.Lo, b.Decimal.Lo))
	default:
		return cmp.Compare(a.Int, b.Int)
	}
}

// May reports whether a row within the bounds may satisfy the condition, which must fit the column's type.
func (c *Condition) May(k batch.Kind, b *Bounds) bool {
	if c.Op == IsNull {
		return b.Nulls != 0
	}
	if b.Nulls >= b.Rows {
		return false
	}
	above := func(i int) bool { // the value lies above all of the bounds
		v := At(&c.Values, k, i)
		return b.High != nil && Compare(k, &v, b.High) > 0
	}
	below := func(i int) bool {
		v := At(&c.Values, k, i)
		return b.Low != nil && Compare(k, &v, b.Low) < 0
	}
	switch c.Op {
	case In:
		if n := c.values(k); c.Sorted {
			first := sort.Search(n, func(i int) bool { return !below(i) })
			return first < n && !above(first)
		}
		for i := range c.values(k) {
			if !above(i) && !below(i) {
				return true
			}
		}
		return false
	case Less:
		v := At(&c.Values, k, 0)
		return b.Low == nil || Compare(k, b.Low, &v) < 0
	case LessEqual:
		return !below(0)
	case Greater:
		v := At(&c.Values, k, 0)
		return b.High == nil || Compare(k, b.High, &v) > 0
	case GreaterEqual:
		return !above(0)
	default: // NotNull
		return true
	}
}
