// Package train fits classification heads on frozen embeddings: logistic regression with an L2 penalty, as scikit-learn
// defines it, chosen and judged by stratified cross-validation, with one temperature that makes its probabilities honest
// and, where a text may have several labels, a threshold for each. The same rows, options and seed give the same head, bit
// for bit, on one kind of machine. It knows vectors and numbers of labels, and no texts.
package train

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"

	"smelt/models/metrics"
)

// Errors of trainings; their texts say why.
var (
	// ErrData is returned for rows from which nothing can be learned.
	ErrData = errors.New("cannot be trained on these rows")
	// ErrOption is returned for an option that is refused.
	ErrOption = errors.New("cannot be trained so")
)

// Limits of one training.
const (
	// MaxRows bounds the rows: all their vectors are held in memory, as doubles and for each fold.
	MaxRows = 50_000
	// MaxLabels bounds the labels: a head has a vector for each.
	MaxLabels = 200
	// FewRows is the number of rows of one label below which its scores are mostly chance.
	FewRows = 8
	// maxValues bounds rows times the length of a vector, 8 bytes each, in memory a few times over.
	maxValues = 32 << 20
	maxFolds  = 20
)

// grid is the values of C that are tried, from smooth to sharp; vectors have length 1.
var grid = []float64{0.1, 0.3, 1, 3, 10, 30, 100, 300}

// Data is what a head learns from.
type Data struct {
	Labels  []string
	Vectors [][]float32 // one a row, all of one length
	Truth   [][]int     // the labels of each row, by their places in Labels; exactly one unless MultiLabel
}

// Options say how.
type Options struct {
	MultiLabel bool
	C          float64 // inverse strength of the penalty; 0 chooses it by cross-validation
	Balanced   bool    // each label weighs as much, however many rows it has: n / (labels * rows of the label)
	Folds      int     // of the cross-validation, from 2
	Seed       uint64  // decides which row is in which fold
	Calibrate  bool    // fit a temperature
	Threshold  float64 // of every label of a multi-label head; 0 finds one for each
}

// Report says how well the head did on rows that it had not seen: those left out of each fold.
type Report struct {
	Rows, Folds     int
	C               float64
	Temperature     float64
	Matrix          metrics.Matrix
	Before, After   metrics.Probabilities // of the temperature
	Counts          []int                 // rows of each label, as Data.Labels
	SmallestClasses []string              // labels with fewer than FewRows rows
	Thresholds      []float64             // of a multi-label head, as Data.Labels
}

// Fit learns a head.
func Fit(ctx context.Context, d Data, o Options) (*Head, *Report, error) {
	report := &Report{Rows: len(d.Vectors), Counts: make([]int, len(d.Labels))}
	if err := check(d, &o, report); err != nil {
		return nil, nil, err
	}
	report.Folds = o.Folds
	all := newProblem(d, o, nil)
	candidates := grid
	if o.C > 0 {
		candidates = []float64{o.C}
	}
	held, err := crossValidate(ctx, d, o, candidates)
	if err != nil {
		return nil, nil, err
	}
	best, bestLoss := 0, math.Inf(1)
	temperatures := make([]float64, len(candidates))
	for i, logits := range held {
		temperatures[i] = 1
		if o.Calibrate {
			temperatures[i] = temperature(logits, d.Truth, o.MultiLabel)
		}
		if loss := logLoss(logits, d.Truth, o.MultiLabel, temperatures[i]); loss < bestLoss {
			best, bestLoss = i, loss
		}
	}
	report.C, report.Temperature = candidates[best], temperatures[best]
	w, err := all.solve(ctx, report.C, nil, fine)
	if err != nil {
		return nil, nil, err
	}
	h := &Head{Labels: d.Labels, Function: softmax, C: report.C, Temperature: report.Temperature, Rows: report.Rows, Seed: o.Seed, Folds: o.Folds}
	h.take(all, w)
	if o.MultiLabel {
		h.Function = sigmoid
		h.Thresholds = thresholds(held[best], d.Truth, report.Temperature, o.Threshold)
		report.Thresholds = h.Thresholds
	}
	return h, report, report.judge(d, h, held[best])
}

