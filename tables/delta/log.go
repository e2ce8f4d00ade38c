package delta

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/google/uuid"

	"smelt/tables/vfs"
)

// ErrConflict is returned by Commit when the version exists already: somebody else committed first.
var ErrConflict = errors.New("version exists already")

// ErrCorrupt marks a log that cannot be replayed: a torn or empty commit, or a missing one.
var ErrCorrupt = errors.New("damaged transaction log")

// ErrUncertain is returned by Commit when the version may stand or not: the log must be read again, and nothing that
// the commit names may be deleted.
var ErrUncertain = errors.New("the outcome of the commit is unknown")

// LogDir is the name of the log directory inside a table.
const LogDir = "_delta_log"

// Log is the transaction log of the table in a directory.
type Log struct {
	fs  vfs.FS
	dir string // the log directory
}

// NewLog returns the log of the table in tableDir. Nothing is read or made.
func NewLog(fsys vfs.FS, tableDir string) *Log {
	return &Log{fs: fsys, dir: filepath.Join(tableDir, LogDir)}
}

// Create makes the log directory durable.
func (l *Log) Create() error {
	if err := l.fs.MkdirAll(l.dir); err != nil {
		return fmt.Errorf("make log directory: %w", err)
	}
	// The table directory holds the name of the log directory, its parent that of the table.
	for _, d := range []string{filepath.Dir(l.dir), filepath.Dir(filepath.Dir(l.dir))} {
		if err := l.fs.SyncDir(d); err != nil {
			return fmt.Errorf("sync directory %s: %w", d, err)
		}
	}
	return nil
}

func (l *Log) path(version int64) string {
	return filepath.Join(l.dir, fmt.Sprintf("%020d.json", version))
}

// Stat describes the file of a commit.
func (l *Log) Stat(version int64) (vfs.Info, error) {
	info, err := l.fs.Stat(l.path(version))
	if err != nil {
		return info, fmt.Errorf("look at commit %d: %w", version, err)
	}
	return info, nil
}

// Read returns the actions of one commit. A zero-length or torn file is ErrCorrupt and named, never read as empty.
func (l *Log) Read(version int64) ([]Action, error) {
	path := l.path(version)
	text, err := l.fs.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read commit %d: %w", version, err)
	}
	if len(bytes.TrimSpace(text)) == 0 {
		return nil, fmt.Errorf("%w: %s has no content", ErrCorrupt, path)
	}
	var actions []Action
	for n, line := range bytes.Split(text, []byte("\n")) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 {
			continue
		}
		if line[0] != '{' { // "null" would be an action, too
			return nil, fmt.Errorf("%w: %s line %d is no object", ErrCorrupt, path, n+1)
		}
		var a Action
		if err := json.Unmarshal(line, &a); err != nil {
			return nil, fmt.Errorf("%w: %s line %d: %w", ErrCorrupt, path, n+1, err)
		}
		actions = append(actions, a)
	}
	return actions, nil
}

// Commit makes the actions version n of the table, durable and visible at once: temporary file, sync, link to the final
// name, sync of the directory. ErrConflict means that somebody else's commit has the version. ErrUncertain means that the
// version may stand or not; after any other error nothing was written.
func (l *Log) Commit(version int64, actions []Action) error {
	id := uuid.NewString()
	text, err := encode(actions, id)
	if err != nil {
		return err
	}
	final := l.path(version)
	tmp := filepath.Join(l.dir, fmt.Sprintf(".%s.%s.tmp", filepath.Base(final), id))
	if err := l.writeTemp(tmp, text); err != nil {
		return errors.Join(fmt.Errorf("write commit %d: %w", version, err), ignoreMissing(l.fs.Remove(tmp)))
	}
	if linkErr := l.fs.Link(tmp, final); linkErr != nil {
		// An error may come after the deed: what stands under the final name decides.
		ours, err := l.holds(version, id)
		switch {
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return fmt.Errorf("link commit %d: %w: %w", version, ErrUncertain, errors.Join(linkErr, err))
		case err == nil && !ours:
			return errors.Join(fmt.Errorf("commit %d: %w", version, ErrConflict), ignoreMissing(l.fs.Remove(tmp)))
		case err != nil:
			return errors.Join(fmt.Errorf("link commit %d: %w", version, linkErr), ignoreMissing(l.fs.Remove(tmp)))
		}
	}
	// From here on the commit stands. A temporary name that cannot be removed is swept at the next start.
	removeErr := ignoreMissing(l.fs.Remove(tmp))
	if err := l.fs.SyncDir(l.dir); err != nil {
		return fmt.Errorf("sync log after commit %d: %w: %w", version, ErrUncertain, errors.Join(err, removeErr))
	}
	return nil
}

// Sync makes the names in the log directory durable.
func (l *Log) Sync() error {
	if err := l.fs.SyncDir(l.dir); err != nil {
		return fmt.Errorf("sync log: %w", err)
	}
	return nil
}

func (l *Log) writeTemp(tmp string, text []byte) error {
	f, err := l.fs.Create(tmp)
	if err != nil {
		return err
	}
	if _, err := f.Write(text); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := f.Sync(); err != nil {
		return errors.Join(err, f.Close())
	}
	return f.Close()
}

// holds reports whether the version on disk is the commit with this id; fs.ErrNotExist if there is no such version.
func (l *Log) holds(version int64, id string) (bool, error) {
	actions, err := l.Read(version)
	if err != nil {
		return false, err
	}
	for _, a := range actions {
		if a.CommitInfo != nil && a.CommitInfo.TxnID == id {
			return true, nil
		}
	}
	return false, nil
}

// IsTemporary reports whether a name in the log directory is that of a commit which was not finished.
func IsTemporary(name string) bool { return name[0] == '.' && filepath.Ext(name) == ".tmp" }

// Sweep removes the temporary files of a listing, which a crash left behind.
func (l *Log) Sweep(listing *Listing) error {
	for _, name := range listing.temporary {
		if err := ignoreMissing(l.fs.Remove(filepath.Join(l.dir, name))); err != nil {
			return fmt.Errorf("sweep log: %w", err)
		}
	}
	return nil
}

// encode writes one action a line and stamps the id into the commitInfo, so that a commit can be recognised on disk.
func encode(actions []Action, id string) ([]byte, error) {
	var text bytes.Buffer
	out := json.NewEncoder(&text)
	out.SetEscapeHTML(false)
	for _, a := range actions {
		if a.CommitInfo != nil {
			stamped := *a.CommitInfo
			stamped.TxnID = id
			if stamped.Timestamp == 0 {
				stamped.Timestamp = time.Now().UnixMilli()
			}
			a.CommitInfo = &stamped
		}
		if err := out.Encode(a); err != nil {
			return nil, fmt.Errorf("encode action: %w", err)
		}
	}
	return text.Bytes(), nil
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
