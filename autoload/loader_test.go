package autoload

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"smelt/tables"
	"smelt/tables/vfs/errorfs"
)

// put drops a file as a careful producer does, long enough ago to count as whole.
func put(t *testing.T, path, content string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	hidden := filepath.Join(filepath.Dir(path), "."+filepath.Base(path))
	require.NoError(t, os.WriteFile(hidden, []byte(content), 0o644))
	old := time.Now().Add(-time.Minute)
	require.NoError(t, os.Chtimes(hidden, old, old))
	require.NoError(t, os.Rename(hidden, path))
}

// decodeText decodes a file that is one piece.
func decodeText(d *decoder, name string, data []byte) (fileRows, error) {
	p := piece{shape: shapeOf(Options{}, name), data: data, first: true, last: true}
	if err := p.shape.begin(&p); err != nil {
		return fileRows{}, err
	}
	p.shape.byLines = p.shape.format == formatJSON && hasLines(data)
	rows, err := d.decode(name, &p, false)
	if err != nil && p.shape.byLines {
		p.shape.byLines = false
		return d.decode(name, &p, false)
	}
	return rows, err
}

func options(t *testing.T, m map[string]string) Options {
	t.Helper()
	o, err := ParseOptions(m)
	require.NoError(t, err)
	return o
}

func open(t *testing.T, dir, state string, committed int64, m map[string]string) *Loader {
	t.Helper()
	l, err := Open(context.Background(), Config{Dir: dir, StateDir: state, Committed: committed, Options: options(t, m), PollInterval: 10 * time.Millisecond})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	return l
}

// next returns the next batch as lines of "column=value", and commits it.
func next(t *testing.T, l *Loader, columns ...string) []string {
	t.Helper()
	l.lister.whole = time.Time{} // on a busy machine not every look would be at every file
	b, err := l.Next(context.Background())
	require.NoError(t, err)
	if b == nil {
		return nil
	}
	require.NoError(t, b.Record(context.Background()))
	lines := lines(t, b, columns)
	b.Committed()
	return lines
}

func lines(t *testing.T, r tables.Relation, columns []string) []string {
	t.Helper()
	if len(columns) == 0 {
		columns = nil
	}
	all, err := tables.ReadAll(context.Background(), r, columns)
	require.NoError(t, err)
	var out []string
	for i := range all.Len {
		var cells []string
		for c, f := range all.Schema {
			col := &all.Columns[c]
			var v any
			switch {
			case col.Null(i):
				v = "NULL"
			case col.Strings != nil:
				v = col.Strings[i]
			case col.Floats != nil:
				v = col.Floats[i]
			case col.Bools != nil:
				v = col.Bools[i]
			case col.Decimals != nil:
				v = col.Decimals[i].Big()
			default:
				v = col.Ints[i]
			}
			cells = append(cells, fmt.Sprintf("%s=%v", f.Name, v))
		}
		out = append(out, strings.Join(cells, " "))
	}
	return out
}

func TestEachFileIsLoadedOnceAcrossRestarts(t *testing.T) {
	dir, state := t.TempDir(), filepath.Join(t.TempDir(), "state")
	l := open(t, dir, state, 0, nil)
	require.True(t, l.Empty())
	require.Nil(t, next(t, l))
	put(t, filepath.Join(dir, "a.json"), `{"x": 1}`)
	require.Equal(t, []string{"x=1"}, next(t, l, "x"))
	require.Nil(t, next(t, l))
	put(t, filepath.Join(dir, "b.json"), `{"x": 2}`)
	again := open(t, dir, state, 1, nil)
	require.Equal(t, []string{"x=2"}, next(t, again, "x"))
	require.Nil(t, next(t, again))
}

func TestABatchThatWasNotCommittedIsPlannedAnew(t *testing.T) {
	dir, state := t.TempDir(), filepath.Join(t.TempDir(), "state")
	put(t, filepath.Join(dir, "a.json"), `{"x": 1}`)
	l := open(t, dir, state, 0, nil)
	b, err := l.Next(context.Background())
	require.NoError(t, err)
	require.NoError(t, b.Record(context.Background()))
	// The process dies here: the ledger has the entry, the table does not have its number.
	put(t, filepath.Join(dir, "b.json"), `{"x": 2}`)
	again := open(t, dir, state, 0, nil)
	require.ElementsMatch(t, []string{"x=1", "x=2"}, next(t, again, "x"))
	require.Len(t, again.Files(), 2)
}

