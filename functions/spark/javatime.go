package spark

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"
)

// timePattern is a pattern of Java's DateTimeFormatter: letters say what stands there and how wide it is, 'text' stands
// for itself, and what is in [ ] may be missing. E is read as before Spark 3, that is, not held against the date.
type timePattern []element

// element is one part of a pattern.
type element struct {
	letter byte        // 0 for a text, '[' for an optional part
	width  int         // how often the letter is repeated
	joined bool        // a number follows without anything between: exactly width digits
	text   string      // of a text
	inner  timePattern // of an optional part
}

// letters are those of a pattern that are known.
const letters = "yuMLdDHhKkmsSaEXxzZVOQqn"

const (
	maxPatternChars  = 200
	maxPatternNested = 10
)

var timePatterns sync.Map // text -> timePattern; there are as many as statements that hold one

// javaPattern compiles a pattern.
func javaPattern(text string) (timePattern, error) {
	if known, ok := timePatterns.Load(text); ok {
		return known.(timePattern), nil
	}
	if len(text) > maxPatternChars {
		return nil, badArgument("to_timestamp", "a pattern has at most %d characters, this one %d", maxPatternChars, len(text))
	}
	p, rest, err := compile(text, 0)
	if err == nil && rest != "" {
		err = badArgument("to_timestamp", "the pattern %q has a ] without its [", text)
	}
	if err != nil {
		return nil, err
	}
	timePatterns.Store(text, p)
	return p, nil
}

// compile reads up to a ] or the end.
func compile(text string, depth int) (p timePattern, rest string, err error) {
	for text != "" {
		c := text[0]
		switch {
		case c == ']':
			return p, text, nil
		case c == '[':
			if depth++; depth > maxPatternNested {
				return nil, "", badArgument("to_timestamp", "a pattern has at most %d [ in one another", maxPatternNested)
			}
			inner, after, err := compile(text[1:], depth)
			if err != nil {
				return nil, "", err
			}
			depth--
			p, text = append(p, element{letter: '[', inner: inner}), strings.TrimPrefix(after, "]")
		case c == '\'':
			literal, after, ok := quoted(text)
			if !ok {
				return nil, "", badArgument("to_timestamp", "the pattern %q has a ' without its end", text)
			}
			p, text = append(p, element{text: literal}), after
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z':
			n := 1
			for n < len(text) && text[n] == c {
				n++
			}
			if !strings.ContainsRune(letters, rune(c)) {
				return nil, "", badArgument("to_timestamp", "the pattern has the letter %q, and known are %s; a text stands in single quotes", string(c), letters)
			}
			if last := len(p) - 1; last >= 0 && p[last].number() && (element{letter: c, width: n}).number() {
				p[last].joined = true
			}
			p, text = append(p, element{letter: c, width: n}), text[n:]
		default:
			p, text = append(p, element{text: text[:1]}), text[1:]
		}
	}
	return p, "", nil
}

// quoted reads 'text' at the start of a pattern; a doubled quote is one.
func quoted(text string) (literal, rest string, ok bool) {
	if strings.HasPrefix(text, "''") {
		return "'", text[2:], true
	}
	for i := 1; i < len(text); i++ {
		if text[i] != '\'' {
			literal += text[i : i+1]
			continue
		}
		if i+1 < len(text) && text[i+1] == '\'' {
			literal += "'"
			i++
			continue
		}
		return literal, text[i+1:], true
	}
	return "", "", false
}

// number reports whether the element is written in digits.
func (e element) number() bool {
	switch e.letter {
	case 'M', 'L':
		return e.width < 3
	case 'y', 'u', 'd', 'D', 'H', 'h', 'K', 'k', 'm', 's', 'S', 'n':
		return true
	}
	return false
}

// moment is what was read so far.
type moment struct {
	year, month, day, yearDay  int
	hour, minute, second, nano int
	half                       int // -1 for none, 0 AM, 1 PM
	offset                     time.Duration
	location                   *time.Location // of a zone that has a name, nil for an offset
}

