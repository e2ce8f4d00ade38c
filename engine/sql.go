package engine

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	sqle "github.com/dolthub/go-mysql-server"
	"github.com/dolthub/go-mysql-server/sql"
	"github.com/dolthub/go-mysql-server/sql/analyzer"

	"smelt/engine/runs"
	"smelt/functions"
	"smelt/models"
	"smelt/queries"
	"smelt/tables"
)

// serverVersion is what clients are told in the handshake and by VERSION(). It is at least 8.0.3 because Connector/J
// chooses its metadata queries by it, and the same everywhere because some tools compare.
const serverVersion = "8.0.43-smelt"

// DefaultStatementTimeout bounds one client statement: the first full scoring of a large table by a model takes
// minutes, while a forgotten dashboard query must not hold a core for ever.
const DefaultStatementTimeout = 10 * time.Minute

// sqlConfig says what a sqlEngine serves.
type sqlConfig struct {
	Store     *tables.Store
	Functions *functions.Set
	Models    *models.Registry       // nil: statements on models are refused
	Runs      *runs.Book             // nil: models are not evaluated
	System    map[string]systemTable // tables of the database smelt, by name
	Flows     Flows                  // nil: our statements are refused
	Wake      func()                 // has models that learn looked at; may be nil
	// PlanPipeline says what loading a pipeline would do; "" for those that the server was started with.
	PlanPipeline func(ctx context.Context, path string) ([]queries.Planned, error)
	Base         string                // directory in which CREATE statements of clients look up relative paths
	Permits      func(dir string) bool // whether LOCATION may name a directory; nil permits none
	Logger       *slog.Logger          // nil discards
}

// sqlEngine runs SQL over the store: statements of clients through a Server, queries of flows through query and
// describe. It is safe for concurrent use.
type sqlEngine struct {
	config   sqlConfig
	provider *provider
	engine   *sqle.Engine
	vectors  vectors
	log      *slog.Logger
}

// newSQL builds the engine. Nothing is read from disk and nothing runs until it is used.
func newSQL(cfg sqlConfig) (*sqlEngine, error) {
	if cfg.Store == nil || cfg.Functions == nil {
		return nil, fmt.Errorf("build the sql engine: the store and the functions must be given")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if err := prepareProcess(); err != nil {
		return nil, err
	}
	p := &provider{store: cfg.Store, functions: cfg.Functions, system: map[string]systemTable{}, flows: cfg.Flows}
	for name, content := range cfg.System {
		p.system[strings.ToLower(name)] = content
	}
	e := &sqlEngine{config: cfg, provider: p, log: cfg.Logger}
	p.tableFunctions = e.tableFunctions()
	overrides := sql.EngineOverrides{Builder: sql.BuilderOverrides{Parser: &parser{engine: e}}}
	builder := cfg.Functions.AddRules(addRules(analyzer.NewBuilder(p).AddOverrides(overrides), &e.vectors))
	e.engine = sqle.New(builder.Build(), &sqle.Config{})
	e.engine.Analyzer.ExecBuilder.PriorityBuilder = &executor{inner: e.engine.Analyzer.ExecBuilder}
	e.addInner()
	return e, nil
}

// close stops what runs inside go-mysql-server.
func (e *sqlEngine) close() error {
	if err := e.engine.Close(); err != nil {
		return fmt.Errorf("close the sql engine: %w", err)
	}
	return nil
}

// exec runs one statement of the system's own, such as the plain statements of a pipeline file, and drops its rows.
func (e *sqlEngine) exec(ctx context.Context, database, statement string) error {
	ctx = withStatement(ctx, statement, nil)
	if err := e.drain(ctx, database, statement); err != nil {
		return inward(ctx, e.log, err)
	}
	return nil
}

func (e *sqlEngine) drain(ctx context.Context, database, statement string) (err error) {
	defer recovered(e.log, &err)
	sqlCtx := e.newContext(ctx, database, statement)
	_, rows, _, err := e.engine.Query(sqlCtx, statement)
	if err != nil {
		return err
	}
	for err == nil {
		_, err = rows.Next(sqlCtx)
	}
	closing := rows.Close(sqlCtx)
	if err != io.EOF {
		return err
	}
	return closing
}

// newContext returns a context for a query of our own in database.
func (e *sqlEngine) newContext(ctx context.Context, database, query string) *sql.Context {
	session := sql.NewBaseSession()
	session.SetClient(sql.Client{User: innerUser, Address: "localhost"})
	if database == "" {
		database = defaultDatabase
	}
	session.SetCurrentDatabase(database)
	return sql.NewContext(ctx, sql.WithSession(session), sql.WithQuery(query))
}
