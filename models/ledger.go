package models

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"
	"time"
)

// InputDigest names a text and what is asked of it: the first half of a SHA-256.
type InputDigest [16]byte

// Ledger remembers what models gave for texts, so that none is scored twice. An output is JSON: the numbers of the model
// for the text, exactly, or the keywords of KeyBERT with their scores.
type Ledger interface {
	// Find fills in the outputs that are known; the others stay "". It waits for a disk only at its first call.
	Find(ctx context.Context, model string, inputs []InputDigest, outputs []string)
	// Add takes note of outputs, "" for none; it does not wait. name is for people, each is the time that one text took.
	Add(model, name string, inputs []InputDigest, outputs []string, each time.Duration)
}

// Usage is news of the texts that a model is asked about.
type Usage struct {
	Model     *Info // not to be changed
	Scored    int   // texts that the model is about to score
	Known     int   // texts that the ledger knew
	Truncated int   // texts that had more tokens than the model takes, and were cut, the known ones included
	Failed    int   // texts for which the model has no answer
	Fault     error // why, of one of these
}

type (
	usageKey  struct{}
	lookupKey struct{}
)

// WithUsage returns a context under which tell is told the news, and whoever was told before still is. It is called from
// several goroutines. With lookUpOnly no model is run under it: what the ledger knows is answered, other texts have no
// answer, and are told as those that would be scored.
func WithUsage(ctx context.Context, lookUpOnly bool, tell func(Usage)) context.Context {
	if lookUpOnly {
		ctx = context.WithValue(ctx, lookupKey{}, true)
	}
	if before, ok := ctx.Value(usageKey{}).(func(Usage)); ok {
		own := tell
		tell = func(u Usage) { before(u); own(u) }
	}
	return context.WithValue(ctx, usageKey{}, tell)
}

func looksUpOnly(ctx context.Context) bool { return ctx.Value(lookupKey{}) != nil }

// untold is ctx for texts that nobody asked about, as the seeds of keywords.
func untold(ctx context.Context) context.Context {
	return context.WithValue(ctx, usageKey{}, func(Usage) {})
}

func (m *model) tell(ctx context.Context, u Usage) {
	if tell, ok := ctx.Value(usageKey{}).(func(Usage)); ok && u != (Usage{}) {
		u.Model = &m.info
		tell(u)
	}
}

// digestInputs names texts for a task; raw outputs have the task "".
func digestInputs(task string, texts []string) []InputDigest {
	out := make([]InputDigest, len(texts))
	buffer := make([]byte, 0, 512)
	for i, text := range texts {
		buffer = append(append(append(buffer[:0], task...), 0), text...)
		sum := sha256.Sum256(buffer)
		out[i] = InputDigest(sum[:16])
	}
	return out
}

// outputs gives the raw values of each text: from the ledger where it knows them, else from the model. result is called
// from several goroutines, once for each text that has an answer.
func (r *Registry) outputs(ctx context.Context, m *model, texts []string, result func(i int, values []float32) error) error {
	if r.cfg.Ledger == nil {
		m.tell(ctx, Usage{Scored: len(texts)})
		if looksUpOnly(ctx) {
			return nil
		}
		return r.run(ctx, m, texts, func(i int, o outcome) error {
			if !m.sound(ctx, o) {
				return nil
			}
			if o.cut {
				m.tell(ctx, Usage{Truncated: 1})
			}
			return result(i, o.values)
		})
	}
	take := func(i int, output string) (bool, error) {
		values, err := parseOutput(output)
		if err != nil {
			return false, nil // one that cannot be read is scored again
		}
		return true, result(i, values)
	}
	return r.remembered(ctx, m, "", texts, take, func(texts []string) ([]string, error) {
		fresh := make([]string, len(texts))
		return fresh, r.run(ctx, m, texts, func(i int, o outcome) error {
			if m.sound(ctx, o) {
				fresh[i] = markCut(formatOutput(o.values), o.cut)
			}
			return nil
		})
	})
}

// sound reports whether the model gave numbers. What is none is no prediction, of this text and of no other.
func (m *model) sound(ctx context.Context, o outcome) bool {
	fault := o.fault
	if fault == nil {
		fault = finite(o.values)
	}
	if fault != nil {
		m.tell(ctx, Usage{Failed: 1, Fault: fault})
	}
	return fault == nil
}

// finite returns an error for values that are no numbers.
func finite(values []float32) error {
	for _, v := range values {
		if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
			return fmt.Errorf("the model gave %v, which is no number", v)
		}
	}
	return nil
}

// What stands around the output of a text that was cut: whoever learns the prediction from the ledger learns that, too.
const (
	cutPrefix = `{"truncated":true,"output":`
	cutSuffix = `}`
)

func markCut(output string, cut bool) string {
	if cut {
		return cutPrefix + output + cutSuffix
	}
	return output
}

// unmarkCut is the reverse of markCut.
func unmarkCut(text string) (output string, cut bool) {
	if output, cut = strings.CutPrefix(text, cutPrefix); cut {
		return strings.TrimSuffix(output, cutSuffix), true
	}
	return text, false
}

