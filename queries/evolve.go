package queries

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/dolthub/vitess/go/vt/sqlparser"

	"smelt/queries/ddl"
	"smelt/queries/lexer"
	"smelt/tables"
)

// fillOperation is what a commit says that put values back from the rescued column into columns that the table had not
// before. Tables that stream from it pass over it: they have seen these rows.
const fillOperation = "BACKFILL"

// errOtherRows says that a table cannot get another definition and keep its rows: it is filled anew.
var errOtherRows = errors.New("the rows that are there do not fit the definition")

// evolves reports whether a streaming table may get this definition and keep what it read under the old one: the SELECT is
// the same, and the options of its directories differ only in what changes no row that was read.
func (f *flow) evolves(old *flow) bool {
	a, b := old.create, f.create
	if f.g.cfg.Compatible == nil || a.Kind != ddl.StreamingTable || a.Changes != nil || b.Changes != nil || old.broken != nil || !strings.EqualFold(old.database, f.database) || old.base != f.base ||
		lexer.Normal(a.Query) != lexer.Normal(b.Query) || len(a.Sources) != len(b.Sources) {
		return false
	}
	for i, s := range a.Sources {
		to := b.Sources[i]
		if s.Files != nil && to.Files != nil && s.Files.Path == to.Files.Path && f.g.cfg.Compatible(s.Files.Options, to.Files.Options) {
			to.Files = s.Files
		}
		if !sameSources([]ddl.Source{s}, []ddl.Source{to}) {
			return false
		}
	}
	return true
}

// evolve gives the table the definition in one commit: new columns, values that were rescued in them, and files that
// failed under the old options are to be read again. errOtherRows is returned when that cannot be.
func (f *flow) evolve(ctx context.Context, t *tables.Table) (err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, f.closeFeeds())
		}
	}()
	now := t.Snapshot()
	ids, err := sourceIDs(now)
	if err != nil {
		return err
	}
	for {
		batches, txns, err := f.evolveFeeds(ctx, t, now)
		if err != nil {
			return err
		}
		result, err := f.describe(ctx, nil)
		if err != nil {
			return err
		}
		schema := joinedSchema(now.Schema(), result)
		d, err := f.definition(schema, generation(now), ids)
		if err != nil {
			return err
		}
		err = f.reshape(ctx, t, d, tables.Commit{Operation: "ALTER TABLE", Txns: txns, Prepare: func(ctx context.Context) error { return record(ctx, batches) }})
		err = told(batches, err)
		var narrow *tables.NotWiderError
		switch {
		case !errors.As(err, &narrow):
			return err
		case !f.refuse(narrow.Column):
			return fmt.Errorf("%w: %w", errOtherRows, err)
		}
	}
}

// evolveFeeds opens the feeds of the table under the new options, and has them take up what they rescued.
func (f *flow) evolveFeeds(ctx context.Context, t *tables.Table, now *tables.Snapshot) (batches []FeedBatch, txns map[string]int64, err error) {
	txns = map[string]int64{}
	for _, s := range f.create.Sources {
		if s.Files == nil {
			continue
		}
		feed, err := f.feed(ctx, s, t, now)
		if err != nil {
			return nil, nil, err
		}
		rows := tables.Relation(now)
		if !hasRescued(now.Schema(), feed) {
			rows = tables.FromBatches(tables.Schema{{Name: feed.Rescued(), Type: tables.Type{Kind: tables.JSON}}})
		}
		batch, err := feed.Evolve(ctx, rows)
		if err != nil {
			return nil, nil, err
		}
		batches = append(batches, batch)
		txns[f.progressOf(now, f.feedName(s))] = batch.Number()
	}
	return batches, txns, nil
}

// record makes batches durable.
func record(ctx context.Context, batches []FeedBatch) error {
	for _, b := range batches {
		if err := b.Record(ctx); err != nil {
			return err
		}
	}
	return nil
}

// hasRescued reports whether a table has kept what its feed rescued.
func hasRescued(schema tables.Schema, feed Feed) bool {
	at := schema.Index(feed.Rescued())
	return at >= 0 && schema[at].Type.Kind == tables.JSON
}

// joinedSchema is the columns of a table with the types that a SELECT yields now, and new ones at the end.
func joinedSchema(now, result tables.Schema) tables.Schema {
	out := slices.Clone(now)
	for _, col := range result {
		if i := out.Index(col.Name); i >= 0 {
			out[i].Type = col.Type
		} else {
			out = append(out, col)
		}
	}
	return out
}

// reshape gives the table, and its quarantine behind it, a definition with more columns or wider types in a commit of its
// own. Values that were rescued come back in the same commit; in the quarantine they stay where they are.
func (f *flow) reshape(ctx context.Context, t *tables.Table, d tables.Definition, c tables.Commit) error {
	q, err := f.findQuarantine(t)
	if err != nil {
		return err
	}
	if q != nil {
		merged, _, _ := q.widened(quarantineSchema(d.Schema))
		if err := q.table.Snapshot().CheckWidening(ctx, merged); err != nil {
			return err // before the table has what its quarantine cannot follow to
		}
	}
	if _, err = t.Refill(ctx, d, f.fill(t.Snapshot(), d.Schema), c); err != nil || q == nil {
		return err
	}
	return q.conform(ctx)
}

