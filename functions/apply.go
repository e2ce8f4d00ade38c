package functions

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/dolthub/go-mysql-server/sql"
	"github.com/dolthub/go-mysql-server/sql/plan"
)

// Rows gathered before a model runs: few at first, so that LIMIT 5 costs little, then more, so that a model can put texts
// of like length together and all cores have work.
const (
	firstRows = 8
	maxRows   = 1024
)

// Apply passes the rows of its child on unchanged. Before, it gathers a chunk of them, finds the texts that the calls of
// the node above will ask for, each once, and has each model score all of them in one run.
type Apply struct {
	plan.UnaryNode
	set   *Set
	calls []*call
}

var (
	_ sql.ExecBuilderNode = (*Apply)(nil)
	_ sql.Expressioner    = (*Apply)(nil)
)

// Expressions implements sql.Expressioner: columns get their places in the rows after Apply was placed.
func (a *Apply) Expressions() []sql.Expression {
	exprs := make([]sql.Expression, len(a.calls))
	for i, c := range a.calls {
		exprs[i] = c
	}
	return exprs
}

// WithExpressions implements sql.Expressioner.
func (a *Apply) WithExpressions(_ *sql.Context, exprs ...sql.Expression) (sql.Node, error) {
	if len(exprs) != len(a.calls) {
		return nil, sql.ErrInvalidChildrenNumber.New(a, len(exprs), len(a.calls))
	}
	calls := make([]*call, len(exprs))
	for i, e := range exprs {
		c, ok := e.(*call)
		if !ok {
			return nil, fmt.Errorf("replace call %s: got a %T", a.calls[i], e)
		}
		calls[i] = c
	}
	return &Apply{UnaryNode: a.UnaryNode, set: a.set, calls: calls}, nil
}

// Resolved implements sql.Node.
func (a *Apply) Resolved() bool {
	for _, c := range a.calls {
		if !c.Resolved() {
			return false
		}
	}
	return a.UnaryNode.Resolved()
}

// IsReadOnly implements sql.Node.
func (a *Apply) IsReadOnly() bool { return a.Child.IsReadOnly() }

// WithChildren implements sql.Node.
func (a *Apply) WithChildren(_ *sql.Context, children ...sql.Node) (sql.Node, error) {
	if len(children) != 1 {
		return nil, sql.ErrInvalidChildrenNumber.New(a, len(children), 1)
	}
	return &Apply{UnaryNode: plan.UnaryNode{Child: children[0]}, set: a.set, calls: a.calls}, nil
}

// String implements sql.Node; it is what EXPLAIN shows.
func (a *Apply) String() string {
	names := make([]string, len(a.calls))
	for i, c := range a.calls {
		names[i] = c.String()
	}
	p := sql.NewTreePrinter()
	_ = p.WriteNode("Apply(max=%d rows) [%s]", maxRows, strings.Join(names, ", ")) // a printer in memory
	_ = p.WriteChildren(fmt.Sprint(a.Child))
	return p.String()
}

// BuildRowIter implements sql.ExecBuilderNode.
func (a *Apply) BuildRowIter(ctx *sql.Context, b sql.NodeExecBuilder, row sql.Row) (sql.RowIter, error) {
	rows, err := b.Build(ctx, a.Child, row)
	if err != nil {
		return nil, err
	}
	if cacheOf(ctx) == nil {
		return rows, nil // nowhere to leave the predictions: the calls make their own
	}
	return &applyIter{node: a, rows: rows, size: firstRows}, nil
}

// applyIter is one run of an Apply.
type applyIter struct {
	node  *Apply
	rows  sql.RowIter
	chunk []sql.Row
	at    int
	size  int   // rows of the next chunk
	ended error // what the child ended with
}

// Next implements sql.RowIter.
func (i *applyIter) Next(ctx *sql.Context) (sql.Row, error) {
	if i.at == len(i.chunk) {
		if i.ended != nil {
			return nil, i.ended
		}
		if err := i.fill(ctx); err != nil {
			return nil, err
		}
		if len(i.chunk) == 0 {
			return nil, i.ended
		}
	}
	row := i.chunk[i.at]
	i.chunk[i.at] = nil
	i.at++
	return row, nil
}

// fill gathers the next chunk and scores its texts.
func (i *applyIter) fill(ctx *sql.Context) error {
	i.chunk, i.at = i.chunk[:0], 0
	for len(i.chunk) < i.size {
		row, err := i.rows.Next(ctx)
		if err != nil {
			if !errors.Is(err, io.EOF) {
				return err
			}
			i.ended = err
			break
		}
		i.chunk = append(i.chunk, row)
	}
	i.size = min(2*i.size, maxRows)
	return i.score(ctx)
}

// score runs each task over the texts of the chunk that are not known yet.
func (i *applyIter) score(ctx *sql.Context) error {
	cache := cacheOf(ctx)
	texts := map[task][]string{}
	var order []task // as the calls stand, so that equal statements do equal work
	asked := map[need]bool{}
	for _, row := range i.chunk {
		for _, c := range i.node.calls {
			j, err := c.job(ctx, row)
			if err != nil {
				// The call may stand where it is never reached, and its own error is for its own place.
				continue
			}
			for _, n := range j.needs {
				if asked[n] {
					continue
				}
				asked[n] = true
				if _, ok := cache.get(n); ok {
					continue
				}
				if _, ok := texts[n.task]; !ok {
					order = append(order, n.task)
				}
				texts[n.task] = append(texts[n.task], n.text)
			}
		}
	}
	for _, t := range order {
		results, err := t.run(context.Context(ctx), i.node.set.predictor, texts[t])
		if err != nil {
			return err
		}
		for k, text := range texts[t] {
			cache.put(need{t, text}, results[k])
		}
	}
	return nil
}

// Close implements sql.RowIter.
func (i *applyIter) Close(ctx *sql.Context) error {
	i.chunk = nil
	return i.rows.Close(ctx)
}