func TestAMissingCommittedEntryIsNamed(t *testing.T) {
	dir, state := t.TempDir(), filepath.Join(t.TempDir(), "state")
	l := open(t, dir, state, 0, nil)
	for i := range 3 {
		put(t, filepath.Join(dir, fmt.Sprintf("%d.json", i)), `{"x": 1}`)
		require.Len(t, next(t, l), 1)
	}
	require.NoError(t, os.Remove(l.ledger.path(2)))
	_, err := Open(context.Background(), Config{Dir: dir, StateDir: state, Committed: 3, Options: options(t, nil)})
	require.ErrorContains(t, err, "entry 2 of 3 is missing")
}

func TestTheLedgerIsCompactedAndForgetsNothing(t *testing.T) {
	dir, state := t.TempDir(), filepath.Join(t.TempDir(), "state")
	l := open(t, dir, state, 0, map[string]string{"maxFilesPerTrigger": "1"})
	const files = 2*compactEvery + 5
	for i := range files {
		put(t, filepath.Join(dir, fmt.Sprintf("%04d.json", i)), fmt.Sprintf(`{"x": %d}`, i))
	}
	for i := range files {
		require.Equal(t, []string{fmt.Sprintf("x=%d", i)}, next(t, l, "x"))
		l.beside.Wait()
	}
	entries, err := os.ReadDir(l.ledger.dir)
	require.NoError(t, err)
	require.Len(t, entries, 6, "one compacted entry and five since")
	again := open(t, dir, state, files, nil)
	require.Nil(t, next(t, again))
	require.Len(t, again.Files(), files)
}

func TestColumnsAreInferredWidenedHintedAndRescued(t *testing.T) {
	dir, state := t.TempDir(), filepath.Join(t.TempDir(), "state")
	hints := map[string]string{"schemaHints": "id STRING, at TIMESTAMP, price DECIMAL(10,2), small TINYINT"}
	l := open(t, dir, state, 0, hints)
	require.False(t, l.Empty())
	put(t, filepath.Join(dir, "1.json"), `{"id": 9007199254740993, "n": 1, "b": true, "o": {"k": [1, 2]}, "at": "2026-01-02T03:04:05+01:00", "price": "12.50", "small": 300, "void": null}`)
	require.Equal(t, []string{`id=9007199254740993 at=1767319445000000 price=1250 small=NULL n=1 b=true o={"k": [1, 2]} void=NULL _rescued_data={"small":300,"_file_path":"` +
		filepath.Join(dir, "1.json") + `"}`}, next(t, l, "id", "at", "price", "small", "n", "b", "o", "void", "_rescued_data"))
	put(t, filepath.Join(dir, "2.json"), `[{"n": "text", "N": 5, "new column": "v", "at": "Mon Apr 06 22:19:45 +0000 2009"}, {"n": 2.5, "n": 3, "price": 1.005, "small": -1}]`)
	got := next(t, l, "n", "new_column", "at", "small", "_rescued_data")
	path := filepath.Join(dir, "2.json")
	require.Equal(t, []string{
		`n=NULL new_column=v at=1239056385000000 small=NULL _rescued_data={"N":5,"n":"text","_file_path":"` + path + `"}`,
		`n=3 new_column=NULL at=NULL small=-1 _rescued_data={"price":1.005,"_file_path":"` + path + `"}`,
	}, got)
	again := open(t, dir, state, 2, hints)
	require.Equal(t, l.Schema(), again.Schema(), "the columns survive a restart")
}

func TestAColumnNewInOneFileIsNullInTheOthersOfTheBatch(t *testing.T) {
	dir := t.TempDir()
	for i := range 20 {
		put(t, filepath.Join(dir, fmt.Sprintf("%02d.json", i)), fmt.Sprintf(`{"a": %d}`, i))
	}
	put(t, filepath.Join(dir, "10.json"), `{"a": 10, "z": "here"}`)
	l := open(t, dir, filepath.Join(t.TempDir(), "state"), 0, map[string]string{"schemaHints": "a INT"})
	got := next(t, l, "a", "z")
	require.Len(t, got, 20)
	for i, line := range got {
		want := fmt.Sprintf("a=%d z=NULL", i)
		if i == 10 {
			want = "a=10 z=here"
		}
		// Files of one moment come by name, but the rewritten one has its own.
		require.Contains(t, got, want, line)
	}
}

