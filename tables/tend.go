package tables

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"smelt/tables/delta"
	"smelt/tables/parquet"
)

const (
	// checkpointEvery is how many commits lie between two checkpoints, unless delta.checkpointInterval says otherwise:
	// Delta's own 10 makes a log of small commits five times as large, and 100 commits replay in 10 ms.
	checkpointEvery = 100
	// logRetention and fileRetention are for how long the log and removed files are kept, unless
	// delta.logRetentionDuration and delta.deletedFileRetentionDuration say otherwise.
	logRetention  = 30 * 24 * time.Hour
	fileRetention = 7 * 24 * time.Hour
	// smallFileBytes and manySmallFiles say when the files that many small commits leave are joined: a scan pays
	// for each file what it pays for some thousand rows.
	smallFileBytes = 1 << 20
	manySmallFiles = 100
	// groupsWorth is how many files of each partition must go for its join to be worth it.
	groupsWorth = 4
)

// tend does after a commit what keeps the table quick: it joins small files, and writes a checkpoint. The commit
// stands whatever happens here. The caller holds commitMu.
func (t *Table) tend() {
	if t.external {
		return
	}
	// The statement may be over or cancelled: what is begun here is short, and is ended.
	ctx := context.Background()
	if err := t.autoCompact(ctx); err != nil {
		t.store.log.Warn("small files not joined", "table", t.db+"."+t.name, "err", err)
	}
	now := t.Snapshot()
	if now.Version()-t.checkpointed < t.property(now, "delta.checkpointInterval", checkpointEvery) {
		return
	}
	if err := t.checkpoint(); err != nil {
		t.store.log.Warn("checkpoint not written", "table", t.db+"."+t.name, "err", err)
	}
}

// property returns a positive number of the table's configuration.
func (t *Table) property(now *Snapshot, name string, otherwise int64) int64 {
	n, err := strconv.ParseInt(now.def.Properties[name], 10, 64)
	if err != nil || n <= 0 {
		return otherwise
	}
	return n
}

// checkProperties refuses values of Delta's properties that would mean something else than they say.
func checkProperties(properties map[string]string) error {
	for name, value := range properties {
		var err error
		switch name {
		case "delta.checkpointInterval":
			var n int64
			if n, err = strconv.ParseInt(value, 10, 64); err == nil && n <= 0 {
				err = strconv.ErrRange
			}
		case "delta.logRetentionDuration", "delta.deletedFileRetentionDuration":
			_, err = parseInterval(value)
		case "delta.appendOnly", "delta.enableExpiredLogCleanup", "delta.autoOptimize.autoCompact":
			_, err = strconv.ParseBool(value)
		}
		if err != nil {
			return fmt.Errorf("read property %s = %q: %w", name, value, err)
		}
	}
	return nil
}

// retention returns a duration of the table's configuration, such as "interval 7 days".
func retention(now *Snapshot, name string, otherwise time.Duration) time.Duration {
	d, err := parseInterval(now.def.Properties[name])
	if err != nil {
		return otherwise
	}
	return d
}

var errInterval = errors.New("want an interval such as \"interval 7 days\", of weeks down to milliseconds")

func parseInterval(text string) (time.Duration, error) {
	words := strings.Fields(strings.ToLower(text))
	if len(words) > 0 && words[0] == "interval" {
		words = words[1:]
	}
	if len(words) == 0 || len(words)%2 != 0 {
		return 0, errInterval
	}
	units := map[string]time.Duration{"week": 7 * 24 * time.Hour, "day": 24 * time.Hour, "hour": time.Hour, "minute": time.Minute, "second": time.Second, "millisecond": time.Millisecond}
	var total time.Duration
	for ; len(words) > 0; words = words[2:] {
		n, err := strconv.ParseInt(words[0], 10, 32)
		unit, ok := units[strings.TrimSuffix(words[1], "s")]
		if err != nil || !ok || n < 0 {
			return 0, errInterval
		}
		total += time.Duration(n) * unit
	}
	return total, nil
}

