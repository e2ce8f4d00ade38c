package autoload

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/stretchr/testify/require"
)

// patience is how long a test waits for what must come: a busy machine under the race detector has taken half a minute.
const patience = 2 * time.Minute

// arrives waits until the loader has brought these rows, whatever the batches.
func arrives(t *testing.T, l *Loader, want ...string) {
	t.Helper()
	deadline := time.Now().Add(patience)
	var got []string
	for len(got) < len(want) && time.Now().Before(deadline) {
		got = append(got, next(t, l, "x")...)
		if len(got) >= len(want) {
			break
		}
		select {
		case <-l.Changed():
		case <-time.After(time.Until(deadline)):
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	require.Equal(t, want, got)
	require.Empty(t, next(t, l, "x"), "and nothing else")
}

func scribble(t *testing.T, path, content string) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, []byte(content), 0o644))
}

// habits are what writers do to a directory, and what must come of it.
var habits = map[string]func(t *testing.T, l *Loader, dir string){
	"renamed into place": func(t *testing.T, l *Loader, dir string) {
		scribble(t, filepath.Join(dir, ".a"), `{"x": 1}`)
		require.Empty(t, next(t, l))
		require.NoError(t, os.Rename(filepath.Join(dir, ".a"), filepath.Join(dir, "a.json")))
		arrives(t, l, "x=1")
	},
	"moved from elsewhere": func(t *testing.T, l *Loader, dir string) {
		from := filepath.Join(t.TempDir(), "a.json")
		scribble(t, from, `{"x": 1}`)
		require.NoError(t, os.Rename(from, filepath.Join(dir, "a.json")))
		arrives(t, l, "x=1")
	},
	"written slowly in place": func(t *testing.T, l *Loader, dir string) {
		f, err := os.Create(filepath.Join(dir, "a.json"))
		require.NoError(t, err)
		for i := range 3 {
			_, err = fmt.Fprintf(f, "{\"x\": %d}\n{\"x\"", i)
			require.NoError(t, err)
			require.Empty(t, next(t, l), "somebody has it open for writing")
			_, err = fmt.Fprintf(f, ": %d}\n", i+10)
			require.NoError(t, err)
		}
		require.NoError(t, f.Close())
		arrives(t, l, "x=0", "x=1", "x=10", "x=11", "x=12", "x=2")
	},
	"appended to": func(t *testing.T, l *Loader, dir string) {
		path := filepath.Join(dir, "a.json")
		scribble(t, path, `{"x": 1}`)
		arrives(t, l, "x=1")
		f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
		require.NoError(t, err)
		_, err = f.WriteString(`{"x": 2}`)
		require.NoError(t, errors.Join(err, f.Close()))
		require.Empty(t, next(t, l))
		require.Equal(t, Changed, l.Files()[0].State)
	},
	"replaced": func(t *testing.T, l *Loader, dir string) {
		path := filepath.Join(dir, "a.json")
		scribble(t, path, `{"x": `)
		require.Empty(t, next(t, l))
		put(t, path, `{"x": 22}`)
		arrives(t, l, "x=22")
		put(t, path, `{"x": 333}`)
		require.Empty(t, next(t, l))
	},
	"deleted before it is read": func(t *testing.T, l *Loader, dir string) {
		path := filepath.Join(dir, "a.json")
		scribble(t, path, `{"x": 1}`)
		require.NoError(t, os.Remove(path))
		require.Empty(t, next(t, l))
		require.Empty(t, l.Files())
		scribble(t, path, `{"x": 2}`)
		arrives(t, l, "x=2")
		require.NoError(t, os.Remove(path))
		require.Empty(t, next(t, l))
		require.Equal(t, Loaded, l.Files()[0].State)
	},
	"hidden and temporary names": func(t *testing.T, l *Loader, dir string) {
		for _, name := range []string{".a.json", "_a.json", "a.json.tmp", "a.json.part", "a.json~", "a.json.crdownload", ".a.json.swp"} {
			scribble(t, filepath.Join(dir, name), `{"x": 1}`)
		}
		require.Empty(t, next(t, l))
		require.NoError(t, os.Rename(filepath.Join(dir, "a.json.part"), filepath.Join(dir, "a.json")))
		arrives(t, l, "x=1")
	},
	"thousands at once": func(t *testing.T, l *Loader, dir string) {
		var want []string
		for i := range 3000 {
			scribble(t, filepath.Join(dir, fmt.Sprintf("%d.json", i)), fmt.Sprintf(`{"x": %d}`, i))
			want = append(want, fmt.Sprintf("x=%d", i))
		}
		arrives(t, l, want...)
	},
	"a directory made later": func(t *testing.T, l *Loader, dir string) {
		require.NoError(t, os.Remove(dir))
		require.Empty(t, next(t, l))
		require.NoError(t, os.Mkdir(dir, 0o755))
		scribble(t, filepath.Join(dir, "a.json"), `{"x": 1}`)
		arrives(t, l, "x=1")
		require.NoError(t, os.RemoveAll(dir))
		require.NoError(t, os.Mkdir(dir, 0o755))
		scribble(t, filepath.Join(dir, "b.json"), `{"x": 2}`)
		arrives(t, l, "x=2")
	},
	"a directory inside made later": func(t *testing.T, l *Loader, dir string) {
		require.NoError(t, os.MkdirAll(filepath.Join(dir, "sub", "day"), 0o755))
		scribble(t, filepath.Join(dir, "sub", "day", "a.json"), `{"x": 1}`)
		arrives(t, l, "x=1")
	},
}

