package merge

import (
	"strings"

	"github.com/dolthub/vitess/go/vt/sqlparser"

	"smelt/queries/lineage"
)

// ordered are aggregates whose result depends on the order of the rows, which a table does not promise.
var ordered = map[string]bool{
	"group_concat": true, "json_arrayagg": true, "json_objectagg": true, "any_value": true, "first": true, "last": true, "first_value": true, "last_value": true,
}

// unsteady are functions that yield something else each time.
var unsteady = map[string]bool{
	"rand": true, "uuid": true, "uuid_short": true, "now": true, "sysdate": true, "curdate": true, "curtime": true, "current_date": true, "current_time": true,
	"current_timestamp": true, "localtime": true, "localtimestamp": true, "utc_date": true, "utc_time": true, "utc_timestamp": true, "random_bytes": true,
	"connection_id": true, "last_insert_id": true, "found_rows": true, "row_count": true, "sleep": true, "user": true, "current_user": true, "session_user": true,
	"system_user": true, "database": true, "schema": true, "version": true, "get_lock": true, "release_lock": true, "is_free_lock": true, "is_used_lock": true,
}

func aggregate(f *sqlparser.FuncExpr) bool { return lineage.Aggregates(f) || ordered[f.Name.Lowered()] }

// whole names an aggregate or window function in a list of expressions, outside of the SELECTs in them; "" for none.
func whole(n sqlparser.SQLNode) string {
	found := ""
	eachCall(n, func(name string, f *sqlparser.FuncExpr) {
		if f == nil || aggregate(f) || f.Over != nil {
			found = strings.ToUpper(name) + "()"
		}
	})
	return found
}

// eachCall visits the function calls of an expression, those of SELECTs inside left out; f is nil for GROUP_CONCAT.
func eachCall(n sqlparser.SQLNode, visit func(name string, f *sqlparser.FuncExpr)) {
	// The visitor never fails.
	_ = sqlparser.Walk(func(n sqlparser.SQLNode) (bool, error) {
		switch n := n.(type) {
		case *sqlparser.Subquery:
			return false, nil
		case *sqlparser.FuncExpr:
			visit(n.Name.Lowered(), n)
		case *sqlparser.GroupConcatExpr:
			visit("group_concat", nil)
		}
		return true, nil
	}, n)
}

// steady refuses a SELECT that yields something else each time it is run over the same rows.
func steady(s sqlparser.SelectStatement) error {
	return sqlparser.Walk(func(n sqlparser.SQLNode) (bool, error) {
		switch n := n.(type) {
		case *sqlparser.FuncExpr:
			name := n.Name.Lowered()
			if unsteady[name] || name == "unix_timestamp" && len(n.Exprs) == 0 {
				return false, refuse("%s() yields something else each time", strings.ToUpper(name))
			}
		case *sqlparser.CollateExpr:
			return false, refuse("COLLATE takes texts for equal that differ")
		case *sqlparser.ColName:
			if name := n.Name.String(); strings.HasPrefix(name, "@") {
				return false, refuse("the variable %s is not the SELECT's own", name)
			}
		}
		return true, nil
	}, s)
}
