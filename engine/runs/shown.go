package runs

import (
	"context"
	"slices"
	"strings"

	"smelt/tables"
	"smelt/tables/filter"
)

// ofRuns is the rows of some runs.
type ofRuns struct {
	rows tables.Relation
	ids  map[string]int64
}

var _ tables.Pruner = (*ofRuns)(nil)

// Schema implements tables.Relation.
func (o *ofRuns) Schema() tables.Schema { return o.rows.Schema() }

// Prune implements tables.Pruner.
func (o *ofRuns) Prune(conditions []filter.Condition) tables.Relation {
	if p, ok := o.rows.(tables.Pruner); ok {
		return &ofRuns{rows: p.Prune(conditions), ids: o.ids}
	}
	return o
}

// Scan implements tables.Relation.
func (o *ofRuns) Scan(ctx context.Context, columns []string) (tables.Reader, error) {
	if columns == nil {
		columns = o.rows.Schema().Names()
	}
	all := slices.Clone(columns)
	at := slices.IndexFunc(all, func(name string) bool { return strings.EqualFold(name, runID.Name) })
	if at < 0 {
		at, all = len(all), append(all, runID.Name)
	}
	r, err := o.rows.Scan(ctx, all)
	if err != nil {
		return nil, err
	}
	return &ofRunsReader{Reader: r, ids: o.ids, at: at, columns: len(columns)}, nil
}

type ofRunsReader struct {
	tables.Reader
	ids     map[string]int64
	at      int // place of run_id
	columns int // that were asked for
}

// Next implements tables.Reader.
func (r *ofRunsReader) Next(ctx context.Context) (*tables.Batch, error) {
	for {
		b, err := r.Reader.Next(ctx)
		if err != nil {
			return nil, err
		}
		keep := make([]bool, b.Len)
		for row := range keep {
			_, keep[row] = r.ids[b.Columns[r.at].Strings[row]]
		}
		if out := b.Filter(keep); out.Len > 0 {
			return &tables.Batch{Schema: out.Schema[:r.columns], Columns: out.Columns[:r.columns], Len: out.Len}, nil
		}
	}
}
