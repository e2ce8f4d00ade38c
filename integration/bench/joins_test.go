package bench

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"smelt/engine"

	"github.com/stretchr/testify/require"
)

// joinLayouts are how the other side of a join lies on disk and which of its keys the new rows have.
var joinLayouts = []struct {
	name, table string
	key         func(i, base int) int // of new row i
}{
	{"run-bykey", "bykey", func(i, base int) int { return i % base }},
	{"spread-bykey", "bykey", func(i, base int) int { return i * 7919 % base }},
	{"run-scattered", "scattered", func(i, base int) int { return i % base }},
}

// BenchmarkRefreshJoin measures how long a join takes to follow 1,000 new rows on one side beside 10 thousand, 100 thousand and
// a million rows on the other, which lie by key or scattered, and beside computing it in full.
func BenchmarkRefreshJoin(b *testing.B) {
	for b.Loop() {
		smallest := map[string]time.Duration{}
		for _, base := range []int{10_000, 100_000, 1_000_000} {
			for layout, took := range joinRefreshed(b, base) {
				if base == 10_000 {
					smallest[layout] = took
				}
				b.ReportMetric(float64(took)/float64(smallest[layout]), fmt.Sprintf("%s-%dk-x-of-10k", layout, base/1000))
			}
		}
	}
}

func joinRefreshed(b *testing.B, base int) map[string]time.Duration {
	watch := b.TempDir()
	rowsFile(b, watch, "base.json", 0, base, func(i int) int { return i * 7919 % base }) // each number once
	_, db := open(b, engine.Config{Watch: watch})
	until(b, db, "SELECT COUNT(*) FROM bronze", int64(base), 10*time.Millisecond)
	out := map[string]time.Duration{}
	for _, statement := range []string{
		"CREATE TABLE bykey AS SELECT id AS k, v, text FROM bronze", "CREATE TABLE scattered AS SELECT g AS k, v, text FROM bronze",
	} {
		_, err := db.Exec(statement)
		require.NoError(b, err)
	}
	for _, l := range joinLayouts {
		name := strings.ReplaceAll(l.name, "-", "_")
		for _, statement := range []string{"CREATE TABLE new_" + name + " (id BIGINT, k BIGINT)", "CREATE MATERIALIZED VIEW " + name +
			" REFRESH POLICY INCREMENTAL STRICT AS SELECT n.id, n.k, t.v, t.text FROM new_" + name + " n JOIN " + l.table + " t ON n.k = t.k"} {
			_, err := db.Exec(statement)
			require.NoError(b, err)
		}
		for round := range rounds + 1 {
			var rows []string
			for i := round * newRows; i < (round+1)*newRows; i++ {
				rows = append(rows, fmt.Sprintf("(%d, %d)", i, l.key(i, base)))
			}
			_, err := db.ExecContext(context.Background(), "INSERT INTO new_"+name+" VALUES "+strings.Join(rows, ", "))
			require.NoError(b, err)
			until(b, db, "SELECT COUNT(*) FROM "+name, int64((round+1)*newRows), time.Millisecond)
		}
		out[l.name] = lastBatches(b, db, name, rounds)
		full := median(func() time.Duration { return fullRefresh(b, db, name) })
		b.ReportMetric(float64(out[l.name].Milliseconds()), fmt.Sprintf("%s-%dk-ms", l.name, base/1000))
		b.ReportMetric(full.Seconds()/out[l.name].Seconds(), fmt.Sprintf("%s-%dk-x-of-full", l.name, base/1000))
	}
	return out
}
