package integration

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"smelt/tables/vfs/killfs"
)

// mergedViews are kept up by merging, whatever dies. Their floats are sums that have no exact value in binary.
var mergedViews = []struct{ name, query, columns string }{
	{"totals", "SELECT k, COUNT(*) AS n, SUM(n) AS total, AVG(n) AS mean, MIN(n) AS least, MAX(n) AS most FROM silver GROUP BY k", "k, n, total, mean, least, most"},
	{"labelled", "SELECT s.id, s.n, d.label FROM silver s JOIN dims d ON d.k = s.k", "id, n, label"},
	{"kinds", "SELECT DISTINCT k, n FROM silver", "k, n"},
	{"running", "SELECT id, k, SUM(n) OVER (PARTITION BY k ORDER BY id) AS sofar, ROW_NUMBER() OVER (PARTITION BY k ORDER BY id) AS place FROM silver", "id, k, sofar, place"},
	{"sums", "SELECT k, n, SUM(f) AS f FROM silver GROUP BY k, n", "k, n, ROUND(f, 6)"},
	{"behind", "SELECT n, SUM(f) AS f, COUNT(*) AS many FROM sums GROUP BY n", "n, ROUND(f, 6), many"},
}

// merged is a pipeline of merged views over files and an ordinary table, whose server dies.
type merged struct {
	*mortal
	r   *rand.Rand
	ids map[string][]string // of the rows of each file, by its path
}

func newMerged(t *testing.T) *merged {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	m := &merged{mortal: &mortal{t: t, watch: t.TempDir(), data: t.TempDir(), pipeline: t.TempDir()}, r: rand.New(rand.NewPCG(seed, 0)), ids: map[string][]string{}}
	s := start(t, nil, "--data", m.data) // dims is no part of the pipeline
	s.rows("CREATE TABLE dims (k VARCHAR(9), label VARCHAR(9)) TBLPROPERTIES ('delta.checkpointInterval' = '5')")
	s.rows("INSERT INTO dims VALUES ('k0', 'a'), ('k1', 'b'), ('k2', 'c'), ('k2', 'd')")
	s.stop()
	script := `CREATE OR REFRESH STREAMING TABLE bronze AS SELECT *, source_file FROM STREAM read_files('in', format => 'json', maxFilesPerTrigger => '2',
  schemaHints => 'id BIGINT, k STRING, n BIGINT, f DOUBLE');
CREATE OR REFRESH STREAMING TABLE silver AS SELECT id, k, n, f FROM STREAM(bronze) WHERE id % 5 <> 0;
`
	for _, v := range mergedViews {
		script += "CREATE OR REFRESH MATERIALIZED VIEW " + v.name + " TBLPROPERTIES ('delta.checkpointInterval' = '5') REFRESH POLICY INCREMENTAL AS " + v.query + ";\n"
	}
	put(t, filepath.Join(m.pipeline, "p.sql"), script)
	return m
}

// add drops files of one to three rows.
func (m *merged) add(files int) {
	m.t.Helper()
	for range files {
		var text strings.Builder
		path := filepath.Join(m.watch, "in", fmt.Sprintf("%06d.json", m.files))
		for range 1 + m.r.IntN(3) {
			m.rows++
			fmt.Fprintf(&text, "{\"id\": %d, \"k\": \"k%d\", \"n\": %d, \"f\": 0.%d}\n", m.rows, m.r.IntN(4), m.r.IntN(3), m.r.IntN(10))
			m.ids[path] = append(m.ids[path], fmt.Sprint(m.rows))
		}
		m.files++
		put(m.t, path, text.String())
	}
}

// change does one thing that a merge follows; it returns the error of the statement that a client sent.
func (m *merged) change(ctx context.Context, db *sql.DB) error {
	k := m.r.IntN(4)
	var statement string
	switch m.r.IntN(8) {
	case 0, 1, 2:
		m.add(1 + m.r.IntN(2))
		return db.PingContext(ctx)
	case 3:
		statement = fmt.Sprintf("INSERT INTO dims VALUES ('k%d', 'i%d')", k, m.r.IntN(5))
	case 4:
		statement = fmt.Sprintf("UPDATE dims SET label = 'u%d' WHERE k = 'k%d'", m.r.IntN(5), k)
	case 5:
		statement = fmt.Sprintf("DELETE FROM dims WHERE label = 'i%d'", m.r.IntN(5))
	case 6, 7:
		verb := []string{"UNLOAD", "RELOAD"}[m.r.IntN(2)]
		statement = fmt.Sprintf("%s FILE '%06d.json' FROM bronze", verb, m.r.IntN(m.files))
	}
	_, err := db.ExecContext(ctx, statement)
	if err != nil && strings.Contains(statement, " FILE ") && strings.Contains(err.Error(), "Error ") {
		return nil // a file may be in no state for it
	}
	return err
}

