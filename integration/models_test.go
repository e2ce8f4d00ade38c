package integration

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"smelt/tables/vfs/killfs"
)

// otherSentiment is an export of the shipped sentiment model in which negative and positive have changed places, so that
// its predictions can be told from those of version 1.
func otherSentiment(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"config.json", "model.onnx", "tokenizer.json"} {
		data, err := os.ReadFile(filepath.Join("..", "models", "builtin", "sentiment", name))
		require.NoError(t, err)
		if name == "config.json" {
			var c map[string]any
			require.NoError(t, json.Unmarshal(data, &c))
			c["id2label"] = map[string]string{"0": "positive", "1": "neutral", "2": "negative"}
			data, err = json.Marshal(c)
			require.NoError(t, err)
		}
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), data, 0o600))
	}
	return dir
}

// fails checks that a statement is refused with a number of MySQL and a text.
func (s *server) fails(statement string, number int, text string) {
	s.t.Helper()
	_, err := queryRows(s.db, statement)
	require.Error(s.t, err, statement)
	require.Contains(s.t, err.Error(), fmt.Sprintf("Error %d ", number), statement)
	require.Contains(s.t, err.Error(), text, statement)
}

func TestModelsAreMadeMovedAndDroppedInSQL(t *testing.T) {
	env := needLibrary(t)
	data, dir := t.TempDir(), otherSentiment(t)
	s := start(t, env, "--data", data, "--allow-path", dir)
	const love = "('I love this, thank you')"
	other, err := sql.Open("mysql", "root@tcp("+s.addr+")/live")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, other.Close()) })
	require.NoError(t, other.Ping())
	s.fails("SELECT mine"+love, 1305, "mine")
	s.rows("CREATE MODEL mine OPTIONS (source = '" + dir + "') COMMENT 'the other way round'")
	rows, err := queryRows(other, "SELECT mine"+love+", mine_score"+love+" > 0.9, JSON_EXTRACT(mine_json"+love+", '$.label')")
	require.NoError(t, err, "at once on every open connection")
	require.Equal(t, [][]string{{"negative", "1", `"negative"`}}, rows)
	s.fails("CREATE MODEL mine OPTIONS (source = '"+dir+"')", 1304, "exists")
	s.rows("CREATE MODEL IF NOT EXISTS mine OPTIONS (source = '" + dir + "')")
	s.fails("CREATE MODEL upper OPTIONS (source = '"+dir+"')", 1210, "upper()")
	s.fails("CREATE MODEL topic_score OPTIONS (source = '"+dir+"')", 1210, "topic_score()")
	s.fails("CREATE MODEL m OPTIONS (source = '/etc')", 1210, "--allow-path")

	s.rows("ALTER MODEL sentiment ADD VERSION OPTIONS (source = '" + dir + "')")
	require.Equal(t, [][]string{{"negative"}}, s.rows("SELECT sentiment"+love))
	s.rows("ALTER MODEL sentiment SET ALIAS production = 1")
	require.Equal(t, [][]string{{"positive", `"negative"`, `"positive"`}},
		s.rows("SELECT sentiment"+love+", JSON_EXTRACT(predict('models:/sentiment/2', 'I love this'), '$.label'), JSON_EXTRACT(predict('models:/sentiment/Production', 'I love this'), '$.label')"))
	s.rows("CREATE TABLE judged (f1 DOUBLE)")
	s.rows("INSERT INTO judged VALUES (0.7)")
	gate := "ALTER MODEL sentiment SET ALIAS production = 2 IF ((SELECT MAX(f1) FROM judged) >= 0.8)"
	s.fails(gate, 3819, "0.8")
	s.fails("ALTER MODEL sentiment SET ALIAS production = 2 IF (nothing > 1)", 1054, "nothing")
	require.Equal(t, [][]string{{"positive"}}, s.rows("SELECT sentiment"+love))
	s.rows("INSERT INTO judged VALUES (0.81)")
	s.rows(gate)
	require.Equal(t, [][]string{{"negative"}}, s.rows("SELECT sentiment"+love))
	s.rows("ROLLBACK MODEL sentiment TO VERSION 1")
	require.Equal(t, [][]string{{"ROLLBACK", "1"}, {"SET ALIAS", "2"}, {"SET ALIAS", "1"}, {"ADD VERSION", "2"}}, cutColumns(s.rows("DESCRIBE HISTORY MODEL sentiment"), 2, 4))
	require.Equal(t, [][]string{{"1", "production"}, {"2", ""}}, cutColumns(s.rows("SHOW MODEL VERSIONS FROM sentiment"), 0, 2))
	require.Equal(t, [][]string{{"sentiment", "classifier", "1", "2", "production = 1", ""}}, s.rows("SHOW MODELS LIKE 'sent%'"))
	require.Contains(t, s.rows("SHOW CREATE MODEL sentiment")[0][1], "SET ALIAS `production` = 1")
	require.Contains(t, s.rows("DESCRIBE MODEL mine"), []string{"labels", "positive, neutral, negative"})

	s.rows("CREATE MATERIALIZED VIEW v AS SELECT f1, mine('x') AS m FROM judged")
	s.fails("DROP MODEL mine", 3730, "live.v")
	s.rows("DROP MATERIALIZED VIEW v")
	before := s.rows("SELECT * FROM smelt.model_versions ORDER BY name, version")
	s.kill()
	s = start(t, env, "--data", data)
	require.Equal(t, before, s.rows("SELECT * FROM smelt.model_versions ORDER BY name, version"), "after kill -9")
	require.Equal(t, [][]string{{"negative", "positive"}}, s.rows("SELECT mine"+love+", sentiment"+love))
	s.rows("DROP MODEL mine")
	s.fails("SELECT mine"+love, 1305, "mine")
	s.fails("DROP MODEL mine", 1305, "mine")
	s.rows("DROP MODEL IF EXISTS mine")
	s.fails("DROP MODEL sentiment", 1210, "ships")
	s.stop()
}

