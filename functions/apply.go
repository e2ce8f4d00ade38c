package functions

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"

	"github.com/dolthub/go-mysql-server/sql"
	"github.com/dolthub/go-mysql-server/sql/plan"
	"golang.org/x/sync/errgroup"
)

// Rows gathered before a model runs: few at first, so that LIMIT 5 costs little, then more, so that a model can put texts
// of like length together and all cores have work.
const (
	firstRows = 8
	maxRows   = 2048
	// aheadRows is the size from which the next chunk is gathered before it is asked for: a LIMIT is most likely met.
	aheadRows = 256
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

// applyIter is one run of an Apply. Once the chunks are large it works ahead: while the models score one chunk, the child
// is asked for the next, and while the rows of one are handed on, the models score the next.
type applyIter struct {
	node  *Apply
	rows  sql.RowIter
	size  int    // rows of the next chunk
	now   *chunk // whose rows are handed on
	at    int    // next row of it
	ahead *chunk // being scored; nil while chunks are small
}

// chunk is rows that were gathered together, and what their calls still have to ask the models.
type chunk struct {
	rows   []sql.Row
	end    error // what the child ended with behind these rows, nil if it goes on
	texts  map[task][]string
	order  []task     // as the calls stand, so that equal statements do equal work
	scored chan error // receives one value when the models are done
}

// Next implements sql.RowIter.
func (i *applyIter) Next(ctx *sql.Context) (sql.Row, error) {
	if i.now == nil || i.at == len(i.now.rows) {
		if i.now != nil && i.now.end != nil {
			return nil, i.now.end
		}
		if err := i.advance(ctx); err != nil {
			return nil, err
		}
		if len(i.now.rows) == 0 {
			return nil, i.now.end
		}
	}
	row := i.now.rows[i.at]
	i.now.rows[i.at] = nil
	i.at++
	return row, nil
}

// advance makes the next chunk the present one, scored.
func (i *applyIter) advance(ctx *sql.Context) error {
	now := i.ahead
	i.ahead = nil
	if now == nil {
		now = i.gather(ctx)
		i.start(ctx, now)
	}
	var next *chunk
	if i.size >= aheadRows && now.end == nil {
		next = i.gather(ctx)
	}
	if err := <-now.scored; err != nil {
		return err
	}
	cacheOf(ctx).warn(ctx)
	if next != nil {
		i.start(ctx, next)
		i.ahead = next
	}
	i.now, i.at = now, 0
	return nil
}

// gather takes rows from the child and plans what their calls need and nobody knows yet.
func (i *applyIter) gather(ctx *sql.Context) *chunk {
	c := &chunk{rows: make([]sql.Row, 0, i.size), texts: map[task][]string{}, scored: make(chan error, 1)}
	for len(c.rows) < i.size {
		row, err := i.rows.Next(ctx)
		if err != nil {
			if c.end = err; !errors.Is(err, io.EOF) {
				c.rows = nil // the statement fails: there is nothing to score
			}
			break
		}
		c.rows = append(c.rows, row)
	}
	i.size = min(2*i.size, maxRows)
	cache := cacheOf(ctx)
	asked := map[need]bool{}
	for _, row := range c.rows {
		for _, call := range i.node.calls {
			j, err := call.job(ctx, row)
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
				if _, ok := c.texts[n.task]; !ok {
					c.order = append(c.order, n.task)
				}
				c.texts[n.task] = append(c.texts[n.task], n.text)
			}
		}
	}
	return c
}

// start has the models score a chunk; its channel tells when they are done.
func (i *applyIter) start(ctx context.Context, c *chunk) {
	cache := cacheOf(ctx)
	go func() {
		// Side by side, because options of keywords() that differ from row to row make a task of each row.
		group, ctx := errgroup.WithContext(ctx)
		group.SetLimit(runtime.GOMAXPROCS(0))
		for _, t := range c.order {
			group.Go(func() error {
				results, err := t.guarded(ctx, i.node.set.predictor, c.texts[t])
				if err != nil {
					return err
				}
				for k, text := range c.texts[t] {
					cache.put(need{t, text}, results[k])
				}
				return nil
			})
		}
		c.scored <- group.Wait()
	}()
}

// Close implements sql.RowIter. It waits for the models, which stop when the statement's context ends.
func (i *applyIter) Close(ctx *sql.Context) error {
	if i.ahead != nil {
		<-i.ahead.scored // its rows are not wanted any more, and neither is its error
		i.ahead = nil
	}
	i.now = &chunk{end: io.EOF}
	i.at = 0
	return i.rows.Close(ctx)
}
