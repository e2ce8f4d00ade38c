package models

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// alter runs one change of a model that exists. guard is judged before, while no other change can happen.
func (r *Registry) alter(ctx context.Context, name string, guard Guard, f func(next *catalog, e *entry) error) error {
	name = strings.ToLower(name)
	r.change.Lock()
	defer r.change.Unlock()
	next := r.catalog.Load().clone()
	e := next.Models[name]
	if e == nil {
		return fmt.Errorf("%w: %q", ErrUnknownModel, name)
	}
	err := f(next, e)
	same := errors.Is(err, errSame)
	if err != nil && !same {
		return err
	}
	if guard != nil {
		if err := guard(ctx); err != nil {
			return err
		}
	}
	if same {
		return nil
	}
	return r.store(next)
}

// errSame ends a change that changes nothing.
var errSame = errors.New("nothing to change")

// ready opens a version that is about to be used, so that the switch cannot fail a statement later.
func (r *Registry) ready(name string, v *version) error {
	m, err := r.modelOf(name, v)
	if err != nil {
		return err
	}
	if m.settings.Remote != nil {
		return r.client(m).Ready()
	}
	return r.open(m)
}

// SetAlias has an alias mean a version from now on. Statements that run keep the version that they began with.
func (r *Registry) SetAlias(ctx context.Context, name, user, alias string, number int, guard Guard) error {
	alias = strings.ToLower(alias)
	if !aliasPattern.MatchString(alias) || alias == latest {
		return fmt.Errorf("set alias %q: %w: want a name; %s always means the newest version", alias, ErrInvalid, latest)
	}
	return r.alter(ctx, name, guard, func(next *catalog, e *entry) error {
		v := e.version(number)
		if v == nil {
			return fmt.Errorf("set alias %q: %w: model %q has no version %d", alias, ErrUnknownModel, name, number)
		}
		was, had := e.Aliases[alias]
		if had && was == number {
			return errSame
		}
		if err := r.ready(strings.ToLower(name), v); err != nil {
			return fmt.Errorf("set alias %q: %w", alias, err)
		}
		e.Aliases[alias] = number
		parameters := map[string]string{"alias": alias, "version": strconv.Itoa(number)}
		if had {
			parameters["before"] = strconv.Itoa(was)
		}
		next.note(user, strings.ToLower(name), "SET ALIAS", parameters, time.Now())
		return nil
	})
}

// UnsetAlias takes an alias away. Without the alias production the newest version answers.
func (r *Registry) UnsetAlias(ctx context.Context, name, user, alias string, guard Guard) error {
	alias = strings.ToLower(alias)
	return r.alter(ctx, name, guard, func(next *catalog, e *entry) error {
		was, ok := e.Aliases[alias]
		if !ok {
			return fmt.Errorf("unset alias: %w: model %q has no alias %q", ErrUnknownModel, name, alias)
		}
		if v := e.version(e.newest()); alias == Production && v != nil {
			if err := r.ready(strings.ToLower(name), v); err != nil {
				return fmt.Errorf("unset alias %q: %w", alias, err)
			}
		}
		delete(e.Aliases, alias)
		next.note(user, strings.ToLower(name), "UNSET ALIAS", map[string]string{"alias": alias, "before": strconv.Itoa(was)}, time.Now())
		return nil
	})
}

// Rollback has the alias production mean a version, or, with number 0, the one that answered at a time.
func (r *Registry) Rollback(ctx context.Context, name, user string, number int, at time.Time) error {
	return r.alter(ctx, name, nil, func(next *catalog, e *entry) error {
		lower := strings.ToLower(name)
		if number == 0 {
			number = next.currentAt(lower, at)
		}
		v := e.version(number)
		switch {
		case number == 0:
			return fmt.Errorf("roll back model %q: %w: its history does not go back to %s", name, ErrUnknownModel, at.UTC().Format(time.DateTime))
		case v == nil:
			return fmt.Errorf("roll back model %q: %w: it has no version %d any more", name, ErrUnknownModel, number)
		}
		before := e.current()
		if err := r.ready(lower, v); err != nil {
			return fmt.Errorf("roll back model %q: %w", name, err)
		}
		if was, ok := e.Aliases[Production]; ok && was == number {
			return errSame
		}
		e.Aliases[Production] = number
		next.note(user, lower, "ROLLBACK", map[string]string{"version": strconv.Itoa(number), "before": strconv.Itoa(before)}, time.Now())
		return nil
	})
}

