package duplicate

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
)

const (
	minutesOfDay  = 24 * 60
	minutesOfWeek = 7 * minutesOfDay
)

// slot is a weekly or monthly time.
type slot struct {
	day    int // Monday is 0
	week   int // of the month, -1 the last; 0 means every week
	minute int // of the day, on the wall clock
	utc    int // minute of the week in UTC, as of a winter's day; -1 when the zone is not known
}

// times are when a group meets; empty when nobody says, or only rules that name no day of the week.
type times []slot

// timesOf returns the regular times of a group, sorted.
func timesOf(g *groupsv1.Group, zones Zones) times {
	const most = 60
	var out times
	for _, r := range g.GetRegularTimes() {
		name := r.GetTimeZone()
		if name == "" {
			name = g.GetTimeZone()
		}
		minute, ok := minuteOf(r.GetStartTime())
		if !ok {
			continue
		}
		fallback := -1
		if d := r.GetStartDate(); d != nil {
			fallback = mondayFirst(time.Date(int(d.GetYear()), time.Month(d.GetMonth()), int(d.GetDay()), 0, 0, 0, 0, time.UTC).Weekday())
		}
		z := zones.zone(name)
		for _, s := range daysOf(r.GetRrule(), fallback) {
			s.minute, s.utc = minute, -1
			if z.known {
				s.utc = ((s.day*minutesOfDay+minute-z.ahead)%minutesOfWeek + minutesOfWeek) % minutesOfWeek
			}
			if len(out) < most && !slices.Contains(out, s) {
				out = append(out, s)
			}
		}
	}
	slices.SortFunc(out, func(x, y slot) int { return x.sorted() - y.sorted() })
	return out
}

func (s slot) sorted() int { return (s.day*minutesOfDay+s.minute)*10 + s.week + 1 }

func mondayFirst(d time.Weekday) int { return (int(d) + 6) % 7 }

func minuteOf(clock string) (int, bool) {
	h, m, ok := strings.Cut(clock, ":")
	hour, err1 := strconv.Atoi(h)
	minute, err2 := strconv.Atoi(m)
	ok = ok && err1 == nil && err2 == nil && hour >= 0 && hour < 24 && minute >= 0 && minute < 60
	return hour*60 + minute, ok
}

// zone is how many minutes a time zone is ahead of UTC on a winter's day.
type zone struct {
	ahead int
	known bool
}

// zone looks a zone up.
func (z Zones) zone(name string) zone {
	if name == "" || name == "Local" {
		return zone{}
	}
	out, ok := z[name]
	if ok {
		return out
	}
	if l, err := time.LoadLocation(name); err == nil {
		_, seconds := time.Date(2026, 1, 15, 12, 0, 0, 0, l).Zone()
		out = zone{seconds / 60, true}
	}
	z[name] = out
	return out
}

// daysOf returns the days of a rule; fallback is the weekday on which it starts, or -1.
func daysOf(rule string, fallback int) []slot {
	parts := map[string]string{}
	for part := range strings.SplitSeq(strings.ToUpper(rule), ";") {
		k, v, _ := strings.Cut(part, "=")
		parts[k] = v
	}
	position := 0
	if n, err := strconv.Atoi(parts["BYSETPOS"]); err == nil && n >= -1 && n <= 5 {
		position = n
	}
	var out []slot
	if parts["BYDAY"] != "" {
		for d := range strings.SplitSeq(parts["BYDAY"], ",") {
			if s, ok := dayOf(d); ok {
				if s.week == 0 && parts["FREQ"] == "MONTHLY" {
					s.week = position
				}
				out = append(out, s)
			}
		}
		return out
	}
	switch parts["FREQ"] {
	case "DAILY":
		for d := range 7 {
			out = append(out, slot{day: d})
		}
	case "WEEKLY":
		if fallback >= 0 {
			out = append(out, slot{day: fallback})
		}
	}
	return out
}

// dayOf reads a day of BYDAY: "TU", "2WE", "-1FR".
func dayOf(s string) (slot, bool) {
	if len(s) < 2 {
		return slot{}, false
	}
	day := slices.Index([]string{"MO", "TU", "WE", "TH", "FR", "SA", "SU"}, s[len(s)-2:])
	if day < 0 {
		return slot{}, false
	}
	if s = s[:len(s)-2]; s == "" {
		return slot{day: day}, true
	}
	week, err := strconv.Atoi(s)
	return slot{day: day, week: week}, err == nil && week >= -5 && week <= 5
}

func (s slot) String() string {
	day := time.Weekday((s.day + 1) % 7).String()
	at := fmt.Sprintf("%s %02d:%02d", day, s.minute/60, s.minute%60)
	switch {
	case s.week > 0 && s.week <= 5:
		return []string{"first", "second", "third", "fourth", "fifth"}[s.week-1] + " " + at
	case s.week < 0:
		return "last " + at
	}
	return at
}

// apart returns how many minutes of the week lie between two times; false when they are in different weeks of the month.
func (s slot) apart(t slot) (int, bool) {
	if s.week != 0 && t.week != 0 && s.week != t.week {
		return 0, false
	}
	d := s.day*minutesOfDay + s.minute - t.day*minutesOfDay - t.minute
	if s.utc >= 0 && t.utc >= 0 {
		d = s.utc - t.utc
	}
	if d < 0 {
		d = -d
	}
	return min(d, minutesOfWeek-d), true
}

// compareTimes weighs when the groups meet. Two times of one group that share none are two meetings, not one listed twice.
func compareTimes(w *weighing, a, b *times) {
	switch {
	case len(*a) == 0 && len(*b) == 0:
		return
	case len(*a) == 0 || len(*b) == 0: // it may be listed once for each meeting
		w.add(Times, -1.5, "only one says when")
		return
	}
	few, many := *a, *b
	if len(few) > len(many) || (len(few) == len(many) && slices.CompareFunc(few, many, func(x, y slot) int { return x.sorted() - y.sorted() }) > 0) {
		few, many = many, few
	}
	var same []slot
	near, loose := 0, false
	for _, s := range few {
		best, found := minutesOfWeek, slot{}
		for _, t := range many {
			if d, ok := s.apart(t); ok && d < best {
				best, found = d, t
			}
		}
		switch {
		case best <= 5:
			same = append(same, s)
			loose = loose || s.week != found.week
		case best <= 30:
			near++
		}
	}
	words := "both " + sentence(same)
	switch {
	case len(same) == len(few) && len(few) == len(many) && !loose:
		w.add(Times, 2.5, words)
	case len(same) == len(few) && !loose:
		w.add(Times, 1.5, words)
	case len(same) > 0 && loose: // one says every week, the other the second of the month
		w.add(Times, 0.3, words)
	case len(same) > 0:
		w.add(Times, 1, words)
	case near == len(few):
		w.add(Times, -1.5, "at most half an hour apart on the same days")
	default:
		w.add(Times, -6, "at different times")
	}
}

// sentence lists the first times.
func sentence(slots []slot) string {
	const most = 3
	var parts []string
	for _, s := range slots[:min(len(slots), most)] {
		parts = append(parts, s.String())
	}
	if len(slots) > most {
		parts = append(parts, fmt.Sprintf("%d more", len(slots)-most))
	}
	return strings.Join(parts, ", ")
}
