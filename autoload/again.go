package autoload

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"

	"github.com/go-json-experiment/json/jsontext"

	"smelt/tables"
)

// errMoved is returned for a file that cannot be read again as it was.
var errMoved = errors.New("it was changed or taken away since it was read")

// Reread returns the rows of a file of the ledger as the batch that brought them did, hidden columns included; for "" no
// rows but the columns. A file that is gone, was changed, or has none of its rows in the table is an error.
func (l *Loader) Reread(ctx context.Context, path string) (tables.Relation, error) {
	if path == "" {
		return tables.FromBatches(l.Schema()), nil
	}
	known, c, root, err := l.again(path)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	r := reader{root: root, options: l.cfg.Options, keep: keepBytes}
	l.mu.Lock()
	r.columns = l.columns
	l.mu.Unlock()
	rows, err := r.file(ctx, newDecoder(r.columns), c)
	if errors.Is(err, errUnsettled) || errors.Is(err, errVanished) {
		err = errMoved
	}
	if err == nil && (rows.rows != known.Rows || len(rows.unknown) > 0) {
		err = fmt.Errorf("it has %d rows and %d fields that are no columns, and brought %d rows: %w", rows.rows, len(rows.unknown), known.Rows, errMoved)
	}
	if err != nil {
		return nil, fmt.Errorf("read it again: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.assemble([]decoded{{candidate: c, fileRows: rows, done: true}}, known.Read), nil
}

// again finds a file whose rows were taken in.
func (l *Loader) again(path string) (File, candidate, *os.Root, error) {
	f, ok := l.Lookup(path)
	if !ok || f.State != Loaded && f.State != Changed {
		return f, candidate{}, nil, fmt.Errorf("read it again: it brought no rows that are there: %w", fs.ErrNotExist)
	}
	root, err := os.OpenRoot(l.cfg.Dir)
	if err != nil {
		return f, candidate{}, nil, fmt.Errorf("open watched directory: %w", err)
	}
	return f, candidate{path: f.Path, inside: inside(l.cfg.Dir, f.Path), size: f.Size, modified: f.Modified}, root, nil
}

// Lines returns the lines, counted from 1, in which rows of a file begin, by their index in the file; 0 for Parquet, which
// has no lines.
func (l *Loader) Lines(ctx context.Context, path string, index []int64) ([]int64, error) {
	_, c, root, err := l.again(path)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	lines, s := make([]int64, len(index)), shapeOf(l.cfg.Options, path)
	if s.format == formatParquet || len(index) == 0 {
		return lines, nil
	}
	// By brackets: to cut at lines is a guess that a later piece may prove wrong.
	s.decided = true
	wanted := map[int64][]int{}
	for i, n := range index {
		wanted[n] = append(wanted[n], i)
	}
	row, last := int64(0), slices.Max(index)
	err = eachPiece(root, c, s, func(p *piece) error {
		if row > last {
			return io.EOF
		}
		return p.starts(func(line int) {
			for _, i := range wanted[row] {
				lines[i] = int64(line)
			}
			row++
		})
	})
	if err == nil {
		err = ctx.Err()
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("find its lines: %w", err)
	}
	return lines, nil
}

// eachPiece calls f for the pieces of a file in order.
func eachPiece(root *os.Root, c candidate, s *shape, f func(*piece) error) error {
	file, err := root.Open(c.inside)
	if err != nil {
		return errMoved
	}
	defer file.Close()
	if info, err := file.Stat(); err != nil || !c.is(info) {
		return errMoved
	}
	split := splitter{in: diskReader{file}, shape: s, size: c.size}
	if s.codec != "" && c.size > 0 {
		archive, err := expand(split.in, s.codec, c.size)
		if err != nil {
			return err
		}
		defer archive.close()
		split.in, split.size = archive, -1
	}
	for begun := false; ; {
		p, err := split.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if !begun {
			// Of CSV the first piece may be empty lines and comments only.
			if err := s.begin(&p); err != nil {
				return err
			}
			begun = s.format != formatCSV || len(s.names) > 0
		}
		err = f(&p)
		p.release()
		if err != nil {
			return err
		}
	}
}

// starts calls f with the line in which each row of the piece begins.
func (p *piece) starts(f func(line int)) error {
	switch p.shape.format {
	case formatCSV:
		r := p.shape.reader(p.data)
		for {
			_, err := r.Read()
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return csvError(err, p.line, len(p.shape.names))
			}
			line, _ := r.FieldPos(0)
			f(p.line + line)
		}
	case formatText:
		if p.shape.wholeText {
			f(1)
			return nil
		}
		for i := range bytes.Count(p.data, []byte("\n")) {
			f(p.line + i + 1)
		}
		if n := len(p.data); n > 0 && p.data[n-1] != '\n' {
			f(p.line + bytes.Count(p.data, []byte("\n")) + 1)
		}
		return nil
	default:
		return p.objectStarts(f)
	}
}

func (p *piece) objectStarts(f func(line int)) error {
	d := jsontext.NewDecoder(bytes.NewBuffer(p.data), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	line, counted := p.line+1, 0
	for {
		if d.PeekKind() != '{' {
			if _, err := d.ReadToken(); errors.Is(err, io.EOF) {
				return nil
			} else if err != nil {
				return fmt.Errorf("read JSON: %w", err)
			}
			continue
		}
		value, err := d.ReadValue()
		if err != nil {
			return fmt.Errorf("read JSON: %w", err)
		}
		start := int(d.InputOffset()) - len(value)
		line += bytes.Count(p.data[counted:start], []byte("\n"))
		counted = start
		f(line)
	}
}
