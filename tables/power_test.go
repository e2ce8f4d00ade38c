package tables

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"smelt/tables/vfs"
	"smelt/tables/vfs/errorfs"
)

const (
	powerCommits = 5
	powerDir     = "/data"
	powerApp     = "flow:files"
)

var powerSchema = Schema{{Name: "n", Type: Type{Kind: Long}}}

func ledgerPath(t *Table, batch int64) string {
	return t.StateDir("flow") + "/ledger-" + strconv.FormatInt(batch, 10) + ".json"
}

// commitNumber appends the row n with its ledger entry, as a flow from files does.
func commitNumber(t *Table, n int64) error {
	b := NewBatch(powerSchema, 1)
	b.Columns[0].AppendInt(n)
	b.Len = 1
	rows, err := FromBatches(powerSchema, b).Scan(context.Background(), nil)
	if err != nil {
		return err
	}
	_, err = t.Commit(context.Background(), Commit{Operation: "STREAMING UPDATE", Rows: rows, Txns: map[string]int64{powerApp: n}, Prepare: func(context.Context) error {
		if err := t.store.fs.MkdirAll(t.StateDir("flow")); err != nil {
			return err
		}
		// The names of the state's directories are made durable once, with the first entry.
		for _, dir := range []string{t.Dir(), t.Dir() + "/_checkpoints"} {
			if n == 1 {
				if err := t.store.fs.SyncDir(dir); err != nil {
					return err
				}
			}
		}
		return vfs.WriteFile(t.store.fs, ledgerPath(t, n), []byte("entry "+strconv.FormatInt(n, 10)))
	}})
	return err
}

// work commits until it is done or the power goes; it returns how many commits were acknowledged.
func work(f *errorfs.FS) (acknowledged int64, created bool) {
	s, err := Open(powerDir, Options{FS: f})
	if err != nil {
		return 0, false
	}
	t, err := s.Create(context.Background(), "live", "t", Definition{Schema: powerSchema})
	if err != nil {
		return 0, false
	}
	for n := int64(1); n <= powerCommits; n++ {
		if commitNumber(t, n) != nil {
			return n - 1, true
		}
	}
	return powerCommits, true
}

// verify opens what a crash left and compares it with what was acknowledged.
func verify(f *errorfs.FS, acknowledged int64, created bool) error {
	s, err := Open(powerDir, Options{FS: f})
	if err != nil {
		return fmt.Errorf("open after the crash: %w", err)
	}
	t, err := s.Table("live", "t")
	if errors.Is(err, ErrNotFound) && !created {
		return nil
	}
	if err != nil {
		return err
	}
	last, _ := t.Snapshot().Txn(powerApp)
	if last < acknowledged {
		return fmt.Errorf("%d commits were acknowledged, %d are there", acknowledged, last)
	}
	all, err := ReadAll(context.Background(), t.Snapshot(), nil)
	if err != nil {
		return err
	}
	if int64(all.Len) != last {
		return fmt.Errorf("%d rows for %d commits", all.Len, last)
	}
	for i := range all.Len {
		if all.Columns[0].Ints[i] != int64(i+1) {
			return fmt.Errorf("row %d holds %d", i, all.Columns[0].Ints[i])
		}
	}
	for n := int64(1); n <= last; n++ {
		text, err := f.ReadFile(ledgerPath(t, n))
		if err != nil || string(text) != "entry "+strconv.FormatInt(n, 10) {
			return fmt.Errorf("ledger entry %d of %d: %q %w", n, last, text, errors.Join(err, errLedger))
		}
	}
	// The table goes on from there.
	return commitNumber(t, last+1)
}

var errLedger = errors.New("not whole")

// everyCrash loses power before each operation in turn and returns how many of them break the table.
func everyCrash(t *testing.T, skip func(path string, dir bool) bool) (points int, violations []string) {
	t.Helper()
	whole := errorfs.New()
	acknowledged, _ := work(whole)
	require.EqualValues(t, powerCommits, acknowledged)
	for at := 1; at <= whole.Ops()+1; at++ {
		f := errorfs.New()
		f.CrashAt, f.SkipSync = at, skip
		acknowledged, created := work(f)
		points++
		if err := verify(f.Crash(), acknowledged, created); err != nil {
			violations = append(violations, fmt.Sprintf("crash %d: %v", at, err))
		}
	}
	return points, violations
}

