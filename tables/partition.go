package tables

import (
	"fmt"
	"math"
	"math/big"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The forms of a partition value, which the protocol fixes. "" is null.
const (
	partitionDate = time.DateOnly
	partitionTime = "2006-01-02 15:04:05.000000"
	secondsPerDay = 24 * 60 * 60
)

// checkPartitions refuses columns that rows cannot be parted by.
func checkPartitions(def Definition) error {
	for i, name := range def.Partitions {
		at := def.Schema.Index(name)
		switch {
		case at < 0:
			return fmt.Errorf("partition by column %q: there is no such column", name)
		case slices.Contains(def.Partitions[:i], name):
			return fmt.Errorf("partition by column %q: it is named twice", name)
		case def.Schema[at].Type.Kind == Binary || def.Schema[at].Type.Kind == JSON:
			return fmt.Errorf("partition by column %q: no rows can be parted by %s", name, def.Schema[at].Type)
		}
	}
	if len(def.Partitions) > 0 && len(def.Partitions) == len(def.Schema) {
		return fmt.Errorf("partition by %s: a column must be left for the data files", strings.Join(def.Partitions, ", "))
	}
	return nil
}

// Names of partition directories, as Hive and Spark write them: the log decides, but there are readers that take the
// values from the names.
const (
	nullPartition     = "__HIVE_DEFAULT_PARTITION__"
	escapedInNames    = "\"#%'*/:=?\\{[]^\x7f"
	maxPartitionBytes = 200 // of one name: file systems end at 255
)

// partitionDir returns the directory for rows of a partition, "" for a table without partitions, and where a value is too
// long for a name.
func partitionDir(columns []string, values map[string]string) string {
	dir := ""
	for _, c := range columns {
		value := values[c]
		if value == "" {
			value = nullPartition
		}
		name := escapeName(c) + "=" + escapeName(value)
		if len(name) > maxPartitionBytes {
			return ""
		}
		dir = filepath.Join(dir, name)
	}
	return dir
}

func escapeName(text string) string {
	var out strings.Builder
	for i := range len(text) {
		if c := text[i]; c < ' ' || strings.IndexByte(escapedInNames, c) >= 0 {
			fmt.Fprintf(&out, "%%%02X", c)
		} else {
			out.WriteByte(c)
		}
	}
	return out.String()
}

// partitionText returns a value as the log writes it.
func partitionText(c *Column, t Type, row int) string {
	if c.Null(row) {
		return ""
	}
	switch t.Kind {
	case Boolean:
		return strconv.FormatBool(c.Bools[row])
	case Float:
		return strconv.FormatFloat(c.Floats[row], 'g', -1, 32)
	case Double:
		return strconv.FormatFloat(c.Floats[row], 'g', -1, 64)
	case String, Binary, JSON:
		return c.Strings[row]
	case Decimal:
		return decimalText(c.Decimals[row].Big(), t.Scale)
	case Date:
		return time.Unix(c.Ints[row]*secondsPerDay, 0).UTC().Format(partitionDate)
	case Timestamp:
		return time.UnixMicro(c.Ints[row]).UTC().Format(partitionTime)
	default:
		return strconv.FormatInt(c.Ints[row], 10)
	}
}

func decimalText(unscaled *big.Int, scale int) string {
	return new(big.Rat).SetFrac(unscaled, new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(scale)), nil)).FloatString(scale)
}

// appendPartition appends the value that the log writes as text, n times.
func appendPartition(c *Column, t Type, text string, n int) error {
	if text == "" {
		for range n {
			c.AppendNull(t.Kind)
		}
		return nil
	}
	one := Column{}
	if err := parsePartition(&one, t, text); err != nil {
		return fmt.Errorf("read partition value %q as %s: %w", text, t, err)
	}
	for range n {
		switch t.Kind {
		case Boolean:
			c.AppendBool(one.Bools[0])
		case Float, Double:
			c.AppendFloat(one.Floats[0])
		case String, Binary, JSON:
			c.AppendString(one.Strings[0])
		case Decimal:
			c.AppendDecimal(one.Decimals[0])
		default:
			c.AppendInt(one.Ints[0])
		}
	}
	return nil
}

func parsePartition(c *Column, t Type, text string) error {
	switch t.Kind {
	case Boolean:
		v, err := strconv.ParseBool(text)
		c.AppendBool(v)
		return err
	case Float:
		v, err := strconv.ParseFloat(text, 32)
		c.AppendFloat(v)
		return err
	case Double:
		v, err := strconv.ParseFloat(text, 64)
		c.AppendFloat(v)
		return err
	case String, Binary, JSON:
		c.AppendString(text)
		return nil
	case Decimal:
		return parseDecimal(c, t, text)
	case Date:
		v, err := time.Parse(partitionDate, text)
		c.AppendInt(int64(math.Floor(float64(v.Unix()) / secondsPerDay)))
		return err
	case Timestamp:
		v, err := parseTime(text)
		c.AppendInt(v.UnixMicro())
		return err
	default:
		v, err := strconv.ParseInt(text, 10, 64)
		c.AppendInt(v)
		return err
	}
}

// parseTime reads the forms of a timestamp that writers use: without a zone it is UTC, as ours are.
func parseTime(text string) (time.Time, error) {
	var first error
	for _, form := range []string{"2006-01-02 15:04:05.999999999", "2006-01-02T15:04:05.999999999Z07:00", "2006-01-02 15:04:05.999999999Z07:00", "2006-01-02"} {
		v, err := time.Parse(form, text)
		if err == nil {
			return v, nil
		}
		if first == nil {
			first = err
		}
	}
	return time.Time{}, first
}

func parseDecimal(c *Column, t Type, text string) error {
	r, ok := new(big.Rat).SetString(text)
	if !ok {
		return strconv.ErrSyntax
	}
	r.Mul(r, new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(t.Scale)), nil)))
	if !r.IsInt() {
		return strconv.ErrRange
	}
	v, ok := Int128FromBig(r.Num())
	if !ok {
		return strconv.ErrRange
	}
	c.AppendDecimal(v)
	return nil
}

// stored returns the columns of schema that the data files of a table parted by columns hold.
func stored(schema Schema, columns []string) Schema {
	if len(columns) == 0 {
		return schema
	}
	out := Schema{}
	for _, f := range schema {
		if !slices.ContainsFunc(columns, func(c string) bool { return strings.EqualFold(c, f.Name) }) {
			out = append(out, f)
		}
	}
	return out
}

// parted gives the rows of a data file the columns that its log entry holds.
func parted(b *Batch, schema Schema, values map[string]string) (*Batch, error) {
	if len(b.Schema) == len(schema) {
		return b, nil
	}
	out := &Batch{Schema: schema, Columns: make([]Column, len(schema)), Len: b.Len}
	for i, f := range schema {
		if at := b.Schema.Index(f.Name); at >= 0 {
			out.Columns[i] = b.Columns[at]
		} else if err := appendPartition(&out.Columns[i], f.Type, partitionValue(values, f.Name), b.Len); err != nil {
			return nil, fmt.Errorf("column %q: %w", f.Name, err)
		}
	}
	return out, nil
}

func partitionValue(values map[string]string, name string) string {
	for k, v := range values {
		if strings.EqualFold(k, name) {
			return v
		}
	}
	return ""
}
