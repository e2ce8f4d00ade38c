package tables

import (
	"context"
	"fmt"
	"slices"

	"smelt/tables/delta"
)

// Fill changes rows while their table gets another definition. It is asked more than once for the same rows.
type Fill struct {
	Columns   []string                       // of the definition before, that Wanted sees
	Wanted    func(b *Batch) bool            // whether a data file with these rows is to be written anew
	Rows      func(b *Batch) (*Batch, error) // as many rows as came, with the columns of the new definition
	Operation string                         // of the commit if there is such a file
}

// NotWiderError is returned for a type that does not hold every value of a column that is there.
type NotWiderError struct {
	Column   string
	From, To Type
}

// Error implements error.
func (e *NotWiderError) Error() string {
	return fmt.Sprintf("redefine table: column %q cannot become %s while there are rows with %s", e.Column, e.To, e.From)
}

// Redefine gives the table another definition: new columns, which are null in the rows that are there, or wider types,
// for which all data files are written anew, because not every reader of Delta widens. Streams of the table pass over it.
// A type is wider if it holds every value of the other; DOUBLE is wider than BIGINT where all values that are there are
// whole numbers up to 2^53. Anything else is an error.
func (t *Table) Redefine(ctx context.Context, def Definition, c Commit) (version int64, err error) {
	return t.Refill(ctx, def, nil, c)
}

// Refill is Redefine that also changes rows: the data files with rows that fill wants are written anew in the same commit.
// What it changes is a change to streams; it is none if fill is nil or wants nothing.
func (t *Table) Refill(ctx context.Context, def Definition, fill *Fill, c Commit) (version int64, err error) {
	return t.change(ctx, func(now *Snapshot) (change, error) {
		ch := change{Commit: c, rearranged: true}
		if err := now.checkWrite(true, false); err != nil {
			return ch, err
		}
		widened, err := now.checkWidening(ctx, def.Schema)
		if err != nil {
			return ch, err
		}
		if ch.metadata, err = t.redefined(def, now, false); err != nil {
			return ch, err
		}
		if fill != nil {
			if ch.removes, err = now.wanted(ctx, fill); err != nil {
				return ch, err
			}
			if ch.rearranged = len(ch.removes) == 0; !ch.rearranged {
				ch.Operation = fill.Operation
			}
		}
		if widened {
			ch.removes = now.state.Files
		}
		if len(ch.removes) == 0 {
			return ch, nil
		}
		rows, err := scanFiles(ctx, t, def.Schema, nil, ch.removes)
		if err != nil {
			return ch, err
		}
		defer rows.Close()
		if !ch.rearranged {
			rows = &filled{Reader: rows, fill: fill}
		}
		ch.adds, err = t.writeRows(ctx, rows, Definition{Schema: def.Schema, Properties: def.Properties, Partitions: now.def.Partitions})
		return ch, err
	})
}

// filled yields rows as a Fill makes them.
type filled struct {
	Reader
	fill *Fill
}

// Next implements Reader.
func (r *filled) Next(ctx context.Context) (*Batch, error) {
	b, err := r.Reader.Next(ctx)
	if err != nil {
		return nil, err
	}
	return r.fill.Rows(b)
}

// AnyValue reports whether a column may hold a value that is not null, as the log says.
func (s *Snapshot) AnyValue(column string) bool {
	for i := range s.state.Files {
		if f := &s.state.Files[i]; s.anyValue(f, column) {
			return true
		}
	}
	return false
}

func (s *Snapshot) anyValue(f *delta.File, column string) bool {
	nulls := s.table.stats.of(f, s.state.Files).columns[column].Nulls
	return nulls == nil || *nulls != f.Rows
}

