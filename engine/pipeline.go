package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/schollz/progressbar/v3"

	"smelt/queries"
	"smelt/queries/lexer"
	"smelt/tables"
)

// maxPipelineBytes bounds one pipeline: it is held in memory, and a file beyond this is no hand-written SQL.
const maxPipelineBytes = 4 << 20

// watchOnly is the table that a landing directory alone becomes.
const watchOnly = "CREATE STREAMING TABLE IF NOT EXISTS bronze COMMENT 'rows of the files in the watched directory'" +
	" AS SELECT *, source_file, processing_time FROM STREAM read_files('.', format => 'json')"

// loadPipelines makes the tables of the configured pipelines, or live.bronze for a landing directory alone.
func (e *Engine) loadPipelines(ctx context.Context) error {
	if len(e.cfg.Pipelines) == 0 && e.cfg.Watch != "" {
		if _, err := e.store.Table(defaultDatabase, "bronze"); errors.Is(err, tables.ErrNotFound) {
			return e.graph.Load(ctx, watchOnly, defaultDatabase, e.cfg.Watch)
		}
		return nil
	}
	for _, path := range e.cfg.Pipelines {
		if err := e.loadPipeline(ctx, path); err != nil {
			return fmt.Errorf("load pipeline %s: %w", path, err)
		}
	}
	return nil
}

func (e *Engine) loadPipeline(ctx context.Context, path string) error {
	return e.withPipeline(path, func(script, base string) error { return e.graph.Load(ctx, script, defaultDatabase, base) })
}

// withPipeline reads the files of one pipeline as one script, so that its statements may refer to one another across
// files in any order. Syntax errors of use get the name and the line of their file.
func (e *Engine) withPipeline(path string, use func(script, base string) error) error {
	files, err := pipelineFiles(path)
	if err != nil {
		return err
	}
	var script strings.Builder
	starts := make([]int, 0, len(files)) // first line of each file in the script, counted from 1
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			return fmt.Errorf("read pipeline: %w", err)
		}
		starts = append(starts, 1+strings.Count(script.String(), "\n"))
		script.Write(text)
		// A file may end in a statement without a semicolon or in a comment.
		script.WriteString("\n;\n")
		if script.Len() > maxPipelineBytes {
			return fmt.Errorf("read pipeline file %q: the pipeline is larger than %d bytes", f, maxPipelineBytes)
		}
	}
	base := e.cfg.Watch
	if base == "" {
		base = filepath.Dir(files[0])
	}
	err = use(script.String(), base)
	var syntax *lexer.SyntaxError
	if errors.As(err, &syntax) {
		for i := len(starts) - 1; i >= 0; i-- {
			if syntax.Line >= starts[i] {
				return fmt.Errorf("%s line %d: %w", filepath.Base(files[i]), syntax.Line-starts[i]+1, err)
			}
		}
	}
	return err
}

// RunBatch opens an engine without listeners, processes all that is there, draws a progress bar on out, and closes it.
func RunBatch(ctx context.Context, cfg Config, out io.Writer) error {
	cfg.Listen, cfg.HTTP = "", ""
	e, err := Open(ctx, cfg)
	if err != nil {
		return err
	}
	bar := newBar(out)
	if cfg.FullRefresh {
		err = e.fullRefresh(ctx)
	}
	if err == nil {
		err = e.Run(ctx, bar.update)
	}
	if err == nil {
		bar.finish()
	}
	return errors.Join(err, e.Close(ctx))
}

// fullRefresh rebuilds the tables of the pipelines from the start, sources first.
func (e *Engine) fullRefresh(ctx context.Context) error {
	list, err := e.plannedPipelines(ctx, "")
	if err != nil {
		return err
	}
	for _, p := range list {
		if p.Line == 0 || p.Kind != "streaming_table" && p.Kind != "materialized_view" {
			continue
		}
		if err := e.graph.Refresh(ctx, p.Database, p.Table, true); err != nil {
			return err
		}
	}
	return nil
}

// bar shows rows read against rows known to wait; the total grows while flows find more.
type bar struct {
	out  io.Writer
	line *progressbar.ProgressBar
	rows map[string]int64 // rows committed by each flow
}

func newBar(out io.Writer) *bar {
	return &bar{out: out, rows: map[string]int64{}, line: progressbar.NewOptions64(1,
		progressbar.OptionSetWriter(out),
		progressbar.OptionSetWidth(30),
		progressbar.OptionSetDescription("refining"),
		progressbar.OptionSetPredictTime(false))}
}

func (b *bar) update(p queries.Progress) {
	b.rows[p.Table] += p.RowsOut
	b.line.Describe(fmt.Sprintf("%-12s %d rows", p.Table, b.rows[p.Table]))
	if p.Total > 0 {
		b.line.ChangeMax64(p.Total)
		// The bar is only full when nothing is left: see finish.
		_ = b.line.Set64(min(p.Done, p.Total-1))
	}
}

func (b *bar) finish() {
	_ = b.line.Finish()
	fmt.Fprintln(b.out)
	for _, name := range slices.Sorted(maps.Keys(b.rows)) {
		fmt.Fprintf(b.out, "  %-20s %d rows\n", name, b.rows[name])
	}
}
