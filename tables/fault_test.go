package tables

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"smelt/tables/delta"
	"smelt/tables/vfs/errorfs"
)

const faultApp = "fault:script"

var (
	faultNarrow = Schema{{Name: "n", Type: Type{Kind: Integer}}}
	faultWide   = Schema{{Name: "n", Type: Type{Kind: Integer}}, {Name: "s", Type: Type{Kind: String}}}
	faultWider  = Schema{{Name: "n", Type: Type{Kind: Long}}, {Name: "s", Type: Type{Kind: String}}}
)

// faultTable writes a checkpoint every few commits and cleans the log up at once.
var faultTable = Definition{Schema: faultNarrow, Properties: map[string]string{"delta.checkpointInterval": "3", "delta.logRetentionDuration": "interval 0 seconds"}}

// faultStep is one thing that is done to a table, and the rows that the table holds after it.
type faultStep struct {
	name  string
	do    func(ctx context.Context, t *Table, c Commit) error // c has the step's progress
	after []string
}

func faultBatch(schema Schema, values ...int64) *Batch {
	b := NewBatch(schema, len(values))
	for _, v := range values {
		b.Columns[0].AppendInt(v)
		if len(schema) > 1 {
			b.Columns[1].AppendString(fmt.Sprint("s", v))
		}
		b.Len++
	}
	return b
}

// faultWrite is a commit of rows.
func faultWrite(rows *Batch, overwrite bool, define *Definition) func(context.Context, *Table, Commit) error {
	return func(ctx context.Context, t *Table, c Commit) (err error) {
		c.Overwrite, c.Define = overwrite, define
		if c.Rows, err = FromBatches(rows.Schema, rows).Scan(ctx, nil); err != nil {
			return err
		}
		_, err = t.Commit(ctx, c)
		return err
	}
}

// faultScript does everything that changes the files of a table.
func faultScript() []faultStep {
	redefined := func(schema Schema) *Definition { return &Definition{Schema: schema, Properties: faultTable.Properties} }
	return []faultStep{
		{"append", faultWrite(faultBatch(faultNarrow, 1, 2), false, nil), []string{"n=1", "n=2"}},
		{"append more", faultWrite(faultBatch(faultNarrow, 3), false, nil), []string{"n=1", "n=2", "n=3"}},
		{"optimize", func(ctx context.Context, t *Table, _ Commit) error {
			_, _, err := t.Optimize(ctx)
			return err
		}, []string{"n=1", "n=2", "n=3"}},
		{"evolve", faultWrite(faultBatch(faultWide, 4), false, redefined(faultWide)), []string{"n=1 s=null", "n=2 s=null", "n=3 s=null", `n=4 s="s4"`}},
		{"overwrite", faultWrite(faultBatch(faultWide, 5, 6), true, nil), []string{`n=5 s="s5"`, `n=6 s="s6"`}},
		{"update", func(ctx context.Context, t *Table, c Commit) error {
			_, err := t.Edit(ctx, faultBatch(faultWide, 6), faultBatch(faultWide, 7), c)
			return err
		}, []string{`n=5 s="s5"`, `n=7 s="s7"`}},
		{"widen", func(ctx context.Context, t *Table, c Commit) error {
			_, err := t.Redefine(ctx, *redefined(faultWider), c)
			return err
		}, []string{`n=5 s="s5"`, `n=7 s="s7"`}},
		{"vacuum", func(ctx context.Context, t *Table, _ Commit) error {
			_, err := t.Vacuum(ctx, 0, false)
			return err
		}, []string{`n=5 s="s5"`, `n=7 s="s7"`}},
		{"delete", func(ctx context.Context, t *Table, c Commit) error {
			_, err := t.Edit(ctx, faultBatch(faultWider, 5), nil, c)
			return err
		}, []string{`n=7 s="s7"`}},
		{"refill", func(ctx context.Context, t *Table, c Commit) error {
			fill := &Fill{Columns: []string{"n"}, Wanted: func(b *Batch) bool { return slices.Contains(b.Columns[0].Ints, 7) }, Rows: faultAs6, Operation: c.Operation}
			_, err := t.Refill(ctx, *redefined(faultWider), fill, c)
			return err
		}, []string{`n=6 s="s6"`}},
		{"merge", func(ctx context.Context, t *Table, c Commit) (err error) {
			rows := faultBatch(faultWider, 9, 10)
			if c.Rows, err = FromBatches(rows.Schema, rows).Scan(ctx, nil); err != nil {
				return err
			}
			_, err = t.Merge(ctx, faultBatch(faultWider[:1], 6, 9), c) // one key is replaced, one comes, one is gone
			return err
		}, []string{`n=10 s="s10"`, `n=9 s="s9"`}},
		{"append after all", faultWrite(faultBatch(faultWider, 8), false, nil), []string{`n=10 s="s10"`, `n=8 s="s8"`, `n=9 s="s9"`}},
	}
}

