package queries

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"smelt/queries/ddl"
)

// Status is what smelt.streams shows of a flow.
type Status struct {
	Database, Table string
	Flow            string // name of a flow that was added to the table; "" for the table's own
	Kind            string // streaming_table or materialized_view
	State           string // idle, running, waiting, retrying, suspended, failed or stale
	Strategy        string // append, merge or recompute, or apply changes
	Reason          string // why this strategy, or what is waited for: new files, another table, REFRESH
	Sources         []string
	Statement       string            // the CREATE statement
	Actions         map[string]string // expectation -> what it does
	Lag             time.Duration     // age of the oldest source change that the table does not show yet; 0 when there is none
	LastError       string
	Schedule        string    // SCHEDULE or TRIGGER as a statement writes it; "" for whenever a source changes
	Next            time.Time // when a schedule lets it run next; zero where none does
	Models          []string  // the models that the SELECT and the rules ask, as they name them
}

// Flows returns the status of every flow, by database and table.
func (g *Graph) Flows() []Status {
	g.mu.Lock()
	flows := make([]*flow, 0, len(g.flows))
	for _, f := range g.flows {
		flows = append(flows, f)
	}
	g.mu.Unlock()
	slices.SortFunc(flows, func(a, b *flow) int { return strings.Compare(a.key(), b.key()) })
	list := make([]Status, len(flows))
	for i, f := range flows {
		list[i] = f.status()
	}
	return list
}

func (f *flow) status() Status {
	f.mu.Lock()
	s := Status{Database: f.ref.database, Table: f.ref.table, Flow: f.name, Kind: kindName(f.create.Kind), State: string(f.state), Reason: f.reason,
		Statement: f.text, LastError: f.lastError, Actions: map[string]string{}}
	if f.schedule != nil {
		s.Schedule = f.schedule.Text
		if f.next.After(time.Now()) {
			s.Next = f.next
		}
	}
	f.mu.Unlock()
	var reason string
	s.Strategy, reason = f.strategy()
	if s.Reason == "" {
		s.Reason = reason
	}
	if why := f.staleness(); why != "" {
		s.Reason = "stale: " + why
		if s.State == string(stateIdle) {
			s.State = string(stateStale)
		}
	}
	for _, r := range f.reads() {
		s.Sources = append(s.Sources, r.String())
	}
	for _, source := range f.create.Sources {
		if source.Files != nil {
			s.Sources = append(s.Sources, source.Files.Path)
		}
	}
	for _, e := range f.create.Expectations {
		s.Actions[e.Name] = e.Action.String()
	}
	s.Models = f.modelCalls().names()
	s.Lag = f.lag()
	return s
}

// strategy says how the table is kept up to date, and why so.
func (f *flow) strategy() (name, reason string) {
	switch c := f.create.Changes; {
	case f.create.Kind == ddl.MaterializedView:
		pl := f.planOf(context.Background(), nil)
		if pl.plan != nil {
			return strategyMerge, pl.reason
		}
		return strategyRecompute, pl.reason
	case c != nil && c.History:
		return strategyChanges, historyReason
	case c != nil:
		return strategyChanges, newestReason
	case f.create.Query == "":
		return strategyAppend, "flows that were added fill it"
	default:
		return strategyAppend, appendReason
	}
}

// lag returns the age of the oldest commit of a source that the table does not show yet.
func (f *flow) lag() time.Duration {
	t, err := f.table()
	if err != nil {
		return 0
	}
	now := t.Snapshot()
	f.mu.Lock()
	seen := f.seen
	f.mu.Unlock()
	var oldest time.Time
	for _, r := range f.reads() {
		source, err := f.g.cfg.Store.Table(r.database, r.table)
		if err != nil {
			continue
		}
		snapshot := source.Snapshot()
		shown, ok := now.Txn(f.progressOf(now, snapshot.ID()))
		if at, looked := seen[snapshot.ID()]; looked && at > shown {
			shown, ok = at, true
		}
		static := f.create.Kind == ddl.StreamingTable && slices.Contains(f.shape.reads, r)
		if static || ok && shown >= snapshot.Version() || !ok && snapshot.Rows() == 0 {
			continue
		}
		if !ok {
			shown = -1
		}
		if f.create.Kind == ddl.StreamingTable {
			ctx := context.Background()
			changes, err := source.Changes(ctx, shown, 1)
			if err == nil {
				changes, err = passFills(ctx, source, changes) // which bring nothing to a stream
			}
			if err != nil || changes.RowCount == 0 {
				continue
			}
			shown = changes.To - 1
		}
		if at, ok := source.CommitTime(shown + 1); ok && (oldest.IsZero() || at.Before(oldest)) {
			oldest = at
		}
	}
	if oldest.IsZero() {
		return 0
	}
	return max(time.Since(oldest), time.Millisecond)
}

// Watched is one directory that a flow reads.
type Watched struct {
	Files    ddl.Files
	Base     string // directory for relative paths
	StateDir string // where the present feed keeps its ledger
}

// Watched returns every directory that a flow reads, whether its feed is open or not.
func (g *Graph) Watched() ([]Watched, error) {
	g.mu.Lock()
	flows := slices.Collect(maps.Values(g.flows))
	g.mu.Unlock()
	var list []Watched
	for _, f := range flows {
		for _, s := range f.create.Sources {
			if s.Files == nil {
				continue
			}
			t, err := f.table()
			if err != nil {
				return nil, err
			}
			list = append(list, Watched{Files: *s.Files, Base: f.base, StateDir: f.stateDir(t, t.Snapshot(), s)})
		}
	}
	return list, nil
}
