package tables

import (
	"context"
	"fmt"

	"smelt/tables/delta"
)

// Removed returns the rows that a commit took out of the table: those of the data files that it removed, less those of
// the files that it wrote in their stead, each as often as it stood there. They have the columns of the table as it is
// now. Data files that were vacuumed since are an error.
func (t *Table) Removed(ctx context.Context, version int64) (*Batch, error) {
	before, err := t.At(ctx, version-1)
	if err != nil {
		return nil, err
	}
	after, err := t.At(ctx, version)
	if err != nil {
		return nil, err
	}
	schema := t.Snapshot().Schema()
	left := map[string]int{}
	var key []byte
	err = t.each(ctx, schema, missingFrom(after.state.Files, before.state.Files), func(b *Batch) error {
		for row := range b.Len {
			key = rowKey(key[:0], b, row, allDigits)
			left[string(key)]++
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	out := NewBatch(schema, 0)
	err = t.each(ctx, schema, missingFrom(before.state.Files, after.state.Files), func(b *Batch) error {
		gone := make([]bool, b.Len)
		for row := range b.Len {
			key = rowKey(key[:0], b, row, allDigits)
			if left[string(key)] > 0 {
				left[string(key)]--
				continue
			}
			gone[row] = true
		}
		if out.Append(b.Filter(gone)); out.Len > maxReadAllRows {
			return fmt.Errorf("version %d of %s.%s took out more than %d rows", version, t.db, t.name, maxReadAllRows)
		}
		return nil
	})
	return out, err
}

// missingFrom returns the files of a that are not in b.
func missingFrom(a, b []delta.File) []delta.File {
	there := make(map[string]bool, len(b))
	for _, f := range b {
		there[f.Path] = true
	}
	var out []delta.File
	for _, f := range a {
		if !there[f.Path] {
			out = append(out, f)
		}
	}
	return out
}

// each calls f for all batches of the data files.
func (t *Table) each(ctx context.Context, schema Schema, files []delta.File, f func(*Batch) error) error {
	rows, err := scanFiles(ctx, t, schema, nil, files)
	if err != nil {
		return err
	}
	defer rows.Close()
	return EachBatch(ctx, rows, f)
}
