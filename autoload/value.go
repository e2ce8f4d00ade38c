package autoload

import (
	"encoding/json"
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"smelt/tables"
)

// value is one JSON value by its text, so that numbers stay exact. The zero value is a field that is not there.
type value struct {
	kind jsontext.Kind // n t f " 0 { [, or 0 when there is none
	raw  string
}

// unquote returns the text of a quoted string; only one with escapes is copied, by way of scratch.
func unquote(quoted string, scratch *[]byte) (string, error) {
	if strings.IndexByte(quoted, '\\') < 0 {
		return quoted[1 : len(quoted)-1], nil
	}
	var err error
	// The text was checked when it was read; what is reported here is half a surrogate pair, which has become U+FFFD.
	*scratch, err = jsontext.AppendUnquote((*scratch)[:0], quoted)
	if err != nil && len(*scratch) == 0 {
		return "", err
	}
	return string(*scratch), nil
}

// inferred is what the values of a field have been so far.
type inferred uint8

const (
	sawNothing inferred = iota // only null
	sawBool
	sawLong
	sawDouble
	sawText
	sawJSON
	sawMix
)

type namedType struct {
	name string
	typ  inferred
}

// infer returns the type of one value. An integer beyond 64 bits counts as text: a double would change it.
func (v value) infer() inferred {
	switch v.kind {
	case 'n':
		return sawNothing
	case 't', 'f':
		return sawBool
	case '"':
		return sawText
	case '0':
		if _, err := strconv.ParseInt(v.raw, 10, 64); err == nil {
			return sawLong
		}
		if strings.ContainsAny(v.raw, ".eE") {
			return sawDouble
		}
		return sawText
	default:
		return sawJSON
	}
}

// join is the type that holds the values of both.
func (a inferred) join(b inferred) inferred {
	switch {
	case a == b || b == sawNothing:
		return a
	case a == sawNothing:
		return b
	case (a == sawLong && b == sawDouble) || (a == sawDouble && b == sawLong):
		return sawDouble
	default:
		return sawMix
	}
}

// columnType is the column type for an inferred type; what is mixed or was only null becomes text.
func (a inferred) columnType() tables.Type {
	switch a {
	case sawBool:
		return tables.Type{Kind: tables.Boolean}
	case sawLong:
		return tables.Type{Kind: tables.Long}
	case sawDouble:
		return tables.Type{Kind: tables.Double}
	case sawJSON:
		return tables.Type{Kind: tables.JSON}
	default:
		return tables.Type{Kind: tables.String}
	}
}

// appendTo appends a value to a column of type t; false if it does not fit. A missing value or null is null.
func (v value) appendTo(c *tables.Column, t tables.Type, scratch *[]byte) bool {
	if v.kind == 0 || v.kind == 'n' {
		c.AppendNull(t.Kind)
		return true
	}
	text := v.raw
	if v.kind == '"' && t.Kind != tables.JSON {
		var err error
		if text, err = unquote(v.raw, scratch); err != nil {
			return false
		}
	}
	switch t.Kind {
	case tables.String, tables.JSON:
		c.AppendString(text)
		return true
	case tables.Boolean:
		if v.kind != 't' && v.kind != 'f' {
			return false
		}
		c.AppendBool(v.kind == 't')
		return true
	case tables.Float, tables.Double:
		return v.kind == '0' && appendFloat(c, t.Kind, text)
	case tables.Decimal:
		return (v.kind == '0' || v.kind == '"') && appendDecimal(c, t, text)
	case tables.Timestamp, tables.Date:
		return v.kind == '"' && appendTime(c, t.Kind, text)
	default:
		return v.kind == '0' && appendInt(c, t.Kind, text)
	}
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
	bits := map[tables.Kind]int{tables.Byte: 8, tables.Short: 16, tables.Integer: 32}[k]
	if bits == 0 {
		bits = 64
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

// dateForm is the only form of a date.
const dateForm = "2006-01-02"

// timeForms are the layouts of timestamps: ISO with and without zone, and Twitter's. Without a zone it is UTC.
var timeForms = []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999Z07:00", "2006-01-02 15:04:05.999999999",
	dateForm, "Mon Jan 02 15:04:05 -0700 2006", time.RFC1123Z}

func appendTime(c *tables.Column, k tables.Kind, text string) bool {
	for _, form := range timeForms {
		at, err := time.Parse(form, text)
		if err != nil {
			continue
		}
		if k == tables.Timestamp {
			c.AppendInt(at.UnixMicro())
			return true
		}
		if form != dateForm {
			return false
		}
		c.AppendInt(at.Unix() / int64(24*time.Hour/time.Second))
		return true
	}
	return false
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
		out.WriteString(v.raw)
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
