package queries

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"smelt/queries/ddl"
	"smelt/tables"
)

// driftLab is a stream and a view of whole numbers and words, with a rule on the drift of a column.
func driftLab(t *testing.T, rule string) *lab {
	l := newLab(t)
	schema := append(columnsOf("n"), tables.Field{Name: "word", Type: text})
	l.plain("src", schema)
	l.star("SELECT n, word FROM `stream:src` AS `src`", "stream:src")
	l.star("SELECT n, word FROM src", "live.src")
	l.must("CREATE STREAMING TABLE a (CONSTRAINT d " + rule + ") AS SELECT n, word FROM STREAM(src)")
	return l
}

// some makes rows: numbers below most, and words of so many.
func some(r *rand.Rand, rows int, most int64, words int) []row {
	var out []row
	for range rows {
		out = append(out, row{"n": r.Int64N(most), "word": fmt.Sprint("w", r.IntN(words))})
	}
	return out
}

func TestADriftIsSeenAndSampleNoiseIsNot(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, column := range []string{"n", "word"} {
		l := driftLab(t, "EXPECT DRIFT psi("+column+") < 0.2 VERSUS LAST 3 VERSIONS")
		for i := range 6 {
			l.insert("src", some(r, 400, 1000, 5)...)
			l.settle()
			p := newest(t, l, "a").Expectations[0]
			require.Equal(t, ExpectationCount{"d", "warn", min(int64(i), 1), 0, p.Value}, p, "the first batch has nothing to be compared with")
			require.Less(t, p.Value, 0.2)
		}
		l.insert("src", some(r, minDriftRows-1, 10, 1)...)
		l.settle()
		require.Zero(t, newest(t, l, "a").Expectations[0].Failed, "too few rows to say")
		l.reopen()
		l.insert("src", some(r, 400, 200, 1)...)
		l.settle()
		p := newest(t, l, "a").Expectations[0]
		require.EqualValues(t, 1, p.Failed)
		require.Greater(t, p.Value, 0.5)
		require.EqualValues(t, 400, newest(t, l, "a").RowsOut, "a warning")
		for range 3 {
			l.insert("src", some(r, 400, 200, 1)...)
			l.settle()
		}
		require.Zero(t, newest(t, l, "a").Expectations[0].Failed, "after three versions it is what was there")
	}
}

func TestADriftStopsABatchOrPutsItAside(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	l := driftLab(t, "EXPECT DRIFT psi(n) < 0.2 VERSUS LAST 30 DAYS ON VIOLATION FAIL UPDATE")
	l.must("CREATE STREAMING TABLE b (CONSTRAINT d EXPECT DRIFT psi(n) < 0.2 VERSUS LAST 7 VERSIONS ON VIOLATION QUARANTINE, CONSTRAINT even EXPECT (" +
		l.dividing(2) + ") ON VIOLATION DROP ROW) AS SELECT n, word FROM STREAM(src)")
	l.must("CREATE MATERIALIZED VIEW v (CONSTRAINT d EXPECT DRIFT psi(n) < 0.2 VERSUS LAST 2 VERSIONS ON VIOLATION FAIL UPDATE) AS SELECT n, word FROM src")
	l.insert("src", some(r, 1000, 1000, 1)...)
	l.settle()
	l.insert("src", some(r, 1000, 1000, 1)...)
	l.settle()
	kept := l.table("b").Snapshot().Rows()
	l.insert("src", some(r, 4000, 100, 1)...)
	err := l.graph.RunOnce(t.Context(), nil)
	require.ErrorIs(t, err, ErrExpectation)
	require.ErrorContains(t, err, "d EXPECT DRIFT psi(`n`) < 0.2 VERSUS LAST 30 DAYS: the index of the 4000 rows of this batch is ")
	require.Len(t, l.rows("a"), 2000, "nothing of the batch is there")
	require.Len(t, l.rows("v"), 2000, "the view is what it was")
	require.Equal(t, "failed", l.status("v").State)
	require.Equal(t, kept, l.table("b").Snapshot().Rows())
	held := l.held("b")
	require.Equal(t, "[d]", held[0][columnRules])
	p := newest(t, l, "b")
	require.EqualValues(t, len(held), p.Quarantined)
	require.EqualValues(t, 4000, p.Quarantined+p.Dropped, "what another rule drops is dropped")
	moved, stayed := l.replay("b", "")
	require.EqualValues(t, []int{len(held), 0}, []int{int(moved), int(stayed)}, "who replays has looked")
	require.NoError(t, l.graph.AlterRules(t.Context(), &ddl.OnRules{Verb: "DROP CONSTRAINT", Name: "a", Rule: ddl.Expectation{Name: "d"}}, "live"))
	require.NoError(t, l.graph.AlterRules(t.Context(), &ddl.OnRules{Verb: "DROP CONSTRAINT", Name: "v", Rule: ddl.Expectation{Name: "d"}}, "live"))
	l.settle()
	require.Len(t, l.rows("a"), 6000)
	require.Len(t, l.rows("v"), 6000)
	err = l.create("CREATE MATERIALIZED VIEW w (CONSTRAINT d EXPECT DRIFT psi(n) < 0.2 VERSUS LAST 2 VERSIONS ON VIOLATION QUARANTINE) AS SELECT n, word FROM src")
	require.ErrorContains(t, err, "left without rows")
	err = l.create("CREATE MATERIALIZED VIEW w (CONSTRAINT d EXPECT DRIFT psi(m) < 0.2 VERSUS LAST 2 VERSIONS) AS SELECT n, word FROM src")
	require.ErrorContains(t, err, `column "m"`)
}
