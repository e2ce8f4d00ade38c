package engine

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"smelt/queries"
	"smelt/queries/ddl"
	"smelt/queries/lineage"
	"smelt/tables"
	"smelt/tables/vfs/errorfs"
)

// Kinds of columns of a random pipeline. No float is among them: sums of floats depend on the order of rows, which joins change.
const (
	textColumn = iota
	numberColumn
	otherColumn // is passed on, and nothing is made of it
)

type madeColumn struct {
	name string
	kind int
}

// madeRelation is a table or view of a random pipeline.
type madeRelation struct {
	name    string
	columns []madeColumn
}

// of lists the columns of a kind, as expressions.
func (r madeRelation) of(kind int, alias string) (out []string) {
	for _, c := range r.columns {
		if c.kind == kind {
			out = append(out, alias+"."+c.name)
		}
	}
	return out
}

// randomPipeline makes SELECTs over tables, and over the views that it made before.
type randomPipeline struct {
	*failing
	relations []madeRelation
	version   atomic.Int64 // of the model that UPPER stands for
}

// boot opens the data as a new process does; UPPER stands for a function of a model, so that nothing has to be scored.
func (p *randomPipeline) boot(t *testing.T) {
	t.Helper()
	store, err := tables.Open("/data", tables.Options{FS: p.fs})
	require.NoError(t, err)
	p.testSQL = startSQLOver(t, store, func(c *sqlConfig, _ *listenConfig) {
		p.graph = queries.New(queries.Config{
			Store:    c.Store,
			Query:    func(ctx context.Context, q queries.Query) (queries.Result, error) { return p.between(p.query(ctx, q)) },
			Describe: func(ctx context.Context, q queries.Query) (tables.Schema, error) { return p.describe(ctx, q) },
			Feed: func(context.Context, ddl.Files, string, string, int64) (queries.Feed, error) {
				t.Error("no test here reads files")
				return nil, context.Canceled
			},
			Exec:   func(ctx context.Context, database, statement string) error { return p.exec(ctx, database, statement) },
			Refers: func(function string, _ []string) (string, bool) { return "shout", function == "upper" },
			Version: func(string) (lineage.Model, error) {
				version := fmt.Sprint(p.version.Load())
				return lineage.Model{Name: "shout", Version: version, Digest: "digest of " + version}, nil
			},
		})
		c.Flows = p.graph
	})
	graph := p.graph
	require.NoError(t, graph.Open(t.Context()))
	t.Cleanup(func() { require.NoError(t, graph.Close(context.Background())) })
}

func (p *randomPipeline) pick(from ...string) string { return from[p.r.IntN(len(from))] }

func (p *randomPipeline) relation() madeRelation { return p.relations[p.r.IntN(len(p.relations))] }

// from returns what stands behind FROM, with the columns of it by kind.
func (p *randomPipeline) from() (text string, texts, numbers []string) {
	x, y := p.relation(), p.relation()
	texts, numbers = x.of(textColumn, "x"), x.of(numberColumn, "x")
	text = x.name + " x"
	others := y.of(textColumn, "y")
	if len(texts) == 0 || len(others) == 0 || p.r.IntN(2) == 0 {
		return text, texts, numbers
	}
	join := p.pick("JOIN", "JOIN", "JOIN", "JOIN", "LEFT JOIN")
	text = fmt.Sprintf("%s %s %s y ON %s = %s", text, join, y.name, p.pick(texts...), p.pick(others...))
	if both := y.of(numberColumn, "y"); len(both) > 0 {
		if len(numbers) > 0 && p.r.IntN(2) == 0 {
			text += fmt.Sprintf(" AND %s <= %s", p.pick(numbers...), p.pick(both...))
		}
		numbers = append(numbers, both...)
	}
	return text, append(texts, others...), numbers
}

// number and text return expressions of such a kind; there may be no column for one.
func (p *randomPipeline) number(numbers []string) string {
	if len(numbers) == 0 {
		return fmt.Sprint(p.r.IntN(4))
	}
	n := p.pick(numbers...)
	return p.pick(n, n, n+" % 3", "COALESCE("+n+", 0)", "CASE WHEN "+n+" > 3 THEN 1 ELSE 0 END")
}

func (p *randomPipeline) text(texts []string) string {
	if len(texts) == 0 {
		return p.pick("'x'", "'y'")
	}
	s := p.pick(texts...)
	return p.pick(s, s, s, "CONCAT("+s+", '!')", "UPPER("+s+")", "COALESCE("+s+", 'none')")
}

func (p *randomPipeline) where(texts, numbers []string) string {
	switch {
	case p.r.IntN(2) == 0 && len(numbers) > 0:
		return " WHERE " + p.pick(numbers...) + p.pick(" > 2", " IS NULL", " IN (1, 3, 7)", " <> 3")
	case p.r.IntN(4) == 0 && len(texts) > 0:
		return " WHERE " + p.pick(texts...) + p.pick(" <> 'x'", " IS NOT NULL", " IN (SELECT label FROM dims)", " > 'B'")
	default:
		return ""
	}
}