func TestNoPowerCutBreaksATable(t *testing.T) {
	points, violations := everyCrash(t, nil)
	require.Greater(t, points, 60)
	require.Empty(t, violations)
}

// TestEachSyncIsNeeded is the negative control: without any one of them some power cut must break the table.
func TestEachSyncIsNeeded(t *testing.T) {
	for name, skip := range map[string]func(path string, dir bool) bool{
		"data file":        func(p string, dir bool) bool { return !dir && strings.HasSuffix(p, ".parquet") },
		"table directory":  func(p string, dir bool) bool { return dir && p == powerDir+"/live/t" },
		"commit file":      func(p string, dir bool) bool { return !dir && strings.Contains(p, "_delta_log") },
		"log directory":    func(p string, dir bool) bool { return dir && strings.HasSuffix(p, "_delta_log") },
		"ledger entry":     func(p string, dir bool) bool { return !dir && strings.Contains(p, "ledger") },
		"ledger directory": func(p string, dir bool) bool { return dir && strings.HasSuffix(p, "/flow") },
		"database":         func(p string, dir bool) bool { return dir && p == powerDir },
		"table's own name": func(p string, dir bool) bool { return dir && p == powerDir+"/live" },
	} {
		t.Run(name, func(t *testing.T) {
			points, violations := everyCrash(t, skip)
			t.Logf("%d of %d crash points", len(violations), points)
			require.NotEmpty(t, violations)
		})
	}
}

func TestAFullDiskOrABadOneFailsOneCommitAndNoMore(t *testing.T) {
	whole := errorfs.New()
	acknowledged, _ := work(whole)
	require.EqualValues(t, powerCommits, acknowledged)
	for _, broken := range []error{syscall.ENOSPC, syscall.EIO} {
		for at := 1; at <= whole.Ops(); at++ {
			f := errorfs.New()
			f.FailAt, f.Err = at, broken
			acknowledged, created := work(f)
			if created && acknowledged < powerCommits {
				require.NoError(t, verify(f.Crash(), acknowledged, created), "%v at operation %d", broken, at)
			}
		}
	}
}

var randomParts = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f-]{27}`)

// TestTheOrderOfFileOperationsOfACommit is the golden order: what must be durable comes before what refers to it.
func TestTheOrderOfFileOperationsOfACommit(t *testing.T) {
	f := errorfs.New()
	s, err := Open(powerDir, Options{FS: f})
	require.NoError(t, err)
	table, err := s.Create(context.Background(), "live", "t", Definition{Schema: powerSchema})
	require.NoError(t, err)
	require.NoError(t, commitNumber(table, 1))
	before := len(f.Trace())
	require.NoError(t, commitNumber(table, 2))
	var got []string
	for _, line := range f.Trace()[before:] {
		line = strings.ReplaceAll(randomParts.ReplaceAllString(line, "ID"), powerDir+"/live/t", ".")
		if len(got) == 0 || got[len(got)-1] != line { // a file is written in as many pieces as it takes
			got = append(got, line)
		}
	}
	require.Equal(t, []string{
		"create ./part-00000-ID-c000.zstd.parquet",
		"write ./part-00000-ID-c000.zstd.parquet",
		"sync ./part-00000-ID-c000.zstd.parquet",
		"syncdir .",
		"mkdirall ./_checkpoints/flow",
		"remove ./_checkpoints/flow/.ledger-2.json.tmp",
		"create ./_checkpoints/flow/.ledger-2.json.tmp",
		"write ./_checkpoints/flow/.ledger-2.json.tmp",
		"sync ./_checkpoints/flow/.ledger-2.json.tmp",
		"rename ./_checkpoints/flow/.ledger-2.json.tmp -> ./_checkpoints/flow/ledger-2.json",
		"syncdir ./_checkpoints/flow",
		"create ./_delta_log/.00000000000000000002.json.ID.tmp",
		"write ./_delta_log/.00000000000000000002.json.ID.tmp",
		"sync ./_delta_log/.00000000000000000002.json.ID.tmp",
		"link ./_delta_log/.00000000000000000002.json.ID.tmp -> ./_delta_log/00000000000000000002.json",
		"remove ./_delta_log/.00000000000000000002.json.ID.tmp",
		"syncdir ./_delta_log",
	}, got)
}
