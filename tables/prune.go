package tables

import (
	"context"
	"encoding/json"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"smelt/tables/delta"
	"smelt/tables/filter"
	"smelt/tables/parquet"
)

// maxStatRunes is where Delta's writers cut the strings of statistics.
const maxStatRunes = 32

// pruned is a snapshot less some of the rows that fail a condition. It does not know their number, so it is no Counter.
type pruned struct {
	of    *Snapshot
	files []delta.File
	where []parquet.Where // for the columns of the files
}

// Schema implements Relation.
func (p *pruned) Schema() Schema { return p.of.Schema() }

// Scan implements Relation.
func (p *pruned) Scan(ctx context.Context, columns []string) (Reader, error) {
	return scanWhere(ctx, p.of.table, p.of.def.Schema, columns, p.files, p.where)
}

// prune leaves out the files whose statistics say that no row satisfies all conditions.
func prune(s *Snapshot, conditions []filter.Condition) Relation {
	var all []parquet.Where
	for _, c := range conditions {
		if i := s.def.Schema.Index(c.Column); i >= 0 && c.Fits(s.def.Schema[i].Type) {
			all = append(all, parquet.Where{Field: s.def.Schema[i], Condition: c})
		}
	}
	if len(all) == 0 {
		return s
	}
	inFiles := stored(s.def.Schema, s.def.Partitions)
	p := &pruned{of: s}
	for _, w := range all {
		if inFiles.Index(w.Field.Name) >= 0 {
			p.where = append(p.where, w)
		}
	}
	for i := range s.state.Files {
		f := &s.state.Files[i]
		if f.Rows == 0 || slices.ContainsFunc(all, func(w parquet.Where) bool { return !fileMay(s, f, &w) }) {
			continue
		}
		p.files = append(p.files, *f)
	}
	return p
}

// fileMay reports whether a file may hold a row that satisfies the condition.
func fileMay(s *Snapshot, f *delta.File, w *parquet.Where) bool {
	bounds := filter.Bounds{Rows: f.Rows, Nulls: -1}
	if slices.ContainsFunc(s.def.Partitions, func(c string) bool { return strings.EqualFold(c, w.Field.Name) }) {
		var col Column
		if appendPartition(&col, w.Field.Type, partitionValue(f.PartitionValues, w.Field.Name), 1) != nil {
			return true
		}
		if bounds.Nulls = 0; col.Null(0) {
			bounds.Nulls = f.Rows
		} else {
			v := filter.At(&col, w.Field.Type.Kind, 0)
			bounds.Low, bounds.High = &v, &v
		}
	} else {
		stats := s.table.stats.of(f, s.state.Files)
		text := stats.columns[w.Field.Name]
		if text.Nulls != nil {
			bounds.Nulls = *text.Nulls
		}
		bounds.Low, bounds.High = text.bounds(w.Field.Type)
	}
	return w.Condition.May(w.Field.Type.Kind, &bounds)
}

// statsCache keeps the statistics of a table's files once they were parsed: a file's never change.
type statsCache struct {
	mu    sync.Mutex
	files map[string]*fileStats // by path
}

// fileStats is what the log says of the columns of a file.
type fileStats struct {
	text    string // what was parsed
	columns map[string]columnText
}

// columnText is the statistics of one column as JSON has them, "" where there are none.
type columnText struct {
	Low, High string
	Nulls     *int64
}

// of returns the statistics of one of the files of a snapshot.
func (c *statsCache) of(f *delta.File, all []delta.File) *fileStats {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.files[f.Path]; s != nil && s.text == f.Stats {
		return s
	}
	if len(c.files) > 2*len(all) { // most are of files that are gone
		c.files = nil
	}
	if c.files == nil {
		c.files = make(map[string]*fileStats, len(all))
	}
	s := parseStats(f.Stats)
	c.files[f.Path] = s
	return s
}

