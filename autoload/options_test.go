package autoload

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTheColumnsOfAFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.json")
	put(t, path, "{\"x\": 1}\n{\"x\": 2}")
	info, err := os.Stat(path)
	require.NoError(t, err)
	l := open(t, dir, filepath.Join(t.TempDir(), "state"), 0, nil)
	want := func(row int) string {
		return fmt.Sprintf("x=%d _metadata_file_path=%s _metadata_file_name=a.json _metadata_file_size=17 _metadata_file_modification_time=%d _metadata_row_index=%d",
			row+1, path, info.ModTime().UnixMicro(), row)
	}
	require.Equal(t, []string{want(0), want(1)}, next(t, l, "x", "_metadata_file_path", "_metadata_file_name", "_metadata_file_size",
		"_metadata_file_modification_time", "_metadata_row_index"))
}

func TestPartitionColumnsComeFromThePath(t *testing.T) {
	dir, state := t.TempDir(), filepath.Join(t.TempDir(), "state")
	m := map[string]string{"partitionColumns": "day, Hour,city", "schemaHints": "city STRING"}
	put(t, filepath.Join(dir, "day=2026-01-02", "hour=07", "city=007", "a.json"), `{"x": 1, "day": "from the file"}`)
	put(t, filepath.Join(dir, "day=2026-01-03", "hour="+nullPartition, "b.json"), `{"x": 2}`)
	put(t, filepath.Join(dir, "other=1", "c.json"), `{"x": 3}`)
	put(t, filepath.Join(dir, "plain", "d.json"), `{"x": 4}`)
	put(t, filepath.Join(dir, "e.json"), `{"x": 5}`)
	l := open(t, dir, state, 0, m)
	require.ElementsMatch(t, []string{
		"x=1 day=20455 Hour=7 city=007", // days since 1970
		"x=2 day=20456 Hour=NULL city=NULL",
		"x=5 day=NULL Hour=NULL city=NULL",
	}, next(t, l, "x", "day", "Hour", "city"))
	path := filepath.Join(dir, "day=soon", "city=S%C3%A3o%20Paulo", "f.json")
	put(t, path, `{"x": 6}{"x": 7, "Hour": "late"}`)
	again := open(t, dir, state, 1, m)
	rescued := fmt.Sprintf(`"_file_path":"%s"}`, path)
	require.ElementsMatch(t, []string{
		`x=6 day=NULL Hour=NULL city=São Paulo _rescued_data={"day":"soon",` + rescued,
		`x=7 day=NULL Hour=NULL city=São Paulo _rescued_data={"day":"soon","Hour":"late",` + rescued,
	}, next(t, again, "x", "day", "Hour", "city", "_rescued_data"))
	all := open(t, dir, filepath.Join(t.TempDir(), "state"), 0, map[string]string{"partitionColumns": "day", "recursiveFileLookup": "true", "inferColumnTypes": "false"})
	require.Contains(t, next(t, all, "x", "day"), "x=4 day=NULL")
	_, err := ParseOptions(map[string]string{"partitionColumns": "a,A"})
	require.ErrorContains(t, err, "named twice")
	_, err = ParseOptions(map[string]string{"partitionColumns": "source_file"})
	require.ErrorContains(t, err, "smelt's own")
}

func TestIgnoreMissingFiles(t *testing.T) {
	for _, ignore := range []string{"false", "true"} {
		dir := t.TempDir()
		path := filepath.Join(dir, "a.json")
		put(t, path, `{"x": 1}`)
		l := open(t, dir, filepath.Join(t.TempDir(), "state"), 0, map[string]string{"cloudFiles.ignoreMissingFiles": ignore})
		found := l.lister.list(nil)
		require.NoError(t, found.err)
		require.NoError(t, os.Remove(path))
		results, err := l.decode(context.Background(), found.files, false)
		require.NoError(t, err)
		b := l.newBatch(results, time.Now())
		if ignore == "true" {
			require.Nil(t, b)
			continue
		}
		require.Equal(t, Failed, b.files[0].State)
		require.Contains(t, b.files[0].Error, "vanished")
	}
}

