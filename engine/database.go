package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sort"
	"strings"

	"github.com/dolthub/go-mysql-server/sql"

	"smelt/queries"
	"smelt/tables"
)

// Properties of plain tables, in their Delta configuration. Delta keeps every field nullable here (see tables.Field);
// the rules of a CREATE TABLE are enforced where its rows come in, by INSERT.
const (
	propertyNotNull = "smelt.notNull"  // comma-separated column names
	propertyDefault = "smelt.default." // + column name: the SQL text of the default
)

// storeDatabase is one directory of the store.
type storeDatabase struct {
	noRoutines
	provider *provider
	name     string
}

var (
	_ sql.TableCreator = (*storeDatabase)(nil)
	_ sql.TableDropper = (*storeDatabase)(nil)
	_ sql.ViewDatabase = (*storeDatabase)(nil)
)

// Name implements sql.Database.
func (d *storeDatabase) Name() string { return d.name }

// GetTableInsensitive implements sql.Database: first the relations that the statement brings along, then STREAM(t),
// then the tables of the store. A statement reads each table at one version.
func (d *storeDatabase) GetTableInsensitive(ctx *sql.Context, name string) (sql.Table, bool, error) {
	current := statementOf(ctx)
	if r, ok := current.relation(d.name, name); ok {
		return found(newRelationTable(d.name, name, "", withoutOwn(r, current.namesOwn())))
	}
	database, table := d.name, name
	if streamed, ok := strings.CutPrefix(name, streamPrefix); ok {
		table = streamed
		if db, t, ok := strings.Cut(streamed, "."); ok {
			database, table = db, t
		}
	}
	t, err := d.provider.store.Table(database, table)
	if errors.Is(err, tables.ErrNotFound) {
		current.lacks(name, database, table)
		return nil, false, nil
	}
	if err != nil {
		return nil, false, edge(err)
	}
	if err := t.Refresh(); err != nil {
		return nil, false, edge(err)
	}
	pinned := current.pin(t)
	if pinned.Definition().Properties[propertyKind] != kindQuarantine {
		return found(newStoreTable(d.provider, t, pinned, pinned, current.namesOwn()))
	}
	// DELETE knows rows by all of their values.
	own := current.namesOwn() || current.begins("delete")
	rows := tables.Relation(pinned)
	if of, err := d.provider.store.Table(database, strings.TrimSuffix(t.Name(), queries.QuarantineSuffix)); err == nil {
		rows = queries.InQuarantine(pinned, current.pin(of))
	}
	return found(newStoreTable(d.provider, t, pinned, rows, own))
}

func found[T sql.Table](t T, err error) (sql.Table, bool, error) {
	if err != nil {
		return nil, false, err
	}
	return t, true, nil
}

// GetTableNames implements sql.Database.
func (d *storeDatabase) GetTableNames(*sql.Context) ([]string, error) {
	list := d.provider.store.Tables(d.name)
	names := make([]string, len(list))
	for i, t := range list {
		names[i] = t.Name()
	}
	return names, nil
}

// CreateTable implements sql.TableCreator.
func (d *storeDatabase) CreateTable(ctx *sql.Context, name string, schema sql.PrimaryKeySchema, _ sql.CollationID, comment string) error {
	if _, ok, err := d.GetViewDefinition(ctx, name); err != nil {
		return err
	} else if ok {
		return sql.ErrTableAlreadyExists.New(name)
	}
	def, err := definitionOf(ctx, schema.Schema, comment)
	if err != nil {
		return edge(err)
	}
	_, err = d.provider.store.Create(ctx, d.name, name, def)
	if errors.Is(err, tables.ErrExists) {
		return sql.ErrTableAlreadyExists.New(name) // IF NOT EXISTS recognises this kind
	}
	return edge(err)
}

// definitionOf returns the table definition of a CREATE TABLE. Clauses that cannot be kept were refused by the parser.
func definitionOf(ctx context.Context, schema sql.Schema, comment string) (tables.Definition, error) {
	columns, err := columnSchema(schema)
	if err != nil {
		return tables.Definition{}, err
	}
	def := tables.Definition{Schema: columns, Comment: comment, Properties: map[string]string{}}
	if s := statementOf(ctx); s != nil {
		def.Partitions = s.partitions
		maps.Copy(def.Properties, s.properties)
	}
	var notNull []string
	for _, c := range schema {
		if !c.Nullable {
			notNull = append(notNull, c.Name)
		}
		if c.Default != nil {
			def.Properties[propertyDefault+c.Name] = c.Default.String()
		}
	}
	if len(notNull) > 0 {
		def.Properties[propertyNotNull] = strings.Join(notNull, ",")
	}
	return def, nil
}

// applyProperties puts NOT NULL and DEFAULT of a plain table back into its columns.
func applyProperties(schema sql.Schema, properties map[string]string) {
	for _, name := range strings.Split(properties[propertyNotNull], ",") {
		if i := schema.IndexOfColName(name); i >= 0 {
			schema[i].Nullable = false
		}
	}
	for _, c := range schema {
		if text, ok := properties[propertyDefault+c.Name]; ok {
			c.Default = sql.NewUnresolvedColumnDefaultValue(text)
		}
	}
}

// DropTable implements sql.TableDropper.
func (d *storeDatabase) DropTable(ctx *sql.Context, name string) error {
	if err := d.provider.mayDrop(d.name, name); err != nil {
		return err
	}
	err := d.provider.store.Drop(ctx, d.name, name)
	if errors.Is(err, tables.ErrNotFound) {
		return sql.ErrUnknownTable.New(d.name + "." + name)
	}
	statementOf(ctx).drop(d.name, name)
	return edge(err)
}