// checkpoint writes the state so far into one file, and then cleans the log up. The caller holds commitMu.
func (t *Table) checkpoint() error {
	now := t.Snapshot()
	since := time.Now().Add(-retention(now, "delta.deletedFileRetentionDuration", fileRetention))
	if now.def.Properties[PropertyAutoVacuum] == "true" {
		if err := t.removeExpired(since.UnixMilli()); err != nil {
			return err
		}
	}
	actions := t.replay.Checkpoint(since.UnixMilli())
	err := t.log.WriteCheckpoint(now.Version(), int64(len(actions)), int64(now.Files()), func(out io.Writer) error {
		return parquet.WriteCheckpoint(out, actions)
	})
	// Also after an error: it is tried again with the next interval, not with each commit.
	t.checkpointed = now.Version()
	if err != nil {
		return err
	}
	if strings.EqualFold(now.def.Properties["delta.enableExpiredLogCleanup"], "false") {
		return nil
	}
	_, err = t.log.Clean(time.Now().Add(-retention(now, "delta.logRetentionDuration", logRetention)))
	return err
}

// PropertyAutoVacuum is the property of a table whose replaced files go by themselves when their retention ends: "true"
// for what is replaced all day.
const PropertyAutoVacuum = "smelt.autoVacuum"

// removeExpired removes the data files that were replaced before since, while the log still names them.
func (t *Table) removeExpired(since int64) error {
	live := t.Snapshot().live()
	for _, f := range t.replay.Tombstones(0) {
		if f.DeletionTimestamp >= since || live[f.Path] {
			continue
		}
		if err := t.store.fs.Remove(filepath.Join(t.dir, localName(f.Path))); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove replaced file: %w", err)
		}
	}
	return nil
}

// autoCompact joins small files when there are many. The caller holds commitMu.
func (t *Table) autoCompact(ctx context.Context) error {
	now := t.Snapshot()
	if strings.EqualFold(now.def.Properties["delta.autoOptimize.autoCompact"], "false") {
		return nil
	}
	small, groups := joinable(now, smallFileBytes)
	// Where each commit leaves a file in every partition, joining them takes as long as several such commits.
	if len(small)-groups < max(manySmallFiles, groupsWorth*groups) {
		return nil
	}
	c, err := t.compaction(ctx, now, smallFileBytes)
	if errors.Is(err, errNothing) {
		return nil
	}
	if err == nil {
		c.Parameters = map[string]string{"auto": "true"}
		_, err = t.publish(c)
	}
	if err != nil && !errors.Is(err, delta.ErrUncertain) {
		return errors.Join(err, t.discard(c.adds))
	}
	return err
}

// Optimize joins small files into large ones. The rows stay what they are: streams of the table pass over it. It
// returns how many files were replaced by how many.
func (t *Table) Optimize(ctx context.Context) (removed, added int, err error) {
	_, err = t.change(ctx, func(now *Snapshot) (change, error) {
		c, err := t.compaction(ctx, now, maxFileBytes/2)
		removed, added = len(c.removes), len(c.adds)
		return c, err
	})
	return removed, added, err
}

// compaction rewrites the files below a size; errNothing when there are not two of them.
func (t *Table) compaction(ctx context.Context, now *Snapshot, below int64) (change, error) {
	c := change{Commit: Commit{Operation: "OPTIMIZE"}, rearranged: true}
	if err := now.checkWrite(true, false); err != nil {
		return c, err
	}
	if c.removes, _ = joinable(now, below); len(c.removes) == 0 {
		return c, errNothing
	}
	rows, err := scanFiles(ctx, t, now.Schema(), nil, c.removes)
	if err != nil {
		return c, err
	}
	defer rows.Close()
	c.adds, err = t.writeRows(ctx, rows, now.def)
	c.Metrics = fileMetrics(c)
	return c, err
}

