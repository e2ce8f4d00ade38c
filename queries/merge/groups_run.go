package merge

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/dolthub/vitess/go/vt/sqlparser"

	"smelt/tables"
	"smelt/tables/batch"
)

const (
	// maxKeyList is how many values a condition on a key lists: with more of them most rows satisfy it anyway.
	maxKeyList = 1000
	// maxListBytes bounds the text of such a condition.
	maxListBytes = 256 << 10
)

// keySchema returns the key columns, in the order of Keys.
func (w *work) keySchema() tables.Schema {
	out := make(tables.Schema, len(w.Keys))
	for i, name := range w.Keys {
		out[i] = w.Schema[w.Schema.Index(name)]
	}
	return out
}

// keysOf returns the key columns of rows of the SELECT.
func (w *work) keysOf(b *tables.Batch) *tables.Batch {
	out := &tables.Batch{Schema: w.keySchema(), Len: b.Len}
	for _, name := range w.Keys {
		out.Columns = append(out.Columns, b.Columns[w.Schema.Index(name)])
	}
	return out
}

// touched returns the keys of all rows that came or went.
func (w *work) touched() (*tables.Batch, error) {
	bag := newBag(w.keySchema())
	terms, err := w.terms()
	if err != nil {
		return nil, err
	}
	for _, t := range terms {
		if err := w.each(w.keySQL, t.relations, Inner, bag.schema, func(b *tables.Batch) error { return bag.add(b, 1) }); err != nil {
			return nil, err
		}
	}
	return bag.rows, nil
}

// anew computes the rows with the keys from the tables as they are now.
func (w *work) anew(keys *tables.Batch) (*tables.Batch, error) {
	wanted := map[string]bool{}
	for row := range keys.Len {
		wanted[string(keys.AppendKey(nil, row, batch.KeyDigits))] = true
	}
	sql, err := w.restricted(keys)
	if err != nil {
		return nil, err
	}
	now, err := w.nowWith(keys)
	if err != nil {
		return nil, err
	}
	out := tables.NewBatch(w.Schema, 0)
	err = w.each(sql, now, Came, w.Schema, func(b *tables.Batch) error {
		found := w.keysOf(b)
		keep := make([]bool, b.Len)
		for row := range keep {
			keep[row] = wanted[string(found.AppendKey(nil, row, batch.KeyDigits))]
		}
		kept := b.Filter(keep)
		kept.Schema = w.Schema
		if out.Append(kept); out.Len > maxRows {
			return Again(fmt.Sprintf("more than %d rows of groups have changed", maxRows))
		}
		return nil
	})
	return out, err
}

// restricted is the SELECT with a condition on its keys. It may leave too much in, never too little.
func (w *work) restricted(keys *tables.Batch) (string, error) {
	var conditions []string
	for i, expr := range w.keyExpr {
		if c := condition(expr, keys, i); c != "" {
			conditions = append(conditions, c)
		}
	}
	if len(conditions) == 0 {
		return w.SQL, nil
	}
	parsed, err := printed(strings.Join(conditions, " and "))
	if err != nil {
		return "", Again(fmt.Sprintf("a condition on its keys cannot be written: %s", err))
	}
	s, err := parse(w.SQL)
	if err != nil {
		return "", err
	}
	if _, union := unwrapped(s).(*sqlparser.SetOp); union {
		return w.SQL, nil
	}
	block, err := innermost(s, w.inside)
	if err != nil {
		return "", err
	}
	nameColumns(block)
	where := parsed.Where
	if block.Where != nil {
		where = sqlparser.NewWhere(sqlparser.WhereStr, &sqlparser.AndExpr{Left: &sqlparser.ParenExpr{Expr: block.Where.Expr}, Right: where.Expr})
	}
	block.Where = where
	return sqlparser.String(s), nil
}

// condition says that an expression has one of the values of a key column, "" where that cannot be said for sure.
func condition(expr string, keys *tables.Batch, column int) string {
	c := &keys.Columns[column]
	seen := map[string]bool{}
	var list []string
	null, size := false, 0
	for row := range keys.Len {
		if c.Null(row) {
			null = true
			continue
		}
		text := ""
		switch keys.Schema[column].Type.Kind {
		case tables.Byte, tables.Short, tables.Integer, tables.Long:
			text = strconv.FormatInt(c.Ints[row], 10)
		case tables.String:
			if strings.ContainsRune(c.Strings[row], 0) {
				return ""
			}
			text = "'" + strings.NewReplacer(`\`, `\\`, "'", "''").Replace(c.Strings[row]) + "'"
		default:
			return ""
		}
		if !seen[text] {
			seen[text] = true
			list = append(list, text)
			size += len(text)
		}
		if len(list) > maxKeyList || size > maxListBytes {
			return ""
		}
	}
	var parts []string
	if len(list) > 0 {
		parts = append(parts, fmt.Sprintf("(%s) in (%s)", expr, strings.Join(list, ", ")))
	}
	if null {
		parts = append(parts, fmt.Sprintf("(%s) is null", expr))
	}
	return "(" + strings.Join(parts, " or ") + ")"
}

// replace puts rows in the place of those with the keys, as far as they differ.
func (w *work) replace(keys, rows *tables.Batch) (*Change, error) {
	old, err := w.before(keys)
	if err != nil {
		return nil, err
	}
	was, is := byKey(w.keysOf(old), old), byKey(w.keysOf(rows), rows)
	var changed, come []int
	for row := range keys.Len {
		key := string(keys.AppendKey(nil, row, batch.KeyDigits))
		if !sameRows(old, was[key], rows, is[key]) {
			changed = append(changed, row)
			come = append(come, is[key]...)
		}
	}
	c := &Change{}
	if len(changed) > 0 {
		c.Keys = keys.Pick(changed)
	}
	if len(come) > 0 {
		c.Rows = batchReader(rows.Pick(come))
	}
	return c, nil
}

// before returns the rows with the keys that the table has.
func (w *work) before(keys *tables.Batch) (*tables.Batch, error) {
	matching, err := w.sink.Matching(keys)
	if err != nil {
		return nil, err
	}
	return tables.ReadAll(w.ctx, matching, w.Schema.Names())
}

// byKey returns the places of the rows by key.
func byKey(keys, rows *tables.Batch) map[string][]int {
	out := map[string][]int{}
	for row := range rows.Len {
		key := string(keys.AppendKey(nil, row, batch.KeyDigits))
		out[key] = append(out[key], row)
	}
	return out
}

// sameRows compares two bags of rows.
func sameRows(a *tables.Batch, inA []int, b *tables.Batch, inB []int) bool {
	if len(inA) != len(inB) {
		return false
	}
	count := map[string]int{}
	for _, row := range inA {
		count[string(a.AppendKey(nil, row, batch.KeyDigits))]++
	}
	for _, row := range inB {
		key := string(b.AppendKey(nil, row, batch.KeyDigits))
		if count[key]--; count[key] < 0 {
			return false
		}
	}
	return true
}
