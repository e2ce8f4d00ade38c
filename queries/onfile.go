package queries

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/dolthub/vitess/go/vt/sqlparser"

	"smelt/queries/ddl"
	"smelt/tables"
	"smelt/tables/filter"
)

// unloadOperation is what a commit says that took the rows of a file out of a table. Tables that stream from it take out
// what they made of these rows, with a commit of the same name.
const unloadOperation = "UNLOAD FILE"

// Parameters of such a commit: how many rows of its source, and of its own, are gone.
const (
	parameterFile    = "file"
	parameterRowsIn  = "smelt.rowsIn"
	parameterRowsOut = "smelt.rowsOut"
	parameterFreed   = "smelt.released" // rows that are gone from the quarantine
)

// maxUnloadRows bounds the rows that one commit takes out: they are held in memory.
const maxUnloadRows = 2 << 20

// FeedFile is what a feed knows of one file.
type FeedFile struct {
	Path  string
	State string // as smelt.files shows it
	Error string
	Rows  int64 // that came of it; one that came more than once may say so of the last time only
}

// OnFile runs RETRY FILE, UNLOAD FILE or RELOAD FILE on the table that reads the file and returns how many of its rows
// were taken out. After RETRY and RELOAD the file was read again: that it failed again is an error.
func (g *Graph) OnFile(ctx context.Context, s *ddl.OnTable, database string) (rows int64, err error) {
	f, err := g.must(database, s.Name, ddl.StreamingTable)
	if err != nil {
		return 0, err
	}
	f = f.readerOf(ctx, s.File)
	defer f.signal()
	path := ""
	err = f.alone(ctx, func() error {
		t, err := f.table()
		if err != nil {
			return err
		}
		source, feed, file, err := f.lookup(ctx, t, s.File)
		if err != nil {
			return err
		}
		path = file.Path
		if s.Verb == "RETRY FILE" {
			return feed.Retry(path)
		}
		rows, err = f.unload(ctx, t, source, feed, file, s.Verb == "RELOAD FILE")
		return err
	})
	if err != nil || s.Verb == "UNLOAD FILE" {
		return rows, err
	}
	if err := g.Refresh(ctx, database, s.Name, false); err != nil {
		return rows, err
	}
	return rows, f.failure(ctx, path)
}

// readerOf returns the flow of the table that reads a file, the table's own where none is known to.
func (f *flow) readerOf(ctx context.Context, file string) *flow {
	for _, one := range f.g.flowsOf(f) {
		found := one.alone(ctx, func() error {
			t, err := one.table()
			if err == nil {
				_, _, _, err = one.lookup(ctx, t, file)
			}
			return err
		})
		if found == nil {
			return one
		}
	}
	return f
}

// lookup finds a file in the feeds of the table.
func (f *flow) lookup(ctx context.Context, t *tables.Table, name string) (ddl.Source, Feed, FeedFile, error) {
	dirs := []string{}
	for _, s := range f.create.Sources {
		if s.Files == nil {
			continue
		}
		feed, err := f.feed(ctx, s, t, t.Snapshot())
		if err != nil {
			return s, nil, FeedFile{}, err
		}
		if file, ok := feed.Lookup(name); ok {
			return s, feed, file, nil
		}
		dirs = append(dirs, s.Files.Path)
	}
	if len(dirs) == 0 {
		return ddl.Source{}, nil, FeedFile{}, fmt.Errorf("file %q: %w: table %s reads no files", name, ErrUnsupported, f.ref)
	}
	return ddl.Source{}, nil, FeedFile{}, fmt.Errorf("file %q: %w among those that were read from %s; smelt.files lists them", name, tables.ErrNotFound, strings.Join(dirs, ", "))
}

// failure returns why a file could not be read, nil if it was read.
func (f *flow) failure(ctx context.Context, path string) error {
	return f.alone(ctx, func() error {
		t, err := f.table()
		if err != nil {
			return err
		}
		_, _, file, err := f.lookup(ctx, t, path)
		switch {
		case err != nil:
			return err
		case file.State == "failed":
			return fmt.Errorf("file %q: it failed again: %s", path, file.Error)
		case file.State == "new":
			return fmt.Errorf("file %q: it is to be read again when it is there and whole", path)
		}
		return nil
	})
}

