package queries

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"smelt/queries/ddl"
	"smelt/tables"
)

// expectPrefix begins the names of the columns that hold what the expectations say of a row; no table can have one.
const expectPrefix = "expect:"

// failColumns is how many columns of a violating row an error shows.
const failColumns = 4

// withExpectations wraps the SELECT so that it also yields what each expectation says. The line break before the
// bracket keeps a trailing comment from swallowing it.
func withExpectations(c *ddl.Create) string {
	tests := expectationColumns(exempting(c))
	if tests == "" {
		return c.Query
	}
	return "SELECT q.*" + tests + " FROM (" + c.Query + "\n) q"
}

// exempting lets the deletes and truncates of APPLY CHANGES pass the rules: they need not have values.
func exempting(c *ddl.Create) []ddl.Expectation {
	rules := slices.Clone(c.Expectations)
	for _, column := range []string{deleteColumn, truncateColumn} {
		for i := range rules {
			if strings.Contains(c.Query, "`"+column+"`") {
				rules[i].Expr = "`" + column + "` OR (" + rules[i].Expr + "\n)"
			}
		}
	}
	return rules
}

// expectationColumns is a piece of a list of SELECT: a column for each rule with an expression.
func expectationColumns(rules []ddl.Expectation) string {
	var sql strings.Builder
	for i, e := range rules {
		// NULL does not meet an expectation: IS TRUE makes of it FALSE. A CHECK is violated by FALSE alone.
		test := "IS TRUE"
		if e.Check {
			test = "IS NOT FALSE"
		}
		if e.OnRows() {
			fmt.Fprintf(&sql, ", ((%s\n) %s) AS `%s%d`", e.Expr, test, expectPrefix, i)
		}
	}
	return sql.String()
}

// withoutExpectations returns the columns that the table gets.
func withoutExpectations(schema tables.Schema) tables.Schema {
	var out tables.Schema
	for _, f := range schema {
		if !strings.HasPrefix(f.Name, expectPrefix) {
			out = append(out, f)
		}
	}
	return out
}

// plainRows returns the rows without what the expectations say of them.
func plainRows(b *tables.Batch, schema tables.Schema) *tables.Batch {
	rows := &tables.Batch{Schema: schema, Len: b.Len}
	for i, f := range b.Schema {
		if !strings.HasPrefix(f.Name, expectPrefix) {
			rows.Columns = append(rows.Columns, b.Columns[i])
		}
	}
	return rows
}

// checkRules refuses expectations that the columns cannot be judged by.
func checkRules(c *ddl.Create, schema tables.Schema) error {
	for _, e := range c.Expectations {
		columns := e.Unique
		if e.Drift.Column != "" {
			columns = []string{e.Drift.Column}
			if c.Kind == ddl.MaterializedView && e.Action == ddl.Quarantine {
				return fmt.Errorf("%w: expectation %s: a view would be left without rows; ON VIOLATION FAIL UPDATE leaves it as it is", ErrUnsupported, e.Name)
			}
		}
		for _, name := range columns {
			if schema.Index(name) < 0 {
				return fmt.Errorf("expectation %s: %s names a column %q that is not among those of the SELECT: %s", e.Name, e.Rule(), name, strings.Join(schema.Names(), ", "))
			}
		}
	}
	if quarantines(c.Expectations) {
		for _, f := range schema {
			if reservedColumn(f.Name) {
				return fmt.Errorf("%w: column %q: names that begin with %s belong to the quarantine; give it another name with AS", ErrUnsupported, f.Name, quarantinePrefix)
			}
		}
	}
	return nil
}

// fate is what becomes of a row.
type fate uint8

const (
	stays fate = iota
	dropped
	held // into the quarantine
)

// judge says what becomes of rows by the expectations, and counts.
type judge struct {
	rules  []ddl.Expectation
	counts []ExpectationCount
	unique []*uniqueKeys // one for each rule, nil for those that are none of UNIQUE
	drifts []*drift      // likewise
	into   *target       // nil judges no drift
	ended  bool
}

// newJudge returns a judge of rows. into is the table that they come into.
func newJudge(rules []ddl.Expectation, into *target) *judge {
	j := &judge{rules: rules, counts: make([]ExpectationCount, len(rules)), unique: make([]*uniqueKeys, len(rules)), drifts: make([]*drift, len(rules)), into: into}
	for i, e := range rules {
		j.counts[i].Name, j.counts[i].Action = e.Name, e.Action.String()
		if e.Unique != nil {
			j.unique[i] = newUniqueKeys(e.Unique, into)
		}
	}
	return j
}

// looksAhead reports whether the judge must know all rows before it judges the first.
func (j *judge) looksAhead() bool {
	for i, u := range j.unique {
		if u != nil && u.into != nil || j.drifts[i] != nil && j.rules[i].Action == ddl.Quarantine {
			return true
		}
	}
	return false
}

