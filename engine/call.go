package engine

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/dolthub/go-mysql-server/sql"
	"github.com/dolthub/go-mysql-server/sql/types"
	"github.com/dolthub/vitess/go/vt/sqlparser"

	"smelt/queries/ddl"
	"smelt/queries/lexer"
)

// callDatabase is the database whose procedures are our statements.
const callDatabase = "smelt"

// calls are the statements that CALL smelt.name(...) stands for, by name and number of arguments: for clients that prepare
// all they send, and for arguments that are parameters. @n is a table, @w words, @d a number, @s a text and @x anything.
var calls = map[string]string{
	"run/1":               "@x",
	"refresh/1":           "REFRESH @n",
	"refresh/2":           "REFRESH @n @w",
	"explain_refresh/1":   "EXPLAIN REFRESH @n",
	"describe_history/1":  "DESCRIBE HISTORY @n",
	"describe_history/2":  "DESCRIBE HISTORY @n LIMIT @d",
	"describe_detail/1":   "DESCRIBE DETAIL @n",
	"optimize_table/1":    "OPTIMIZE @n",
	"vacuum_table/1":      "VACUUM @n",
	"vacuum_table/2":      "VACUUM @n RETAIN @d HOURS",
	"restore_table/2":     "RESTORE TABLE @n TO VERSION AS OF @d",
	"retry_file/2":        "ALTER STREAMING TABLE @n RETRY FILE @s",
	"unload_file/2":       "UNLOAD FILE @s FROM @n",
	"reload_file/2":       "RELOAD FILE @s FROM @n",
	"replay_quarantine/1": "REPLAY QUARANTINE OF @n",
	"replay_quarantine/2": "REPLAY QUARANTINE OF @n WHERE @x",
}

var callArgument = regexp.MustCompile(`@[nwdsx]`)

// bareWords is what @w takes: options of a statement.
var bareWords = regexp.MustCompile(`^[A-Za-z ]*$`)

// callOf returns the statement for CALL smelt.name(...), nil for any other.
func (p *parser) callOf(c *sqlparser.Call) sqlparser.Statement {
	if !strings.EqualFold(c.ProcName.Qualifier.String(), callDatabase) {
		return nil
	}
	name := strings.ToLower(c.ProcName.Name.String())
	pattern, ok := calls[fmt.Sprintf("%s/%d", name, len(c.Params))]
	if !ok {
		return refused(mysqlError(sqlCode{1305, "42000"}, "PROCEDURE smelt.%s with %d arguments does not exist", name, len(c.Params)))
	}
	constant := make([]any, len(c.Params))
	for i, e := range c.Params {
		v, ok := e.(*sqlparser.SQLVal)
		if !ok || v.Type != sqlparser.StrVal && v.Type != sqlparser.IntVal {
			return p.deferredCall(c, pattern)
		}
		constant[i] = string(v.Val)
	}
	statement, err := calledStatement(pattern, constant)
	if err != nil {
		return refused(err)
	}
	return p.inject(statement)
}

// deferredCall is a CALL whose arguments are known when it runs. Its columns are those of the statement with names for
// them; CALL smelt.run(?) has none that are known.
func (p *parser) deferredCall(c *sqlparser.Call, pattern string) sqlparser.Statement {
	like := sqlparser.InjectedStatement{Auth: sqlparser.AuthInformation{AuthType: sqlparser.AuthType_CREATE, TargetType: sqlparser.AuthTargetType_Global}}
	schema := types.OkResultSchema
	example := callArgument.ReplaceAllStringFunc(pattern, func(a string) string {
		return map[string]string{"@n": "t", "@d": "1", "@s": "'s'", "@w": "", "@x": "x"}[a]
	})
	if statement, err := ddl.Parse(example); err == nil && statement != nil {
		if injected, ok := p.inject(statement).(sqlparser.InjectedStatement); ok {
			like = injected
			if n, ok := injected.Statement.(*node); ok {
				schema = n.schema
			}
		}
	}
	like.Children = c.Params
	like.Statement = &deferred{parser: p, pattern: pattern, schema: schema}
	return like
}

// deferred is a CALL that waits for its arguments.
type deferred struct {
	parser  *parser
	pattern string
	schema  sql.Schema
}

// WithResolvedChildren implements sqlparser.Injectable.
func (d *deferred) WithResolvedChildren(_ context.Context, children []any) (any, error) {
	run := func(ctx *sql.Context) (sql.RowIter, error) {
		values := make([]any, len(children))
		for i, child := range children {
			e, ok := child.(sql.Expression)
			if !ok {
				return nil, fmt.Errorf("bind CALL: got a %T for an argument", child)
			}
			var err error
			if values[i], err = e.Eval(ctx, nil); err != nil {
				return nil, err
			}
		}
		statement, err := calledStatement(d.pattern, values)
		if err != nil {
			return nil, err
		}
		injected, ok := d.parser.inject(statement).(sqlparser.InjectedStatement)
		if !ok {
			return nil, mysqlError(errWrongArguments, "Incorrect arguments to CALL")
		}
		n, ok := injected.Statement.(*node)
		if !ok || !n.schema.Equals(d.schema) {
			return nil, mysqlError(errWrongArguments, "Incorrect arguments to CALL: the statement answers with rows; give it as a text and not as a parameter")
		}
		return n.run(ctx)
	}
	return &node{name: "Call", schema: d.schema, run: run}, nil
}

// calledStatement reads the statement that a pattern makes of arguments.
func calledStatement(pattern string, args []any) (ddl.Statement, error) {
	var failed error
	next := 0
	text := callArgument.ReplaceAllStringFunc(pattern, func(kind string) string {
		arg := fmt.Sprint(args[next])
		if b, ok := args[next].([]byte); ok {
			arg = string(b)
		}
		next++
		switch kind {
		case "@n":
			parts := strings.Split(arg, ".")
			for i := range parts {
				parts[i] = lexer.QuoteName(strings.Trim(parts[i], "`"))
			}
			return strings.Join(parts, ".")
		case "@s":
			return lexer.QuoteText(arg)
		case "@d":
			if _, err := strconv.ParseFloat(arg, 64); err != nil {
				failed = mysqlError(errWrongArguments, "Incorrect arguments to CALL: %q is no number", arg)
			}
		case "@w":
			if !bareWords.MatchString(arg) {
				failed = mysqlError(errWrongArguments, "Incorrect arguments to CALL: %q is no option", arg)
			}
		}
		return arg
	})
	if failed != nil {
		return nil, failed
	}
	statement, err := ddl.Parse(text)
	if err == nil && statement == nil {
		err = mysqlError(errWrongArguments, "Incorrect arguments to CALL: %q is no statement of smelt's; those of MySQL need no CALL", firstLine(text))
	}
	return statement, err
}
