package integration

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"smelt/models/hub/hubtest"
)

// hubFiles is the shipped sentiment model as a repository has it: without a licence of its own, and with its labels in
// this order.
func hubFiles(t *testing.T, labels ...string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{"README.md": []byte("a card"), "model.safetensors": []byte("weights in another format")}
	for name, file := range map[string]string{"config.json": "config.json", "tokenizer.json": "tokenizer.json", "onnx/model.onnx": "model.onnx"} {
		data, err := os.ReadFile(filepath.Join("..", "models", "builtin", "sentiment", file))
		require.NoError(t, err)
		if name == "config.json" {
			var c map[string]any
			require.NoError(t, json.Unmarshal(data, &c))
			c["id2label"] = map[string]string{"0": labels[0], "1": labels[1], "2": labels[2]}
			delete(c["smelt"].(map[string]any), "license")
			data, err = json.Marshal(c)
			require.NoError(t, err)
		}
		files[name] = data
	}
	return files
}

// runModels runs `smelt models` and returns its exit code and what it says.
func runModels(env []string, args ...string) (code int, out string) {
	command := exec.CommandContext(context.Background(), binary, append([]string{"models"}, args...)...)
	command.Env = append(os.Environ(), env...)
	text, _ := command.CombinedOutput()
	return command.ProcessState.ExitCode(), string(text)
}

func TestAModelComesFromTheHubAndStaysWithoutIt(t *testing.T) {
	hub := hubtest.New(t)
	first := hub.Push("lab/mood", "main", "cc-by-nc-4.0", hubFiles(t, "positive", "neutral", "negative"))
	env := append(needLibrary(t), "HF_ENDPOINT="+hub.Endpoint, "HF_HOME="+t.TempDir(), "HF_TOKEN=hf_confidential")
	data := t.TempDir()
	const love = "('I love this, thank you')"

	// The network is not asked where nobody let it in.
	s := start(t, env, "--data", data)
	s.fails("CREATE MODEL mood OPTIONS (source = 'hf:lab/mood')", 1210, "--allow-hub lab/mood")
	require.Empty(t, hub.Requests())
	s.stop()
	s = start(t, env, "--data", data, "--allow-hub", "lab/*")
	s.fails("CREATE MODEL mood OPTIONS (source = 'hf:other/mood')", 1210, "--allow-hub")
	s.fails("CREATE MODEL mood OPTIONS (source = 'hf:lab/nobody')", 1210, "check the name")
	s.fails("CREATE MODEL mood OPTIONS (source = 'hf:lab/mood', variant = 'model_O4.onnx')", 1210, "onnx/model.onnx")

	conn, err := s.db.Conn(context.Background())
	require.NoError(t, err)
	_, err = conn.ExecContext(context.Background(), "CREATE MODEL mood OPTIONS (source = 'hf:lab/mood')")
	require.NoError(t, err)
	var level, message string
	var number int
	require.NoError(t, conn.QueryRowContext(context.Background(), "SHOW WARNINGS").Scan(&level, &number, &message))
	require.Contains(t, message, "cc-by-nc-4.0 forbids commercial use")
	require.NoError(t, conn.Close())
	require.Equal(t, [][]string{{"negative"}}, s.rows("SELECT mood"+love))
	require.Subset(t, s.rows("DESCRIBE MODEL mood"), [][]string{{"license", "cc-by-nc-4.0"}, {"commit", first}, {"source", "hf:lab/mood"}})
	for _, r := range hub.Requests() {
		require.NotContains(t, r.Path, "safetensors")
		require.Equal(t, r.Host == "localhost", r.Authorization != "", r.Path)
	}

	// main moves on: a version of the old commit stays what it was, and what is written down again is pinned.
	second := hub.Push("lab/mood", "main", "mit", hubFiles(t, "negative", "neutral", "positive"))
	s.rows("ALTER MODEL mood ADD VERSION OPTIONS (source = 'hf:lab/mood')")
	versions := [][]string{{"1", "cc-by-nc-4.0", first}, {"2", "mit", second}}
	require.Equal(t, versions, s.rows("SELECT version, license, commit FROM smelt.model_versions WHERE name = 'mood' ORDER BY version"))
	require.Equal(t, [][]string{{"cc-by-nc-4.0", first}, {"mit", second}}, cutColumns(s.rows("SHOW MODEL VERSIONS FROM mood"), 8, 9))
	require.Equal(t, [][]string{{"positive", `"negative"`}}, s.rows("SELECT mood"+love+", JSON_EXTRACT(predict('models:/mood/1', 'I love this'), '$.label')"))
	created := s.rows("SHOW CREATE MODEL mood")[0][1]
	require.Contains(t, created, "'hf:lab/mood@"+first+"'")
	require.Contains(t, created, "'hf:lab/mood@"+second+"'")
	require.NotContains(t, s.logs.String(), "confidential")

	s.kill()
	hub.Close()
	s = start(t, append(env, "HF_HUB_OFFLINE=1"), "--data", data)
	require.Equal(t, versions, s.rows("SELECT version, license, commit FROM smelt.model_versions WHERE name = 'mood' ORDER BY version"))
	require.Equal(t, [][]string{{"positive"}}, s.rows("SELECT mood"+love))
	s.rows("CREATE MODEL old OPTIONS (source = 'hf:lab/mood@" + first + "')")
	s.rows("CREATE OR REPLACE MODEL mood OPTIONS (source = 'hf:lab/mood')")
	require.Equal(t, [][]string{{"negative", "positive"}}, s.rows("SELECT old"+love+", mood"+love))
	s.stop()
	// The same while the server does not know that it is offline.
	s = start(t, env, "--data", data, "--allow-hub", "*")
	s.rows("CREATE MODEL again OPTIONS (source = 'hf:lab/mood')")
	require.Equal(t, [][]string{{"positive"}}, s.rows("SELECT again"+love))
	s.stop()
}

