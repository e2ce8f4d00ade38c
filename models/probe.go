package models

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
)

// probeTexts differ in length, so that they are padded when they run together.
var probeTexts = []string{"", "good", "the flight was late again, thanks for nothing", "Wow 😀 \u4e2d\u6587 naïve @user https://example.com/x !!!", strings.Repeat("a long text of many words ", 40)}

// probe runs a model that was just made: texts together and each alone. It gives the number of outputs, and refuses what
// gives no numbers or another number of them. A model whose predictions depend on their neighbours, as those of dynamic
// int8 do, runs one text at a time from then on.
func (r *Registry) probe(ctx context.Context, m *model) error {
	together := make([][]float32, len(probeTexts))
	if err := r.forward(ctx, m, probeTexts, func(i int, o outcome) error { together[i] = o.values; return nil }); err != nil {
		return fmt.Errorf("%w: a first run: %w", ErrInvalid, err)
	}
	for i, text := range probeTexts {
		var alone []float32
		if err := r.forward(ctx, m, probeTexts[i:i+1], func(_ int, o outcome) error { alone = o.values; return nil }); err != nil {
			return fmt.Errorf("%w: a first run: %w", ErrInvalid, err)
		}
		if len(alone) != len(together[0]) || len(alone) == 0 {
			return fmt.Errorf("%w: it gives %d values for one text and %d for another", ErrInvalid, len(together[0]), len(alone))
		}
		for _, v := range alone {
			if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
				return fmt.Errorf("%w: it gives %v for the text %.20q", ErrInvalid, v, text)
			}
		}
		if !slices.Equal(alone, together[i]) {
			m.settings.Single = true
		}
	}
	if n := len(m.settings.Labels); m.settings.Kind == Classifier && len(together[0]) != n {
		return fmt.Errorf("%w: it gives %d values for %d labels", ErrInvalid, len(together[0]), n)
	}
	if m.settings.Kind == Encoder {
		if d := m.settings.Dimension; d != 0 && d != len(together[0]) {
			return fmt.Errorf("%w: it gives vectors of %d, its configuration says %d", ErrInvalid, len(together[0]), d)
		}
		m.settings.Dimension = len(together[0])
	}
	return nil
}
