package queries

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"smelt/queries/cdc"
	"smelt/queries/ddl"
	"smelt/queries/lexer"
	"smelt/tables"
	"smelt/tables/vfs"
)

// dying is a file system whose process dies after some operations: nothing happens any more.
type dying struct {
	vfs.FS
	left int // operations that still happen; negative for all
}

var errDead = errors.New("the process is dead")

func (d *dying) next() error {
	if d.left == 0 {
		return errDead
	}
	d.left--
	return nil
}

func (d *dying) Create(p string) (vfs.File, error) {
	if err := d.next(); err != nil {
		return nil, err
	}
	return d.FS.Create(p)
}

func (d *dying) Link(from, to string) error {
	if err := d.next(); err != nil {
		return err
	}
	return d.FS.Link(from, to)
}

func (d *dying) SyncDir(p string) error {
	if err := d.next(); err != nil {
		return err
	}
	return d.FS.SyncDir(p)
}

// changesLab has a table src of events and the query that APPLY CHANGES makes of it.
func changesLab(t *testing.T, statement string) *lab {
	t.Helper()
	l := newLab(t)
	l.plain("src", columnsOf("k", "a", "b", "seq", "op"))
	l.defineChanges(statement)
	l.must("CREATE STREAMING TABLE t")
	require.NoError(t, l.add(statement))
	return l
}

func (l *lab) defineChanges(statement string) {
	l.t.Helper()
	parsed, err := ddl.Parse(statement)
	require.NoError(l.t, err)
	s := parsed.(*ddl.Flow)
	truth := tables.Type{Kind: tables.Boolean}
	l.selects[lexer.Normal(s.Query)] = selectFunc{
		func(in func(string) tables.Schema) tables.Schema {
			return append(in(s.Sources[0].Placeholder)[:5:5], tables.Field{Name: cdc.Sequence, Type: long}, tables.Field{Name: deleteColumn, Type: truth}, tables.Field{Name: truncateColumn, Type: truth})
		},
		func(in func(string) []row) []row {
			out := in(s.Sources[0].Placeholder)
			for _, r := range out {
				r[cdc.Sequence], r[deleteColumn], r[truncateColumn] = r["seq"], r["op"] == int64(cdc.Delete), r["op"] == int64(cdc.Truncate)
			}
			return out
		},
	}
}

// applied is what all events of the source come to at once.
func (l *lab) applied(statement string) *tables.Batch {
	l.t.Helper()
	parsed, err := ddl.Parse(statement)
	require.NoError(l.t, err)
	c := parsed.(*ddl.Flow).Changes
	all, err := tables.ReadAll(context.Background(), l.table("src").Snapshot(), nil)
	require.NoError(l.t, err)
	events := tables.Schema{}
	for _, name := range []string{"k", "a", "b", "seq", "op"} {
		if name != "op" && name != "seq" {
			events = append(events, tables.Field{Name: name, Type: long})
		}
	}
	events = append(events, tables.Field{Name: cdc.Sequence, Type: long}, tables.Field{Name: cdc.Operation, Type: long})
	b := conform(all, events)
	b.Columns[3], b.Columns[4] = all.Columns[3], all.Columns[4]
	r, err := specOf(c).Reduce(b)
	require.NoError(l.t, err)
	return r.Rows
}

// follows checks that the table is what its source says, and that what `smelt check` does agrees.
func (l *lab) follows(statement, note string) {
	l.t.Helper()
	now := l.table("t").Snapshot()
	onlyTable, onlyEvents, err := tables.Difference(context.Background(), now, tables.FromBatches(now.Schema(), conform(l.applied(statement), now.Schema())))
	require.NoError(l.t, err)
	require.Empty(l.t, onlyTable, "%s: the table has a row too much", note)
	require.Empty(l.t, onlyEvents, "%s: the table lacks a row", note)
	require.NoError(l.t, l.graph.Check(context.Background(), func(table, what string, proven bool, err error) {
		require.True(l.t, proven, what)
		require.NoError(l.t, err, "%s: %s %s", note, table, what)
	}))
}

const (
	firstType  = "APPLY CHANGES INTO t FROM STREAM(src) KEYS (k) APPLY AS DELETE WHEN op = 1 APPLY AS TRUNCATE WHEN op = 2 SEQUENCE BY seq COLUMNS * EXCEPT (seq, op)"
	ignoring   = "APPLY CHANGES INTO t FROM STREAM(src) KEYS (k) IGNORE NULL UPDATES APPLY AS DELETE WHEN op = 1 APPLY AS TRUNCATE WHEN op = 2 SEQUENCE BY seq COLUMNS (k, a, b)"
	secondType = "APPLY CHANGES INTO t FROM STREAM(src) KEYS (k) APPLY AS DELETE WHEN op = 1 SEQUENCE BY seq COLUMNS (k, a, b) STORED AS SCD TYPE 2 TRACK HISTORY ON (a)"
)

