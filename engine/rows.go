package engine

import (
	"context"
	"fmt"
	"io"
	"math"
	"math/big"
	"time"

	"github.com/dolthub/go-mysql-server/sql"
	"github.com/dolthub/go-mysql-server/sql/types"
	"github.com/shopspring/decimal"

	"smelt/tables"
)

const (
	secondsPerDay = 24 * 60 * 60
	// batchRows is how many rows of a query become one batch: large enough that per-batch work does not show, small
	// enough that a batch of tweets stays near a megabyte.
	batchRows = 4096
)

// batchRowIter turns the batches of a reader into rows for go-mysql-server.
type batchRowIter struct {
	reader tables.Reader
	rows   []sql.Row
	next   int
}

func (it *batchRowIter) Next(ctx *sql.Context) (sql.Row, error) {
	for it.next == len(it.rows) {
		b, err := it.reader.Next(ctx)
		if err != nil {
			return nil, err // io.EOF included
		}
		it.rows, it.next = batchToRows(b), 0
	}
	row := it.rows[it.next]
	it.rows[it.next] = nil // the row belongs to the caller now; a long batch must not keep it alive
	it.next++
	return row, nil
}

func (it *batchRowIter) Close(*sql.Context) error { return it.reader.Close() }

// batchToRows returns the rows of b; all of them share one backing array, so a batch costs two allocations plus the
// boxing of its values.
func batchToRows(b *tables.Batch) []sql.Row {
	width := len(b.Schema)
	values := make([]any, b.Len*width)
	for c := range b.Columns {
		fillColumn(values[c:], width, &b.Columns[c], b.Schema[c].Type, b.Len)
	}
	rows := make([]sql.Row, b.Len)
	for i := range rows {
		rows[i] = values[i*width : (i+1)*width : (i+1)*width]
	}
	return rows
}

// fillColumn writes the n values of col to dst, stride apart.
func fillColumn(dst []any, stride int, col *tables.Column, t tables.Type, n int) {
	get := columnGetter(col, t)
	for i := range n {
		if !col.Null(i) {
			dst[i*stride] = get(i)
		}
	}
}

// columnGetter returns the function that boxes value i of col as go-mysql-server expects values of sqlType(t).
func columnGetter(col *tables.Column, t tables.Type) func(i int) any {
	switch t.Kind {
	case tables.Boolean:
		return func(i int) any {
			if col.Bools[i] {
				return int8(1)
			}
			return int8(0)
		}
	case tables.Byte:
		return func(i int) any { return int8(col.Ints[i]) }
	case tables.Short:
		return func(i int) any { return int16(col.Ints[i]) }
	case tables.Integer:
		return func(i int) any { return int32(col.Ints[i]) }
	case tables.Float:
		return func(i int) any { return float32(col.Floats[i]) }
	case tables.Double:
		return func(i int) any { return col.Floats[i] }
	case tables.Decimal:
		return func(i int) any { return decimal.NewFromBigInt(col.Decimals[i].Big(), -int32(t.Scale)) }
	case tables.String:
		return func(i int) any { return col.Strings[i] }
	case tables.Binary:
		return func(i int) any { return []byte(col.Strings[i]) }
	case tables.JSON:
		return func(i int) any { return types.NewLazyJSONDocument([]byte(col.Strings[i])) }
	case tables.Date:
		return func(i int) any { return time.Unix(col.Ints[i]*secondsPerDay, 0).UTC() }
	case tables.Timestamp:
		return func(i int) any { return time.UnixMicro(col.Ints[i]).UTC() }
	}
	return func(i int) any { return col.Ints[i] }
}

// batchBuilder collects rows of a MySQL schema into batches of the columnar schema.
type batchBuilder struct {
	from  sql.Schema
	to    tables.Schema
	batch *tables.Batch
}

func newBatchBuilder(from sql.Schema, to tables.Schema) *batchBuilder {
	return &batchBuilder{from: from, to: to, batch: tables.NewBatch(to, 0)}
}

// add appends one row. On an error the builder must not be used any more: the row may be there in part.
func (b *batchBuilder) add(ctx *sql.Context, row sql.Row) error {
	for i := range b.to {
		if err := appendValue(ctx, &b.batch.Columns[i], b.to[i].Type, b.from[i].Type, row[i]); err != nil {
			return fmt.Errorf("convert column %q: %w", b.to[i].Name, err)
		}
	}
	b.batch.Len++
	return nil
}

// take returns the rows collected so far, nil if there are none, and starts a new batch.
func (b *batchBuilder) take() *tables.Batch {
	full := b.batch
	if full.Len == 0 {
		return nil
	}
	b.batch = tables.NewBatch(b.to, full.Len)
	return full
}

