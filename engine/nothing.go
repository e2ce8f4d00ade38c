package engine

import (
	"time"

	"github.com/dolthub/go-mysql-server/sql"
)

// noRoutines is embedded by databases. go-mysql-server asks each database for triggers before a write, and tools ask
// for procedures and events; a database that cannot answer makes these statements fail, so ours answers: none.
type noRoutines struct{}

var (
	_ sql.TriggerDatabase         = (*storeDatabase)(nil)
	_ sql.StoredProcedureDatabase = (*storeDatabase)(nil)
	_ sql.EventDatabase           = (*storeDatabase)(nil)
	_ sql.ViewDatabase            = (*systemDB)(nil)
)

// GetTriggers implements sql.TriggerDatabase.
func (noRoutines) GetTriggers(*sql.Context) ([]sql.TriggerDefinition, error) { return nil, nil }

// CreateTrigger implements sql.TriggerDatabase.
func (noRoutines) CreateTrigger(*sql.Context, sql.TriggerDefinition) error { return notYet("triggers") }

// DropTrigger implements sql.TriggerDatabase.
func (noRoutines) DropTrigger(_ *sql.Context, name string) error {
	return sql.ErrTriggerDoesNotExist.New(name)
}

// GetStoredProcedure implements sql.StoredProcedureDatabase.
func (noRoutines) GetStoredProcedure(*sql.Context, string) (sql.StoredProcedureDetails, bool, error) {
	return sql.StoredProcedureDetails{}, false, nil
}

// GetStoredProcedures implements sql.StoredProcedureDatabase.
func (noRoutines) GetStoredProcedures(*sql.Context) ([]sql.StoredProcedureDetails, error) {
	return nil, nil
}

// SaveStoredProcedure implements sql.StoredProcedureDatabase.
func (noRoutines) SaveStoredProcedure(*sql.Context, sql.StoredProcedureDetails) error {
	return notYet("stored procedures")
}

// DropStoredProcedure implements sql.StoredProcedureDatabase.
func (noRoutines) DropStoredProcedure(_ *sql.Context, name string) error {
	return sql.ErrStoredProcedureDoesNotExist.New(name)
}

// GetEvent implements sql.EventDatabase.
func (noRoutines) GetEvent(*sql.Context, string) (sql.EventDefinition, bool, error) {
	return sql.EventDefinition{}, false, nil
}

// GetEvents implements sql.EventDatabase.
func (noRoutines) GetEvents(*sql.Context) ([]sql.EventDefinition, any, error) { return nil, nil, nil }

// SaveEvent implements sql.EventDatabase.
func (noRoutines) SaveEvent(*sql.Context, sql.EventDefinition) (bool, error) {
	return false, notYet("events")
}

// DropEvent implements sql.EventDatabase.
func (noRoutines) DropEvent(_ *sql.Context, name string) error {
	return sql.ErrEventDoesNotExist.New(name)
}

// UpdateEvent implements sql.EventDatabase.
func (noRoutines) UpdateEvent(_ *sql.Context, name string, _ sql.EventDefinition) (bool, error) {
	return false, sql.ErrEventDoesNotExist.New(name)
}

// UpdateLastExecuted implements sql.EventDatabase.
func (noRoutines) UpdateLastExecuted(_ *sql.Context, name string, _ time.Time) error {
	return sql.ErrEventDoesNotExist.New(name)
}

// NeedsToReloadEvents implements sql.EventDatabase.
func (noRoutines) NeedsToReloadEvents(*sql.Context, any) (bool, error) { return false, nil }

// noViews is embedded by a database that can hold no views, for the same reason.
type noViews struct{}

// CreateView implements sql.ViewDatabase.
func (noViews) CreateView(*sql.Context, string, string, string) error {
	return mysqlError(errAccessDenied, "Views cannot be created in database '%s'", systemDatabase)
}

// DropView implements sql.ViewDatabase.
func (noViews) DropView(_ *sql.Context, name string) error {
	return sql.ErrViewDoesNotExist.New(systemDatabase, name)
}

// GetViewDefinition implements sql.ViewDatabase.
func (noViews) GetViewDefinition(*sql.Context, string) (sql.ViewDefinition, bool, error) {
	return sql.ViewDefinition{}, false, nil
}

// AllViews implements sql.ViewDatabase.
func (noViews) AllViews(*sql.Context) ([]sql.ViewDefinition, error) { return nil, nil }
