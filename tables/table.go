package tables

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"sync"
	"time"

	"github.com/google/uuid"

	"smelt/tables/delta"
)

// Definition is what a table says of itself; it lives in the Delta metadata.
type Definition struct {
	Schema     Schema
	Comment    string
	Properties map[string]string // Delta's configuration; names that begin with "delta." are the protocol's
}

// Table is one Delta table. All methods are safe for concurrent use; commits run one after another.
type Table struct {
	store *Store
	db    string
	name  string
	dir   string
	log   *delta.Log

	commitMu sync.Mutex    // held during a commit, I/O included
	replay   *delta.Replay // guarded by commitMu

	mu      sync.RWMutex // guards what follows; never held during I/O
	current *Snapshot
	infos   []CommitInfo  // of each version, in order
	adds    []added       // data files by the version that added them, in order, for Changes
	changed chan struct{} // closed by the next commit
	dropped bool
}

// added is what one commit did to the rows, as a stream of changes sees it.
type added struct {
	version int64
	files   []delta.File // files with dataChange
	rows    int64        // of files
	rewrote bool         // rows were removed or changed
	reset   bool         // the table got a new id
}

func newTable(s *Store, db, name, dir string) *Table {
	return &Table{store: s, db: db, name: name, dir: dir, log: delta.NewLog(s.fs, dir), replay: delta.NewReplay(), changed: make(chan struct{})}
}

// Database returns the name of the table's database.
func (t *Table) Database() string { return t.db }

// Name returns the name of the table.
func (t *Table) Name() string { return t.name }

// Dir returns the directory of the table.
func (t *Table) Dir() string { return t.dir }

// StateDir returns where a flow keeps its ledger, under the table that it writes. The directory is not made.
// Delta's VACUUM passes over directories that begin with _.
func (t *Table) StateDir(flow string) string { return filepath.Join(t.dir, "_checkpoints", flow) }

// Snapshot returns the newest version. It costs nothing and stays readable while later versions are committed.
func (t *Table) Snapshot() *Snapshot {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.current
}

// Changed returns a channel that is closed by the next commit. Take it before the Snapshot, or a commit between the
// two goes unseen.
func (t *Table) Changed() <-chan struct{} {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.changed
}

// create writes version 0.
func (t *Table) create(_ context.Context, def Definition) error {
	metadata, err := encodeDefinition(def, uuid.NewString(), time.Now().UnixMilli(), t.name)
	if err != nil {
		return err
	}
	if err := t.store.fs.MkdirAll(t.dir); err != nil {
		return err
	}
	if err := t.log.Create(); err != nil {
		return err
	}
	actions := []delta.Action{
		{CommitInfo: &delta.CommitInfo{Timestamp: time.Now().UnixMilli(), Operation: "CREATE TABLE", OperationParameters: map[string]string{}, IsBlindAppend: true, EngineInfo: engineInfo}},
		{Protocol: &delta.Protocol{MinReaderVersion: delta.ReaderVersion, MinWriterVersion: delta.WriterVersion}},
		{Metadata: metadata},
	}
	if err := t.log.Commit(0, actions); err != nil {
		return err
	}
	return t.advance(0, actions)
}

func encodeDefinition(def Definition, id string, created int64, name string) (*delta.Metadata, error) {
	if err := checkSchema(def.Schema); err != nil {
		return nil, err
	}
	schema, err := encodeSchema(def.Schema)
	if err != nil {
		return nil, err
	}
	properties := maps.Clone(def.Properties)
	if properties == nil {
		properties = map[string]string{}
	}
	return &delta.Metadata{ID: id, Name: name, Description: def.Comment, Format: delta.Format{Provider: "parquet", Options: map[string]string{}},
		SchemaString: schema, PartitionColumns: []string{}, Configuration: properties, CreatedTime: created}, nil
}

// replayed is what follows from one commit beside the state.
type replayed struct {
	added added
	info  CommitInfo
}

