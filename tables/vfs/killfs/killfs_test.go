package killfs

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"smelt/tables/vfs"
	"smelt/tables/vfs/errorfs"
)

// died is what a process that is to die panics with instead.
var died = errors.New("dead")

// reach does the operations of a small life of a table and returns what was done until death, whether it came.
func reach(t *testing.T, at string) (trace []string, dead bool) {
	t.Helper()
	under := errorfs.New()
	f, err := New(under, at)
	require.NoError(t, err)
	f.die = func() { panic(died) }
	for _, dir := range []string{"/t/_delta_log", "/t/_checkpoints/bronze/ledger"} {
		require.NoError(t, under.MkdirAll(dir))
	}
	begun := len(under.Trace())
	defer func() {
		trace = under.Trace()[begun:]
		if r := recover(); r != nil {
			require.Equal(t, any(died), r)
			dead = true
		}
	}()
	for n, operation := range []string{"WRITE", "OPTIMIZE", "QUARANTINE", "MARK QUARANTINE", "REPLAY QUARANTINE", "TIDY QUARANTINE"} {
		live(t, f, n, operation)
	}
	for _, name := range []string{"part-0.parquet", "_checkpoints/bronze/ledger/00000000000000000000.json", "_delta_log/00000000000000000000.json"} {
		require.NoError(t, f.Remove("/t/"+name))
	}
	require.NoError(t, under.MkdirAll("/_models/files"))
	require.NoError(t, vfs.WriteFile(f, "/_models/files/"+sum, []byte("weights.")))
	require.NoError(t, vfs.WriteFile(f, "/_models/registry.json", []byte("{}")))
	return nil, false
}

// sum stands for the SHA-256 of a file of a model.
var sum = strings.Repeat("0a", 32)

// live commits once, with a data file, a ledger entry and a checkpoint.
func live(t *testing.T, f vfs.FS, n int, operation string) {
	t.Helper()
	put := func(path, content string) {
		file, err := f.Create(path)
		require.NoError(t, err)
		_, err = file.Write([]byte(content))
		require.NoError(t, err)
		require.NoError(t, file.Sync())
		require.NoError(t, file.Close())
	}
	put(fmt.Sprintf("/t/part-%d.parquet", n), "PAR1PAR1")
	require.NoError(t, f.SyncDir("/t"))
	require.NoError(t, vfs.WriteFile(f, fmt.Sprintf("/t/_checkpoints/bronze/ledger/%020d.json", n), []byte("{}")))
	final := fmt.Sprintf("/t/_delta_log/%020d.json", n)
	tmp := fmt.Sprintf("/t/_delta_log/.%020d.json.id.tmp", n)
	put(tmp, `{"commitInfo":{"operation":"`+operation+`"}}`)
	require.NoError(t, f.Link(tmp, final))
	require.NoError(t, f.Remove(tmp))
	require.NoError(t, f.SyncDir("/t/_delta_log"))
	checkpoint := fmt.Sprintf("/t/_delta_log/%020d.checkpoint.parquet", n)
	put(fmt.Sprintf("/t/_delta_log/.%020d.checkpoint.parquet.tmp", n), "PAR1")
	require.NoError(t, f.Rename(fmt.Sprintf("/t/_delta_log/.%020d.checkpoint.parquet.tmp", n), checkpoint))
	require.NoError(t, vfs.WriteFile(f, "/t/_delta_log/_last_checkpoint", []byte("{}")))
}

