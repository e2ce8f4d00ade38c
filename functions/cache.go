package functions

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"

	"smelt/models"
)

// maxCacheBytes bounds what one statement remembers, roughly counted: a chunk of rows must fit many times over.
const maxCacheBytes = 64 << 20

// taskKind is what a model is asked for.
type taskKind uint8

const (
	taskClassify taskKind = iota + 1
	taskEmbed
	taskKeywords
)

// task is one way to ask one model. It is comparable: two calls with equal tasks share their predictions.
type task struct {
	kind    taskKind
	model   string // ID of a version
	options string // of taskKeywords: models.KeywordOptions in JSON
}

// need is a prediction that a call wants.
type need struct {
	task task
	text string
}

// run asks the model about the texts; results are models.Classification, []float32 or []models.Keyword, and nil where the
// model has no answer.
func (t task) run(ctx context.Context, p Predictor, texts []string) ([]any, error) {
	out := make([]any, len(texts))
	ctx = cacheOf(ctx).listening(ctx)
	switch t.kind {
	case taskClassify:
		found, err := p.Classify(ctx, t.model, texts)
		return fill(out, found, err, func(c models.Classification) bool { return !c.Failed })
	case taskEmbed:
		found, err := p.Embed(ctx, t.model, texts)
		return fill(out, found, err, func(v []float32) bool { return v != nil })
	case taskKeywords:
		var o models.KeywordOptions
		if err := json.Unmarshal([]byte(t.options), &o); err != nil {
			return nil, fmt.Errorf("read options of keywords: %w", err)
		}
		found, err := p.Keywords(ctx, t.model, texts, o)
		return fill(out, found, err, func(k []models.Keyword) bool { return k != nil })
	default:
		return nil, fmt.Errorf("ask model %q: no task of kind %d", t.model, t.kind)
	}
}

// guarded is run on a goroutine of its own: a panic there would end the process.
func (t task) guarded(ctx context.Context, p Predictor, texts []string) (results []any, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("ask model %q: panic: %v", t.model, r)
		}
	}()
	return t.run(ctx, p, texts)
}

func fill[T any](out []any, found []T, err error, answers func(T) bool) ([]any, error) {
	if err != nil {
		return nil, err
	}
	if len(found) != len(out) {
		return nil, fmt.Errorf("ask model: %d answers for %d texts", len(found), len(out))
	}
	for i, f := range found {
		if answers(f) {
			out[i] = f
		}
	}
	return out, nil
}

// bytes estimates what a prediction weighs.
func (n need) bytes(result any) int {
	size := len(n.text) + 128
	switch r := result.(type) {
	case models.Classification:
		size += 32 * len(r.Scores)
	case []float32:
		size += 4 * len(r)
	case []models.Keyword:
		size += 48 * len(r)
	}
	return size
}

// statementCache remembers the predictions of one statement, so that each text is scored once in it. It has two
// halves: when the younger is full it becomes the older, whose entries are forgotten. It also holds which version of a
// model each name means in the statement, so that an alias that moves changes no statement that has begun.
type statementCache struct {
	mu           sync.Mutex
	pins         map[string]models.Info // by normal name
	pinned       map[string]string      // normal name -> ID, given with the statement
	young, old   map[need]any
	weight, half int // bytes in young, and how many it may hold

	troubles map[string]*trouble // by ID of a version
}

type cacheKey struct{}

// WithCache returns a context for one statement: all calls under it share their predictions.
func WithCache(ctx context.Context) context.Context {
	return WithVersions(ctx, nil)
}

// WithVersions is WithCache for a statement in which some names of models mean certain versions: name, as Refers gives
// it, to the ID of the version.
func WithVersions(ctx context.Context, versions map[string]string) context.Context {
	c := newStatementCache(maxCacheBytes)
	c.pinned = versions
	return context.WithValue(ctx, cacheKey{}, c)
}

func newStatementCache(bytes int) *statementCache {
	return &statementCache{young: map[need]any{}, half: bytes / 2, pins: map[string]models.Info{}, troubles: map[string]*trouble{}}
}

// cacheOf returns the statement's cache, or nil, on which get and put do nothing.
func cacheOf(ctx context.Context) *statementCache {
	c, _ := ctx.Value(cacheKey{}).(*statementCache)
	return c
}

// resolve returns the version that a name means in the statement: what it meant at its first mention.
func (c *statementCache) resolve(ref string, p Predictor) (models.Info, error) {
	if c == nil {
		return p.Resolve(ref)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if info, ok := c.pins[ref]; ok {
		return info, nil
	}
	name := ref
	if id, ok := c.pinned[normal(ref)]; ok {
		name = id
	}
	info, err := p.Resolve(name)
	if err == nil && len(c.pins) < maxPins {
		c.pins[ref] = info
	}
	return info, err
}

// maxPins bounds the names that one statement remembers: predict() may read them from a column.
const maxPins = 10_000

func (c *statementCache) get(n need) (any, bool) {
	if c == nil {
		return nil, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if v, ok := c.young[n]; ok {
		return v, true
	}
	v, ok := c.old[n]
	return v, ok
}

func (c *statementCache) put(n need, result any) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.weight >= c.half {
		c.old, c.young, c.weight = c.young, map[need]any{}, 0
	}
	if _, ok := c.young[n]; !ok {
		c.weight += n.bytes(result)
	}
	c.young[n] = result
}
