package models

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
)

// How the vectors of the tokens become one.
const (
	meanPooling = "mean"
	clsPooling  = "cls"
	maxPooling  = "max"
	lastPooling = "last"
)

var poolings = []string{meanPooling, clsPooling, maxPooling, lastPooling}

// poolingConfig is 1_Pooling/config.json of sentence-transformers: one flag a way, or its name from version 6 on.
type poolingConfig struct {
	Dimension int             `json:"word_embedding_dimension"`
	Width     int             `json:"embedding_dimension"`
	Mode      json.RawMessage `json:"pooling_mode"` // a name or several
	CLS       *bool           `json:"pooling_mode_cls_token"`
	Mean      *bool           `json:"pooling_mode_mean_tokens"`
	Max       *bool           `json:"pooling_mode_max_tokens"`
	RootMean  *bool           `json:"pooling_mode_mean_sqrt_len_tokens"`
	Weighted  *bool           `json:"pooling_mode_weightedmean_tokens"`
	Last      *bool           `json:"pooling_mode_lasttoken"`
}

// there tells whether the file was.
func (p poolingConfig) there() bool { return len(p.modes()) > 0 || p.Mean != nil || p.CLS != nil }

// dimension is that of the vectors, 0 where the file does not say it.
func (p poolingConfig) dimension() int { return max(p.Dimension, p.Width) }

// modes are the ways that the file names, as version 6 spells them.
func (p poolingConfig) modes() []string {
	var one string
	if json.Unmarshal(p.Mode, &one) == nil {
		return []string{one}
	}
	var modes []string
	if json.Unmarshal(p.Mode, &modes) == nil {
		return modes
	}
	for _, m := range []struct {
		on   *bool
		name string
	}{{p.CLS, "cls"}, {p.Max, "max"}, {p.Mean, "mean"}, {p.RootMean, "mean_sqrt_len_tokens"}, {p.Weighted, "weightedmean"}, {p.Last, "lasttoken"}} {
		if m.on != nil && *m.on {
			modes = append(modes, m.name)
		}
	}
	return modes
}

// pooling is how the file has vectors become one; mean where it says nothing.
func (p poolingConfig) pooling() (string, error) {
	modes := p.modes()
	if len(modes) > 1 {
		return "", fmt.Errorf("%w: 1_Pooling joins %s; say %s = one of %s", ErrInvalid, strings.Join(modes, " and "), optionPooling, strings.Join(poolings, ", "))
	}
	if len(modes) == 0 {
		return meanPooling, nil
	}
	switch m := modes[0]; m {
	case "mean_sqrt_len_tokens": // the same direction
		return meanPooling, nil
	case "lasttoken":
		return lastPooling, nil
	default:
		return m, nil
	}
}

// checkPooling refuses a way that is not known.
func checkPooling(name string) error {
	if !slices.Contains(poolings, name) {
		return fmt.Errorf("%w: %s = %q: known are %s (of 1_Pooling or option %s)", ErrInvalid, optionPooling, name, strings.Join(poolings, ", "), optionPooling)
	}
	return nil
}

// pool makes one vector of those of the tokens, size numbers each; mask shows which are of the text.
func pool(pooling string, values []float32, mask []int64, size int) []float32 {
	switch pooling {
	case clsPooling:
		return values[:size]
	case lastPooling:
		last := len(mask) - 1
		for last > 0 && mask[last] == 0 {
			last--
		}
		return values[last*size : (last+1)*size]
	case maxPooling:
		return maximum(values, mask, size)
	}
	return mean(values, mask, size)
}

// maximum takes the largest number of the tokens that the mask shows, place by place.
func maximum(values []float32, mask []int64, size int) []float32 {
	out := make([]float32, size)
	first := true
	for t, shown := range mask {
		if shown == 0 {
			continue
		}
		for i, v := range values[t*size : (t+1)*size] {
			if first || v > out[i] || math.IsNaN(float64(v)) {
				out[i] = v
			}
		}
		first = false
	}
	return out
}

// mean averages the vectors of the tokens that the mask shows.
func mean(values []float32, mask []int64, size int) []float32 {
	out := make([]float32, size)
	n := 0
	for t, shown := range mask {
		if shown == 0 {
			continue
		}
		n++
		for i, v := range values[t*size : (t+1)*size] {
			out[i] += v
		}
	}
	for i := range out {
		out[i] /= float32(max(n, 1))
	}
	return out
}