// TestChangesInAnyOrderThroughKillsAndRestarts is the law of APPLY CHANGES: whatever the order, the batches and the
// crashes, the table is what all events come to.
func TestChangesInAnyOrderThroughKillsAndRestarts(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	for i, statement := range []string{firstType, ignoring, secondType} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, uint64(i)))
			l := changesLab(t, statement)
			kills := 0
			for step := range 60 {
				n := 1 + r.IntN(6)
				rows := make([]row, n)
				for j := range rows {
					e := row{"k": int64(r.IntN(5)), "a": int64(r.IntN(3)), "b": int64(r.IntN(3)), "seq": int64(r.IntN(40)), "op": int64(0)}
					for _, c := range []string{"k", "a", "b"} {
						if r.IntN(6) == 0 {
							e[c] = nil
						}
					}
					if r.IntN(4) == 0 {
						e["op"] = int64(cdc.Delete)
					} else if r.IntN(40) == 0 && statement != secondType {
						e["op"] = int64(cdc.Truncate)
					}
					rows[j] = e
				}
				l.insert("src", rows...)
				what := r.IntN(5)
				if kills == 0 {
					what = 2 // until one hits
				}
				switch what {
				case 0: // more than one commit in a batch
					continue
				case 1:
					l.reopen()
				case 2:
					kills += l.diesIn(r.IntN(10)) // a batch has five operations and more
				case 3:
					_, _ = l.doubtful(r, l.runOnce)
				}
				l.settle()
				l.follows(statement, fmt.Sprintf("seed %d, step %d", seed, step))
			}
			t.Logf("%d kills", kills)
			require.Positive(t, kills, "no kill hit: the test proves nothing")
			require.NoError(t, l.graph.Refresh(context.Background(), "live", "t", true))
			l.follows(statement, "after a full refresh")
		})
	}
}

// diesIn runs all flows on a disk that takes only so many operations, and goes on with what is there then. It returns 1 if
// that was too few.
func (l *lab) diesIn(operations int) int {
	l.t.Helper()
	image := l.image()
	disk := &dying{FS: vfs.OS(), left: -1}
	l.fs = disk
	l.kill(image)
	disk.left = operations
	err := l.graph.RunOnce(context.Background(), nil)
	image = l.image()
	l.fs = l.lost
	l.kill(image)
	if errors.Is(err, errDead) {
		return 1
	}
	require.NoError(l.t, err)
	return 0
}

// TestADeathAtEachOperationOfABatchOfChanges takes the one place where two commits are made: each operation of a batch is the last once.
func TestADeathAtEachOperationOfABatchOfChanges(t *testing.T) {
	for _, statement := range []string{firstType, ignoring, secondType} {
		for operations := range 30 {
			l := changesLab(t, statement)
			l.insert("src", row{"k": int64(1), "a": int64(1), "seq": int64(1), "op": int64(0)}, row{"k": int64(2), "a": int64(2), "seq": int64(5), "op": int64(cdc.Delete)})
			l.settle()
			l.insert("src", row{"k": int64(1), "seq": int64(3), "op": int64(cdc.Delete)}, row{"k": int64(2), "a": int64(4), "seq": int64(4), "op": int64(0)},
				row{"k": int64(3), "b": int64(3), "seq": int64(1), "op": int64(0)})
			died := l.diesIn(operations)
			// A late event comes with the next batch: it is judged by what the dead batch knew, once that counts.
			l.insert("src", row{"k": int64(1), "a": int64(9), "seq": int64(2), "op": int64(0)})
			l.settle()
			l.follows(statement, fmt.Sprintf("%s, %d operations", statement, operations))
			if died == 0 {
				require.Greater(t, operations, 10, "a batch has more operations than this")
				break
			}
		}
	}
}

func TestWhatChangesCannotBe(t *testing.T) {
	l := changesLab(t, firstType)
	l.star("SELECT * FROM `stream:t` AS `t`", "stream:t")
	require.ErrorContains(t, l.create("CREATE STREAMING TABLE u AS SELECT * FROM STREAM(t)"), "t gets its rows by APPLY CHANGES")
	l.star("SELECT k FROM `stream:src` AS `src`", "stream:src")
	require.ErrorContains(t, l.add("CREATE FLOW f AS INSERT INTO t SELECT k FROM STREAM(src)"), "changed by key")
	other := "CREATE FLOW f AS AUTO CDC INTO t FROM STREAM(src) KEYS (a) SEQUENCE BY seq"
	l.defineChanges(other)
	require.ErrorContains(t, l.add(other), "the same KEYS")
	wrong := "CREATE FLOW f AS AUTO CDC INTO v FROM STREAM(src) KEYS (nokey) SEQUENCE BY seq"
	l.must("CREATE STREAMING TABLE v")
	l.defineChanges(wrong)
	require.ErrorContains(t, l.add(wrong), `column "nokey"`)
	l.insert("src", row{"k": int64(1), "op": int64(0)})
	err := l.graph.RunOnce(context.Background(), nil)
	require.ErrorIs(t, err, ErrExpectation)
	require.ErrorContains(t, err, "SEQUENCE BY is NULL in the row (k = 1")
}
