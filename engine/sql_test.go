package engine

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/require"

	"smelt/functions"
	"smelt/models"
	"smelt/queries"
	"smelt/queries/ddl"
	"smelt/queries/lineage"
	"smelt/tables"
)

// closeLimit bounds the orderly stop of a test's server; it only passes when something hangs.
const closeLimit = 20 * time.Second

// testSQL is a SQL engine over an empty store, with a listener and a client.
type testSQL struct {
	*sqlEngine
	store  *tables.Store
	server *Server
	db     *sql.DB
	flows  *fakeFlows
	log    *strings.Builder
}

// startSQL starts one; change may alter both configurations before.
func startSQL(t *testing.T, change func(*sqlConfig, *listenConfig)) *testSQL {
	t.Helper()
	store, err := tables.Open(t.TempDir(), tables.Options{})
	require.NoError(t, err)
	return startSQLOver(t, store, change)
}

// startSQLOver starts one over a store, which it closes at the end of the test.
func startSQLOver(t *testing.T, store *tables.Store, change func(*sqlConfig, *listenConfig)) *testSQL {
	t.Helper()
	require.NoError(t, mysql.SetLogger(log.New(io.Discard, "", 0))) // the driver prints broken connections
	registry, err := models.Open(models.Config{})
	require.NoError(t, err)
	s := &testSQL{store: store, flows: &fakeFlows{store: store}, log: &strings.Builder{}}
	cfg := sqlConfig{
		Store: store, Functions: functions.New(registry), Flows: s.flows,
		System: map[string]systemTable{"streams": smallRelation},
		Logger: slog.New(slog.NewTextHandler(s.log, nil)),
	}
	lc := listenConfig{Address: "127.0.0.1:0"}
	if change != nil {
		change(&cfg, &lc)
	}
	s.sqlEngine, err = newSQL(cfg)
	require.NoError(t, err)
	s.server, err = s.listen(t.Context(), lc)
	require.NoError(t, err)
	s.server.Serve()
	s.db = s.open(t, lc.User, lc.Password, "")
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), closeLimit)
		defer cancel()
		require.NoError(t, s.server.Close(ctx))
		require.NoError(t, s.server.Close(ctx), "closing twice")
		require.NoError(t, s.close())
		require.NoError(t, registry.Close())
		require.NoError(t, store.Close())
	})
	return s
}

