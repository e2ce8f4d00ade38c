package functions

import (
	"github.com/dolthub/go-mysql-server/sql"
	"github.com/dolthub/go-mysql-server/sql/analyzer"
	"github.com/dolthub/go-mysql-server/sql/expression"
	"github.com/dolthub/go-mysql-server/sql/expression/function"
	"github.com/dolthub/go-mysql-server/sql/plan"
	"github.com/dolthub/go-mysql-server/sql/transform"
)

// applyRuleID names our rule; those of go-mysql-server are far below.
const applyRuleID = analyzer.RuleId(20_001)

// AddRules adds the rule that places Apply. It runs when all else is done, so that columns have their final places.
func (s *Set) AddRules(b *analyzer.Builder) *analyzer.Builder {
	return b.AddPostAnalyzeRule(applyRuleID, func(ctx *sql.Context, _ *analyzer.Analyzer, n sql.Node, _ *plan.Scope, _ analyzer.RuleSelector, _ *sql.QueryFlags) (sql.Node, transform.TreeIdentity, error) {
		return transform.NodeWithOpaque(ctx, n, s.place)
	})
}

// place puts an Apply under a node whose expressions call models.
func (s *Set) place(ctx *sql.Context, n sql.Node) (sql.Node, transform.TreeIdentity, error) {
	if applied(n) {
		return n, transform.SameTree, nil
	}
	if f, ok := n.(*plan.Filter); ok {
		return s.placeFilter(ctx, f)
	}
	if j, ok := n.(*plan.JoinNode); ok {
		return s.placeJoin(ctx, j)
	}
	e, ok := n.(sql.Expressioner)
	children := n.Children()
	if !ok || len(children) != 1 {
		return n, transform.SameTree, nil
	}
	calls := callsIn(e.Expressions()...)
	if len(calls) == 0 || applied(children[0]) {
		return n, transform.SameTree, nil
	}
	with, err := n.WithChildren(ctx, s.apply(children[0], calls))
	return with, transform.NewTree, err
}

func (s *Set) apply(child sql.Node, calls []*call) *Apply {
	return &Apply{UnaryNode: plan.UnaryNode{Child: child}, set: s, calls: calls}
}

func applied(n sql.Node) bool {
	_, ok := n.(*Apply)
	return ok
}

// placeFilter splits the conditions: those without a model go first, so that fewer rows reach it.
func (s *Set) placeFilter(ctx *sql.Context, f *plan.Filter) (sql.Node, transform.TreeIdentity, error) {
	if len(callsIn(f.Expression)) == 0 || applied(f.Child) {
		return f, transform.SameTree, nil
	}
	var cheap, dear []sql.Expression
	for _, e := range expression.SplitConjunction(ctx, f.Expression) {
		if len(callsIn(e)) == 0 {
			cheap = append(cheap, e)
		} else {
			dear = append(dear, e)
		}
	}
	child := f.Child
	if len(cheap) > 0 {
		child = plan.NewFilter(expression.JoinAnd(cheap...), child)
	}
	for _, e := range dear {
		child = plan.NewFilter(e, s.apply(child, callsIn(e)))
	}
	return child, transform.NewTree, nil
}

// placeJoin looks after calls in the argument of a JSON_TABLE: it is computed from the rows of the left side.
func (s *Set) placeJoin(ctx *sql.Context, j *plan.JoinNode) (sql.Node, transform.TreeIdentity, error) {
	var table *plan.JSONTable
	// Names and filters may stand around the table; another join may not.
	for right := j.Right(); table == nil; {
		if t, ok := right.(*plan.JSONTable); ok {
			table = t
			break
		}
		children := right.Children()
		if _, join := right.(*plan.JoinNode); join || len(children) != 1 {
			return j, transform.SameTree, nil
		}
		right = children[0]
	}
	calls := callsIn(table.DataExpr)
	if len(calls) == 0 || applied(j.Left()) {
		return j, transform.SameTree, nil
	}
	with, err := j.WithChildren(ctx, s.apply(j.Left(), calls), j.Right())
	return with, transform.NewTree, err
}

// callsIn collects the calls that are evaluated for every row and ask a model. What stands in a branch that may not be
// taken is left to itself: scoring for nothing costs more than scoring one by one.
func callsIn(exprs ...sql.Expression) []*call {
	var calls []*call
	seen := map[string]bool{}
	var visit func(e sql.Expression)
	visit = func(e sql.Expression) {
		switch e := e.(type) {
		case nil:
			return
		case *plan.Subquery:
			return // has a plan of its own
		case *expression.Case:
			if e.Expr != nil {
				visit(e.Expr)
			}
			if len(e.Branches) > 0 {
				visit(e.Branches[0].Cond)
			}
			return
		case *function.If, *function.Coalesce, *function.IfNull:
			if children := e.Children(); len(children) > 0 {
				visit(children[0])
			}
			return
		case *call:
			if asksModel(e) && !seen[e.String()] {
				seen[e.String()] = true
				calls = append(calls, e)
			}
		}
		for _, child := range e.Children() {
			visit(child)
		}
	}
	for _, e := range exprs {
		visit(e)
	}
	return calls
}

// asksModel reports whether the function needs a model: those over the text alone have nothing to gather.
func asksModel(c *call) bool { return c.spec.name != "mentions" && c.spec.name != "hashtags" }
