package queries

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"smelt/queries/ddl"
	"smelt/tables"
)

// watched is a directory of files. Columns are those of the files that were read, in order of appearance.
type watched struct {
	mu      sync.Mutex
	files   []file
	changed chan struct{}
}

type file struct {
	columns []string
	rows    []row
	bad     bool
}

func (l *lab) drop(path string, files ...file) {
	l.mu.Lock()
	d := l.dirs[path]
	if d == nil {
		d = &watched{changed: make(chan struct{}, 1)}
		l.dirs[path] = d
	}
	l.mu.Unlock()
	d.mu.Lock()
	d.files = append(d.files, files...)
	d.mu.Unlock()
	select {
	case d.changed <- struct{}{}:
	default:
	}
}

// filesPerBatch is how many files one batch of a fake feed takes.
const filesPerBatch = 3

type fakeFeed struct {
	lab       *lab
	dir       *watched
	path      string
	stateDir  string
	committed int64
	seen      map[int]bool
	out       map[int]bool // of those, which were unloaded
	closed    bool
}

// ledgerEntry lists the files that a batch brought, that were unloaded by it, and that it had read again.
type ledgerEntry struct{ Files, Unloaded, Fresh []int }

// apply puts the entry into the set of the files that are not to be read.
func (e ledgerEntry) apply(feed *fakeFeed) {
	for _, i := range e.Files {
		feed.seen[i], feed.out[i] = true, false
	}
	for _, i := range e.Unloaded {
		feed.seen[i], feed.out[i] = true, true
	}
	for _, i := range e.Fresh {
		feed.seen[i], feed.out[i] = false, false
	}
}

const carried = "carried"

// carry is the Config.Carry of the lab.
func (l *lab) carry(ctx context.Context, from, to string, committed int64) error {
	if err := l.at("carry", to); err != nil {
		return err
	}
	feed := &fakeFeed{stateDir: from, committed: committed, seen: map[int]bool{}, out: map[int]bool{}}
	if err := feed.readLedger(); err != nil {
		return err
	}
	e := ledgerEntry{}
	for i, out := range feed.out {
		if out {
			e.Unloaded = append(e.Unloaded, i)
		}
	}
	data, err := json.Marshal(e)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(to, carried), data, 0o644)
}

func (l *lab) feed(_ context.Context, f ddl.Files, base, stateDir string, committed int64) (Feed, error) {
	if base != "/base" {
		return nil, fmt.Errorf("base is %q", base)
	}
	l.drop(f.Path)
	feed := &fakeFeed{lab: l, dir: l.dirs[f.Path], path: f.Path, stateDir: stateDir, committed: committed, seen: map[int]bool{}, out: map[int]bool{}}
	return feed, feed.readLedger()
}

func (f *fakeFeed) readLedger() error {
	names := []string{}
	if _, err := os.Stat(filepath.Join(f.stateDir, carried)); err == nil {
		names = append(names, carried)
	}
	for n := int64(1); n <= f.committed; n++ {
		names = append(names, fmt.Sprint(n))
	}
	for _, name := range names {
		data, err := os.ReadFile(filepath.Join(f.stateDir, name))
		if err != nil {
			return fmt.Errorf("ledger of a committed batch: %w", err)
		}
		var e ledgerEntry
		if err := json.Unmarshal(data, &e); err != nil {
			return err
		}
		e.apply(f)
	}
	return nil
}

// Lookup takes the number of the file for its name.
func (f *fakeFeed) Lookup(name string) (FeedFile, bool) {
	i, err := strconv.Atoi(name)
	if err != nil || !f.seen[i] && !f.out[i] {
		return FeedFile{}, false
	}
	f.dir.mu.Lock()
	defer f.dir.mu.Unlock()
	return FeedFile{Path: name, State: "loaded", Rows: int64(len(f.dir.files[i].rows))}, true
}

func (f *fakeFeed) Retry(string) error { return errors.New("no file fails here") }

func (f *fakeFeed) Retract(path string, again bool) (FeedBatch, error) {
	i, err := strconv.Atoi(path)
	if err != nil {
		return nil, err
	}
	b := &fakeFeedBatch{Relation: tables.FromBatches(f.Schema()), feed: f, number: f.committed + 1, entry: ledgerEntry{Unloaded: []int{i}}}
	if again {
		b.entry = ledgerEntry{Fresh: []int{i}}
	}
	return b, nil
}

