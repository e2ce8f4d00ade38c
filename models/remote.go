package models

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"strings"
	"sync"
	"sync/atomic"

	"smelt/models/remote"
)

// optionProvider is the option that makes a model one that is elsewhere.
const optionProvider = "provider"

// spendingFile is what the models that are elsewhere were asked, by ID of the version.
const spendingFile = "spending.json"

// remoteSettings is whom a version asks, and how.
type remoteSettings struct {
	Spec   remote.Spec    `json:"spec"`
	Limits *remote.Limits `json:"limits,omitempty"` // no part of the digest
}

// spendings keeps what was spent. It is safe for concurrent use.
type spendings struct {
	mu   sync.Mutex
	disk Disk // nil: none
	all  map[string]remote.Spending
}

func readSpendings(disk Disk) (*spendings, error) {
	s := &spendings{disk: disk, all: map[string]remote.Spending{}}
	if disk == nil {
		return s, nil
	}
	text, err := disk.Read(spendingFile)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &s.all)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s, without which no limit of costs can be kept: %w", spendingFile, err)
	}
	return s, nil
}

func (s *spendings) of(id string) remote.Spending {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all[id]
}

// keep writes down what a version has spent.
func (s *spendings) keep(id string, total remote.Spending) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := maps.Clone(s.all)
	next[id] = total
	if s.disk != nil {
		text, err := json.MarshalIndent(next, "", " ")
		if err != nil {
			return fmt.Errorf("encode %s: %w", spendingFile, err)
		}
		if err := s.disk.Write(spendingFile, text); err != nil {
			return fmt.Errorf("write %s: %w", spendingFile, err)
		}
	}
	s.all = next
	return nil
}

// Spending returns what the models that are elsewhere were asked and what it cost, by ID of the version: those that were
// dropped, too, because it is spent.
func (r *Registry) Spending() map[string]remote.Spending {
	r.spent.mu.Lock()
	all := maps.Clone(r.spent.all)
	r.spent.mu.Unlock()
	r.mu.Lock()
	clients := maps.Clone(r.remotes)
	r.mu.Unlock()
	for id, c := range clients {
		if total := c.Spent(); total.Requests > 0 {
			all[id] = total
		}
	}
	return all
}

// Steady reports whether a version says the same of a text each time. One that is elsewhere need not, and neither need what
// was trained on its vectors.
func (r *Registry) Steady(ref string) bool {
	m, err := r.described(ref)
	if err == nil && m.settings.Encoder != "" {
		m, err = r.described(m.settings.Encoder)
	}
	return err != nil || m.settings.Remote == nil
}

// openRemote reads the options of a model that is elsewhere, and asks it about one text: what has a name can run. A version
// that the model has already, and that differs in its limits only, is not asked.
func (r *Registry) openRemote(ctx context.Context, name string, options map[string]string) (*source, error) {
	spec, limits, err := remote.Parse(options, r.cfg.Remote.Getenv)
	if err != nil {
		return nil, wrapInvalid(err)
	}
	s := settings{Kind: spec.Kind, Labels: spec.Labels, Remote: &remoteSettings{Spec: spec, Limits: &limits}}
	_, m, err := prepareRemote(name, s, nil)
	if err != nil {
		return nil, err
	}
	c := r.client(m)
	if err := c.Ready(); err != nil {
		return nil, wrapInvalid(err)
	}
	if known := r.catalog.Load().newest(name, m.info.Digest); known != nil {
		s.Dimension = known.Settings.Dimension
		return &source{remote: &s}, nil
	}
	if s.Dimension, err = c.Probe(ctx); err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, fmt.Errorf("%w: a first request: %w", ErrInvalid, err)
	}
	return &source{remote: &s}, nil
}

// prepareRemote makes a version, which has no number yet, of settings that openRemote found.
func prepareRemote(name string, s settings, options map[string]string) (*version, *model, error) {
	v, err := (&material{settings: s}).version(s.Remote.Spec.Source(), options)
	if err != nil {
		return nil, nil, err
	}
	m, err := newModel(name, v, nil)
	return v, m, err
}

// limits returns how a model is asked now: as the newest version with the same digest says, so that another version can raise
// them, and as the one says that is being made.
func (r *Registry) limits(m *model) *remote.Limits {
	if v := r.catalog.Load().newest(m.info.Name, m.info.Digest); v != nil && m.info.Version != 0 {
		return v.Settings.Remote.Limits
	}
	return m.settings.Remote.Limits
}

