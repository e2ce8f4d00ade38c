package merge

import (
	"math/big"

	"smelt/tables"
	"smelt/tables/batch"
	"smelt/tables/filter"
)

// maxExactFloat is up to where a sum of whole numbers is exact as a floating-point number, as AVG adds them.
const maxExactFloat = 1 << 53

// total is what changed in one group.
type total struct {
	key   int           // place among the keys
	shown *tables.Batch // one row of it: what the keys decide is the same in all
	cells []cell
}

// cell is what changed in one column of a group.
type cell struct {
	sum  big.Int       // counts and sums: what came less what went
	came *filter.Value // the extreme of what came
	gone *filter.Value // the extreme of what went
}

// totals adds up the groups in which rows have changed.
func (w *work) totals() (*Change, error) {
	keys := tables.NewBatch(w.keySchema(), 0)
	totals := map[string]*total{}
	var order []*total
	terms, err := w.terms()
	if err != nil {
		return nil, err
	}
	for _, t := range terms {
		err := w.each(w.SQL, t.relations, Inner, w.Schema, func(b *tables.Batch) error {
			found := w.keysOf(b)
			for row := range b.Len {
				key := string(found.AppendKey(nil, row, batch.KeyDigits))
				g := totals[key]
				if g == nil {
					g = &total{key: keys.Len, shown: b.Pick([]int{row}), cells: make([]cell, len(w.columns))}
					totals[key] = g
					order = append(order, g)
					keys.Append(found.Pick([]int{row}))
				}
				w.take(g, b, row, t.purpose == Gone)
			}
			if len(order) > maxRows {
				return Again("too many groups have changed")
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	if len(order) == 0 {
		return &Change{}, nil
	}
	if len(w.Keys) == 0 {
		return w.one(order[0])
	}
	return w.settle(keys, order)
}

// take adds one partial result to a group.
func (w *work) take(g *total, b *tables.Batch, row int, gone bool) {
	for i, c := range w.columns {
		col, to := &b.Columns[i], &g.cells[i]
		if col.Null(row) {
			continue
		}
		kind := w.Schema[i].Type.Kind
		switch c.kind {
		case countColumn, sumColumn:
			v := number(col, kind, row)
			if gone {
				v.Neg(v)
			}
			to.sum.Add(&to.sum, v)
		case leastColumn, greatestColumn:
			v, side := filter.At(col, kind, row), &to.came
			if gone {
				side = &to.gone
			}
			if *side == nil || beyond(c.kind, kind, &v, *side) {
				*side = &v
			}
		}
	}
}

func number(c *tables.Column, kind tables.Kind, row int) *big.Int {
	if kind == tables.Decimal {
		return c.Decimals[row].Big()
	}
	return big.NewInt(c.Ints[row])
}

// beyond reports whether a is the more extreme of two values.
func beyond(kind columnKind, of tables.Kind, a, b *filter.Value) bool {
	if kind == leastColumn {
		return filter.Compare(of, a, b) < 0
	}
	return filter.Compare(of, a, b) > 0
}

// settle puts the new totals in the place of the old ones. Groups whose extreme went are computed anew.
func (w *work) settle(keys *tables.Batch, order []*total) (*Change, error) {
	old, err := w.before(keys)
	if err != nil {
		return nil, err
	}
	was := byKey(w.keysOf(old), old)
	rows := tables.NewBatch(w.Schema, len(order))
	var again []int
	for _, g := range order {
		places := was[string(keys.AppendKey(nil, g.key, batch.KeyDigits))]
		if len(places) > 1 {
			return nil, Again("a group is there twice")
		}
		before := -1
		if len(places) == 1 {
			before = places[0]
		}
		row := tables.NewBatch(w.Schema, 1)
		switch w.result(g, old, before, row) {
		case stands:
			rows.Append(row)
		case unsure:
			again = append(again, g.key)
		case broken:
			return nil, Again("a group would have fewer than no rows")
		}
	}
	if len(again) > 0 {
		fresh, err := w.anew(keys.Pick(again))
		if err != nil {
			return nil, err
		}
		rows.Append(fresh)
	}
	return w.replace(keys, rows)
}

// one brings the one total over all rows up to date.
func (w *work) one(g *total) (*Change, error) {
	old, err := tables.ReadAll(w.ctx, w.sink, w.Schema.Names())
	if err != nil {
		return nil, err
	}
	if old.Len != 1 {
		return nil, Again("it has not the one row that a total has")
	}
	row := tables.NewBatch(w.Schema, 1)
	switch w.result(g, old, 0, row) {
	case unsure:
		return nil, Again("an extreme value went, or a sum does not fit")
	case broken:
		return nil, Again("a total would have fewer than no rows")
	}
	if sameRows(old, []int{0}, row, []int{0}) {
		return &Change{}, nil
	}
	return &Change{Whole: true, Rows: batchReader(row)}, nil
}

// verdict is what became of a group.
type verdict int

const (
	stands verdict = iota // it has a row
	empty                 // its last row went
	unsure                // it must be computed anew
	broken                // it cannot be
)

// result writes the row of a group; before is its place in old, -1 for none.
func (w *work) result(g *total, old *tables.Batch, before int, row *tables.Batch) verdict {
	// The numbers first: averages and empty sums follow from them.
	numbers := map[string]*big.Int{}
	for i, c := range w.columns {
		if c.kind != countColumn && c.kind != sumColumn {
			continue
		}
		n := new(big.Int).Set(&g.cells[i].sum)
		if before >= 0 && !old.Columns[i].Null(before) {
			n.Add(n, number(&old.Columns[i], w.Schema[i].Type.Kind, before))
		}
		numbers[w.Schema[i].Name] = n
	}
	switch sign := numbers[counterName].Sign(); {
	case sign < 0:
		return broken
	case sign == 0 && len(w.Keys) > 0:
		return empty
	}
	for i, c := range w.columns {
		if !w.write(i, c, g, old, before, numbers, row) {
			return unsure
		}
	}
	row.Len = 1
	return stands
}

// write appends one value; false where it cannot be told.
func (w *work) write(i int, c column, g *total, old *tables.Batch, before int, numbers map[string]*big.Int, row *tables.Batch) bool {
	to, t := &row.Columns[i], w.Schema[i].Type
	switch c.kind {
	case keyColumn:
		if from := &g.shown.Columns[i]; from.Null(0) {
			to.AppendNull(t.Kind)
		} else {
			v := filter.At(from, t.Kind, 0)
			appendValue(to, t.Kind, &v)
		}
		return true
	case countColumn, sumColumn:
		if c.kind == sumColumn && numbers[c.count].Sign() == 0 {
			to.AppendNull(t.Kind)
			return true
		}
		return appendNumber(to, t, numbers[w.Schema[i].Name])
	case averageColumn:
		sum, count := numbers[c.sum], numbers[c.count]
		if count.Sign() == 0 {
			to.AppendNull(t.Kind)
			return true
		}
		if sum.CmpAbs(big.NewInt(maxExactFloat)) > 0 {
			return false
		}
		to.AppendFloat(float64(sum.Int64()) / float64(count.Int64()))
		return true
	default:
		return writeExtreme(c.kind, t.Kind, &g.cells[i], old, i, before, to)
	}
}

func appendNumber(to *tables.Column, t tables.Type, n *big.Int) bool {
	if t.Kind == tables.Decimal {
		v, ok := tables.Int128FromBig(n)
		limit := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(t.Precision)), nil)
		if !ok || n.CmpAbs(limit) >= 0 {
			return false
		}
		to.AppendDecimal(v)
		return true
	}
	if !n.IsInt64() {
		return false
	}
	to.AppendInt(n.Int64())
	return true
}

// writeExtreme appends the least or greatest value; false where it went and the next one is not known.
func writeExtreme(kind columnKind, of tables.Kind, c *cell, old *tables.Batch, i, before int, to *tables.Column) bool {
	best := c.came
	if before >= 0 && !old.Columns[i].Null(before) {
		v := filter.At(&old.Columns[i], of, before)
		if c.gone != nil && !beyond(kind, of, &v, c.gone) {
			return false
		}
		if best == nil || beyond(kind, of, &v, best) {
			best = &v
		}
	} else if c.gone != nil {
		return false
	}
	if best == nil {
		to.AppendNull(of)
		return true
	}
	appendValue(to, of, best)
	return true
}

func appendValue(to *tables.Column, kind tables.Kind, v *filter.Value) {
	switch kind {
	case tables.Boolean:
		to.AppendBool(v.Int != 0)
	case tables.Float, tables.Double:
		to.AppendFloat(v.Float)
	case tables.Decimal:
		to.AppendDecimal(v.Decimal)
	case tables.String, tables.Binary, tables.JSON:
		to.AppendString(v.Text)
	default:
		to.AppendInt(v.Int)
	}
}
