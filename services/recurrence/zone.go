package recurrence

import (
	"math"
	"strings"
	"sync"
	"time"
)

// zones are those that were asked for, by name: reading one again would cost more than all else that is done with it. What is no
// zone is not remembered.
var zones sync.Map

// Zone finds an IANA time zone by name. It refuses the empty name and the machine's
// own zone.
func Zone(name string) (*time.Location, error) {
	if name == "" || strings.EqualFold(name, "Local") {
		return nil, failed("", "%q is no IANA time zone such as \"Europe/Berlin\"", name)
	}
	if known, ok := zones.Load(name); ok {
		return known.(*time.Location), nil //nolint:forcetypeassert // there is nothing else in it
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		return nil, failed("", "%q is no IANA time zone such as \"Europe/Berlin\"", name)
	}
	zones.Store(strings.Clone(name), zone)
	return zone, nil
}

// Local reads a local time without zone, "2027-03-04T19:00" or with seconds. A local
// time is floating: a time.Time in UTC that carries the wall clock's figures.
func Local(text string) (time.Time, error) {
	for _, layout := range []string{"2006-01-02T15:04", "2006-01-02T15:04:05"} {
		if len(text) != len(layout) {
			continue
		}
		if t, err := time.Parse(layout, text); err == nil && t.Year() >= 1900 {
			return t, nil
		}
	}
	return time.Time{}, failed("", "%q is no local time such as \"2027-03-04T19:00\" since 1900, without offset", text)
}

// FormatLocal writes a floating local time with seconds, "2027-03-04T19:00:00".
func FormatLocal(local time.Time) string { return local.Format("2006-01-02T15:04:05") }

// WallClock returns what a clock in the zone shows at an instant, as a floating time.
func WallClock(at time.Time, zone *time.Location) time.Time {
	_, offset := at.In(zone).Zone()
	return time.Unix(at.Unix()+int64(offset), 0).UTC()
}

// Instant returns when a clock in the zone shows the floating local time. A time that
// the zone skips is read with the offset before the gap; of a time that occurs twice
// it returns the first (RFC 5545 section 3.3.5).
func Instant(local time.Time, zone *time.Location) time.Time {
	c := clockwork{zone: zone}
	return time.Unix(c.instant(local.Unix()), 0).UTC()
}

// clockwork turns floating seconds into Unix seconds. It remembers the period of
// constant offset that it last met.
type clockwork struct {
	zone     *time.Location
	known    bool
	from, to int64 // Unix seconds of the period's ends
	offset   int64
}

// margin keeps the short way clear of transitions: none shifts by more than a day.
const margin = 2 * 86400

// instant is Instant over seconds.
func (c *clockwork) instant(local int64) int64 {
	if at := local - c.offset; c.known && at >= c.from+margin && at < c.to-margin {
		return at
	}
	c.enter(local - margin)
	for {
		if at := local - c.offset; at < c.to {
			return at
		}
		before, change := c.offset, c.to
		c.enter(change)
		if local-c.offset < change {
			return local - before // the change skips the time
		}
	}
}

// enter moves to the period that holds an instant.
func (c *clockwork) enter(at int64) {
	t := time.Unix(at, 0).In(c.zone)
	_, offset := t.Zone()
	from, to := t.ZoneBounds()
	c.known, c.offset, c.from, c.to = true, int64(offset), math.MinInt64/2, math.MaxInt64/2
	if !from.IsZero() {
		c.from = from.Unix()
	}
	if !to.IsZero() {
		c.to = to.Unix()
	}
}
