package recurrence

import (
	"math"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	_ "time/tzdata" // zones are there on every machine
)

// zones are those that were asked for, by name: reading one again would cost more than all else that is done with it. What is no
// zone is not remembered, nor are more than keptZones. periods are the same zones' periods of constant offset, by zone, from the
// year 1900 to the year 2100.
var (
	zones, periods sync.Map
	kept           atomic.Int32
)

// keptZones is more than there are names of zones.
const keptZones = 1000

// zoneName is the form of the names in the IANA database. package time takes a name for a file's path, by which one zone has
// names without end.
var zoneName = regexp.MustCompile(`^[A-Z][A-Za-z0-9_+-]*(/[A-Z][A-Za-z0-9_+-]*)*$`)

// Zone finds an IANA time zone by name, such as "Europe/Berlin" or the link "US/Eastern". It refuses the empty name, the
// machine's own zone, and paths to files that are no names.
func Zone(name string) (*time.Location, error) {
	if known, ok := zones.Load(name); ok {
		return known.(*time.Location), nil //nolint:forcetypeassert // there is nothing else in it
	}
	if name == "Local" || name == "Factory" || len(name) > 64 || !zoneName.MatchString(name) {
		return nil, failed("", "%q is no IANA time zone such as \"Europe/Berlin\"", name)
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		return nil, failed("", "%q is no IANA time zone such as \"Europe/Berlin\"", name)
	}
	if kept.Add(1) > keptZones {
		kept.Add(-1)
		return zone, nil
	}
	list := periodsOf(zone)
	if first, late := zones.LoadOrStore(strings.Clone(name), zone); late {
		kept.Add(-1)
		return first.(*time.Location), nil //nolint:forcetypeassert // there is nothing else in it
	}
	periods.Store(zone, list)
	return zone, nil
}

// period is a time in which a zone has one offset, in Unix seconds.
type period struct{ from, to, offset int64 }

func periodsOf(zone *time.Location) []period {
	var list []period
	for at := time.Date(1900, 1, 1, 0, 0, 0, 0, time.UTC).Unix(); at < time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC).Unix(); {
		p := periodAt(at, zone)
		if n := len(list); n > 0 && list[n-1].offset == p.offset {
			list[n-1].to = p.to
		} else {
			list = append(list, p)
		}
		at = p.to
	}
	return list
}

// periodAt returns a period that holds an instant. The offset may stay as it is where the period ends.
func periodAt(at int64, zone *time.Location) period {
	t := time.Unix(at, 0).In(zone)
	_, offset := t.Zone()
	from, to := t.ZoneBounds()
	p := period{math.MinInt64 / 2, math.MaxInt64 / 2, int64(offset)}
	if !from.IsZero() {
		p.from = from.Unix()
	}
	if !to.IsZero() {
		p.to = to.Unix()
	}
	if p.to <= at { // package time ends leap years a day early where it goes by a zone's rule
		p.to = at + secondsPerDay
	}
	return p
}

// Offsets returns the instants, from one that is not after first to the last that is not after last, at which the zone takes another
// offset. The first is where the offset of first began, zero if it was always so.
func Offsets(zone *time.Location, first, last time.Time) []time.Time {
	clock := clockFor(zone)
	clock.enter(first.Unix())
	list := []time.Time{{}}
	if clock.from > math.MinInt64/2 {
		list[0] = time.Unix(clock.from, 0).UTC()
	}
	for clock.to <= last.Unix() {
		change, before := clock.to, clock.offset
		clock.enter(change)
		if clock.offset != before {
			list = append(list, time.Unix(change, 0).UTC())
		}
	}
	return list
}

// Plain tells whether a clock in the zone shows the local time once, at that instant: it is neither skipped nor does it come twice.
func Plain(local, at time.Time, zone *time.Location) bool {
	if !WallClock(at, zone).Equal(local) {
		return false
	}
	_, offset := at.In(zone).Zone()
	for _, d := range []time.Duration{-24 * time.Hour, 24 * time.Hour} {
		_, other := at.Add(d).In(zone).Zone()
		if twin := at.Add(time.Duration(offset-other) * time.Second); other != offset && WallClock(twin, zone).Equal(local) {
			return false
		}
	}
	return true
}

// Local reads a local time without zone, "2027-03-04T19:00" or with seconds. A local
// time is floating: a time.Time in UTC that carries the wall clock's figures.
func Local(text string) (time.Time, error) {
	figures := func(from, to int) int { // at those places, or -1
		n := 0
		for _, c := range []byte(text[from:to]) {
			if c < '0' || c > '9' {
				return -1
			}
			n = 10*n + int(c-'0')
		}
		return n
	}
	long := len(text) == len("2006-01-02T15:04:05")
	if (long && text[16] == ':' || len(text) == len("2006-01-02T15:04")) && text[4] == '-' && text[7] == '-' && text[10] == 'T' && text[13] == ':' {
		year, month, day, hour, minute, second := figures(0, 4), figures(5, 7), figures(8, 10), figures(11, 13), figures(14, 16), 0
		if long {
			second = figures(17, 19)
		}
		if year >= 1900 && month >= 1 && month <= 12 && day >= 1 && day <= monthLength(year, month) &&
			hour >= 0 && hour < 24 && minute >= 0 && minute < 60 && second >= 0 && second < 60 {
			return time.Unix(int64(daysOf(year, month, day))*secondsPerDay+int64(hour*3600+minute*60+second), 0).UTC(), nil
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
	c := clockFor(zone)
	return time.Unix(c.instant(local.Unix()), 0).UTC()
}

// clockwork turns floating seconds into Unix seconds. It remembers the period of
// constant offset that it last met.
type clockwork struct {
	period
	zone *time.Location
	list []period // that are known of the zone
	i    int      // the one that holds, if any
	gap  bool     // the last time that it turned is one that the zone skips
}

func clockFor(zone *time.Location) clockwork {
	c := clockwork{zone: zone, i: -1, period: period{from: 1, to: 0}}
	if known, ok := periods.Load(zone); ok {
		c.list = known.([]period) //nolint:forcetypeassert // there is nothing else in it
	}
	return c
}

// margin keeps the short way clear of transitions: none shifts by more than a day.
const margin = 2 * 86400

// instant is Instant over seconds.
func (c *clockwork) instant(local int64) int64 {
	if at := local - c.offset; at >= c.from+margin && at < c.to-margin {
		c.gap = false
		return at
	}
	return c.search(local)
}

// search is instant where the period is another, or its end is near.
func (c *clockwork) search(local int64) int64 {
	c.gap = false
	c.enter(local - margin)
	for {
		if at := local - c.offset; at < c.to {
			return at
		}
		before, change := c.offset, c.to
		c.enter(change)
		if local-c.offset < change {
			c.gap = true
			return local - before // the change skips the time
		}
	}
}

// enter moves to the period that holds an instant.
func (c *clockwork) enter(at int64) {
	if at >= c.from && at < c.to {
		return
	}
	if i := c.i + 1; i < len(c.list) && at >= c.list[i].from && at < c.list[i].to {
		c.i, c.period = i, c.list[i]
		return
	}
	i, found := slices.BinarySearchFunc(c.list, at, func(p period, at int64) int {
		switch {
		case p.to <= at:
			return -1
		case p.from > at:
			return 1
		}
		return 0
	})
	if found {
		c.i, c.period = i, c.list[i]
		return
	}
	c.period = periodAt(at, c.zone)
}
