package status

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"smelt/tables"
)

// scoringServer answers each text by its length, and NULL by NULL.
func scoringServer(t *testing.T, change func(*Server)) http.Handler {
	t.Helper()
	return testServer(t, func(s *Server) {
		s.cfg.Predict = func(_ context.Context, asked Invocation) ([]any, error) {
			switch asked.Model {
			case "none":
				return nil, refuse(http.StatusNotFound, "unknown model: %q", asked.Model)
			case "broken":
				return nil, errors.New("no memory left")
			}
			out := make([]any, len(asked.Texts))
			for i, text := range asked.Texts {
				if text != nil {
					out[i] = asked.Model + asked.Output + strings.Repeat("|", len(*text))
				}
			}
			return out, nil
		}
		if change != nil {
			change(s)
		}
	})
}

func TestWhatInvocationsAnswers(t *testing.T) {
	const json = "application/json"
	for _, c := range []struct {
		name, path, body string
		header           []string
		code             int
		want             string
	}{
		{"split", "/invocations", `{"dataframe_split": {"columns": ["text"], "index": [7, 9], "data": [["a"], ["bb"]]}}`, nil, 200, `{"predictions":["|","||"]}`},
		{"split without columns", "/invocations", `{"dataframe_split": {"data": [["a"]]}}`, nil, 200, `["|"]`},
		{"split, columns that pandas numbers", "/invocations", `{"dataframe_split": {"columns": [0], "data": [["a"]]}}`, nil, 200, `["|"]`},
		{"split, several columns", "/invocations", `{"dataframe_split": {"columns": ["id", "text"], "data": [[1, "a"]]}}`, nil, 200, `["|"]`},
		{"split, none named text", "/invocations", `{"dataframe_split": {"columns": ["a", "b"], "data": [["x", "y"]]}}`, nil, 400, `none is named \"text\"`},
		{"split, ragged", "/invocations", `{"dataframe_split": {"columns": ["text"], "data": [["a"], []]}}`, nil, 400, "row 1 has 0 values for 1 columns"},
		{"split, nothing", "/invocations", `{"dataframe_split": {"columns": [], "data": []}}`, nil, 200, `{"predictions":[]}`},
		{"records", "/invocations", `{"dataframe_records": [{"text": "a"}, {"text": null}, {"id": 1}]}`, nil, 200, `["|",null,null]`},
		{"records of one column", "/invocations", `{"dataframe_records": [{"review": "abc"}]}`, nil, 200, `["|||"]`},
		{"no records", "/invocations", `{"dataframe_records": []}`, nil, 200, `[]`},
		{"instances", "/invocations", `{"instances": ["a", ["bb"], null]}`, nil, 200, `["|","||",null]`},
		{"instances that are records", "/invocations", `{"instances": [{"text": "a"}]}`, nil, 200, `["|"]`},
		{"inputs, a list", "/invocations", `{"inputs": ["a"]}`, nil, 200, `["|"]`},
		{"inputs, a text", "/invocations", `{"inputs": "a"}`, nil, 200, `["|"]`},
		{"inputs, columns", "/invocations", `{"inputs": {"text": ["a", "bb"], "id": [1, 2]}}`, nil, 200, `["|","||"]`},
		{"inputs, one of a column", "/invocations", `{"inputs": {"text": "a"}}`, nil, 200, `["|"]`},
		{"inputs, a number", "/invocations", `{"inputs": 5}`, nil, 400, "want a text"},
		{"a number for a text", "/invocations", `{"inputs": ["a", 5]}`, nil, 400, "row 1: want a text"},
		{"params", "/invocations", `{"inputs": ["a"], "params": {"output": "score"}}`, nil, 200, `["score|"]`},
		{"params null", "/invocations", `{"inputs": ["a"], "params": null}`, nil, 200, `["|"]`},
		{"unknown params", "/invocations", `{"inputs": ["a"], "params": {"temperature": 1}}`, nil, 400, "known is output"},
		{"unknown output", "/invocations", `{"inputs": ["a"], "params": {"output": "x"}}`, nil, 400, "known is output"},
		{"two inputs", "/invocations", `{"inputs": ["a"], "instances": ["a"]}`, nil, 400, "exactly one of the input fields"},
		{"no input", "/invocations", `{"params": {}}`, nil, 400, "exactly one of the input fields"},
		{"unknown field", "/invocations", `{"data": ["a"]}`, nil, 400, "exactly one of the input fields"},
		{"a list", "/invocations", `["a"]`, nil, 400, "want a JSON dictionary"},
		{"cut off", "/invocations", `{"inputs": ["a"`, nil, 400, "unexpected end of JSON"},
		{"more behind it", "/invocations", `{"inputs": ["a"]} x`, nil, 400, "failed to parse input"},
		{"bad UTF-8", "/invocations", "{\"inputs\": [\"\xff\"]}", nil, 400, "not UTF-8"},
		{"nothing", "/invocations", "", nil, 400, "failed to parse input"},
		{"deeply nested", "/invocations", `{"inputs": ` + strings.Repeat("[", 20_000), nil, 400, "failed to parse"},
		{"model of the query", "/invocations?model=m@production", `{"inputs": "a"}`, nil, 200, `["m@production|"]`},
		{"model of the path", "/models/m@production/invocations", `{"inputs": "a"}`, nil, 200, `["m@production|"]`},
		{"version of the path", "/models/m/2/invocations", `{"inputs": "a"}`, nil, 200, `["m/2|"]`},
		{"two models", "/models/m/invocations?model=n", `{"inputs": "a"}`, nil, 400, "name one"},
		{"unknown model", "/models/none/invocations", `{"inputs": "a"}`, nil, 404, `"error_code":"RESOURCE_DOES_NOT_EXIST"`},
		{"fault of the server", "/models/broken/invocations", `{"inputs": "a"}`, nil, 500, `"error_code":"INTERNAL_ERROR"`},
		{"plain text", "/invocations", `{"inputs": "a"}`, []string{"Content-Type", "text/plain"}, 415, "only supports the content type application/json"},
		{"charset", "/invocations", `{"inputs": "a"}`, []string{"Content-Type", json + "; charset=UTF-8"}, 200, `["|"]`},
		{"another charset", "/invocations", `{"inputs": "a"}`, []string{"Content-Type", json + "; charset=latin1"}, 415, "only supports UTF-8"},
		{"gzip", "/invocations", packed(t, `{"inputs": "a"}`), []string{"Content-Encoding", "gzip"}, 200, `["|"]`},
		{"too large", "/invocations", strings.Repeat(" ", maxInvocationBytes+1), nil, 413, "more than 16777216 bytes"},
		{"too many", "/invocations", `{"inputs": ["a"` + strings.Repeat(`,"a"`, maxInvocationTexts) + `]}`, nil, 413, "more than 10000"},
		{"page of another site", "/invocations", `{"inputs": "a"}`, []string{"Origin", "https://evil.example"}, 403, `"error_code":"PERMISSION_DENIED"`},
		{"a name made to lead here", "/invocations", `{"inputs": "a"}`, []string{"Host", "evil.example"}, 403, "only localhost"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := ask(scoringServer(t, nil), "POST", c.path, c.body, append([]string{"Content-Type", json}, c.header...)...)
			require.Equal(t, c.code, w.Code, w.Body.String())
			require.Contains(t, w.Body.String(), c.want)
			require.Equal(t, json, w.Header().Get("Content-Type"))
			require.Equal(t, c.code != 200, strings.Contains(w.Body.String(), `"error_code":`) && strings.Contains(w.Body.String(), `"message":`))
		})
	}
	w := ask(scoringServer(t, nil), "GET", "/invocations", "")
	require.Equal(t, http.StatusMethodNotAllowed, w.Code)
	require.Equal(t, "POST", w.Header().Get("Allow"))
}

