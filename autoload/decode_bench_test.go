package autoload

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"smelt/tables"
)

// BenchmarkDecode compares the decoder with the limit (finding the line ends) and with encoding/json, over the same
// ten thousand rows, and prints rows per second of each.
func BenchmarkDecode(b *testing.B) {
	const rows = 10_000
	var text strings.Builder
	for i := range rows {
		fmt.Fprintf(&text, `{"date": "Mon Apr 06 22:19:45 PDT 2009", "user": "user%d", "text": "@someone what a \"lovely\" morning, number %d \u00e9 &amp; so on and on", "sentiment": "positive"}`+"\n", i, i)
	}
	data := []byte(text.String())
	text4 := tables.Type{Kind: tables.String}
	c := newColumns(tables.Schema{{Name: "date", Type: text4}, {Name: "user", Type: text4}, {Name: "text", Type: text4}, {Name: "sentiment", Type: text4}},
		[]string{"date", "user", "text", "sentiment"}, Options{Rescued: "_rescued_data"})
	d := newDecoder(c)
	measure := func(f func()) float64 {
		start := time.Now()
		f()
		return rows / time.Since(start).Seconds()
	}
	for b.Loop() {
		lines := measure(func() { require.Equal(b, rows, bytes.Count(data, []byte("\n"))) })
		ours := measure(func() {
			out, err := decodeText(d, "f", data)
			require.NoError(b, err)
			require.EqualValues(b, rows, out.rows)
		})
		standard := measure(func() {
			d := json.NewDecoder(bytes.NewReader(data))
			n := 0
			for ; ; n++ {
				var row struct{ Date, User, Text, Sentiment string }
				if err := d.Decode(&row); err == io.EOF {
					break
				} else {
					require.NoError(b, err)
				}
			}
			require.Equal(b, rows, n)
		})
		b.ReportMetric(ours, "rows/s")
		b.ReportMetric(ours/standard, "x-encoding/json")
		b.ReportMetric(ours/lines, "x-line-count")
	}
}
