package engine

import (
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// watcher is an engine over one directory, and a client.
type watcher struct {
	t   *testing.T
	in  string
	cfg Config
	e   *Engine
	db  *sql.DB
}

func newWatcher(t *testing.T) *watcher {
	t.Helper()
	dir := t.TempDir()
	w := &watcher{t: t, in: filepath.Join(dir, "in"), cfg: Config{DataDir: filepath.Join(dir, "data"), Watch: dir, Listen: "127.0.0.1:0"}}
	require.NoError(t, os.MkdirAll(w.in, 0o755))
	w.start()
	t.Cleanup(func() { require.NoError(t, w.e.Close(context.Background())) })
	return w
}

func (w *watcher) start() {
	w.t.Helper()
	var err error
	w.e, err = Open(context.Background(), w.cfg)
	require.NoError(w.t, err)
	w.db, err = sql.Open("mysql", "root@tcp("+w.e.Address()+")/live")
	require.NoError(w.t, err)
	w.t.Cleanup(func() { _ = w.db.Close() })
}

// proven closes the engine, proves what lies on the disk, and starts another.
func (w *watcher) proven() {
	w.t.Helper()
	require.NoError(w.t, w.e.Close(context.Background()))
	cfg := w.cfg
	cfg.Listen = ""
	out, err := check(w.t, cfg)
	require.NoError(w.t, err, out)
	w.start()
}

func (w *watcher) run(statement string) string {
	return runStatement(w.t.Context(), w.db, statement, false)
}

// drop puts a file into the directory that counts as whole.
func (w *watcher) drop(name, content string) {
	w.t.Helper()
	path := filepath.Join(w.in, name)
	hidden := filepath.Join(w.in, "."+name)
	require.NoError(w.t, os.WriteFile(hidden, []byte(content), 0o644))
	old := time.Now().Add(-time.Minute)
	require.NoError(w.t, os.Chtimes(hidden, old, old))
	require.NoError(w.t, os.Rename(hidden, path))
}

// patience is how long a test waits for what must come: the machine may be busy.
const patience = 2 * time.Minute

func (w *watcher) eventually(want, query string) {
	w.t.Helper()
	got := ""
	defer func() {
		if w.t.Failed() {
			w.t.Logf("got:\n%s\nstreams:\n%s", got, w.run("SELECT * FROM smelt.streams"))
		}
	}()
	require.Eventually(w.t, func() bool { got = w.run(query); return got == want }, patience, 20*time.Millisecond, query)
}

// bronze is the definition with these options.
func bronze(options string) string {
	return "CREATE OR REFRESH STREAMING TABLE bronze AS SELECT * FROM STREAM read_files('in'" + options + ")"
}

// withoutPath is a column without the path of the file.
const withoutPath = "JSON_REMOVE(_rescued_data, '$._file_path') AS rescued"

// TestRescuedValuesComeBackIntoNewColumns changes the options of a table again and again.
func TestRescuedValuesComeBackIntoNewColumns(t *testing.T) {
	w := newWatcher(t)
	w.drop("1", `{"id": 1}`)
	require.Equal(t, "ok", w.run(bronze(", schemaEvolutionMode => 'rescue'")))
	require.Equal(t, "ok", w.run("CREATE STREAMING TABLE silver AS SELECT * FROM STREAM(bronze)"))
	require.Equal(t, "ok", w.run("CREATE MATERIALIZED VIEW app AS SELECT COUNT(*) AS n, SUM(_rescued_data IS NOT NULL) AS rescued FROM bronze"))
	w.eventually("id\n1\n", "SELECT id FROM silver")
	w.drop("2", `{"id": 2, "city": "Ulm", "size": 3} {"id": 3, "size": "large"} {"id": 4}`)
	w.eventually("n | rescued\n4 | 2\n", "SELECT * FROM app")
	w.eventually("n\n4\n", "SELECT COUNT(*) AS n FROM silver")
	generation := w.run("SELECT MAX(version) AS v FROM smelt.history WHERE `table` = 'bronze' AND operation = 'FULL REFRESH'")

	// A hint adds its column, in the mode as it is.
	require.Equal(t, "ok", w.run(bronze(", schemaEvolutionMode => 'rescue', schemaHints => 'size INT'")))
	require.Equal(t, "id | size | rescued\n1 | NULL | NULL\n2 | 3 | {\"city\": \"Ulm\"}\n3 | NULL | {\"size\": \"large\"}\n4 | NULL | NULL\n",
		w.run("SELECT id, size, "+withoutPath+" FROM bronze ORDER BY id"))
	require.Equal(t, "op\nBACKFILL\n", w.run("SELECT operation AS op FROM smelt.history WHERE `table` = 'bronze' ORDER BY version DESC LIMIT 1"))
	w.eventually("n | rescued\n4 | 2\n", "SELECT * FROM app")
	w.eventually("late\n0\n", "SELECT lag_seconds AS late FROM smelt.streams WHERE `table` = 'silver'")

	// Another mode makes columns of what is there. Files that cleanSource took, as this one, keep their rows.
	require.NoError(t, os.Remove(filepath.Join(w.in, "2")))
	require.Equal(t, "ok", w.run(bronze(", schemaHints => 'size INT'")))
	require.Equal(t, "id | size | city | rescued\n1 | NULL | NULL | NULL\n2 | 3 | Ulm | NULL\n3 | NULL | NULL | {\"size\": \"large\"}\n4 | NULL | NULL | NULL\n",
		w.run("SELECT id, size, city, "+withoutPath+" FROM bronze ORDER BY id"))
	w.eventually("n | rescued\n4 | 1\n", "SELECT * FROM app")
	require.Equal(t, generation, w.run("SELECT MAX(version) AS v FROM smelt.history WHERE `table` = 'bronze' AND operation = 'FULL REFRESH'"))

	// The stream behind goes on: it has seen these rows, and takes the columns with the next.
	w.drop("3", `{"id": 5, "city": "Bonn", "new": true}`)
	w.eventually("id | city | new\n1 | NULL | NULL\n2 | NULL | NULL\n3 | NULL | NULL\n4 | NULL | NULL\n5 | Bonn | 1\n", "SELECT id, city, new FROM silver ORDER BY id")
	w.eventually("n | rescued\n5 | 1\n", "SELECT * FROM app")

	// What may change without any row: nothing is read again.
	require.Equal(t, "ok", w.run(bronze(", schemaHints => 'size INT', maxFilesPerTrigger => '7'")))
	require.Equal(t, "op\nALTER TABLE\n", w.run("SELECT operation AS op FROM smelt.history WHERE `table` = 'bronze' ORDER BY version DESC LIMIT 1"))
	w.proven()
	w.drop("4", `{"id": 6, "city": "Jena"}`)
	w.eventually("n | cities\n6 | 3\n", "SELECT COUNT(*) AS n, COUNT(city) AS cities FROM bronze")

	// Other hints and formats are another table.
	require.NoError(t, os.Remove(filepath.Join(w.in, "1")))
	require.Equal(t, "ok", w.run(bronze(", schemaHints => 'size STRING'")))
	w.eventually("ids\n5,6\n", "SELECT GROUP_CONCAT(id ORDER BY id) AS ids FROM bronze")
}

func TestFilesThatTheModeRefusedAreReadUnderAnother(t *testing.T) {
	w := newWatcher(t)
	w.drop("1", `{"id": 1}`)
	require.Equal(t, "ok", w.run(bronze(", schemaEvolutionMode => 'failOnNewColumns'")))
	w.eventually("id\n1\n", "SELECT id FROM bronze")
	w.drop("2", `{"id": 2, "city": "Ulm"}`)
	w.eventually("n\n1\n", "SELECT COUNT(*) AS n FROM smelt.files WHERE state = 'failed' AND error LIKE '%failOnNewColumns%'")
	require.Equal(t, "ok", w.run(bronze("")))
	w.eventually("id | city\n1 | NULL\n2 | Ulm\n", "SELECT id, city FROM bronze ORDER BY id")
	w.proven()
}

// TestAFieldWithTheNameOfAnotherColumnDoesNotStopTheFlow has a file bring a field that the SELECT names beside its *.
func TestAFieldWithTheNameOfAnotherColumnDoesNotStopTheFlow(t *testing.T) {
	w := newWatcher(t)
	w.drop("1", `{"id": 1}`)
	require.Equal(t, "ok", w.run("CREATE STREAMING TABLE bronze AS SELECT *, _metadata.file_name AS file, id * 2 AS twice FROM STREAM read_files('in')"))
	w.eventually("id | file | twice\n1 | 1 | 2\n", "SELECT id, file, twice FROM bronze")
	w.drop("2", `{"id": 2, "File": "x", "twice": 5, "new": 1}`)
	w.eventually("id | file | twice | new | rescued\n1 | 1 | 2 | NULL | NULL\n2 | 2 | 4 | 1 | {\"File\": \"x\", \"twice\": 5}\n", "SELECT id, file, twice, new, "+withoutPath+" FROM bronze ORDER BY id")
	w.proven()
	w.drop("3", `{"id": 3, "file": "y"}`)
	w.eventually("id | file\n3 | 3\n", "SELECT id, file FROM bronze WHERE id = 3")
	require.Contains(t, w.run("CREATE STREAMING TABLE other AS SELECT *, 1 AS twice FROM STREAM read_files('in')"), "twice", "who defines it is told")
}

// TestTypesBecomeWiderAlongThePipeline has a bronze column become DOUBLE, which silver follows and another cannot.
func TestTypesBecomeWiderAlongThePipeline(t *testing.T) {
	w := newWatcher(t)
	const mode = ", schemaEvolutionMode => 'addNewColumnsWithTypeWidening'"
	w.drop("1", `{"id": 1, "price": 3, "key": 9007199254740993}`)
	require.Equal(t, "ok", w.run(bronze(mode)))
	for _, statement := range []string{"CREATE STREAMING TABLE silver AS SELECT id, price FROM STREAM(bronze)",
		"CREATE STREAMING TABLE large AS SELECT id, price + 9007199254740993 AS price FROM STREAM(bronze)",
		"CREATE MATERIALIZED VIEW app AS SELECT SUM(price) AS price FROM silver"} {
		require.Equal(t, "ok", w.run(statement))
	}
	w.eventually("price\n3\n", "SELECT price FROM app")
	w.eventually("price\n9007199254740996\n", "SELECT price FROM large")
	w.drop("2", `{"id": 2, "price": 3.25, "key": 0.5}`)
	w.eventually("n\n2\n", "SELECT COUNT(*) AS n FROM silver")
	w.eventually("price\n6.25\n", "SELECT price FROM app")
	require.Equal(t, "id | price | key\n1 | 3 | 9007199254740993.000000000000000000\n2 | 3.25 | 0.500000000000000000\n", w.run("SELECT id, price, `key` FROM bronze ORDER BY id"))
	require.Equal(t, "n\n0\n", w.run("SELECT COUNT(_rescued_data) AS n FROM bronze"))
	require.Contains(t, w.run("SELECT column_name AS c, column_type AS t FROM information_schema.columns WHERE table_name = 'silver' AND column_name = 'price'"), "double")
	w.eventually("state | hint\nretrying | 1\n", "SELECT state, last_error LIKE '%FULL rebuilds the table' AS hint FROM smelt.streams WHERE `table` = 'large'")
	w.proven()
	w.drop("3", `{"id": 3, "price": 0.5, "key": 7}`)
	w.eventually("price\n6.75\n", "SELECT price FROM app")
	require.Equal(t, "ok", w.run("REFRESH STREAMING TABLE large FULL"))
	w.eventually("n\n3\n", "SELECT COUNT(*) AS n FROM large")
}

// TestTheQuarantineBecomesWiderToo has rows in quarantine when a column becomes wider, and some that could not follow.
func TestTheQuarantineBecomesWiderToo(t *testing.T) {
	w := newWatcher(t)
	w.drop("1", `{"id": 1, "price": 3} {"id": -2, "price": 4}`)
	require.Equal(t, "ok", w.run("CREATE STREAMING TABLE bronze (CONSTRAINT positive EXPECT (id > 0) ON VIOLATION QUARANTINE)"+
		" AS SELECT * FROM STREAM read_files('in', schemaEvolutionMode => 'addNewColumnsWithTypeWidening')"))
	w.eventually("n\n1\n", "SELECT COUNT(*) AS n FROM bronze__quarantine")
	w.drop("2", `{"id": 3, "price": 0.5} {"id": -4, "price": 9007199254740992}`)
	w.eventually("id | price\n-4 | 9007199254740992\n-2 | 4\n", "SELECT id, CAST(price AS SIGNED) AS price FROM bronze__quarantine ORDER BY id")
	w.eventually("id | price\n1 | 3\n3 | 0.5\n", "SELECT id, price FROM bronze ORDER BY id")
	w.proven()

	w.drop("3", `{"id": 5, "price": 1, "key": 1} {"id": -6, "price": 1, "key": 9007199254740993}`)
	w.eventually("n\n3\n", "SELECT COUNT(*) AS n FROM bronze__quarantine")
	w.drop("4", `{"id": 7, "price": 1, "key": 0.5}`)
	w.eventually("id | key\n5 | 1.000000000000000000\n7 | 0.500000000000000000\n", "SELECT id, `key` FROM bronze WHERE `key` IS NOT NULL ORDER BY id")
	w.eventually("key\n9007199254740993.000000000000000000\n", "SELECT `key` FROM bronze__quarantine WHERE id = -6")
	w.proven()
}

// TestValuesThatDidNotFitComeBackWhenTypesBecomeWider switches the mode of a table that has rescued values.
func TestValuesThatDidNotFitComeBackWhenTypesBecomeWider(t *testing.T) {
	w := newWatcher(t)
	w.drop("1", `{"id": 1, "price": 3}`)
	require.Equal(t, "ok", w.run(bronze("")))
	w.eventually("n\n1\n", "SELECT COUNT(*) AS n FROM bronze")
	w.drop("2", `{"id": 2, "price": 3.25} {"id": 3, "price": "free"}`)
	w.eventually("n | rescued\n3 | 2\n", "SELECT COUNT(*) AS n, COUNT(_rescued_data) AS rescued FROM bronze")
	require.Equal(t, "ok", w.run(bronze(", schemaEvolutionMode => 'addNewColumnsWithTypeWidening'")))
	require.Equal(t, "id | price | rescued\n1 | 3 | NULL\n2 | 3.25 | NULL\n3 | NULL | {\"price\": \"free\"}\n", w.run("SELECT id, price, "+withoutPath+" FROM bronze ORDER BY id"))
	w.proven()
}
