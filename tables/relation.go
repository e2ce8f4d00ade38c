package tables

import (
	"context"

	"smelt/tables/filter"
)

// Relation is anything that can be scanned as rows: a snapshot of a table, the rows that a range of commits added, a
// batch in memory, a table of the system's own state. Implementations are safe for concurrent scans.
type Relation interface {
	// Schema returns the columns of the relation.
	Schema() Schema
	// Scan reads the named columns, in that order; an empty list asks for rows without columns (for COUNT(*)), nil
	// asks for all. Several scans may run at once.
	Scan(ctx context.Context, columns []string) (Reader, error)
}

// Counter is implemented by relations that know their exact number of rows without a scan.
type Counter interface {
	// Rows returns the exact number of rows.
	Rows() int64
}

// Pruner is implemented by relations that can pass over rows which cannot matter, by the statistics of their files.
type Pruner interface {
	Relation
	// Prune returns the relation without some or all of the rows that fail one of the conditions. Conditions on
	// columns that do not exist, or with values of another kind, are passed over.
	Prune(conditions []filter.Condition) Relation
}

// Reader yields the batches of one scan. It is not safe for concurrent use.
type Reader interface {
	// Next returns the next batch, never an empty one, or io.EOF after the last.
	Next(ctx context.Context) (*Batch, error)
	// Close releases the scan; it may be called more than once.
	Close() error
}
