package autoload

import (
	"encoding/json"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"smelt/tables"
)

// nullPartition is how Hive writes the directory of rows without a value.
const nullPartition = "__HIVE_DEFAULT_PARTITION__"

// partitionOf reads the name of a directory such as day=2026-01-01.
func partitionOf(dir string) (column, value string, ok bool) {
	column, value, ok = strings.Cut(dir, "=")
	if text, err := url.PathUnescape(value); err == nil {
		value = text
	}
	return column, value, ok && column != ""
}

// partitionValues returns what the path of a file says of each partition column; one that it does not name is missing,
// and an empty text is null.
func partitionValues(columns []string, path string) map[string]string {
	values := map[string]string{}
	for _, dir := range strings.Split(filepath.ToSlash(filepath.Dir(path)), "/") {
		column, value, ok := partitionOf(dir)
		if !ok {
			continue
		}
		for _, name := range columns {
			if !strings.EqualFold(name, column) {
				continue
			}
			if values[name] = value; value == nullPartition {
				values[name] = ""
			}
		}
	}
	return values
}

// partition makes columns of the partitions that are none yet, of a type that fits all the files at hand.
func (l *Loader) partition(files []candidate) {
	o := l.cfg.Options
	if len(o.Partitions) == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	kinds := map[string]tables.Kind{}
	for _, c := range files {
		for name, text := range partitionValues(o.Partitions, c.path) {
			if before, seen := kinds[name]; text != "" && seen {
				kinds[name] = joinKinds(before, partitionKind(text))
			} else if text != "" {
				kinds[name] = partitionKind(text)
			}
		}
	}
	for _, name := range o.Partitions {
		kind, seen := kinds[name]
		if !seen || l.columns.schema.Index(name) >= 0 {
			continue
		}
		if o.TextOnly {
			kind = tables.String
		}
		schema := append(l.columns.schema[:len(l.columns.schema):len(l.columns.schema)], tables.Field{Name: name, Type: tables.Type{Kind: kind}})
		l.columns = newColumns(schema, append(l.columns.fileNames[:len(l.columns.fileNames):len(l.columns.fileNames)], name), o)
	}
}

// partitionKind infers a type from one value: whole numbers, with zeros in front too, as Spark does, other numbers,
// dates, texts.
func partitionKind(text string) tables.Kind {
	if _, err := strconv.ParseInt(text, 10, 64); err == nil {
		return tables.Long
	}
	if _, err := strconv.ParseFloat(text, 64); err == nil && strings.Trim(text, "+-.0123456789eE") == "" {
		return tables.Double
	}
	if _, err := time.Parse(dateForm, text); err == nil {
		return tables.Date
	}
	return tables.String
}

func joinKinds(a, b tables.Kind) tables.Kind {
	switch {
	case a == b:
		return a
	case a == tables.Long && b == tables.Double, a == tables.Double && b == tables.Long:
		return tables.Double
	default:
		return tables.String
	}
}

// fillPartitions puts the values that the path of a file says into its rows: the path counts, whatever the file says. A
// value that its column cannot hold is rescued. The rescued column is the one behind the data columns.
func (c *columns) fillPartitions(rows *tables.Batch, path string) {
	if len(c.partitions) == 0 {
		return
	}
	for name, text := range partitionValues(c.partitions, path) {
		at := c.schema.Index(name)
		if at < 0 {
			continue // null in all files so far
		}
		one := tables.NewBatch(c.schema[at:at+1], 1)
		fits := text == "" || appendText(&one.Columns[0], c.schema[at].Type, text)
		if text == "" || !fits {
			one.Columns[0].AppendNull(c.schema[at].Type.Kind)
		}
		one.Len = 1
		all := tables.NewBatch(one.Schema, rows.Len)
		for range rows.Len {
			all.Append(one)
		}
		rows.Columns[at] = all.Columns[0]
		if !fits {
			rescuePartition(rows, len(c.schema), name, text, path)
		}
	}
}

// rescuePartition adds a value to what every row has rescued, in the form of rescuedText.
func rescuePartition(rows *tables.Batch, rescued int, name, text, path string) {
	value := "{" + jsonText(name) + ":" + jsonText(text) + ","
	var column tables.Column
	for row := range rows.Len {
		if rows.Columns[rescued].Null(row) {
			column.AppendString(value + `"_file_path":` + jsonText(path) + "}")
		} else {
			column.AppendString(value + strings.TrimPrefix(rows.Columns[rescued].Strings[row], "{"))
		}
	}
	rows.Columns[rescued] = column
}

func jsonText(text string) string {
	quoted, _ := json.Marshal(text) // a text always encodes
	return string(quoted)
}

// appendText appends a plain text to a column of type t; false if it does not fit.
func appendText(c *tables.Column, t tables.Type, text string) bool {
	switch t.Kind {
	case tables.String:
		c.AppendString(text)
		return true
	case tables.Boolean:
		v, err := strconv.ParseBool(text)
		if err == nil {
			c.AppendBool(v)
		}
		return err == nil
	case tables.Float, tables.Double:
		return appendFloat(c, t.Kind, text)
	case tables.Decimal:
		return appendDecimal(c, t, text)
	case tables.Timestamp, tables.Date:
		return appendTime(c, t.Kind, text)
	case tables.Binary, tables.JSON:
		return false
	default:
		return appendInt(c, t.Kind, text)
	}
}
