package tables

import (
	"context"
	"errors"
	"fmt"

	"smelt/tables/vfs"
)

// State returns a table that belongs to a flow of this one, made with the definition when it is missing: it lies in
// StateDir(flow), no Store lists it, and it is copied, moved and dropped together with this table. One process and one
// caller at a time may ask for the same flow.
func (t *Table) State(ctx context.Context, flow string, def Definition) (*Table, error) {
	path := t.StateDir(flow)
	name := t.name + " (state)"
	s, err := openTable(t.store, t.db, name, path)
	if err == nil {
		return s, nil
	}
	if !errors.Is(err, errNoTable) {
		return nil, fmt.Errorf("open state of %s.%s: %w", t.db, t.name, err)
	}
	if err := vfs.MakeDirs(t.store.fs, path); err != nil {
		return nil, err
	}
	if err := t.store.clear(path); err != nil { // what a crash left of an earlier attempt
		return nil, fmt.Errorf("create state of %s.%s: %w", t.db, t.name, err)
	}
	if err := vfs.MakeDirs(t.store.fs, path); err != nil {
		return nil, err
	}
	s = newTable(t.store, t.db, name, path)
	if err := s.create(ctx, def); err != nil {
		return nil, fmt.Errorf("create state of %s.%s: %w", t.db, t.name, err)
	}
	return s, nil
}