// TestTheHabitsOfWriters has each kind of writer at work in front of a loader with notifications, and of one without.
func TestTheHabitsOfWriters(t *testing.T) {
	for _, notify := range []bool{true, false} {
		for name, habit := range habits {
			t.Run(fmt.Sprintf("%s, notifications %t", name, notify), func(t *testing.T) {
				t.Parallel()
				dir := filepath.Join(t.TempDir(), "in")
				require.NoError(t, os.Mkdir(dir, 0o755))
				c := Config{Dir: dir, StateDir: filepath.Join(t.TempDir(), "state"), PollInterval: 10 * time.Millisecond,
					Options: options(t, map[string]string{"recursiveFileLookup": "true"})}
				if !notify {
					c.notifier = func() (*fsnotify.Watcher, error) { return nil, syscall.EMFILE }
				}
				l, err := Open(context.Background(), c)
				require.NoError(t, err)
				t.Cleanup(func() { require.NoError(t, l.Close()) })
				habit(t, l, dir)
			})
		}
	}
}

// lockedBuffer is a log that may be read while it is written.
type lockedBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func TestWithoutNotificationsItPollsAndSaysSoOnce(t *testing.T) {
	for name, notifier := range map[string]func() (*fsnotify.Watcher, error){
		"no inotify": func() (*fsnotify.Watcher, error) { return nil, syscall.ENOSYS },
		"limit of watches reached": func() (*fsnotify.Watcher, error) {
			w, err := fsnotify.NewWatcher()
			return w, errors.Join(err, w.Close()) // each Add fails
		},
	} {
		dir, log := t.TempDir(), &lockedBuffer{}
		l, err := Open(context.Background(), Config{Dir: dir, StateDir: filepath.Join(t.TempDir(), "state"), PollInterval: 5 * time.Millisecond,
			Options: options(t, nil), Logger: slog.New(slog.NewTextHandler(log, nil)), notifier: notifier})
		require.NoError(t, err)
		for i := range 3 {
			put(t, filepath.Join(dir, fmt.Sprint(i, ".json")), fmt.Sprintf(`{"x": %d}`, i))
			arrives(t, l, fmt.Sprintf("x=%d", i))
		}
		require.NoError(t, l.Close())
		require.Equal(t, 1, strings.Count(log.String(), "polling instead"), "%s: %s", name, log)
	}
}

