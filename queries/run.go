package queries

import (
	"context"
	"errors"
	"reflect"
	"time"

	"smelt/queries/ddl"
	"smelt/tables"
)

// loop runs batches until ctx ends, and sleeps while there is nothing to do. It is the one place that logs a flow's errors.
func (f *flow) loop(ctx context.Context, done chan struct{}) {
	defer close(done)
	retry := minRetry
	next := f.firstDue()
	var began time.Time // of the run at hand, which may have several batches
	for ctx.Err() == nil {
		if f.isSuspended() {
			f.settleSuspended(true)
			f.rest(ctx, nil, 0)
			next = time.Time{} // RESUME runs it at once
			continue
		}
		if wait := time.Until(next); wait > 0 {
			f.setNext(next)
			f.rest(ctx, nil, wait) // REFRESH wakes it, too, and it rests on
			continue
		}
		if began.IsZero() {
			began = time.Now()
		}
		// Taken before the step: a commit during it is seen at once afterwards.
		changed := f.changes()
		o, err := f.step(ctx)
		if ctx.Err() != nil || errors.Is(err, errRetired) {
			return
		}
		f.settle(o, err)
		switch {
		case errors.Is(err, ErrExpectation), errors.Is(err, errStored):
			f.g.cfg.Logger.Error("flow stopped", "table", f.ref.String(), "err", err)
			f.rest(ctx, nil, 0)
		case err != nil:
			f.g.cfg.Logger.Warn("flow retries", "table", f.ref.String(), "in", retry, "err", err)
			f.rest(ctx, nil, retry)
			retry = min(2*retry, maxRetry)
		case o.did:
			retry = minRetry
			p := &o.progress
			took := time.Since(p.Started)
			f.g.cfg.Logger.Info("batch", "table", f.ref.String(), "version", p.Version, "rows_in", p.RowsIn, "rows_out", p.RowsOut, "ms", took.Milliseconds())
			if f.create.Kind == ddl.MaterializedView {
				next, began = f.due(began), time.Time{}
				f.setNext(next)
			}
			switch p.Strategy {
			case strategyRecompute:
				f.rest(ctx, nil, max(minRest, min(recomputeShare*took, maxRest)))
			case strategyMerge:
				f.rest(ctx, nil, max(minRest, min(took, maxRest)))
			}
		default:
			retry = minRetry
			next, began = f.due(began), time.Time{}
			f.setNext(next)
			if !f.scheduled() {
				// A feed keeps its signal until it is taken; the step may have opened it only now.
				f.rest(ctx, append(changed, f.feedSignals()...), 0)
			}
		}
	}
}

// changes returns the channels that say that a source table has something new.
func (f *flow) changes() []any {
	var channels []any
	watch := func(_ reference, t *tables.Table) { channels = append(channels, t.Changed()) }
	for _, s := range f.create.Sources {
		if s.Files == nil {
			if t, err := f.sourceOf(s); err == nil {
				channels = append(channels, t.Changed())
			}
		}
	}
	// A streaming table takes no notice of the tables beside its stream, but when it waits for one of them.
	if f.create.Kind == ddl.MaterializedView || f.isWaiting() {
		if err := f.g.resolve(f.shape.reads, nil, watch); err != nil {
			return channels // the step will say so
		}
	}
	return channels
}

func (f *flow) isWaiting() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.state == stateWaiting
}

// feedSignals returns the channels that say that a watched directory may have something new.
func (f *flow) feedSignals() []any {
	f.batch.Lock()
	defer f.batch.Unlock()
	var channels []any
	for _, feed := range f.feeds {
		channels = append(channels, feed.Changed())
	}
	return channels
}

// rest waits until one of the channels is ready, the flow is woken, the time has passed (0 for no limit), or ctx ends.
func (f *flow) rest(ctx context.Context, channels []any, limit time.Duration) {
	cases := []reflect.SelectCase{
		{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(ctx.Done())},
		{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(f.wake)},
	}
	if limit > 0 {
		timer := time.NewTimer(limit)
		defer timer.Stop()
		cases = append(cases, reflect.SelectCase{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(timer.C)})
	}
	for _, c := range channels {
		cases = append(cases, reflect.SelectCase{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(c)})
	}
	reflect.Select(cases)
}

// start begins the flow's goroutine under the graph's context. The caller holds the graph's lock.
func (f *flow) start(ctx context.Context) {
	ctx, f.cancel = context.WithCancel(ctx)
	f.done = make(chan struct{})
	go f.loop(ctx, f.done)
}

// stop ends the goroutine, waits for it and for a batch that somebody else runs, and closes the feeds. After it no batch
// begins. It may be called on a flow that was not started, and more than once.
func (f *flow) stop() error {
	f.g.mu.Lock()
	cancel, done := f.cancel, f.done
	f.g.mu.Unlock()
	if done != nil {
		cancel()
		<-done
	}
	f.batch.Lock()
	defer f.batch.Unlock()
	f.retired = true
	return f.closeFeeds()
}

// revive lets a stopped flow run again.
func (f *flow) revive() {
	f.batch.Lock()
	defer f.batch.Unlock()
	f.retired = false
}
