package tables

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"smelt/tables/delta"
	"smelt/tables/parquet"
	"smelt/tables/vfs"
)

// maxCommits is how many commits of a table are kept at hand, at one or two kilobytes each; older ones are read from the
// log when they are asked for.
const maxCommits = 10_000

// maxCommitFiles is how many files these commits name at most, at half a kilobyte each: a merge names ten and more.
const maxCommitFiles = 4 * maxCommits

// CommitInfo is the story of one commit, as DESCRIBE HISTORY shows it.
type CommitInfo struct {
	Version    int64
	Time       time.Time // UTC
	Operation  string
	Parameters map[string]string
	Metrics    map[string]string
}

// commitEntry is what one commit did, as the history tells it and as a stream of changes sees it.
type commitEntry struct {
	info    CommitInfo
	files   []delta.File // added with dataChange, without their statistics
	gone    []delta.File // removed with dataChange, without their statistics
	lost    bool         // gone is not known: the entry was read without the state before it
	rows    int64        // of files
	rewrote bool         // rows were removed or changed
	removed bool         // files went, their rows with them or not
}

// entryOf reads one commit; files are those that it adds.
func entryOf(version int64, actions []delta.Action, files []delta.File) commitEntry {
	e := commitEntry{info: CommitInfo{Version: version}}
	for _, f := range files {
		if f.DataChange {
			f.Stats = ""
			e.files = append(e.files, f)
			e.rows += f.Rows
		}
	}
	for _, a := range actions {
		switch {
		case a.Remove != nil:
			e.removed = true
			e.rewrote = e.rewrote || a.Remove.DataChange
		case a.CommitInfo != nil:
			e.info.Time = time.UnixMilli(a.CommitInfo.Timestamp).UTC()
			e.info.Operation, e.info.Parameters, e.info.Metrics = a.CommitInfo.Operation, a.CommitInfo.OperationParameters, a.CommitInfo.OperationMetrics
		}
	}
	return e
}

// restore returns a replay at the newest checkpoint not behind target, and the versions to apply after it. A checkpoint
// that cannot be read is passed over: an older one, or the log from its beginning, says the same.
func (t *Table) restore(listing *delta.Listing, target int64) (*delta.Replay, []int64, error) {
	var errs []error
	for _, c := range listing.Checkpoints {
		if c.Version > target {
			continue
		}
		r := delta.NewReplay()
		err := t.readCheckpoint(r, c)
		if err == nil {
			return r, between(listing.Versions, c.Version, target), nil
		}
		if errors.Is(err, delta.ErrUnsupported) {
			return nil, nil, err
		}
		errs = append(errs, err)
		t.store.log.Warn("checkpoint not readable, reading the log before it", "table", t.db+"."+t.name, "err", err)
	}
	if len(listing.Versions) > 0 && listing.Versions[0] == 0 {
		return delta.NewReplay(), between(listing.Versions, -1, target), nil
	}
	if len(errs) == 0 {
		errs = append(errs, fmt.Errorf("version %d: the log no longer reaches back to it: %w", target, ErrNotFound))
	}
	return nil, nil, errors.Join(errs...)
}

// between returns the versions after from, up to and with to.
func between(versions []int64, from, to int64) []int64 {
	start, _ := slices.BinarySearch(versions, from+1)
	stop, _ := slices.BinarySearch(versions, to+1)
	return versions[min(start, stop):stop]
}

func (t *Table) readCheckpoint(r *delta.Replay, c delta.Checkpoint) error {
	var actions []delta.Action
	for _, name := range c.Names {
		content, err := t.log.ReadCheckpoint(c, name)
		if err != nil {
			return err
		}
		part, err := parquet.ReadCheckpoint(bytes.NewReader(content), int64(len(content)))
		if err != nil {
			return fmt.Errorf("checkpoint %s: %w", name, err)
		}
		actions = append(actions, part...)
	}
	if err := r.Restore(c.Version, actions); err != nil {
		return fmt.Errorf("checkpoint %s: %w", c.Names[0], err)
	}
	return nil
}

