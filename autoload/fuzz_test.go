package autoload

import (
	"bytes"
	"context"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"smelt/tables"
)

// fuzzed decodes the bytes of a file of some name, to columns that take every kind of value, and checks what comes out.
func fuzzed(t *testing.T, name string, data []byte, options map[string]string) {
	o, err := ParseOptions(options)
	require.NoError(t, err)
	var schema tables.Schema
	for name, kind := range map[string]tables.Kind{"a": tables.Long, "b": tables.Double, "c": tables.Timestamp, "d": tables.JSON, "e": tables.Boolean, "_c0": tables.Date, "value": tables.Integer} {
		schema = append(schema, tables.Field{Name: name, Type: tables.Type{Kind: kind}})
	}
	schema = append(schema, tables.Field{Name: "f", Type: tables.Type{Kind: tables.Decimal, Precision: 20, Scale: 3}}, tables.Field{Name: "s", Type: tables.Type{Kind: tables.String}})
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, data, 0o644))
	info, err := os.Stat(path)
	require.NoError(t, err)
	root, err := os.OpenRoot(filepath.Dir(path))
	require.NoError(t, err)
	defer root.Close()
	for _, mode := range []evolution{addNewColumns, rescue} {
		o.content.evolution = mode
		columns := newColumns(schema, schema.Names(), o)
		r := reader{root: root, options: o, columns: columns, keep: keepBytes}
		out, err := r.file(context.Background(), newDecoder(columns), candidate{path: path, inside: name, size: info.Size(), modified: info.ModTime()})
		if err != nil {
			require.ErrorIs(t, err, errContent)
			require.NotContains(t, err.Error(), "panic")
			return
		}
		var rows int64
		for _, b := range out.batches {
			rows += int64(b.Len)
			for i := range b.Columns {
				checkColumn(t, &b.Columns[i], b.Schema[i], b.Len)
			}
		}
		if len(out.unknown) == 0 { // else it is read again when they are columns
			require.Equal(t, out.rows, rows)
		}
	}
}

// checkColumn checks that a column has as many values as rows, and that texts and JSON are what they say.
func checkColumn(t *testing.T, c *tables.Column, f tables.Field, rows int) {
	require.Contains(t, []int{0, rows}, len(c.Valid))
	require.Equal(t, rows, max(len(c.Ints), len(c.Floats), len(c.Bools), len(c.Strings), len(c.Decimals)), f.Name)
	for i, s := range c.Strings {
		if c.Null(i) {
			continue
		}
		require.True(t, utf8.ValidString(s))
		if f.Name == "_rescued_data" {
			require.True(t, json.Valid([]byte(s)), s)
		}
	}
	for i, v := range c.Floats {
		require.False(t, !c.Null(i) && (math.IsNaN(v) || math.IsInf(v, 0)))
	}
}

func FuzzJSON(f *testing.F) {
	for _, s := range []string{`{"a": 1}`, "[{}]", "{\"a\": \"\\ud800\"}", "[[[[", `{"a": 1e999}`, "\ufeff{}", "{\"d\": [1, {}], \"f\": 1.25}\n{\"new\": null}", `[{"b": -0}, {"c": "2026-01-02"}]`} {
		f.Add([]byte(s), 3)
	}
	f.Fuzz(func(t *testing.T, data []byte, step int) {
		fuzzed(t, "f.json", data, nil)
		samePieces(t, "f.json", data, 1+step&63)
	})
}

func FuzzCSV(f *testing.F) {
	for _, s := range []string{"a,b\n1,2\n", "a,a\n", "\"a\n\",b\n\"\"\"\",2", "a\r\n\r\n1", "#x\na;b", "\ufeffa,\n,", "a\tb\n\"1\t2"} {
		f.Add([]byte(s), 3, false)
	}
	f.Fuzz(func(t *testing.T, data []byte, step int, header bool) {
		fuzzed(t, "f.csv", data, map[string]string{"header": map[bool]string{true: "true", false: "false"}[header], "comment": "#"})
		fuzzed(t, "f.tsv", data, map[string]string{"quote": ""})
		samePieces(t, "f.csv", data, 1+step&63)
	})
}

func FuzzText(f *testing.F) {
	f.Add([]byte("a\n\nb\r\n"), 1)
	f.Fuzz(func(t *testing.T, data []byte, step int) {
		fuzzed(t, "f.txt", data, nil)
		samePieces(t, "f.txt", data, 1+step&63)
	})
}

func FuzzParquet(f *testing.F) {
	f.Add([]byte(foreignParquet(f, 3)))
	f.Fuzz(func(t *testing.T, data []byte) { fuzzed(t, "f.parquet", data, nil) })
}

func FuzzArchives(f *testing.F) {
	f.Add([]byte(gzipped(f, `{"a": 1}`)))
	f.Add([]byte(zstded(f, `{"a": 1}`)))
	f.Fuzz(func(t *testing.T, data []byte) {
		fuzzed(t, "f.json.gz", data, nil)
		fuzzed(t, "f.txt.zst", data, nil)
	})
}

// FuzzInference checks that a column inferred from some values takes each of them, or rescues it, and loses none.
func FuzzInference(f *testing.F) {
	for _, s := range []string{"1 2.5", `"2026-01-02" "x"`, `true null`, `9223372036854775808 1`, `"Mon Apr 06 22:19:45 PDT 2009" "Mon Apr 06 22:19:45 +0000 2009"`, `{} []`, "1e5 -0", "1e400 1"} {
		f.Add(s, true)
	}
	f.Fuzz(func(t *testing.T, text string, times bool) {
		d := json.NewDecoder(strings.NewReader(text))
		typ := inferred{}
		var values []value
		for d.More() {
			var raw json.RawMessage
			if d.Decode(&raw) != nil || !utf8.Valid(raw) {
				return
			}
			v := value{kind: '0', raw: string(raw)}
			if !bytes.ContainsAny(raw[:1], "-0123456789") {
				v.kind = map[byte]value{'n': {kind: 'n'}, 't': {kind: 't'}, 'f': {kind: 'f'}, '"': {kind: '"'}, '{': {kind: '{'}, '[': {kind: '['}}[raw[0]].kind
			}
			values = append(values, v)
			typ = typ.join(v.infer(times))
		}
		column := typ.columnType()
		for _, v := range values {
			var c tables.Column
			var texts arena
			if !v.appendTo(&c, column, &texts) {
				require.Contains(t, []tables.Kind{tables.Double}, column.Kind, "%s is no %s, though it was inferred from it", v.raw, column)
			}
		}
	})
}
