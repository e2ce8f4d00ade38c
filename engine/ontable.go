package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/dolthub/go-mysql-server/sql"
	"github.com/dolthub/go-mysql-server/sql/types"

	"smelt/queries/ddl"
	"smelt/tables"
)

// The columns of the statements on a table, by Delta's names where it has them.
var (
	historyColumns = sql.Schema{
		{Name: "version", Type: types.Int64}, {Name: "timestamp", Type: timestampType, Nullable: true}, {Name: "operation", Type: stringType},
		{Name: "operationParameters", Type: types.JSON}, {Name: "operationMetrics", Type: types.JSON},
	}
	detailColumns = sql.Schema{
		{Name: "format", Type: stringType}, {Name: "id", Type: stringType}, {Name: "name", Type: stringType}, {Name: "description", Type: stringType, Nullable: true},
		{Name: "location", Type: stringType}, {Name: "createdAt", Type: timestampType, Nullable: true}, {Name: "lastModified", Type: timestampType, Nullable: true},
		{Name: "partitionColumns", Type: types.JSON}, {Name: "numFiles", Type: types.Int64}, {Name: "sizeInBytes", Type: types.Int64},
		{Name: "properties", Type: types.JSON}, {Name: "minReaderVersion", Type: types.Int64}, {Name: "minWriterVersion", Type: types.Int64},
	}
	optimizeColumns = sql.Schema{{Name: "Table", Type: stringType}, {Name: "numFilesRemoved", Type: types.Int64}, {Name: "numFilesAdded", Type: types.Int64}}
	vacuumColumns   = sql.Schema{{Name: "path", Type: stringType}}
)

// onTable returns the plan of a statement on the files and versions of a table.
func (e *sqlEngine) onTable(s *ddl.OnTable) *node {
	n := &node{name: s.Verb + " " + s.Name, schema: types.OkResultSchema}
	var run func(ctx *sql.Context, t *tables.Table) (sql.RowIter, error)
	switch s.Verb {
	case "DESCRIBE HISTORY":
		n.schema, run = historyColumns, func(ctx *sql.Context, t *tables.Table) (sql.RowIter, error) {
			return describeHistory(ctx, t, int(s.Limit))
		}
	case "DESCRIBE DETAIL":
		n.schema, run = detailColumns, describeDetail
	case "OPTIMIZE":
		n.schema, run = optimizeColumns, optimize
	case "VACUUM":
		n.schema, run = vacuumColumns, func(ctx *sql.Context, t *tables.Table) (sql.RowIter, error) { return vacuum(ctx, t, s) }
	case "RESTORE":
		run = func(ctx *sql.Context, t *tables.Table) (sql.RowIter, error) { return e.restore(ctx, t, s) }
	default:
		n.run = func(ctx *sql.Context) (sql.RowIter, error) { return e.attach(ctx, s) }
		return n
	}
	n.run = func(ctx *sql.Context) (sql.RowIter, error) {
		db := e.database(ctx, s.Database)
		t, err := e.config.Store.Table(db, s.Name)
		if errors.Is(err, tables.ErrNotFound) {
			if _, err := e.config.Store.View(db, s.Name); err == nil {
				return nil, mysqlError(errWrongObject, "'%s.%s' is not BASE TABLE: a view has no files and no versions", db, s.Name)
			}
			if strings.EqualFold(db, systemDatabase) && e.config.System[strings.ToLower(s.Name)] != nil {
				return nil, mysqlError(errWrongObject, "'%s.%s' is not BASE TABLE: tables of the system have no files and no versions", db, s.Name)
			}
			return nil, mysqlError(errNoSuchTable, "Table '%s.%s' doesn't exist", db, s.Name)
		}
		if err == nil {
			err = t.Refresh()
		}
		if err != nil {
			return nil, err
		}
		return run(ctx, t)
	}
	return n
}

func describeHistory(ctx *sql.Context, t *tables.Table, limit int) (sql.RowIter, error) {
	if limit == 0 {
		limit = historyLimit
	}
	commits, err := t.History(ctx, limit)
	if err != nil {
		return nil, err
	}
	rows := make([]sql.Row, len(commits))
	for i, c := range commits {
		parameters, metrics, err := encodedMaps(c)
		if err != nil {
			return nil, err
		}
		rows[i] = sql.NewRow(c.Version, timeOrNull(c.Time), c.Operation, jsonOf(parameters), jsonOf(metrics))
	}
	return sql.RowsToRowIter(rows...), nil
}

