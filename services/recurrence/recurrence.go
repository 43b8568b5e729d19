// Package recurrence works out when a series of sessions takes place: RFC 5545
// rules, extra dates and exceptions, in an IANA time zone whose wall clock holds
// across daylight saving. It does no I/O, and what it does is bounded for any input.
package recurrence

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Error says what is wrong with a Spec.
type Error struct {
	Field  string // field of the Spec as the API writes it, such as "rrule" or "exdates[2]"
	Part   string // part of the rule, such as "BYMONTHDAY"; empty outside a rule
	Reason string
}

// Error returns the part and the reason.
func (e *Error) Error() string {
	if e.Part == "" {
		return e.Reason
	}
	return e.Part + " " + e.Reason
}

func failed(part, format string, a ...any) *Error {
	return &Error{Part: part, Reason: fmt.Sprintf(format, a...)}
}

// in names the field that an error is about.
func in(field string, err error) error {
	var e *Error
	if errors.As(err, &e) {
		return &Error{Field: field, Part: e.Part, Reason: e.Reason}
	}
	return err
}

// Spec is a series as a caller writes it. Starts are local times in the zone.
type Spec struct {
	RRule    string // empty: only Start and RDates
	TimeZone string
	Start    string
	RDates   []string
	ExDates  []string
}

// Set is a series' set of occurrences.
type Set struct {
	Start time.Time // first start, floating (see Local)
	Zone  *time.Location

	rule    *rule
	rdates  []int64
	exdates map[int64]bool
}

// Occurrence is one start of a series.
type Occurrence struct {
	Local time.Time // floating wall clock that the series names
	Start time.Time // instant, UTC
	Index int       // 0 for the first of the series
}

// never is how far Parse looks for a first occurrence, years.
const never = 100

// Parse reads a series. It refuses one that has no occurrence at all.
func Parse(spec Spec) (*Set, error) {
	s := &Set{exdates: map[int64]bool{}}
	var err error
	if s.Zone, err = Zone(spec.TimeZone); err != nil {
		return nil, in("time_zone", err)
	}
	if s.Start, err = Local(spec.Start); err != nil {
		return nil, in("local_start", err)
	}
	for i, text := range spec.RDates {
		t, err := Local(text)
		if err != nil {
			return nil, in(fmt.Sprintf("rdates[%d]", i), err)
		}
		s.rdates = append(s.rdates, t.Unix())
	}
	for i, text := range spec.ExDates {
		t, err := Local(text)
		if err != nil {
			return nil, in(fmt.Sprintf("exdates[%d]", i), err)
		}
		s.exdates[t.Unix()] = true
	}
	if spec.RRule != "" {
		if s.rule, err = parseRule(spec.RRule); err != nil {
			return nil, in("rrule", err)
		}
		if err := s.occurs(s.rule); err != nil {
			return nil, in("rrule", err)
		}
	}
	return s, s.check()
}

// AtMostDaily reports whether the rule alone says that there is at most one occurrence a day.
func (s *Set) AtMostDaily() bool {
	return s.rule != nil && s.rule.freq <= daily && len(s.rule.hours)+len(s.rule.minutes)+len(s.rule.seconds) == 0
}

// occurs refuses a rule that never occurs, naming the part without which it would.
func (s *Set) occurs(r *rule) error {
	found, err := s.first(r)
	if err != nil || found {
		return err
	}
	if r.until.set {
		open := *r
		open.until, open.count = until{}, 1
		if found, err = s.first(&open); err != nil {
			return err
		} else if found {
			return failed("UNTIL", "is before the first occurrence")
		}
	}
	for _, part := range []struct {
		name  string
		given bool
		drop  func(*rule)
	}{
		{"BYMONTHDAY", len(r.monthDays) > 0, func(r *rule) { r.monthDays = nil }},
		{"BYYEARDAY", len(r.yearDays) > 0, func(r *rule) { r.yearDays = nil }},
		{"BYWEEKNO", len(r.weekNumbers) > 0, func(r *rule) { r.weekNumbers = nil }},
		{"BYSETPOS", len(r.positions) > 0, func(r *rule) { r.positions = nil }},
		{"BYDAY", len(r.weekdays) > 0, func(r *rule) { r.weekdays = nil }},
		{"BYMONTH", len(r.months) > 0, func(r *rule) { r.months = nil }},
		{"BYHOUR", len(r.hours) > 0, func(r *rule) { r.hours = nil }},
		{"BYMINUTE", len(r.minutes) > 0, func(r *rule) { r.minutes = nil }},
		{"BYSECOND", len(r.seconds) > 0, func(r *rule) { r.seconds = nil }},
		{"INTERVAL", r.interval > 1, func(r *rule) { r.interval = 1 }},
	} {
		if !part.given {
			continue
		}
		without := *r
		part.drop(&without)
		if found, err := s.first(&without); err == nil && found {
			return failed(part.name, "makes a rule that never occurs: no date has it together with the rest of the rule")
		}
	}
	return failed("RRULE", "never occurs: no date matches all of its parts")
}

