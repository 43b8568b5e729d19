package recurrence

import "slices"

// budget bounds the work of one expansion: a date or time looked at costs 1, an
// occurrence costs perOccurrence.
const (
	budget        = 2_000_000
	perOccurrence = 20
)

// lastDay is the last day that an expansion looks at: the end of the year 9999.
const lastDay = 2932896

// expansion walks through the occurrences of a rule in floating time.
type expansion struct {
	rule    rule // with what RFC 5545 takes from the start filled in
	start   int64
	startAt date
	startOn int   // day number of the start
	times   []int // seconds of the day, where the rule is daily or rarer
	limit   int64 // floating seconds from which it need not look
	work    int
	left    int // of COUNT; negative: without end
	yield   func(int64) bool
}

// expand calls yield with each occurrence from start on and before limit, in order
// and in floating seconds, until yield returns false. A rule whose expansion costs
// too much is an error that names FREQ. It tells whether COUNT or the calendar ended it.
func expand(r *rule, start, limit int64, yield func(int64) bool) (ended bool, err error) {
	day := int(floorDiv64(start, secondsPerDay))
	e := &expansion{rule: *r, start: start, startAt: dateOf(day), startOn: day, limit: limit, left: -1, yield: yield}
	if r.count > 0 {
		e.left = r.count
	}
	e.fill()
	switch r.freq {
	case yearly, monthly, weekly, daily:
		e.periods()
	default:
		e.clock()
	}
	if e.work > budget {
		return false, failed("FREQ", "makes a rule that costs too much to follow; use a rarer FREQ")
	}
	return e.left == 0, nil
}

// fill takes from the start what the rule leaves out (RFC 5545 section 3.3.10).
func (e *expansion) fill() {
	r := &e.rule
	second := int(e.start - int64(e.startOn)*secondsPerDay)
	if len(r.weekNumbers)+len(r.yearDays)+len(r.monthDays)+len(r.weekdays) == 0 {
		switch r.freq {
		case yearly:
			if len(r.months) == 0 {
				r.months = []int{e.startAt.month}
			}
			r.monthDays = []int{e.startAt.day}
		case monthly:
			r.monthDays = []int{e.startAt.day}
		case weekly:
			r.weekdays = []weekday{{day: weekdayOf(e.startOn)}}
		}
	} else if len(r.weekNumbers) > 0 && len(r.yearDays)+len(r.monthDays)+len(r.weekdays) == 0 {
		r.weekdays = []weekday{{day: weekdayOf(e.startOn)}}
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
				for _, s := range r.seconds {
					e.times = append(e.times, h*3600+m*60+s)
				}
			}
		}
	}
}

// periods walks through years, months, weeks or days.
func (e *expansion) periods() {
	r := &e.rule
	var days []int
	year, month, first := e.startAt.year, e.startAt.month, e.startOn
	if r.freq == weekly {
		first -= floorMod(weekdayOf(first)-r.weekFrom, 7)
	}
	for {
		length := 1
		switch r.freq {
		case yearly:
			first, length = daysOf(year, 1, 1), yearLength(year)
		case monthly:
			first, length = daysOf(year, month, 1), monthLength(year, month)
		case weekly:
			length = 7
		}
		if int64(first)*secondsPerDay >= e.limit || first > lastDay || e.work > budget {
			return
		}
		days = days[:0]
		e.work += 1 + length
		for d := first; d < first+length; d++ {
			if e.matches(d) {
				days = append(days, d)
			}
		}
		if len(days) > 0 && !e.emitDays(days) {
			return
		}
		switch r.freq {
		case yearly:
			year += r.interval
		case monthly:
			month += r.interval
			year, month = year+(month-1)/12, (month-1)%12+1
		case weekly:
			first += 7 * r.interval
		default:
			first += r.interval
		}
	}
}

// clock walks through hours, minutes or seconds, day by day: a day that does not
// match costs one step.
func (e *expansion) clock() {
	r := &e.rule
	unit := map[frequency]int{hourly: 3600, minutely: 60, secondly: 1}[r.freq]
	perDay := secondsPerDay / unit
	origin := int(floorDiv64(e.start, int64(unit)))
	var set []int64
	for day := e.startOn; int64(day)*secondsPerDay < e.limit && e.work <= budget; day++ {
		e.work++
		if !e.matches(day) {
			continue
		}
		from := max(day*perDay, origin)
		from += floorMod(origin-from, r.interval) // the next one in step
		for at := from; at < (day+1)*perDay && e.work <= budget; at += r.interval {
			e.work++
			second := (at - day*perDay) * unit
			if !holds(r.hours, second/3600) || r.freq >= minutely && !holds(r.minutes, second/60%60) ||
				r.freq == secondly && !holds(r.seconds, second%60) {
				continue
			}
			base := int64(at) * int64(unit)
			set = set[:0]
			switch r.freq {
			case hourly:
				for _, m := range r.minutes {
					for _, s := range r.seconds {
						set = append(set, base+int64(m*60+s))
					}
				}
			case minutely:
				for _, s := range r.seconds {
					set = append(set, base+int64(s))
				}
			default:
				set = append(set, base)
			}
			if !e.emit(set) {
				return
			}
		}
	}
}