// faultAs6 makes 6 of each row.
func faultAs6(b *Batch) (*Batch, error) {
	return faultBatch(faultWider, slices.Repeat([]int64{6}, b.Len)...), nil
}

// faultRun does a script on a file system that fails, and checks the table after each failure.
type faultRun struct {
	f        *errorfs.FS
	store    *Store
	table    *Table
	failures int
	// acknowledged tells that the last step said of itself that it was done.
	acknowledged bool
	repair       func()          // called before a step is done again; nil for nothing
	looking      bool            // the test reads, not the table
	named        map[string]bool // data files that a commit named
	unnamed      []string        // data files that none did when the table was vacuumed
}

// run does the whole script. An error says what is wrong with the table, not that a step failed.
func (r *faultRun) run() error {
	ctx := context.Background()
	r.named = map[string]bool{}
	if err := r.again(func() (err error) {
		r.store, err = Open(powerDir, Options{FS: r.f})
		return err
	}, nil); err != nil {
		return fmt.Errorf("open: %w", err)
	}
	if err := r.again(func() (err error) {
		if r.failures > 1 {
			// If version 0 stands and could not be taken back, it is not forgotten: the next start finds it.
			if err := r.restart(); !errors.Is(err, ErrNotFound) {
				return err
			}
		}
		r.table, err = r.store.Create(ctx, "live", "t", faultTable)
		return err
	}, nil); err != nil {
		return fmt.Errorf("create: %w", err)
	}
	before := []string{}
	for i, step := range faultScript() {
		if step.name == "vacuum" {
			garbage, err := r.garbage()
			if err != nil {
				return err
			}
			r.unnamed = garbage
		}
		if err := r.step(ctx, i, step, before); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
		before = step.after
	}
	return nil
}

// step does one step, again after a failure that left it undone, and checks the table if there was one.
func (r *faultRun) step(ctx context.Context, i int, step faultStep, before []string) error {
	version, failures, uncertain := r.table.Snapshot().Version(), r.failures, false
	err := r.again(func() error {
		return step.do(ctx, r.table, Commit{Operation: strings.ToUpper(step.name), Txns: map[string]int64{faultApp: int64(i)}})
	}, func(failure error) (done bool, err error) {
		uncertain = uncertain || errors.Is(failure, delta.ErrUncertain)
		stands := r.table.Snapshot().Version() > version
		switch {
		case stands && !uncertain:
			return false, fmt.Errorf("the commit stands, and its error does not say that it may: %w", failure)
		case stands:
			return true, r.compare(step.after)
		case uncertain:
			return false, nil // it may stand where a log that cannot be synced is not read; the next try finds out
		default:
			return false, r.compare(before)
		}
	})
	if err == nil && r.failures > failures {
		err = r.compare(step.after)
	}
	r.acknowledged = !uncertain
	return errors.Join(err, r.note())
}

// restart opens the directory again, as the next process does.
func (r *faultRun) restart() error {
	if err := r.store.Close(); err != nil {
		return err
	}
	again, err := Open(powerDir, Options{FS: r.f})
	if err != nil {
		return err
	}
	r.store = again
	r.table, err = again.Table("live", "t")
	return err
}

// again does a deed until it succeeds; look is asked after each failure, also whether the deed was done all the same.
func (r *faultRun) again(deed func() error, look func(failure error) (done bool, err error)) error {
	const tries = 4
	var failure error
	for range tries {
		if failure = deed(); failure == nil {
			return nil
		}
		r.failures++
		if look != nil {
			if done, err := look(failure); done || err != nil {
				return err
			}
		}
		if r.repair != nil {
			r.repair()
		}
	}
	return fmt.Errorf("a fault that passed keeps failing: %w", failure)
}

