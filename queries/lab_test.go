package queries

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"smelt/queries/ddl"
	"smelt/queries/lexer"
	"smelt/tables"
	"smelt/tables/vfs"
)

// row is a row by column name; values are int64, string or nil.
type row = map[string]any

// selectFunc stands in for one SELECT: in reads a table by the name that the query has for it.
type selectFunc struct {
	schema func(in func(name string) tables.Schema) tables.Schema
	rows   func(in func(name string) []row) []row
}

// lab is a store and a graph over it, with a stand-in for SQL (a Go function for each SELECT) and for watched directories
// (which keep a ledger on disk, as real ones do). It can die at any point of a batch: see kill.
type lab struct {
	t     *testing.T
	dir   string
	fs    vfs.FS
	lost  *lostAnswer // below fs, unless a test has another
	store *tables.Store
	graph *Graph

	paths     bool  // files have a column source_file: their number
	shift     int64 // for SELECTs that change what they yield
	reordered bool  // a file was unloaded or reloaded: rows stand in another order than they came

	mu      sync.Mutex
	selects map[string]selectFunc         // by normal form
	exprs   map[string]func(row) any      // expectations: true, false or nil
	dirs    map[string]*watched           // by path
	execs   []string                      // plain statements that ran
	runs    map[string]int                // queries run, by normal form
	hook    func(point, sql string) error // called at points of a batch: query, next, record
}

var (
	long = tables.Type{Kind: tables.Long}
	text = tables.Type{Kind: tables.String}
)

func newLab(t *testing.T) *lab {
	t.Helper()
	disk := &lostAnswer{FS: vfs.OS()}
	l := &lab{t: t, fs: disk, lost: disk, dir: t.TempDir(), selects: map[string]selectFunc{}, exprs: map[string]func(row) any{}, dirs: map[string]*watched{}, runs: map[string]int{}}
	l.open()
	return l
}

// open opens store and graph on the present directory.
func (l *lab) open() {
	l.t.Helper()
	store, err := tables.Open(l.dir, tables.Options{FS: l.fs})
	require.NoError(l.t, err)
	l.store = store
	l.t.Cleanup(func() { require.NoError(l.t, store.Close()) })
	l.graph = New(Config{Store: store, Recompute: true, Query: l.query, Describe: l.describe, Feed: l.feed, Exec: l.exec, Carry: l.carry})
	graph := l.graph
	l.t.Cleanup(func() { require.NoError(l.t, graph.Close(context.Background())) })
	require.NoError(l.t, l.graph.Open(context.Background()))
}

// reopen ends the process in order and starts another.
func (l *lab) reopen() {
	l.t.Helper()
	require.NoError(l.t, l.graph.Close(context.Background()))
	require.NoError(l.t, l.store.Close())
	l.open()
}

// kill leaves graph and store as they are, as a killed process does, and goes on with a copy of the directory.
func (l *lab) kill(image string) {
	l.t.Helper()
	l.dir = image
	l.open()
}

// image copies the data directory as it is in this moment.
func (l *lab) image() string {
	l.t.Helper()
	to := l.t.TempDir()
	require.NoError(l.t, os.CopyFS(filepath.Join(to, "data"), os.DirFS(l.dir)))
	return filepath.Join(to, "data")
}

// define registers a SELECT with fixed columns.
func (l *lab) define(sql string, schema tables.Schema, rows func(in func(string) []row) []row) {
	l.selects[lexer.Normal(sql)] = selectFunc{func(func(string) tables.Schema) tables.Schema { return schema }, rows}
}

// star registers SELECT * of one source.
func (l *lab) star(sql, source string) {
	l.selects[lexer.Normal(sql)] = selectFunc{
		func(in func(string) tables.Schema) tables.Schema { return in(source) },
		func(in func(string) []row) []row { return in(source) },
	}
}

var wrapped = regexp.MustCompile(`(?s)^SELECT q\.\*(.*) FROM \((.*)\n\) q$`)
var expectation = regexp.MustCompile("(?s), \\(\\((.*?)\n\\) IS (TRUE|NOT FALSE)\\) AS `(expect:\\d+)`")

// judging is the query by which rows of a quarantine are judged again.
var judging = regexp.MustCompile("(?s)^SELECT q.`__smelt_row`(.*) FROM `quarantine:rows` AS q(?: WHERE \\((.*)\n\\))?$")

// tested is a column with what an expectation says.
type tested struct {
	expr, column string
	check        bool
}

// unwrap takes the expectations off a query.
func unwrap(sql string) (query string, tests []tested) {
	m := wrapped.FindStringSubmatch(sql)
	if m == nil {
		return sql, nil
	}
	return m[2], testsIn(m[1])
}

func testsIn(sql string) (tests []tested) {
	for _, e := range expectation.FindAllStringSubmatch(sql, -1) {
		tests = append(tests, tested{e[1], e[3], e[2] != "TRUE"})
	}
	return tests
}

