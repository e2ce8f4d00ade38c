package models

import (
	"cmp"
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"smelt/models/onnx"
)

// How texts are put together. Eight texts of like length fill the second-level cache; more are slower, and in the order
// of arrival padding makes batches slower than single texts.
const (
	batchRows   = 8
	batchTokens = 4096
	maxTokens   = 8192 // of one text: beyond it no model that we know goes
	// encodeRows is how many texts one thread tokenizes at a time.
	encodeRows = 256
)

// encoded is the ids of one text.
type encoded struct {
	ids []int64
	at  int  // position among the texts
	cut bool // there were more ids than the model takes
}

// outcome is what a model gave for one text.
type outcome struct {
	values []float32
	cut    bool  // of a part of the text: it had more tokens than the model takes
	fault  error // why there are none
}

// run scores texts and calls result with the outcome of each: from several goroutines, once for each text.
func (r *Registry) run(ctx context.Context, m *model, texts []string, result func(i int, o outcome) error) error {
	switch {
	case m.settings.Encoder != "":
		return r.runHead(ctx, m, texts, result)
	case m.info.Kind == Encoder:
		return r.runEncoder(ctx, m, texts, result)
	}
	return r.forward(ctx, m, texts, result)
}

// forward is run by the graph of the model, or by the server that has it, whatever is known.
func (r *Registry) forward(ctx context.Context, m *model, texts []string, result func(i int, o outcome) error) error {
	if m.settings.Remote != nil {
		return r.askVectors(ctx, m, texts, result)
	}
	release, err := r.acquire(m)
	if err != nil {
		return err
	}
	var runs sync.WaitGroup
	err = r.forwardHeld(ctx, m, texts, &runs, result)
	if err == nil {
		release()
		return nil
	}
	go func() { // what nobody waits for any more still uses the model
		runs.Wait()
		release()
	}()
	return err
}

// forwardHeld is forward while the model is held; runs counts what uses it.
func (r *Registry) forwardHeld(ctx context.Context, m *model, texts []string, runs *sync.WaitGroup, result func(i int, o outcome) error) error {
	rows, err := r.encode(ctx, m, texts, runs)
	if err != nil {
		return err
	}
	// Stable by position, so that the same texts make the same batches.
	slices.SortStableFunc(rows, func(a, b encoded) int { return cmp.Compare(len(a.ids), len(b.ids)) })
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(cap(r.slots))
	for len(rows) > 0 {
		n := m.batchSize(rows)
		batch := rows[:n]
		rows = rows[n:]
		group.Go(func() error { return r.score(ctx, m, batch, runs, result) })
	}
	return group.Wait()
}

// slot runs f when one of the registry's threads is free. When ctx ends it does not wait for f, which has its thread to the
// end: ONNX Runtime stops between two operations only, and one over eight long texts takes a second. f touches nothing of the
// caller then. A panic of f is an error.
func (r *Registry) slot(ctx context.Context, runs *sync.WaitGroup, f func() error) error {
	select {
	case r.slots <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	done := make(chan error, 1)
	runs.Go(func() {
		defer func() {
			if p := recover(); p != nil {
				r.cfg.Logger.Error("a model panicked", "err", p, "stack", string(debug.Stack()))
				done <- fmt.Errorf("internal error: %.100v", p) // the log has the rest
			}
			<-r.slots
		}()
		done <- f()
	})
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// batchSize returns how many of the rows, sorted by length, go together.
func (m *model) batchSize(rows []encoded) int {
	n := 1
	if m.settings.Single {
		return n
	}
	for n < min(len(rows), batchRows) && (n+1)*len(rows[n].ids) <= batchTokens {
		n++
	}
	return n
}

// encode prepares and tokenizes the texts on all threads.
func (r *Registry) encode(ctx context.Context, m *model, texts []string, runs *sync.WaitGroup) ([]encoded, error) {
	rows := make([]encoded, len(texts))
	group, ctx := errgroup.WithContext(ctx)
	for from := 0; from < len(texts); from += encodeRows {
		part := slices.Clone(texts[from:min(from+encodeRows, len(texts))])
		group.Go(func() error {
			return r.slot(ctx, runs, func() error {
				var ids []int64
				for i, text := range part {
					start := len(ids)
					var cut bool
					ids, cut = m.tokens.Encode(ids, m.prepare(text), m.info.MaxTokens, m.settings.Special)
					rows[from+i] = encoded{ids: ids[start:len(ids):len(ids)], at: from + i, cut: cut}
					if err := ctx.Err(); err != nil {
						return err // texts may be long
					}
				}
				return nil
			})
		})
	}
	return rows, group.Wait()
}

// buffers hold the inputs of one run and are used again: a batch is small beside what allocating for it costs.
type buffers struct{ ids, mask []int64 }

var bufferPool = sync.Pool{New: func() any { return new(buffers) }}

// score runs one batch. Rows are padded to the longest with id 0, which the mask hides. A text without any token gets
// one hidden token, and so a result.
func (r *Registry) score(ctx context.Context, m *model, batch []encoded, runs *sync.WaitGroup, result func(i int, o outcome) error) error {
	width := max(1, len(batch[len(batch)-1].ids))
	b := bufferPool.Get().(*buffers)
	b.ids = slices.Grow(b.ids[:0], len(batch)*width)[:len(batch)*width]
	b.mask = slices.Grow(b.mask[:0], len(batch)*width)[:len(batch)*width]
	clear(b.ids)
	clear(b.mask)
	for i, row := range batch {
		for j, id := range row.ids {
			if id < 0 || id >= m.tokens.Size() {
				return fmt.Errorf("the tokenizer gave the id %d of %d", id, m.tokens.Size())
			}
			b.ids[i*width+j], b.mask[i*width+j] = id, 1
		}
	}
	var out onnx.Tensor
	err := r.slot(ctx, runs, func() (err error) {
		out, err = m.session.Run(ctx, b.ids, b.mask, len(batch), width)
		return err
	})
	if err != nil {
		return err // the run may go on, and has the buffers
	}
	defer bufferPool.Put(b)
	return m.split(out, batch, b.mask, width, result)
}

// split hands each text its values; an output with a vector for each token is pooled over the tokens.
func (m *model) split(out onnx.Tensor, batch []encoded, mask []int64, width int, result func(i int, o outcome) error) error {
	if len(out.Shape) < 2 || out.Shape[0] != int64(len(batch)) {
		return fmt.Errorf("the model gave a tensor of shape %v for %d texts", out.Shape, len(batch))
	}
	size := len(out.Values) / len(batch)
	if len(out.Shape) > 3 || len(out.Shape) == 3 && (out.Shape[1] != int64(width) || out.Shape[1]*out.Shape[2] != int64(size)) {
		return fmt.Errorf("the model gave a tensor of shape %v for %d texts of %d tokens", out.Shape, len(batch), width)
	}
	for i, row := range batch {
		values := out.Values[i*size : (i+1)*size]
		if len(out.Shape) == 3 {
			values = pool(m.settings.Pooling, values, mask[i*width:(i+1)*width], int(out.Shape[2]))
		}
		if err := result(row.at, outcome{values: values, cut: row.cut}); err != nil {
			return err
		}
	}
	return nil
}
