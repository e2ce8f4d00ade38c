package engine

import (
	"context"
	"regexp"
	"sync"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/stretchr/testify/require"

	"smelt/functions"
	"smelt/models"
)

// changing is what differs from run to run in the answers: times.
var changing = regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?`)

// TestRules runs the scripts of testdata/rules over a real graph of flows: `sql` runs statements, `settle` lets all flows run
// until nothing is left to do.
func TestRules(t *testing.T) {
	datadriven.Walk(t, "testdata/rules", func(t *testing.T, path string) {
		s, graph := startGraph(t)
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "sql":
				return changing.ReplaceAllString(runStatement(t.Context(), s.db, d.Input, false), "TIME")
			case "settle":
				if err := graph.RunOnce(t.Context(), nil); err != nil {
					return err.Error() + "\n"
				}
				return "ok\n"
			default:
				t.Fatalf("unknown command %q", d.Cmd)
				return ""
			}
		})
	})
}

// scorer counts the texts that a model is asked for.
type scorer struct {
	functions.Predictor
	mu    sync.Mutex
	texts []string
}

func (s *scorer) Classify(_ context.Context, _ string, texts []string) ([]models.Classification, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.texts = append(s.texts, texts...)
	out := make([]models.Classification, len(texts))
	for i, text := range texts {
		out[i] = models.Classification{Label: "positive", Score: float64(len(text)) / 10}
	}
	return out, nil
}

// take returns how many texts were scored since the last time.
func (s *scorer) take() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.texts)
	s.texts = nil
	return n
}

// TestARuleOnTheOutputOfAModelScoresEachTextOnce: a rule that calls the model again, or looks at the column that it made,
// costs nothing.
func TestARuleOnTheOutputOfAModelScoresEachTextOnce(t *testing.T) {
	spy := &scorer{}
	s, graph := startGraph(t, func(c *sqlConfig) {
		registry, err := models.Open(models.Config{})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, registry.Close()) })
		spy.Predictor = registry
		c.Functions = functions.New(spy)
	})
	s.must(t, "CREATE TABLE src (id BIGINT, body VARCHAR(20))",
		"CREATE STREAMING TABLE a (CONSTRAINT again EXPECT (sentiment_score(body) > 0.3) ON VIOLATION QUARANTINE, CONSTRAINT made EXPECT (score < 0.8) ON VIOLATION QUARANTINE) "+
			"AS SELECT id, body, sentiment(body) AS label, sentiment_score(body) AS score FROM STREAM(src)",
		"CREATE MATERIALIZED VIEW v (CONSTRAINT made EXPECT (score > 0.3) ON VIOLATION DROP ROW) AS SELECT id, sentiment_score(body) AS score FROM src",
		"INSERT INTO src VALUES (1, 'ab'), (2, 'abcde'), (3, 'abcdefghi'), (4, 'xyzxy')")
	read := func(statement string) string { return runStatement(t.Context(), s.db, statement, false) }
	require.NoError(t, graph.Refresh(t.Context(), "live", "a", false))
	require.Equal(t, 4, spy.take())
	require.Equal(t, "id | label | score\n2 | positive | 0.5\n4 | positive | 0.5\n", read("SELECT id, label, score FROM a ORDER BY id"))
	require.Equal(t, "id | score | _quarantine_rules\n1 | 0.2 | [again]\n3 | 0.9 | [made]\n", read("SELECT id, score, _quarantine_rules FROM a__quarantine ORDER BY id"))
	require.NoError(t, graph.Refresh(t.Context(), "live", "v", false))
	require.Equal(t, 4, spy.take())
	s.must(t, "ALTER STREAMING TABLE a DROP CONSTRAINT made")
	require.Equal(t, "Table | Moved | Kept\nlive.a | 1 | 1\n", read("REPLAY QUARANTINE OF a"))
	require.Equal(t, 2, spy.take(), "the rule that calls the model needs what it says of the two")
	require.Equal(t, "id | score\n2 | 0.5\n3 | 0.9\n4 | 0.5\n", read("SELECT id, score FROM a ORDER BY id"), "the row has the score that it was made with")
}
