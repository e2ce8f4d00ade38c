package autoload

import (
	"encoding/json"
	"fmt"
	"math/big"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"smelt/tables"
)

// plain is the kind of a value that is text without quotes, as CSV has it: it fits a column if it reads as its type.
const plain jsontext.Kind = 'x'

// value is one value by its text, so that numbers stay exact. The zero value is a field that is not there.
type value struct {
	kind jsontext.Kind // n t f " 0 { [ of JSON, plain, or 0 when there is none
	raw  string
	bare bool // it is known to be a quoted text without escapes
}

// unquote returns the text of a quoted string; only one with escapes is copied, into the arena.
func unquote(quoted string, in *arena) (string, error) {
	first := strings.IndexByte(quoted, '\\')
	if first < 0 {
		return quoted[1 : len(quoted)-1], nil
	}
	return in.unescape(quoted, first)
}

// appendTo appends a value to a column of type t; false if it does not fit. A missing value or null is null.
func (v value) appendTo(c *tables.Column, t tables.Type, texts *arena) bool {
	if v.kind == 0 || v.kind == 'n' {
		c.AppendNull(t.Kind)
		return true
	}
	text := v.raw
	if v.kind == '"' && t.Kind != tables.JSON {
		if v.bare {
			text = v.raw[1 : len(v.raw)-1]
		} else {
			var err error
			if text, err = unquote(v.raw, texts); err != nil {
				return false
			}
		}
	}
	number := v.kind == '0' || v.kind == plain && isNumber(text)
	switch t.Kind {
	case tables.String, tables.Binary:
		c.AppendString(text)
		return true
	case tables.JSON:
		if v.kind == plain && !jsontext.Value(text).IsValid() {
			return false
		}
		c.AppendString(text)
		return true
	case tables.Boolean:
		is, ok := v.boolean()
		if ok {
			c.AppendBool(is)
		}
		return ok
	case tables.Float, tables.Double:
		return number && appendFloat(c, t.Kind, text)
	case tables.Decimal:
		return (number || v.kind == '"') && appendDecimal(c, t, text)
	case tables.Timestamp, tables.Date:
		return (v.kind == '"' || v.kind == plain) && appendTime(c, t.Kind, text)
	default:
		return number && appendInt(c, t.Kind, text)
	}
}

// boolean reads true or false, in any case where it is plain text.
func (v value) boolean() (is, ok bool) {
	switch {
	case v.kind == 't', v.kind == plain && strings.EqualFold(v.raw, "true"):
		return true, true
	case v.kind == 'f', v.kind == plain && strings.EqualFold(v.raw, "false"):
		return false, true
	}
	return false, false
}

// isNumber reports whether plain text is meant as a number. 007 is not: it would not come back as it was.
func isNumber(text string) bool {
	digits := strings.TrimPrefix(text, "-")
	if digits == "" || digits[0] != '.' && (digits[0] < '0' || digits[0] > '9') {
		return false
	}
	return len(digits) == 1 || digits[0] != '0' || strings.IndexByte(".eE", digits[1]) >= 0
}

// appendFloat takes what is in range, and of integers only those that a double holds exactly: the others are ids.
func appendFloat(c *tables.Column, k tables.Kind, text string) bool {
	const exactDigits = 15 // every integer of so many digits is a double
	bits := 64
	if k == tables.Float {
		bits = 32
	}
	f, err := strconv.ParseFloat(text, bits)
	if err != nil {
		return false
	}
	if len(text) > exactDigits && !strings.ContainsAny(text, ".eE") && !exact(text, f) {
		return false
	}
	c.AppendFloat(f)
	return true
}

// exact reports whether f is the integer that text holds.
func exact(text string, f float64) bool {
	n, ok := new(big.Int).SetString(text, 10)
	back, _ := new(big.Float).SetFloat64(f).Int(nil)
	return ok && back.Cmp(n) == 0
}

func appendInt(c *tables.Column, k tables.Kind, text string) bool {
	bits := 64
	switch k {
	case tables.Byte:
		bits = 8
	case tables.Short:
		bits = 16
	case tables.Integer:
		bits = 32
	}
	n, err := strconv.ParseInt(text, 10, bits)
	if err != nil {
		return false
	}
	c.AppendInt(n)
	return true
}

// appendDecimal takes a number, or a text that holds one, if no digit is lost.
func appendDecimal(c *tables.Column, t tables.Type, text string) bool {
	const longest = 100 // bytes: 38 digits, a point, a sign, zeros around; more, or a large exponent, costs time without bound
	if len(text) > longest {
		return false
	}
	if at := strings.IndexAny(text, "eE"); at >= 0 {
		if e, err := strconv.Atoi(text[at+1:]); err != nil || e < -longest || e > longest {
			return false
		}
	}
	if strings.ContainsAny(text, "/_xXoObBpP") {
		return false // forms of Go, not of numbers
	}
	r, ok := new(big.Rat).SetString(text)
	if !ok {
		return false
	}
	scale := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(t.Scale)), nil)
	r.Mul(r, new(big.Rat).SetInt(scale))
	most := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(t.Precision)), nil)
	if !r.IsInt() || r.Num().CmpAbs(most) >= 0 {
		return false
	}
	d, ok := tables.Int128FromBig(r.Num())
	if !ok {
		return false
	}
	c.AppendDecimal(d)
	return true
}

// rescuedText renders what was rescued of a row, with the path of its file, as Auto Loader does.
func rescuedText(values []stray, path string) (string, error) {
	var out strings.Builder
	out.WriteByte('{')
	for _, v := range values {
		name, err := json.Marshal(v.name)
		if err != nil {
			return "", fmt.Errorf("rescue %q: %w", v.name, err)
		}
		out.Write(name)
		out.WriteByte(':')
		if v.kind == plain {
			if name, err = json.Marshal(v.raw); err != nil {
				return "", fmt.Errorf("rescue %q: %w", v.name, err)
			}
			out.Write(name)
		} else {
			out.WriteString(v.raw)
		}
		out.WriteByte(',')
	}
	file, err := json.Marshal(path)
	if err != nil {
		return "", fmt.Errorf("rescue values of %q: %w", path, err)
	}
	out.WriteString(`"_file_path":`)
	out.Write(file)
	out.WriteByte('}')
	return out.String(), nil
}
