package engine

import (
	"github.com/dolthub/go-mysql-server/sql"
	"github.com/dolthub/go-mysql-server/sql/expression"
	"github.com/dolthub/go-mysql-server/sql/types"
	"github.com/shopspring/decimal"

	"smelt/tables"
)

// vectorExpr is an expression over the columns of a batch.
type vectorExpr interface {
	// typ returns the type of the values. Truth values are bytes, as they are for go-mysql-server.
	typ() tables.Type
	// column returns the values for the rows of b, all of them. It is valid until the next call.
	column(b *tables.Batch) *tables.Column
}

// vectorField reads a column of the batch.
type vectorField struct {
	at   int
	kind tables.Type
	own  tables.Column // values that must be changed first
}

func (f *vectorField) typ() tables.Type {
	if f.kind.Kind == tables.Boolean {
		return tables.Type{Kind: tables.Byte}
	}
	return f.kind
}

func (f *vectorField) column(b *tables.Batch) *tables.Column {
	c := &b.Columns[f.at]
	switch f.kind.Kind {
	case tables.Boolean:
		f.own.Ints, f.own.Valid = resize(f.own.Ints, b.Len), c.Valid
		for i, v := range c.Bools {
			f.own.Ints[i] = 0
			if v {
				f.own.Ints[i] = 1
			}
		}
		return &f.own
	case tables.Float:
		f.own.Floats, f.own.Valid = resize(f.own.Floats, b.Len), c.Valid
		for i, v := range c.Floats {
			f.own.Floats[i] = float64(float32(v))
		}
		return &f.own
	}
	return c
}

// arithmetic compiles + - * over whole numbers, which fail where they do not fit as they do by rows, and over
// floating-point numbers.
func (c *vectorCompiler) arithmetic(e *expression.Arithmetic, scope vectorScope) (vectorExpr, bool) {
	result := tables.Type{Kind: tables.Long}
	switch e.Type(c.ctx) {
	case types.Int64:
	case types.Float64:
		result.Kind = tables.Double
	default:
		return nil, false
	}
	left, ok := c.operand(e.LeftChild, scope, result.Kind)
	if !ok {
		return nil, false
	}
	right, ok := c.operand(e.RightChild, scope, result.Kind)
	if !ok {
		return nil, false
	}
	switch e.Op {
	case "+", "-", "*":
		a := &vectorArithmetic{op: e.Op[0], left: left, right: right, kind: result}
		if result.Kind == tables.Long {
			c.plan.whole = append(c.plan.whole, a)
		}
		return a, true
	}
	return nil, false
}

// operand compiles one side of an arithmetic expression whose result is of kind k, Long or Double.
func (c *vectorCompiler) operand(e sql.Expression, scope vectorScope, k tables.Kind) (vectorExpr, bool) {
	if l, ok := e.(*expression.Literal); ok {
		return newVectorConstant(c.ctx, l, k)
	}
	of, ok := c.expr(e, scope)
	if !ok {
		return nil, false
	}
	switch {
	case whole(of.typ().Kind) && k == tables.Long, floating(of.typ().Kind) && k == tables.Double:
		return of, true
	case whole(of.typ().Kind) && k == tables.Double:
		return &vectorFloat{of: of}, true
	}
	return nil, false
}

// whole reports whether a column of kind k holds whole numbers.
func whole(k tables.Kind) bool {
	return k == tables.Boolean || k == tables.Byte || k == tables.Short || k == tables.Integer || k == tables.Long
}

// floating reports whether a column of kind k holds floating-point numbers.
func floating(k tables.Kind) bool { return k == tables.Float || k == tables.Double }

// vectorConstant is a number, as often as a batch has rows.
type vectorConstant struct {
	kind   tables.Type
	whole  int64
	float  float64
	values tables.Column
}

func newVectorConstant(ctx *sql.Context, l *expression.Literal, k tables.Kind) (vectorExpr, bool) {
	constant := &vectorConstant{kind: tables.Type{Kind: k}}
	if n, ok := wholeLiteral(ctx, l); ok {
		constant.whole, constant.float = n, float64(n)
		return constant, true
	}
	if k != tables.Double {
		return nil, false
	}
	switch v := l.Value().(type) {
	case float64:
		constant.float = v
		return constant, true
	case decimal.Decimal:
		constant.float, _ = v.Float64()
		return constant, true
	}
	return nil, false
}

func (c *vectorConstant) typ() tables.Type { return c.kind }

func (c *vectorConstant) column(b *tables.Batch) *tables.Column {
	if c.kind.Kind == tables.Double {
		for len(c.values.Floats) < b.Len {
			c.values.Floats = append(c.values.Floats, c.float)
		}
		return &c.values
	}
	for len(c.values.Ints) < b.Len {
		c.values.Ints = append(c.values.Ints, c.whole)
	}
	return &c.values
}

// vectorFloat makes floating-point numbers of whole ones.
type vectorFloat struct {
	of  vectorExpr
	own tables.Column
}

func (f *vectorFloat) typ() tables.Type { return tables.Type{Kind: tables.Double} }

func (f *vectorFloat) column(b *tables.Batch) *tables.Column {
	c := f.of.column(b)
	f.own.Floats, f.own.Valid = resize(f.own.Floats, b.Len), c.Valid
	for i, v := range c.Ints[:b.Len] {
		f.own.Floats[i] = float64(v)
	}
	return &f.own
}

// vectorArithmetic is a sum, difference or product of two columns of one kind.
type vectorArithmetic struct {
	op          byte
	left, right vectorExpr
	kind        tables.Type
	own         tables.Column
	valid       []bool
	overflow    bool // a whole number did not fit: the plan starts over by rows
}

func (a *vectorArithmetic) typ() tables.Type { return a.kind }

func (a *vectorArithmetic) column(b *tables.Batch) *tables.Column {
	l, r := a.left.column(b), a.right.column(b)
	if a.kind.Kind == tables.Double {
		a.own.Floats = resize(a.own.Floats, b.Len)
		calculate(a.op, a.own.Floats, l.Floats, r.Floats)
	} else {
		a.own.Ints = resize(a.own.Ints, b.Len)
		a.overflow = !calculateWhole(a.op, a.own.Ints, l.Ints, r.Ints) || a.overflow
	}
	switch {
	case l.Valid == nil:
		a.own.Valid = r.Valid
	case r.Valid == nil:
		a.own.Valid = l.Valid
	default:
		a.valid = resize(a.valid, b.Len)
		for i := range a.valid {
			a.valid[i] = l.Valid[i] && r.Valid[i]
		}
		a.own.Valid = a.valid
	}
	return &a.own
}

// calculateWhole is calculate for whole numbers; ok is false if one did not fit. Those of null rows count, too.
func calculateWhole(op byte, dst, left, right []int64) (ok bool) {
	left, right = left[:len(dst)], right[:len(dst)]
	for i := range dst {
		if dst[i], ok = exact(left[i], right[i], op); !ok {
			return false
		}
	}
	return true
}

// calculate writes the results for as many values as dst has. The conversion keeps the compiler from fusing a product
// with a sum further up, which would round once less than the row path.
func calculate(op byte, dst, left, right []float64) {
	left, right = left[:len(dst)], right[:len(dst)]
	switch op {
	case '+':
		for i := range dst {
			dst[i] = left[i] + right[i]
		}
	case '-':
		for i := range dst {
			dst[i] = left[i] - right[i]
		}
	default:
		for i := range dst {
			dst[i] = float64(left[i] * right[i])
		}
	}
}
