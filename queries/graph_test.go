package queries

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"smelt/queries/ddl"
	"smelt/tables"
)

var numbers = tables.Schema{{Name: "n", Type: tables.Type{Kind: tables.Long}}}

// world is a store, a graph over it, and a stand-in for SQL: a SELECT copies the rows of its only source, and one with
// SUM in it adds them up.
type world struct {
	t     *testing.T
	store *tables.Store
	graph *Graph

	mu    sync.Mutex
	fails int // the n-th batch from now breaks in the middle; 0 for none
}

func newWorld(t *testing.T) *world {
	t.Helper()
	store, err := tables.Open(t.TempDir(), tables.Options{})
	require.NoError(t, err)
	w := &world{t: t, store: store}
	w.graph = w.newGraph()
	t.Cleanup(func() {
		require.NoError(t, w.graph.Close(context.Background()))
		require.NoError(t, store.Close())
	})
	return w
}

func (w *world) newGraph() *Graph {
	g := New(Config{Store: w.store, Recompute: true, Query: w.query, Describe: w.describe,
		Exec: func(context.Context, string, string) error { return errors.New("nothing plain in these tests") },
		Feed: func(context.Context, ddl.Files, string, string, int64) (Feed, error) {
			return nil, errors.New("no files in these tests")
		}})
	require.NoError(w.t, g.Open(context.Background()))
	return g
}

var errBroken = errors.New("the power of the disk is gone")

// source finds the one relation that a query reads.
func (w *world) source(q Query) (tables.Relation, error) {
	for name, r := range q.Tables {
		if strings.Contains(q.SQL, "`"+name+"`") || strings.Contains(q.SQL, name) {
			return r, nil
		}
	}
	return nil, fmt.Errorf("no table for %q: %w", q.SQL, tables.ErrNotFound)
}

func (w *world) describe(_ context.Context, q Query) (tables.Schema, error) {
	if !strings.Contains(q.SQL, "FROM live.") {
		if _, err := w.source(q); err != nil {
			return nil, err
		}
	}
	if strings.Contains(q.SQL, "EXPECT_COLUMN") {
		return nil, errors.New("unknown column")
	}
	schema := slices.Clone(numbers)
	for i := range strings.Count(q.SQL, "`"+expectPrefix) {
		schema = append(schema, tables.Field{Name: fmt.Sprint(expectPrefix, i), Type: tables.Type{Kind: tables.Boolean}})
	}
	return schema, nil
}

type result struct {
	schema  tables.Schema
	batches []*tables.Batch
	breaks  bool
}

func (r *result) Schema() tables.Schema { return r.schema }
func (r *result) Close() error          { return nil }
func (r *result) Next(context.Context) (*tables.Batch, error) {
	if len(r.batches) == 0 {
		if r.breaks {
			return nil, errBroken
		}
		return nil, io.EOF
	}
	b := r.batches[0]
	r.batches = r.batches[1:]
	return b, nil
}

