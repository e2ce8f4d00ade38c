package integration

import (
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"smelt/tables/vfs/killfs"
)

// edited is a pipeline whose bronze is changed by statements while the server dies.
type edited struct {
	*mortal
	ids map[string][]string // of the rows of each file, by its path
}

// bronzeOf is the definition of bronze with one more option.
func bronzeOf(option string) string {
	return "CREATE OR REFRESH STREAMING TABLE bronze AS SELECT *, source_file FROM STREAM read_files('in', format => 'json', maxFilesPerTrigger => '3'" + option + ")"
}

const behindBronze = `;
CREATE OR REFRESH STREAMING TABLE silver AS SELECT id, id * 2 AS twice FROM STREAM(bronze) WHERE id % 5 <> 0;
CREATE OR REFRESH MATERIALIZED VIEW totals AS SELECT COUNT(*) AS n, SUM(twice) AS twice, MAX(id) AS most FROM silver;
`

func newEdited(t *testing.T, option string) *edited {
	t.Helper()
	e := &edited{mortal: &mortal{t: t, watch: t.TempDir(), data: t.TempDir(), pipeline: t.TempDir()}, ids: map[string][]string{}}
	e.defined(option)
	return e
}

// defined writes the pipeline; a server that starts loads it.
func (e *edited) defined(option string) {
	put(e.t, filepath.Join(e.pipeline, "p.sql"), bronzeOf(option)+behindBronze)
}

// add drops files of two or three rows with some more fields.
func (e *edited) add(files int, more string) {
	e.t.Helper()
	for range files {
		var text strings.Builder
		path := filepath.Join(e.watch, "in", fmt.Sprintf("%06d.json", e.files))
		for range 2 + e.files%2 {
			e.rows++
			fmt.Fprintf(&text, "{\"id\": %d%s}\n", e.rows, more)
			e.ids[path] = append(e.ids[path], fmt.Sprint(e.rows))
		}
		e.files++
		put(e.t, path, text.String())
	}
}