// cutColumns keeps some columns of rows.
func cutColumns(rows [][]string, columns ...int) [][]string {
	out := make([][]string, len(rows))
	for i, row := range rows {
		for _, c := range columns {
			out[i] = append(out[i], row[c])
		}
	}
	return out
}

// TestNoStatementFailsOrMixesWhileAnAliasMoves asks on many connections, by prepared statements too, while the alias
// moves to and fro: the rows of one statement come from one version.
func TestNoStatementFailsOrMixesWhileAnAliasMoves(t *testing.T) {
	env, dir := needLibrary(t), otherSentiment(t)
	s := start(t, env, "--data", t.TempDir(), "--allow-path", dir)
	s.rows("CREATE TABLE texts (text VARCHAR(100))")
	s.rows("INSERT INTO texts VALUES" + strings.TrimSuffix(strings.Repeat("('I love this'),('thank you, great'),", 300), ","))
	s.rows("ALTER MODEL sentiment ADD VERSION OPTIONS (source = '" + dir + "')")
	stop := make(chan struct{})
	seen := make([]map[string]int, 6)
	var clients sync.WaitGroup
	for i := range seen {
		seen[i] = map[string]int{}
		clients.Go(func() {
			prepared, err := s.db.Prepare("SELECT sentiment(text), COUNT(*) FROM texts WHERE text <> ? GROUP BY sentiment(text)")
			if err != nil {
				t.Error(err)
				return
			}
			defer prepared.Close()
			for {
				select {
				case <-stop:
					return
				default:
				}
				rows, err := queryRows(s.db, "SELECT sentiment(text), COUNT(*) FROM texts GROUP BY sentiment(text)")
				if i%2 == 1 {
					var label string
					var n int
					err = prepared.QueryRow("x").Scan(&label, &n)
					rows = [][]string{{label, fmt.Sprint(n)}}
				}
				if err != nil || len(rows) != 1 || rows[0][1] != "600" {
					t.Errorf("a statement failed or saw two versions: %v %v", rows, err)
					return
				}
				seen[i][rows[0][0]]++
			}
		})
	}
	for i := range 40 {
		s.rows(fmt.Sprintf("ALTER MODEL sentiment SET ALIAS production = %d", 1+i%2))
	}
	close(stop)
	clients.Wait()
	both := 0
	for _, labels := range seen {
		both += len(labels)
	}
	require.Greater(t, both, len(seen), "the clients must have seen both versions")
}

// TestACrashInAChangeOfAModelLeavesItWholeOrNot kills the server while it writes files of a model and its registry.
func TestACrashInAChangeOfAModelLeavesItWholeOrNot(t *testing.T) {
	env, dir := needLibrary(t), otherSentiment(t)
	for _, at := range []string{"model-half-written", "model-renamed:2", "registry-half-written", "registry-renamed"} {
		t.Run(at, func(t *testing.T) {
			data := t.TempDir()
			s := start(t, append([]string{killfs.Variable + "=" + at}, env...), "--data", data, "--allow-path", dir)
			_, err := queryRows(s.db, "CREATE MODEL mine OPTIONS (source = '"+dir+"')")
			require.Error(t, err, "the server is gone")
			dies(t, s.cmd, at)
			s = start(t, env, "--data", data, "--allow-path", dir)
			names := s.rows("SELECT name FROM smelt.models WHERE name = 'mine'")
			if at == "registry-renamed" {
				require.Equal(t, [][]string{{"mine"}}, names)
			} else {
				require.Empty(t, names)
				left, err := filepath.Glob(filepath.Join(data, "_models", "files", "*"))
				require.NoError(t, err)
				require.Empty(t, left, "files of nobody are removed")
				s.rows("CREATE MODEL mine OPTIONS (source = '" + dir + "')")
			}
			require.Equal(t, [][]string{{"negative"}}, s.rows("SELECT mine('I love this')"))
			began := time.Now()
			s.stop()
			require.Less(t, time.Since(began), startTimeout)
		})
	}
}

// TestAPipelineBringsItsModels runs a pipeline with CREATE MODEL twice: the second time changes nothing.
func TestAPipelineBringsItsModels(t *testing.T) {
	env := needLibrary(t)
	dir, data := t.TempDir(), t.TempDir()
	require.NoError(t, os.Rename(otherSentiment(t), filepath.Join(dir, "mood")))
	put(t, filepath.Join(dir, "in", "1.json"), `{"text": "I love this"}`)
	put(t, filepath.Join(dir, "p.sql"), `
CREATE OR REPLACE MODEL mood OPTIONS (source = 'mood') COMMENT 'the other way round';
CREATE OR REFRESH STREAMING TABLE gold AS SELECT text, mood(text) AS label FROM STREAM read_files('in', format => 'json', schemaHints => 'text STRING');
`)
	for range 2 {
		s := start(t, env, "--data", data, "--pipeline", filepath.Join(dir, "p.sql"))
		s.eventually("SELECT COUNT(*) FROM gold WHERE label = 'negative'", 1)
		require.Equal(t, [][]string{{"mood", "1", "1"}}, s.rows("SELECT name, version, versions FROM smelt.models WHERE name = 'mood'"))
		s.stop()
	}
}