func TestDirectoriesInsideAreNotifiedOf(t *testing.T) {
	dir := t.TempDir()
	for day := range 2 {
		require.NoError(t, os.Mkdir(filepath.Join(dir, fmt.Sprintf("day=%d", day)), 0o755))
	}
	l, err := Open(context.Background(), Config{Dir: dir, StateDir: filepath.Join(t.TempDir(), "state"), PollInterval: time.Hour,
		Options: options(t, map[string]string{"partitionColumns": "day"})})
	require.NoError(t, err)
	defer func() { require.NoError(t, l.Close()) }()
	require.Empty(t, next(t, l))
	for day := range 2 {
		scribble(t, filepath.Join(dir, fmt.Sprintf("day=%d", day), "a.json"), fmt.Sprintf(`{"x": %d}`, day))
		arrives(t, l, fmt.Sprintf("x=%d", day))
	}
}

// writer is the model of a directory and of those who write into it. Each row holds its file and the version of the
// content, so that what arrives tells what was read.
type writer struct {
	t     *testing.T
	r     *rand.Rand
	dir   string
	clock time.Time
	next  int
	files map[string]*written
}

type written struct {
	open   *os.File
	rows   []string   // of the content as it is
	whole  [][]string // contents that the file has had with nobody writing
	gone   bool       // deleted
	loaded bool
}

func (w *writer) row(name string) string {
	w.next++
	return fmt.Sprintf("%s:%d", name, w.next)
}

func text(rows []string) string {
	var b strings.Builder
	for _, r := range rows {
		fmt.Fprintf(&b, "{\"x\": %q}\n", r)
	}
	return b.String()
}

// settle gives a file a time of its own, long enough ago for it to be whole.
func (w *writer) settle(name string) {
	w.clock = w.clock.Add(time.Millisecond)
	require.NoError(w.t, os.Chtimes(filepath.Join(w.dir, name), w.clock, w.clock))
	f := w.files[name]
	f.whole = append(f.whole, slices.Clone(f.rows))
}

// act does one thing that writers do.
func (w *writer) act() {
	name := fmt.Sprintf("%d.json", w.r.IntN(40))
	f, path := w.files[name], filepath.Join(w.dir, name)
	switch action := w.r.IntN(6); {
	case f == nil || f.gone && f.open == nil && action < 3: // a new one, or one of the same name again
		if f == nil {
			f = &written{}
			w.files[name] = f
		}
		f.gone, f.rows = false, []string{w.row(name), w.row(name)}
		if action%2 == 0 { // renamed into place
			hidden := filepath.Join(w.dir, "."+name)
			require.NoError(w.t, os.WriteFile(hidden, []byte(text(f.rows)), 0o644))
			require.NoError(w.t, os.Chtimes(hidden, w.clock, w.clock))
			require.NoError(w.t, os.Rename(hidden, path))
			w.settle(name)
			return
		}
		var err error
		f.open, err = os.Create(path)
		require.NoError(w.t, err)
		_, err = f.open.WriteString(text(f.rows))
		require.NoError(w.t, err)
	case f.gone:
	case f.open != nil && action < 3: // goes on, in the middle of a row
		f.rows = append(f.rows, w.row(name))
		line := text(f.rows[len(f.rows)-1:])
		_, err := f.open.WriteString(line[:4])
		require.NoError(w.t, err)
		_, err = f.open.WriteString(line[4:])
		require.NoError(w.t, err)
	case f.open != nil:
		w.close(name)
	case action == 0: // appends
		var err error
		f.open, err = os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
		require.NoError(w.t, err)
		f.rows = append(f.rows, w.row(name))
		_, err = f.open.WriteString(text(f.rows[len(f.rows)-1:]))
		require.NoError(w.t, err)
	case action == 1: // replaces
		f.rows = []string{w.row(name)}
		hidden := filepath.Join(w.dir, "."+name)
		require.NoError(w.t, os.WriteFile(hidden, []byte(text(f.rows)), 0o644))
		require.NoError(w.t, os.Chtimes(hidden, w.clock, w.clock))
		require.NoError(w.t, os.Rename(hidden, path))
		w.settle(name)
	case action == 2:
		require.NoError(w.t, os.Remove(path))
		f.gone = true
	}
}

