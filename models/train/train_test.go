package train

import (
	"context"
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestTheFitIsThatOfScikitLearn compares with testdata/golden.json, which testdata/golden.py has written.
func TestTheFitIsThatOfScikitLearn(t *testing.T) {
	text, err := os.ReadFile("testdata/golden.json")
	require.NoError(t, err)
	var cases []struct {
		Name            string
		C               float64
		Balanced, Multi bool
		Labels          int
		X               [][]float32
		Truth           [][]int
		Coefficients    [][]float64
		Intercepts      []float64
		Probabilities   [][]float64
	}
	require.NoError(t, json.Unmarshal(text, &cases))
	require.Len(t, cases, 7)
	const within = 1e-5
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			d := Data{Labels: make([]string, c.Labels), Vectors: c.X, Truth: c.Truth}
			p := newProblem(d, Options{MultiLabel: c.Multi, Balanced: c.Balanced}, nil)
			w, err := p.solve(context.Background(), c.C, nil, fine)
			require.NoError(t, err)
			require.Len(t, w, len(c.Coefficients)*(p.dim+1))
			for k, row := range c.Coefficients {
				for j, want := range row {
					require.InDelta(t, want, w[k*(p.dim+1)+j], within, "coefficient %d of %d", j, k)
				}
				require.InDelta(t, c.Intercepts[k], w[k*(p.dim+1)+p.dim], within, "intercept of %d", k)
			}
			for i, want := range c.Probabilities {
				got := probabilities(p.logits(w, c.X[i]), c.Multi, 1)
				for k := range want {
					require.InDelta(t, want[k], got[k], within, "row %d", i)
				}
			}
		})
	}
}

// seed of a random test, printed with its failures.
func seed(t *testing.T) uint64 {
	t.Helper()
	s := uint64(time.Now().UnixNano())
	if text := os.Getenv("SMELT_TEST_SEED"); text != "" {
		var err error
		s, err = strconv.ParseUint(text, 10, 64)
		require.NoError(t, err)
	}
	t.Logf("SMELT_TEST_SEED=%d", s)
	return s
}

// clusters makes rows around a centre for each label.
func clusters(r *rand.Rand, rows, dimension, labels int, noise float64) Data {
	d := Data{}
	centres := make([][]float64, labels)
	for k := range centres {
		d.Labels = append(d.Labels, "label "+strconv.Itoa(k))
		for range dimension {
			centres[k] = append(centres[k], r.NormFloat64())
		}
	}
	for i := range rows {
		k := i % labels
		v, sum := make([]float32, dimension), 0.0
		for j := range v {
			x := centres[k][j] + noise*r.NormFloat64()
			v[j] = float32(x)
			sum += x * x
		}
		for j := range v {
			v[j] /= float32(math.Sqrt(sum))
		}
		d.Vectors, d.Truth = append(d.Vectors, v), append(d.Truth, []int{k})
	}
	return d
}

func options() Options { return Options{Balanced: true, Folds: 5, Seed: 1, Calibrate: true} }

func TestTheSameRowsAndSeedGiveTheSameFile(t *testing.T) {
	d := clusters(rand.New(rand.NewPCG(seed(t), 0)), 120, 16, 4, 2)
	h, report, err := Fit(context.Background(), d, options())
	require.NoError(t, err)
	first, err := h.Encode()
	require.NoError(t, err)
	again, same, err := Fit(context.Background(), d, options())
	require.NoError(t, err)
	second, err := again.Encode()
	require.NoError(t, err)
	require.Equal(t, string(first), string(second))
	require.Equal(t, report, same)

	h.Encoder.Dimension = 16
	text, err := h.Encode()
	require.NoError(t, err)
	read, err := Decode(text)
	require.NoError(t, err)
	require.Equal(t, h.Weights, read.Weights)
	require.Equal(t, h.Logits(d.Vectors[0]), read.Logits(d.Vectors[0]))
}

func TestATemperatureMakesProbabilitiesHonest(t *testing.T) {
	r := rand.New(rand.NewPCG(seed(t), 0))
	// Logits whose probabilities are right, three times too large.
	var logits [][]float64
	var truth [][]int
	for range 4000 {
		z := []float64{r.NormFloat64(), r.NormFloat64(), r.NormFloat64()}
		p, k, x := probabilities(z, false, 1), 0, r.Float64()
		for k < 2 && x > p[k] {
			x -= p[k]
			k++
		}
		logits, truth = append(logits, []float64{3 * z[0], 3 * z[1], 3 * z[2]}), append(truth, []int{k})
	}
	require.InDelta(t, 3, temperature(logits, truth, false), 0.4)
	require.Less(t, logLoss(logits, truth, false, 3), logLoss(logits, truth, false, 1))
}

