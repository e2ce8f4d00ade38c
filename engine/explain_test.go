package engine

import (
	"context"
	"database/sql"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/stretchr/testify/require"

	"smelt/queries/ddl"
	"smelt/queries/lineage"
	"smelt/tables"
)

var explainSeed = flag.Uint64("explain.seed", 0, "seed of TestExplainRowNamesTheFilesWithoutWhichTheRowIsNotThere; 0 takes a few")

// world is a random pipeline and its files.
type world struct {
	r     *rand.Rand
	dir   string
	files map[string]string // path below dir -> content
	sql   []string
	last  string // the table that is explained
	runs  int
}

func newWorld(t *testing.T, seed uint64) *world {
	w := &world{r: rand.New(rand.NewPCG(seed, 7)), dir: t.TempDir(), files: map[string]string{}}
	for _, d := range []string{"a", "b"} {
		for i := range 2 + w.r.IntN(3) {
			var rows []string
			for range 1 + w.r.IntN(4) {
				var words []string
				for range w.r.IntN(3) {
					words = append(words, fmt.Sprintf("%q", w.pick("x", "y")))
				}
				rows = append(rows, fmt.Sprintf(`{"k": %q, "n": %d, "words": [%s]}`, w.pick("p", "q", "r"), w.r.IntN(4), strings.Join(words, ", ")))
			}
			w.files[fmt.Sprintf("%s/%d.json", d, i)] = strings.Join(rows, w.pick("\n", " ", "\n\n"))
		}
	}
	for _, d := range []string{"a", "b"} {
		path := w.pick("", ", source_file", ", _metadata.file_path AS origin")
		w.sql = append(w.sql, fmt.Sprintf("CREATE STREAMING TABLE bronze_%s AS SELECT k, n, words%s FROM STREAM read_files('%s', format => 'json', schemaHints => 'k STRING, n BIGINT, words JSON')", d, path, d))
	}
	w.sql = append(w.sql, "CREATE STREAMING TABLE silver"+w.pick("", " (CONSTRAINT small EXPECT (n < 3) ON VIOLATION DROP ROW)")+" AS "+w.pick(
		"SELECT k, n + 1 AS n FROM STREAM(bronze_a) WHERE n > 0",
		"SELECT UPPER(k) AS k, n, m.word FROM STREAM(bronze_a), JSON_TABLE(words, '$[*]' COLUMNS (word VARCHAR(9) PATH '$')) m",
		"SELECT k, n FROM STREAM(bronze_a) WHERE n <> 1 UNION ALL SELECT k, 2 * n FROM STREAM(bronze_b)",
		"WITH both_sides AS (SELECT k AS kk, n FROM STREAM(bronze_a)) SELECT CONCAT(kk, '!') AS k, n FROM both_sides s",
		"SELECT * FROM (SELECT k, n FROM STREAM(bronze_b) WHERE n < 3) q",
	))
	w.sql = append(w.sql, "CREATE VIEW seen AS SELECT k, n FROM silver"+w.pick("", " WHERE n <> 2"))
	w.last = "app"
	w.sql = append(w.sql, "CREATE MATERIALIZED VIEW app AS "+w.pick(
		"SELECT k, COUNT(*) AS c, SUM(n) AS s FROM silver GROUP BY k",
		"SELECT COUNT(*) AS c, MAX(n) AS top FROM seen",
		"SELECT CAST(n % 2 AS SIGNED) AS odd, k AS name, COUNT(*) AS c FROM seen GROUP BY odd, name HAVING COUNT(*) > 0",
		"SELECT COUNT(*) AS c, MIN(n) AS low, MAX(CONCAT(k, n % 2)) AS is_group FROM silver GROUP BY k, n % 2",
		"SELECT s.k, b.n, b.k AS other FROM silver s JOIN bronze_b b ON b.n = s.n",
		"SELECT s.k, s.n, b.k AS other FROM silver s LEFT JOIN bronze_b b ON b.n = s.n + 1 AND b.k <> 'p'",
		"WITH sums AS (SELECT k, COUNT(*) AS c FROM seen GROUP BY k) SELECT x.k, x.c, y.c AS also FROM sums x JOIN sums y ON y.k = x.k",
		"SELECT k, n FROM silver UNION ALL SELECT k, n FROM bronze_b WHERE n = 3",
		"SELECT q.k, q.c + 1 AS c FROM (SELECT k, COUNT(*) AS c FROM (SELECT k FROM silver UNION ALL SELECT k FROM bronze_b) u GROUP BY k) q",
	))
	return w
}