// agree waits until bronze holds the rows of the files that are loaded, silver what it should, and each view what its SELECT yields.
func (m *merged) agree(s *server) {
	t := m.t
	t.Helper()
	var why string
	agrees := func() bool {
		files := s.rows("SELECT path, state FROM smelt.files WHERE `table` = 'bronze'")
		if why = fmt.Sprintf("%d of %d files are known", len(files), m.files); len(files) != m.files {
			return false
		}
		var want, got []string
		for _, f := range files {
			if f[1] == "loaded" {
				want = append(want, m.ids[f[0]]...)
			} else if f[1] != "unloaded" {
				why = f[0] + " is " + f[1]
				return false
			}
		}
		for _, row := range s.rows("SELECT id FROM bronze") {
			got = append(got, row[0])
		}
		slices.Sort(want)
		slices.Sort(got)
		if why = fmt.Sprintf("the files have %v, bronze %v", want, got); !slices.Equal(want, got) {
			return false
		}
		pairs := [][2]string{{"SELECT id, k, n, f FROM bronze WHERE id % 5 <> 0 ORDER BY id", "SELECT id, k, n, f FROM silver ORDER BY id"}}
		for _, v := range mergedViews {
			pairs = append(pairs, [2]string{
				fmt.Sprintf("SELECT %s FROM (%s) q ORDER BY %s", v.columns, v.query, v.columns), fmt.Sprintf("SELECT %s FROM %s ORDER BY %s", v.columns, v.name, v.columns)})
		}
		for _, pair := range pairs {
			if a, b := s.rows(pair[0]), s.rows(pair[1]); !slices.EqualFunc(a, b, slices.Equal) {
				why = fmt.Sprintf("%s yields %v, %s %v", pair[0], a, pair[1], b)
				return false
			}
		}
		return true
	}
	require.True(t, poll(startTimeout, agrees), "%s\n%v", why, s.state())
}

// proven checks that merging was what kept up each view, and has smelt check prove what lies on the disk.
func (m *merged) proven() {
	t := m.t
	t.Helper()
	s := start(t, nil, m.args()...)
	m.agree(s)
	batches := s.rows("SELECT `table`, strategy, COUNT(*) FROM smelt.progress WHERE strategy IN ('merge', 'recompute') GROUP BY `table`, strategy ORDER BY `table`, strategy")
	t.Logf("%d rows in %d files; batches: %v", m.rows, m.files, batches)
	for _, v := range mergedViews {
		require.True(t, slices.ContainsFunc(batches, func(b []string) bool { return b[0] == v.name && b[1] == "merge" }), "%s was never merged: %v", v.name, batches)
	}
	s.stop()
	out, errs, code := command(t, "check", "--data", m.data)
	require.Zero(t, code, out+errs)
	for _, v := range mergedViews {
		require.Contains(t, out, "ok    live."+v.name+": ", out)
	}
}

// TestACrashInAMergeLeavesEachViewEqualToItsSelect kills the program at each point of the commits of merged views, one
// after another on the same data.
func TestACrashInAMergeLeavesEachViewEqualToItsSelect(t *testing.T) {
	m := newMerged(t)
	m.add(6)
	s := start(t, nil, m.args()...)
	m.agree(s)
	s.stop()
	for _, point := range []string{"data-half-written", "data-synced", "commit-half-written", "commit-synced", "commit-linked", "commit-named", "commit-acknowledged",
		"checkpoint-tmp-written", "checkpoint-renamed"} {
		first := 3 // behind bronze and silver, which come first when one file comes
		if strings.HasPrefix(point, "checkpoint") {
			first = 1 // only views have them so early
		}
		for _, n := range []int{first, first + 1 + m.r.IntN(len(mergedViews)-1)} {
			at := fmt.Sprintf("%s:%d", point, n)
			s := start(t, []string{killfs.Variable + "=" + at}, m.args()...)
			m.add(1)
			poll(batchLimit, func() bool { return s.db.Ping() != nil })
			m.until(s, 0)
			dies(t, s.cmd, at)
			s = start(t, nil, m.args()...)
			m.agree(s)
			s.stop()
		}
	}
	m.proven()
}

const (
	// batchLimit is how long one file is given to set off as many commits as a crash point wants; where a view had nothing
	// to do it does not, and other changes follow.
	batchLimit = 500 * time.Millisecond
	// pauseInMerges lets a server keep up with the changes while it lives.
	pauseInMerges      = 40 * time.Millisecond
	killsInMerges      = 24
	killsInMergesShort = 12
	killsBetweenLooks  = 6
)

// TestRandomKillsOfMergesLeaveEachViewEqualToItsSelect kills the server at any moment, its start included, while its
// sources change.
func TestRandomKillsOfMergesLeaveEachViewEqualToItsSelect(t *testing.T) {
	kills := killsInMerges
	if testing.Short() {
		kills = killsInMergesShort
	}
	m := newMerged(t)
	m.add(6)
	for n := range kills {
		life := time.Duration(m.r.Int64N(int64(longestLife)))
		if n%4 == 0 {
			m.add(2)
			cmd := m.launch()
			<-time.After(life)
			require.NoError(t, cmd.Process.Kill())
			killed(t, cmd, "the server ended by itself")
			continue
		}
		s := start(t, nil, m.args()...)
		if n%killsBetweenLooks == 1 {
			m.agree(s)
		}
		time.AfterFunc(life, func() { _ = s.cmd.Process.Kill() })
		m.until(s, pauseInMerges)
		killed(t, s.cmd, "the server ended by itself")
	}
	m.proven()
}

// until changes this and that, with random pauses, until the server dies.
func (m *merged) until(s *server, pause time.Duration) {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), startTimeout)
	defer cancel()
	for m.change(ctx, s.db) == nil {
		<-time.After(time.Duration(m.r.Int64N(int64(pause) + 1)))
	}
	_ = s.db.Close()
}
