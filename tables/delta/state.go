package delta

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
)

// File is a live data file, the version that added it and its number of rows. Of a file that a checkpoint names, the
// version is that of the checkpoint.
type File struct {
	Add
	Version int64
	Rows    int64
}

// State is a table at one version: what replaying its log up to there gives. It is never changed.
type State struct {
	Version  int64 // -1 for the empty log
	Protocol Protocol
	Metadata Metadata
	Born     int64  // version that gave the table its present id
	Files    []File // live files, oldest first
	Rows     int64  // of all live files
	Bytes    int64  // of all live files
	txns     map[string]Txn
}

// Txn returns the progress of an application.
func (s *State) Txn(appID string) (version int64, ok bool) {
	t, ok := s.txns[appID]
	return t.Version, ok
}

// Replay follows a log commit by commit. Applying a commit costs what it says and not what the table holds, so that a
// long log opens quickly. It is not safe for concurrent use; the States that it returns are.
type Replay struct {
	now    State
	live   map[string]int    // path -> place in now.Files
	gone   []int             // places in now.Files that were removed since the last State
	shared bool              // txns is in use by a State that was returned
	tombs  map[string]Remove // files that are no longer live, until they expire
}

// NewReplay returns the replay of an empty log.
func NewReplay() *Replay {
	return &Replay{now: State{Version: -1, txns: map[string]Txn{}}, live: map[string]int{}, tombs: map[string]Remove{}}
}

// Apply takes one commit and returns the files that it adds. A protocol that this package does not speak is ErrUnsupported and names what is missing; after
// any error the replay stands where it stood.
func (r *Replay) Apply(version int64, actions []Action) ([]File, error) {
	adds, err := r.check(version, actions)
	if err != nil {
		return nil, err
	}
	r.now.Version = version
	added := 0
	for _, a := range actions {
		switch {
		case a.Protocol != nil:
			r.now.Protocol = *a.Protocol
		case a.Metadata != nil:
			if a.Metadata.ID != r.now.Metadata.ID {
				r.now.Born = version
			}
			r.now.Metadata = *a.Metadata
		case a.Txn != nil:
			if r.shared {
				r.now.txns, r.shared = maps.Clone(r.now.txns), false
			}
			r.now.txns[a.Txn.AppID] = *a.Txn
		case a.Remove != nil:
			r.remove(a.Remove.Path)
			r.tombs[a.Remove.Path] = *a.Remove
		case a.Add != nil:
			r.remove(a.Add.Path) // an add of a live file replaces what is known of it
			delete(r.tombs, a.Add.Path)
			r.live[a.Add.Path] = len(r.now.Files)
			r.now.Files = append(r.now.Files, adds[added])
			r.now.Rows += adds[added].Rows
			r.now.Bytes += adds[added].Size
			added++
		}
	}
	return adds, nil
}

// check finds every fault of a commit before any of it is applied, and returns its files.
func (r *Replay) check(version int64, actions []Action) ([]File, error) {
	if want := r.now.Version + 1; version != want {
		return nil, fmt.Errorf("%w: commit %d comes where %d is wanted", ErrCorrupt, version, want)
	}
	protocol, described := r.now.Protocol, r.now.Metadata.ID != ""
	for _, a := range actions {
		switch {
		case a.Protocol != nil:
			if err := a.Protocol.check(); err != nil {
				return nil, err
			}
			protocol = *a.Protocol
		case a.Metadata != nil:
			if err := a.Metadata.check(); err != nil {
				return nil, err
			}
			described = true
		}
	}
	if protocol.MinReaderVersion == 0 {
		return nil, fmt.Errorf("%w: commit %d comes before any protocol action", ErrCorrupt, version)
	}
	if !described {
		return nil, fmt.Errorf("%w: commit %d comes before any metaData action with an id", ErrCorrupt, version)
	}
	return filesOf(version, actions)
}

// ReadFiles returns the actions of one commit and the data files that they add.
func (l *Log) ReadFiles(version int64) ([]Action, []File, error) {
	actions, err := l.Read(version)
	if err != nil {
		return nil, nil, err
	}
	files, err := filesOf(version, actions)
	if err != nil {
		return nil, nil, fmt.Errorf("read commit %d: %w", version, err)
	}
	return actions, files, nil
}

// filesOf returns the data files that the actions of a version add.
func filesOf(version int64, actions []Action) ([]File, error) {
	var adds []File
	for _, a := range actions {
		if a.Add == nil {
			continue
		}
		if v := a.Add.DeletionVector; v != nil {
			return nil, fmt.Errorf("%w: data file %s has a deletion vector of %v rows", ErrUnsupported, a.Add.Path, v["cardinality"])
		}
		rows, err := a.Add.rows()
		if err != nil {
			return nil, err
		}
		adds = append(adds, File{Add: *a.Add, Version: version, Rows: rows})
	}
	return adds, nil
}

