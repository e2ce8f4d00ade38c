package autoload

import (
	"path/filepath"
	"slices"
	"strings"
	"time"

	"smelt/tables"
)

// Names of the columns that every watched directory has beside those of its files. A SELECT sees those of the file only
// when it names them: _metadata.file_path, as Spark writes it, is _metadata_file_path here.
const (
	sourceColumn   = "source_file"
	timeColumn     = "processing_time"
	metadataPrefix = "_metadata_"
)

// hiddenSchema is the columns that SELECT * leaves out.
var hiddenSchema = tables.Schema{
	{Name: sourceColumn, Type: tables.Type{Kind: tables.String}, Comment: "path of the file", Hidden: true},
	{Name: timeColumn, Type: tables.Type{Kind: tables.Timestamp}, Comment: "when the file was read, UTC", Hidden: true},
	{Name: metadataPrefix + "file_path", Type: tables.Type{Kind: tables.String}, Comment: "path of the file", Hidden: true},
	{Name: metadataPrefix + "file_name", Type: tables.Type{Kind: tables.String}, Comment: "name of the file, without its directory", Hidden: true},
	{Name: metadataPrefix + "file_size", Type: tables.Type{Kind: tables.Long}, Comment: "size of the file, bytes", Hidden: true},
	{Name: metadataPrefix + "file_modification_time", Type: tables.Type{Kind: tables.Timestamp}, Comment: "when the file was changed last, UTC", Hidden: true},
	{Name: metadataPrefix + "row_index", Type: tables.Type{Kind: tables.Long}, Comment: "place of the row in the file, from 0", Hidden: true},
}

// isOwn reports whether a column name is taken by the directory itself.
func isOwn(name string, o Options) bool {
	return strings.EqualFold(name, o.Rescued) || hiddenSchema.Index(name) >= 0
}

// fillHidden fills the hidden columns of rows of one file, the first of which has the index first in it. columns
// begins with those of hiddenSchema.
func fillHidden(columns []tables.Column, c candidate, first int64, rows int, now time.Time) {
	path := repeated([]string{c.path}, rows)
	columns[0].Strings, columns[2].Strings = path, path
	columns[3].Strings = repeated([]string{filepath.Base(c.path)}, rows)
	columns[1].Ints = repeated([]int64{now.UnixMicro()}, rows)
	columns[4].Ints = repeated([]int64{c.size}, rows)
	columns[5].Ints = repeated([]int64{c.modified.UnixMicro()}, rows)
	columns[6].Ints = make([]int64, rows)
	for row := range rows {
		columns[6].Ints[row] = first + int64(row)
	}
}

// repeated is one value so many times. The slice has no room behind it: columns share it, and grow apart.
func repeated[T any](one []T, n int) []T { return slices.Clip(slices.Repeat(one, n)) }
