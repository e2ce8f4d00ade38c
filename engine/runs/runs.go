// Package runs keeps what models were judged by, in the shape that MLflow has: smelt.runs, smelt.metrics, smelt.params and
// smelt.artifacts, four Delta tables. The rows of a run in runs are committed last, and what the other three hold of a run
// that is not in runs is not shown: a crash between leaves no half run.
package runs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"smelt/tables"
	"smelt/tables/sieve"
)

// Limits of what is kept. When one is passed, the oldest tenth of the runs goes.
const (
	// DefaultRuns is how many runs are kept: one a day for five years. The status page reads the metrics of all.
	DefaultRuns = 2000
	// DefaultBytes bounds the files of the artifacts: five thousand pictures of three labels, a thousand of nineteen.
	DefaultBytes = 256 << 20
)

// database holds the tables.
const database = "smelt"

var (
	textType = tables.Type{Kind: tables.String}
	timeType = tables.Type{Kind: tables.Timestamp}
	longType = tables.Type{Kind: tables.Long}
)

// runID is the first column of each table.
var runID = tables.Field{Name: "run_id", Type: textType, Comment: "UUID"}

// schemas are the columns of the tables.
var schemas = map[string]tables.Schema{
	"runs": {
		runID,
		{Name: "run_name", Type: textType, Comment: "of AS RUN; need not be unique"},
		{Name: "model", Type: textType, Comment: "that was judged"},
		{Name: "model_version", Type: longType},
		{Name: "model_digest", Type: textType, Comment: "of the version, as smelt.model_versions has it"},
		{Name: "status", Type: textType, Comment: "FINISHED: a run that failed is not kept"},
		{Name: "start_time", Type: timeType, Comment: "UTC"},
		{Name: "end_time", Type: timeType, Comment: "UTC"},
		{Name: "user", Type: textType},
	},
	"metrics": {
		runID,
		{Name: "key", Type: textType, Comment: "such as f1, macro_f1, or f1/label of one class"},
		{Name: "value", Type: tables.Type{Kind: tables.Double}},
		{Name: "label", Type: textType, Comment: "of a class; NULL for those over all rows"},
	},
	"params": {
		runID,
		{Name: "key", Type: textType},
		{Name: "value", Type: textType},
	},
	"artifacts": {
		runID,
		{Name: "path", Type: textType, Comment: "name of the file"},
		{Name: "media_type", Type: textType},
		{Name: "bytes", Type: longType},
		{Name: "content", Type: tables.Type{Kind: tables.Binary}},
	},
}

// comments say what a table holds.
var comments = map[string]string{
	"runs":      "what was judged, when and by whom",
	"metrics":   "how well the models of runs did",
	"params":    "what runs were made with: versions, data and statement",
	"artifacts": "files of runs",
}

// Run is one judgement of a model.
type Run struct {
	ID, Name       string // Name is "" for none
	Model          string
	Version        int
	Digest         string
	Started, Ended time.Time
	User           string
	Params         map[string]string
	Metrics        []Metric
	Artifacts      []Artifact
}

// Metric is one number of a run.
type Metric struct {
	Key   string
	Label string // of the class; "" for all rows
	Value float64
}

// Artifact is one file of a run.
type Artifact struct {
	Path, MediaType string
	Content         []byte
}

// Config says where runs are kept and how many.
type Config struct {
	Store  *tables.Store
	Runs   int          // 0 for DefaultRuns
	Bytes  int64        // of artifacts; 0 for DefaultBytes
	Logger *slog.Logger // nil discards
}

// Book keeps runs. It is safe for concurrent use.
type Book struct {
	cfg Config
	mu  sync.Mutex // held while a run is written: one after the other
}

// New returns the book of a store. Nothing is read or made before it is needed.
func New(c Config) *Book {
	if c.Runs <= 0 {
		c.Runs = DefaultRuns
	}
	if c.Bytes <= 0 {
		c.Bytes = DefaultBytes
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return &Book{cfg: c}
}

// Names lists the tables, sorted.
func Names() []string { return slices.Sorted(maps.Keys(schemas)) }

// Add keeps a run. When it returns an error, nothing of the run is shown.
func (b *Book) Add(ctx context.Context, r Run) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, part := range []struct {
		table string
		rows  *tables.Batch
	}{{"artifacts", r.artifacts()}, {"params", r.params()}, {"metrics", r.metrics()}, {"runs", r.row()}} { // runs decides
		if err := b.append(ctx, part.table, part.rows); err != nil {
			return fmt.Errorf("keep run %s in smelt.%s: %w", r.ID, part.table, err)
		}
	}
	if err := b.trim(ctx); err != nil {
		b.cfg.Logger.Warn("old runs not removed", "err", err) // the new one stands
	}
	return nil
}

func (b *Book) append(ctx context.Context, table string, rows *tables.Batch) error {
	if rows.Len == 0 {
		return nil
	}
	t, err := b.table(ctx, table)
	if err != nil {
		return err
	}
	r, err := tables.FromBatches(rows.Schema, rows).Scan(ctx, nil)
	if err != nil {
		return err
	}
	_, err = t.Commit(ctx, tables.Commit{Operation: "WRITE", Parameters: map[string]string{"mode": "Append"}, Rows: r})
	return err
}

