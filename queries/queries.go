// Package queries turns versions of tables into fresher versions of others: it owns the graph of flows, each of which
// keeps one streaming table or materialized view up to date by running its SELECT over what is new. It runs no SQL
// itself: a QueryFunc does. One flow writes one table, one batch is one commit, and the commit carries the flow's
// progress, so a crash at any moment loses and doubles nothing. Errors wrap those of packages tables and ddl.
package queries

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"smelt/queries/ddl"
	"smelt/queries/lineage"
	"smelt/tables"
)

// Query is one SELECT and the relations that its table names stand for.
type Query struct {
	Database string // current database
	SQL      string
	// Tables maps a placeholder such as "stream:bronze", or "database.table" in lower case, to what it reads. Other
	// names are tables of the store at their newest version.
	Tables map[string]tables.Relation
	// Models says which version the name of a model means in the query; other names mean what they mean when it begins.
	Models map[string]lineage.Model
	// Count is told, from several goroutines, how many texts models scored for the query, how many predictions were known,
	// how many of all these texts were cut because the model takes only so many tokens, and for how many it gave none; it
	// may be nil.
	Count func(scored, known, truncated, failed int)
	// LookUpOnly has models answer what is known, and give none for other texts, which Count, not nil, is told as scored.
	LookUpOnly bool
}

// Result is the rows of a query.
type Result interface {
	tables.Reader
	// Schema returns the columns of the result.
	Schema() tables.Schema
}

// QueryFunc runs a query. The caller closes the result.
type QueryFunc func(ctx context.Context, q Query) (Result, error)

// DescribeFunc binds a query and returns its columns, or what is wrong with it, without running it.
type DescribeFunc func(ctx context.Context, q Query) (tables.Schema, error)

// Feed is a source of rows from outside: a watched directory.
type Feed interface {
	// Dir returns the directory that is looked at, as an absolute path.
	Dir() string
	// Schema returns the columns known so far; later files may add some at the end.
	Schema() tables.Schema
	// Empty reports whether nothing is known of the columns: no hint was given and no file was seen.
	Empty() bool
	// Next returns the next batch of new files; nil when there are none.
	Next(ctx context.Context) (FeedBatch, error)
	// Pending returns how many files were seen and not yet returned by Next.
	Pending() int64
	// Changed is signalled when there may be something new.
	Changed() <-chan struct{}
	// Lookup finds a file that was read, by its path or by its path in the watched directory.
	Lookup(file string) (FeedFile, bool)
	// Retry has a file that failed read again by the next batch.
	Retry(path string) error
	// Retract returns a batch without rows that notes a file as unloaded, or, to be read again, as new.
	Retract(path string, again bool) (FeedBatch, error)
	// Rescued returns the name of the column for what does not fit.
	Rescued() string
	// Evolve takes up options that were changed under a table, whose rows have the rescued column: of what is there it makes
	// columns and wider types, as far as the options say so. The batch has no rows.
	Evolve(ctx context.Context, rows tables.Relation) (FeedBatch, error)
	// Recoverable reports whether any of these texts of the rescued column holds a value that a column of the schema takes
	// now; added are the columns that the table did not have so far.
	Recoverable(texts *tables.Column, schema tables.Schema, added []string) bool
	// Recover returns rows of the table with such values in their columns and no longer in the rescued one.
	Recover(b *tables.Batch, added []string) (*tables.Batch, error)
	// Exclude has fields rescued that became columns of these names, which the table has otherwise; false if there are none.
	Exclude(names []string) bool
	// Remember makes the columns durable that are known so far.
	Remember() error
	// Refuse takes back that the type of a column has become wider since the last batch was recorded, or of all if the feed
	// has no such column: the SELECT makes it of others. False if there is nothing to take back.
	Refuse(column string) bool
	// Last returns the number of the last batch that it was told is committed, or of the one that it was opened behind.
	Last() int64
	// Close stops watching.
	Close() error
}

// FeedBatch is the rows of some files, and how they become seen.
type FeedBatch interface {
	tables.Relation
	// Number counts the batches of a feed from 1.
	Number() int64
	// Metrics returns counts for the commit: files, bytes and rows among them.
	Metrics() map[string]string
	// Record makes the ledger entry of the batch durable; it is called before the rows are committed.
	Record(ctx context.Context) error
	// Again reports, behind an error, whether its rows turned out not to be those that were promised: the next batch, planned
	// anew, leaves out or declares what was wrong.
	Again() bool
	// Committed tells the feed that the rows are committed.
	Committed()
}

