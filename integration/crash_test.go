package integration

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"smelt/tables/vfs/killfs"
)

// lives is a pipeline of three tables whose rows can be counted, over a directory of small files, FILES to a batch, with
// many checkpoints. The log of silver, of which there is no stream, is cleaned up as soon as it may be.
const lives = `
CREATE OR REFRESH STREAMING TABLE bronze TBLPROPERTIES ('delta.checkpointInterval' = '5')
AS SELECT *, source_file FROM STREAM read_files('in', format => 'json', schemaHints => 'id BIGINT, word STRING', maxFilesPerTrigger => 'FILES');
CREATE OR REFRESH STREAMING TABLE silver TBLPROPERTIES ('delta.checkpointInterval' = '5', 'delta.logRetentionDuration' = 'interval 0 seconds')
AS SELECT id, word, id * 2 AS twice FROM STREAM(bronze) WHERE id % 5 <> 0;
CREATE OR REFRESH MATERIALIZED VIEW totals TBLPROPERTIES ('delta.checkpointInterval' = '5')
AS SELECT word, COUNT(*) AS n, SUM(twice) AS twice FROM silver GROUP BY word;
`

// mortal is a data directory whose server dies, and what was dropped for it to read.
type mortal struct {
	t           *testing.T
	watch, data string
	pipeline    string
	rows        int64 // dropped so far; their ids are 1, 2, 3 ...
	files       int
}

// newMortal makes one whose batches take some files each.
func newMortal(t *testing.T, filesPerBatch int) *mortal {
	t.Helper()
	m := &mortal{t: t, watch: t.TempDir(), data: t.TempDir(), pipeline: t.TempDir()}
	put(t, filepath.Join(m.pipeline, "p.sql"), strings.ReplaceAll(lives, "FILES", strconv.Itoa(filesPerBatch)))
	return m
}

// next makes up a file of one to three rows.
func (m *mortal) next() (path, content string) {
	var text strings.Builder
	for range 1 + m.files%3 {
		m.rows++
		fmt.Fprintf(&text, "{\"id\": %d, \"word\": \"w%d\"}\n", m.rows, m.rows%4)
	}
	m.files++
	return filepath.Join(m.watch, "in", fmt.Sprintf("%06d.json", m.files)), text.String()
}

// drop renames files into the watched directory.
func (m *mortal) drop(files int) {
	m.t.Helper()
	for range files {
		path, content := m.next()
		put(m.t, path, content)
	}
}

func (m *mortal) args() []string {
	return []string{"--data", m.data, "--watch", m.watch, "--pipeline", m.pipeline}
}

