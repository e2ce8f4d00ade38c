package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/dolthub/vitess/go/mysql"
	"github.com/stretchr/testify/require"

	"smelt/queries"
	"smelt/tables"
)

// filesRelation is what read_files shows: two columns, and hidden ones that SELECT * leaves out.
func filesRelation() tables.Relation {
	schema := tables.Schema{
		{Name: "id", Type: tables.Type{Kind: tables.Long}},
		{Name: "text", Type: tables.Type{Kind: tables.String}},
		{Name: "source_file", Type: tables.Type{Kind: tables.String}, Hidden: true},
		{Name: "processing_time", Type: tables.Type{Kind: tables.Timestamp}, Hidden: true},
		{Name: "_metadata_file_path", Type: tables.Type{Kind: tables.String}, Hidden: true},
		{Name: "_metadata_row_index", Type: tables.Type{Kind: tables.Long}, Hidden: true},
	}
	b := tables.NewBatch(schema, 2)
	for i := range 2 {
		b.Columns[0].AppendInt(int64(i + 1))
		b.Columns[1].AppendString(fmt.Sprintf("text %d", i+1))
		b.Columns[2].AppendString(fmt.Sprintf("/landing/%d.json", i+1))
		b.Columns[3].AppendInt(0)
		b.Columns[4].AppendString(fmt.Sprintf("/landing/%d.json", i+1))
		b.Columns[5].AppendInt(int64(10 + i))
		b.Len++
	}
	return tables.FromBatches(schema, b)
}

// TestQueryScripts runs the scripts in testdata/query: `query` prints the columns with their kinds and the rows, and
// `describe` the columns alone. They see the placeholder files:1, the placeholder stream:live.t and a pinned version of live.pinned,
// which is empty by now, and the table live.t of the store.
func TestQueryScripts(t *testing.T) {
	s := startSQL(t, nil)
	s.must(t, "CREATE TABLE t (id BIGINT, source_file VARCHAR(20))", "INSERT INTO t VALUES (1, 'one'), (2, 'two')",
		"CREATE TABLE pinned (id BIGINT)", "CREATE VIEW v AS SELECT id * 10 AS ten FROM pinned")
	delta := tables.NewBatch(tables.Schema{{Name: "id", Type: tables.Type{Kind: tables.Long}}}, 1)
	delta.Columns[0].AppendInt(7)
	delta.Len = 1
	overlay := map[string]tables.Relation{
		"files:1": filesRelation(), "stream:live.t": tables.FromBatches(delta.Schema, delta), "live.pinned": tables.FromBatches(delta.Schema, delta),
	}
	datadriven.Walk(t, "testdata/query", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			q := queries.Query{Database: "live", SQL: d.Input, Tables: overlay}
			schema, described := s.describe(t.Context(), q)
			if d.Cmd == "describe" {
				if described != nil {
					return printSQLError(described)
				}
				return printSchema(schema)
			}
			result, err := s.query(t.Context(), q)
			if err != nil {
				return printSQLError(err)
			}
			text, err := printResult(t.Context(), result)
			require.NoError(t, result.Close())
			require.NoError(t, result.Close(), "closing twice")
			if err != nil {
				return printSQLError(err)
			}
			require.NoError(t, described)
			require.Equal(t, printSchema(schema), printSchema(result.Schema()), "describe must say what the query returns")
			return text
		})
	})
	require.NotContains(t, s.log.String(), "panic")
}

func printSQLError(err error) string {
	var my *mysql.SQLError
	if errors.As(err, &my) {
		return fmt.Sprintf("ERROR %d (%s): %s", my.Num, my.State, my.Message)
	}
	return "ERROR: " + err.Error()
}

var kindNames = map[tables.Kind]string{
	tables.Boolean: "boolean", tables.Byte: "byte", tables.Short: "short", tables.Integer: "integer", tables.Long: "long",
	tables.Float: "float", tables.Double: "double", tables.Decimal: "decimal", tables.String: "string", tables.Binary: "binary",
	tables.Date: "date", tables.Timestamp: "timestamp", tables.JSON: "json",
}

func printSchema(schema tables.Schema) string {
	parts := make([]string, len(schema))
	for i, f := range schema {
		parts[i] = f.Name + " " + kindNames[f.Type.Kind]
		if f.Type.Kind == tables.Decimal {
			parts[i] += fmt.Sprintf("(%d,%d)", f.Type.Precision, f.Type.Scale)
		}
	}
	return strings.Join(parts, " | ") + "\n"
}