func TestInvocationsAskForTheToken(t *testing.T) {
	const body = `{"inputs": "a"}`
	for _, c := range []struct {
		name     string
		loopback bool
		token    string
		path     string
		header   []string
		code     int
	}{
		{"loopback needs none", true, "", "/invocations", nil, 200},
		{"but one that is set counts", true, "s3cret", "/invocations", nil, 401},
		{"off loopback without a token", false, "", "/models/m/invocations", nil, 403},
		{"not sent", false, "s3cret", "/models/m/invocations", nil, 401},
		{"wrong", false, "s3cret", "/models/m/2/invocations", []string{"Authorization", "Bearer x"}, 403},
		{"a browser's password does not do", false, "s3cret", "/invocations", []string{"Authorization", "Basic OnMzY3JldA=="}, 401},
		{"right", false, "s3cret", "/invocations", []string{"Authorization", "Bearer s3cret"}, 200},
		{"what lives needs none", false, "s3cret", "/ping", nil, 200},
		{"in all spellings", false, "s3cret", "/health", nil, 200},
		{"and the version", false, "s3cret", "/version", nil, 200},
	} {
		t.Run(c.name, func(t *testing.T) {
			method := "POST"
			if !strings.HasSuffix(c.path, "/invocations") {
				method = "GET"
			}
			h := scoringServer(t, func(s *Server) { s.loopback, s.cfg.Token = c.loopback, c.token })
			w := ask(h, method, c.path, body, append([]string{"Content-Type", "application/json"}, c.header...)...)
			require.Equal(t, c.code, w.Code, w.Body.String())
		})
	}
}

