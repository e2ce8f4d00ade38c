package queries

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"smelt/queries/ddl"
	"smelt/tables"
)

// intake gathers the rows of one batch that go into a quarantine.
type intake struct {
	q      *quarantine
	rules  []ddl.Expectation
	source func(rows *tables.Batch, row int) string // where a row came from
	at     time.Time
	rows   *tables.Batch // of the quarantine's columns but the last two; nil while there are none
}

// intake has the rows that a result keeps out gathered for the quarantine; nil without one. txns is the progress of the
// batch.
func (f *flow) intake(q *quarantine, rows *checked, now *tables.Snapshot, txns map[string]int64) *intake {
	if q == nil {
		return nil
	}
	in := &intake{q: q, rules: f.create.Expectations, source: f.origin(rows.Schema(), now, txns), at: time.Now()}
	rows.hold = in.hold
	return in
}

// origin returns what says where a row came from: its file if it tells it, else the versions and directories that the
// batch read.
func (f *flow) origin(schema tables.Schema, now *tables.Snapshot, txns map[string]int64) func(*tables.Batch, int) string {
	var all []string
	for _, r := range f.reads() {
		name := r.String()
		if t, err := f.g.cfg.Store.Table(r.database, r.table); err == nil {
			if version, ok := txns[f.progressOf(now, t.Snapshot().ID())]; ok {
				name += " version " + strconv.FormatInt(version, 10)
			}
		}
		all = append(all, name)
	}
	for _, s := range f.create.Sources {
		if s.Files != nil {
			all = append(all, s.Files.Path)
		}
	}
	from, column := strings.Join(all, ", "), f.pathColumn(schema)
	return func(b *tables.Batch, row int) string {
		if at := b.Schema.Index(column); at >= 0 && !b.Columns[at].Null(row) {
			return b.Columns[at].Strings[row]
		}
		return from
	}
}

// hold takes the rows that go into quarantine.
func (in *intake) hold(rows *tables.Batch, v *verdict) error {
	mask := v.all(held)
	picked := rows.Filter(mask)
	if picked.Len == 0 {
		return nil
	}
	schema := quarantineSchema(rows.Schema)
	out := &tables.Batch{Schema: schema[:len(schema)-2], Columns: slices.Clone(picked.Columns), Len: picked.Len}
	var names, reasons, times, sources tables.Column
	for r, is := range mask {
		if !is {
			continue
		}
		name, reason := violated(in.rules, v.failed[r])
		names.AppendString(name)
		reasons.AppendString(reason)
		times.AppendInt(in.at.UnixMicro())
		sources.AppendString(in.source(rows, r))
	}
	out.Columns = append(out.Columns, names, reasons, times, sources)
	if in.rows == nil {
		in.rows = tables.NewBatch(out.Schema, 0)
	}
	if in.rows.Append(out); in.rows.Len > maxHeldRows {
		return fmt.Errorf("%w: more than %d rows of one batch go into quarantine; DROP ROW keeps none of them", ErrUnsupported, maxHeldRows)
	}
	return nil
}

// violated names rules and says what they say.
func violated(rules []ddl.Expectation, failed []int) (names, reason string) {
	var list, says []string
	for _, i := range failed {
		list = append(list, rules[i].Name)
		says = append(says, rules[i].Name+" "+rules[i].Rule())
	}
	return "[" + strings.Join(list, ";") + "]", strings.Join(says, "; ")
}

// write commits the rows to the quarantine and has c, which the table commits next, make them count. The rows of a table
// that is overwritten are void from there on.
func (in *intake) write(ctx context.Context, c *tables.Commit) error {
	if in == nil || in.rows == nil && (!c.Overwrite || in.q.table.Snapshot().Rows() == 0) {
		return nil
	}
	number := in.q.next()
	if in.rows != nil {
		if err := in.append(ctx, number); err != nil {
			return err
		}
	}
	c.Txns[txnMoved] = number
	if c.Overwrite {
		c.Txns[txnFrom] = number
	}
	return nil
}

// takeBack has c, which the table commits next, take out of the quarantine rows like those that were gathered, each as often
// as it was. why says that one is not there.
func (in *intake) takeBack(ctx context.Context, c *tables.Commit) (why string, err error) {
	if in == nil || in.rows == nil {
		return "", nil
	}
	names := in.rows.Schema.Names()
	want, missing := map[string]int{}, in.rows.Len
	for r := range in.rows.Len {
		want[rowText(in.rows, names[:len(names)-4], r)]++
	}
	_, err = in.q.release(ctx, c, func(b *tables.Batch, row int) bool {
		text := rowText(b, names[:len(names)-4], row)
		if want[text] == 0 {
			return false
		}
		want[text]--
		missing--
		return true
	})
	if err == nil && missing > 0 {
		why = "not all of its rows are in quarantine any more"
	}
	return why, err
}

// rowText tells rows apart by the values in some columns.
func rowText(b *tables.Batch, columns []string, row int) string {
	var text []byte
	for _, name := range columns {
		if at := b.Schema.Index(name); at >= 0 && !b.Columns[at].Null(row) {
			text = appendValue(append(text, '='), b, at, row)
		}
		text = append(text, ',')
	}
	return string(text)
}

// define lets the quarantine have the columns of rows that come. Rows with other types, which a view's new SELECT may
// yield, replace those that are there: they are void then.
func (q *quarantine) define(c *tables.Commit, schema tables.Schema) {
	merged, changed, fits := q.widened(schema)
	if !changed {
		return
	}
	d := q.table.Snapshot().Definition()
	if d.Schema = merged; !fits {
		d.Schema, c.Overwrite = schema, true
	}
	c.Define = &d
}
