package queries

import (
	"context"
	"errors"
	"slices"
	"strings"

	"smelt/queries/ddl"
)

// RunOnce runs every flow, sources before what reads them, until nothing is left to do. progress may be nil. It is for
// graphs that were not started. A flow that fails is left behind and the others go on; the errors come joined.
func (g *Graph) RunOnce(ctx context.Context, progress func(Progress)) error {
	if err := g.sweepAll(ctx); err != nil {
		return err
	}
	members := ordered(g.network())
	members = slices.DeleteFunc(members, func(m member) bool { return m.flow == nil || m.flow.isSuspended() })
	failed := map[string]bool{}
	var errs []error
	// A model learns when all tables are quiet; those that ask it have something to do then.
	for worked := true; worked; {
		worked = false
		for i, m := range members {
			if failed[m.flow.key()] {
				continue
			}
			did, err := m.flow.runAll(ctx, int64(i), int64(len(members)), progress)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil {
				failed[m.flow.key()] = true
				errs = append(errs, err)
			}
			worked = worked || did
		}
		if !worked && g.cfg.Learn != nil {
			var err error
			if worked, err = g.cfg.Learn(ctx); err != nil {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

// network is all flows by name, and the views between them.
func (g *Graph) network() []member {
	var members []member
	g.mu.Lock()
	for _, f := range g.flows {
		members = append(members, member{name: strings.ToLower(f.ref.String()), flow: f, reads: f.reads()})
	}
	g.mu.Unlock()
	for name, reads := range g.viewEdges() {
		members = append(members, member{name: name, reads: reads})
	}
	slices.SortFunc(members, func(a, b member) int {
		if a.name == b.name && a.flow != nil && b.flow != nil {
			return strings.Compare(a.flow.key(), b.flow.key())
		}
		return strings.Compare(a.name, b.name)
	})
	return members
}

// flowParts is into how many parts the progress of one flow is divided.
const flowParts = 1000

// runAll runs a flow until nothing is left for it to do. i of n flows are done already.
func (f *flow) runAll(ctx context.Context, i, n int64, progress func(Progress)) (worked bool, err error) {
	var rows int64
	for {
		if err := ctx.Err(); err != nil {
			return worked, err
		}
		o, err := f.step(ctx)
		f.settle(o, err)
		if err != nil || !o.did {
			return worked, err
		}
		p := o.progress
		worked = true
		rows += max(p.RowsIn, 1)
		if progress != nil {
			p.Done, p.Total = i*flowParts+flowParts*rows/(rows+f.pending(ctx, rows, p.Files)), n*flowParts
			progress(p)
		}
	}
}

// pending estimates how many source rows a flow still has to read, from the files that wait or the rows of its source.
func (f *flow) pending(ctx context.Context, rows, files int64) int64 {
	f.batch.Lock()
	defer f.batch.Unlock()
	var waiting int64
	for _, feed := range f.feeds {
		waiting += feed.Pending() * rows / max(files, 1)
	}
	t, err := f.table()
	if err != nil || f.create.Kind != ddl.StreamingTable {
		return waiting
	}
	now := t.Snapshot()
	for _, s := range f.create.Sources {
		if s.Files != nil {
			continue
		}
		source, err := f.sourceOf(s)
		if err != nil {
			continue
		}
		from, ok := now.Txn(f.progressOf(now, source.Snapshot().ID()))
		if !ok {
			from = -1
		}
		if c, err := source.Changes(ctx, from, 0); err == nil {
			waiting += c.RowCount
		}
	}
	return waiting
}
