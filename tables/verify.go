package tables

import (
	"context"
	"fmt"
	"time"
)

// Verify reads every data file of the table whole and compares it with what the log says: that it is there, its size,
// its check sums, its rows. stray are the files that no version needs, which Vacuum removes when they are old enough.
func (t *Table) Verify(ctx context.Context) (stray int, err error) {
	now := t.Snapshot()
	rows, err := newScan(ctx, t, now.Schema(), now.state.Files, nil, true)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	var got int64
	if err := EachBatch(ctx, rows, func(b *Batch) error {
		got += int64(b.Len)
		return nil
	}); err != nil {
		return 0, err
	}
	if got != now.Rows() {
		return 0, fmt.Errorf("%d rows read, the log says %d", got, now.Rows())
	}
	if t.external {
		return 0, nil // what lies beside the files of others is theirs
	}
	t.commitMu.Lock()
	defer t.commitMu.Unlock()
	paths, err := t.unneeded("", t.needed(time.Time{}), time.Now())
	return len(paths), err
}

// floatDigits is how many digits of a float count in Difference: sums of the same numbers in another order agree in them.
const floatDigits = 12

// Difference compares two relations of the same columns as bags of rows and describes the first row that only one of
// them has; "" if they are equal. a and b say whose rows they are.
func Difference(ctx context.Context, a, b Relation) (onlyA, onlyB string, err error) {
	counts := map[string]int{}
	if err := eachRow(ctx, a, func(batch *Batch, row int) { counts[string(rowKey(nil, batch, row, floatDigits))]++ }); err != nil {
		return "", "", err
	}
	if err := eachRow(ctx, b, func(batch *Batch, row int) {
		key := string(rowKey(nil, batch, row, floatDigits))
		if counts[key]--; counts[key] < 0 && onlyB == "" {
			onlyB = describeRow(batch, row)
		}
	}); err != nil {
		return "", "", err
	}
	err = eachRow(ctx, a, func(batch *Batch, row int) {
		if onlyA == "" && counts[string(rowKey(nil, batch, row, floatDigits))] > 0 {
			onlyA = describeRow(batch, row)
		}
	})
	return onlyA, onlyB, err
}

func eachRow(ctx context.Context, r Relation, f func(b *Batch, row int)) error {
	rows, err := r.Scan(ctx, nil)
	if err != nil {
		return err
	}
	defer rows.Close()
	return EachBatch(ctx, rows, func(b *Batch) error {
		for row := range b.Len {
			f(b, row)
		}
		return nil
	})
}

// describeRow writes a row for a person.
func describeRow(b *Batch, row int) string {
	const maxText = 60 // bytes of one value: the row must stay readable
	out := "("
	for i, f := range b.Schema {
		if i > 0 {
			out += ", "
		}
		text := "NULL"
		if c := &b.Columns[i]; !c.Null(row) {
			text = partitionText(c, f.Type, row)
		}
		if len(text) > maxText {
			text = text[:maxText] + "..."
		}
		out += f.Name + " = " + text
	}
	return out + ")"
}