// client returns what asks a model: one for each ID, because it counts the costs.
func (r *Registry) client(m *model) *remote.Client {
	limits, id := *r.limits(m), m.info.ID
	r.mu.Lock()
	c := r.remotes[id]
	r.mu.Unlock()
	if c == nil {
		config := r.cfg.Remote
		config.Spent, config.Save = r.spent.of(id), func(total remote.Spending) error { return r.spent.keep(id, total) }
		made := remote.New(m.settings.Remote.Spec, limits, config)
		r.mu.Lock()
		if c = r.remotes[id]; c == nil {
			c = made
			r.remotes[id] = c
		}
		r.mu.Unlock()
	}
	c.Limit(limits)
	return c
}

// newest returns the newest version of a model that has the digest.
func (c *catalog) newest(name, digest string) (found *version) {
	e := c.Models[strings.ToLower(name)]
	if e == nil {
		return nil
	}
	for _, v := range e.Versions {
		if v.Digest == digest && (found == nil || v.Number > found.Number) {
			found = v
		}
	}
	return found
}

// same reports whether another version says the same, and is asked in the same way.
func (v *version) same(o *version) bool {
	if v.Digest != o.Digest || (v.Settings.Remote == nil) != (o.Settings.Remote == nil) {
		return false
	}
	return v.Settings.Remote == nil || *v.Settings.Remote.Limits == *o.Settings.Remote.Limits
}

// strict counts the texts without an answer, of a model that may have none.
type strict struct {
	failed atomic.Int64
	first  atomic.Pointer[remote.Fault]
}

func (s *strict) note(f *remote.Fault) {
	s.failed.Add(1)
	s.first.CompareAndSwap(nil, f)
}

// end returns the error of a call in which texts had no answer: nil unless the model says on_error = 'error'.
func (s *strict) end(limits *remote.Limits, err error) error {
	if n := s.failed.Load(); err == nil && n > 0 && limits.Strict {
		return fmt.Errorf("no answer for %d texts, and on_error is 'error'; the first: %w", n, s.first.Load())
	}
	return err
}

// answers is Classify by a model that is elsewhere. Texts without an answer stay as they are in out, and are not kept in the
// ledger, so that they are asked about again.
func (r *Registry) answers(ctx context.Context, m *model, texts []string, out []Classification) error {
	release, err := r.acquire(m)
	if err != nil {
		return err
	}
	defer release()
	c := r.client(m)
	var failed strict
	ask := func(texts []string, tell func(i int, a remote.Answer)) error {
		err := c.Complete(ctx, texts, func(i int, a remote.Answer, f *remote.Fault) {
			if f != nil {
				failed.note(f)
				m.tell(ctx, Usage{Failed: 1, Fault: f})
				return
			}
			tell(i, a)
		})
		return failed.end(r.limits(m), err)
	}
	if r.cfg.Ledger == nil {
		if m.tell(ctx, Usage{Scored: len(texts)}); looksUpOnly(ctx) {
			return nil
		}
		return ask(texts, func(i int, a remote.Answer) { out[i] = answered(a) })
	}
	take := func(i int, output string) (bool, error) {
		var a remote.Answer
		if json.Unmarshal([]byte(output), &a) != nil {
			return false, nil // one that cannot be read is asked again
		}
		out[i] = answered(a)
		return true, nil
	}
	return r.remembered(ctx, m, "", texts, take, func(texts []string) ([]string, error) {
		outputs := make([]string, len(texts))
		return outputs, ask(texts, func(i int, a remote.Answer) {
			if text, err := json.Marshal(a); err == nil { // of a text and a number it never fails
				outputs[i] = string(text)
			}
		})
	})
}

// answered is a classification with the probability that the server gave, if it gave one.
func answered(a remote.Answer) Classification {
	c := Classification{Label: a.Text, Score: math.NaN()}
	if a.Score != nil {
		c.Score, c.Scores = *a.Score, []LabelScore{{a.Text, *a.Score}}
	}
	return c
}

// askVectors is forward by an encoder that is elsewhere.
func (r *Registry) askVectors(ctx context.Context, m *model, texts []string, result func(i int, o outcome) error) error {
	release, err := r.acquire(m)
	if err != nil {
		return err
	}
	defer release()
	var failed strict
	var mu sync.Mutex
	var first error
	err = r.client(m).Embed(ctx, texts, m.settings.Dimension, func(i int, v []float32, f *remote.Fault) {
		o := outcome{values: v}
		if f != nil {
			failed.note(f)
			o.fault = f
		}
		if err := result(i, o); err != nil {
			mu.Lock()
			defer mu.Unlock()
			first = errors.Join(first, err)
		}
	})
	return failed.end(r.limits(m), errors.Join(err, first))
}
