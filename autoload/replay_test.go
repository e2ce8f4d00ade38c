package autoload

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func zipped(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, err := z.Write([]byte(text))
	require.NoError(t, err)
	require.NoError(t, z.Close())
	return b.String()
}

// dropped returns the contents of what was dropped, by directory and extension, in the order of the names.
func dropped(t *testing.T, into string) (names, contents []string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(into, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		require.NotEqual(t, ".", d.Name()[:1], "nothing is left under a hidden name")
		rel, relErr := filepath.Rel(into, path)
		require.NoError(t, relErr)
		names, contents = append(names, rel), append(contents, string(text))
		return err
	}))
	return names, contents
}

func TestReplayDropsEveryRowOnce(t *testing.T) {
	source, into := t.TempDir(), filepath.Join(t.TempDir(), "landing")
	put(t, filepath.Join(source, "1.jsonl"), strings.Repeat("{\"a\": 1}\n", 25))
	put(t, filepath.Join(source, "2.json"), "[{\"a\":\n 2}, {\"a\": 2}]")
	put(t, filepath.Join(source, "3.json.gz"), zipped(t, "\ufeff{\"a\": 3}{\"a\":3}"))
	stats, err := Replay(context.Background(), ReplayConfig{Source: source, Into: into, RowsPerFile: 10})
	require.NoError(t, err)
	require.Equal(t, ReplayStats{Rows: 29, Files: 5}, stats)
	_, contents := dropped(t, into)
	require.Equal(t, "{\"a\":  2}\n{\"a\": 2}\n", contents[3])
	require.Equal(t, "{\"a\": 3}\n{\"a\":3}\n", contents[4])
	l := open(t, into, filepath.Join(t.TempDir(), "state"), 0, nil)
	var rows []string
	for more := next(t, l, "a"); len(more) > 0; more = next(t, l, "a") { // a busy machine may see some files whole before others
		rows = append(rows, more...)
	}
	require.Equal(t, map[string]int{"a=1": 25, "a=2": 2, "a=3": 2}, counted(rows))

	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = Replay(ctx, ReplayConfig{Source: source, Into: into, RowsPerSecond: 1})
	require.ErrorIs(t, err, context.Canceled)
	_, err = Replay(context.Background(), ReplayConfig{Source: t.TempDir(), Into: into})
	require.ErrorContains(t, err, "no file in it")
}

func counted(lines []string) map[string]int {
	counts := map[string]int{}
	for _, l := range lines {
		counts[l]++
	}
	return counts
}

func TestReplayCutsAFileAndDropsTheFilesOfADirectoryAsTheyAre(t *testing.T) {
	const rows = "{\"a\": 1}\n{\"a\": 2}\n{\"a\": 3}\n"
	files := map[string]string{"a.csv": "x,y\n1,2\n", "b.csv.gz": zipped(t, "x,y\n"), "c.parquet": "PAR1\x00", "day=1/d.jsonl": rows, "e.txt": "one\ntwo\nthree", "f.bad.json": "{",
		"_hidden.json": rows, ".g.json": rows, "h.json.tmp": rows, "_dir/i.json": rows}
	source := t.TempDir()
	for name, text := range files {
		put(t, filepath.Join(source, name), text)
	}
	into := t.TempDir()
	stats, err := Replay(t.Context(), ReplayConfig{Source: source, Into: into})
	require.NoError(t, err)
	require.Equal(t, ReplayStats{Files: 6}, stats)
	names, contents := dropped(t, into)
	require.Len(t, names, 6)
	for i, name := range names {
		dir, base := filepath.Split(name)
		original := dir + base[strings.LastIndex(base, "-")+1:]
		require.Equal(t, files[original], contents[i], "%s is %s as it was", name, original)
	}

	for _, c := range []struct {
		file, text string
		perFile    int
		want       []string
		fault      string
	}{
		{"a.jsonl", rows, 2, []string{"{\"a\": 1}\n{\"a\": 2}\n", "{\"a\": 3}\n"}, ""},
		{"a.jsonl.gz", zipped(t, rows), 2, []string{"{\"a\": 1}\n{\"a\": 2}\n", "{\"a\": 3}\n"}, ""},
		{"a", rows, 0, []string{rows}, ""},
		{"a.txt", "one\ntwo\nthree", 2, []string{"one\ntwo\n", "three"}, ""},
		{"a.LOG.GZ", zipped(t, "one\r\n\ntwo\n"), 1, []string{"one\r\n", "\n", "two\n"}, ""},
		{"a.csv", "x\n1\n2\n", 1, []string{"x\n1\n2\n"}, ""},
		{"a.json", rows, -1, []string{rows}, ""},
		{"a.json", "", 1, nil, ""},
		{"a.json", "{\"a\": 1} {\"a\": ", 1, []string{"{\"a\": 1}\n"}, "read row 2"},
		{"a.json", "{\"a\": 1} 7", 1, []string{"{\"a\": 1}\n"}, "want JSON objects at byte 8"},
		{"a.json.gz", "{}", 1, nil, "unpack recording"},
	} {
		source, into := filepath.Join(t.TempDir(), c.file), t.TempDir()
		put(t, source, c.text)
		_, err := Replay(t.Context(), ReplayConfig{Source: source, Into: into, RowsPerFile: c.perFile})
		if c.fault != "" {
			require.ErrorContains(t, err, c.fault)
		} else {
			require.NoError(t, err, c.file)
		}
		_, contents := dropped(t, into)
		require.Equal(t, c.want, contents, "%s in files of %d rows", c.file, c.perFile)
	}
}

