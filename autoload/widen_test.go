package autoload

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"smelt/tables"
)

// TestColumnsBecomeWider drops files one batch after another and looks at the column at the end, and at each batch.
func TestColumnsBecomeWider(t *testing.T) {
	cases := map[string]struct {
		options map[string]string
		files   []string // "!" refuses what the batch before it did
		typ     string
		want    []string
	}{
		"fraction":             {nil, []string{`{"n":1}`, `{"n":1.5}`, `{"n":2}`}, "double", []string{"n=1", "n=1.5", "n=2"}},
		"fraction of CSV":      {map[string]string{"format": "csv", "header": "true"}, []string{"n\n1\n", "n\n1.5\n"}, "double", []string{"n=1", "n=1.5"}},
		"refused":              {nil, []string{`{"n":1}`, `{"n":1.5}`, "!"}, "decimal(38,18)", []string{"n=1", "n=1.5", "n=1500000000000000000"}},
		"refused twice":        {nil, []string{`{"n":1}`, `{"n":1.5}`, "!", "!"}, "long", []string{"n=1", "n=1.5", "n=1500000000000000000", `n=NULL {"n":1.5}`}},
		"digits":               {nil, []string{`{"n":1}`, `{"n":9223372036854775808}`}, "decimal(38,0)", []string{"n=1", "n=9223372036854775808"}},
		"too many digits":      {nil, []string{`{"n":1}`, `{"n":` + strings.Repeat("9", 39) + `}`}, "decimal(38,0)", []string{"n=1", `n=NULL {"n":` + strings.Repeat("9", 39) + `}`}},
		"large beside":         {nil, []string{`{"n":1}`, `{"n":9007199254740993}{"n":0.5}`}, "decimal(38,18)", []string{"n=1", "n=9007199254740993000000000000000000", "n=500000000000000000"}},
		"inexact in a double":  {nil, []string{`{"n":1}`, `{"n":1.5}`, `{"n":9007199254740993}`}, "double", []string{"n=1", "n=1.5", `n=NULL {"n":9007199254740993}`}},
		"a text":               {nil, []string{`{"n":1}`, `{"n":"1"}`, `{"n":true}`}, "long", []string{"n=1", `n=NULL {"n":"1"}`, `n=NULL {"n":true}`}},
		"an object":            {nil, []string{`{"n":1}`, `{"n":{"a":1}}`}, "long", []string{"n=1", `n=NULL {"n":{"a":1}}`}},
		"date":                 {map[string]string{"inferTimestamps": "true"}, []string{`{"n":"2020-01-02"}`, `{"n":"2020-01-02T03:04:05Z"}`}, "timestamp", []string{"n=18263", "n=1577934245000000"}},
		"a hint stands":        {map[string]string{"schemaHints": "n BIGINT"}, []string{`{"n":1}`, `{"n":1.5}`}, "long", []string{"n=1", `n=NULL {"n":1.5}`}},
		"not asked for":        {map[string]string{"schemaEvolutionMode": "addNewColumns"}, []string{`{"n":1}`, `{"n":1.5}`}, "long", []string{"n=1", `n=NULL {"n":1.5}`}},
		"two files of a batch": {nil, []string{`{"n":1}` + "\n---\n" + `{"n":1.5}`}, "double", []string{"n=1", "n=1.5"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			for _, keep := range []int64{keepBytes, 0} { // in memory, and read again
				dir, state := t.TempDir(), filepath.Join(t.TempDir(), "state")
				options := map[string]string{"schemaEvolutionMode": "addNewColumnsWithTypeWidening"}
				for k, v := range c.options {
					options[k] = v
				}
				ctx := context.Background()
				var got []string
				number := int64(0)
				l := open(t, dir, state, 0, options)
				for i, content := range c.files {
					if l.keep = keep; content == "!" {
						require.True(t, l.Refuse("n"))
					} else {
						for j, one := range strings.Split(content, "\n---\n") {
							put(t, filepath.Join(dir, string(rune('a'+i))+string(rune('a'+j))), one)
						}
					}
					b, err := l.Next(ctx)
					require.NoError(t, err)
					require.NotNil(t, b)
					for _, row := range lines(t, b, []string{"n", "_rescued_data"}) {
						row, rescued, _ := strings.Cut(row, " _rescued_data=")
						if rescued, _, _ = strings.Cut(rescued, `,"_file_path"`); rescued != "NULL" {
							row += " " + rescued + "}"
						}
						got = append(got, row)
					}
					if next := i + 1; next < len(c.files) && c.files[next] == "!" {
						continue
					}
					require.NoError(t, b.Record(ctx))
					b.Committed()
					number = b.Number()
					require.NoError(t, l.Close())
					l = open(t, dir, state, number, options) // as after a start
				}
				require.Equal(t, c.want, got)
				require.Equal(t, c.typ, l.Schema()[0].Type.String())
				require.False(t, l.Refuse("n"))
			}
		})
	}
}