func TestBackfillIntervalBoundsThePauseBetweenWholeLooks(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "a.json"), `{"x": 1}`)
	loaded := func(string) bool { return true }
	for interval, want := range map[string]int{"": 0, "1 day": 0, "interval 1 second": 1} {
		m := map[string]string{}
		if interval != "" {
			m["backfillInterval"] = interval
		}
		l := &lister{dir: dir, options: options(t, m), whole: time.Now().Add(-2 * time.Second), cost: time.Second}
		found := l.list(loaded)
		require.NoError(t, found.err)
		require.Len(t, found.files, want, interval)
	}
	for _, wrong := range []string{"", "1", "day", "-1 day", "1 fortnight", "0 days"} {
		_, err := ParseOptions(map[string]string{"backfillInterval": wrong})
		require.Error(t, err, wrong)
	}
}

// cleaner opens a loader that cleans at once; settled is what the other flows say.
func cleaner(t *testing.T, dir, state string, committed int64, m map[string]string, settled func(string) bool) *Loader {
	t.Helper()
	m["cleanSource.retentionDuration"] = "0 seconds"
	l, err := Open(context.Background(), Config{Dir: dir, StateDir: state, Committed: committed, Options: options(t, m), PollInterval: 10 * time.Millisecond,
		Settled: func() func(string, int64, time.Time) bool {
			return func(path string, _ int64, _ time.Time) bool { return settled(path) }
		}})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	return l
}

func always(string) bool { return true }

