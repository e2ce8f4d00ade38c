package remote

import (
	"encoding/json"
	"maps"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"smelt/models/remote/remotetest"
)

func parse(change map[string]string) (Spec, Limits, error) {
	options := map[string]string{"provider": "OpenAI", "endpoint": "https://api.example.com/v1", "model": "m"}
	maps.Copy(options, change)
	return Parse(options, environment)
}

func TestOptionsAreReadAndFilledIn(t *testing.T) {
	s, l, err := parse(nil)
	require.NoError(t, err)
	zero := 0.0
	require.Equal(t, Spec{Kind: Generator, Endpoint: "https://api.example.com/v1", Model: "m", Temperature: &zero, MaxOutput: textTokens}, s)
	require.Equal(t, Limits{Timeout: time.Minute, Concurrency: 4, MaxRetries: 4}, l)
	s, l, err = parse(map[string]string{"labels": "yes, no", "temperature": "0.5", "parameters": `{"top_p": 0.5, "seed": 1}`, "timeout_s": "1.5", "max_cost": "2", "price_per_million_input_tokens": "0.15",
		"price_per_million_output_tokens": "0.6", "on_error": "ERROR", "api_key_env": "TEST_API_KEY"})
	require.NoError(t, err)
	require.Equal(t, "classifier", s.Kind)
	require.Equal(t, []string{"yes", "no"}, s.Labels)
	require.Equal(t, json.RawMessage(`{"seed":1,"top_p":0.5}`), s.Parameters)
	require.Equal(t, Limits{KeyEnv: "TEST_API_KEY", Timeout: 1500 * time.Millisecond, Concurrency: 4, MaxRetries: 4, InputPrice: 0.15, OutputPrice: 0.6, MaxCost: 2, Strict: true}, l)
	s, l, err = parse(map[string]string{"task": "feature-extraction"})
	require.NoError(t, err)
	require.Equal(t, Spec{Kind: Encoder, Endpoint: "https://api.example.com/v1", Model: "m"}, s)
	require.Equal(t, defaultBatch, l.BatchSize)
}

func TestEndpointsThatMeanTheSameAreTheSame(t *testing.T) {
	for _, v := range []string{"https://API.example.com/v1", "https://api.example.com/v1/", "https://api.example.com/v1/chat/completions", "https://api.example.com/v1/embeddings/"} {
		s, _, err := parse(map[string]string{"endpoint": v})
		require.NoError(t, err, v)
		require.Equal(t, "https://api.example.com/v1", s.Endpoint, v)
	}
}

func TestOptionsThatAreRefused(t *testing.T) {
	for _, c := range []struct{ name, value, want string }{
		{"provider", "other", "known is openai"},
		{"endpoint", "", "want https://host/v1"},
		{"endpoint", "ftp://host/v1", "want https://host/v1"},
		{"endpoint", "file:///etc/passwd", "want https://host/v1"},
		{"endpoint", "https://user:pass@host/v1", "without user"},
		{"endpoint", "https://host/v1?key=1", "without user, ?"},
		{"endpoint", "https://host/v1/../admin", "plain path"},
		{"endpoint", "https://host/v1%2fadmin", "plain path"},
		{"model", "", "OPTIONS needs"},
		{"kind", "regressor", "known are classifier"},
		{"kind", "classifier", "needs labels"},
		{"labels", "a,,b", "label 1"},
		{"labels", "a,A.", "cannot be told from another"},
		{"labels", `["a", 1]`, "JSON array"},
		{"temperature", "3", "from 0 to 2"},
		{"temperature", "NaN", "from 0 to 2"},
		{"max_output_tokens", "0", "from 1"},
		{"max_output_tokens", "many", "whole number"},
		{"parameters", `{"stream": true}`, "not for parameters"},
		{"parameters", `[1]`, "JSON object"},
		{"parameters", `{"max_completion_tokens": 1.5}`, "whole number"},
		{"timeout_s", "0", "want seconds"},
		{"timeout_s", "1e9", "want seconds"},
		{"concurrency", "65", "from 1 to 64"},
		{"max_retries", "-1", "from 0"},
		{"max_cost", "1", "needs price_per_million_input_tokens"},
		{"max_cost", "Inf", "not negative"},
		{"max_cost", "-1", "not negative"},
		{"batch_size", "8", "is for an encoder"},
		{"on_error", "panic", "null and error"},
		{"api_key_env", "HOME", "ends in API_KEY"},
		{"api_key_env", "AWS_SECRET_ACCESS_KEY", "ends in API_KEY"},
		{"api_key_env", "SMELT_PASSWORD", "ends in API_KEY"},
		{"temprature", "0", "no option"},
	} {
		_, _, err := parse(map[string]string{c.name: c.value})
		require.ErrorIs(t, err, ErrOption, c)
		require.ErrorContains(t, err, c.want, c)
	}
	_, _, err := parse(map[string]string{"kind": "encoder", "prompt": "x"})
	require.ErrorContains(t, err, "not for an encoder")
}

