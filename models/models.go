// Package models runs machine-learning models over text: it owns the registry of models, turns texts into ids, batches
// them so that a prediction never depends on its neighbours, and makes labels, embeddings and keywords of what a model
// returns. Scores are probabilities from 0 to 1, embeddings have length 1. A model and the ONNX Runtime library are
// loaded at first use; without the library every call is ErrNoLibrary.
package models

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"smelt/models/hub"
	"smelt/models/onnx"
	"smelt/models/remote"
	"smelt/models/train"
)

// Errors of calls; wrapped, with the name.
var (
	// ErrUnknownModel is returned for a name that no model has.
	ErrUnknownModel = errors.New("unknown model")
	// ErrWrongKind is returned when a classifier is asked for embeddings, or an encoder for labels.
	ErrWrongKind = errors.New("model of another kind")
	// ErrInvalid is returned for a model, an option or a name that is refused; its text says why.
	ErrInvalid = errors.New("model refused")
	// ErrExists is returned when a model of that name exists already.
	ErrExists = errors.New("model exists already")
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
	Library string                 // ONNX Runtime library file; "" searches as package onnx says
	Workers int                    // texts are scored on this many threads, for all callers together; 0 means one a core
	Ledger  Ledger                 // remembers predictions; nil: none does
	Disk    Disk                   // keeps models that are made here; nil: none can be
	Permits func(path string) bool // whether a model may be read from there; nil permits nothing
	Hub     *hub.Client            // fetches the sources that begin with hf:; nil: none can be
	Remote  remote.Config          // says which models elsewhere may be asked; the zero value lets none
	Taken   func(name string) bool // whether a function of that name exists already; nil: none does
	Logger  *slog.Logger           // nil discards
}

// Info describes one version of a model.
type Info struct {
	Name       string
	ID         string // names this version for as long as its files are the same: name#digest
	Version    int    // from 1
	Kind       string // Classifier, Encoder or remote.Generator
	Digest     string // SHA-256 over its graph, its tokenizer and its settings, hexadecimal
	License    string
	Labels     []string // of a classifier, in the order of the scores
	MultiLabel bool     // each label is decided by itself
	Dimension  int      // of an encoder's embeddings
	MaxTokens  int      // longer texts are cut

	Source  string // where its files came from
	Commit  string // of the repository that they came from; "" where there is none
	Options map[string]string
	Comment string
	Encoder string         // of a trained one: ID of the version whose vectors it takes
	Query   string         // of a trained one: what it learned from
	Scores  *train.Summary // of a trained one: how well it did on rows that it had not seen
	Created time.Time      // zero for those that ship
	User    string         // who made it
	Bytes   int64          // of its files
}

// Caution says what to mind of the version's licence: that it forbids commercial use, or that a repository states none. ""
// for nothing.
func (i Info) Caution() string {
	if i.License == "" && i.Commit == "" {
		return "" // a directory of the user's own
	}
	return hub.Caution(i.License)
}

// LabelScore is the probability of one label.
type LabelScore struct {
	Label string
	Score float64
}

// Classification is what a classifier says of one text.
type Classification struct {
	Label    string       // the most likely; "" where the model abstains
	Score    float64      // its probability; NaN where a model elsewhere gives none
	Scores   []LabelScore // of every label, in the model's order; of a model elsewhere that of its label, or none
	Selected []string     // multi-label: those over their thresholds, most likely first
	Failed   bool         // it says nothing: what it gave is no answer
}

// Registry holds the models that can be called. It is safe for concurrent use.
type Registry struct {
	cfg     Config
	slots   chan struct{} // one for each thread that scores; the queue of all sessions
	terms   *vectorCache  // of keywords, of length 1
	vectors *vectorCache  // of texts
	claims  claims
	spent   *spendings // by models that are elsewhere

	change  sync.Mutex              // held during a change of the catalogue, I/O included
	catalog atomic.Pointer[catalog] // what can be called now

	mu      sync.Mutex // guards what follows; never held during I/O
	models  map[string]*model
	dropped []*model // those that statements may still use
	remotes map[string]*remote.Client
	closed  bool
}

