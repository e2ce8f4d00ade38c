package engine

import (
	"context"
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
	name := ddl.TempView(text)
	var script []lexer.Piece
	for known, statement := range s.views {
		if known != strings.ToLower(name) {
			script = append(script, lexer.Piece{Text: statement, Line: 1, Column: 1})
		}
	}
	if len(script) == 0 && name == "" && !strings.Contains(strings.ToUpper(text), "VIEW") {
		return text, nil, nil
	}
	rest, err := ddl.Inline(append(script, lexer.Piece{Text: text, Line: 1, Column: 1}))
	if err != nil {
		return "", nil, err
	}
	if len(rest) == 1 {
		return rest[0].Text, nil, nil
	}
	return "", &node{name: "CreateTemporaryView " + name, schema: types.OkResultSchema, run: func(ctx *sql.Context) (sql.RowIter, error) {
		if s.views == nil {
			s.views = map[string]string{}
		}
		if len(s.views) >= maxTempViews {
			return nil, mysqlError(errNotSupportedYet, "This version of smelt doesn't yet support 'more than %d temporary views in a session'", maxTempViews)
		}
		s.views[strings.ToLower(name)] = text
		return okResult(0), nil
	}}, nil
}
