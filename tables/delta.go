package tables

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"smelt/tables/delta"
)

// Delta is what changed in a table between two of its versions, as a bag: the rows of Plus came in and those of Minus went
// out. A file that was rewritten has its other rows in both, so whoever counts rows adds up equal ones first; what only
// rearranged rows is in neither. The rows have the columns of To. The data files of both must still be there when they
// are read: see Since.
type Delta struct {
	From, To    *Snapshot
	Plus, Minus Relation // they are Counters, too
}

// fileSet is the rows of some data files. It implements Relation and Counter.
type fileSet struct {
	table  *Table
	schema Schema
	files  []delta.File
}

// Schema implements Relation.
func (s *fileSet) Schema() Schema { return s.schema }

// Rows implements Counter.
func (s *fileSet) Rows() int64 {
	var n int64
	for _, f := range s.files {
		n += f.Rows
	}
	return n
}

// Scan implements Relation.
func (s *fileSet) Scan(ctx context.Context, columns []string) (Reader, error) {
	return scanFiles(ctx, s.table, s.schema, columns, s.files)
}

// Since returns what changed in the table since an older version of it. A data file that VACUUM has removed is an error
// that names it and wraps fs.ErrNotExist. One that goes later makes the scan fail.
func (s *Snapshot) Since(from *Snapshot) (*Delta, error) {
	if from.table != s.table || from.Version() > s.Version() {
		return nil, fmt.Errorf("changes of %s.%s since version %d of %s.%s: the newest is %d", s.table.db, s.table.name, from.Version(), from.table.db, from.table.name, s.Version())
	}
	plus, minus, ok := s.table.moved(from.Version(), s.Version())
	err := s.table.there(plus, minus)
	if !ok || errors.Is(err, fs.ErrNotExist) {
		// Files that came and were joined into others are gone first; what the two versions themselves have is enough.
		plus, minus = missingFrom(s.state.Files, from.state.Files), missingFrom(from.state.Files, s.state.Files)
		err = s.table.there(minus)
	}
	if err != nil {
		return nil, fmt.Errorf("changes of %s.%s since version %d: %w", s.table.db, s.table.name, from.Version(), err)
	}
	files := func(list []delta.File) Relation { return &fileSet{table: s.table, schema: s.Schema(), files: list} }
	return &Delta{From: from, To: s, Plus: files(plus), Minus: files(minus)}, nil
}

// moved adds up the commits after from up to to, but for those that only rearrange rows; ok is false where they are not
// at hand. A file that came and went between the two versions is in neither list.
func (t *Table) moved(from, to int64) (plus, minus []delta.File, ok bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if from+1 < t.first || to >= t.first+int64(len(t.commits)) {
		return nil, nil, false
	}
	// The same file may come, be joined into others without a change of rows, and come back by RESTORE: it is counted.
	net := map[string]int{}
	known := map[string]delta.File{}
	var order []string
	count := func(files []delta.File, by int) {
		for _, f := range files {
			if _, ok := known[f.Path]; !ok {
				known[f.Path] = f
				order = append(order, f.Path)
			}
			net[f.Path] += by
		}
	}
	for _, e := range t.commits[from+1-t.first : to+1-t.first] {
		if e.lost {
			return nil, nil, false
		}
		count(e.gone, -1)
		count(e.files, 1)
	}
	for _, path := range order {
		for n := net[path]; n > 0; n-- {
			plus = append(plus, known[path])
		}
		for n := net[path]; n < 0; n++ {
			minus = append(minus, known[path])
		}
	}
	return plus, minus, true
}

// there looks whether data files are where the log says.
func (t *Table) there(lists ...[]delta.File) error {
	live := t.Snapshot().live()
	for _, files := range lists {
		for _, f := range files {
			if live[f.Path] {
				continue
			}
			if _, err := t.store.fs.Stat(t.pathOf(f)); err != nil {
				return fmt.Errorf("data file %s was vacuumed: %w", f.Path, err)
			}
		}
	}
	return nil
}
