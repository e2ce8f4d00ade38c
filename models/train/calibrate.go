package train

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
)

// Bounds of a temperature: beyond them the probabilities are all alike, or all 0 and 1.
const (
	minTemperature, maxTemperature = 0.05, 20
	goldenSteps                    = 60 // each takes 38 % off the interval: the last is below what a float32 can tell
)

// folds returns the fold of each row. Rows of one label are shuffled and dealt out in turn, each label going on where the last
// one stopped, so that folds have as many rows and as many of each label as can be. Rows with several labels go with their rarest.
func folds(d Data, o Options) []int {
	counts := make([]int, len(d.Labels))
	for _, truth := range d.Truth {
		for _, label := range truth {
			counts[label]++
		}
	}
	strata := make([][]int, len(d.Labels)+1) // the last one has the rows without a label
	for row, truth := range d.Truth {
		at := len(d.Labels)
		for _, label := range truth {
			if at == len(d.Labels) || counts[label] < counts[at] {
				at = label
			}
		}
		strata[at] = append(strata[at], row)
	}
	random := rand.New(rand.NewPCG(o.Seed, 0))
	out := make([]int, len(d.Truth))
	next := 0
	for _, rows := range strata {
		random.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
		for _, row := range rows {
			out[row] = next % o.Folds
			next++
		}
	}
	return out
}

// probability is that of a logit.
func probability(z float64) float64 { return 1 / (1 + math.Exp(-z)) }

// probabilities of the logits of one row.
func probabilities(logits []float64, multi bool, temperature float64) []float64 {
	out := make([]float64, len(logits))
	if multi {
		for i, z := range logits {
			out[i] = probability(z / temperature)
		}
		return out
	}
	top, sum := slices.Max(logits), 0.0
	for i, z := range logits {
		out[i] = math.Exp((z - top) / temperature)
		sum += out[i]
	}
	for i := range out {
		out[i] /= sum
	}
	return out
}

// logLoss is the mean of the negative logarithm of what the truth was given.
func logLoss(logits [][]float64, truth [][]int, multi bool, temperature float64) float64 {
	sum := 0.0
	for row, all := range logits {
		if multi {
			for i, z := range all {
				if z /= temperature; slices.Contains(truth[row], i) {
					z = -z
				}
				sum += softplus(z)
			}
			continue
		}
		top, total := slices.Max(all), 0.0
		for _, z := range all {
			total += math.Exp((z - top) / temperature)
		}
		sum += math.Log(total) - (all[truth[row][0]]-top)/temperature
	}
	return sum / float64(len(logits))
}

// temperature returns by what the logits are divided to make the log-loss least: a golden section search, because the loss
// has one valley.
func temperature(logits [][]float64, truth [][]int, multi bool) float64 {
	low, high := math.Log(minTemperature), math.Log(maxTemperature)
	ratio := (math.Sqrt(5) - 1) / 2
	f := func(x float64) float64 { return logLoss(logits, truth, multi, math.Exp(x)) }
	a, b := high-ratio*(high-low), low+ratio*(high-low)
	fa, fb := f(a), f(b)
	for range goldenSteps {
		if fa <= fb {
			high, b, fb = b, a, fa
			a = high - ratio*(high-low)
			fa = f(a)
		} else {
			low, a, fa = a, b, fb
			b = low + ratio*(high-low)
			fb = f(b)
		}
	}
	return math.Exp((low + high) / 2)
}

// thresholds returns for each label the probability from which it is given: fixed for all, or where the F1 of the label is
// best. Half way between two probabilities, so that rounding decides nothing; a label that no row has keeps one half.
func thresholds(logits [][]float64, truth [][]int, temperature, fixed float64) []float64 {
	out := make([]float64, len(logits[0]))
	type row struct {
		p  float64
		is bool
	}
	for label := range out {
		if out[label] = fixed; fixed > 0 {
			continue
		}
		rows, positive := make([]row, len(logits)), 0
		for i := range logits {
			rows[i] = row{probability(logits[i][label] / temperature), slices.Contains(truth[i], label)}
			if rows[i].is {
				positive++
			}
		}
		slices.SortStableFunc(rows, func(a, b row) int { return cmp.Compare(b.p, a.p) })
		best, right := -1.0, 0
		out[label] = 0.5
		for i, r := range rows {
			if r.is {
				right++
			}
			if i+1 < len(rows) && rows[i+1].p == r.p {
				continue // equal ones are given together
			}
			next := 0.0
			if i+1 < len(rows) {
				next = rows[i+1].p
			}
			if f1 := 2 * float64(right) / float64(i+1+positive); f1 > best && right > 0 {
				best, out[label] = f1, (r.p+next)/2
			}
		}
	}
	return out
}