// fill puts rescued values into columns; nil if nothing was rescued, or the rows are more than what one event said.
func (f *flow) fill(now *tables.Snapshot, schema tables.Schema) *tables.Fill {
	if f.create.Changes != nil {
		return nil
	}
	var feeds []Feed
	var columns []string
	for _, s := range f.create.Sources {
		feed, ok := f.feeds[s.Placeholder]
		if !ok || !hasRescued(now.Schema(), feed) || !now.AnyValue(feed.Rescued()) {
			continue
		}
		feeds = append(feeds, feed)
		if !slices.Contains(columns, feed.Rescued()) {
			columns = append(columns, feed.Rescued())
		}
	}
	if len(feeds) == 0 {
		return nil
	}
	var added []string
	for _, col := range schema {
		if now.Schema().Index(col.Name) < 0 {
			added = append(added, col.Name)
		}
	}
	return &tables.Fill{
		Columns:   columns,
		Operation: fillOperation,
		Wanted: func(b *tables.Batch) bool {
			return slices.ContainsFunc(feeds, func(feed Feed) bool {
				return feed.Recoverable(&b.Columns[b.Schema.Index(feed.Rescued())], schema, added)
			})
		},
		Rows: func(b *tables.Batch) (*tables.Batch, error) {
			var err error
			for _, feed := range feeds {
				if b, err = feed.Recover(b, added); err != nil {
					return nil, err
				}
			}
			return b, nil
		},
	}
}

// refuse has the feeds take back the wider type of a column that the table cannot follow to; false if there is none.
func (f *flow) refuse(column string) bool {
	did := false
	for _, feed := range f.feeds {
		did = feed.Refuse(column) || did
	}
	return did
}

// exclude keeps fields of files from becoming columns that the SELECT names beside its *: a file must not stop the flow.
func (f *flow) exclude() bool {
	names, did := besideStar(f.shape.statement), false
	for _, feed := range f.feeds {
		did = len(names) > 0 && feed.Exclude(names) || did
	}
	return did
}

// besideStar lists the columns that a SELECT of * names besides, but for those of which it reads the field itself.
func besideStar(statement sqlparser.SelectStatement) (names []string) {
	s, ok := statement.(*sqlparser.Select)
	star := false
	for i := 0; ok && i < len(s.SelectExprs); i++ {
		switch e := s.SelectExprs[i].(type) {
		case *sqlparser.StarExpr:
			star = true
		case *sqlparser.AliasedExpr:
			if col, isColumn := e.Expr.(*sqlparser.ColName); !e.As.IsEmpty() {
				names = append(names, e.As.String())
			} else if isColumn {
				names = append(names, col.Name.String())
			}
		}
	}
	if !star {
		return nil
	}
	// The visitor never fails.
	_ = sqlparser.Walk(func(n sqlparser.SQLNode) (bool, error) {
		if col, ok := n.(*sqlparser.ColName); ok && !strings.EqualFold(col.Qualifier.Name.String(), "_metadata") {
			names = slices.DeleteFunc(names, func(name string) bool { return col.Name.EqualString(name) })
		}
		return true, nil
	}, statement)
	return names
}

// follow gives a streaming table the columns and types that its SELECT yields now, as far as that is not done with the
// rows themselves. again says that the feeds are to be read once more, because the table cannot follow them to a type.
func (f *flow) follow(ctx context.Context, t *tables.Table, result tables.Schema) (again bool, err error) {
	now := t.Snapshot()
	if f.create.Kind != ddl.StreamingTable || now.Files() == 0 {
		return false, nil // redefined may do as it likes
	}
	d := now.Definition()
	d.Schema = f.commented(joinedSchema(now.Schema(), result))
	wider := slices.ContainsFunc(now.Schema(), func(col tables.Field) bool { return d.Schema[d.Schema.Index(col.Name)].Type != col.Type })
	if !wider && (len(d.Schema) == len(now.Schema()) || f.fill(now, d.Schema) == nil) {
		return false, nil
	}
	operation := "ADD COLUMNS"
	if wider {
		operation = "CHANGE COLUMN"
	}
	err = f.reshape(ctx, t, d, tables.Commit{Operation: operation, Parameters: map[string]string{"columns": changedColumns(now.Schema(), d.Schema)},
		Prepare: func(context.Context) error {
			// Before the table has the columns: else a restart would infer others for the same fields.
			for _, feed := range f.feeds {
				if err := feed.Remember(); err != nil {
					return err
				}
			}
			return nil
		}})
	var narrow *tables.NotWiderError
	if errors.As(err, &narrow) {
		return f.refuse(narrow.Column), nil // if not, redefined says it in words of the pipeline
	}
	return false, err
}

// changedColumns lists the columns that are new or have another type.
func changedColumns(before, after tables.Schema) string {
	changed := map[string]bool{}
	for _, col := range after {
		if i := before.Index(col.Name); i < 0 || before[i].Type != col.Type {
			changed[col.Name+" "+col.Type.String()] = true
		}
	}
	return strings.Join(slices.Sorted(maps.Keys(changed)), ", ")
}
