package delta

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/stretchr/testify/require"

	"smelt/tables/vfs"
	"smelt/tables/vfs/errorfs"
)

const tableDir = "/t"

// newLog returns a log in memory whose directory exists.
func newLog(t *testing.T) (*Log, *errorfs.FS) {
	t.Helper()
	f := errorfs.New()
	require.NoError(t, f.MkdirAll(tableDir))
	l := NewLog(f, tableDir)
	require.NoError(t, l.Create())
	return l, f
}

// put writes a file of the log directory as another program might.
func put(t *testing.T, f vfs.FS, name, content string) {
	t.Helper()
	file, err := f.Create(filepath.Join(tableDir, LogDir, name))
	require.NoError(t, err)
	_, err = file.Write([]byte(content))
	require.NoError(t, err)
	require.NoError(t, file.Close())
}

func replayAll(l *Log) (*State, error) {
	listing, err := l.List()
	if err != nil {
		return nil, err
	}
	r := NewReplay()
	for _, v := range listing.Versions {
		actions, err := l.Read(v)
		if err != nil {
			return nil, err
		}
		if _, err := r.Apply(v, actions); err != nil {
			return nil, err
		}
	}
	return r.State(), nil
}

// TestLogs runs the scripts in testdata: "log" writes each line group as a commit (a line "-- name" begins a file) and
// prints the state that replaying gives, or the error.
func TestLogs(t *testing.T) {
	datadriven.Walk(t, "testdata/logs", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			require.Equal(t, "log", d.Cmd)
			l, f := newLog(t)
			name, content := "", ""
			for _, line := range append(strings.Split(d.Input, "\n"), "-- ") {
				next, begins := strings.CutPrefix(line, "-- ")
				if !begins {
					content += line + "\n"
					continue
				}
				if name != "" {
					put(t, f, name, content)
				}
				name, content = next, ""
			}
			s, err := replayAll(l)
			if err != nil {
				return "error: " + err.Error() + "\n"
			}
			return describe(s)
		})
	})
}

func describe(s *State) string {
	var out strings.Builder
	fmt.Fprintf(&out, "version %d id %s born %d protocol %d/%d\n", s.Version, s.Metadata.ID, s.Born, s.Protocol.MinReaderVersion, s.Protocol.MinWriterVersion)
	fmt.Fprintf(&out, "rows %d bytes %d\n", s.Rows, s.Bytes)
	for _, f := range s.Files {
		fmt.Fprintf(&out, "file %s rows %d bytes %d since %d\n", f.Path, f.Rows, f.Size, f.Version)
	}
	apps := make([]string, 0, len(s.txns))
	for app, v := range s.txns {
		apps = append(apps, fmt.Sprintf("txn %s = %d\n", app, v.Version))
	}
	slices.Sort(apps)
	out.WriteString(strings.Join(apps, ""))
	return out.String()
}

var randomID = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)

// TestTheTextOfACommit is what other engines read.
func TestTheTextOfACommit(t *testing.T) {
	l, f := newLog(t)
	require.NoError(t, l.Commit(0, []Action{
		{CommitInfo: &CommitInfo{Timestamp: 1, Operation: "WRITE", OperationParameters: map[string]string{"mode": "<Append>"}, OperationMetrics: map[string]string{"n": "1"}, IsBlindAppend: true, EngineInfo: "smelt"}},
		{Protocol: &Protocol{MinReaderVersion: 1, MinWriterVersion: 2}},
		{Metadata: &Metadata{ID: "m", Format: Format{Provider: "parquet", Options: map[string]string{}}, SchemaString: `{"type":"struct","fields":[]}`, PartitionColumns: []string{}, Configuration: map[string]string{}, CreatedTime: 2}},
		{Txn: &Txn{AppID: "app", Version: 3, LastUpdated: 4}},
		{Remove: &Remove{Path: "old", DeletionTimestamp: 5, DataChange: true, ExtendedFileMetadata: true, PartitionValues: map[string]string{}, Size: 6}},
		{Add: &Add{Path: "new%20one", PartitionValues: map[string]string{}, Size: 7, ModificationTime: 8, DataChange: true, Stats: `{"numRecords":9}`}},
	}))
	text, err := f.ReadFile(tableDir + "/_delta_log/00000000000000000000.json")
	require.NoError(t, err)
	require.Equal(t, strings.Join([]string{
		`{"commitInfo":{"timestamp":1,"operation":"WRITE","operationParameters":{"mode":"<Append>"},"operationMetrics":{"n":"1"},"isBlindAppend":true,"engineInfo":"smelt","txnId":"ID"}}`,
		`{"protocol":{"minReaderVersion":1,"minWriterVersion":2}}`,
		`{"metaData":{"id":"m","format":{"provider":"parquet","options":{}},"schemaString":"{\"type\":\"struct\",\"fields\":[]}","partitionColumns":[],"configuration":{},"createdTime":2}}`,
		`{"txn":{"appId":"app","version":3,"lastUpdated":4}}`,
		`{"remove":{"path":"old","deletionTimestamp":5,"dataChange":true,"extendedFileMetadata":true,"partitionValues":{},"size":6}}`,
		`{"add":{"path":"new%20one","partitionValues":{},"size":7,"modificationTime":8,"dataChange":true,"stats":"{\"numRecords\":9}"}}`,
	}, "\n")+"\n", randomID.ReplaceAllString(string(text), "ID"))
}

