package tables

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"smelt/tables/delta"
	"smelt/tables/filter"
)

// Snapshot is a table at one version. It implements Relation and Counter and never changes.
type Snapshot struct {
	table *Table
	state *delta.State
	def   Definition
	time  time.Time

	paths     map[string]bool // of the live files, made when asked for
	pathsOnce sync.Once
}

// live returns the paths of the snapshot's files.
func (s *Snapshot) live() map[string]bool {
	s.pathsOnce.Do(func() {
		s.paths = make(map[string]bool, len(s.state.Files))
		for _, f := range s.state.Files {
			s.paths[f.Path] = true
		}
	})
	return s.paths
}

var (
	_ Relation = (*Snapshot)(nil)
	_ Counter  = (*Snapshot)(nil)
	_ Pruner   = (*Snapshot)(nil)
)

// newSnapshot reads the definition anew only if it is another one than before, which may be nil.
func newSnapshot(t *Table, state *delta.State, at time.Time, before *Snapshot) (*Snapshot, error) {
	s := &Snapshot{table: t, state: state, time: at}
	if before != nil && before.state.Metadata.SchemaString == state.Metadata.SchemaString {
		s.def.Schema = before.def.Schema
	} else {
		schema, err := decodeSchema(state.Metadata.SchemaString)
		if err != nil {
			return nil, err
		}
		s.def.Schema = schema
	}
	s.def.Comment, s.def.Properties, s.def.Partitions = state.Metadata.Description, state.Metadata.Configuration, state.Metadata.PartitionColumns
	return s, nil
}

// has reports whether all the files belong to the snapshot.
func (s *Snapshot) has(files []delta.File) bool {
	return !slices.ContainsFunc(files, func(f delta.File) bool { return !s.live()[f.Path] })
}

// Version returns the Delta version.
func (s *Snapshot) Version() int64 { return s.state.Version }

// ID returns the table's id, which a full refresh changes.
func (s *Snapshot) ID() string { return s.state.Metadata.ID }

// Born returns the version that gave the table its present id.
func (s *Snapshot) Born() int64 { return s.state.Born }

// Definition returns what the table says of itself at this version. The caller must not change its maps and slices.
func (s *Snapshot) Definition() Definition { return s.def }

// Schema implements Relation.
func (s *Snapshot) Schema() Schema { return s.def.Schema }

// Rows implements Counter.
func (s *Snapshot) Rows() int64 { return s.state.Rows }

// Bytes returns the size of the live data files.
func (s *Snapshot) Bytes() int64 { return s.state.Bytes }

// Files returns the number of live data files.
func (s *Snapshot) Files() int { return len(s.state.Files) }

// Txn returns the progress that an application committed with its rows.
func (s *Snapshot) Txn(appID string) (version int64, ok bool) { return s.state.Txn(appID) }

// Created returns when the table was made, UTC; zero where its writer did not say.
func (s *Snapshot) Created() time.Time {
	if s.state.Metadata.CreatedTime == 0 {
		return time.Time{}
	}
	return time.UnixMilli(s.state.Metadata.CreatedTime).UTC()
}

// Protocol returns the versions that a reader and a writer of the table must know.
func (s *Snapshot) Protocol() (reader, writer int) {
	return s.state.Protocol.MinReaderVersion, s.state.Protocol.MinWriterVersion
}

// Modified returns the time of the newest commit, UTC.
func (s *Snapshot) Modified() time.Time { return s.time }

// Scan implements Relation.
func (s *Snapshot) Scan(ctx context.Context, columns []string) (Reader, error) {
	return scanFiles(ctx, s.table, s.def.Schema, columns, s.state.Files)
}

// Prune implements Pruner.
func (s *Snapshot) Prune(conditions []filter.Condition) Relation { return prune(s, conditions) }

// checkRows refuses tables whose rows this writer cannot write, not even those that it has read.
func (s *Snapshot) checkRows() error {
	if names := nestedColumns(s.state.Metadata.SchemaString); len(names) > 0 {
		return fmt.Errorf("%w: rows cannot be written to nested columns (%s)", delta.ErrUnsupported, strings.Join(names, ", "))
	}
	return nil
}

// checkWrite refuses what this writer cannot keep of what the table promises.
func (s *Snapshot) checkWrite(adds, removes bool) error {
	if err := s.checkRows(); adds && err != nil {
		return err
	}
	if err := s.state.Protocol.CheckWrite(); err != nil {
		return err
	}
	return s.state.Metadata.CheckWrite(adds, removes)
}
