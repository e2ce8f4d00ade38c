package parquet

import (
	"bytes"
	"fmt"
	"testing"

	pq "github.com/parquet-go/parquet-go"
	"github.com/stretchr/testify/require"

	"smelt/tables/delta"
)

func TestACheckpointKeepsEveryAction(t *testing.T) {
	actions := []delta.Action{
		{Protocol: &delta.Protocol{MinReaderVersion: 1, MinWriterVersion: 2}},
		{Metadata: &delta.Metadata{ID: "an-id", Name: "t", Description: "a comment", Format: delta.Format{Provider: "parquet", Options: map[string]string{}}, SchemaString: `{"type":"struct"}`,
			PartitionColumns: []string{"day", "land"}, Configuration: map[string]string{"a": "b", "empty": ""}, CreatedTime: 12}},
		{Txn: &delta.Txn{AppID: "flow:x", Version: 7}},
		{Txn: &delta.Txn{AppID: "flow:y", Version: 8, LastUpdated: 9}},
		{Remove: &delta.Remove{Path: "gone", DeletionTimestamp: 5, ExtendedFileMetadata: true, PartitionValues: map[string]string{}, Size: 3}},
	}
	for i := range 3000 {
		actions = append(actions, delta.Action{Add: &delta.Add{Path: fmt.Sprint("part-", i), PartitionValues: map[string]string{"day": "", "land": "de"}, Size: int64(i), ModificationTime: 1,
			Stats: `{"numRecords":1}`, Tags: map[string]string{"k": "v"}}})
	}
	var file bytes.Buffer
	require.NoError(t, WriteCheckpoint(&file, actions))
	got, err := ReadCheckpoint(bytes.NewReader(file.Bytes()), int64(file.Len()))
	require.NoError(t, err)
	require.Equal(t, actions, got)
}

// TestACheckpointIsWrittenAsSparkDoes compares the shape with that of Spark's own: all of it may be null.
func TestACheckpointIsWrittenAsSparkDoes(t *testing.T) {
	schema := pq.SchemaOf(checkpointRow{})
	require.Contains(t, schema.String(), `optional group partitionValues (MAP) {
			repeated group key_value {
				required binary key (STRING);
				optional binary value (STRING);
			}
		}`)
	require.Contains(t, schema.String(), `optional group partitionColumns (LIST) {
			repeated group list {
				optional binary element (STRING);
			}
		}`)
	// delta-kernel-rs wants all fields of a group, or none.
	require.Contains(t, schema.String(), `optional group deletionVector {
			optional binary storageType (STRING);
			optional binary pathOrInlineDv (STRING);
			optional int32 offset (INT(32,true));
			optional int32 sizeInBytes (INT(32,true));
			optional int64 cardinality (INT(64,true));
		}`)
}
