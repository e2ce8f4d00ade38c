// Package psi compares what the values of a column are now with what they were, by the population stability index: the sum
// over parts of (now - past) * ln(now / past), with the shares of each part. By the usual rule of thumb below 0.1 nothing has
// shifted, and above 0.2 much has.
package psi

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"time"

	"smelt/tables"
)

const (
	// MaxRows bounds the values that a comparison is made by: they are held in memory.
	MaxRows = 1 << 20
	// quantiles is into how many equal parts numbers are divided, maxValues how many texts are told apart.
	quantiles, maxValues = 10, 50
	// maxCounted bounds the different values that are counted to find the most frequent.
	maxCounted = MaxRows / 8
)

// Names of the parts of values that are NULL, or none of those told apart.
const (
	nullName = "NULL"
	restName = "others"
)

// Comparison counts values by parts: NULL, then equal parts of numbers or single values, then the rest.
type Comparison struct {
	cuts []float64      // upper ends of the parts of numbers
	by   map[string]int // single value -> part
	name []string       // of each part
	past []int64
	now  []int64
}

// New divides by the values of a column that were there, the first of the batch, and counts them as the past. Numbers with
// few values are told apart like texts.
func New(past *tables.Batch) *Comparison {
	count := map[string]int{}
	var numbers []float64
	for row := range past.Len {
		if past.Columns[0].Null(row) {
			continue
		}
		if x, ok := number(past, 0, row); ok {
			numbers = append(numbers, x)
		}
		if len(count) <= maxCounted {
			count[text(past, 0, row)]++
		}
	}
	c := &Comparison{by: map[string]int{}, name: []string{nullName}}
	if len(numbers) > 0 && len(count) > maxValues {
		c.cut(numbers)
	} else {
		c.tell(count)
	}
	c.past, c.now = make([]int64, len(c.name)), make([]int64, len(c.name))
	for row := range past.Len {
		c.past[c.part(past, 0, row)]++
	}
	return c
}

// cut divides numbers.
func (c *Comparison) cut(numbers []float64) {
	slices.Sort(numbers)
	for i := 1; i < quantiles; i++ {
		if at := numbers[i*len(numbers)/quantiles]; len(c.cuts) == 0 || at > c.cuts[len(c.cuts)-1] {
			c.cuts = append(c.cuts, at)
		}
	}
	short := func(x float64) string { return strconv.FormatFloat(x, 'g', 6, 64) }
	for i, at := range c.cuts {
		if i == 0 {
			c.name = append(c.name, "to "+short(at))
		} else {
			c.name = append(c.name, short(c.cuts[i-1])+" to "+short(at))
		}
	}
	c.name = append(c.name, "above "+short(c.cuts[len(c.cuts)-1]))
}

// tell keeps the most frequent values apart.
func (c *Comparison) tell(count map[string]int) {
	var values []string
	for v := range count {
		values = append(values, v)
	}
	slices.SortFunc(values, func(x, y string) int { return cmp.Or(count[y]-count[x], cmp.Compare(x, y)) })
	for i, v := range values[:min(len(values), maxValues)] {
		c.by[v] = i + 1
		c.name = append(c.name, v)
	}
	c.name = append(c.name, restName)
}

// Add counts a value as one of now.
func (c *Comparison) Add(rows *tables.Batch, column, row int) { c.now[c.part(rows, column, row)]++ }

// part returns the part of a value; a column that is not there is NULL.
func (c *Comparison) part(rows *tables.Batch, column, row int) int {
	if column < 0 || rows.Columns[column].Null(row) {
		return 0
	}
	if len(c.cuts) > 0 {
		x, _ := number(rows, column, row)
		at, _ := slices.BinarySearch(c.cuts, x)
		return at + 1
	}
	if at, ok := c.by[text(rows, column, row)]; ok {
		return at
	}
	return len(c.name) - 1
}

// Index returns the index, and how many values it compares.
func (c *Comparison) Index() (index float64, past, now int64) {
	for _, p := range c.Parts() {
		index, past, now = index+p.Index, past+p.Past, now+p.Now
	}
	return index, past, now
}

// Part is one part of the values.
type Part struct {
	Name      string // a value, a range of numbers, NULL or others
	Past, Now int64
	Index     float64 // what it adds to the index
}

// Parts lists all parts.
func (c *Comparison) Parts() []Part {
	var past, now int64
	for i := range c.past {
		past, now = past+c.past[i], now+c.now[i]
	}
	const half = 0.5 // of a value in each part, so that an empty one is no infinity
	n := half * float64(len(c.past))
	out := make([]Part, len(c.past))
	for i := range out {
		was := (float64(c.past[i]) + half) / (float64(past) + n)
		is := (float64(c.now[i]) + half) / (float64(now) + n)
		out[i] = Part{Name: c.name[i], Past: c.past[i], Now: c.now[i], Index: (is - was) * math.Log(is/was)}
	}
	return out
}

// number reads a value as a number; ok is false for those that are none. Precision does not matter to a distribution.
func number(b *tables.Batch, column, row int) (x float64, ok bool) {
	c, t := &b.Columns[column], b.Schema[column].Type
	switch t.Kind {
	case tables.Float, tables.Double:
		return c.Floats[row], !math.IsNaN(c.Floats[row])
	case tables.Decimal:
		x, _ := c.Decimals[row].Big().Float64()
		return x / math.Pow10(t.Scale), true
	case tables.Byte, tables.Short, tables.Integer, tables.Long, tables.Date, tables.Timestamp:
		return float64(c.Ints[row]), true
	default:
		return 0, false
	}
}

// text shows a value that is not NULL; different values of a column look different.
func text(b *tables.Batch, column, row int) string {
	c, t := &b.Columns[column], b.Schema[column].Type
	switch t.Kind {
	case tables.Boolean:
		return strconv.FormatBool(c.Bools[row])
	case tables.Float, tables.Double:
		return strconv.FormatFloat(c.Floats[row]+0, 'g', -1, 64) // + 0: no sign of zero
	case tables.String, tables.Binary, tables.JSON:
		return c.Strings[row]
	case tables.Decimal:
		return c.Decimals[row].Big().String() + "e-" + strconv.Itoa(t.Scale)
	case tables.Date:
		return time.Unix(c.Ints[row]*24*60*60, 0).UTC().Format(time.DateOnly)
	case tables.Timestamp:
		return time.UnixMicro(c.Ints[row]).UTC().Format("2006-01-02 15:04:05.999999")
	default:
		return strconv.FormatInt(c.Ints[row], 10)
	}
}
