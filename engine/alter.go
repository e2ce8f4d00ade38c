package engine

import (
	"maps"
	"slices"
	"strings"

	"github.com/dolthub/go-mysql-server/sql"

	"smelt/tables"
)

var _ sql.AlterableTable = (*storeTable)(nil)

// AddColumn implements sql.AlterableTable. Rows that are there have NULL in it.
func (t *storeTable) AddColumn(ctx *sql.Context, column *sql.Column, order *sql.ColumnOrder) error {
	if !column.Nullable {
		return notYet("ALTER TABLE ADD COLUMN ... NOT NULL")
	}
	if column.Default != nil {
		return notYet("ALTER TABLE ADD COLUMN ... DEFAULT")
	}
	added, err := columnSchema(sql.Schema{column})
	if err != nil {
		return edge(err)
	}
	return t.redefine(ctx, "ADD COLUMNS", func(def *tables.Definition) error {
		at := len(def.Schema)
		switch {
		case order != nil && order.First:
			at = 0
		case order != nil && order.AfterColumn != "":
			at = def.Schema.Index(order.AfterColumn) + 1
		}
		def.Schema = slices.Insert(def.Schema, at, added[0])
		return nil
	})
}

// DropColumn implements sql.AlterableTable: Delta at writer version 2 cannot forget a column.
func (t *storeTable) DropColumn(*sql.Context, string) error {
	return notYet("ALTER TABLE DROP COLUMN (CREATE TABLE ... AS SELECT makes a table without it)")
}

// ModifyColumn implements sql.AlterableTable: a type may become a wider one, and a comment another.
func (t *storeTable) ModifyColumn(ctx *sql.Context, name string, column *sql.Column, order *sql.ColumnOrder) error {
	switch {
	case column.Name != name:
		return notYet("ALTER TABLE RENAME COLUMN")
	case order != nil:
		return notYet("ALTER TABLE MODIFY COLUMN ... FIRST and AFTER")
	case column.Default != nil || !column.Nullable:
		return notYet("ALTER TABLE MODIFY COLUMN with DEFAULT or NOT NULL")
	}
	modified, err := columnSchema(sql.Schema{column})
	if err != nil {
		return edge(err)
	}
	return t.redefine(ctx, "CHANGE COLUMN", func(def *tables.Definition) error {
		def.Schema[def.Schema.Index(name)] = modified[0]
		// The new definition is the whole of it: a column that does not say NOT NULL may be NULL, and has no default.
		def.Properties = maps.Clone(def.Properties)
		delete(def.Properties, propertyDefault+name)
		strict := slices.DeleteFunc(strings.Split(def.Properties[propertyNotNull], ","), func(c string) bool { return strings.EqualFold(c, name) || c == "" })
		if delete(def.Properties, propertyNotNull); len(strict) > 0 {
			def.Properties[propertyNotNull] = strings.Join(strict, ",")
		}
		return nil
	})
}

func (t *storeTable) redefine(ctx *sql.Context, operation string, change func(def *tables.Definition) error) error {
	if err := t.provider.ownedByFlow(t.table.Database(), t.table.Name(), "ALTER TABLE"); err != nil {
		return err
	}
	def := t.table.Snapshot().Definition()
	def.Schema = slices.Clone(def.Schema)
	if err := change(&def); err != nil {
		return err
	}
	_, err := t.table.Redefine(ctx, def, tables.Commit{Operation: operation})
	statementOf(ctx).drop(t.table.Database(), t.table.Name())
	return edge(err)
}
