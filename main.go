// Command smelt refines watched directories of raw files into bronze, silver, gold and application tables by SQL whose
// functions are machine-learning models, and serves them to any MySQL client.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"smelt/autoload"
	"smelt/engine"
	"smelt/engine/client"
)

// closeTimeout bounds the orderly stop: a batch in flight is given this long to commit before it is cut off, which
// loses nothing because an uncommitted batch is planned again.
const closeTimeout = 20 * time.Second

type cli struct {
	Serve  serveCmd  `cmd:"" help:"Serve tables to MySQL clients and keep the pipelines running."`
	Run    runCmd    `cmd:"" help:"Process all that is there once, show progress, exit."`
	SQL    sqlCmd    `cmd:"" name:"sql" help:"A small client, for machines without one."`
	Check  checkCmd  `cmd:"" help:"Prove that files, ledgers, tables and views agree; name the first difference."`
	Replay replayCmd `cmd:"" help:"Drop recorded rows into a watched directory as if they were live."`
	Models modelsCmd `cmd:"" help:"Models of a Hugging Face hub (HF_ENDPOINT, HF_TOKEN), in the cache of its own tools (HF_HUB_CACHE, HF_HOME)."`
}

type dataFlags struct {
	Data          string   `default:"data" placeholder:"DIR" help:"Directory of the tables (${default})."`
	Watch         string   `placeholder:"DIR" help:"Landing directory: relative paths of read_files are looked up in it. Without a pipeline it becomes the table live.bronze."`
	AllowPath     []string `placeholder:"DIR" help:"A further directory that read_files may name; repeatable."`
	AllowHub      []string `placeholder:"NAME" help:"A model that CREATE MODEL may fetch from the Hugging Face hub: org/name, org/* or *; repeatable. Of all others only what its cache has is used."`
	AllowEndpoint []string `placeholder:"URL" help:"Where models elsewhere (CREATE MODEL ... OPTIONS (provider = 'openai', ...)) may be asked: https://host/path, https://*.example.com, http://127.0.0.1:*; repeatable."`
	LedgerMB      int64    `name:"ledger-mb" default:"${ledger}" placeholder:"N" help:"Memory for known predictions (${default} MB), which smelt.predictions keeps; the oldest go first. 0 turns it off."`
	Verbose       bool     `short:"v" help:"Log each batch."`
}

// ledgerBytes is the flag as engine.Config has it.
func (f dataFlags) ledgerBytes() int64 {
	if f.LedgerMB <= 0 {
		return -1
	}
	return f.LedgerMB << 20
}

type serveCmd struct {
	dataFlags
	Listen   string        `default:"${listen}" placeholder:"ADDR" help:"Address of the MySQL listener (${default})."`
	HTTP     string        `name:"http" default:"${http}" placeholder:"ADDR" help:"Address of the status page and of POST /ingest and /invocations (${default}); empty for none. Off loopback it asks for the token in SMELT_INGEST_TOKEN."`
	ModelURI string        `name:"model-uri" placeholder:"URI" help:"Model that POST /invocations asks when the request names none, as models:/sentiment@production."`
	User     string        `placeholder:"NAME" help:"User asked of clients; the password is read from SMELT_PASSWORD. Without it everybody on this machine may connect."`
	Pipeline []string      `placeholder:"PATH" help:"A .sql file or a directory of them; repeatable."`
	Timeout  time.Duration `placeholder:"DURATION" help:"Time limit of one client statement."`
}

type runCmd struct {
	dataFlags
	Pipeline    string `arg:"" help:"A .sql file or a directory of them."`
	FullRefresh bool   `xor:"how" help:"Rebuild the pipeline's tables from the start."`
	DryRun      bool   `xor:"how" help:"Only say what would be created, changed and rebuilt, and why."`
}

type checkCmd struct {
	Data string `default:"data" placeholder:"DIR" help:"Directory of the tables (${default}); no server may have it open."`
}

type sqlCmd struct {
	Listen   string `default:"${listen}" placeholder:"ADDR" help:"Address of the server (${default})."`
	User     string `default:"root" placeholder:"NAME" help:"User name; the password is read from SMELT_PASSWORD."`
	Database string `short:"D" default:"live" help:"Database to use (${default})."`
	Execute  string `short:"e" placeholder:"STATEMENTS" help:"Run these and exit; without it statements are read from standard input."`
}

// rate is a number a second, with or without the unit.
type rate float64

// UnmarshalText implements encoding.TextUnmarshaler.
func (r *rate) UnmarshalText(text []byte) error {
	n, err := strconv.ParseFloat(strings.TrimSuffix(string(text), "/s"), 64)
	if err != nil {
		return fmt.Errorf("want a number a second, as 10/s, got %q", text)
	}
	*r = rate(n)
	return nil
}

type replayCmd struct {
	Source string `arg:"" help:"A recorded file or a directory of them."`
	Into   string `required:"" placeholder:"DIR" help:"The watched directory."`
	Rate   rate   `placeholder:"N/s" help:"Rows per second, or files per second where files are dropped as they are; 0 is full speed."`
	Rows   int    `placeholder:"N" xor:"cut" help:"Cut JSON and text into files of this many rows. Without it a single file is cut into files of 10 rows, and the files of a directory are dropped as they are."`
	Whole  bool   `xor:"cut" help:"Drop a single file as it is, too."`
	Loop   bool   `help:"Begin again at the end, until interrupted; needs --rate."`
}

