package queries

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/dolthub/vitess/go/vt/sqlparser"

	"smelt/queries/ddl"
	"smelt/tables"
)

const (
	strategyRetract = "retract"
	retractReason   = "a file was unloaded from its source"
)

// retraction is a commit of a source that took out rows because a file was unloaded.
type retraction struct {
	source  *tables.Table
	app     string // progress name
	version int64
}

// retract takes out of the table what the SELECT made of rows that are gone from a source. Where that cannot be told any
// more, the table is rebuilt from the start.
func (f *flow) retract(ctx context.Context, t *tables.Table, r *retraction, pinned map[string]*tables.Snapshot, o *outcome) error {
	f.set(stateRunning, "", nil)
	o.did = true
	p := &o.progress
	p.Strategy, p.Reason = strategyRetract, retractReason
	if f.create.Changes != nil {
		return f.own().restart(ctx, t, fmt.Sprintf("a file was unloaded from %s.%s, and the events behind those of it are not known any more",
			r.source.Database(), r.source.Name()))
	}
	why, err := f.unprovable(ctx, t, r.source, pinned)
	if err != nil {
		return err
	}
	if why == "" {
		why, err = f.takeBack(ctx, t, r, pinned, p)
	}
	if err != nil || why == "" {
		return err
	}
	why = fmt.Sprintf("a file was unloaded from %s.%s, and %s", r.source.Database(), r.source.Name(), why)
	f.g.cfg.Logger.Info("full refresh", "table", f.ref.String(), "reason", why)
	return f.own().restart(ctx, t, why)
}

// takeBack runs the SELECT over the rows that are gone and takes its result out of the table, in one commit with the
// progress. why says what keeps it from doing so.
func (f *flow) takeBack(ctx context.Context, t *tables.Table, r *retraction, pinned map[string]*tables.Snapshot, p *Progress) (why string, err error) {
	gone, err := r.source.Removed(ctx, r.version)
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	if err != nil {
		return fmt.Sprintf("its rows cannot be read any more (%s)", firstLine(err.Error())), nil
	}
	p.RowsIn = int64(gone.Len)
	p.Read = time.Since(p.Started)
	overlay := map[string]tables.Relation{}
	for name, s := range pinned {
		overlay[name] = s
	}
	for _, s := range f.create.Sources {
		relation, err := f.emptySource(ctx, s, nil)
		if err != nil {
			return "", err
		}
		if s.Files == nil {
			if source, err := f.sourceOf(s); err == nil && source == r.source {
				relation = tables.FromBatches(gone.Schema, gone)
			}
		}
		overlay[strings.ToLower(s.Placeholder)] = relation
	}
	q, err := f.quarantine(ctx, t)
	if err != nil {
		return "", err
	}
	result, err := f.ask(ctx, f.create, overlay, p)
	if err != nil {
		return "", err
	}
	defer result.Close()
	rows := newChecked(result, f.create.Expectations, nil, &Progress{})
	in := f.intake(q, rows, t.Snapshot(), nil)
	old, err := rows.rest(ctx)
	if errors.Is(err, ErrExpectation) {
		return "a rule says now that its rows could not have been there", nil
	}
	if err != nil {
		return "", err
	}
	c := tables.Commit{Operation: unloadOperation, Txns: map[string]int64{r.app: r.version},
		Parameters: map[string]string{"source": r.source.Database() + "." + r.source.Name(), parameterRowsIn: strconv.Itoa(gone.Len), parameterRowsOut: strconv.Itoa(old.Len)}}
	if why, err := in.takeBack(ctx, &c); why != "" || err != nil {
		return why, err
	}
	err = q.done(ctx, takeOut(ctx, t, old, c, nil))
	if errors.Is(err, tables.ErrChanged) {
		return "the SELECT yields other rows now than it did then", nil
	}
	return "", err
}

// unprovable says why the SELECT may yield other rows today than it did, or fewer, which nothing would notice: "" if it
// cannot.
func (f *flow) unprovable(ctx context.Context, t, source *tables.Table, pinned map[string]*tables.Snapshot) (why string, err error) {
	if name := unsteady(f.shape.statement); name != "" {
		return "the SELECT calls " + name, nil
	}
	for _, e := range f.create.Expectations {
		if !e.OnRows() && e.Action != ddl.Warn {
			return "the rule " + e.Name + " has kept rows out because of others", nil
		}
	}
	for _, r := range f.shape.reads {
		if systemDatabase(r.database) {
			return "the SELECT reads " + r.String(), nil
		}
	}
	history, err := t.History(ctx, 0)
	if err != nil {
		return "", err
	}
	born := t.Snapshot().Born()
	var began time.Time
	for _, c := range history {
		if c.Version < born {
			break
		}
		if began = c.Time; c.Operation == "ALTER TABLE" || c.Operation == fillOperation {
			return "the rules of the table have changed since it was filled", nil
		}
		if c.Operation == rescoreOperation {
			return "columns were computed anew since it was filled", nil
		}
		if f.name != "" && (c.Operation == changeFlowOperation || c.Operation == dropFlowOperation) && c.Parameters[parameterFlow] == f.name {
			return "the flow was another one before", nil
		}
	}
	if n := len(history); n == 0 || history[n-1].Version > born {
		return "its log was cleaned up behind its first batch", nil
	}
	for name, s := range pinned {
		if !s.Modified().Before(began) {
			return name + " has changed since it was filled", nil
		}
	}
	return filledSince(ctx, source, began)
}

// filledSince says whether values were put back into rows of a source since a time: the SELECT did not see them.
func filledSince(ctx context.Context, source *tables.Table, began time.Time) (why string, err error) {
	history, err := source.History(ctx, 0)
	if err != nil {
		return "", err
	}
	for _, c := range history {
		if c.Operation == fillOperation && !c.Time.Before(began) {
			return "rescued values were put back into its rows since", nil
		}
	}
	if n := len(history); n == 0 || history[n-1].Version > source.Snapshot().Born() && history[n-1].Time.After(began) {
		return "its log was cleaned up", nil
	}
	return "", nil
}

// unsteadyFunctions yield something else each time.
var unsteadyFunctions = map[string]bool{
	"rand": true, "uuid": true, "uuid_short": true, "now": true, "sysdate": true, "curdate": true, "curtime": true, "current_date": true, "current_time": true,
	"current_timestamp": true, "localtime": true, "localtimestamp": true, "utc_date": true, "utc_time": true, "utc_timestamp": true, "unix_timestamp": true,
	"random_bytes": true, "connection_id": true,
}

// unsteady names a function in a SELECT that yields something else each time, "" if there is none.
func unsteady(statement sqlparser.SelectStatement) string {
	name := ""
	// The visitor never fails.
	_ = sqlparser.Walk(func(n sqlparser.SQLNode) (bool, error) {
		if call, ok := n.(*sqlparser.FuncExpr); ok {
			if lower := call.Name.Lowered(); unsteadyFunctions[lower] && (lower != "unix_timestamp" || len(call.Exprs) == 0) {
				name = strings.ToUpper(lower) + "()"
			}
		}
		return name == "", nil
	}, statement)
	return name
}