// FeedFunc opens a feed. base is the directory for relative paths, stateDir is where the feed keeps its ledger ("" only
// to look at the columns), committed is the number of the last committed batch, 0 for none.
type FeedFunc func(ctx context.Context, f ddl.Files, base, stateDir string, committed int64) (Feed, error)

// Config says what a Graph works with.
type Config struct {
	Store    *tables.Store
	Query    QueryFunc
	Describe DescribeFunc
	Feed     FeedFunc
	Exec     func(ctx context.Context, database, sql string) error // runs a plain statement of a pipeline
	// Ledger returns what a feed has noted down to a committed batch: the rows that came in, and of how many files. Only
	// Check needs it.
	Ledger func(ctx context.Context, stateDir string, committed int64) (rows int64, files int, err error)
	// Compatible reports whether what a feed read under the one options stands under the others; nil means never.
	Compatible func(before, after map[string]string) bool
	// Carry notes for a feed that is to begin in the state directory to which files that of from has as unloaded, down to a
	// committed batch; nil carries nothing.
	Carry func(ctx context.Context, from, to string, committed int64) error
	// Files finds the files behind a feed's state directory, for ExplainRow; nil, or an error, where they are not known.
	Files func(stateDir string) (lineage.Files, error)
	// Model tells whether a function calls a model, and which version of it answers now; see lineage.Catalog. nil knows none.
	Model func(function string, literals []string) (lineage.Model, bool)
	// Refers returns the name of the model that a function asks, ok false for one that asks none; literals are the
	// arguments that are texts, "" for others. nil knows no models.
	Refers func(function string, literals []string) (name string, ok bool)
	// Version returns the version that such a name means now; nil knows none.
	Version func(name string) (lineage.Model, error)
	// Declare gives a name to a model that is to learn from the rows of a SELECT, whose columns are known or nil; the same
	// statement does nothing. undo takes it back. nil: no model can.
	Declare func(ctx context.Context, m *ddl.OnModel, database string, columns []string) (undo func() error, err error)
	// Promise returns a context in which SELECTs may call models that are to be declared.
	Promise func(ctx context.Context, models []string) context.Context
	// Learn has models learn that have new rows to learn from, and reports whether any did. Only RunOnce needs it; may be nil.
	Learn func(ctx context.Context) (worked bool, err error)
	// Recompute has every view computed anew at each change: for a QueryFunc that only knows statements as they were written.
	Recompute bool
	Logger    *slog.Logger // nil discards
}

// Errors of statements about flows; wrapped, with the name.
var (
	// ErrNotFlow is returned for a name that is a table but no streaming table or materialized view, or the other kind.
	ErrNotFlow = errors.New("not a table of that kind")
	// ErrCycle is returned when tables would be made from one another.
	ErrCycle = errors.New("cycle")
	// ErrUnsupported is returned for a SELECT that no strategy can keep up to date.
	ErrUnsupported = errors.New("not supported")
	// ErrExpectation is returned when a row violates an expectation ON VIOLATION FAIL UPDATE.
	ErrExpectation = errors.New("expectation violated")
)

// Strategies of a flow, and why the first is chosen; a Plan or its absence says it of the others.
const (
	strategyAppend    = "append"
	strategyMerge     = "merge"
	strategyRecompute = "recompute"
	appendReason      = "each source row is seen once"
)

// Limits of a flow.
const (
	// maxBatchRows bounds the source rows of one batch: progress shows, and a crash repeats little.
	maxBatchRows = 65_536
	// maxBatches bounds the batches that run at once in one graph: each holds rows in memory.
	maxBatches = 16
	// recomputeShare is how many times its own duration a recompute rests, so that it takes a fifth of the time.
	recomputeShare = 4
	// A merge rests as long as it took: what comes meanwhile is merged together, in half of the time.
	// minRest is the least rest: none at all would be one without an end.
	minRest = time.Millisecond
	// maxRest bounds that rest, or a slow view would look dead.
	maxRest = 10 * time.Second
	// minRetry and maxRetry bound the back-off after an error.
	minRetry = 100 * time.Millisecond
	maxRetry = 30 * time.Second
)