func TestWhatWasRescuedComesBack(t *testing.T) {
	ctx, dir, state := context.Background(), t.TempDir(), filepath.Join(t.TempDir(), "state")
	put(t, filepath.Join(dir, "1"), `{"a":1}`)
	modes := map[string]string{"schemaEvolutionMode": "rescue", "schemaHints": "a BIGINT"}
	l := open(t, dir, state, 0, modes)
	first, err := l.Next(ctx)
	require.NoError(t, err)
	require.NoError(t, first.Record(ctx))
	first.Committed()
	put(t, filepath.Join(dir, "2"), `{"a":2,"b":"x","C d":3.5} {"a":"no number","B":"y","c d":4} {"A":5,"a":6} {"a":7} {"B":"upper","b":"lower"}`)
	put(t, filepath.Join(dir, "bad"), `{`)
	rows, err := l.Next(ctx)
	require.NoError(t, err)
	require.NoError(t, rows.Record(ctx))
	rows.Committed()
	require.NoError(t, l.Close())

	l = open(t, dir, state, 2, map[string]string{"schemaHints": "a BIGINT"})
	batch, err := l.Evolve(ctx, rows)
	require.NoError(t, err)
	require.Equal(t, int64(3), batch.Number())
	require.Len(t, batch.files, 1)
	require.Equal(t, Fresh, batch.files[0].State, "what failed is read again: the options may help")
	require.Equal(t, []string{"a", "b", "C_d", "_rescued_data"}, l.Schema().Names()[:4])
	require.NoError(t, batch.Record(ctx))
	batch.Committed()
	again := open(t, dir, state, 3, map[string]string{})
	require.Equal(t, l.Schema(), again.Schema(), "the columns are durable")
	require.NoError(t, again.Close())

	old, err := tables.ReadAll(ctx, rows, []string{"a", "_rescued_data"})
	require.NoError(t, err)
	wide := tables.NewBatch(l.Schema()[:4], old.Len)
	wide.Columns[0], wide.Columns[3] = old.Columns[0], old.Columns[1]
	for range old.Len {
		wide.Columns[1].AppendNull(tables.String)
		wide.Columns[2].AppendNull(tables.Double)
	}
	wide.Len = old.Len
	added := []string{"b", "C_d"}
	require.True(t, l.Recoverable(&wide.Columns[3], wide.Schema, added))
	require.False(t, l.Recoverable(&wide.Columns[3], wide.Schema[:1], nil), "a table without the columns")
	filled, err := l.Recover(wide, added)
	require.NoError(t, err)
	file := `"_file_path":"` + filepath.Join(dir, "2") + `"}`
	require.Equal(t, []string{
		"a=2 b=x C_d=3.5 _rescued_data=NULL",
		`a=NULL b=y C_d=4 _rescued_data={"a":"no number",` + file,
		`a=6 b=NULL C_d=NULL _rescued_data={"A":5,` + file,
		"a=7 b=NULL C_d=NULL _rescued_data=NULL",
		`a=NULL b=lower C_d=NULL _rescued_data={"B":"upper",` + file,
	}, lines(t, tables.FromBatches(wide.Schema, filled), nil))
	require.False(t, l.Recoverable(&filled.Columns[3], wide.Schema, nil))
}

func TestOptionsThatMayChangeUnderATable(t *testing.T) {
	base := map[string]string{"format": "json", "schemaHints": "a INT", "schemaEvolutionMode": "rescue"}
	with := func(k, v string) map[string]string {
		m := map[string]string{}
		for name, value := range base {
			m[name] = value
		}
		m[k] = v
		return m
	}
	for _, o := range [][2]string{{"schemaEvolutionMode", "addNewColumnsWithTypeWidening"}, {"schemaHints", "b STRING, A INT"}, {"maxFilesPerTrigger", "3"},
		{"cleanSource", "DELETE"}, {"backfillInterval", "1 day"}, {"allowOverwrites", "true"}, {"inferTimestamps", "true"}} {
		require.True(t, Compatible(base, with(o[0], o[1])), o)
	}
	for _, o := range [][2]string{{"schemaHints", "a BIGINT"}, {"schemaHints", "b INT"}, {"format", "csv"}, {"header", "true"}, {"nullValue", "x"},
		{"inferColumnTypes", "false"}, {"partitionColumns", "p"}, {"rescuedDataColumn", "other"}, {"pathGlobFilter", "*.x"}, {"recursiveFileLookup", "true"}} {
		require.False(t, Compatible(base, with(o[0], o[1])), o)
	}
}
