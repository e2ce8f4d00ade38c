// Package sieve shows some of a relation's rows: those that columns tell which the reader need not have asked for.
package sieve

import (
	"context"
	"slices"
	"strings"

	"smelt/tables"
	"smelt/tables/filter"
)

// Keep reports whether a row of a batch is there; at has the places of the columns by which it is told.
type Keep func(b *tables.Batch, at []int, row int) bool

// Rows returns the rows that keep says are there. The columns named in by are read in any case, and passed on only to who
// asked for them.
func Rows(of tables.Relation, by []string, keep Keep) tables.Relation {
	return &sieved{of: of, by: by, keep: keep}
}

type sieved struct {
	of   tables.Relation
	by   []string
	keep Keep
}

var _ tables.Pruner = (*sieved)(nil)

// Schema implements tables.Relation.
func (s *sieved) Schema() tables.Schema { return s.of.Schema() }

// Prune implements tables.Pruner.
func (s *sieved) Prune(conditions []filter.Condition) tables.Relation {
	if p, ok := s.of.(tables.Pruner); ok {
		return Rows(p.Prune(conditions), s.by, s.keep)
	}
	return s
}

// Scan implements tables.Relation.
func (s *sieved) Scan(ctx context.Context, columns []string) (tables.Reader, error) {
	if columns == nil {
		columns = s.of.Schema().Names()
	}
	all, at := slices.Clone(columns), make([]int, len(s.by))
	for i, name := range s.by {
		at[i] = slices.IndexFunc(all, func(have string) bool { return strings.EqualFold(have, name) })
		if at[i] < 0 {
			at[i], all = len(all), append(all, name)
		}
	}
	r, err := s.of.Scan(ctx, all)
	if err != nil {
		return nil, err
	}
	return &reader{Reader: r, at: at, keep: s.keep, columns: len(columns)}, nil
}

type reader struct {
	tables.Reader
	at      []int
	keep    Keep
	columns int // that were asked for
}

// Next implements tables.Reader.
func (r *reader) Next(ctx context.Context) (*tables.Batch, error) {
	for {
		b, err := r.Reader.Next(ctx)
		if err != nil {
			return nil, err
		}
		keep := make([]bool, b.Len)
		for row := range keep {
			keep[row] = r.keep(b, r.at, row)
		}
		if out := b.Filter(keep); out.Len > 0 {
			return &tables.Batch{Schema: out.Schema[:r.columns], Columns: out.Columns[:r.columns], Len: out.Len}, nil
		}
	}
}
