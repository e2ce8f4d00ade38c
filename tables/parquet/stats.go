package parquet

import (
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"strings"
	"time"
	"unicode/utf8"

	"smelt/tables/batch"
	"smelt/tables/delta"
)

const (
	// maxStatColumns is how many leading columns carry minimum and maximum, Delta's own default.
	maxStatColumns = 32
	// maxStatRunes is where Delta cuts the strings of its statistics.
	maxStatRunes = 32
	// tieBreaker is appended to a cut maximum: no character sorts after it, so the bound stays an upper one.
	tieBreaker = "\U0010FFFF"
	// statTime is the form of timestamps in statistics: UTC, milliseconds.
	statTime = "2006-01-02T15:04:05.000Z"
)

// stats gathers, over all batches of a file, what Delta keeps beside it: counts, and bounds that may be wider than the
// values but never narrower.
type stats struct {
	schema batch.Schema
	rows   int64
	column []columnStats
}

type columnStats struct {
	nulls            int64
	seen             bool
	minInt, maxInt   int64
	minF, maxF       float64
	minS, maxS       string
	minWide, maxWide *big.Int
	unordered        bool // a NaN was seen: no bounds
}

func newStats(schema batch.Schema) *stats {
	return &stats{schema: schema, column: make([]columnStats, len(schema))}
}

func (s *stats) add(b *batch.Batch) {
	s.rows += int64(b.Len)
	for c := range b.Columns {
		s.column[c].add(&b.Columns[c], s.schema[c].Type.Kind, b.Len)
	}
}

func (cs *columnStats) add(col *batch.Column, kind batch.Kind, n int) {
	for i := range n {
		if col.Null(i) {
			cs.nulls++
			continue
		}
		switch kind {
		case batch.Boolean, batch.Binary, batch.JSON:
			continue
		case batch.Float, batch.Double:
			cs.addFloat(col.Floats[i])
		case batch.String:
			if v := col.Strings[i]; !cs.seen || v < cs.minS {
				cs.minS = v
			}
			if v := col.Strings[i]; !cs.seen || v > cs.maxS {
				cs.maxS = v
			}
		case batch.Decimal:
			cs.addWide(col.Decimals[i].Big())
		default:
			v := col.Ints[i]
			if !cs.seen || v < cs.minInt {
				cs.minInt = v
			}
			if !cs.seen || v > cs.maxInt {
				cs.maxInt = v
			}
		}
		cs.seen = true
	}
}

func (cs *columnStats) addFloat(v float64) {
	if math.IsNaN(v) {
		cs.unordered = true
		return
	}
	if !cs.seen || v < cs.minF {
		cs.minF = v
	}
	if !cs.seen || v > cs.maxF {
		cs.maxF = v
	}
}

func (cs *columnStats) addWide(v *big.Int) {
	if cs.minWide == nil || v.Cmp(cs.minWide) < 0 {
		cs.minWide = v
	}
	if cs.maxWide == nil || v.Cmp(cs.maxWide) > 0 {
		cs.maxWide = v
	}
}

// json renders the statistics as the text of an add action.
func (s *stats) json() (string, error) {
	out := delta.Stats{NumRecords: s.rows, MinValues: map[string]any{}, MaxValues: map[string]any{}, NullCount: map[string]int64{}}
	for c, f := range s.schema {
		if c >= maxStatColumns {
			break
		}
		cs := &s.column[c]
		out.NullCount[f.Name] = cs.nulls
		if lo, hi, ok := cs.bounds(f.Type); ok {
			out.MinValues[f.Name], out.MaxValues[f.Name] = lo, hi
		}
	}
	text, err := json.Marshal(out)
	if err != nil {
		return "", fmt.Errorf("encode statistics: %w", err)
	}
	return string(text), nil
}

func (cs *columnStats) bounds(t batch.Type) (lo, hi any, ok bool) {
	if !cs.seen {
		return nil, nil, false
	}
	switch t.Kind {
	case batch.Byte, batch.Short, batch.Integer, batch.Long:
		return cs.minInt, cs.maxInt, true
	case batch.Date:
		return day(cs.minInt), day(cs.maxInt), true
	case batch.Timestamp:
		// Statistics have milliseconds: the lower bound is cut, the upper one raised.
		const ms = int64(time.Millisecond / time.Microsecond)
		floor := cs.minInt - mod(cs.minInt, ms)
		ceil := cs.maxInt
		if m := mod(ceil, ms); m != 0 {
			ceil += ms - m
		}
		return time.UnixMicro(floor).UTC().Format(statTime), time.UnixMicro(ceil).UTC().Format(statTime), true
	case batch.Float, batch.Double:
		if cs.unordered || math.IsInf(cs.minF, 0) || math.IsInf(cs.maxF, 0) {
			return nil, nil, false
		}
		return cs.minF, cs.maxF, true
	case batch.Decimal:
		return json.Number(decimalText(cs.minWide, t.Scale)), json.Number(decimalText(cs.maxWide, t.Scale)), true
	case batch.String:
		lo, _ := cut(cs.minS)
		hi, shortened := cut(cs.maxS)
		if shortened {
			hi += tieBreaker
		}
		return lo, hi, true
	default:
		return nil, nil, false
	}
}

func day(days int64) string { return time.Unix(days*86400, 0).UTC().Format(time.DateOnly) }

func mod(v, m int64) int64 { return ((v % m) + m) % m }

// cut shortens s to maxStatRunes characters. Invalid UTF-8 is cut away too: JSON could not hold it.
func cut(s string) (short string, shortened bool) {
	n := 0
	for i, r := range s {
		if n == maxStatRunes || r == utf8.RuneError {
			return s[:i], true
		}
		n++
	}
	return s, false
}

// decimalText writes an unscaled value with its point, such as -0.05 for -5 of scale 2.
func decimalText(v *big.Int, scale int) string {
	digits := new(big.Int).Abs(v).String()
	if scale > 0 {
		if len(digits) <= scale {
			digits = strings.Repeat("0", scale-len(digits)+1) + digits
		}
		digits = digits[:len(digits)-scale] + "." + digits[len(digits)-scale:]
	}
	if v.Sign() < 0 {
		return "-" + digits
	}
	return digits
}