func TestFoldsHaveAsManyRowsOfEachLabelAsCanBe(t *testing.T) {
	r := rand.New(rand.NewPCG(seed(t), 0))
	d := Data{Labels: []string{"a", "b", "c"}}
	for range 200 {
		d.Truth = append(d.Truth, []int{r.IntN(3)})
	}
	count := map[[2]int]int{}
	rows := map[int]int{}
	for row, f := range folds(d, Options{Folds: 7, Seed: r.Uint64()}) {
		count[[2]int{f, d.Truth[row][0]}]++
		rows[f]++
	}
	for label := range 3 {
		least, most := 1000, 0
		for f := range 7 {
			least, most = min(least, count[[2]int{f, label}]), max(most, count[[2]int{f, label}])
		}
		require.LessOrEqual(t, most-least, 1, "label %d", label)
	}
	for f := range 7 {
		require.InDelta(t, 200.0/7, rows[f], 1)
	}
}

func TestAThresholdIsWhereTheF1OfItsLabelIsBest(t *testing.T) {
	r := rand.New(rand.NewPCG(seed(t), 0))
	var logits [][]float64
	var truth [][]int
	for range 60 {
		z := r.NormFloat64()
		logits = append(logits, []float64{z})
		if z+r.NormFloat64() > 1 {
			truth = append(truth, []int{0})
		} else {
			truth = append(truth, nil)
		}
	}
	truth[0] = []int{0}
	f1 := func(threshold float64) float64 {
		right, said, is := 0.0, 0.0, 0.0
		for i := range logits {
			if probability(logits[i][0]) >= threshold {
				if said++; len(truth[i]) == 1 {
					right++
				}
			}
			is += float64(len(truth[i]))
		}
		return 2 * right / (said + is)
	}
	got := f1(thresholds(logits, truth, 1, 0)[0])
	for step := range 1001 {
		require.GreaterOrEqual(t, got, f1(float64(step)/1000))
	}
}

func TestRowsOfWhichNothingCanBeLearnedAreRefused(t *testing.T) {
	v := []float32{1, 0}
	for _, c := range []struct {
		d    Data
		o    Options
		want string
	}{
		{Data{}, options(), "there are none"},
		{Data{Labels: []string{"a"}, Vectors: [][]float32{v, v}, Truth: [][]int{{0}, {0}}}, options(), `all 2 have the label "a"`},
		{Data{Labels: []string{"a", "b"}, Vectors: [][]float32{v, v}, Truth: [][]int{{1}, {1}}}, options(), `all 2 have the label "b"`},
		{Data{Labels: []string{"a"}, Vectors: [][]float32{v, v}, Truth: [][]int{{}, {}}}, Options{MultiLabel: true, Folds: 2}, "none of the 2 has a label"},
		{Data{Labels: make([]string, 201), Vectors: [][]float32{v}, Truth: [][]int{{0}}}, options(), "201 labels, at most 200"},
		{Data{Labels: []string{"a", "b"}, Vectors: [][]float32{v, v}, Truth: [][]int{{0}, {1}}}, Options{Folds: 1}, "folds = 1"},
		{Data{Labels: []string{"a", "b"}, Vectors: [][]float32{v, v}, Truth: [][]int{{0}, {1}}}, Options{Folds: 2, C: math.NaN()}, "c = NaN"},
	} {
		_, _, err := Fit(context.Background(), c.d, c.o)
		require.ErrorIs(t, err, ErrData)
		require.ErrorContains(t, err, c.want)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, _, err := Fit(ctx, clusters(rand.New(rand.NewPCG(1, 0)), 100, 16, 3, 1), options())
	require.ErrorIs(t, err, context.Canceled)
}

func FuzzDecode(f *testing.F) {
	h, _, err := Fit(context.Background(), clusters(rand.New(rand.NewPCG(1, 0)), 20, 3, 2, 1), options())
	require.NoError(f, err)
	h.Encoder.Dimension = 3
	text, err := h.Encode()
	require.NoError(f, err)
	f.Add(text)
	f.Fuzz(func(t *testing.T, text []byte) {
		h, err := Decode(text)
		if err != nil {
			return
		}
		require.Len(t, h.Logits(make([]float32, h.Dimension())), len(h.Labels))
	})
}

func BenchmarkFit(b *testing.B) {
	d := clusters(rand.New(rand.NewPCG(1, 0)), 250, 384, 11, 4)
	for b.Loop() {
		if _, _, err := Fit(context.Background(), d, options()); err != nil {
			b.Fatal(err)
		}
	}
}