// launch starts a server that may die before it greets.
func (m *mortal) launch(env ...string) *exec.Cmd {
	m.t.Helper()
	cmd := exec.Command(binary, append([]string{"serve", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"}, m.args()...)...)
	cmd.Env = append(os.Environ(), env...)
	errs := &syncBuffer{}
	cmd.Stderr = errs
	require.NoError(m.t, cmd.Start())
	m.t.Cleanup(func() {
		if cmd.ProcessState == nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
		if m.t.Failed() && errs.String() != "" {
			m.t.Logf("a server that was to die said: %s", errs)
		}
	})
	return cmd
}

// dies waits for the end of a server that the environment was to kill.
func dies(t *testing.T, cmd *exec.Cmd, at string) {
	t.Helper()
	limit := time.AfterFunc(startTimeout, func() { _ = cmd.Process.Signal(syscall.SIGABRT) })
	defer limit.Stop()
	killed(t, cmd, at+" was never reached")
}

// killed waits for the end of a process and checks that it was SIGKILL.
func killed(t *testing.T, cmd *exec.Cmd, otherwise string) {
	t.Helper()
	_ = cmd.Wait()
	status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
	require.True(t, ok)
	require.True(t, status.Signaled() && status.Signal() == syscall.SIGKILL, "%s: %s", otherwise, cmd.ProcessState)
}

// settled waits until all three tables hold what they should.
func (m *mortal) settled(s *server) {
	m.t.Helper()
	refined := m.rows - m.rows/5
	s.eventually("SELECT COUNT(*) FROM bronze", m.rows)
	s.eventually("SELECT COUNT(*) FROM silver", refined)
	s.eventually("SELECT COALESCE(SUM(n), 0) FROM totals", refined)
}

// survives starts a server that nothing kills, and checks that each row arrived once, then what lies on the disk.
func (m *mortal) survives() {
	t := m.t
	t.Helper()
	s := start(t, nil, m.args()...)
	m.settled(s)
	sum := strconv.FormatInt(m.rows*(m.rows+1)/2, 10)
	all := strconv.FormatInt(m.rows, 10)
	require.Equal(t, [][]string{{"1", all, all, sum}}, s.rows("SELECT MIN(id), MAX(id), COUNT(DISTINCT id), SUM(id) FROM bronze"))
	require.Equal(t, s.rows("SELECT id, word, id * 2 FROM bronze WHERE id % 5 <> 0 ORDER BY id"), s.rows("SELECT id, word, twice FROM silver ORDER BY id"))
	require.Equal(t, s.rows("SELECT word, COUNT(*), SUM(twice) FROM silver GROUP BY word ORDER BY word"), s.rows("SELECT word, n, twice FROM totals ORDER BY word"))
	require.Equal(t, [][]string{{strconv.Itoa(m.files), all}}, s.rows("SELECT COUNT(*), SUM(`rows`) FROM smelt.files WHERE state = 'loaded'"), "the ledger knows each file")
	s.rows("VACUUM bronze RETAIN 0 HOURS")
	s.stop()
	for _, table := range []string{"bronze", "silver", "totals"} {
		live := wholeLog(t, filepath.Join(m.data, "live", table))
		files, err := filepath.Glob(filepath.Join(m.data, "live", table, "*.parquet"))
		require.NoError(t, err)
		if table == "bronze" {
			require.Len(t, files, live, "what crashes left is gone after VACUUM")
		}
	}
	require.NoError(t, filepath.WalkDir(m.data, func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(d.Name(), ".tmp") {
			err = fmt.Errorf("temporary file %s was left behind", path)
		}
		return err
	}))
}

var (
	commitFile     = regexp.MustCompile(`^(\d{20})\.json$`)
	checkpointFile = regexp.MustCompile(`^(\d{20})\.checkpoint\.parquet$`)
)

// wholeLog reads the log of a table as another program would: no version is missing, each line is one action, and each
// live file is there in the length that the log says. It returns how many the commits that are left speak of.
func wholeLog(t *testing.T, table string) (live int) {
	t.Helper()
	log := filepath.Join(table, "_delta_log")
	entries, err := os.ReadDir(log) // sorted by name
	require.NoError(t, err)
	var versions, checkpoints []int
	sizes := map[string]int64{}
	for _, e := range entries {
		if c := checkpointFile.FindStringSubmatch(e.Name()); c != nil {
			v, err := strconv.Atoi(c[1])
			require.NoError(t, err)
			checkpoints = append(checkpoints, v)
		}
		c := commitFile.FindStringSubmatch(e.Name())
		if c == nil {
			continue
		}
		v, err := strconv.Atoi(c[1])
		require.NoError(t, err)
		if n := len(versions); n > 0 {
			require.Equal(t, versions[n-1]+1, v, "a version of %s is missing", log)
		}
		versions = append(versions, v)
		text, err := os.ReadFile(filepath.Join(log, e.Name()))
		require.NoError(t, err)
		liveFiles(t, e.Name(), text, sizes)
	}
	require.NotEmpty(t, versions, log)
	if versions[0] > 0 {
		require.True(t, slices.ContainsFunc(checkpoints, func(c int) bool { return c >= versions[0]-1 }), "%s begins at %d without a checkpoint", log, versions[0])
	}
	for name, size := range sizes {
		info, err := os.Stat(filepath.Join(table, name))
		require.NoError(t, err)
		require.Equal(t, size, info.Size(), name)
	}
	return len(sizes)
}

// liveFiles takes one commit into the files that are live and their sizes.
func liveFiles(t *testing.T, name string, text []byte, sizes map[string]int64) {
	t.Helper()
	require.True(t, bytes.HasPrefix(text, []byte(`{"commitInfo":`)), name)
	require.True(t, bytes.HasSuffix(text, []byte("}\n")), name)
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var action struct {
			Add, Remove *struct {
				Path string
				Size int64
			}
		}
		require.NoError(t, json.Unmarshal(lines.Bytes(), &action), name)
		if action.Remove != nil {
			path, err := url.PathUnescape(action.Remove.Path)
			require.NoError(t, err)
			delete(sizes, path)
		}
		if action.Add != nil {
			path, err := url.PathUnescape(action.Add.Path)
			require.NoError(t, err)
			sizes[path] = action.Add.Size
		}
	}
	require.NoError(t, lines.Err())
}

// byBatches are the crash points that the batches of the pipeline meet on their own, and how often at least.
var byBatches = []struct {
	point string
	hits  int
}{
	{"ledger-tmp-written", 10}, {"ledger-renamed", 10}, {"ledger-durable", 10}, {"data-half-written", 10}, {"data-synced", 10},
	{"commit-half-written", 10}, {"commit-synced", 10}, {"commit-linked", 10}, {"commit-named", 10}, {"commit-acknowledged", 10},
	{"checkpoint-tmp-written", 3}, {"checkpoint-renamed", 3}, {"log-half-cleaned", 4},
}

// TestACrashAtEachPointLosesAndDoublesNothing kills the real program at each point: at its first time, in the middle of
// other work, and once more while what the first crash left is taken up again.
func TestACrashAtEachPointLosesAndDoublesNothing(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for _, p := range byBatches {
		for _, n := range []int{1, 2 + random.IntN(p.hits-1)} {
			at := fmt.Sprintf("%s:%d", p.point, n)
			t.Run(at, func(t *testing.T) {
				m := newMortal(t, 1)
				m.drop(12)
				dies(t, m.launch(killfs.Variable+"="+at), at)
				m.drop(8)
				dies(t, m.launch(killfs.Variable+"="+p.point), p.point+", again")
				m.drop(3)
				m.survives()
			})
		}
	}
}

// TestACrashInMaintenanceLosesAndDoublesNothing kills the program in statements that rearrange files.
func TestACrashInMaintenanceLosesAndDoublesNothing(t *testing.T) {
	for _, c := range []struct {
		at, statement string
		times         int // the second time on what the first crash left
	}{
		{"optimize-committed", "OPTIMIZE bronze", 2},
		{"vacuum-half-done:1", "VACUUM bronze RETAIN 0 HOURS", 2},
		{"vacuum-half-done:5", "VACUUM bronze RETAIN 0 HOURS", 1},
	} {
		t.Run(c.at, func(t *testing.T) {
			m := newMortal(t, 1)
			m.drop(8)
			s := start(t, nil, m.args()...)
			m.settled(s)
			s.rows("OPTIMIZE bronze") // so that there is something to remove
			m.drop(4)
			m.settled(s)
			s.stop()
			for range c.times {
				m.drop(2)
				s = start(t, []string{killfs.Variable + "=" + c.at}, m.args()...)
				m.settled(s)
				_, err := queryRows(s.db, c.statement)
				require.Error(t, err, "the server is gone")
				dies(t, s.cmd, c.at)
			}
			m.drop(3)
			m.survives()
		})
	}
}

// TestACrashInTheCompactionOfALedger needs as many batches as the entries that are written into one.
func TestACrashInTheCompactionOfALedger(t *testing.T) {
	m := newMortal(t, 1)
	m.drop(120)
	dies(t, m.launch(killfs.Variable+"=ledger-half-compacted:7"), "ledger-half-compacted")
	m.drop(120)
	dies(t, m.launch(killfs.Variable+"=ledger-half-compacted"), "ledger-half-compacted, again")
	m.drop(1)
	m.survives()
}

func TestAnUnknownCrashPointIsRefusedWithThoseThatAreKnown(t *testing.T) {
	t.Setenv(killfs.Variable, "lunch")
	data := filepath.Join(t.TempDir(), "data")
	_, errs, code := command(t, "serve", "--data", data, "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0")
	require.Equal(t, 1, code)
	require.Contains(t, errs, `"lunch"`)
	require.Contains(t, errs, strings.Join(killfs.Points(), ", "))
	require.NoDirExists(t, data)
}
