package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"smelt/engine/runs"
	"smelt/queries"
	"smelt/tables"
)

// historyLimit bounds how many commits of one table the system tables show: enough for days at one batch a minute.
const historyLimit = 10_000

var (
	textType  = tables.Type{Kind: tables.String}
	longType  = tables.Type{Kind: tables.Long}
	timeType  = tables.Type{Kind: tables.Timestamp}
	floatType = tables.Type{Kind: tables.Double}
	boolType  = tables.Type{Kind: tables.Boolean}
	jsonType  = tables.Type{Kind: tables.JSON}
)

// systemTables lists them by name.
func (e *Engine) systemTables() map[string]func(ctx context.Context) (tables.Relation, error) {
	all := map[string]func(ctx context.Context) (tables.Relation, error){
		"streams":        e.streams,
		"progress":       e.progress,
		"expectations":   e.expectations,
		"files":          e.files,
		"models":         e.modelsTable,
		"model_versions": e.modelVersionsTable,
		"model_history":  e.modelHistoryTable,
		"model_spending": e.modelSpendingTable,
		"predictions":    e.predictionsTable,
		"history":        e.history,
		"lineage":        e.lineage,
		"drift":          e.drift,
	}
	for _, name := range runs.Names() {
		all[name] = func(ctx context.Context) (tables.Relation, error) { return e.runs.Relation(ctx, name) }
	}
	return all
}

// orNull turns an empty text into NULL.
func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

var streamsSchema = tables.Schema{
	{Name: "database", Type: textType},
	{Name: "table", Type: textType},
	{Name: "flow", Type: textType, Comment: "one of those that fill the table; its own has its name"},
	{Name: "kind", Type: textType, Comment: "streaming_table or materialized_view"},
	{Name: "state", Type: textType, Comment: "idle, running, waiting, retrying, suspended, failed, or stale: a model that it asks means another version now"},
	{Name: "strategy", Type: textType, Comment: "append or recompute"},
	{Name: "reason", Type: textType, Comment: "why this strategy, or what the flow waits for"},
	{Name: "sources", Type: textType, Comment: "what the SELECT reads"},
	{Name: "schedule", Type: textType, Comment: "SCHEDULE or TRIGGER; NULL for whenever a source changes"},
	{Name: "next_run", Type: timeType, Comment: "when the schedule lets it run next, UTC"},
	{Name: "table_rows", Type: longType},
	{Name: "version", Type: longType, Comment: "newest Delta version"},
	{Name: "lag_seconds", Type: floatType, Comment: "age of the oldest source change that the table does not show yet"},
	{Name: "last_error", Type: textType},
	{Name: "updated", Type: timeType, Comment: "newest commit, UTC"},
}

func (e *Engine) streams(context.Context) (tables.Relation, error) {
	b := tables.NewBatch(streamsSchema, 0)
	for _, s := range e.graph.Flows() {
		var rows, version int64
		var updated time.Time
		if t, err := e.store.Table(s.Database, s.Table); err == nil {
			snapshot := t.Snapshot()
			rows, version, updated = snapshot.Rows(), snapshot.Version(), snapshot.Modified()
		}
		b.AppendRow(s.Database, s.Table, flowName(s), s.Kind, s.State, s.Strategy, s.Reason, strings.Join(s.Sources, ", "),
			orNull(s.Schedule), timeOrNull(s.Next),
			rows, version, s.Lag.Seconds(), orNull(s.LastError), updated)
	}
	return tables.FromBatches(streamsSchema, b), nil
}

var progressSchema = tables.Schema{
	{Name: "database", Type: textType},
	{Name: "table", Type: textType},
	{Name: "version", Type: longType, Comment: "Delta version that the batch made"},
	{Name: "started", Type: timeType, Comment: "UTC"},
	{Name: "duration_ms", Type: longType},
	{Name: "read_ms", Type: longType, Comment: "listing, reading and decoding the source"},
	{Name: "query_ms", Type: longType, Comment: "running the SELECT, models included"},
	{Name: "write_ms", Type: longType, Comment: "writing and syncing files"},
	{Name: "rows_in", Type: longType},
	{Name: "rows_out", Type: longType},
	{Name: "dropped", Type: longType, Comment: "rows dropped by expectations"},
	{Name: "quarantined", Type: longType, Comment: "rows that expectations put into quarantine"},
	{Name: "files", Type: longType, Comment: "source files read"},
	{Name: "bytes", Type: longType, Comment: "bytes of source files read"},
	{Name: "strategy", Type: textType},
	{Name: "reason", Type: textType},
	{Name: "texts_scored", Type: longType, Comment: "that models scored"},
	{Name: "texts_known", Type: longType, Comment: "whose predictions were known: see smelt.predictions"},
	{Name: "texts_truncated", Type: longType, Comment: "that had more tokens than the model takes, and were cut; those known among them"},
	{Name: "texts_failed", Type: longType, Comment: "whose prediction is NULL, because the model gave none"},
}

