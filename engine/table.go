package engine

import (
	"fmt"
	"io"
	"slices"

	"github.com/dolthub/go-mysql-server/sql"

	"smelt/tables"
	"smelt/tables/filter"
)

// estimatedRows is what the planner is told of relations that cannot count themselves: enough that it prefers a hash
// join to nested loops, which read the inner side once per row.
const estimatedRows = 10_000

// relationTable shows a tables.Relation to go-mysql-server as a table. It is immutable: a projection is a new one.
type relationTable struct {
	relation   tables.Relation
	database   string
	name       string
	comment    string
	all        sql.Schema         // every column of the relation
	schema     sql.Schema         // the projected columns
	projection []string           // nil: no projection asked for
	conditions []filter.Condition // what the statement asks of the rows; advice
	bytes      int64              // size on disk, for planning only
}

var (
	_ sql.ProjectedTable  = (*relationTable)(nil)
	_ sql.StatisticsTable = (*relationTable)(nil)
	_ sql.CommentedTable  = (*relationTable)(nil)
	_ sql.PrimaryKeyTable = (*relationTable)(nil)
)

func newRelationTable(database, name, comment string, r tables.Relation) (*relationTable, error) {
	schema, err := sqlSchema(database, name, r.Schema())
	if err != nil {
		return nil, err
	}
	t := &relationTable{relation: r, database: database, name: name, comment: comment, all: schema, schema: schema}
	if sized, ok := r.(interface{ Bytes() int64 }); ok {
		t.bytes = sized.Bytes()
	}
	return t, nil
}

// Name implements sql.Table.
func (t *relationTable) Name() string { return t.name }

// String implements sql.Table.
func (t *relationTable) String() string { return t.name }

// Schema implements sql.Table.
func (t *relationTable) Schema(*sql.Context) sql.Schema { return t.schema }

// Collation implements sql.Table.
func (t *relationTable) Collation() sql.CollationID { return sql.Collation_Default }

// Comment implements sql.CommentedTable.
func (t *relationTable) Comment() string { return t.comment }

// PrimaryKeySchema implements sql.PrimaryKeyTable. There is no key, but go-mysql-server finds the columns of a projected
// table by their place in this schema, which must therefore be the whole one.
func (t *relationTable) PrimaryKeySchema(*sql.Context) sql.PrimaryKeySchema {
	return sql.NewPrimaryKeySchema(t.all)
}

// DataLength implements sql.StatisticsTable.
func (t *relationTable) DataLength(*sql.Context) (uint64, error) { return uint64(t.bytes), nil }

// RowCount implements sql.StatisticsTable.
func (t *relationTable) RowCount(*sql.Context) (uint64, bool, error) {
	if c, ok := t.relation.(tables.Counter); ok {
		return uint64(c.Rows()), true, nil
	}
	return estimatedRows, false, nil
}

// Projections implements sql.ProjectedTable.
func (t *relationTable) Projections() []string { return t.projection }

// WithProjections implements sql.ProjectedTable.
func (t *relationTable) WithProjections(_ *sql.Context, names []string) (sql.Table, error) {
	projected, err := t.project(names)
	if err != nil {
		return nil, err
	}
	return projected, nil
}

func (t *relationTable) project(names []string) (*relationTable, error) {
	p := *t
	p.projection = slices.Clone(names)
	if p.projection == nil {
		p.projection = []string{}
	}
	p.schema = make(sql.Schema, len(names))
	for i, name := range names {
		at := t.all.IndexOfColName(name)
		if at < 0 {
			return nil, fmt.Errorf("read %s.%s: no column %q", t.database, t.name, name)
		}
		p.schema[i] = t.all[at]
	}
	return &p, nil
}

// pruned returns the relation without rows that fail the conditions, as far as it knows them without reading.
func (t *relationTable) pruned() tables.Relation {
	if p, ok := t.relation.(tables.Pruner); ok && len(t.conditions) > 0 {
		return p.Prune(t.conditions)
	}
	return t.relation
}

// wholeTable is the single partition of a relation: go-mysql-server reads partitions one after the other, so splitting
// would gain nothing; a reader decodes in parallel behind its Next.
type wholeTable struct{}

// Key implements sql.Partition.
func (wholeTable) Key() []byte { return []byte{0} }

type onePartition struct{ done bool }

func (p *onePartition) Next(*sql.Context) (sql.Partition, error) {
	if p.done {
		return nil, io.EOF
	}
	p.done = true
	return wholeTable{}, nil
}

func (p *onePartition) Close(*sql.Context) error { return nil }

// Partitions implements sql.Table.
func (t *relationTable) Partitions(*sql.Context) (sql.PartitionIter, error) {
	return &onePartition{}, nil
}

// PartitionRows implements sql.Table.
func (t *relationTable) PartitionRows(ctx *sql.Context, _ sql.Partition) (sql.RowIter, error) {
	var columns []string
	if t.projection != nil {
		columns = make([]string, len(t.schema))
		for i, c := range t.schema {
			columns[i] = plainName(c.Name)
		}
	}
	reader, err := t.pruned().Scan(ctx, columns)
	if err != nil {
		return nil, err
	}
	return &batchRowIter{reader: reader}, nil
}
