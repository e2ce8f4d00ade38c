package status

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"runtime/debug"
	"strings"
	"time"
	"unicode/utf8"
)

// Limits of POST /invocations. Whoever has more texts sends several requests, or lets SQL read them.
const (
	maxInvocationBytes = 16 << 20 // of one request, before and after decompression
	maxInvocationTexts = 10_000   // of one request: its answers are held in memory until they are written
	maxInvocations     = 16       // requests at once: they share one queue of threads, more would only wait in it
)

// What params may ask of a model with the name output; a classifier gives label and score together without it.
const (
	OutputLabel = "label" // as m(text)
	OutputScore = "score" // as m_score(text)
	OutputJSON  = "json"  // as m_json(text)
)

// Invocation is one request to a model.
type Invocation struct {
	Model  string    // its name, name@alias, name/version or models:/...; "" for the one that is served by default
	Output string    // one of those above, or ""
	Texts  []*string // nil is NULL, and so is its answer
}

// PredictFunc answers each text by a value that encodes as JSON. What the client did wrong is a *Refusal.
type PredictFunc func(ctx context.Context, i Invocation) ([]any, error)

// errStopping ends the requests in flight when the server closes.
var errStopping = refuse(http.StatusServiceUnavailable, "the server is shutting down")

// scoring adds what MLflow's scoring server answers. The model is named by the path or by ?model=.
func (s *Server) scoring(mux *http.ServeMux) {
	for _, path := range []string{"/invocations", "/models/{model}/invocations", "/models/{model}/{version}/invocations"} {
		mux.HandleFunc(path, s.invocations)
	}
	for _, path := range []string{"GET /ping", "GET /health"} {
		mux.HandleFunc(path, s.ping)
	}
	mux.HandleFunc("GET /version", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json") // MLflow says so of this bare text
		_, _ = io.WriteString(w, version())                // the client has gone
	})
}

// version is that of the program, as Go's linker knows it.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}

// ping answers as MLflow does: an empty line, and 404 while nothing can be answered.
func (s *Server) ping(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	if err := s.healthy(r.Context()); err != nil {
		w.WriteHeader(http.StatusNotFound)
	}
	_, _ = io.WriteString(w, "\n") // the client has gone
}

// invocations answers {"predictions": [...]}, one for each text.
func (s *Server) invocations(w http.ResponseWriter, r *http.Request) {
	predictions, err := s.predict(w, r)
	if err != nil {
		code, err := s.explain(w, r, err)
		writeJSON(w, code, map[string]string{"error_code": mlflowCode(code), "message": err.Error()})
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{"predictions": predictions})
}

// mlflowCode is MLflow's name for a status.
func mlflowCode(code int) string {
	switch code {
	case http.StatusUnauthorized:
		return "UNAUTHENTICATED"
	case http.StatusForbidden:
		return "PERMISSION_DENIED"
	case http.StatusNotFound:
		return "RESOURCE_DOES_NOT_EXIST"
	case http.StatusServiceUnavailable:
		return "TEMPORARILY_UNAVAILABLE"
	}
	if code >= http.StatusInternalServerError {
		return "INTERNAL_ERROR"
	}
	return "BAD_REQUEST"
}

// predict checks what can be checked without the body, reads it, and asks the model.
func (s *Server) predict(w http.ResponseWriter, r *http.Request) ([]any, error) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		return nil, refuse(http.StatusMethodNotAllowed, "%s is not answered here: POST texts as JSON", r.Method)
	}
	if err := s.mayPost(w, r); err != nil {
		return nil, err
	}
	kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/json" {
		return nil, refuse(http.StatusUnsupportedMediaType, "this predictor only supports the content type application/json, got %q", r.Header.Get("Content-Type"))
	}
	if set := params["charset"]; set != "" && !strings.EqualFold(set, "utf-8") {
		return nil, refuse(http.StatusUnsupportedMediaType, "the scoring server only supports UTF-8, got %q", set)
	}
	select {
	case s.scorings <- struct{}{}:
		defer func() { <-s.scorings }()
	default:
		return nil, refuse(http.StatusServiceUnavailable, "%d requests are being scored already: try again", maxInvocations)
	}
	asked, err := s.readInvocation(w, r)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	defer context.AfterFunc(s.stopping, func() { cancel(errStopping) })()
	predictions, err := s.cfg.Predict(ctx, asked)
	if err != nil && s.stopping.Err() != nil {
		return nil, errStopping
	}
	return predictions, err
}

