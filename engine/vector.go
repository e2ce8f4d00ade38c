package engine

import (
	"errors"
	"io"
	"slices"
	"sync/atomic"

	"github.com/dolthub/go-mysql-server/sql"
	"github.com/dolthub/go-mysql-server/sql/analyzer"
	"github.com/dolthub/go-mysql-server/sql/plan"
	"github.com/dolthub/go-mysql-server/sql/transform"

	"smelt/tables"
)

// vectors says how the GROUP BYs of one engine run.
type vectors struct {
	off   atomic.Bool  // by rows, always; for tests
	taken atomic.Int64 // how many ran over columns; for tests
}

// vectorise is a rule: it puts a vectorAggregate above each GROUP BY whose rows come from one table. Columns have no
// places in the rows yet, so whether all else suits is found out when the plan is printed or run.
func (v *vectors) vectorise(ctx *sql.Context, _ *analyzer.Analyzer, n sql.Node, _ *plan.Scope, _ analyzer.RuleSelector, _ *sql.QueryFlags) (sql.Node, transform.TreeIdentity, error) {
	return transform.NodeWithOpaque(ctx, n, func(_ *sql.Context, n sql.Node) (sql.Node, transform.TreeIdentity, error) {
		switch n := n.(type) {
		case *plan.GroupBy:
			if overOneTable(n.Child) {
				return &vectorAggregate{UnaryNode: plan.UnaryNode{Child: n}, vectors: v}, transform.NewTree, nil
			}
		case *vectorAggregate:
			// A subquery is analysed by itself first, and then again with the statement around it.
			if again, ok := n.Child.(*vectorAggregate); ok {
				return again, transform.NewTree, nil
			}
		}
		return n, transform.SameTree, nil
	})
}

// overOneTable reports whether the rows of n are those of one relation, with only filters, projections and names between.
func overOneTable(n sql.Node) bool {
	switch n := n.(type) {
	case *plan.ResolvedTable:
		return relationOf(n.UnderlyingTable()) != nil
	case *plan.TableAlias:
		return overOneTable(n.Child)
	case *plan.SubqueryAlias:
		return !n.IsLateral && overOneTable(n.Child)
	case *plan.Filter:
		return overOneTable(n.Child)
	case *plan.Project:
		return overOneTable(n.Child)
	}
	return false
}

// vectorAggregate runs the GROUP BY below it over columns instead of rows where it can: the batches of the table are
// filtered, grouped and added up without a value of Go's interface type for each field. The result is the same to the
// bit. All else, model calls among it, runs by rows.
type vectorAggregate struct {
	plan.UnaryNode
	vectors *vectors
}

var (
	_ sql.ExecBuilderNode = (*vectorAggregate)(nil)
	_ sql.Describable     = (*vectorAggregate)(nil)
)

// IsReadOnly implements sql.Node.
func (v *vectorAggregate) IsReadOnly() bool { return v.Child.IsReadOnly() }

// String implements sql.Node. Whether the node does anything is only known with a context: see Describe.
func (v *vectorAggregate) String() string { return v.Child.String() }

// Describe implements sql.Describable.
func (v *vectorAggregate) Describe(ctx *sql.Context, options sql.DescribeOptions) string {
	child := sql.Describe(ctx, v.Child, options)
	if v.plan(ctx) == nil {
		return child
	}
	p := sql.NewTreePrinter()
	_ = p.WriteNode("Vectorised") // a printer in memory
	_ = p.WriteChildren(child)
	return p.String()
}

// WithChildren implements sql.Node.
func (v *vectorAggregate) WithChildren(_ *sql.Context, children ...sql.Node) (sql.Node, error) {
	if len(children) != 1 {
		return nil, sql.ErrInvalidChildrenNumber.New(v, len(children), 1)
	}
	return &vectorAggregate{UnaryNode: plan.UnaryNode{Child: children[0]}, vectors: v.vectors}, nil
}

// BuildRowIter implements sql.ExecBuilderNode. Inside of a correlated subquery, where row is not empty, the places of
// columns count the outer row too; that runs by rows.
func (v *vectorAggregate) BuildRowIter(ctx *sql.Context, b sql.NodeExecBuilder, row sql.Row) (sql.RowIter, error) {
	if len(row) == 0 && !v.vectors.off.Load() {
		if p := v.plan(ctx); p != nil {
			v.vectors.taken.Add(1)
			return &vectorIter{plan: p, byRows: func() (sql.RowIter, error) { return b.Build(ctx, v.Child, row) }}, nil
		}
	}
	return b.Build(ctx, v.Child, row)
}

// plan returns how to run the GROUP BY over columns, nil if it must run by rows.
func (v *vectorAggregate) plan(ctx *sql.Context) *vectorPlan {
	group, ok := v.Child.(*plan.GroupBy)
	if !ok {
		return nil
	}
	return newVectorPlan(ctx, group)
}

