package engine

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"smelt/functions"
	"smelt/tables"
)

// streamPrefix starts the placeholder that ddl.RewriteQuery puts where a query says STREAM(db.table).
const streamPrefix = "stream:"

// statement is what one statement carries in its context: the relations that stand in for names, and the snapshots
// that it has read, so that a table named twice is read at one version. It is safe for concurrent use.
type statement struct {
	text    string                     // as the client sent it, with what follows
	overlay map[string]tables.Relation // placeholder or "db.table", in lower case
	limit   *time.Timer                // ends the statement when its time is over; nil for none

	partitions []string          // of the table that the statement creates
	properties map[string]string // likewise

	mu      sync.Mutex
	reads   map[tableVersion]bool       // of the tables that were read
	pinned  map[string]*tables.Snapshot // by "db.table" in lower case; nothing slow happens under mu
	missing map[string]string           // lower-case name of a table that was not found -> that name with its database
}

// tableVersion is one version of a table.
type tableVersion struct {
	table   string // db.table
	version int64
}

type statementKey struct{}

// withStatement returns a context for the statement text over the relations of overlay, which may be nil.
func withStatement(ctx context.Context, text string, overlay map[string]tables.Relation) context.Context {
	return context.WithValue(functions.WithCache(ctx), statementKey{}, &statement{
		text: text, overlay: overlay, reads: map[tableVersion]bool{}, pinned: map[string]*tables.Snapshot{}, missing: map[string]string{},
	})
}

// statementOf returns what withStatement put into ctx, or nil.
func statementOf(ctx context.Context) *statement {
	s, _ := ctx.Value(statementKey{}).(*statement)
	return s
}

// relation returns the relation that stands in for name of database, if any: a placeholder by its own name, a table by
// "db.table".
func (s *statement) relation(database, name string) (tables.Relation, bool) {
	if s == nil || s.overlay == nil {
		return nil, false
	}
	if r, ok := s.overlay[strings.ToLower(name)]; ok && strings.Contains(name, ":") {
		return r, true
	}
	r, ok := s.overlay[strings.ToLower(database+"."+name)]
	return r, ok
}

// pin returns the snapshot of t that this statement reads, the newest one at the first call.
func (s *statement) pin(t *tables.Table) *tables.Snapshot {
	if s == nil {
		return t.Snapshot()
	}
	key := strings.ToLower(t.Database() + "." + t.Name())
	s.mu.Lock()
	defer s.mu.Unlock()
	if snapshot, ok := s.pinned[key]; ok {
		return snapshot
	}
	snapshot := t.Snapshot()
	s.pinned[key] = snapshot
	s.reads[tableVersion{t.Database() + "." + t.Name(), snapshot.Version()}] = true
	return snapshot
}

// readsAsOf notes that the statement reads a table as it was.
func (s *statement) readsAsOf(t *tables.Table, then *tables.Snapshot) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads[tableVersion{t.Database() + "." + t.Name(), then.Version()}] = true
}

// versions lists which versions of which tables the statement has read so far, by name.
func (s *statement) versions() []tableVersion {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.SortedFunc(maps.Keys(s.reads), func(a, b tableVersion) int {
		return cmp.Or(strings.Compare(a.table, b.table), cmp.Compare(a.version, b.version))
	})
}

// lacks notes that database has no table of the name that a statement called asked.
func (s *statement) lacks(asked, database, name string) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.missing[strings.ToLower(asked)] = database + "." + name
}

// qualify returns name with the database in which it was not found.
func (s *statement) qualify(name string) string {
	if s == nil {
		return name
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if full, ok := s.missing[strings.ToLower(name)]; ok {
		return full
	}
	return name
}

// parameters is what the history of a table keeps of the statement that changed it.
func (s *statement) parameters() map[string]string {
	const most = 1000 // bytes: each reader of the log reads it
	if s == nil {
		return nil
	}
	text := strings.TrimRight(strings.TrimSpace(s.text[:statementEnd(s.text)]), "; \t\r\n")
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "..."
	}
	return map[string]string{"statement": text}
}

// namesOwn reports whether the statement may name a column that the system keeps for itself.
func (s *statement) namesOwn() bool { return s != nil && namesOwn(s.text) }

// writes reports whether the statement is an INSERT or an UPDATE, for whose values MySQL has errors of its own.
func (s *statement) writes() bool { return s.begins("insert") || s.begins("update") }

// drops reports whether the statement is a DROP, for which MySQL has errors of its own.
func (s *statement) drops() bool { return s.begins("drop") }

// begins reports whether the statement begins with a word.
func (s *statement) begins(word string) bool {
	return s != nil && len(s.text) > len(word) && strings.EqualFold(s.text[:len(word)], word)
}

// drop forgets the snapshot of a table that the statement has changed or removed.
func (s *statement) drop(database, name string) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.pinned, strings.ToLower(database+"."+name))
}