func printResult(ctx context.Context, result queries.Result) (string, error) {
	var out strings.Builder
	out.WriteString(printSchema(result.Schema()))
	for {
		b, err := result.Next(ctx)
		if err == io.EOF {
			return out.String(), nil
		}
		if err != nil {
			return "", err
		}
		for _, row := range batchToRows(b) {
			for i, v := range row {
				out.WriteString(strings.Repeat(" | ", min(i, 1)))
				out.WriteString(printValue(v))
			}
			out.WriteString("\n")
		}
	}
}

func TestQueryStopsWithItsContext(t *testing.T) {
	relation, reading := blocking()
	s := startSQL(t, nil)
	q := queries.Query{Database: "live", SQL: "SELECT COUNT(n) FROM blocks", Tables: map[string]tables.Relation{"live.blocks": relation}}
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("gone home")
	go func() {
		<-reading
		cancel(gone)
	}()
	result, err := s.query(t.Context(), q)
	require.NoError(t, err)
	_, err = result.Next(ctx)
	require.ErrorIs(t, err, gone)
	require.NoError(t, result.Close())
}

func TestQueryMovesManyRows(t *testing.T) {
	s := startSQL(t, nil)
	schema := tables.Schema{{Name: "n", Type: tables.Type{Kind: tables.Long}}}
	b := tables.NewBatch(schema, 3*batchRows+1)
	for i := range 3*batchRows + 1 {
		b.Columns[0].AppendInt(int64(i))
	}
	b.Len = 3*batchRows + 1
	result, err := s.query(t.Context(), queries.Query{SQL: "SELECT n FROM live.big WHERE n >= 0", Tables: map[string]tables.Relation{"live.big": tables.FromBatches(schema, b)}})
	require.NoError(t, err)
	defer result.Close()
	var sizes []int
	next := int64(0)
	for {
		got, err := result.Next(t.Context())
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
		sizes = append(sizes, got.Len)
		for _, n := range got.Columns[0].Ints {
			require.Equal(t, next, n)
			next++
		}
	}
	require.Equal(t, []int{batchRows, batchRows, batchRows, 1}, sizes)
	_, err = result.Next(t.Context())
	require.Equal(t, io.EOF, err)
}

func printValue(v any) string {
	switch v := v.(type) {
	case nil:
		return "NULL"
	case interface {
		GetBytes(context.Context) ([]byte, error)
	}:
		text, err := v.GetBytes(context.Background())
		if err != nil {
			return err.Error()
		}
		return string(text)
	}
	return fmt.Sprint(v)
}

func TestQueryErrorsKeepTheirCause(t *testing.T) {
	s := startSQL(t, nil)
	cause := errors.New("the disk is gone")
	broken := scanFunc(func(context.Context) (*tables.Batch, error) { return nil, fmt.Errorf("read part: %w", cause) })
	result, err := s.query(t.Context(), queries.Query{SQL: "SELECT n FROM b", Tables: map[string]tables.Relation{"live.b": broken}})
	require.NoError(t, err)
	_, err = result.Next(t.Context())
	require.ErrorIs(t, err, cause)
	require.EqualError(t, err, "read part: the disk is gone")
	require.NoError(t, result.Close())

	_, err = s.describe(t.Context(), queries.Query{SQL: "SELECT x FROM b", Tables: map[string]tables.Relation{"live.b": broken}})
	require.EqualError(t, err, "Unknown column 'x' in 'field list'")
	var shown *mysql.SQLError
	require.ErrorAs(t, edge(fmt.Errorf("create live.silver: %w", err)), &shown)
	require.Equal(t, 1054, shown.Num)
	require.Equal(t, "create live.silver: Unknown column 'x' in 'field list'", shown.Message)

	require.ErrorContains(t, s.exec(t.Context(), "live", "DROP TABLE nothing"), "Unknown table 'live.nothing'")
	require.NoError(t, s.exec(t.Context(), "live", "CREATE TABLE made (a BIGINT)"))
	require.NoError(t, s.exec(t.Context(), "", "INSERT INTO made VALUES (1), (2)"))
	made, err := s.store.Table("live", "made")
	require.NoError(t, err)
	require.EqualValues(t, 2, made.Snapshot().Rows())
}
