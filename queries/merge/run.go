package merge

import (
	"context"
	"errors"
	"fmt"
	"io"

	"smelt/tables"
	"smelt/tables/batch"
)

// maxRows bounds the rows that one run holds in memory, some hundred bytes each: more changes are computed anew.
const maxRows = 2 << 20

// Result is the rows of a query.
type Result interface {
	tables.Reader
	// Schema returns the columns of the result.
	Schema() tables.Schema
}

// Purpose is what the rows of a query are for.
type Purpose int

const (
	Came  Purpose = iota + 1 // they come into the table
	Gone                     // they were in it and go
	Inner                    // they only tell what to do: no rule judges them
)

// Runner runs a SELECT over relations by placeholder.
type Runner func(ctx context.Context, sql string, relations map[string]tables.Relation, purpose Purpose) (Result, error)

// Input is what one table was and is. Plus and Minus are nil where it is the same.
type Input struct {
	Old, New, Plus, Minus tables.Relation
}

// Change is what is to be done to a table so that it equals its SELECT again.
type Change struct {
	Keys    *tables.Batch // the rows with these keys go; nil for none
	Removed *tables.Batch // these rows go, each as often as it stands here; nil for none
	Whole   bool          // all rows go
	Rows    tables.Reader // these rows come; nil for none
}

// Nothing reports whether there is nothing to do.
func (c *Change) Nothing() bool {
	return c.Keys == nil && c.Removed == nil && !c.Whole && c.Rows == nil
}

// Again is why the whole SELECT must be run anew after all.
type Again string

// Error implements error.
func (a Again) Error() string { return string(a) }

// work is one run of a plan.
type work struct {
	*Plan
	ctx   context.Context
	input func(database, table string) Input
	run   Runner
	sink  *tables.Snapshot
}

// Run finds what the changes of the tables do to the rows of the SELECT, of which sink has those of before. An error that
// is an Again says why that cannot be told.
func (p *Plan) Run(ctx context.Context, input func(database, table string) Input, run Runner, sink *tables.Snapshot) (*Change, error) {
	w := &work{Plan: p, ctx: ctx, input: input, run: run, sink: sink}
	if err := sameColumns(p.Schema, sink.Schema()); err != nil {
		return nil, err
	}
	switch p.Class {
	case Rows:
		return w.rows()
	case Totals:
		return w.totals()
	default:
		keys, err := w.touched()
		if err != nil || keys.Len == 0 {
			return &Change{}, err
		}
		rows, err := w.anew(keys)
		if err != nil {
			return nil, err
		}
		return w.replace(keys, rows)
	}
}

// Whole returns the tables, by database.table, that Run would read whole beside what changed, and why. It reads what the others
// are searched for.
func (p *Plan) Whole(ctx context.Context, input func(database, table string) Input) (map[string]string, error) {
	terms, err := (&work{Plan: p, ctx: ctx, input: input}).terms()
	out := map[string]string{}
	for _, t := range terms {
		for place, why := range t.whole {
			out[p.Occurrences[place].Database+"."+p.Occurrences[place].Table] = why
		}
	}
	return out, err
}

func sameColumns(want, got tables.Schema) error {
	if len(want) != len(got) {
		return Again("its columns have changed")
	}
	for i, f := range want {
		if got[i].Name != f.Name || got[i].Type != f.Type {
			return Again(fmt.Sprintf("its column %s has changed", f.Name))
		}
	}
	return nil
}

// term is the rows that came, or went, because of what changed in one place.
type term struct {
	purpose   Purpose
	relations map[string]tables.Relation
	whole     map[int]string // places that are read whole beside it, and why
}

// terms takes the changes place by place: where one place has what came, those before it have the rows of now and those
// behind it the rows of before, so that a pair of rows that came both is met once.
func (w *work) terms() ([]term, error) {
	var out []term
	for i, o := range w.Occurrences {
		in := w.input(o.Database, o.Table)
		if o.Fixed != "" || in.Plus == nil {
			continue
		}
		for _, purpose := range []Purpose{Came, Gone} {
			rows := in.Plus
			if purpose == Gone {
				rows = in.Minus
			}
			if c, ok := rows.(tables.Counter); ok && c.Rows() == 0 {
				continue
			}
			n := w.narrow()
			n.relations[o.Placeholder], n.known[i] = rows, true
			for j := range w.Occurrences {
				if j != i {
					n.relations[w.Occurrences[j].Placeholder] = w.beside(i, j)
					n.known[j] = o.excludes(&w.Occurrences[j])
				}
			}
			if err := n.spread(); err != nil {
				return nil, err
			}
			out = append(out, term{purpose, n.relations, n.whole})
		}
	}
	return out, nil
}