// joinable returns the files below a size that are not the only one of their partition, partition by partition, so that
// few files are written at once, and the number of these partitions.
func joinable(now *Snapshot, below int64) (files []delta.File, groups int) {
	parts := map[string][]delta.File{}
	for _, f := range now.state.Files {
		if f.Size < below && f.Tags[tagKeys] == "" { // what a merge has split stays so: the next one touches few of them
			key := fmt.Sprint(f.PartitionValues) // sorted by column
			parts[key] = append(parts[key], f)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(parts)) {
		if len(parts[key]) > 1 {
			files = append(files, parts[key]...)
			groups++
		}
	}
	return files, groups
}

// fileMetrics counts the files of a change, by the names that Delta has for it.
func fileMetrics(c change) map[string]string {
	var removed, added int64
	for _, f := range c.removes {
		removed += f.Size
	}
	for _, f := range c.adds {
		added += f.Size
	}
	return map[string]string{
		"numRemovedFiles": strconv.Itoa(len(c.removes)), "numRemovedBytes": strconv.FormatInt(removed, 10),
		"numAddedFiles": strconv.Itoa(len(c.adds)), "numAddedBytes": strconv.FormatInt(added, 10),
	}
}

// Vacuum removes the data files that no version younger than retain needs and that are no younger themselves; it
// returns their paths. retain 0 or more; a negative one means what the table's configuration says. dry only tells.
// Versions whose files went can no longer be read; a query that is reading one fails and says so.
func (t *Table) Vacuum(ctx context.Context, retain time.Duration, dry bool) (paths []string, err error) {
	t.commitMu.Lock()
	defer t.commitMu.Unlock()
	if t.dropped {
		return nil, t.errDropped()
	}
	if err := t.store.begin(); err != nil {
		return nil, fmt.Errorf("vacuum %s.%s: %w", t.db, t.name, err)
	}
	defer t.store.writers.Done()
	// What others have committed is needed, too.
	if err := t.refresh(); err != nil {
		return nil, fmt.Errorf("vacuum %s.%s: %w", t.db, t.name, err)
	}
	now := t.Snapshot()
	if err := now.checkWrite(false, false); err != nil {
		return nil, fmt.Errorf("vacuum %s.%s: %w", t.db, t.name, err)
	}
	if retain < 0 {
		if err := checkProperties(now.def.Properties); err != nil {
			return nil, fmt.Errorf("vacuum %s.%s: %w", t.db, t.name, err)
		}
		retain = retention(now, "delta.deletedFileRetentionDuration", fileRetention)
	}
	cutoff := time.Now().Add(-retain)
	if paths, err = t.unneeded("", t.needed(cutoff), cutoff); err != nil || dry || len(paths) == 0 {
		return paths, err
	}
	for i, path := range paths {
		if err := ctx.Err(); err != nil {
			return paths[:i], fmt.Errorf("vacuum %s.%s: %w", t.db, t.name, err)
		}
		if err := t.store.fs.Remove(filepath.Join(t.dir, path)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return paths[:i], fmt.Errorf("vacuum %s.%s: %w", t.db, t.name, err)
		}
	}
	_, err = t.publish(change{Commit: Commit{Operation: "VACUUM END", Parameters: map[string]string{"status": "COMPLETED"},
		Metrics: map[string]string{"numDeletedFiles": strconv.Itoa(len(paths))}}})
	return paths, err
}

// needed returns the data files of the present version and those that went after a time. The caller holds commitMu.
func (t *Table) needed(since time.Time) map[string]bool {
	needed := map[string]bool{}
	for _, f := range t.Snapshot().state.Files {
		needed[localName(f.Path)] = true
	}
	for _, f := range t.replay.Tombstones(0) {
		if f.DeletionTimestamp > since.UnixMilli() {
			needed[localName(f.Path)] = true
		}
	}
	return needed
}

// localName decodes the path of a data file; one that cannot be decoded is taken as it stands.
func localName(path string) string {
	name, err := url.PathUnescape(path)
	if err != nil {
		return path
	}
	return filepath.FromSlash(name)
}

// unneeded lists the old files under a directory of the table. Names that begin with . or _ belong to somebody else,
// but for the directories of a partition whose column begins so.
func (t *Table) unneeded(dir string, needed map[string]bool, cutoff time.Time) ([]string, error) {
	entries, err := t.store.fs.List(filepath.Join(t.dir, dir))
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", dir, err)
	}
	var paths []string
	for _, e := range entries {
		path := filepath.Join(dir, e.Name)
		switch hidden := e.Name[0] == '.' || e.Name[0] == '_'; {
		case e.Dir && (!hidden || strings.Contains(e.Name, "=")):
			inside, err := t.unneeded(path, needed, cutoff)
			if err != nil {
				return nil, err
			}
			paths = append(paths, inside...)
		case !e.Dir && !hidden && !needed[path] && !e.Modified.After(cutoff):
			paths = append(paths, path)
		}
	}
	return paths, nil
}
