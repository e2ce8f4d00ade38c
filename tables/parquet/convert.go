package parquet

import (
	"encoding/binary"
	"fmt"
	"math/big"
	"slices"

	pq "github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/format"

	"smelt/tables/batch"
)

// microsecond says how a file's timestamps become microseconds: times for coarser units, per for finer ones.
type microsecond struct{ times, per int64 }

const (
	unixEpochJulianDay = 2440588 // the Julian day of 1970-01-01, from which INT96 timestamps count
	microsPerDay       = 24 * 60 * 60 * 1e6
	maxExact           = 1 << 53 // every whole number up to it is a double
)

// conversion says how the values of a file's column become those of a table's column. The file may be older than the
// table: Delta widens types without rewriting files.
type conversion struct {
	typ   batch.Type
	unit  microsecond // for timestamps
	shift int         // decimal digits to append to an unscaled decimal
	days  bool        // the file holds dates, the table timestamps
}

// convert refuses a file column that cannot be read as the table's column without changing its values.
func convert(t batch.Type, typ pq.Type) (conversion, error) {
	c := conversion{typ: t}
	kind := typ.Kind()
	var fits bool
	switch t.Kind {
	case batch.Boolean:
		fits = kind == pq.Boolean
	case batch.Byte, batch.Short, batch.Integer, batch.Date:
		fits = kind == pq.Int32
	case batch.Long:
		fits = kind == pq.Int64 || kind == pq.Int32
	case batch.Timestamp:
		if c.days = isDate(typ); c.days {
			return c, nil
		}
		c.unit, fits = timestampUnit(typ)
	case batch.Float:
		fits = kind == pq.Float
	case batch.Double:
		fits = kind == pq.Double || kind == pq.Float || kind == pq.Int32 || kind == pq.Int64 && wholeNumber(typ)
	case batch.Decimal:
		c.shift, fits = decimalShift(t, typ)
	case batch.Binary:
		fits = kind == pq.ByteArray || kind == pq.FixedLenByteArray
	default:
		fits = kind == pq.ByteArray
	}
	if !fits {
		return c, fmt.Errorf("the file holds %s, which is no %s", typ, t)
	}
	return c, nil
}

// isDate reports whether a column holds days since 1970.
func isDate(typ pq.Type) bool {
	if l := typ.LogicalType(); l != nil {
		_, ok := l.Value.(*format.DateType)
		return ok
	}
	c := typ.ConvertedType()
	return c != nil && *c == deprecated.Date
}

// wholeNumber reports whether 64 bits mean no more than a number with a sign.
func wholeNumber(typ pq.Type) bool {
	if l := typ.LogicalType(); l != nil {
		n, ok := l.Value.(*format.IntType)
		return ok && n.IsSigned
	}
	c := typ.ConvertedType()
	return c == nil || *c == deprecated.Int64
}

// decimalShift returns how many digits a file's decimals or integers lack behind the point.
func decimalShift(t batch.Type, typ pq.Type) (int, bool) {
	scale, kind := decimalScale(typ), typ.Kind()
	if scale < 0 && (kind == pq.Int32 || kind == pq.Int64) {
		scale = 0
	}
	fits := kind == pq.Int32 || kind == pq.Int64 || kind == pq.FixedLenByteArray || kind == pq.ByteArray
	return t.Scale - scale, fits && scale >= 0 && scale <= t.Scale
}

// timestampUnit reads the unit from either of the annotations that writers have used, or knows INT96 by itself.
func timestampUnit(typ pq.Type) (microsecond, bool) {
	if typ.Kind() == pq.Int96 {
		return microsecond{}, true
	}
	if typ.Kind() != pq.Int64 {
		return microsecond{}, false
	}
	if l := typ.LogicalType(); l != nil {
		if t, ok := l.Value.(*format.TimestampType); ok {
			switch t.Unit.Value.(type) {
			case *format.MilliSeconds:
				return microsecond{times: 1000, per: 1}, true
			case *format.MicroSeconds:
				return microsecond{times: 1, per: 1}, true
			case *format.NanoSeconds:
				return microsecond{times: 1, per: 1000}, true
			}
		}
	}
	if c := typ.ConvertedType(); c != nil {
		switch *c {
		case deprecated.TimestampMillis:
			return microsecond{times: 1000, per: 1}, true
		case deprecated.TimestampMicros:
			return microsecond{times: 1, per: 1}, true
		}
	}
	return microsecond{}, false
}

// decimalScale returns the digits behind the point of a decimal column, or -1 for a column that is no decimal.
func decimalScale(typ pq.Type) int {
	if l := typ.LogicalType(); l != nil {
		if d, ok := l.Value.(*format.DecimalType); ok {
			return int(d.Scale)
		}
	}
	return -1
}

