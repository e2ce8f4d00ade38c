package parquet

import (
	"errors"
	"fmt"
	"io"

	pq "github.com/parquet-go/parquet-go"

	"smelt/tables/delta"
)

// checkpointRow is one action of a checkpoint. Every field is optional and every value of a map may be null, as in the
// checkpoints of Spark: some readers compare the schema.
type checkpointRow struct {
	Txn      *txnRow      `parquet:"txn,optional"`
	Add      *addRow      `parquet:"add,optional"`
	Remove   *removeRow   `parquet:"remove,optional"`
	Metadata *metadataRow `parquet:"metaData,optional"`
	Protocol *protocolRow `parquet:"protocol,optional"`
}

type txnRow struct {
	AppID       *string `parquet:"appId,optional"`
	Version     *int64  `parquet:"version,optional"`
	LastUpdated *int64  `parquet:"lastUpdated,optional"`
}

type addRow struct {
	Path             *string            `parquet:"path,optional"`
	PartitionValues  map[string]*string `parquet:"partitionValues,optional"`
	Size             *int64             `parquet:"size,optional"`
	ModificationTime *int64             `parquet:"modificationTime,optional"`
	DataChange       *bool              `parquet:"dataChange,optional"`
	Stats            *string            `parquet:"stats,optional"`
	Tags             map[string]*string `parquet:"tags,optional"`
	DeletionVector   *vectorRow         `parquet:"deletionVector,optional"`
}

// vectorRow has all fields of a deletion vector, though none is written: delta-kernel-rs refuses a checkpoint that has some.
type vectorRow struct {
	StorageType    *string `parquet:"storageType,optional"`
	PathOrInlineDv *string `parquet:"pathOrInlineDv,optional"`
	Offset         *int32  `parquet:"offset,optional"`
	SizeInBytes    *int32  `parquet:"sizeInBytes,optional"`
	Cardinality    *int64  `parquet:"cardinality,optional"`
}

type removeRow struct {
	Path                 *string            `parquet:"path,optional"`
	DeletionTimestamp    *int64             `parquet:"deletionTimestamp,optional"`
	DataChange           *bool              `parquet:"dataChange,optional"`
	ExtendedFileMetadata *bool              `parquet:"extendedFileMetadata,optional"`
	PartitionValues      map[string]*string `parquet:"partitionValues,optional"`
	Size                 *int64             `parquet:"size,optional"`
}

type metadataRow struct {
	ID               *string            `parquet:"id,optional"`
	Name             *string            `parquet:"name,optional"`
	Description      *string            `parquet:"description,optional"`
	Format           *formatRow         `parquet:"format,optional"`
	SchemaString     *string            `parquet:"schemaString,optional"`
	PartitionColumns []*string          `parquet:"partitionColumns,optional,list"`
	Configuration    map[string]*string `parquet:"configuration,optional"`
	CreatedTime      *int64             `parquet:"createdTime,optional"`
}

type formatRow struct {
	Provider *string            `parquet:"provider,optional"`
	Options  map[string]*string `parquet:"options,optional"`
}

type protocolRow struct {
	MinReaderVersion *int32    `parquet:"minReaderVersion,optional"`
	MinWriterVersion *int32    `parquet:"minWriterVersion,optional"`
	ReaderFeatures   []*string `parquet:"readerFeatures,optional,list"`
	WriterFeatures   []*string `parquet:"writerFeatures,optional,list"`
}

// WriteCheckpoint writes the actions as a single-file checkpoint of the classic kind (V1).
func WriteCheckpoint(out io.Writer, actions []delta.Action) (err error) {
	defer guard("write checkpoint", &err)
	w := pq.NewGenericWriter[checkpointRow](out, pq.Compression(&pq.Snappy), pq.DataPageVersion(1), pq.CreatedBy("smelt", "1", "1"))
	rows := make([]checkpointRow, 0, writeRows)
	for len(actions) > 0 {
		n := min(len(actions), writeRows)
		rows = rows[:0]
		for i := range actions[:n] {
			rows = append(rows, rowOf(&actions[i]))
		}
		if _, err := w.Write(rows); err != nil {
			return fmt.Errorf("write checkpoint: %w", err)
		}
		actions = actions[n:]
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("write checkpoint: %w", err)
	}
	return nil
}

// ReadCheckpoint reads the actions of one file of a checkpoint.
func ReadCheckpoint(in io.ReaderAt, size int64) (actions []delta.Action, err error) {
	defer guard("read checkpoint", &err)
	tail, _, _, err := readTail(in, size)
	if err != nil {
		return nil, fmt.Errorf("read checkpoint: %w", err)
	}
	file, err := pq.OpenFile(tail, size)
	if err != nil {
		return nil, fmt.Errorf("read checkpoint: %w", err)
	}
	if groups := file.Metadata().RowGroups; len(groups) > 0 {
		for leaf := range groups[0].Columns {
			if err := checkCodecs(file.Metadata(), leaf); err != nil {
				return nil, fmt.Errorf("read checkpoint: %w", err)
			}
		}
	}
	r := pq.NewGenericReader[checkpointRow](file)
	defer r.Close()
	rows := make([]checkpointRow, writeRows)
	for {
		n, err := r.Read(rows)
		for i := range rows[:n] {
			if a := rows[i].action(); a != (delta.Action{}) {
				actions = append(actions, a)
			}
			rows[i] = checkpointRow{}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read checkpoint: %w", err)
		}
	}
	if int64(len(actions)) > file.NumRows() {
		return nil, fmt.Errorf("read checkpoint: %d actions in %d rows", len(actions), file.NumRows())
	}
	return actions, nil
}

