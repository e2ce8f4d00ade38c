package queries

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"smelt/queries/ddl"
	"smelt/tables"
)

// generation returns the UUID under which the table's present content keeps its progress.
func generation(s *tables.Snapshot) string { return s.Definition().Properties[propertyFlow] }

// progressOf is the application id under which a table's own flow keeps how far it has read a source.
func progressOf(sink *tables.Snapshot, source string) string { return generation(sink) + ":" + source }

// progressOf is the application id under which the flow keeps how far it has read a source: a table, by its id, or
// files, by their placeholder. A flow that is dropped and made again under its name goes on where it was.
func (f *flow) progressOf(sink *tables.Snapshot, source string) string {
	if f.name == "" {
		return progressOf(sink, source)
	}
	return generation(sink) + ":" + strings.ToLower(f.name) + ":" + source
}

// feedName names files in progress and ledgers: by their placeholder, and those of a flow that was added by their
// directory, too, because the flow may be changed to read another.
func (f *flow) feedName(s ddl.Source) string {
	if f.name == "" {
		return s.Placeholder
	}
	sum := sha256.Sum256([]byte(filepath.Join(f.base, s.Files.Path)))
	return s.Placeholder + "@" + hex.EncodeToString(sum[:6])
}

// sourceIDs returns the ids of the source tables that the present content began with.
func sourceIDs(s *tables.Snapshot) (map[string]string, error) {
	ids := map[string]string{}
	text := s.Definition().Properties[propertySources]
	if text == "" {
		return ids, nil
	}
	if err := json.Unmarshal([]byte(text), &ids); err != nil {
		return nil, fmt.Errorf("read property %s: %w", propertySources, err)
	}
	return ids, nil
}

// currentIDs returns the ids that the source tables of the streams have now, by placeholder.
func (f *flow) currentIDs() (map[string]string, error) {
	ids := map[string]string{}
	for _, s := range f.create.Sources {
		if s.Files != nil {
			continue
		}
		source, err := f.sourceOf(s)
		if err != nil {
			return nil, err
		}
		ids[s.Placeholder] = source.Snapshot().ID()
	}
	return ids, nil
}

// outdated says which source was rebuilt from the start since this table began to read it, "" if none was.
func (f *flow) outdated(now *tables.Snapshot) (why string, err error) {
	began, err := f.began(now)
	if err != nil {
		return "", err
	}
	ids, err := f.currentIDs()
	if err != nil {
		return "", err
	}
	for placeholder, id := range ids {
		if was, ok := began[placeholder]; ok && was != id {
			_, name, _ := strings.Cut(placeholder, ":")
			return fmt.Sprintf("its source %s was rebuilt from the start", name), nil
		}
	}
	return "", nil
}

// input is what one batch of a streaming table reads.
type input struct {
	tables  map[string]tables.Relation // placeholder -> new rows
	txns    map[string]int64           // progress to commit with them
	feeds   []FeedBatch
	shared  map[string]tables.Relation // the new rows by progress name: a table streamed twice is read at one version
	rows    int64
	gone    *retraction // rows that are to be taken out first, alone; nil for none
	waiting string      // what is waited for when a source has no columns yet
	rebuilt bool        // a source was rebuilt from the start in this moment
}

// read gathers the new rows of every stream of the SELECT.
func (f *flow) read(ctx context.Context, t *tables.Table, now *tables.Snapshot) (*input, error) {
	began, err := f.began(now)
	if err != nil {
		return nil, err
	}
	in := &input{tables: map[string]tables.Relation{}, txns: map[string]int64{}, shared: map[string]tables.Relation{}}
	for _, s := range f.create.Sources {
		if s.Files != nil {
			err = f.readFeed(ctx, in, s, t, now)
		} else {
			err = f.readTable(ctx, in, s, now, began[s.Placeholder])
		}
		if err != nil {
			return nil, err
		}
	}
	return in, nil
}

func (f *flow) sourceOf(s ddl.Source) (*tables.Table, error) {
	r := f.streamed(s)
	return f.g.cfg.Store.Table(r.database, r.table)
}

// streamed names the table of a STREAM(t).
func (f *flow) streamed(s ddl.Source) reference {
	database := s.Database
	if database == "" {
		database = f.database
	}
	return reference{strings.ToLower(database), strings.ToLower(s.Table)}
}