// compare reads the table as this process and as a new one see it: both must hold these rows.
// While a fault lasts this one may not be able to learn of a version that it made itself.
func (r *faultRun) compare(want []string) error {
	r.looking = true
	defer func() { r.looking = false }()
	here, err := faultState(r.table)
	if err != nil {
		return err
	}
	there, err := stateOf(r.f.Clone())
	if err != nil {
		return fmt.Errorf("as another process: %w", err)
	}
	if lasting := r.repair != nil; here != there && !(lasting && rowsIn(here) == rowsIn(there)) {
		return fmt.Errorf("this process sees %s, another %s", here, there)
	}
	if rows := strings.Join(want, "; "); !strings.HasSuffix(here, ": "+rows) {
		return fmt.Errorf("the table is %s, its rows should be %s", here, rows)
	}
	return nil
}

// stateOf opens the table of a script and says what it holds.
func stateOf(f *errorfs.FS) (string, error) {
	s, err := Open(powerDir, Options{FS: f})
	if err != nil {
		return "", err
	}
	t, err := s.Table("live", "t")
	if err != nil {
		return "", err
	}
	return faultState(t)
}

func faultState(t *Table) (string, error) {
	s := t.Snapshot()
	all, err := ReadAll(context.Background(), s, nil)
	if err != nil {
		return "", err
	}
	rows := texts(all)
	slices.Sort(rows) // an edit moves them
	txn, _ := s.Txn(faultApp)
	return fmt.Sprintf("version %d, id %s, txn %d, %d rows: %s", s.Version(), s.ID(), txn, s.Rows(), strings.Join(rows, "; ")), nil
}

var dataFileName = regexp.MustCompile(`part-[^"/]*\.parquet`)

// note remembers which data files the commits name: the log is cleaned up.
func (r *faultRun) note() error {
	r.looking = true
	defer func() { r.looking = false }()
	log := filepath.Join(r.table.Dir(), delta.LogDir)
	commits, err := r.f.List(log)
	if err != nil {
		return err
	}
	for _, c := range commits {
		if filepath.Ext(c.Name) != ".json" {
			continue
		}
		text, err := r.f.ReadFile(filepath.Join(log, c.Name))
		if err != nil {
			return err
		}
		for _, name := range dataFileName.FindAllString(string(text), -1) {
			r.named[name] = true
		}
	}
	return nil
}

// garbage lists the files of the table that no commit named.
func (r *faultRun) garbage() (names []string, err error) {
	r.looking = true
	defer func() { r.looking = false }()
	entries, err := r.f.List(r.table.Dir())
	for _, e := range entries {
		if !e.Dir && !r.named[e.Name] {
			names = append(names, e.Name)
		}
	}
	return names, err
}

// temporaries lists what a start should have swept.
func (r *faultRun) temporaries() (names []string, err error) {
	if err := r.restart(); err != nil {
		return nil, err
	}
	entries, err := r.f.List(filepath.Join(r.table.Dir(), delta.LogDir))
	for _, e := range entries {
		if delta.IsTemporary(e.Name) {
			names = append(names, e.Name)
		}
	}
	return names, err
}

// clean checks what is left after a script: nothing, but for what could not be helped.
func (r *faultRun) clean(t *testing.T, excused bool, name string) {
	t.Helper()
	garbage, err := r.garbage()
	require.NoError(t, err)
	if !excused {
		require.Empty(t, append(garbage, r.unnamed...), name)
	}
	left, err := r.temporaries()
	require.NoError(t, err, name)
	require.Empty(t, left, name)
}

// whole does the script without a fault. It returns the state at its end and the operations that it took.
func (r *faultRun) whole(t *testing.T) (state string, trace []string) {
	t.Helper()
	require.NoError(t, r.run())
	require.Zero(t, r.failures)
	trace = r.f.Trace()
	r.clean(t, false, "no fault")
	state, err := faultState(r.table)
	require.NoError(t, err)
	return state, trace
}

