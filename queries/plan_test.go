package queries

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// planned renders a plan.
func (l *lab) planned(script string) []string {
	l.t.Helper()
	list, err := l.graph.Plan(l.t.Context(), script, "live", "/base")
	require.NoError(l.t, err)
	var out []string
	for _, p := range list {
		out = append(out, fmt.Sprintf("%s %s %s%s: %s %v", p.Action, p.Kind, p.Table, p.Flow, p.Reason, p.Columns))
	}
	return out
}

func TestAPlanSaysWhatLoadWouldDoAndDoesNothing(t *testing.T) {
	l := twoSources(t)
	l.define("SELECT COUNT(*) AS c FROM t", columnsOf("c"), func(in func(string) []row) []row { return []row{{"c": int64(len(in("live.t")))}} })
	script := `CREATE MATERIALIZED VIEW m AS SELECT COUNT(*) AS c FROM t;
CREATE STREAMING TABLE t AS SELECT n FROM STREAM(x); CREATE FLOW f AS INSERT INTO t SELECT n FROM STREAM(y);
CREATE STREAMING TABLE u AS SELECT n FROM STREAM(t)`
	want := []string{"create streaming_table t: it is new [n]", "create flow tf: it is new [n]", "create materialized_view m: it is new [c]", "create streaming_table u: it is new [n]"}
	require.Equal(t, want, l.planned(script))
	require.Empty(t, l.graph.Flows())
	require.Len(t, l.store.Tables("live"), 2)
	require.NoError(t, l.load(script))
	versions := l.table("t").Snapshot().Version()
	require.Equal(t, []string{"nothing streaming_table t: it exists as it is [n]", "nothing flow tf: it exists as it is [n]", "nothing materialized_view m: it exists as it is [c]",
		"nothing streaming_table u: it exists as it is [n]"}, l.planned(script))
	l.star("SELECT n FROM `stream:x` AS `x` WHERE TRUE", "stream:x")
	require.Equal(t, []string{
		"rebuild streaming_table t: its SELECT has changed: it is emptied and filled from the start [n]",
		"rebuild streaming_table u: its source live.t is rebuilt from the start []",
	}, l.planned("CREATE STREAMING TABLE t AS SELECT n FROM STREAM(x) WHERE TRUE"), "a table that the script does not name is told of, too")
	require.Equal(t, []string{"change streaming_table t: its rules, comment or schedule have changed: they apply from now on, and the rows stay [n]"},
		l.planned("CREATE STREAMING TABLE t COMMENT 'x' AS SELECT n FROM STREAM(x)"))
	require.Equal(t, []string{"change flow tf: its statement has changed: it goes on where it was, and the rows that it wrote stay [n]"},
		l.planned("CREATE FLOW f AS INSERT INTO t SELECT n + 100 AS n FROM STREAM(y)"))
	_, err := l.graph.Plan(t.Context(), "CREATE STREAMING TABLE t AS SELECT n FROM STREAM(u)", "live", "/base")
	require.Error(t, err)
	require.Equal(t, versions, l.table("t").Snapshot().Version(), "a plan writes nothing")
}
