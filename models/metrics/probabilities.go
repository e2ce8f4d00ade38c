package metrics

import (
	"math"
	"slices"
)

// eceBins is into how many equal parts the probabilities are divided by Probabilities.ECE.
const eceBins = 15

// leastProbability is what a truth counts for that was given less: the logarithm of 0 is infinite.
const leastProbability = 1e-15

// Probabilities judges the probabilities of predictions. The zero value is empty.
type Probabilities struct {
	rows int64
	loss float64
	bins [eceBins]struct {
		rows, right int64
		sum         float64
	}
}

// Add counts a prediction: what it gave the truth, and with which probability it said what it said, right or wrong. Of a label
// that is decided by itself: what it gave the truth, the probability of the label, and whether the row has it.
func (p *Probabilities) Add(ofTruth, said float64, right bool) {
	p.rows++
	p.loss -= math.Log(max(ofTruth, leastProbability))
	b := &p.bins[max(0, min(eceBins-1, int(math.Ceil(said*eceBins))-1))]
	b.rows++
	b.sum += said
	if right {
		b.right++
	}
}

// Rows returns how many predictions were counted.
func (p *Probabilities) Rows() int64 { return p.rows }

// LogLoss is the mean negative logarithm of what the truth was given; 0 without rows.
func (p *Probabilities) LogLoss() float64 {
	if p.rows == 0 {
		return 0
	}
	return p.loss / float64(p.rows)
}

// ECE is the expected calibration error over 15 equal parts: how far probabilities are from the share that is right; 0 without
// rows.
func (p *Probabilities) ECE() float64 {
	sum := 0.0
	for _, b := range p.bins {
		sum += math.Abs(b.sum - float64(b.right))
	}
	if p.rows == 0 {
		return 0
	}
	return sum / float64(p.rows)
}

// AddSets counts a row that may have any number of labels, each named once. A matrix has rows of one kind: after AddSets there
// is no Count, and Accuracy is the share of rows whose labels are all right.
func (m *Matrix) AddSets(truth, predicted []string) error {
	for _, label := range slices.Concat(truth, predicted) {
		if err := m.know(label); err != nil {
			return err
		}
	}
	if m.sets == nil {
		m.sets = map[string]tally{}
	}
	exact := len(truth) == len(predicted)
	for _, label := range truth {
		t := m.sets[label]
		if t.truth++; slices.Contains(predicted, label) {
			t.right++
		} else {
			exact = false
		}
		m.sets[label] = t
	}
	for _, label := range predicted {
		t := m.sets[label]
		t.predicted++
		m.sets[label] = t
	}
	m.rows++
	if exact {
		m.exact++
	}
	return nil
}
