package index

import "time"

// offsets tells how far a zone's wall clock is ahead of UTC, over the time that sessions are planned for.
type offsets struct {
	until []int64 // the offset holds before this instant
	secs  []int64
}

func newOffsets(zone *time.Location, from time.Time, last int64) *offsets {
	o := &offsets{}
	for t := from; len(o.secs) < 1000; {
		_, end := t.In(zone).ZoneBounds()
		_, off := t.In(zone).Zone()
		o.secs = append(o.secs, int64(off))
		if end.IsZero() || end.Unix() > last {
			break
		}
		o.until = append(o.until, end.Unix())
		t = end
	}
	return o
}

func (o *offsets) at(unix int64) int64 {
	for i, end := range o.until {
		if unix < end {
			return o.secs[i]
		}
	}
	return o.secs[len(o.secs)-1]
}

// minute returns the minute of the week on the zone's wall clock.
func (o *offsets) minute(unix int64) int32 {
	return int32(((unix+o.at(unix))/60 + epochHour*60) % (week * 60))
}

// hours returns the hours of the week in UTC in which a session may start to be within the spans.
func (o *offsets) hours(spans []Span) (in [week]bool) {
	for _, off := range o.secs {
		for _, s := range spans {
			from, to := int64(s.From)*60-off, int64(s.To)*60-off // in seconds of a week
			for h := floor(from, 3600); h*3600 < to; h++ {
				in[((h%week)+week)%week] = true
			}
		}
	}
	return in
}

func floor(a, b int64) int64 {
	if a < 0 {
		return -((-a + b - 1) / b)
	}
	return a / b
}

// wallHours returns the hours of the week that the spans touch.
func wallHours(spans []Span) (in [week]bool) {
	for _, s := range spans {
		for h := s.From / 60; h*60 < s.To && h < week; h++ {
			in[h] = true
		}
	}
	return in
}
