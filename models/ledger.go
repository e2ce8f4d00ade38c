package models

import (
	"context"
	"crypto/sha256"
	"fmt"
	"strconv"
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

type usageKey struct{}

// WithUsage returns a context under which tell is told of texts: how many a model is about to score, and how many the
// ledger knew. It is called from several goroutines.
func WithUsage(ctx context.Context, tell func(scored, found int)) context.Context {
	return context.WithValue(ctx, usageKey{}, tell)
}

func count(ctx context.Context, scored, found int) {
	if tell, ok := ctx.Value(usageKey{}).(func(scored, found int)); ok {
		tell(scored, found)
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
// from several goroutines, once for each text.
func (r *Registry) outputs(ctx context.Context, m *model, texts []string, result func(i int, values []float32) error) error {
	if r.cfg.Ledger == nil || len(texts) == 0 {
		count(ctx, len(texts), 0)
		return r.run(ctx, m, texts, result)
	}
	inputs, known := digestInputs("", texts), make([]string, len(texts))
	r.cfg.Ledger.Find(ctx, m.info.Digest, inputs, known)
	var missing []string
	var places []int
	for i, text := range known {
		values, err := parseOutput(text)
		if text == "" || err != nil { // one that cannot be read is scored again
			missing, places = append(missing, texts[i]), append(places, i)
			continue
		}
		if err := result(i, values); err != nil {
			return err
		}
	}
	count(ctx, len(missing), len(texts)-len(missing))
	if len(missing) == 0 {
		return nil
	}
	fresh, began := make([]string, len(missing)), time.Now()
	err := r.run(ctx, m, missing, func(i int, values []float32) error {
		if err := result(places[i], values); err != nil {
			return err
		}
		fresh[i] = formatOutput(values)
		return nil
	})
	if err != nil {
		return err
	}
	named := make([]InputDigest, len(places))
	for i, at := range places {
		named[i] = inputs[at]
	}
	r.cfg.Ledger.Add(m.info.Digest, m.info.Name, named, fresh, time.Since(began)/time.Duration(len(missing)))
	return nil
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
