package delta

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"

	"smelt/tables/vfs"
)

// lastCheckpoint is a hint for readers that cannot list a directory cheaply; we list it anyway.
const lastCheckpoint = "_last_checkpoint"

var (
	commitName     = regexp.MustCompile(`^(\d{20})\.json$`)
	checkpointName = regexp.MustCompile(`^(\d{20})\.checkpoint(?:\.(\d{10})\.(\d{10}))?\.parquet$`)
)

// Checkpoint is the files that stand for the log up to a version: one, or several of a multi-part checkpoint.
type Checkpoint struct {
	Version int64
	Names   []string // in the log directory, in order
}

// Listing is what a log directory holds.
type Listing struct {
	Versions    []int64      // the commits, in order and without a gap
	Checkpoints []Checkpoint // those that are complete, newest first
	temporary   []string     // what commits left that were not finished
}

// Newest returns the newest version that the commits or a checkpoint give, -1 for an empty log.
func (l *Listing) Newest() int64 {
	newest := int64(-1)
	if n := len(l.Versions); n > 0 {
		newest = l.Versions[n-1]
	}
	if len(l.Checkpoints) > 0 {
		newest = max(newest, l.Checkpoints[0].Version)
	}
	return newest
}

// List returns the commits and checkpoints of the log. A commit that is missing behind the newest checkpoint, or without
// any, is ErrCorrupt. Commits before a gap that a checkpoint bridges are left out.
func (l *Log) List() (*Listing, error) {
	// A directory that is written to while it is listed may show a later name and not an earlier one: a gap counts when
	// it is still there after looking again.
	const looks = 5
	for look := 1; ; look++ {
		out, err := l.list()
		if look == looks || !errors.Is(err, ErrCorrupt) {
			return out, err
		}
	}
}

func (l *Log) list() (*Listing, error) {
	names, err := l.fs.Names(l.dir)
	if err != nil {
		return nil, fmt.Errorf("list log: %w", err)
	}
	out := &Listing{}
	parts := map[string]*Checkpoint{}
	for _, name := range names { // sorted, and so by version and part
		if IsTemporary(name) {
			out.temporary = append(out.temporary, name)
		} else if m := commitName.FindStringSubmatch(name); m != nil {
			v, err := strconv.ParseInt(m[1], 10, 64)
			if err != nil {
				return nil, fmt.Errorf("read commit name %q: %w", name, err)
			}
			out.Versions = append(out.Versions, v)
		} else if err := addPart(parts, name); err != nil {
			return nil, err
		}
	}
	for _, c := range parts {
		if c.complete() {
			out.Checkpoints = append(out.Checkpoints, *c)
		}
	}
	slices.SortFunc(out.Checkpoints, func(a, b Checkpoint) int {
		if a.Version != b.Version {
			return int(b.Version - a.Version)
		}
		return len(a.Names) - len(b.Names)
	})
	return out, out.bridge(l.dir)
}

// addPart takes a name into the checkpoints, by version and number of parts. Checkpoints of the second kind (V2) have
// other names: they come with a reader version that is refused.
func addPart(parts map[string]*Checkpoint, name string) error {
	m := checkpointName.FindStringSubmatch(name)
	if m == nil {
		return nil
	}
	v, err := strconv.ParseInt(m[1], 10, 64)
	if err != nil {
		return fmt.Errorf("read checkpoint name %q: %w", name, err)
	}
	key := m[1] + "/" + m[3]
	if parts[key] == nil {
		parts[key] = &Checkpoint{Version: v}
	}
	parts[key].Names = append(parts[key].Names, name)
	return nil
}

// complete reports whether every part is there, in order.
func (c *Checkpoint) complete() bool {
	for i, name := range c.Names {
		m := checkpointName.FindStringSubmatch(name)
		if m[3] == "" {
			return len(c.Names) == 1
		}
		part, err := strconv.Atoi(m[2])
		of, ofErr := strconv.Atoi(m[3])
		if err != nil || ofErr != nil || part != i+1 || of != len(c.Names) {
			return false
		}
	}
	return true
}

// bridge drops the commits before a gap if a checkpoint stands for them.
func (l *Listing) bridge(dir string) error {
	start := 0
	for i := 1; i < len(l.Versions); i++ {
		if l.Versions[i] != l.Versions[i-1]+1 {
			start = i
		}
	}
	if len(l.Versions) == 0 || start == 0 && l.Versions[0] == 0 {
		return nil
	}
	l.Versions = l.Versions[start:]
	if len(l.Checkpoints) > 0 && l.Checkpoints[0].Version >= l.Versions[0]-1 {
		return nil
	}
	return fmt.Errorf("%w: %s: commit %d is missing", ErrCorrupt, dir, l.Versions[0]-1)
}

// lastInfo is the content of _last_checkpoint.
type lastInfo struct {
	Version int64             `json:"version"`
	Actions int64             `json:"size"`
	Bytes   int64             `json:"sizeInBytes"`
	Adds    int64             `json:"numOfAddFiles"`
	Tags    map[string]string `json:"tags,omitempty"`
}

