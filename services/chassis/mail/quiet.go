package mail

import (
	"time"
)

// The hours in which nobody is written to who says nothing of her own.
const quietFrom, quietTo = "21:00", "08:00"

// QuietUntil returns when the quiet hours end in which now lies for a reader; false if it lies in none. from and to are "HH:MM"
// on the reader's wall clock; empty means the usual ones, from nine in the evening to eight in the morning.
func QuietUntil(from, to string, now time.Time, zone *time.Location) (time.Time, bool) {
	if from == "" && to == "" {
		from, to = quietFrom, quietTo
	}
	start, end := minutes(from), minutes(to)
	local := now.In(zone)
	at := local.Hour()*60 + local.Minute()
	if inside := start <= at && at < end || start > end && (start <= at || at < end); !inside {
		return time.Time{}, false
	}
	day := local.Day()
	if at >= end {
		day++
	}
	until := time.Date(local.Year(), local.Month(), day, end/60, end%60, 0, 0, zone).UTC()
	return until, until.After(now)
}

// minutes reads "22:00" as minutes after midnight.
func minutes(clock string) int {
	t, err := time.Parse("15:04", clock)
	if err != nil {
		return 0 // the contract has checked it
	}
	return t.Hour()*60 + t.Minute()
}
