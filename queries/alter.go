package queries

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"smelt/queries/ddl"
	"smelt/queries/lexer"
	"smelt/tables"
)

// Properties of a flow's table that ALTER sets.
const (
	// propertySuspended says that the table is not brought up to date but by REFRESH.
	propertySuspended = "smelt.suspended"
	// propertyLoaded is the CREATE statement in its normal form that ALTER has changed since: the pipeline that it stands in
	// is loaded at each start, and must not take the ALTER back.
	propertyLoaded = "smelt.loaded"
)

// Alter runs ALTER STREAMING TABLE and ALTER MATERIALIZED VIEW: SCHEDULE, SUSPEND, RESUME, RENAME and AS. base is the
// directory for relative paths of a new SELECT.
func (g *Graph) Alter(ctx context.Context, s *ddl.OnFlow, database, base string) error {
	f, err := g.must(database, s.Name, s.Kind)
	if err != nil {
		return err
	}
	if f.broken != nil {
		return f.broken
	}
	switch s.Verb {
	case "SUSPEND", "RESUME":
		return g.suspend(ctx, f, s.Verb)
	case "RENAME":
		return g.rename(ctx, f, s)
	case "SCHEDULE":
		if s.Schedule == nil && f.create.Schedule == nil {
			return fmt.Errorf("alter %s: %w: it has no schedule", f.ref, ErrUnsupported)
		}
		return g.redefine(ctx, f, func(c *ddl.Create) { c.Schedule = s.Schedule }, f.base)
	case "AS":
		return g.redefine(ctx, f, func(c *ddl.Create) { c.Select, c.Query, c.Sources, c.Changes = s.Select, s.Query, s.Sources, nil }, base)
	}
	return fmt.Errorf("alter %s: %w: %s", f.ref, ErrUnsupported, s.Verb)
}

// redefine gives the table another definition by changing its statement.
func (g *Graph) redefine(ctx context.Context, old *flow, change func(*ddl.Create), base string) error {
	c := *old.create
	change(&c)
	c.OrRefresh, c.IfNotExists = true, false
	altered, err := storedCreate(c.Print(nil))
	if err != nil {
		return fmt.Errorf("alter %s: %w", old.ref, err)
	}
	g.define.Lock()
	defer g.define.Unlock()
	f, err := newFlow(g, altered, old.ref, old.database, base)
	if err != nil {
		return err
	}
	if f.loaded = old.loaded; f.loaded == "" {
		f.loaded = lexer.Normal(old.create.Text)
	}
	if err := g.checkCycle(map[string][]reference{f.ref.String(): g.readsOf(f)}); err != nil {
		return err
	}
	if err := g.checkStreamed(f, nil); err != nil {
		return err
	}
	schema, err := f.describe(ctx, nil)
	if err != nil {
		return err
	}
	return g.install(ctx, f, schema)
}

// suspend keeps all flows of a table from running but by REFRESH, or lets them run again; a restart keeps it.
func (g *Graph) suspend(ctx context.Context, f *flow, verb string) error {
	suspended := verb == "SUSPEND"
	err := f.alone(ctx, func() error {
		t, err := f.table()
		if err != nil {
			return err
		}
		d := t.Snapshot().Definition()
		d.Properties = maps.Clone(d.Properties)
		if d.Properties[propertySuspended] == "true" == suspended {
			return nil
		}
		if d.Properties[propertySuspended] = "true"; !suspended {
			delete(d.Properties, propertySuspended)
		}
		_, err = t.Commit(ctx, tables.Commit{Operation: verb, Define: &d})
		return err
	})
	if err != nil {
		return err
	}
	f.mu.Lock()
	f.suspended = suspended
	f.mu.Unlock()
	for _, one := range g.flowsOf(f) {
		if one.settleSuspended(suspended); !suspended {
			one.signal()
		}
	}
	return nil
}

