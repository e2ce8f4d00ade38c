package tables

import (
	"context"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestColumnsAreAddedAndWidened(t *testing.T) {
	ctx := context.Background()
	s := openStore(t, t.TempDir())
	before := Schema{{Name: "i", Type: Type{Kind: Integer}}, {Name: "d", Type: Type{Kind: Decimal, Precision: 5, Scale: 1}}, {Name: "f", Type: Type{Kind: Float}}}
	table, err := s.Create(ctx, "live", "t", Definition{Schema: before})
	require.NoError(t, err)
	b := NewBatch(before, 1)
	b.Columns[0].AppendInt(7)
	b.Columns[1].AppendDecimal(Int128{Lo: 15})
	b.Columns[2].AppendFloat(0.5)
	b.Len = 1
	_, err = table.Commit(ctx, Commit{Operation: "WRITE", Rows: rowsOf(t, b)})
	require.NoError(t, err)
	for _, narrower := range []Field{{Name: "i", Type: Type{Kind: Short}}, {Name: "i", Type: Type{Kind: String}}, {Name: "d", Type: Type{Kind: Decimal, Precision: 5, Scale: 2}}} {
		bad := slices.Clone(before)
		bad[bad.Index(narrower.Name)] = narrower
		_, err = table.Redefine(ctx, Definition{Schema: bad}, Commit{Operation: "CHANGE COLUMN"})
		require.ErrorContains(t, err, "cannot become")
	}
	after := Schema{{Name: "i", Type: Type{Kind: Long}}, {Name: "d", Type: Type{Kind: Decimal, Precision: 12, Scale: 1}}, {Name: "f", Type: Type{Kind: Double}}, {Name: "new", Type: Type{Kind: String}}}
	_, err = table.Redefine(ctx, Definition{Schema: after}, Commit{Operation: "CHANGE COLUMN"})
	require.NoError(t, err)
	all, err := ReadAll(ctx, table.Snapshot(), nil)
	require.NoError(t, err)
	require.Equal(t, []int64{7}, all.Columns[0].Ints)
	require.Equal(t, []Int128{{Lo: 15}}, all.Columns[1].Decimals)
	require.Equal(t, []float64{0.5}, all.Columns[2].Floats)
	require.True(t, all.Columns[3].Null(0))
	changes, err := table.Changes(ctx, 0, 0)
	require.NoError(t, err)
	require.False(t, changes.Rewritten, "the rows are the same")
}

func TestBigintBecomesDoubleWhereNoValueChanges(t *testing.T) {
	ctx := context.Background()
	s := openStore(t, t.TempDir())
	before := Schema{{Name: "n", Type: Type{Kind: Long}}, {Name: "day", Type: Type{Kind: Date}}}
	after := Schema{{Name: "n", Type: Type{Kind: Double}}, {Name: "day", Type: Type{Kind: Timestamp}}}
	table, err := s.Create(ctx, "live", "t", Definition{Schema: before})
	require.NoError(t, err)
	write := func(values ...int64) {
		b := NewBatch(before, len(values))
		for _, n := range values {
			b.Columns[0].AppendInt(n)
			b.Columns[1].AppendInt(1)
		}
		b.Len = len(values)
		_, err := table.Commit(ctx, Commit{Operation: "WRITE", Rows: rowsOf(t, b)})
		require.NoError(t, err)
	}
	write(-1<<53, 7)
	write(1<<53 + 1)
	_, err = table.Redefine(ctx, Definition{Schema: after}, Commit{Operation: "CHANGE COLUMN"})
	require.ErrorContains(t, err, `column "n" cannot become double`)
	b := NewBatch(before, 1)
	b.Columns[0].AppendInt(1<<53 + 1)
	b.Columns[1].AppendInt(1)
	b.Len = 1
	_, err = table.Edit(ctx, b, nil, Commit{Operation: "DELETE"})
	require.NoError(t, err)
	behind := table.Snapshot().Version() // a stream that has read so far has old files before it
	write(1 << 53)
	_, err = table.Redefine(ctx, Definition{Schema: after}, Commit{Operation: "CHANGE COLUMN"})
	require.NoError(t, err)
	all, err := ReadAll(ctx, table.Snapshot(), nil)
	require.NoError(t, err)
	require.Equal(t, []float64{-1 << 53, 7, 1 << 53}, all.Columns[0].Floats)
	require.Equal(t, slices.Repeat([]int64{86_400_000_000}, 3), all.Columns[1].Ints)
	changes, err := table.Changes(ctx, behind, 0)
	require.NoError(t, err)
	require.False(t, changes.Rewritten)
	late, err := ReadAll(ctx, changes, nil)
	require.NoError(t, err)
	require.Equal(t, []float64{1 << 53}, late.Columns[0].Floats, "a file of before is read as it is now")
}

func TestRefillWritesOnlyWantedFilesAnew(t *testing.T) {
	ctx := context.Background()
	s := openStore(t, t.TempDir())
	before := Schema{{Name: "id", Type: Type{Kind: Long}}, {Name: "rest", Type: Type{Kind: String}}}
	after := append(slices.Clone(before), Field{Name: "word", Type: Type{Kind: String}})
	table, err := s.Create(ctx, "live", "t", Definition{Schema: before})
	require.NoError(t, err)
	for id, rest := range []string{"", "a", "x", "b"} {
		b := NewBatch(before, 1)
		b.Columns[0].AppendInt(int64(id))
		if rest == "" {
			b.Columns[1].AppendNull(String)
		} else {
			b.Columns[1].AppendString(rest)
		}
		b.Len = 1
		_, err := table.Commit(ctx, Commit{Operation: "WRITE", Rows: rowsOf(t, b)})
		require.NoError(t, err)
	}
	looked := 0
	fill := &Fill{Columns: []string{"rest"}, Operation: "FILL",
		Wanted: func(b *Batch) bool {
			looked += b.Len
			return slices.Contains(b.Columns[0].Strings, "a") || slices.Contains(b.Columns[0].Strings, "b")
		},
		Rows: func(b *Batch) (*Batch, error) {
			out := NewBatch(b.Schema, b.Len)
			out.Columns[0] = b.Columns[0]
			for range b.Len {
				out.Columns[1].AppendNull(String)
			}
			out.Columns[2] = b.Columns[1]
			out.Len = b.Len
			return out, nil
		}}
	files := table.Snapshot().Files()
	_, err = table.Refill(ctx, Definition{Schema: after}, fill, Commit{Operation: "ADD COLUMNS"})
	require.NoError(t, err)
	require.Equal(t, 3, looked, "a file without any value is not read")
	all, err := ReadAll(ctx, table.Snapshot(), nil)
	require.NoError(t, err)
	require.ElementsMatch(t, []int64{0, 1, 2, 3}, all.Columns[0].Ints)
	for row, id := range all.Columns[0].Ints {
		require.Equal(t, id == 2, !all.Columns[1].Null(row), "what is left")
		require.Equal(t, id%2 == 1, !all.Columns[2].Null(row), "what is filled")
	}
	require.LessOrEqual(t, table.Snapshot().Files(), files)
	changes, err := table.Changes(ctx, 0, 0)
	require.NoError(t, err)
	require.True(t, changes.Rewritten, "rows have changed")
	require.Equal(t, "FILL", changes.RewriteOperation)

	fill.Wanted = func(*Batch) bool { return false }
	at := table.Snapshot().Version()
	_, err = table.Refill(ctx, Definition{Schema: after, Comment: "again"}, fill, Commit{Operation: "ADD COLUMNS"})
	require.NoError(t, err)
	changes, err = table.Changes(ctx, at, 0)
	require.NoError(t, err)
	require.False(t, changes.Rewritten, "nothing has")
	require.Equal(t, "again", table.Snapshot().Definition().Comment)
}