// wanted returns the data files that a Fill is to change. One whose columns hold nothing but nulls is not looked at.
func (s *Snapshot) wanted(ctx context.Context, fill *Fill) ([]delta.File, error) {
	if _, err := s.def.Schema.Select(fill.Columns); err != nil {
		return nil, fmt.Errorf("fill columns of %s.%s: %w", s.table.db, s.table.name, err)
	}
	var out []delta.File
	for i := range s.state.Files {
		f := &s.state.Files[i]
		if !slices.ContainsFunc(fill.Columns, func(name string) bool { return s.anyValue(f, name) }) {
			continue
		}
		is, err := s.anyBatch(ctx, *f, fill.Columns, fill.Wanted)
		if err != nil {
			return nil, err
		}
		if is {
			out = append(out, *f)
		}
	}
	return out, nil
}

// anyBatch reports whether a data file holds such rows.
func (s *Snapshot) anyBatch(ctx context.Context, f delta.File, columns []string, is func(*Batch) bool) (found bool, err error) {
	rows, err := scanFiles(ctx, s.table, s.def.Schema, columns, []delta.File{f})
	if err != nil {
		return false, err
	}
	defer rows.Close()
	err = EachBatch(ctx, rows, func(b *Batch) error {
		if found = found || is(b); found {
			return errNothing
		}
		return nil
	})
	if found {
		err = nil
	}
	return found, err
}

// checkWidening refuses a definition that the rows of the table cannot be read with, or reports whether a type is a
// wider one than before.
func (s *Snapshot) checkWidening(ctx context.Context, after Schema) (widened bool, err error) {
	for _, f := range s.def.Schema {
		i := after.Index(f.Name)
		if i < 0 {
			return false, fmt.Errorf("redefine table: column %q cannot go while there are rows", f.Name)
		}
		from, to := f.Type, after[i].Type
		if from == to {
			continue
		}
		fits := wider(from, to)
		if from.Kind == Long && to.Kind == Double {
			if fits, err = s.fitsDouble(ctx, f.Name); err != nil {
				return false, err
			}
		}
		if !fits {
			return false, &NotWiderError{Column: f.Name, From: from, To: to}
		}
		widened = true
	}
	return widened && s.Files() > 0, nil
}

// CheckWidening refuses columns that the rows cannot be read with, as Table.Redefine would.
func (s *Snapshot) CheckWidening(ctx context.Context, after Schema) error {
	_, err := s.checkWidening(ctx, after)
	return err
}

// maxExact is the number up to which every whole number is a double.
const maxExact = 1 << 53

// fitsDouble reports whether no value of a BIGINT column changes when it becomes a double.
func (s *Snapshot) fitsDouble(ctx context.Context, column string) (bool, error) {
	for i := range s.state.Files {
		f := &s.state.Files[i]
		if !s.anyValue(f, column) {
			continue
		}
		text := s.table.stats.of(f, s.state.Files).columns[column]
		if low, high := text.bounds(Type{Kind: Long}); low != nil && high != nil && low.Int >= -maxExact && high.Int <= maxExact {
			continue
		}
		// There are no bounds, or they say no: those of other writers need not be values.
		beyond, err := s.anyBatch(ctx, *f, []string{column}, func(b *Batch) bool {
			return slices.ContainsFunc(b.Columns[0].Ints, func(n int64) bool { return n > maxExact || n < -maxExact })
		})
		if err != nil || beyond {
			return false, err
		}
	}
	return true, nil
}

// integerDigits is how many decimal digits the values of a kind may have.
var integerDigits = map[Kind]int{Byte: 3, Short: 5, Integer: 10, Long: 20}

// wider reports whether every value of one type is a value of the other, by the rules of Delta's type widening; a date is
// midnight, UTC.
func wider(from, to Type) bool {
	digits, whole := integerDigits[from.Kind]
	switch to.Kind {
	case Short, Integer, Long:
		return whole && from.Kind < to.Kind
	case Double:
		return from.Kind == Float || whole && from.Kind != Long
	case Timestamp:
		return from.Kind == Date
	case Decimal:
		if from.Kind == Decimal {
			return to.Scale >= from.Scale && to.Precision-to.Scale >= from.Precision-from.Scale
		}
		return whole && to.Precision-to.Scale >= digits
	default:
		return false
	}
}