// settleSuspended shows the state at once; a batch on its way ends as it would.
func (f *flow) settleSuspended(suspended bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case suspended && f.state != stateRunning:
		f.state, f.reason = stateSuspended, suspendedReason
	case !suspended && f.state == stateSuspended:
		f.state, f.reason = stateIdle, ""
	}
}

const suspendedReason = "ALTER ... RESUME lets it run again; REFRESH runs it once"

// rename gives the table another name. Its definition goes second: a crash between leaves SHOW CREATE with the old name, which
// the next ALTER mends, and nothing else looks at it.
func (g *Graph) rename(ctx context.Context, f *flow, s *ddl.OnFlow) error {
	g.define.Lock()
	defer g.define.Unlock()
	if readers := g.readersBut(f); len(readers) > 0 {
		return fmt.Errorf("rename %s: %w: %s read it by its name", f.ref, ErrUnsupported, strings.Join(readers, ", "))
	}
	if s.ToDatabase != "" && !strings.EqualFold(s.ToDatabase, f.ref.database) {
		return fmt.Errorf("rename %s: %w: to another database", f.ref, ErrUnsupported)
	}
	all := g.flowsOf(f)
	for _, one := range all {
		g.remove(one)
		if err := one.stop(); err != nil {
			return err
		}
	}
	err := f.announceName(ctx, s.To)
	if err == nil {
		err = g.cfg.Store.Rename(ctx, f.ref.database, f.ref.table, s.To)
	}
	if err == nil {
		err = g.sweep(ctx, f.ref.database) // which takes the quarantine along
	}
	t, found := g.cfg.Store.Table(f.ref.database, s.To)
	if err != nil || found != nil {
		for _, one := range all {
			g.adopt(one)
		}
		return errors.Join(err, found)
	}
	c := *f.create
	c.Name = t.Name()
	d := t.Snapshot().Definition()
	d.Properties = maps.Clone(d.Properties)
	d.Properties[propertyStatement] = c.Print(nil)
	_, err = t.Commit(ctx, tables.Commit{Operation: "RENAME", Parameters: map[string]string{"from": f.ref.table}, Define: &d})
	for _, one := range storedFlows(g, t) {
		g.adopt(one)
	}
	return err
}

// readersBut lists the flows and views that read the table, its own flows left out.
func (g *Graph) readersBut(f *flow) []string {
	quarantine := reference{f.ref.database, strings.ToLower(f.ref.table + QuarantineSuffix)}
	readers := slices.Concat(g.readers(f.ref), g.readers(quarantine))
	for name, reads := range g.viewEdges() {
		for _, r := range reads {
			if strings.EqualFold(r.String(), f.ref.String()) || strings.EqualFold(r.String(), quarantine.String()) {
				readers = append(readers, name)
				break
			}
		}
	}
	return readers
}

// RefreshAll brings all tables up to date, sources before what reads them, from the start if full. Suspended tables stay as
// they are. A table that fails does not keep others from it; the errors come joined.
func (g *Graph) RefreshAll(ctx context.Context, full bool) error {
	var errs []error
	done := map[string]bool{}
	for _, m := range ordered(g.network()) {
		if m.flow == nil || done[m.name] || m.flow.isSuspended() {
			continue
		}
		done[m.name] = true
		errs = append(errs, g.Refresh(ctx, m.flow.ref.database, m.flow.ref.table, full))
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(errs...)
}

// RefreshLater refreshes one table, or all with name "", in the background: what goes wrong shows in the states of the
// flows. Close waits for it.
func (g *Graph) RefreshLater(database, name string, full bool) error {
	if name != "" {
		if _, err := g.must(database, name, 0); err != nil {
			return err
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.running == nil || g.closed {
		return fmt.Errorf("refresh in the background: %w: the flows do not run", ErrUnsupported)
	}
	ctx := g.running
	g.background.Go(func() {
		var err error
		if name == "" {
			err = g.RefreshAll(ctx, full)
		} else {
			err = g.Refresh(ctx, database, name, full)
		}
		if err != nil && ctx.Err() == nil {
			g.cfg.Logger.Warn("refresh in the background", "err", err)
		}
	})
	return nil
}
