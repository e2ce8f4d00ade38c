package parquet

import (
	"encoding/binary"
	"fmt"

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
)

// check refuses a file column that cannot be read as the table's column without changing its values, and returns the
// unit of its timestamps.
func check(f batch.Field, leaf pq.LeafColumn) (unit microsecond, err error) {
	if leaf.MaxRepetitionLevel > 0 || leaf.MaxDefinitionLevel > 1 {
		return unit, fmt.Errorf("read column %q: nested Parquet columns are not supported", f.Name)
	}
	typ := leaf.Node.Type()
	kind := typ.Kind()
	var fits bool
	switch f.Type.Kind {
	case batch.Boolean:
		fits = kind == pq.Boolean
	case batch.Byte, batch.Short, batch.Integer, batch.Date:
		fits = kind == pq.Int32
	case batch.Long:
		fits = kind == pq.Int64 || kind == pq.Int32
	case batch.Timestamp:
		unit, fits = timestampUnit(typ)
	case batch.Float, batch.Double:
		fits = kind == pq.Float || kind == pq.Double
	case batch.Decimal:
		fits = decimalScale(typ) == f.Type.Scale && (kind == pq.Int32 || kind == pq.Int64 || kind == pq.FixedLenByteArray || kind == pq.ByteArray)
	default:
		fits = kind == pq.ByteArray
	}
	if !fits {
		return unit, fmt.Errorf("read column %q: the file holds %s, which is no %s", f.Name, typ, f.Type)
	}
	return unit, nil
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

// timestamps appends values [from, to) as microseconds. Nanoseconds are cut to the microsecond before.
func (c *columnReader) timestamps(col *batch.Column, v *values, from, to int) error {
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
func decimals(col *batch.Column, v *values, from, to int) error {
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
