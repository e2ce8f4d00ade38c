package engine

import (
	"github.com/dolthub/go-mysql-server/sql"
	"github.com/dolthub/go-mysql-server/sql/analyzer"
	"github.com/dolthub/go-mysql-server/sql/expression"
	"github.com/dolthub/go-mysql-server/sql/plan"
	"github.com/dolthub/go-mysql-server/sql/transform"
	"github.com/dolthub/go-mysql-server/sql/types"
)

// Ids of the analyzer's rules of this package; go-mysql-server's own stay below 1,000.
const (
	ruleKeepLateralLeft analyzer.RuleId = 20_001
	ruleRetypeLiterals  analyzer.RuleId = 20_002
	rulePushConditions  analyzer.RuleId = 20_003
	ruleVectorise       analyzer.RuleId = 20_004
	ruleKeepSubqueries  analyzer.RuleId = 20_005
)

// addRules adds the rules that mend faults of go-mysql-server's analyzer, and those that read less and add up faster.
// The latter want filters in their final places.
func addRules(b *analyzer.Builder, v *vectors) *analyzer.Builder {
	b = b.AddPreAnalyzeRule(ruleKeepLateralLeft, keepLateralLeft).AddPreAnalyzeRule(ruleRetypeLiterals, retypeLiterals).AddPreAnalyzeRule(ruleKeepSubqueries, keepSubqueries)
	return b.AddPostAnalyzeRule(rulePushConditions, pushConditions).AddPostAnalyzeRule(ruleVectorise, v.vectorise)
}

// keepLateralLeft keeps LEFT JOIN JSON_TABLE(...) ON TRUE and LEFT JOIN LATERAL (...) ON TRUE outer joins: the analyzer
// drops a condition that is always true, and a lateral join without a condition becomes a cross join, which loses the
// rows without a match. For the same reason a WHERE above such a join becomes a node that the analyzer does not know: it
// would make the WHERE a part of the join's condition, as is right for inner joins only.
func keepLateralLeft(ctx *sql.Context, _ *analyzer.Analyzer, n sql.Node, _ *plan.Scope, _ analyzer.RuleSelector, _ *sql.QueryFlags) (sql.Node, transform.TreeIdentity, error) {
	return transform.NodeWithOpaque(ctx, n, func(ctx *sql.Context, n sql.Node) (sql.Node, transform.TreeIdentity, error) {
		switch n := n.(type) {
		case *plan.JoinNode:
			if n.JoinType() == plan.JoinTypeLateralLeft && alwaysTrue(ctx, n.Filter) {
				return n.WithFilter(newKeptTrue()), transform.NewTree, nil
			}
		case *plan.Filter:
			if joinsLateralLeft(n.Child) {
				return &lateFilter{UnaryNode: plan.UnaryNode{Child: n.Child}, condition: n.Expression}, transform.NewTree, nil
			}
		}
		return n, transform.SameTree, nil
	})
}

// joinsLateralLeft reports whether the rows of n come from a lateral left join, with nothing but joins and filters
// between.
func joinsLateralLeft(n sql.Node) bool {
	switch n := n.(type) {
	case *plan.JoinNode:
		return n.JoinType() == plan.JoinTypeLateralLeft || joinsLateralLeft(n.Left()) || joinsLateralLeft(n.Right())
	case *plan.Filter:
		return joinsLateralLeft(n.Child)
	case *lateFilter:
		return true
	}
	return false
}

// alwaysTrue reports whether e is true whatever the row.
func alwaysTrue(ctx *sql.Context, e sql.Expression) bool {
	if e == nil {
		return true
	}
	varies := false
	sql.Inspect(ctx, e, func(_ *sql.Context, e sql.Expression) bool {
		switch e.(type) {
		case *keptTrue, *expression.GetField, *expression.UnresolvedColumn, *plan.Subquery, *expression.BindVar, *expression.ProcedureParam, sql.FunctionExpression:
			varies = true
		}
		return !varies
	})
	if varies {
		return false
	}
	v, err := e.Eval(ctx, nil)
	if err != nil || v == nil {
		return false
	}
	is, err := sql.ConvertToBool(ctx, v)
	return err == nil && is
}

// keptTrue is TRUE in a form that the analyzer does not fold: its child is of a kind that has no value before the
// statement runs. The child is never evaluated.
type keptTrue struct{ child sql.Expression }

func newKeptTrue() *keptTrue {
	return &keptTrue{child: expression.NewProcedureParam("true", types.Boolean)}
}

// Resolved implements sql.Expression.
func (k *keptTrue) Resolved() bool { return true }

// String implements sql.Expression.
func (k *keptTrue) String() string { return "true" }

// Type implements sql.Expression.
func (k *keptTrue) Type(*sql.Context) sql.Type { return types.Boolean }

// IsNullable implements sql.Expression.
func (k *keptTrue) IsNullable(*sql.Context) bool { return false }

// Eval implements sql.Expression.
func (k *keptTrue) Eval(*sql.Context, sql.Row) (any, error) { return true, nil }

// Children implements sql.Expression.
func (k *keptTrue) Children() []sql.Expression { return []sql.Expression{k.child} }

// WithChildren implements sql.Expression.
func (k *keptTrue) WithChildren(_ *sql.Context, children ...sql.Expression) (sql.Expression, error) {
	if len(children) != 1 {
		return nil, sql.ErrInvalidChildrenNumber.New(k, len(children), 1)
	}
	return &keptTrue{child: children[0]}, nil
}
