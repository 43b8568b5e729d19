package recurrence

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// frequency is a FREQ value, from rare to often.
type frequency int

const (
	yearly frequency = iota
	monthly
	weekly
	daily
	hourly
	minutely
	secondly
)

// Bounds of a rule's numbers beyond those of RFC 5545.
const (
	maxInterval = 9999
	maxCount    = 1_000_000
	maxValues   = 400
)

// rule is a parsed RRULE. Empty lists mean that the part is absent.
type rule struct {
	text     string // as it was read, in capitals
	freq     frequency
	interval int
	count    int // 0: no COUNT
	until    until
	weekFrom int // WKST, Monday = 0

	months, monthDays, yearDays, weekNumbers []int
	weekdays                                 []weekday
	hours, minutes, seconds                  []int
	positions                                []int
}

// weekday is a BYDAY value: the nth of the month or year, or every one when n is 0.
type weekday struct{ n, day int }

// until is an UNTIL value: an instant when utc, else a floating time. A date reaches
// to its last second. The zero value is no UNTIL.
type until struct {
	set, utc bool
	seconds  int64
}

// list says where a part with a list of numbers goes and what it may hold.
type list struct {
	values   *[]int
	low      int
	high     int
	negative bool
}

// names are the parts of a rule.
func names() [14]string {
	return [...]string{"FREQ", "INTERVAL", "COUNT", "UNTIL", "WKST", "BYDAY", "BYSECOND", "BYMINUTE", "BYHOUR", "BYMONTHDAY", "BYYEARDAY", "BYWEEKNO", "BYMONTH", "BYSETPOS"}
}

// listOf returns where the numbers of a part go; ok is false if it has none.
func (r *rule) listOf(part string) (l list, ok bool) {
	switch part {
	case "BYSECOND":
		return list{&r.seconds, 0, 60, false}, true
	case "BYMINUTE":
		return list{&r.minutes, 0, 59, false}, true
	case "BYHOUR":
		return list{&r.hours, 0, 23, false}, true
	case "BYMONTHDAY":
		return list{&r.monthDays, 1, 31, true}, true
	case "BYYEARDAY":
		return list{&r.yearDays, 1, 366, true}, true
	case "BYWEEKNO":
		return list{&r.weekNumbers, 1, 53, true}, true
	case "BYMONTH":
		return list{&r.months, 1, 12, false}, true
	case "BYSETPOS":
		return list{&r.positions, 1, 366, true}, true
	}
	return l, false
}

// parseRule reads the value of an RRULE (RFC 5545 section 3.3.10). Its errors name
// the part.
func parseRule(text string) (*rule, error) {
	upper := strings.ToUpper(text)
	r := &rule{text: upper, interval: 1}
	if strings.HasPrefix(upper, "RRULE:") {
		return nil, failed("RRULE", "write the rule's value only, without \"RRULE:\"")
	}
	known, seen := names(), 0
	for part := range strings.SplitSeq(upper, ";") {
		name, value, ok := strings.Cut(part, "=")
		if !ok || value == "" {
			return nil, failed("RRULE", "%q is not NAME=VALUE", part)
		}
		i := slices.Index(known[:], name)
		if i < 0 {
			return nil, failed(name, "is no part of an RFC 5545 rule that Cairn knows")
		}
		if seen>>i&1 == 1 {
			return nil, failed(name, "is given twice")
		}
		seen |= 1 << i
		if l, ok := r.listOf(name); ok {
			values, err := parseNumbers(name, value, l)
			if err != nil {
				return nil, err
			}
			*l.values = values
			continue
		}
		var err error
		switch name {
		case "FREQ":
			r.freq, err = parseFrequency(value)
		case "INTERVAL":
			r.interval, err = parseNumber(name, value, 1, maxInterval)
		case "COUNT":
			r.count, err = parseNumber(name, value, 1, maxCount)
		case "UNTIL":
			r.until, err = parseUntil(value)
		case "WKST":
			if r.weekFrom = dayIndex(value); r.weekFrom < 0 {
				err = failed(name, "%q is none of MO, TU, WE, TH, FR, SA, SU", value)
			}
		case "BYDAY":
			r.weekdays, err = parseWeekdays(value)
		}
		if err != nil {
			return nil, err
		}
	}
	if seen&1 == 0 {
		return nil, failed("FREQ", "is missing")
	}
	for i, s := range r.seconds {
		r.seconds[i] = min(s, 59) // no clock of ours shows a leap second
	}
	r.seconds = slices.Compact(r.seconds)
	return r, r.check()
}

