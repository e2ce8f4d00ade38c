package queries

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
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
	closed    bool
}

type ledgerEntry struct{ Files []int }

func (l *lab) feed(_ context.Context, f ddl.Files, base, stateDir string, committed int64) (Feed, error) {
	if base != "/base" {
		return nil, fmt.Errorf("base is %q", base)
	}
	l.drop(f.Path)
	feed := &fakeFeed{lab: l, dir: l.dirs[f.Path], path: f.Path, stateDir: stateDir, committed: committed, seen: map[int]bool{}}
	for n := int64(1); n <= committed; n++ {
		data, err := os.ReadFile(filepath.Join(stateDir, fmt.Sprint(n)))
		if err != nil {
			return nil, fmt.Errorf("ledger of a committed batch: %w", err)
		}
		var e ledgerEntry
		if err := json.Unmarshal(data, &e); err != nil {
			return nil, err
		}
		for _, i := range e.Files {
			feed.seen[i] = true
		}
	}
	return feed, nil
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
	return schema
}

func (f *fakeFeed) Empty() bool              { return len(f.Schema()) == 0 }
func (f *fakeFeed) Changed() <-chan struct{} { return f.dir.changed }
func (f *fakeFeed) Close() error             { f.closed = true; return nil }
func (f *fakeFeed) Pending() int64           { return int64(len(f.unseen())) }

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
		rows = append(rows, f.dir.files[i].rows...)
	}
	f.dir.mu.Unlock()
	return &fakeFeedBatch{Relation: tables.FromBatches(schema, batchOf(schema, rows)), feed: f, number: f.committed + 1, files: unseen, rows: int64(len(rows))}, nil
}

type fakeFeedBatch struct {
	tables.Relation
	feed   *fakeFeed
	number int64
	files  []int
	rows   int64
}

func (b *fakeFeedBatch) Number() int64 { return b.number }
func (b *fakeFeedBatch) Rows() int64   { return b.rows }
func (b *fakeFeedBatch) Metrics() map[string]string {
	return map[string]string{"files": strconv.Itoa(len(b.files)), "bytes": strconv.Itoa(10 * len(b.files)), "filesFailed": "0"}
}

func (b *fakeFeedBatch) Record(context.Context) error {
	if err := b.feed.lab.at("record", b.feed.path); err != nil {
		return err
	}
	data, err := json.Marshal(ledgerEntry{b.files})
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

func (b *fakeFeedBatch) Committed() {
	b.feed.committed = b.number
	for _, i := range b.files {
		b.feed.seen[i] = true
	}
}