// load reads the newest state from the log.
func (t *Table) load(listing *delta.Listing) error {
	replay, versions, err := t.restore(listing, listing.Newest())
	if err != nil {
		return err
	}
	t.replay = replay
	start := replay.State().Version
	t.first = start + 1
	if start < 0 {
		return t.follow(versions)
	}
	t.checkpointed = start
	// The commit of the checkpoint itself tells when that was; it may be gone.
	if e, err := t.readEntry(start); err == nil {
		t.first, t.commits = start, []commitEntry{e}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if len(versions) == 0 {
		return t.show(nil)
	}
	return t.follow(versions)
}

func (t *Table) readEntry(version int64) (commitEntry, error) {
	actions, files, err := t.log.ReadFiles(version)
	if err != nil {
		return commitEntry{}, err
	}
	e := entryOf(version, actions, files)
	e.lost = e.rewrote
	return e, nil
}

// follow applies commits from the log and publishes the newest state once. What was applied before an error is
// published too. The caller holds commitMu, or is the only one to know the table.
func (t *Table) follow(versions []int64) error {
	var done []commitEntry
	for _, v := range versions {
		actions, err := t.log.Read(v)
		if err != nil {
			return errors.Join(err, t.show(done))
		}
		one, err := t.apply(v, actions)
		if err != nil {
			return errors.Join(err, t.show(done))
		}
		done = append(done, one)
	}
	if len(done) == 0 {
		return nil
	}
	return t.show(done)
}

// advance publishes the state after one commit of our own.
func (t *Table) advance(version int64, actions []delta.Action) error {
	one, err := t.apply(version, actions)
	if err != nil {
		return err
	}
	return t.show([]commitEntry{one})
}

// apply takes one commit into the replay.
func (t *Table) apply(version int64, actions []delta.Action) (commitEntry, error) {
	for _, a := range actions {
		if a.Metadata == nil {
			continue
		}
		if _, err := decodeSchema(a.Metadata.SchemaString); err != nil {
			return commitEntry{}, fmt.Errorf("apply commit %d: %w", version, err)
		}
	}
	var gone []delta.File
	for _, a := range actions {
		if a.Remove == nil || !a.Remove.DataChange {
			continue
		}
		if f, ok := t.replay.Live(a.Remove.Path); ok {
			f.Stats = ""
			gone = append(gone, f)
		}
	}
	files, err := t.replay.Apply(version, actions)
	if err != nil {
		return commitEntry{}, fmt.Errorf("apply commit %d: %w", version, err)
	}
	e := entryOf(version, actions, files)
	e.gone = gone
	return e, nil
}

// excess returns how many of the oldest commits at hand are too many.
func (t *Table) excess() int {
	files := 0
	for i := len(t.commits) - 1; i > 0; i-- {
		if files += len(t.commits[i].files) + len(t.commits[i].gone); files > maxCommitFiles || len(t.commits)-i > maxCommits {
			return i + 1
		}
	}
	return 0
}

// show makes the newest state the current one and wakes whoever waits for it.
func (t *Table) show(done []commitEntry) error {
	state := t.replay.State()
	if t.external {
		t.last = vfs.Info{}
		if info, err := t.log.Stat(state.Version); err == nil {
			t.last = info
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.commits = append(t.commits, done...)
	if extra := t.excess(); extra > min(maxCommits, len(t.commits))/10 {
		t.commits, t.first = slices.Clone(t.commits[extra:]), t.first+int64(extra)
	}
	var at time.Time
	if n := len(t.commits); n > 0 {
		at = t.commits[n-1].info.Time
	}
	snapshot, err := newSnapshot(t, state, at, t.current)
	if err != nil {
		return err
	}
	t.current = snapshot
	close(t.changed)
	t.changed = make(chan struct{})
	return nil
}

// refresh reads commits that another writer made. The caller holds commitMu.
func (t *Table) refresh() error {
	listing, err := t.log.List()
	if err != nil {
		return err
	}
	have, newest := t.Snapshot().Version(), listing.Newest()
	if t.external && t.replaced(have, newest) {
		return t.reload(listing)
	}
	if newest <= have {
		return nil
	}
	// Others commit by what readers see here, so it must be durable: the sync of a commit may have failed.
	if err := t.log.Sync(); err != nil {
		return err
	}
	news := between(listing.Versions, have, newest)
	if int64(len(news)) != newest-have {
		return fmt.Errorf("%w: the commits behind version %d are gone", delta.ErrCorrupt, have)
	}
	return t.follow(news)
}

// replaced reports whether an attached table was removed and made anew: its newest commit is another one than it was.
func (t *Table) replaced(have, newest int64) bool {
	if newest < have {
		return true
	}
	info, err := t.log.Stat(have)
	return err == nil && (info.Size != t.last.Size || !info.Modified.Equal(t.last.Modified)) // a commit that was cleaned up tells nothing
}

// reload takes the log as that of another table.
func (t *Table) reload(listing *delta.Listing) error {
	fresh := newTable(t.store, t.db, t.name, t.dir)
	fresh.external = true
	if err := fresh.load(listing); err != nil {
		return err
	}
	t.replay, t.checkpointed, t.last = fresh.replay, fresh.checkpointed, fresh.last
	t.mu.Lock()
	defer t.mu.Unlock()
	fresh.current.table = t
	t.current, t.commits, t.first = fresh.current, fresh.commits, fresh.first
	close(t.changed)
	t.changed = make(chan struct{})
	return nil
}

// reach reads the entries of older commits until version, or the oldest that the log still has. It returns the version
// of the oldest known entry.
func (t *Table) reach(ctx context.Context, version int64) (oldest int64, err error) {
	t.mu.RLock()
	first := t.first
	t.mu.RUnlock()
	if version >= first {
		return first, nil
	}
	var older []commitEntry // newest first
	for v := first - 1; v >= max(version, 0); v-- {
		if err := ctx.Err(); err != nil {
			return first, err
		}
		e, err := t.readEntry(v)
		if errors.Is(err, fs.ErrNotExist) {
			break // cleaned up
		}
		if err != nil {
			return first, err
		}
		older = append(older, e)
	}
	slices.Reverse(older)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.first == first { // else somebody else was faster
		t.commits, t.first = append(older, t.commits...), first-int64(len(older))
	}
	return t.first, nil
}

// History returns the newest commits first, all of them for a limit of 0 or less. Commits that the log clean-up removed
// are not among them.
func (t *Table) History(ctx context.Context, limit int) ([]CommitInfo, error) {
	oldest := int64(0)
	if limit > 0 {
		oldest = t.Snapshot().Version() - int64(limit) + 1
	}
	if _, err := t.reach(ctx, oldest); err != nil {
		return nil, fmt.Errorf("history of %s.%s: %w", t.db, t.name, err)
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	if t.dropped {
		return nil, fmt.Errorf("table %s.%s: %w", t.db, t.name, ErrNotFound)
	}
	if limit <= 0 || limit > len(t.commits) {
		limit = len(t.commits)
	}
	out := make([]CommitInfo, limit)
	for i := range out {
		out[i] = t.commits[len(t.commits)-1-i].info
	}
	return out, nil
}

// CommitTime returns when a version was committed, UTC; ok is false for a version that is not at hand.
func (t *Table) CommitTime(version int64) (at time.Time, ok bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if version < t.first || version >= t.first+int64(len(t.commits)) {
		return time.Time{}, false
	}
	return t.commits[version-t.first].info.Time, true
}

// At returns the table as it was at a version. Its data files may be gone since, see Vacuum: then a scan fails.
func (t *Table) At(ctx context.Context, version int64) (*Snapshot, error) {
	now := t.Snapshot()
	if version == now.Version() {
		return now, nil
	}
	if version < 0 || version > now.Version() {
		return nil, fmt.Errorf("version %d of %s.%s: the newest is %d: %w", version, t.db, t.name, now.Version(), ErrNotFound)
	}
	listing, err := t.log.List()
	if err != nil {
		return nil, fmt.Errorf("version %d of %s.%s: %w", version, t.db, t.name, err)
	}
	replay, versions, err := t.restore(listing, version)
	if err != nil {
		return nil, fmt.Errorf("version %d of %s.%s: %w", version, t.db, t.name, err)
	}
	var at time.Time
	for _, v := range versions {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		actions, err := t.log.Read(v)
		if err != nil {
			return nil, fmt.Errorf("version %d of %s.%s: %w", version, t.db, t.name, err)
		}
		if _, err := replay.Apply(v, actions); err != nil {
			return nil, fmt.Errorf("version %d of %s.%s: %w", version, t.db, t.name, err)
		}
		at = entryOf(v, actions, nil).info.Time
	}
	state := replay.State()
	if state.Version != version {
		return nil, fmt.Errorf("version %d of %s.%s: the log no longer has it: %w", version, t.db, t.name, ErrNotFound)
	}
	return newSnapshot(t, state, at, nil)
}

// AtTime returns the table as it was at a time: the newest version that was committed by then.
func (t *Table) AtTime(ctx context.Context, at time.Time) (*Snapshot, error) {
	const step = 1000 // commits are read from the newest back, so that a recent time costs little
	for limit := step; ; limit += step {
		history, err := t.History(ctx, limit)
		if err != nil {
			return nil, err
		}
		for _, c := range history {
			if !c.Time.After(at) {
				return t.At(ctx, c.Version)
			}
		}
		if len(history) < limit {
			return nil, fmt.Errorf("%s.%s as of %s: its oldest version is younger: %w", t.db, t.name, at.UTC().Format(time.RFC3339Nano), ErrNotFound)
		}
	}
}