// beside returns what place j holds while place i has what changed.
func (w *work) beside(i, j int) tables.Relation {
	other := &w.Occurrences[j]
	in := w.input(other.Database, other.Table)
	switch {
	case w.Occurrences[i].excludes(other):
		return tables.FromBatches(in.New.Schema())
	case j > i && other.Fixed == "":
		return in.Old
	}
	return in.New
}

// each runs a SELECT and calls f for each batch.
func (w *work) each(sql string, relations map[string]tables.Relation, purpose Purpose, want tables.Schema, f func(*tables.Batch) error) error {
	result, err := w.run(w.ctx, sql, relations, purpose)
	if err != nil {
		return err
	}
	defer result.Close()
	if want != nil {
		if err := sameColumns(want, result.Schema()); err != nil {
			return err
		}
	}
	return tables.EachBatch(w.ctx, result, f)
}

// rows adds up what came and what went as a bag.
func (w *work) rows() (*Change, error) {
	terms, err := w.terms()
	if err != nil {
		return nil, err
	}
	onlyCame := true
	for _, t := range terms {
		onlyCame = onlyCame && t.purpose == Came
	}
	switch {
	case len(terms) == 0:
		return &Change{}, nil
	case onlyCame:
		return w.stream(terms)
	}
	bag := newBag(w.Schema)
	for _, t := range terms {
		by := 1
		if t.purpose == Gone {
			by = -1
		}
		if err := w.each(w.SQL, t.relations, t.purpose, w.Schema, func(b *tables.Batch) error { return bag.add(b, by) }); err != nil {
			return nil, err
		}
	}
	plus, minus := bag.net()
	c := &Change{}
	if minus.Len > 0 {
		c.Removed = minus
	}
	if plus.Len > 0 {
		c.Rows = batchReader(plus)
	}
	return c, nil
}

// stream yields what came while it is computed: nothing of it need be compared. Where there is nothing, nothing is to do.
func (w *work) stream(terms []term) (*Change, error) {
	s := &stream{work: w, terms: terms}
	first, err := s.Next(w.ctx)
	if errors.Is(err, io.EOF) {
		return &Change{}, s.Close()
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	s.first = first
	return &Change{Rows: s}, nil
}

// stream is the rows of several queries, one after another.
type stream struct {
	*work
	terms []term
	now   Result
	first *tables.Batch
}

// Next implements tables.Reader.
func (s *stream) Next(ctx context.Context) (*tables.Batch, error) {
	if b := s.first; b != nil {
		s.first = nil
		return b, nil
	}
	for {
		if s.now == nil {
			if len(s.terms) == 0 {
				return nil, io.EOF
			}
			result, err := s.run(s.ctx, s.SQL, s.terms[0].relations, Came)
			if err != nil {
				return nil, err
			}
			s.terms, s.now = s.terms[1:], result
			if err := sameColumns(s.work.Plan.Schema, result.Schema()); err != nil {
				return nil, err
			}
		}
		b, err := s.now.Next(ctx)
		if !errors.Is(err, io.EOF) {
			return b, err
		}
		if err := s.Close(); err != nil {
			return nil, err
		}
	}
}

// Close implements tables.Reader.
func (s *stream) Close() error {
	if s.now == nil {
		return nil
	}
	err := s.now.Close()
	s.now = nil
	return err
}

// batchReader yields one batch.
func batchReader(b *tables.Batch) tables.Reader {
	r, _ := tables.FromBatches(b.Schema, b).Scan(context.Background(), nil) // all columns of a batch in memory: no error
	return r
}

// bag counts equal rows.
type bag struct {
	schema tables.Schema
	rows   *tables.Batch  // each row once
	at     map[string]int // key -> place
	count  []int
}

func newBag(schema tables.Schema) *bag {
	return &bag{schema: schema, rows: tables.NewBatch(schema, 0), at: map[string]int{}}
}

func (g *bag) add(b *tables.Batch, by int) error {
	var key []byte
	var fresh []int
	for row := range b.Len {
		key = b.AppendKey(key[:0], row, batch.KeyDigits)
		at, ok := g.at[string(key)]
		if !ok {
			at = len(g.count)
			g.at[string(key)] = at
			g.count = append(g.count, 0)
			fresh = append(fresh, row)
		}
		g.count[at] += by
	}
	if len(fresh) > 0 {
		picked := b.Pick(fresh)
		picked.Schema = g.schema
		g.rows.Append(picked)
	}
	if len(g.count) > maxRows {
		return Again(fmt.Sprintf("more than %d rows have changed", maxRows))
	}
	return nil
}

// net returns the rows that came more often than they went, and the others, each as often as the difference.
func (g *bag) net() (plus, minus *tables.Batch) {
	var came, gone []int
	for at, n := range g.count {
		for ; n > 0; n-- {
			came = append(came, at)
		}
		for ; n < 0; n++ {
			gone = append(gone, at)
		}
	}
	return g.rows.Pick(came), g.rows.Pick(gone)
}
