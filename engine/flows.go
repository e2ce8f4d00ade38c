package engine

import (
	"context"
	"errors"
	"regexp"
	"sort"
	"strings"
	"time"

	"github.com/dolthub/go-mysql-server/sql"
	"github.com/dolthub/go-mysql-server/sql/types"
	"github.com/dolthub/vitess/go/vt/sqlparser"

	"smelt/queries"
	"smelt/queries/ddl"
	"smelt/queries/lineage"
	"smelt/tables"
)

// Flows is what the SQL side needs of the graph of flows; *queries.Graph provides it.
type Flows interface {
	// Create makes or changes a flow; base is the directory of relative paths. The same text changes nothing.
	Create(ctx context.Context, c *ddl.Create, database, base string) (changed bool, err error)
	// Refresh brings one table up to date, from the start if full.
	Refresh(ctx context.Context, database, name string, full bool) error
	// AddFlow makes a flow into a streaming table that is there, or changes one.
	AddFlow(ctx context.Context, s *ddl.Flow, database, base string) (changed bool, err error)
	// RefreshAll brings all tables up to date, from the start if full.
	RefreshAll(ctx context.Context, full bool) error
	// RefreshLater does either in the background, all with name "".
	RefreshLater(database, name string, full bool) error
	// Alter runs ALTER of a flow's table; base is the directory of relative paths.
	Alter(ctx context.Context, s *ddl.OnFlow, database, base string) error
	// Plan says what loading a script would do.
	Plan(ctx context.Context, script, database, base string) ([]queries.Planned, error)
	// DropFlow takes a flow that was added away from its table, which keeps its rows.
	DropFlow(ctx context.Context, database, name string, ifExists bool) error
	// Drop removes a flow and its table.
	Drop(ctx context.Context, database, name string, kind ddl.Kind, ifExists bool) error
	// OnFile has a file tried again, unloaded or reloaded, and returns how many of its rows were taken out.
	OnFile(ctx context.Context, s *ddl.OnTable, database string) (rows int64, err error)
	// SourcesOf returns the tables that a SELECT reads, through views too.
	SourcesOf(query, database string) ([]*tables.Table, error)
	// ModelsChanged has the flows look whether a model that they ask means another version now.
	ModelsChanged()
	// Replay judges the rows of a quarantine by the rules of today, and returns how many moved into the table and were kept.
	Replay(ctx context.Context, s *ddl.OnRules, database string) (moved, kept int64, err error)
	// Quarantined lists what is in quarantine; table "" asks for all tables.
	Quarantined(ctx context.Context, database, table string) ([]queries.Quarantined, error)
	// AlterRules adds or drops an expectation.
	AlterRules(ctx context.Context, s *ddl.OnRules, database string) error
	// Flows returns the state of every flow.
	Flows() []queries.Status
	// ExplainRow lists of what rows of a table were made, down to the files.
	ExplainRow(ctx context.Context, s *ddl.Inspect, database string) ([]lineage.Explained, error)
	// ExplainRefresh says what the next batch of each flow of a table would do now: see queries.Graph.
	ExplainRefresh(ctx context.Context, database, name string) ([]queries.Progress, error)
	// CheckPipeline compares a table, "" for all, and what it is made of with where their rows come from.
	CheckPipeline(ctx context.Context, database, name string, found func(table, what string, proven bool, err error)) error
}

var _ Flows = (*queries.Graph)(nil)

// onFlow returns the plan of a statement on flows, and which privilege it asks for.
func (e *sqlEngine) onFlow(s *ddl.OnFlow) (n *node, auth string) {
	n = &node{name: s.Verb + " " + s.Name, schema: types.OkResultSchema}
	var run func(*sql.Context, *ddl.OnFlow) (sql.RowIter, error)
	switch s.Verb {
	case "REFRESH":
		auth, run = sqlparser.AuthType_CREATE, e.refresh
	case "DROP FLOW":
		auth, run = sqlparser.AuthType_DROP, e.dropFlow
	case "EXPLAIN PIPELINE", "EXPLAIN CREATE":
		auth, run, n.schema = sqlparser.AuthType_CREATE, e.plan, textSchema(planColumns...)
	case "SCHEDULE", "SUSPEND", "RESUME", "RENAME", "AS":
		auth, run = sqlparser.AuthType_ALTER, e.alterFlow
	case "DROP":
		auth, run = sqlparser.AuthType_DROP, e.drop
	case "SHOW":
		auth, run, n.schema = sqlparser.AuthType_IGNORE, e.showFlows, textSchema(flowColumns...)
	case "SET":
		auth, run = sqlparser.AuthType_IGNORE, noEffect
	default: // SHOW CREATE
		auth, run, n.schema = sqlparser.AuthType_IGNORE, e.showCreate, textSchema("Table", "Create Table")
	}
	n.run = func(ctx *sql.Context) (sql.RowIter, error) { return run(ctx, s) }
	return n, auth
}

// noEffect is SET of a setting of Spark.
func noEffect(ctx *sql.Context, s *ddl.OnFlow) (sql.RowIter, error) {
	ctx.Warn(int(errUnknownVariable.number), "'%s' is a setting of Spark and has no effect", s.Name)
	return okResult(0), nil
}

func (e *sqlEngine) refresh(ctx *sql.Context, s *ddl.OnFlow) (sql.RowIter, error) {
	flows, err := e.flows()
	if err != nil {
		return nil, err
	}
	if s.Async {
		return okResult(0), flows.RefreshLater(e.database(ctx, s.Database), s.Name, s.Full)
	}
	work, done := untimed(ctx)
	defer done()
	if s.All {
		return okResult(0), flows.RefreshAll(work, s.Full)
	}
	return okResult(0), flows.Refresh(work, e.database(ctx, s.Database), s.Name, s.Full)
}