func (f *fakeFeed) Schema() tables.Schema {
	f.dir.mu.Lock()
	defer f.dir.mu.Unlock()
	var schema tables.Schema
	for _, one := range f.dir.files {
		for _, c := range one.columns {
			if schema.Index(c) < 0 {
				schema = append(schema, tables.Field{Name: c, Type: long})
			}
		}
	}
	if f.lab.paths && len(schema) > 0 {
		schema = append(schema, tables.Field{Name: "source_file", Type: text})
	}
	return schema
}

func (f *fakeFeed) Dir() string              { return "/watched/" + f.path }
func (f *fakeFeed) Empty() bool              { return len(f.Schema()) == 0 }
func (f *fakeFeed) Changed() <-chan struct{} { return f.dir.changed }
func (f *fakeFeed) Last() int64              { return f.committed }
func (f *fakeFeed) Close() error             { f.closed = true; return nil }
func (f *fakeFeed) Pending() int64           { return int64(len(f.unseen())) }

func (f *fakeFeed) Rescued() string { return "_rescued_data" }
func (f *fakeFeed) Evolve(context.Context, tables.Relation) (FeedBatch, error) {
	return nil, errors.New("no options change here")
}
func (f *fakeFeed) Recoverable(*tables.Column, tables.Schema, []string) bool   { return false }
func (f *fakeFeed) Recover(b *tables.Batch, _ []string) (*tables.Batch, error) { return b, nil }
func (f *fakeFeed) Remember() error                                            { return nil }
func (f *fakeFeed) Exclude([]string) bool                                      { return false }
func (f *fakeFeed) Refuse(string) bool                                         { return false }

func (f *fakeFeed) unseen() []int {
	f.dir.mu.Lock()
	defer f.dir.mu.Unlock()
	var list []int
	for i := range f.dir.files {
		if !f.seen[i] {
			list = append(list, i)
		}
	}
	return list
}

func (f *fakeFeed) Next(context.Context) (FeedBatch, error) {
	if f.closed {
		return nil, errors.New("the feed is closed")
	}
	unseen := f.unseen()
	if len(unseen) == 0 {
		return nil, nil
	}
	unseen = unseen[:min(filesPerBatch, len(unseen))]
	schema := f.Schema()
	var rows []row
	f.dir.mu.Lock()
	for _, i := range unseen {
		for _, r := range f.dir.files[i].rows {
			r = maps.Clone(r)
			r["source_file"] = strconv.Itoa(i)
			rows = append(rows, r)
		}
	}
	f.dir.mu.Unlock()
	return &fakeFeedBatch{Relation: tables.FromBatches(schema, batchOf(schema, rows)), feed: f, number: f.committed + 1, entry: ledgerEntry{Files: unseen}, rows: int64(len(rows))}, nil
}

type fakeFeedBatch struct {
	tables.Relation
	feed   *fakeFeed
	number int64
	entry  ledgerEntry
	rows   int64
}

func (b *fakeFeedBatch) Number() int64 { return b.number }
func (b *fakeFeedBatch) Rows() int64   { return b.rows }
func (b *fakeFeedBatch) Metrics() map[string]string {
	return map[string]string{"files": strconv.Itoa(len(b.entry.Files)), "bytes": strconv.Itoa(10 * len(b.entry.Files)), "filesFailed": "0"}
}

func (b *fakeFeedBatch) Record(context.Context) error {
	if err := b.feed.lab.at("record", b.feed.path); err != nil {
		return err
	}
	data, err := json.Marshal(b.entry)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(b.feed.stateDir, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(b.feed.stateDir, fmt.Sprint(b.number)), data, 0o644); err != nil {
		return err
	}
	return b.feed.lab.at("recorded", b.feed.path)
}

// errUnlike is what a hook returns where the rows of a batch are not those that were promised.
var errUnlike = errors.New("unlike")

func (b *fakeFeedBatch) Again() bool {
	return errors.Is(b.feed.lab.at("again", b.feed.path), errUnlike)
}

func (b *fakeFeedBatch) Committed() {
	b.feed.committed = b.number
	b.entry.apply(b.feed)
}