type modelsCmd struct {
	Pull   pullCmd   `cmd:"" help:"Bring a model into the cache: then CREATE MODEL m OPTIONS (source = 'hf:NAME') needs no network."`
	List   listCmd   `cmd:"" help:"List what the cache has."`
	Verify verifyCmd `cmd:"" help:"Read all files of the cache, and of the models of a data directory, and compare them with their hashes."`
	Export exportCmd `cmd:"" help:"Write a model that was trained here as a graph of ONNX over the embeddings of its encoder."`
}

type pullCmd struct {
	Name    engine.HubName `arg:"" help:"org/name or org/name@revision: a branch, a tag or a commit."`
	Variant string         `placeholder:"FILE" help:"Another graph than model.onnx, as onnx/model_quantized.onnx."`
}

type exportCmd struct {
	Name string `arg:"" help:"name, name@alias or name/2."`
	Dir  string `arg:"" help:"Directory to write model.onnx and config.json into; it is made."`
	Data string `default:"data" placeholder:"DIR" help:"Directory of the tables (${default})."`
}

type listCmd struct{}

type verifyCmd struct {
	Data string `default:"data" placeholder:"DIR" help:"Directory of the tables (${default}); none if there is none."`
}

func (c pullCmd) Run(ctx context.Context) error {
	return engine.PullModel(ctx, c.Name, c.Variant, os.Stdout, os.Stderr)
}

func (c exportCmd) Run() error { return engine.ExportModel(c.Name, c.Data, c.Dir, os.Stdout) }

func (c listCmd) Run() error { return engine.ListModels(os.Stdout) }

func (c verifyCmd) Run(ctx context.Context) error {
	return engine.VerifyModels(ctx, c.Data, os.Stdout)
}

func (c serveCmd) Run(ctx context.Context) error {
	e, err := engine.Open(ctx, engine.Config{
		DataDir: c.Data, Watch: c.Watch, AllowPaths: c.AllowPath, AllowHub: c.AllowHub, AllowEndpoints: c.AllowEndpoint, Pipelines: c.Pipeline,
		Listen: c.Listen, HTTP: c.HTTP, User: c.User, Password: os.Getenv("SMELT_PASSWORD"),
		IngestToken: os.Getenv("SMELT_INGEST_TOKEN"), ModelURI: c.ModelURI, StatementTimeout: c.Timeout, LedgerBytes: c.ledgerBytes(), Logger: logger(c.Verbose),
	})
	if err != nil {
		return err
	}
	fmt.Print(e.Greeting())
	<-ctx.Done()
	closing, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	return e.Close(closing)
}

func (c runCmd) Run(ctx context.Context) error {
	config := engine.Config{
		DataDir: c.Data, Watch: c.Watch, AllowPaths: c.AllowPath, AllowHub: c.AllowHub, AllowEndpoints: c.AllowEndpoint, Pipelines: []string{c.Pipeline},
		FullRefresh: c.FullRefresh, LedgerBytes: c.ledgerBytes(), Logger: logger(c.Verbose),
	}
	if c.DryRun {
		return engine.DryRun(ctx, config, os.Stdout)
	}
	return engine.RunBatch(ctx, config, os.Stderr)
}

func (c checkCmd) Run(ctx context.Context) error {
	return engine.Check(ctx, engine.Config{DataDir: c.Data, Logger: logger(false)}, os.Stdout)
}

func (c sqlCmd) Run(ctx context.Context) error {
	return client.Run(ctx, client.Config{
		Address: c.Listen, User: c.User, Password: os.Getenv("SMELT_PASSWORD"), Database: c.Database,
		Statements: c.Execute, In: os.Stdin, Out: os.Stdout,
	})
}

func (c replayCmd) Run(ctx context.Context) error {
	config := autoload.ReplayConfig{Source: c.Source, Into: c.Into, RowsPerSecond: float64(c.Rate), RowsPerFile: c.Rows, Loop: c.Loop}
	if c.Whole {
		config.RowsPerFile = -1
	}
	stats, err := autoload.Replay(ctx, config)
	switch {
	case stats.Rows > 0:
		fmt.Printf("%d rows in %d files dropped into %s\n", stats.Rows, stats.Files, c.Into)
	case stats.Files > 0:
		fmt.Printf("%d files dropped into %s\n", stats.Files, c.Into)
	}
	return err
}

func logger(verbose bool) *slog.Logger {
	level := slog.LevelWarn
	if verbose {
		level = slog.LevelInfo
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var c cli
	parser := kong.Must(&c, kong.Name("smelt"), kong.UsageOnError(), kong.Vars{"listen": engine.DefaultListen, "http": engine.DefaultHTTP, "ledger": strconv.Itoa(engine.DefaultLedgerMB)},
		kong.Description("Watched directories as tables, models as SQL functions, SELECTs kept up to date."), kong.BindTo(ctx, (*context.Context)(nil)))
	command, err := parser.Parse(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "smelt:", err)
		os.Exit(2)
	}
	if err := command.Run(); err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "smelt:", err)
		os.Exit(1)
	}
}