// begin reads what batches are compared with.
func (j *judge) begin(ctx context.Context) error {
	for i, e := range j.rules {
		if e.Drift.Column == "" || j.into == nil {
			continue
		}
		var err error
		if j.drifts[i], err = newDrift(ctx, e, j.into); err != nil {
			return fmt.Errorf("check expectation %s: %w", e.Name, err)
		}
	}
	return nil
}

// foresee finds out which keys of rows that are to come the table has already.
func (j *judge) foresee(ctx context.Context, rows []*tables.Batch) error {
	for i, u := range j.unique {
		if u == nil || u.into == nil {
			continue
		}
		if err := u.lookUp(ctx, rows); err != nil {
			return fmt.Errorf("check expectation %s: %w", j.rules[i].Name, err)
		}
	}
	return nil
}

// verdict is what the rules say of some rows.
type verdict struct {
	fates  []fate        // nil when all stay
	failed map[int][]int // row -> rules that it violates
}

// all returns which rows have a fate.
func (v *verdict) all(is fate) []bool {
	out := make([]bool, len(v.fates))
	for r, f := range v.fates {
		out[r] = f == is
	}
	return out
}

// try judges rows, of which b also has what the expressions say.
func (j *judge) try(b, rows *tables.Batch) (*verdict, error) {
	v := &verdict{failed: map[int][]int{}}
	for i, e := range j.rules {
		if !e.OnRows() {
			continue
		}
		at := b.Schema.Index(expectPrefix + strconv.Itoa(i))
		if at < 0 {
			return nil, fmt.Errorf("check expectation %s: the query lost its column", e.Name)
		}
		for r := range b.Len {
			if truth(b, at, r) {
				j.counts[i].Passed++
			} else if err := j.fail(v, rows, r, i); err != nil {
				return nil, err
			}
		}
	}
	if err := j.tryUnique(v, rows); err != nil {
		return nil, err
	}
	for _, d := range j.drifts {
		if d != nil {
			d.watch(rows, v)
		}
	}
	return v, nil
}

// tryUnique judges the rows that stay by their keys, row by row: the first of a key is the one that stays.
func (j *judge) tryUnique(v *verdict, rows *tables.Batch) error {
	if !slices.ContainsFunc(j.unique, func(u *uniqueKeys) bool { return u != nil }) {
		return nil
	}
	keys := make([]string, len(j.unique))
	for r := range rows.Len {
		if v.fates != nil && v.fates[r] != stays {
			continue // it will not be in the table, so it keeps nobody out
		}
		for i, u := range j.unique {
			if u == nil {
				continue
			}
			if keys[i] = u.key(rows, r); keys[i] == "" || !u.seen[keys[i]] {
				j.counts[i].Passed++
			} else if err := j.fail(v, rows, r, i); err != nil {
				return err
			}
		}
		if v.fates != nil && v.fates[r] != stays {
			continue
		}
		for i, u := range j.unique {
			if u == nil || keys[i] == "" {
				continue
			}
			if u.seen[keys[i]] = true; len(u.seen) > maxUniqueKeys {
				return fmt.Errorf("check expectation %s: %w: more than %d keys in one batch", j.rules[i].Name, ErrUnsupported, maxUniqueKeys)
			}
		}
	}
	return nil
}

// fail notes that a row violates a rule; the strictest rule decides.
func (j *judge) fail(v *verdict, rows *tables.Batch, r, rule int) error {
	e := j.rules[rule]
	j.counts[rule].Failed++
	v.failed[r] = append(v.failed[r], rule)
	if e.Action == ddl.FailUpdate {
		return fmt.Errorf("%w: %s %s by the row %s", ErrExpectation, e.Name, e.Rule(), showRow(rows, r))
	}
	if e.Action == ddl.Warn {
		return nil
	}
	if v.fates == nil {
		v.fates = make([]fate, rows.Len)
	}
	switch {
	case e.Action == ddl.Quarantine:
		v.fates[r] = held
	case v.fates[r] == stays:
		v.fates[r] = dropped
	}
	return nil
}

// checked applies the expectations to the rows of a result, counts, and measures the time that the query takes.
type checked struct {
	Result
	judge    *judge
	progress *Progress
	schema   tables.Schema
	hold     func(rows *tables.Batch, v *verdict) error // takes the rows that go into quarantine; nil forgets them
	ahead    []judged                                   // rows that were read ahead of their turn
	began    bool
}

// judged is rows and what the rules say of them.
type judged struct {
	rows    *tables.Batch
	verdict *verdict
}

// newChecked checks a result. into is the table that the rows come into;
// nil where they do not, and neither its keys nor a drift matter.
func newChecked(r Result, rules []ddl.Expectation, into *target, p *Progress) *checked {
	c := &checked{Result: r, progress: p, schema: withoutExpectations(r.Schema())}
	c.judge = newJudge(rules, into)
	p.Expectations = c.judge.counts
	return c
}

// Schema returns the columns of the table.
func (c *checked) Schema() tables.Schema { return c.schema }

