package engine

import (
	"strings"

	"github.com/dolthub/vitess/go/vt/sqlparser"
)

// What Spark calls the file columns of read_files, and how the hidden columns are named that stand for them.
const (
	metadataName   = "_metadata"
	metadataPrefix = "_metadata_"
	inputFileName  = "input_file_name"
	filePath       = "file_path"
)

// nameFileColumns puts the names of hidden columns where a SELECT says _metadata.file_path or input_file_name(). A
// column that is selected bare keeps its last name, as in Spark. It is for statements that read files; one whose files
// have a field _metadata of their own is left alone.
func nameFileColumns(statement sqlparser.SelectStatement) {
	// The visitor never fails.
	_ = sqlparser.Walk(func(n sqlparser.SQLNode) (bool, error) {
		switch n := n.(type) {
		case *sqlparser.AliasedExpr:
			if c, ok := n.Expr.(*sqlparser.ColName); ok && n.As.IsEmpty() && isMetadata(c) {
				n.As = c.Name
			}
		case *sqlparser.ColName:
			if isMetadata(n) {
				n.Name = sqlparser.NewColIdent(metadataPrefix + n.Name.Lowered())
				n.Qualifier = sqlparser.TableName{Name: n.Qualifier.DbQualifier}
			}
		case *sqlparser.FuncExpr:
			if n.Name.Lowered() == inputFileName && len(n.Exprs) == 0 {
				// COALESCE of one value is that value: a node cannot be replaced by one of another kind here.
				n.Name = sqlparser.NewColIdent("coalesce")
				n.Exprs = sqlparser.SelectExprs{&sqlparser.AliasedExpr{Expr: &sqlparser.ColName{Name: sqlparser.NewColIdent(metadataPrefix + filePath)}}}
			}
		}
		return true, nil
	}, statement)
}

func isMetadata(c *sqlparser.ColName) bool {
	return strings.EqualFold(c.Qualifier.Name.String(), metadataName)
}
