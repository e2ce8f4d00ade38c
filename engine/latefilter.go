package engine

import (
	"fmt"

	"github.com/dolthub/go-mysql-server/sql"
	"github.com/dolthub/go-mysql-server/sql/plan"
)

// lateFilter is a filter that stays where the statement put it; see keepLateralLeft.
type lateFilter struct {
	plan.UnaryNode
	condition sql.Expression
}

var (
	_ sql.ExecBuilderNode = (*lateFilter)(nil)
	_ sql.Expressioner    = (*lateFilter)(nil)
)

// Resolved implements sql.Node.
func (f *lateFilter) Resolved() bool { return f.UnaryNode.Resolved() && f.condition.Resolved() }

// IsReadOnly implements sql.Node.
func (f *lateFilter) IsReadOnly() bool { return f.Child.IsReadOnly() }

// String implements sql.Node.
func (f *lateFilter) String() string {
	p := sql.NewTreePrinter()
	_ = p.WriteNode("Filter") // a printer in memory
	_ = p.WriteChildren(f.condition.String(), fmt.Sprint(f.Child))
	return p.String()
}

// WithChildren implements sql.Node.
func (f *lateFilter) WithChildren(_ *sql.Context, children ...sql.Node) (sql.Node, error) {
	if len(children) != 1 {
		return nil, sql.ErrInvalidChildrenNumber.New(f, len(children), 1)
	}
	return &lateFilter{UnaryNode: plan.UnaryNode{Child: children[0]}, condition: f.condition}, nil
}

// Expressions implements sql.Expressioner.
func (f *lateFilter) Expressions() []sql.Expression { return []sql.Expression{f.condition} }

// WithExpressions implements sql.Expressioner.
func (f *lateFilter) WithExpressions(_ *sql.Context, e ...sql.Expression) (sql.Node, error) {
	if len(e) != 1 {
		return nil, sql.ErrInvalidChildrenNumber.New(f, len(e), 1)
	}
	return &lateFilter{UnaryNode: f.UnaryNode, condition: e[0]}, nil
}

// BuildRowIter implements sql.ExecBuilderNode.
func (f *lateFilter) BuildRowIter(ctx *sql.Context, b sql.NodeExecBuilder, row sql.Row) (sql.RowIter, error) {
	rows, err := b.Build(ctx, f.Child, row)
	if err != nil {
		return nil, err
	}
	return plan.NewFilterIter(f.condition, rows), nil
}
