package psi

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"smelt/tables"
)

func doubles(values ...float64) *tables.Batch {
	b := tables.NewBatch(tables.Schema{{Name: "x", Type: tables.Type{Kind: tables.Double}}}, len(values))
	for _, v := range values {
		b.Columns[0].AppendFloat(v)
	}
	b.Len = len(values)
	return b
}

func compare(past, now *tables.Batch) *Comparison {
	c := New(past)
	for row := range now.Len {
		c.Add(now, 0, row)
	}
	return c
}

func TestNumbersAreDividedIntoEqualParts(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	sample := func(mean float64) *tables.Batch {
		var values []float64
		for range 5000 {
			values = append(values, mean+r.NormFloat64())
		}
		return doubles(values...)
	}
	past := sample(0)
	c := compare(past, sample(0))
	parts := c.Parts()
	require.Len(t, parts, 11, "NULL and ten parts")
	for _, p := range parts[1:11] {
		require.InDelta(t, 500, p.Past, 1, p.Name)
	}
	same, before, now := c.Index()
	require.Less(t, same, 0.02)
	require.EqualValues(t, 5000, before)
	require.EqualValues(t, 5000, now)
	// Of two normal distributions with a distance of one deviation it is near one, whatever the parts.
	far, _, _ := compare(past, sample(1)).Index()
	require.InDelta(t, 1, far, 0.15)
}

func TestTheIndexIsTheSumThatItsDefinitionSays(t *testing.T) {
	c := compare(doubles(1, 1, 2, 2), doubles(1, 1, 1, 3))
	index, _, _ := c.Index()
	want := 0.0
	for _, s := range [][2]float64{{0.5, 0.5}, {2.5, 3.5}, {2.5, 0.5}, {0.5, 1.5}} { // NULL, 1, 2, others; half a value more in each
		want += (s[1]/6 - s[0]/6) * math.Log(s[1]/s[0])
	}
	require.InDelta(t, want, index, 1e-12)
	require.Equal(t, []string{"NULL", "1", "2", "others"}, []string{c.name[0], c.name[1], c.name[2], c.name[3]})
}

func TestAwkwardValuesHaveTheirParts(t *testing.T) {
	c := compare(doubles(math.NaN(), 0, math.Copysign(0, -1), math.Inf(1)), doubles(0, math.NaN(), math.Inf(-1)))
	parts := map[string]Part{}
	for _, p := range c.Parts() {
		parts[p.Name] = p
	}
	require.EqualValues(t, 2, parts["0"].Past, "zero has no sign")
	require.EqualValues(t, 1, parts["NaN"].Now)
	require.EqualValues(t, 1, parts["others"].Now)
	none := New(doubles())
	index, past, now := none.Index()
	require.Zero(t, index)
	require.Zero(t, past+now)

	days := tables.NewBatch(tables.Schema{{Name: "d", Type: tables.Type{Kind: tables.Date}}}, 1)
	days.Columns[0].AppendInt(time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC).Unix() / 86400)
	days.Len = 1
	require.Equal(t, "2026-03-01", New(days).Parts()[1].Name)
}