func rowOf(a *delta.Action) checkpointRow {
	switch {
	case a.Txn != nil:
		return checkpointRow{Txn: &txnRow{AppID: &a.Txn.AppID, Version: &a.Txn.Version, LastUpdated: unlessZero(&a.Txn.LastUpdated)}}
	case a.Add != nil:
		return checkpointRow{Add: &addRow{Path: &a.Add.Path, PartitionValues: nullable(a.Add.PartitionValues), Size: &a.Add.Size,
			ModificationTime: &a.Add.ModificationTime, DataChange: &a.Add.DataChange, Stats: unlessZero(&a.Add.Stats), Tags: plain(a.Add.Tags)}}
	case a.Remove != nil:
		return checkpointRow{Remove: &removeRow{Path: &a.Remove.Path, DeletionTimestamp: unlessZero(&a.Remove.DeletionTimestamp), DataChange: &a.Remove.DataChange,
			ExtendedFileMetadata: &a.Remove.ExtendedFileMetadata, PartitionValues: nullable(a.Remove.PartitionValues), Size: unlessZero(&a.Remove.Size)}}
	case a.Metadata != nil:
		m := a.Metadata
		return checkpointRow{Metadata: &metadataRow{ID: &m.ID, Name: unlessZero(&m.Name), Description: unlessZero(&m.Description), SchemaString: &m.SchemaString,
			Format: &formatRow{Provider: &m.Format.Provider, Options: plain(m.Format.Options)}, PartitionColumns: pointers(m.PartitionColumns), Configuration: plain(m.Configuration),
			CreatedTime: unlessZero(&m.CreatedTime)}}
	case a.Protocol != nil:
		read, write := int32(a.Protocol.MinReaderVersion), int32(a.Protocol.MinWriterVersion)
		return checkpointRow{Protocol: &protocolRow{MinReaderVersion: &read, MinWriterVersion: &write}} // of our own: without features
	default:
		return checkpointRow{}
	}
}

func (r *checkpointRow) action() delta.Action {
	switch {
	case r.Txn != nil && r.Txn.AppID != nil:
		return delta.Action{Txn: &delta.Txn{AppID: *r.Txn.AppID, Version: orZero(r.Txn.Version), LastUpdated: orZero(r.Txn.LastUpdated)}}
	case r.Add != nil && r.Add.Path != nil:
		a := r.Add
		return delta.Action{Add: &delta.Add{Path: *a.Path, PartitionValues: texts(a.PartitionValues), Size: orZero(a.Size), ModificationTime: orZero(a.ModificationTime),
			DataChange: orZero(a.DataChange), Stats: orZero(a.Stats), Tags: texts(a.Tags), DeletionVector: a.DeletionVector.vector()}}
	case r.Remove != nil && r.Remove.Path != nil:
		a := r.Remove
		return delta.Action{Remove: &delta.Remove{Path: *a.Path, DeletionTimestamp: orZero(a.DeletionTimestamp), DataChange: orZero(a.DataChange),
			ExtendedFileMetadata: orZero(a.ExtendedFileMetadata), PartitionValues: texts(a.PartitionValues), Size: orZero(a.Size)}}
	case r.Metadata != nil && r.Metadata.ID != nil:
		m := r.Metadata
		out := delta.Metadata{ID: *m.ID, Name: orZero(m.Name), Description: orZero(m.Description), SchemaString: orZero(m.SchemaString), PartitionColumns: []string{},
			Configuration: texts(m.Configuration), CreatedTime: orZero(m.CreatedTime)}
		if m.Format != nil {
			out.Format = delta.Format{Provider: orZero(m.Format.Provider), Options: texts(m.Format.Options)}
		}
		out.PartitionColumns = append(out.PartitionColumns, list(m.PartitionColumns)...)
		return delta.Action{Metadata: &out}
	case r.Protocol != nil && r.Protocol.MinReaderVersion != nil:
		p := r.Protocol
		return delta.Action{Protocol: &delta.Protocol{MinReaderVersion: int(*p.MinReaderVersion), MinWriterVersion: int(orZero(p.MinWriterVersion)),
			ReaderFeatures: list(p.ReaderFeatures), WriterFeatures: list(p.WriterFeatures)}}
	default:
		return delta.Action{}
	}
}

func (v *vectorRow) vector() map[string]any {
	if v == nil || v.StorageType == nil {
		return nil
	}
	return map[string]any{"storageType": *v.StorageType, "cardinality": orZero(v.Cardinality)}
}

func list(values []*string) []string {
	var out []string
	for _, v := range values {
		out = append(out, orZero(v))
	}
	return out
}

// nullable returns partition values with null for "", which means the same and is what others write.
func nullable(m map[string]string) map[string]*string {
	out := plain(m)
	for k, v := range out {
		if *v == "" {
			out[k] = nil
		}
	}
	return out
}

func pointers(values []string) []*string {
	out := make([]*string, len(values))
	for i := range out {
		out[i] = &values[i]
	}
	return out
}

func plain(m map[string]string) map[string]*string {
	if m == nil {
		return nil
	}
	out := make(map[string]*string, len(m))
	for k, v := range m {
		out[k] = &v
	}
	return out
}

func texts(m map[string]*string) map[string]string {
	if m == nil {
		return nil
	}
	out := make(map[string]string, len(m))
	for k, v := range m {
		out[k] = orZero(v)
	}
	return out
}

func orZero[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}

func unlessZero[T comparable](p *T) *T {
	var zero T
	if *p == zero {
		return nil
	}
	return p
}
