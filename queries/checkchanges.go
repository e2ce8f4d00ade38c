package queries

import (
	"context"
	"fmt"
	"strings"

	"smelt/queries/cdc"
	"smelt/tables"
)

// changed reports whether the rows of the flow's table are replaced by APPLY CHANGES, of this flow or another.
func (f *flow) changed() bool {
	for _, one := range f.g.flowsOf(f.own()) {
		if one.create.Changes != nil {
			return true
		}
	}
	return false
}

// checkChanges replays the sources of all flows, as far as each has read them, and compares what comes of it with the table.
func (f *flow) checkChanges(ctx context.Context, t *tables.Table) error {
	if f.broken != nil {
		return f.broken
	}
	now := t.Snapshot()
	if len(now.Schema()) == 0 {
		return nil
	}
	var all *tables.Batch
	var spec *cdc.Spec
	for _, one := range f.g.flowsOf(f) {
		if one.create.Changes == nil {
			continue
		}
		spec = specOf(one.create.Changes)
		events, err := one.readAgain(ctx, now)
		if err != nil {
			return err
		}
		if all == nil {
			all = tables.NewBatch(events.Schema, 0)
		}
		all.Append(conform(events, all.Schema))
	}
	reduced, err := spec.Reduce(all)
	if err != nil {
		return err
	}
	onlyTable, onlyEvents, err := tables.Difference(ctx, now, tables.FromBatches(now.Schema(), conform(reduced.Rows, now.Schema())))
	switch {
	case err != nil:
		return err
	case onlyTable != "":
		return fmt.Errorf("its events do not come to its row %s", onlyTable)
	case onlyEvents != "":
		return fmt.Errorf("it lacks the row %s that its events come to", onlyEvents)
	}
	return nil
}

// readAgain reads all events that the flow has read so far again.
func (f *flow) readAgain(ctx context.Context, now *tables.Snapshot) (*tables.Batch, error) {
	if f.broken != nil {
		return nil, f.broken
	}
	if name := unsteady(f.shape.statement); name != "" {
		return nil, fmt.Errorf("%w: its query calls %s", errUnproven, name)
	}
	if len(f.create.Expectations) > 0 {
		return nil, fmt.Errorf("%w: its rules may have been others when the events came", errUnproven)
	}
	overlay := map[string]tables.Relation{}
	s := f.create.Sources[0]
	if s.Files != nil {
		return nil, fmt.Errorf("%w: the files behind it were read once and may be gone", errUnproven)
	}
	source, err := f.sourceOf(s)
	if err != nil {
		return nil, err
	}
	version, ok := now.Txn(f.progressOf(now, source.Snapshot().ID()))
	if !ok {
		version = -1
	}
	rows := tables.Relation(tables.FromBatches(source.Snapshot().Schema()))
	if ok {
		if rows, err = source.At(ctx, version); err != nil {
			return nil, fmt.Errorf("%w: %w", errUnproven, err)
		}
	}
	overlay[strings.ToLower(s.Placeholder)] = rows
	made, err := f.madeWith(now)
	if err != nil {
		return nil, err
	}
	result, err := f.g.cfg.Query(ctx, Query{Database: f.database, SQL: withExpectations(f.create), Tables: overlay, Models: made})
	if err != nil {
		return nil, err
	}
	defer result.Close()
	return eventsOf(ctx, f.create.Changes, newChecked(result, f.create.Expectations, nil, &Progress{}), now.Schema())
}
