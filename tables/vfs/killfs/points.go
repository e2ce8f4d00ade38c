package killfs

import "regexp"

// operation is one kind of change of a file system.
type operation int

const (
	write operation = iota
	syncFile
	link
	rename
	remove
	syncDir
)

// moment is when in an operation the process ends.
type moment int

const (
	before moment = iota
	half          // of a write: half of the bytes are in the file
	after
)

// point is a place in the order of file operations.
type point struct {
	name   string
	op     operation
	path   *regexp.Regexp // of what the operation works on; of a link and a rename the new name
	when   moment
	commit string // of syncDir: a commit that holds this text was linked into the directory before
}

// The files of a table and of a ledger. Temporary names begin with a dot and end in .tmp.
var (
	ledgerTmp     = regexp.MustCompile(`/ledger/\.\d{20}\.json\.tmp$`)
	ledgerEntry   = regexp.MustCompile(`/ledger/\d{20}\.json$`)
	ledgerDir     = regexp.MustCompile(`/ledger$`)
	dataFile      = regexp.MustCompile(`/part-[^/]*\.parquet$`)
	commitTmp     = regexp.MustCompile(`/_delta_log/\.\d{20}\.json\.[^/]*tmp$`)
	commitFile    = regexp.MustCompile(`/_delta_log/\d{20}\.json$`)
	logDir        = regexp.MustCompile(`/_delta_log$`)
	checkpointTmp = regexp.MustCompile(`/_delta_log/\.\d{20}\.checkpoint\.parquet[^/]*tmp$`)
	modelTmp      = regexp.MustCompile(`/_models/files/\.[0-9a-f]{64}\.tmp$`)
	modelFile     = regexp.MustCompile(`/_models/files/[0-9a-f]{64}$`)
	registryTmp   = regexp.MustCompile(`/_models/\.registry\.json\.tmp$`)
	registry      = regexp.MustCompile(`/_models/registry\.json$`)
	checkpoint    = regexp.MustCompile(`/_delta_log/\d{20}\.checkpoint\.parquet$`)
)

// Every commit says what it was.
const (
	anyCommit      = `"commitInfo"`
	optimizeCommit = `"operation":"OPTIMIZE"`
	heldCommit     = `"operation":"QUARANTINE"`
	markCommit     = `"operation":"MARK QUARANTINE"`
	replayCommit   = `"operation":"REPLAY QUARANTINE"`
	tidyCommit     = `"operation":"TIDY QUARANTINE"`
)

// points are those of the exactly-once protocol, in its order. What was acknowledged is what a caller may rely on: the
// log directory was synced.
var points = []point{
	{name: "ledger-tmp-written", op: syncFile, path: ledgerTmp, when: after},
	{name: "ledger-renamed", op: rename, path: ledgerEntry, when: after},
	{name: "ledger-durable", op: syncDir, path: ledgerDir, when: after},
	{name: "data-half-written", op: write, path: dataFile, when: half},
	{name: "data-synced", op: syncFile, path: dataFile, when: after},
	{name: "commit-half-written", op: write, path: commitTmp, when: half},
	{name: "commit-synced", op: syncFile, path: commitTmp, when: after},
	{name: "commit-linked", op: link, path: commitFile, when: after},
	{name: "commit-named", op: syncDir, path: logDir, when: before, commit: anyCommit},
	{name: "commit-acknowledged", op: syncDir, path: logDir, when: after, commit: anyCommit},
	{name: "checkpoint-tmp-written", op: syncFile, path: checkpointTmp, when: after},
	{name: "checkpoint-renamed", op: rename, path: checkpoint, when: after},
	{name: "optimize-committed", op: syncDir, path: logDir, when: after, commit: optimizeCommit},
	{name: "vacuum-half-done", op: remove, path: dataFile, when: after},
	{name: "ledger-half-compacted", op: remove, path: ledgerEntry, when: after},
	// The sixteenth of the protocol is the filling of an event log behind the commits. smelt has none: its system tables
	// are computed from the commits. The clean-up of the log, which removes what others derive from, takes its place.
	{name: "log-half-cleaned", op: remove, path: commitFile, when: after},
	// A model: its files, then the registry that names them.
	{name: "model-half-written", op: write, path: modelTmp, when: half},
	{name: "model-renamed", op: rename, path: modelFile, when: after},
	{name: "registry-half-written", op: write, path: registryTmp, when: half},
	{name: "registry-renamed", op: rename, path: registry, when: after},
	// Between the commits of a table and of its quarantine.
	{name: "quarantine-filled", op: syncDir, path: logDir, when: after, commit: heldCommit},
	{name: "quarantine-marked", op: syncDir, path: logDir, when: after, commit: markCommit},
	{name: "quarantine-replayed", op: syncDir, path: logDir, when: after, commit: replayCommit},
	{name: "quarantine-tidied", op: syncDir, path: logDir, when: after, commit: tidyCommit},
}

// Points returns the names of the points, in the order in which a row meets them.
func Points() []string {
	names := make([]string, len(points))
	for i, p := range points {
		names[i] = p.name
	}
	return names
}

func find(name string) (point, bool) {
	for _, p := range points {
		if p.name == name {
			return p, true
		}
	}
	return point{}, false
}

func (p point) is(op operation, path string, when moment) bool {
	return p.op == op && p.when == when && p.path.MatchString(path)
}
