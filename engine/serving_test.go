package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"smelt/queries"
)

// onnxLibrary returns the ONNX Runtime library, or skips.
func onnxLibrary(t testing.TB) string {
	t.Helper()
	if named := os.Getenv("SMELT_ONNXRUNTIME"); named != "" {
		return named
	}
	library, err := filepath.Abs("../build/onnxruntime/libonnxruntime.so")
	require.NoError(t, err)
	if _, err := os.Stat(library); err != nil {
		t.Skip("skipped: no ONNX Runtime library, run `make onnxruntime`")
	}
	return library
}

// serving is an engine with a page; change may be nil.
func serving(t *testing.T, change func(*Config)) *Engine {
	t.Helper()
	cfg := Config{OnnxLibrary: onnxLibrary(t), DataDir: t.TempDir(), Listen: "127.0.0.1:0", HTTP: "127.0.0.1:0"}
	if change != nil {
		change(&cfg)
	}
	e, err := Open(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, e.Close(context.Background())) })
	return e
}

// invoke posts and returns the answer.
func invoke(t *testing.T, e *Engine, path, body string) (int, string) {
	t.Helper()
	r, err := http.Post("http://"+e.page.Address()+path, "application/json", strings.NewReader(body))
	require.NoError(t, err)
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	require.NoError(t, err)
	return r.StatusCode, string(text)
}

func sqlRows(t *testing.T, e *Engine, statement string) string {
	t.Helper()
	result, err := e.sql.query(t.Context(), queries.Query{Database: defaultDatabase, SQL: statement})
	require.NoError(t, err)
	defer result.Close()
	text, err := printResult(t.Context(), result)
	require.NoError(t, err)
	return text
}

func TestPredictionsOverHTTPAreThoseOfSQL(t *testing.T) {
	e := serving(t, func(c *Config) { c.ModelURI = "models:/sentiment" })
	texts := []string{"I love it", "I hate it", "", "it's a 'quote' \\ and ünïcödé 😀"}
	body, err := json.Marshal(map[string]any{"inputs": append([]string{texts[0]}, texts...)})
	require.NoError(t, err)
	code, answer := invoke(t, e, "/invocations", string(body))
	require.Equal(t, 200, code, answer)
	var got struct {
		Predictions []struct {
			Label string
			Score float64
		}
	}
	require.NoError(t, json.Unmarshal([]byte(answer), &got))
	require.Len(t, got.Predictions, len(texts)+1)
	require.Equal(t, got.Predictions[0], got.Predictions[1], "a text that comes twice")
	require.Contains(t, sqlRows(t, e, "SELECT COUNT(*) AS n FROM smelt.predictions WHERE model = 'sentiment'"), fmt.Sprint(len(texts)), "the ledger has each text once")
	found, err := e.models.Classify(t.Context(), "sentiment", texts)
	require.NoError(t, err)
	for i, f := range found {
		require.Equal(t, f.Label, got.Predictions[i+1].Label)
		require.Equal(t, f.Score, got.Predictions[i+1].Score, "bit for bit")
	}
	for _, c := range []struct {
		path, body string
		code       int
		want       string
	}{
		{"/invocations", `{"inputs": ["I love it", null], "params": {"output": "label"}}`, 200, `{"predictions":["positive",null]}`},
		{"/models/sentiment/1/invocations", `{"inputs": "I love it", "params": {"output": "score"}}`, 200, fmt.Sprintf(`{"predictions":[%v]}`, found[0].Score)},
		{"/models/sentiment/invocations", `{"inputs": "I love it", "params": {"output": "json"}}`, 200, `"scores":{"negative":`},
		{"/invocations?model=models:/encoder/1", `{"inputs": "x"}`, 200, `{"predictions":[[`},
		{"/models/encoder/invocations", `{"inputs": "x", "params": {"output": "label"}}`, 400, "is encoder, which gives one thing only"},
		{"/models/sentiment@none/invocations", `{"inputs": "x"}`, 404, "has no alias"},
		{"/models/sentiment/7/invocations", `{"inputs": "x"}`, 404, "has no version 7"},
		{"/models/it's/invocations", `{"inputs": "x"}`, 404, "unknown model"},
		{"/invocations", `{"inputs": []}`, 200, `{"predictions":[]}`},
	} {
		code, answer := invoke(t, e, c.path, c.body)
		require.Equal(t, c.code, code, answer)
		require.Contains(t, answer, c.want)
	}
}

func TestInvocationsWithoutAModelSayHowToNameOne(t *testing.T) {
	e := serving(t, nil)
	code, answer := invoke(t, e, "/invocations", `{"inputs": "x"}`)
	require.Equal(t, 400, code)
	require.Contains(t, answer, "/models/{name}/invocations")
}
