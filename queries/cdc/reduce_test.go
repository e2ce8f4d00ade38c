package cdc_test

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"smelt/queries/cdc"
	"smelt/tables"
)

// event is one change: columns k, a and b, all text; "" stands for NULL.
type event struct {
	k, a, b string
	seq     int64
	op      int64
}

// line is one row of the table; end is 0 for a row that lives.
type line struct {
	k, a, b    string
	start, end int64
}

var schema = tables.Schema{
	{Name: "k", Type: tables.Type{Kind: tables.String}}, {Name: "a", Type: tables.Type{Kind: tables.String}}, {Name: "b", Type: tables.Type{Kind: tables.String}},
	{Name: cdc.Sequence, Type: tables.Type{Kind: tables.Long}}, {Name: cdc.Operation, Type: tables.Type{Kind: tables.Long}},
}

func batchOf(list []event) *tables.Batch {
	b := tables.NewBatch(schema, len(list))
	for _, e := range list {
		for i, v := range []string{e.k, e.a, e.b} {
			if v == "" {
				b.Columns[i].AppendNull(tables.String)
			} else {
				b.Columns[i].AppendString(v)
			}
		}
		b.Columns[3].AppendInt(e.seq)
		b.Columns[4].AppendInt(e.op)
		b.Len++
	}
	return b
}

func linesOf(b *tables.Batch) []line {
	cell := func(name string, row int) string {
		if c := &b.Columns[b.Schema.Index(name)]; !c.Null(row) {
			return c.Strings[row]
		}
		return ""
	}
	out := make([]line, b.Len)
	for row := range out {
		out[row] = line{k: cell("k", row), a: cell("a", row), b: cell("b", row)}
		if i := b.Schema.Index(cdc.StartAt); i >= 0 {
			out[row].start = b.Columns[i].Ints[row]
			if end := &b.Columns[b.Schema.Index(cdc.EndAt)]; !end.Null(row) {
				out[row].end = end.Ints[row]
			}
		}
	}
	slices.SortFunc(out, func(x, y line) int { return cmp.Or(cmp.Compare(x.k, y.k), cmp.Compare(x.start, y.start)) })
	return out
}

// model says what the table must be, in the plainest way: it knows all events and sorts them.
func model(s *cdc.Spec, all []event) []line {
	var truncated int64 = -1
	byKey := map[string]map[int64][]event{}
	for _, e := range all {
		if e.op == cdc.Truncate {
			truncated = max(truncated, e.seq)
			continue
		}
		if byKey[e.k] == nil {
			byKey[e.k] = map[int64][]event{}
		}
		byKey[e.k][e.seq] = append(byKey[e.k][e.seq], e)
	}
	var out []line
	for _, k := range slices.Sorted(maps.Keys(byKey)) {
		var history []line
		live := false
		for _, seq := range slices.Sorted(maps.Keys(byKey[k])) {
			if seq <= truncated {
				continue
			}
			group := byKey[k][seq]
			if slices.ContainsFunc(group, func(e event) bool { return e.op == cdc.Delete }) {
				if live {
					history[len(history)-1].end = seq
				}
				live = false
				continue
			}
			next := line{k: k}
			if live && s.IgnoreNulls {
				next = history[len(history)-1]
			}
			for _, e := range sorted(group) {
				if e.a != "" || !s.IgnoreNulls {
					next.a = e.a
				}
				if e.b != "" || !s.IgnoreNulls {
					next.b = e.b
				}
			}
			next.start, next.end = seq, 0
			if live {
				now := &history[len(history)-1]
				if (now.a == next.a || !tracks(s, "a")) && (now.b == next.b || !tracks(s, "b")) {
					now.a, now.b = next.a, next.b
					continue
				}
				now.end = seq
			}
			history, live = append(history, next), true
		}
		if s.History {
			out = append(out, history...)
		} else if live {
			last := history[len(history)-1]
			out = append(out, line{k: k, a: last.a, b: last.b})
		}
	}
	return out
}