// parse reads a text, all of it; ok is false for one that does not fit.
func (p timePattern) parse(text string) (at time.Time, ok bool) {
	m := moment{year: 1970, month: 1, day: 1, half: -1}
	rest, ok := p.read(&m, text)
	if !ok || rest != "" {
		return at, false
	}
	if m.half >= 0 {
		m.hour = m.hour%12 + 12*m.half
	}
	if m.month < 1 || m.month > 12 || m.day < 1 || m.hour > 23 || m.minute > 59 || m.second > 59 {
		return at, false
	}
	location := time.UTC
	if m.location != nil {
		location = m.location
	}
	at = time.Date(m.year, time.Month(m.month), m.day, m.hour, m.minute, m.second, m.nano, location)
	if m.yearDay > 0 {
		at = time.Date(m.year, 1, m.yearDay, m.hour, m.minute, m.second, m.nano, location)
		if at.Year() != m.year {
			return at, false
		}
	} else if at.Day() != m.day {
		return at, false // the 31st of a month that has 30 days
	}
	return inRange(at.Add(-m.offset).UTC().Truncate(time.Microsecond))
}

func (p timePattern) read(m *moment, text string) (rest string, ok bool) {
	for _, e := range p {
		switch {
		case e.letter == 0:
			if text, ok = strings.CutPrefix(text, e.text); !ok {
				return "", false
			}
		case e.letter == '[':
			inside := *m
			if after, ok := e.inner.read(&inside, text); ok {
				*m, text = inside, after
			}
		default:
			n, ok := e.readInto(m, text)
			if !ok {
				return "", false
			}
			text = text[n:]
		}
	}
	return text, true
}

// readInto reads one element and returns how many bytes it has.
func (e element) readInto(m *moment, text string) (n int, ok bool) {
	switch e.letter {
	case 'E':
		n, _ = prefixName(text, dayNames)
		return n, n > 0
	case 'a':
		n, m.half = prefixName(text, []string{"AM", "PM"})
		return n, n > 0
	case 'z', 'V':
		return m.readZone(text)
	case 'X', 'x', 'Z', 'O':
		if strings.HasPrefix(text, "Z") && e.letter == 'X' {
			return 1, true
		}
		at := 0
		if e.letter == 'O' && strings.HasPrefix(text, "GMT") {
			at = 3
		}
		m.offset, n, ok = parseOffset(text[at:])
		return at + n, ok
	case 'M', 'L':
		if e.width >= 3 {
			n, m.month = prefixName(text, monthNames)
			m.month++
			return n, n > 0
		}
	}
	if !e.number() {
		return 0, false
	}
	return e.readNumber(m, text)
}

func (e element) readNumber(m *moment, text string) (n int, ok bool) {
	least, most := e.width, e.width
	switch {
	case e.letter == 'S':
		least, most = 1, max(e.width, 1)
		if e.joined {
			least = most
		}
	case e.joined:
	case e.width == 1:
		if most = 2; e.letter == 'y' || e.letter == 'u' || e.letter == 'D' {
			most = 4
		}
		if e.letter == 'n' {
			most = 9
		}
	}
	for n < len(text) && n < most && text[n] >= '0' && text[n] <= '9' {
		n++
	}
	if n < least {
		return 0, false
	}
	v, err := strconv.Atoi(text[:n])
	if err != nil {
		return 0, false
	}
	switch e.letter {
	case 'y', 'u':
		if m.year = v; e.width == 2 {
			m.year = 2000 + v
		}
	case 'M', 'L':
		m.month = v
	case 'd':
		m.day = v
	case 'D':
		m.yearDay = v
	case 'H':
		m.hour = v
	case 'k', 'h':
		m.hour = v % map[byte]int{'k': 24, 'h': 12}[e.letter]
	case 'K':
		m.hour = v
	case 'm':
		m.minute = v
	case 's':
		m.second = v
	case 'n':
		m.nano = v
	case 'S':
		m.nano, err = strconv.Atoi((text[:min(n, 9)] + "000000000")[:9])
	}
	return n, err == nil
}

var (
	monthNames = []string{"January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"}
	dayNames   = []string{"Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"}
)

// prefixName finds the name with which a text begins, whole or in three letters, in any case; n is 0 for none.
func prefixName(text string, names []string) (n, index int) {
	for i, name := range names {
		for _, form := range []string{name, name[:min(3, len(name))]} {
			if len(text) >= len(form) && strings.EqualFold(text[:len(form)], form) {
				return len(form), i
			}
		}
	}
	return 0, -1
}

// zones are the names of zones that texts have, in minutes east of Greenwich. Some have another meaning elsewhere: those
// of America are meant, as in Java.
var zones = map[string]int{"Z": 0, "UTC": 0, "UT": 0, "GMT": 0, "WET": 0, "WEST": 60, "BST": 60, "CET": 60, "CEST": 120, "EET": 120, "EEST": 180, "MSK": 180,
	"IST": 330, "JST": 540, "KST": 540, "AEST": 600, "AEDT": 660, "NZST": 720, "NZDT": 780, "EST": -300, "EDT": -240, "CST": -360, "CDT": -300, "MST": -420,
	"MDT": -360, "PST": -480, "PDT": -420, "AKST": -540, "AKDT": -480, "HST": -600}

