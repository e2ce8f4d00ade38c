package engine

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"github.com/dolthub/go-mysql-server/sql"
	"github.com/dolthub/go-mysql-server/sql/expression/function/aggregation"
	"github.com/dolthub/go-mysql-server/sql/plan"
	"github.com/dolthub/go-mysql-server/sql/types"
	"github.com/shopspring/decimal"
)

// groupsMax bounds the groups of one GROUP BY: they are held in memory, at about 500 bytes each.
const groupsMax = 4_000_000

// cancelCheckRows is how many rows pass between two looks at the statement's context.
const cancelCheckRows = 1024

// executor builds the iterators that go-mysql-server builds with faults. Its own GROUP BY waits for ever when an
// aggregate argument fails, even after KILL, and takes groups for equal whose 64-bit hashes are.
type executor struct{ inner sql.NodeExecBuilder }

var _ sql.NodeExecBuilder = (*executor)(nil)

// Build implements sql.NodeExecBuilder; nil without an error leaves the node to go-mysql-server.
func (x *executor) Build(ctx *sql.Context, n sql.Node, row sql.Row) (sql.RowIter, error) {
	group, ok := n.(*plan.GroupBy)
	if !ok || len(group.GroupByExprs) == 0 {
		return nil, nil
	}
	child, err := x.inner.Build(ctx, group.Child, row)
	if err != nil {
		return nil, err
	}
	return &groupIter{child: child, keys: group.GroupByExprs, outputs: group.SelectDeps}, nil
}

// groupIter groups all rows of child at the first call of Next and then yields one row per group, in the order in which
// the groups came up.
type groupIter struct {
	child   sql.RowIter
	keys    []sql.Expression
	outputs []sql.Expression

	groups [][]sql.AggregationBuffer
	read   bool
	next   int
}

// Next implements sql.RowIter.
func (it *groupIter) Next(ctx *sql.Context) (sql.Row, error) {
	if !it.read {
		it.read = true
		if err := it.group(ctx); err != nil {
			return nil, err
		}
	}
	if it.next == len(it.groups) {
		return nil, io.EOF
	}
	buffers := it.groups[it.next]
	it.next++
	row := make(sql.Row, len(buffers))
	for i, b := range buffers {
		v, err := b.Eval(ctx)
		if err != nil {
			return nil, err
		}
		row[i] = v
	}
	return row, nil
}

func (it *groupIter) group(ctx *sql.Context) error {
	index := map[string]int{}
	var key []byte
	for n := 0; ; n++ {
		if n%cancelCheckRows == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		row, err := it.child.Next(ctx)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if key, err = it.key(ctx, key[:0], row); err != nil {
			return err
		}
		at, known := index[string(key)]
		if !known {
			if at, err = it.add(ctx); err != nil {
				return err
			}
			index[string(key)] = at
		}
		for _, b := range it.groups[at] {
			if err := b.Update(ctx, row); err != nil {
				return err
			}
		}
	}
}

// add starts a new group and returns its place.
func (it *groupIter) add(ctx *sql.Context) (int, error) {
	if len(it.groups) == groupsMax {
		return 0, mysqlError(errOutOfMemory, "GROUP BY makes more than %d groups", groupsMax)
	}
	buffers := make([]sql.AggregationBuffer, len(it.outputs))
	for i, e := range it.outputs {
		a, ok := e.(sql.Aggregation)
		if !ok {
			a = aggregation.NewFirst(e) // a column that all rows of the group share, or any of them
		}
		b, err := a.NewBuffer(ctx)
		if err != nil {
			return 0, err
		}
		buffers[i] = b
	}
	it.groups = append(it.groups, buffers)
	return len(it.groups) - 1, nil
}

// Close implements sql.RowIter.
func (it *groupIter) Close(ctx *sql.Context) error {
	for _, buffers := range it.groups {
		for _, b := range buffers {
			b.Dispose(ctx)
		}
	}
	it.groups = nil
	return it.child.Close(ctx)
}

