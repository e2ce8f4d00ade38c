// Package predictions is the ledger of what models said of texts: smelt.predictions, a Delta table, and all of it in memory.
// A prediction is a function of the model's digest and the text, so each text is scored once for each digest, whichever
// view, client or process asks. Entries are written behind: a crash loses the newest, which are scored again.
package predictions

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"smelt/models"
	"smelt/tables"
)

// DefaultBytes bounds the ledger, counted as Config.Bytes says: three million predictions of a classifier with three
// labels.
const DefaultBytes = 512 << 20

const (
	// entryBytes is what an entry weighs beside its output: its key, its place in the order, and what a map adds.
	entryBytes = 120
	// flushEntries and flushDelay say when entries are written: a commit costs some milliseconds, whatever it holds.
	flushEntries = 20_000
	flushDelay   = time.Second
	// maxPending bounds the entries that wait for a disk that is slow or full; later ones are kept in memory only.
	maxPending = 500_000
	// batchRows is how many entries are handed to a commit at a time.
	batchRows = 8192
)

// Database and table of the ledger.
const (
	database  = "smelt"
	tableName = "predictions"
)

// Schema is the columns of smelt.predictions.
var Schema = tables.Schema{
	{Name: "model", Type: tables.Type{Kind: tables.String}, Comment: "name of the model when it was asked"},
	{Name: "model_digest", Type: tables.Type{Kind: tables.String}, Comment: "of the version, as smelt.model_versions has it"},
	{Name: "input_digest", Type: tables.Type{Kind: tables.String}, Comment: "of the text and of what was asked"},
	{Name: "output", Type: tables.Type{Kind: tables.JSON}, Comment: "what the model gave: numbers, or keywords with their scores"},
	{Name: "ms", Type: tables.Type{Kind: tables.Double}, Comment: "milliseconds that it took, its share of the run"},
	{Name: "scored", Type: tables.Type{Kind: tables.Timestamp}, Comment: "UTC"},
}

// Config says how a Ledger keeps its entries.
type Config struct {
	Store  *tables.Store
	Bytes  int64        // bound of outputs and keys in memory; when it is reached the older half is forgotten, on disk too
	Logger *slog.Logger // nil discards
}

// entry is one prediction; it is not changed.
type entry struct {
	model, name string
	input       models.InputDigest
	output      string
	each        time.Duration
	scored      time.Time
}

// Ledger implements models.Ledger. It is safe for concurrent use.
type Ledger struct {
	cfg  Config
	wake chan struct{}   // buffered 1: there is something to write
	stop chan struct{}   // closed by Close
	done chan struct{}   // closed when the writer has ended
	once sync.Once       // of Close
	read sync.Mutex      // held while the table is read for the first time
	disk sync.Mutex      // held during a commit
	work context.Context // ends when Close may wait no longer
	end  context.CancelFunc

	mu      sync.RWMutex // guards what follows; nothing slow happens under it
	loaded  bool
	broken  bool                                     // the table cannot be read
	known   map[string]map[models.InputDigest]*entry // by digest of the model
	order   []*entry                                 // oldest first
	bytes   int64
	pending []*entry
	trimmed bool // entries were forgotten: the table must be written anew
}

var _ models.Ledger = (*Ledger)(nil)

// Open returns the ledger of a store. The table is read at the first question.
func Open(c Config) *Ledger {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Bytes <= 0 {
		c.Bytes = DefaultBytes
	}
	l := &Ledger{cfg: c, wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{}), known: map[string]map[models.InputDigest]*entry{}}
	l.work, l.end = context.WithCancel(context.Background())
	go l.write()
	return l
}

// Find implements models.Ledger.
func (l *Ledger) Find(ctx context.Context, model string, inputs []models.InputDigest, outputs []string) {
	if !l.load(ctx) {
		return
	}
	l.mu.RLock()
	defer l.mu.RUnlock()
	known := l.known[model]
	for i, input := range inputs {
		if e := known[input]; e != nil {
			outputs[i] = e.output
		}
	}
}