func TestEachPointStandsWhereItsNameSays(t *testing.T) {
	whole, dead := reach(t, "commit-linked:99")
	require.False(t, dead)
	log, ledger := "/t/_delta_log", "/t/_checkpoints/bronze/ledger"
	zero, one := "00000000000000000000", "00000000000000000001"
	last := map[string]string{ // the last operation that was done
		"ledger-tmp-written":     "sync " + ledger + "/." + zero + ".json.tmp",
		"ledger-renamed":         "rename " + ledger + "/." + zero + ".json.tmp -> " + ledger + "/" + zero + ".json",
		"ledger-durable":         "syncdir " + ledger,
		"data-half-written":      "write /t/part-0.parquet",
		"data-synced":            "sync /t/part-0.parquet",
		"commit-half-written":    "write " + log + "/." + zero + ".json.id.tmp",
		"commit-synced":          "sync " + log + "/." + zero + ".json.id.tmp",
		"commit-linked":          "link " + log + "/." + zero + ".json.id.tmp -> " + log + "/" + zero + ".json",
		"commit-named":           "remove " + log + "/." + zero + ".json.id.tmp",
		"commit-acknowledged":    "syncdir " + log,
		"checkpoint-tmp-written": "sync " + log + "/." + zero + ".checkpoint.parquet.tmp",
		"checkpoint-renamed":     "rename " + log + "/." + zero + ".checkpoint.parquet.tmp -> " + log + "/" + zero + ".checkpoint.parquet",
		"optimize-committed":     "syncdir " + log,
		"vacuum-half-done":       "remove /t/part-0.parquet",
		"ledger-half-compacted":  "remove " + ledger + "/" + zero + ".json",
		"log-half-cleaned":       "remove " + log + "/" + zero + ".json",
		"model-half-written":     "write /_models/files/." + sum + ".tmp",
		"model-renamed":          "rename /_models/files/." + sum + ".tmp -> /_models/files/" + sum,
		"registry-half-written":  "write /_models/.registry.json.tmp",
		"registry-renamed":       "rename /_models/.registry.json.tmp -> /_models/registry.json",
		"quarantine-filled":      "syncdir " + log,
		"quarantine-marked":      "syncdir " + log,
		"quarantine-replayed":    "syncdir " + log,
		"quarantine-tidied":      "syncdir " + log,
	}
	require.Len(t, Points(), 24)
	for _, name := range Points() {
		trace, dead := reach(t, name)
		require.True(t, dead, name)
		require.Equal(t, last[name], trace[len(trace)-1], name)
		require.Equal(t, whole[:len(trace)], trace, "%s: nothing else is done or left out", name)
	}
	trace, dead := reach(t, "optimize-committed")
	require.True(t, dead)
	require.Contains(t, strings.Join(trace, "\n"), one+".json", "the first commit is no OPTIMIZE")
	trace, dead = reach(t, "commit-linked:2")
	require.True(t, dead)
	require.Contains(t, trace[len(trace)-1], one+".json")
}

func TestATornWriteIsHalfOfIt(t *testing.T) {
	f, err := New(vfs.OS(), "data-half-written:2")
	require.NoError(t, err)
	f.die = func() { panic(died) }
	path := filepath.Join(t.TempDir(), "part-0.parquet")
	file, err := f.Create(path)
	require.NoError(t, err)
	_, err = file.Write([]byte("abcd"))
	require.NoError(t, err)
	require.PanicsWithValue(t, died, func() { _, _ = file.Write([]byte("efgh")) })
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "abcdef", string(text))
}

func TestUnknownPointsAreRefused(t *testing.T) {
	_, err := New(vfs.OS(), "lunch")
	require.ErrorContains(t, err, "lunch")
	for _, name := range Points() {
		require.ErrorContains(t, err, name)
	}
	for _, at := range []string{"commit-linked:0", "commit-linked:x", "commit-linked:"} {
		_, err := New(vfs.OS(), at)
		require.ErrorContains(t, err, "no count", at)
	}
}

// TestTheProcessIsKilled runs this test in a process of its own, which dies in it.
func TestTheProcessIsKilled(t *testing.T) {
	if path := os.Getenv("KILLFS_TEST"); path != "" {
		f, err := New(vfs.OS(), "vacuum-half-done")
		require.NoError(t, err)
		defer os.Exit(0) // must not run
		require.NoError(t, f.Remove(path))
		return
	}
	path := filepath.Join(t.TempDir(), "part-0.parquet")
	require.NoError(t, os.WriteFile(path, nil, 0o644))
	child := exec.Command(os.Args[0], "-test.run=^TestTheProcessIsKilled$")
	child.Env = append(os.Environ(), "KILLFS_TEST="+path)
	require.Error(t, child.Run())
	status, ok := child.ProcessState.Sys().(syscall.WaitStatus)
	require.True(t, ok)
	require.Equal(t, syscall.SIGKILL, status.Signal())
	require.NoFileExists(t, path)
}
