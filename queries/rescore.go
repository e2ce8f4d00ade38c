package queries

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dolthub/vitess/go/vt/sqlparser"

	"smelt/queries/ddl"
	"smelt/queries/lexer"
	"smelt/tables"
)

// rescoreOperation is that of a commit in which a streaming table's model columns were computed anew.
const rescoreOperation = "RESCORE"

const strategyRescore = "rescore"

// errNotInPlace is why the model columns of a table cannot be computed from what it holds.
var errNotInPlace = errors.New("the rows do not hold what is needed")

// remodel brings a streaming table to the versions that its models mean now. Where its rows hold what the models were
// asked, the columns of these models are computed anew and all else stays; otherwise the table is filled anew. One that may
// not be keeps its rows, and the next ones are made with the new version: its owner has said so.
func (f *flow) remodel(ctx context.Context, t *tables.Table, moved []string, why string, o *outcome) error {
	f.set(stateRunning, "", nil)
	o.did = true
	p := &o.progress
	p.Strategy, p.Reason = strategyRescore, why
	anew, err := f.inPlace(t.Snapshot(), moved)
	if err == nil {
		err = f.rescore(ctx, t, anew, p)
	}
	if !errors.Is(err, errNotInPlace) {
		return err
	}
	why = fmt.Sprintf("%s, and %s", why, strings.TrimSuffix(err.Error(), ": "+errNotInPlace.Error()))
	f.g.cfg.Logger.Info("model moved", "table", f.ref.String(), "reason", why)
	if f.mayReset() == nil {
		return f.own().restart(ctx, t, why)
	}
	d, err := f.withModels(t.Snapshot(), nil, true)
	if err != nil || d == nil {
		return err
	}
	_, err = t.Commit(ctx, tables.Commit{Operation: "ALTER TABLE", Parameters: map[string]string{"reason": why + "; TBLPROPERTIES keep the rows"}, Define: d})
	return err
}

// rescore replaces the rows by those of the SELECT anew, which reads the table itself. The progress stays, and the table
// gets a new id, by which streams of it know that its rows are others.
func (f *flow) rescore(ctx context.Context, t *tables.Table, anew *ddl.Create, p *Progress) error {
	now := t.Snapshot()
	p.RowsIn, p.Read = now.Rows(), time.Since(p.Started)
	result, err := f.ask(ctx, anew, map[string]tables.Relation{key(f.ref.database, f.ref.table): now}, p)
	if err != nil {
		return err
	}
	defer result.Close()
	rows := newChecked(result, anew.Expectations, nil, p)
	if got, want := rows.Schema(), now.Schema(); !slices.EqualFunc(got, want, func(a, b tables.Field) bool { return a.Name == b.Name && a.Type == b.Type }) {
		return fmt.Errorf("its columns would be of other types: %w", errNotInPlace)
	}
	d := now.Definition()
	define, err := f.withModels(now, &d, true)
	if err != nil {
		return err
	}
	c := tables.Commit{Operation: rescoreOperation, Parameters: f.parameters(), Metrics: map[string]string{}, Rows: rows, Overwrite: true, Define: define, NewID: true}
	c.Parameters["reason"] = p.Reason
	c.Prepare = func(context.Context) error {
		p.Duration = time.Since(p.Started)
		p.Write = max(0, p.Duration-p.Read-p.Query)
		for name, value := range p.metrics() {
			c.Metrics[name] = value
		}
		return nil
	}
	p.Version, err = t.Commit(ctx, c)
	return err
}

// inPlace returns a statement whose SELECT makes of the table's rows the same rows with the columns of the moved models
// computed anew, and whose rules are those that look at these columns. An error wraps errNotInPlace and says what is missing.
func (f *flow) inPlace(now *tables.Snapshot, moved []string) (*ddl.Create, error) {
	missing := func(format string, args ...any) (*ddl.Create, error) {
		return nil, fmt.Errorf(format+": %w", append(args, errNotInPlace)...)
	}
	if len(f.g.flowsOf(f.own())) > 1 {
		return missing("several flows fill the table")
	}
	if f.create.Changes != nil {
		return missing("rows are changed by key")
	}
	// Parsed anew: the names in it are changed below.
	parsed, err := parseSQL(f.create.Query)
	s, ok := parsed.(*sqlparser.Select)
	if err != nil || !ok {
		return missing("the SELECT has several parts")
	}
	calls := f.modelCalls()
	affected := map[string]bool{}
	for _, name := range moved {
		if calls.rows[name] {
			return missing("model %s decides which rows there are", name)
		}
		for _, column := range calls.columns[name] {
			affected[column] = true
		}
	}
	rules, err := f.rulesOver(affected, moved)
	if err != nil {
		return nil, err
	}
	kept, err := keptColumns(s, now.Schema(), affected)
	if err != nil {
		return nil, err
	}
	query, err := anewQuery(s, now.Schema(), f.ref, affected, kept)
	if err != nil {
		return nil, err
	}
	anew := *f.create
	anew.Query, anew.Expectations = query, rules
	return &anew, nil
}