// vectorPlan is one GROUP BY over one relation, run once.
type vectorPlan struct {
	relation tables.Relation
	columns  []string // of the relation, as the expressions number them
	filters  []vectorTest
	keys     []vectorExpr
	outputs  []accumulator
	counts   bool                // nothing but counts of rows is asked for
	whole    []*vectorArithmetic // those of whole numbers, which may overflow
}

// errByRows ends a plan that met a number which does not fit, perhaps in a row that no filter lets through: the rows tell.
var errByRows = errors.New("a whole number does not fit")

func (p *vectorPlan) overflowed() bool {
	return slices.ContainsFunc(p.whole, func(a *vectorArithmetic) bool { return a.overflow })
}

// groups runs the plan and returns how many groups there are; the outputs hold their values.
func (p *vectorPlan) groups(ctx *sql.Context) (int, error) {
	if counter, ok := p.relation.(tables.Counter); ok && p.counts {
		for _, out := range p.outputs {
			out.(*countRows).counts = []int64{counter.Rows()}
		}
		return 1, nil
	}
	reader, err := p.relation.Scan(ctx, p.columns)
	if err != nil {
		return 0, err
	}
	n, err := p.read(ctx, reader)
	if closing := reader.Close(); err == nil {
		err = closing
	}
	return n, err
}

// read takes in the batches one after the other, because sums of floating-point numbers depend on their order, and the
// order of the groups is that of the rows. Other cores would not help: a scan decodes ahead on all of them, and takes
// longer for a row than all that is done here.
func (p *vectorPlan) read(ctx *sql.Context, reader tables.Reader) (int, error) {
	keys := newGroupKeys(p.keys)
	var chosen selection
	for {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		b, err := reader.Next(ctx)
		if err == io.EOF {
			break
		}
		if err != nil {
			return 0, err
		}
		rows := chosen.rows(b, p.filters)
		if p.overflowed() {
			return 0, errByRows
		}
		if len(rows) == 0 {
			continue
		}
		groups := keys.assign(b, rows)
		if keys.count > groupsMax {
			return 0, mysqlError(errOutOfMemory, "GROUP BY makes more than %d groups", groupsMax)
		}
		for _, out := range p.outputs {
			out.add(b, rows, groups, keys.count)
		}
		if p.overflowed() {
			return 0, errByRows
		}
	}
	if len(p.keys) == 0 && keys.count == 0 {
		keys.count = 1 // without GROUP BY there is a row even where there are none
		for _, out := range p.outputs {
			out.add(nil, nil, nil, 1)
		}
	}
	return keys.count, nil
}

// selection chooses rows of batches; it keeps its memory from one to the next.
type selection struct {
	chosen []int32
	truths []truth
}

// rows returns the places of the rows of b that pass all filters.
func (s *selection) rows(b *tables.Batch, filters []vectorTest) []int32 {
	if len(filters) == 0 {
		for i := len(s.chosen); i < b.Len; i++ {
			s.chosen = append(s.chosen, int32(i))
		}
		return s.chosen[:b.Len]
	}
	s.chosen = s.chosen[:0]
	s.truths = resize(s.truths, b.Len)
	filters[0].test(b, s.truths)
	for i, t := range s.truths {
		if t == yes {
			s.chosen = append(s.chosen, int32(i))
		}
	}
	for _, f := range filters[1:] {
		f.test(b, s.truths)
		kept := s.chosen[:0]
		for _, i := range s.chosen {
			if s.truths[i] == yes {
				kept = append(kept, i)
			}
		}
		s.chosen = kept
	}
	return s.chosen
}

// resize returns s with n elements of any value.
func resize[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}

// vectorIter yields one row for each group, in the order in which the groups came up.
type vectorIter struct {
	plan   *vectorPlan
	groups int
	read   bool
	next   int

	byRows func() (sql.RowIter, error) // what the plan stands for
	rows   sql.RowIter                 // nil unless the plan gave up
}

// Next implements sql.RowIter.
func (it *vectorIter) Next(ctx *sql.Context) (sql.Row, error) {
	if !it.read {
		it.read = true
		n, err := it.plan.groups(ctx)
		if errors.Is(err, errByRows) {
			it.rows, err = it.byRows()
		}
		if err != nil {
			return nil, err
		}
		it.groups = n
	}
	if it.rows != nil {
		return it.rows.Next(ctx)
	}
	if it.next == it.groups {
		return nil, io.EOF
	}
	row := make(sql.Row, len(it.plan.outputs))
	for i, out := range it.plan.outputs {
		v, err := out.value(it.next)
		if err != nil {
			return nil, err
		}
		row[i] = v
	}
	it.next++
	return row, nil
}

// Close implements sql.RowIter.
func (it *vectorIter) Close(ctx *sql.Context) error {
	it.plan, it.groups, it.next = nil, 0, 0
	it.read = true
	if it.rows != nil {
		return it.rows.Close(ctx)
	}
	return nil
}
