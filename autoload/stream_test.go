package autoload

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"smelt/tables"
)

// manyRows is a file of JSON lines that is read in several pieces.
func manyRows(rows int) string {
	var out strings.Builder
	for i := range rows {
		fmt.Fprintf(&out, `{"n": %d, "text": "%s"}`+"\n", i, strings.Repeat("x", 100))
	}
	return out.String()
}

// TestAFileBeyondMemoryIsReadAgain has the same files kept in memory and not.
func TestAFileBeyondMemoryIsReadAgain(t *testing.T) {
	const rows = 30_000 // 4 MB, two pieces
	var csv strings.Builder
	csv.WriteString("n,text\n")
	for i := range rows {
		fmt.Fprintf(&csv, "%d,\"a\n%s\"\n", i, strings.Repeat("y", 100))
	}
	lines := manyRows(rows)
	for name, content := range map[string]string{
		"f.json":      lines + `{"late": true, "n": "no number"}`,
		"f.json.gz":   gzipped(t, lines),
		"array.json":  "[" + strings.ReplaceAll(strings.TrimSpace(lines), "\n", ",\n") + "]",
		"pretty.json": strings.ReplaceAll(lines, ", ", ",\n"),
		"f.csv":       csv.String(),
		"f.txt.zst":   zstded(t, lines),
		"f.parquet":   foreignParquet(t, 500),
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			put(t, filepath.Join(dir, name), content)
			put(t, filepath.Join(dir, "small.txt"), "small")
			load := func(keep int64) ([]string, *Batch) {
				l := open(t, dir, filepath.Join(t.TempDir(), "state"), 0, map[string]string{"header": "true"})
				l.keep = keep
				b, err := l.Next(context.Background())
				require.NoError(t, err)
				for _, f := range b.files {
					require.Empty(t, f.Error)
				}
				var all []string
				for range 2 { // a SELECT may read it twice
					all = lines2(t, b, "n", "text", "id", "value", "late", "_rescued_data", "source_file", "_metadata_row_index")
				}
				require.Len(t, all, int(b.Rows()))
				return all, b
			}
			want, kept := load(keepBytes)
			got, streamed := load(10)
			require.IsType(t, &relation{}, streamed.Relation)
			slices.Sort(want)
			slices.Sort(got)
			require.True(t, slices.Equal(want, got))
			require.Equal(t, kept.Metrics(), streamed.Metrics())
			counted, err := tables.ReadAll(context.Background(), streamed, []string{})
			require.NoError(t, err)
			require.EqualValues(t, streamed.Rows(), counted.Len)
		})
	}
}

// lines2 is lines, of the columns that there are.
func lines2(t *testing.T, r tables.Relation, columns ...string) []string {
	var there []string
	for _, c := range columns {
		if r.Schema().Index(c) >= 0 {
			there = append(there, c)
		}
	}
	return lines(t, r, there)
}

func TestAStreamedFileIsAllOrNothing(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f.json")
	put(t, path, manyRows(50_000)+"{\"n\": \n")
	put(t, filepath.Join(dir, "good.json"), `{"n": 1}`)
	l := open(t, dir, filepath.Join(t.TempDir(), "state"), 0, nil)
	l.keep = 10
	b, _ := planned(t, l)
	require.Equal(t, []string{"n=1"}, lines(t, b, []string{"n"}))
	b.Committed()
	require.Equal(t, Failed, l.Files()[0].State)
	require.Contains(t, l.Files()[0].Error, "line 50002: not JSON")
}

// TestAFileThatChangesBetweenItsTwoReadings fails the batch, and is there in the next.
func TestAFileThatChangesBetweenItsTwoReadings(t *testing.T) {
	for name, change := range map[string]func(path string) error{
		"grown":    func(path string) error { return os.WriteFile(path, []byte(manyRows(50_001)), 0o644) },
		"gone":     os.Remove,
		"touched":  func(path string) error { return os.Chtimes(path, time.Time{}, time.Now().Add(-time.Hour)) },
		"replaced": func(path string) error { return os.WriteFile(path, []byte(`{"n": 1}`), 0o644) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "f.json")
			put(t, path, manyRows(50_000))
			l := open(t, dir, filepath.Join(t.TempDir(), "state"), 0, nil)
			l.keep = 10
			b, err := l.Next(context.Background())
			require.NoError(t, err)
			require.NoError(t, change(path))
			_, err = tables.ReadAll(context.Background(), b, []string{"n"})
			require.ErrorContains(t, err, "f.json again: the file")
			old := time.Now().Add(-time.Minute)
			if name != "gone" {
				require.NoError(t, os.Chtimes(path, old, old))
				require.NotEmpty(t, next(t, l, "n"))
			}
		})
	}
}

