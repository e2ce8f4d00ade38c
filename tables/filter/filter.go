// Package filter says which rows of a relation matter to whoever reads it, so that files, row groups and pages without
// any need not be read.
package filter

import "smelt/tables/batch"

// Op is what a Condition asks of a column.
type Op uint8

const (
	In           Op = iota + 1 // equal to one of the values
	Less                       // below the value
	LessEqual                  // not above the value
	Greater                    // above the value
	GreaterEqual               // not below the value
	IsNull                     // null; no value
	NotNull                    // not null; no value
)

// Condition is one thing that a row must satisfy to matter to a reader. Null satisfies IsNull only. It is advice: a scan
// may leave out rows that do not satisfy it, and may as well yield them.
type Condition struct {
	Column string
	Op     Op
	// Values has, of the column's own kind and with no null, one value for a comparison and one or more for In. Strings
	// compare byte by byte, floats as numbers, NaN satisfies nothing.
	Values batch.Column
	// Sorted says that the values of an In ascend, as Compare has it: then many of them cost no more than a few.
	Sorted bool
}
