package delta

import (
	"fmt"
	"strings"
)

// File is a live data file and the version that added it.
type File struct {
	Add
	Version int64
}

// State is a table at one version: what replaying its log up to there gives. A State is never changed once it was
// returned; Apply makes the next one.
type State struct {
	Version  int64 // -1 for the empty log
	Protocol Protocol
	Metadata Metadata
	Born     int64  // version that gave the table its present id
	Files    []File // live files, oldest first
	txns     map[string]int64
}

// Empty is the state before version 0.
func Empty() *State { return &State{Version: -1, txns: map[string]int64{}} }

// Txn returns the progress of an application.
func (s *State) Txn(appID string) (version int64, ok bool) {
	version, ok = s.txns[appID]
	return version, ok
}

// Apply returns the state after the commit of the given version. A protocol that this package does not speak is
// ErrUnsupported and names what is missing.
func (s *State) Apply(version int64, actions []Action) (*State, error) {
	next := &State{Version: version, Protocol: s.Protocol, Metadata: s.Metadata, Born: s.Born, txns: s.txns}
	removed := map[string]bool{}
	var added []File
	copied := false
	for _, a := range actions {
		switch {
		case a.Protocol != nil:
			if err := a.Protocol.check(); err != nil {
				return nil, err
			}
			next.Protocol = *a.Protocol
		case a.Metadata != nil:
			if err := a.Metadata.check(); err != nil {
				return nil, err
			}
			if a.Metadata.ID != s.Metadata.ID {
				next.Born = version
			}
			next.Metadata = *a.Metadata
		case a.Txn != nil:
			if !copied {
				next.txns, copied = copyTxns(s.txns), true
			}
			next.txns[a.Txn.AppID] = a.Txn.Version
		case a.Remove != nil:
			removed[a.Remove.Path] = true
		case a.Add != nil:
			added = append(added, File{Add: *a.Add, Version: version})
		}
	}
	next.Files = merge(s.Files, removed, added)
	if next.Protocol.MinReaderVersion == 0 {
		return nil, fmt.Errorf("%w: commit %d comes before any protocol action", ErrCorrupt, version)
	}
	return next, nil
}

// merge drops removed and replaced files and appends the added ones. Without removals the old files are shared: append
// only ever writes behind the length that older states see.
func merge(old []File, removed map[string]bool, added []File) []File {
	if len(removed) == 0 {
		return append(old[:len(old):cap(old)], added...)
	}
	kept := make([]File, 0, len(old)+len(added))
	for _, f := range old {
		if !removed[f.Path] {
			kept = append(kept, f)
		}
	}
	return append(kept, added...)
}

func copyTxns(m map[string]int64) map[string]int64 {
	out := make(map[string]int64, len(m)+1)
	for k, v := range m {
		out[k] = v
	}
	return out
}

func (p *Protocol) check() error {
	if p.MinReaderVersion > ReaderVersion {
		return fmt.Errorf("%w: it needs reader version %d%s, this one reads version %d", ErrUnsupported, p.MinReaderVersion, features(p.ReaderFeatures), ReaderVersion)
	}
	if p.MinWriterVersion > WriterVersion {
		return fmt.Errorf("%w: it needs writer version %d%s, this one writes version %d", ErrUnsupported, p.MinWriterVersion, features(p.WriterFeatures), WriterVersion)
	}
	return nil
}

func features(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return " (" + strings.Join(names, ", ") + ")"
}

func (m *Metadata) check() error {
	if m.Format.Provider != "" && m.Format.Provider != "parquet" {
		return fmt.Errorf("%w: data files in format %q", ErrUnsupported, m.Format.Provider)
	}
	if len(m.PartitionColumns) > 0 {
		return fmt.Errorf("%w: partitioned by %s", ErrUnsupported, strings.Join(m.PartitionColumns, ", "))
	}
	if mode := m.Configuration["delta.columnMapping.mode"]; mode != "" && mode != "none" {
		return fmt.Errorf("%w: column mapping mode %q", ErrUnsupported, mode)
	}
	return nil
}
