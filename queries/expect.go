package queries

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"smelt/queries/ddl"
	"smelt/tables"
)

// expectPrefix begins the names of the columns that hold what the expectations say of a row; no table can have one.
const expectPrefix = "expect:"

// failColumns is how many columns of a violating row an error shows.
const failColumns = 4

// withExpectations wraps the SELECT so that it also yields what each expectation says. The line break before the
// bracket keeps a trailing comment from swallowing it.
func withExpectations(c *ddl.Create) string {
	if len(c.Expectations) == 0 {
		return c.Query
	}
	var sql strings.Builder
	sql.WriteString("SELECT q.*")
	for i, e := range c.Expectations {
		// NULL does not meet an expectation: IS TRUE makes of it FALSE.
		fmt.Fprintf(&sql, ", ((%s\n) IS TRUE) AS `%s%d`", e.Expr, expectPrefix, i)
	}
	sql.WriteString(" FROM (" + c.Query + "\n) q")
	return sql.String()
}

// withoutExpectations returns the columns that the table gets.
func withoutExpectations(schema tables.Schema) tables.Schema {
	var out tables.Schema
	for _, f := range schema {
		if !strings.HasPrefix(f.Name, expectPrefix) {
			out = append(out, f)
		}
	}
	return out
}

// checked applies the expectations to the rows of a result, counts, and measures the time that the query takes.
type checked struct {
	Result
	expectations []ddl.Expectation
	progress     *Progress
	schema       tables.Schema
}

func newChecked(r Result, expectations []ddl.Expectation, p *Progress) *checked {
	p.Expectations = make([]ExpectationCount, len(expectations))
	for i, e := range expectations {
		p.Expectations[i].Name = e.Name
	}
	return &checked{Result: r, expectations: expectations, progress: p, schema: withoutExpectations(r.Schema())}
}

// Schema returns the columns of the table.
func (c *checked) Schema() tables.Schema { return c.schema }

// Next returns the next rows that stay; batches of which nothing stays are passed over.
func (c *checked) Next(ctx context.Context) (*tables.Batch, error) {
	for {
		start := time.Now()
		b, err := c.Result.Next(ctx)
		c.progress.Query += time.Since(start)
		if err != nil {
			return nil, err
		}
		kept, err := c.apply(b)
		if err != nil {
			return nil, err
		}
		c.progress.RowsOut += int64(kept.Len)
		if kept.Len > 0 {
			return kept, nil
		}
	}
}

// apply counts what the expectations say and drops what they drop.
func (c *checked) apply(b *tables.Batch) (*tables.Batch, error) {
	rows := &tables.Batch{Schema: c.schema, Len: b.Len}
	for i, f := range b.Schema {
		if !strings.HasPrefix(f.Name, expectPrefix) {
			rows.Columns = append(rows.Columns, b.Columns[i])
		}
	}
	var keep []bool
	for i, e := range c.expectations {
		at := b.Schema.Index(expectPrefix + strconv.Itoa(i))
		if at < 0 {
			return nil, fmt.Errorf("check expectation %s: the query lost its column", e.Name)
		}
		for r := range b.Len {
			if truth(b, at, r) {
				c.progress.Expectations[i].Passed++
				continue
			}
			c.progress.Expectations[i].Failed++
			switch e.Action {
			case ddl.FailUpdate:
				return nil, fmt.Errorf("%w: %s EXPECT (%s) by the row %s", ErrExpectation, e.Name, e.Expr, showRow(rows, r))
			case ddl.DropRow:
				if keep == nil {
					keep = allTrue(b.Len)
				}
				keep[r] = false
			}
		}
	}
	if keep == nil {
		return rows, nil
	}
	kept := rows.Filter(keep)
	c.progress.Dropped += int64(b.Len - kept.Len)
	return kept, nil
}

func allTrue(n int) []bool {
	out := make([]bool, n)
	for i := range out {
		out[i] = true
	}
	return out
}

// truth reads a truth value, in whichever form the SQL engine yields it.
func truth(b *tables.Batch, column, row int) bool {
	c := &b.Columns[column]
	if c.Null(row) {
		return false
	}
	switch {
	case c.Bools != nil:
		return c.Bools[row]
	case c.Ints != nil:
		return c.Ints[row] != 0
	case c.Floats != nil:
		return c.Floats[row] != 0
	default:
		return false
	}
}

// showRow renders the first columns of a row for an error.
func showRow(b *tables.Batch, r int) string {
	var cells []string
	for i, f := range b.Schema {
		if i == failColumns {
			cells = append(cells, "...")
			break
		}
		c := &b.Columns[i]
		var text string
		switch {
		case c.Null(r):
			text = "NULL"
		case c.Bools != nil:
			text = strconv.FormatBool(c.Bools[r])
		case c.Floats != nil:
			text = strconv.FormatFloat(c.Floats[r], 'g', -1, 64)
		case c.Strings != nil:
			text = strconv.Quote(c.Strings[r])
		case f.Type.Kind == tables.Timestamp:
			text = time.UnixMicro(c.Ints[r]).UTC().Format(time.DateTime)
		case c.Ints != nil:
			text = strconv.FormatInt(c.Ints[r], 10)
		default:
			text = c.Decimals[r].Big().String()
		}
		cells = append(cells, f.Name+" = "+text)
	}
	return "(" + strings.Join(cells, ", ") + ")"
}
