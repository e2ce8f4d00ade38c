package engine

import (
	"fmt"

	"github.com/dolthub/go-mysql-server/sql"
	"github.com/dolthub/go-mysql-server/sql/types"
	"github.com/dolthub/vitess/go/sqltypes"
	"github.com/dolthub/vitess/go/vt/proto/query"

	"smelt/tables"
)

// stringColumnChars is the declared length of string columns: the longest VARCHAR that MySQL itself can declare in
// utf8mb4 (65,535 bytes a row). VARCHAR and not TEXT because dashboards leave columns of wire type 252 untyped. Values
// read may be longer; values that an INSERT writes may not.
const stringColumnChars = 16383

// Limits of the decimal types on both sides: digits in all, and digits after the point that are kept when a result type
// with more than 38 digits is narrowed.
const (
	decimalDigits      = 38
	decimalScaleToKeep = 6
)

var (
	stringType    = types.MustCreateString(sqltypes.VarChar, stringColumnChars, sql.Collation_Default)
	timestampType = types.MustCreateDatetimeType(sqltypes.Datetime, 6)
)

// sqlType returns the MySQL type in which a column of type t is shown.
func sqlType(t tables.Type) (sql.Type, error) {
	switch t.Kind {
	case tables.Boolean:
		return types.Boolean, nil
	case tables.Byte:
		return types.Int8, nil
	case tables.Short:
		return types.Int16, nil
	case tables.Integer:
		return types.Int32, nil
	case tables.Long:
		return types.Int64, nil
	case tables.Float:
		return types.Float32, nil
	case tables.Double:
		return types.Float64, nil
	case tables.Decimal:
		d, err := types.CreateColumnDecimalType(uint8(t.Precision), uint8(t.Scale))
		if err != nil {
			return nil, fmt.Errorf("map decimal(%d,%d): %w", t.Precision, t.Scale, err)
		}
		return d, nil
	case tables.String:
		return stringType, nil
	case tables.Binary:
		return types.LongBlob, nil
	case tables.Date:
		return types.Date, nil
	case tables.Timestamp:
		return timestampType, nil
	case tables.JSON:
		return types.JSON, nil
	}
	return nil, fmt.Errorf("map column kind %d: no MySQL type", t.Kind)
}

// columnType returns the type in which values of the MySQL type t are stored. TINYINT(1), the type of comparisons, is a
// Boolean; unsigned integers take the next wider kind; a decimal of more than 38 digits is narrowed as Spark narrows
// it: the digits before the point are kept, and at least six behind it.
func columnType(t sql.Type) (tables.Type, error) {
	if dt, ok := t.(sql.DecimalType); ok {
		return narrowDecimal(int(dt.Precision()), int(dt.Scale())), nil
	}
	switch {
	case types.IsBoolean(t):
		return tables.Type{Kind: tables.Boolean}, nil
	case types.IsJSON(t):
		return tables.Type{Kind: tables.JSON}, nil
	case types.IsEnum(t), types.IsSet(t):
		return tables.Type{Kind: tables.String}, nil
	}
	kind, ok := wireKinds[t.Type()]
	if !ok {
		return tables.Type{}, notYet("columns of type " + t.String())
	}
	if kind == tables.Decimal {
		return tables.Type{Kind: kind, Precision: 20}, nil // BIGINT UNSIGNED
	}
	return tables.Type{Kind: kind}, nil
}

// wireKinds maps MySQL's wire types. TIME has no kind of its own in Delta and is kept as text; NULL, the type of a bare
// NULL literal, is text as well.
var wireKinds = map[query.Type]tables.Kind{
	sqltypes.Int8: tables.Byte, sqltypes.Uint8: tables.Short,
	sqltypes.Int16: tables.Short, sqltypes.Uint16: tables.Integer, sqltypes.Year: tables.Short,
	sqltypes.Int24: tables.Integer, sqltypes.Uint24: tables.Integer,
	sqltypes.Int32: tables.Integer, sqltypes.Uint32: tables.Long,
	sqltypes.Int64: tables.Long, sqltypes.Uint64: tables.Decimal, sqltypes.Bit: tables.Long,
	sqltypes.Float32: tables.Float, sqltypes.Float64: tables.Double,
	sqltypes.Date: tables.Date, sqltypes.Datetime: tables.Timestamp, sqltypes.Timestamp: tables.Timestamp,
	sqltypes.Time: tables.String, sqltypes.Null: tables.String,
	sqltypes.Char: tables.String, sqltypes.VarChar: tables.String, sqltypes.Text: tables.String,
	sqltypes.Binary: tables.Binary, sqltypes.VarBinary: tables.Binary, sqltypes.Blob: tables.Binary,
	sqltypes.TypeJSON: tables.JSON,
}

func narrowDecimal(precision, scale int) tables.Type {
	if precision > decimalDigits {
		whole := precision - scale
		scale = max(decimalDigits-whole, min(scale, decimalScaleToKeep))
		precision = decimalDigits
	}
	return tables.Type{Kind: tables.Decimal, Precision: max(precision, 1), Scale: scale}
}

// widen returns the type in which a computed column of type t is stored. go-mysql-server gives a literal the narrowest
// type that holds it, and products the digits of one factor; a column that is written for years must not depend on
// either.
func widen(t tables.Type) tables.Type {
	switch t.Kind {
	case tables.Byte, tables.Short:
		return tables.Type{Kind: tables.Integer}
	case tables.Decimal:
		return tables.Type{Kind: tables.Decimal, Precision: decimalDigits, Scale: t.Scale}
	}
	return t
}

// sqlSchema returns the columns of table name in database db as go-mysql-server wants them. Hidden fields get the
// mark that star expansion leaves out.
func sqlSchema(db, name string, schema tables.Schema) (sql.Schema, error) {
	out := make(sql.Schema, len(schema))
	for i, f := range schema {
		t, err := sqlType(f.Type)
		if err != nil {
			return nil, fmt.Errorf("show column %s.%s.%s: %w", db, name, f.Name, err)
		}
		column := f.Name
		if f.Hidden {
			column += hiddenMark
		}
		out[i] = &sql.Column{Name: column, Type: t, Source: name, DatabaseSource: db, Comment: f.Comment, Nullable: true}
	}
	return out, nil
}

// columnSchema returns the schema in which rows of the MySQL schema are stored. Names that differ only in case cannot
// live in one table and are refused.
func columnSchema(schema sql.Schema) (tables.Schema, error) {
	out := make(tables.Schema, 0, len(schema))
	for _, c := range schema {
		t, err := columnType(c.Type)
		if err != nil {
			return nil, fmt.Errorf("result column %q: %w", c.Name, err)
		}
		if c.DatabaseSource == "" {
			t = widen(t)
		}
		if out.Index(c.Name) >= 0 {
			return nil, mysqlError(errDupFieldName, "Duplicate column name '%s'", c.Name)
		}
		out = append(out, tables.Field{Name: c.Name, Type: t, Comment: c.Comment})
	}
	return out, nil
}
