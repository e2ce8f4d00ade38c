package engine

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// wire opens a client of an engine.
func wire(t *testing.T, e *Engine) *sql.DB {
	t.Helper()
	db, err := sql.Open("mysql", "root@tcp("+e.Address()+")/live")
	require.NoError(t, err)
	db.SetMaxOpenConns(1) // so that USE and SHOW WARNINGS mean what was asked before
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

// labels is the labelled texts of the pipeline battle, as VALUES.
func labels(t testing.TB) string {
	t.Helper()
	data, err := os.ReadFile("../queries/battle/labels/labels.jsonl")
	require.NoError(t, err)
	var rows []string
	for line := range strings.Lines(string(data)) {
		var row struct{ Text, Label string }
		require.NoError(t, json.Unmarshal([]byte(line), &row))
		rows = append(rows, fmt.Sprintf("('%s', '%s')", strings.ReplaceAll(row.Text, "'", "''"), row.Label))
	}
	return strings.Join(rows, ", ")
}

// digests are what differs from one program to the next: its models may be others.
var digests = regexp.MustCompile(`[0-9a-f]{64}`)

// TestTraining runs the scripts of testdata/training over a whole engine with the tables labels (label, text) of two subjects,
// and many (text, label) with a JSON array of labels.
func TestTraining(t *testing.T) {
	datadriven.Walk(t, "testdata/training", func(t *testing.T, path string) {
		db := wire(t, serving(t, nil))
		for _, statement := range []string{
			"CREATE TABLE labels (label VARCHAR(20), text VARCHAR(200))",
			"CREATE TABLE many (text VARCHAR(200), label JSON)",
		} {
			_, err := db.Exec(statement)
			require.NoError(t, err)
		}
		var rows, many []string
		for i := range 20 {
			sport, money := fmt.Sprintf("the match ended %d to 1, what a goal by our striker", i), fmt.Sprintf("shares fell %d percent after quarterly earnings, the market is nervous", i)
			rows = append(rows, "('sport', '"+sport+"')", "('money', '"+money+"')")
			many = append(many, "('"+sport+"', '[\"sport\"]')", "('"+money+"', '[\"money\"]')", "('"+sport+" and "+money+"', '[\"sport\", \"money\"]')")
		}
		_, err := db.Exec("INSERT INTO labels VALUES " + strings.Join(rows, ", "))
		require.NoError(t, err)
		_, err = db.Exec("INSERT INTO many VALUES " + strings.Join(many, ", "))
		require.NoError(t, err)
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			require.Equal(t, "sql", d.Cmd)
			return digests.ReplaceAllString(changing.ReplaceAllString(runStatement(t.Context(), db, d.Input, false), "TIME"), "DIGEST")
		})
	})
}

// trainingLimit is three times what 250 rows may take: the machine of a test has other things to do.
const trainingLimit = 15 * time.Second

func TestTwoHundredAndFiftyRowsAreLearnedInSeconds(t *testing.T) {
	db := wire(t, serving(t, nil))
	for _, statement := range []string{"CREATE TABLE labels (text VARCHAR(300), label VARCHAR(30))", "INSERT INTO labels VALUES " + labels(t)} {
		_, err := db.Exec(statement)
		require.NoError(t, err)
	}
	began := time.Now()
	rows, err := db.Query("CREATE MODEL category OPTIONS (encoder = 'encoder') AS SELECT text, label FROM labels")
	require.NoError(t, err)
	require.NoError(t, rows.Close())
	require.Less(t, time.Since(began), trainingLimit)
	var n, learned int
	require.NoError(t, db.QueryRow("SELECT training_rows, JSON_LENGTH(labels) FROM smelt.model_versions v JOIN smelt.models m ON m.name = v.name WHERE v.name = 'category'").Scan(&n, &learned))
	require.Equal(t, 250, n)
	require.Equal(t, 11, learned)
}

// TestATrainingOutlivesTheTimeOfAStatementAndEndsByKill trains for longer than a statement may take, and then kills one.
func TestATrainingOutlivesTheTimeOfAStatementAndEndsByKill(t *testing.T) {
	const limit = 250 * time.Millisecond
	e := serving(t, func(c *Config) { c.StatementTimeout = limit })
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	db := wire(t, e)
	require.NoError(t, e.sql.exec(ctx, defaultDatabase, "CREATE TABLE labels (text VARCHAR(300), label VARCHAR(30))"))
	require.NoError(t, e.sql.exec(ctx, defaultDatabase, "INSERT INTO labels VALUES "+labels(t)))
	began := time.Now()
	_, err := db.ExecContext(ctx, "CREATE MODEL category OPTIONS (encoder = 'encoder') AS SELECT text, label FROM labels")
	require.NoError(t, err)
	require.Greater(t, time.Since(began), limit)

	var id int64
	require.NoError(t, db.QueryRow("SELECT CONNECTION_ID()").Scan(&id))
	failed := make(chan error, 1)
	go func() {
		_, err := db.ExecContext(ctx, "CREATE MODEL other OPTIONS (encoder = 'encoder') AS SELECT CONCAT(a.text, b.label) AS text, a.label FROM labels a, labels b")
		failed <- err
	}()
	killer := wire(t, e)
	require.Eventually(t, func() bool {
		_, err := killer.Exec(fmt.Sprintf("KILL QUERY %d", id))
		require.NoError(t, err)
		select {
		case err := <-failed:
			require.ErrorContains(t, err, "interrupted")
			return true
		default:
			return false
		}
	}, time.Minute, 50*time.Millisecond)
	require.Contains(t, sqlRows(t, e, "SELECT COUNT(*) AS n FROM smelt.models WHERE name = 'other'"), "0")
}