// Next returns the next rows that stay; batches of which nothing stays are passed over.
func (c *checked) Next(ctx context.Context) (*tables.Batch, error) {
	for {
		start := time.Now()
		b, err := c.next(ctx)
		c.progress.Query += time.Since(start)
		if errors.Is(err, io.EOF) {
			if _, err := c.judge.endDrift(); err != nil {
				return nil, err
			}
		}
		if err != nil {
			return nil, err
		}
		kept, err := c.apply(b.rows, b.verdict)
		if err != nil {
			return nil, err
		}
		c.progress.RowsOut += int64(kept.Len)
		if kept.Len > 0 {
			return kept, nil
		}
	}
}

// next returns the next rows of the result. Where the judge looks ahead it reads all of them first, which are those of one
// batch of a stream: the table is looked up once for all their keys.
func (c *checked) next(ctx context.Context) (judged, error) {
	if !c.began {
		c.began = true
		if err := c.judge.begin(ctx); err != nil {
			return judged{}, err
		}
		if c.judge.looksAhead() {
			if err := c.readAhead(ctx); err != nil {
				return judged{}, err
			}
		}
	}
	if c.judge.looksAhead() {
		if len(c.ahead) == 0 {
			return judged{}, io.EOF
		}
		b := c.ahead[0]
		c.ahead = c.ahead[1:]
		return b, nil
	}
	b, err := c.Result.Next(ctx)
	if err != nil {
		return judged{}, err
	}
	rows := plainRows(b, c.schema)
	v, err := c.judge.try(b, rows)
	return judged{rows, v}, err
}

// readAhead reads and judges all rows of the result.
func (c *checked) readAhead(ctx context.Context) error {
	var all, rows []*tables.Batch
	err := tables.EachBatch(ctx, c.Result, func(b *tables.Batch) error {
		all, rows = append(all, b), append(rows, plainRows(b, c.schema))
		return nil
	})
	if err == nil {
		err = c.judge.foresee(ctx, rows)
	}
	if err != nil {
		return err
	}
	for i, b := range all {
		v, err := c.judge.try(b, rows[i])
		if err != nil {
			return err
		}
		c.ahead = append(c.ahead, judged{rows[i], v})
	}
	rule, err := c.judge.endDrift()
	if err != nil || rule < 0 {
		return err
	}
	for _, b := range c.ahead {
		b.verdict.holdAll(b.rows.Len, rule)
	}
	return nil
}

// holdAll has the rows that would stay go into quarantine because of a rule.
func (v *verdict) holdAll(rows, rule int) {
	if v.fates == nil {
		v.fates = make([]fate, rows)
	}
	for r, f := range v.fates {
		if f == stays {
			v.fates[r] = held
			v.failed[r] = append(v.failed[r], rule)
		}
	}
}

// apply drops what the rules drop and hands on what goes into quarantine.
func (c *checked) apply(rows *tables.Batch, v *verdict) (*tables.Batch, error) {
	if v.fates == nil {
		return rows, nil
	}
	for _, f := range v.fates {
		switch f {
		case dropped:
			c.progress.Dropped++
		case held:
			c.progress.Quarantined++
		}
	}
	if c.hold != nil {
		if err := c.hold(rows, v); err != nil {
			return nil, err
		}
	}
	return rows.Filter(v.all(stays)), nil
}

// rest reads the result to its end and returns the rows that stay.
func (c *checked) rest(ctx context.Context) (*tables.Batch, error) {
	return collect(ctx, c, c.schema, func(b *tables.Batch) *tables.Batch { return b })
}

// truth reads a truth value, in whichever form the SQL engine yields it.
func truth(b *tables.Batch, column, row int) bool {
	c := &b.Columns[column]
	if c.Null(row) {
		return false
	}
	switch {
	case c.Bools != nil:
		return c.Bools[row]
	case c.Ints != nil:
		return c.Ints[row] != 0
	case c.Floats != nil:
		return c.Floats[row] != 0
	default:
		return false
	}
}

// showRow renders the first columns of a row for an error.
func showRow(b *tables.Batch, r int) string {
	var cells []string
	for i, f := range b.Schema {
		if i == failColumns {
			cells = append(cells, "...")
			break
		}
		c := &b.Columns[i]
		var text string
		switch {
		case c.Null(r):
			text = "NULL"
		case c.Bools != nil:
			text = strconv.FormatBool(c.Bools[r])
		case c.Floats != nil:
			text = strconv.FormatFloat(c.Floats[r], 'g', -1, 64)
		case c.Strings != nil:
			text = strconv.Quote(c.Strings[r])
		case f.Type.Kind == tables.Timestamp:
			text = time.UnixMicro(c.Ints[r]).UTC().Format(time.DateTime)
		case c.Ints != nil:
			text = strconv.FormatInt(c.Ints[r], 10)
		default:
			text = c.Decimals[r].Big().String()
		}
		cells = append(cells, f.Name+" = "+text)
	}
	return "(" + strings.Join(cells, ", ") + ")"
}
