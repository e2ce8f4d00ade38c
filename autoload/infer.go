package autoload

import (
	"strconv"
	"strings"
	"time"

	"smelt/tables"
)

// saw is what the values of a field have been so far.
type saw uint8

const (
	sawNothing saw = iota // only null
	sawBool
	sawLong
	sawDouble
	sawDate
	sawTime
	sawText
	sawJSON
	sawMix
)

// inferred is what is known of the type of a field that is no column yet.
type inferred struct {
	saw   saw
	exact tables.Type // what the files themselves declare it to be, as Parquet does; zero for nothing
}

type namedType struct {
	name string
	typ  inferred
}

// infer returns the type of one value. An integer beyond 64 bits counts as text: a double would change it. Texts are
// looked at for times only where that is asked for.
func (v value) infer(times bool) inferred {
	switch v.kind {
	case 'n':
		return inferred{saw: sawNothing}
	case 't', 'f':
		return inferred{saw: sawBool}
	case '"':
		if text := strings.Trim(v.raw, `"`); times && strings.IndexByte(text, '\\') < 0 {
			return inferred{saw: inferTime(text)}
		}
		return inferred{saw: sawText}
	case '0':
		return inferred{saw: inferNumber(v.raw)}
	case plain:
		if _, ok := v.boolean(); ok {
			return inferred{saw: sawBool}
		}
		if isNumber(v.raw) {
			return inferred{saw: inferNumber(v.raw)}
		}
		if times {
			return inferred{saw: inferTime(v.raw)}
		}
		return inferred{saw: sawText}
	default:
		return inferred{saw: sawJSON}
	}
}

func inferNumber(text string) saw {
	if _, err := strconv.ParseInt(text, 10, 64); err == nil {
		return sawLong
	}
	if strings.ContainsAny(text, ".eE") {
		if _, err := strconv.ParseFloat(text, 64); err == nil {
			return sawDouble
		}
	}
	return sawText
}

func inferTime(text string) saw {
	_, isDate, ok := parseTime(text)
	switch {
	case !ok:
		return sawText
	case isDate:
		return sawDate
	default:
		return sawTime
	}
}

// join is the type that holds the values of both.
func (a inferred) join(b inferred) inferred {
	if a.exact != b.exact && a.saw != sawNothing && b.saw != sawNothing {
		a.exact = tables.Type{}
	}
	switch {
	case a.saw == b.saw || b.saw == sawNothing:
		return a
	case a.saw == sawNothing:
		return b
	}
	low, high := min(a.saw, b.saw), max(a.saw, b.saw)
	a.saw = sawMix
	if low == sawLong && high == sawDouble || low == sawDate && high == sawTime {
		a.saw = high
	}
	return a
}

// columnType is the column type for an inferred type; what is mixed or was only null becomes text.
func (a inferred) columnType() tables.Type {
	if a.exact != (tables.Type{}) {
		return a.exact
	}
	switch a.saw {
	case sawBool:
		return tables.Type{Kind: tables.Boolean}
	case sawLong:
		return tables.Type{Kind: tables.Long}
	case sawDouble:
		return tables.Type{Kind: tables.Double}
	case sawDate:
		return tables.Type{Kind: tables.Date}
	case sawTime:
		return tables.Type{Kind: tables.Timestamp}
	case sawJSON:
		return tables.Type{Kind: tables.JSON}
	default:
		return tables.Type{Kind: tables.String}
	}
}

// dateForm is the only form of a date.
const dateForm = "2006-01-02"

// Layouts of timestamps: ISO with and without zone, which is UTC then, and those that begin with the day of the week,
// Twitter's among them.
var (
	isoForms  = []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999Z07:00", "2006-01-02 15:04:05.999999999", dateForm}
	wordForms = []string{"Mon Jan 02 15:04:05 -0700 2006", time.RFC1123Z}
)

// zonedForm has the name of a zone at zoneAt, which package time would take for UTC whatever it is.
const (
	zonedForm = "Mon Jan 02 15:04:05 2006"
	zoneAt    = len("Mon Jan 02 15:04:05 ")
)

// zones are the names that tweets and Java's Date.toString have, in hours east of Greenwich. They are America's: what
// else has such a name means something else elsewhere.
var zones = map[string]int{"UTC": 0, "GMT": 0, "EST": -5, "EDT": -4, "CST": -6, "CDT": -5, "MST": -7, "MDT": -6, "PST": -8, "PDT": -7}

// parseTime reads a timestamp in any of the forms.
func parseTime(text string) (at time.Time, isDate, ok bool) {
	if len(text) < len(dateForm) {
		return at, false, false
	}
	forms := wordForms
	if text[0] >= '0' && text[0] <= '9' {
		forms = isoForms
		if len(text) == len(dateForm) {
			forms = isoForms[len(isoForms)-1:]
		}
	}
	for _, form := range forms {
		if at, err := time.Parse(form, text); err == nil {
			return at, form == dateForm, true
		}
	}
	if len(text) == len(zonedForm)+4 {
		if hours, known := zones[text[zoneAt:zoneAt+3]]; known && text[zoneAt+3] == ' ' {
			at, err := time.Parse(zonedForm, text[:zoneAt]+text[zoneAt+4:])
			return at.Add(-time.Duration(hours) * time.Hour), false, err == nil
		}
	}
	return at, false, false
}

// appendTime appends a timestamp or a date; a timestamp is no date, but a date is midnight, UTC.
func appendTime(c *tables.Column, k tables.Kind, text string) bool {
	at, isDate, ok := parseTime(text)
	if !ok || k == tables.Date && !isDate {
		return false
	}
	if k == tables.Timestamp {
		c.AppendInt(at.UnixMicro())
	} else {
		c.AppendInt(at.Unix() / int64(24*time.Hour/time.Second))
	}
	return true
}