// eventuallySQL waits until a query answers so.
func eventuallySQL(t *testing.T, e *Engine, statement, want string) {
	t.Helper()
	last := ""
	if !assert.Eventually(t, func() bool { last = sqlRows(t, e, statement); return strings.Contains(last, want) }, time.Minute, 20*time.Millisecond) {
		t.Fatalf("%s: want %s, got\n%s\n%s", statement, want, last, sqlRows(t, e, "SELECT name, training_state, training_reason FROM smelt.models WHERE training IS NOT NULL"))
	}
}

// teach fills a table of labels.
func teach(t *testing.T, e *Engine, statements ...string) {
	t.Helper()
	for _, s := range statements {
		require.NoError(t, e.sql.exec(t.Context(), defaultDatabase, s), s)
	}
}

func TestAModelLearnsAgainWhenItsLabelsChange(t *testing.T) {
	dir := t.TempDir()
	e := serving(t, func(c *Config) { c.DataDir = dir })
	const (
		some  = "INSERT INTO labels VALUES ('the match ended 2 to 1', 'sport'), ('a goal by our striker', 'sport'), ('shares fell after earnings', 'money'), ('the market is nervous', 'money')"
		more  = "INSERT INTO labels VALUES ('flour, butter and sugar make a cake', 'food'), ('the soup needs salt', 'food')"
		state = "SELECT v.version, v.current, v.training_rows, v.created_by FROM smelt.model_versions v WHERE v.name = 'subject' ORDER BY v.version DESC LIMIT 1"
	)
	teach(t, e, "CREATE TABLE labels (text VARCHAR(99), label VARCHAR(99))", some,
		"CREATE MODEL subject OPTIONS (encoder = 'encoder', c = 10) TRIGGER ON UPDATE AS SELECT text, label FROM labels",
		"CREATE MODEL eager OPTIONS (encoder = 'encoder', c = 10, promote = 'always') SCHEDULE EVERY 1 SECOND AS SELECT text, label FROM labels",
		"CREATE MODEL better OPTIONS (encoder = 'encoder', c = 10, promote = 'better') TRIGGER ON UPDATE AS SELECT text, label FROM labels",
		"CREATE MODEL broken OPTIONS (encoder = 'encoder', c = 10) TRIGGER ON UPDATE AS SELECT text, label FROM labels WHERE label <> 'sport' OR text <> 'the soup needs salt'",
		"CREATE MATERIALIZED VIEW v AS SELECT text, eager(text) AS s FROM labels", more)
	eventuallySQL(t, e, state, `2 | 0 | 6 | smelt`)
	eventuallySQL(t, e, "SELECT COUNT(*) AS n FROM v WHERE s = 'food'", "2")
	require.Contains(t, sqlRows(t, e, "SELECT version, JSON_EXTRACT(aliases, '$.production') AS production FROM smelt.models WHERE name = 'subject'"), "1 | 1")
	eventuallySQL(t, e, "SELECT COUNT(*) AS n FROM smelt.models WHERE name = 'better' AND versions = 2", "1")

	// What fails is said, and the version in use stays.
	teach(t, e, "DELETE FROM labels WHERE label <> 'sport'")
	eventuallySQL(t, e, "SELECT training_state, training_reason FROM smelt.models WHERE name = 'subject'", "retrying | retrain model \"subject\": cannot be trained on these rows: all 2 have the label \"sport\"")
	require.Contains(t, sqlRows(t, e, "SELECT subject('a goal by our striker') AS s"), "sport")
	require.NoError(t, e.Close(t.Context()))

	// Nothing is forgotten over a restart, and what changed meanwhile is learned.
	e = serving(t, func(c *Config) { c.DataDir = dir })
	eventuallySQL(t, e, "SELECT training_state, schedule, training FROM smelt.models WHERE name = 'subject'", "retrying | TRIGGER ON UPDATE | SELECT text, label FROM labels")
	teach(t, e, "INSERT INTO labels VALUES ('shares rose after earnings', 'money')")
	eventuallySQL(t, e, state, `3 | 0 | 3 | smelt`)
	teach(t, e, "DROP MATERIALIZED VIEW v", "DROP TABLE labels")
	teach(t, e, "CREATE OR REPLACE MODEL eager OPTIONS (encoder = 'encoder') AS SELECT 'a' AS text, 'x' AS label UNION ALL SELECT 'b', 'y'")
	eventuallySQL(t, e, "SELECT training_state, training_reason FROM smelt.models WHERE name = 'subject'", "labels")
	eventuallySQL(t, e, "SELECT training_state, schedule, next_training FROM smelt.models WHERE name = 'eager'", "learned | NULL | NULL")
}

