package spark

import (
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/dolthub/go-mysql-server/sql/types"
	"github.com/shopspring/decimal"
)

// castFunctions are what CAST and TRY_CAST to types of Spark's become. A number loses what stands behind its point.
var castFunctions = map[string]spec{
	"smelt_cast_tinyint":   {least: 1, most: 1, typ: types.Int8, description: "CAST AS TINYINT, or NULL", eval: toWhole(math.MinInt8, math.MaxInt8, func(n int64) any { return int8(n) })},
	"smelt_cast_smallint":  {least: 1, most: 1, typ: types.Int16, description: "CAST AS SMALLINT, or NULL", eval: toWhole(math.MinInt16, math.MaxInt16, func(n int64) any { return int16(n) })},
	"smelt_cast_int":       {least: 1, most: 1, typ: types.Int32, description: "CAST AS INT, or NULL", eval: toWhole(math.MinInt32, math.MaxInt32, func(n int64) any { return int32(n) })},
	"smelt_cast_bigint":    {least: 1, most: 1, typ: types.Int64, description: "CAST AS BIGINT, or NULL", eval: toWhole(math.MinInt64, math.MaxInt64, func(n int64) any { return n })},
	"smelt_cast_double":    {least: 1, most: 1, typ: types.Float64, description: "CAST AS DOUBLE, or NULL", eval: toDouble},
	"smelt_number":         {least: 1, most: 1, typ: types.LongText, description: "a text that is a number, or NULL", eval: numeral},
	"smelt_cast_boolean":   {least: 1, most: 1, typ: types.Boolean, description: "CAST AS BOOLEAN, or NULL", eval: func(args []any) (any, error) { return truthOf(args[0]), nil }},
	"smelt_cast_timestamp": {least: 1, most: 1, typ: timestamp, description: "CAST AS TIMESTAMP, or NULL", eval: toTimestamp},
	"smelt_cast_date":      {least: 1, most: 1, typ: types.Date, description: "CAST AS DATE, or NULL", eval: toDate},
}

// numberOf reads a value as a number; ok is false for what is none.
func numberOf(v any) (n decimal.Decimal, ok bool) {
	switch v := v.(type) {
	case decimal.Decimal:
		return v, true
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return n, false
		}
		return decimal.NewFromFloat(v), true
	case float32:
		return numberOf(float64(v))
	case bool:
		if v {
			return decimal.NewFromInt(1), true
		}
		return decimal.Zero, true
	case time.Time:
		return decimal.NewFromInt(v.UnixMicro()).Shift(-6), true
	}
	text, err := textOf(v)
	if err != nil {
		return n, false
	}
	text = strings.Trim(strings.TrimSpace(text), `"`)
	const maxDigits = 400 // more than a double has; an exponent beyond would fill the memory with zeros
	if len(text) == 0 || len(text) > maxDigits {
		return n, false
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsInf(f, 0) || math.IsNaN(f) || strings.ContainsAny(text, "xX_pP") {
		return n, false
	}
	n, err = decimal.NewFromString(text)
	return n, err == nil && n.Exponent() > -maxDigits
}

func toWhole(least, most int64, result func(int64) any) func([]any) (any, error) {
	low, high := decimal.NewFromInt(least), decimal.NewFromInt(most)
	return func(args []any) (any, error) {
		if text, isText := args[0].(string); isText { // the common case, without a decimal
			if n, err := strconv.ParseInt(text, 10, 64); err == nil {
				if n < least || n > most {
					return nil, nil
				}
				return result(n), nil
			}
		}
		n, ok := numberOf(args[0])
		if !ok {
			return nil, nil
		}
		if n = n.Truncate(0); n.LessThan(low) || n.GreaterThan(high) {
			return nil, nil
		}
		return result(n.IntPart()), nil
	}
}

func toDouble(args []any) (any, error) {
	if f, ok := args[0].(float64); ok {
		return f, nil
	}
	text, err := textOf(args[0])
	if err != nil {
		return nil, err
	}
	f, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if err != nil || strings.ContainsAny(text, "xX_pP") {
		return nil, nil
	}
	return f, nil
}

func numeral(args []any) (any, error) {
	n, ok := numberOf(args[0])
	if !ok {
		return nil, nil
	}
	return n.String(), nil
}

// truthOf reads a value as a condition: 1, 0, or nil for what is neither.
func truthOf(v any) any {
	switch v := v.(type) {
	case nil:
		return nil
	case bool:
		return truth(v)
	case string:
		switch strings.ToLower(strings.TrimSpace(v)) {
		case "true", "t", "yes", "y", "1":
			return truth(true)
		case "false", "f", "no", "n", "0":
			return truth(false)
		}
	}
	if n, ok := numberOf(v); ok {
		return truth(!n.IsZero())
	}
	text, err := textOf(v)
	if err != nil {
		return nil
	}
	if unquoted := strings.Trim(text, `"`); unquoted == "true" || unquoted == "false" {
		return truth(unquoted == "true")
	}
	return nil
}

func toTimestamp(args []any) (any, error) {
	at, ok := timeOf(args[0])
	if !ok {
		return nil, nil
	}
	return at, nil
}

func toDate(args []any) (any, error) {
	at, ok := timeOf(args[0])
	if !ok {
		return nil, nil
	}
	return at.Truncate(24 * time.Hour), nil
}

// timeOf reads a value as a time: a time, seconds since 1970, or a text as Spark's CAST takes it.
func timeOf(v any) (time.Time, bool) {
	switch v := v.(type) {
	case time.Time:
		return v.UTC(), true
	case string:
		return plainTime(v)
	case []byte:
		return plainTime(string(v))
	}
	n, ok := numberOf(v)
	if !ok {
		text, err := textOf(v)
		if err != nil {
			return time.Time{}, false
		}
		return plainTime(strings.Trim(text, `"`))
	}
	micros := n.Shift(6).Truncate(0)
	if micros.Abs().GreaterThan(decimal.New(1, 18)) {
		return time.Time{}, false
	}
	return inRange(time.UnixMicro(micros.IntPart()).UTC())
}

// inRange refuses what MySQL's DATETIME cannot hold.
func inRange(at time.Time) (time.Time, bool) {
	return at, at.Year() >= 0 && at.Year() <= 9999
}