// readTable takes the new rows of a table; began is the id that it had when this content began, "" if that is not known.
func (f *flow) readTable(ctx context.Context, in *input, s ddl.Source, now *tables.Snapshot, began string) error {
	source, err := f.sourceOf(s)
	if err != nil {
		return err
	}
	snapshot := source.Snapshot()
	if began != "" && snapshot.ID() != began {
		in.rebuilt = true
		return nil
	}
	if len(snapshot.Schema()) == 0 {
		in.waiting = unknownColumns(source.Database() + "." + source.Name())
		return nil
	}
	app := f.progressOf(now, snapshot.ID())
	if rows, ok := in.shared[app]; ok {
		in.tables[strings.ToLower(s.Placeholder)] = rows
		return nil
	}
	from, ok := now.Txn(app)
	if !ok {
		history, err := source.Changes(ctx, -1, 0)
		if err != nil {
			return err
		}
		if (history.Rewritten || history.Replaced) && history.ID() == snapshot.ID() {
			// Nothing was read of what was removed, changed or joined so far: the rows that are there now are the beginning.
			in.add(s, app, snapshot, snapshot.Version(), snapshot.Rows())
			return nil
		}
		from = -1
	}
	changes, err := source.Changes(ctx, from, maxBatchRows)
	if err != nil {
		return err
	}
	if changes.ID() != snapshot.ID() {
		in.rebuilt = true
		return nil
	}
	if changes, err = passFills(ctx, source, changes); err != nil {
		return err
	}
	if changes.Rewritten && changes.RewriteOperation == unloadOperation {
		if changes, err = source.ChangesUpTo(ctx, changes.From, changes.RewriteVersion-1, maxBatchRows); err != nil {
			return err
		}
		if changes.RowCount == 0 && in.gone == nil {
			in.gone = &retraction{source: source, app: app, version: changes.To + 1}
		}
	}
	if changes.Rewritten {
		return fmt.Errorf("%w: version %d of %s removed or changed rows, a stream only sees new ones; REFRESH STREAMING TABLE %s FULL starts over with what is there",
			ErrUnsupported, changes.RewriteVersion, source.Name(), f.ref.table)
	}
	in.add(s, app, changes, changes.To, changes.RowCount)
	return nil
}

// passFills passes over commits that put rescued values back: what came before each is read first, as it was then.
func passFills(ctx context.Context, source *tables.Table, changes *tables.Changes) (*tables.Changes, error) {
	for changes.Rewritten && changes.RewriteOperation == fillOperation {
		at := changes.RewriteVersion
		before, err := source.ChangesUpTo(ctx, changes.From, at-1, maxBatchRows)
		if err != nil || before.RowCount > 0 {
			return before, err
		}
		if changes, err = source.Changes(ctx, at, maxBatchRows); err != nil {
			return nil, err
		}
	}
	return changes, nil
}

// add takes the rows of a table into the input.
func (in *input) add(s ddl.Source, app string, rows tables.Relation, version, count int64) {
	in.tables[strings.ToLower(s.Placeholder)] = rows
	in.shared[app] = rows
	in.txns[app] = version
	in.rows += count
}

func (f *flow) readFeed(ctx context.Context, in *input, s ddl.Source, t *tables.Table, now *tables.Snapshot) error {
	feed, err := f.feed(ctx, s, t, now)
	if err != nil {
		return err
	}
	batch, err := feed.Next(ctx)
	if err != nil {
		return err
	}
	if feed.Empty() {
		in.waiting = fmt.Sprintf("no file has arrived in %s yet", feed.Dir())
	}
	if batch == nil {
		in.tables[strings.ToLower(s.Placeholder)] = tables.FromBatches(feed.Schema())
		return nil
	}
	in.tables[strings.ToLower(s.Placeholder)] = batch
	in.feeds = append(in.feeds, batch)
	in.txns[f.progressOf(now, f.feedName(s))] = batch.Number()
	if c, ok := batch.(tables.Counter); ok {
		in.rows += c.Rows()
	}
	return nil
}

// feed returns the open feed of a source, which stands where the table stands. One that does not was not told of a batch
// whose commit stands though it failed.
func (f *flow) feed(ctx context.Context, s ddl.Source, t *tables.Table, now *tables.Snapshot) (Feed, error) {
	committed, _ := now.Txn(f.progressOf(now, f.feedName(s)))
	if feed, ok := f.feeds[s.Placeholder]; ok {
		if feed.Last() == committed {
			return feed, nil
		}
		delete(f.feeds, s.Placeholder)
		if err := feed.Close(); err != nil {
			return nil, err
		}
	}
	feed, err := f.g.cfg.Feed(ctx, *s.Files, f.base, f.stateDir(t, now, s), committed)
	if err != nil {
		return nil, err
	}
	f.feeds[s.Placeholder] = feed
	return feed, nil
}

// stateDir is where the feed of a source keeps its ledger.
func (f *flow) stateDir(t *tables.Table, now *tables.Snapshot, s ddl.Source) string {
	return f.stateDirOf(t, generation(now), s)
}

