package autoload

import (
	"context"
	"errors"
	"slices"
	"time"
)

// Next returns the next batch, nil when nothing is new. Files that were only just written are waited for, for at most
// maxWait, so that whoever asks after dropping a file sees it. Where a look at the directory takes long, it runs beside,
// and files of which notifications tell meanwhile come first; nil is only returned after a look that began with the call.
func (l *Loader) Next(ctx context.Context) (*Batch, error) {
	l.next.Lock()
	defer l.next.Unlock()
	if l.watch == nil {
		return nil, errors.New("read watched directory: it was opened without a state directory, to look at its columns")
	}
	begun := time.Now()
	for len(l.left) > 0 {
		b, err := l.fromLeft(ctx)
		if b != nil || err != nil {
			return b, err
		}
	}
	for {
		var told []candidate
		var found listing
		wait, done := time.Duration(0), false
		if !l.lister.cheap() {
			found, done = l.ended()
			told = l.lister.named(l.watch.told())
		}
		if len(told) > 0 && !done {
			b, _, pause, err := l.batch(ctx, slices.Clone(told), 1)
			l.trickles = b != nil
			if b != nil || err != nil {
				return b, err
			}
			wait = pause
		}
		if !done {
			found, done = l.look(ctx, wait)
		}
		if err := errors.Join(found.err, ctx.Err()); err != nil {
			return nil, err
		}
		if !done {
			continue // a notification came, or the time of a file that is told of
		}
		l.watch.pace(l.lister.cost)
		l.watch.follow(found.dirs)
		l.clean(found.files, found.asides, time.Now())
		b, rest, wait, err := l.batch(ctx, joined(found.files, told), 0)
		if b != nil || err != nil {
			if !l.lister.cheap() {
				l.left = rest
			}
			return b, err
		}
		if found.start.Before(begun) {
			continue // what came between the two is still to be seen
		}
		if wait == 0 || time.Now().Add(wait).After(begun.Add(maxWait)) {
			return nil, nil
		}
		if err := l.pause(ctx, wait); err != nil {
			return nil, err
		}
	}
}

// joined returns both without doubles; what notifications told of is newer.
func joined(found, told []candidate) []candidate {
	if len(told) == 0 {
		return found
	}
	there := map[string]bool{}
	for _, c := range told {
		there[c.path] = true
	}
	return append(slices.DeleteFunc(found, func(c candidate) bool { return there[c.path] }), told...)
}

// fromLeft returns a batch of the files that were too many for the last one, so that 100,000 files are not listed for each
// thousand of them.
func (l *Loader) fromLeft(ctx context.Context) (*Batch, error) {
	n := min(l.cfg.Options.MaxFiles, len(l.left))
	paths, more := l.left[:n], l.left[n:]
	b, rest, _, err := l.batch(ctx, l.lister.named(paths), 1+len(more))
	if err == nil {
		l.left = append(rest, more...)
	}
	return b, err
}

// batch reads those of the files that are wanted and whole; nil when none is. rest are those that were too many. wait is
// how long until one of the others is whole, 0 if there is none. more says how many are pending that were not looked at.
func (l *Loader) batch(ctx context.Context, found []candidate, more int) (b *Batch, rest []string, wait time.Duration, err error) {
	now := time.Now()
	ready, many, wait := l.choose(l.wanted(found, now), now)
	for _, c := range many {
		rest = append(rest, c.path)
	}
	if len(ready) == 0 {
		return nil, rest, wait, nil
	}
	if l.unsampled() {
		if err := l.sample(ctx, ready); err != nil {
			return nil, nil, 0, err
		}
	}
	results, err := l.decode(ctx, ready, false)
	if err != nil {
		return nil, nil, 0, err
	}
	if b = l.newBatch(results, now.UTC()); b == nil {
		return nil, rest, max(wait, settleCreated), nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pending += int64(more)
	return b, rest, 0, nil
}

// ended returns the look that ran beside, if it has ended, and sees to it that there is one often enough: files that
// nobody told of must not wait for those that somebody does.
func (l *Loader) ended() (r listing, done bool) {
	if l.looking == nil && !l.lister.recent() {
		l.lookBeside()
	}
	select {
	case r = <-l.looking: // never, without a look
		l.looking = nil
		l.lister.note(r)
		return r, true
	default:
		return r, false
	}
}

func (l *Loader) lookBeside() {
	looking, whole := make(chan listing, 1), l.lister.due()
	l.looking = looking
	l.beside.Go(func() { looking <- l.lister.look(l.loaded, whole) })
}

// look looks at the directory: at once where that is cheap, beside where it is not. done is false when a notification,
// the time or the end of ctx came first; the look goes on then. Behind a file that a notification told of it waits for as
// long as it will take: where files trickle in, looking would otherwise cost a core all the time.
func (l *Loader) look(ctx context.Context, limit time.Duration) (r listing, done bool) {
	if l.looking == nil && l.lister.cheap() {
		return l.lister.list(l.loaded), true
	}
	quiet := l.looking == nil && l.trickles
	if quiet && (limit == 0 || limit > l.lister.cost) {
		limit = l.lister.cost
		l.trickles = false
	}
	if l.looking == nil && !quiet {
		l.lookBeside()
	}
	var timer <-chan time.Time
	if limit > 0 {
		t := time.NewTimer(limit)
		defer t.Stop()
		timer = t.C
	}
	select {
	case <-ctx.Done():
	case r = <-l.looking: // never, without a look
		l.looking = nil
		l.lister.note(r)
		return r, true
	case <-l.watch.signal:
	case <-timer:
	}
	return r, false
}

// pause waits for the time, or a notification that may shorten it.
func (l *Loader) pause(ctx context.Context, wait time.Duration) error {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-l.watch.signal:
	case <-timer.C:
	}
	return nil
}