func TestAKeyInAnOptionIsRefusedAndNotRepeated(t *testing.T) {
	for _, name := range []string{"api_key", "key", "token", "authorization", "headers", "prompt", "model", "parameters", "api_key_env", "timeout_s", "endpoint"} {
		_, _, err := parse(map[string]string{name: remotetest.Key})
		require.ErrorContains(t, err, "environment only", name)
		require.NotContains(t, err.Error(), remotetest.Key, name)
	}
	_, _, err := parse(map[string]string{"api_key_env": "OTHER_API_KEY", "prompt": "I am of another opinion"}) // whatever it looks like
	require.ErrorContains(t, err, "environment only")
	_, _, err = parse(map[string]string{"endpoint": "https://user:word@host/v1?code=123"})
	require.NotContains(t, err.Error(), "word")
	require.NotContains(t, err.Error(), "123")
	_, _, err = parse(map[string]string{"api_key": "abc"})
	require.ErrorContains(t, err, "api_key_env")
	require.NotContains(t, err.Error(), "abc")
}

func TestEndpointsAreLetInByPattern(t *testing.T) {
	for _, c := range []struct {
		pattern string
		in, out []string
	}{
		{"https://api.example.com", []string{"https://api.example.com/v1", "https://API.example.com", "https://api.example.com:443/x"},
			[]string{"http://api.example.com/v1", "https://api.example.com:8443/v1", "https://api.example.com.evil.com/v1", "https://evil.com/api.example.com", "https://xapi.example.com"}},
		{"api.example.com/v1", []string{"https://api.example.com/v1", "https://api.example.com/v1/x"}, []string{"https://api.example.com/v10", "https://api.example.com/", "http://api.example.com/v1"}},
		{"https://*.example.com/*", []string{"https://a.example.com/v1"}, []string{"https://example.com/v1", "https://example.com.evil.com/v1"}},
		{"*", []string{"https://any.where/v1"}, []string{"http://127.0.0.1/v1", "https://any.where:8443/v1"}},
		{"http://127.0.0.1:*", []string{"http://127.0.0.1:11434/v1", "http://127.0.0.1/v1"}, []string{"http://localhost:11434/v1", "https://127.0.0.1:1/v1", "http://127.0.0.12:1/v1"}},
		{"http://[::1]:8000/v1", []string{"http://[::1]:8000/v1"}, []string{"http://[::2]:8000/v1"}},
	} {
		require.NoError(t, CheckPattern(c.pattern), c.pattern)
		for _, e := range c.in {
			require.NoError(t, allowed([]string{"https://nobody", c.pattern}, e), "%s %s", c.pattern, e)
		}
		for _, e := range c.out {
			require.ErrorIs(t, allowed([]string{"https://nobody", c.pattern}, e), ErrNotAllowed, "%s %s", c.pattern, e)
		}
	}
	for _, bad := range []string{"", "://", "ftp://host", "https://", "https://user@host", "https://host?x", "https://[", "https://host/a/*/b", "https://host:", "a b"} {
		require.Error(t, CheckPattern(bad), bad)
	}
}