func TestPingSaysWhetherStatementsRun(t *testing.T) {
	require.Equal(t, "\n", ask(testServer(t, nil), "GET", "/ping", "").Body.String())
	h := testServer(t, func(s *Server) {
		s.cfg.Query = func(context.Context, string) (*tables.Batch, error) { return nil, errors.New("closed") }
	})
	require.Equal(t, http.StatusNotFound, ask(h, "GET", "/ping", "").Code)
}

// TestClosingInterruptsAModel goes over a real connection: the request is answered before Close returns.
func TestClosingInterruptsAModel(t *testing.T) {
	asked := make(chan struct{})
	s, err := New(t.Context(), Config{Address: "127.0.0.1:0", Logger: slog.New(slog.DiscardHandler), Predict: func(ctx context.Context, _ Invocation) ([]any, error) {
		close(asked)
		<-ctx.Done()
		return nil, ctx.Err()
	}})
	require.NoError(t, err)
	answer := make(chan string, 1)
	go func() {
		r, err := http.Post("http://"+s.Address()+"/invocations", "application/json", strings.NewReader(`{"inputs": "a"}`))
		if err != nil {
			answer <- err.Error()
			return
		}
		defer r.Body.Close()
		var got map[string]string
		_ = json.NewDecoder(r.Body).Decode(&got)
		answer <- got["error_code"]
	}()
	<-asked
	require.NoError(t, s.Close(t.Context()))
	require.Equal(t, "TEMPORARILY_UNAVAILABLE", <-answer)
}

func TestAClientThatLeavesEndsTheWork(t *testing.T) {
	asked, ended := make(chan struct{}), make(chan struct{})
	s, err := New(t.Context(), Config{Address: "127.0.0.1:0", Logger: slog.New(slog.DiscardHandler), Predict: func(ctx context.Context, _ Invocation) ([]any, error) {
		close(asked)
		<-ctx.Done()
		close(ended)
		return nil, ctx.Err()
	}})
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close(context.Background())) }()
	ctx, leave := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, "POST", "http://"+s.Address()+"/invocations", strings.NewReader(`{"inputs": "a"}`))
	require.NoError(t, err)
	r.Header.Set("Content-Type", "application/json")
	go func() {
		<-asked
		leave()
	}()
	_, err = http.DefaultClient.Do(r)
	require.ErrorIs(t, err, context.Canceled)
	<-ended
}