// first tells whether a rule has an occurrence.
func (s *Set) first(r *rule) (bool, error) {
	found := false
	clock := clockwork{zone: s.Zone}
	_, err := expand(r, s.Start.Unix(), s.Start.AddDate(never, 0, 0).Unix(), func(at int64) bool {
		found = !r.until.before(at, &clock)
		return false
	})
	return found, err
}

// check refuses a set of which the exceptions leave nothing. Only finite sets can be
// so; each exception hides one occurrence at most.
func (s *Set) check() error {
	if len(s.exdates) == 0 {
		return nil
	}
	found := false
	if _, err := s.floating(s.Start.AddDate(never, 0, 0).Unix(), func(int64) bool {
		found = true
		return false
	}); err != nil {
		return in("rrule", err)
	}
	for _, at := range s.rdates {
		found = found || !s.exdates[at]
	}
	if !found {
		return in("exdates", failed("", "leave no occurrence of the series"))
	}
	return nil
}

// floating walks through the rule's occurrences before a floating limit, without
// extra dates and exceptions. It tells whether the rule has none after those.
func (s *Set) floating(limit int64, yield func(int64) bool) (bool, error) {
	if s.rule == nil {
		if at := s.Start.Unix(); at < limit {
			if !s.exdates[at] {
				yield(at)
			}
			return true, nil
		}
		return false, nil
	}
	clock := clockwork{zone: s.Zone}
	over := false
	ended, err := expand(s.rule, s.Start.Unix(), limit, func(at int64) bool {
		if s.rule.until.before(at, &clock) {
			over = true
			return false
		}
		return s.exdates[at] || yield(at)
	})
	return ended || over || s.rule.until.before(limit-reach, &clock), err
}

// before tells whether a floating time is past UNTIL.
func (u until) before(at int64, clock *clockwork) bool {
	if !u.set {
		return false
	}
	if u.utc {
		at = clock.instant(at)
	}
	return at > u.seconds
}

// reach is more than any zone's offset together with any gap, seconds.
const reach = 2 * secondsPerDay

// ErrTooMany is returned where more occurrences fall into a window than were asked for.
var ErrTooMany = errors.New("too many occurrences")

// Between returns the occurrences from one instant on and before another, soonest
// first, at most limit of them (else ErrTooMany). Of two that fall on one instant,
// because a zone skips one's wall clock, it returns the one that the clock shows.
// It tells whether the series has none from the second instant on.
func (s *Set) Between(from, to time.Time, limit int) (list []Occurrence, ended bool, err error) {
	clock := clockwork{zone: s.Zone}
	stop := to.Unix() + reach
	found := make([]Occurrence, 0, 64)
	index, inside := 0, 0
	ended, err = s.floating(stop, func(at int64) bool {
		o := Occurrence{Local: time.Unix(at, 0).UTC(), Start: time.Unix(clock.instant(at), 0).UTC()}
		if !o.Start.Before(from) && o.Start.Before(to) {
			inside++
		}
		found = append(found, o)
		return inside <= limit
	})
	if err != nil {
		return nil, false, in("rrule", err)
	}
	if inside > limit {
		return nil, false, ErrTooMany
	}
	for _, at := range s.rdates {
		if !s.exdates[at] {
			found = append(found, Occurrence{Local: time.Unix(at, 0).UTC(), Start: time.Unix(clock.instant(at), 0).UTC()})
		}
	}
	slices.SortFunc(found, func(a, b Occurrence) int {
		if c := a.Start.Compare(b.Start); c != 0 {
			return c
		}
		return -a.Local.Compare(b.Local) // what the clock shows is later than what it skips
	})
	found = slices.CompactFunc(found, func(a, b Occurrence) bool { return a.Start.Equal(b.Start) })
	for _, o := range found {
		o.Index = index
		index++
		if !o.Start.Before(to) {
			ended = false
			break
		}
		if !o.Start.Before(from) {
			if list = append(list, o); len(list) > limit {
				return nil, false, ErrTooMany
			}
		}
	}
	return list, ended, nil
}
