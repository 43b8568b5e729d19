// Package recurrence works out when a series of sessions takes place: RFC 5545
// rules, extra dates and exceptions, in an IANA time zone whose wall clock holds
// across daylight saving. It does no I/O, and what it does is bounded for any input.
package recurrence

import (
	"cmp"
	"errors"
	"fmt"
	"math"
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
	RRule    string   // empty: only Start and RDates
	Further  []string // more rules: what any of them gives
	TimeZone string
	Start    string
	RDates   []string
	ExDates  []string

	// Loose reads, to look at, what no calendar could keep: a rule more often than daily without an end, exceptions that leave nothing.
	Loose bool
}

// Set is a series' set of occurrences.
type Set struct {
	Start time.Time // first start, floating (see Local)
	Zone  *time.Location

	rules   []*rule
	rdates  []int64
	exdates []int64 // in order
}

// Occurrence is one start of a series.
type Occurrence struct {
	local, at int64 // seconds: floating, and of the instant
	Index     int   // 0 for the first of the series
}

// Local returns the floating wall clock that the series names.
func (o Occurrence) Local() time.Time { return time.Unix(o.local, 0).UTC() }

// Start returns the instant, UTC.
func (o Occurrence) Start() time.Time { return time.Unix(o.at, 0).UTC() }

// never is how far Parse looks for a first occurrence, years.
const never = 100

// Parse reads a series. It refuses one that has no occurrence at all.
func Parse(spec Spec) (*Set, error) {
	s := &Set{}
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
		s.exdates = append(s.exdates, t.Unix())
	}
	slices.Sort(s.exdates)
	if spec.RRule != "" {
		if err := s.addRule(spec.RRule, spec.Loose); err != nil {
			return nil, in("rrule", err)
		}
	}
	for i, text := range spec.Further {
		if spec.RRule == "" {
			return nil, in("rrule", failed("", "is needed beside further rules"))
		}
		if err := s.addRule(text, spec.Loose); err != nil {
			return nil, in(fmt.Sprintf("further_rrules[%d]", i), err)
		}
	}
	if spec.Loose {
		return s, nil
	}
	return s, s.check()
}

func (s *Set) addRule(text string, loose bool) error {
	r, err := parseRule(text)
	if err != nil {
		return err
	}
	if !loose && r.freq >= hourly && r.count == 0 && !r.until.set {
		return failed("FREQ", "more often than daily needs COUNT or UNTIL")
	}
	s.rules = append(s.rules, r)
	return s.occurs(r)
}

// excluded tells whether a floating start is an exception.
func (s *Set) excluded(at int64) bool {
	if len(s.exdates) == 0 {
		return false
	}
	_, found := slices.BinarySearch(s.exdates, at)
	return found
}

// AtMostDaily reports whether the rule alone says that there is at most one occurrence a day.
func (s *Set) AtMostDaily() bool {
	if len(s.rules) != 1 {
		return false
	}
	r := s.rules[0]
	return r.freq <= daily && len(r.hours)+len(r.minutes)+len(r.seconds) == 0
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
	var room [4]start
	q := search{since: math.MinInt64, before: math.MaxInt64, most: 0, found: room[:]}
	_, err := expand(r, s.Start.Unix(), s.Start.AddDate(never, 0, 0).Unix(), s.Zone, &q)
	return q.n > 0, err
}

// check refuses a set of which the exceptions leave nothing. Only finite sets can be
// so; each exception hides one occurrence at most.
func (s *Set) check() error {
	if len(s.exdates) == 0 || slices.ContainsFunc(s.rdates, func(at int64) bool { return !s.excluded(at) }) {
		return nil
	}
	q := search{since: math.MinInt64, before: math.MaxInt64, most: 0, exdates: s.exdates}
	_, err := s.expand(s.Start.AddDate(never, 0, 0).Unix(), &q)
	if err == nil && q.n == 0 {
		err = in("exdates", failed("", "leave no occurrence of the series"))
	}
	return err
}

// expand searches through the rules before a floating limit. It tells whether they have nothing after those.
func (s *Set) expand(limit int64, q *search) (ended bool, err error) {
	if len(s.rules) == 0 {
		at := s.Start.Unix()
		if at < limit {
			clock := clockFor(s.Zone)
			q.add(at, &clock)
		}
		return at < limit, nil
	}
	ended = true
	for i, r := range s.rules {
		q.inside = 0
		over, err := expand(r, s.Start.Unix(), limit, s.Zone, q)
		if err != nil && i > 0 {
			return false, in(fmt.Sprintf("further_rrules[%d]", i-1), err)
		}
		if err != nil {
			return false, in("rrule", err)
		}
		ended = ended && over
	}
	return ended, nil
}

