package status

import (
	"compress/flate"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"strings"
	"time"
)

// Limits of POST /ingest. A producer with more rows sends several requests, or drops files into the directory itself.
const (
	maxIngestBytes = 16 << 20        // of one request, before and after decompression: it is held in memory until it is durable
	maxIngests     = 16              // requests at once: with the line above, the memory that they may take
	ingestTimeout  = 1 * time.Minute // for the body to arrive: the largest one over 2 Mbit/s
)

// retryAfter is what a producer is asked to wait when too many are there: a durable write takes milliseconds.
const retryAfter = "1" // seconds

// IngestFunc makes the rows of a body durable where a table reads them. What the client did wrong is a *Refusal; errors
// of reading the body are wrapped.
type IngestFunc func(ctx context.Context, database, table string, body io.Reader) (Stored, error)

// Stored says what became of one request.
type Stored struct {
	File  string `json:"file"`  // name in the watched directory
	Bytes int64  `json:"bytes"` // of the file
	Rows  int64  `json:"rows"`
}

// Refusal is an answer other than success.
type Refusal struct {
	Code   int // HTTP status
	Reason string
}

// Error implements error.
func (r *Refusal) Error() string { return r.Reason }

func refuse(code int, format string, args ...any) error {
	return &Refusal{Code: code, Reason: fmt.Sprintf(format, args...)}
}

// ingest answers POST /ingest/{table} and /ingest/{database}/{table}: 202 once the rows are durable in the directory
// that the table reads.
func (s *Server) ingest(w http.ResponseWriter, r *http.Request) {
	database, table := r.PathValue("database"), r.PathValue("table")
	if database == "" {
		database = "live"
	}
	stored, err := s.take(w, r, database, table)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	writeJSON(w, http.StatusAccepted, stored)
}

// take checks everything that can be checked without the body, then has it stored.
func (s *Server) take(w http.ResponseWriter, r *http.Request, database, table string) (Stored, error) {
	switch {
	case r.Method != http.MethodPost:
		w.Header().Set("Allow", http.MethodPost)
		return Stored{}, refuse(http.StatusMethodNotAllowed, "%s is not answered here: POST rows as JSON", r.Method)
	case table == "":
		return Stored{}, refuse(http.StatusNotFound, "no table named: POST to /ingest/{table} or /ingest/{database}/{table}")
	}
	if err := s.mayPost(w, r); err != nil {
		return Stored{}, err
	}
	if err := jsonRows(r.Header.Get("Content-Type")); err != nil {
		return Stored{}, err
	}
	if r.ContentLength > maxIngestBytes {
		return Stored{}, tooLarge(maxIngestBytes)
	}
	select {
	case s.ingests <- struct{}{}:
		defer func() { <-s.ingests }()
	default:
		w.Header().Set("Retry-After", retryAfter)
		return Stored{}, refuse(http.StatusServiceUnavailable, "%d requests are being stored already: try again", maxIngests)
	}
	// A recorder of a test has no connection to set a deadline on; every real one has.
	if err := http.NewResponseController(w).SetReadDeadline(time.Now().Add(ingestTimeout)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return Stored{}, fmt.Errorf("limit the time of the body: %w", err)
	}
	body, err := content(w, r, maxIngestBytes)
	if err != nil {
		return Stored{}, err
	}
	return s.cfg.Ingest(r.Context(), database, table, body)
}

// jsonRows refuses a body that does not call itself JSON. It also keeps out what a browser may send to another site
// without asking it first, which is forms and plain text only.
func jsonRows(header string) error {
	kind, params, err := mime.ParseMediaType(header)
	if err == nil {
		switch kind {
		case "application/json", "application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines":
			if set := params["charset"]; set != "" && !strings.EqualFold(set, "utf-8") {
				return refuse(http.StatusUnsupportedMediaType, "charset %q: JSON is UTF-8", set)
			}
			return nil
		}
	}
	return refuse(http.StatusUnsupportedMediaType, "Content-Type %q: send application/x-ndjson or application/json", header)
}

// content is the body without its encoding, and no more of it than is allowed.
func content(w http.ResponseWriter, r *http.Request, most int64) (io.Reader, error) {
	wire := http.MaxBytesReader(w, r.Body, most)
	switch encoding := strings.ToLower(r.Header.Get("Content-Encoding")); encoding {
	case "", "identity":
		return wire, nil
	case "gzip", "x-gzip":
		text, err := gzip.NewReader(wire)
		if err != nil {
			return nil, fmt.Errorf("read body as gzip: %w", err)
		}
		return &bounded{from: text, most: most, left: most}, nil
	default:
		return nil, refuse(http.StatusUnsupportedMediaType, "Content-Encoding %q: only gzip is understood", encoding)
	}
}

// bounded fails once more than left bytes have come: a small body may unpack to a huge one.
type bounded struct {
	from       io.Reader
	most, left int64
}

// Read implements io.Reader.
func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.from.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, tooLarge(b.most)
	}
	return n, err
}

func tooLarge(most int64) error {
	return refuse(http.StatusRequestEntityTooLarge, "more than %d bytes in one request: send several", most)
}

// fail answers with an error.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	code, err := s.explain(w, r, err)
	writeJSON(w, code, map[string]string{"error": err.Error()})
}

// explain returns the status and the words for an error. Errors of the server are logged, too.
func (s *Server) explain(w http.ResponseWriter, r *http.Request, err error) (int, error) {
	var refusal *Refusal
	var long *http.MaxBytesError
	var corrupt flate.CorruptInputError
	code := http.StatusInternalServerError
	switch {
	case errors.As(err, &refusal):
		code = refusal.Code
	case errors.As(err, &long):
		err = tooLarge(long.Limit)
		code = http.StatusRequestEntityTooLarge
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = fmt.Errorf("the body did not arrive within %s", ingestTimeout)
		code = http.StatusRequestTimeout
	case errors.Is(err, gzip.ErrHeader), errors.Is(err, gzip.ErrChecksum), errors.As(err, &corrupt), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		code = http.StatusBadRequest
	default:
		s.cfg.Logger.Error("answer "+r.Method+" "+r.URL.Path, "err", err)
	}
	if code == http.StatusServiceUnavailable && w.Header().Get("Retry-After") == "" {
		w.Header().Set("Retry-After", retryAfter)
	}
	return code, err
}

func writeJSON(w http.ResponseWriter, code int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(value) // the client has gone
}