func (w *world) pick(from ...string) string { return from[w.r.IntN(len(from))] }

// run fills a new data directory from all files but one, and hands the engine over. The files keep their paths.
func (w *world) run(t *testing.T, without string, look func(e *Engine)) {
	w.runs++
	for path, content := range w.files {
		full := filepath.Join(w.dir, path)
		require.NoError(t, os.MkdirAll(filepath.Dir(full), 0o755))
		if path == without {
			require.NoError(t, os.Remove(full))
			continue
		}
		putOld(t, full, content)
	}
	pipeline := filepath.Join(w.dir, "p.sql")
	require.NoError(t, os.WriteFile(pipeline, []byte(strings.Join(w.sql, ";\n")), 0o644))
	e, err := Open(t.Context(), Config{DataDir: filepath.Join(w.dir, fmt.Sprintf("data%d", w.runs)), Pipelines: []string{pipeline}})
	require.NoError(t, err)
	defer func() { require.NoError(t, e.Close(context.Background())) }()
	require.NoError(t, e.Run(t.Context(), nil))
	look(e)
}

// counted returns the rows of the table that is explained, how often each is there, and the first batch of them.
func (w *world) counted(t *testing.T, e *Engine) (map[string]int, *tables.Batch) {
	b, err := e.batch(t.Context(), "SELECT * FROM live."+w.last)
	require.NoError(t, err)
	rows := map[string]int{}
	for i := range b.Len {
		rows[lineage.JSON(b, i)]++
	}
	return rows, b
}

// TestExplainRowNamesTheFilesWithoutWhichTheRowIsNotThere takes random pipelines, explains a row of the last table, and
// runs the pipeline once more without each file: the row must be absent, or there another number of times, exactly without
// those files that were named.
func TestExplainRowNamesTheFilesWithoutWhichTheRowIsNotThere(t *testing.T) {
	seeds := []uint64{*explainSeed}
	if *explainSeed == 0 {
		seeds = seeds[:0]
		fixed := uint64(8)
		if testing.Short() {
			fixed = 2
		}
		for i := range fixed {
			seeds = append(seeds, i+1)
		}
		seeds = append(seeds, uint64(time.Now().UnixNano()))
	}
	for _, seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Logf("go test -explain.seed=%d", seed)
			w := newWorld(t, seed)
			t.Log(strings.Join(w.sql, ";\n"))
			var row string
			var had int
			named := map[string]bool{}
			w.run(t, "", func(e *Engine) {
				rows, b := w.counted(t, e)
				if len(rows) == 0 {
					return
				}
				at := w.r.IntN(b.Len)
				row = lineage.JSON(b, at)
				had = rows[row]
				list, err := e.graph.ExplainRow(t.Context(), &ddl.Inspect{Name: w.last, Where: conditionOf(b, at), Limit: 100}, "live")
				require.NoError(t, err)
				for _, x := range list {
					t.Log(x.ID, x.UsedBy, x.Depth, x.Table, x.Row, x.Copies, x.File, x.Line, x.Note)
					require.NotRegexp(t, "not (known|found|followed)", x.Note, "everything here can be told")
					if x.File != "" {
						named[strings.TrimPrefix(x.File, w.dir+"/")] = true
						w.checkLine(t, x)
					}
				}
			})
			if row == "" {
				t.Skip("skipped: with this seed the table has no row")
			}
			for _, path := range slices.Sorted(maps.Keys(w.files)) {
				w.run(t, path, func(e *Engine) {
					rows, _ := w.counted(t, e)
					require.Equal(t, rows[row] != had, named[path], "row %s, %d times; %d times without %s", row, had, rows[row], path)
				})
			}
		})
	}
}

// checkLine looks whether the row begins in the line that was named.
func (w *world) checkLine(t *testing.T, x lineage.Explained) {
	lines := strings.Split(w.files[strings.TrimPrefix(x.File, w.dir+"/")], "\n")
	require.LessOrEqual(t, x.Line, int64(len(lines)))
	first, _, _ := strings.Cut(x.Row, ", \"_rescued")
	require.Contains(t, lines[x.Line-1], first)
}