// readInvocation reads model and texts of a request.
func (s *Server) readInvocation(w http.ResponseWriter, r *http.Request) (Invocation, error) {
	// A recorder of a test has no connection to set a deadline on; every real one has.
	controller := http.NewResponseController(w)
	if err := controller.SetReadDeadline(time.Now().Add(ingestTimeout)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return Invocation{}, fmt.Errorf("limit the time of the body: %w", err)
	}
	content, err := content(w, r, maxInvocationBytes)
	if err != nil {
		return Invocation{}, err
	}
	body, err := io.ReadAll(content)
	if err != nil {
		return Invocation{}, fmt.Errorf("read body: %w", err)
	}
	// The model may take longer than the body: the connection is read on, to notice a client that leaves.
	if err := controller.SetReadDeadline(time.Time{}); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return Invocation{}, fmt.Errorf("lift the limit of the body: %w", err)
	}
	if !utf8.Valid(body) {
		return Invocation{}, refuse(http.StatusBadRequest, "failed to parse input: it is not UTF-8")
	}
	asked, err := parseInvocation(body)
	if err != nil {
		return asked, err
	}
	named := r.URL.Query().Get("model")
	if path := r.PathValue("model"); path != "" && named != "" {
		return asked, refuse(http.StatusBadRequest, "the path names model %q and the query %q: name one", path, named)
	} else if path != "" {
		named = path
	}
	if v := r.PathValue("version"); v != "" {
		named += "/" + v
	}
	asked.Model = named
	return asked, nil
}

// parseInvocation reads a body of MLflow's protocol: one of four fields with the input, and perhaps params.
func parseInvocation(body []byte) (asked Invocation, err error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(body, &fields); err != nil {
		return asked, refuse(http.StatusBadRequest, "failed to parse input: want a JSON dictionary: %s", err)
	}
	if raw, ok := fields["params"]; ok {
		if asked.Output, err = parseParams(raw); err != nil {
			return asked, err
		}
		delete(fields, "params")
	}
	var found []string
	for name := range fields {
		found = append(found, name)
	}
	if len(found) != 1 || inputFields[found[0]] == nil {
		return asked, refuse(http.StatusBadRequest, "the input must be a JSON dictionary with exactly one of the input fields "+
			"dataframe_split, dataframe_records, instances and inputs, and perhaps params; received %d fields", len(fields))
	}
	asked.Texts, err = inputFields[found[0]](fields[found[0]])
	if err != nil {
		return asked, refuse(http.StatusBadRequest, "failed to parse the input field %s: %s", found[0], err)
	}
	if len(asked.Texts) > maxInvocationTexts {
		return asked, refuse(http.StatusRequestEntityTooLarge, "%d texts in one request, more than %d: send several", len(asked.Texts), maxInvocationTexts)
	}
	return asked, nil
}

// parseParams reads what is asked of the model; a parameter that nothing reads is refused.
func parseParams(raw json.RawMessage) (output string, err error) {
	var params map[string]any
	if err := json.Unmarshal(raw, &params); err != nil {
		return "", refuse(http.StatusBadRequest, "failed to parse params: want a JSON dictionary: %s", err)
	}
	for name, value := range params {
		text, ok := value.(string)
		if name != "output" || !ok || text != OutputLabel && text != OutputScore && text != OutputJSON {
			return "", refuse(http.StatusBadRequest, "params: %q = %v: known is output = %s, %s or %s", name, value, OutputLabel, OutputScore, OutputJSON)
		}
		output = text
	}
	return output, nil
}
