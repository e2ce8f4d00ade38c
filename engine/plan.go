package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/dolthub/go-mysql-server/sql"

	"smelt/queries"
	"smelt/queries/ddl"
	"smelt/tables"
)

// planColumns are the columns of EXPLAIN PIPELINE and of EXPLAIN CREATE.
var planColumns = []string{"Line", "Database", "Name", "Flow", "Kind", "Action", "Reason", "Columns", "Sources", "Strategy", "Because"}

// plan answers EXPLAIN PIPELINE and EXPLAIN CREATE: what would happen, and nothing of it does.
func (e *sqlEngine) plan(ctx *sql.Context, s *ddl.OnFlow) (sql.RowIter, error) {
	flows, err := e.flows()
	if err != nil {
		return nil, err
	}
	work, done := untimed(ctx)
	defer done()
	var list []queries.Planned
	if s.Verb == "EXPLAIN CREATE" {
		list, err = flows.Plan(work, s.Select, e.database(ctx, ""), e.config.Base)
	} else {
		list, err = e.config.PlanPipeline(work, s.Name)
	}
	if err != nil {
		return nil, err
	}
	rows := make([]sql.Row, len(list))
	for i, p := range list {
		rows[i] = sql.NewRow(fmt.Sprint(p.Line), p.Database, p.Table, p.Flow, p.Kind, p.Action, p.Reason, strings.Join(p.Columns, ", "), strings.Join(p.Sources, ", "), p.Strategy, p.Because)
	}
	return sql.RowsToRowIter(rows...), nil
}

// plannedPipelines plans a pipeline by its path, or those that the server was started with for "".
func (e *Engine) plannedPipelines(ctx context.Context, path string) ([]queries.Planned, error) {
	if path == "" {
		if len(e.cfg.Pipelines) == 0 {
			return nil, fmt.Errorf("explain pipeline: the server was started without one; write EXPLAIN PIPELINE 'file.sql'")
		}
		var all []queries.Planned
		for _, p := range e.cfg.Pipelines {
			list, err := e.planPipeline(ctx, p)
			if err != nil {
				return nil, fmt.Errorf("explain pipeline %s: %w", p, err)
			}
			all = append(all, list...)
		}
		return all, nil
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(e.interactiveBase(), path)
	}
	if !e.feeds.permits(path) {
		return nil, mysqlError(errFilePrivilege, "Access denied for pipeline '%s': it is under none of --watch, the pipelines' directories and --allow-path", path)
	}
	return e.planPipeline(ctx, path)
}

func (e *Engine) planPipeline(ctx context.Context, path string) ([]queries.Planned, error) {
	var list []queries.Planned
	err := e.withPipeline(path, func(script, base string) (err error) {
		list, err = e.graph.Plan(ctx, script, defaultDatabase, base)
		return err
	})
	return list, err
}

// DryRun opens an engine without listeners, prints what loading the pipelines would do, and closes it. Nothing is made; a data
// directory that is missing stays so.
func DryRun(ctx context.Context, cfg Config, out io.Writer) error {
	cfg.Listen, cfg.HTTP, cfg.plan = "", "", true
	if _, err := os.Stat(cfg.DataDir); errors.Is(err, os.ErrNotExist) {
		dir, err := os.MkdirTemp("", "smelt-dry-run-")
		if err != nil {
			return fmt.Errorf("make a directory for the dry run: %w", err)
		}
		defer os.RemoveAll(dir)
		cfg.DataDir = dir
	}
	e, err := Open(ctx, cfg)
	if errors.Is(err, tables.ErrLocked) {
		return fmt.Errorf("%w; ask the server that has it open: EXPLAIN PIPELINE", err)
	}
	if err != nil {
		return err
	}
	list, err := e.plannedPipelines(ctx, "")
	for _, p := range list {
		name := p.Database + "." + p.Table
		if p.Table == "" {
			name = ""
		}
		if p.Flow != "" {
			name += ":" + p.Flow
		}
		fmt.Fprintf(out, "%-8s %-18s %-32s %s\n", p.Action, p.Kind, name, p.Reason)
	}
	return errors.Join(err, e.Close(ctx))
}
