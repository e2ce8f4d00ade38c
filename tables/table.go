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

	commitMu sync.Mutex // held during a commit, I/O included

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
	files   []delta.Add // files with dataChange
	rewrote bool        // rows were removed or changed
	reset   bool        // the table got a new id
}

func newTable(s *Store, db, name, dir string) *Table {
	return &Table{store: s, db: db, name: name, dir: dir, log: delta.NewLog(s.fs, dir), changed: make(chan struct{})}
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
	return t.advance(delta.Empty(), 0, actions)
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

// replay applies the listed versions to a state and publishes the result.
func (t *Table) replay(state *delta.State, versions []int64) error {
	for _, v := range versions {
		actions, err := t.log.Read(v)
		if err != nil {
			return err
		}
		if err := t.advance(state, v, actions); err != nil {
			return err
		}
		state = t.current.state
	}
	return nil
}

// advance publishes the state after one commit and wakes whoever waits for it.
func (t *Table) advance(state *delta.State, version int64, actions []delta.Action) error {
	next, err := state.Apply(version, actions)
	if err != nil {
		return fmt.Errorf("apply commit %d: %w", version, err)
	}
	one := added{version: version, reset: next.Born == version}
	info := CommitInfo{Version: version}
	for _, a := range actions {
		switch {
		case a.Add != nil && a.Add.DataChange:
			one.files = append(one.files, *a.Add)
		case a.Remove != nil && a.Remove.DataChange:
			one.rewrote = true
		case a.CommitInfo != nil:
			info.Time = time.UnixMilli(a.CommitInfo.Timestamp).UTC()
			info.Operation, info.Parameters, info.Metrics = a.CommitInfo.Operation, a.CommitInfo.OperationParameters, a.CommitInfo.OperationMetrics
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	snapshot, err := newSnapshot(t, next, info.Time, t.current)
	if err != nil {
		return err
	}
	t.current = snapshot
	t.adds = append(t.adds, one)
	t.infos = append(t.infos, info)
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
	return t.replay(t.Snapshot().state, versions[have+1:])
}

// errDropped is what a commit into a dropped table gets.
func (t *Table) errDropped() error {
	return fmt.Errorf("commit to %s.%s: the table was dropped: %w", t.db, t.name, ErrNotFound)
}

// isConflict reports whether another writer took the version.
func isConflict(err error) bool { return errors.Is(err, delta.ErrConflict) }
