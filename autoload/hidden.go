package autoload

import (
	"path/filepath"
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

// appendHidden appends the hidden columns of rows of one file, the first of which has the index first in it. columns
// begins with those of hiddenSchema.
func appendHidden(columns []tables.Column, c candidate, first int64, rows int, now time.Time) {
	name := filepath.Base(c.path)
	read, modified := now.UnixMicro(), c.modified.UnixMicro()
	for row := range int64(rows) {
		columns[0].AppendString(c.path)
		columns[1].AppendInt(read)
		columns[2].AppendString(c.path)
		columns[3].AppendString(name)
		columns[4].AppendInt(c.size)
		columns[5].AppendInt(modified)
		columns[6].AppendInt(first + row)
	}
}