// Open returns a registry of the shipped models and of those on the disk. No model is loaded yet.
func Open(c Config) (*Registry, error) {
	if c.Workers <= 0 {
		c.Workers = runtime.GOMAXPROCS(0)
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	r := &Registry{cfg: c, slots: make(chan struct{}, c.Workers), models: map[string]*model{}, terms: newVectorCache(termVectorBytes), vectors: newVectorCache(textVectorBytes), claims: claims{all: map[claim]chan struct{}{}}, remotes: map[string]*remote.Client{}}
	shipped, err := shippedVersions()
	if err != nil {
		return nil, err
	}
	if r.spent, err = readSpendings(c.Disk); err != nil {
		return nil, err
	}
	state := &catalog{Models: map[string]*entry{}}
	if c.Disk != nil {
		if state, err = readCatalog(c.Disk); err != nil {
			return nil, err
		}
		r.sweep(state)
	}
	state.addBuiltin(shipped)
	r.catalog.Store(state)
	return r, nil
}

// Models describes the version of each model that its functions use, by name; of one that has learned nothing yet what is
// known.
func (r *Registry) Models() []Info {
	c := r.catalog.Load()
	list := make([]Info, 0, len(c.Models))
	for _, name := range slices.Sorted(maps.Keys(c.Models)) {
		if v := c.Models[name].version(c.Models[name].current()); v != nil {
			list = append(list, v.info(name))
		} else if c.Models[name].Training != nil {
			list = append(list, unlearned(name))
		}
	}
	return list
}

// Catalog returns every model with all its versions, by name.
func (r *Registry) Catalog() []Model {
	c := r.catalog.Load()
	list := make([]Model, 0, len(c.Models))
	for _, name := range slices.Sorted(maps.Keys(c.Models)) {
		e := c.Models[name]
		m := Model{Name: name, Comment: e.Comment, Aliases: maps.Clone(e.Aliases), Current: e.current(), Training: e.Training, Learned: e.Learned}
		for _, v := range e.Versions {
			m.Versions = append(m.Versions, v.info(name))
		}
		slices.SortFunc(m.Versions, func(a, b Info) int { return a.Version - b.Version })
		list = append(list, m)
	}
	return list
}

// History returns what was changed in the registry, oldest first; at most 10,000 changes are kept.
func (r *Registry) History() []Change { return slices.Clone(r.catalog.Load().Changes) }

// Resolve returns the version that a name means now: the name of a model, models:/name/2, models:/name@alias,
// models:/name/Production, or an ID, which goes on meaning the same files. A model that has learned nothing yet has version 0
// and no digest; to ask it is an error.
func (r *Registry) Resolve(ref string) (Info, error) {
	if parsed, err := parseReference(ref); err == nil && parsed.digest == "" && parsed.number == 0 {
		if e := r.catalog.Load().Models[parsed.name]; e != nil && len(e.Versions) == 0 {
			return unlearned(parsed.name), nil
		}
	}
	m, err := r.described(ref)
	if err != nil {
		return Info{}, err
	}
	return m.info, nil
}

// described returns a version whose configuration is read, whether or not it can run.
func (r *Registry) described(ref string) (*model, error) {
	parsed, err := parseReference(ref)
	if err != nil {
		return nil, err
	}
	if parsed.digest != "" {
		return r.byDigest(parsed)
	}
	v, err := r.catalog.Load().find(parsed)
	if err != nil {
		return nil, err
	}
	return r.modelOf(parsed.name, v)
}

// modelOf returns the model of a version, made at first use.
func (r *Registry) modelOf(name string, v *version) (*model, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	id := VersionID(name, v.Digest)
	if m, ok := r.models[id]; ok {
		return m, nil // two versions of the same files and settings share a session
	}
	m, err := newModel(name, v, func(file string) ([]byte, error) { return r.readFile(v, file) })
	if err != nil {
		return nil, fmt.Errorf("open model %q: %w", name, err)
	}
	r.models[id] = m
	return m, nil
}

// byDigest finds a version by its ID, those included that were dropped while statements may still use them.
func (r *Registry) byDigest(ref reference) (*model, error) {
	r.mu.Lock()
	m := r.models[VersionID(ref.name, ref.digest)]
	for _, d := range r.dropped {
		if m == nil && d.info.Name == ref.name && d.info.Digest == ref.digest {
			m = d
		}
	}
	r.mu.Unlock()
	if m != nil {
		return m, nil
	}
	if e := r.catalog.Load().Models[ref.name]; e != nil {
		for _, v := range e.Versions {
			if v.Digest == ref.digest {
				return r.modelOf(ref.name, v)
			}
		}
	}
	return nil, fmt.Errorf("%w: model %q has no version of the digest %.12s any more", ErrUnknownModel, ref.name, ref.digest)
}

// loaded returns a model that can run.
func (r *Registry) loaded(ref string, kinds ...string) (*model, error) {
	m, err := r.described(ref)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(kinds, m.info.Kind) {
		return nil, fmt.Errorf("%w: %q is a %s", ErrWrongKind, m.info.Name, m.info.Kind)
	}
	if err := r.open(m); err != nil {
		return nil, err
	}
	return m, nil
}

// open makes a model ready to run.
func (r *Registry) open(m *model) error {
	r.mu.Lock()
	closed := r.closed
	r.mu.Unlock()
	if closed {
		return errors.New("models are closed")
	}
	switch {
	case m.settings.Remote != nil:
		return nil // what is known needs no server
	case m.settings.Encoder != "":
		return r.openHead(m)
	}
	if err := onnx.Load(r.cfg.Library); err != nil {
		return err
	}
	if err := m.open(); err != nil && m.info.Version == 0 {
		return err // is being made
	} else if err != nil {
		return fmt.Errorf("open version %d of model %q: %w", m.info.Version, m.info.Name, err)
	}
	return r.unloadOthers(m)
}

// maxLoaded bounds the models in memory, of which each has a hundred megabytes or more where it is a transformer. Those
// that were not used for longest go, and come again when they are called.
const maxLoaded = 12

// unloadOthers frees models while too many are loaded.
func (r *Registry) unloadOthers(but *model) error {
	r.mu.Lock()
	var loaded []*model
	for _, m := range r.models {
		if m != but && m.used.Load() != 0 && m.settings.Encoder == "" && m.settings.Remote == nil { // these weigh nothing
			loaded = append(loaded, m)
		}
	}
	r.mu.Unlock()
	slices.SortFunc(loaded, func(a, b *model) int { return cmp.Compare(a.used.Load(), b.used.Load()) })
	for _, m := range loaded[:max(0, len(loaded)+1-maxLoaded)] {
		if err := m.unload(); err != nil {
			return fmt.Errorf("free model %q: %w", m.info.Name, err)
		}
	}
	return nil
}

// acquire keeps a model loaded until release.
func (r *Registry) acquire(m *model) (release func(), err error) {
	for {
		release, ok, err := m.acquire()
		if ok || err != nil {
			return release, err
		}
		// It was freed meanwhile, because others were needed.
		if err := r.open(m); err != nil {
			return nil, err
		}
	}
}

// Classify labels texts with a classifier, one classification for each text; it has Failed where the model gave
// something that is no answer, which WithUsage tells.
func (r *Registry) Classify(ctx context.Context, name string, texts []string) ([]Classification, error) {
	m, err := r.loaded(name, Classifier, remote.Generator)
	if err != nil {
		return nil, err
	}
	out := slices.Repeat([]Classification{{Failed: true}}, len(texts))
	if m.settings.Remote != nil {
		err = r.answers(ctx, m, texts, out)
	} else {
		err = r.outputs(ctx, m, texts, func(i int, logits []float32) error {
			c, err := m.classification(logits)
			out[i] = c
			return err
		})
	}
	if err != nil {
		return nil, fmt.Errorf("classify with %q: %w", m.info.Name, err)
	}
	return out, nil
}

// Embed returns the embedding of each text: length 1, all zero for a text without a known word, nil where the model gave
// something that is no vector, which WithUsage tells.
func (r *Registry) Embed(ctx context.Context, name string, texts []string) ([][]float32, error) {
	m, err := r.loaded(name, Encoder)
	if err != nil {
		return nil, err
	}
	out := make([][]float32, len(texts))
	err = r.outputs(ctx, m, texts, func(i int, vector []float32) error {
		out[i] = normalized(vector)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("embed with %q: %w", m.info.Name, err)
	}
	return out, nil
}

// Verify reads every file of the registry, and tells of those that are missing or are not what their SHA-256 says. It
// returns how many files and bytes were read.
func (r *Registry) Verify(ctx context.Context, tell func(file string, err error)) (files int, size int64, err error) {
	state := r.catalog.Load()
	read := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(state.Models)) {
		for _, v := range state.Models[name].Versions {
			for _, file := range slices.Sorted(maps.Keys(v.Files)) {
				if ctx.Err() != nil {
					return files, size, fmt.Errorf("verify the models: %w", context.Cause(ctx))
				}
				if v.builtin || read[v.Files[file]] {
					continue // versions share what is the same
				}
				data, err := r.readFile(v, file)
				if err != nil {
					tell(fmt.Sprintf("model %s, version %d, %s", name, v.Number, file), err)
					continue
				}
				read[v.Files[file]] = true
				files, size = files+1, size+int64(len(data))
			}
		}
	}
	return files, size, nil
}

// Close frees the models. It waits for texts in flight and may be called more than once.
func (r *Registry) Close() error {
	r.mu.Lock()
	r.closed = true
	all, clients := append(slices.Collect(maps.Values(r.models)), r.dropped...), maps.Clone(r.remotes)
	r.mu.Unlock()
	var errs []error
	for _, m := range all {
		errs = append(errs, m.close())
	}
	for _, c := range clients {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}