// tagSum is the tag of _last_checkpoint for the CRC-32C of the checkpoint, in hexadecimal: Parquet has none of its footer.
const tagSum = "smelt.crc32c"

// ReadCheckpoint returns a file of a checkpoint. The newest of our own must have the check sum that _last_checkpoint says.
func (l *Log) ReadCheckpoint(c Checkpoint, name string) ([]byte, error) {
	content, err := l.fs.ReadFile(filepath.Join(l.dir, name))
	if err != nil {
		return nil, fmt.Errorf("read checkpoint: %w", err)
	}
	hint, err := l.fs.ReadFile(filepath.Join(l.dir, lastCheckpoint))
	if err != nil {
		return content, nil // a hint may be missing
	}
	var last lastInfo
	if json.Unmarshal(hint, &last) != nil || last.Version != c.Version || last.Tags[tagSum] == "" || len(c.Names) > 1 {
		return content, nil // or be of another checkpoint, or of another writer
	}
	if got := sumText(crc32.Checksum(content, castagnoli)); got != last.Tags[tagSum] {
		return nil, fmt.Errorf("%w: checkpoint %s has the check sum %s, %s says %s", ErrCorrupt, name, got, lastCheckpoint, last.Tags[tagSum])
	}
	return content, nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func sumText(sum uint32) string { return strconv.FormatUint(uint64(sum), 16) }

// summed is a writer that adds up what goes through it.
type summed struct {
	io.Writer
	sum uint32
}

// Write implements io.Writer.
func (w *summed) Write(p []byte) (int, error) {
	n, err := w.Writer.Write(p)
	w.sum = crc32.Update(w.sum, castagnoli, p[:n])
	return n, err
}

// WriteCheckpoint makes the single-file checkpoint of a version durable and then points _last_checkpoint at it. actions
// and adds are counts for readers. Until it returns, the log is read without it.
func (l *Log) WriteCheckpoint(version, actions, adds int64, write func(io.Writer) error) error {
	name := fmt.Sprintf("%020d.checkpoint.parquet", version)
	info := lastInfo{Version: version, Actions: actions, Adds: adds}
	if err := l.replace(name, func(f vfs.File) (err error) {
		out := &summed{Writer: f}
		if err := write(out); err != nil {
			return err
		}
		info.Tags = map[string]string{tagSum: sumText(out.sum)}
		info.Bytes, err = f.Size()
		return err
	}); err != nil {
		return fmt.Errorf("write checkpoint %d: %w", version, err)
	}
	hint, err := json.Marshal(info)
	if err != nil {
		return fmt.Errorf("encode %s: %w", lastCheckpoint, err)
	}
	if err := l.replace(lastCheckpoint, func(f vfs.File) error {
		_, err := f.Write(hint)
		return err
	}); err != nil {
		return fmt.Errorf("write %s: %w", lastCheckpoint, err)
	}
	return nil
}

// replace writes a file of the log directory under a temporary name and renames it, each step made durable.
func (l *Log) replace(name string, write func(vfs.File) error) error {
	tmp := filepath.Join(l.dir, fmt.Sprintf(".%s.%s.tmp", name, uuid.NewString()))
	f, err := l.fs.Create(tmp)
	if err != nil {
		return err
	}
	err = write(f)
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = l.fs.Rename(tmp, filepath.Join(l.dir, name))
	}
	if err != nil {
		return errors.Join(err, ignoreMissing(l.fs.Remove(tmp)))
	}
	return l.fs.SyncDir(l.dir)
}

// Clean removes commits and checkpoints that are older than cutoff and not needed to read any version that is kept:
// the newest checkpoint before the cutoff, its commit and all behind it stay. Oldest first, so that a crash leaves a
// log without a gap. It returns how many files went.
func (l *Log) Clean(cutoff time.Time) (removed int, err error) {
	listing, err := l.List()
	if err != nil {
		return 0, err
	}
	entries, err := l.fs.List(l.dir)
	if err != nil {
		return 0, fmt.Errorf("list log: %w", err)
	}
	written := map[string]time.Time{}
	for _, e := range entries {
		written[e.Name] = e.Modified
	}
	keep := int64(-1)
	for _, c := range listing.Checkpoints {
		if at, ok := written[fmt.Sprintf("%020d.json", c.Version)]; ok && at.Before(cutoff) {
			keep = c.Version
			break
		}
	}
	for _, e := range entries {
		m := commitName.FindStringSubmatch(e.Name)
		if m == nil {
			m = checkpointName.FindStringSubmatch(e.Name)
		}
		if m == nil {
			continue
		}
		if v, err := strconv.ParseInt(m[1], 10, 64); err != nil || v >= keep {
			continue
		}
		if err := ignoreMissing(l.fs.Remove(filepath.Join(l.dir, e.Name))); err != nil {
			return removed, fmt.Errorf("clean log: %w", err)
		}
		removed++
	}
	return removed, nil
}