// Add implements models.Ledger.
func (l *Ledger) Add(model, name string, inputs []models.InputDigest, outputs []string, each time.Duration) {
	now := time.Now().UTC()
	l.mu.Lock()
	if !l.loaded {
		l.mu.Unlock()
		return
	}
	for i, input := range inputs {
		e := &entry{model: model, name: name, input: input, output: outputs[i], each: each, scored: now}
		if e.output != "" && l.keep(e) && len(l.pending) < maxPending {
			l.pending = append(l.pending, e)
		}
	}
	l.trim()
	l.mu.Unlock()
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// keep takes an entry into memory, unless it is there. The caller holds mu.
func (l *Ledger) keep(e *entry) bool {
	known := l.known[e.model]
	if known == nil {
		known = map[models.InputDigest]*entry{}
		l.known[e.model] = known
	}
	if known[e.input] != nil {
		return false
	}
	known[e.input] = e
	l.order = append(l.order, e)
	l.bytes += int64(len(e.output)) + entryBytes
	return true
}

// trim forgets the older half when the ledger is full. The caller holds mu.
func (l *Ledger) trim() {
	if l.bytes <= l.cfg.Bytes {
		return
	}
	n := 0
	for ; n < len(l.order) && l.bytes > l.cfg.Bytes/2; n++ {
		e := l.order[n]
		delete(l.known[e.model], e.input)
		if len(l.known[e.model]) == 0 {
			delete(l.known, e.model)
		}
		l.bytes -= int64(len(e.output)) + entryBytes
	}
	l.order = slices.Clone(l.order[n:])
	l.trimmed = true
}

// load reads the table, once, and reports whether the ledger can be used. With a table that cannot be read there is no
// ledger: texts are scored, which costs time and changes nothing.
func (l *Ledger) load(ctx context.Context) bool {
	l.mu.RLock()
	loaded, broken := l.loaded, l.broken
	l.mu.RUnlock()
	if loaded || broken {
		return loaded
	}
	l.read.Lock()
	defer l.read.Unlock()
	l.mu.RLock()
	loaded, broken = l.loaded, l.broken
	l.mu.RUnlock()
	if loaded || broken {
		return loaded
	}
	old, err := l.stored(ctx)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		if l.broken = ctx.Err() == nil; l.broken {
			l.cfg.Logger.Error("read smelt.predictions: texts will be scored again", "err", err)
		}
		return false
	}
	for _, e := range old {
		l.keep(e)
	}
	l.trim()
	l.loaded = true
	return true
}

// stored reads the entries of the table, oldest first.
func (l *Ledger) stored(ctx context.Context) ([]*entry, error) {
	t, err := l.cfg.Store.Table(database, tableName)
	if errors.Is(err, tables.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	rows, err := t.Snapshot().Scan(ctx, Schema.Names())
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []*entry
	names := map[string]string{} // one string for each name and digest
	one := func(s string) string {
		if known, ok := names[s]; ok {
			return known
		}
		names[s] = s
		return s
	}
	err = tables.EachBatch(ctx, rows, func(b *tables.Batch) error {
		for i := range b.Len {
			var input models.InputDigest
			if n, err := hex.Decode(input[:], []byte(b.Columns[2].Strings[i])); err != nil || n != len(input) {
				return fmt.Errorf("input digest %q", b.Columns[2].Strings[i])
			}
			list = append(list, &entry{name: one(b.Columns[0].Strings[i]), model: one(b.Columns[1].Strings[i]), input: input, output: b.Columns[3].Strings[i],
				each: time.Duration(b.Columns[4].Floats[i] * float64(time.Millisecond)), scored: time.UnixMicro(b.Columns[5].Ints[i]).UTC()})
		}
		return nil
	})
	// Files are not in the order in which they came: some were joined.
	slices.SortStableFunc(list, func(a, b *entry) int { return a.scored.Compare(b.scored) })
	return list, err
}
