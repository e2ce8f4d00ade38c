package autoload

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"smelt/tables"
)

// fileKey is the name, in the rescued column, of the path of the file.
const fileKey = "_file_path"

// Rescued returns the name of the column for what does not fit.
func (l *Loader) Rescued() string { return l.cfg.Options.Rescued }

// stored is what the rescued column has of one row.
type stored struct {
	values []stray
	path   string
}

// readRescued reads a text of the rescued column.
func (l *Loader) readRescued(text string, texts *arena) (s stored, err error) {
	in := jsontext.NewDecoder(strings.NewReader(text), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	if _, err := in.ReadToken(); err != nil {
		return s, fmt.Errorf("read what was rescued %q: %w", excerpt(text), err)
	}
	for in.PeekKind() == '"' {
		quoted, err := in.ReadValue()
		if err != nil {
			return s, fmt.Errorf("read what was rescued %q: %w", excerpt(text), err)
		}
		name, err := unquote(string(quoted), texts)
		if err != nil {
			return s, fmt.Errorf("read what was rescued %q: %w", excerpt(text), err)
		}
		raw, err := in.ReadValue()
		if err != nil {
			return s, fmt.Errorf("read what was rescued %q: %w", excerpt(text), err)
		}
		v := value{kind: raw.Kind(), raw: string(raw)}
		if name == fileKey && v.kind == '"' {
			if s.path, err = unquote(v.raw, texts); err != nil {
				return s, fmt.Errorf("read what was rescued %q: %w", excerpt(text), err)
			}
			continue
		}
		s.values = append(s.values, stray{name, v})
	}
	if f := shapeOf(l.cfg.Options, s.path).format; f == formatCSV || f == formatText { // which do not tell numbers from texts
		for i := range s.values {
			if v := &s.values[i].value; v.kind == '"' {
				if v.raw, err = unquote(v.raw, texts); err != nil {
					return s, fmt.Errorf("read what was rescued %q: %w", excerpt(text), err)
				}
				v.kind = plain
			}
		}
	}
	return s, nil
}

// home returns the column that a rescued value belongs to, -1 for none: the one that its name in the files has, or, if the
// column was added since, one whose name differs in case only.
func (c *columns) home(name string, added map[string]bool) int {
	at := c.position(name)
	if at < 0 {
		// Values that do not fit went by the name of their column once.
		at = slices.IndexFunc(c.schema, func(f tables.Field) bool { return f.Name == name })
	}
	if at < 0 {
		if at, _ = c.place(name); at >= 0 && !added[strings.ToLower(c.schema[at].Name)] {
			return -1
		}
	}
	return at
}

// own reports whether a rescued value came of a file of this directory.
func (l *Loader) own(path string) bool {
	return strings.HasPrefix(path, strings.TrimSuffix(l.cfg.Dir, "/")+"/")
}

// Recoverable reports whether any of the texts of a rescued column holds a value that a column of the schema takes now.
// added are the columns that the table did not have so far.
func (l *Loader) Recoverable(texts *tables.Column, schema tables.Schema, added []string) bool {
	r := l.recovery(added)
	for row, text := range texts.Strings {
		if texts.Null(row) {
			continue
		}
		s, err := l.readRescued(text, &r.texts)
		if err != nil || !l.own(s.path) {
			continue // somebody else's text
		}
		for _, v := range s.values {
			if at := r.columns.home(v.name, r.added); at >= 0 {
				var one tables.Column
				i := schema.Index(r.columns.schema[at].Name)
				if i >= 0 && schema[i].Type == r.columns.schema[at].Type && v.appendTo(&one, schema[i].Type, &r.texts) {
					return true
				}
			}
		}
	}
	return false
}

// recovery puts rescued values into their columns.
type recovery struct {
	columns columns
	added   map[string]bool // lower case
	texts   arena
}

func (l *Loader) recovery(added []string) *recovery {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := &recovery{columns: l.columns, added: map[string]bool{}}
	for _, name := range added {
		r.added[strings.ToLower(name)] = true
	}
	return r
}

// Recover returns rows of a table with the values of the rescued column put into the columns that take them now. What is
// left stays there; where nothing is, it is null.
func (l *Loader) Recover(b *tables.Batch, added []string) (*tables.Batch, error) {
	r := l.recovery(added)
	rescued := b.Schema.Index(l.Rescued())
	put := make([]map[int]value, len(b.Schema)) // by column and row
	left := map[int][]stray{}                   // by row
	paths := map[int]string{}
	for row := range b.Len {
		if b.Columns[rescued].Null(row) {
			continue
		}
		s, err := l.readRescued(b.Columns[rescued].Strings[row], &r.texts)
		if err != nil || !l.own(s.path) {
			continue
		}
		// The exact name has the column before one that differs in case.
		moved := make([]bool, len(s.values))
		for _, exact := range []bool{true, false} {
			for n, v := range s.values {
				if i := r.target(b, row, v, exact, put); i >= 0 {
					if put[i] == nil {
						put[i] = map[int]value{}
					}
					put[i][row], moved[n] = v.value, true
				}
			}
		}
		var rest []stray
		for n, v := range s.values {
			if !moved[n] {
				rest = append(rest, v)
			}
		}
		if len(rest) < len(s.values) {
			left[row], paths[row] = rest, s.path
		}
	}
	out := &tables.Batch{Schema: b.Schema, Columns: slices.Clone(b.Columns), Len: b.Len}
	for i, values := range put {
		if values != nil {
			out.Columns[i] = r.filled(&b.Columns[i], b.Schema[i].Type, values)
		}
	}
	if len(left) == 0 {
		return out, nil
	}
	column := tables.Column{}
	for row := range b.Len {
		rest, changed := left[row]
		switch {
		case !changed && b.Columns[rescued].Null(row), changed && len(rest) == 0:
			column.AppendNull(tables.JSON)
		case !changed:
			column.AppendString(b.Columns[rescued].Strings[row])
		default:
			text, err := rescuedText(rest, paths[row])
			if err != nil {
				return nil, err
			}
			column.AppendString(text)
		}
	}
	out.Columns[rescued] = column
	return out, nil
}

// target returns the column of a batch that takes a rescued value of a row, -1 for none: one that has the exact name in
// the files, or another.
func (r *recovery) target(b *tables.Batch, row int, v stray, exact bool, put []map[int]value) int {
	at := r.columns.home(v.name, r.added)
	if at < 0 || exact != (v.name == r.columns.fileNames[at]) {
		return -1
	}
	field := r.columns.schema[at]
	i := b.Schema.Index(field.Name)
	if i < 0 || b.Schema[i].Type != field.Type || !b.Columns[i].Null(row) {
		return -1
	}
	if _, taken := put[i][row]; taken {
		return -1
	}
	var one tables.Column
	if !v.appendTo(&one, field.Type, &r.texts) {
		return -1
	}
	return i
}

// filled returns a column with some values put into it.
func (r *recovery) filled(old *tables.Column, t tables.Type, values map[int]value) tables.Column {
	var out tables.Column
	for row := range max(len(old.Valid), len(old.Bools), len(old.Ints), len(old.Floats), len(old.Strings), len(old.Decimals)) {
		if v, ok := values[row]; ok {
			v.appendTo(&out, t, &r.texts) // it fits
			continue
		}
		switch {
		case old.Null(row):
			out.AppendNull(t.Kind)
		case old.Bools != nil:
			out.AppendBool(old.Bools[row])
		case old.Ints != nil:
			out.AppendInt(old.Ints[row])
		case old.Floats != nil:
			out.AppendFloat(old.Floats[row])
		case old.Decimals != nil:
			out.AppendDecimal(old.Decimals[row])
		default:
			out.AppendString(old.Strings[row])
		}
	}
	return out
}

// Evolve takes up what the options say now of a table that was filled under others, see Compatible. rows are those of the
// table, with the rescued column alone. Where new columns are added, the fields in it become columns, and where types are
// widened, those that its values ask for are. The batch has no rows; it notes files that failed by their content as new,
// because they may be read now.
func (l *Loader) Evolve(ctx context.Context, rows tables.Relation) (*Batch, error) {
	l.next.Lock()
	defer l.next.Unlock()
	if err := l.promote(ctx, rows); err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	b := &Batch{Relation: tables.FromBatches(l.columns.full()), loader: l, number: l.committed + 1}
	for _, f := range l.files {
		if f.State == Failed && f.Content {
			f.State, f.Error, f.Content = Fresh, "", false
			f.Batch, f.Read = b.number, time.Now().UTC()
			b.files = append(b.files, f)
		}
	}
	slices.SortFunc(b.files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	return b, nil
}

// promote makes columns of rescued fields, and wider types.
func (l *Loader) promote(ctx context.Context, rows tables.Relation) error {
	l.mu.Lock()
	c := l.columns
	l.mu.Unlock()
	if c.content.evolution != addNewColumns {
		return nil
	}
	in, err := rows.Scan(ctx, []string{l.Rescued()})
	if err != nil {
		return fmt.Errorf("read what was rescued: %w", err)
	}
	defer in.Close()
	d := newDecoder(c)
	err = tables.EachBatch(ctx, in, func(b *tables.Batch) error {
		for row := range b.Len {
			if b.Columns[0].Null(row) {
				continue
			}
			s, err := l.readRescued(b.Columns[0].Strings[row], &d.texts)
			if err != nil || !l.own(s.path) {
				continue
			}
			for _, v := range s.values {
				if at := c.home(v.name, nil); at >= 0 {
					d.misfit(at, v.value)
				} else if _, isNew := c.place(v.name); isNew {
					d.see(v.name, v.infer(c.content.times))
				}
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, name := range d.order {
		if _, isNew := l.columns.place(name); isNew {
			l.columns = l.columns.with(name, d.unknown[name], l.cfg.Options)
		}
	}
	l.widenTypes(d.needs)
	return nil
}

// Compatible reports whether what was read of a directory under the one options stands under the others: whether they
// differ only in when and how much is read, what becomes of files, and which columns there are to be.
func Compatible(before, after map[string]string) bool {
	a, errBefore := ParseOptions(before)
	b, errAfter := ParseOptions(after)
	if errBefore != nil || errAfter != nil {
		return false
	}
	for _, hint := range a.Hints {
		if at := b.Hints.Index(hint.Name); at < 0 || b.Hints[at].Type != hint.Type {
			return false
		}
	}
	same := func(o Options) string {
		o.Hints, o.MaxFiles, o.MaxBytes, o.AllowOverwrites, o.IgnoreMissing, o.Backfill = nil, 0, 0, false, false, 0
		o.Clean, o.MoveTo, o.Retain = cleanOff, "", 0
		o.content.evolution, o.content.widens, o.content.times = addNewColumns, false, false
		text, _ := json.Marshal(o) // always encodes
		return fmt.Sprintf("%s %+v", text, o.content)
	}
	return same(a) == same(b)
}