func (w *world) query(ctx context.Context, q Query) (Result, error) {
	schema, err := w.describe(ctx, q)
	if err != nil {
		return nil, err
	}
	source, err := w.source(q)
	if err != nil {
		return nil, err
	}
	all, err := tables.ReadAll(ctx, source, []string{"n"})
	if err != nil {
		return nil, err
	}
	out := tables.NewBatch(schema, all.Len)
	emit := func(n int64) {
		out.Columns[0].AppendInt(n)
		for i := 1; i < len(schema); i++ {
			out.Columns[i].AppendBool(n%10 != 0) // every expectation of these tests: no multiple of ten
		}
		out.Len++
	}
	total := int64(0)
	for _, n := range all.Columns[0].Ints {
		total += n
		if !strings.Contains(q.SQL, "SUM(") {
			emit(n)
		}
	}
	if strings.Contains(q.SQL, "SUM(") {
		emit(total)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	r := &result{schema: schema}
	if out.Len > 0 {
		r.batches = []*tables.Batch{out}
	}
	if w.fails > 0 {
		w.fails--
		r.breaks = w.fails == 0
	}
	return r, nil
}

func (w *world) create(sql string) error {
	statement, err := ddl.Parse(sql)
	require.NoError(w.t, err)
	_, err = w.graph.Create(context.Background(), statement.(*ddl.Create), "live", "")
	return err
}

func (w *world) plain(name string) {
	_, err := w.store.Create(context.Background(), "live", name, tables.Definition{Schema: numbers})
	require.NoError(w.t, err)
}

func (w *world) insert(name string, values ...int64) {
	b := tables.NewBatch(numbers, len(values))
	for _, v := range values {
		b.Columns[0].AppendInt(v)
		b.Len++
	}
	rows, err := tables.FromBatches(numbers, b).Scan(context.Background(), nil)
	require.NoError(w.t, err)
	t, err := w.store.Table("live", name)
	require.NoError(w.t, err)
	_, err = t.Commit(context.Background(), tables.Commit{Operation: "WRITE", Rows: rows})
	require.NoError(w.t, err)
}

func (w *world) rows(name string) []int64 {
	t, err := w.store.Table("live", name)
	require.NoError(w.t, err)
	all, err := tables.ReadAll(context.Background(), t.Snapshot(), []string{"n"})
	require.NoError(w.t, err)
	return slices.Clone(all.Columns[0].Ints)
}

func (w *world) settle() { require.NoError(w.t, w.graph.RunOnce(context.Background(), nil)) }

func TestTheLawHoldsAfterRandomChangesFailuresAndRestarts(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	w := newWorld(t)
	w.plain("src")
	require.NoError(t, w.create("CREATE STREAMING TABLE a AS SELECT n FROM STREAM(src)"))
	require.NoError(t, w.create("CREATE STREAMING TABLE b (CONSTRAINT even EXPECT (n % 10 <> 0) ON VIOLATION DROP ROW) AS SELECT n FROM STREAM(a)"))
	require.NoError(t, w.create("CREATE MATERIALIZED VIEW total AS SELECT SUM(n) AS n FROM live.b"))
	var want []int64
	for range 150 {
		switch r.IntN(6) {
		case 0, 1:
			var values []int64
			for range 1 + r.IntN(5) {
				values = append(values, int64(r.IntN(1000)))
			}
			want = append(want, values...)
			w.insert("src", values...)
		case 2:
			w.settle()
		case 3:
			w.fails = 1 + r.IntN(3)
			if err := w.graph.RunOnce(context.Background(), nil); err != nil {
				require.ErrorIs(t, err, errBroken)
			}
			w.fails = 0
		case 4: // the process dies and starts again
			require.NoError(t, w.graph.Close(context.Background()))
			w.graph = w.newGraph()
		case 5:
			require.NoError(t, w.graph.Refresh(context.Background(), "live", []string{"a", "b", "total"}[r.IntN(3)], r.IntN(4) == 0))
		}
	}
	w.settle()
	require.Equal(t, want, w.rows("a"), "each source row once, in order")
	kept, sum := []int64(nil), int64(0)
	for _, n := range want {
		if n%10 != 0 {
			kept = append(kept, n)
			sum += n
		}
	}
	require.Equal(t, kept, w.rows("b"))
	require.Equal(t, []int64{sum}, w.rows("total"), "a view equals its SELECT")
}

func TestContinuousFlowsFollowTheirSourcesAndClose(t *testing.T) {
	w := newWorld(t)
	w.plain("src")
	require.NoError(t, w.create("CREATE STREAMING TABLE a AS SELECT n FROM STREAM(src)"))
	require.NoError(t, w.create("CREATE MATERIALIZED VIEW total AS SELECT SUM(n) AS n FROM live.a"))
	w.graph.Start()
	for i := range int64(20) {
		w.insert("src", i)
	}
	require.Eventually(t, func() bool { return slices.Equal(w.rows("total"), []int64{190}) }, 20*time.Second, 5*time.Millisecond)
	require.Eventually(t, func() bool {
		for _, s := range w.graph.Flows() {
			if s.State != "idle" || s.Lag != 0 {
				return false
			}
		}
		return true
	}, 20*time.Second, 5*time.Millisecond)
	require.NoError(t, w.graph.Close(context.Background()))
	require.NoError(t, w.graph.Close(context.Background()), "twice")
}

func TestFailUpdateCommitsNothingAndStopsUntilRefresh(t *testing.T) {
	w := newWorld(t)
	w.plain("src")
	require.NoError(t, w.create("CREATE STREAMING TABLE a (CONSTRAINT tens EXPECT (n % 10 <> 0) ON VIOLATION FAIL UPDATE) AS SELECT n FROM STREAM(src)"))
	w.insert("src", 1, 2)
	w.settle()
	w.insert("src", 3, 20)
	err := w.graph.RunOnce(context.Background(), nil)
	require.ErrorIs(t, err, ErrExpectation)
	require.ErrorContains(t, err, "tens")
	require.ErrorContains(t, err, "n = 20")
	require.Equal(t, []int64{1, 2}, w.rows("a"))
	w.graph.Start()
	require.Eventually(t, func() bool { return w.graph.Flows()[0].State == "failed" }, 10*time.Second, time.Millisecond)
	require.Contains(t, w.graph.Flows()[0].LastError, "n = 20")
	require.NoError(t, w.create("CREATE STREAMING TABLE a (CONSTRAINT tens EXPECT (n % 10 <> 0)) AS SELECT n FROM STREAM(src)"), "another rule, the same SELECT")
	require.Eventually(t, func() bool { return slices.Equal(w.rows("a"), []int64{1, 2, 3, 20}) }, 10*time.Second, time.Millisecond)
}

func TestTheSameTextDoesNothingAndANewSELECTRefreshesInFull(t *testing.T) {
	w := newWorld(t)
	w.plain("src")
	w.plain("other")
	require.NoError(t, w.create("CREATE STREAMING TABLE a COMMENT 'one' AS SELECT n FROM STREAM(src)"))
	require.NoError(t, w.create("CREATE STREAMING TABLE b AS SELECT n FROM STREAM(a)"))
	w.insert("src", 1)
	w.insert("other", 7)
	w.settle()
	table, err := w.store.Table("live", "a")
	require.NoError(t, err)
	version, id := table.Snapshot().Version(), table.Snapshot().ID()
	require.NoError(t, w.create("CREATE  STREAMING TABLE a\n COMMENT 'one'  AS SELECT n FROM STREAM(src)"))
	require.Equal(t, version, table.Snapshot().Version())
	require.NoError(t, w.create("CREATE STREAMING TABLE a COMMENT 'two' AS SELECT n FROM STREAM(src)"))
	require.Equal(t, id, table.Snapshot().ID(), "a comment keeps the rows")
	require.Equal(t, "two", table.Snapshot().Definition().Comment)
	require.NoError(t, w.create("CREATE OR REFRESH STREAMING TABLE a AS SELECT n FROM STREAM(other)"))
	w.settle()
	require.Equal(t, []int64{7}, w.rows("a"))
	require.Equal(t, []int64{7}, w.rows("b"), "what streams from it starts over")
}

func TestWhatCannotBeKeptUpToDateIsRefused(t *testing.T) {
	w := newWorld(t)
	w.plain("src")
	require.NoError(t, w.create("CREATE MATERIALIZED VIEW m AS SELECT SUM(n) AS n FROM live.src"))
	for sql, want := range map[string]string{
		"CREATE STREAMING TABLE x AS SELECT n FROM src":                                           "no STREAM source",
		"CREATE STREAMING TABLE x AS SELECT SUM(n) AS n FROM STREAM(src)":                         "SUM()",
		"CREATE STREAMING TABLE x AS SELECT n FROM STREAM(src) GROUP BY n":                        "GROUP BY",
		"CREATE STREAMING TABLE x AS SELECT DISTINCT n FROM STREAM(src)":                          "DISTINCT",
		"CREATE STREAMING TABLE x AS SELECT n FROM STREAM(src) LIMIT 3":                           "LIMIT",
		"CREATE STREAMING TABLE x AS SELECT a.n FROM STREAM(src) a JOIN STREAM(m) b ON a.n = b.n": "join of two streams",
		"CREATE MATERIALIZED VIEW x AS SELECT n FROM STREAM(src)":                                 "without STREAM",
		"CREATE STREAMING TABLE src AS SELECT n FROM STREAM(src)":                                 "cycle",
		"CREATE STREAMING TABLE m AS SELECT n FROM STREAM(src)":                                   "MATERIALIZED VIEW",
		"CREATE STREAMING TABLE x (nope BIGINT) AS SELECT n FROM STREAM(src)":                     "nope",
		"CREATE STREAMING TABLE x AS SELECT n FROM STREAM(nowhere)":                               "nowhere",
		"CREATE MATERIALIZED VIEW m AS SELECT SUM(n) AS n FROM live.m":                            "cycle: live.m -> live.m",
	} {
		require.ErrorContains(t, w.create(sql), want, sql)
	}
	require.ErrorIs(t, w.graph.Drop(context.Background(), "live", "src", ddl.StreamingTable, false), ErrNotFlow)
	require.ErrorIs(t, w.graph.Drop(context.Background(), "live", "none", ddl.StreamingTable, false), tables.ErrNotFound)
	require.NoError(t, w.graph.Drop(context.Background(), "live", "none", ddl.StreamingTable, true))
	require.NoError(t, w.graph.Drop(context.Background(), "live", "m", ddl.MaterializedView, false))
	require.Empty(t, w.graph.Flows())
}

func TestAStreamOfRewrittenRowsStopsWithTheWayOut(t *testing.T) {
	w := newWorld(t)
	w.plain("src")
	w.insert("src", 1)
	require.NoError(t, w.create("CREATE STREAMING TABLE a AS SELECT n FROM STREAM(src)"))
	w.settle()
	table, err := w.store.Table("live", "src")
	require.NoError(t, err)
	_, err = table.Commit(context.Background(), tables.Commit{Operation: "TRUNCATE", Overwrite: true})
	require.NoError(t, err)
	w.insert("src", 5)
	require.ErrorContains(t, w.graph.RunOnce(context.Background(), nil), "REFRESH STREAMING TABLE a FULL")
}

func TestProgressSurvivesInTheCommit(t *testing.T) {
	w := newWorld(t)
	w.plain("src")
	require.NoError(t, w.create("CREATE STREAMING TABLE a (CONSTRAINT tens EXPECT (n % 10 <> 0) ON VIOLATION DROP ROW, CONSTRAINT warned EXPECT (n > 0)) AS SELECT n FROM STREAM(src)"))
	w.insert("src", 1, 10, 20)
	var live []Progress
	require.NoError(t, w.graph.RunOnce(context.Background(), func(p Progress) { live = append(live, p) }))
	require.Len(t, live, 1)
	table, err := w.store.Table("live", "a")
	require.NoError(t, err)
	history, err := table.History(context.Background(), 1)
	require.NoError(t, err)
	p, ok := ProgressOf(history[0])
	require.True(t, ok)
	require.EqualValues(t, 3, p.RowsIn)
	require.EqualValues(t, 1, p.RowsOut)
	require.EqualValues(t, 2, p.Dropped)
	require.Equal(t, []ExpectationCount{{"tens", "drop row", 1, 2, 0}, {"warned", "warn", 1, 2, 0}}, p.Expectations)
	require.Equal(t, strategyAppend, p.Strategy)
	require.NotEmpty(t, p.Reason)
	_, ok = ProgressOf(tables.CommitInfo{Operation: "WRITE"})
	require.False(t, ok)
}

func TestLoadMakesAllOrNothingInAnyOrder(t *testing.T) {
	w := newWorld(t)
	w.plain("src")
	ctx := context.Background()
	require.ErrorContains(t, w.graph.Load(ctx, "CREATE STREAMING TABLE a AS SELECT n FROM STREAM(b);\nCREATE STREAMING TABLE b AS SELECT n FROM STREAM(a);", "live", ""), "cycle: live.a -> live.b -> live.a")
	require.ErrorContains(t, w.graph.Load(ctx, "CREATE STREAMING TABLE a AS SELECT n FROM STREAM(src);\nCREATE STREAMING TABLE b (CONSTRAINT c EXPECT (EXPECT_COLUMN)) AS SELECT n FROM STREAM(a);", "live", ""), "line 2")
	require.ErrorContains(t, w.graph.Load(ctx, "CREATE STREAMING TABLE a AS SELECT n FROM STREAM(src); INSERT INTO src VALUES (1)", "live", ""), "loaded at each start")
	require.ErrorContains(t, w.graph.Load(ctx, "CREATE STREAMING TABLE a AS SELECT n FROM STREAM(src);\n\nCREATE STREAMING TABLE b SELECT", "live", ""), "line 3, column 26")
	require.Empty(t, w.graph.Flows())
	script := "CREATE STREAMING TABLE b AS SELECT n FROM STREAM(a);\nCREATE STREAMING TABLE a AS SELECT n FROM STREAM(src);"
	require.NoError(t, w.graph.Load(ctx, script, "live", ""))
	w.insert("src", 1, 2)
	w.settle()
	require.Equal(t, []int64{1, 2}, w.rows("b"))
	before := len(w.graph.Flows())
	require.NoError(t, w.graph.Load(ctx, script, "live", ""), "again")
	require.Len(t, w.graph.Flows(), before)
}