func (w *writer) close(name string) {
	f := w.files[name]
	require.NoError(w.t, f.open.Close())
	f.open = nil
	w.settle(name)
}

func (w *writer) closeAll() {
	for name, f := range w.files {
		if f.open != nil {
			w.close(name)
		}
	}
}

// took compares the rows of a committed batch with the model: of each file one content, whole, and that once.
func (w *writer) took(rows []string) {
	by := map[string][]string{}
	for _, r := range rows {
		r = strings.TrimPrefix(r, "x=")
		name, _, _ := strings.Cut(r, ":")
		by[name] = append(by[name], r)
	}
	for name, got := range by {
		f := w.files[name]
		require.False(w.t, f.loaded, "%s came twice: %v", name, got)
		f.loaded = true
		require.True(w.t, slices.ContainsFunc(f.whole, func(want []string) bool { return slices.Equal(want, got) }), "%s: %v is no content that was whole: %v", name, got, f.whole)
	}
}

// TestRandomHabitsAgainstAModel has writers rename, write in place, append, replace and delete, kills the loader before
// and after commits, and checks that of each file one whole content came, once. A large directory takes another way.
func TestRandomHabitsAgainstAModel(t *testing.T) {
	if _, known := writersOf(os.Args[0]); !known {
		t.Skip("skipped: this system does not tell whether a file is open for writing")
	}
	for _, large := range []bool{false, true} {
		seed := uint64(time.Now().UnixNano())
		t.Logf("seed %d, large %t", seed, large)
		r := rand.New(rand.NewPCG(seed, 0))
		w := &writer{t: t, r: r, dir: t.TempDir(), clock: time.Now().Add(-time.Minute / 2), files: map[string]*written{}}
		state := filepath.Join(t.TempDir(), "state")
		committed := int64(0)
		reopen := func() *Loader { // as after a kill
			l := open(t, w.dir, state, committed, map[string]string{"maxFilesPerTrigger": "4"})
			if large {
				l.lister.cost, l.lister.last = time.Second, time.Now()
			}
			return l
		}
		l := reopen()
		turn := func(limit time.Duration) bool {
			ctx, cancel := context.WithTimeout(context.Background(), limit)
			defer cancel()
			b, err := l.Next(ctx)
			if errors.Is(err, context.DeadlineExceeded) || err == nil && b == nil {
				return false
			}
			require.NoError(t, err)
			require.NoError(t, b.Record(context.Background()))
			if r.IntN(4) > 0 {
				rows := lines(t, b, []string{"x"})
				committed = b.Number()
				if r.IntN(4) > 0 {
					b.Committed()
				} else { // killed between the commit and this
					require.NoError(t, l.Close())
					l = reopen()
				}
				w.took(rows)
			}
			return true
		}
		for range 400 {
			switch r.IntN(8) {
			case 0:
				turn(30 * time.Millisecond)
			case 1:
				if r.IntN(4) == 0 {
					require.NoError(t, l.Close())
					l = reopen()
				}
			default:
				w.act()
			}
		}
		w.closeAll()
		if large {
			l.lister.last = time.Time{} // the listing decides in the end
		}
		for idle := 0; idle < 3; {
			if !turn(5 * time.Second) {
				idle++
			}
		}
		for name, f := range w.files {
			require.True(t, f.loaded || f.gone, "%s never came", name)
		}
	}
}