func TestAStreamMayBeLeftInTheMiddle(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "f.json"), manyRows(100_000))
	l := open(t, dir, filepath.Join(t.TempDir(), "state"), 0, nil)
	l.keep = 10
	b, err := l.Next(context.Background())
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	r, err := b.Scan(ctx, []string{"n"})
	require.NoError(t, err)
	first, err := r.Next(ctx)
	require.NoError(t, err)
	require.EqualValues(t, 0, first.Columns[0].Ints[0])
	require.NoError(t, r.Close())
	require.NoError(t, r.Close())
	r, err = b.Scan(ctx, nil)
	require.NoError(t, err)
	cancel()
	_, err = r.Next(ctx)
	require.ErrorIs(t, err, context.Canceled)
	require.False(t, errors.Is(err, io.EOF))
	require.NoError(t, r.Close())
}

func TestSchemaEvolution(t *testing.T) {
	for mode, c := range map[string]struct {
		rows  []string
		fails string
	}{
		"addNewColumns":    {[]string{"a=2 _rescued_data=NULL b=x"}, ""},
		"rescue":           {[]string{`a=2 _rescued_data={"b":"x","_file_path":"DIR/2.json"}`}, ""},
		"none":             {[]string{"a=2 _rescued_data=NULL"}, ""},
		"failOnNewColumns": {nil, `line 2: field "b" is no column`},
	} {
		t.Run(mode, func(t *testing.T) {
			dir, state := t.TempDir(), filepath.Join(t.TempDir(), "state")
			l := open(t, dir, state, 0, map[string]string{"schemaEvolutionMode": mode, "schemaHints": "h INT"})
			require.Nil(t, next(t, l))
			put(t, filepath.Join(dir, "1.json"), `{"a": 1}`)
			require.Equal(t, []string{"a=1"}, next(t, l, "a"), "the first files make the columns in every mode")
			l = open(t, dir, state, 1, map[string]string{"schemaEvolutionMode": mode, "schemaHints": "h INT"})
			put(t, filepath.Join(dir, "2.json"), "\n{\"a\": 2, \"b\": \"x\", \"c\": null}")
			columns := []string{"a", "_rescued_data"}
			if mode == "addNewColumns" {
				columns = append(columns, "b")
			}
			b, err := l.Next(context.Background())
			require.NoError(t, err)
			got := lines(t, b, columns)
			for i := range got {
				got[i] = strings.ReplaceAll(got[i], dir, "DIR")
			}
			require.Equal(t, c.rows, got)
			require.Contains(t, b.files[0].Error, c.fails)
			require.Equal(t, c.fails == "", b.files[0].Error == "")
		})
	}
}

func TestTimesAreInferredOnRequest(t *testing.T) {
	content := `{"iso": "2026-01-02T03:04:05Z", "day": "2026-01-02", "tweet": "Mon Apr 06 22:19:45 PDT 2009", "v1": "Mon Apr 06 22:19:45 +0000 2009", "mixed": "2026-01-02", "both": "2026-01-02"}
{"iso": "2026-01-02 03:04:05", "day": "2026-01-03", "tweet": "Mon Apr 06 22:19:45 UTC 2009", "v1": null, "mixed": "soon", "both": "2026-01-02T00:00:01Z"}`
	columns := []string{"iso", "day", "tweet", "v1", "mixed", "both"}
	rows, _ := one(t, "f.json", content, nil, columns...)
	require.Equal(t, "iso=2026-01-02T03:04:05Z day=2026-01-02 tweet=Mon Apr 06 22:19:45 PDT 2009 v1=Mon Apr 06 22:19:45 +0000 2009 mixed=2026-01-02 both=2026-01-02", rows[0])
	rows, _ = one(t, "f.json", content, map[string]string{"inferTimestamps": "true"}, columns...)
	require.Equal(t, []string{"iso=1767323045000000 day=20455 tweet=1239081585000000 v1=1239056385000000 mixed=2026-01-02 both=1767312000000000",
		"iso=1767323045000000 day=20456 tweet=1239056385000000 v1=NULL mixed=soon both=1767312001000000"}, rows)

	dir := t.TempDir()
	put(t, filepath.Join(dir, "1.json"), `{"at": "2026-01-02T03:04:05Z"}`)
	l := open(t, dir, filepath.Join(t.TempDir(), "state"), 0, map[string]string{"inferTimestamps": "true"})
	require.Len(t, next(t, l), 1)
	path := filepath.Join(dir, "2.json")
	put(t, path, `{"at": "tomorrow"}`)
	require.Equal(t, []string{`at=NULL _rescued_data={"at":"tomorrow","_file_path":"` + path + `"}`}, next(t, l, "at", "_rescued_data"))
}