func TestEveryShapeOfJSONFile(t *testing.T) {
	for name, c := range map[string]struct {
		content string
		rows    int
		fails   string
	}{
		"object":            {`{"a": 1}`, 1, ""},
		"lines":             {"{\"a\": 1}\n{\"a\": 2}\n\n{\"a\": 3}", 3, ""},
		"windows lines":     {"{\"a\": 1}\r\n{\"a\": 2}\r\n", 2, ""},
		"array":             {`[{"a": 1}, {"a": 2}]`, 2, ""},
		"arrays":            {"[{\"a\": 1}]\n[{\"a\": 2}, {\"a\": 3}]", 3, ""},
		"concatenated":      {`{"a": 1}{"a": 2}`, 2, ""},
		"pretty":            {"{\n  \"a\": {\n    \"b\": \"}\\\"{\"\n  }\n}\n", 1, ""},
		"byte order mark":   {"\ufeff{\"a\": 1}", 1, ""},
		"empty":             {"", 0, ""},
		"blank":             {" \n\t\n", 0, ""},
		"empty array":       {"[]", 0, ""},
		"number":            {"42", 0, "want a JSON object"},
		"text":              {`"hello"`, 0, "want a JSON object"},
		"array of numbers":  {`[{"a": 1}, 2]`, 0, "want a JSON object in the array"},
		"cut":               {"{\"a\": 1}\n{\"a\": \"x", 0, "line 2"},
		"cut array":         {`[{"a": 1}, {"a"`, 0, "the file ends inside a value"},
		"not JSON":          {"GET / HTTP/1.1", 0, "not JSON"},
		"bad value":         {`{"a": nope}`, 0, "not JSON"},
		"trailing comma":    {`{"a": 1,}`, 0, "not JSON"},
		"not UTF-8":         {"{\"a\": \"\xff\"}", 0, "not UTF-8"},
		"UTF-16":            {"\xff\xfe{\x00}\x00", 0, "not UTF-8"},
		"too deep":          {strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000), 0, "depth"},
		"object of objects": {`{"statuses": [{"a": 1}]}`, 1, ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "f.json")
			put(t, path, c.content)
			put(t, filepath.Join(dir, "good.json"), `{"a": 7}`)
			l := open(t, dir, filepath.Join(t.TempDir(), "state"), 0, nil)
			require.Len(t, next(t, l), c.rows+1, "the good file arrives whatever the other is")
			f := l.Files()[0]
			require.Equal(t, path, f.Path)
			require.EqualValues(t, c.rows, f.Rows)
			if c.fails == "" {
				require.Equal(t, Loaded, f.State)
			} else {
				require.Equal(t, Failed, f.State)
				require.Contains(t, f.Error, c.fails)
			}
		})
	}
}

func TestAFailedFileIsLoadedWhenItChangesAndALoadedOneIsNot(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f.json")
	put(t, path, `{"a": `)
	l := open(t, dir, filepath.Join(t.TempDir(), "state"), 0, nil)
	require.Empty(t, next(t, l))
	require.Nil(t, next(t, l), "content that fails is not tried again")
	put(t, path, `{"a": 12}`)
	require.Equal(t, []string{"a=12"}, next(t, l, "a"))
	require.EqualValues(t, 2, l.Files()[0].Tries)
	put(t, path, `{"a": 12345}`)
	require.Nil(t, next(t, l))
	require.Equal(t, Changed, l.Files()[0].State)

	over := open(t, dir, filepath.Join(t.TempDir(), "state"), 0, map[string]string{"cloudFiles.allowOverwrites": "true"})
	require.Equal(t, []string{"a=12345"}, next(t, over, "a"))
	put(t, path, `{"a": 6}`)
	require.Equal(t, []string{"a=6"}, next(t, over, "a"))
}

func TestWhatIsNotOursIsPassedOver(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	put(t, filepath.Join(outside, "secret.json"), `{"a": 1}`)
	for _, name := range []string{".hidden.json", "_started.json", "x.json.tmp", "y.part", "z~", "sub/deep.json"} {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(`{"a": 1}`), 0o644))
	}
	require.NoError(t, os.Mkdir(filepath.Join(dir, "dir.json"), 0o755))
	require.NoError(t, os.Symlink(filepath.Join(outside, "secret.json"), filepath.Join(dir, "link.json")))
	put(t, filepath.Join(dir, "in.json"), `{"a": 2}`)
	require.NoError(t, os.Symlink("in.json", filepath.Join(dir, "inside.json")))
	l := open(t, dir, filepath.Join(t.TempDir(), "state"), 0, nil)
	require.ElementsMatch(t, []string{"a=2", "a=2"}, next(t, l, "a"))
	at := slices.IndexFunc(l.Files(), func(f File) bool { return f.State == Failed })
	require.Contains(t, l.Files()[at].Error, "outside the watched directory")

	deep := open(t, dir, filepath.Join(t.TempDir(), "state"), 0, map[string]string{"recursiveFileLookup": "true", "pathGlobFilter": "d*.json"})
	require.Equal(t, []string{"a=1"}, next(t, deep, "a"))
	late := open(t, dir, filepath.Join(t.TempDir(), "state"), 0, map[string]string{"includeExistingFiles": "false"})
	require.Nil(t, next(t, late))
}