// agree waits until bronze holds the rows of all files but those that are unloaded, and the tables behind what they should.
func (e *edited) agree(s *server) {
	t := e.t
	t.Helper()
	var why string
	agrees := func() bool {
		var want, got []string
		for _, f := range s.rows("SELECT path, state FROM smelt.files WHERE `table` = 'bronze'") {
			if f[1] == "loaded" {
				want = append(want, e.ids[f[0]]...)
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
		if !slices.Equal(want, got) {
			why = fmt.Sprintf("the files have %v, bronze %v", want, got)
			return false
		}
		for _, pair := range [][2]string{
			{"SELECT id, id * 2 FROM bronze WHERE id % 5 <> 0 ORDER BY id", "SELECT id, twice FROM silver ORDER BY id"},
			{"SELECT COUNT(*), SUM(twice), MAX(id) FROM silver", "SELECT n, twice, most FROM totals"},
		} {
			if a, b := s.rows(pair[0]), s.rows(pair[1]); !slices.EqualFunc(a, b, slices.Equal) {
				why = fmt.Sprintf("%s yields %v, %s %v", pair[0], a, pair[1], b)
				return false
			}
		}
		return len(s.rows("SELECT path FROM smelt.files WHERE `table` = 'bronze'")) == e.files
	}
	require.True(t, poll(startTimeout, agrees), "%s", why)
}

// dying runs a statement on a server that dies at a point of it, or of what it sets off behind.
func (e *edited) dying(at, statement string) {
	e.t.Helper()
	s := start(e.t, []string{killfs.Variable + "=" + at}, e.args()...)
	_, err := queryRows(s.db, statement)
	if err != nil {
		e.t.Logf("%s: %s: %v", at, statement, err)
	}
	dies(e.t, s.cmd, at)
}

// proven has smelt check prove what lies on the disk.
func (e *edited) proven() {
	e.t.Helper()
	out, err := exec.Command(binary, "check", "--data", e.data).CombinedOutput()
	var exit *exec.ExitError
	require.False(e.t, err != nil && !errors.As(err, &exit), "%v", err)
	require.NoError(e.t, err, "%s", out)
}

// editPoints are the crash points of a commit that brings no files, and how many commits a statement on a file sets off.
var editPoints = []struct {
	point string
	times []int // 1 is bronze, 2 silver, 3 totals
}{
	{"ledger-tmp-written", []int{1}}, {"ledger-renamed", []int{1}}, {"ledger-durable", []int{1}}, {"data-half-written", []int{1}}, {"data-synced", []int{1, 2}},
	{"commit-half-written", []int{1, 2}}, {"commit-synced", []int{1, 2, 3}}, {"commit-linked", []int{1, 2, 3}}, {"commit-named", []int{1}},
	{"commit-acknowledged", []int{1, 2}},
}

// TestACrashInUnloadAndReloadLosesAndDoublesNothing kills the program at each point of both, one after another.
func TestACrashInUnloadAndReloadLosesAndDoublesNothing(t *testing.T) {
	e := newEdited(t, "")
	for _, p := range editPoints {
		for _, n := range p.times {
			e.add(3, "") // one batch, so that the rows of a file share a data file with others
			s := start(t, nil, e.args()...)
			e.agree(s)
			s.stop()
			file := fmt.Sprintf("%06d.json", e.files-2)
			for _, verb := range []string{"UNLOAD", "RELOAD"} {
				statement := verb + " FILE '" + file + "' FROM bronze"
				e.dying(fmt.Sprintf("%s:%d", p.point, n), statement)
				s := start(t, nil, e.args()...)
				e.agree(s)
				if verb == "RELOAD" {
					s.rows(statement)
					e.agree(s)
					require.Equal(t, [][]string{{"loaded"}}, s.rows("SELECT state FROM smelt.files WHERE `table` = 'bronze' AND path LIKE '%"+file+"'"))
				}
				s.stop()
				e.proven()
			}
		}
	}
}

// TestACrashWhileValuesComeBackLeavesOldOrNew kills the program in the statement that makes columns of what was rescued.
func TestACrashWhileValuesComeBackLeavesOldOrNew(t *testing.T) {
	const rescue = ", schemaEvolutionMode => 'rescue'"
	e := newEdited(t, rescue)
	e.add(4, "")
	s := start(t, nil, e.args()...)
	e.agree(s)
	for round, p := range editPoints {
		e.defined(rescue)
		s.rows(bronzeOf(rescue))
		field := fmt.Sprintf("f%d", round)
		e.add(2, fmt.Sprintf(", %q: %d", field, round))
		e.agree(s)
		rows := int64(len(e.ids[filepath.Join(e.watch, "in", fmt.Sprintf("%06d.json", e.files-2))]) + len(e.ids[filepath.Join(e.watch, "in", fmt.Sprintf("%06d.json", e.files-1))]))
		s.eventually("SELECT COUNT(_rescued_data) FROM bronze", rows)
		s.stop()

		e.dying(p.point, bronzeOf(""))
		s = start(t, nil, e.args()...) // with the old definition, which is the new one of a table that has the other
		e.agree(s)
		column := fmt.Sprintf("SELECT COUNT(*) FROM information_schema.columns WHERE table_name = 'bronze' AND column_name = '%s'", field)
		if s.rows(column)[0][0] == "0" {
			s.eventually("SELECT COUNT(_rescued_data) FROM bronze", rows)
			s.rows(bronzeOf(""))
		}
		s.eventually("SELECT COUNT(_rescued_data) FROM bronze", 0)
		s.eventually("SELECT COUNT("+field+") FROM bronze", rows)
		e.agree(s)
		require.Equal(t, "0", s.rows("SELECT COUNT(*) FROM smelt.history WHERE operation = 'FULL REFRESH'")[0][0])
	}
	e.defined("")
	s.stop()
	e.proven()
}

// TestACrashWhileTypesBecomeWiderLosesAndDoublesNothing kills the program while bronze, and then silver, become wider and
// take the rows that asked for it.
func TestACrashWhileTypesBecomeWiderLosesAndDoublesNothing(t *testing.T) {
	for _, at := range []string{"data-synced:1", "commit-linked:1", "data-synced:2", "commit-linked:2", "commit-synced:3", "commit-linked:3", "commit-synced:4", "commit-acknowledged:4"} {
		t.Run(at, func(t *testing.T) {
			m := &mortal{t: t, watch: t.TempDir(), data: t.TempDir(), pipeline: t.TempDir()}
			put(t, filepath.Join(m.pipeline, "p.sql"), `
CREATE OR REFRESH STREAMING TABLE bronze AS SELECT * FROM STREAM read_files('in', format => 'json', schemaEvolutionMode => 'addNewColumnsWithTypeWidening');
CREATE OR REFRESH STREAMING TABLE silver AS SELECT id, price FROM STREAM(bronze);
CREATE OR REFRESH MATERIALIZED VIEW totals AS SELECT COUNT(*) AS n, SUM(price) AS price FROM silver;`)
			put(t, filepath.Join(m.watch, "in", "1.json"), `{"id": 1, "price": 3}`)
			s := start(t, nil, m.args()...)
			s.eventually("SELECT n FROM totals", 1)
			s.stop()
			cmd := m.launch(killfs.Variable + "=" + at)
			put(t, filepath.Join(m.watch, "in", "2.json"), `{"id": 2, "price": 0.5}`)
			dies(t, cmd, at)
			s = start(t, nil, m.args()...)
			s.eventually("SELECT n FROM totals", 2)
			require.Equal(t, [][]string{{"1", "3", ""}, {"2", "0.5", ""}}, s.rows("SELECT id, price, COALESCE(_rescued_data, '') FROM bronze ORDER BY id"))
			require.Equal(t, [][]string{{"1", "3"}, {"2", "0.5"}}, s.rows("SELECT id, price FROM silver ORDER BY id"))
			require.Equal(t, [][]string{{"3.5"}}, s.rows("SELECT price FROM totals"))
			s.stop()
			(&edited{mortal: m}).proven()
		})
	}
}
