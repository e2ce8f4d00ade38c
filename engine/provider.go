package engine

import (
	"context"
	"strings"

	"github.com/dolthub/go-mysql-server/sql"

	"smelt/functions"
	"smelt/tables"

	"smelt/functions/spark"
)

// Names of the databases that are not directories of the store.
const (
	systemDatabase = "smelt"
	mysqlDatabase  = "mysql"
	schemaDatabase = "information_schema"
)

// defaultDatabase is the database of a session that chose none, so that LIVE.t and t are the same table.
const defaultDatabase = "live"

// systemTable returns the current content of one table of the database smelt.
type systemTable = func(ctx context.Context) (tables.Relation, error)

// provider is the catalogue that go-mysql-server sees: the directories of the store as databases, the database smelt
// and the functions of the set.
type provider struct {
	store     *tables.Store
	functions *functions.Set
	system    map[string]systemTable // by lower-case name
	flows     Flows

	tableFunctions map[string]*tableFunction // by lower-case name
}

var (
	_ sql.CollatedDatabaseProvider = (*provider)(nil)
	_ sql.FunctionProvider         = (*provider)(nil)
	_ sql.TableFunctionProvider    = (*provider)(nil)
)

// AllDatabases implements sql.DatabaseProvider.
func (p *provider) AllDatabases(*sql.Context) []sql.Database {
	out := []sql.Database{}
	for _, name := range p.store.Databases() {
		if strings.EqualFold(name, systemDatabase) {
			continue // holds what smelt.predictions shows
		}
		out = append(out, &storeDatabase{provider: p, name: name})
	}
	return append(out, &systemDB{provider: p})
}

// Database implements sql.DatabaseProvider.
func (p *provider) Database(_ *sql.Context, name string) (sql.Database, error) {
	if strings.EqualFold(name, systemDatabase) {
		return &systemDB{provider: p}, nil
	}
	for _, known := range p.store.Databases() {
		if strings.EqualFold(known, name) {
			return &storeDatabase{provider: p, name: known}, nil
		}
	}
	return nil, sql.ErrDatabaseNotFound.New(name)
}

// HasDatabase implements sql.DatabaseProvider.
func (p *provider) HasDatabase(ctx *sql.Context, name string) bool {
	_, err := p.Database(ctx, name)
	return err == nil
}

// CreateDatabase implements sql.MutableDatabaseProvider.
func (p *provider) CreateDatabase(ctx *sql.Context, name string) error {
	if p.HasDatabase(ctx, name) || reservedDatabase(name) {
		return sql.ErrDatabaseExists.New(name)
	}
	return edge(p.store.CreateDatabase(name))
}

// CreateCollatedDatabase implements sql.CollatedDatabaseProvider. Text is compared by code point in every database;
// go-mysql-server warns of that when a statement names a collation.
func (p *provider) CreateCollatedDatabase(ctx *sql.Context, name string, _ sql.CollationID) error {
	return p.CreateDatabase(ctx, name)
}

// DropDatabase implements sql.MutableDatabaseProvider. A database that a flow writes or reads stays: dropping it would
// leave flows without their tables.
func (p *provider) DropDatabase(ctx *sql.Context, name string) error {
	if reservedDatabase(name) || strings.EqualFold(name, defaultDatabase) {
		return mysqlError(errAccessDenied, "Database '%s' belongs to the system and cannot be dropped", name)
	}
	for _, t := range p.store.Tables(name) {
		if err := p.mayDrop(t.Database(), t.Name()); err != nil {
			return err
		}
	}
	return edge(p.store.DropDatabase(name))
}

func reservedDatabase(name string) bool {
	for _, reserved := range []string{systemDatabase, mysqlDatabase, schemaDatabase, "performance_schema", "sys"} {
		if strings.EqualFold(name, reserved) {
			return true
		}
	}
	return false
}

// Function implements sql.FunctionProvider. The functions of the set come before the built-in ones; LOAD_FILE is
// replaced by one that knows no file, SUM by one that keeps whole numbers whole.
func (p *provider) Function(ctx *sql.Context, name string) (sql.Function, bool) {
	if f, ok := p.functions.Function(name); ok {
		return f, true
	}
	if ctx != nil {
		if f, ok := p.functions.Promised(ctx, name); ok {
			return f, true
		}
	}
	if f, ok := spark.Function(name); ok {
		return f, true
	}
	switch strings.ToLower(name) {
	case "load_file":
		return sql.Function1{Name: "load_file", Fn: newNoFile}, true
	case "sum", sumName:
		return sql.Function1{Name: "sum", Fn: newExactSum}, true
	}
	return retypedFunction(strings.ToLower(name))
}

// TableFunction implements sql.TableFunctionProvider.
func (p *provider) TableFunction(_ *sql.Context, name string) (sql.TableFunction, bool) {
	f, ok := p.tableFunctions[strings.ToLower(name)]
	return f, ok
}

// WithTableFunctions implements sql.TableFunctionProvider. Nobody replaces them here.
func (p *provider) WithTableFunctions(...sql.TableFunction) (sql.TableFunctionProvider, error) {
	return p, nil
}

// storeDatabase returns the directory of the store called name.
func (p *provider) storeDatabase(name string) (*storeDatabase, error) {
	d, err := p.Database(nil, name)
	if err != nil {
		return nil, err
	}
	if s, ok := d.(*storeDatabase); ok {
		return s, nil
	}
	return nil, mysqlError(errAccessDenied, "Tables cannot be created in database '%s'", name)
}