func TestAnUnknownOptionListsTheKnownOnes(t *testing.T) {
	_, err := ParseOptions(map[string]string{"maxFile": "1"})
	require.ErrorContains(t, err, `"maxFile"`)
	require.ErrorContains(t, err, "maxFilesPerTrigger, multiLine, nullValue, partitionColumns, pathGlobFilter")
	for _, m := range []map[string]string{{"format": "avro"}, {"maxFilesPerTrigger": "0"}, {"schemaHints": "a"}, {"schemaHints": "a BLOB"}, {"maxBytesPerTrigger": "x"}} {
		_, err := ParseOptions(m)
		require.Error(t, err, m)
	}
	o, err := ParseOptions(map[string]string{"CLOUDFILES.maxbytespertrigger": "10m"})
	require.NoError(t, err)
	require.EqualValues(t, 10<<20, o.MaxBytes)
}

func TestNotificationsAndPollingWakeWhoWaits(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "later")
	l := open(t, dir, filepath.Join(t.TempDir(), "state"), 0, nil)
	require.Nil(t, next(t, l))
	put(t, filepath.Join(dir, "a.json"), `{"a": 1}`)
	deadline := time.After(patience)
	for {
		select {
		case <-l.Changed():
		case <-deadline:
			t.Fatal("no signal")
		}
		if got := next(t, l, "a"); got != nil {
			require.Equal(t, []string{"a=1"}, got)
			return
		}
	}
}

func TestRandomWritersAgainstAModelOfWhatMustArrive(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	dir, state := t.TempDir(), filepath.Join(t.TempDir(), "state")
	var committed int64
	var want, got []string
	l := open(t, dir, state, 0, map[string]string{"maxFilesPerTrigger": "3"})
	for i := range 200 {
		switch r.IntN(4) {
		case 0, 1:
			content := ""
			for range 1 + r.IntN(4) {
				n := r.IntN(1000)
				content += fmt.Sprintf("{\"x\": %d}\n", n)
				want = append(want, fmt.Sprintf("x=%d", n))
			}
			put(t, filepath.Join(dir, fmt.Sprintf("%d.json", i)), content)
		case 2:
			b, err := l.Next(context.Background())
			require.NoError(t, err)
			if b == nil {
				continue
			}
			require.NoError(t, b.Record(context.Background()))
			if r.IntN(3) == 0 {
				continue // never committed: the same files come again
			}
			got = append(got, lines(t, b, []string{"x"})...)
			committed = b.Number()
			b.Committed()
		case 3:
			require.NoError(t, l.Close())
			l = open(t, dir, state, committed, map[string]string{"maxFilesPerTrigger": "3"})
		}
	}
	for {
		more := next(t, l, "x")
		if more == nil {
			break
		}
		got = append(got, more...)
	}
	slices.Sort(want)
	slices.Sort(got)
	require.Equal(t, want, got)
}

// TestNoPowerCutLosesACommittedEntry loses power before each operation on the state, in turn.
func TestNoPowerCutLosesACommittedEntry(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "a.json"), `{"a": 1}`)
	const state = "/table/_checkpoints/flow"
	record := func(f *errorfs.FS) error {
		l, err := Open(context.Background(), Config{Dir: dir, StateDir: state, FS: f, Options: options(t, nil)})
		require.NoError(t, err)
		defer l.Close()
		b, err := l.Next(context.Background())
		require.NoError(t, err)
		return b.Record(context.Background())
	}
	fresh := func() *errorfs.FS {
		f := errorfs.New()
		require.NoError(t, f.MkdirAll("/table"))
		require.NoError(t, f.SyncDir("/"))
		return f
	}
	whole := fresh()
	require.NoError(t, record(whole))
	for _, skip := range []bool{false, true} {
		violations := 0
		for at := 3; at <= whole.Ops()+1; at++ {
			f := fresh()
			f.CrashAt = at
			if skip {
				f.SkipSync = func(string, bool) bool { return true }
			}
			if record(f) != nil {
				continue // not acknowledged: the table does not commit
			}
			l := &ledger{fs: f.Crash(), dir: state + "/ledger"}
			if files, _, err := l.read(1); err != nil || len(files) != 1 {
				violations++
			}
		}
		require.Equal(t, skip, violations > 0, "without syncs something must be lost, with them nothing")
	}
}
