// Package training says when models learn that learn from the rows of a SELECT: once, on a schedule, or when a table that the
// SELECT reads has another version. One goroutine has them learn, one after another, so that trainings leave the machine to
// everything else. It knows neither models nor SQL: functions do. Nothing is kept here that a restart would miss.
package training

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"sync"
	"time"

	"smelt/queries/cron"
	"smelt/tables"
)

const (
	// quiet is how long the tables must have stayed as they are: rows come in batches, and half of them teach half. Of tables
	// that never rest what is there is learned after maxQuiet.
	quiet, maxQuiet = time.Second, 20 * time.Second
	// minPause and maxPause bound the time between tries of a training that fails while its tables stay as they are.
	minPause = time.Second
	maxPause = 5 * time.Minute
)

// Model is one that learns, as the registry has it.
type Model struct {
	Name, Query, Database string
	Definition            string           // names query, database and options: another one is another lesson
	Schedule              *cron.Schedule   // when it learns again; nil for when somebody says so
	Fresh                 bool             // it has learned by this definition
	Trained               time.Time        // when it last did
	Sources               map[string]int64 // versions of the tables, by id, that it then read
}

// Config says what a Loop works with.
type Config struct {
	Models  func() []Model
	Sources func(query, database string) ([]*tables.Table, error) // tables that a SELECT reads
	Train   func(ctx context.Context, m Model) error
	Logger  *slog.Logger
}

// Status is what there is to say of a model that learns.
type Status struct {
	State string    // learned, learning, waiting or retrying
	Why   string    // what is waited for, or the last error; "" for nothing
	Next  time.Time // when it learns next, as far as that is known
}

// State of a model.
const (
	Learned  = "learned"
	Learning = "learning"
	Waiting  = "waiting"
	Retrying = "retrying"
)

// Loop has models learn. It is safe for concurrent use.
type Loop struct {
	cfg  Config
	wake chan struct{} // buffered 1: a model may have changed

	cancel context.CancelFunc
	done   chan struct{} // closed when the goroutine has ended; nil before Start

	round sync.Mutex // held while it is looked what is due

	mu    sync.Mutex // guards what follows; nothing slow happens under it
	known map[string]*pupil
}

// pupil is what is remembered of a model between two looks.
type pupil struct {
	definition string
	seen       map[string]int64 // versions of its tables at the last look
	since      time.Time        // when they became these
	first      time.Time        // when the first change came that was not learned; zero for none
	failed     time.Time        // when its last training failed with these; zero for not
	pause      time.Duration
	status     Status
}

// New returns a loop that does nothing before Start.
func New(c Config) *Loop {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return &Loop{cfg: c, wake: make(chan struct{}, 1), known: map[string]*pupil{}}
}

// Start has models learn in the background until Close.
func (l *Loop) Start() {
	var ctx context.Context
	ctx, l.cancel = context.WithCancel(context.Background())
	l.done = make(chan struct{})
	go func() {
		defer close(l.done)
		for ctx.Err() == nil {
			next, changed := l.look(ctx)
			l.rest(ctx, next, changed)
		}
	}()
}

// Wake has the loop look at the models again.
func (l *Loop) Wake() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// Close stops a training in flight, which leaves nothing, and waits. It may be called more than once, and without Start.
func (l *Loop) Close() {
	if l.done != nil {
		l.cancel()
		<-l.done
	}
}

// Status returns what there is to say of a model.
func (l *Loop) Status(model string) Status {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p := l.known[model]; p != nil {
		return p.status
	}
	return Status{}
}

// Once has those learn that have not learned yet, and of those with a schedule the ones whose tables have changed. It does not
// wait for anything, and tries none twice with the same tables.
func (l *Loop) Once(ctx context.Context) (worked bool, err error) {
	l.round.Lock()
	defer l.round.Unlock()
	var errs []error
	for _, m := range l.cfg.Models() {
		p, _, rows, err := l.meet(m)
		if err == nil && p.failed.IsZero() && (!m.Fresh && rows > 0 || m.Fresh && m.Schedule != nil && !maps.Equal(p.seen, m.Sources)) {
			err = l.train(ctx, m, p)
			worked = worked || err == nil
		}
		if ctx.Err() != nil {
			return worked, context.Cause(ctx)
		}
		if err != nil {
			errs = append(errs, err)
		}
	}
	return worked, errors.Join(errs...)
}

