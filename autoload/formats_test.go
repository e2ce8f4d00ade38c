package autoload

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	pq "github.com/parquet-go/parquet-go"
	"github.com/stretchr/testify/require"
)

func gzipped(t testing.TB, content string) string {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, err := w.Write([]byte(content))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return out.String()
}

func zstded(t testing.TB, content string) string {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	require.NoError(t, err)
	return string(w.EncodeAll([]byte(content), nil))
}

// one loads a directory of one file and returns its rows, or why it failed.
func one(t *testing.T, name, content string, o map[string]string, columns ...string) (rows []string, failed string) {
	t.Helper()
	dir := t.TempDir()
	put(t, filepath.Join(dir, name), content)
	l := open(t, dir, filepath.Join(t.TempDir(), "state"), 0, o)
	rows = next(t, l, columns...)
	f := l.Files()[0]
	require.EqualValues(t, len(rows), f.Rows)
	for i := range rows {
		rows[i] = strings.ReplaceAll(rows[i], dir, "DIR")
	}
	return rows, f.Error
}

func TestFormats(t *testing.T) {
	header := map[string]string{"header": "true"}
	for name, c := range map[string]struct {
		file, content string
		options       map[string]string
		columns       []string
		want          []string
		fails         string
	}{
		"csv": {"f.csv", "id,name,score\n1,ann,2.5\n2,\"b, \"\"c\"\"\n d\",3\n3,,\n", header, []string{"id", "name", "score"},
			[]string{"id=1 name=ann score=2.5", "id=2 name=b, \"c\"\n d score=3", "id=3 name=NULL score=NULL"}, ""},
		"csv without header": {"f.csv", "1,x\n2,true\n", nil, []string{"_c0", "_c1"}, []string{"_c0=1 _c1=x", "_c0=2 _c1=true"}, ""},
		"csv, cloudFiles":    {"f.dat", "a|b\n1|#2\n#c\n", map[string]string{"cloudFiles.format": "csv", "cloudFiles.header": "true", "sep": "|", "comment": "#"}, []string{"a", "b"}, []string{"a=1 b=#2"}, ""},
		"csv, Windows lines": {"f.csv", "\ufeffa,b\r\n1,2\r\n\r\n3,4\r\n", header, []string{"a", "b"}, []string{"a=1 b=2", "a=3 b=4"}, ""},
		"csv, null value":    {"f.csv", "a,b\nNA,x\n1,NA\n", map[string]string{"header": "true", "nullValue": "NA"}, []string{"a", "b"}, []string{"a=NULL b=x", "a=1 b=NULL"}, ""},
		"csv, what does not fit": {"f.csv", "n,flag,price,at\n1,TRUE,1.5,2026-01-02\n007,no,x,never\n", map[string]string{"header": "true", "schemaHints": "n BIGINT, flag BOOLEAN, price DECIMAL(5,2), at DATE"}, []string{"n", "flag", "price", "at", "_rescued_data"},
			[]string{"n=1 flag=true price=150 at=20455 _rescued_data=NULL", `n=NULL flag=NULL price=NULL at=NULL _rescued_data={"n":"007","flag":"no","price":"x","at":"never","_file_path":"DIR/f.csv"}`}, ""},
		"csv, leading zeros":  {"f.csv", "zip\n00123\n", header, []string{"zip"}, []string{"zip=00123"}, ""},
		"csv, only a header":  {"f.csv", "a,b\n", header, nil, nil, ""},
		"csv, nothing":        {"f.csv", "", header, nil, nil, ""},
		"csv, ragged":         {"f.csv", "a,b\n1,2\n\n3\n", header, nil, nil, "line 4: want 2 fields"},
		"csv, a quote inside": {"f.csv", "a,b\n1,2\n3,4\"5\n", header, nil, nil, "line 3: not CSV: bare"},
		"csv, an open quote":  {"f.csv", "a,b\n1,\"2\n3,4\n", header, nil, nil, "not CSV: extraneous or missing"},
		"csv, two of a name":  {"f.csv", "a,a\n1,2\n", header, nil, nil, `the header has "a" twice`},
		"csv, no text":        {"f.csv", "a,b\n1,\xff\n", header, nil, nil, "line 2: not UTF-8"},
		"csv, case":           {"f.csv", "A,a\n1,2\n", header, []string{"A", "_rescued_data"}, []string{`A=1 _rescued_data={"a":"2","_file_path":"DIR/f.csv"}`}, ""},
		"tsv":                 {"f.tsv", "a\tb c\n1\t2\n", header, []string{"a", "b_c"}, []string{"a=1 b_c=2"}, ""},
		"tsv without quotes":  {"f.tsv", "a\tb\n5\" pipe\t\"x\r\n", map[string]string{"header": "true", "quote": ""}, []string{"a", "b"}, []string{`a=5" pipe b="x`}, ""},
		"text":                {"f.txt", "one\r\n\ntwo, \"x\n{}", nil, []string{"value"}, []string{"value=one", "value=", "value=two, \"x", "value={}"}, ""},
		"text, whole":         {"f.log", "one\ntwo\n", map[string]string{"format": "text", "wholeText": "true"}, []string{"value"}, []string{"value=one\ntwo\n"}, ""},
		"text, no text":       {"f.txt", "one\n\xfe\n", nil, nil, nil, "line 2: not UTF-8"},
		"json.gz":             {"f.json.gz", gzipped(t, `{"a": 1}`), nil, []string{"a"}, []string{"a=1"}, ""},
		"two gzips in one":    {"f.gz", gzipped(t, "{\"a\": 1}\n") + gzipped(t, `{"a": 2}`), nil, []string{"a"}, []string{"a=1", "a=2"}, ""},
		"json.zst":            {"f.json.zst", zstded(t, `[{"a": 1}]`), nil, []string{"a"}, []string{"a=1"}, ""},
		"csv.gz":              {"f.CSV.GZ", gzipped(t, "a\n1\n"), header, []string{"a"}, []string{"a=1"}, ""},
		"text.zst":            {"f.txt.zst", zstded(t, "x"), nil, []string{"value"}, []string{"value=x"}, ""},
		"no gzip":             {"f.json.gz", `{"a": 1}`, nil, nil, nil, "damaged .gz archive"},
		"half a gzip":         {"f.json.gz", gzipped(t, strings.Repeat(`{"a": 1}`, 99))[:30], nil, nil, nil, "damaged .gz archive: unexpected EOF"},
		"flipped gzip":        {"f.json.gz", flipped(gzipped(t, `{"a": 1}`)), nil, nil, nil, "damaged .gz archive"},
		"half a zstd":         {"f.json.zst", zstded(t, strings.Repeat(`{"a": 1}`, 99))[:20], nil, nil, nil, "damaged .zst archive"},
		"flipped zstd":        {"f.json.zst", flipped(zstded(t, `{"a": 1}`)), nil, nil, nil, "damaged .zst archive"},
		"bad line in gzip":    {"f.jsonl.gz", gzipped(t, "{\"a\": 1}\n{\"a\" 1}\n"), nil, nil, nil, "line 2: not JSON"},
		"no Parquet":          {"f.parquet", "PAR1 hello PAR1 hello", nil, nil, nil, "not Parquet"},
		"nothing in Parquet":  {"f.parquet", "", nil, nil, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			rows, failed := one(t, c.file, c.content, c.options, c.columns...)
			require.Equal(t, c.want, rows)
			if c.fails == "" {
				require.Empty(t, failed)
			} else {
				require.Contains(t, failed, c.fails)
			}
		})
	}
}

