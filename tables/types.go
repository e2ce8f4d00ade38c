// Package tables turns batches of rows into versions on disk: it owns the columnar Batch, the only form in which rows
// travel between smelt's packages, and the Store, a directory of Delta Lake tables (reader 1, writer 2) that any other
// engine may read at any time. Times are UTC microseconds, sizes are bytes. See DESIGN.md for the order of file
// operations and the invariants.
package tables

import (
	"math/big"

	"smelt/tables/batch"
)

// The columnar types, defined in package batch so that the parts of this package can share them.
type (
	// Batch is a set of rows held by column.
	Batch = batch.Batch
	// Column is the values of one field.
	Column = batch.Column
	// Schema is an ordered list of fields whose names are unique ignoring case.
	Schema = batch.Schema
	// Field is one column of a Schema.
	Field = batch.Field
	// Type is the type of a column.
	Type = batch.Type
	// Kind is the logical kind of a column.
	Kind = batch.Kind
	// Int128 is the unscaled value of a decimal.
	Int128 = batch.Int128
)

// The kinds of columns; package batch says what each holds.
const (
	Boolean   = batch.Boolean
	Byte      = batch.Byte
	Short     = batch.Short
	Integer   = batch.Integer
	Long      = batch.Long
	Float     = batch.Float
	Double    = batch.Double
	Decimal   = batch.Decimal
	String    = batch.String
	Binary    = batch.Binary
	Date      = batch.Date
	Timestamp = batch.Timestamp
	JSON      = batch.JSON
)

// NewBatch returns an empty batch of the schema with room for rows.
func NewBatch(schema Schema, rows int) *Batch { return batch.New(schema, rows) }

// Int128FromBig returns b as an Int128; ok is false if it needs more than 128 bits.
func Int128FromBig(b *big.Int) (v Int128, ok bool) { return batch.Int128FromBig(b) }
