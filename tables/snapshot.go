package tables

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"smelt/tables/delta"
)

// Snapshot is a table at one version. It implements Relation and Counter and never changes.
type Snapshot struct {
	table *Table
	state *delta.State
	def   Definition
	time  time.Time
	rows  int64
	bytes int64
}

var (
	_ Relation = (*Snapshot)(nil)
	_ Counter  = (*Snapshot)(nil)
)

// newSnapshot derives the counts from those of the version before where nothing was removed, so that a commit costs
// what it adds and not what the table holds.
func newSnapshot(t *Table, state *delta.State, at time.Time, before *Snapshot) (*Snapshot, error) {
	s := &Snapshot{table: t, state: state, time: at}
	files := state.Files
	if before != nil && len(files) >= len(before.state.Files) && sameStart(before.state.Files, files) {
		s.rows, s.bytes = before.rows, before.bytes
		files = files[len(before.state.Files):]
	}
	for _, f := range files {
		n, err := numRecords(f.Add)
		if err != nil {
			return nil, err
		}
		s.rows += n
		s.bytes += f.Size
	}
	if before != nil && before.state.Metadata.SchemaString == state.Metadata.SchemaString {
		s.def.Schema = before.def.Schema
	} else {
		schema, err := decodeSchema(state.Metadata.SchemaString)
		if err != nil {
			return nil, err
		}
		s.def.Schema = schema
	}
	s.def.Comment, s.def.Properties = state.Metadata.Description, state.Metadata.Configuration
	return s, nil
}

// sameStart reports whether the files of an older state lead the newer one: Apply keeps the backing array then.
func sameStart(old, now []delta.File) bool {
	if len(old) == 0 {
		return true
	}
	return old[0].Path == now[0].Path && old[len(old)-1].Path == now[len(old)-1].Path
}

func numRecords(a delta.Add) (int64, error) {
	var stats struct {
		NumRecords *int64 `json:"numRecords"`
	}
	if a.Stats == "" {
		return 0, fmt.Errorf("count rows of %s: its add action has no statistics", a.Path)
	}
	if err := json.Unmarshal([]byte(a.Stats), &stats); err != nil {
		return 0, fmt.Errorf("count rows of %s: %w", a.Path, err)
	}
	if stats.NumRecords == nil {
		return 0, fmt.Errorf("count rows of %s: its statistics have no numRecords", a.Path)
	}
	return *stats.NumRecords, nil
}

// Version returns the Delta version.
func (s *Snapshot) Version() int64 { return s.state.Version }

// ID returns the table's id, which a full refresh changes.
func (s *Snapshot) ID() string { return s.state.Metadata.ID }

// Definition returns what the table says of itself at this version. The caller must not change its maps and slices.
func (s *Snapshot) Definition() Definition { return s.def }

// Schema implements Relation.
func (s *Snapshot) Schema() Schema { return s.def.Schema }

// Rows implements Counter.
func (s *Snapshot) Rows() int64 { return s.rows }

// Bytes returns the size of the live data files.
func (s *Snapshot) Bytes() int64 { return s.bytes }

// Files returns the number of live data files.
func (s *Snapshot) Files() int { return len(s.state.Files) }

// Txn returns the progress that an application committed with its rows.
func (s *Snapshot) Txn(appID string) (version int64, ok bool) { return s.state.Txn(appID) }

// Modified returns the time of the newest commit, UTC.
func (s *Snapshot) Modified() time.Time { return s.time }

// Scan implements Relation.
func (s *Snapshot) Scan(ctx context.Context, columns []string) (Reader, error) {
	adds := make([]delta.Add, len(s.state.Files))
	for i, f := range s.state.Files {
		adds[i] = f.Add
	}
	return scanFiles(ctx, s.table, s.def.Schema, columns, adds)
}
