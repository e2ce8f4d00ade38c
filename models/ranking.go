package models

import (
	"cmp"
	"math"
	"slices"
	"strconv"
)

// tie is how near two cosines are that count as equal: terms of the same words in another order differ by the rounding of
// their sums, and that must not decide which comes first.
const tie = 1e-6

// nearest returns the terms most like the text; those equally like it by name.
func nearest(doc []float32, terms []string, vectors [][]float32, top int) []Keyword {
	type ranked struct {
		term   string
		cosine float64
		grid   float64
	}
	all := make([]ranked, len(terms))
	for i, t := range terms {
		c := dot(doc, vectors[i])
		all[i] = ranked{t, c, math.Round(c / tie)}
	}
	slices.SortFunc(all, func(a, b ranked) int {
		return cmp.Or(cmp.Compare(b.grid, a.grid), cmp.Compare(a.term, b.term))
	})
	out := make([]Keyword, min(top, len(all)))
	for i := range out {
		out[i] = Keyword{all[i].term, round4(all[i].cosine)}
	}
	return out
}

// mmr picks the term most like the text, and then again and again the one that is like the text and unlike those
// picked. The result is sorted by rounded score; equal ones stay in the order of picking.
func mmr(doc []float32, terms []string, vectors [][]float32, top int, diversity float64) []Keyword {
	if len(terms) == 0 {
		return nil
	}
	toDoc := make([]float64, len(terms))
	best := 0
	for i, v := range vectors {
		if toDoc[i] = dot(doc, v); toDoc[i] > toDoc[best]+tie {
			best = i
		}
	}
	picked := []int{best}
	taken := make([]bool, len(terms))
	taken[best] = true
	nearestPicked := make([]float64, len(terms)) // likeness to the most alike of those picked
	for i, v := range vectors {
		nearestPicked[i] = dot(v, vectors[best])
	}
	for range min(top, len(terms)) - 1 {
		next, most := -1, 0.0
		for i := range terms {
			if taken[i] {
				continue
			}
			if value := (1-diversity)*toDoc[i] - diversity*nearestPicked[i]; next < 0 || value > most+tie {
				next, most = i, value
			}
		}
		picked = append(picked, next)
		taken[next] = true
		for i, v := range vectors {
			nearestPicked[i] = max(nearestPicked[i], dot(v, vectors[next]))
		}
	}
	out := make([]Keyword, len(picked))
	for i, p := range picked {
		out[i] = Keyword{terms[p], round4(toDoc[p])}
	}
	slices.SortStableFunc(out, func(a, b Keyword) int { return cmp.Compare(b.Score, a.Score) })
	return out
}

// maxSum tries all sets of top terms among the candidates most like the text, and returns the set whose terms are least
// like one another, the least like the text first. A text with fewer terms than top has none.
func maxSum(doc []float32, terms []string, vectors [][]float32, top, candidates int) []Keyword {
	if top > len(terms) {
		return nil
	}
	place := make(map[string]int, len(terms))
	for i, t := range terms {
		place[t] = i
	}
	pool := nearest(doc, terms, vectors, candidates)
	slices.Reverse(pool)
	likeness := make([][]float64, len(pool))
	for i, a := range pool {
		likeness[i] = make([]float64, len(pool))
		for j, b := range pool[:i] {
			likeness[i][j] = dot(vectors[place[a.Term]], vectors[place[b.Term]])
		}
	}
	best := math.Inf(1)
	chosen, picked := make([]int, 0, top), make([]int, 0, top)
	var try func(from int, sum float64)
	try = func(from int, sum float64) {
		if len(picked) == top {
			if sum < best-tie {
				best, chosen = sum, append(chosen[:0], picked...)
			}
			return
		}
		for i := from; i <= len(pool)-(top-len(picked)); i++ {
			with := sum
			for _, p := range picked {
				with += likeness[i][p]
			}
			picked = append(picked, i)
			try(i+1, with)
			picked = picked[:len(picked)-1]
		}
	}
	try(0, 0)
	out := make([]Keyword, top)
	for i, c := range chosen {
		out[i] = pool[c]
	}
	return out
}

// sets is how many sets of k the set of n has, or +Inf.
func sets(n, k int) float64 {
	out := 1.0
	for i := range min(k, n-k) {
		out *= float64(n-i) / float64(i+1)
	}
	return out
}

// guided moves the vector of a text a quarter of the way to the mean of the seeds.
func guided(doc []float32, seeds [][]float32) []float32 {
	if len(seeds) == 0 {
		return doc
	}
	out := make([]float32, len(doc))
	for i := range doc {
		sum := float32(0)
		for _, s := range seeds {
			sum += s[i]
		}
		out[i] = (3*doc[i] + sum/float32(len(seeds))) / 4
	}
	return normalized(out)
}

func dot(a, b []float32) float64 {
	sum := 0.0
	for i := range min(len(a), len(b)) {
		sum += float64(a[i]) * float64(b[i])
	}
	return sum
}

// round4 rounds as Python's round(x, 4) does: to the nearest decimal, judged by the exact value.
func round4(x float64) float64 {
	r, err := strconv.ParseFloat(strconv.FormatFloat(x, 'f', 4, 64), 64)
	if err != nil {
		return x // not a number stays none
	}
	return r
}
