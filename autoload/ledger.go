package autoload

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"smelt/tables/vfs"
)

// The names of entries: 20 digits and .json, and upto- before the digits of one that stands for all before it.
const (
	entryDigits = 20
	uptoPrefix  = "upto-"
)

// compactEvery is after how many batches the entries of the ledger are written into one file.
const compactEvery = 100

// FileState says what became of a file.
type FileState string

const (
	Loaded   FileState = "loaded"   // its rows are in the table
	Failed   FileState = "failed"   // none of its rows are; Error says why
	Changed  FileState = "changed"  // loaded before, and different since: not read again, see allowOverwrites
	Unloaded FileState = "unloaded" // its rows were taken out of the table: not read again
	Fresh    FileState = "new"      // its rows were taken out, to be read again
)

// File is what the ledger knows of one file.
type File struct {
	Path     string    `json:"path"`
	Size     int64     `json:"size"` // bytes
	Modified time.Time `json:"modified"`
	Batch    int64     `json:"batch"` // the last that held it
	State    FileState `json:"state"`
	Rows     int64     `json:"rows"`
	Tries    int64     `json:"tries"`
	Error    string    `json:"error,omitempty"`   // why it failed, without the path
	Content  bool      `json:"content,omitempty"` // failed by its content: only a change helps
	Read     time.Time `json:"read,omitzero"`     // when its last batch was read, UTC
}

// same reports whether the file on disk is the one that the ledger knows.
func (f File) same(size int64, modified time.Time) bool {
	return f.Size == size && f.Modified.Equal(modified)
}

// entry is one file of the ledger: the outcome of a batch, or of all batches up to one.
type entry struct {
	Batch int64  `json:"batch"`
	Files []File `json:"files"`
}

// ledger remembers which files were read by which batch. An entry is durable before its batch is committed; whether it
// counts is decided by the table alone, whose commit carries the number of the batch.
type ledger struct {
	fs   vfs.FS
	dir  string
	made bool // the directory and its name are durable
}

// depth is how many directories above the ledger may be new with it: the flow's state, the table's states, and the
// name of those in the table's directory.
const depth = 3

func (l *ledger) path(batch int64) string {
	return filepath.Join(l.dir, fmt.Sprintf("%0*d.json", entryDigits, batch))
}

func (l *ledger) compacted(batch int64) string {
	return filepath.Join(l.dir, fmt.Sprintf("%s%0*d.json", uptoPrefix, entryDigits, batch))
}

// write makes the entry durable, replacing one that was never committed.
func (l *ledger) write(e entry) error {
	text, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("encode ledger entry %d: %w", e.Batch, err)
	}
	if err := l.make(); err != nil {
		return fmt.Errorf("make ledger: %w", err)
	}
	return vfs.WriteFile(l.fs, l.path(e.Batch), text)
}

// make makes the directory, once, and the names that lead to it durable.
func (l *ledger) make() error {
	if l.made {
		return nil
	}
	if err := l.fs.MkdirAll(l.dir); err != nil {
		return err
	}
	dir := l.dir
	for range depth {
		dir = filepath.Dir(dir)
		if err := l.fs.SyncDir(dir); err != nil {
			return err
		}
	}
	l.made = true
	return nil
}

// sweep removes temporary files that a crash left behind. Most names come again and are written over; that of a
// compaction does not.
func (l *ledger) sweep() error {
	for _, dir := range []string{filepath.Dir(l.dir), l.dir} { // the schema's, and the entries'
		infos, err := l.fs.List(dir)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("list ledger: %w", err)
		}
		for _, i := range infos {
			if i.Name[0] != '.' || filepath.Ext(i.Name) != ".tmp" {
				continue
			}
			if err := l.fs.Remove(filepath.Join(dir, i.Name)); err != nil {
				return fmt.Errorf("sweep ledger: %w", err)
			}
		}
	}
	return nil
}

// ledgerDir is the name of the ledger in the state directory.
const ledgerDir = "ledger"

// passedOver is the number of the entry for the files that were there before the first batch and are not to be read.
const passedOver = 0

// read returns the files of all batches up to committed, the last word on each, and whether there is anything at all.
// A missing entry is an error: its files would be read twice. Entries beyond committed were never committed and are
// passed over.
func (l *ledger) read(committed int64) (files map[string]File, found bool, err error) {
	infos, err := l.fs.List(l.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, false, fmt.Errorf("list ledger: %w", err)
	}
	upto := int64(-1)
	present := map[int64]bool{}
	for _, i := range infos {
		switch n, compacted, ok := l.parse(i.Name); {
		case ok && compacted && n <= committed:
			upto = max(upto, n)
		case ok && !compacted:
			present[n] = true
		}
	}
	var paths []string
	if upto >= 0 {
		paths = append(paths, l.compacted(upto))
	}
	for n := upto + 1; n <= committed; n++ {
		if present[n] {
			paths = append(paths, l.path(n))
		} else if n != passedOver {
			return nil, false, fmt.Errorf("read ledger %s: entry %d of %d is missing; its files would be loaded twice", l.dir, n, committed)
		}
	}
	files = map[string]File{}
	for _, path := range paths {
		text, err := l.fs.ReadFile(path)
		if err != nil {
			return nil, false, fmt.Errorf("read ledger: %w", err)
		}
		var e entry
		if err := json.Unmarshal(text, &e); err != nil {
			return nil, false, fmt.Errorf("read ledger entry %s: %w", path, err)
		}
		for _, f := range e.Files {
			files[f.Path] = f
		}
	}
	return files, len(paths) > 0, nil
}

// ReadLedger returns what the ledger in the state directory of a Loader says of each file up to a committed batch.
func ReadLedger(stateDir string, committed int64) ([]File, error) {
	l := ledger{fs: vfs.OS(), dir: filepath.Join(stateDir, ledgerDir)}
	files, _, err := l.read(committed)
	return slices.Collect(maps.Values(files)), err
}

// parse reads the name of an entry.
func (l *ledger) parse(name string) (batch int64, compacted, ok bool) {
	digits, isEntry := strings.CutSuffix(name, ".json")
	digits, compacted = strings.CutPrefix(digits, uptoPrefix)
	batch, err := strconv.ParseInt(digits, 10, 64)
	return batch, compacted, isEntry && err == nil && len(digits) == entryDigits
}

// compact writes all files up to a committed batch into one entry and removes the entries that it replaces. It may be
// cut short anywhere and repeated.
func (l *ledger) compact(committed int64, files []File) error {
	all := entry{Batch: committed, Files: files}
	slices.SortFunc(all.Files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	text, err := json.Marshal(all)
	if err != nil {
		return fmt.Errorf("encode ledger up to %d: %w", committed, err)
	}
	if err := vfs.WriteFile(l.fs, l.compacted(committed), text); err != nil {
		return err
	}
	infos, err := l.fs.List(l.dir)
	if err != nil {
		return fmt.Errorf("list ledger: %w", err)
	}
	for _, i := range infos {
		n, compacted, ok := l.parse(i.Name)
		if ok && (n < committed || n == committed && !compacted) {
			if err := l.fs.Remove(filepath.Join(l.dir, i.Name)); err != nil {
				return fmt.Errorf("remove compacted ledger entry: %w", err)
			}
		}
	}
	return nil
}