func tracks(s *cdc.Spec, column string) bool {
	return slices.Contains(s.Track, column) || s.Track == nil && !slices.Contains(s.TrackBut, column)
}

// sorted orders upserts of one sequence as their contents: NULL is written "n,", a text with its length before it.
func sorted(group []event) []event {
	content := func(e event) string {
		text := ""
		for _, v := range []string{e.k, e.a, e.b} {
			if v == "" {
				text += "n,"
			} else {
				text += fmt.Sprintf("%d:%s,", len(v), v)
			}
		}
		return text
	}
	return slices.SortedFunc(slices.Values(group), func(x, y event) int { return cmp.Compare(content(x), content(y)) })
}

// table is what a caller keeps: the rows, and the events beside them.
type table struct {
	spec *cdc.Spec
	rows *tables.Batch
	kept *tables.Batch
}

// apply does what queries does with a batch, on rows in memory. It may stop between the two commits.
func (w *table) apply(t *testing.T, list []event, dies bool) {
	t.Helper()
	batch := batchOf(list)
	keys := map[string]bool{}
	whole := false
	for _, e := range list {
		keys[e.k] = true
		whole = whole || e.op == cdc.Truncate
	}
	mine := func(b *tables.Batch) (chosen, others *tables.Batch) {
		keep, rest := make([]bool, b.Len), make([]bool, b.Len)
		for row := range keep {
			k := ""
			if c := &b.Columns[0]; !c.Null(row) {
				k = c.Strings[row]
			}
			at := b.Schema.Index(cdc.Operation)
			keep[row] = whole || keys[k] || at >= 0 && b.Columns[at].Ints[row] == cdc.Truncate
			rest[row] = !keep[row]
		}
		return b.Filter(keep), b.Filter(rest)
	}
	rows, otherRows := mine(w.rows)
	kept, otherKept := mine(w.kept)
	all := tables.NewBatch(schema, 0)
	all.Append(kept)
	all.Append(batch)
	if w.spec.Stored() {
		all.Append(cdc.RowEvents(rows, schema))
	}
	r, err := w.spec.Reduce(all)
	require.NoError(t, err)
	// The state goes first. What was kept before stays where the row cannot tell it, as queries does.
	if w.spec.Stored() {
		_, fresh := cdc.Difference(kept, r.Kept)
		otherKept.Append(kept)
		otherKept.Append(fresh)
	} else {
		otherKept.Append(r.Kept)
	}
	w.kept = otherKept
	if dies {
		return
	}
	otherRows.Append(r.Rows)
	w.rows = otherRows
}

func TestTheTableIsThatOfTheSortedEvents(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	for round := range 3000 {
		spec := &cdc.Spec{Keys: []string{"k"}, History: r.IntN(2) == 0, IgnoreNulls: r.IntN(2) == 0}
		if spec.History {
			switch r.IntN(3) {
			case 0:
				spec.Track = []string{"a"}
			case 1:
				spec.TrackBut = []string{"a"}
			}
		}
		list := randomEvents(r, spec)
		want := model(spec, list)
		feed := slices.Clone(list)
		for range r.IntN(len(list) + 1) {
			feed = append(feed, list[r.IntN(len(list))]) // duplicates
		}
		r.Shuffle(len(feed), func(i, j int) { feed[i], feed[j] = feed[j], feed[i] })
		w := &table{spec: spec, rows: tables.NewBatch(spec.TableSchema(schema), 0), kept: tables.NewBatch(schema, 0)}
		for len(feed) > 0 {
			n := 1 + r.IntN(len(feed))
			for r.IntN(4) == 0 { // a crash behind the first commit; the next batch may be cut elsewhere
				w.apply(t, feed[:1+r.IntN(len(feed))], true)
			}
			w.apply(t, feed[:n], false)
			feed = feed[n:]
		}
		got := linesOf(w.rows)
		require.ElementsMatch(t, want, got, "round %d of %+v: %+v", round, spec, list)
	}
}