// TestNamesOfEveryKind has a thousand columns and more, and names that Delta or MySQL would not take.
func TestNamesOfEveryKind(t *testing.T) {
	var object strings.Builder
	object.WriteString(`{"a b": 1, "a_b": 2, "A_B": 3, "Select": 13, "": 4, "ünï→x": 5, "select": 6, "` + "`" + `": 7, "source_file": 8, "_rescued_data": 9, "` + strings.Repeat("n", 256) + `": 10, "\u0000\n": 11, "a.b": 12`)
	for i := range 1200 {
		fmt.Fprintf(&object, `, "c%d": %d`, i, i)
	}
	object.WriteString("}")
	dir := t.TempDir()
	put(t, filepath.Join(dir, "f.json"), object.String())
	l := open(t, dir, filepath.Join(t.TempDir(), "state"), 0, nil)
	b, err := l.Next(context.Background())
	require.NoError(t, err)
	require.Len(t, l.columns.schema, maxColumns)
	names := l.columns.schema.Names()
	require.Equal(t, []string{"a_b", "a_b_2", "A_B_3", "Select", "ünï→x", "`", "__", "a.b", "c0"}, names[:9])
	seen := map[string]bool{}
	for _, name := range names {
		require.False(t, seen[strings.ToLower(name)], name)
		seen[strings.ToLower(name)] = true
	}
	row := lines(t, b, []string{"a_b", "a_b_2", "ünï→x", "c0"})
	require.Equal(t, []string{"a_b=1 a_b_2=2 ünï→x=5 c0=0"}, row)
	rescued := lines(t, b, []string{"_rescued_data"})[0]
	for _, want := range []string{`"":4`, `"source_file":8`, `"_rescued_data":9`, `nn":10`, `"select":6`, `"c1199":1199`} {
		require.Contains(t, rescued, want)
	}
}

// planned returns the next batch whose rows are what was promised, and how many before it were not.
func planned(t *testing.T, l *Loader) (b *Batch, refused int) {
	t.Helper()
	for ; refused < 3; refused++ {
		b, err := l.Next(context.Background())
		require.NoError(t, err)
		_, err = tables.ReadAll(context.Background(), b, nil)
		require.Equal(t, err != nil, b.Again())
		if err == nil {
			require.NoError(t, b.Record(context.Background()))
			return b, refused
		}
	}
	require.Fail(t, "no batch keeps its promise")
	return nil, refused
}

// TestOfALargeFileTheBeginningIsEnough unless the rest is not like it: then the file is read whole before it is promised.
func TestOfALargeFileTheBeginningIsEnough(t *testing.T) {
	const rows = 50_000 // 6 MB, three pieces
	for name, c := range map[string]struct {
		last    string
		refused int
		rows    int64
		failed  string
	}{
		"like its beginning": {`{"n": 7}`, 0, rows + 2, ""},
		"a field more":       {`{"late": true}`, 1, rows + 2, ""},
		"another type":       {`{"n": "no number"}`, 0, rows + 2, ""},
		"damaged":            {`{"n": `, 1, 1, "line 50002: not JSON"},
		"over two lines":     {"{\"n\":\n 7}", 1, rows + 2, ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			put(t, filepath.Join(dir, "f.json"), manyRows(rows)+c.last+"\n")
			put(t, filepath.Join(dir, "small.json"), `{"n": 1}`)
			l := open(t, dir, filepath.Join(t.TempDir(), "state"), 0, nil)
			l.keep, l.begin = 10, 10
			b, refused := planned(t, l)
			require.Equal(t, c.refused, refused)
			require.EqualValues(t, c.rows, b.Rows())
			all, err := tables.ReadAll(context.Background(), b, []string{"n"})
			require.NoError(t, err)
			require.EqualValues(t, c.rows, all.Len)
			b.Committed()
			f := l.Files()[0]
			if c.failed != "" {
				require.Equal(t, Failed, f.State)
				require.Contains(t, f.Error, c.failed)
				return
			}
			require.Equal(t, Loaded, f.State)
			require.EqualValues(t, c.rows-1, f.Rows, "the ledger has the rows of the whole file")
		})
	}
}

// TestALargeFileThatNobodyReadsIsCounted has the ledger right although the SELECT never came to the rows.
func TestALargeFileThatNobodyReadsIsCounted(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "f.json"), manyRows(50_000))
	l := open(t, dir, filepath.Join(t.TempDir(), "state"), 0, nil)
	l.keep, l.begin = 10, 10
	b, err := l.Next(context.Background())
	require.NoError(t, err)
	require.Less(t, b.Rows(), int64(50_000))
	require.NoError(t, b.Record(context.Background()))
	require.EqualValues(t, 50_000, b.Rows())
	b.Committed()
	require.EqualValues(t, 50_000, l.Files()[0].Rows)
}
