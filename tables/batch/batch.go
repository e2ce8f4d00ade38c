// Package batch is the columnar form in which rows travel between smelt's packages: a Schema, and a Batch with one typed
// slice a column. Package tables re-exports all of it under its own name; only its parts import this one directly.
package batch

import "math/big"

// Batch is a set of rows held by column. Columns[i] belongs to Schema[i] and has exactly Len values. A Batch that was
// handed to another package is never changed again by either side.
type Batch struct {
	Schema  Schema
	Columns []Column
	Len     int
}

// Column is the values of one field. Exactly one of the slices is in use, chosen by the field's Kind; a null has any
// value there and false in Valid.
type Column struct {
	Bools    []bool
	Ints     []int64
	Floats   []float64
	Strings  []string
	Decimals []Int128
	Valid    []bool // nil means that no value is null
}

// Int128 is a signed 128-bit integer in two's complement, the unscaled value of a decimal.
type Int128 struct {
	Hi int64
	Lo uint64
}

// Null reports whether value i is null.
func (c *Column) Null(i int) bool { return c.Valid != nil && !c.Valid[i] }

// New returns an empty batch of the schema with room for rows.
func New(schema Schema, rows int) *Batch {
	b := &Batch{Schema: schema, Columns: make([]Column, len(schema))}
	for i, f := range schema {
		b.Columns[i].grow(f.Type.Kind, rows)
	}
	return b
}

func (c *Column) grow(k Kind, rows int) {
	switch k {
	case Boolean:
		c.Bools = make([]bool, 0, rows)
	case Float, Double:
		c.Floats = make([]float64, 0, rows)
	case String, Binary, JSON:
		c.Strings = make([]string, 0, rows)
	case Decimal:
		c.Decimals = make([]Int128, 0, rows)
	default:
		c.Ints = make([]int64, 0, rows)
	}
}

// AppendNull appends a null of kind k to the column.
func (c *Column) AppendNull(k Kind) {
	if c.Valid == nil {
		c.Valid = make([]bool, c.len(k), c.len(k)+1)
		for i := range c.Valid {
			c.Valid[i] = true
		}
	}
	c.Valid = append(c.Valid, false)
	switch k {
	case Boolean:
		c.Bools = append(c.Bools, false)
	case Float, Double:
		c.Floats = append(c.Floats, 0)
	case String, Binary, JSON:
		c.Strings = append(c.Strings, "")
	case Decimal:
		c.Decimals = append(c.Decimals, Int128{})
	default:
		c.Ints = append(c.Ints, 0)
	}
}

func (c *Column) valid() {
	if c.Valid != nil {
		c.Valid = append(c.Valid, true)
	}
}

// AppendBool appends a non-null value to a Boolean column.
func (c *Column) AppendBool(v bool) { c.Bools = append(c.Bools, v); c.valid() }

// AppendInt appends a non-null value to a Byte, Short, Integer, Long, Date or Timestamp column.
func (c *Column) AppendInt(v int64) { c.Ints = append(c.Ints, v); c.valid() }

// AppendFloat appends a non-null value to a Float or Double column.
func (c *Column) AppendFloat(v float64) { c.Floats = append(c.Floats, v); c.valid() }

// AppendString appends a non-null value to a String, Binary or JSON column.
func (c *Column) AppendString(v string) { c.Strings = append(c.Strings, v); c.valid() }

// AppendDecimal appends a non-null unscaled value to a Decimal column.
func (c *Column) AppendDecimal(v Int128) { c.Decimals = append(c.Decimals, v); c.valid() }

func (c *Column) len(k Kind) int {
	switch k {
	case Boolean:
		return len(c.Bools)
	case Float, Double:
		return len(c.Floats)
	case String, Binary, JSON:
		return len(c.Strings)
	case Decimal:
		return len(c.Decimals)
	default:
		return len(c.Ints)
	}
}

// Big returns v as a big integer.
func (v Int128) Big() *big.Int {
	b := new(big.Int).Lsh(big.NewInt(v.Hi), 64)
	return b.Or(b, new(big.Int).SetUint64(v.Lo))
}

// Int128FromBig returns b as an Int128; ok is false if it needs more than 128 bits.
func Int128FromBig(b *big.Int) (v Int128, ok bool) {
	if b.BitLen() > 127 {
		return Int128{}, false
	}
	lo := new(big.Int).And(b, new(big.Int).SetUint64(^uint64(0)))
	hi := new(big.Int).Rsh(b, 64)
	return Int128{Hi: hi.Int64(), Lo: lo.Uint64()}, true
}

// Append appends the rows of other, which must have the same schema.
func (b *Batch) Append(other *Batch) {
	for i := range b.Columns {
		b.Columns[i].extend(&other.Columns[i], b.Schema[i].Type.Kind, b.Len, other.Len)
	}
	b.Len += other.Len
}

// extend appends n values of other to a column of had values.
func (c *Column) extend(other *Column, k Kind, had, n int) {
	if c.Valid != nil || other.Valid != nil {
		if c.Valid == nil {
			c.Valid = make([]bool, had, had+n)
			for i := range c.Valid {
				c.Valid[i] = true
			}
		}
		if other.Valid != nil {
			c.Valid = append(c.Valid, other.Valid...)
		} else {
			for range n {
				c.Valid = append(c.Valid, true)
			}
		}
	}
	switch k {
	case Boolean:
		c.Bools = append(c.Bools, other.Bools...)
	case Float, Double:
		c.Floats = append(c.Floats, other.Floats...)
	case String, Binary, JSON:
		c.Strings = append(c.Strings, other.Strings...)
	case Decimal:
		c.Decimals = append(c.Decimals, other.Decimals...)
	default:
		c.Ints = append(c.Ints, other.Ints...)
	}
}

// Filter returns the rows for which keep is true; keep has one value for each row.
func (b *Batch) Filter(keep []bool) *Batch {
	rows := make([]int, 0, len(keep))
	for row, k := range keep {
		if k {
			rows = append(rows, row)
		}
	}
	return b.Pick(rows)
}

// Pick returns the rows at these places, in their order.
func (b *Batch) Pick(rows []int) *Batch {
	out := &Batch{Schema: b.Schema, Columns: make([]Column, len(b.Columns)), Len: len(rows)}
	for i := range b.Columns {
		from, to := &b.Columns[i], &out.Columns[i]
		to.Valid = pick(from.Valid, rows)
		to.Bools = pick(from.Bools, rows)
		to.Ints = pick(from.Ints, rows)
		to.Floats = pick(from.Floats, rows)
		to.Strings = pick(from.Strings, rows)
		to.Decimals = pick(from.Decimals, rows)
	}
	return out
}

func pick[T any](values []T, rows []int) []T {
	if values == nil {
		return nil
	}
	out := make([]T, len(rows))
	for i, row := range rows {
		out[i] = values[row]
	}
	return out
}
