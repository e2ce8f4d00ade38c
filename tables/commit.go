package tables

import (
	"context"
	"errors"
	"fmt"
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

// change is a commit on its way: the rows are in files, and the files that go are known.
type change struct {
	Commit
	metadata   *delta.Metadata // nil keeps it
	adds       []delta.Add
	removes    []delta.File
	restored   []delta.Add // files of an older version, which are there already
	rearranged bool        // the rows stay what they are: streams pass over the files
}

// Commit writes the rows, makes them durable and publishes them as one version. When it returns an error, the table is
// as it was, or the commit stands whole: Snapshot tells. Rows is not closed.
func (t *Table) Commit(ctx context.Context, c Commit) (version int64, err error) {
	return t.change(ctx, func(now *Snapshot) (change, error) {
		metadata, def, err := t.definition(c, now)
		if err != nil {
			return change{}, err
		}
		ch := change{Commit: c, metadata: metadata}
		if c.Overwrite {
			ch.removes = now.state.Files
		}
		ch.adds, err = t.writeRows(ctx, c.Rows, def)
		return ch, err
	})
}

// change runs one commit: prepare writes its data files, with the table as it stands; they are removed again if the
// commit does not come about.
func (t *Table) change(ctx context.Context, prepare func(now *Snapshot) (change, error)) (version int64, err error) {
	t.commitMu.Lock()
	defer t.commitMu.Unlock()
	if t.dropped {
		return 0, t.errDropped()
	}
	if err := t.store.begin(); err != nil {
		return 0, fmt.Errorf("commit to %s.%s: %w", t.db, t.name, err)
	}
	defer t.store.writers.Done()
	if err := t.catchUp(); err != nil {
		return 0, fmt.Errorf("commit to %s.%s: %w", t.db, t.name, err)
	}
	c, err := prepare(t.Snapshot())
	if err == nil && c.Prepare != nil {
		err = c.Prepare(ctx)
	}
	if err == nil {
		err = ctx.Err()
	}
	if errors.Is(err, errNothing) {
		return t.Snapshot().Version(), nil
	}
	if err != nil {
		// Nothing refers to these files, and nothing ever will: their names are random.
		return 0, errors.Join(fmt.Errorf("commit to %s.%s: %w", t.db, t.name, err), t.discard(c.adds))
	}
	version, err = t.publish(c)
	if errors.Is(err, delta.ErrUncertain) {
		// The files of the commit stay: it may name them.
		return 0, fmt.Errorf("commit to %s.%s: %w", t.db, t.name, err)
	}
	if err != nil {
		return 0, errors.Join(fmt.Errorf("commit to %s.%s: %w", t.db, t.name, err), t.discard(c.adds))
	}
	t.tend()
	return version, nil
}

// Settle reads what the log holds if the last commit left that open, and waits for no commit otherwise. Who plans by the
// table's state, or does something to another table because of it, does this first; a commit that does not fails once
// with a conflict. An error says that it is still open.
func (t *Table) Settle() error {
	if !t.stale.Load() {
		return nil
	}
	t.commitMu.Lock()
	defer t.commitMu.Unlock()
	if !t.stale.Load() || t.dropped {
		return nil
	}
	if err := t.refresh(); err != nil {
		return fmt.Errorf("read again what %s.%s holds: %w", t.db, t.name, err)
	}
	t.stale.Store(false)
	return nil
}

// catchUp reads what others have committed to an attached table, or what a commit left whose outcome could not be read.
// In the second case the caller has planned by a table that may be another one now: then it must plan again.
func (t *Table) catchUp() error {
	if !t.external && !t.stale.Load() {
		return nil
	}
	before := t.Snapshot().Version()
	if err := t.refresh(); err != nil {
		return err
	}
	if stale := t.stale.Swap(false); stale && t.Snapshot().Version() != before {
		return fmt.Errorf("an earlier commit stands whose outcome was not known: %w", delta.ErrConflict)
	}
	return nil
}

// errNothing ends a change that has nothing to do.
var errNothing = errors.New("nothing to do")

// definition returns the metadata action of the commit, nil when it does not change, and the definition for its rows.
func (t *Table) definition(c Commit, now *Snapshot) (*delta.Metadata, Definition, error) {
	if err := now.checkWrite(c.Rows != nil, c.Overwrite); err != nil {
		return nil, Definition{}, err
	}
	if c.Define == nil {
		return nil, now.def, nil
	}
	if !c.Overwrite && now.Files() > 0 {
		if err := checkEvolution(now.Schema(), c.Define.Schema); err != nil {
			return nil, Definition{}, err
		}
	}
	metadata, err := t.redefined(*c.Define, now, c.NewID)
	if err != nil {
		return nil, Definition{}, err
	}
	return metadata, Definition{Schema: c.Define.Schema, Properties: metadata.Configuration, Partitions: metadata.PartitionColumns}, nil
}

// redefined returns the metadata of a new definition of the table. What files are parted by stays, unless the table
// starts over or had no columns before.
func (t *Table) redefined(def Definition, now *Snapshot, newID bool) (*delta.Metadata, error) {
	id, born := now.ID(), int64(0)
	if newID {
		id, born = uuid.NewString(), now.Version()+1
	}
	if !newID && len(now.Schema()) > 0 {
		def.Partitions = now.def.Partitions
	}
	metadata, err := encodeDefinition(def, id, now.state.Metadata.CreatedTime, t.name)
	if err == nil {
		metadata.BeBorn(born, &now.state.Metadata)
	}
	return metadata, err
}

// publish links the commit file; behind another writer it reads that one's commits and tries the next version.
func (t *Table) publish(c change) (int64, error) {
	for range maxConflicts {
		base := t.Snapshot()
		version := base.Version() + 1
		actions := t.actions(c)
		err := t.log.Commit(version, actions)
		if err == nil {
			if err := t.advance(version, actions); err != nil {
				return 0, fmt.Errorf("%w: %w", delta.ErrUncertain, err)
			}
			return version, nil
		}
		if errors.Is(err, delta.ErrUncertain) {
			// What the log holds now is what readers shall see.
			refreshErr := t.refresh()
			t.stale.Store(refreshErr != nil)
			return 0, errors.Join(err, refreshErr)
		}
		if !errors.Is(err, delta.ErrConflict) {
			return 0, err
		}
		if err := t.refresh(); err != nil {
			return 0, fmt.Errorf("read the commit of another writer: %w", err)
		}
		if now := t.Snapshot(); c.metadata != nil || c.Overwrite || outdated(c.Txns, base, now) || !now.has(c.removes) {
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

func (t *Table) actions(c change) []delta.Action {
	now := time.Now().UnixMilli()
	info := &delta.CommitInfo{Timestamp: now, Operation: c.Operation, OperationParameters: maps.Clone(c.Parameters), OperationMetrics: maps.Clone(c.Metrics),
		IsBlindAppend: len(c.removes) == 0 && !c.Overwrite && c.metadata == nil, EngineInfo: engineInfo}
	if info.OperationParameters == nil {
		info.OperationParameters = map[string]string{}
	}
	actions := []delta.Action{{CommitInfo: info}}
	if c.metadata != nil {
		actions = append(actions, delta.Action{Metadata: c.metadata})
	}
	for _, app := range slices.Sorted(maps.Keys(c.Txns)) {
		actions = append(actions, delta.Action{Txn: &delta.Txn{AppID: app, Version: c.Txns[app], LastUpdated: now}})
	}
	for _, f := range c.removes {
		actions = append(actions, delta.Action{Remove: &delta.Remove{Path: f.Path, DeletionTimestamp: now, DataChange: !c.rearranged, ExtendedFileMetadata: true,
			PartitionValues: f.PartitionValues, Size: f.Size}})
	}
	for _, add := range slices.Concat(c.restored, c.adds) {
		add.DataChange = !c.rearranged
		actions = append(actions, delta.Action{Add: &add})
	}
	return actions
}

// writeRows writes the rows to data files and makes them and their names durable.
func (t *Table) writeRows(ctx context.Context, rows Reader, def Definition) (adds []delta.Add, err error) {
	if rows == nil {
		return nil, nil
	}
	w := &rowWriter{table: t, def: def, open: map[string]*dataFile{}, dirs: map[string]bool{}, maxOpen: maxOpenFiles}
	defer func() { err = errors.Join(err, w.abandon()) }()
	err = EachBatch(ctx, rows, func(b *Batch) error {
		fitted, err := fit(b, def.Schema)
		if err != nil {
			return err
		}
		return w.write(fitted)
	})
	if err != nil {
		return w.adds, err
	}
	if err := w.finish(); err != nil {
		return w.adds, err
	}
	return w.adds, w.sync()
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
