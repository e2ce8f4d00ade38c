// Package metrics judges predictions against the truth: accuracy, precision, recall and F1 as scikit-learn defines them,
// with a score of 0 where it would divide by zero, and the confusion matrix. Scores go from 0 to 1.
package metrics

import (
	"fmt"
	"slices"
	"strings"
)

// maxLabels bounds the classes of a matrix: a column of free text in the place of a label would otherwise fill the memory.
const maxLabels = 1000

// Matrix counts how often each label was predicted for each true label. The zero value is empty.
type Matrix struct {
	counts map[pair]int64
	labels map[string]bool
	rows   int64
	sets   map[string]tally // of AddSets
	exact  int64            // rows of AddSets whose labels are all right
}

type pair struct{ truth, predicted string }

// Add counts a row. More than 1,000 labels are an error.
func (m *Matrix) Add(truth, predicted string) error {
	for _, label := range [...]string{truth, predicted} {
		if err := m.know(label); err != nil {
			return err
		}
	}
	m.counts[pair{truth, predicted}]++
	m.rows++
	return nil
}

// know takes note of a label.
func (m *Matrix) know(label string) error {
	if m.counts == nil {
		m.counts, m.labels = map[pair]int64{}, map[string]bool{}
	}
	if !m.labels[label] && len(m.labels) == maxLabels {
		return fmt.Errorf("count label %q: more than %d labels", label, maxLabels)
	}
	m.labels[label] = true
	return nil
}

// Rows returns how many rows were counted.
func (m *Matrix) Rows() int64 { return m.rows }

// Labels returns all labels, true or predicted, sorted.
func (m *Matrix) Labels() []string {
	labels := make([]string, 0, len(m.labels))
	for label := range m.labels {
		labels = append(labels, label)
	}
	slices.Sort(labels)
	return labels
}

// Count returns how often a label was predicted where another, or the same, was true.
func (m *Matrix) Count(truth, predicted string) int64 { return m.counts[pair{truth, predicted}] }

// Scores are those of one class, or an average over classes.
type Scores struct {
	Precision, Recall, F1 float64
	Support               int64 // rows of which it is the truth
}

// tally is what the scores of a class, or of all together, follow from.
type tally struct{ right, truth, predicted int64 }

func (t tally) scores() Scores {
	return Scores{Precision: ratio(t.right, t.predicted), Recall: ratio(t.right, t.truth), F1: ratio(2*t.right, t.truth+t.predicted), Support: t.truth}
}

func ratio(a, b int64) float64 {
	if b == 0 {
		return 0
	}
	return float64(a) / float64(b)
}

// tallies returns the tally of each class, in the order of Labels.
func (m *Matrix) tallies() []tally {
	labels := m.Labels()
	at := make(map[string]int, len(labels))
	for i, label := range labels {
		at[label] = i
	}
	out := make([]tally, len(labels))
	for p, n := range m.counts {
		out[at[p.truth]].truth += n
		out[at[p.predicted]].predicted += n
		if p.truth == p.predicted {
			out[at[p.truth]].right += n
		}
	}
	for label, t := range m.sets {
		out[at[label]] = t
	}
	return out
}

// Classes returns the scores of each class, in the order of Labels.
func (m *Matrix) Classes() []Scores {
	var out []Scores
	for _, t := range m.tallies() {
		out = append(out, t.scores())
	}
	return out
}

// Class returns the scores of one class; ok is false if no row has it.
func (m *Matrix) Class(label string) (s Scores, ok bool) {
	i, ok := slices.BinarySearch(m.Labels(), label)
	if !ok {
		return Scores{}, false
	}
	return m.Classes()[i], true
}

// Accuracy returns the share of rows that are right; 0 without rows.
func (m *Matrix) Accuracy() float64 {
	if m.sets != nil {
		return ratio(m.exact, m.rows)
	}
	var right int64
	for _, t := range m.tallies() {
		right += t.right
	}
	return ratio(right, m.rows)
}

// Average says how the scores of classes become one.
type Average string

// The averages of scikit-learn.
const (
	Weighted Average = "weighted" // by the support of each class
	Macro    Average = "macro"    // each class counts as much
	Micro    Average = "micro"    // each row counts as much
)

// ParseAverage reads the name of an average, in any case.
func ParseAverage(name string) (Average, error) {
	a := Average(strings.ToLower(name))
	if !slices.Contains([]Average{Weighted, Macro, Micro}, a) {
		return "", fmt.Errorf("read average %q: want weighted, macro or micro", name)
	}
	return a, nil
}

// Average returns the scores over all classes; zeros without rows.
func (m *Matrix) Average(a Average) Scores {
	all := Scores{Support: m.rows}
	if m.rows == 0 {
		return all
	}
	tallies := m.tallies()
	if a == Micro {
		var sum tally
		for _, t := range tallies {
			sum = tally{sum.right + t.right, sum.truth + t.truth, sum.predicted + t.predicted}
		}
		return sum.scores()
	}
	var weights float64
	for _, t := range tallies {
		s, weight := t.scores(), 1.0
		if a == Weighted {
			weight = float64(t.truth)
		}
		all.Precision += weight * s.Precision
		all.Recall += weight * s.Recall
		all.F1 += weight * s.F1
		weights += weight
	}
	all.Precision /= weights
	all.Recall /= weights
	all.F1 /= weights
	return all
}
