package engine

import (
	"context"
	"slices"
	"strings"

	"github.com/dolthub/go-mysql-server/sql"
	"github.com/dolthub/go-mysql-server/sql/types"

	"smelt/queries/ddl"
	"smelt/queries/lexer"
)

// maxTempViews bounds the temporary views of one session: each is looked for in every statement.
const maxTempViews = 100

// inlineViews puts the session's temporary views into a statement. For one that makes such a view, it returns the plan
// that keeps it: until the session ends, as in Spark, where it would live for its pipeline.
func inlineViews(ctx context.Context, text string) (string, *node, error) {
	sqlCtx, ok := ctx.(*sql.Context)
	if !ok {
		return text, nil, nil
	}
	s, ok := sqlCtx.Session.(*session)
	if !ok {
		return text, nil, nil
	}
	if len(s.views) == 0 && !strings.Contains(strings.ToUpper(text), "VIEW") {
		return text, nil, nil
	}
	script := append(slices.Clone(s.views), lexer.Piece{Text: text, Line: 1, Column: 1})
	rest, made, err := ddl.Inline(script)
	if err != nil {
		return "", nil, err
	}
	if len(rest) == 1 {
		return rest[0].Text, nil, nil
	}
	return "", &node{name: "CreateTemporaryView", schema: types.OkResultSchema, run: func(*sql.Context) (sql.RowIter, error) {
		if len(made) > maxTempViews || len(script) > 10*maxTempViews {
			return nil, mysqlError(errNotSupportedYet, "This version of smelt doesn't yet support 'more than %d temporary views in a session'", maxTempViews)
		}
		s.views = script
		return okResult(0), nil
	}}, nil
}
