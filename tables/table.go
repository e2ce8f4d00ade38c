package tables

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"smelt/tables/delta"
	"smelt/tables/vfs"
)

// Definition is what a table says of itself; it lives in the Delta metadata.
type Definition struct {
	Schema     Schema
	Comment    string
	Properties map[string]string // Delta's configuration; names that begin with "delta." are the protocol's
	Partitions []string          // columns by which rows are parted: each data file has one value of each
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

	checkpointed int64       // version of the newest checkpoint, -1 for none; guarded by commitMu
	stale        atomic.Bool // the log must be read again before the next commit; written under commitMu
	last         vfs.Info    // of the newest commit that was applied, for a table that others may make anew; guarded by commitMu
	external     bool        // lies outside the store: others write it, and tend it

	mu      sync.RWMutex // guards what follows; never held during I/O
	current *Snapshot
	first   int64         // version of commits[0]
	commits []commitEntry // of each version since first, in order
	changed chan struct{} // closed by the next commit
	dropped bool

	stats statsCache // of the data files, for Prune
}

func newTable(s *Store, db, name, dir string) *Table {
	return &Table{store: s, db: db, name: name, dir: dir, log: delta.NewLog(s.fs, dir), replay: delta.NewReplay(), checkpointed: -1, changed: make(chan struct{})}
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
	if len(def.Schema) == 0 {
		def.Partitions = nil // known with the columns
	}
	if err := checkPartitions(def); err != nil {
		return nil, err
	}
	if err := checkProperties(def.Properties); err != nil {
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
		SchemaString: schema, PartitionColumns: append([]string{}, def.Partitions...), Configuration: properties, CreatedTime: created}, nil
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
