package engine

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
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
