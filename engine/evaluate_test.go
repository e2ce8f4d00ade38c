package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/stretchr/testify/require"

	"smelt/engine/runs"
	"smelt/functions"
	"smelt/models"
	"smelt/tables"
)

// echo is a predictor that says of a text what the text says: a label, a JSON array of labels, or "?" for nothing.
type echo struct {
	functions.Predictor
	asked    []string
	entering chan struct{} // told when a model is asked, and then waits for the end of the statement; nil: no waiting
}

func (e *echo) Classify(ctx context.Context, _ string, texts []string) ([]models.Classification, error) {
	if e.entering != nil {
		close(e.entering)
		<-ctx.Done()
		return nil, ctx.Err()
	}
	e.asked = append(e.asked, texts...)
	out := make([]models.Classification, len(texts))
	for i, text := range texts {
		label := strings.TrimSpace(strings.TrimPrefix(text, "?"))
		out[i] = models.Classification{Label: label, Score: 0.75, Scores: []models.LabelScore{{Label: label, Score: 0.75}}}
		if strings.HasPrefix(text, "[") {
			if err := json.Unmarshal([]byte(text), &out[i].Selected); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

// startEcho starts a SQL engine over a store whose models are those that ship, and say what the texts say.
func startEcho(t *testing.T, store *tables.Store, change func(*runs.Config)) (*testSQL, *echo) {
	t.Helper()
	registry, err := models.Open(models.Config{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, registry.Close()) })
	e := &echo{Predictor: registry}
	cfg := runs.Config{Store: store}
	if change != nil {
		change(&cfg)
	}
	book := runs.New(cfg)
	s := startSQLOver(t, store, func(c *sqlConfig, _ *listenConfig) {
		c.Models, c.Functions, c.Runs = registry, functions.New(e), book
		for _, name := range runs.Names() {
			c.System[name] = func(ctx context.Context) (tables.Relation, error) { return book.Relation(ctx, name) }
		}
	})
	return s, e
}

func openStore(t *testing.T, dir string) *tables.Store {
	t.Helper()
	store, err := tables.Open(dir, tables.Options{})
	require.NoError(t, err)
	return store
}

// ids are what differs from run to run.
var ids = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-f]{64}`)

// TestEvaluateScripts runs the scripts of testdata/evaluate over models that say what the texts say.
func TestEvaluateScripts(t *testing.T) {
	datadriven.Walk(t, "testdata/evaluate", func(t *testing.T, path string) {
		s, e := startEcho(t, openStore(t, t.TempDir()), nil)
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "sql":
				return ids.ReplaceAllString(changing.ReplaceAllString(runStatement(t.Context(), s.db, d.Input, false), "TIME"), "ID")
			case "asked":
				asked := e.asked
				e.asked = nil
				return fmt.Sprintf("%q\n", asked)
			default:
				t.Fatalf("unknown command %q", d.Cmd)
				return ""
			}
		})
		require.NotContains(t, s.log.String(), "panic")
	})
}

// within is how close scores must be to scikit-learn's.
const within = 1e-12

type goldenScore struct {
	Precision, Recall, F1, Support float64
}

// requireClasses compares the scores of each class of a run.
func requireClasses(t *testing.T, s *testSQL, run string, classes map[string]goldenScore) {
	t.Helper()
	rows, err := s.db.QueryContext(t.Context(), "SELECT label, SUBSTRING_INDEX(`key`, '/', 1), value FROM smelt.metrics WHERE label IS NOT NULL AND run_id = '"+run+"'")
	require.NoError(t, err)
	defer rows.Close()
	found := 0
	for rows.Next() {
		var label, key string
		var value float64
		require.NoError(t, rows.Scan(&label, &key, &value))
		want := classes[label]
		require.InDelta(t, map[string]float64{"precision": want.Precision, "recall": want.Recall, "f1": want.F1, "support": want.Support}[key], value, within, "%s of %s", key, label)
		found++
	}
	require.NoError(t, rows.Err())
	require.Equal(t, 4*len(classes), found)
}

// TestEvaluateIsEqualToScikitLearn compares, through SQL, with testdata/evaluate_golden.json, which evaluate_golden.py wrote.
func TestEvaluateIsEqualToScikitLearn(t *testing.T) {
	text, err := os.ReadFile("testdata/evaluate_golden.json")
	require.NoError(t, err)
	var cases []struct {
		Name, Model              string
		Truth, Predicted, Labels []string
		Accuracy                 float64
		Matrix                   [][]int64
		Classes                  map[string]goldenScore
		Weighted, Macro, Micro   goldenScore
	}
	require.NoError(t, json.Unmarshal(text, &cases))
	require.Len(t, cases, 4)
	s, _ := startEcho(t, openStore(t, t.TempDir()), nil)
	for i, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			table := fmt.Sprintf("t%d", i)
			s.must(t, "CREATE TABLE "+table+" (truth VARCHAR(500), said VARCHAR(500))")
			var values []string
			for j := range c.Truth {
				values = append(values, "('"+c.Truth[j]+"','"+c.Predicted[j]+"')")
			}
			s.must(t, "INSERT INTO "+table+" VALUES "+strings.Join(values, ","))
			var run string
			for average, want := range map[string]goldenScore{"WEIGHTED": c.Weighted, "MACRO": c.Macro, "MICRO": c.Micro} {
				s.must(t, "EVALUATE MODEL "+c.Model+" ON "+table+" LABEL truth INPUT said AVERAGE "+average+" AS RUN '"+table+average+"'")
				var got goldenScore
				var accuracy float64
				err := s.db.QueryRowContext(t.Context(), "SELECT run_id, accuracy, `precision`, recall, f1 FROM evaluation('"+c.Model+"', 1, '"+table+average+"')").
					Scan(&run, &accuracy, &got.Precision, &got.Recall, &got.F1)
				require.NoError(t, err)
				require.InDelta(t, c.Accuracy, accuracy, within)
				require.InDelta(t, want.Precision, got.Precision, within, average)
				require.InDelta(t, want.Recall, got.Recall, within, average)
				require.InDelta(t, want.F1, got.F1, within, average)
			}
			requireClasses(t, s, run, c.Classes)
			if c.Matrix == nil {
				return
			}
			want := map[[2]string]int64{}
			for i, truth := range c.Labels {
				for j, predicted := range c.Labels {
					want[[2]string{truth, predicted}] = c.Matrix[i][j]
				}
			}
			cells, err := s.db.QueryContext(t.Context(), "SELECT truth, predicted, `rows` FROM confusion_matrix(?)", run) // prepared
			require.NoError(t, err)
			defer cells.Close()
			got := map[[2]string]int64{}
			for cells.Next() {
				var pair [2]string
				var n int64
				require.NoError(t, cells.Scan(&pair[0], &pair[1], &n))
				got[pair] = n
			}
			require.NoError(t, cells.Err())
			require.Equal(t, want, got)
		})
	}
}

func TestRunsAreThereAfterARestartAndARerunGivesTheSame(t *testing.T) {
	dir := t.TempDir()
	var before, rerun string
	t.Run("first", func(t *testing.T) {
		s, _ := startEcho(t, openStore(t, dir), nil)
		s.must(t, "CREATE TABLE gold (text VARCHAR(20), label VARCHAR(20))",
			"INSERT INTO gold VALUES ('positive', 'positive'), ('neutral', 'negative'), ('negative', 'negative')",
			"EVALUATE MODEL sentiment ON gold LABEL label AS RUN 'holdout'",
			"INSERT INTO gold VALUES ('positive', 'negative'), ('positive', 'neutral')")
		before = runStatement(t.Context(), s.db, "SELECT accuracy, f1, macro_f1, log_loss FROM evaluation('sentiment', 1, 'holdout')", false)
		require.Contains(t, before, "0.6666666666666666")
		require.NoError(t, s.db.QueryRowContext(t.Context(), "SELECT value FROM smelt.params WHERE `key` = 'rerun'").Scan(&rerun))
		require.Contains(t, rerun, "ON gold FOR VERSION AS OF 1 LABEL")
	})
	t.Run("second", func(t *testing.T) {
		s, _ := startEcho(t, openStore(t, dir), nil)
		read := func(statement string) string { return runStatement(t.Context(), s.db, statement, false) }
		require.Equal(t, before, read("SELECT accuracy, f1, macro_f1, log_loss FROM evaluation('sentiment', 1, 'holdout')"))
		s.must(t, strings.Replace(rerun, "'holdout'", "'again'", 1))
		require.Equal(t, before, read("SELECT accuracy, f1, macro_f1, log_loss FROM evaluation('sentiment', 1, 'again')"))
		require.Equal(t, read("SELECT truth, predicted, `rows` FROM confusion_matrix('holdout')"), read("SELECT truth, predicted, `rows` FROM confusion_matrix('again')"))
		s.must(t, "EVALUATE MODEL sentiment ON gold LABEL label AS RUN 'today'")
		require.Equal(t, "accuracy\n0.4\n", read("SELECT accuracy FROM evaluation('sentiment', 1, 'today')"))
		require.Equal(t, "n\n3\n", read("SELECT COUNT(*) AS n FROM smelt.runs"))
	})
}

func TestAKilledEvaluateKeepsNothing(t *testing.T) {
	s, e := startEcho(t, openStore(t, t.TempDir()), nil)
	s.must(t, "CREATE TABLE gold (text VARCHAR(20), label VARCHAR(20))", "INSERT INTO gold VALUES ('positive', 'positive')")
	e.entering = make(chan struct{})
	var id int64
	require.NoError(t, s.db.QueryRowContext(t.Context(), "SELECT CONNECTION_ID()").Scan(&id))
	killed := make(chan error, 1)
	other := s.open(t, "", "", "")
	go func() {
		<-e.entering
		_, err := other.ExecContext(t.Context(), fmt.Sprintf("KILL QUERY %d", id))
		killed <- err
	}()
	require.Contains(t, runStatement(t.Context(), s.db, "EVALUATE MODEL sentiment ON gold LABEL label", false), "ERROR 1317 (70100)")
	require.NoError(t, <-killed)
	require.Equal(t, "a | b\n0 | 0\n", runStatement(t.Context(), s.db, "SELECT (SELECT COUNT(*) FROM smelt.runs) AS a, (SELECT COUNT(*) FROM smelt.metrics) AS b", false))
}
