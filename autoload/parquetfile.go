package autoload

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"smelt/tables"
	"smelt/tables/parquet"
)

// maxArchiveBytes bounds a Parquet file inside an archive: its end must be read first, so that it is held in memory.
const maxArchiveBytes = 256 << 20

// parquetColumn is a column of a Parquet file.
type parquetColumn struct {
	parquet.Column
	at   int          // its place among the columns of the directory, -1 for none
	read tables.Field // how it is read: as the column wants it, or as JSON text to be fitted value by value
}

// parquet yields the rows of a Parquet file.
func (r *reader) parquet(d *decoder, f *os.File, c candidate, split *splitter, yield func(fileRows) error) (err error) {
	if c.size == 0 {
		return nil // more may come
	}
	var in io.ReaderAt = f
	size := c.size
	if split.shape.codec != "" {
		data, err := io.ReadAll(io.LimitReader(split.in, maxArchiveBytes+1))
		if err != nil {
			return err
		}
		if len(data) > maxArchiveBytes {
			return fmt.Errorf("the archive holds a Parquet file of more than %d bytes%w", maxArchiveBytes, silent{errContent})
		}
		in, size = bytes.NewReader(data), int64(len(data))
	}
	in = diskAt{in}
	columns, err := parquet.Columns(in, size)
	if err != nil {
		return parquetError(err)
	}
	d.start(c.path, 0)
	found := d.match(columns)
	if out := d.finish(); len(out.unknown) > 0 || r.sample {
		return yield(out) // it is read when they are columns
	}
	schema := make(tables.Schema, len(found))
	for i, column := range found {
		schema[i] = column.read
	}
	file, err := parquet.Open(in, size, schema, nil)
	if err != nil {
		return parquetError(err)
	}
	var row int64
	for group := range file.Groups() {
		if err := parquetGroup(file, group, func(b *tables.Batch) error {
			d.start(c.path, b.Len)
			if err := d.fit(found, b, row); err != nil {
				return err
			}
			row += int64(b.Len)
			out := d.finish()
			out.weigh(file.BatchBytes(group), len(d.schema))
			return yield(out)
		}); err != nil {
			return err
		}
	}
	return nil
}

// parquetGroup calls f with the batches of a row group.
func parquetGroup(file *parquet.File, group int, f func(*tables.Batch) error) error {
	rows, err := file.Group(group)
	if err != nil {
		return parquetError(err)
	}
	defer rows.Close()
	for {
		b, err := rows.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return parquetError(err)
		}
		if err := f(b); err != nil {
			return err
		}
	}
}

// diskAt marks the errors of a file, to tell them from damage in it.
type diskAt struct{ io.ReaderAt }

// ReadAt implements io.ReaderAt.
func (r diskAt) ReadAt(b []byte, at int64) (int, error) {
	n, err := r.ReaderAt.ReadAt(b, at)
	if err != nil && err != io.EOF {
		err = diskError{fmt.Errorf("read: %w", cause(err))}
	}
	return n, err
}

func parquetError(err error) error {
	var disk diskError
	if errors.As(err, &disk) {
		return err
	}
	return fmt.Errorf("not Parquet: %w%w", err, silent{errContent})
}

// declared is what the kinds of columns count as beside the values of other files.
var declared = map[tables.Kind]saw{tables.Boolean: sawBool, tables.Byte: sawLong, tables.Short: sawLong, tables.Integer: sawLong, tables.Long: sawLong,
	tables.Float: sawDouble, tables.Double: sawDouble, tables.Decimal: sawDouble, tables.String: sawText, tables.Binary: sawText, tables.Date: sawDate,
	tables.Timestamp: sawTime, tables.JSON: sawJSON}

// fits reports whether a column can be read as type t as it is.
func fits(c parquet.Column, t tables.Type) bool {
	if c.Text {
		return t.Kind == tables.JSON && c.Type.Kind == tables.JSON
	}
	whole := c.Type.Kind == tables.Byte || c.Type.Kind == tables.Short || c.Type.Kind == tables.Integer
	return c.Type == t || whole && (t.Kind == tables.Long || t.Kind == tables.Double) || c.Type.Kind == tables.Float && t.Kind == tables.Double
}