func TestCleanSourceTakesAwayWhatAllFlowsHaveAndNothingElse(t *testing.T) {
	for _, mode := range []string{"OFF", "delete", "MOVE"} {
		dir, state, to := t.TempDir(), filepath.Join(t.TempDir(), "state"), filepath.Join(t.TempDir(), "made", "later")
		m := map[string]string{"cloudFiles.cleanSource": mode, "recursiveFileLookup": "true"}
		if mode == "MOVE" {
			m["cleanSource.moveDestination"] = to
			put(t, filepath.Join(to, "good.json"), "of another day")
		}
		put(t, filepath.Join(dir, "good.json"), `{"x": 1}`)
		put(t, filepath.Join(dir, "sub", "slow.json"), `{"x": 2}`)
		put(t, filepath.Join(dir, "bad.json"), `{"x": `)
		slow := true
		l := cleaner(t, dir, state, 0, m, func(path string) bool { return filepath.Base(path) != "slow.json" || !slow })
		b, err := l.Next(context.Background())
		require.NoError(t, err)
		require.NoError(t, b.Record(context.Background()))
		uncommitted, err := l.Next(context.Background())
		require.NoError(t, err)
		require.Equal(t, b.Number(), uncommitted.Number())
		require.FileExists(t, filepath.Join(dir, "good.json"), "not before the commit")
		b.Committed()
		require.Nil(t, next(t, l))
		require.Equal(t, mode != "OFF", !exists(filepath.Join(dir, "good.json")), mode)
		require.FileExists(t, filepath.Join(dir, "bad.json"), "a failed file stays")
		require.FileExists(t, filepath.Join(dir, "sub", "slow.json"), "another flow lacks it")
		slow = false
		require.Nil(t, next(t, l))
		require.Equal(t, mode != "OFF", !exists(filepath.Join(dir, "sub", "slow.json")), mode)
		if mode == "MOVE" {
			require.FileExists(t, filepath.Join(to, "good.json.1"), "the name was taken")
			require.FileExists(t, filepath.Join(to, "sub", "slow.json"))
		}
		again := cleaner(t, dir, state, 1, m, always)
		require.Nil(t, next(t, again))
	}
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func TestCleanSourceWaitsForItsRetentionAndPassesOverWhatIsNotLoaded(t *testing.T) {
	dir, state := t.TempDir(), filepath.Join(t.TempDir(), "state")
	put(t, filepath.Join(dir, "before.json"), `{"x": 1}`)
	m := map[string]string{"cleanSource": "DELETE", "cleanSource.retentionDuration": "1 hour", "includeExistingFiles": "false"}
	l := open(t, dir, state, 0, m)
	put(t, filepath.Join(dir, "a.json"), `{"x": 2}`)
	require.Len(t, next(t, l), 1)
	require.Nil(t, next(t, l))
	require.FileExists(t, filepath.Join(dir, "a.json"), "not yet an hour")
	again := cleaner(t, dir, state, 1, m, always)
	put(t, filepath.Join(dir, "a.json"), `{"x": 2222}`)
	require.Nil(t, next(t, again))
	require.FileExists(t, filepath.Join(dir, "before.json"), "never loaded")
	require.FileExists(t, filepath.Join(dir, "a.json"), "changed since it was loaded")
	require.Equal(t, Changed, again.Files()[0].State)
}

func TestCleanSourceSurvivesACrashAtEachStep(t *testing.T) {
	for _, mode := range []string{"DELETE", "MOVE", "OFF"} {
		for _, step := range []string{"committed", "aside", "moved", "replaced", "both"} {
			dir, state, to := t.TempDir(), filepath.Join(t.TempDir(), "state"), t.TempDir()
			m := map[string]string{"cleanSource": mode}
			if mode == "MOVE" {
				m["cleanSource.moveDestination"] = to
			}
			path, aside, moved := filepath.Join(dir, "a.json"), filepath.Join(dir, ".a.json"+asideSuffix), filepath.Join(to, "a.json")
			put(t, path, `{"x": 1}`)
			l := cleaner(t, dir, state, 0, m, always)
			require.Equal(t, []string{"x=1"}, next(t, l, "x"))
			require.NoError(t, l.Close())
			var fresh []string // what must still be read
			switch step {
			case "aside":
				require.NoError(t, os.Rename(path, aside))
			case "moved": // the link at the destination is there, the hidden name too
				require.NoError(t, os.Link(path, moved))
				require.NoError(t, os.Rename(path, aside))
			case "replaced": // a writer came between the look and the renaming
				put(t, path, `{"x": 22}`)
				require.NoError(t, os.Rename(path, aside))
				m["allowOverwrites"], fresh = "true", []string{"x=22"}
			case "both": // and wrote again
				require.NoError(t, os.Rename(path, aside))
				put(t, path, `{"x": 333}`)
				m["allowOverwrites"], fresh = "true", []string{"x=333"}
			}
			again := cleaner(t, dir, state, 1, m, always)
			got := next(t, again, "x")
			if got == nil {
				got = next(t, again, "x") // what was put back is found by the next look
			}
			require.Equal(t, fresh, got, "%s %s", mode, step)
			require.Nil(t, next(t, again))
			require.False(t, exists(aside), "%s %s", mode, step)
			require.Equal(t, mode == "OFF", exists(path), "%s %s", mode, step)
			if mode == "MOVE" {
				require.True(t, exists(moved), step)
				require.Equal(t, step == "both", exists(moved+".1"), step)
			}
		}
	}
}

func TestCleanSourceThatFailsPutsTheFileBackAndPauses(t *testing.T) {
	dir, blocked := t.TempDir(), filepath.Join(t.TempDir(), "file")
	put(t, blocked, "in the way")
	m := map[string]string{"cleanSource": "MOVE", "cleanSource.moveDestination": filepath.Join(blocked, "below")}
	path := filepath.Join(dir, "a.json")
	put(t, path, `{"x": 1}`)
	l := cleaner(t, dir, filepath.Join(t.TempDir(), "state"), 0, m, always)
	require.Len(t, next(t, l), 1)
	require.Nil(t, next(t, l))
	require.FileExists(t, path)
	require.False(t, l.cleanAfter.IsZero())
}

func TestCopyToKeepsContentAndTime(t *testing.T) {
	from, to := filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b")
	put(t, from, "text")
	require.NoError(t, copyTo(from, to))
	require.True(t, sameContent(from, to))
	require.ErrorIs(t, copyTo(from, to), os.ErrExist)
}

func TestCleanSourceOptionsThatMakeNoSense(t *testing.T) {
	for _, m := range []map[string]string{
		{"cleanSource": "BURN"}, {"cleanSource": "MOVE"}, {"cleanSource.moveDestination": "/x"}, {"cleanSource": "DELETE", "cleanSource.moveDestination": "/x"},
		{"cleanSource.retentionDuration": "soon"},
	} {
		_, err := ParseOptions(m)
		require.Error(t, err, m)
	}
}