// rulesOver returns the rules that look at the columns, or ask the models. One that leaves rows out cannot be judged from the rows
// that are there.
func (f *flow) rulesOver(columns map[string]bool, models []string) ([]ddl.Expectation, error) {
	var rules []ddl.Expectation
	for _, e := range f.create.Expectations {
		if e.Action == ddl.Quarantine {
			return nil, fmt.Errorf("rows wait in quarantine with what the model said of them: %w", errNotInPlace)
		}
		concerned := slices.ContainsFunc(e.Unique, func(name string) bool { return columns[strings.ToLower(name)] })
		if e.Expr != "" {
			parsed, err := parseSQL("SELECT " + e.Expr)
			if err != nil {
				return nil, fmt.Errorf("read rule %s: %w", e.Name, err)
			}
			concerned = slices.ContainsFunc(f.g.callsIn(parsed), func(name string) bool { return slices.Contains(models, name) })
			for _, c := range columnsIn(parsed) {
				concerned = concerned || columns[c.Name.Lowered()]
			}
		}
		if !concerned {
			continue
		}
		if e.Action != ddl.Warn && e.Action != ddl.FailUpdate {
			return nil, fmt.Errorf("rule %s (%s) looks at what the model says: %w", e.Name, e.Action, errNotInPlace)
		}
		rules = append(rules, e)
	}
	return rules, nil
}

// columnsIn lists the columns that a part of a statement names.
func columnsIn(n sqlparser.SQLNode) []*sqlparser.ColName {
	var out []*sqlparser.ColName
	// The visitor never fails.
	_ = sqlparser.Walk(func(n sqlparser.SQLNode) (bool, error) {
		if c, ok := n.(*sqlparser.ColName); ok {
			out = append(out, c)
		}
		return true, nil
	}, n)
	return out
}

// keptColumns tells which columns of what the SELECT reads stand in the table as they were read: name in the source to name
// in the table, both lower case. A name that several relations of the SELECT have is none of them.
func keptColumns(s *sqlparser.Select, schema tables.Schema, affected map[string]bool) (map[string]string, error) {
	kept, named := map[string]string{}, map[string]bool{}
	star := false
	for _, e := range s.SelectExprs {
		switch e := e.(type) {
		case *sqlparser.StarExpr:
			star = true
		case *sqlparser.AliasedExpr:
			output := strings.ToLower(columnName(e))
			named[output] = true
			if c, ok := e.Expr.(*sqlparser.ColName); ok && !affected[output] {
				kept[c.Name.Lowered()] = output
			}
		default:
			return nil, fmt.Errorf("the SELECT yields something else than columns: %w", errNotInPlace)
		}
	}
	if star {
		for _, field := range schema {
			name := strings.ToLower(field.Name)
			if _, ok := kept[name]; !ok && !named[name] {
				kept[name] = name
			}
		}
	}
	// Two relations may have columns of one name: those that are qualified must agree.
	qualifiers := map[string]string{}
	for _, c := range columnsIn(s) {
		name, qualifier := c.Name.Lowered(), strings.ToLower(c.Qualifier.Name.String())
		if was, ok := qualifiers[name]; ok && was != qualifier && was != "" && qualifier != "" {
			delete(kept, name)
		}
		if qualifier != "" || qualifiers[name] == "" {
			qualifiers[name] = qualifier
		}
	}
	return kept, nil
}

// anewQuery writes the SELECT over the table: columns that are not affected under a name that no expression can have, and
// under the names of the source what the expressions of the others need.
func anewQuery(s *sqlparser.Select, schema tables.Schema, table reference, affected map[string]bool, kept map[string]string) (string, error) {
	exprs := map[string]sqlparser.Expr{}
	for _, e := range s.SelectExprs {
		if one, ok := e.(*sqlparser.AliasedExpr); ok {
			exprs[strings.ToLower(columnName(one))] = one.Expr
		}
	}
	var outer, inner []string
	needed := map[string]bool{}
	for i, field := range schema {
		name := strings.ToLower(field.Name)
		if !affected[name] {
			carried := lexer.QuoteName(fmt.Sprintf("kept %d", i))
			inner = append(inner, lexer.QuoteName(field.Name)+" AS "+carried)
			outer = append(outer, carried+" AS "+lexer.QuoteName(field.Name))
			continue
		}
		e := exprs[name]
		if e == nil {
			return "", fmt.Errorf("column %s is not in the SELECT: %w", field.Name, errNotInPlace)
		}
		if hasSubquery(e) {
			return "", fmt.Errorf("column %s is made by a subquery: %w", field.Name, errNotInPlace)
		}
		for _, c := range columnsIn(e) {
			source := c.Name.Lowered()
			if _, ok := kept[source]; !ok {
				return "", fmt.Errorf("the table does not keep %s, of which column %s is made: %w", c.Name.String(), field.Name, errNotInPlace)
			}
			needed[source] = true
			c.Qualifier = sqlparser.TableName{}
		}
		outer = append(outer, sqlparser.String(e)+" AS "+lexer.QuoteName(field.Name))
	}
	for source := range needed {
		inner = append(inner, lexer.QuoteName(kept[source])+" AS "+lexer.QuoteName(source))
	}
	slices.Sort(inner)
	if len(inner) == 0 {
		inner = []string{"1 AS `kept`"}
	}
	return "SELECT " + strings.Join(outer, ", ") + " FROM (SELECT " + strings.Join(inner, ", ") + " FROM " + lexer.QuoteName(table.database) + "." + lexer.QuoteName(table.table) + ") r", nil
}

func hasSubquery(n sqlparser.SQLNode) bool {
	found := false
	// The visitor never fails.
	_ = sqlparser.Walk(func(n sqlparser.SQLNode) (bool, error) {
		_, is := n.(*sqlparser.Subquery)
		found = found || is
		return !found, nil
	}, n)
	return found
}