func TestReplayGoesRoundUntilItIsStopped(t *testing.T) {
	source, into := filepath.Join(t.TempDir(), "r.jsonl"), t.TempDir()
	put(t, source, "{\"a\": 1}\n{\"a\": 2}\n{\"a\": 3}\n")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c := ReplayConfig{Source: source, Into: into, RowsPerSecond: 1e6, RowsPerFile: 2, Loop: true}
	c.Progress = func(s ReplayStats) {
		if s.Files == 7 {
			cancel()
		}
	}
	stats, err := Replay(ctx, c)
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, ReplayStats{Rows: 11, Files: 7}, stats)
	names, contents := dropped(t, into)
	require.Len(t, names, 7, "each round has names of its own")
	require.Equal(t, "{\"a\": 1}\n{\"a\": 2}\n", contents[6])

	c.RowsPerSecond = 0
	_, err = Replay(t.Context(), c)
	require.ErrorContains(t, err, "a loop needs a rate")
	put(t, source, "")
	c.RowsPerSecond = 1
	_, err = Replay(t.Context(), c)
	require.NoError(t, err, "there is nothing to go round with")
}

func TestReplayKeepsItsPace(t *testing.T) {
	source, into := t.TempDir(), t.TempDir()
	put(t, filepath.Join(source, "1.jsonl"), "{}\n{}\n{}\n")
	put(t, filepath.Join(source, "2.csv"), "x\n")
	put(t, filepath.Join(source, "3.csv"), "x\n")
	for rows, want := range map[int]time.Duration{1: 40 * time.Millisecond, 0: 20 * time.Millisecond} {
		start := time.Now()
		_, err := Replay(t.Context(), ReplayConfig{Source: source, Into: into, RowsPerSecond: 100, RowsPerFile: rows})
		require.NoError(t, err)
		require.GreaterOrEqual(t, time.Since(start), want, fmt.Sprintf("files of %d rows: the last waits for all before it", rows))
	}
}

// TestCountRowsJudgesAsALoaderDoes compares the check that comes before a file is stored with what becomes of the file.
func TestCountRowsJudgesAsALoaderDoes(t *testing.T) {
	texts := []string{"", "{}", "{}\n{}", "[]", "[{},\n{}]", "{}{}", "[{}][{}]", "[{}]\n[{}]", "{\"a\": 1}\n{\"a\": }", "{\"a\": 1}\n7", "\ufeff{}", "{\"a\": \"\xff\"}",
		"{\"a\": \"\\ud800\"}", "{\"a\": 1, \"a\": 2}", "{\"a\": 1}\n\n  \r\n{\"b\": [1, {\"c\": null}]}\r\n", "{\"a\": 01}", "{\"a\": \"\t\"}", "{\"a\": 1},{\"a\": 2}", "{\"a\": 1}\n,{\"a\": 2}",
		"{\"a\": tru}", "{\"a\" 1}", "{a: 1}", "{\"a\": 1}x", "\x00{}", "{\"a\": 1e999}", strings.Repeat("{\"a\": 1, \"b\": \"x\"}\n", 500) + "{\"a\": 1", "{\"a\": " + strings.Repeat("[", 20_000)}
	shared, err := filepath.Glob(filepath.Join("..", "..", "shared", "data", "malformed", "*.json"))
	require.NoError(t, err)
	for _, path := range shared {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		texts = append(texts, string(text))
	}
	dir, old := t.TempDir(), time.Now().Add(-time.Hour)
	for i, text := range texts {
		path := filepath.Join(dir, fmt.Sprintf("%04d.jsonl", i))
		put(t, path, text)
		require.NoError(t, os.Chtimes(path, old, old))
	}
	l := open(t, dir, filepath.Join(t.TempDir(), "state"), 0, nil)
	for range 3 { // files that failed are in no batch
		next(t, l)
	}
	files := l.Files()
	require.Len(t, files, len(texts))
	for _, f := range files {
		var i int
		_, err := fmt.Sscanf(filepath.Base(f.Path), "%04d.jsonl", &i)
		require.NoError(t, err)
		rows, err := CountRows([]byte(texts[i]))
		require.Equal(t, f.State == Loaded, err == nil, "%.80q: %v, but %s %s", texts[i], err, f.State, f.Error)
		if err == nil {
			require.Equal(t, f.Rows, rows, "%.80q", texts[i])
		}
	}
}