// appendValue appends the go-mysql-server value v, of MySQL type from, to a column of type t.
func appendValue(ctx *sql.Context, col *tables.Column, t tables.Type, from sql.Type, v any) error {
	v, err := sql.UnwrapAny(ctx, v)
	if err != nil {
		return err
	}
	if v == nil {
		col.AppendNull(t.Kind)
		return nil
	}
	switch t.Kind {
	case tables.Boolean:
		b, err := sql.ConvertToBool(ctx, v)
		if err != nil {
			return err
		}
		col.AppendBool(b)
	case tables.Float, tables.Double:
		f, _, err := types.Float64.Convert(ctx, v)
		if err != nil {
			return err
		}
		col.AppendFloat(f.(float64))
	case tables.Decimal:
		return appendDecimal(ctx, col, t, v)
	case tables.String, tables.Binary:
		s, err := textOf(ctx, from, v)
		if err != nil {
			return err
		}
		col.AppendString(s)
	case tables.JSON:
		s, err := jsonText(ctx, v)
		if err != nil {
			return err
		}
		col.AppendString(s)
	case tables.Date, tables.Timestamp:
		return appendTime(ctx, col, t.Kind, v)
	default:
		n, err := intOf(ctx, t.Kind, v)
		if err != nil {
			return err
		}
		col.AppendInt(n)
	}
	return nil
}

// textOf returns v as its text; types whose Go value is a number (ENUM, SET, TIME) are printed by their MySQL type.
func textOf(ctx *sql.Context, from sql.Type, v any) (string, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case []byte:
		return string(v), nil
	}
	if from == nil {
		from = types.LongText
	}
	value, err := from.SQL(ctx, nil, v)
	if err != nil {
		return "", err
	}
	return string(value.Raw()), nil
}

func jsonText(ctx context.Context, v any) (string, error) {
	doc, _, err := types.JSON.Convert(ctx, v)
	if err != nil {
		return "", err
	}
	wrapper, ok := doc.(sql.JSONWrapper)
	if !ok {
		return "", fmt.Errorf("read JSON value of Go type %T", doc)
	}
	text, err := types.MarshallJson(ctx, wrapper)
	return string(text), err
}

func appendTime(ctx context.Context, col *tables.Column, k tables.Kind, v any) error {
	at, ok := v.(time.Time)
	if !ok {
		converted, _, err := timestampType.Convert(ctx, v)
		if err != nil {
			return err
		}
		if at, ok = converted.(time.Time); !ok {
			return fmt.Errorf("read time %v", v)
		}
	}
	if k == tables.Timestamp {
		col.AppendInt(at.UnixMicro())
		return nil
	}
	days := at.Unix() / secondsPerDay
	if at.Unix()%secondsPerDay < 0 {
		days--
	}
	col.AppendInt(days)
	return nil
}

func appendDecimal(ctx context.Context, col *tables.Column, t tables.Type, v any) error {
	d, ok := v.(decimal.Decimal)
	if !ok {
		converted, _, err := types.InternalDecimalType.Convert(ctx, v)
		if err != nil {
			return err
		}
		if d, ok = converted.(decimal.Decimal); !ok {
			return fmt.Errorf("read decimal %v", v)
		}
	}
	unscaled := d.Round(int32(t.Scale)).Shift(int32(t.Scale)).BigInt()
	limit := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(t.Precision)), nil)
	wide, fits := tables.Int128FromBig(unscaled)
	if !fits || unscaled.CmpAbs(limit) >= 0 {
		return mysqlError(errDataOutOfRange, "DECIMAL(%d,%d) value is out of range in '%s'", t.Precision, t.Scale, d.String())
	}
	col.AppendDecimal(wide)
	return nil
}

// intOf returns v as an integer that fits kind k.
func intOf(ctx context.Context, k tables.Kind, v any) (int64, error) {
	converted, inRange, err := types.Int64.Convert(ctx, v)
	if err != nil {
		return 0, err
	}
	n, ok := converted.(int64)
	if !ok {
		return 0, fmt.Errorf("read integer %v", v)
	}
	low, high := int64(math.MinInt64), int64(math.MaxInt64)
	switch k {
	case tables.Byte:
		low, high = math.MinInt8, math.MaxInt8
	case tables.Short:
		low, high = math.MinInt16, math.MaxInt16
	case tables.Integer:
		low, high = math.MinInt32, math.MaxInt32
	}
	if inRange != sql.InRange || n < low || n > high {
		return 0, mysqlError(errDataOutOfRange, "Out of range value '%v'", v)
	}
	return n, nil
}

// fill collects the next batch; with the last one comes io.EOF.
func (r *rowReader) fill(ctx context.Context) (batch *tables.Batch, err error) {
	defer recovered(r.engine.log, &err)
	for r.builder.batch.Len < batchRows {
		row, err := r.rows.Next(r.ctx)
		if err == nil {
			err = r.builder.add(r.ctx, row)
		}
		if err == io.EOF {
			return r.builder.take(), io.EOF
		}
		if err != nil {
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			return nil, inward(r.ctx, r.engine.log, err)
		}
	}
	return r.builder.take(), nil
}