// jsonOf is JSON text as a value; what cannot be read as such was made by us a moment ago.
func jsonOf(text string) any { return types.NewLazyJSONDocument([]byte(text)) }

func timeOrNull(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t
}

func describeDetail(_ *sql.Context, t *tables.Table) (sql.RowIter, error) {
	snapshot := t.Snapshot()
	def := snapshot.Definition()
	partitions, err := json.Marshal(append([]string{}, def.Partitions...))
	if err != nil {
		return nil, fmt.Errorf("list partition columns: %w", err)
	}
	properties, err := json.Marshal(def.Properties)
	if err != nil {
		return nil, fmt.Errorf("list properties: %w", err)
	}
	reader, writer := snapshot.Protocol()
	return sql.RowsToRowIter(sql.NewRow("delta", snapshot.ID(), t.Database()+"."+t.Name(), orNull(def.Comment), t.Dir(), timeOrNull(snapshot.Created()),
		timeOrNull(snapshot.Modified()), jsonOf(string(partitions)), int64(snapshot.Files()), snapshot.Bytes(), jsonOf(string(properties)), int64(reader), int64(writer))), nil
}

func optimize(ctx *sql.Context, t *tables.Table) (sql.RowIter, error) {
	work, done := untimed(ctx)
	defer done()
	removed, added, err := t.Optimize(work)
	if err != nil {
		return nil, err
	}
	statementOf(ctx).drop(t.Database(), t.Name())
	return sql.RowsToRowIter(sql.NewRow(t.Database()+"."+t.Name(), int64(removed), int64(added))), nil
}

// vacuum answers with the paths that go, or with DRY RUN would go, inside the table's directory.
func vacuum(ctx *sql.Context, t *tables.Table, s *ddl.OnTable) (sql.RowIter, error) {
	work, done := untimed(ctx)
	defer done()
	retain := time.Duration(-1)
	if s.RetainHours >= 0 {
		retain = time.Duration(s.RetainHours * float64(time.Hour))
	}
	paths, err := t.Vacuum(work, retain, s.DryRun)
	if err != nil {
		return nil, err
	}
	rows := make([]sql.Row, len(paths))
	for i, p := range paths {
		rows[i] = sql.NewRow(filepath.ToSlash(p))
	}
	return sql.RowsToRowIter(rows...), nil
}

func (e *sqlEngine) restore(ctx *sql.Context, t *tables.Table, s *ddl.OnTable) (sql.RowIter, error) {
	if err := e.provider.ownedByFlow(t.Database(), t.Name(), "RESTORE"); err != nil {
		return nil, err
	}
	work, done := untimed(ctx)
	defer done()
	version := s.Version
	if version < 0 {
		then, err := asOf(ctx, t, s.Time)
		if err != nil {
			return nil, err
		}
		version = then.Version()
	}
	if _, err := t.Restore(work, version); err != nil {
		return nil, err
	}
	statementOf(ctx).drop(t.Database(), t.Name())
	return okResult(0), nil
}

// attach is CREATE TABLE ... USING DELTA LOCATION: a table that lies elsewhere, under a directory that may be read.
func (e *sqlEngine) attach(ctx *sql.Context, s *ddl.OnTable) (sql.RowIter, error) {
	db := e.database(ctx, s.Database)
	location := s.Location
	if rest, ok := strings.CutPrefix(location, "file://"); ok {
		location = rest
	}
	if !filepath.IsAbs(location) {
		location = filepath.Join(e.config.Base, location)
	}
	if e.config.Permits == nil || !e.config.Permits(location) {
		return nil, mysqlError(errFilePrivilege, "Access denied for LOCATION '%s': it is under none of --watch, the pipelines' directories and --allow-path", s.Location)
	}
	if _, err := e.provider.storeDatabase(db); err != nil {
		return nil, err
	}
	_, err := e.config.Store.Attach(ctx, db, s.Name, location)
	switch {
	case errors.Is(err, tables.ErrExists) && s.IfNotExists:
		return okResult(0), nil
	case errors.Is(err, tables.ErrExists):
		return nil, sql.ErrTableAlreadyExists.New(s.Name)
	case err != nil:
		return nil, err
	}
	return okResult(0), nil
}