// open connects a client; options are those of the driver's data source name.
func (s *testSQL) open(t *testing.T, user, password, options string) *sql.DB {
	t.Helper()
	if user == "" {
		user = "anybody"
	}
	db, err := sql.Open("mysql", fmt.Sprintf("%s:%s@tcp(%s)/?%s", user, password, s.server.Address(), options))
	require.NoError(t, err)
	db.SetMaxOpenConns(1) // so that USE and SET last
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

func (s *testSQL) must(t *testing.T, statements ...string) {
	t.Helper()
	for _, statement := range statements {
		_, err := s.db.ExecContext(t.Context(), statement)
		require.NoError(t, err, statement)
	}
}

func smallRelation(context.Context) (tables.Relation, error) {
	b := tables.NewBatch(tables.Schema{
		{Name: "table", Type: tables.Type{Kind: tables.String}, Comment: "name of the flow"},
		{Name: "rows", Type: tables.Type{Kind: tables.Long}},
	}, 1)
	b.Columns[0].AppendString("silver")
	b.Columns[1].AppendInt(3)
	b.Len = 1
	return tables.FromBatches(b.Schema, b), nil
}

// fakeFlows keeps the statements as a graph would: a table per flow, never filled.
type fakeFlows struct {
	store *tables.Store
	list  []queries.Status
	calls []string
}

func (f *fakeFlows) Create(ctx context.Context, c *ddl.Create, database, _ string) (bool, error) {
	f.calls = append(f.calls, "create "+database+"."+c.Name)
	kind := "materialized_view"
	if c.Kind == ddl.StreamingTable {
		kind = "streaming_table"
	}
	_, err := f.store.Create(ctx, database, c.Name, tables.Definition{
		Schema:     tables.Schema{{Name: "a", Type: tables.Type{Kind: tables.Long}}},
		Properties: map[string]string{"smelt.kind": kind, "smelt.statement": c.Text},
	})
	if errors.Is(err, tables.ErrExists) {
		return false, nil
	}
	f.list = append(f.list, queries.Status{Database: database, Table: c.Name, Kind: kind, State: "idle", Strategy: "append", Reason: "test", Sources: sourcesOf(c)})
	return err == nil, err
}

func (f *fakeFlows) SourcesOf(string, string) ([]*tables.Table, error) { return nil, nil }

func (f *fakeFlows) ExplainRow(context.Context, *ddl.Inspect, string) ([]lineage.Explained, error) {
	return []lineage.Explained{{ID: 1, Table: "live.x", Version: -1, Row: `{"a": 1}`}}, nil
}

func (f *fakeFlows) ExplainRefresh(context.Context, string, string) ([]queries.Progress, error) {
	return []queries.Progress{{Strategy: "merge", Reason: "test", RowsIn: 7, Scored: -1, Known: -1, Duration: -1}}, nil
}

func (f *fakeFlows) CheckPipeline(context.Context, string, string, func(string, string, bool, error)) error {
	return nil
}

func sourcesOf(c *ddl.Create) []string {
	var out []string
	for _, s := range c.Sources {
		out = append(out, "live."+s.Table)
	}
	return out
}

func (f *fakeFlows) Refresh(ctx context.Context, database, name string, full bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	f.calls = append(f.calls, fmt.Sprintf("refresh %s.%s full=%t", database, name, full))
	return nil
}

func (f *fakeFlows) Drop(ctx context.Context, database, name string, _ ddl.Kind, _ bool) error {
	f.list = slices.DeleteFunc(f.list, func(s queries.Status) bool { return s.Table == name })
	return f.store.Drop(ctx, database, name)
}

func (f *fakeFlows) AddFlow(_ context.Context, s *ddl.Flow, database, _ string) (bool, error) {
	f.calls = append(f.calls, fmt.Sprintf("flow %s into %s.%s", s.Name, database, s.Into))
	return true, nil
}

func (f *fakeFlows) RefreshAll(_ context.Context, full bool) error {
	f.calls = append(f.calls, fmt.Sprintf("refresh all full=%t", full))
	return nil
}

func (f *fakeFlows) RefreshLater(database, name string, full bool) error {
	f.calls = append(f.calls, fmt.Sprintf("refresh %s.%s later full=%t", database, name, full))
	return nil
}

func (f *fakeFlows) Alter(_ context.Context, s *ddl.OnFlow, database, _ string) error {
	f.calls = append(f.calls, fmt.Sprintf("%s of %s.%s", s.Verb, database, s.Name))
	return nil
}

func (f *fakeFlows) Plan(_ context.Context, script, database, _ string) ([]queries.Planned, error) {
	return []queries.Planned{{Line: 1, Database: database, Table: "t", Kind: "view", Action: "create", Reason: script}}, nil
}

func (f *fakeFlows) DropFlow(_ context.Context, database, name string, ifExists bool) error {
	f.calls = append(f.calls, fmt.Sprintf("drop flow %s.%s if exists=%t", database, name, ifExists))
	return nil
}

func (f *fakeFlows) Replay(_ context.Context, s *ddl.OnRules, database string) (moved, kept int64, err error) {
	f.calls = append(f.calls, fmt.Sprintf("replay %s.%s where %q", database, s.Name, s.Where))
	return 1, 2, nil
}

func (f *fakeFlows) Quarantined(_ context.Context, database, table string) ([]queries.Quarantined, error) {
	f.calls = append(f.calls, "quarantined "+database+"."+table)
	return nil, nil
}

func (f *fakeFlows) AlterRules(_ context.Context, s *ddl.OnRules, database string) error {
	f.calls = append(f.calls, s.Verb+" "+s.Rule.Name+" of "+database+"."+s.Name)
	return nil
}

func (f *fakeFlows) OnFile(_ context.Context, s *ddl.OnTable, database string) (int64, error) {
	f.calls = append(f.calls, fmt.Sprintf("%s %q of %s.%s", s.Verb, s.File, database, s.Name))
	return 2, nil
}

func (f *fakeFlows) ModelsChanged() { f.calls = append(f.calls, "models changed") }

func (f *fakeFlows) Flows() []queries.Status { return f.list }

// TestSQLScripts runs the scripts in testdata: `sql` runs a statement and prints its rows, `types` its columns and
// their MySQL types, `calls` what the flows were told.
func TestSQLScripts(t *testing.T) {
	datadriven.Walk(t, "testdata/sql", func(t *testing.T, path string) {
		s := startSQL(t, nil)
		multi := s.open(t, "", "", "multiStatements=true&interpolateParams=true")
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			db := s.db
			if d.HasArg("multi") {
				db = multi
			}
			switch d.Cmd {
			case "sql":
				return runStatement(t.Context(), db, d.Input, false)
			case "types":
				return runStatement(t.Context(), db, d.Input, true)
			case "calls":
				calls := strings.Join(s.flows.calls, "\n")
				s.flows.calls = nil
				return calls
			}
			d.Fatalf(t, "unknown command %s", d.Cmd)
			return ""
		})
		require.NotContains(t, s.log.String(), "panic")
	})
}

// runStatement runs one statement and prints what a client would see.
func runStatement(ctx context.Context, db *sql.DB, statement string, types bool) string {
	rows, err := db.QueryContext(ctx, statement)
	if err != nil {
		return printError(err)
	}
	defer rows.Close()
	var out strings.Builder
	for {
		if err := printRows(&out, rows, types); err != nil {
			return printError(err)
		}
		if !rows.NextResultSet() {
			break
		}
		out.WriteString("--\n")
	}
	if err := rows.Err(); err != nil {
		return printError(err)
	}
	if out.Len() == 0 {
		return "ok"
	}
	return out.String()
}

func printRows(out *strings.Builder, rows *sql.Rows, types bool) error {
	columns, err := rows.ColumnTypes()
	if err != nil {
		return err
	}
	if len(columns) == 0 {
		return rows.Err()
	}
	values := make([]any, len(columns))
	for i, c := range columns {
		name := c.Name()
		if types {
			name += " " + c.DatabaseTypeName()
		}
		out.WriteString(strings.Repeat(" | ", min(i, 1)) + name)
		values[i] = new(sql.NullString)
	}
	out.WriteString("\n")
	for rows.Next() {
		if err := rows.Scan(values...); err != nil {
			return err
		}
		for i, v := range values {
			text := v.(*sql.NullString)
			if !text.Valid {
				text.String = "NULL"
			}
			out.WriteString(strings.Repeat(" | ", min(i, 1)) + text.String)
		}
		out.WriteString("\n")
	}
	return rows.Err()
}

func printError(err error) string {
	var my *mysql.MySQLError
	if errors.As(err, &my) {
		return fmt.Sprintf("ERROR %d (%s): %s", my.Number, my.SQLState[:], my.Message)
	}
	return "ERROR: " + err.Error()
}