func TestKillStopsAPull(t *testing.T) {
	hub := hubtest.New(t)
	hub.Push("lab/mood", "main", "mit", hubFiles(t, "negative", "neutral", "positive"))
	env := append(needLibrary(t), "HF_ENDPOINT="+hub.Endpoint, "HF_HOME="+t.TempDir())
	s := start(t, env, "--data", t.TempDir(), "--allow-hub", "lab/mood")
	came := make(chan struct{})
	var once sync.Once
	hub.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasPrefix(r.URL.Path, "/cdn/") {
			return false
		}
		w.Header().Set("Content-Length", "100000")
		w.(http.Flusher).Flush()
		once.Do(func() { close(came) })
		<-r.Context().Done()
		return true
	})
	conn, err := s.db.Conn(context.Background())
	require.NoError(t, err)
	defer conn.Close()
	var id string
	require.NoError(t, conn.QueryRowContext(context.Background(), "SELECT CONNECTION_ID()").Scan(&id))
	ended := make(chan error, 1)
	go func() {
		_, err := conn.ExecContext(context.Background(), "CREATE MODEL mood OPTIONS (source = 'hf:lab/mood')")
		ended <- err
	}()
	<-came
	// Others change models meanwhile.
	s.rows("CREATE MODEL other OPTIONS (source = 'builtin:sentiment')")
	s.rows("KILL QUERY " + id)
	require.ErrorContains(t, <-ended, "Error 1317")
	s.fails("SELECT mood('x')", 1305, "mood")
	require.Empty(t, s.rows("SHOW MODELS LIKE 'mood'"))
	hub.Intercept(nil)
	s.rows("CREATE MODEL mood OPTIONS (source = 'hf:lab/mood')")
	require.Equal(t, [][]string{{"positive"}}, s.rows("SELECT mood('I love this, thank you')"))
	s.stop()
}

func TestModelsArePulledListedAndVerified(t *testing.T) {
	hub := hubtest.New(t)
	files := hubFiles(t, "negative", "neutral", "positive")
	files["onnx/model_quantized.onnx"] = []byte("of fewer bits")
	commit := hub.Push("lab/mood", "main", "", files)
	home, data := t.TempDir(), t.TempDir()
	env := append(needLibrary(t), "HF_ENDPOINT="+hub.Endpoint, "HF_HOME="+home)
	for _, wrong := range [][]string{{"pull"}, {"pull", "a//b"}, {"pull", "lab/mood", "--what"}, {"list", "x"}, {"verify", "x"}, {}} {
		code, out := runModels(env, wrong...)
		require.Equal(t, 2, code, out)
	}
	code, out := runModels(env, "pull", "lab/nobody")
	require.Equal(t, 1, code, out)
	require.Contains(t, out, "check the name")
	code, out = runModels(env, "pull", "lab/mood@main", "--variant", "model_quantized.onnx")
	require.Zero(t, code, out)
	code, out = runModels(env, "pull", "hf:lab/mood")
	require.Zero(t, code, out)
	require.Contains(t, out, "source = 'hf:lab/mood@"+commit+"'")
	require.Contains(t, out, "mind: the model card states no licence")
	code, out = runModels(env, "list")
	require.Zero(t, code, out)
	require.Regexp(t, `lab/mood +main +`+commit+` +onnx/model.onnx,onnx/model_quantized.onnx +4 `, out)

	// What was pulled is there for a server that may not ask the hub.
	hub.Close()
	s := start(t, env, "--data", data)
	s.rows("CREATE MODEL mood OPTIONS (source = 'hf:lab/mood')")
	require.Equal(t, [][]string{{"positive"}}, s.rows("SELECT mood('I love this, thank you')"))
	s.stop()

	code, out = runModels(env, "verify", "--data", data)
	require.Zero(t, code, out)
	require.Contains(t, out, "4 files")
	require.Contains(t, out, "3 files")
	for _, pattern := range []string{filepath.Join(home, "hub", "models--lab--mood", "blobs", "*"), filepath.Join(data, "_models", "files", "*")} {
		found, err := filepath.Glob(pattern)
		require.NoError(t, err)
		require.NotEmpty(t, found)
		was, err := os.ReadFile(found[0])
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(found[0], append([]byte{was[0] ^ 1}, was[1:]...), 0o600))
		code, out = runModels(env, "verify", "--data", data)
		require.Equal(t, 1, code, out)
		require.Contains(t, out, "1 of them")
		require.NoError(t, os.WriteFile(found[0], was, 0o600))
	}
	code, out = runModels(env, "verify", "--data", data)
	require.Zero(t, code, out)
}