// conditionOf is a condition that a row meets, and those that are equal to it.
func conditionOf(b *tables.Batch, row int) string {
	var parts []string
	for i, f := range b.Schema {
		c := &b.Columns[i]
		switch {
		case c.Null(row):
			parts = append(parts, f.Name+" IS NULL")
		case c.Strings != nil:
			parts = append(parts, fmt.Sprintf("%s = '%s'", f.Name, c.Strings[row]))
		default:
			parts = append(parts, fmt.Sprintf("%s = %d", f.Name, c.Ints[row]))
		}
	}
	return strings.Join(parts, " AND ")
}

// TestExplainRowScripts runs the scripts over a server: `file` writes a file, `remove` takes one away, `pipeline` starts the
// server and fills its tables, `sql` runs a statement as a client does. Of EXPLAIN ROW the version, which tells how files
// fell into batches, is left out, and the models.
func TestExplainRowScripts(t *testing.T) {
	datadriven.Walk(t, "testdata/explain", func(t *testing.T, path string) {
		dir := t.TempDir()
		var db *sql.DB
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "file":
				full := filepath.Join(dir, d.CmdArgs[0].Key)
				require.NoError(t, os.MkdirAll(filepath.Dir(full), 0o755))
				putOld(t, full, d.Input)
			case "remove":
				require.NoError(t, os.Remove(filepath.Join(dir, d.CmdArgs[0].Key)))
			case "pipeline":
				db = servePipeline(t, dir, d.Input)
			case "sql":
				return strings.ReplaceAll(explained(t, db, d.Input), dir, "DIR")
			default:
				d.Fatalf(t, "unknown command %s", d.Cmd)
			}
			return ""
		})
	})
}

// servePipeline fills the tables of a pipeline and serves them.
func servePipeline(t *testing.T, dir, text string) *sql.DB {
	pipeline := filepath.Join(dir, "p.sql")
	require.NoError(t, os.WriteFile(pipeline, []byte(text), 0o644))
	cfg := Config{DataDir: filepath.Join(dir, "data"), Pipelines: []string{pipeline}}
	require.NoError(t, RunBatch(t.Context(), cfg, io.Discard))
	cfg.Listen = "127.0.0.1:0"
	e, err := Open(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, e.Close(context.Background())) })
	db, err := sql.Open("mysql", "root@tcp("+e.Address()+")/live")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	for _, f := range e.graph.Flows() {
		_, err := db.ExecContext(t.Context(), "REFRESH "+f.Table) // its directory is open then
		require.NoError(t, err)
	}
	return db
}

// explained runs a statement; rows of EXPLAIN ROW stand as far to the right as they are deep.
func explained(t *testing.T, db *sql.DB, statement string) string {
	if !strings.HasPrefix(statement, "EXPLAIN") {
		versions := regexp.MustCompile(`in \d+ data files are those of version \d+`)
		return versions.ReplaceAllString(runStatement(t.Context(), db, statement, false), "in its data files are those of its version")
	}
	rows, err := db.QueryContext(t.Context(), statement)
	if err != nil {
		return printError(err)
	}
	defer rows.Close()
	var out strings.Builder
	times := regexp.MustCompile(`"20[0-9-]+ [0-9:.]+"`)
	for rows.Next() {
		var depth, id int64
		var version, line, copies sql.NullInt64
		var table, row, file, flow, models, rules, note, usedBy sql.NullString
		require.NoError(t, rows.Scan(&depth, &table, &version, &row, &file, &line, &flow, &models, &rules, &note, &copies, &id, &usedBy))
		fmt.Fprintf(&out, "%s%d", strings.Repeat("  ", int(depth)), id)
		for _, part := range []struct {
			name string
			text sql.NullString
		}{{"", table}, {"", file}, {"", row}, {"flow ", flow}, {"rules ", rules}, {"-- ", note}, {"used by ", usedBy}} {
			if part.text.Valid {
				out.WriteString(" " + part.name + times.ReplaceAllString(part.text.String, `"TIME"`))
			}
			if part.text == file && line.Valid {
				fmt.Fprintf(&out, " line %d", line.Int64)
			}
		}
		if copies.Int64 > 1 {
			fmt.Fprintf(&out, " %d times", copies.Int64)
		}
		out.WriteString("\n")
	}
	if err := rows.Err(); err != nil {
		return printError(err)
	}
	return out.String()
}
