// Package remotetest is a small server of OpenAI's protocol for tests, on loopback. By itself it behaves: what it answers
// is a function of the text. Tests have it misbehave.
package remotetest

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// Key is the key that the server wants, if it wants one.
const Key = "sk-test-0123456789abcdef-confidential"

// Request is one request that the server got.
type Request struct {
	Path          string
	Authorization string
	Body          map[string]any
	Texts         []string // of the user's message, or the inputs
}

// Server is a server with one chat model and one model of embeddings. It is safe for concurrent use.
type Server struct {
	Endpoint string // URL, with /v1

	server *httptest.Server

	mu        sync.Mutex
	key       string
	requests  []Request
	flying    int
	most      int // requests at a time
	intercept func(w http.ResponseWriter, r *http.Request, got Request) bool
	answer    func(text string) string
}

// New starts a server that ends with the test.
func New(t testing.TB) *Server {
	t.Helper()
	s := &Server{answer: Mood}
	s.server = httptest.NewServer(s)
	s.Endpoint = s.server.URL + "/v1"
	t.Cleanup(s.Close)
	return s
}

// Close ends the server, as a network that goes away: connections are refused from then on.
func (s *Server) Close() {
	s.server.CloseClientConnections()
	s.server.Close()
}

// Mood is what the server answers by itself: positive, negative or neutral.
func Mood(text string) string {
	switch {
	case strings.Contains(text, "love"):
		return "positive"
	case strings.Contains(text, "hate"):
		return "negative"
	}
	return "neutral"
}

// Vector is the embedding of a text: of its length and its letters.
func Vector(text string) []float64 {
	v := []float64{1 + float64(len(text)), 0, 0, 0}
	for i, b := range []byte(text) {
		v[1+i%3] += math.Sqrt(float64(b))
	}
	return v
}

// Answer has f say what the model answers.
func (s *Server) Answer(f func(text string) string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = f
}

// Want has the server want a key.
func (s *Server) Want(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.key = key
}

// Intercept has f answer requests first; true tells that it did. nil ends it.
func (s *Server) Intercept(f func(w http.ResponseWriter, r *http.Request, got Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.intercept = f
}

// Requests returns what was asked since the last call.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.requests
	s.requests = nil
	return all
}

// Texts returns the texts that were asked about since the last call, as often as they were.
func (s *Server) Texts() map[string]int {
	out := map[string]int{}
	for _, r := range s.Requests() {
		for _, t := range r.Texts {
			out[t]++
		}
	}
	return out
}

// Most returns how many requests there were at a time.
func (s *Server) Most() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.most
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	got := Request{Path: r.URL.Path, Authorization: r.Header.Get("Authorization")}
	data, err := io.ReadAll(r.Body)
	if err == nil {
		err = json.Unmarshal(data, &got.Body)
	}
	if err != nil {
		Refuse(w, http.StatusBadRequest, "bad_json", err.Error())
		return
	}
	got.Texts = textsOf(got.Body)
	s.mu.Lock()
	s.requests = append(s.requests, got)
	s.flying++
	s.most = max(s.most, s.flying)
	intercept, key, answer := s.intercept, s.key, s.answer
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.flying--
		s.mu.Unlock()
	}()
	switch {
	case intercept != nil && intercept(w, r, got):
	case key != "" && got.Authorization != "Bearer "+key:
		Refuse(w, http.StatusUnauthorized, "invalid_api_key", "Incorrect API key provided: "+strings.TrimPrefix(got.Authorization, "Bearer "))
	case got.Path == "/v1/chat/completions" && len(got.Texts) == 1:
		write(w, Chat(answer(got.Texts[0]), got.Body["logprobs"] == true))
	case got.Path == "/v1/embeddings":
		write(w, Embeddings(got.Texts))
	default:
		Refuse(w, http.StatusNotFound, "model_not_found", "no such thing")
	}
}

// textsOf finds what is asked about: the last message, or the inputs.
func textsOf(body map[string]any) (texts []string) {
	if messages, ok := body["messages"].([]any); ok && len(messages) > 0 {
		last, _ := messages[len(messages)-1].(map[string]any)
		text, _ := last["content"].(string)
		return []string{text}
	}
	inputs, _ := body["input"].([]any)
	for _, i := range inputs {
		text, _ := i.(string)
		texts = append(texts, text)
	}
	return texts
}

