package cron

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Schedule says when a table is brought up to date, as a statement does: one of Every, Cron and OnUpdate.
type Schedule struct {
	Every       time.Duration // of SCHEDULE EVERY
	Cron, Zone  string        // of SCHEDULE CRON ... AT TIME ZONE; Zone "" for UTC
	OnUpdate    bool          // TRIGGER ON UPDATE
	AtMostEvery time.Duration // of TRIGGER ON UPDATE; 0 for at once
	Text        string        // as a statement writes it
}

// maxInterval bounds intervals: beyond ten years somebody meant something else.
const maxInterval = 10 * 366 * 24 * time.Hour

// units of intervals, singular.
var units = map[string]time.Duration{
	"SECOND": time.Second, "MINUTE": time.Minute, "HOUR": time.Hour, "DAY": 24 * time.Hour, "WEEK": 7 * 24 * time.Hour,
}

// Interval reads "10 seconds", "1 minute" and the like, as TBLPROPERTIES (pipelines.trigger.interval) have it.
func Interval(text string) (time.Duration, error) {
	parts := strings.Fields(strings.ToUpper(text))
	if len(parts) > 0 && parts[0] == "INTERVAL" {
		parts = parts[1:]
	}
	if len(parts) == 2 {
		n, err := strconv.ParseInt(parts[0], 10, 32)
		unit := units[strings.TrimSuffix(parts[1], "S")]
		if d := time.Duration(n) * unit; err == nil && d > 0 && time.Duration(n) <= maxInterval/unit {
			return d, nil
		}
	}
	return 0, fmt.Errorf("interval %q: want a number and SECONDS, MINUTES, HOURS, DAYS or WEEKS", text)
}
