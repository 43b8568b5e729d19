package recurrence

import "math/bits"

// limits are the parts of a rule that say which days it may have, as sets of bits: a day is looked up, not searched for.
type limits struct {
	weekdays       uint8 // bit 0: Monday; those without a number
	numbered       []weekday
	months         uint16 // bit 1: January
	days, daysBack uint32 // bit n: the nth day of the month, from its beginning and from its end
	yearDays       []int
	dated          bool // more than the weekday counts
}

func limitsOf(r *rule) limits {
	l := limits{yearDays: r.yearDays, dated: len(r.months)+len(r.monthDays)+len(r.yearDays) > 0}
	for i, w := range r.weekdays {
		if w.n == 0 {
			l.weekdays |= 1 << w.day
		} else if l.numbered == nil {
			l.numbered = r.weekdays[i:]
		}
	}
	for _, m := range r.months {
		l.months |= 1 << m
	}
	for _, d := range r.monthDays {
		if d > 0 {
			l.days |= 1 << d
		} else {
			l.daysBack |= 1 << -d
		}
	}
	return l
}

// has tells whether a day is within the limits.
func (l *limits) has(day int) bool {
	if l.weekdays != 0 && l.weekdays>>weekdayOf(day)&1 == 0 {
		return false
	}
	if !l.dated {
		return true
	}
	d := dateOf(day)
	if l.months != 0 && l.months>>d.month&1 == 0 {
		return false
	}
	if l.days|l.daysBack != 0 && l.days>>d.day&1 == 0 && l.daysBack>>(monthLength(d.year, d.month)-d.day+1)&1 == 0 {
		return false
	}
	if len(l.yearDays) == 0 {
		return true
	}
	place := day - daysOf(d.year, 1, 1) + 1
	for _, n := range l.yearDays {
		if n == place || n == place-yearLength(d.year)-1 {
			return true
		}
	}
	return false
}

// everySeventh has each seventh bit from bit 0 on.
const everySeventh = 1 | 1<<7 | 1<<14 | 1<<21 | 1<<28

// inMonth returns the days of a month that are within the limits, bit 0 for the first. The month begins on the weekday first. Of a
// month's weekdays it looks only if asked.
func (l *limits) inMonth(first, length int, weekdays bool) uint32 {
	all := uint32(1)<<length - 1
	days := all
	if l.days|l.daysBack != 0 {
		days = (l.days>>1 | bits.Reverse32(l.daysBack)>>(31-length)) & all
	}
	if !weekdays || l.weekdays == 0 && l.numbered == nil {
		return days
	}
	var on uint32
	for set := l.weekdays; set != 0; set &= set - 1 {
		on |= everySeventh << firstSuch(bits.TrailingZeros8(set), first)
	}
	for _, w := range l.numbered {
		if at := w.place(first, length); w.n != 0 && at >= 0 && at < length {
			on |= 1 << at
		}
	}
	return days & on
}

// firstSuch returns the place of a weekday in a time that begins on the weekday first.
func firstSuch(day, first int) int {
	if day < first {
		return day - first + 7
	}
	return day - first
}

// place returns the place of the nth such day in a time of that length that begins on the weekday first; it may be outside.
func (w weekday) place(first, length int) int {
	at := firstSuch(w.day, first)
	if w.n > 0 {
		return at + 7*(w.n-1)
	}
	return at + 7*((length-1-at)/7+1+w.n)
}

// yearSet is a set of a year's days, bit 0 for January 1.
type yearSet [6]uint64

func (y *yearSet) add(from, to int) {
	for i := max(from, 0); i < to; i++ {
		y[i>>6] |= 1 << (i & 63)
	}
}

func (y *yearSet) keep(other *yearSet) {
	for i := range y {
		y[i] &= other[i]
	}
}

// inYear returns the days of a year that are within the limits and in the rule's weeks.
func (l *limits) inYear(r *rule, year, first, length int) yearSet {
	var set yearSet
	byMonth := l.months != 0
	if byMonth || l.days|l.daysBack != 0 {
		at := 0
		for month := 1; month <= 12; month++ {
			n := monthLength(year, month)
			if !byMonth || l.months>>month&1 == 1 {
				for days := l.inMonth(weekdayOf(first+at), n, byMonth); days != 0; days &= days - 1 {
					i := at + bits.TrailingZeros32(days)
					set[i>>6] |= 1 << (i & 63)
				}
			}
			at += n
		}
	} else {
		set.add(0, length)
	}
	if len(r.yearDays) > 0 {
		var only yearSet
		for _, n := range r.yearDays {
			if n < 0 {
				n += length + 1
			}
			only.add(n-1, min(n, length))
		}
		set.keep(&only)
	}
	if len(r.weekNumbers) > 0 {
		var only yearSet
		for y := year - 1; y <= year+1; y++ { // the year's ends may be in weeks of its neighbours
			from, next := firstWeek(y, r.weekFrom), firstWeek(y+1, r.weekFrom)
			for _, n := range r.weekNumbers {
				if n < 0 {
					n += (next-from)/7 + 1
				}
				if begins := from + 7*(n-1); n >= 1 && begins < next {
					only.add(begins-first, min(begins-first+7, length))
				}
			}
		}
		set.keep(&only)
	}
	if !byMonth && (l.weekdays != 0 || l.numbered != nil) { // a number counts in the year, where no months are given
		var only yearSet
		begins := weekdayOf(first)
		for days := l.weekdays; days != 0; days &= days - 1 {
			for at := firstSuch(bits.TrailingZeros8(days), begins); at < length; at += 7 {
				only[at>>6] |= 1 << (at & 63)
			}
		}
		for _, w := range l.numbered {
			if at := w.place(begins, length); w.n != 0 && at >= 0 {
				only.add(at, min(at+1, length))
			}
		}
		set.keep(&only)
	}
	return set
}