// dense appends values [from, from+n) of a page.
func (c *conversion) dense(col *batch.Column, v *values, from, n int) error {
	if n == 0 {
		return nil // a page without values has no slices
	}
	to := from + n
	switch c.typ.Kind {
	case batch.Boolean:
		for i := from; i < to; i++ {
			col.Bools = append(col.Bools, v.bits[i/8]&(1<<(i%8)) != 0)
		}
	case batch.Float, batch.Double:
		switch {
		case v.doubles != nil:
			col.Floats = append(col.Floats, v.doubles[from:to]...)
		case v.int32s != nil:
			col.Floats = appendAs(col.Floats, v.int32s[from:to])
		case v.int64s != nil:
			for _, x := range v.int64s[from:to] {
				if x > maxExact || x < -maxExact {
					return fmt.Errorf("the file holds %d, which no double is sure to hold", x)
				}
				col.Floats = append(col.Floats, float64(x))
			}
		default:
			col.Floats = appendAs(col.Floats, v.floats[from:to])
		}
	case batch.Timestamp:
		return c.timestamps(col, v, from, to)
	case batch.Decimal:
		return c.decimals(col, v, from, to)
	case batch.String, batch.Binary, batch.JSON:
		if v.fixed != nil {
			for i := from; i < to; i++ {
				col.Strings = append(col.Strings, string(v.raw(i)))
			}
			return nil
		}
		had := len(col.Strings)
		col.Strings = slices.Grow(col.Strings, n)[:had+n]
		out, ends, at := col.Strings[had:], v.ends[from+1:to+1], v.ends[from]
		for i, end := range ends {
			out[i] = v.text[at:end]
			at = end
		}
	default:
		if v.int64s != nil {
			col.Ints = append(col.Ints, v.int64s[from:to]...)
		} else {
			col.Ints = appendAs(col.Ints, v.int32s[from:to])
		}
	}
	return nil
}

func appendAs[To, From int32 | int64 | float32 | float64](out []To, in []From) []To {
	out = slices.Grow(out, len(in))
	for _, x := range in {
		out = append(out, To(x))
	}
	return out
}

// timestamps appends values [from, to) as microseconds. Nanoseconds are cut to the microsecond before.
func (c *conversion) timestamps(col *batch.Column, v *values, from, to int) error {
	if c.days {
		for _, x := range v.int32s[from:to] {
			col.Ints = append(col.Ints, int64(x)*microsPerDay)
		}
		return nil
	}
	if v.int96s != nil {
		for _, x := range v.int96s[from:to] {
			nanos := int64(uint64(x[1])<<32 | uint64(x[0]))
			col.Ints = append(col.Ints, (int64(int32(x[2]))-unixEpochJulianDay)*microsPerDay+floorDiv(nanos, 1000))
		}
		return nil
	}
	switch {
	case c.unit.per == 1000:
		for _, x := range v.int64s[from:to] {
			col.Ints = append(col.Ints, floorDiv(x, 1000))
		}
	case c.unit.times == 1000:
		for _, x := range v.int64s[from:to] {
			if x > maxMillis || x < -maxMillis {
				return fmt.Errorf("timestamp of %d ms does not fit microseconds", x)
			}
			col.Ints = append(col.Ints, x*1000)
		}
	default:
		col.Ints = append(col.Ints, v.int64s[from:to]...)
	}
	return nil
}

// maxMillis is the largest count of milliseconds that 64 bits of microseconds can hold.
const maxMillis = (1<<63 - 1) / 1000

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// decimals appends the unscaled values [from, to), whatever their width in the file.
func (c *conversion) decimals(col *batch.Column, v *values, from, to int) error {
	for i := from; i < to; i++ {
		var d batch.Int128
		switch {
		case v.int32s != nil:
			d = widen(int64(v.int32s[i]))
		case v.int64s != nil:
			d = widen(v.int64s[i])
		default:
			raw := v.raw(i)
			if len(raw) > wideBytes || len(raw) == 0 {
				return fmt.Errorf("a decimal of %d bytes does not fit 128 bits", len(raw))
			}
			d = bigEndian(raw)
		}
		if c.shift > 0 {
			var ok bool
			if d, ok = shifted(d, c.shift); !ok {
				return fmt.Errorf("a decimal with %d digits more does not fit 128 bits", c.shift)
			}
		}
		col.Decimals = append(col.Decimals, d)
	}
	return nil
}

// raw returns the bytes of value i of a page of byte arrays of either kind.
func (v *values) raw(i int) []byte {
	if v.fixed != nil {
		return v.fixed[i*v.width : (i+1)*v.width]
	}
	return []byte(v.text[v.ends[i]:v.ends[i+1]])
}

// length returns how many values a column of the type has.
func (c *conversion) length(col *batch.Column) int {
	switch c.typ.Kind {
	case batch.Boolean:
		return len(col.Bools)
	case batch.Float, batch.Double:
		return len(col.Floats)
	case batch.Decimal:
		return len(col.Decimals)
	case batch.String, batch.Binary, batch.JSON:
		return len(col.Strings)
	default:
		return len(col.Ints)
	}
}

// shifted returns d times 10^digits.
func shifted(d batch.Int128, digits int) (batch.Int128, bool) {
	factor := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(digits)), nil)
	return batch.Int128FromBig(factor.Mul(factor, d.Big()))
}

func widen(n int64) batch.Int128 { return batch.Int128{Hi: n >> 63, Lo: uint64(n)} }

// bigEndian reads 1 to 16 bytes of two's complement.
func bigEndian(raw []byte) batch.Int128 {
	var full [wideBytes]byte
	if raw[0]&0x80 != 0 {
		for i := range full {
			full[i] = 0xFF
		}
	}
	copy(full[wideBytes-len(raw):], raw)
	return batch.Int128{Hi: int64(binary.BigEndian.Uint64(full[:8])), Lo: binary.BigEndian.Uint64(full[8:])}
}