func TestAFaultAtAnyOperationFailsOneStepAndNoMore(t *testing.T) {
	state, trace := (&faultRun{f: errorfs.New()}).whole(t)
	want := rowsIn(state)
	stride := 1
	if testing.Short() {
		stride = 5
	}
	for _, fault := range []struct {
		err  error
		late bool
	}{{syscall.ENOSPC, false}, {syscall.EIO, true}} {
		failed := 0
		for at := 1; at <= len(trace); at += stride {
			name := fmt.Sprintf("%v at operation %d (%s), late %v", fault.err, at, randomParts.ReplaceAllString(trace[at-1], "ID"), fault.late)
			r := &faultRun{f: errorfs.New()}
			r.f.FailAt, r.f.Err, r.f.FailLate = at, fault.err, fault.late
			require.NoError(t, r.run(), name)
			failed += r.failures
			after, err := stateOf(r.f.Crash())
			require.NoError(t, err, "%s: then the power goes", name)
			if r.acknowledged {
				require.Equal(t, want, rowsIn(after), "%s: then the power goes", name)
			}
			// A file that was made although that failed is nobody's: its name is random, and VACUUM finds it.
			r.clean(t, fault.late && strings.HasPrefix(r.f.Trace()[at-1], "create "), name)
		}
		t.Logf("%v, late %v: %d faults failed %d steps", fault.err, fault.late, len(trace)/stride, failed)
		require.Greater(t, failed, len(trace)/stride/3)
	}
}

func rowsIn(state string) string {
	_, rows, _ := strings.Cut(state, ": ")
	return rows
}

// TestADiskThatStaysFullFailsAllCommitsUntilItHasRoom has one operation after another be the first that finds no room, or
// a disk that was remounted read-only.
func TestADiskThatStaysFullFailsAllCommitsUntilItHasRoom(t *testing.T) {
	_, trace := (&faultRun{f: errorfs.New()}).whole(t)
	const stride = 3 // enough for so slow a test, as each run begins elsewhere
	start := 1 + seeded(t).IntN(stride)
	for _, fault := range []error{syscall.ENOSPC, syscall.EROFS} {
		for at := start; at <= len(trace); at += stride {
			name := fmt.Sprintf("%v from operation %d", fault, at)
			r := &faultRun{f: errorfs.New()}
			ops, broken := 0, true
			r.f.FailIf = func(op, _ string) error {
				needsRoom := op == "create" || op == "write" || op == "link" || op == "rename" || op == "mkdirall"
				if ops++; broken && ops >= at && (needsRoom || fault == syscall.EROFS) {
					return fault
				}
				return nil
			}
			r.repair = func() { broken = r.failures < 3 }
			require.NoError(t, r.run(), name)
			broken = false
			r.clean(t, fault == syscall.EROFS, name) // nothing can be removed from a disk that is read-only
		}
	}
}

func TestAReadThatFailsIsAnErrorThatNamesTheFile(t *testing.T) {
	whole := &faultRun{f: errorfs.New()}
	want, _ := whole.whole(t)
	for _, fault := range []error{syscall.EIO, fs.ErrPermission} {
		failed := 0
		for at := 1; ; at++ {
			f := whole.f.Clone()
			reads, broken := 0, ""
			f.FailRead = func(path string) error {
				if reads++; reads == at {
					broken = path
					return fault
				}
				return nil
			}
			got, err := stateOf(f)
			if broken == "" {
				require.NoError(t, err)
				break
			}
			if err != nil {
				require.ErrorIs(t, err, fault)
				require.ErrorContains(t, err, broken)
				failed++
				continue
			}
			require.Equal(t, want, got, "read %d, of %s", at, broken)
		}
		t.Logf("%d reads failed", failed)
		require.GreaterOrEqual(t, failed, 10)
	}
}

// TestAReadThatFailsDuringAScriptFailsOneStep has the reads fail that commits make.
func TestAReadThatFailsDuringAScriptFailsOneStep(t *testing.T) {
	for at := 1; ; at++ {
		reads := 0
		r := &faultRun{f: errorfs.New()}
		r.f.FailRead = func(string) error {
			if r.looking {
				return nil
			}
			if reads++; reads == at {
				return syscall.EIO
			}
			return nil
		}
		require.NoError(t, r.run(), "read %d", at)
		if reads < at {
			return
		}
	}
}