// currentAt returns which version of a model answered at a time, 0 when that is not known. Before the first change of a
// shipped model it was version 1.
func (c *catalog) currentAt(name string, at time.Time) int {
	number, known := 0, false
	for _, change := range c.Changes {
		if change.Model != name {
			continue
		}
		if change.Time.After(at) {
			break
		}
		number, known = change.Current, true
	}
	if e := c.Models[name]; !known && len(c.Changes) < maxChanges && e != nil && e.version(1) != nil && e.version(1).builtin {
		return 1
	}
	return number
}

// Drop removes a model, or with a number one version of it. The shipped versions stay.
func (r *Registry) Drop(ctx context.Context, name, user string, number int, guard Guard) error {
	lower := strings.ToLower(name)
	var gone []*version
	err := r.alter(ctx, name, guard, func(next *catalog, e *entry) error {
		operation, parameters := "DROP MODEL", map[string]string{}
		if gone = e.Versions; number != 0 {
			v := e.version(number)
			if v == nil {
				return fmt.Errorf("drop model %q: %w: it has no version %d", name, ErrUnknownModel, number)
			}
			gone, parameters = []*version{v}, map[string]string{"version": strconv.Itoa(number)}
			for alias, n := range e.Aliases {
				if n == number {
					return fmt.Errorf("drop model %q: %w: version %d has the alias %s; move it first", name, ErrInvalid, number, alias)
				}
			}
			if operation = "DROP VERSION"; len(e.Versions) == 1 {
				return fmt.Errorf("drop model %q: %w: version %d is its only one; drop the model", name, ErrInvalid, number)
			}
		}
		for _, v := range gone {
			if v.builtin {
				return fmt.Errorf("drop model %q: %w: version %d ships with smelt and stays", name, ErrInvalid, v.Number)
			}
		}
		if number == 0 {
			delete(next.Models, lower)
		} else {
			e.remove(number)
		}
		if heads := next.headsOn(lower, gone); len(heads) > 0 && (number == 0 || !e.has(gone[0].Digest)) {
			return fmt.Errorf("drop model %q: %w: %s learned from its vectors; drop them first", name, ErrInvalid, strings.Join(heads, ", "))
		}
		next.note(user, lower, operation, parameters, time.Now())
		return nil
	})
	if err != nil {
		return err
	}
	return r.forget(lower, gone)
}

// has reports whether a version has that digest.
func (e *entry) has(digest string) bool {
	return slices.ContainsFunc(e.Versions, func(v *version) bool { return v.Digest == digest })
}

func (e *entry) remove(number int) {
	for i, v := range e.Versions {
		if v.Number == number {
			e.Versions = append(e.Versions[:i:i], e.Versions[i+1:]...)
			return
		}
	}
}

// forget removes the files of dropped versions. A few stay loaded for statements that began before.
func (r *Registry) forget(name string, gone []*version) error {
	r.change.Lock()
	defer r.change.Unlock()
	state := r.catalog.Load()
	used := map[string]bool{} // digests of the model that other versions share
	if e := state.Models[name]; e != nil {
		for _, v := range e.Versions {
			used[v.Digest] = true
		}
	}
	r.mu.Lock()
	for _, v := range gone {
		id := VersionID(name, v.Digest)
		if m := r.models[id]; m != nil && !used[v.Digest] {
			delete(r.models, id)
			r.dropped = append(r.dropped, m)
		}
	}
	var closing []*model
	if extra := len(r.dropped) - maxDropped; extra > 0 {
		closing, r.dropped = r.dropped[:extra], r.dropped[extra:]
	}
	r.mu.Unlock()
	var errs []error
	for _, m := range closing {
		errs = append(errs, m.close())
	}
	r.sweep(state)
	return errors.Join(errs...)
}
