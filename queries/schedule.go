package queries

import (
	"fmt"
	"strings"
	"time"

	"smelt/queries/cron"
	"smelt/queries/ddl"
	"smelt/tables"
)

// propertyTrigger is what Delta Live Tables calls the time between two batches of a table.
const propertyTrigger = "pipelines.trigger.interval"

// scheduleOf returns when the table is to be brought up to date; nil for whenever a source changes.
func scheduleOf(c *ddl.Create) (*cron.Schedule, error) {
	if c.Schedule != nil {
		return c.Schedule, nil
	}
	for name, value := range c.Properties {
		if strings.EqualFold(name, propertyTrigger) {
			d, err := cron.Interval(value)
			if err != nil {
				return nil, fmt.Errorf("TBLPROPERTIES %s: %w", name, err)
			}
			return &cron.Schedule{OnUpdate: true, AtMostEvery: d, Text: "TRIGGER ON UPDATE AT MOST EVERY INTERVAL " + value}, nil
		}
	}
	return nil, nil
}

// due returns when the flow is to run again after a run that began at a time; the zero time for when a source changes.
func (f *flow) due(began time.Time) time.Time {
	s := f.schedule
	switch {
	case s == nil:
		return time.Time{}
	case s.OnUpdate:
		return began.Add(s.AtMostEvery)
	case s.Every > 0:
		return began.Add(s.Every)
	}
	e, err := cron.Parse(s.Cron, s.Zone)
	if err != nil {
		return time.Time{} // it was read when the statement was
	}
	if next := e.Next(began); !next.IsZero() {
		return next
	}
	return began.AddDate(1000, 0, 0) // never
}

// firstDue returns when the flow is to run first after a start: at once if it never ran, or if the time came while nobody
// was there. What the table shows was made by its last commit.
func (f *flow) firstDue() time.Time {
	if f.schedule == nil || f.schedule.OnUpdate {
		return time.Time{}
	}
	t, err := f.table()
	if err != nil || !f.ran(t) {
		return time.Time{}
	}
	return f.due(t.Snapshot().Modified())
}

// ran reports whether the flow has filled its table once.
func (f *flow) ran(t *tables.Table) bool {
	now := t.Snapshot()
	if f.create.Kind == ddl.MaterializedView {
		return computed(now)
	}
	for _, s := range f.create.Sources {
		name := ""
		if s.Files != nil {
			name = f.feedName(s)
		} else if source, err := f.sourceOf(s); err == nil {
			name = source.Snapshot().ID()
		}
		if _, ok := now.Txn(f.progressOf(now, name)); ok {
			return true
		}
	}
	return false
}

// scheduled reports whether the flow runs at times, and not when a source changes.
func (f *flow) scheduled() bool { return f.schedule != nil && !f.schedule.OnUpdate }

// setNext shows when the flow runs next.
func (f *flow) setNext(next time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.next = next
}

// isSuspended reports whether the table of the flow is suspended.
func (f *flow) isSuspended() bool {
	own := f.own()
	own.mu.Lock()
	defer own.mu.Unlock()
	return own.suspended
}
