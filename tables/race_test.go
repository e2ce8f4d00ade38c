package tables

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"smelt/tables/delta"
	"smelt/tables/parquet"
	"smelt/tables/vfs"
)

// The environment of a process that the tests below start: the table directory, and who it is among the racers.
const (
	raceDir = "SMELT_TEST_RACE_DIR"
	raceWho = "SMELT_TEST_RACE_WHO"
)

const (
	racers      = 3
	raceCommits = 100 // of each racer
)

var raceSchema = Schema{{Name: "n", Type: Type{Kind: Long}}}

// racer is this test binary as another process that commits into a table.
type racer struct {
	cmd   *exec.Cmd
	start io.Closer // the racer waits for it to be closed
}

func newRacer(t *testing.T, dir string, who int) racer {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestARacer$")
	cmd.Env = append(os.Environ(), raceDir+"="+dir, raceWho+"="+strconv.Itoa(who))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		if cmd.ProcessState == nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	})
	_, err = out.Read(make([]byte, 1)) // it is ready
	require.NoError(t, err)
	return racer{cmd: cmd, start: in}
}

// TestARacer is the other process of the tests below, and nothing in this one. It knows nothing of a store: it links
// commits, each with one data file of one row, as any writer of Delta does.
func TestARacer(t *testing.T) {
	dir := os.Getenv(raceDir)
	if dir == "" {
		return
	}
	who, err := strconv.Atoi(os.Getenv(raceWho))
	require.NoError(t, err)
	fmt.Println("ready")
	_, err = io.Copy(io.Discard, os.Stdin)
	require.NoError(t, err)
	log := delta.NewLog(vfs.OS(), dir)
	for n := range raceCommits {
		add := raceFile(t, dir, raceNumber(who, n))
		err := delta.ErrConflict
		for errors.Is(err, delta.ErrConflict) {
			listing, listErr := log.List()
			require.NoError(t, listErr)
			err = log.Commit(listing.Newest()+1, []delta.Action{{CommitInfo: &delta.CommitInfo{Operation: "WRITE", OperationParameters: map[string]string{}}}, {Add: &add}})
		}
		require.NoError(t, err)
	}
}

// raceNumber is the row of one commit of one racer.
func raceNumber(who, n int) int64 { return int64(1000*who + n) }

func raceBatch(n int64) *Batch {
	b := NewBatch(raceSchema, 1)
	b.Columns[0].AppendInt(n)
	b.Len = 1
	return b
}

// raceFile writes a data file of one row.
func raceFile(t *testing.T, dir string, n int64) delta.Add {
	t.Helper()
	name := fmt.Sprintf("part-foreign-%d.parquet", n)
	out, err := vfs.OS().Create(filepath.Join(dir, name))
	require.NoError(t, err)
	w, err := parquet.NewWriter(out, raceSchema, nil)
	require.NoError(t, err)
	require.NoError(t, w.Write(raceBatch(n)))
	_, stats, err := w.Close()
	require.NoError(t, err)
	size, err := out.Size()
	require.NoError(t, err)
	require.NoError(t, out.Close())
	return delta.Add{Path: name, PartitionValues: map[string]string{}, Size: size, DataChange: true, Stats: stats}
}

// raceTable makes an empty table that leaves its log and its files alone.
func raceTable(t *testing.T) (*Store, *Table) {
	t.Helper()
	s, err := Open(t.TempDir(), Options{})
	require.NoError(t, err)
	table, err := s.Create(context.Background(), "live", "t", Definition{Schema: raceSchema, Properties: map[string]string{"delta.autoOptimize.autoCompact": "false"}})
	require.NoError(t, err)
	return s, table
}

