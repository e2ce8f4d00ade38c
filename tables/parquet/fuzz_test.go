package parquet

import (
	"bytes"
	"math/rand/v2"
	"runtime"
	"testing"

	pq "github.com/parquet-go/parquet-go"
	"github.com/stretchr/testify/require"

	"smelt/tables/batch"
	"smelt/tables/filter"
)

// mostRows bounds what a damaged footer may claim here; a table compares it with the log.
const mostRows = 1 << 16

// FuzzReader reads any bytes as a Parquet file: the outcome is rows or an error, and memory stays near the size of the file.
func FuzzReader(f *testing.F) {
	r := rand.New(rand.NewPCG(1, 2))
	small := limits{groupRows: 20, pageBytes: 60, writeRows: 5}
	f.Add(written(f, clustered(r, kinds, 50), map[string]string{bloomProperty: "long,string"}, small))
	f.Add(written(f, clustered(r, kinds[9:11], 30), nil, usualLimits))
	for _, codec := range []pq.WriterOption{pq.Compression(&pq.Uncompressed), pq.Compression(&pq.Snappy), pq.Compression(&pq.Gzip)} {
		var file bytes.Buffer
		w := pq.NewGenericWriter[nestedRow](&file, codec, pq.PageBufferSize(50))
		_, err := w.Write([]nestedRow{{List: []*string{text("a"), nil}, Map: map[string]*nestedInner{"k": {}}, Bare: []int32{1, 2}}, {Deep: [][]int64{{1}, {2, 3}}}})
		require.NoError(f, err)
		require.NoError(f, w.Close())
		f.Add(file.Bytes())
	}
	var dictionary bytes.Buffer
	type row struct {
		String string  `parquet:"string,dict"`
		Long   int64   `parquet:"long,delta"`
		Double float64 `parquet:"double,split"`
	}
	w := pq.NewGenericWriter[row](&dictionary)
	_, err := w.Write([]row{{"a", 1, 2}, {"b", 2, 3}, {"a", 3, 4}})
	require.NoError(f, err)
	require.NoError(f, w.Close())
	f.Add(dictionary.Bytes())

	schema := append(append(batch.Schema{}, kinds...), jsonSchema("list", "deep", "map", "struct", "bare", "maps")...)
	where := []Where{
		{Field: kinds[3], Condition: filter.Condition{Op: filter.In, Values: batch.Column{Ints: []int64{500, 1000}}}},
		{Field: kinds[9], Condition: filter.Condition{Op: filter.GreaterEqual, Values: batch.Column{Strings: []string{"0"}}}},
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for _, w := range [][]Where{nil, where} {
			in, err := Open(bytes.NewReader(file), int64(len(file)), schema, w)
			if err != nil {
				for _, field := range schema { // one bad column hides the others
					fuzzRead(t, file, batch.Schema{field}, w)
				}
				continue
			}
			fuzzDrain(t, in, schema)
		}
		runtime.ReadMemStats(&after)
		// 21 columns are read up to four times, and a page may unpack to maxPageBytes.
		if used := after.TotalAlloc - before.TotalAlloc; used > 64*maxPageBytes {
			t.Fatalf("%d bytes allocated for a file of %d", used, len(file))
		}
	})
}

func fuzzRead(t *testing.T, file []byte, schema batch.Schema, where []Where) {
	in, err := Open(bytes.NewReader(file), int64(len(file)), schema, where)
	if err == nil {
		fuzzDrain(t, in, schema)
	}
}

func fuzzDrain(t *testing.T, in *File, schema batch.Schema) {
	if in.Rows() > mostRows {
		return
	}
	b, err := drain(in, schema)
	if err != nil {
		return
	}
	for i, field := range schema {
		c := conversion{typ: field.Type}
		if n := c.length(&b.Columns[i]); n != b.Len {
			t.Fatalf("column %q has %d values in %d rows", field.Name, n, b.Len)
		}
	}
}
