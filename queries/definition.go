package queries

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"smelt/queries/ddl"
	"smelt/queries/lexer"
	"smelt/tables"
)

// Properties of a flow's table. They live in the Delta metadata, so that a data directory describes itself.
const (
	propertyKind      = "smelt.kind"      // streaming_table or materialized_view
	propertyStatement = "smelt.statement" // the CREATE statement as written
	propertyDatabase  = "smelt.database"  // current database of the statement
	propertyBase      = "smelt.base"      // directory for relative paths of read_files
	propertyFlow      = "smelt.flow"      // UUID of this generation; a full refresh begins another
	propertySources   = "smelt.sources"   // JSON: placeholder -> id of the source table that the stream began with

	// propertyFileRetention is Delta's: for how long readers elsewhere may need a file that was replaced. A view that is
	// rewritten each second would otherwise leave a week of them in every checkpoint.
	propertyFileRetention = "delta.deletedFileRetentionDuration"
	viewFileRetention     = "interval 1 hours"
)

// kindName is what propertyKind and smelt.streams say.
func kindName(k ddl.Kind) string {
	if k == ddl.StreamingTable {
		return "streaming_table"
	}
	return "materialized_view"
}

// IsFlow reports whether a table is kept up to date by a flow.
func IsFlow(d tables.Definition) bool { return d.Properties[propertyFlow] != "" }

// definition is what a flow's table says of itself.
func (f *flow) definition(schema tables.Schema, generation string, ids map[string]string) (tables.Definition, error) {
	sources, err := json.Marshal(ids)
	if err != nil {
		return tables.Definition{}, fmt.Errorf("encode sources of %s: %w", f.ref, err)
	}
	d := tables.Definition{Schema: f.commented(schema), Comment: f.create.Comment, Properties: map[string]string{}, Partitions: f.create.Partitions}
	if f.create.Kind == ddl.MaterializedView {
		d.Properties[propertyFileRetention] = viewFileRetention
		d.Properties[tables.PropertyAutoVacuum] = "true"
	}
	if keys := soughtColumns(f.create); keys != "" {
		d.Properties[propertyBloom] = keys
	}
	for k, v := range f.create.Properties {
		d.Properties[k] = v
	}
	d.Properties[propertyKind] = kindName(f.create.Kind)
	d.Properties[propertyStatement] = f.create.Text
	d.Properties[propertyDatabase] = f.database
	d.Properties[propertyBase] = f.base
	d.Properties[propertyFlow] = generation
	d.Properties[propertySources] = string(sources)
	if f.loaded != "" {
		d.Properties[propertyLoaded] = f.loaded
	}
	if f.isSuspended() {
		d.Properties[propertySuspended] = "true"
	}
	flows, err := f.carriedFlows(generation)
	if flows != "" {
		d.Properties[propertyFlows] = flows
	}
	if err != nil {
		return d, err
	}
	models, err := f.carriedModels(generation)
	if models != "" {
		d.Properties[propertyModels] = models
	}
	return d, err
}

// commented puts the column comments of the statement onto the columns of its SELECT.
func (f *flow) commented(schema tables.Schema) tables.Schema {
	out := make(tables.Schema, len(schema))
	copy(out, schema)
	for _, c := range f.create.Columns {
		if i := out.Index(c.Name); i >= 0 && c.Comment != "" {
			out[i].Comment = c.Comment
		}
	}
	return out
}

// checkColumns refuses a column list that names something the SELECT does not yield.
func checkColumns(c *ddl.Create, schema tables.Schema) error {
	for _, col := range c.Columns {
		if schema.Index(col.Name) < 0 {
			return fmt.Errorf("%s %s: column %q of the list is not among those of the SELECT: %s", strings.ToLower(c.Kind.String()), c.Name, col.Name,
				strings.Join(schema.Names(), ", "))
		}
	}
	return nil
}

// storedFlow reads a flow back from its table's definition; nil if the table is no flow's.
func storedFlow(g *Graph, t *tables.Table) *flow {
	p := t.Snapshot().Definition().Properties
	if p[propertyFlow] == "" {
		return nil
	}
	ref := reference{t.Database(), t.Name()}
	c, err := storedCreate(p[propertyStatement])
	if err == nil {
		var f *flow
		if f, err = newFlow(g, c, ref, p[propertyDatabase], p[propertyBase]); err == nil {
			f.loaded, f.suspended = p[propertyLoaded], p[propertySuspended] == "true"
			f.settleSuspended(f.suspended)
			return f
		}
	}
	if c == nil {
		c = &ddl.Create{Kind: ddl.StreamingTable, Name: t.Name(), Text: p[propertyStatement]}
		if p[propertyKind] == kindName(ddl.MaterializedView) {
			c.Kind = ddl.MaterializedView
		}
	}
	f := emptyFlow(g, c, ref, p[propertyDatabase], p[propertyBase])
	f.broken = fmt.Errorf("%w: %w", errStored, err)
	f.settle(outcome{}, f.broken)
	return f
}

func storedCreate(text string) (*ddl.Create, error) {
	statement, err := ddl.Parse(text)
	if err != nil {
		return nil, err
	}
	c, ok := statement.(*ddl.Create)
	if !ok {
		return nil, fmt.Errorf("read definition: %q creates no table", text)
	}
	return c, nil
}

// sameQuery reports whether two statements keep the same rows: expectations may differ, they apply from now on.
func sameQuery(a, b *ddl.Create) bool {
	return a.Kind == b.Kind && lexer.Normal(a.Query) == lexer.Normal(b.Query) && sameSources(a.Sources, b.Sources) && sameChanges(a.Changes, b.Changes)
}

func sameSources(a, b []ddl.Source) bool {
	text := func(s []ddl.Source) string {
		// Maps are encoded with sorted keys, and these types always encode.
		j, _ := json.Marshal(s)
		return string(j)
	}
	return text(a) == text(b)
}

// sameChanges reports whether events of one meaning are kept; how the statement spells it does not count.
func sameChanges(a, b *ddl.Changes) bool {
	if a == nil || b == nil {
		return a == b
	}
	x, y := *a, *b
	x.Text, y.Text = "", ""
	return reflect.DeepEqual(x, y)
}
