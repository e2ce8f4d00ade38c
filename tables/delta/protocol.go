package delta

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ErrUnsupported marks a table that needs more of a reader or writer than this package has.
var ErrUnsupported = errors.New("unsupported Delta table")

// readFeatures are the table features of reader version 3 that ask nothing more of this reader than it does: widened columns
// and times without a zone are read as they are, column mapping is looked for in the metadata, and deletion vectors at
// each data file.
var readFeatures = []string{"timestampNtz", "typeWidening", "typeWidening-preview", "vacuumProtocolCheck", "columnMapping", "deletionVectors"}

// maxReaderVersion is the last with a number that says something; behind it features have names.
const maxReaderVersion = 3

func (p *Protocol) check() error {
	if p.MinReaderVersion > maxReaderVersion {
		return fmt.Errorf("%w: it needs reader version %d%s", ErrUnsupported, p.MinReaderVersion, features(p.ReaderFeatures))
	}
	for _, f := range p.ReaderFeatures {
		if !slices.Contains(readFeatures, f) {
			return fmt.Errorf("%w: it needs a reader with the feature %s", ErrUnsupported, f)
		}
	}
	if p.MinReaderVersion < 1 || p.MinWriterVersion < 1 {
		return fmt.Errorf("%w: protocol of reader version %d and writer version %d", ErrCorrupt, p.MinReaderVersion, p.MinWriterVersion)
	}
	return nil
}

// CheckWrite refuses tables whose writers must do more than this one does.
func (p *Protocol) CheckWrite() error {
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
	if m.ID == "" {
		return fmt.Errorf("%w: metaData without an id", ErrCorrupt)
	}
	if m.SchemaString == "" {
		return fmt.Errorf("%w: metaData without a schema", ErrCorrupt)
	}
	if m.Format.Provider != "" && m.Format.Provider != "parquet" {
		return fmt.Errorf("%w: data files in format %q", ErrUnsupported, m.Format.Provider)
	}
	if mode := m.Configuration["delta.columnMapping.mode"]; mode != "" && mode != "none" {
		return fmt.Errorf("%w: column mapping mode %q", ErrUnsupported, mode)
	}
	return nil
}

// invariantsMark is in the schema of a table whose columns carry conditions on their values.
const invariantsMark = `"delta.invariants"`

// CheckWrite refuses what writer version 2 promises of a table and this writer cannot keep: rows that are removed from
// an append-only table, and rows that are added where a column has an invariant.
func (m *Metadata) CheckWrite(adds, removes bool) error {
	if removes && strings.EqualFold(m.Configuration["delta.appendOnly"], "true") {
		return fmt.Errorf("%w: delta.appendOnly forbids removing rows", ErrUnsupported)
	}
	if adds && strings.Contains(m.SchemaString, invariantsMark) {
		return fmt.Errorf("%w: a column has a delta.invariants condition, which this writer does not check", ErrUnsupported)
	}
	return nil
}
