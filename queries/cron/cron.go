// Package cron says when something is due: by expressions as Quartz and Databricks write them ("0 0 2 * * ?"), seconds
// first, or as cron does ("0 2 * * *"), and how long intervals are. It is pure. Errors name what is wrong.
package cron

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// maxYears bounds the search for the next time: an expression that is due in no year ahead, such as 30 February, is due never.
const maxYears = 30

// Expression is a set of times, in one time zone.
type Expression struct {
	second, minute, hour, day, month, weekday uint64 // bit n: n is in the set; weekday 0 is Sunday
	anyDay, anyWeekday                        bool   // * or ?
	years                                     map[int]bool
	lastDay                                   bool
	zone                                      *time.Location
}

// field is one part of an expression.
type field struct {
	name     string
	low, top int
	names    []string // of low and those that follow
}

var (
	months   = []string{"JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"}
	weekdays = []string{"SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"}
)

// Parse reads an expression of 5 fields (minute, hour, day of month, month, day of week from 0, Sunday), or of 6 or 7 as Quartz
// has them (second first, day of week from 1, Sunday, then perhaps years). zone is a name of the IANA data base, "" for UTC.
func Parse(text, zone string) (*Expression, error) {
	e := &Expression{zone: time.UTC}
	if zone != "" {
		var err error
		if e.zone, err = time.LoadLocation(zone); err != nil {
			return nil, fmt.Errorf("time zone %q: %w", zone, err)
		}
	}
	parts := strings.Fields(strings.ToUpper(text))
	quartz := len(parts) == 6 || len(parts) == 7
	if len(parts) == 5 {
		parts = append([]string{"0"}, parts...)
	}
	if len(parts) != 6 && len(parts) != 7 {
		return nil, fmt.Errorf("cron expression %q: %d fields, want 5, or 6 or 7 with seconds first", text, len(parts))
	}
	if e.lastDay = parts[3] == "L"; e.lastDay {
		parts[3] = "?"
	}
	week := field{"day of week", 0, 7, weekdays}
	if quartz {
		week = field{"day of week", 1, 7, weekdays}
	}
	for i, f := range []struct {
		to *uint64
		field
	}{
		{&e.second, field{"second", 0, 59, nil}}, {&e.minute, field{"minute", 0, 59, nil}}, {&e.hour, field{"hour", 0, 23, nil}},
		{&e.day, field{"day of month", 1, 31, nil}}, {&e.month, field{"month", 1, 12, months}}, {&e.weekday, week},
	} {
		set, err := f.parse(parts[i])
		if err != nil {
			return nil, fmt.Errorf("cron expression %q: %w", text, err)
		}
		*f.to = set
	}
	if quartz {
		e.weekday >>= 1 // Sunday is 1
	} else if e.weekday&(1<<7) != 0 {
		e.weekday |= 1
	}
	e.anyDay, e.anyWeekday = (parts[3] == "*" || parts[3] == "?") && !e.lastDay, parts[5] == "*" || parts[5] == "?"
	if len(parts) == 7 && parts[6] != "*" {
		if err := e.parseYears(parts[6]); err != nil {
			return nil, fmt.Errorf("cron expression %q: %w", text, err)
		}
	}
	return e, nil
}

func (f *field) parse(text string) (set uint64, err error) {
	for _, part := range strings.Split(text, ",") {
		from, to, step, err := f.span(part)
		if err != nil {
			return 0, err
		}
		for n := from; n <= to; n += step {
			set |= 1 << n
		}
	}
	return set, nil
}

// span reads *, ?, n, n-m, each with /step or without.
func (f *field) span(part string) (from, to, step int, err error) {
	wrong := func() error {
		return fmt.Errorf("%s %q: want *, ?, a value from %d to %d, a range a-b, a list, or one of them with /step", f.name, part, f.low, f.top)
	}
	head, stepText, stepped := strings.Cut(part, "/")
	step = 1
	if stepped {
		if step, err = strconv.Atoi(stepText); err != nil || step < 1 {
			return 0, 0, 0, wrong()
		}
	}
	if head == "*" || head == "?" {
		return f.low, f.top, step, nil
	}
	low, high, ranged := strings.Cut(head, "-")
	if from, err = f.value(low); err != nil {
		return 0, 0, 0, wrong()
	}
	to = from
	if ranged {
		to, err = f.value(high)
	} else if stepped {
		to = f.top
	}
	if err != nil || to < from {
		return 0, 0, 0, wrong()
	}
	return from, to, step, nil
}

func (f *field) value(text string) (int, error) {
	for i, name := range f.names {
		if text == name {
			return f.low + i, nil
		}
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < f.low || n > f.top {
		return 0, fmt.Errorf("%q is out of range", text)
	}
	return n, nil
}

func (e *Expression) parseYears(text string) error {
	e.years = map[int]bool{}
	f := field{"year", 1970, 2199, nil}
	for _, part := range strings.Split(text, ",") {
		from, to, step, err := f.span(part)
		if err != nil {
			return err
		}
		for n := from; n <= to; n += step {
			e.years[n] = true
		}
	}
	return nil
}

// Next returns the first time of the set behind a time; the zero time if there is none. Times that a change of the clock
// leaves out are due when the clock has changed.
func (e *Expression) Next(after time.Time) time.Time {
	t := after.In(e.zone).Truncate(time.Second).Add(time.Second)
	for limit := t.Year() + maxYears; t.Year() <= limit; {
		switch {
		case e.years != nil && !e.years[t.Year()]:
			t = time.Date(t.Year()+1, 1, 1, 0, 0, 0, 0, e.zone)
		case e.month&(1<<int(t.Month())) == 0:
			t = time.Date(t.Year(), t.Month()+1, 1, 0, 0, 0, 0, e.zone)
		case !e.onDay(t):
			t = time.Date(t.Year(), t.Month(), t.Day()+1, 0, 0, 0, 0, e.zone)
		case e.hour&(1<<t.Hour()) == 0:
			t = later(t, time.Date(t.Year(), t.Month(), t.Day(), t.Hour()+1, 0, 0, 0, e.zone), time.Hour)
		case e.minute&(1<<t.Minute()) == 0:
			t = t.Truncate(time.Minute).Add(time.Minute)
		case e.second&(1<<t.Second()) == 0:
			t = t.Add(time.Second)
		default:
			return t
		}
	}
	return time.Time{}
}

// later returns next, which lies before t where an hour comes twice: then the step is real time.
func later(t, next time.Time, step time.Duration) time.Time {
	if next.After(t) {
		return next
	}
	return t.Truncate(step).Add(step)
}

// onDay reports whether a day is in the set: where both days of the month and of the week are given, either will do.
func (e *Expression) onDay(t time.Time) bool {
	inMonth := e.day&(1<<t.Day()) != 0
	if e.lastDay {
		inMonth = t.AddDate(0, 0, 1).Day() == 1
	}
	inWeek := e.weekday&(1<<int(t.Weekday())) != 0
	switch {
	case e.anyDay:
		return inWeek
	case e.anyWeekday:
		return inMonth
	default:
		return inMonth || inWeek
	}
}
