package engine

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"smelt/queries"
	"smelt/tables"
)

// driftRow is one row of smelt.drift.
type driftRow struct {
	version     string
	before, now int64
	psi         float64
}

// driftRows returns smelt.drift by table and value.
func driftRows(t *testing.T, graph *queries.Graph) map[string]driftRow {
	t.Helper()
	r, err := driftOf(t.Context(), graph)
	require.NoError(t, err)
	b, err := tables.ReadAll(t.Context(), r, []string{"table", "column", "model_version", "value", "rows_before", "rows_now", "psi"})
	require.NoError(t, err)
	out := map[string]driftRow{}
	for i := range b.Len {
		text := func(column int) string { return b.Columns[column].Strings[i] }
		out[text(0)+"."+text(1)+" "+text(3)] = driftRow{text(2), b.Columns[4].Ints[i], b.Columns[5].Ints[i], b.Columns[6].Floats[i]}
	}
	return out
}

// TestDriftComparesWhatModelsSayNowWithWhatTheySaid: batches of a stream with those before, views and what was rescored with
// what they were.
func TestDriftComparesWhatModelsSayNowWithWhatTheySaid(t *testing.T) {
	s, graph, move := startShouting(t)
	s.must(t, "CREATE TABLE b (word VARCHAR(9))",
		"CREATE STREAMING TABLE gold AS SELECT word, UPPER(word) AS w FROM STREAM(b)",
		"CREATE MATERIALIZED VIEW v AS SELECT UPPER(word) AS w, word FROM b")
	add := func(x, y int) {
		s.must(t, "INSERT INTO b VALUES "+strings.TrimSuffix(strings.Repeat("('x'),", x)+strings.Repeat("('y'),", y), ","))
		require.NoError(t, graph.RunOnce(t.Context(), nil))
	}
	require.Empty(t, driftRows(t, graph), "nothing is there")
	add(100, 100)
	require.Empty(t, driftRows(t, graph), "nothing was before")
	add(110, 90)
	got := driftRows(t, graph)
	require.Len(t, got, 4, "columns that no model writes are left out")
	require.Equal(t, driftRow{"1", 100, 110, got["gold.w X"].psi}, got["gold.w X"])
	require.Equal(t, driftRow{"1", 100, 90, got["gold.w X"].psi}, got["gold.w Y"])
	require.Less(t, got["gold.w X"].psi, 0.1)
	require.Equal(t, driftRow{"1", 100, 210, got["v.w X"].psi}, got["v.w X"])
	add(200, 0)
	got = driftRows(t, graph)
	require.Equal(t, driftRow{"1", 210, 200, got["gold.w X"].psi}, got["gold.w X"])
	require.Equal(t, driftRow{"1", 190, 0, got["gold.w X"].psi}, got["gold.w Y"])
	require.Greater(t, got["gold.w X"].psi, 0.2)
	require.Equal(t, driftRow{"1", 190, 190, got["v.w X"].psi}, got["v.w Y"])
	add(1, 0)
	require.NotContains(t, driftRows(t, graph), "gold.w X", "one row is noise")

	move("2")
	require.NoError(t, graph.RunOnce(t.Context(), nil))
	got = driftRows(t, graph)
	require.Equal(t, driftRow{"2", 411, 411, 0}, got["gold.w X"], "the rows as version 2 sees them, and as version 1 saw them")
	require.Equal(t, driftRow{"2", 190, 190, 0}, got["v.w Y"])
	add(0, 300)
	got = driftRows(t, graph)
	require.Equal(t, driftRow{"2", 411, 0, got["gold.w X"].psi}, got["gold.w X"])
	require.Greater(t, got["gold.w X"].psi, 0.2)
}
