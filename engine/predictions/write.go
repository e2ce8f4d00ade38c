package predictions

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"smelt/tables"
)

// write is the goroutine that writes entries behind. What cannot be written is logged and stays in memory.
func (l *Ledger) write() {
	defer close(l.done)
	for {
		select {
		case <-l.stop:
			return
		case <-l.wake:
		}
		// Others that come soon go with them.
		timer := time.NewTimer(flushDelay)
		for waiting := true; waiting; {
			l.mu.RLock()
			full := len(l.pending) >= flushEntries
			l.mu.RUnlock()
			if full {
				break
			}
			select {
			case <-timer.C:
				waiting = false
			case <-l.wake:
			case <-l.stop:
				timer.Stop()
				return
			}
		}
		timer.Stop()
		if err := l.Flush(l.work); err != nil {
			l.cfg.Logger.Warn("predictions not written", "err", err)
		}
	}
}

// Flush writes what waits, and returns when the table holds it.
func (l *Ledger) Flush(ctx context.Context) error {
	l.disk.Lock()
	defer l.disk.Unlock()
	l.mu.Lock()
	list, trimmed := l.pending, l.trimmed && l.loaded
	l.pending = nil
	if trimmed {
		// Entries are not changed, and the order is appended to behind this end.
		list, l.trimmed = l.order[:len(l.order):len(l.order)], false
	}
	l.mu.Unlock()
	if len(list) == 0 {
		return nil
	}
	t, err := l.table(ctx)
	if err == nil {
		_, err = t.Commit(ctx, tables.Commit{Operation: "WRITE", Parameters: map[string]string{"mode": mode(trimmed)}, Overwrite: trimmed, Rows: &entryReader{list: list}})
	}
	if err != nil && trimmed {
		l.mu.Lock()
		l.trimmed = true // with the next ones
		l.mu.Unlock()
	}
	return err
}

func mode(overwrite bool) string {
	if overwrite {
		return "Overwrite"
	}
	return "Append"
}

// table returns the table of the ledger, made at the first write.
func (l *Ledger) table(ctx context.Context) (*tables.Table, error) {
	t, err := l.cfg.Store.Table(database, tableName)
	if !errors.Is(err, tables.ErrNotFound) {
		return t, err
	}
	if err := l.cfg.Store.CreateDatabase(database); err != nil && !errors.Is(err, tables.ErrExists) {
		return nil, err
	}
	return l.cfg.Store.Create(ctx, database, tableName, tables.Definition{Schema: Schema, Comment: "what models said of texts, each text once for each version",
		Properties: map[string]string{tables.PropertyAutoVacuum: "true", "delta.deletedFileRetentionDuration": "interval 1 hours"}})
}

// Relation returns the table as it stands, with all that is known in it.
func (l *Ledger) Relation(ctx context.Context) (tables.Relation, error) {
	if err := l.Flush(ctx); err != nil {
		return nil, fmt.Errorf("write smelt.predictions: %w", err)
	}
	t, err := l.cfg.Store.Table(database, tableName)
	if errors.Is(err, tables.ErrNotFound) {
		return tables.FromBatches(Schema), nil
	}
	if err != nil {
		return nil, err
	}
	return t.Snapshot(), nil
}

// Close writes what waits, until ctx ends, and ends the writer. It may be called more than once.
func (l *Ledger) Close(ctx context.Context) (err error) {
	l.once.Do(func() {
		close(l.stop)
		stopped := context.AfterFunc(ctx, l.end)
		defer stopped()
		<-l.done
		if err = l.Flush(ctx); err != nil {
			err = fmt.Errorf("write smelt.predictions: %w", err)
		}
		l.end()
	})
	return err
}

// entryReader yields entries as rows.
type entryReader struct{ list []*entry }

// Next implements tables.Reader.
func (r *entryReader) Next(context.Context) (*tables.Batch, error) {
	if len(r.list) == 0 {
		return nil, io.EOF
	}
	n := min(batchRows, len(r.list))
	b := tables.NewBatch(Schema, n)
	for _, e := range r.list[:n] {
		b.Columns[0].AppendString(e.name)
		b.Columns[1].AppendString(e.model)
		b.Columns[2].AppendString(hex.EncodeToString(e.input[:]))
		b.Columns[3].AppendString(e.output)
		b.Columns[4].AppendFloat(float64(e.each) / float64(time.Millisecond))
		b.Columns[5].AppendInt(e.scored.UnixMicro())
	}
	b.Len, r.list = n, r.list[n:]
	return b, nil
}

// Close implements tables.Reader.
func (r *entryReader) Close() error { return nil }
