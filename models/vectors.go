package models

import (
	"context"
	"slices"
	"sync"
)

// maxVectorBytes bounds the vectors that are remembered: 40,000 of 384 numbers, so that the functions of a statement on one
// encoder, and statements that follow one another, share the forward pass of a text.
const maxVectorBytes = 64 << 20

// vectorCache remembers what encoders gave for texts, as they gave it. It has two halves: when the younger is full it becomes
// the older, whose vectors are forgotten. The zero value is empty.
type vectorCache struct {
	mu         sync.Mutex
	young, old map[vectorKey][]float32
	bytes      int // in young
}

type vectorKey struct {
	encoder string // its digest
	input   InputDigest
}

func (c *vectorCache) get(k vectorKey) ([]float32, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	v, ok := c.young[k]
	if ok {
		return v, true
	}
	if v, ok = c.old[k]; ok {
		c.keep(k, v)
	}
	return v, ok
}

func (c *vectorCache) put(k vectorKey, v []float32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.keep(k, v)
}

// keep puts a vector among the young. The caller holds mu.
func (c *vectorCache) keep(k vectorKey, v []float32) {
	const entry = 128 // what a vector weighs beside its numbers
	if _, ok := c.young[k]; ok {
		return
	}
	if c.bytes > maxVectorBytes/2 || c.young == nil {
		c.old, c.young, c.bytes = c.young, map[vectorKey][]float32{}, 0
	}
	c.young[k] = v
	c.bytes += 4*len(v) + entry
}

// runEncoder is run by an encoder: of the texts whose vectors are remembered none is scored again.
func (r *Registry) runEncoder(ctx context.Context, m *model, texts []string, result func(i int, values []float32) error) error {
	var missing []string
	var places []int
	inputs := digestInputs("", texts)
	for i, input := range inputs {
		v, ok := r.vectors.get(vectorKey{m.info.Digest, input})
		if !ok {
			missing, places = append(missing, texts[i]), append(places, i)
			continue
		}
		if err := result(i, v); err != nil {
			return err
		}
	}
	if len(missing) == 0 {
		return ctx.Err()
	}
	return r.forward(ctx, m, missing, func(k int, values []float32) error {
		i := places[k]
		v := slices.Clone(values) // it lies in the output of its whole batch
		r.vectors.put(vectorKey{m.info.Digest, inputs[i]}, v)
		return result(i, v)
	})
}
