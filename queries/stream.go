package queries

import (
	"fmt"
	"strings"

	"github.com/dolthub/vitess/go/vt/sqlparser"

	"smelt/queries/ddl"
)

// checkShape refuses what no strategy can keep up to date, with what to do instead.
func checkShape(c *ddl.Create, s *shape) error {
	if c.Kind == ddl.MaterializedView {
		if len(c.Sources) > 0 {
			return fmt.Errorf("materialized view %s: %w: STREAM reads each row once, a view reads whole tables; write the table's name without STREAM, or make a STREAMING TABLE",
				c.Name, ErrUnsupported)
		}
		return nil
	}
	if len(c.Sources) == 0 {
		return fmt.Errorf("streaming table %s: %w: the SELECT has no STREAM source; write STREAM(t), or make a MATERIALIZED VIEW", c.Name, ErrUnsupported)
	}
	l := &linear{}
	streams, err := l.statement(s.statement, nil)
	if err == nil && (!streams || l.met != s.streams) {
		err = fmt.Errorf("%w: a STREAM source in a subquery of an expression, or one that nothing reads; it belongs behind FROM", ErrUnsupported)
	}
	if err != nil {
		return fmt.Errorf("streaming table %s: %w", c.Name, err)
	}
	return nil
}

// linear proves that a SELECT over a stream may run batch by batch: its rows over a first and a second batch together
// are those over the first and then those over the second. Filters, functions, explodes, joins of the stream with
// tables and UNION ALL of streams are so; whatever looks at several rows, or at rows that are not there, is not.
type linear struct {
	met int // STREAM sources behind FROM
}

// scope holds the common table expressions in sight, by lower-case name, and whether each reads a stream.
type scope map[string]bool

// statement reports whether the SELECT reads a stream, or why it cannot run batch by batch.
func (l *linear) statement(statement sqlparser.SelectStatement, outer scope) (streams bool, err error) {
	switch s := statement.(type) {
	case *sqlparser.Select:
		return l.block(s, outer)
	case *sqlparser.ParenSelect:
		return l.statement(s.Select, outer)
	case *sqlparser.SetOp:
		return l.set(s, outer)
	default:
		return false, nil
	}
}

func (l *linear) block(s *sqlparser.Select, outer scope) (streams bool, err error) {
	names, err := l.with(s.With, outer)
	if err != nil {
		return false, err
	}
	if streams, err = l.list(s.From, names); err != nil || !streams {
		return false, err
	}
	if reason := blockReason(s); reason != "" {
		return false, fmt.Errorf("%w: %s over a stream would only see one batch at a time; use a MATERIALIZED VIEW", ErrUnsupported, reason)
	}
	return true, nil
}

func (l *linear) set(s *sqlparser.SetOp, outer scope) (streams bool, err error) {
	names, err := l.with(s.With, outer)
	if err != nil {
		return false, err
	}
	left, err := l.statement(s.Left, names)
	if err != nil {
		return false, err
	}
	right, err := l.statement(s.Right, names)
	if err != nil || !left && !right {
		return false, err
	}
	if reason := setReason(s); reason != "" {
		return false, fmt.Errorf("%w: %s over a stream would only see one batch at a time; use a MATERIALIZED VIEW", ErrUnsupported, reason)
	}
	if left != right {
		return false, fmt.Errorf("%w: one side of UNION ALL has no STREAM source, and its rows would come again with each batch", ErrUnsupported)
	}
	return true, nil
}

// with adds the common table expressions of a statement to those in sight.
func (l *linear) with(w *sqlparser.With, outer scope) (scope, error) {
	if w == nil {
		return outer, nil
	}
	names := scope{}
	for name, streams := range outer {
		names[name] = streams
	}
	for _, cte := range w.Ctes {
		streams, err := l.simple(cte.Expr, names)
		if err != nil {
			return nil, err
		}
		if streams && w.Recursive {
			return nil, fmt.Errorf("%w: WITH RECURSIVE over a stream", ErrUnsupported)
		}
		names[strings.ToLower(cte.As.String())] = streams
	}
	return names, nil
}

// list reads tables with commas between them: an inner join.
func (l *linear) list(tables sqlparser.TableExprs, names scope) (streams bool, err error) {
	for _, t := range tables {
		one, err := l.table(t, names)
		if err != nil {
			return false, err
		}
		if one && streams {
			return false, errTwoStreams()
		}
		streams = streams || one
	}
	return streams, nil
}

func errTwoStreams() error {
	return fmt.Errorf("%w: a join of two streams; let one side be an ordinary table, or use UNION ALL", ErrUnsupported)
}

func (l *linear) table(t sqlparser.TableExpr, names scope) (streams bool, err error) {
	switch t := t.(type) {
	case *sqlparser.AliasedTableExpr:
		return l.simple(t.Expr, names)
	case *sqlparser.ParenTableExpr:
		return l.list(t.Exprs, names)
	case *sqlparser.JoinTableExpr:
		return l.join(t, names)
	default:
		return false, nil // JSON_TABLE and the like make rows of those beside them
	}
}

func (l *linear) simple(t sqlparser.SimpleTableExpr, names scope) (streams bool, err error) {
	switch t := t.(type) {
	case sqlparser.TableName:
		name := strings.ToLower(t.Name.String())
		if placeholder(name) {
			l.met++
			return true, nil
		}
		return t.DbQualifier.IsEmpty() && names[name], nil
	case *sqlparser.Subquery:
		return l.statement(t.Select, names)
	default:
		return false, nil
	}
}

func (l *linear) join(j *sqlparser.JoinTableExpr, names scope) (streams bool, err error) {
	left, err := l.table(j.LeftExpr, names)
	if err != nil {
		return false, err
	}
	right, err := l.table(j.RightExpr, names)
	if err != nil {
		return false, err
	}
	kind := strings.ToLower(j.Join)
	switch {
	case left && right:
		return false, errTwoStreams()
	case right && strings.Contains(kind, "left"), left && strings.Contains(kind, "right"), (left || right) && strings.Contains(kind, "full"):
		return false, fmt.Errorf("%w: %s keeps the rows of the table without a match, and they would come again with each batch; let the stream be the side that is kept",
			ErrUnsupported, strings.ToUpper(kind))
	}
	return left || right, nil
}

// placeholder reports whether a name stands for a STREAM source: package ddl makes them with a colon, which no table of
// the store can have.
func placeholder(name string) bool {
	return strings.HasPrefix(name, "stream:") || strings.HasPrefix(name, "files:")
}
