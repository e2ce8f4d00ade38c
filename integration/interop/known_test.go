package interop

import "testing"

// What is known not to agree, each with whose fault it is. README.md has the list for readers.
const (
	faultNestedDelete  = "smelt: DELETE rewrites files with nested columns, as text"
	faultNullPartition = "smelt: a null partition value is written as an empty text, which DataFusion's scan keeps for a column of text"
	faultPolars        = "polars 2.1.0 takes partition values from the names of directories, where the protocol leaves the names free"
)

// skipPartitions skips readers that cannot read smelt's partitions.
func skipPartitions(t *testing.T, p *peer) {
	t.Helper()
	if p.name == "polars" {
		t.Skip("skipped: " + faultPolars)
	}
}
