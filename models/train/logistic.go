package train

import (
	"context"
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/optimize"
)

// How near the gradient must come to zero: for heads that are only compared, and for the one that is kept. The second is what
// makes coefficients equal those of scikit-learn to five digits.
const (
	coarse = 1e-5
	fine   = 1e-9
	// maxIterations ends an optimisation that creeps on; what it has reached then is good enough to be judged.
	maxIterations = 2000
)

// problem is the rows of one fit. Weights are one vector: for each output the coefficients, then the intercept.
type problem struct {
	x       *mat.Dense // rows x dimension
	target  [][]bool   // by output, row
	weight  [][]float64
	total   []float64 // sum of the weights, by output
	softmax bool      // outputs exclude one another: all are fitted at once. Else each is a fit of its own.
	pair    bool      // two labels that exclude one another: one output says both
	dim     int
}

// newProblem takes the rows that keep says, nil for all.
func newProblem(d Data, o Options, keep func(row int) bool) *problem {
	var rows []int
	for row := range d.Vectors {
		if keep == nil || keep(row) {
			rows = append(rows, row)
		}
	}
	p := &problem{dim: len(d.Vectors[0]), pair: !o.MultiLabel && len(d.Labels) == 2}
	p.softmax = !o.MultiLabel && !p.pair
	p.x = mat.NewDense(len(rows), p.dim, nil)
	for i, row := range rows {
		to := p.x.RawRowView(i)
		for j, v := range d.Vectors[row] {
			to[j] = float64(v)
		}
	}
	p.target = make([][]bool, len(d.Labels))
	counts := make([]int, len(d.Labels))
	for k := range p.target {
		p.target[k] = make([]bool, len(rows))
		for i, row := range rows {
			if slices.Contains(d.Truth[row], k) {
				p.target[k][i] = true
				counts[k]++
			}
		}
	}
	p.weigh(o, counts, len(rows))
	if p.pair {
		p.target = p.target[1:]
	}
	return p
}

// weigh sets the weight of each row in each fit.
func (p *problem) weigh(o Options, counts []int, n int) {
	present := 0
	for _, c := range counts {
		if c > 0 {
			present++
		}
	}
	p.weight, p.total = make([][]float64, len(p.target)), make([]float64, len(p.target))
	for k := range p.target {
		p.weight[k] = slices.Repeat([]float64{1}, n)
		for i := range n {
			switch {
			case !o.Balanced:
			case o.MultiLabel && p.target[k][i]:
				p.weight[k][i] = float64(n) / float64(2*counts[k])
			case o.MultiLabel:
				p.weight[k][i] = float64(n) / float64(2*(n-counts[k]))
			default:
				for c := range p.target {
					if p.target[c][i] {
						p.weight[k][i] = float64(n) / float64(present*counts[c])
					}
				}
			}
			p.total[k] += p.weight[k][i]
		}
	}
}

// outputs is how many rows of weights there are.
func (p *problem) outputs() int { return len(p.target) }

// solve returns the weights that are best for one C, begun at some, nil for zeros.
func (p *problem) solve(ctx context.Context, c float64, from []float64, within float64) ([]float64, error) {
	if from == nil {
		from = make([]float64, p.outputs()*(p.dim+1))
	}
	if p.softmax {
		return p.minimize(ctx, c, from, within, 0, p.outputs())
	}
	out := make([]float64, 0, len(from))
	for k := range p.outputs() {
		w, err := p.minimize(ctx, c, from[k*(p.dim+1):(k+1)*(p.dim+1)], within, k, k+1)
		if err != nil {
			return nil, err
		}
		out = append(out, w...)
	}
	return out, nil
}