// follow applies commits from the log and publishes the newest state once. What was applied before an error is
// published too. The caller holds commitMu, or is the only one to know the table.
func (t *Table) follow(versions []int64) error {
	var done []replayed
	for _, v := range versions {
		actions, err := t.log.Read(v)
		if err != nil {
			return errors.Join(err, t.show(done))
		}
		one, err := t.apply(v, actions)
		if err != nil {
			return errors.Join(err, t.show(done))
		}
		done = append(done, one)
	}
	return t.show(done)
}

// advance publishes the state after one commit of our own.
func (t *Table) advance(version int64, actions []delta.Action) error {
	one, err := t.apply(version, actions)
	if err != nil {
		return err
	}
	return t.show([]replayed{one})
}

// apply takes one commit into the replay.
func (t *Table) apply(version int64, actions []delta.Action) (replayed, error) {
	for _, a := range actions {
		if a.Metadata == nil {
			continue
		}
		if _, err := decodeSchema(a.Metadata.SchemaString); err != nil {
			return replayed{}, fmt.Errorf("apply commit %d: %w", version, err)
		}
	}
	files, err := t.replay.Apply(version, actions)
	if err != nil {
		return replayed{}, fmt.Errorf("apply commit %d: %w", version, err)
	}
	one := replayed{added: added{version: version, reset: t.replay.Born() == version}, info: CommitInfo{Version: version}}
	for _, f := range files {
		if f.DataChange {
			one.added.files = append(one.added.files, f)
			one.added.rows += f.Rows
		}
	}
	for _, a := range actions {
		switch {
		case a.Remove != nil && a.Remove.DataChange:
			one.added.rewrote = true
		case a.CommitInfo != nil:
			one.info.Time = time.UnixMilli(a.CommitInfo.Timestamp).UTC()
			one.info.Operation, one.info.Parameters, one.info.Metrics = a.CommitInfo.Operation, a.CommitInfo.OperationParameters, a.CommitInfo.OperationMetrics
		}
	}
	return one, nil
}

// show makes the newest state the current one and wakes whoever waits for it.
func (t *Table) show(done []replayed) error {
	if len(done) == 0 {
		return nil
	}
	state := t.replay.State()
	t.mu.Lock()
	defer t.mu.Unlock()
	snapshot, err := newSnapshot(t, state, done[len(done)-1].info.Time, t.current)
	if err != nil {
		return err
	}
	t.current = snapshot
	for _, one := range done {
		t.adds = append(t.adds, one.added)
		t.infos = append(t.infos, one.info)
	}
	close(t.changed)
	t.changed = make(chan struct{})
	return nil
}

// CommitInfo is the story of one commit, as DESCRIBE HISTORY shows it.
type CommitInfo struct {
	Version    int64
	Time       time.Time // UTC
	Operation  string
	Parameters map[string]string
	Metrics    map[string]string
}

// History returns the newest commits first, all of them for a limit of 0 or less.
func (t *Table) History(_ context.Context, limit int) ([]CommitInfo, error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if t.dropped {
		return nil, fmt.Errorf("table %s.%s: %w", t.db, t.name, ErrNotFound)
	}
	if limit <= 0 || limit > len(t.infos) {
		limit = len(t.infos)
	}
	out := make([]CommitInfo, limit)
	for i := range out {
		out[i] = t.infos[len(t.infos)-1-i]
	}
	return out, nil
}

// CommitTime returns when a version was committed, UTC; ok is false for a version that the table does not have.
func (t *Table) CommitTime(version int64) (at time.Time, ok bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if version < 0 || version >= int64(len(t.infos)) {
		return time.Time{}, false
	}
	return t.infos[version].Time, true
}

// refresh reads commits that another writer made. The caller holds commitMu.
func (t *Table) refresh() error {
	versions, err := t.log.Versions()
	if err != nil {
		return err
	}
	have := t.Snapshot().Version()
	if int64(len(versions)) <= have+1 {
		return nil
	}
	return t.follow(versions[have+1:])
}

// drop makes later commits and reads of the log fail. Whoever waits for a change wakes up to see it.
func (t *Table) drop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.dropped = true
	close(t.changed)
	t.changed = make(chan struct{})
}

// errDropped is what a commit into a dropped table gets.
func (t *Table) errDropped() error {
	return fmt.Errorf("commit to %s.%s: the table was dropped: %w", t.db, t.name, ErrNotFound)
}