// check refuses combinations that RFC 5545 forbids.
func (r *rule) check() error {
	numbered := slices.ContainsFunc(r.weekdays, func(w weekday) bool { return w.n != 0 })
	any := len(r.months)+len(r.monthDays)+len(r.yearDays)+len(r.weekNumbers)+len(r.weekdays)+
		len(r.hours)+len(r.minutes)+len(r.seconds) > 0
	switch {
	case r.count > 0 && r.until.set:
		return failed("COUNT", "cannot stand beside UNTIL; give one of them")
	case len(r.weekNumbers) > 0 && r.freq != yearly:
		return failed("BYWEEKNO", "goes with FREQ=YEARLY only")
	case len(r.yearDays) > 0 && (r.freq == daily || r.freq == weekly || r.freq == monthly):
		return failed("BYYEARDAY", "does not go with FREQ=DAILY, WEEKLY or MONTHLY")
	case len(r.monthDays) > 0 && r.freq == weekly:
		return failed("BYMONTHDAY", "does not go with FREQ=WEEKLY")
	case numbered && r.freq != monthly && r.freq != yearly:
		return failed("BYDAY", "may number its days (as in 1MO) with FREQ=MONTHLY or YEARLY only")
	case numbered && len(r.weekNumbers) > 0:
		return failed("BYDAY", "may not number its days (as in 1MO) beside BYWEEKNO")
	case len(r.positions) > 0 && !any:
		return failed("BYSETPOS", "needs another BY… part to choose from")
	}
	return nil
}

func parseFrequency(value string) (frequency, error) {
	i := slices.Index([]string{"YEARLY", "MONTHLY", "WEEKLY", "DAILY", "HOURLY", "MINUTELY", "SECONDLY"}, value)
	if i < 0 {
		return 0, failed("FREQ", "%q is none of DAILY, WEEKLY, MONTHLY, YEARLY, HOURLY, MINUTELY, SECONDLY", value)
	}
	return frequency(i), nil
}

func parseNumber(part, text string, low, high int) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < low || n > high || text[0] == '+' {
		return 0, failed(part, "%q is not a whole number from %d to %d", text, low, high)
	}
	return n, nil
}

func parseNumbers(part, text string, l list) ([]int, error) {
	var values []int
	for item := range strings.SplitSeq(text, ",") {
		n, err := strconv.Atoi(item)
		size := n
		if l.negative && n < 0 {
			size = -n
		}
		if err != nil || size < l.low || size > l.high {
			also := ""
			if l.negative {
				also = fmt.Sprintf(" or -%d to -%d", l.low, l.high)
			}
			return nil, failed(part, "%q is not a whole number from %d to %d%s", item, l.low, l.high, also)
		}
		if values = append(values, n); len(values) > maxValues {
			return nil, failed(part, "has more than %d values", maxValues)
		}
	}
	slices.Sort(values)
	return slices.Compact(values), nil
}

func parseWeekdays(text string) ([]weekday, error) {
	var days []weekday
	for item := range strings.SplitSeq(text, ",") {
		if len(item) < 2 {
			return nil, failed("BYDAY", "%q is no day such as MO, 1MO or -1MO", item)
		}
		number, name := item[:len(item)-2], item[len(item)-2:]
		day := weekday{day: dayIndex(name)}
		if day.day < 0 {
			return nil, failed("BYDAY", "%q is no day such as MO, 1MO or -1MO", item)
		}
		if number != "" {
			n, err := strconv.Atoi(number)
			if err != nil || n == 0 || n < -53 || n > 53 {
				return nil, failed("BYDAY", "%q numbers its day outside 1 to 53 or -1 to -53", item)
			}
			day.n = n
		}
		if days = append(days, day); len(days) > maxValues {
			return nil, failed("BYDAY", "has more than %d values", maxValues)
		}
	}
	return days, nil
}

func parseUntil(text string) (until, error) {
	for _, form := range []struct {
		layout string
		utc    bool
		extra  int64
	}{{"20060102T150405Z", true, 0}, {"20060102T150405", false, 0}, {"20060102", false, 86399}} {
		if len(text) != len(form.layout) {
			continue
		}
		if t, err := time.Parse(form.layout, text); err == nil {
			return until{set: true, utc: form.utc, seconds: t.Unix() + form.extra}, nil
		}
	}
	return until{}, failed("UNTIL", "%q is no date (20270331), local time (20270331T190000) or UTC time (20270331T170000Z)", text)
}

// dayIndex returns the place of an RFC 5545 day in a week from Monday, or -1.
func dayIndex(name string) int {
	return slices.Index([]string{"MO", "TU", "WE", "TH", "FR", "SA", "SU"}, name)
}