// minimize fits the outputs from first to end together.
func (p *problem) minimize(ctx context.Context, c float64, from []float64, within float64, first, end int) ([]float64, error) {
	l := &loss{p: p, first: first, k: end - first, penalty: 1 / (c * p.total[first])}
	n, _ := p.x.Dims()
	l.z, l.at = mat.NewDense(n, l.k, nil), nil
	l.grad = make([]float64, len(from))
	result, err := optimize.Minimize(optimize.Problem{
		Func:   l.value,
		Grad:   func(grad, w []float64) { l.value(w); copy(grad, l.grad) },
		Status: func() (optimize.Status, error) { return optimize.NotTerminated, ctx.Err() },
	}, from, &optimize.Settings{GradientThreshold: within, MajorIterations: maxIterations, Converger: optimize.NeverTerminate{}}, &optimize.LBFGS{})
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	// Where the line search finds no better point the rounding of doubles is reached: that is the solution.
	if result == nil || err != nil && result.Status != optimize.Failure && result.F != result.F {
		return nil, fmt.Errorf("fit a head: %w", err)
	}
	for _, w := range result.X {
		if math.IsNaN(w) || math.IsInf(w, 0) {
			return nil, fmt.Errorf("%w: the fit gave %v for a weight", ErrData, w)
		}
	}
	return result.X, nil
}

// loss is the mean weighted loss of the rows and the penalty, with its gradient, at one place.
type loss struct {
	p        *problem
	first, k int
	penalty  float64
	z        *mat.Dense // logits, then what the gradient takes of each row
	at, grad []float64
	sum      float64
}

// value computes loss and gradient at once: the optimiser asks for both at nearly every place.
func (l *loss) value(w []float64) float64 {
	if slices.Equal(l.at, w) {
		return l.sum
	}
	l.at = append(l.at[:0], w...)
	dim := l.p.dim
	coefficients := mat.NewDense(l.k, dim, nil)
	for k := range l.k {
		copy(coefficients.RawRowView(k), w[k*(dim+1):])
	}
	l.z.Mul(l.p.x, coefficients.T())
	l.sum = 0
	rows, _ := l.z.Dims()
	intercepts := make([]float64, l.k)
	for i := range rows {
		z := l.z.RawRowView(i)
		for k := range z {
			z[k] += w[k*(dim+1)+dim]
		}
		l.sum += l.row(i, z)
		for k, v := range z {
			intercepts[k] += v
		}
	}
	var g mat.Dense
	g.Mul(l.z.T(), l.p.x)
	for k := range l.k {
		to := l.grad[k*(dim+1):]
		for j, v := range g.RawRowView(k) {
			c := w[k*(dim+1)+j]
			to[j] = v + l.penalty*c
			l.sum += l.penalty * c * c / 2
		}
		to[dim] = intercepts[k]
	}
	return l.sum
}

// row returns the loss of one row and turns its logits into their derivatives.
func (l *loss) row(i int, z []float64) (sum float64) {
	weight := l.p.weight[l.first][i] / l.p.total[l.first]
	if !l.p.softmax {
		p := probability(z[0])
		if l.p.target[l.first][i] {
			sum, z[0] = softplus(-z[0]), p-1
		} else {
			sum, z[0] = softplus(z[0]), p
		}
		z[0] *= weight
		return sum * weight
	}
	top := slices.Max(z)
	total := 0.0
	for _, v := range z {
		total += math.Exp(v - top)
	}
	whole := top + math.Log(total)
	for k := range z {
		v := z[k]
		if z[k] = math.Exp(v-whole) * weight; l.p.target[k][i] {
			sum += (whole - v) * weight
			z[k] -= weight
		}
	}
	return sum
}

// softplus is log(1 + exp(x)) without overflow.
func softplus(x float64) float64 { return max(x, 0) + math.Log1p(math.Exp(-math.Abs(x))) }

// logits of one row, one for each label.
func (p *problem) logits(w []float64, vector []float32) []float64 {
	out := make([]float64, 0, p.outputs()+1)
	for k := range p.outputs() {
		row := w[k*(p.dim+1):]
		z := row[p.dim]
		for j, v := range vector {
			z += row[j] * float64(v)
		}
		out = append(out, z)
	}
	if p.pair { // softmax of the two is the sigmoid of the one
		return []float64{-out[0] / 2, out[0] / 2}
	}
	return out
}