func (f *flow) stateDirOf(t *tables.Table, generation string, s ddl.Source) string {
	dir := generation + "-" + strings.ReplaceAll(f.feedName(s), ":", "-")
	if f.name != "" { // which may have characters that a directory cannot
		sum := sha256.Sum256([]byte(strings.ToLower(f.name)))
		dir += "-" + hex.EncodeToString(sum[:6])
	}
	return t.StateDir(dir)
}

// carry has the feeds of a generation that is to begin leave out the files that were unloaded.
func (f *flow) carry(ctx context.Context, t *tables.Table, to string) error {
	if f.g.cfg.Carry == nil {
		return nil
	}
	now := t.Snapshot()
	for _, s := range f.create.Sources {
		if s.Files == nil {
			continue
		}
		committed, _ := now.Txn(f.progressOf(now, f.feedName(s)))
		if err := f.g.cfg.Carry(ctx, f.stateDir(t, now, s), f.stateDirOf(t, to, s), committed); err != nil {
			return err
		}
	}
	return nil
}

func (f *flow) closeFeeds() error {
	var errs []error
	for name, feed := range f.feeds {
		errs = append(errs, feed.Close())
		delete(f.feeds, name)
	}
	return errors.Join(errs...)
}

// pin takes one snapshot of every ordinary table that the SELECT reads, through views too.
func (f *flow) pin() (map[string]*tables.Snapshot, error) {
	pinned := map[string]*tables.Snapshot{}
	err := f.g.resolve(f.shape.reads, nil, func(r reference, t *tables.Table) { pinned[r.String()] = t.Snapshot() })
	return pinned, err
}

// standing returns the flow's table as it is now, and what its SELECT reads.
func (f *flow) standing() (t *tables.Table, now *tables.Snapshot, pinned map[string]*tables.Snapshot, err error) {
	if t, err = f.table(); err != nil {
		return nil, nil, nil, err
	}
	now = t.Snapshot()
	pinned, err = f.pin()
	return t, now, pinned, err
}

// resolve calls found for each table behind the references, through views too. known holds tables and views that are
// not made yet, by database.table; they are passed over. An unknown name is an error.
func (g *Graph) resolve(refs []reference, known map[string]tables.Relation, found func(reference, *tables.Table)) error {
	var visit func(refs, via []reference) error
	visit = func(refs, via []reference) error {
		for _, r := range refs {
			if _, ok := known[r.String()]; ok {
				continue
			}
			if t, err := g.cfg.Store.Table(r.database, r.table); err == nil {
				found(r, t)
				continue
			}
			view, err := g.cfg.Store.View(r.database, r.table)
			if err != nil {
				if systemDatabase(r.database) {
					continue // has no versions: read as it is when something else changes
				}
				return fmt.Errorf("table %s: %w", r, tables.ErrNotFound)
			}
			if slices.Contains(via, r) {
				return fmt.Errorf("view %s: %w", r, ErrCycle)
			}
			s, err := shapeOf(view.Query, r.database)
			if err != nil {
				return err
			}
			if err := visit(s.reads, append(slices.Clone(via), r)); err != nil {
				return err
			}
		}
		return nil
	}
	return visit(refs, nil)
}

// SourcesOf returns the tables that a SELECT reads, through views too.
func (g *Graph) SourcesOf(query, database string) ([]*tables.Table, error) {
	s, err := shapeOf(query, database)
	if err != nil {
		return nil, err
	}
	var sources []*tables.Table
	err = g.resolve(s.reads, nil, func(_ reference, t *tables.Table) { sources = append(sources, t) })
	return sources, err
}

// systemDatabase reports whether a database is not in the store.
func systemDatabase(name string) bool {
	return name == "smelt" || name == "information_schema" || name == "mysql" || name == "performance_schema"
}

// unready says which of the tables cannot be read yet and why, "" if all can: one without columns, or a view that was not
// computed since it was defined. To read it now would show rows that its definition denies.
func unready(pinned map[string]*tables.Snapshot) string {
	for name, s := range pinned {
		d := s.Definition()
		if !IsFlow(d) {
			continue
		}
		if d.Properties[propertyKind] == kindName(ddl.MaterializedView) && !computed(s) {
			return fmt.Sprintf("%s is not computed yet", name)
		}
		if len(d.Schema) == 0 {
			return unknownColumns(name)
		}
	}
	return ""
}

// computed reports whether a materialized view was computed since it was defined.
func computed(s *tables.Snapshot) bool {
	_, ok := s.Txn(generation(s))
	return ok
}

func unknownColumns(table string) string {
	return fmt.Sprintf("the columns of %s are not known yet", table)
}