// parseStats reads the statistics of a file. What cannot be read is left out.
func parseStats(text string) *fileStats {
	out := &fileStats{text: text, columns: map[string]columnText{}}
	var raw struct {
		MinValues map[string]json.RawMessage `json:"minValues"`
		MaxValues map[string]json.RawMessage `json:"maxValues"`
		NullCount map[string]json.RawMessage `json:"nullCount"`
	}
	if json.Unmarshal([]byte(text), &raw) != nil {
		return out
	}
	for name, v := range raw.MinValues {
		c := out.columns[name]
		c.Low = string(v)
		out.columns[name] = c
	}
	for name, v := range raw.MaxValues {
		c := out.columns[name]
		c.High = string(v)
		out.columns[name] = c
	}
	for name, v := range raw.NullCount {
		c := out.columns[name]
		if n, err := strconv.ParseInt(string(v), 10, 64); err == nil && n >= 0 { // of a struct it is an object
			c.Nulls = &n
			out.columns[name] = c
		}
	}
	return out
}

// bounds returns the bounds of a column of the type, nil where there are none that are sure to hold.
func (c *columnText) bounds(t Type) (low, high *filter.Value) {
	read := func(text string, high bool) *filter.Value {
		var v filter.Value
		if text == "" || text == "null" || !readBound(&v, t, text, high) {
			return nil
		}
		return &v
	}
	return read(c.Low, false), read(c.High, true)
}

// readBound reads a bound of a column from JSON. Bounds of other writers may be rounded: they are widened, or not taken.
func readBound(v *filter.Value, t Type, text string, high bool) bool {
	var err error
	switch t.Kind {
	case Byte, Short, Integer, Long:
		v.Int, err = strconv.ParseInt(text, 10, 64)
		return err == nil
	case Float:
		v.Float, err = strconv.ParseFloat(text, 32) // "0.1" means the nearest float
		return err == nil
	case Double:
		v.Float, err = strconv.ParseFloat(text, 64)
		return err == nil
	case Decimal:
		var ok bool
		v.Decimal, ok = decimalBound(text, t.Scale, high)
		return ok
	}
	var s string
	if json.Unmarshal([]byte(text), &s) != nil || strings.ContainsRune(s, utf8.RuneError) {
		return false
	}
	switch t.Kind {
	case String:
		v.Text = stringBound(s, high)
		return true
	case Date:
		at, err := time.Parse(time.DateOnly, s)
		v.Int = at.Unix() / secondsPerDay // whole days, also before 1970
		return err == nil
	case Timestamp:
		at, err := parseTime(s)
		if v.Int = at.UnixMicro(); high {
			v.Int += int64(time.Millisecond/time.Microsecond) - 1 // most writers cut to milliseconds
		}
		return err == nil
	default:
		return false
	}
}

// stringBound returns the bound that a text of the statistics stands for. A maximum as long as those that are cut may
// have been cut, with or without U+10FFFF behind it: no UTF-8 of the same beginning sorts behind the byte 0xFF.
func stringBound(s string, high bool) string {
	if !high || utf8.RuneCountInString(s) < maxStatRunes {
		return s
	}
	n := 0
	for i := range s {
		if n == maxStatRunes {
			return s[:i] + "\xff"
		}
		n++
	}
	return s + "\xff"
}

// decimalBound reads a decimal number, rounded away from the values if it has more digits than they. Some writers print
// decimals as floats: beyond 15 digits the bound is widened by what a float may be off.
func decimalBound(text string, scale int, high bool) (v Int128, ok bool) {
	const floatDigits, longest = 15, 100
	if strings.Trim(text, "0123456789.-") != "" || len(text) > longest {
		return v, false
	}
	r, ok := new(big.Rat).SetString(text)
	if !ok {
		return v, false
	}
	r.Mul(r, new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(scale)), nil)))
	n := new(big.Int).Div(r.Num(), r.Denom()) // rounds down, as denominators are positive
	if high && !r.IsInt() {
		n.Add(n, big.NewInt(1))
	}
	if len(strings.Trim(text, "-.")) > floatDigits {
		off := new(big.Int).Abs(n)
		off.Rsh(off, 50).Add(off, big.NewInt(1))
		if !high {
			off.Neg(off)
		}
		n.Add(n, off)
	}
	return Int128FromBig(n)
}
