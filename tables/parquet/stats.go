package parquet

import (
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"strings"
	"time"

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

	secondsPerDay = 24 * 60 * 60
	firstDay      = -719162 // 0001-01-01
	lastDay       = 2932896 // 9999-12-31
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
	minWide, maxWide batch.Int128
	unordered        bool // a NaN was seen: no bounds
}

func newStats(schema batch.Schema) *stats {
	return &stats{schema: schema, column: make([]columnStats, len(schema))}
}

// add counts n values of column c.
func (s *stats) add(c int, col *batch.Column, n int) {
	cs, kind := &s.column[c], s.schema[c].Type.Kind
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
			if i > 0 && cs.seen && col.Strings[i] == col.Strings[i-1] && !col.Null(i-1) {
				continue
			}
			cs.minS, cs.maxS = widened(cs.seen, cs.minS, cs.maxS, col.Strings[i])
		case batch.Decimal:
			cs.addWide(col.Decimals[i])
		default:
			cs.minInt, cs.maxInt = widened(cs.seen, cs.minInt, cs.maxInt, col.Ints[i])
		}
		cs.seen = true
	}
}

// widened returns bounds that hold v too.
func widened[T int64 | string](seen bool, lowest, highest, v T) (T, T) {
	if !seen {
		return v, v
	}
	if v < lowest {
		lowest = v
	}
	if v > highest {
		highest = v
	}
	return lowest, highest
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

func (cs *columnStats) addWide(v batch.Int128) {
	if !cs.seen || less(v, cs.minWide) {
		cs.minWide = v
	}
	if !cs.seen || less(cs.maxWide, v) {
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
		return day(cs.minInt), day(cs.maxInt), inCalendar(cs.minInt) && inCalendar(cs.maxInt)
	case batch.Timestamp:
		// Statistics have milliseconds: the lower bound is cut, the upper one raised.
		const ms = int64(time.Millisecond / time.Microsecond)
		floor := cs.minInt - mod(cs.minInt, ms)
		ceil := cs.maxInt
		if m := mod(ceil, ms); m != 0 {
			ceil += ms - m
		}
		ok := inCalendar(floorDiv(floor, microsPerDay)) && inCalendar(floorDiv(ceil, microsPerDay))
		return time.UnixMicro(floor).UTC().Format(statTime), time.UnixMicro(ceil).UTC().Format(statTime), ok
	case batch.Float, batch.Double:
		if cs.unordered || math.IsInf(cs.minF, 0) || math.IsInf(cs.maxF, 0) {
			return nil, nil, false
		}
		return cs.minF, cs.maxF, true
	case batch.Decimal:
		return json.Number(decimalText(cs.minWide.Big(), t.Scale)), json.Number(decimalText(cs.maxWide.Big(), t.Scale)), true
	case batch.String:
		lo, hi := cut(cs.minS), cut(cs.maxS)
		if hi == cs.maxS {
			return lo, hi, true
		}
		// What was cut off may begin with the tie-breaker itself: then there is no bound to give.
		return lo, hi + tieBreaker, !strings.HasPrefix(cs.maxS[len(hi):], tieBreaker)
	default:
		return nil, nil, false
	}
}

func day(days int64) string { return time.Unix(days*secondsPerDay, 0).UTC().Format(time.DateOnly) }

// inCalendar reports whether a day lies in the years 1 to 9999: others have no form that all readers know.
func inCalendar(days int64) bool { return days >= firstDay && days <= lastDay }

func mod(v, m int64) int64 { return ((v % m) + m) % m }

// cut shortens s to maxStatRunes characters.
func cut(s string) string {
	n := 0
	for i := range s {
		if n == maxStatRunes {
			return s[:i]
		}
		n++
	}
	return s
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
