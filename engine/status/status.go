// Package status is the HTTP side of a server: a page for people, the same facts as JSON, a health check, metrics, a way in
// for rows, and models behind MLflow's protocol. It reads the tables of the database `smelt` and nothing private, so
// whatever it shows can be asked by SQL as well. Times are UTC.
package status

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"smelt/tables"
)

// queryTimeout bounds one page: the system tables are small, so a slower answer means that the server is stuck.
const queryTimeout = 5 * time.Second

// readHeaderTimeout closes connections that never begin their request, idleTimeout those that never begin another.
const (
	readHeaderTimeout = 5 * time.Second
	idleTimeout       = 2 * time.Minute
)

// maxRows bounds one section of the page and one JSON answer.
const maxRows = 200

// QueryFunc runs one SELECT and returns its rows.
type QueryFunc func(ctx context.Context, sql string) (*tables.Batch, error)

// Config says what a Server shows.
type Config struct {
	Address string // host:port; port 0 chooses a free one
	SQL     string // address of the MySQL listener, shown on the page
	Query   QueryFunc
	Ingest  IngestFunc  // what POST /ingest does
	Predict PredictFunc // what POST /invocations does
	Token   string      // asked of those who ingest; off loopback of everybody, and nothing is shown without one
	Logger  *slog.Logger
}

// Server answers HTTP requests until Close.
type Server struct {
	cfg      Config
	listener net.Listener
	http     *http.Server
	done     chan struct{}
	loopback bool            // only this machine can reach it
	ingests  chan struct{}   // one for each request that stores rows
	scorings chan struct{}   // one for each request that asks a model
	stopping context.Context // ends when the server closes
	stop     context.CancelFunc
	sameSite *http.CrossOriginProtection
}

// section is one table of the page and of the JSON interface; one without a title is drawn.
type section struct {
	Name, Title, Note, SQL string
}

// Link is what the first cell of a row leads to, before its text; "" for nothing.
func (s section) Link() string {
	if s.Name == "runs" {
		return "/runs/"
	}
	return ""
}

var sections = []section{
	{"streams", "Flows", "what keeps each table up to date, and how far it is", "SELECT * FROM smelt.streams ORDER BY `table`"},
	{"progress", "Last batches", "newest first", "SELECT * FROM smelt.progress ORDER BY started DESC LIMIT 50"},
	{"expectations", "Expectations", "rows checked by each rule", "SELECT `database`, `table`, expectation, action, SUM(passed) AS passed, SUM(failed) AS failed FROM smelt.expectations GROUP BY `database`, `table`, expectation, action ORDER BY `database`, `table`, expectation"},
	{"files", "Files that could not be loaded", "they stand here until they change", "SELECT * FROM smelt.files WHERE state <> 'loaded' ORDER BY path LIMIT 50"},
	{"lineage", "", "", lineageSQL},
	{"models", "Models", "each is a SQL function of its name", "SELECT * FROM smelt.models ORDER BY name"},
	{"runs", "Runs", "how models did against labelled rows: EVALUATE MODEL", runsSQL},
}

//go:embed page.html
var pageHTML string

// New listens on the configured address and serves in the background. An address in use is an error.
func New(ctx context.Context, cfg Config) (*Server, error) {
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", cfg.Address)
	if err != nil {
		return nil, fmt.Errorf("open status page on %s: %w", cfg.Address, err)
	}
	s := newServer(cfg)
	s.listener = listener
	if at, ok := listener.Addr().(*net.TCPAddr); ok {
		s.loopback = at.IP.IsLoopback()
	}
	handler, err := s.handler()
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	s.http = &http.Server{Handler: handler, ReadHeaderTimeout: readHeaderTimeout, IdleTimeout: idleTimeout}
	go func() {
		defer close(s.done)
		if err := s.http.Serve(listener); err != nil && !errors.Is(err, http.ErrServerClosed) {
			cfg.Logger.Error("status page stopped", "err", err)
		}
	}()
	return s, nil
}

func newServer(cfg Config) *Server {
	s := &Server{cfg: cfg, done: make(chan struct{}), ingests: make(chan struct{}, maxIngests), scorings: make(chan struct{}, maxInvocations),
		sameSite: http.NewCrossOriginProtection()}
	s.stopping, s.stop = context.WithCancel(context.Background())
	return s
}

// handler says which path is answered by what.
func (s *Server) handler() (http.Handler, error) {
	page, err := template.New("page").Parse(pageHTML)
	if err != nil {
		return nil, fmt.Errorf("parse status page: %w", err)
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), flowCollector{s})
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) { s.page(w, r, page) })
	mux.HandleFunc("GET /json/{section}", s.json)
	mux.HandleFunc("GET /healthz", s.health)
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	for _, path := range []string{"/ingest", "/ingest/", "/ingest/{table}", "/ingest/{database}/{table}"} {
		mux.HandleFunc(path, s.ingest)
	}
	s.scoring(mux)
	if err := s.serveRuns(mux); err != nil {
		return nil, err
	}
	return s.guarded(mux), nil
}

// Address returns the host:port that the server listens on.
func (s *Server) Address() string { return s.listener.Addr().String() }

// Close stops listening, interrupts what asks models, waits for the other requests in flight until ctx ends, and may be
// called more than once.
func (s *Server) Close(ctx context.Context) error {
	s.stop()
	if err := s.http.Shutdown(ctx); err != nil {
		return fmt.Errorf("close status page: %w", err)
	}
	<-s.done
	return nil
}

// table is a section with its rows, as the template shows it.
type table struct {
	section
	Columns []string
	Rows    [][]string
	Error   string
}

func (s *Server) page(w http.ResponseWriter, r *http.Request, page *template.Template) {
	ctx, cancel := context.WithTimeout(r.Context(), queryTimeout)
	defer cancel()
	shown := make([]table, 0, len(sections))
	drawn, err := s.graph(ctx)
	if err != nil {
		s.cfg.Logger.Warn("draw lineage", "err", err)
	}
	for _, sec := range sections {
		if sec.Title == "" {
			continue
		}
		t := table{section: sec}
		batch, err := s.cfg.Query(ctx, sec.SQL)
		if err != nil {
			t.Error = err.Error()
		} else {
			t.Columns = batch.Schema.Names()
			t.Rows = cells(batch)
		}
		shown = append(shown, t)
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	if err := page.Execute(w, map[string]any{"SQL": s.cfg.SQL, "Now": time.Now().UTC().Format(time.DateTime), "Tables": shown, "Graph": drawn}); err != nil {
		s.cfg.Logger.Warn("write status page", "err", err)
	}
}

func (s *Server) json(w http.ResponseWriter, r *http.Request) {
	for _, sec := range sections {
		if sec.Name != r.PathValue("section") {
			continue
		}
		ctx, cancel := context.WithTimeout(r.Context(), queryTimeout)
		defer cancel()
		batch, err := s.cfg.Query(ctx, sec.SQL)
		if err != nil {
			s.fail(w, r, &Refusal{Code: http.StatusServiceUnavailable, Reason: err.Error()})
			return
		}
		writeJSON(w, http.StatusOK, objects(batch))
		return
	}
	s.fail(w, r, refuse(http.StatusNotFound, "no section %q", r.PathValue("section")))
}

// health answers 200 while statements run; a failed flow does not make the server unhealthy, restarting would not help.
func (s *Server) health(w http.ResponseWriter, r *http.Request) {
	if err := s.healthy(r.Context()); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ok")
}

func (s *Server) healthy(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	_, err := s.cfg.Query(ctx, "SELECT 1")
	return err
}