// before tells whether a floating time is past UNTIL.
func (u until) before(at int64, clock *clockwork) bool {
	if !u.set {
		return false
	}
	if u.utc && at > u.seconds-reach && at < u.seconds+reach {
		at = clock.instant(at)
	}
	return at > u.seconds
}

// ends tells whether UNTIL is before a floating limit, at which no instant before that other one is left.
func (u until) ends(limit, before int64) bool {
	if u.utc {
		limit = before
	}
	return u.set && u.seconds < limit
}

// reach is more than any zone's offset together with any gap, seconds.
const reach = 2 * secondsPerDay

// beyond returns the floating time from which no time is before the instant: it has the greatest offset of the days round it.
func beyond(before int64, zone *time.Location) int64 {
	clock := clockFor(zone)
	clock.enter(before - reach)
	most := clock.offset
	for clock.to <= before+reach {
		clock.enter(clock.to)
		most = max(most, clock.offset)
	}
	return before + most
}

// ErrTooMany is returned where more occurrences fall into a window than were asked for.
var ErrTooMany = errors.New("too many occurrences")

// Between returns the occurrences from one instant on and before another, soonest
// first, at most limit of them (else ErrTooMany). Of two that fall on one instant,
// because a zone skips one's wall clock, it returns the one that the clock shows.
// It tells whether the series has none from the second instant on.
func (s *Set) Between(from, to time.Time, limit int) (list []Occurrence, ended bool, err error) {
	list, more, err := s.First(from, to, limit)
	switch {
	case err != nil:
		return nil, false, err
	case more == MoreInside:
		return nil, false, ErrTooMany
	}
	return list, more == none, nil
}

// More says what a series has beyond the occurrences that were returned.
type More int

// What there may be.
const (
	none       More = iota // nothing
	moreAfter              // occurrences after the time that was asked for
	MoreInside             // occurrences within that time
)

// Any tells whether the series goes on.
func (m More) Any() bool { return m != none }

// First is Between for the first occurrences, at most limit of them, however many there are.
func (s *Set) First(from, to time.Time, limit int) ([]Occurrence, More, error) {
	var few [64]start
	found, index, more, err := s.search(from, to, limit, few[:])
	if err != nil {
		return nil, none, err
	}
	list := make([]Occurrence, len(found))
	for i, o := range found {
		list[i] = Occurrence{o.local, o.at, index + i}
	}
	return list, more, nil
}

// End is the end of the calendar: no series goes on after the year 9999.
func End() time.Time { return time.Unix((lastDay+1)*secondsPerDay, 0).UTC() }

// search returns the first occurrences from one instant on and before another, and the place of the first of them in the series. It
// may use room for them.
func (s *Set) search(from, to time.Time, limit int, room []start) (found []start, index int, more More, err error) {
	q := search{since: from.Unix(), before: to.Unix(), most: limit, exdates: s.exdates, found: room}
	if from.Nanosecond() > 0 {
		q.since++
	}
	if to.Nanosecond() > 0 {
		q.before++
	}
	ended, err := s.expand(beyond(q.before, s.Zone), &q)
	if err != nil {
		return nil, 0, none, err
	}
	found = q.found[:q.n]
	if len(s.rdates) > 0 {
		clock := clockFor(s.Zone)
		for _, local := range s.rdates {
			if !s.excluded(local) {
				found = append(found, start{local, clock.instant(local)})
			}
		}
	}
	if !increasing(found) {
		slices.SortFunc(found, sooner)
		found = slices.CompactFunc(found, func(a, b start) bool { return a.at == b.at })
	}
	for index < len(found) && found[index].at < q.since {
		index++
	}
	stop := len(found)
	for stop > index && found[stop-1].at >= q.before {
		stop--
	}
	switch {
	case stop-index > limit:
		return found[index : index+limit], index, MoreInside, nil
	case stop < len(found) || !ended:
		more = moreAfter
	}
	return found[index:stop], index, more, nil
}

// increasing tells whether each is later than the one before.
func increasing(list []start) bool {
	for i := 1; i < len(list); i++ {
		if list[i].at <= list[i-1].at {
			return false
		}
	}
	return true
}

// sooner orders starts by their instants; what the clock shows is before what it skips.
func sooner(a, b start) int {
	if a.at != b.at {
		return cmp.Compare(a.at, b.at)
	}
	return cmp.Compare(b.local, a.local)
}
