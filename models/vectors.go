package models

import (
	"context"
	"fmt"
	"slices"
	"sync"
)

// Bounds of the vectors that are kept between calls, for all encoders together.
const (
	textVectorBytes = 32 << 20 // of whole texts: so many that what one statement asks of a text in several ways is one run
	termVectorBytes = 32 << 20 // of the terms of keywords: 50,000 at 128 dimensions; tweets repeat their words
	vectorOverhead  = 128      // of an entry, beside its numbers
)

// vectorKey is a text for an encoder.
type vectorKey struct {
	model string // digest
	input InputDigest
}

// vectorCache keeps vectors of texts up to a number of bytes. It has two halves: what is used goes into the younger, and
// when that is full it becomes the older, whose entries are forgotten. It is safe for concurrent use.
type vectorCache struct {
	mu           sync.Mutex
	young, old   map[vectorKey]outcome
	weight, half int   // bytes in young, and how many it may hold
	hits, misses int64 // of find
}

func newVectorCache(bytes int) *vectorCache {
	return &vectorCache{young: map[vectorKey]outcome{}, half: bytes / 2}
}

// find calls known for those that are there, and returns the places of the others.
func (c *vectorCache) find(model string, inputs []InputDigest, known func(i int, o outcome)) (missing []int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, input := range inputs {
		k := vectorKey{model, input}
		o, ok := c.young[k]
		if !ok {
			if o, ok = c.old[k]; ok {
				c.keep(k, o)
			}
		}
		if ok {
			known(i, o)
		} else {
			missing = append(missing, i)
		}
	}
	c.hits, c.misses = c.hits+int64(len(inputs)-len(missing)), c.misses+int64(len(missing))
	return missing
}

func (c *vectorCache) put(model string, input InputDigest, o outcome) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.keep(vectorKey{model, input}, o)
}

// keep adds an entry; mu is held.
func (c *vectorCache) keep(k vectorKey, o outcome) {
	size := 4*len(o.values) + vectorOverhead
	if size > c.half {
		return
	}
	if _, ok := c.young[k]; ok {
		return
	}
	if c.weight+size > c.half {
		c.old, c.young, c.weight = c.young, map[vectorKey]outcome{}, 0
	}
	c.young[k] = o
	c.weight += size
}

// runEncoder is run by an encoder: whatever asks it for the vector of a text, keywords, embeddings, likeness or a head that was
// trained on it, shares one run of the text. The vectors are those of the model, of any length, and are not to be changed.
func (r *Registry) runEncoder(ctx context.Context, m *model, texts []string, result func(i int, o outcome) error) error {
	inputs := digestInputs("", texts)
	found := make([]outcome, len(texts))
	missing := r.vectors.find(m.info.Digest, inputs, func(i int, o outcome) { found[i] = o })
	asked := make([]string, len(missing))
	for i, at := range missing {
		asked[i] = texts[at]
	}
	err := r.forward(ctx, m, asked, func(i int, o outcome) error {
		at := missing[i]
		if o.fault == nil && finite(o.values) == nil {
			r.vectors.put(m.info.Digest, inputs[at], outcome{values: slices.Clone(o.values), cut: o.cut}) // the values are a part of those of a batch
		}
		return result(at, o)
	})
	if err != nil {
		return err
	}
	for i, o := range found {
		if o.values == nil {
			continue
		}
		if err := result(i, o); err != nil {
			return err
		}
	}
	return nil
}

// embed returns the vector of each text, of length 1 or nil where the encoder gave no numbers, and which texts were cut.
func (r *Registry) embed(ctx context.Context, m *model, texts []string) (vectors [][]float32, cut []bool, err error) {
	vectors, cut = make([][]float32, len(texts)), make([]bool, len(texts))
	err = r.run(ctx, m, texts, func(i int, o outcome) error {
		if cut[i] = o.cut; m.sound(ctx, o) {
			vectors[i] = normalized(o.values)
		}
		return nil
	})
	if err != nil {
		return nil, nil, fmt.Errorf("embed with %q: %w", m.info.Name, err)
	}
	return vectors, cut, nil
}

// embedTerms embeds the terms of all texts, each once; those met before come from the cache.
func (r *Registry) embedTerms(ctx context.Context, m *model, terms [][]string) (map[string][]float32, error) {
	vectors := map[string][]float32{}
	var all []string
	for _, of := range terms {
		for _, t := range of {
			if _, ok := vectors[t]; !ok {
				vectors[t] = nil
				all = append(all, t)
			}
		}
	}
	inputs := digestInputs("", all)
	missing := r.terms.find(m.info.Digest, inputs, func(i int, o outcome) { vectors[all[i]] = o.values })
	asked := make([]string, len(missing))
	for i, at := range missing {
		asked[i] = all[at]
	}
	fresh := make([][]float32, len(missing))
	err := r.forward(ctx, m, asked, func(i int, o outcome) error {
		fresh[i] = normalized(o.values)
		return o.fault
	})
	if err != nil {
		return nil, fmt.Errorf("embed terms with %q: %w", m.info.Name, err)
	}
	for i, at := range missing {
		vectors[all[at]] = fresh[i]
		r.terms.put(m.info.Digest, inputs[at], outcome{values: fresh[i]})
	}
	return vectors, nil
}
