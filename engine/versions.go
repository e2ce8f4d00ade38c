package engine

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"time"

	"github.com/dolthub/go-mysql-server/sql"

	"smelt/tables"
)

var _ sql.VersionedDatabase = (*storeDatabase)(nil)

// GetTableInsensitiveAsOf implements sql.VersionedDatabase for FOR VERSION AS OF n and FOR SYSTEM_TIME AS OF t: whole
// numbers are versions, everything else is a time.
func (d *storeDatabase) GetTableInsensitiveAsOf(ctx *sql.Context, name string, revision any) (sql.Table, bool, error) {
	t, err := d.provider.store.Table(d.name, name)
	if errors.Is(err, tables.ErrNotFound) {
		statementOf(ctx).lacks(name, d.name, name)
		return nil, false, nil
	}
	if err == nil {
		err = t.Refresh()
	}
	if err != nil {
		return nil, false, edge(err)
	}
	then, err := asOf(ctx, t, revision)
	if err != nil {
		return nil, false, edge(err)
	}
	statementOf(ctx).readsAsOf(t, then)
	return found(newRelationTable(t.Database(), t.Name(), then.Definition().Comment, withoutOwn(then, statementOf(ctx).namesOwn())))
}

// GetTableNamesAsOf implements sql.VersionedDatabase: tables have versions, a database has not.
func (d *storeDatabase) GetTableNamesAsOf(ctx *sql.Context, _ any) ([]string, error) {
	return d.GetTableNames(ctx)
}

// asOf returns a table as it was at a version or a time.
func asOf(ctx *sql.Context, t *tables.Table, revision any) (*tables.Snapshot, error) {
	if v := reflect.ValueOf(revision); v.CanInt() {
		return t.At(ctx, v.Int())
	} else if v.CanUint() {
		return t.At(ctx, int64(v.Uint())) // more than the newest version in any case
	}
	if text, ok := revision.(string); ok {
		if version, err := strconv.ParseInt(text, 10, 64); err == nil {
			return t.At(ctx, version)
		}
	}
	at, _, err := timestampType.Convert(ctx, revision)
	if err != nil {
		return nil, fmt.Errorf("read time %v of AS OF: %w", revision, err)
	}
	when, ok := at.(time.Time)
	if !ok {
		return nil, fmt.Errorf("read time of AS OF: %v is no version and no time", revision)
	}
	return t.AtTime(ctx, when)
}
