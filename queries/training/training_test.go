package training

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"smelt/queries/cron"
	"smelt/tables"
)

// school is a registry of one model over one table.
type school struct {
	t     *testing.T
	store *tables.Store
	table *tables.Table

	mu     sync.Mutex
	model  Model
	fails  error
	lesson int // trainings so far
}

func newSchool(t *testing.T, s *cron.Schedule) *school {
	t.Helper()
	store, err := tables.Open(t.TempDir(), tables.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	table, err := store.Create(t.Context(), "live", "labels", tables.Definition{Schema: tables.Schema{{Name: "n", Type: tables.Type{Kind: tables.Long}}}})
	require.NoError(t, err)
	return &school{t: t, store: store, table: table, model: Model{Name: "m", Query: "labels", Database: "live", Definition: "one", Schedule: s}}
}

func (s *school) loop() *Loop {
	return New(Config{
		Models: func() []Model {
			s.mu.Lock()
			defer s.mu.Unlock()
			return []Model{s.model}
		},
		Sources: func(query, database string) ([]*tables.Table, error) {
			t, err := s.store.Table(database, query)
			if err != nil {
				return nil, err
			}
			return []*tables.Table{t}, nil
		},
		Train: func(context.Context, Model) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.fails != nil {
				return s.fails
			}
			s.lesson++
			now := s.table.Snapshot()
			s.model.Fresh, s.model.Trained, s.model.Sources = true, time.Now(), map[string]int64{now.ID(): now.Version()}
			return nil
		},
	})
}

func (s *school) insert(n int64) {
	s.t.Helper()
	b := tables.NewBatch(s.table.Snapshot().Schema(), 1)
	b.Columns[0].AppendInt(n)
	b.Len = 1
	rows, err := tables.FromBatches(b.Schema, b).Scan(s.t.Context(), nil)
	require.NoError(s.t, err)
	defer rows.Close()
	_, err = s.table.Commit(s.t.Context(), tables.Commit{Operation: "WRITE", Rows: rows})
	require.NoError(s.t, err)
}

func (s *school) set(change func(*school)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
}

func (s *school) lessons() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lesson
}

// within is how long a test waits for what takes a second or two.
const within = 30 * time.Second

func (s *school) eventually(lessons int) {
	s.t.Helper()
	require.Eventually(s.t, func() bool { return s.lessons() == lessons }, within, time.Millisecond)
}

func TestAModelLearnsWhenItsRowsAreThereAndAgainWhenTheyChange(t *testing.T) {
	s := newSchool(t, &cron.Schedule{OnUpdate: true})
	l := s.loop()
	l.Start()
	defer l.Close()
	require.Eventually(t, func() bool { return l.Status("m").State == Waiting }, within, time.Millisecond)
	require.Contains(t, l.Status("m").Why, "no rows")
	for i := range int64(5) {
		s.insert(i) // within a second: one lesson
	}
	s.eventually(1)
	require.Eventually(t, func() bool { return l.Status("m").State == Learned }, within, time.Millisecond)
	s.insert(9)
	s.eventually(2)
	s.set(func(s *school) { s.model.Definition, s.model.Fresh = "two", false })
	l.Wake()
	s.eventually(3)
}

func TestAScheduleIsKeptAcrossARestart(t *testing.T) {
	for name, c := range map[string]struct {
		schedule *cron.Schedule
		ago      time.Duration
		lessons  int
	}{
		"due while nobody was there": {&cron.Schedule{Every: time.Hour}, 2 * time.Hour, 1},
		"not due":                    {&cron.Schedule{Every: time.Hour}, time.Minute, 0},
		"cron":                       {&cron.Schedule{Cron: "* * * * * ?"}, time.Minute, 1},
		"none":                       {nil, 100 * time.Hour, 0},
		"its tables have changed":    {&cron.Schedule{OnUpdate: true}, time.Minute, 1},
		"not more often than that":   {&cron.Schedule{OnUpdate: true, AtMostEvery: time.Hour}, time.Minute, 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSchool(t, c.schedule)
			s.insert(1)
			s.model.Fresh, s.model.Trained = true, time.Now().Add(-c.ago)
			l := s.loop()
			l.Start()
			defer l.Close()
			if c.lessons > 0 {
				require.Eventually(t, func() bool { return s.lessons() >= c.lessons }, within, time.Millisecond)
				return
			}
			require.Eventually(t, func() bool { return l.Status("m").State == Learned }, within, time.Millisecond)
			require.Equal(t, c.schedule == nil, l.Status("m").Next.IsZero())
			require.Zero(t, s.lessons())
		})
	}
}

func TestATrainingThatFailsIsSaidAndTriedAgain(t *testing.T) {
	s := newSchool(t, nil)
	s.fails = errors.New("one label only")
	s.insert(1)
	l := s.loop()
	worked, err := l.Once(t.Context())
	require.ErrorContains(t, err, "one label only")
	require.False(t, worked)
	worked, err = l.Once(t.Context())
	require.NoError(t, err, "it is not tried twice with the same rows")
	require.False(t, worked)
	l.Start()
	defer l.Close()
	require.Eventually(t, func() bool { return l.Status("m").State == Retrying && !l.Status("m").Next.IsZero() }, within, time.Millisecond)
	require.Equal(t, "one label only", l.Status("m").Why)
	s.set(func(s *school) { s.fails = nil })
	s.insert(2)
	s.eventually(1)
	require.Eventually(t, func() bool { return l.Status("m").State == Learned && l.Status("m").Why == "" }, within, time.Millisecond)
}

func TestOnceLetsEachLearnOnce(t *testing.T) {
	s := newSchool(t, &cron.Schedule{Every: time.Hour})
	l := s.loop()
	worked, err := l.Once(t.Context())
	require.NoError(t, err)
	require.False(t, worked, "there are no rows")
	s.insert(1)
	for _, want := range []bool{true, false} {
		worked, err = l.Once(t.Context())
		require.NoError(t, err)
		require.Equal(t, want, worked)
	}
	s.insert(2)
	worked, err = l.Once(t.Context())
	require.NoError(t, err)
	require.True(t, worked, "a run does not wait for a schedule")
	require.NoError(t, s.store.Drop(t.Context(), "live", "labels"))
	_, err = l.Once(t.Context())
	require.ErrorContains(t, err, `train model "m"`)
	l.Close()
}