// says is what an expectation says of a row.
func (l *lab) says(e tested, r row) bool {
	v := l.exprs[e.expr](r)
	return v == true || e.check && v == nil
}

// judge stands in for the query that judges rows of a quarantine again.
func (l *lab) judge(ctx context.Context, q Query, columns, where string) (Result, error) {
	if err := l.at("query", "replay"); err != nil {
		return nil, err
	}
	tests := testsIn(columns)
	schema := tables.Schema{{Name: columnRow, Type: long}}
	for _, e := range tests {
		schema = append(schema, tables.Field{Name: e.column, Type: tables.Type{Kind: tables.Boolean}})
	}
	all, err := tables.ReadAll(ctx, q.Tables["quarantine:rows"], nil)
	if err != nil {
		return nil, err
	}
	var rows []row
	for _, r := range rowsOf(all) {
		if where != "" && l.exprs[where](r) != true {
			continue
		}
		out := row{columnRow: r[columnRow]}
		for _, e := range tests {
			out[e.column] = l.says(e, r)
		}
		rows = append(rows, out)
	}
	result := &rowsResult{lab: l, sql: "replay", schema: schema}
	if len(rows) > 0 {
		result.batches = []*tables.Batch{batchOf(schema, rows)}
	}
	return result, nil
}

// relation finds what a query means by a name.
func (l *lab) relation(q Query, name string) (tables.Relation, error) {
	if r, ok := q.Tables[name]; ok {
		return r, nil
	}
	database, table := cutName(name)
	if v, err := l.store.View(database, table); err == nil {
		return l.view(q, v)
	}
	t, err := l.store.Table(database, table)
	if err != nil {
		return nil, err
	}
	return t.Snapshot(), nil
}

// view runs the SELECT of an ordinary view.
func (l *lab) view(q Query, v tables.View) (tables.Relation, error) {
	r, err := l.query(context.Background(), Query{Database: q.Database, SQL: v.Query, Tables: q.Tables})
	if err != nil {
		return nil, err
	}
	var batches []*tables.Batch
	for {
		b, err := r.Next(context.Background())
		if errors.Is(err, io.EOF) {
			return tables.FromBatches(r.Schema(), batches...), nil
		}
		if err != nil {
			return nil, err
		}
		batches = append(batches, b)
	}
}

func (l *lab) describe(_ context.Context, q Query) (schema tables.Schema, err error) {
	query, exprs := unwrap(q.SQL)
	l.mu.Lock()
	s, ok := l.selects[lexer.Normal(query)]
	l.mu.Unlock()
	if !ok {
		return nil, fmt.Errorf("no such SELECT: %s", query)
	}
	schema = slices.Clone(s.schema(func(name string) tables.Schema {
		r, relErr := l.relation(q, name)
		if relErr != nil {
			err = relErr
			return nil
		}
		return r.Schema()
	}))
	for _, e := range exprs {
		if l.exprs[e.expr] == nil {
			return nil, fmt.Errorf("no such expression: %s", e.expr)
		}
		schema = append(schema, tables.Field{Name: e.column, Type: tables.Type{Kind: tables.Boolean}})
	}
	return schema, err
}

func (l *lab) query(ctx context.Context, q Query) (Result, error) {
	if m := judging.FindStringSubmatch(q.SQL); m != nil {
		return l.judge(ctx, q, m[1], m[2])
	}
	schema, err := l.describe(ctx, q)
	if err != nil {
		return nil, err
	}
	query, exprs := unwrap(q.SQL)
	normal := lexer.Normal(query)
	l.mu.Lock()
	l.runs[normal]++
	l.mu.Unlock()
	if err := l.at("query", normal); err != nil {
		return nil, err
	}
	rows := l.selects[normal].rows(func(name string) []row {
		r, relErr := l.relation(q, name)
		if relErr != nil {
			err = relErr
			return nil
		}
		all, readErr := tables.ReadAll(ctx, r, nil)
		err = errors.Join(err, readErr)
		if readErr != nil {
			return nil
		}
		return rowsOf(all)
	})
	if err != nil {
		return nil, err
	}
	r := &rowsResult{lab: l, sql: normal, schema: schema}
	// Two batches, so that one can break between them.
	half := len(rows) / 2
	for _, part := range [][]row{rows[:half], rows[half:]} {
		for i := range part {
			out := row{}
			for k, v := range part[i] {
				out[k] = v
			}
			for _, e := range exprs {
				out[e.column] = l.says(e, part[i])
			}
			part[i] = out
		}
		if len(part) > 0 {
			r.batches = append(r.batches, batchOf(schema, part))
		}
	}
	return r, nil
}

// at is a point of a batch where a test may break in.
func (l *lab) at(point, sql string) error {
	l.mu.Lock()
	hook := l.hook
	l.mu.Unlock()
	if hook == nil {
		return nil
	}
	return hook(point, sql)
}

func (l *lab) setHook(hook func(point, sql string) error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hook = hook
}

func (l *lab) runsOf(sql string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.runs[lexer.Normal(sql)]
}

