package autoload

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fsnotify/fsnotify"
)

// When a file counts as whole: unchanged for as long as what is known of its writer asks for.
const (
	// settleCreated is for a file whose creation was notified and no write since: it was renamed or linked into place.
	settleCreated = 20 * time.Millisecond
	// settleClosed is for a file that no process has open for writing. It may be opened again to append.
	settleClosed = 100 * time.Millisecond
	// settleWritten is for a file of whose writer nothing is known.
	settleWritten = time.Second
	// settleOpen is for a file that stays open for writing: a writer may pause, but not for ever.
	settleOpen = time.Minute
)

// pollShare is the part of the time that listing may take when nothing happens: one in so many.
const pollShare = 20

// watcher signals that the directory may hold something new: by notifications where the system has them, and by a
// timer always. Notifications only shorten the wait; the listing decides.
type watcher struct {
	dir    string
	poll   time.Duration
	log    *slog.Logger
	signal chan struct{}
	cancel context.CancelFunc
	done   sync.WaitGroup
	cost   atomic.Int64 // nanoseconds that a listing takes
	say    sync.Once
	notify *fsnotify.Watcher // nil without notifications

	mu       sync.Mutex // guards what follows; nothing slow happens under it
	seen     map[string]arrival
	followed map[string]bool // directories inside
}

// maxFollowed bounds the directories inside of which notifications are asked for: the system has a limit for all of its
// users. What the others hold is found by the timer.
const maxFollowed = 4096

// arrival is what notifications told of a file that has not been read yet.
type arrival struct {
	created time.Time // zero when only writes were seen
	written bool
	last    time.Time
}

func newWatcher(c Config) *watcher {
	ctx, cancel := context.WithCancel(context.Background())
	w := &watcher{dir: c.Dir, poll: c.PollInterval, log: c.Logger, signal: make(chan struct{}, 1), cancel: cancel, seen: map[string]arrival{}, followed: map[string]bool{}}
	if c.notifier == nil {
		c.notifier = fsnotify.NewWatcher
	}
	notify, err := c.notifier()
	if err == nil {
		w.notify = notify
	} else {
		w.without(err)
	}
	w.done.Go(func() { w.run(ctx, w.notify) })
	return w
}

func (w *watcher) without(err error) {
	w.say.Do(func() {
		w.log.Warn("no notifications of new files, polling instead", "dir", w.dir, "every", w.poll, "err", err)
	})
}

// follow asks for notifications of directories inside, as far as the system gives them.
func (w *watcher) follow(dirs []string) {
	if w.notify == nil {
		return
	}
	for _, dir := range dirs {
		w.mu.Lock()
		add := !w.followed[dir] && len(w.followed) < maxFollowed
		if add {
			w.followed[dir] = true
		}
		w.mu.Unlock()
		if !add {
			continue
		}
		err := w.notify.Add(dir)
		if err == nil {
			continue
		}
		w.mu.Lock()
		delete(w.followed, dir)
		w.mu.Unlock()
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fsnotify.ErrClosed) {
			w.without(err)
		}
	}
}

// run forwards notifications and ticks until ctx ends.
func (w *watcher) run(ctx context.Context, notify *fsnotify.Watcher) {
	timer := time.NewTimer(w.poll)
	defer timer.Stop()
	var events chan fsnotify.Event
	var errs chan error
	watching := false
	if notify != nil {
		defer notify.Close()
		events, errs = notify.Events, notify.Errors
		watching = w.add(notify)
	}
	for {
		select {
		case <-ctx.Done():
			return
		case e, ok := <-events:
			if !ok {
				events = nil
				continue
			}
			if e.Name == w.dir && e.Has(fsnotify.Remove|fsnotify.Rename) {
				watching = false // it may be made again
			}
			w.note(e)
		case err, ok := <-errs:
			if !ok {
				errs = nil
				continue
			}
			w.log.Debug("notifications of new files", "dir", w.dir, "err", err)
			w.distrust(time.Now()) // some were lost: a file may have been written without our knowing
		case <-timer.C:
			if notify != nil && !watching {
				watching = w.add(notify)
			}
			w.distrust(time.Now().Add(-settleOpen))
			timer.Reset(max(w.poll, pollShare*time.Duration(w.cost.Load())))
		}
		w.wake()
	}
}

// pace has the timer take account of what a listing costs.
func (w *watcher) pace(cost time.Duration) { w.cost.Store(int64(cost)) }

// add begins to watch the directory; it may not be there yet.
func (w *watcher) add(notify *fsnotify.Watcher) bool {
	err := notify.Add(w.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		w.without(err)
		return true // said once
	}
	return err == nil
}

func (w *watcher) note(e fsnotify.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	switch {
	case e.Has(fsnotify.Create):
		w.seen[e.Name] = arrival{created: now, last: now}
	case e.Has(fsnotify.Write):
		a := w.seen[e.Name]
		a.written, a.last = true, now
		w.seen[e.Name] = a
	case e.Has(fsnotify.Remove | fsnotify.Rename):
		delete(w.seen, e.Name)
		delete(w.followed, e.Name)
	}
}

func (w *watcher) wake() {
	select {
	case w.signal <- struct{}{}:
	default:
	}
}

// settled returns how long to wait until a file counts as whole; 0 when it does.
func (w *watcher) settled(c candidate, now time.Time) time.Duration {
	age := now.Sub(c.modified)
	if age >= settleOpen {
		return 0
	}
	w.mu.Lock()
	a, ok := w.seen[c.path]
	w.mu.Unlock()
	if ok && !a.written && !a.created.IsZero() {
		return max(0, settleCreated-now.Sub(a.created))
	}
	writers, known := writersOf(c.path)
	switch {
	case known && writers:
		return settleWritten // then look again
	case age < -settleWritten: // a clock ahead of ours: the age says nothing
		return 0
	case known:
		return max(0, settleClosed-age)
	default:
		return max(0, settleWritten-age)
	}
}

// told returns the files of which notifications told and that were not read since.
func (w *watcher) told() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Collect(maps.Keys(w.seen))
}

// forget drops what notifications told of a file that was read.
func (w *watcher) forget(path string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.seen, path)
}

// distrust drops what notifications told until a time.
func (w *watcher) distrust(until time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for path, a := range w.seen {
		if a.last.Before(until) {
			delete(w.seen, path)
		}
	}
}

// close stops the signals and waits for the goroutine. It may be called more than once.
func (w *watcher) close() {
	w.cancel()
	w.done.Wait()
}