// check refuses what cannot be learned, and counts the rows of each label.
func check(d Data, o *Options, report *Report) error {
	n := len(d.Vectors)
	switch {
	case n == 0:
		return fmt.Errorf("%w: there are none", ErrData)
	case n > MaxRows:
		return fmt.Errorf("%w: there are more than %d; take a sample", ErrData, MaxRows)
	case len(d.Labels) > MaxLabels:
		return fmt.Errorf("%w: there are %d labels, at most %d are learned; is the column that of the labels?", ErrData, len(d.Labels), MaxLabels)
	case n*len(d.Vectors[0]) > maxValues:
		return fmt.Errorf("%w: %d vectors of %d numbers are too many at a time; take a sample", ErrData, n, len(d.Vectors[0]))
	case o.Folds < 2 || o.Folds > maxFolds:
		return fmt.Errorf("%w: folds = %d is not between 2 and %d", ErrData, o.Folds, maxFolds)
	case math.IsNaN(o.C) || o.C < 0 || o.C > 1e6:
		return fmt.Errorf("%w: c = %v is not above 0 and at most 1e6", ErrData, o.C)
	}
	for _, truth := range d.Truth {
		for _, label := range truth {
			report.Counts[label]++
		}
	}
	present := 0
	for i, count := range report.Counts {
		if count > 0 {
			present++
		}
		if count < FewRows {
			report.SmallestClasses = append(report.SmallestClasses, d.Labels[i])
		}
	}
	if !o.MultiLabel && present < 2 {
		return fmt.Errorf("%w: all %d have the label %q; a classifier needs two labels", ErrData, n, d.Labels[d.Truth[0][0]])
	}
	if present == 0 {
		return fmt.Errorf("%w: none of the %d has a label", ErrData, n)
	}
	if o.Folds = min(o.Folds, n); o.Folds < 2 {
		return fmt.Errorf("%w: one row alone cannot be judged", ErrData)
	}
	return nil
}

// crossValidate returns, for each candidate of C, the logits of every row by a head that did not see it.
func crossValidate(ctx context.Context, d Data, o Options, candidates []float64) ([][][]float64, error) {
	fold := folds(d, o)
	held := make([][][]float64, len(candidates))
	for i := range held {
		held[i] = make([][]float64, len(d.Vectors))
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for f := range o.Folds {
		group.Go(func() error {
			p := newProblem(d, o, func(row int) bool { return fold[row] != f })
			var w []float64
			for i, c := range candidates { // the next one begins where the last one ended
				var err error
				if w, err = p.solve(ctx, c, w, coarse); err != nil {
					return err
				}
				for row, at := range fold {
					if at == f {
						held[i][row] = p.logits(w, d.Vectors[row])
					}
				}
			}
			return nil
		})
	}
	return held, group.Wait()
}

// judge fills in what the head said of the rows that it had not seen.
func (r *Report) judge(d Data, h *Head, held [][]float64) error {
	for row, logits := range held {
		if h.Function == sigmoid {
			p := probabilities(logits, true, h.Temperature)
			var truth, said []string
			for i, label := range h.Labels {
				is := slices.Contains(d.Truth[row], i)
				if is {
					truth = append(truth, label)
				}
				if p[i] >= h.Thresholds[i] {
					said = append(said, label)
				}
				raw := probability(logits[i])
				r.Before.Add(ofTruth(raw, is), raw, is)
				r.After.Add(ofTruth(p[i], is), p[i], is)
			}
			if err := r.Matrix.AddSets(truth, said); err != nil {
				return err
			}
			continue
		}
		truth, raw, p := d.Truth[row][0], probabilities(logits, false, 1), probabilities(logits, false, h.Temperature)
		best := most(p)
		r.Before.Add(raw[truth], raw[best], best == truth)
		r.After.Add(p[truth], p[best], best == truth)
		if err := r.Matrix.Add(h.Labels[truth], h.Labels[best]); err != nil {
			return err
		}
	}
	return nil
}

func ofTruth(p float64, is bool) float64 {
	if is {
		return p
	}
	return 1 - p
}

// most returns the place of the greatest; of equal ones the first.
func most(p []float64) int {
	best := 0
	for i := range p {
		if p[i] > p[best] {
			best = i
		}
	}
	return best
}
