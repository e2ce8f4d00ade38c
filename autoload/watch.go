package autoload

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
)

// watcher signals that the directory may hold something new: by notifications where the system has them, and by a
// timer always. Notifications only shorten the wait; the listing decides.
type watcher struct {
	dir    string
	poll   time.Duration
	log    *slog.Logger
	signal chan struct{}
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu   sync.Mutex // guards seen; nothing slow happens under it
	seen map[string]arrival
}

// arrival is what notifications told of a file that has not been read yet.
type arrival struct {
	created time.Time
	written bool
}

func newWatcher(dir string, poll time.Duration, log *slog.Logger) *watcher {
	ctx, cancel := context.WithCancel(context.Background())
	w := &watcher{dir: dir, poll: poll, log: log, signal: make(chan struct{}, 1), cancel: cancel, seen: map[string]arrival{}}
	notify, err := fsnotify.NewWatcher()
	if err != nil {
		log.Warn("no notifications of new files, polling instead", "dir", dir, "every", poll, "err", err)
		notify = nil
	}
	w.done.Add(1)
	go func() {
		defer w.done.Done()
		w.run(ctx, notify)
	}()
	return w
}

// run forwards notifications and ticks until ctx ends.
func (w *watcher) run(ctx context.Context, notify *fsnotify.Watcher) {
	ticker := time.NewTicker(w.poll)
	defer ticker.Stop()
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
		case <-ticker.C:
			if notify != nil && !watching {
				watching = w.add(notify)
			}
		}
		w.wake()
	}
}

// add begins to watch the directory; it may not be there yet.
func (w *watcher) add(notify *fsnotify.Watcher) bool {
	err := notify.Add(w.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		w.log.Warn("no notifications of new files, polling instead", "dir", w.dir, "every", w.poll, "err", err)
		return true // said once
	}
	return err == nil
}

func (w *watcher) note(e fsnotify.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case e.Has(fsnotify.Create):
		w.seen[e.Name] = arrival{created: time.Now()}
	case e.Has(fsnotify.Write):
		a := w.seen[e.Name]
		a.written = true
		w.seen[e.Name] = a
	case e.Has(fsnotify.Remove | fsnotify.Rename):
		delete(w.seen, e.Name)
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
	if age >= settleWritten || age < -settleWritten { // a clock ahead of ours says nothing
		return 0
	}
	w.mu.Lock()
	a, ok := w.seen[c.path]
	w.mu.Unlock()
	if ok && !a.written && !a.created.IsZero() {
		return max(0, settleCreated-now.Sub(a.created))
	}
	return settleWritten - age
}

// forget drops what notifications told of a file that was read.
func (w *watcher) forget(path string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.seen, path)
}

func (w *watcher) close() {
	w.cancel()
	w.done.Wait()
}
