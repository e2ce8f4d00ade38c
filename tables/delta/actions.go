// Package delta is the transaction log of one Delta Lake table (reader 1, writer 2): the actions, their JSON, the
// replay of a log into a state, and the atomic commit. It knows nothing of rows. Paths in actions are relative to the
// table directory and URI-encoded, times are milliseconds since 1970, sizes are bytes. The protocol is
// https://github.com/delta-io/delta/blob/master/PROTOCOL.md.
package delta

import (
	"encoding/json"
	"fmt"
)

// The protocol versions of the tables that this package makes, and the writer version up to which it appends to others.
const (
	ReaderVersion = 1
	WriterVersion = 2
)

// Action is one line of a commit: exactly one field is set. Unknown actions leave all of them nil and are skipped, as
// the protocol asks.
type Action struct {
	CommitInfo *CommitInfo `json:"commitInfo,omitempty"`
	Protocol   *Protocol   `json:"protocol,omitempty"`
	Metadata   *Metadata   `json:"metaData,omitempty"`
	Add        *Add        `json:"add,omitempty"`
	Remove     *Remove     `json:"remove,omitempty"`
	Txn        *Txn        `json:"txn,omitempty"`
}

// Protocol says what a reader and a writer must understand.
type Protocol struct {
	MinReaderVersion int      `json:"minReaderVersion"`
	MinWriterVersion int      `json:"minWriterVersion"`
	ReaderFeatures   []string `json:"readerFeatures,omitempty"`
	WriterFeatures   []string `json:"writerFeatures,omitempty"`
}

// Metadata describes the table. SchemaString is Spark's JSON of a struct type.
type Metadata struct {
	ID               string            `json:"id"`
	Name             string            `json:"name,omitempty"`
	Description      string            `json:"description,omitempty"`
	Format           Format            `json:"format"`
	SchemaString     string            `json:"schemaString"`
	PartitionColumns []string          `json:"partitionColumns"`
	Configuration    map[string]string `json:"configuration"`
	CreatedTime      int64             `json:"createdTime,omitempty"`
}

// Format names the encoding of data files, always parquet.
type Format struct {
	Provider string            `json:"provider"`
	Options  map[string]string `json:"options"`
}

// values are partition values by column. "" is null; it is written as null, because not every reader knows that they are the same.
type values map[string]string

// MarshalJSON implements json.Marshaler.
func (v values) MarshalJSON() ([]byte, error) {
	out := make(map[string]*string, len(v))
	for k, text := range v {
		if out[k] = nil; text != "" {
			out[k] = &text
		}
	}
	return json.Marshal(out)
}

// Add says that a data file belongs to the table from this version on. Stats is JSON text, "" when there is none. A
// partition value of "" is null, as the protocol has it.
type Add struct {
	Path             string            `json:"path"`
	PartitionValues  values            `json:"partitionValues"`
	Size             int64             `json:"size"`
	ModificationTime int64             `json:"modificationTime"`
	DataChange       bool              `json:"dataChange"`
	Stats            string            `json:"stats,omitempty"`
	Tags             map[string]string `json:"tags,omitempty"`
	DeletionVector   map[string]any    `json:"deletionVector,omitempty"` // some rows do not belong to the table: recognised to be refused
}

// Remove says that a data file no longer belongs to the table.
type Remove struct {
	Path                 string `json:"path"`
	DeletionTimestamp    int64  `json:"deletionTimestamp,omitempty"`
	DataChange           bool   `json:"dataChange"`
	ExtendedFileMetadata bool   `json:"extendedFileMetadata,omitempty"`
	PartitionValues      values `json:"partitionValues"`
	Size                 int64  `json:"size"`
}

// Txn is the progress of one application, kept with the rows that it wrote.
type Txn struct {
	AppID       string `json:"appId"`
	Version     int64  `json:"version"`
	LastUpdated int64  `json:"lastUpdated,omitempty"`
}

// CommitInfo is the story of a commit. Spark reads the two maps as maps of strings.
type CommitInfo struct {
	Timestamp           int64             `json:"timestamp"`
	Operation           string            `json:"operation"`
	OperationParameters map[string]string `json:"operationParameters"`
	OperationMetrics    map[string]string `json:"operationMetrics,omitempty"`
	IsBlindAppend       bool              `json:"isBlindAppend"`
	EngineInfo          string            `json:"engineInfo,omitempty"`
	TxnID               string            `json:"txnId,omitempty"`
}

// UnmarshalJSON accepts maps whose values are not strings, as other writers leave them, and keeps their JSON text.
func (c *CommitInfo) UnmarshalJSON(text []byte) error {
	var raw struct {
		Timestamp           int64                      `json:"timestamp"`
		Operation           string                     `json:"operation"`
		OperationParameters map[string]json.RawMessage `json:"operationParameters"`
		OperationMetrics    map[string]json.RawMessage `json:"operationMetrics"`
		IsBlindAppend       bool                       `json:"isBlindAppend"`
		EngineInfo          string                     `json:"engineInfo"`
		TxnID               string                     `json:"txnId"`
	}
	if err := json.Unmarshal(text, &raw); err != nil {
		return fmt.Errorf("read commitInfo: %w", err)
	}
	*c = CommitInfo{Timestamp: raw.Timestamp, Operation: raw.Operation, IsBlindAppend: raw.IsBlindAppend, EngineInfo: raw.EngineInfo, TxnID: raw.TxnID,
		OperationParameters: textMap(raw.OperationParameters), OperationMetrics: textMap(raw.OperationMetrics)}
	return nil
}

func textMap(raw map[string]json.RawMessage) map[string]string {
	if raw == nil {
		return nil
	}
	out := make(map[string]string, len(raw))
	for k, v := range raw {
		var s string
		if json.Unmarshal(v, &s) != nil {
			s = string(v)
		}
		out[k] = s
	}
	return out
}

// Stats is the content of Add.Stats. Values of MinValues and MaxValues are JSON scalars.
type Stats struct {
	NumRecords int64            `json:"numRecords"`
	MinValues  map[string]any   `json:"minValues,omitempty"`
	MaxValues  map[string]any   `json:"maxValues,omitempty"`
	NullCount  map[string]int64 `json:"nullCount,omitempty"`
}
