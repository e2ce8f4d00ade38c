package autoload

import (
	"encoding/json"
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"smelt/tables"
)

// maxColumns bounds what files can make of a table; fields beyond it are rescued.
const maxColumns = 1000

// forbidden are the characters that a Delta column name must not hold; each becomes an underscore.
const forbidden = " ,;{}()\n\t="

// Names of the columns that every watched directory has beside those of its files.
const (
	sourceColumn = "source_file"
	timeColumn   = "processing_time"
)

// columns is the data columns of a directory: hinted first, then inferred, in order of appearance.
type columns struct {
	schema  tables.Schema
	rescued string         // name of the column for what does not fit
	index   map[string]int // name in the files -> position
	folded  map[string]bool
}

func newColumns(schema tables.Schema, fileNames []string, rescued string) columns {
	c := columns{schema: schema, rescued: rescued, index: map[string]int{}, folded: map[string]bool{}}
	for i, f := range schema {
		c.index[fileNames[i]] = i
		c.folded[strings.ToLower(f.Name)] = true
	}
	for _, own := range []string{rescued, sourceColumn, timeColumn} {
		c.folded[strings.ToLower(own)] = true
	}
	return c
}

// takes reports whether a new name may become a column: its values are rescued when it differs from another in case
// only, as Delta names must not.
func (c columns) takes(name string) bool {
	return len(c.schema) < maxColumns && name != "" && !c.folded[strings.ToLower(clean(name))]
}

// clean makes a column name of a field name.
func clean(name string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(forbidden, r) {
			return '_'
		}
		return r
	}, name)
}

// withRescued is the schema of a decoded file.
func (c columns) withRescued() tables.Schema {
	return append(append(tables.Schema{}, c.schema...), tables.Field{Name: c.rescued, Type: tables.Type{Kind: tables.JSON}, Comment: "values that fit no column, with their file"})
}

// full is the schema of the directory: what SELECT * yields, and the hidden columns.
func (c columns) full() tables.Schema {
	return append(c.withRescued(),
		tables.Field{Name: sourceColumn, Type: tables.Type{Kind: tables.String}, Comment: "path of the file", Hidden: true},
		tables.Field{Name: timeColumn, Type: tables.Type{Kind: tables.Timestamp}, Comment: "when the file was read, UTC", Hidden: true})
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

func inferOf(v gjson.Result) inferred {
	switch v.Type {
	case gjson.Null:
		return sawNothing
	case gjson.True, gjson.False:
		return sawBool
	case gjson.Number:
		if _, err := strconv.ParseInt(v.Raw, 10, 64); err == nil {
			return sawLong
		}
		return sawDouble
	case gjson.String:
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

// typ is the column type for an inferred type; what is mixed or was only null becomes text.
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

// appendValue appends a value to a column of type t; false if it does not fit. A missing value or null is null.
func appendValue(c *tables.Column, t tables.Type, v gjson.Result) bool {
	if v.Type == gjson.Null {
		c.AppendNull(t.Kind)
		return true
	}
	switch t.Kind {
	case tables.String:
		if v.Type == gjson.String {
			c.AppendString(v.Str)
		} else {
			c.AppendString(v.Raw)
		}
		return true
	case tables.JSON:
		c.AppendString(v.Raw)
		return true
	case tables.Boolean:
		if v.Type != gjson.True && v.Type != gjson.False {
			return false
		}
		c.AppendBool(v.Type == gjson.True)
		return true
	case tables.Float, tables.Double:
		return appendFloat(c, v)
	case tables.Decimal:
		return appendDecimal(c, t, v)
	case tables.Timestamp, tables.Date:
		return appendTime(c, t.Kind, v)
	default:
		return appendInt(c, t.Kind, v)
	}
}

func appendFloat(c *tables.Column, v gjson.Result) bool {
	if v.Type != gjson.Number {
		return false
	}
	f, err := strconv.ParseFloat(v.Raw, 64)
	if err != nil {
		return false // out of range
	}
	c.AppendFloat(f)
	return true
}

var bitsOf = map[tables.Kind]int{tables.Byte: 8, tables.Short: 16, tables.Integer: 32, tables.Long: 64}

func appendInt(c *tables.Column, k tables.Kind, v gjson.Result) bool {
	if v.Type != gjson.Number {
		return false
	}
	n, err := strconv.ParseInt(v.Raw, 10, bitsOf[k])
	if err != nil {
		return false
	}
	c.AppendInt(n)
	return true
}

// appendDecimal takes a number, or a text that holds one, if no digit is lost.
func appendDecimal(c *tables.Column, t tables.Type, v gjson.Result) bool {
	text := v.Raw
	if v.Type == gjson.String {
		text = v.Str
	} else if v.Type != gjson.Number {
		return false
	}
	if strings.ContainsAny(text, "eE") && len(text) > 40 {
		return false // an exponent could ask for any number of digits
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

// timeForms are the layouts of timestamps: ISO with and without zone, and Twitter's. Without a zone it is UTC.
var timeForms = []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999Z07:00", "2006-01-02 15:04:05.999999999",
	"2006-01-02", "Mon Jan 02 15:04:05 -0700 2006", time.RFC1123Z}

func appendTime(c *tables.Column, k tables.Kind, v gjson.Result) bool {
	if v.Type != gjson.String {
		return false
	}
	for _, form := range timeForms {
		at, err := time.Parse(form, v.Str)
		if err != nil {
			continue
		}
		if k == tables.Timestamp {
			c.AppendInt(at.UnixMicro())
			return true
		}
		if form != "2006-01-02" {
			return false
		}
		c.AppendInt(at.Unix() / int64(24*time.Hour/time.Second))
		return true
	}
	return false
}

// rescue is one value that fits no column.
type rescue struct {
	name string
	raw  string
}

// rescuedText renders what was rescued of a row, with the path of its file, as Auto Loader does.
func rescuedText(values []rescue, path string) (string, error) {
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
