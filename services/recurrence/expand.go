package recurrence

import (
	"math/bits"
	"slices"
	"time"
)

// budget bounds the work of one expansion: a date or time looked at costs 1, an occurrence that was not asked for costs
// perOccurrence. Those that were asked for are bounded by how many were. It is enough to look at each day up to the last.
const (
	budget        = 3_000_000
	perOccurrence = 20
	perYear       = 20
)

// lastDay is the last day that an expansion looks at: the end of the year 9999.
const lastDay = 2932896

// start is an occurrence in seconds.
type start struct{ local, at int64 }

// search says which occurrences an expansion finds: those from one instant on and before another, and others of which it does
// not know whether they are. It ends when there are more than most.
type search struct {
	since, before int64
	most          int
	exdates       []int64 // floating, in order

	found  []start // by local time
	n      int     // of found
	inside int     // of those, how many are in the time and at a time that the clock shows
}

// add adds an occurrence, and tells whether more are wanted.
func (s *search) add(local int64, clock *clockwork) bool {
	if len(s.exdates) > 0 {
		if _, is := slices.BinarySearch(s.exdates, local); is {
			return true
		}
	}
	at := clock.instant(local)
	if s.n == len(s.found) {
		more := make([]start, max(128, 2*len(s.found)))
		copy(more, s.found)
		s.found = more
	}
	s.found[s.n] = start{local, at}
	s.n++
	if at >= s.since && at < s.before && !clock.gap { // what is skipped may come later than what follows, and together with another
		s.inside++
	}
	return s.inside <= s.most
}

// expansion walks through the occurrences of a rule in floating time.
type expansion struct {
	rule    rule // with what RFC 5545 takes from the start filled in
	limits  limits
	start   int64
	startAt date
	startOn int     // day number of the start
	second  int64   // of the day, at which it starts
	times   []int64 // seconds of the day, where the rule is daily or rarer; nil: only at the second of the start
	limit   int64   // floating seconds from which it need not look
	work    int
	left    int  // of COUNT; negative: without end
	past    bool // it has come to UNTIL
	clock   clockwork

	picked []int // of a period, by BYSETPOS
}

// expand finds the occurrences from start on and before limit, in order and in floating seconds. A rule whose expansion costs
// too much is an error that names FREQ. It tells whether COUNT or UNTIL ended it.
func expand(r *rule, start, limit int64, zone *time.Location, s *search) (ended bool, err error) {
	day := int(floorDiv64(start, secondsPerDay))
	e := &expansion{
		rule: *r, start: start, startAt: dateOf(day), startOn: day, second: start - int64(day)*secondsPerDay,
		limits: limitsOf(r), limit: min(limit, (lastDay+1)*secondsPerDay), left: -1, clock: clockFor(zone),
	}
	if r.count > 0 {
		e.left = r.count
	}
	e.fill()
	switch r.freq {
	case yearly:
		e.years(s)
	case monthly:
		e.months(s)
	case weekly:
		e.weeks(s)
	case daily:
		e.everyDay(s)
	default:
		e.dayByDay(s)
	}
	if e.work > budget {
		return false, failed("FREQ", "makes a rule that costs too much to follow; use a rarer FREQ")
	}
	return e.left == 0 || e.past || r.until.ends(limit, s.before), nil
}

// fill takes from the start what the rule leaves out (RFC 5545 section 3.3.10).
func (e *expansion) fill() {
	r, l := &e.rule, &e.limits
	if len(r.yearDays)+len(r.monthDays)+len(r.weekdays) == 0 {
		switch {
		case len(r.weekNumbers) > 0 || r.freq == weekly:
			l.weekdays = 1 << weekdayOf(e.startOn)
		case r.freq == yearly && len(r.months) == 0:
			l.months, l.days = 1<<e.startAt.month, 1<<e.startAt.day
		case r.freq == yearly || r.freq == monthly:
			l.days = 1 << e.startAt.day
		}
	}
	second := int(e.second)
	if r.freq < hourly && len(r.hours)+len(r.minutes)+len(r.seconds) == 0 {
		return
	}
	if len(r.hours) == 0 && r.freq < hourly {
		r.hours = []int{second / 3600}
	}
	if len(r.minutes) == 0 && r.freq < minutely {
		r.minutes = []int{second / 60 % 60}
	}
	if len(r.seconds) == 0 && r.freq < secondly {
		r.seconds = []int{second % 60}
	}
	if r.freq < hourly {
		for _, h := range r.hours {
			for _, m := range r.minutes {
				for _, sec := range r.seconds {
					e.times = append(e.times, int64(h*3600+m*60+sec))
				}
			}
		}
	}
}

// more tells whether the period that begins with the day is to be looked at, at that cost.
func (e *expansion) more(day, cost int) bool {
	e.work += cost
	return int64(day)*secondsPerDay < e.limit && e.work <= budget
}

func (e *expansion) years(s *search) {
	var days [366]int64
	for year := e.startAt.year; ; year += e.rule.interval {
		first := daysOf(year, 1, 1)
		if !e.more(first, perYear) {
			return
		}
		set, n := e.limits.inYear(&e.rule, year, first, yearLength(year)), 0
		for i, word := range set {
			for ; word != 0; word &= word - 1 {
				days[n] = int64(first+i<<6+bits.TrailingZeros64(word)) * secondsPerDay
				n++
			}
		}
		if !e.emitDays(days[:n], s) {
			return
		}
	}
}

