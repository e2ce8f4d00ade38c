package queries

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"

	"smelt/queries/lineage"
	"smelt/tables"
)

var errNoFiles = errors.New("the files of its directory are not at hand")

// Columns of a file's rows beside its own: see package autoload.
const rowIndexColumn = "_metadata_row_index"

// flow finds what rows of a flow's table were made of. Those that came from files are looked for in the file that they
// name, or in all of them if they name none.
func (x *explanation) flow(ctx context.Context, s source, l level) error {
	f := s.flow
	directories, err := x.directories(f, l)
	if err != nil {
		return err
	}
	if len(directories) == 0 {
		return x.trace(ctx, s, l)
	}
	column := -1
	if name := f.pathColumn(l.rows.Schema); name != "" {
		column = l.rows.Schema.Index(name)
	}
	byFile := map[string][]int{}
	var paths []string
	var rest []int // rows that tell no file
	for i := range l.rows.Len {
		if column < 0 || l.rows.Columns[column].Null(i) {
			rest = append(rest, i)
			continue
		}
		path := l.rows.Columns[column].Strings[i]
		if byFile[path] == nil {
			paths = append(paths, path)
		}
		byFile[path] = append(byFile[path], i)
	}
	for _, path := range paths {
		if err := x.file(ctx, s, directories, -1, path, l.pick(byFile[path]), true); err != nil {
			return err
		}
	}
	if len(rest) == 0 {
		return nil
	}
	return x.anyFile(ctx, s, directories, l.pick(rest))
}

// pick is some rows of a level.
func (l level) pick(rows []int) level {
	l.ids = idsOf(l.ids, rows)
	l.rows = l.rows.Pick(rows)
	return l
}

// directory is one watched directory of a flow.
type directory struct {
	placeholder string
	files       lineage.Files
	empty       tables.Relation // its columns
}

func (x *explanation) directories(f *flow, l level) ([]directory, error) {
	var out []directory
	t, err := f.table()
	if err != nil {
		return nil, err
	}
	for _, s := range f.create.Sources {
		if s.Files == nil {
			continue
		}
		if x.g.cfg.Files == nil {
			return nil, errNoFiles
		}
		files, err := x.g.cfg.Files(f.stateDir(t, l.now, s))
		if err != nil {
			return nil, err
		}
		empty, err := files.Rows(context.Background(), "")
		if err != nil {
			return nil, err
		}
		out = append(out, directory{s.Placeholder, files, empty})
	}
	return out, nil
}

// file looks for the rows of a level in one file: of the directory at that place, or of any for -1. named says that the
// rows name it; else it is one of many, and what is not found is no news.
func (x *explanation) file(ctx context.Context, s source, directories []directory, place int, path string, l level, named bool) error {
	s.files = map[string]tables.Relation{}
	var in *directory
	var failed error
	for i, d := range directories {
		s.files[d.placeholder] = d.empty
		if in != nil || place >= 0 && place != i {
			continue
		}
		rows, err := d.files.Rows(ctx, path)
		if err != nil {
			if failed == nil || !errors.Is(err, fs.ErrNotExist) {
				failed = err
			}
			continue
		}
		in = &directories[i]
		s.files[d.placeholder] = rows
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if in == nil {
		if named && !(s.oneOfMany && errors.Is(failed, fs.ErrNotExist)) {
			x.fileNote(path, l, l.ids, firstLine(failed.Error()))
		}
		return nil
	}
	s.missed = func(rows []int) {
		if named {
			x.fileNote(path, l, idsOf(l.ids, rows), "not found: no row of the file yields it today")
		}
	}
	s.found = func(t lineage.Traced) error { return x.fileRows(ctx, *in, path, l, t) }
	return x.trace(ctx, s, l)
}

// anyFile looks for rows that tell no file in all of them, and in the tables that are read beside.
func (x *explanation) anyFile(ctx context.Context, s source, directories []directory, l level) error {
	before := len(x.out)
	if s.flow.shape.streams > len(directories) {
		beside := s
		beside.files, beside.missed = map[string]tables.Relation{}, func([]int) {}
		beside.found = func(lineage.Traced) error { return nil }
		for _, d := range directories {
			beside.files[d.placeholder] = d.empty
		}
		if err := x.trace(ctx, beside, l); err != nil {
			return err
		}
	}
	left := maxReread
	for i, d := range directories {
		for _, path := range d.files.List() {
			if left--; left < 0 {
				x.note(l.depth+1, l.ids, fmt.Sprintf("only %d files were looked at: a SELECT that keeps source_file tells the file of each row", maxReread))
				return nil
			}
			if err := x.file(ctx, s, directories, i, path, l, false); err != nil {
				return err
			}
		}
	}
	if len(x.out) == before && !s.oneOfMany {
		x.note(l.depth+1, l.ids, "not found in any file: a SELECT that keeps source_file tells the file of each row")
	}
	return nil
}

// fileNote adds a file of which no line is known.
func (x *explanation) fileNote(path string, l level, usedBy []int64, text string) {
	x.note(l.depth+1, usedBy, text)
	x.out[len(x.out)-1].File = path
}

// fileRows adds rows of a file with their lines.
func (x *explanation) fileRows(ctx context.Context, d directory, path string, l level, t lineage.Traced) error {
	if t.Rows == nil || t.Rows.Len == 0 {
		return nil
	}
	at := t.Rows.Schema.Index(rowIndexColumn)
	if at < 0 {
		return fmt.Errorf("rows of %s have no column %s", path, rowIndexColumn)
	}
	index := t.Rows.Columns[at].Ints
	lines, err := d.files.Lines(ctx, path, index)
	note := ""
	if err != nil {
		lines, note = make([]int64, len(index)), "line not known: "+firstLine(err.Error())
	}
	shown := withoutHidden(t.Rows)
	for i := range shown.Len {
		usedBy := idsOf(l.ids, t.Of[i])
		key := path + "\n" + strconv.FormatInt(index[i], 10)
		if at, ok := x.nodes[key]; ok {
			x.out[at].UsedBy = merged(x.out[at].UsedBy, usedBy)
			continue
		}
		x.nodes[key] = len(x.out)
		x.out = append(x.out, lineage.Explained{ID: int64(len(x.out) + 1), Depth: l.depth + 1, Version: -1, UsedBy: usedBy, Row: lineage.JSON(shown, i), Copies: 1,
			File: path, Line: lines[i], Note: note})
	}
	if t.More > 0 {
		x.fileNote(path, l, nil, fmt.Sprintf("and %d more rows of the file", t.More))
	}
	return nil
}
