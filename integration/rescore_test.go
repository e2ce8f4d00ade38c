package integration

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// asking is tables that ask models in all the ways that matter when one moves.
var asking = []string{
	"CREATE TABLE texts (id BIGINT, text VARCHAR(200))",
	// What is asked is kept: the column is computed anew in place. seen tells that the rest of the row was not.
	"CREATE STREAMING TABLE gold (CONSTRAINT sure EXPECT (score >= 50)) AS SELECT id, text AS said, 100 * sentiment_score(text) AS score, sentiment(text) AS label, NOW(6) AS seen FROM STREAM(texts)",
	// What is asked is not kept: the table is filled anew.
	"CREATE STREAMING TABLE lost AS SELECT id, sentiment(text) AS label FROM STREAM(texts)",
	// The model decides which rows there are.
	"CREATE STREAMING TABLE happy AS SELECT id, text FROM STREAM(texts) WHERE sentiment(text) = 'positive'",
	"CREATE STREAMING TABLE newest FLOW AUTO CDC FROM (SELECT id, sentiment(text) AS label FROM STREAM(texts)) KEYS (id) SEQUENCE BY id",
	"CREATE STREAMING TABLE behind AS SELECT id, label FROM STREAM(gold)",
	"CREATE MATERIALIZED VIEW app AS SELECT label, COUNT(*) AS n FROM gold GROUP BY label",
	"CREATE VIEW plain AS SELECT id, sentiment(text) AS label FROM texts",
	"CREATE MATERIALIZED VIEW through AS SELECT id, label FROM plain",
	"CREATE MATERIALIZED VIEW topics AS SELECT id, topic(text) AS topic FROM texts",
	"CREATE MATERIALIZED VIEW fixed AS SELECT id, JSON_UNQUOTE(JSON_EXTRACT(predict('models:/sentiment/1', text), '$.label')) AS label FROM texts",
}

// lawful compares every table of asking with what its SELECT says now.
var lawful = map[string]string{
	"SELECT id, label FROM newest ORDER BY id":                                     "SELECT id, sentiment(text) FROM texts ORDER BY id",
	"SELECT id, said, label FROM gold ORDER BY id":                                 "SELECT id, text, sentiment(text) FROM texts ORDER BY id",
	"SELECT id, label FROM lost ORDER BY id":                                       "SELECT id, sentiment(text) FROM texts ORDER BY id",
	"SELECT id, text FROM happy ORDER BY id":                                       "SELECT id, text FROM texts WHERE sentiment(text) = 'positive' ORDER BY id",
	"SELECT id, label FROM behind ORDER BY id":                                     "SELECT id, sentiment(text) FROM texts ORDER BY id",
	"SELECT label, n FROM app ORDER BY label":                                      "SELECT sentiment(text), COUNT(*) FROM texts GROUP BY sentiment(text) ORDER BY 1",
	"SELECT id, label FROM through ORDER BY id":                                    "SELECT id, sentiment(text) FROM texts ORDER BY id",
	"SELECT id, topic FROM topics ORDER BY id":                                     "SELECT id, topic(text) FROM texts ORDER BY id",
	"SELECT id, label FROM fixed ORDER BY id":                                      "SELECT id, JSON_UNQUOTE(JSON_EXTRACT(predict('models:/sentiment/1', text), '$.label')) FROM texts ORDER BY id",
	"SELECT COUNT(*) FROM smelt.streams WHERE state = 'stale' OR state = 'failed'": "SELECT 0",
}

// holdsLaw waits until every table equals its SELECT.
func (s *server) holdsLaw() {
	s.t.Helper()
	for got, want := range lawful {
		var a, b [][]string
		var err error
		equal := poll(settleTimeout, func() bool {
			if a, err = queryRows(s.db, got); err != nil {
				return false
			}
			b, err = queryRows(s.db, want)
			return err == nil && slices.EqualFunc(a, b, slices.Equal)
		})
		if !equal {
			s.t.Fatalf("%s: %v\nwant %v\n%v\nstreams: %v\n%s", got, a, b, err, s.state(), s.logs)
		}
	}
}

var moods = []string{"I love this, thank you", "worst flight ever, I hate you", "the train leaves at nine", "so sad today", "what a great goal"}

func insertTexts(s *server, from, n int) {
	var values []string
	for i := from; i < from+n; i++ {
		values = append(values, fmt.Sprintf("(%d, '%s %d')", i, moods[i%len(moods)], i))
	}
	s.rows("INSERT INTO texts VALUES " + strings.Join(values, ", "))
}

// newest returns version, strategy, reason, texts scored and texts known of the newest batch of a table.
func (s *server) newest(table string) []string {
	s.t.Helper()
	return s.rows("SELECT version, strategy, reason, texts_scored, texts_known FROM smelt.progress WHERE `table` = '" + table + "' ORDER BY version DESC LIMIT 1")[0]
}