// randomEvents makes few keys and sequences meet often, equal ones too.
func randomEvents(r *rand.Rand, spec *cdc.Spec) []event {
	value := func() string { return []string{"", "x", "y", "zz"}[r.IntN(4)] }
	list := make([]event, 1+r.IntN(12))
	for i := range list {
		list[i] = event{k: []string{"1", "2", ""}[r.IntN(3)], a: value(), b: value(), seq: int64(1 + r.IntN(8))}
		switch n := r.IntN(12); {
		case n < 3:
			list[i].op = cdc.Delete
		case n == 3 && !spec.History:
			list[i].op = cdc.Truncate
		}
	}
	return list
}

func TestHistoryAsDatabricksWritesIt(t *testing.T) {
	// The example of the documentation of AUTO CDC: users who move between cities.
	list := []event{
		{"124", "Raul", "Oaxaca", 1, cdc.Upsert}, {"123", "Isabel", "Monterrey", 1, cdc.Upsert}, {"125", "Mercedes", "Tijuana", 2, cdc.Upsert},
		{"126", "Lily", "Cancun", 2, cdc.Upsert}, {"123", "", "", 6, cdc.Delete}, {"125", "Mercedes", "Guadalajara", 6, cdc.Upsert},
		{"125", "Mercedes", "Mexicali", 5, cdc.Upsert}, {"123", "Isabel", "Chihuahua", 5, cdc.Upsert},
	}
	reduced := func(spec *cdc.Spec) []line {
		r, err := spec.Reduce(batchOf(list))
		require.NoError(t, err)
		return linesOf(r.Rows)
	}
	require.Equal(t, []line{
		{"123", "Isabel", "Monterrey", 1, 5}, {"123", "Isabel", "Chihuahua", 5, 6}, {"124", "Raul", "Oaxaca", 1, 0},
		{"125", "Mercedes", "Tijuana", 2, 5}, {"125", "Mercedes", "Mexicali", 5, 6}, {"125", "Mercedes", "Guadalajara", 6, 0}, {"126", "Lily", "Cancun", 2, 0},
	}, reduced(&cdc.Spec{Keys: []string{"k"}, History: true}))
	require.Equal(t, []line{
		{"123", "Isabel", "Chihuahua", 1, 6}, {"124", "Raul", "Oaxaca", 1, 0}, {"125", "Mercedes", "Guadalajara", 2, 0}, {"126", "Lily", "Cancun", 2, 0},
	}, reduced(&cdc.Spec{Keys: []string{"k"}, History: true, TrackBut: []string{"b"}}))
	require.Equal(t, []line{{"124", "Raul", "Oaxaca", 0, 0}, {"125", "Mercedes", "Guadalajara", 0, 0}, {"126", "Lily", "Cancun", 0, 0}},
		reduced(&cdc.Spec{Keys: []string{"k"}}))
}

func TestSpecsThatCannotBe(t *testing.T) {
	with := func(extra ...string) tables.Schema {
		out := slices.Clone(schema)
		for _, name := range extra {
			out = append(out, tables.Field{Name: name, Type: tables.Type{Kind: tables.Long}})
		}
		return out
	}
	require.ErrorContains(t, (&cdc.Spec{}).Check(schema), "KEYS names no column")
	require.ErrorContains(t, (&cdc.Spec{Keys: []string{"id"}}).Check(schema), `column "id" is not among those of the table: k, a, b`)
	require.ErrorContains(t, (&cdc.Spec{Keys: []string{"k"}, History: true, Track: []string{"c"}}).Check(schema), `column "c"`)
	require.ErrorContains(t, (&cdc.Spec{Keys: []string{"k"}, History: true}).Check(with("__START_AT")), "__START_AT")
	require.ErrorContains(t, (&cdc.Spec{Keys: []string{"k"}, History: true}).Check(with(cdc.Sequence+"2")), "2 parts")
	require.NoError(t, (&cdc.Spec{Keys: []string{"k"}}).Check(with(cdc.Sequence+"2")))
	require.ErrorContains(t, (&cdc.Spec{Keys: []string{"k"}}).Check(schema[:3]), cdc.Sequence)
}
