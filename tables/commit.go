package tables

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"path/filepath"
	"slices"
	"time"

	"github.com/google/uuid"

	"smelt/tables/delta"
)

const (
	engineInfo = "smelt"
	// maxConflicts bounds how often a commit is tried again behind another writer.
	maxConflicts = 10
)

// Commit is one new version of a table: what it adds, what it removes, and the progress of the flow that made it.
type Commit struct {
	Operation  string            // shown in the history
	Parameters map[string]string // shown in the history
	Metrics    map[string]string // shown in the history
	Txns       map[string]int64  // application id -> version, as Snapshot.Txn returns it
	Rows       Reader            // rows to append, matched to the schema by name, missing columns null; nil for none
	Overwrite  bool              // removes all rows in the same version
	Define     *Definition       // new definition in the same version; nil keeps it
	NewID      bool              // with Define: the table gets a new id, and streams of it start over

	// Prepare is called when the rows are durable and before the commit is: it may fill the three maps, which must
	// then not be nil, and write what must be durable before the commit. An error abandons the commit. Neither Prepare
	// nor Rows may create, drop or close anything of the Store: those wait for the commit.
	Prepare func(ctx context.Context) error
}

// Commit writes the rows, makes them durable and publishes them as one version. When it returns an error, the table is
// as it was, or the commit stands whole: Snapshot tells. Rows is not closed.
func (t *Table) Commit(ctx context.Context, c Commit) (version int64, err error) {
	t.commitMu.Lock()
	defer t.commitMu.Unlock()
	if t.dropped {
		return 0, t.errDropped()
	}
	if err := t.store.begin(); err != nil {
		return 0, fmt.Errorf("commit to %s.%s: %w", t.db, t.name, err)
	}
	defer t.store.writers.Done()
	metadata, schema, err := t.definition(c)
	if err != nil {
		return 0, fmt.Errorf("commit to %s.%s: %w", t.db, t.name, err)
	}
	adds, err := t.writeRows(ctx, c.Rows, schema)
	if err == nil && c.Prepare != nil {
		err = c.Prepare(ctx)
	}
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		// Nothing refers to these files, and nothing ever will: their names are random.
		return 0, errors.Join(fmt.Errorf("commit to %s.%s: %w", t.db, t.name, err), t.discard(adds))
	}
	version, err = t.publish(c, metadata, adds)
	if errors.Is(err, delta.ErrUncertain) {
		// The files of the commit stay: it may name them. What the log holds now is what readers shall see.
		return 0, errors.Join(fmt.Errorf("commit to %s.%s: %w", t.db, t.name, err), t.refresh())
	}
	if err != nil {
		return 0, errors.Join(fmt.Errorf("commit to %s.%s: %w", t.db, t.name, err), t.discard(adds))
	}
	return version, nil
}

// definition returns the metadata action of the commit, nil when it does not change, and the schema of its rows.
func (t *Table) definition(c Commit) (*delta.Metadata, Schema, error) {
	now := t.Snapshot()
	if err := now.state.Metadata.CheckWrite(c.Rows != nil, c.Overwrite); err != nil {
		return nil, nil, err
	}
	if c.Define == nil {
		return nil, now.Schema(), nil
	}
	if !c.Overwrite && now.Files() > 0 {
		if err := checkEvolution(now.Schema(), c.Define.Schema); err != nil {
			return nil, nil, err
		}
	}
	id := now.ID()
	if c.NewID {
		id = uuid.NewString()
	}
	metadata, err := encodeDefinition(*c.Define, id, now.state.Metadata.CreatedTime, t.name)
	return metadata, c.Define.Schema, err
}

// publish links the commit file; behind another writer it reads that one's commits and tries the next version.
func (t *Table) publish(c Commit, metadata *delta.Metadata, adds []delta.Add) (int64, error) {
	for range maxConflicts {
		base := t.Snapshot()
		version := base.Version() + 1
		actions := t.actions(c, base, metadata, adds)
		err := t.log.Commit(version, actions)
		if err == nil {
			if err := t.advance(version, actions); err != nil {
				return 0, fmt.Errorf("%w: %w", delta.ErrUncertain, err)
			}
			return version, nil
		}
		if !errors.Is(err, delta.ErrConflict) {
			return 0, err
		}
		if err := t.refresh(); err != nil {
			return 0, fmt.Errorf("read the commit of another writer: %w", err)
		}
		if metadata != nil || c.Overwrite || outdated(c.Txns, base, t.Snapshot()) {
			return 0, err
		}
	}
	return 0, fmt.Errorf("%d tries behind other writers: %w", maxConflicts, delta.ErrConflict)
}