func (e *sqlEngine) drop(ctx *sql.Context, s *ddl.OnFlow) (sql.RowIter, error) {
	flows, err := e.flows()
	if err != nil {
		return nil, err
	}
	db := e.database(ctx, s.Database)
	if err := flows.Drop(ctx, db, s.Name, s.Kind, s.IfExists); err != nil {
		return nil, err
	}
	statementOf(ctx).drop(db, s.Name)
	return okResult(0), nil
}

func (e *sqlEngine) addFlow(ctx *sql.Context, s *ddl.Flow) (sql.RowIter, error) {
	flows, err := e.flows()
	if err != nil {
		return nil, err
	}
	db := e.database(ctx, s.IntoDatabase)
	if _, err := e.provider.storeDatabase(db); err != nil {
		return nil, err
	}
	work, done := untimed(ctx)
	defer done()
	changed, err := flows.AddFlow(work, s, db, e.config.Base)
	if err != nil {
		return nil, err
	}
	statementOf(ctx).drop(db, s.Into)
	return okResult(map[bool]uint64{true: 1}[changed]), nil
}

func (e *sqlEngine) alterFlow(ctx *sql.Context, s *ddl.OnFlow) (sql.RowIter, error) {
	flows, err := e.flows()
	if err != nil {
		return nil, err
	}
	db := e.database(ctx, s.Database)
	work, done := untimed(ctx)
	defer done()
	if err := flows.Alter(work, s, db, e.config.Base); err != nil {
		return nil, err
	}
	statementOf(ctx).drop(db, s.Name)
	return okResult(0), nil
}

func (e *sqlEngine) dropFlow(ctx *sql.Context, s *ddl.OnFlow) (sql.RowIter, error) {
	flows, err := e.flows()
	if err != nil {
		return nil, err
	}
	return okResult(0), flows.DropFlow(ctx, e.database(ctx, s.Database), s.Name, s.IfExists)
}

// showCreate prints the statement that made a flow's table.
func (e *sqlEngine) showCreate(ctx *sql.Context, s *ddl.OnFlow) (sql.RowIter, error) {
	db, name := e.database(ctx, s.Database), s.Name
	t, err := e.config.Store.Table(db, name)
	if errors.Is(err, tables.ErrNotFound) {
		return nil, mysqlError(errNoSuchTable, "Table '%s.%s' doesn't exist", db, name)
	}
	if err != nil {
		return nil, err
	}
	properties := t.Snapshot().Definition().Properties
	if !sameKind(properties[propertyKind], s.Kind) {
		return nil, mysqlError(errWrongObject, "'%s.%s' is not %s", db, name, s.Kind)
	}
	return sql.RowsToRowIter(sql.NewRow(t.Name(), properties[propertyStatement])), nil
}

// flowColumns are the columns of SHOW MATERIALIZED VIEWS and SHOW STREAMS; smelt.streams has more.
var flowColumns = []string{"Database", "Name", "Flow", "Kind", "State", "Strategy", "Reason", "Sources", "Schedule", "Next_run", "Last_error"}

func (e *sqlEngine) showFlows(_ *sql.Context, s *ddl.OnFlow) (sql.RowIter, error) {
	flows, err := e.flows()
	if err != nil {
		return nil, err
	}
	matches := likePattern(s.Like)
	var rows []sql.Row
	for _, f := range flows.Flows() {
		if s.Kind != 0 && !sameKind(f.Kind, s.Kind) || !matches.MatchString(f.Table) {
			continue
		}
		rows = append(rows, sql.NewRow(f.Database, f.Table, flowName(f), f.Kind, f.State, f.Strategy, f.Reason, strings.Join(f.Sources, ", "), f.Schedule, nextRun(f), f.LastError))
	}
	sort.Slice(rows, func(i, j int) bool {
		return rows[i][0].(string)+"."+rows[i][1].(string)+":"+rows[i][2].(string) < rows[j][0].(string)+"."+rows[j][1].(string)+":"+rows[j][2].(string)
	})
	return sql.RowsToRowIter(rows...), nil
}

// nextRun is when a schedule lets the flow run next, in UTC; "" where none does.
func nextRun(f queries.Status) string {
	if f.Next.IsZero() {
		return ""
	}
	return f.Next.UTC().Format(time.DateTime)
}

// flowName is what a flow is called: the table's own has its name.
func flowName(f queries.Status) string {
	if f.Flow == "" {
		return f.Table
	}
	return f.Flow
}

// sameKind compares the kind that a table's properties state with one of the grammar.
func sameKind(stated string, k ddl.Kind) bool {
	return strings.EqualFold(strings.ReplaceAll(stated, "_", " "), strings.ReplaceAll(k.String(), "_", " "))
}

// likePattern returns the pattern of a LIKE without escapes, matching in any case; "" matches everything.
func likePattern(like string) *regexp.Regexp {
	if like == "" {
		like = "%"
	}
	var b strings.Builder
	for _, r := range like {
		switch r {
		case '%':
			b.WriteString(".*")
		case '_':
			b.WriteString(".")
		default:
			b.WriteString(regexp.QuoteMeta(string(r)))
		}
	}
	return regexp.MustCompile("(?is)^" + b.String() + "$") // every part is quoted
}

// readersOf returns the flows that read a table, sorted.
func readersOf(list []queries.Status, database, name string) []string {
	var out []string
	for _, f := range list {
		for _, source := range f.Sources {
			if strings.EqualFold(source, database+"."+name) {
				out = append(out, f.Database+"."+f.Table)
				break
			}
		}
	}
	sort.Strings(out)
	return out
}