// Chat is an answer of the chat model: 10 tokens in, one for each word out, each with the probability of a half.
func Chat(text string, logprobs bool) map[string]any {
	choice := map[string]any{"index": 0, "finish_reason": "stop", "message": map[string]any{"role": "assistant", "content": text}}
	words := strings.Fields(text)
	if logprobs {
		var tokens []map[string]any
		for _, word := range words {
			tokens = append(tokens, map[string]any{"token": word, "logprob": math.Log(0.5)})
		}
		choice["logprobs"] = map[string]any{"content": tokens}
	}
	return map[string]any{"object": "chat.completion", "choices": []any{choice}, "usage": map[string]any{"prompt_tokens": 10, "completion_tokens": len(words), "total_tokens": 10 + len(words)}}
}

// Embeddings is an answer of the model of embeddings, the last text first: 5 tokens a text.
func Embeddings(texts []string) map[string]any {
	var data []any
	for i := len(texts) - 1; i >= 0; i-- {
		data = append(data, map[string]any{"object": "embedding", "index": i, "embedding": Vector(texts[i])})
	}
	return map[string]any{"object": "list", "data": data, "usage": map[string]any{"prompt_tokens": 5 * len(texts), "total_tokens": 5 * len(texts)}}
}

// Refuse answers with an error as OpenAI does.
func Refuse(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"error": map[string]any{"message": message, "code": code, "type": "error"}}) // a client that went away is its own affair
}

func write(w http.ResponseWriter, answer any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer) // as above
}

// Misbehaviours are answers that are none, by name. A text that meets one has no answer, and no other text is the worse for
// it; Transient ones end by themselves when the request comes again.
var Misbehaviours = map[string]http.HandlerFunc{
	"an error of its own": func(w http.ResponseWriter, _ *http.Request) {
		Refuse(w, http.StatusInternalServerError, "server_error", "oops")
	},
	"overload": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "7")
		Refuse(w, http.StatusTooManyRequests, "rate_limit_exceeded", "slow down")
	},
	"a gateway's page": func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusBadGateway)
		fmt.Fprint(w, "<html>502</html>")
	},
	"a reset connection": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	"half an answer": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		fmt.Fprint(w, `{"choices": [`)
	},
	"no answer in time":          func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
	"a page of HTML":             func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<!doctype html><html>welcome</html>") },
	"no JSON":                    func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "positive") },
	"JSON that ends":             func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"choices":[{"message":{"content":"posi`) },
	"nothing":                    func(http.ResponseWriter, *http.Request) {},
	"null":                       func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "null") },
	"no choices and no data":     func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"choices":[],"data":[]}`) },
	"other types":                func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"choices":"positive","data":7}`) },
	"a choice without a message": func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"choices":[{}],"data":[{}]}`) },
	"a message without a text": func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"choices":[{"message":{"content":null}}]}`)
	},
	"more choices and data than wanted": func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"choices":[{"message":{"content":"positive"}},{"message":{"content":"negative"}}],"data":[{"index":0,"embedding":[1]},{"index":0,"embedding":[1]}]}`)
	},
	"a huge answer": func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"choices":[{"message":{"content":"`)
		for range 6 { // more than is read of an answer
			if _, err := io.WriteString(w, strings.Repeat("a", 1<<20)); err != nil {
				return
			}
		}
		fmt.Fprint(w, `"}}]}`)
	},
	"the key": func(w http.ResponseWriter, r *http.Request) {
		write(w, Chat(r.Header.Get("Authorization"), false))
	},
	"the key in an error": func(w http.ResponseWriter, r *http.Request) {
		key := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		Refuse(w, http.StatusBadRequest, key, key)
	},
	"the key, spelled otherwise": func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `{"choices":[{"message":{"content":"\u0073%s"}}]}`, strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer s"))
	},
	"a redirect elsewhere": func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://localhost.invalid/v1/chat/completions", http.StatusTemporaryRedirect)
	},
	"a redirect to GET": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path, http.StatusFound) },
	"a refusal": func(w http.ResponseWriter, _ *http.Request) {
		Refuse(w, http.StatusBadRequest, "context_length_exceeded", "too long")
	},
}

// Transient are the misbehaviours behind which a request is made again.
var Transient = []string{"an error of its own", "overload", "a gateway's page", "a reset connection", "half an answer", "no answer in time"}