// raceOrder opens the directory again and returns the numbers of the table by commit, checking that each commit stands
// and adds one row.
func raceOrder(t *testing.T, dir string) []int64 {
	t.Helper()
	ctx := context.Background()
	table, err := openStore(t, dir).Table("live", "t")
	require.NoError(t, err)
	var order []int64
	for v := range table.Snapshot().Version() {
		c, err := table.Changes(ctx, v, 1)
		require.NoError(t, err)
		one, err := ReadAll(ctx, c, nil)
		require.NoError(t, err)
		require.Equal(t, 1, one.Len, "version %d", v+1)
		order = append(order, one.Columns[0].Ints[0])
	}
	all, err := ReadAll(ctx, table.Snapshot(), nil)
	require.NoError(t, err)
	require.ElementsMatch(t, order, all.Columns[0].Ints)
	entries, err := os.ReadDir(filepath.Join(table.Dir(), delta.LogDir))
	require.NoError(t, err)
	for _, e := range entries {
		require.NotEqual(t, ".tmp", filepath.Ext(e.Name()), "a temporary file stayed")
	}
	return order
}

// ofRacer returns the numbers of one racer in the order of the commits.
func ofRacer(order []int64, who int) []int64 {
	return slices.DeleteFunc(slices.Clone(order), func(n int64) bool { return n/1000 != int64(who) })
}

// inOrder are the numbers that one racer commits.
func inOrder(who int) []int64 {
	var out []int64
	for n := range raceCommits {
		out = append(out, raceNumber(who, n))
	}
	return out
}

func TestProcessesThatRaceForVersionsGetOneEach(t *testing.T) {
	s, table := raceTable(t)
	require.NoError(t, s.Close())
	var all []racer
	for who := range racers {
		all = append(all, newRacer(t, table.Dir(), who))
	}
	for _, r := range all {
		require.NoError(t, r.start.Close())
	}
	for _, r := range all {
		require.NoError(t, r.cmd.Wait())
	}
	order := raceOrder(t, s.dir)
	require.Len(t, order, racers*raceCommits)
	changes := 0
	for who := range racers {
		require.Equal(t, inOrder(who), ofRacer(order, who), "racer %d commits in its order", who)
	}
	for i := range order[1:] {
		if order[i]/1000 != order[i+1]/1000 {
			changes++
		}
	}
	t.Logf("%d times the next version went to another process", changes)
	require.GreaterOrEqual(t, changes, racers, "the processes ran at the same time")
}

func TestAStoreAppendsBehindAForeignWriter(t *testing.T) {
	ctx := context.Background()
	s, table := raceTable(t)
	const other, here = 0, 1
	foreign := newRacer(t, table.Dir(), other)
	require.NoError(t, foreign.start.Close())
	rebased, beaten := 0, 0
	for n := 0; n < raceCommits; {
		before := table.Snapshot().Version()
		v, err := table.Commit(ctx, Commit{Operation: "WRITE", Rows: rowsOf(t, raceBatch(raceNumber(here, n))), Txns: map[string]int64{"here": int64(n)}})
		if errors.Is(err, delta.ErrConflict) {
			beaten++ // as often as an append is tried again
			continue
		}
		require.NoError(t, err)
		require.Equal(t, v, table.Snapshot().Version())
		if v != before+1 {
			rebased++
		}
		n++
	}
	require.NoError(t, foreign.cmd.Wait())
	before := table.Snapshot().Version()
	v, err := table.Commit(ctx, Commit{Operation: "WRITE", Rows: rowsOf(t, raceBatch(raceNumber(here, raceCommits)))})
	require.NoError(t, err)
	require.EqualValues(t, 2*raceCommits+1, v)
	if v != before+1 {
		rebased++
	}
	t.Logf("%d of %d appends were rebased, %d had to be tried again", rebased, raceCommits+1, beaten)
	require.Positive(t, rebased)
	require.EqualValues(t, 2*raceCommits+1, table.Snapshot().Rows(), "the store has read what the other wrote")
	require.NoError(t, s.Close())
	order := raceOrder(t, s.dir)
	require.Equal(t, inOrder(other), ofRacer(order, other))
	require.Equal(t, append(inOrder(here), raceNumber(here, raceCommits)), ofRacer(order, here))
}