func (e *expansion) months(s *search) {
	var days [31]int64
	year, month := e.startAt.year, e.startAt.month
	for {
		first := daysOf(year, month, 1)
		if !e.more(first, 1) {
			return
		}
		if m := e.limits.months; m == 0 || m>>month&1 == 1 {
			n := 0
			for set := e.limits.inMonth(weekdayOf(first), monthLength(year, month), true); set != 0; set &= set - 1 {
				days[n] = int64(first+bits.TrailingZeros32(set)) * secondsPerDay
				n++
			}
			if !e.emitDays(days[:n], s) {
				return
			}
		}
		month += e.rule.interval
		year, month = year+(month-1)/12, (month-1)%12+1
	}
}

func (e *expansion) weeks(s *search) {
	r := &e.rule
	var within [7]int
	var days [7]int64
	on := 0
	for i := range 7 {
		if day := (r.weekFrom + i) % 7; e.limits.weekdays>>day&1 == 1 {
			within[on] = i
			on++
		}
	}
	for first := e.startOn - floorMod(weekdayOf(e.startOn)-r.weekFrom, 7); e.more(first, 1); first += 7 * r.interval {
		n := 0
		for _, i := range within[:on] {
			if e.limits.months == 0 || e.limits.months>>dateOf(first+i).month&1 == 1 {
				days[n] = int64(first+i) * secondsPerDay
				n++
			}
		}
		if !e.emitDays(days[:n], s) {
			return
		}
	}
}

func (e *expansion) everyDay(s *search) {
	var days [1]int64
	for day := e.startOn; e.more(day, 1); day += e.rule.interval {
		if !e.limits.has(day) {
			continue
		}
		days[0] = int64(day) * secondsPerDay
		if !e.emitDays(days[:], s) {
			return
		}
	}
}

// dayByDay walks through hours, minutes or seconds: a day that does not match costs
// one step.
func (e *expansion) dayByDay(s *search) {
	r := &e.rule
	unit := map[frequency]int{hourly: 3600, minutely: 60, secondly: 1}[r.freq]
	hours, minutes, seconds := setOf(r.hours), setOf(r.minutes), setOf(r.seconds)
	perDay := secondsPerDay / unit
	origin := int(floorDiv64(e.start, int64(unit)))
	for day := e.startOn; e.more(day, 1); day++ {
		if !e.limits.has(day) {
			continue
		}
		from := max(day*perDay, origin)
		from += floorMod(origin-from, r.interval) // the next one in step
		for at := from; at < (day+1)*perDay && e.work <= budget; at += r.interval {
			e.work++
			second := (at - day*perDay) * unit
			if hours>>(second/3600)&1 == 0 || r.freq >= minutely && minutes>>(second/60%60)&1 == 0 ||
				r.freq == secondly && seconds>>(second%60)&1 == 0 {
				continue
			}
			base := int64(at) * int64(unit)
			n, each := 1, max(1, len(r.seconds))
			switch r.freq {
			case hourly:
				n = len(r.minutes) * each
			case minutely:
				n = each
			}
			if !e.emit(n, func(i int) int64 {
				switch r.freq {
				case hourly:
					return base + int64(r.minutes[i/each]*60+r.seconds[i%each])
				case minutely:
					return base + int64(r.seconds[i])
				}
				return base
			}, s) {
				return
			}
		}
	}
}

// setOf returns the values as bits; all of them where none is given.
func setOf(values []int) uint64 {
	if len(values) == 0 {
		return ^uint64(0)
	}
	var set uint64
	for _, v := range values {
		set |= 1 << v
	}
	return set
}

// emitDays emits the times of a period's days, or of BYSETPOS those that it chooses.
func (e *expansion) emitDays(days []int64, s *search) bool {
	switch n := len(e.times); {
	case len(e.rule.positions) > 0 && n == 0:
		return e.emit(len(days), func(i int) int64 { return days[i] + e.second }, s)
	case len(e.rule.positions) > 0:
		return e.emit(len(days)*n, func(i int) int64 { return days[i/n] + e.times[i%n] }, s)
	case n == 0:
		for _, d := range days {
			if !e.one(d+e.second, s) {
				return false
			}
		}
	default:
		for _, d := range days {
			for _, t := range e.times {
				e.work++
				if !e.one(d+t, s) {
					return false
				}
			}
		}
	}
	return true
}

// emit emits a period's set of n, in order, thinned by BYSETPOS.
func (e *expansion) emit(n int, at func(i int) int64, s *search) bool {
	if len(e.rule.positions) == 0 {
		for i := range n {
			if !e.one(at(i), s) {
				return false
			}
		}
		return true
	}
	picked := e.picked[:0]
	for _, p := range e.rule.positions {
		e.work++
		if p < 0 {
			p += n + 1
		}
		if p >= 1 && p <= n {
			picked = append(picked, p-1)
		}
	}
	e.picked = picked
	slices.Sort(picked)
	for _, i := range slices.Compact(picked) {
		if !e.one(at(i), s) {
			return false
		}
	}
	return true
}

// one emits an occurrence, unless it is before the start.
func (e *expansion) one(at int64, s *search) bool {
	if at < e.start {
		return true
	}
	if at >= e.limit {
		return false
	}
	if e.left > 0 {
		e.left--
	}
	if e.rule.until.set && e.rule.until.before(at, &e.clock) {
		e.past = true
		return false
	}
	inside := s.inside
	more := s.add(at, &e.clock)
	if s.inside == inside {
		e.work += perOccurrence
	}
	return more && e.left != 0 && e.work <= budget
}

func floorDiv64(a, b int64) int64 {
	q := a / b
	if a%b != 0 && a < 0 {
		q--
	}
	return q
}
