package merge

import (
	"fmt"
	"slices"

	"smelt/tables"
	"smelt/tables/batch"
)

// maxJoinKeys is how many values of a column are looked for in the tables beside what changed: some ten MiB of memory. With more
// of them the tables are read whole, which the join itself takes longer for than the reading.
const maxJoinKeys = 100_000

// matcher is a table that can tell which of its rows have one of some keys, without reading all of it.
type matcher interface {
	Matching(keys ...*tables.Batch) (tables.Relation, error)
}

// narrowing leaves rows out of tables that cannot meet those of the others: what changed is little, and of what it is joined
// with only the rows with its keys matter, of what these are joined with only those with theirs, and so on.
type narrowing struct {
	*work
	relations map[string]tables.Relation // by placeholder
	known     map[int]bool               // places that hold no more than matters
	whole     map[int]string             // the others, and why
	values    map[origin]*tables.Batch   // different values of columns of known places; nil for too many
}

func (w *work) narrow() *narrowing {
	return &narrowing{work: w, relations: map[string]tables.Relation{}, known: map[int]bool{}, whole: map[int]string{}, values: map[origin]*tables.Batch{}}
}

// spread narrows all places that it can, beginning at those that are known.
func (n *narrowing) spread() error {
	for {
		limits := map[int][]*tables.Batch{}
		for _, e := range n.joins {
			for from := range e {
				if err := n.limit(limits, e[from], e[1-from]); err != nil {
					return err
				}
			}
		}
		if len(limits) == 0 {
			break
		}
		for place, keys := range limits {
			if err := n.match(place, keys); err != nil {
				return err
			}
		}
	}
	for place := range n.Occurrences {
		if !n.known[place] && n.whole[place] == "" {
			n.whole[place] = "no equal columns join it with what changed"
		}
	}
	return nil
}

// limit notes what the rows of the places of one side of an equality must have, if the other side is known.
func (n *narrowing) limit(limits map[int][]*tables.Batch, from, to side) error {
	if !to.may || !slices.ContainsFunc(to.of, n.open) || slices.ContainsFunc(from.of, func(o origin) bool { return !n.known[o.place] }) {
		return nil
	}
	var lists []*tables.Batch
	for _, o := range from.of {
		list, err := n.valuesOf(o)
		if err != nil {
			return err
		}
		if list == nil {
			for _, o := range to.of {
				if n.open(o) {
					n.whole[o.place] = fmt.Sprintf("more than %d different values of %s are to be looked for", maxJoinKeys, o.column)
				}
			}
			return nil
		}
		lists = append(lists, list)
	}
	for _, o := range to.of {
		if n.open(o) {
			limits[o.place] = append(limits[o.place], under(o, lists...))
		}
	}
	return nil
}

// open reports whether the place of a column can be narrowed and is not yet.
func (n *narrowing) open(o origin) bool {
	_, ok := n.relations[n.Occurrences[o.place].Placeholder].(matcher)
	return ok && !n.known[o.place]
}

// under puts lists of values under the name and the type of a column.
func under(o origin, lists ...*tables.Batch) *tables.Batch {
	keys := tables.NewBatch(tables.Schema{{Name: o.column, Type: o.typ}}, 0)
	for _, l := range lists {
		keys.Append(&tables.Batch{Schema: keys.Schema, Columns: l.Columns, Len: l.Len})
	}
	return keys
}

// match leaves the rows out of a place that lack the keys.
func (n *narrowing) match(place int, keys []*tables.Batch) error {
	at := n.Occurrences[place].Placeholder
	rows, err := n.relations[at].(matcher).Matching(keys...)
	if err != nil {
		return err
	}
	n.relations[at], n.known[place] = rows, true
	delete(n.whole, place)
	return nil
}

// valuesOf returns the different values of a column of a known place but NULL, which joins nothing; nil for too many.
func (n *narrowing) valuesOf(o origin) (*tables.Batch, error) {
	if list, ok := n.values[o]; ok {
		return list, nil
	}
	list, err := n.distinct(n.relations[n.Occurrences[o.place].Placeholder], o.column)
	if err == nil {
		n.values[o] = list
	}
	return list, err
}

func (n *narrowing) distinct(of tables.Relation, column string) (*tables.Batch, error) {
	rows, err := of.Scan(n.ctx, []string{column})
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	schema, err := of.Schema().Select([]string{column})
	if err != nil {
		return nil, err
	}
	out, seen := tables.NewBatch(schema, 0), map[string]bool{}
	err = tables.EachBatch(n.ctx, rows, func(b *tables.Batch) error {
		var fresh []int
		var key []byte
		for row := range b.Len {
			if b.Columns[0].Null(row) {
				continue
			}
			if key = b.AppendKey(key[:0], row, batch.KeyDigits); !seen[string(key)] {
				seen[string(key)] = true
				fresh = append(fresh, row)
			}
		}
		if len(seen) > maxJoinKeys {
			return errTooMany
		}
		out.Append(b.Pick(fresh))
		return nil
	})
	switch {
	case err == errTooMany: // of ours, not wrapped
		return nil, nil
	case err != nil:
		return nil, err
	}
	return out, nil
}

const errTooMany = Again("too many values")

// nowWith returns what each place holds now, less the rows that cannot come to have one of the keys.
func (w *work) nowWith(keys *tables.Batch) (map[string]tables.Relation, error) {
	n := w.narrow()
	n.relations = w.Relations(func(database, table string) tables.Relation { return w.input(database, table).New })
	if keys.Len > maxJoinKeys {
		return n.relations, nil
	}
	limits := map[int][]*tables.Batch{}
	for i := range w.Keys {
		if i >= len(w.keyOf) {
			break
		}
		column := &tables.Batch{Schema: keys.Schema[i : i+1], Columns: keys.Columns[i : i+1], Len: keys.Len}
		for _, o := range w.keyOf[i] {
			// Left out behind an outer join, a row would become one of NULL.
			if !o.filled && n.open(o) && comparable(o.typ, keys.Schema[i].Type) {
				limits[o.place] = append(limits[o.place], under(o, column))
			}
		}
	}
	for place, keys := range limits {
		if err := n.match(place, keys); err != nil {
			return nil, err
		}
	}
	return n.relations, n.spread()
}
