package models

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"time"

	"smelt/models/train"
)

// Declare gives a name to a model that is to learn later, when its rows are there: until then its functions exist, and to call
// one is an error. One that is there goes on answering. The same definition changes nothing. undo takes the declaration back,
// unless the model has changed since.
func (r *Registry) Declare(_ context.Context, l *train.Lesson) (changed bool, undo func() error, err error) {
	none := func() error { return nil }
	name := strings.ToLower(l.Name)
	r.change.Lock()
	defer r.change.Unlock()
	if left, err := r.MayTrain(l); left || err != nil {
		return false, none, err
	}
	now := r.catalog.Load()
	next := now.clone()
	e := next.Models[name]
	if e == nil {
		e = &entry{Next: 1, Aliases: map[string]int{}}
		next.Models[name] = e
	}
	if e.Training != nil && (l.Comment == "" || l.Comment == e.Comment) && e.Training.Same(l.Definition) {
		return false, none, nil
	}
	e.define(l)
	if l.Comment != "" {
		e.Comment = l.Comment
	}
	next.note(l.User, name, "DEFINE MODEL", map[string]string{"query": l.Query}, time.Now())
	if err := r.store(next); err != nil {
		return false, none, err
	}
	return true, func() error { return r.restore(next, now) }, nil
}

// restore puts a catalogue back, unless another change came in between.
func (r *Registry) restore(from, to *catalog) error {
	r.change.Lock()
	defer r.change.Unlock()
	if r.catalog.Load() != from {
		return nil
	}
	return r.store(to)
}

// define takes up how the model is trained.
func (e *entry) define(l *train.Lesson) {
	definition := l.Definition
	definition.Options = maps.Clone(l.Options)
	e.Training = &definition
}

// learned notes what the model has learned, and tells whether the version that comes of it is used at once: the first one of a
// definition is, another one as the option promote says.
func (e *entry) learned(l *train.Lesson, scores train.Summary) (used bool, err error) {
	if !l.Retrain {
		e.define(l)
	} else if !e.Training.Same(l.Definition) {
		return false, fmt.Errorf("%w: it was defined anew while it learned", ErrInvalid)
	}
	digest, err := l.Digest()
	if err != nil {
		return false, err
	}
	used = !l.Retrain || e.Learned == nil || e.Learned.Digest != digest
	e.Learned = &train.Learned{Digest: digest, At: time.Now().UTC(), Sources: l.Sources}
	if used {
		return true, nil
	}
	switch strings.ToLower(l.Options["promote"]) {
	case train.PromoteAlways:
		return true, nil
	case train.PromoteBetter:
		v := e.version(e.current())
		return v == nil || v.Scores == nil || scores.MacroF1 > v.Scores.MacroF1, nil
	}
	return false, nil
}

// unlearned describes a model that has learned nothing yet.
func unlearned(name string) Info { return Info{Name: name, ID: name, Kind: Classifier} }