// emitDays emits the times of a period's days.
func (e *expansion) emitDays(days []int) bool {
	if len(e.rule.positions) > 0 {
		set := make([]int64, 0, len(days)*len(e.times))
		for _, d := range days {
			for _, t := range e.times {
				set = append(set, int64(d)*secondsPerDay+int64(t))
			}
		}
		e.work += len(set)
		return e.emit(set)
	}
	for _, d := range days {
		for _, t := range e.times {
			e.work++
			if !e.one(int64(d)*secondsPerDay + int64(t)) {
				return false
			}
		}
	}
	return e.work <= budget
}

// emit emits a period's set, in order, thinned by BYSETPOS.
func (e *expansion) emit(set []int64) bool {
	if len(e.rule.positions) == 0 {
		for _, at := range set {
			if !e.one(at) {
				return false
			}
		}
		return true
	}
	var picked []int64
	for _, p := range e.rule.positions {
		if p < 0 {
			p += len(set) + 1
		}
		if p >= 1 && p <= len(set) {
			picked = append(picked, set[p-1])
		}
	}
	slices.Sort(picked)
	for _, at := range slices.Compact(picked) {
		if !e.one(at) {
			return false
		}
	}
	return true
}

// one emits an occurrence, unless it is before the start.
func (e *expansion) one(at int64) bool {
	if at < e.start {
		return true
	}
	if at >= e.limit {
		return false
	}
	if e.left > 0 {
		e.left--
	}
	e.work += perOccurrence
	return e.yield(at) && e.left != 0 && e.work <= budget
}

// matches tells whether a day is in the rule's BYMONTH, BYMONTHDAY, BYYEARDAY,
// BYWEEKNO and BYDAY.
func (e *expansion) matches(day int) bool {
	r := &e.rule
	if len(r.months)+len(r.monthDays)+len(r.yearDays)+len(r.weekNumbers) == 0 && r.freq > monthly {
		return len(r.weekdays) == 0 || slices.Contains(r.weekdays, weekday{day: weekdayOf(day)})
	}
	d := dateOf(day)
	if !holds(r.months, d.month) {
		return false
	}
	length := monthLength(d.year, d.month)
	if len(r.monthDays) > 0 && !slices.Contains(r.monthDays, d.day) && !slices.Contains(r.monthDays, d.day-length-1) {
		return false
	}
	if len(r.yearDays) > 0 {
		ofYear := day - daysOf(d.year, 1, 1) + 1
		if !slices.Contains(r.yearDays, ofYear) && !slices.Contains(r.yearDays, ofYear-yearLength(d.year)-1) {
			return false
		}
	}
	if len(r.weekNumbers) > 0 && !e.inWeek(day, d.year) {
		return false
	}
	return len(r.weekdays) == 0 || e.onWeekday(day, d, length)
}

// inWeek tells whether a day's week is one of BYWEEKNO.
func (e *expansion) inWeek(day, year int) bool {
	from := e.rule.weekFrom
	if day < firstWeek(year, from) {
		year--
	} else if day >= firstWeek(year+1, from) {
		year++
	}
	first := firstWeek(year, from)
	number := (day-first)/7 + 1
	weeks := (firstWeek(year+1, from) - first) / 7
	return slices.Contains(e.rule.weekNumbers, number) || slices.Contains(e.rule.weekNumbers, number-weeks-1)
}

// onWeekday tells whether a day is one of BYDAY: of the month where the rule is
// monthly or has BYMONTH, else of the year.
func (e *expansion) onWeekday(day int, d date, monthDays int) bool {
	on := weekdayOf(day)
	place, length := d.day, monthDays
	if e.rule.freq == yearly && len(e.rule.months) == 0 {
		place, length = day-daysOf(d.year, 1, 1)+1, yearLength(d.year)
	}
	for _, w := range e.rule.weekdays {
		if w.day != on {
			continue
		}
		if w.n == 0 || w.n == (place-1)/7+1 || -w.n == (length-place)/7+1 {
			return true
		}
	}
	return false
}

// holds tells whether a list is empty or has the value.
func holds(list []int, value int) bool { return len(list) == 0 || slices.Contains(list, value) }

func floorDiv64(a, b int64) int64 {
	q := a / b
	if a%b != 0 && a < 0 {
		q--
	}
	return q
}
