package engine

import (
	"github.com/dolthub/go-mysql-server/sql"
	"github.com/dolthub/go-mysql-server/sql/expression"
	"github.com/dolthub/go-mysql-server/sql/types"
)

// noFile is LOAD_FILE on a server that shows no files: NULL, as MySQL answers for a file that may not be read. The
// built-in one of go-mysql-server asks for no privilege.
type noFile struct{ expression.UnaryExpressionStub }

var _ sql.FunctionExpression = (*noFile)(nil)

func newNoFile(_ *sql.Context, path sql.Expression) sql.Expression {
	return &noFile{expression.UnaryExpressionStub{Child: path}}
}

// FunctionName implements sql.FunctionExpression.
func (f *noFile) FunctionName() string { return "load_file" }

// Description implements sql.FunctionExpression.
func (f *noFile) Description() string { return "is always NULL: the server shows no files." }

// String implements sql.Expression.
func (f *noFile) String() string { return "load_file(" + f.Child.String() + ")" }

// Type implements sql.Expression.
func (f *noFile) Type(*sql.Context) sql.Type { return types.LongBlob }

// Eval implements sql.Expression.
func (f *noFile) Eval(*sql.Context, sql.Row) (any, error) { return nil, nil }

// WithChildren implements sql.Expression.
func (f *noFile) WithChildren(ctx *sql.Context, children ...sql.Expression) (sql.Expression, error) {
	if len(children) != 1 {
		return nil, sql.ErrInvalidChildrenNumber.New(f, len(children), 1)
	}
	return newNoFile(ctx, children[0]), nil
}
