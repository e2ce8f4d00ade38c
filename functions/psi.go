package functions

import (
	"fmt"

	"github.com/dolthub/go-mysql-server/sql"
	"github.com/dolthub/go-mysql-server/sql/expression"
	"github.com/dolthub/go-mysql-server/sql/types"

	"smelt/tables"
	"smelt/tables/psi"
)

// maxShiftBytes bounds the texts that psi() holds.
const maxShiftBytes = 64 << 20

// shift is the aggregate psi(expected, actual): the population stability index of the values of one expression against
// those of another. NULL counts on neither side, so that both may be of the same column, divided by IF or CASE. Without a
// value on one side the result is NULL.
func shift() *judge {
	return &judge{name: "psi", typ: types.Float64, description: "how far the values of actual have shifted from those of expected, the population stability index: psi(expected, actual)",
		buffer: func(_ *judge, args []sql.Expression) sql.AggregationBuffer { return &shiftBuffer{args: args} }}
}

// shiftBuffer holds the values of one group.
type shiftBuffer struct {
	args  []sql.Expression
	sides [2]*tables.Batch // nil before the first row
	bytes int
}

var _ sql.AggregationBuffer = (*shiftBuffer)(nil)

// Dispose implements sql.Disposable.
func (b *shiftBuffer) Dispose(ctx *sql.Context) {
	for _, a := range b.args {
		expression.Dispose(ctx, a)
	}
}

// begin decides what is compared: numbers if both are.
func (b *shiftBuffer) begin(ctx *sql.Context) {
	kind := tables.Double
	for _, a := range b.args {
		if t := a.Type(ctx); !types.IsNumber(t) && !types.IsDecimal(t) && t != types.Null {
			kind = tables.String
		}
	}
	for i := range b.sides {
		b.sides[i] = tables.NewBatch(tables.Schema{{Name: "value", Type: tables.Type{Kind: kind}}}, 0)
	}
}

// Update implements sql.AggregationBuffer.
func (b *shiftBuffer) Update(ctx *sql.Context, row sql.Row) error {
	if b.sides[0] == nil {
		b.begin(ctx)
	}
	for i, a := range b.args {
		v, err := a.Eval(ctx, row)
		if err != nil || v == nil {
			if err != nil {
				return err
			}
			continue
		}
		side := b.sides[i]
		if side.Len == psi.MaxRows {
			return fmt.Errorf("psi: more than %d values on one side: compare some of them", psi.MaxRows)
		}
		if side.Schema[0].Type.Kind == tables.Double {
			x, err := numberOf(v)
			if err != nil {
				return fmt.Errorf("psi: %w", err)
			}
			side.Columns[0].AppendFloat(x)
		} else {
			text, _, err := labelOf(ctx, v, a.Type(ctx))
			if err != nil {
				return err
			}
			if b.bytes += len(text); b.bytes > maxShiftBytes {
				return fmt.Errorf("psi: more than %d MiB of texts: compare labels or numbers, not free text", maxShiftBytes>>20)
			}
			side.Columns[0].AppendString(text)
		}
		side.Len++
	}
	return nil
}

// Eval implements sql.AggregationBuffer.
func (b *shiftBuffer) Eval(*sql.Context) (any, error) {
	if b.sides[0] == nil || b.sides[0].Len == 0 || b.sides[1].Len == 0 {
		return nil, nil
	}
	c := psi.New(b.sides[0])
	for row := range b.sides[1].Len {
		c.Add(b.sides[1], 0, row)
	}
	index, _, _ := c.Index()
	return index, nil
}
