package engine

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/dolthub/go-mysql-server/sql"
	"github.com/dolthub/go-mysql-server/sql/types"
	"github.com/dolthub/vitess/go/sqltypes"
	"github.com/shopspring/decimal"
	"github.com/stretchr/testify/require"

	"smelt/tables"
)

// everyKind is a schema with a column of each kind.
func everyKind() tables.Schema {
	var schema tables.Schema
	for k := range kindNames {
		f := tables.Field{Name: kindNames[k], Type: tables.Type{Kind: k}}
		if k == tables.Decimal {
			f.Type.Precision, f.Type.Scale = 38, 7
		}
		schema = append(schema, f)
	}
	return schema
}

func appendRandom(r *rand.Rand, c *tables.Column, k tables.Kind) {
	if r.IntN(5) == 0 {
		c.AppendNull(k)
		return
	}
	whole := func(bits int) int64 { return int64(r.Uint64()) >> (64 - bits) }
	switch k {
	case tables.Boolean:
		c.AppendBool(r.IntN(2) == 0)
	case tables.Byte:
		c.AppendInt(whole(8))
	case tables.Short:
		c.AppendInt(whole(16))
	case tables.Integer:
		c.AppendInt(whole(32))
	case tables.Long:
		c.AppendInt(whole(64))
	case tables.Float:
		c.AppendFloat(float64(float32(r.NormFloat64())))
	case tables.Double:
		c.AppendFloat(r.NormFloat64() * math.Pow(10, float64(r.IntN(60)-30)))
	case tables.Decimal:
		n := new(big.Int).Mul(new(big.Int).SetUint64(r.Uint64()), new(big.Int).SetUint64(r.Uint64()>>2))
		n.Mod(n, new(big.Int).Exp(big.NewInt(10), big.NewInt(38), nil))
		if r.IntN(2) == 0 {
			n.Neg(n)
		}
		v, _ := tables.Int128FromBig(n)
		c.AppendDecimal(v)
	case tables.JSON:
		c.AppendString(fmt.Sprintf(`{"id":%d,"t":["é",null,%t]}`, r.Int64(), r.IntN(2) == 0))
	case tables.Date:
		c.AppendInt(int64(r.IntN(200_000) - 100_000))
	case tables.Timestamp:
		c.AppendInt(r.Int64N(8e15) - 4e15)
	default:
		c.AppendString(strings.Repeat("ab é日\x00'", r.IntN(4)))
	}
}

// TestRowsRoundTrip: a batch that becomes rows and a batch again is the same batch.
func TestRowsRoundTrip(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	schema := everyKind()
	shown, err := sqlSchema("live", "t", schema)
	require.NoError(t, err)
	back, err := columnSchema(shown)
	require.NoError(t, err)
	require.Equal(t, schema, back, "a kind must survive its MySQL type")
	ctx := sql.NewEmptyContext()
	for range 50 {
		b := tables.NewBatch(schema, 0)
		for range 1 + r.IntN(40) {
			for i, f := range schema {
				appendRandom(r, &b.Columns[i], f.Type.Kind)
			}
			b.Len++
		}
		builder := newBatchBuilder(shown, back)
		for _, row := range batchToRows(b) {
			require.NoError(t, builder.add(ctx, row))
		}
		got := builder.take()
		require.Equal(t, b.Len, got.Len)
		require.Equal(t, b.Columns, got.Columns)
		require.Nil(t, builder.take())
	}
}

// TestValuesThatDoNotFit: a value outside of its column is an error with MySQL's number, never another value.
func TestValuesThatDoNotFit(t *testing.T) {
	ctx := sql.NewEmptyContext()
	huge := decimal.NewFromBigInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(38), nil), 0)
	for _, c := range []struct {
		to   tables.Type
		from sql.Type
		v    any
	}{
		{tables.Type{Kind: tables.Byte}, types.Int64, int64(128)},
		{tables.Type{Kind: tables.Short}, types.Int64, int64(-40000)},
		{tables.Type{Kind: tables.Integer}, types.Float64, 3e9},
		{tables.Type{Kind: tables.Long}, types.Uint64, uint64(math.MaxUint64)},
		{tables.Type{Kind: tables.Decimal, Precision: 38}, types.InternalDecimalType, huge},
		{tables.Type{Kind: tables.Decimal, Precision: 3, Scale: 1}, types.Float64, 100.0},
	} {
		column := tables.NewBatch(tables.Schema{{Name: "c", Type: c.to}}, 1).Columns[0]
		err := appendValue(ctx, &column, c.to, c.from, c.v)
		require.Error(t, err)
		require.Contains(t, strings.ToLower(err.Error()), "out of range", "%v", c)
	}
}

func TestComputedColumnsAreWide(t *testing.T) {
	schema, err := columnSchema(sql.Schema{
		{Name: "stored", Type: types.Int8, DatabaseSource: "live"}, {Name: "computed", Type: types.Int8}, {Name: "truth", Type: types.Boolean},
		{Name: "product", Type: types.MustCreateDecimalType(2, 1)}, {Name: "wide", Type: types.MustCreateDecimalType(65, 30)},
		{Name: "unsigned", Type: types.Uint64, DatabaseSource: "live"}, {Name: "set", Type: types.MustCreateSetType([]string{"a"}, sql.Collation_Default)},
		{Name: "bytes", Type: types.MustCreateBinary(sqltypes.VarBinary, 9)},
	})
	require.NoError(t, err)
	require.Equal(t, "stored byte | computed integer | truth boolean | product decimal(38,1) | wide decimal(38,6) | unsigned decimal(20,0) | set string | bytes binary\n", printSchema(schema))
}

func FuzzStatementEnd(f *testing.F) {
	for _, seed := range []string{"SELECT 1; SELECT 2", "a'b;c\\';'d;", "-- x;\n;", "/* ; */;", "`a;``b`;", "'", "/*", "--", "#", "\\", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		end := statementEnd(text)
		require.GreaterOrEqual(t, end, min(1, len(text)))
		require.LessOrEqual(t, end, len(text))
		if end < len(text) {
			require.Equal(t, byte(';'), text[end-1])
		}
		blank(text)
	})
}