func (r *Replay) remove(path string) {
	at, ok := r.live[path]
	if !ok {
		return
	}
	r.now.Rows -= r.now.Files[at].Rows
	r.now.Bytes -= r.now.Files[at].Size
	delete(r.live, path)
	r.gone = append(r.gone, at)
}

// Live returns a data file that the table has now.
func (r *Replay) Live(path string) (File, bool) {
	at, ok := r.live[path]
	if !ok {
		return File{}, false
	}
	return r.now.Files[at], true
}

// Born returns the version that gave the table its present id.
func (r *Replay) Born() int64 { return r.now.Born }

// State returns the table as it stands now.
func (r *Replay) State() *State {
	if len(r.gone) > 0 {
		r.compact()
	}
	r.shared = true
	s := r.now
	// Later files are appended behind the length that this state sees.
	s.Files = s.Files[:len(s.Files):len(s.Files)]
	return &s
}

// Restore begins with the content of the checkpoint of a version instead of the log up to there.
func (r *Replay) Restore(version int64, actions []Action) error {
	if r.now.Version != -1 {
		return fmt.Errorf("restore checkpoint %d: the replay stands at version %d already", version, r.now.Version)
	}
	r.now.Version = version - 1
	if _, err := r.Apply(version, actions); err != nil {
		r.now.Version = -1
		return err
	}
	r.now.Born = bornOf(&r.now.Metadata)
	return nil
}

// Checkpoint returns the actions that stand for the whole log so far. Tombstones of files that were removed before
// since, milliseconds since 1970, are left out and forgotten.
func (r *Replay) Checkpoint(since int64) []Action {
	s := r.State()
	actions := []Action{{Protocol: &s.Protocol}, {Metadata: &s.Metadata}}
	for _, app := range slices.Sorted(maps.Keys(s.txns)) {
		t := s.txns[app]
		actions = append(actions, Action{Txn: &t})
	}
	for i := range s.Files {
		add := s.Files[i].Add
		add.DataChange = false
		actions = append(actions, Action{Add: &add})
	}
	for _, t := range r.Tombstones(since) {
		t.DataChange = false
		actions = append(actions, Action{Remove: &t})
	}
	return actions
}

// Tombstones returns the files that were removed at since or later, by path, and forgets the others.
func (r *Replay) Tombstones(since int64) []Remove {
	maps.DeleteFunc(r.tombs, func(_ string, t Remove) bool { return t.DeletionTimestamp < since })
	kept := make([]Remove, 0, len(r.tombs))
	for _, path := range slices.Sorted(maps.Keys(r.tombs)) {
		kept = append(kept, r.tombs[path])
	}
	return kept
}

// propertyBorn is the key of a table's configuration for the version that gave it its present id: a checkpoint does not
// tell it. Without it the table has had its id from the beginning.
const propertyBorn = "smelt.born"

// BeBorn notes the version that gives the table its present id, or with 0 the one that before says.
func (m *Metadata) BeBorn(version int64, before *Metadata) {
	if version > 0 {
		m.Configuration[propertyBorn] = strconv.FormatInt(version, 10)
	} else if born, ok := before.Configuration[propertyBorn]; ok {
		m.Configuration[propertyBorn] = born
	}
}

func bornOf(m *Metadata) int64 {
	born, err := strconv.ParseInt(m.Configuration[propertyBorn], 10, 64)
	if err != nil {
		return 0
	}
	return born
}

// compact drops the removed files. The slice is a new one: states that were returned share the old.
func (r *Replay) compact() {
	slices.Sort(r.gone)
	kept := make([]File, 0, len(r.now.Files)-len(r.gone))
	for at, f := range r.now.Files {
		if len(r.gone) > 0 && r.gone[0] == at {
			r.gone = r.gone[1:]
			continue
		}
		r.live[f.Path] = len(kept)
		kept = append(kept, f)
	}
	r.now.Files, r.gone = kept, nil
}

// rows returns the number of rows that the statistics give.
func (a *Add) rows() (int64, error) {
	var stats struct {
		NumRecords *int64 `json:"numRecords"`
	}
	if a.Stats == "" {
		return 0, fmt.Errorf("%w: data file %s has no statistics, and so no number of rows", ErrUnsupported, a.Path)
	}
	if err := json.Unmarshal([]byte(a.Stats), &stats); err != nil {
		return 0, fmt.Errorf("%w: statistics of data file %s: %w", ErrCorrupt, a.Path, err)
	}
	if stats.NumRecords == nil || *stats.NumRecords < 0 {
		return 0, fmt.Errorf("%w: statistics of data file %s: no number of rows", ErrUnsupported, a.Path)
	}
	return *stats.NumRecords, nil
}