// query returns a random SELECT with the columns that it yields.
func (p *randomPipeline) random() (string, []madeColumn) {
	from, texts, numbers := p.from()
	t, n, where := p.text(texts), p.number(numbers), p.where(texts, numbers)
	columns := []madeColumn{{"t", textColumn}, {"n", numberColumn}}
	switch p.r.IntN(8) {
	case 0: // rows
		return fmt.Sprintf("SELECT %s AS t, %s AS n FROM %s%s", t, n, from, where), columns
	case 1:
		return fmt.Sprintf("SELECT DISTINCT %s AS t, %s AS n FROM %s%s", t, n, from, where), columns
	case 2: // groups
		having := p.pick("", "", " HAVING COUNT(*) > 2", " HAVING COUNT(*) < 4")
		return fmt.Sprintf("SELECT %s AS t, COUNT(*) AS n, SUM(%s) AS s, MIN(%s) AS least, MAX(%s) AS most FROM %s%s GROUP BY %s%s", t, n, n, t, from, where, t, having),
			append(columns, madeColumn{"s", otherColumn}, madeColumn{"least", numberColumn}, madeColumn{"most", textColumn})
	case 3:
		return fmt.Sprintf("SELECT %s AS t, COUNT(DISTINCT %s) AS n, AVG(%s) AS mean FROM %s%s GROUP BY %s", t, n, n, from, where, t),
			append(columns, madeColumn{"mean", otherColumn})
	case 4: // all rows in one
		return fmt.Sprintf("SELECT MAX(%s) AS t, COUNT(%s) AS n FROM %s%s", t, n, from, where), columns
	case 5: // windows
		return fmt.Sprintf("SELECT %s AS t, %s AS n, COUNT(*) OVER (PARTITION BY %s) AS many, RANK() OVER (PARTITION BY %s ORDER BY %s) AS place FROM %s%s", t, n, t, t, n, from, where),
			append(columns, madeColumn{"many", numberColumn}, madeColumn{"place", numberColumn})
	case 6: // several SELECTs
		other, texts, numbers := p.from()
		return fmt.Sprintf("SELECT %s AS t, %s AS n FROM %s%s %s SELECT %s, %s FROM %s", t, n, from, where, p.pick("UNION ALL", "UNION ALL", "UNION"), p.text(texts), p.number(numbers), other), columns
	default: // one that picks from groups
		return fmt.Sprintf("SELECT q.t, q.n FROM (SELECT %s AS t, COUNT(*) AS n FROM %s%s GROUP BY %s) q WHERE q.n %s", t, from, where, t, p.pick("> 1", "< 5", "<> 2")), columns
	}
}

// define makes the tables, an ordinary view and some random materialized views.
func (p *randomPipeline) define(t *testing.T, views int) {
	p.tables(t)
	p.touch(t)
	p.relations = []madeRelation{
		{"a", []madeColumn{{"k", textColumn}, {"s", textColumn}, {"n", numberColumn}}}, {"b", []madeColumn{{"k", textColumn}, {"m", numberColumn}}},
		{"dims", []madeColumn{{"k", textColumn}, {"label", textColumn}}}, {"ordinary", []madeColumn{{"k", textColumn}, {"m", numberColumn}}},
	}
	for tries := 0; len(p.relations) < 4+views; tries++ {
		require.Less(t, tries, 2*views, "most SELECTs can be planned")
		name := fmt.Sprintf("v%d", len(p.relations)-4)
		query, columns := p.random()
		if _, err := p.db.ExecContext(t.Context(), "CREATE MATERIALIZED VIEW "+name+" REFRESH POLICY INCREMENTAL AS "+query); err != nil {
			t.Logf("refused: %s: %v", query, err) // what the planner does not take is no pipeline
			continue
		}
		p.relations = append(p.relations, madeRelation{name, columns})
		t.Logf("%s: %s", name, query)
	}
}

// TestRandomPipelinesEqualTheirSelects makes random views of tables and of one another, changes the tables, moves a model, has
// queries and the disk fail, kills the process and starts it again, and checks after each step that each view is its SELECT.
func TestRandomPipelinesEqualTheirSelects(t *testing.T) {
	seeds, steps := 8, 8
	if testing.Short() {
		seeds, steps = 3, 5
	}
	first := lawSeed(t)
	batches := map[string]int{}
	for i := range uint64(seeds) {
		seed := first + i
		t.Logf("seed %d", seed)
		p := &randomPipeline{failing: &failing{law: &law{r: rand.New(rand.NewPCG(seed, 5))}, fs: errorfs.New()}}
		p.boot(t)
		p.define(t, 8)
		progress := func(b queries.Progress) { batches[b.Strategy]++ }
		require.NoError(t, p.graph.RunOnce(t.Context(), progress), "seed %d", seed)
		for step := range steps {
			if p.changes(t); p.r.IntN(2) == 0 {
				p.touch(t)
			}
			if p.r.IntN(8) == 0 {
				p.version.Store(int64(p.r.IntN(3)))
			}
			if p.r.IntN(3) == 0 {
				p.arm()
				err := p.graph.RunOnce(t.Context(), progress)
				if !p.disarm() {
					require.NoError(t, err, "nothing failed, step %d, seed %d", step, seed)
				}
			}
			if p.fs.CrashAt > 0 || p.r.IntN(4) == 0 {
				batches["restart"]++
				p.fs = p.fs.CrashSome(p.r)
				p.boot(t)
			}
			require.NoError(t, p.graph.RunOnce(t.Context(), progress), "step %d, seed %d", step, seed)
			if wrong := p.law.broken(t); wrong != "" {
				t.Fatalf("step %d, seed %d: %s", step, seed, wrong)
			}
		}
	}
	t.Logf("%v", batches)
	require.Positive(t, batches["merge"])
}