func zoneOffset(name string) (time.Duration, bool) {
	minutes, ok := zones[strings.ToUpper(name)]
	return time.Duration(minutes) * time.Minute, ok
}

// readZone reads the name of a zone, such as PDT or Europe/Berlin, or an offset.
func (m *moment) readZone(text string) (n int, ok bool) {
	for n < len(text) && (text[n] == '/' || text[n] == '_' || text[n]|0x20 >= 'a' && text[n]|0x20 <= 'z') {
		n++
	}
	if n == 0 {
		m.offset, n, ok = parseOffset(text)
		return n, ok
	}
	if location, err := time.LoadLocation(text[:n]); err == nil && strings.Contains(text[:n], "/") {
		m.location = location
		return n, true
	}
	for ; n > 0; n-- { // what follows the name may be letters, too
		if m.offset, ok = zoneOffset(text[:n]); !ok {
			continue
		}
		if more, extra, isOffset := parseOffset(text[n:]); isOffset && m.offset == 0 { // GMT+02:00
			m.offset, n = more, n+extra
		}
		return n, true
	}
	return 0, false
}

// parseOffset reads +0530, +05:30, +05 and -5 at the start of a text.
func parseOffset(text string) (offset time.Duration, n int, ok bool) {
	if text == "" || text[0] != '+' && text[0] != '-' {
		return 0, 0, false
	}
	digits := ""
	for n = 1; n < len(text) && len(digits) < 4; n++ {
		if text[n] == ':' && len(digits) == 2 && n+1 < len(text) {
			continue
		}
		if text[n] < '0' || text[n] > '9' {
			break
		}
		digits += text[n : n+1]
	}
	if len(digits) == 1 {
		digits = "0" + digits
	}
	if len(digits) != 2 && len(digits) != 4 {
		return 0, 0, false
	}
	hours, _ := strconv.Atoi(digits[:2]) // digits only
	minutes := 0
	if len(digits) == 4 {
		minutes, _ = strconv.Atoi(digits[2:])
	}
	if hours > 18 || minutes > 59 {
		return 0, 0, false
	}
	offset = time.Duration(hours)*time.Hour + time.Duration(minutes)*time.Minute
	if text[0] == '-' {
		offset = -offset
	}
	return offset, n, true
}

// format writes a time, which is UTC.
func (p timePattern) format(at time.Time) string {
	var b strings.Builder
	for _, e := range p {
		switch e.letter {
		case 0:
			b.WriteString(e.text)
		case '[':
			b.WriteString(e.inner.format(at))
		default:
			b.WriteString(e.write(at))
		}
	}
	return b.String()
}

func (e element) write(at time.Time) string {
	number := func(n int) string { return fmt.Sprintf("%0*d", e.width, n) }
	switch e.letter {
	case 'y', 'u':
		if e.width == 2 {
			return number(at.Year() % 100)
		}
		return number(at.Year())
	case 'M', 'L':
		return written(number(int(at.Month())), at.Month().String(), e.width)
	case 'E':
		return written(at.Weekday().String()[:3], at.Weekday().String(), e.width)
	case 'd':
		return number(at.Day())
	case 'D':
		return number(at.YearDay())
	case 'Q', 'q':
		return number((int(at.Month()) + 2) / 3)
	case 'H':
		return number(at.Hour())
	case 'k':
		return number((at.Hour()+23)%24 + 1)
	case 'h':
		return number((at.Hour()+11)%12 + 1)
	case 'K':
		return number(at.Hour() % 12)
	case 'm':
		return number(at.Minute())
	case 's':
		return number(at.Second())
	case 'n':
		return number(at.Nanosecond())
	case 'S':
		return fmt.Sprintf("%09d", at.Nanosecond())[:min(e.width, 9)]
	case 'a':
		return at.Format("PM")
	case 'X':
		return "Z"
	case 'x', 'Z':
		return map[bool]string{true: "+00:00", false: "+0000"}[e.letter == 'x' && e.width == 3 || e.width == 5]
	case 'O':
		return "GMT"
	}
	return "UTC" // z, V
}

// written is the form of a month or a day by the width of its letters.
func written(short, name string, width int) string {
	switch {
	case width < 3:
		return short
	case width == 3:
		return name[:3]
	}
	return name
}