func TestAPipelineMayAskAModelThatItMakesLearn(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		require.NoError(t, os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	write("texts/1.json", `{"text": "a late goal won the match"} {"text": "the market fell"}`)
	const script = `
		CREATE STREAMING TABLE asked AS SELECT text, subject(text) AS said FROM STREAM(texts);
		CREATE MATERIALIZED VIEW counted AS SELECT said, COUNT(*) AS n FROM asked GROUP BY said;
		CREATE STREAMING TABLE texts AS SELECT text FROM STREAM read_files('texts', format => 'json', schemaHints => 'text STRING');
		CREATE STREAMING TABLE labels AS SELECT text, label FROM STREAM read_files('labels', format => 'json', schemaHints => 'text STRING, label STRING');
		CREATE OR REPLACE MODEL subject OPTIONS (encoder = 'encoder', c = 10) COMMENT 'what it is about' AS SELECT text, label FROM labels;`
	write("p.sql", script)
	write("labels/.hidden", "")
	run := func(with string) (string, error) {
		write("p.sql", with)
		var out strings.Builder
		err := RunBatch(t.Context(), Config{OnnxLibrary: onnxLibrary(t), DataDir: filepath.Join(dir, "lake"), Pipelines: []string{filepath.Join(dir, "p.sql")}}, &out)
		return out.String(), err
	}
	open := func() *Engine {
		return serving(t, func(c *Config) {
			c.DataDir, c.Pipelines = filepath.Join(dir, "lake"), []string{filepath.Join(dir, "p.sql")}
		})
	}
	// Without labels everything else is there, and what asks the model waits.
	_, err := run(script)
	require.NoError(t, err)
	e := open()
	eventuallySQL(t, e, "SELECT version, training_reason FROM smelt.models WHERE name = 'subject'", "0 | the tables of its SELECT have no rows")
	eventuallySQL(t, e, "SELECT state, reason FROM smelt.streams WHERE `table` = 'asked'", "waiting | model subject has learned nothing yet")
	_, err = wire(t, e).Query("SELECT subject('x')")
	require.ErrorContains(t, err, "has learned nothing yet")
	require.Contains(t, runStatement(t.Context(), wire(t, e), "EXPLAIN PIPELINE", false), "asked")
	write("labels/1.json", `{"text": "the match ended 2 to 1", "label": "sport"} {"text": "a goal by our striker", "label": "sport"} {"text": "shares fell after earnings", "label": "money"} {"text": "the market is nervous", "label": "money"}`)
	eventuallySQL(t, e, "SELECT said, n FROM counted ORDER BY said", "money | 1\nsport | 1")
	require.NoError(t, e.Close(t.Context()))

	// The same text does nothing, another one has it learn again and answers at once, a broken one changes nothing.
	history := func() string {
		e := open()
		defer e.Close(context.Background())
		return sqlRows(t, e, "SELECT operation, version FROM smelt.model_history WHERE name = 'subject'")
	}
	before := history()
	_, err = run(script)
	require.NoError(t, err)
	require.Equal(t, before, history())
	_, err = run(strings.Replace(script, "AS SELECT text, label FROM labels;", "AS SELECT text, UPPER(label) AS label FROM labels;", 1))
	require.NoError(t, err)
	e = open()
	require.Contains(t, sqlRows(t, e, "SELECT said, n FROM counted ORDER BY said"), "MONEY | 1\nSPORT | 1")
	require.NoError(t, e.Close(t.Context()))
	before = history()
	for with, want := range map[string]string{
		"AS SELECT text, label FROM nowhere;":             "nowhere",
		"AS SELECT text, topic FROM labels;":              "topic",
		"AS SELECT text, label AS a, 1 AS b FROM labels;": "a text and its label",
		"AS SELECT text, label FROM labels; CREATE MATERIALIZED VIEW x AS SELECT nothing(text) AS y FROM labels;": "nothing",
	} {
		_, err = run(strings.Replace(script, "AS SELECT text, label FROM labels;", with, 1))
		require.ErrorContains(t, err, want)
	}
	_, err = run(strings.Replace(script, "AS SELECT text, label FROM labels;", "AS SELECT text, UPPER(label) AS label FROM labels;", 1))
	require.NoError(t, err)
	require.Equal(t, before, history())
}