// key appends the grouping values of row to dst so that two rows have the same bytes exactly when MySQL puts them into
// one group: each value is its kind, and its bytes behind their length where that varies.
func (it *groupIter) key(ctx *sql.Context, dst []byte, row sql.Row) ([]byte, error) {
	for _, e := range it.keys {
		v, err := e.Eval(ctx, row)
		if err != nil {
			return nil, err
		}
		if v, err = sql.UnwrapAny(ctx, v); err != nil {
			return nil, err
		}
		if dst, err = appendKey(ctx, dst, e.Type(ctx), v); err != nil {
			return nil, err
		}
	}
	return dst, nil
}

func appendKey(ctx *sql.Context, dst []byte, t sql.Type, v any) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return append(dst, 'n'), nil
	case string:
		return appendText(dst, t, v)
	case []byte:
		return appendBytes(dst, 'b', string(v)), nil
	case float64:
		return appendFloat(dst, v), nil
	case float32:
		return appendFloat(dst, float64(v)), nil
	case decimal.Decimal:
		return appendBytes(dst, 'd', canonical(v)), nil
	case time.Time:
		return appendInt(dst, 't', v.UnixMicro()), nil
	case uint64:
		if v > math.MaxInt64 {
			return appendInt(dst, 'u', int64(v)), nil
		}
		return appendInt(dst, 'i', int64(v)), nil
	case bool, int, int8, int16, int32, int64, uint, uint8, uint16, uint32:
		n, _, err := types.Int64.Convert(ctx, v)
		if err != nil {
			return nil, fmt.Errorf("group by %v: %w", v, err)
		}
		return appendInt(dst, 'i', n.(int64)), nil
	case sql.JSONWrapper:
		text, err := types.JsonToMySqlBytes(ctx, v)
		if err != nil {
			return nil, fmt.Errorf("group by JSON: %w", err)
		}
		return appendBytes(dst, 'j', string(text)), nil
	}
	value, err := t.SQL(ctx, nil, v)
	if err != nil {
		return nil, err
	}
	return appendBytes(dst, 'v', string(value.Raw())), nil
}

// appendText appends the weights of a text, which are its bytes under a binary collation.
func appendText(dst []byte, t sql.Type, s string) ([]byte, error) {
	collation := sql.Collation_Default
	if c, ok := t.(sql.TypeWithCollation); ok {
		collation = c.Collation()
	}
	if collation == sql.Collation_Default || collation == sql.Collation_binary || collation == sql.Collation_utf8mb4_bin {
		return appendBytes(dst, 's', s), nil
	}
	var weights strings.Builder
	if err := collation.WriteWeightString(&weights, s); err != nil {
		return nil, fmt.Errorf("group by text in collation %s: %w", collation.Name(), err)
	}
	return appendBytes(dst, 's', weights.String()), nil
}

func appendBytes(dst []byte, kind byte, s string) []byte {
	dst = binary.AppendUvarint(append(dst, kind), uint64(len(s)))
	return append(dst, s...)
}

func appendInt(dst []byte, kind byte, n int64) []byte {
	return binary.BigEndian.AppendUint64(append(dst, kind), uint64(n))
}

func appendFloat(dst []byte, f float64) []byte {
	return binary.BigEndian.AppendUint64(append(dst, 'f'), groupBits(f))
}

// groupBits returns the same bits for numbers that are one group: -0 and 0, and NaN of any origin.
func groupBits(f float64) uint64 {
	switch {
	case f == 0:
		return 0
	case f != f:
		return math.Float64bits(math.NaN())
	}
	return math.Float64bits(f)
}

// canonical prints a decimal without trailing zeros: 1.50 and 1.5 are one group.
func canonical(d decimal.Decimal) string {
	text := d.String()
	if strings.Contains(text, ".") {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	return text
}
