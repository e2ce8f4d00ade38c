package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"smelt/autoload"
	"smelt/engine/predictions"
	"smelt/engine/runs"
	"smelt/engine/status"
	"smelt/functions"
	"smelt/models"
	"smelt/models/hub"
	"smelt/models/remote"
	"smelt/queries"
	"smelt/queries/ddl"
	"smelt/queries/training"
	"smelt/tables"
)

// maxBatchRows bounds a query of the status page, whose statements are our own.
const maxBatchRows = 100_000

// Engine is one running smelt: a store of tables, the flows that keep them up to date, the models, and the listeners.
type Engine struct {
	cfg       Config
	log       *slog.Logger
	store     *tables.Store
	models    *models.Registry
	functions *functions.Set
	graph     *queries.Graph
	training  *training.Loop
	sql       *sqlEngine
	feeds     *feeds
	server    *Server        // nil in batch mode
	page      *status.Server // nil without a status page

	predictions *predictions.Ledger // nil when it is off
	runs        *runs.Book

	closeOnce sync.Once
	closeErr  error
}

// Open starts an engine. The listeners are bound before a pipeline makes its first table and answer after it made the
// last, so that a port in use leaves nothing half made and no client sees a pipeline half loaded.
func Open(ctx context.Context, cfg Config) (*Engine, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg, err := cfg.absolute()
	if err != nil {
		return nil, err
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	e := &Engine{cfg: cfg, log: cfg.Logger}
	if err := e.open(ctx); err != nil {
		return nil, errors.Join(err, e.Close(ctx))
	}
	return e, nil
}

func (e *Engine) open(ctx context.Context) error {
	files, err := e.cfg.files()
	if err != nil {
		return err
	}
	if e.store, err = tables.Open(e.cfg.DataDir, tables.Options{FS: files, Logger: e.log}); err != nil {
		return err
	}
	e.feeds = newFeeds(e.cfg, files, e.log)
	var ledger models.Ledger
	if e.cfg.LedgerBytes >= 0 {
		e.predictions = predictions.Open(predictions.Config{Store: e.store, Bytes: e.cfg.LedgerBytes, Logger: e.log})
		ledger = e.predictions
	}
	hubs := hub.FromEnvironment(os.Getenv)
	hubs.Allow, hubs.Logger = e.cfg.AllowHub, e.log
	if e.models, err = models.Open(models.Config{
		Library: e.cfg.OnnxLibrary, Ledger: ledger, Disk: modelDisk{files, filepath.Join(e.cfg.DataDir, modelDir)}, Permits: e.feeds.permits, Hub: hub.New(hubs),
		Remote: remote.Config{Allow: e.cfg.AllowEndpoints},
		Taken:  func(name string) bool { return e.sql.taken(name) }, Logger: e.log,
	}); err != nil {
		return err
	}
	e.runs = runs.New(runs.Config{Store: e.store, Logger: e.log})
	if err := e.compose(); err != nil {
		return err
	}
	if e.cfg.Listen != "" {
		if e.server, err = e.sql.listen(ctx, listenConfig{Address: e.cfg.Listen, User: e.cfg.User, Password: e.cfg.Password, StatementTimeout: e.cfg.StatementTimeout}); err != nil {
			return err
		}
	}
	if err := e.graph.Open(ctx); err != nil {
		return err
	}
	if e.cfg.plan {
		return nil
	}
	if err := e.loadPipelines(ctx); err != nil {
		return err
	}
	if e.cfg.Listen == "" {
		return nil
	}
	if e.cfg.HTTP != "" {
		if e.page, err = status.New(ctx, status.Config{Address: e.cfg.HTTP, SQL: e.server.Address(), Query: e.batch, Ingest: e.ingest, Predict: e.predict, Token: e.cfg.IngestToken, Logger: e.log}); err != nil {
			return err
		}
	}
	e.graph.Start()
	e.training.Start()
	e.server.Serve()
	return nil
}

// compose wires SQL and flows to one another: the flows run their SELECTs through SQL, and SQL statements define flows.
func (e *Engine) compose() error {
	e.functions = functions.New(e.models)
	e.graph = queries.New(queries.Config{
		Store: e.store,
		Query: func(ctx context.Context, q queries.Query) (queries.Result, error) { return e.sql.query(ctx, q) },
		Describe: func(ctx context.Context, q queries.Query) (tables.Schema, error) {
			return e.sql.describe(ctx, q)
		},
		Feed: e.feeds.open,
		Exec: func(ctx context.Context, database, statement string) error {
			return e.sql.exec(ctx, database, statement)
		},
		Ledger:     e.ledger,
		Compatible: autoload.Compatible,
		Carry: func(_ context.Context, from, to string, committed int64) error {
			return autoload.Carry(e.feeds.files, from, to, committed)
		},
		Model:   e.modelOf,
		Refers:  e.functions.Refers,
		Version: e.version,
		Declare: func(ctx context.Context, m *ddl.OnModel, database string, columns []string) (func() error, error) {
			return e.sql.declare(ctx, m, database, columns)
		},
		Promise: functions.Promise,
		Learn:   func(ctx context.Context) (bool, error) { return e.training.Once(ctx) },
		Files:   e.filesOf,
		Logger:  e.log,
	})
	e.feeds.watched = e.graph.Watched
	e.training = training.New(training.Config{
		Models: e.learners, Sources: e.graph.SourcesOf, Logger: e.log,
		Train: func(ctx context.Context, m training.Model) error { return e.sql.retrain(ctx, m.Name) },
	})
	var err error
	e.sql, err = newSQL(sqlConfig{
		Store:     e.store,
		Functions: e.functions,
		Models:    e.models,
		Runs:      e.runs,
		System:    e.systemTables(),
		Flows:     e.graph,
		Wake:      e.training.Wake,

		PlanPipeline: e.plannedPipelines,
		Base:         e.interactiveBase(),
		Permits:      e.feeds.permits,
		Logger:       e.log,
	})
	return err
}

// interactiveBase is the directory that relative paths in statements of clients are looked up in.
func (e *Engine) interactiveBase() string {
	if e.cfg.Watch != "" {
		return e.cfg.Watch
	}
	dir, err := os.Getwd()
	if err != nil {
		return e.cfg.DataDir
	}
	return dir
}

// batch runs one SELECT for the status page.
func (e *Engine) batch(ctx context.Context, statement string) (*tables.Batch, error) {
	result, err := e.sql.query(ctx, queries.Query{Database: "smelt", SQL: statement})
	if err != nil {
		return nil, err
	}
	defer result.Close()
	out := tables.NewBatch(result.Schema(), 0)
	err = tables.EachBatch(ctx, result, func(b *tables.Batch) error {
		if out.Append(b); out.Len > maxBatchRows {
			return fmt.Errorf("read rows for the status page: more than %d", maxBatchRows)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// Run processes everything that is there and returns when nothing is left to do.
func (e *Engine) Run(ctx context.Context, progress func(queries.Progress)) error {
	return e.graph.RunOnce(ctx, progress)
}

// Address returns host:port of the MySQL listener, "" in batch mode.
func (e *Engine) Address() string {
	if e.server == nil {
		return ""
	}
	return e.server.Address()
}

// Greeting says how to connect and where the page is.
func (e *Engine) Greeting() string {
	var b strings.Builder
	host, port, _ := strings.Cut(e.Address(), ":")
	fmt.Fprintf(&b, "smelt serves %s\n", e.cfg.DataDir)
	fmt.Fprintf(&b, "  sql    mariadb -h %s -P %s -u %s live    (or: smelt sql --listen %s -e 'SHOW TABLES')\n", host, port, userOr(e.cfg.User), e.Address())
	if e.cfg.Watch != "" {
		fmt.Fprintf(&b, "  watch  %s\n", e.cfg.Watch)
	}
	if e.page != nil {
		fmt.Fprintf(&b, "  page   http://%s/\n", e.page.Address())
	}
	return b.String()
}

func userOr(name string) string {
	if name == "" {
		return "root"
	}
	return name
}

// Close stops the listeners, lets the batches in flight commit until ctx ends, and releases the data directory. It may
// be called more than once.
func (e *Engine) Close(ctx context.Context) error {
	e.closeOnce.Do(func() {
		var errs []error
		if e.page != nil {
			errs = append(errs, e.page.Close(ctx))
		}
		if e.server != nil {
			errs = append(errs, e.server.Close(ctx))
		}
		if e.training != nil {
			e.training.Close()
		}
		if e.graph != nil {
			errs = append(errs, e.graph.Close(ctx))
		}
		if e.sql != nil {
			errs = append(errs, e.sql.close())
		}
		if e.models != nil {
			errs = append(errs, e.models.Close())
		}
		if e.predictions != nil {
			errs = append(errs, e.predictions.Close(ctx))
		}
		if e.store != nil {
			errs = append(errs, e.store.Close())
		}
		e.closeErr = errors.Join(errs...)
	})
	return e.closeErr
}

// pipelineFiles lists the .sql files of a pipeline: the file itself, or those directly in the directory, by name.
func pipelineFiles(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("open pipeline: %w", err)
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	files, err := filepath.Glob(filepath.Join(path, "*.sql"))
	if err != nil {
		return nil, fmt.Errorf("list pipeline %q: %w", path, err)
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("open pipeline %q: no .sql file in it", path)
	}
	return files, nil
}
