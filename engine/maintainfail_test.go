package engine

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"smelt/queries"
	"smelt/tables"
	"smelt/tables/vfs/errorfs"
)

var errArmed = errors.New("this fails on purpose")

// failing is the law over a disk in memory that fails, loses power, and below queries that fail.
type failing struct {
	*law
	fs   *errorfs.FS
	kind string // of what fails

	mu     sync.Mutex
	left   int // how many more operations succeed; 0 for all
	burst  int // how many fail then
	failed bool
}

// boot opens the data as a new process does, of which the last one may have been killed.
func (l *failing) boot(t *testing.T) {
	t.Helper()
	store, err := tables.Open("/data", tables.Options{FS: l.fs})
	require.NoError(t, err)
	l.testSQL, l.graph = startGraphOver(t, store, l.between)
}

// fails counts an operation, and reports whether it is one of those that fail.
func (l *failing) fails() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.left > 1:
		l.left--
	case l.left == 1 && l.burst > 0:
		l.burst--
		l.failed = true
		return true
	}
	return false
}

// between breaks the queries that are armed, at once or behind their first rows.
func (l *failing) between(r queries.Result, err error) (queries.Result, error) {
	switch {
	case err != nil || l.kind != "query" && l.kind != "rows" || !l.fails():
		return r, err
	case l.kind == "rows":
		return &broken{Result: r}, nil
	default:
		return nil, errors.Join(errArmed, r.Close())
	}
}

// broken is a result that fails behind its first rows.
type broken struct {
	queries.Result
	read bool
}

// Next implements tables.Reader.
func (b *broken) Next(ctx context.Context) (*tables.Batch, error) {
	if b.read {
		return nil, errArmed
	}
	b.read = true
	batch, err := b.Result.Next(ctx)
	if err != nil {
		return nil, errArmed
	}
	return batch, nil
}

// arm makes some of the next operations of a kind fail: one, or so many that computing a view anew fails, too.
func (l *failing) arm() {
	l.kind = []string{"query", "rows", "disk", "disk in doubt", "read", "power"}[l.r.IntN(6)]
	l.left, l.burst, l.failed = 1+l.r.IntN(60), 1+l.r.IntN(4), false
	fail := func() error {
		if l.fails() {
			return errArmed
		}
		return nil
	}
	switch l.kind {
	case "read":
		l.fs.FailRead = func(string) error { return fail() }
	case "disk":
		l.fs.FailIf = func(string, string) error { return fail() }
	case "power":
		l.fs.CrashAt = l.fs.Ops() + 1 + l.r.IntN(300)
	case "disk in doubt":
		l.fs.Err, l.fs.FailAt, l.fs.FailLate = errArmed, l.fs.Ops()+1+l.r.IntN(150), true
	}
}

// disarm lets all succeed, and reports whether something failed.
func (l *failing) disarm() bool {
	failed := l.failed || l.fs.CrashAt > 0 && l.fs.Ops() >= l.fs.CrashAt || l.fs.FailAt > 0 && l.fs.Ops() >= l.fs.FailAt
	l.kind, l.left, l.fs.FailAt, l.fs.FailRead, l.fs.FailIf = "", 0, 0, nil, nil
	return failed
}

// TestMaintainedViewsEqualTheirSelectAfterFailures lets queries and the disk fail in the middle of batches, and the power go
// in them and between them. Each time the views are, once all works again, what their SELECTs yield.
func TestMaintainedViewsEqualTheirSelectAfterFailures(t *testing.T) {
	steps := 14
	if testing.Short() {
		steps = 6
	}
	seed := lawSeed(t)
	l := &failing{law: &law{r: rand.New(rand.NewPCG(seed, 4))}, fs: errorfs.New()}
	l.boot(t)
	l.define(t)
	require.NoError(t, l.graph.RunOnce(t.Context(), nil))
	happened, merged := map[string]int{}, 0
	progress := func(p queries.Progress) {
		if p.Strategy == "merge" {
			merged++
		}
	}
	for step := range steps {
		l.touch(t)
		for range 1 + l.r.IntN(2) {
			l.changes(t)
			l.arm()
			kind := l.kind
			err := l.graph.RunOnce(t.Context(), progress)
			if l.disarm() {
				happened[fmt.Sprintf("%s, reported %t", kind, err != nil)]++
			} else {
				require.NoError(t, err, "nothing failed, step %d, seed %d", step, seed)
			}
			if l.fs.CrashAt > 0 {
				break // nothing is written any more
			}
		}
		if l.fs.CrashAt > 0 || l.r.IntN(4) == 0 {
			happened["restart"]++
			l.fs = l.fs.CrashSome(l.r)
			l.boot(t)
		}
		require.NoError(t, l.graph.RunOnce(t.Context(), progress))
		if wrong := l.law.broken(t); wrong != "" {
			t.Fatalf("step %d, seed %d, %v: %s", step, seed, happened, wrong)
		}
	}
	t.Logf("%d merges; %v", merged, happened)
	require.NotEmpty(t, happened)
	require.Greater(t, merged, steps)
}
