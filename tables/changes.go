package tables

import (
	"context"
	"fmt"
	"math"
	"slices"

	"smelt/tables/delta"
)

// Changes is the rows that a range of commits added, in commit order. It implements Relation and Counter.
type Changes struct {
	From, To       int64 // commits after From, up to and including To; equal when nothing is new
	RowCount       int64
	Rewritten      bool  // a commit in the range removed or changed rows: it is no stream
	RewriteVersion int64 // the first such commit

	RewriteOperation string // what that commit says it is; "" where the log was cleaned up

	Replaced bool // files of the range were joined into others since, and may go: the newest version has their rows

	table  *Table
	id     string
	schema Schema
	files  []delta.File
}

var (
	_ Relation = (*Changes)(nil)
	_ Counter  = (*Changes)(nil)
)

// Changes returns the rows added by the commits after from: at least those of one commit, then as many commits as fit
// maxRows rows (0 for no limit). From -1 means from the beginning of the table's present id: a commit with NewID
// starts over. Commits without rows are passed over for free. Where the log was cleaned up behind from, the changes are
// said to be rewritten.
func (t *Table) Changes(ctx context.Context, from, maxRows int64) (*Changes, error) {
	return t.ChangesUpTo(ctx, from, math.MaxInt64, maxRows)
}

// ChangesUpTo is Changes that reads no commit behind a version.
func (t *Table) ChangesUpTo(ctx context.Context, from, to, maxRows int64) (*Changes, error) {
	born := t.Snapshot().state.Born
	if _, err := t.reach(ctx, max(from+1, born)); err != nil {
		return nil, fmt.Errorf("read changes of %s.%s: %w", t.db, t.name, err)
	}
	c, now, removed, err := t.changes(from, to, maxRows)
	if err != nil {
		return nil, err
	}
	if !removed {
		return c, nil // nothing of what was added can have gone: the stream at the tip looks at no file
	}
	return c, c.checkFiles(now.live())
}

// changes returns the range, the newest version, and whether any commit since the beginning of the range took files out.
func (t *Table) changes(from, to, maxRows int64) (c *Changes, now *Snapshot, removed bool, err error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if t.dropped {
		return nil, nil, false, fmt.Errorf("table %s.%s: %w", t.db, t.name, ErrNotFound)
	}
	newest := t.current.Version()
	if from > newest {
		return nil, nil, false, fmt.Errorf("read changes of %s.%s after version %d: the newest is %d", t.db, t.name, from, newest)
	}
	born := t.current.state.Born
	c = &Changes{From: from, To: from, table: t, id: t.current.ID(), schema: t.current.Schema()}
	first := max(from+1, born)
	if first < t.first {
		// The log no longer tells what came in and what went out: to a stream that is as if rows had been changed.
		c.Rewritten, c.RewriteVersion = true, t.first-1
		first = t.first
	}
	entries := t.commits[min(first-t.first, int64(len(t.commits))):]
	removed = c.Rewritten || slices.ContainsFunc(entries, func(e commitEntry) bool { return e.removed })
	for _, e := range entries {
		if e.info.Version > to || maxRows > 0 && c.RowCount > 0 && c.RowCount+e.rows > maxRows {
			break
		}
		// The commit that gave the table its id removes the rows of the time before, which this stream never saw.
		if e.rewrote && e.info.Version != born && !c.Rewritten {
			c.Rewritten, c.RewriteVersion, c.RewriteOperation = true, e.info.Version, e.info.Operation
		}
		c.files = append(c.files, e.files...)
		c.RowCount += e.rows
		c.To = e.info.Version
	}
	return c, t.current, removed, nil
}

// checkFiles looks for the files that no longer belong to the table: VACUUM may have removed them.
func (c *Changes) checkFiles(live map[string]bool) error {
	for _, f := range c.files {
		if live[f.Path] {
			continue
		}
		c.Replaced = true
		if _, err := c.table.store.fs.Stat(c.table.pathOf(f)); err != nil && c.From >= 0 && !c.Rewritten {
			return fmt.Errorf("read changes of %s.%s after version %d: data file %s was vacuumed before it was read: %w", c.table.db, c.table.name, c.From, f.Path, err)
		}
	}
	return nil
}

// ID returns the id of the table that the changes belong to.
func (c *Changes) ID() string { return c.id }

// Schema implements Relation.
func (c *Changes) Schema() Schema { return c.schema }

// Rows implements Counter.
func (c *Changes) Rows() int64 { return c.RowCount }

// Scan implements Relation.
func (c *Changes) Scan(ctx context.Context, columns []string) (Reader, error) {
	return scanFiles(ctx, c.table, c.schema, columns, c.files)
}
