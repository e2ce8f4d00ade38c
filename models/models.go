// Package models runs machine-learning models over text: it owns the registry of models, turns texts into ids, batches
// them so that a prediction never depends on its neighbours, and makes labels, embeddings and keywords of what a model
// returns. Scores are probabilities from 0 to 1, embeddings have length 1. A model and the ONNX Runtime library are
// loaded at first use; without the library every call is ErrNoLibrary.
package models

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"runtime"
	"slices"
	"sync"

	"smelt/models/builtin"
	"smelt/models/onnx"
)

// Errors of calls; wrapped, with the name.
var (
	// ErrUnknownModel is returned for a name that no model has.
	ErrUnknownModel = errors.New("unknown model")
	// ErrWrongKind is returned when a classifier is asked for embeddings, or an encoder for labels.
	ErrWrongKind = errors.New("model of another kind")
	// ErrNoLibrary is returned when ONNX Runtime cannot be loaded; its text says what to do.
	ErrNoLibrary = onnx.ErrNoLibrary
)

// Kinds of models.
const (
	Classifier = "classifier"
	Encoder    = "encoder"
)

// Config says how models run.
type Config struct {
	Library string       // ONNX Runtime library file; "" searches as package onnx says
	Workers int          // texts are scored on this many threads, for all callers together; 0 means one a core
	Logger  *slog.Logger // nil discards
}

// Info describes a model.
type Info struct {
	Name       string
	Kind       string // Classifier or Encoder
	Version    string
	Digest     string // SHA-256 over its files, hexadecimal
	License    string
	Labels     []string // of a classifier, in the order of the scores
	MultiLabel bool     // each label is decided by itself
	Dimension  int      // of an encoder's embeddings
	MaxTokens  int      // longer texts are cut
}

// LabelScore is the probability of one label.
type LabelScore struct {
	Label string
	Score float64
}

// Classification is what a classifier says of one text.
type Classification struct {
	Label    string       // the most likely
	Score    float64      // its probability
	Scores   []LabelScore // of every label, in the model's order
	Selected []string     // multi-label: those over their thresholds, most likely first
}

// Registry holds the models that can be called. It is safe for concurrent use.
type Registry struct {
	cfg   Config
	slots chan struct{} // one for each thread that scores; the queue of all sessions

	mu     sync.Mutex // guards loading: one model at a time
	models map[string]*model
	terms  *termCache
	closed bool
}

// Open returns a registry of the shipped models. Nothing is loaded yet.
func Open(c Config) *Registry {
	if c.Workers <= 0 {
		c.Workers = runtime.GOMAXPROCS(0)
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return &Registry{cfg: c, slots: make(chan struct{}, c.Workers), models: map[string]*model{}, terms: newTermCache()}
}

// Models describes every model, by name. A model whose files are damaged is left out and logged.
func (r *Registry) Models() []Info {
	var list []Info
	for _, name := range builtin.Names() {
		m, err := r.described(name)
		if err != nil {
			r.cfg.Logger.Error("describe model", "model", name, "err", err)
			continue
		}
		list = append(list, m.info)
	}
	return list
}

// described returns a model whose configuration is read, whether or not it can run.
func (r *Registry) described(name string) (*model, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if m, ok := r.models[name]; ok {
		return m, nil
	}
	if !slices.Contains(builtin.Names(), name) {
		return nil, fmt.Errorf("%w: %q", ErrUnknownModel, name)
	}
	files, err := builtin.Files(name)
	if err != nil {
		return nil, fmt.Errorf("open model %q: %w", name, err)
	}
	m, err := describe(name, files)
	if err != nil {
		return nil, fmt.Errorf("open model %q: %w", name, err)
	}
	r.models[name] = m
	return m, nil
}

// loaded returns a model that can run.
func (r *Registry) loaded(name, kind string) (*model, error) {
	m, err := r.described(name)
	if err != nil {
		return nil, err
	}
	if m.info.Kind != kind {
		return nil, fmt.Errorf("%w: %q is a %s", ErrWrongKind, name, m.info.Kind)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, errors.New("models are closed")
	}
	if m.session != nil {
		return m, nil
	}
	if err := onnx.Load(r.cfg.Library); err != nil {
		return nil, err
	}
	if err := m.open(); err != nil {
		return nil, fmt.Errorf("open model %q: %w", name, err)
	}
	return m, nil
}

// Classify labels texts with a classifier, one classification for each text.
func (r *Registry) Classify(ctx context.Context, name string, texts []string) ([]Classification, error) {
	m, err := r.loaded(name, Classifier)
	if err != nil {
		return nil, err
	}
	out := make([]Classification, len(texts))
	err = r.run(ctx, m, texts, func(i int, logits []float32) error {
		c, err := m.classification(logits)
		out[i] = c
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("classify with %q: %w", name, err)
	}
	return out, nil
}

// Embed returns the embedding of each text: length 1, or all zero for a text without a known word.
func (r *Registry) Embed(ctx context.Context, name string, texts []string) ([][]float32, error) {
	m, err := r.loaded(name, Encoder)
	if err != nil {
		return nil, err
	}
	out := make([][]float32, len(texts))
	err = r.run(ctx, m, texts, func(i int, vector []float32) error {
		out[i] = normalized(vector)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("embed with %q: %w", name, err)
	}
	return out, nil
}

// Close frees the models. It waits for texts in flight and may be called more than once.
func (r *Registry) Close() error {
	for range cap(r.slots) {
		r.slots <- struct{}{}
	}
	defer func() {
		for range cap(r.slots) {
			<-r.slots
		}
	}()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	var errs []error
	for name, m := range r.models {
		if m.session != nil {
			if err := m.session.Close(); err != nil {
				errs = append(errs, fmt.Errorf("close model %q: %w", name, err))
			}
			m.session = nil
		}
	}
	return errors.Join(errs...)
}

// digest is SHA-256 over the names and contents of the files that make a model.
func digest(files fs.FS, names []string) (string, error) {
	h := sha256.New()
	for _, name := range names {
		data, err := fs.ReadFile(files, name)
		if err != nil {
			return "", fmt.Errorf("digest: %w", err)
		}
		fmt.Fprintf(h, "%s %d\n", name, len(data))
		h.Write(data)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
