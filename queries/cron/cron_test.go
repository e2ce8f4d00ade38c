package cron_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"smelt/queries/cron"
)

func TestNext(t *testing.T) {
	const layout = "2006-01-02 15:04:05 MST"
	for _, c := range []struct{ text, zone, after, want string }{
		{"0 2 * * *", "", "2026-11-21 10:00:00 UTC", "2026-11-22 02:00:00 UTC"},
		{"*/15 * * * *", "", "2026-11-21 10:00:00 UTC", "2026-11-21 10:15:00 UTC"},
		{"0 0 2 * * ?", "", "2026-11-21 02:00:00 UTC", "2026-11-22 02:00:00 UTC"},
		{"30 0/20 * * * ? *", "", "2026-11-21 10:41:00 UTC", "2026-11-21 11:00:30 UTC"},
		{"0 0 9 ? * MON-FRI", "", "2026-11-20 10:00:00 UTC", "2026-11-23 09:00:00 UTC"},
		{"0 0 9 ? * 1", "", "2026-11-21 10:00:00 UTC", "2026-11-22 09:00:00 UTC"}, // Quartz: Sunday
		{"0 9 * * 1", "", "2026-11-21 10:00:00 UTC", "2026-11-23 09:00:00 UTC"},   // cron: Monday
		{"0 9 * * 7", "", "2026-11-21 10:00:00 UTC", "2026-11-22 09:00:00 UTC"},
		{"0 0 0 L * ?", "", "2026-02-01 00:00:00 UTC", "2026-02-28 00:00:00 UTC"},
		{"0 0 0 29 2 ?", "", "2026-03-01 00:00:00 UTC", "2028-02-29 00:00:00 UTC"},
		{"0 0 0 1 JAN ? 2030,2032", "", "2030-06-01 00:00:00 UTC", "2032-01-01 00:00:00 UTC"},
		{"0 0 13 * FRI", "", "2026-11-21 00:00:00 UTC", "2026-11-27 00:00:00 UTC"},
		{"0 0 0 13 * FRI", "", "2026-11-21 00:00:00 UTC", "2026-11-27 00:00:00 UTC"},
		{"0 0 8 * * ?", "Europe/Berlin", "2026-11-21 08:00:00 UTC", "2026-11-22 07:00:00 UTC"},
		{"0 30 2 * * ?", "Europe/Berlin", "2026-03-28 02:00:00 UTC", "2026-03-30 00:30:00 UTC"}, // 02:30 is left out on the 29th
		{"0 0 3 * * ?", "Europe/Berlin", "2026-10-24 12:00:00 UTC", "2026-10-25 02:00:00 UTC"},
		{"0 0 0 30 2 ?", "", "2026-03-01 00:00:00 UTC", "never"},
	} {
		after, err := time.Parse(layout, c.after)
		require.NoError(t, err)
		e, err := cron.Parse(c.text, c.zone)
		require.NoError(t, err, c.text)
		next := e.Next(after)
		if c.want == "never" {
			require.Zero(t, next, c.text)
			continue
		}
		require.Equal(t, c.want, next.UTC().Format(layout), c.text)
	}
}

func TestExpressionsThatAreNone(t *testing.T) {
	for text, want := range map[string]string{
		"": "0 fields", "* * *": "3 fields", "60 * * * *": `minute "60": want *, ?, a value from 0 to 59`, "* * * * X": `day of week "X"`,
		"0 5-2 * * *": `hour`, "*/0 * * * *": "minute", "0 0 2 15W * ?": `day of month "15W"`, "0 0 2 ? * 6#3": "day of week",
	} {
		_, err := cron.Parse(text, "")
		if text == "0 5-2 * * *" {
			require.ErrorContains(t, err, `hour "5-2"`)
			continue
		}
		require.ErrorContains(t, err, want, text)
	}
	_, err := cron.Parse("0 2 * * *", "Mars/Olympus")
	require.ErrorContains(t, err, `time zone "Mars/Olympus"`)
}