func TestAMovedModelChangesItsColumnsAndNothingElse(t *testing.T) {
	env, dir := needLibrary(t), otherSentiment(t)
	s := start(t, env, "--data", t.TempDir(), "--allow-path", dir)
	s.rows("ALTER MODEL sentiment SET ALIAS production = 1")
	s.rows("ALTER MODEL sentiment ADD VERSION OPTIONS (source = '" + dir + "')")
	for _, statement := range asking {
		s.rows(statement)
	}
	insertTexts(s, 0, 40)
	s.holdsLaw()
	seen := s.rows("SELECT id, seen FROM gold ORDER BY id")
	topics, fixed := s.newest("topics"), s.newest("fixed")
	require.Equal(t, [][]string{{"1"}}, s.rows("SELECT DISTINCT model_version FROM smelt.lineage WHERE source_type = 'model' AND target_table_full_name = 'live.gold'"))

	s.rows("ALTER MODEL sentiment SET ALIAS production = 2")
	s.holdsLaw()
	gold := s.newest("gold")
	require.Equal(t, []string{"rescore", "model sentiment was version 1 and is version 2"}, gold[1:3])
	require.Equal(t, seen, s.rows("SELECT id, seen FROM gold ORDER BY id"), "what the model did not write stays")
	require.Equal(t, topics, s.newest("topics"), "another model")
	require.Equal(t, fixed, s.newest("fixed"), "one that names its version")
	require.Equal(t, [][]string{{"2"}}, s.rows("SELECT DISTINCT model_version FROM smelt.lineage WHERE source_type = 'model' AND target_table_full_name = 'live.gold'"))
	scored, err := s.number("SELECT SUM(texts_scored) FROM smelt.progress WHERE reason LIKE '%is version 2%' OR `table` IN ('lost', 'happy', 'through', 'behind')")
	require.NoError(t, err)
	total, err := s.number("SELECT COUNT(*) FROM smelt.predictions WHERE model = 'sentiment'")
	require.NoError(t, err)
	require.EqualValues(t, 80, total, "each text once for each version")
	require.LessOrEqual(t, scored, int64(80))
	require.Contains(t, fmt.Sprint(s.rows("DESCRIBE HISTORY lost")), "the table does not keep text, of which column label is made")
	require.Contains(t, fmt.Sprint(s.rows("DESCRIBE HISTORY happy")), "decides which rows there are")
	require.Contains(t, fmt.Sprint(s.rows("DESCRIBE HISTORY behind")), "its source gold was rebuilt")

	before, err := s.number("SELECT COALESCE(MAX(version), 0) FROM smelt.progress WHERE `table` = 'gold'")
	require.NoError(t, err)
	s.rows("ROLLBACK MODEL sentiment TO VERSION 1")
	s.eventually("SELECT COUNT(*) > 0 FROM smelt.progress WHERE `table` = 'gold' AND strategy = 'rescore' AND version > "+strconv.FormatInt(before, 10), 1)
	s.holdsLaw()
	require.Equal(t, []string{"0", "40"}, s.newest("gold")[3:], "moving back scores nothing")
	insertTexts(s, 40, 5)
	s.holdsLaw()
	again, err := s.number("SELECT COUNT(*) FROM smelt.predictions WHERE model = 'sentiment'")
	require.NoError(t, err)
	require.EqualValues(t, 85, again)
	s.stop()
}

// TestTheLawHoldsWhileModelsMove inserts, moves aliases and kills at random.
func TestTheLawHoldsWhileModelsMove(t *testing.T) {
	env, dir := needLibrary(t), otherSentiment(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	data := t.TempDir()
	s := start(t, env, "--data", data, "--allow-path", dir)
	s.rows("ALTER MODEL sentiment SET ALIAS production = 1")
	s.rows("ALTER MODEL sentiment ADD VERSION OPTIONS (source = '" + dir + "')")
	for _, statement := range asking {
		s.rows(statement)
	}
	rows := 0
	steps := 12
	if testing.Short() {
		steps = 5
	}
	for range steps {
		for range 1 + random.IntN(4) {
			switch random.IntN(6) {
			case 0, 1:
				n := 1 + random.IntN(20)
				insertTexts(s, rows, n)
				rows += n
			case 2, 3, 4:
				s.rows(fmt.Sprintf("ALTER MODEL sentiment SET ALIAS production = %d", 1+random.IntN(2)))
			default:
				s.kill()
				s = start(t, env, "--data", data, "--allow-path", dir)
			}
		}
		s.holdsLaw()
		known, err := s.number("SELECT COUNT(*) - COUNT(DISTINCT model_digest, input_digest) FROM smelt.predictions")
		require.NoError(t, err)
		require.Zero(t, known, "each text once for each version")
	}
	s.stop()
	for _, assignment := range env {
		key, value, _ := cut(assignment)
		t.Setenv(key, value)
	}
	out, errs, code := command(t, "check", "--data", data)
	require.Zero(t, code, out+errs)
	require.NotContains(t, out, "FAULT")
}