// match finds the place of each column of a file, and notes those that are no columns yet.
func (d *decoder) match(columns []parquet.Column) []parquetColumn {
	taken := map[int]bool{}
	var found []parquetColumn
	for _, exact := range []bool{true, false} { // a name that differs in case yields to the exact one
		for _, column := range columns {
			at := d.columns.position(column.Name)
			if exact != (at >= 0) {
				continue
			}
			isNew := false
			if !exact {
				at, isNew = d.columns.place(column.Name)
			}
			if isNew && d.columns.content.evolution == addNewColumns {
				d.see(column.Name, inferred{saw: declared[column.Type.Kind], exact: column.Type})
				continue
			}
			if isNew && d.columns.content.evolution == ignoreNewColumns && !d.columns.content.rescues {
				continue
			}
			if at >= 0 && taken[at] {
				at = -1
			}
			p := parquetColumn{Column: column, at: at, read: tables.Field{Name: column.Name, Type: column.Type}}
			if at >= 0 {
				taken[at] = true
			}
			if at < 0 || !fits(column, d.columns.schema[at].Type) {
				if k := p.read.Type.Kind; k != tables.String && k != tables.Binary {
					p.read.Type = tables.Type{Kind: tables.JSON}
				}
			} else {
				p.read.Type = d.columns.schema[at].Type
			}
			found = append(found, p)
		}
	}
	return found
}

// fit appends the rows of a batch of a Parquet file, the first of which is the given row of it.
func (d *decoder) fit(found []parquetColumn, b *tables.Batch, first int64) error {
	rescued := make([][]stray, b.Len)
	d.batch.Len = b.Len
	filled := make([]bool, len(d.columns.schema))
	for i, column := range found {
		in := &b.Columns[i]
		if k := column.read.Type.Kind; k == tables.String || k == tables.JSON {
			for row, text := range in.Strings {
				if !utf8.ValidString(text) {
					return fmt.Errorf("row %d: column %q is not UTF-8 text%w", first+int64(row)+1, column.Name, silent{errContent})
				}
			}
		}
		if column.at < 0 {
			for row := range b.Len {
				if v := column.value(in, row); v.kind == 'n' {
					continue
				} else if _, isNew := d.columns.place(column.Name); isNew && d.columns.content.evolution == failOnNewColumns {
					return fmt.Errorf("column %q is no column of the table, and schemaEvolutionMode is failOnNewColumns%w", column.Name, silent{errContent})
				} else {
					rescued[row] = append(rescued[row], stray{column.Name, v})
				}
			}
			continue
		}
		field := d.columns.schema[column.at]
		filled[column.at] = true
		if column.read.Type == field.Type {
			d.batch.Columns[column.at] = *in
			continue
		}
		out := &d.batch.Columns[column.at]
		for row := range b.Len {
			if v := column.value(in, row); !v.appendTo(out, field.Type, &d.texts) {
				out.AppendNull(field.Type.Kind)
				d.misfit(column.at, v)
				rescued[row] = append(rescued[row], stray{column.Name, v})
			}
		}
	}
	for i, field := range d.columns.schema {
		for row := 0; !filled[i] && row < b.Len; row++ {
			d.batch.Columns[i].AppendNull(field.Type.Kind)
		}
	}
	for _, values := range rescued {
		if err := d.appendRescued(&d.batch.Columns[len(d.columns.schema)], values); err != nil {
			return err
		}
	}
	return nil
}

// value returns one value of a column that was read as text.
func (c *parquetColumn) value(in *tables.Column, row int) value {
	if in.Null(row) {
		return value{kind: 'n', raw: "null"}
	}
	text := in.Strings[row]
	switch c.read.Type.Kind {
	case tables.String:
		return value{kind: plain, raw: text}
	case tables.Binary:
		return value{kind: '"', raw: `"` + base64.StdEncoding.EncodeToString([]byte(text)) + `"`}
	}
	return value{kind: jsontext.Value(text).Kind(), raw: text}
}
