package integration

import (
	"database/sql"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestAModelIsTrainedInSQLAndSurvivesKill trains, asks on a connection that was open before, kills the server, changes the
// labels after it has come back, kills it while the model may be learning, and exports what there is.
func TestAModelIsTrainedInSQLAndSurvivesKill(t *testing.T) {
	env, data := needLibrary(t), t.TempDir()
	s := start(t, env, "--data", data)
	other, err := sql.Open("mysql", "root@tcp("+s.addr+")/live")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, other.Close()) })
	require.NoError(t, other.Ping())
	s.rows("CREATE TABLE labels (text VARCHAR(99), label VARCHAR(99))")
	s.rows("INSERT INTO labels VALUES ('the match ended 2 to 1', 'sport'), ('a goal by our striker', 'sport'), ('shares fell after earnings', 'money'), ('the market is nervous', 'money')")
	rows := s.rows("CREATE MODEL subject OPTIONS (encoder = 'encoder', c = 10) TRIGGER ON UPDATE AS SELECT text, label FROM labels")
	require.Len(t, rows, 3, "a class, another, and all")
	require.Equal(t, []string{"NULL", "4", "1"}, cutColumns(rows, 0, 4, 11)[2])
	const ask = "SELECT subject('a late goal won the match'), subject_score('a goal') > 0.5, JSON_LENGTH(subject_json('x'), '$.scores')"
	rows, err = queryRows(other, ask)
	require.NoError(t, err, "at once on every open connection")
	require.Equal(t, [][]string{{"sport", "1", "2"}}, rows)
	before := s.rows("SELECT name, version, training, trained FROM smelt.models WHERE name = 'subject'")
	s.kill()

	s = start(t, env, "--data", data)
	require.Equal(t, before, s.rows("SELECT name, version, training, trained FROM smelt.models WHERE name = 'subject'"))
	require.Equal(t, [][]string{{"sport", "1", "2"}}, s.rows(ask))
	s.rows("INSERT INTO labels VALUES ('flour, butter and sugar make a cake', 'food'), ('the soup needs salt', 'food')")
	s.kill()

	s = start(t, env, "--data", data)
	s.eventually("SELECT COUNT(*) FROM smelt.model_versions WHERE name = 'subject' AND training_rows = 6 AND NOT current", 1)
	require.Equal(t, [][]string{{"sport", "1", "2"}}, s.rows(ask), "the alias production stays")
	out := t.TempDir()
	text, err := exec.Command(binary, "models", "export", "subject/2", filepath.Join(out, "subject"), "--data", data).CombinedOutput()
	require.NoError(t, err, string(text))
	for _, name := range []string{"model.onnx", "config.json"} {
		_, err := os.Stat(filepath.Join(out, "subject", name))
		require.NoError(t, err)
	}
	s.stop()
}