// mayDrop refuses to drop what a flow writes, which has a statement of its own, and what a flow reads, which would stop.
func (p *provider) mayDrop(database, name string) error {
	if err := p.ownedByFlow(database, name, "DROP TABLE"); err != nil {
		return err
	}
	if p.flows == nil {
		return nil
	}
	if readers := readersOf(p.flows.Flows(), database, name); len(readers) > 0 {
		return mysqlError(errDependentObject, "Cannot drop table '%s': it is read by %s; drop these first", name, strings.Join(readers, ", "))
	}
	return nil
}

// ownedByFlow refuses statement on a table that a flow writes: it would no longer equal its query.
func (p *provider) ownedByFlow(database, name, statement string) error {
	t, err := p.store.Table(database, name)
	if err != nil {
		return nil // whoever asked finds out and says so
	}
	kind, hint := "", ""
	switch t.Snapshot().Definition().Properties[propertyKind] {
	case "streaming_table":
		kind, hint = "STREAMING TABLE", "DROP STREAMING TABLE"
	case "materialized_view":
		kind, hint = "MATERIALIZED VIEW", "DROP MATERIALIZED VIEW"
	case kindQuarantine:
		if statement == "DELETE" {
			return nil
		}
		return ownedByQuarantine(database, name, statement)
	default:
		return nil
	}
	if statement == "DROP TABLE" {
		return mysqlError(errWrongObject, "'%s.%s' is not BASE TABLE: it is a %s; use %s", database, name, kind, hint)
	}
	return mysqlError(errNotInsertable, "The target table %s of the %s is a %s: only its query writes it", name, statement, kind)
}

// GetViewDefinition implements sql.ViewDatabase. A relation that the statement brings along hides a view of its name.
func (d *storeDatabase) GetViewDefinition(ctx *sql.Context, name string) (sql.ViewDefinition, bool, error) {
	if _, ok := statementOf(ctx).relation(d.name, name); ok || strings.Contains(name, ":") {
		return sql.ViewDefinition{}, false, nil
	}
	v, err := d.provider.store.View(d.name, name)
	if errors.Is(err, tables.ErrNotFound) {
		return sql.ViewDefinition{}, false, nil
	}
	if err != nil {
		return sql.ViewDefinition{}, false, edge(err)
	}
	return viewDefinition(v), true, nil
}

func viewDefinition(v tables.View) sql.ViewDefinition {
	return sql.ViewDefinition{Name: v.Name, TextDefinition: v.Query, CreateViewStatement: v.CreateStatement}
}

// AllViews implements sql.ViewDatabase.
func (d *storeDatabase) AllViews(*sql.Context) ([]sql.ViewDefinition, error) {
	list := d.provider.store.Views(d.name)
	out := make([]sql.ViewDefinition, len(list))
	for i, v := range list {
		out[i] = viewDefinition(v)
	}
	return out, nil
}

// CreateView implements sql.ViewDatabase.
func (d *storeDatabase) CreateView(ctx *sql.Context, name, selectStatement, createStatement string) error {
	if _, err := d.provider.store.Table(d.name, name); err == nil {
		return sql.ErrTableAlreadyExists.New(name)
	}
	if _, ok, err := d.GetViewDefinition(ctx, name); err != nil {
		return err
	} else if ok {
		return sql.ErrExistingView.New(d.name, name)
	}
	return edge(d.provider.store.PutView(d.name, tables.View{Name: name, Query: selectStatement, CreateStatement: createStatement}))
}

// DropView implements sql.ViewDatabase.
func (d *storeDatabase) DropView(_ *sql.Context, name string) error {
	err := d.provider.store.DropView(d.name, name)
	if errors.Is(err, tables.ErrNotFound) {
		return sql.ErrViewDoesNotExist.New(d.name, name)
	}
	return edge(err)
}

// systemDB is the database smelt: what the system knows of itself, as read-only tables made when they are read.
type systemDB struct {
	noRoutines
	noViews
	provider *provider
}

var _ sql.ReadOnlyDatabase = (*systemDB)(nil)

// Name implements sql.Database.
func (d *systemDB) Name() string { return systemDatabase }

// IsReadOnly implements sql.ReadOnlyDatabase.
func (d *systemDB) IsReadOnly() bool { return true }

// GetTableInsensitive implements sql.Database.
func (d *systemDB) GetTableInsensitive(ctx *sql.Context, name string) (sql.Table, bool, error) {
	if r, ok := statementOf(ctx).relation(systemDatabase, name); ok {
		return found(newRelationTable(systemDatabase, name, "", r))
	}
	content, ok := d.provider.system[strings.ToLower(name)]
	if !ok {
		statementOf(ctx).lacks(name, systemDatabase, name)
		return nil, false, nil
	}
	r, err := content(ctx)
	if err != nil {
		return nil, false, edge(fmt.Errorf("read smelt.%s: %w", name, err))
	}
	return found(newRelationTable(systemDatabase, strings.ToLower(name), "", r))
}

// GetTableNames implements sql.Database.
func (d *systemDB) GetTableNames(*sql.Context) ([]string, error) {
	names := make([]string, 0, len(d.provider.system))
	for name := range d.provider.system {
		names = append(names, name)
	}
	sort.Strings(names)
	return names, nil
}
