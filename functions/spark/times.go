package spark

import (
	"strings"
	"time"

	"github.com/dolthub/go-mysql-server/sql/types"
	"github.com/shopspring/decimal"
)

// timeFunctions are about times. All times are UTC; a text without a zone is UTC.
var timeFunctions = map[string]spec{
	"to_timestamp":         {least: 1, most: 2, typ: timestamp, description: "the time that a text holds, by a pattern of Java", eval: parsed(toTimestamp)},
	"try_to_timestamp":     {least: 1, most: 2, typ: timestamp, description: "the time that a text holds, by a pattern of Java", eval: parsed(toTimestamp)},
	"to_date":              {least: 1, most: 2, typ: types.Date, description: "the date that a text holds, by a pattern of Java", eval: parsed(toDate)},
	"smelt_unix_timestamp": {least: 2, most: 2, typ: types.Int64, description: "the seconds from 1970 to the time that a text holds, by a pattern of Java", eval: unixTimestamp},
	"smelt_date_format":    {least: 2, most: 2, typ: types.LongText, description: "a time as text, by a pattern of Java", eval: dateFormat},
	"smelt_from_unixtime":  {least: 2, most: 2, typ: types.LongText, description: "seconds since 1970 as text, by a pattern of Java", eval: dateFormat},
	"date_trunc":           {least: 2, most: 2, typ: timestamp, description: "the beginning of the hour, day and so on of a time", eval: dateTrunc},
	"timestamp_seconds":    {least: 1, most: 1, typ: timestamp, description: "the time that is so many seconds after 1970", eval: since(0)},
	"timestamp_millis":     {least: 1, most: 1, typ: timestamp, description: "the time that is so many milliseconds after 1970", eval: since(3)},
	"timestamp_micros":     {least: 1, most: 1, typ: timestamp, description: "the time that is so many microseconds after 1970", eval: since(6)},
}

// plainLayouts are the texts that CAST AS TIMESTAMP takes, without the fraction of a second.
var plainLayouts = []string{"2006-1-2 15:4:5", "2006-1-2T15:4:5", "2006-1-2 15:4", "2006-1-2T15:4", "2006-1-2", "2006-1", "2006"}

// plainTime reads a text as CAST AS TIMESTAMP does: date, time and fraction as far as they are there, and a zone.
func plainTime(text string) (time.Time, bool) {
	text = strings.TrimSpace(text)
	var zone time.Duration
	if at := strings.IndexByte(text, ':'); at > 0 {
		rest, offset, ok := cutZone(text)
		if !ok {
			return time.Time{}, false
		}
		text, zone = rest, offset
	}
	for _, layout := range plainLayouts {
		if at, err := time.Parse(layout, text); err == nil {
			return inRange(at.Add(-zone).Truncate(time.Microsecond))
		}
	}
	return time.Time{}, false
}

// cutZone takes Z, UTC, +05:30 and the like off the end of a time.
func cutZone(text string) (rest string, offset time.Duration, ok bool) {
	if i := strings.LastIndexAny(text, "+-"); i > len("2006-1-2") {
		offset, n, ok := parseOffset(text[i:])
		return strings.TrimSpace(text[:i]), offset, ok && i+n == len(text)
	}
	cut := strings.TrimRightFunc(text, func(r rune) bool { return r >= 'A' && r <= 'Z' })
	if cut == text {
		return text, 0, true
	}
	offset, ok = zoneOffset(text[len(cut):])
	return strings.TrimSpace(cut), offset, ok
}

// parsed reads its first argument by the pattern in the second, if there is one.
func parsed(convert func([]any) (any, error)) func([]any) (any, error) {
	return func(args []any) (any, error) {
		if _, isTime := args[0].(time.Time); isTime || len(args) == 1 {
			return convert(args[:1])
		}
		list, err := texts(args)
		if err != nil {
			return nil, err
		}
		p, err := javaPattern(list[1])
		if err != nil {
			return nil, err
		}
		at, ok := p.parse(list[0])
		if !ok {
			return nil, nil
		}
		return convert([]any{at})
	}
}

func unixTimestamp(args []any) (any, error) {
	at, err := parsed(toTimestamp)(args)
	if t, ok := at.(time.Time); ok && err == nil {
		return t.Unix(), nil
	}
	return nil, err
}

func dateFormat(args []any) (any, error) {
	at, ok := timeOf(args[0])
	if !ok {
		return nil, nil
	}
	format, err := textOf(args[1])
	if err != nil {
		return nil, err
	}
	p, err := javaPattern(format)
	if err != nil {
		return nil, err
	}
	return p.format(at), nil
}

func dateTrunc(args []any) (any, error) {
	unit, err := textOf(args[0])
	if err != nil {
		return nil, err
	}
	at, ok := timeOf(args[1])
	if !ok {
		return nil, nil
	}
	year, month, day := at.Date()
	midnight := func(y int, m time.Month, d int) (any, error) { return time.Date(y, m, d, 0, 0, 0, 0, time.UTC), nil }
	switch strings.ToUpper(unit) {
	case "YEAR", "YYYY", "YY":
		return midnight(year, 1, 1)
	case "QUARTER":
		return midnight(year, month-(month-1)%3, 1)
	case "MONTH", "MM", "MON":
		return midnight(year, month, 1)
	case "WEEK":
		return midnight(year, month, day-(int(at.Weekday())+6)%7)
	case "DAY", "DD":
		return midnight(year, month, day)
	case "HOUR":
		return at.Truncate(time.Hour), nil
	case "MINUTE":
		return at.Truncate(time.Minute), nil
	case "SECOND":
		return at.Truncate(time.Second), nil
	case "MILLISECOND":
		return at.Truncate(time.Millisecond), nil
	case "MICROSECOND":
		return at.Truncate(time.Microsecond), nil
	}
	return nil, nil // as Spark answers for a unit that is none
}

// since is a time by a number whose last so many digits are fractions of a second.
func since(digits int32) func([]any) (any, error) {
	return func(args []any) (any, error) {
		n, ok := numberOf(args[0])
		if !ok {
			return nil, nil
		}
		micros := n.Shift(6 - digits).Truncate(0)
		if micros.Abs().GreaterThan(decimal.New(1, 18)) {
			return nil, nil
		}
		at, ok := inRange(time.UnixMicro(micros.IntPart()).UTC())
		if !ok {
			return nil, nil
		}
		return at, nil
	}
}
