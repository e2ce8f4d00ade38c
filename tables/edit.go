package tables

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"smelt/tables/delta"
)

// ErrChanged is returned when rows that were to be edited have been changed or removed since they were read.
var ErrChanged = errors.New("rows were changed meanwhile")

// Edit takes the rows of old out of the table, each as often as it stands there, and puts those of updated in their
// stead, row by row; updated nil removes them. Rows that are equal in every column are the same to it, whichever of
// them is meant. Data files without such a row stay; the others are written anew. updated has the table's schema; columns
// that old lacks are null in it. c.Rows come in beside them.
func (t *Table) Edit(ctx context.Context, old, updated *Batch, c Commit) (version int64, err error) {
	return t.change(ctx, func(now *Snapshot) (change, error) {
		if err := now.checkWrite(updated != nil, true); err != nil {
			return change{}, err
		}
		old, err := fit(old, now.Schema())
		if err != nil {
			return change{}, err
		}
		e := &edit{old: old, updated: updated, left: map[string][]int{}}
		for row := range old.Len {
			key := string(rowKey(nil, old, row, allDigits))
			e.left[key] = append(e.left[key], row)
		}
		ch := change{Commit: c}
		set, err := newKeySet(old, now.Schema())
		if err != nil {
			return ch, err
		}
		for _, f := range set.filter(now, now.state.Files) {
			hit, err := t.find(ctx, now, f, e)
			if err != nil {
				return ch, err
			}
			if hit {
				ch.removes = append(ch.removes, f)
			}
		}
		if e.found != old.Len {
			return ch, fmt.Errorf("%d of %d rows are gone: %w", old.Len-e.found, old.Len, ErrChanged)
		}
		if len(ch.removes) == 0 {
			return ch, errNothing
		}
		if err := now.checkRows(); err != nil {
			return ch, err
		}
		if ch.Metrics == nil {
			ch.Metrics = map[string]string{}
		}
		added, err := t.writeRows(ctx, c.Rows, now.def)
		if ch.adds = added; err != nil {
			return ch, err
		}
		rows, err := scanFiles(ctx, t, now.Schema(), nil, ch.removes)
		if err != nil {
			return ch, err
		}
		defer rows.Close()
		edited, err := t.writeRows(ctx, &editReader{rows: rows, edit: e}, now.def)
		ch.adds = append(ch.adds, edited...)
		maps.Copy(ch.Metrics, fileMetrics(ch))
		ch.Metrics["num"+map[bool]string{true: "Deleted", false: "Updated"}[updated == nil]+"Rows"] = strconv.Itoa(old.Len)
		return ch, err
	})
}

// edit knows which rows, counted over the files that have any, are edited.
type edit struct {
	old, updated *Batch
	left         map[string][]int // rows of old that were not found yet, by key
	found        int
	rows         int64         // of the files with hits so far
	at           map[int64]int // place among these rows -> row of old
}

// find looks for rows of the edit in one file.
func (t *Table) find(ctx context.Context, now *Snapshot, f delta.File, e *edit) (hit bool, err error) {
	if e.found == e.old.Len {
		return false, nil
	}
	place := e.rows
	var key []byte
	err = t.each(ctx, now.Schema(), []delta.File{f}, func(b *Batch) error {
		for row := range b.Len {
			key = rowKey(key[:0], b, row, allDigits)
			if list := e.left[string(key)]; len(list) > 0 {
				if e.at == nil {
					e.at = map[int64]int{}
				}
				e.at[place] = list[0]
				e.left[string(key)] = list[1:]
				e.found++
				hit = true
			}
			place++
		}
		return nil
	})
	if err != nil {
		return false, err
	}
	if hit {
		e.rows = place
	}
	return hit, nil
}

// allDigits has rowKey tell floats apart by all of their digits, and -0 from 0.
const allDigits = -1

// rowKey appends what tells a row from others.
func rowKey(key []byte, b *Batch, row, digits int) []byte { return b.AppendKey(key, row, digits) }

// editReader yields the rows of files with the edit done.
type editReader struct {
	rows  Reader
	edit  *edit
	place int64
}

// Next implements Reader.
func (r *editReader) Next(ctx context.Context) (*Batch, error) {
	for {
		b, err := r.rows.Next(ctx)
		if err != nil {
			return nil, err
		}
		out := r.apply(b)
		if out.Len > 0 {
			return out, nil
		}
	}
}

func (r *editReader) apply(b *Batch) *Batch {
	keep := make([]bool, b.Len)
	var replaced []int // rows of old that stand in this batch
	for row := range keep {
		old, ok := r.edit.at[r.place]
		r.place++
		keep[row] = !ok
		if ok {
			replaced = append(replaced, old)
		}
	}
	if len(replaced) == 0 {
		return b
	}
	out := b.Filter(keep)
	if r.edit.updated == nil {
		return out
	}
	slices.Sort(replaced)
	changed := r.edit.updated.Pick(replaced)
	joined := NewBatch(b.Schema, out.Len+changed.Len)
	joined.Append(out)
	joined.Append(changed)
	return joined
}

// Close implements Reader.
func (r *editReader) Close() error { return r.rows.Close() }

// Restore brings back what the table held at a version, its columns included, as a new version. Data files that were
// vacuumed since are an error that names one, and nothing changes.
func (t *Table) Restore(ctx context.Context, version int64) (int64, error) {
	then, err := t.At(ctx, version)
	if err != nil {
		return 0, err
	}
	return t.change(ctx, func(now *Snapshot) (change, error) {
		ch := change{Commit: Commit{Operation: "RESTORE", Parameters: map[string]string{"version": strconv.FormatInt(version, 10)}}}
		if err := now.checkWrite(false, true); err != nil {
			return ch, err
		}
		ch.removes = missingFrom(now.state.Files, then.state.Files)
		var adds []delta.Add
		for _, f := range missingFrom(then.state.Files, now.state.Files) {
			if _, err := t.store.fs.Stat(t.pathOf(f)); err != nil {
				return ch, fmt.Errorf("version %d: data file %s: %w", version, f.Path, err)
			}
			adds = append(adds, f.Add)
		}
		metadata := then.state.Metadata
		ch.metadata, ch.restored = &metadata, adds
		ch.Metrics = map[string]string{"numRestoredFiles": strconv.Itoa(len(adds)), "numRemovedFiles": strconv.Itoa(len(ch.removes)), "numOfFilesAfterRestore": strconv.Itoa(len(then.state.Files))}
		return ch, nil
	})
}