// table returns one of the four, made at the first write.
func (b *Book) table(ctx context.Context, name string) (*tables.Table, error) {
	t, err := b.cfg.Store.Table(database, name)
	if !errors.Is(err, tables.ErrNotFound) {
		return t, err
	}
	if err := b.cfg.Store.CreateDatabase(database); err != nil && !errors.Is(err, tables.ErrExists) {
		return nil, err
	}
	return b.cfg.Store.Create(ctx, database, name, tables.Definition{Schema: schemas[name], Comment: comments[name],
		Properties: map[string]string{tables.PropertyAutoVacuum: "true", "delta.deletedFileRetentionDuration": "interval 1 hours"}})
}

// orNull turns an empty text into NULL.
func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func (r Run) row() *tables.Batch {
	b := tables.NewBatch(schemas["runs"], 1)
	b.AppendRow(r.ID, orNull(r.Name), r.Model, r.Version, r.Digest, "FINISHED", r.Started, r.Ended, orNull(r.User))
	return b
}

func (r Run) params() *tables.Batch {
	b := tables.NewBatch(schemas["params"], len(r.Params))
	for _, key := range slices.Sorted(maps.Keys(r.Params)) {
		b.AppendRow(r.ID, key, r.Params[key])
	}
	return b
}

func (r Run) metrics() *tables.Batch {
	b := tables.NewBatch(schemas["metrics"], len(r.Metrics))
	for _, m := range r.Metrics {
		b.AppendRow(r.ID, m.Key, m.Value, orNull(m.Label))
	}
	return b
}

func (r Run) artifacts() *tables.Batch {
	b := tables.NewBatch(schemas["artifacts"], len(r.Artifacts))
	for _, a := range r.Artifacts {
		b.AppendRow(r.ID, a.Path, a.MediaType, len(a.Content), string(a.Content))
	}
	return b
}

// Relation returns one of the tables, by its name in any case, with the rows of the runs that are there.
func (b *Book) Relation(ctx context.Context, name string) (tables.Relation, error) {
	name = strings.ToLower(name)
	ids, err := b.ids(ctx) // first: what a run that is there has in the other tables is there
	if err != nil {
		return nil, err
	}
	t, err := b.cfg.Store.Table(database, name)
	if errors.Is(err, tables.ErrNotFound) {
		return tables.FromBatches(schemas[name]), nil
	}
	if err != nil || name == "runs" {
		return t.Snapshot(), err
	}
	return ofRuns(t.Snapshot(), ids), nil
}

// ids returns the runs that are there and when they ended.
func (b *Book) ids(ctx context.Context) (map[string]int64, error) {
	t, err := b.cfg.Store.Table(database, "runs")
	if errors.Is(err, tables.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	rows, err := tables.ReadAll(ctx, t.Snapshot(), []string{"run_id", "end_time"})
	if err != nil {
		return nil, err
	}
	ids := make(map[string]int64, rows.Len)
	for i := range rows.Len {
		ids[rows.Columns[0].Strings[i]] = rows.Columns[1].Ints[i]
	}
	return ids, nil
}

// ofRuns is the rows of some runs.
func ofRuns(rows tables.Relation, ids map[string]int64) tables.Relation {
	return sieve.Rows(rows, []string{runID.Name}, func(b *tables.Batch, at []int, row int) bool {
		_, ok := ids[b.Columns[at[0]].Strings[row]]
		return ok
	})
}

// trim takes the oldest tenth of the runs out when there are too many, and with them what crashes have left in the other
// tables. The caller holds mu.
func (b *Book) trim(ctx context.Context) error {
	ids, err := b.ids(ctx)
	if err != nil {
		return err
	}
	files, err := b.table(ctx, "artifacts")
	if err != nil {
		return err
	}
	if len(ids) <= b.cfg.Runs && files.Snapshot().Bytes() <= b.cfg.Bytes {
		return nil
	}
	oldest := slices.SortedFunc(maps.Keys(ids), func(x, y string) int {
		if ids[x] != ids[y] {
			return int(min(1, max(-1, ids[x]-ids[y])))
		}
		return strings.Compare(x, y)
	})
	for _, id := range oldest[:min(len(oldest)-1, max(1, len(oldest)/10, len(oldest)-b.cfg.Runs))] { // the newest stays
		delete(ids, id)
	}
	for _, name := range []string{"runs", "metrics", "params", "artifacts"} { // runs decides
		t, err := b.table(ctx, name)
		if err != nil {
			return err
		}
		r, err := ofRuns(t.Snapshot(), ids).Scan(ctx, nil)
		if err != nil {
			return err
		}
		_, err = t.Commit(ctx, tables.Commit{Operation: "DELETE", Parameters: map[string]string{"reason": "more runs than are kept"}, Rows: r, Overwrite: true})
		if err = errors.Join(err, r.Close()); err != nil {
			return err
		}
	}
	return nil
}
