package metrics

import (
	"encoding/json"
	"os"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

// within is how close the scores must be to scikit-learn's.
const within = 1e-12

type goldenScores struct{ Precision, Recall, F1 float64 }

func (g goldenScores) equal(t *testing.T, got Scores, what string) {
	t.Helper()
	require.InDelta(t, g.Precision, got.Precision, within, what)
	require.InDelta(t, g.Recall, got.Recall, within, what)
	require.InDelta(t, g.F1, got.F1, within, what)
}

func matrixOf(t *testing.T, truth, predicted []string) *Matrix {
	t.Helper()
	m := &Matrix{}
	for i := range truth {
		require.NoError(t, m.Add(truth[i], predicted[i]))
	}
	return m
}

// TestScoresAreThoseOfScikitLearn compares with testdata/golden.json, which testdata/golden.py has written.
func TestScoresAreThoseOfScikitLearn(t *testing.T) {
	text, err := os.ReadFile("testdata/golden.json")
	require.NoError(t, err)
	var cases []struct {
		Name                     string
		Truth, Predicted, Labels []string
		Accuracy                 float64
		Matrix                   [][]int64
		Classes                  []struct {
			goldenScores
			Support int64
		}
		Weighted, Macro, Micro goldenScores
	}
	require.NoError(t, json.Unmarshal(text, &cases))
	require.NotEmpty(t, cases)
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			m := matrixOf(t, c.Truth, c.Predicted)
			require.Equal(t, c.Labels, m.Labels())
			require.InDelta(t, c.Accuracy, m.Accuracy(), within)
			for i, truth := range c.Labels {
				for j, predicted := range c.Labels {
					require.Equal(t, c.Matrix[i][j], m.Count(truth, predicted))
				}
				got, ok := m.Class(truth)
				require.True(t, ok)
				require.Equal(t, c.Classes[i].Support, got.Support)
				c.Classes[i].equal(t, got, truth)
			}
			c.Weighted.equal(t, m.Average(Weighted), "weighted")
			c.Macro.equal(t, m.Average(Macro), "macro")
			c.Micro.equal(t, m.Average(Micro), "micro")
		})
	}
}

func TestWithoutRowsAllScoresAreZero(t *testing.T) {
	m := &Matrix{}
	require.Zero(t, m.Accuracy())
	require.Empty(t, m.Classes())
	for _, a := range []Average{Weighted, Macro, Micro} {
		require.Equal(t, Scores{}, m.Average(a))
	}
	_, ok := m.Class("none")
	require.False(t, ok)
}

func TestFreeTextIsNoLabel(t *testing.T) {
	m := &Matrix{}
	for i := range maxLabels {
		require.NoError(t, m.Add(strconv.Itoa(i), "0"))
	}
	require.ErrorContains(t, m.Add("one more", "0"), `count label "one more": more than 1000 labels`)
	require.NoError(t, m.Add("7", "0"))
}

func TestAnUnknownAverageNamesTheOthers(t *testing.T) {
	a, err := ParseAverage("MACRO")
	require.NoError(t, err)
	require.Equal(t, Macro, a)
	_, err = ParseAverage("mean")
	require.ErrorContains(t, err, `"mean": want weighted, macro or micro`)
}