func (l *lab) exec(ctx context.Context, database, sql string) error {
	l.execs = append(l.execs, database+": "+sql)
	if err := l.at("exec", sql); err != nil {
		return err
	}
	if name, query, ok := viewOf(sql, database); ok {
		return l.store.PutView(name.database, tables.View{Name: name.table, Query: query})
	}
	return nil
}

type rowsResult struct {
	lab     *lab
	sql     string
	schema  tables.Schema
	batches []*tables.Batch
}

func (r *rowsResult) Schema() tables.Schema { return r.schema }
func (r *rowsResult) Close() error          { return nil }
func (r *rowsResult) Next(ctx context.Context) (*tables.Batch, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := r.lab.at("next", r.sql); err != nil {
		return nil, err
	}
	if len(r.batches) == 0 {
		return nil, io.EOF
	}
	b := r.batches[0]
	r.batches = r.batches[1:]
	return b, nil
}

func batchOf(schema tables.Schema, rows []row) *tables.Batch {
	b := tables.NewBatch(schema, len(rows))
	for _, r := range rows {
		for i, f := range schema {
			switch v := r[f.Name].(type) {
			case nil:
				b.Columns[i].AppendNull(f.Type.Kind)
			case int64:
				b.Columns[i].AppendInt(v)
			case string:
				b.Columns[i].AppendString(v)
			case bool:
				b.Columns[i].AppendBool(v)
			default:
				panic(fmt.Sprintf("no rule for %T", v))
			}
		}
		b.Len++
	}
	return b
}

func rowsOf(b *tables.Batch) []row {
	rows := make([]row, b.Len)
	for i := range rows {
		rows[i] = row{}
		for c, f := range b.Schema {
			switch {
			case b.Columns[c].Null(i):
				rows[i][f.Name] = nil
			case f.Type.Kind == tables.String:
				rows[i][f.Name] = b.Columns[c].Strings[i]
			default:
				rows[i][f.Name] = b.Columns[c].Ints[i]
			}
		}
	}
	return rows
}

// plain makes an ordinary table.
func (l *lab) plain(name string, schema tables.Schema) *tables.Table {
	l.t.Helper()
	t, err := l.store.Create(context.Background(), "live", name, tables.Definition{Schema: schema})
	require.NoError(l.t, err)
	return t
}

func (l *lab) table(name string) *tables.Table {
	l.t.Helper()
	t, err := l.store.Table("live", name)
	require.NoError(l.t, err)
	return t
}

func (l *lab) insert(name string, rows ...row) {
	l.t.Helper()
	t := l.table(name)
	schema := t.Snapshot().Schema()
	reader, err := tables.FromBatches(schema, batchOf(schema, rows)).Scan(context.Background(), nil)
	require.NoError(l.t, err)
	_, err = t.Commit(context.Background(), tables.Commit{Operation: "WRITE", Rows: reader})
	require.NoError(l.t, err)
}

func (l *lab) replace(name string, rows ...row) {
	l.t.Helper()
	t := l.table(name)
	schema := t.Snapshot().Schema()
	reader, err := tables.FromBatches(schema, batchOf(schema, rows)).Scan(context.Background(), nil)
	require.NoError(l.t, err)
	_, err = t.Commit(context.Background(), tables.Commit{Operation: "WRITE", Rows: reader, Overwrite: true})
	require.NoError(l.t, err)
}

func (l *lab) rows(name string) []row {
	l.t.Helper()
	all, err := tables.ReadAll(context.Background(), l.table(name).Snapshot(), nil)
	require.NoError(l.t, err)
	return rowsOf(all)
}

// column returns one column of a table in the order of its rows.
func (l *lab) column(table, column string) []any {
	l.t.Helper()
	out := []any{}
	for _, r := range l.rows(table) {
		out = append(out, r[column])
	}
	return out
}

func (l *lab) create(sql string) error {
	l.t.Helper()
	statement, err := ddl.Parse(sql)
	require.NoError(l.t, err, sql)
	require.NotNil(l.t, statement, sql)
	_, err = l.graph.Create(context.Background(), statement.(*ddl.Create), "live", "/base")
	return err
}

func (l *lab) must(sql string) {
	l.t.Helper()
	require.NoError(l.t, l.create(sql), sql)
}

func (l *lab) settle() {
	l.t.Helper()
	require.NoError(l.t, l.graph.RunOnce(context.Background(), nil))
}

func (l *lab) status(name string) Status {
	l.t.Helper()
	for _, s := range l.graph.Flows() {
		if s.Table == name {
			return s
		}
	}
	l.t.Fatalf("no flow %s", name)
	return Status{}
}

// columnsOf makes a schema of whole numbers.
func columnsOf(names ...string) tables.Schema {
	var s tables.Schema
	for _, n := range names {
		s = append(s, tables.Field{Name: n, Type: long})
	}
	return s
}

func values(column string, numbers ...int64) []row {
	var rows []row
	for _, n := range numbers {
		rows = append(rows, row{column: n})
	}
	return rows
}