// unload takes the rows of a file out of the table in one commit, before which the ledger has the file as unloaded, or as
// new. Either both are so afterwards or neither is: it is a batch like those that bring rows.
func (f *flow) unload(ctx context.Context, t *tables.Table, s ddl.Source, feed Feed, file FeedFile, again bool) (int64, error) {
	if f.create.Changes != nil {
		return 0, fmt.Errorf("unload file %q: %w: table %s gets its rows by APPLY CHANGES, and what stood behind those of the file is not known any more; "+
			"read the files into a streaming table of their own, and unload the file there", file.Path, ErrUnsupported, f.ref)
	}
	now := t.Snapshot()
	old := tables.NewBatch(now.Schema(), 0)
	column := f.pathColumn(now.Schema())
	switch {
	case column != "":
		var err error
		if old, err = rowsWith(ctx, now, column, file.Path); err != nil {
			return 0, err
		}
	case file.Rows > 0:
		return 0, fmt.Errorf("unload file %q: %w: the rows of table %s do not tell their file; its SELECT must keep source_file", file.Path, ErrUnsupported, f.ref)
	}
	batch, err := feed.Retract(file.Path, again)
	if err != nil {
		return 0, err
	}
	q, err := f.quarantine(ctx, t)
	if err != nil {
		return 0, err
	}
	c := tables.Commit{Operation: unloadOperation, Txns: map[string]int64{f.progressOf(now, f.feedName(s)): batch.Number()}, Prepare: batch.Record,
		Parameters: map[string]string{parameterFile: file.Path, parameterRowsIn: strconv.FormatInt(file.Rows, 10), parameterRowsOut: strconv.Itoa(old.Len)}}
	freed, err := q.release(ctx, &c, func(b *tables.Batch, row int) bool {
		at := b.Schema.Index(column)
		return at >= 0 && !b.Columns[at].Null(row) && b.Columns[at].Strings[row] == file.Path
	})
	if err != nil {
		return 0, err
	}
	return int64(old.Len) + freed, q.done(ctx, takeOut(ctx, t, old, c, []FeedBatch{batch}))
}

// takeOut commits without these rows, and tells the feeds.
func takeOut(ctx context.Context, t *tables.Table, old *tables.Batch, c tables.Commit, feeds []FeedBatch) error {
	if old.Len == 0 {
		_, err := commit(ctx, t, c, feeds)
		return err
	}
	_, err := t.Edit(ctx, old, nil, c)
	return told(feeds, err)
}

// rowsWith reads the rows with a text in a column.
func rowsWith(ctx context.Context, now *tables.Snapshot, column, value string) (*tables.Batch, error) {
	var values tables.Column
	values.AppendString(value)
	r, err := now.Prune([]filter.Condition{{Column: column, Op: filter.In, Values: values}}).Scan(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	at := now.Schema().Index(column)
	return collect(ctx, r, now.Schema(), func(b *tables.Batch) *tables.Batch {
		keep := make([]bool, b.Len)
		for row := range keep {
			keep[row] = !b.Columns[at].Null(row) && b.Columns[at].Strings[row] == value
		}
		return b.Filter(keep)
	})
}

// collect reads a result whole.
func collect(ctx context.Context, r tables.Reader, schema tables.Schema, choose func(*tables.Batch) *tables.Batch) (*tables.Batch, error) {
	out := tables.NewBatch(schema, 0)
	err := tables.EachBatch(ctx, r, func(b *tables.Batch) error {
		if out.Append(choose(b)); out.Len > maxUnloadRows {
			return fmt.Errorf("take out rows: %w: more than %d in one commit; REFRESH ... FULL starts over", ErrUnsupported, maxUnloadRows)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// pathColumn returns the column of the table that tells the file of a row, "" if it has none: the one that the SELECT
// makes of source_file, _metadata.file_path or input_file_name(), or else one that is called source_file.
func (f *flow) pathColumn(schema tables.Schema) string {
	name := ""
	if s, ok := f.shape.statement.(*sqlparser.Select); ok {
		for _, e := range s.SelectExprs {
			if aliased, ok := e.(*sqlparser.AliasedExpr); ok && name == "" {
				name = pathAlias(aliased)
			}
		}
	}
	if name == "" {
		name = "source_file"
	}
	if at := schema.Index(name); at >= 0 && schema[at].Type.Kind == tables.String {
		return schema[at].Name
	}
	return ""
}

// pathAlias returns the name of a selected column if it is the path of the file.
func pathAlias(e *sqlparser.AliasedExpr) string {
	name := ""
	switch x := e.Expr.(type) {
	case *sqlparser.ColName:
		metadata := strings.EqualFold(x.Qualifier.Name.String(), "_metadata") && x.Name.Lowered() == "file_path"
		if metadata || x.Name.Lowered() == "source_file" {
			name = x.Name.String()
		}
	case *sqlparser.FuncExpr:
		if x.Name.Lowered() == "input_file_name" {
			name = "input_file_name()"
		}
	}
	if name != "" && !e.As.IsEmpty() {
		name = e.As.String()
	}
	return name
}