func flipped(s string) string {
	b := []byte(s)
	b[len(b)-3] ^= 1
	return string(b)
}

// TestABombIsRefused has an archive that is all zeros for longer than any archive may be.
func TestABombIsRefused(t *testing.T) {
	in, err := expand(strings.NewReader(gzipped(t, strings.Repeat("0", 1<<20))), "gz", 1)
	require.NoError(t, err)
	in.left = 1 << 19
	_, err = bytes.NewBuffer(nil).ReadFrom(in)
	require.ErrorContains(t, err, "holds more than")
	require.ErrorIs(t, err, errContent)
}

type foreignRow struct {
	ID     int64             `parquet:"id"`
	Small  int32             `parquet:"small"`
	Huge   uint64            `parquet:"huge"`
	Name   *string           `parquet:"name,optional"`
	Score  float64           `parquet:"score"`
	Flag   bool              `parquet:"flag"`
	Raw    []byte            `parquet:"raw"`
	At     time.Time         `parquet:"at,timestamp(microsecond)"`
	Price  int64             `parquet:"price,decimal(2:10)"`
	Tags   []string          `parquet:"tags,list"`
	Counts map[string]int32  `parquet:"counts"`
	Inner  struct{ X int32 } `parquet:"inner"`
}

func foreignParquet(t testing.TB, rows int) string {
	t.Helper()
	var out bytes.Buffer
	w := pq.NewGenericWriter[foreignRow](&out, pq.MaxRowsPerRowGroup(100))
	for i := range rows {
		name := fmt.Sprint("n", i)
		row := foreignRow{ID: int64(i), Small: int32(i), Huge: 1<<63 + uint64(i), Score: float64(i) / 2, Flag: i%2 == 0, Raw: []byte{0xff}, At: time.UnixMicro(int64(i)), Price: int64(i), Tags: []string{"a"}, Counts: map[string]int32{"k": 1}}
		if i%2 == 0 {
			row.Name = &name
		}
		_, err := w.Write([]foreignRow{row})
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return out.String()
}

func TestForeignParquet(t *testing.T) {
	rows, failed := one(t, "f.parquet", foreignParquet(t, 250), nil, "id", "small", "huge", "name", "score", "flag", "raw", "at", "price", "tags", "counts", "inner", "_rescued_data")
	require.Empty(t, failed)
	require.Len(t, rows, 250)
	require.Equal(t, "id=249 small=249 huge=9223372036854776057 name=NULL score=124.5 flag=false raw=\xff at=249 price=249 tags=[\"a\"] counts={\"k\":1} inner={\"X\":0} _rescued_data=NULL", rows[249])
	for _, name := range []string{"f.parquet.gz", "f.parquet.zst"} {
		content := gzipped(t, foreignParquet(t, 3))
		if strings.HasSuffix(name, "zst") {
			content = zstded(t, foreignParquet(t, 3))
		}
		rows, failed = one(t, name, content, nil, "id", "name")
		require.Empty(t, failed)
		require.Equal(t, []string{"id=0 name=n0", "id=1 name=NULL", "id=2 name=n2"}, rows)
	}
	rows, failed = one(t, "f.parquet", foreignParquet(t, 1), map[string]string{"schemaHints": "id STRING, small TINYINT, name BIGINT, score DECIMAL(5,1), at STRING, raw BIGINT, extra INT"},
		"id", "small", "name", "score", "at", "raw", "extra", "_rescued_data")
	require.Empty(t, failed)
	require.Equal(t, []string{`id=0 small=0 name=NULL score=0 at=1970-01-01T00:00:00.000Z raw=NULL extra=NULL _rescued_data={"name":"n0","raw":"/w==","_file_path":"DIR/f.parquet"}`}, rows)
}

// TestPiecesAreTheWholeFile decodes random files, good and damaged, in small pieces and at once.
func TestPiecesAreTheWholeFile(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for range 1500 {
		name, content := randomFile(r)
		if r.IntN(2) == 0 && len(content) > 0 {
			b := []byte(content)
			b[r.IntN(len(b))] = "{}[],:\"\\ \nx1"[r.IntN(12)]
			content = string(b)
		}
		samePieces(t, name, []byte(content), 1+r.IntN(60))
	}
}

func randomFile(r *rand.Rand) (name, content string) {
	var out strings.Builder
	object := func() string {
		return fmt.Sprintf(`{"a":%s %d, "b": "x\\\"}%s", "c": [{"d": [1]}, {}]}`, strings.Repeat(" ", r.IntN(3)), r.IntN(100), strings.Repeat("y]", r.IntN(9)))
	}
	rows := r.IntN(12)
	switch r.IntN(5) {
	case 0:
		for range rows {
			out.WriteString(object() + "\n")
		}
		return "f.json", out.String()
	case 1:
		for range rows {
			out.WriteString(strings.ReplaceAll(object(), ",", ",\n") + strings.Repeat(" ", r.IntN(2)))
		}
		return "f.json", out.String()
	case 2:
		for range 1 + r.IntN(3) {
			out.WriteString("[")
			for i := range rows {
				if i > 0 {
					out.WriteString(" ,\n"[r.IntN(2):])
				}
				out.WriteString(object())
			}
			out.WriteString("]\n ")
		}
		return "f.json", out.String()
	case 3:
		for range rows {
			fmt.Fprintf(&out, "%d,%s,\"q\"\"\n,%d\"\n", r.IntN(9), strings.Repeat("z", r.IntN(9)), r.IntN(9))
		}
		return "f.csv", out.String()
	default:
		for range rows {
			out.WriteString(strings.Repeat("é", r.IntN(9)) + "\r\n"[r.IntN(2):])
		}
		return "f.txt", out.String()
	}
}

// samePieces checks that cutting a file into pieces changes nothing.
func samePieces(t *testing.T, name string, content []byte, step int) {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, content, 0o644))
	info, err := os.Stat(path)
	require.NoError(t, err)
	root, err := os.OpenRoot(filepath.Dir(path))
	require.NoError(t, err)
	defer root.Close()
	c := candidate{path: path, inside: name, size: info.Size(), modified: info.ModTime()}
	columns := newColumns(nil, nil, Options{Rescued: "_rescued_data"})
	for _, column := range []string{"a", "b", "value", "_c0", "_c1"} {
		columns = columns.with(column, inferred{saw: sawText}, Options{Rescued: "_rescued_data"})
	}
	load := func(step int) (string, error) {
		r := reader{root: root, columns: columns, step: step, keep: keepBytes}
		rows, err := r.file(context.Background(), newDecoder(columns), c)
		out := fmt.Sprintln(rows.rows, rows.rescued, rows.unknown)
		for _, b := range rows.batches {
			for row := range b.Len {
				for i := range b.Columns {
					out += fmt.Sprint(b.Columns[i].Null(row), b.Columns[i].Strings[row], ";")
				}
			}
		}
		return out, err
	}
	want, wantErr := load(0)
	got, err := load(step)
	if wantErr == nil {
		require.NoError(t, err, "%s: %q in pieces of %d", name, content, step)
		require.Equal(t, want, got, "%s: %q in pieces of %d", name, content, step)
		return
	}
	require.Error(t, err, "%s: %q in pieces of %d: %v", name, content, step, wantErr)
	require.ErrorIs(t, err, errContent)
}