// outdated reports whether another writer did what rows that are ready to be appended cannot stand behind: a new
// definition, or the progress of the same application, because two of one flow must not both append.
func outdated(txns map[string]int64, before, now *Snapshot) bool {
	if before.ID() != now.ID() || before.state.Metadata.SchemaString != now.state.Metadata.SchemaString {
		return true
	}
	for app := range txns {
		was, hadBefore := before.Txn(app)
		is, hasNow := now.Txn(app)
		if was != is || hadBefore != hasNow {
			return true
		}
	}
	return false
}

func (t *Table) actions(c Commit, base *Snapshot, metadata *delta.Metadata, adds []delta.Add) []delta.Action {
	now := time.Now().UnixMilli()
	info := &delta.CommitInfo{Timestamp: now, Operation: c.Operation, OperationParameters: maps.Clone(c.Parameters), OperationMetrics: maps.Clone(c.Metrics),
		IsBlindAppend: !c.Overwrite, EngineInfo: engineInfo}
	if info.OperationParameters == nil {
		info.OperationParameters = map[string]string{}
	}
	actions := []delta.Action{{CommitInfo: info}}
	if metadata != nil {
		actions = append(actions, delta.Action{Metadata: metadata})
	}
	for _, app := range slices.Sorted(maps.Keys(c.Txns)) {
		actions = append(actions, delta.Action{Txn: &delta.Txn{AppID: app, Version: c.Txns[app], LastUpdated: now}})
	}
	if c.Overwrite {
		for _, f := range base.state.Files {
			actions = append(actions, delta.Action{Remove: &delta.Remove{Path: f.Path, DeletionTimestamp: now, DataChange: true, ExtendedFileMetadata: true,
				PartitionValues: map[string]string{}, Size: f.Size}})
		}
	}
	for i := range adds {
		actions = append(actions, delta.Action{Add: &adds[i]})
	}
	return actions
}

// writeRows writes the rows to data files and makes them and their names durable.
func (t *Table) writeRows(ctx context.Context, rows Reader, schema Schema) (adds []delta.Add, err error) {
	if rows == nil {
		return nil, nil
	}
	var file *dataFile
	defer func() {
		if file != nil {
			err = errors.Join(err, file.abandon())
		}
	}()
	for {
		b, err := rows.Next(ctx)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return adds, err
		}
		if file == nil {
			if file, err = t.newDataFile(schema); err != nil {
				return adds, err
			}
		}
		fitted, err := fit(b, schema)
		if err != nil {
			return adds, err
		}
		if err := file.writer.Write(fitted); err != nil {
			return adds, fmt.Errorf("write %s: %w", file.name, err)
		}
		file.rows += int64(b.Len)
		if file.full() {
			add, err := file.finish()
			file = nil
			if err != nil {
				return adds, err
			}
			adds = append(adds, add)
		}
	}
	if file != nil {
		add, err := file.finish()
		file = nil
		if err != nil {
			return adds, err
		}
		adds = append(adds, add)
	}
	if len(adds) > 0 {
		if err := t.store.fs.SyncDir(t.dir); err != nil {
			return adds, fmt.Errorf("sync table directory: %w", err)
		}
	}
	return adds, nil
}

// discard removes data files that no commit refers to.
func (t *Table) discard(adds []delta.Add) error {
	var errs []error
	for _, a := range adds {
		name, err := url.PathUnescape(a.Path)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		errs = append(errs, t.store.fs.Remove(filepath.Join(t.dir, name)))
	}
	return errors.Join(errs...)
}

// fit arranges the columns of a batch as the table has them; columns that the batch lacks become null.
func fit(b *Batch, schema Schema) (*Batch, error) {
	out := &Batch{Schema: schema, Columns: make([]Column, len(schema)), Len: b.Len}
	used := 0
	for i, f := range schema {
		at := b.Schema.Index(f.Name)
		if at < 0 {
			for range b.Len {
				out.Columns[i].AppendNull(f.Type.Kind)
			}
			continue
		}
		used++
		if got := b.Schema[at].Type; got != f.Type {
			return nil, fmt.Errorf("append column %q: the rows hold %s, the table %s", f.Name, got, f.Type)
		}
		out.Columns[i] = b.Columns[at]
	}
	if used != len(b.Schema) {
		for _, f := range b.Schema {
			if schema.Index(f.Name) < 0 {
				return nil, fmt.Errorf("append column %q: the table has no such column", f.Name)
			}
		}
	}
	return out, nil
}