func start(id string) []Action {
	return []Action{{Protocol: &Protocol{MinReaderVersion: 1, MinWriterVersion: 2}}, {Metadata: &Metadata{ID: id, SchemaString: "{}"}}}
}

func add(path string, rows int) Action {
	return Action{Add: &Add{Path: path, Size: int64(10 * rows), DataChange: true, Stats: fmt.Sprintf(`{"numRecords":%d}`, rows)}}
}

// TestStatesNeverChange replays random commits and compares each state, also long after, with one kept the slow way.
func TestStatesNeverChange(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	replay := NewReplay()
	_, err := replay.Apply(0, start("m"))
	require.NoError(t, err)
	type file struct {
		path string
		rows int
	}
	var live []file
	txns := map[string]Txn{}
	var states []*State
	var wanted []string
	for v := int64(1); v < 200; v++ {
		var actions []Action
		for range r.IntN(4) {
			if len(live) > 0 && r.IntN(3) == 0 {
				at := r.IntN(len(live))
				actions = append(actions, Action{Remove: &Remove{Path: live[at].path}})
				live = slices.Delete(live, at, at+1)
			}
		}
		for n := range r.IntN(3) {
			f := file{path: fmt.Sprintf("f%d-%d", v, n), rows: r.IntN(100)}
			if len(live) > 0 && r.IntN(10) == 0 { // what is known of a live file is replaced
				at := r.IntN(len(live))
				f.path = live[at].path
				live = slices.Delete(live, at, at+1)
			}
			live = append(live, f)
			actions = append(actions, add(f.path, f.rows))
		}
		if r.IntN(2) == 0 {
			app := fmt.Sprintf("app%d", r.IntN(3))
			txns[app] = Txn{AppID: app, Version: v}
			actions = append(actions, Action{Txn: &Txn{AppID: app, Version: v}})
		}
		_, err := replay.Apply(v, actions)
		require.NoError(t, err)
		if r.IntN(3) == 0 {
			continue // not every version is looked at
		}
		var want strings.Builder
		rows := 0
		for _, f := range live {
			rows += f.rows
			fmt.Fprintf(&want, " %s:%d", f.path, f.rows)
		}
		fmt.Fprintf(&want, " rows %d bytes %d txns %v", rows, 10*rows, txns)
		states, wanted = append(states, replay.State()), append(wanted, want.String())
	}
	for i, s := range states {
		var got strings.Builder
		for _, f := range s.Files {
			fmt.Fprintf(&got, " %s:%d", f.Path, f.Rows)
		}
		fmt.Fprintf(&got, " rows %d bytes %d txns %v", s.Rows, s.Bytes, s.txns)
		require.Equal(t, wanted[i], got.String(), "version %d", s.Version)
	}
}

func TestAFaultyCommitLeavesTheReplayWhereItWas(t *testing.T) {
	r := NewReplay()
	_, err := r.Apply(0, append(start("m"), add("a", 1)))
	require.NoError(t, err)
	before := describe(r.State())
	for _, actions := range [][]Action{
		{add("b", 2), {Protocol: &Protocol{MinReaderVersion: 3, MinWriterVersion: 7, ReaderFeatures: []string{"v2Checkpoint"}}}},
		{{Remove: &Remove{Path: "a"}}, {Add: &Add{Path: "b", Stats: "{"}}},
		{{Txn: &Txn{AppID: "x", Version: 1}}, {Metadata: &Metadata{ID: "m", SchemaString: "{}", Format: Format{Provider: "orc"}}}},
	} {
		_, err := r.Apply(1, actions)
		require.Error(t, err)
		require.Equal(t, before, describe(r.State()))
	}
	_, err = r.Apply(2, nil)
	require.ErrorIs(t, err, ErrCorrupt, "a version is missing")
}

