package engine

import (
	"context"
	"errors"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"smelt/queries"
	"smelt/tables"
)

// TestColumnsThatOnlyPassThroughAreThoseOfTheRowPath compares SELECTs that only choose columns with the same SELECTs and a
// condition that holds for every row, which go by rows.
func TestColumnsThatOnlyPassThroughAreThoseOfTheRowPath(t *testing.T) {
	s := startSQL(t, nil)
	schema := tables.Schema{
		{Name: "b", Type: tables.Type{Kind: tables.Boolean}}, {Name: "i", Type: tables.Type{Kind: tables.Integer}}, {Name: "n", Type: tables.Type{Kind: tables.Long}},
		{Name: "d", Type: tables.Type{Kind: tables.Decimal, Precision: 10, Scale: 2}}, {Name: "x", Type: tables.Type{Kind: tables.Double}}, {Name: "s", Type: tables.Type{Kind: tables.String}},
		{Name: "at", Type: tables.Type{Kind: tables.Timestamp}}, {Name: "day", Type: tables.Type{Kind: tables.Date}}, {Name: "doc", Type: tables.Type{Kind: tables.JSON}},
		{Name: "source_file", Type: tables.Type{Kind: tables.String}, Hidden: true},
	}
	in := tables.NewBatch(schema, 2)
	in.AppendRow(true, 1, 2, nil, 0.5, "é", nil, nil, `{"b": [1,  2.50], "a": 12345678901234567890}`, "f1")
	in.AppendRow(nil, nil, nil, nil, nil, nil, nil, nil, nil, "f2")
	in.Columns[3].Decimals, in.Columns[3].Valid = []tables.Int128{{Lo: 150}, {}}, []bool{true, false}
	in.Columns[6].Ints, in.Columns[6].Valid = []int64{1_700_000_000_123_456, 0}, []bool{true, false}
	in.Columns[7].Ints, in.Columns[7].Valid = []int64{-1, 0}, []bool{true, false}
	overlay := map[string]tables.Relation{"files:1": tables.FromBatches(schema, in)}
	for columns, passes := range map[string]bool{
		"*": true, "*, source_file": true, "source_file, n": true, "N AS m, i": true, "n, n AS again": false, "n + 0 AS n": false, "`s`": true, "x, doc, at, day, d, b": true,
	} {
		query := "SELECT " + columns + " FROM `files:1` AS q"
		require.Equal(t, passes, isPassed(t, s, query, overlay), query)
		got, want := readQuery(t, s, query, overlay), readQuery(t, s, query+" WHERE 1 = 1 OR RAND() < 2", overlay)
		require.Equal(t, want.Schema, got.Schema, query)
		require.Equal(t, want.Len, got.Len)
		onlyGot, onlyWant, err := tables.Difference(context.Background(), tables.FromBatches(got.Schema, got), tables.FromBatches(want.Schema, want))
		require.NoError(t, err)
		require.Equal(t, []string{"", ""}, []string{onlyGot, onlyWant}, query)
	}
	for _, query := range []string{"SELECT * FROM `files:1` LIMIT 1", "SELECT DISTINCT s FROM `files:1`", "SELECT s FROM `files:1` ORDER BY s", "SELECT s FROM `files:1` WHERE n = 2", "SELECT a.s FROM `files:1` a, `files:1` b"} {
		require.False(t, isPassed(t, s, query, overlay), query)
	}
}

func isPassed(t *testing.T, s *testSQL, query string, overlay map[string]tables.Relation) bool {
	t.Helper()
	r, err := s.query(context.Background(), queries.Query{Database: "live", SQL: query, Tables: overlay})
	require.NoError(t, err, query)
	_, is := r.(*passed)
	require.NoError(t, r.Close())
	return is
}

func readQuery(t *testing.T, s *testSQL, query string, overlay map[string]tables.Relation) *tables.Batch {
	t.Helper()
	r, err := s.query(context.Background(), queries.Query{Database: "live", SQL: query, Tables: overlay})
	require.NoError(t, err, query)
	defer r.Close()
	out := tables.NewBatch(r.Schema(), 0)
	for {
		b, err := r.Next(context.Background())
		if errors.Is(err, io.EOF) {
			return out
		}
		require.NoError(t, err, query)
		out.Append(b)
	}
}
