package batch

import (
	"fmt"
	"math/big"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var schema = Schema{{Name: "Bool", Type: Type{Kind: Boolean}}, {Name: "int", Type: Type{Kind: Long}}, {Name: "float", Type: Type{Kind: Double}},
	{Name: "text", Type: Type{Kind: String}}, {Name: "dec", Type: Type{Kind: Decimal, Precision: 10, Scale: 2}}}

// row is one row of schema, built again for comparison; a negative n is a row of nulls.
func appendRow(b *Batch, n int) {
	b.Len++
	if n < 0 {
		for i, f := range b.Schema {
			b.Columns[i].AppendNull(f.Type.Kind)
		}
		return
	}
	b.Columns[0].AppendBool(n%2 == 0)
	b.Columns[1].AppendInt(int64(n))
	b.Columns[2].AppendFloat(float64(n) / 2)
	b.Columns[3].AppendString(fmt.Sprint(n))
	b.Columns[4].AppendDecimal(Int128{Lo: uint64(n)})
}

func rows(b *Batch) []int {
	out := []int{}
	for i := range b.Len {
		if b.Columns[0].Null(i) {
			out = append(out, -1)
			continue
		}
		n := int(b.Columns[1].Ints[i])
		if b.Columns[0].Bools[i] != (n%2 == 0) || b.Columns[2].Floats[i] != float64(n)/2 || b.Columns[3].Strings[i] != fmt.Sprint(n) || b.Columns[4].Decimals[i].Lo != uint64(n) {
			n = -2
		}
		out = append(out, n)
	}
	return out
}

// TestAppendAndFilter compares with a plain slice of rows, whatever the order of nulls and values.
func TestAppendAndFilter(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for range 200 {
		whole := New(schema, 0)
		want := []int{}
		for range r.IntN(4) {
			part := New(schema, r.IntN(3))
			for range r.IntN(4) {
				n := r.IntN(20) - 4*r.IntN(2)
				n = max(n, -1)
				appendRow(part, n)
				want = append(want, n)
			}
			whole.Append(part)
		}
		require.Equal(t, want, rows(whole))
		keep := make([]bool, whole.Len)
		kept := []int{}
		for i := range keep {
			if keep[i] = r.IntN(2) == 0; keep[i] {
				kept = append(kept, want[i])
			}
		}
		require.Equal(t, kept, rows(whole.Filter(keep)))
		require.Equal(t, want, rows(whole), "the batch itself stays")
	}
}

func TestInt128(t *testing.T) {
	for _, text := range []string{"0", "1", "-1", "18446744073709551615", "18446744073709551616", "-18446744073709551616", "-18446744073709551617",
		"99999999999999999999999999999999999999", "-99999999999999999999999999999999999999", "170141183460469231731687303715884105727"} {
		b, ok := new(big.Int).SetString(text, 10)
		require.True(t, ok)
		v, ok := Int128FromBig(b)
		require.True(t, ok, text)
		require.Equal(t, text, v.Big().String())
	}
	_, ok := Int128FromBig(new(big.Int).Lsh(big.NewInt(1), 127))
	require.False(t, ok)
}

func TestSchema(t *testing.T) {
	require.Equal(t, 0, schema.Index("bOOL"))
	require.Equal(t, -1, schema.Index("none"))
	chosen, err := schema.Select([]string{"TEXT", "int"})
	require.NoError(t, err)
	require.Equal(t, []string{"text", "int"}, chosen.Names())
	_, err = schema.Select([]string{"none"})
	require.ErrorContains(t, err, `"none"`)
	require.ErrorContains(t, err, "Bool, int")
	require.Equal(t, "decimal(10,2)", schema[4].Type.String())
	require.Equal(t, "string", Type{Kind: JSON}.String())
	require.Equal(t, "unknown kind 99", Type{Kind: 99}.String())
}