func TestOneOfTwoWritersGetsAVersion(t *testing.T) {
	dir := t.TempDir()
	a, b := NewLog(vfs.OS(), dir), NewLog(vfs.OS(), dir)
	require.NoError(t, a.Create())
	require.NoError(t, a.Commit(0, start("m")))
	for v := int64(1); v <= 50; v++ {
		results := make(chan error, 2)
		for _, l := range []*Log{a, b} {
			go func() {
				results <- l.Commit(v, []Action{{CommitInfo: &CommitInfo{Operation: "WRITE"}}})
			}()
		}
		one, other := <-results, <-results
		if one != nil {
			one, other = other, one
		}
		require.NoError(t, one, "one of them must win")
		require.ErrorIs(t, other, ErrConflict, "and one must lose")
	}
	listing, err := a.List()
	require.NoError(t, err)
	require.Len(t, listing.Versions, 51)
	entries, err := os.ReadDir(filepath.Join(dir, LogDir))
	require.NoError(t, err)
	require.Len(t, entries, 51, "no temporary file stays")
}

func TestTheOutcomeOfAFailedLinkIsLookedUp(t *testing.T) {
	for _, late := range []bool{false, true} {
		whole, f := newLog(t)
		require.NoError(t, whole.Commit(0, start("m")))
		base := f.Ops()
		require.NoError(t, whole.Commit(1, []Action{{CommitInfo: &CommitInfo{Operation: "WRITE"}}}))
		for at := base + 1; at <= f.Ops(); at++ {
			l, g := newLog(t)
			require.NoError(t, l.Commit(0, start("m")))
			g.FailAt, g.FailLate, g.Err = at, late, syscall.EIO
			err := l.Commit(1, []Action{{CommitInfo: &CommitInfo{Operation: "WRITE"}}})
			_, readErr := l.Read(1)
			switch {
			case err == nil, errors.Is(err, ErrUncertain):
				require.NoError(t, readErr, "late %v, operation %d: %v", late, at, err)
			default:
				require.ErrorIs(t, readErr, fs.ErrNotExist, "late %v, operation %d: %v", late, at, err)
				require.ErrorIs(t, err, syscall.EIO)
			}
			require.NotErrorIs(t, err, ErrConflict)
		}
	}
}

func TestSweepLeavesWhatIsNotOurs(t *testing.T) {
	l, f := newLog(t)
	require.NoError(t, l.Commit(0, start("m")))
	for _, name := range []string{".00000000000000000001.json.x.tmp", "_last_checkpoint", ".00000000000000000000.json.crc", "notes.tmp"} {
		put(t, f, name, "x")
	}
	listing, err := l.List()
	require.NoError(t, err)
	require.NoError(t, l.Sweep(listing))
	entries, err := f.List(filepath.Join(tableDir, LogDir))
	require.NoError(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name)
	}
	require.Equal(t, []string{".00000000000000000000.json.crc", "00000000000000000000.json", "_last_checkpoint", "notes.tmp"}, names)
}

func TestWhatAWriterMustNotDo(t *testing.T) {
	m := Metadata{Configuration: map[string]string{"delta.appendOnly": "true"}}
	require.NoError(t, m.CheckWrite(true, false))
	require.ErrorContains(t, m.CheckWrite(false, true), "delta.appendOnly")
	m = Metadata{SchemaString: `{"fields":[{"metadata":{"delta.invariants":"{}"}}]}`}
	require.NoError(t, m.CheckWrite(false, true))
	require.ErrorContains(t, m.CheckWrite(true, false), "delta.invariants")
}

// FuzzCommit reads foreign bytes as a commit: an error or actions that can be applied or not, never a panic.
func FuzzCommit(f *testing.F) {
	f.Add(`{"add":{"path":"a","stats":"{\"numRecords\":1}"}}`)
	f.Add(`{"commitInfo":{"operationParameters":{"a":[1]},"operationMetrics":null}}`)
	f.Add("{\"txn\":{\"appId\":\"a\",\"version\":9}}\n{\"remove\":{\"path\":\"a\"}}\n")
	f.Add(`{"protocol":{"minReaderVersion":-1}}`)
	f.Fuzz(func(t *testing.T, text string) {
		l, fsys := newLog(t)
		put(t, fsys, "00000000000000000000.json", text)
		actions, err := l.Read(0)
		if err != nil {
			require.ErrorIs(t, err, ErrCorrupt)
			require.ErrorContains(t, err, "00000000000000000000.json")
			return
		}
		r := NewReplay()
		if _, err := r.Apply(0, append(start("m"), actions...)); err == nil {
			_, err := json.Marshal(r.State())
			require.NoError(t, err)
		}
	})
}
