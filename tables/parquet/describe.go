package parquet

import (
	"fmt"
	"io"

	pq "github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/format"

	"smelt/tables/batch"
)

// Column is a column of a file that somebody else wrote.
type Column struct {
	Name string
	Type batch.Type // that a table needs to hold every value
	Text bool       // it must be read as JSON: a nested column, or numbers without sign
}

// Columns returns the columns of a file of size bytes, in its order.
func Columns(in io.ReaderAt, size int64) (columns []Column, err error) {
	defer guard("open Parquet file", &err)
	f, err := Open(in, size, nil, nil)
	if err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	for _, c := range f.file.Root().Columns() {
		if seen[c.Name()] {
			return nil, fmt.Errorf("read columns: there are two of the name %q", c.Name())
		}
		seen[c.Name()] = true
		d := Column{Name: c.Name(), Type: batch.Type{Kind: batch.JSON}, Text: true}
		if c.Leaf() && !c.Repeated() {
			if d.Type, d.Text, err = describe(c.Type()); err != nil {
				return nil, fmt.Errorf("read column %q: %w", c.Name(), err)
			}
		}
		columns = append(columns, d)
	}
	return columns, nil
}

// describe returns the type of a column of a table for a leaf.
func describe(typ pq.Type) (t batch.Type, text bool, err error) {
	t, form := leafType(typ)
	if form == nil {
		return t, false, fmt.Errorf("values of type %s are not supported", typ)
	}
	var logical any
	if l := typ.LogicalType(); l != nil {
		logical = l.Value
	}
	switch {
	case t.Kind == batch.Decimal:
		d := logical.(*format.DecimalType) // a scale comes from nowhere else
		if t.Precision = int(d.Precision); t.Precision < 1 || t.Precision > 38 || t.Scale > t.Precision {
			return t, false, fmt.Errorf("a decimal of %d digits, %d of them behind the point, is not supported", t.Precision, t.Scale)
		}
	case t.Kind == batch.Long:
		i, ok := logical.(*format.IntType)
		switch {
		case ok && !i.IsSigned && typ.Kind() == pq.Int64:
			return batch.Type{Kind: batch.Decimal, Precision: 20}, true, nil
		case ok && !i.IsSigned:
			return t, true, nil
		case typ.Kind() == pq.Int32:
			t.Kind = batch.Integer
		}
	case t.Kind == batch.Binary && typ.Kind() == pq.ByteArray && isText(typ.ConvertedType()):
		t.Kind = batch.String
	case t.Kind == batch.String:
		if _, ok := logical.(*format.JsonType); ok {
			t.Kind = batch.JSON
		}
	}
	return t, false, nil
}

// isText reports whether a column is text by the annotation of old writers.
func isText(c *deprecated.ConvertedType) bool {
	return c != nil && (*c == deprecated.UTF8 || *c == deprecated.Enum || *c == deprecated.Json)
}