// remembered has each text scored once, whoever asks and however many at a time: the ledger answers, or another call that
// is scoring the text is waited for, or score gives the outputs, "" where there is none. take reads one; ok false asks for
// another.
func (r *Registry) remembered(ctx context.Context, m *model, task string, texts []string, take func(i int, output string) (ok bool, err error), score func(texts []string) ([]string, error)) error {
	inputs := digestInputs(task, texts)
	open := make([]int, len(texts)) // places of texts without an answer
	for i := range open {
		open[i] = i
	}
	for len(open) > 0 {
		missing, err := r.known(ctx, m, inputs, open, take)
		if err != nil {
			return err
		}
		m.tell(ctx, Usage{Known: len(open) - len(missing)})
		mine, theirs, ends := r.claims.take(m.info.Digest, inputs, missing)
		if err := r.fresh(ctx, m, texts, inputs, mine, take, score); err != nil {
			return err
		}
		for _, end := range ends {
			select {
			case <-end:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		open = theirs
	}
	return nil
}

// known answers what the ledger knows, and returns the places of the others.
func (r *Registry) known(ctx context.Context, m *model, inputs []InputDigest, open []int, take func(i int, output string) (bool, error)) (missing []int, err error) {
	asked, outputs := make([]InputDigest, len(open)), make([]string, len(open))
	for i, at := range open {
		asked[i] = inputs[at]
	}
	r.cfg.Ledger.Find(ctx, m.info.Digest, asked, outputs)
	truncated := 0
	for i, at := range open {
		output, cut := unmarkCut(outputs[i])
		ok := false
		if output != "" {
			if ok, err = take(at, output); err != nil {
				return nil, err
			}
		}
		switch {
		case !ok:
			missing = append(missing, at)
		case cut:
			truncated++
		}
	}
	m.tell(ctx, Usage{Truncated: truncated})
	return missing, nil
}

// fresh scores texts that were claimed, and gives the claims back. The ledger is asked once more: whoever had a text claimed
// before may have scored it between the first look and the claim.
func (r *Registry) fresh(ctx context.Context, m *model, texts []string, inputs []InputDigest, mine []int, take func(i int, output string) (bool, error), score func(texts []string) ([]string, error)) error {
	if len(mine) == 0 {
		return nil
	}
	defer r.claims.release(m.info.Digest, inputs, mine)
	claimed := len(mine)
	mine, err := r.known(ctx, m, inputs, mine, take)
	if err != nil {
		return err
	}
	if m.tell(ctx, Usage{Scored: len(mine), Known: claimed - len(mine)}); len(mine) == 0 || looksUpOnly(ctx) {
		return nil
	}
	asked, named, began := make([]string, len(mine)), make([]InputDigest, len(mine)), time.Now()
	for i, at := range mine {
		asked[i], named[i] = texts[at], inputs[at]
	}
	outputs, err := score(asked)
	if len(outputs) == len(named) { // of a call that was stopped as far as they are there: they may have been paid for
		r.cfg.Ledger.Add(m.info.Digest, m.info.Name, named, outputs, time.Since(began)/time.Duration(len(mine)))
	}
	if err != nil {
		return err
	}
	truncated := 0
	for i, at := range mine {
		output, cut := unmarkCut(outputs[i])
		if output == "" {
			continue
		}
		if ok, err := take(at, output); err != nil || !ok {
			return errors.Join(err, fmt.Errorf("read output %.40q", output))
		}
		if cut {
			truncated++
		}
	}
	m.tell(ctx, Usage{Truncated: truncated})
	return nil
}

// claims says which texts are being scored. Whoever has claimed some scores them before waiting for those of others, so
// that no two wait for one another.
type claims struct {
	mu  sync.Mutex
	all map[claim]chan struct{} // closed when the text is scored, or was given up
}

type claim struct {
	model string
	input InputDigest
}

// take claims what nobody has; ends are of the places that others have.
func (c *claims) take(model string, inputs []InputDigest, places []int) (mine, theirs []int, ends []chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var own chan struct{}
	for _, at := range places {
		k := claim{model, inputs[at]}
		if end, ok := c.all[k]; ok && end != own {
			theirs, ends = append(theirs, at), append(ends, end)
			continue
		}
		if own == nil {
			own = make(chan struct{})
		}
		c.all[k] = own
		mine = append(mine, at)
	}
	return mine, theirs, ends
}

func (c *claims) release(model string, inputs []InputDigest, places []int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, at := range places {
		k := claim{model, inputs[at]}
		if end, ok := c.all[k]; ok {
			delete(c.all, k)
			select {
			case <-end: // one channel serves all places of a call
			default:
				close(end)
			}
		}
	}
}

// formatOutput writes numbers as a JSON array from which each comes back bit for bit.
func formatOutput(values []float32) string {
	b := append(make([]byte, 0, 14*len(values)+2), '[')
	for i, v := range values {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendFloat(b, float64(v), 'g', -1, 32)
	}
	return string(append(b, ']'))
}

// parseOutput is the reverse of formatOutput.
func parseOutput(text string) ([]float32, error) {
	if len(text) < 2 || text[0] != '[' || text[len(text)-1] != ']' {
		return nil, fmt.Errorf("read output %.40q: want an array", text)
	}
	values := make([]float32, 0, len(text)/8)
	for rest := text[1 : len(text)-1]; rest != ""; {
		end := 0
		for end < len(rest) && rest[end] != ',' {
			end++
		}
		v, err := strconv.ParseFloat(rest[:end], 32)
		if err != nil {
			return nil, fmt.Errorf("read output %.40q: %w", text, err)
		}
		values = append(values, float32(v))
		rest = rest[min(end+1, len(rest)):]
	}
	return values, nil
}