// eachBatch calls f for every batch of every flow, table by table, newest first.
func (e *Engine) eachBatch(ctx context.Context, f func(s queries.Status, p queries.Progress)) error {
	for _, s := range e.graph.Flows() {
		t, err := e.store.Table(s.Database, s.Table)
		if err != nil {
			continue // dropped since
		}
		commits, err := t.History(ctx, historyLimit)
		if err != nil {
			return fmt.Errorf("read history of %s.%s: %w", s.Database, s.Table, err)
		}
		for _, c := range commits {
			if p, ok := queries.ProgressOf(c); ok {
				f(s, p)
			}
		}
	}
	return nil
}

func (e *Engine) progress(ctx context.Context) (tables.Relation, error) {
	b := tables.NewBatch(progressSchema, 0)
	err := e.eachBatch(ctx, func(s queries.Status, p queries.Progress) {
		b.AppendRow(s.Database, s.Table, p.Version, p.Started, p.Duration.Milliseconds(), p.Read.Milliseconds(), p.Query.Milliseconds(),
			p.Write.Milliseconds(), p.RowsIn, p.RowsOut, p.Dropped, p.Quarantined, p.Files, p.Bytes, p.Strategy, p.Reason,
			p.Scored, p.Known, p.Truncated, p.Failed)
	})
	return tables.FromBatches(progressSchema, b), err
}

var expectationsSchema = tables.Schema{
	{Name: "database", Type: textType},
	{Name: "table", Type: textType},
	{Name: "version", Type: longType, Comment: "Delta version that the batch made"},
	{Name: "started", Type: timeType, Comment: "UTC"},
	{Name: "expectation", Type: textType},
	{Name: "action", Type: textType, Comment: "what the rule did: warn, drop row, fail update or quarantine"},
	{Name: "passed", Type: longType, Comment: "rows; batches of a DRIFT"},
	{Name: "failed", Type: longType},
	{Name: "value", Type: floatType, Comment: "the index of a DRIFT"},
}

func (e *Engine) expectations(ctx context.Context) (tables.Relation, error) {
	b := tables.NewBatch(expectationsSchema, 0)
	err := e.eachBatch(ctx, func(s queries.Status, p queries.Progress) {
		for _, x := range p.Expectations {
			action, value := x.Action, any(nil)
			if x.Value != 0 {
				value = x.Value
			}
			if action == "" { // of an older version: what it does today
				action = s.Actions[x.Name]
			}
			b.AppendRow(s.Database, s.Table, p.Version, p.Started, x.Name, orNull(action), x.Passed, x.Failed, value)
		}
	})
	return tables.FromBatches(expectationsSchema, b), err
}

var filesSchema = tables.Schema{
	{Name: "database", Type: textType},
	{Name: "table", Type: textType},
	{Name: "path", Type: textType},
	{Name: "size", Type: longType, Comment: "bytes"},
	{Name: "modified", Type: timeType, Comment: "UTC"},
	{Name: "batch", Type: longType},
	{Name: "state", Type: textType, Comment: "loaded, failed, changed (and not read again), unloaded or new"},
	{Name: "rows", Type: longType},
	{Name: "tries", Type: longType},
	{Name: "error", Type: textType},
}

func (e *Engine) files(context.Context) (tables.Relation, error) {
	b := tables.NewBatch(filesSchema, 0)
	for _, f := range e.feeds.list() {
		database, table, err := f.table(e.cfg.DataDir)
		if err != nil {
			return nil, err
		}
		for _, file := range f.Files() {
			b.AppendRow(database, table, file.Path, file.Size, file.Modified, file.Batch, string(file.State), file.Rows, file.Tries, orNull(file.Error))
		}
	}
	return tables.FromBatches(filesSchema, b), nil
}

var historySchema = tables.Schema{
	{Name: "database", Type: textType},
	{Name: "table", Type: textType},
	{Name: "version", Type: longType},
	{Name: "timestamp", Type: timeType, Comment: "UTC"},
	{Name: "operation", Type: textType},
	{Name: "parameters", Type: jsonType},
	{Name: "metrics", Type: jsonType},
}

func (e *Engine) history(ctx context.Context) (tables.Relation, error) {
	b := tables.NewBatch(historySchema, 0)
	for _, database := range e.store.Databases() {
		for _, t := range e.store.Tables(database) {
			commits, err := t.History(ctx, historyLimit)
			if err != nil {
				return nil, fmt.Errorf("read history of %s.%s: %w", database, t.Name(), err)
			}
			for _, c := range commits {
				parameters, metrics, err := encodedMaps(c)
				if err != nil {
					return nil, err
				}
				b.AppendRow(database, t.Name(), c.Version, c.Time, c.Operation, parameters, metrics)
			}
		}
	}
	return tables.FromBatches(historySchema, b), nil
}

func encodedMaps(c tables.CommitInfo) (parameters, metrics string, err error) {
	p, err := json.Marshal(orEmpty(c.Parameters))
	if err != nil {
		return "", "", fmt.Errorf("list parameters of version %d: %w", c.Version, err)
	}
	m, err := json.Marshal(orEmpty(c.Metrics))
	if err != nil {
		return "", "", fmt.Errorf("list metrics of version %d: %w", c.Version, err)
	}
	return string(p), string(m), nil
}

func orEmpty(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return m
}
