package queries

import (
	"context"
	"errors"
	"reflect"
	"time"

	"smelt/queries/ddl"
)

// loop runs batches until ctx ends, and sleeps while there is nothing to do. It is the one place that logs a flow's errors.
func (f *flow) loop(ctx context.Context) {
	defer close(f.done)
	retry := minRetry
	for ctx.Err() == nil {
		// Taken before the step: a commit during it is seen at once afterwards.
		changed := f.changes()
		did, p, err := f.step(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, ErrExpectation):
			f.g.cfg.Logger.Error("flow stopped", "table", f.ref.String(), "err", err)
			f.set(stateFailed, "an expectation says FAIL UPDATE; REFRESH tries again", err)
			f.rest(ctx, nil, 0)
		case err != nil:
			f.g.cfg.Logger.Warn("flow retries", "table", f.ref.String(), "in", retry, "err", err)
			f.set(stateRetrying, "", err)
			f.rest(ctx, nil, retry)
			retry = min(2*retry, maxRetry)
		case did:
			retry = minRetry
			f.g.cfg.Logger.Info("batch", "table", f.ref.String(), "version", p.Version, "rows_in", p.RowsIn, "rows_out", p.RowsOut, "ms", time.Since(p.Started).Milliseconds())
			if f.create.Kind == ddl.MaterializedView {
				// What changes while a view rests is taken up by the next recompute, whichever changes come.
				f.set(stateIdle, "", nil)
				f.rest(ctx, nil, min(recomputeShare*time.Since(p.Started), maxRest))
			}
		default:
			retry = minRetry
			f.quiet()
			// A feed keeps its signal until it is taken; the step may have opened it only now.
			f.rest(ctx, append(changed, f.feedSignals()...), 0)
		}
	}
}

// quiet marks the flow idle unless the step found out what it waits for.
func (f *flow) quiet() {
	f.mu.Lock()
	waiting := f.state == stateWaiting
	f.mu.Unlock()
	if !waiting {
		f.set(stateIdle, "", nil)
	}
}

// changes returns the channels that say that a source table has something new.
func (f *flow) changes() []any {
	var channels []any
	for _, s := range f.create.Sources {
		if s.Files == nil {
			if t, err := f.sourceOf(s); err == nil {
				channels = append(channels, t.Changed())
			}
		}
	}
	if f.create.Kind == ddl.MaterializedView {
		pinned, err := f.pin()
		if err != nil {
			return channels
		}
		for name := range pinned {
			if t, err := f.g.cfg.Store.Table(cutName(name)); err == nil {
				channels = append(channels, t.Changed())
			}
		}
	}
	return channels
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
	go f.loop(ctx)
}

// stop ends the goroutine, waits for it, and closes the feeds. It may be called on a flow that was not started.
func (f *flow) stop() error {
	if f.done != nil {
		f.cancel()
		<-f.done
	}
	f.batch.Lock()
	defer f.batch.Unlock()
	return f.closeFeeds()
}
