package lineage

import (
	"encoding/base64"
	"encoding/json"
	"math"
	"math/big"
	"strconv"
	"strings"
	"time"

	"smelt/tables"
)

// Layouts of times in JSON and in keys, as MySQL prints them.
const (
	dateLayout = "2006-01-02"
	timeLayout = "2006-01-02 15:04:05.999999"
)

// JSON renders a row as an object, keys in the order of its columns.
func JSON(b *tables.Batch, row int) string {
	var out strings.Builder
	out.WriteByte('{')
	for i, f := range b.Schema {
		if i > 0 {
			out.WriteString(", ")
		}
		out.WriteString(quoted(f.Name) + ": " + cellJSON(b, i, row))
	}
	out.WriteByte('}')
	return out.String()
}

func quoted(s string) string {
	var out strings.Builder
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // a string always encodes
	return strings.TrimSuffix(out.String(), "\n")
}

func cellJSON(b *tables.Batch, column, row int) string {
	c := &b.Columns[column]
	if c.Null(row) {
		return "null"
	}
	switch t := b.Schema[column].Type; t.Kind {
	case tables.Boolean:
		return strconv.FormatBool(c.Bools[row])
	case tables.Float, tables.Double:
		v := c.Floats[row]
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return quoted(strconv.FormatFloat(v, 'g', -1, 64))
		}
		return strconv.FormatFloat(v, 'g', -1, 64)
	case tables.JSON:
		if json.Valid([]byte(c.Strings[row])) {
			return c.Strings[row]
		}
		return quoted(c.Strings[row])
	case tables.String:
		return quoted(c.Strings[row])
	case tables.Binary:
		return quoted(base64.StdEncoding.EncodeToString([]byte(c.Strings[row])))
	case tables.Decimal:
		return decimalText(c.Decimals[row].Big(), t.Scale)
	case tables.Date:
		return quoted(time.Unix(c.Ints[row]*24*60*60, 0).UTC().Format(dateLayout))
	case tables.Timestamp:
		return quoted(time.UnixMicro(c.Ints[row]).UTC().Format(timeLayout))
	default:
		return strconv.FormatInt(c.Ints[row], 10)
	}
}

func decimalText(v *big.Int, scale int) string {
	digits := new(big.Int).Abs(v).String()
	if len(digits) <= scale {
		digits = strings.Repeat("0", scale-len(digits)+1) + digits
	}
	if scale > 0 {
		digits = digits[:len(digits)-scale] + "." + digits[len(digits)-scale:]
	}
	if v.Sign() < 0 {
		return "-" + digits
	}
	return digits
}

// key is the values of some columns of a row: equal for equal values, also of another kind of number.
func key(b *tables.Batch, row int, columns []int) string {
	var out strings.Builder
	for _, i := range columns {
		text := cellJSON(b, i, row)
		switch b.Schema[i].Type.Kind {
		case tables.Boolean:
			text = map[string]string{"true": "1", "false": "0", "null": "null"}[text]
		case tables.Decimal:
			if strings.Contains(text, ".") {
				text = strings.TrimSuffix(strings.TrimRight(text, "0"), ".")
			}
		case tables.Float, tables.Double:
			if v := b.Columns[i].Floats; text != "null" && v[row] == math.Trunc(v[row]) && math.Abs(v[row]) < 1<<53 {
				text = strconv.FormatInt(int64(v[row]), 10)
			}
		}
		out.WriteString(strconv.Itoa(len(text)) + ":" + text)
	}
	return out.String()
}

// every lists the columns of a batch.
func every(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}
