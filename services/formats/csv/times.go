package csv

import (
	"cmp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/formats"
	"cairn.care/services/recurrence"
)

// times reads when the group meets: a rule, or days of the week.
func (r *reader) times() {
	days, start, end, rule, from := r.cells[pathDays], r.cells[pathStart], r.cells[pathEnd], r.cells[pathRule], r.cells[pathFrom]
	zone := r.group.GetTimeZone()
	if zone != "" {
		if _, err := recurrence.Zone(zone); err != nil {
			r.reject("time_zone", "is no IANA time zone, such as America/Chicago")
			return
		}
	}
	if days == "" && rule == "" && start == "" {
		return
	}
	if start == "" {
		r.reject(pathStart, "is missing, though there are days")
		return
	}
	at, ok := formats.ClockTime(start)
	if !ok {
		r.reject(pathStart, "must be a time such as 19:30")
		return
	}
	minutes := 60
	if end != "" {
		until, ok := formats.ClockTime(end)
		if !ok {
			r.reject(pathEnd, "must be a time such as 20:30")
			return
		}
		if minutes = (until - at + 24*60) % (24 * 60); minutes == 0 {
			minutes = 24 * 60
		}
	}
	if zone == "" {
		v := r.group.GetVenue()
		zone = cmp.Or(formats.Zone(v.GetAddress().GetCountry(), v.GetAddress().GetAdministrativeArea(), v.GetLocation()), r.options.TimeZone)
		if zone == "" {
			r.reject("time_zone", "is missing, and the place does not tell it: give the zone of such rows with --time-zone, or timeZone of the feed")
			return
		}
		r.group.TimeZone = zone
	}
	on, ok := weekdays(days)
	if !ok {
		r.reject(pathDays, "must be days of the week, such as Tuesday; Thursday")
		return
	}
	if days == "" && rule == "" {
		r.reject(pathDays, "is missing, though there is a time")
		return
	}
	t := formats.Weekly(on, at, minutes, "")
	if rule != "" {
		if t.Rrule = rule; utf8.RuneCountInString(rule) > 500 {
			r.reject(pathRule, "is longer than 500 characters")
		}
	}
	if from != "" {
		t.StartDate, _ = r.day(pathFrom, from)
	}
	r.group.RegularTimes = []*groupsv1.Group_RegularTime{t}
}

// weekdays reads "Mon, Wed", "tuesdays" and the like.
func weekdays(text string) (days []time.Weekday, ok bool) {
	for s := range strings.FieldsFuncSeq(text, func(c rune) bool { return strings.ContainsRune(";|,/&+\n ", c) }) {
		s = strings.TrimSuffix(plain(s), "s")
		if s == "and" || s == "" {
			continue
		}
		found := false
		for d := time.Sunday; d <= time.Saturday; d++ {
			full := strings.ToLower(d.String())
			if full == s || full[:3] == s || full[:2] == s || (len(s) == 4 && full[:4] == s) || strings.TrimSuffix(full, "s") == s {
				found = true
				if !slices.Contains(days, d) {
					days = append(days, d)
				}
			}
		}
		if !found {
			return nil, false
		}
	}
	slices.Sort(days)
	return days, true
}
