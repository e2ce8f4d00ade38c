package queries

import (
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"smelt/tables"
)

// Names of the metrics in a commit. All values are text, as Spark wants them.
const (
	metricStarted   = "smelt.startMs" // milliseconds since 1970
	metricDuration  = "smelt.durationMs"
	metricRead      = "smelt.readMs"
	metricQuery     = "smelt.queryMs"
	metricWrite     = "smelt.writeMs"
	metricRowsIn    = "smelt.rowsIn"
	metricRowsOut   = "smelt.rowsOut"
	metricDropped   = "smelt.dropped"
	metricHeld      = "smelt.quarantined"
	metricFiles     = "files" // of a FeedBatch
	metricBytes     = "bytes" // of a FeedBatch
	metricScored    = "smelt.textsScored"
	metricKnown     = "smelt.textsKnown"
	metricCut       = "smelt.textsTruncated"
	metricNoAnswer  = "smelt.textsFailed"
	metricStrategy  = "smelt.strategy"
	metricReason    = "smelt.reason"
	metricExpect    = "smelt.expectation." // + name + suffix
	suffixPassed    = ".passed"
	suffixFailed    = ".failed"
	suffixAction    = ".action"
	suffixValue     = ".value"
	sparkOutputRows = "numOutputRows" // what Spark's history shows
)

// Progress is one batch of one flow: from RunOnce while it happens, from ProgressOf afterwards.
type Progress struct {
	Database, Table string // only from RunOnce
	Version         int64  // Delta version that the batch made
	Started         time.Time
	Duration        time.Duration
	Read            time.Duration // listing, reading and decoding the source
	Query           time.Duration // running the SELECT
	Write           time.Duration // writing and syncing
	RowsIn          int64
	RowsOut         int64
	Dropped         int64 // rows dropped by expectations
	Quarantined     int64 // rows that expectations put into quarantine
	Files           int64 // source files, of a watched directory
	Bytes           int64 // their size
	Scored          int64 // texts that models scored
	Known           int64 // texts whose predictions were known
	Truncated       int64 // texts that models cut
	Failed          int64 // texts whose prediction is NULL, because the model gave none
	Strategy        string
	Reason          string
	Expectations    []ExpectationCount // by name
	Done, Total     int64              // how far RunOnce is, in thousandths of a flow; only from RunOnce

	lookUpOnly bool // nothing is done: it is counted what would be
}

// ExpectationCount is what one expectation saw in one batch.
type ExpectationCount struct {
	Name           string
	Action         string  // what the rule did, as ddl.Action says it; "" in commits of older versions
	Passed, Failed int64   // rows; of a drift: batches
	Value          float64 // the index of a drift, 0 for other rules
}

// addFeed takes over what a feed counted.
func (p *Progress) addFeed(counts map[string]string) {
	for key, to := range map[string]*int64{metricFiles: &p.Files, metricBytes: &p.Bytes} {
		if n, err := strconv.ParseInt(counts[key], 10, 64); err == nil {
			*to += n
		}
	}
}

// metrics renders the batch for a commit.
func (p *Progress) metrics() map[string]string {
	ms := func(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }
	n := func(v int64) string { return strconv.FormatInt(v, 10) }
	m := map[string]string{
		metricStarted: n(p.Started.UnixMilli()), metricDuration: ms(p.Duration), metricRead: ms(p.Read), metricQuery: ms(p.Query),
		metricWrite: ms(p.Write), metricRowsIn: n(p.RowsIn), metricRowsOut: n(p.RowsOut), metricDropped: n(p.Dropped),
		metricHeld:     n(p.Quarantined),
		metricStrategy: p.Strategy, metricReason: p.Reason, sparkOutputRows: n(p.RowsOut),
	}
	if scored, known := atomic.LoadInt64(&p.Scored), atomic.LoadInt64(&p.Known); scored+known > 0 {
		m[metricScored], m[metricKnown] = n(scored), n(known)
		m[metricCut], m[metricNoAnswer] = n(atomic.LoadInt64(&p.Truncated)), n(atomic.LoadInt64(&p.Failed))
	}
	if p.Files > 0 {
		m[metricFiles], m[metricBytes] = n(p.Files), n(p.Bytes)
	}
	for _, e := range p.Expectations {
		m[metricExpect+e.Name+suffixPassed] = n(e.Passed)
		m[metricExpect+e.Name+suffixFailed] = n(e.Failed)
		m[metricExpect+e.Name+suffixAction] = e.Action
		if e.Value != 0 {
			m[metricExpect+e.Name+suffixValue] = strconv.FormatFloat(e.Value, 'g', -1, 64)
		}
	}
	return m
}

// ProgressOf reads a batch back from the commit that it made; ok is false for a commit that no flow made.
func ProgressOf(info tables.CommitInfo) (p Progress, ok bool) {
	number := func(key string) int64 {
		v, err := strconv.ParseInt(info.Metrics[key], 10, 64)
		if err != nil {
			return 0 // written by an older smelt, or by hand
		}
		return v
	}
	ms := func(key string) time.Duration { return time.Duration(number(key)) * time.Millisecond }
	if _, ok := info.Metrics[metricStarted]; !ok {
		return Progress{}, false
	}
	p = Progress{
		Version: info.Version, Started: time.UnixMilli(number(metricStarted)).UTC(), Duration: ms(metricDuration), Read: ms(metricRead),
		Query: ms(metricQuery), Write: ms(metricWrite), RowsIn: number(metricRowsIn), RowsOut: number(metricRowsOut), Dropped: number(metricDropped),
		Quarantined: number(metricHeld),
		Scored:      number(metricScored), Known: number(metricKnown), Truncated: number(metricCut), Failed: number(metricNoAnswer),
		Files: number(metricFiles), Bytes: number(metricBytes), Strategy: info.Metrics[metricStrategy], Reason: info.Metrics[metricReason],
	}
	for key := range info.Metrics {
		rest, isExpectation := strings.CutPrefix(key, metricExpect)
		name, isPassed := strings.CutSuffix(rest, suffixPassed)
		if isExpectation && isPassed {
			value, err := strconv.ParseFloat(info.Metrics[metricExpect+name+suffixValue], 64)
			if err != nil {
				value = 0 // it has none
			}
			p.Expectations = append(p.Expectations, ExpectationCount{Value: value, Name: name, Action: info.Metrics[metricExpect+name+suffixAction],
				Passed: number(key), Failed: number(metricExpect + name + suffixFailed)})
		}
	}
	slices.SortFunc(p.Expectations, func(a, b ExpectationCount) int { return strings.Compare(a.Name, b.Name) })
	return p, true
}