// look has those learn that are due, and returns when the next one is and what to listen to.
func (l *Loop) look(ctx context.Context) (next time.Time, changed []<-chan struct{}) {
	l.round.Lock()
	defer l.round.Unlock()
	there := map[string]bool{}
	for _, m := range l.cfg.Models() {
		there[m.Name] = true
		p, channels, rows, err := l.meet(m)
		changed = append(changed, channels...)
		due := p.due(m, rows)
		if err != nil {
			due = time.Now().Add(p.fail(l, err))
		} else if !due.IsZero() && !due.After(time.Now()) {
			if l.train(ctx, m, p) == nil {
				l.Wake() // it is looked at again, as it is now
				continue
			}
			due = p.failed.Add(p.pause)
		}
		l.tell(p, func(s *Status) { s.Next = due })
		if !due.IsZero() && (next.IsZero() || due.Before(next)) {
			next = due
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	maps.DeleteFunc(l.known, func(name string, _ *pupil) bool { return !there[name] })
	return next, changed
}

// meet looks at the tables of a model. The channels were taken before.
func (l *Loop) meet(m Model) (p *pupil, changed []<-chan struct{}, rows int64, err error) {
	l.mu.Lock()
	p = l.known[m.Name]
	if p == nil || p.definition != m.Definition {
		p = &pupil{definition: m.Definition}
		l.known[m.Name] = p
	}
	l.mu.Unlock()
	sources, err := l.cfg.Sources(m.Query, m.Database)
	versions := map[string]int64{}
	for _, t := range sources {
		changed = append(changed, t.Changed())
		now := t.Snapshot()
		versions[now.ID()], rows = now.Version(), rows+now.Rows()
	}
	if len(sources) == 0 {
		rows = 1 // they do not come from tables
	}
	if err != nil {
		return p, changed, 0, fmt.Errorf("train model %q: %w", m.Name, err)
	}
	if m.Trained.After(p.failed) {
		p.failed, p.pause = time.Time{}, 0 // somebody else had it learn
	}
	if p.seen == nil || !maps.Equal(versions, p.seen) {
		p.seen, p.since, p.failed, p.pause = versions, time.Now(), time.Time{}, 0
		if p.first.IsZero() {
			p.first = p.since
		}
	}
	l.tell(p, func(s *Status) {
		switch {
		case !p.failed.IsZero():
		case m.Fresh:
			*s = Status{State: Learned}
		case rows == 0:
			*s = Status{State: Waiting, Why: "the tables of its SELECT have no rows"}
		default:
			*s = Status{State: Waiting, Why: "more rows may come"}
		}
	})
	return p, changed, rows, nil
}

// due returns when the model is to learn; the zero time for not before something changes.
func (p *pupil) due(m Model, rows int64) time.Time {
	settled := p.since.Add(quiet)
	if last := p.first.Add(maxQuiet); settled.After(last) {
		settled = last
	}
	switch {
	case !m.Fresh && rows == 0:
		return time.Time{}
	case !p.failed.IsZero():
		return p.failed.Add(p.pause)
	case !m.Fresh:
		return settled
	case m.Schedule == nil:
		return time.Time{}
	case m.Schedule.OnUpdate:
		if maps.Equal(p.seen, m.Sources) {
			return time.Time{}
		}
		return later(settled, m.Trained.Add(m.Schedule.AtMostEvery))
	case m.Schedule.Every > 0:
		return later(settled, m.Trained.Add(m.Schedule.Every))
	}
	e, err := cron.Parse(m.Schedule.Cron, m.Schedule.Zone)
	if err != nil {
		return time.Time{} // it was read when the statement was
	}
	next := e.Next(m.Trained)
	if next.IsZero() {
		return next
	}
	return later(settled, next)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// train has a model learn. It is the one place that logs the errors of trainings.
func (l *Loop) train(ctx context.Context, m Model, p *pupil) (err error) {
	l.tell(p, func(s *Status) { *s = Status{State: Learning} })
	began := time.Now()
	defer func() {
		if fault := recover(); fault != nil {
			err = fmt.Errorf("train model %q: panic: %v", m.Name, fault)
		}
		switch {
		case err == nil:
			p.first = time.Time{}
			l.tell(p, func(s *Status) { *s = Status{State: Learned} })
			l.cfg.Logger.Info("model learned", "model", m.Name, "ms", time.Since(began).Milliseconds())
		case ctx.Err() == nil:
			l.cfg.Logger.Warn("model retries", "model", m.Name, "in", p.fail(l, err), "err", err)
		}
	}()
	return l.cfg.Train(ctx, m)
}

// fail notes that the model could not learn, and returns when it tries again.
func (p *pupil) fail(l *Loop, err error) time.Duration {
	p.failed, p.pause = time.Now(), max(minPause, min(2*p.pause, maxPause))
	l.tell(p, func(s *Status) { *s = Status{State: Retrying, Why: err.Error()} })
	return p.pause
}

func (l *Loop) tell(p *pupil, change func(*Status)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change(&p.status)
}

// rest waits until a table changes, a model does, the time has come (zero for never), or ctx ends.
func (l *Loop) rest(ctx context.Context, until time.Time, changed []<-chan struct{}) {
	cases := []reflect.SelectCase{
		{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(ctx.Done())},
		{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(l.wake)},
	}
	if !until.IsZero() {
		timer := time.NewTimer(time.Until(until))
		defer timer.Stop()
		cases = append(cases, reflect.SelectCase{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(timer.C)})
	}
	for _, c := range slices.Compact(changed) {
		cases = append(cases, reflect.SelectCase{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(c)})
	}
	reflect.Select(cases)
}
