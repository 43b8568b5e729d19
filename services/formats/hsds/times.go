package hsds

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/type/date"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/recurrence"
)

// weekdays are the days of RFC 5545, with their names.
func weekdays() [7][2]string {
	return [7][2]string{{"MO", "Monday"}, {"TU", "Tuesday"}, {"WE", "Wednesday"}, {"TH", "Thursday"}, {"FR", "Friday"}, {"SA", "Saturday"}, {"SU", "Sunday"}}
}

// writeTime writes a regular time as a schedule; nothing but the rule's own words says it where plain is false.
func writeTime(t *groupsv1.Group_RegularTime, zone, service string, i int, label func(string) string) (s Schedule, plain bool) {
	id := derivedID(service, fmt.Sprintf("schedules/%d", i))
	s = Schedule{ID: id, OpensAt: t.GetStartTime(), ClosesAt: closing(t), Description: describeTime(t, zone)}
	if d := t.GetStartDate(); d != nil {
		s.DTStart = writeDate(d)
	}
	plain = writeRule(t.GetRrule(), &s)
	s.Timezone = fixedOffset(zone)
	n := 0
	attribute := func(code, value string) {
		term := ownTerms().byCode[details+"/"+code]
		s.Attributes = append(s.Attributes, Attribute{ID: derivedID(id, fmt.Sprintf("attributes/%d", n)), LinkEntity: "schedule", Value: value, Term: term, Label: label(term.Name)})
		n++
	}
	if rule, ok := readRule(&s); !ok || rule != t.GetRrule() {
		attribute("rrule", t.GetRrule())
	}
	if seconds := t.GetDuration().GetSeconds(); seconds%60 != 0 || t.GetDuration().GetNanos() != 0 {
		attribute("duration", strconv.FormatFloat(t.GetDuration().AsDuration().Seconds(), 'f', -1, 64))
	}
	if t.GetTimeZone() != "" {
		attribute("time_zone", t.GetTimeZone())
	}
	return s, plain
}

// closing returns when a time ends, on the wall clock.
func closing(t *groupsv1.Group_RegularTime) string {
	start, _, ok := readClock(t.GetStartTime())
	if !ok {
		return ""
	}
	end := (start + int(t.GetDuration().GetSeconds()/60)) % (24 * 60)
	return fmt.Sprintf("%02d:%02d", end/60, end%60)
}

// fixedOffset returns the UTC offset, in hours, of a zone that has no summer time; nil for the others, whose offset HSDS
// cannot say.
func fixedOffset(zone string) *float64 {
	if zone == "" {
		return nil
	}
	offsets := offsetsOf(zone)
	if offsets == nil || offsets[0] != offsets[1] {
		return nil
	}
	hours := float64(offsets[0]) / 60
	return &hours
}

// writeRule writes the parts of a recurrence rule into the schedule's own members. It returns false, and writes none, if
// HSDS has no members for the rule.
func writeRule(rrule string, s *Schedule) bool {
	parts, ok := ruleParts(rrule)
	if !ok {
		return false
	}
	out := Schedule{DTStart: s.DTStart, Freq: parts["FREQ"], ByDay: parts["BYDAY"], ByMonthDay: parts["BYMONTHDAY"], Wkst: parts["WKST"]}
	if out.Freq == "DAILY" && parts["INTERVAL"] == "" && out.ByDay == "" && out.ByMonthDay == "" {
		out.Freq, out.ByDay = "WEEKLY", "MO,TU,WE,TH,FR,SA,SU"
	}
	var err error
	for name, v := range parts {
		switch name {
		case "FREQ", "BYDAY", "BYMONTHDAY", "WKST":
		case "INTERVAL":
			out.Interval, err = strconv.Atoi(v)
		case "COUNT":
			out.Count, err = strconv.Atoi(v)
		case "UNTIL":
			var day time.Time
			day, err = time.Parse("20060102", v)
			out.Until = day.Format(time.DateOnly)
		default:
			return false
		}
		if err != nil {
			return false
		}
	}
	if _, ok := readRule(&out); !ok {
		return false
	}
	s.Freq, s.Interval, s.ByDay, s.ByMonthDay = out.Freq, out.Interval, out.ByDay, out.ByMonthDay
	s.Count, s.Until, s.Wkst = out.Count, out.Until, out.Wkst
	return true
}

// ruleParts takes a rule apart.
func ruleParts(rrule string) (map[string]string, bool) {
	parts := map[string]string{}
	for part := range strings.SplitSeq(strings.ToUpper(rrule), ";") {
		name, value, ok := strings.Cut(part, "=")
		if _, twice := parts[name]; !ok || value == "" || twice {
			return nil, false
		}
		parts[name] = value
	}
	return parts, true
}

// readRule returns the recurrence rule that a schedule's members say; false if they say none that RFC 5545 allows. What
// repeats every few weeks or a number of times must say from when.
func readRule(s *Schedule) (string, bool) {
	freq := s.Freq
	if freq == "" && s.ByDay != "" && s.ByMonthDay == "" {
		freq = "WEEKLY"
	}
	if freq != "WEEKLY" && freq != "MONTHLY" {
		return "", false
	}
	rule := "FREQ=" + freq
	switch {
	case s.Interval < 0 || s.Interval > 999 || s.Count < 0 || s.Count > 10_000 || (s.Count > 0 && s.Until != ""):
		return "", false
	case s.Interval > 1:
		rule += ";INTERVAL=" + strconv.Itoa(s.Interval)
	}
	if s.ByDay != "" {
		days, ok := readDays(s.ByDay, freq == "MONTHLY")
		if !ok {
			return "", false
		}
		rule += ";BYDAY=" + days
	}
	if s.ByMonthDay != "" {
		days, ok := readMonthDays(s.ByMonthDay)
		if !ok || freq == "WEEKLY" {
			return "", false
		}
		rule += ";BYMONTHDAY=" + days
	}
	if s.Count > 0 {
		rule += ";COUNT=" + strconv.Itoa(s.Count)
	}
	if s.Until != "" {
		day, err := time.Parse(time.DateOnly, s.Until)
		if err != nil {
			return "", false
		}
		rule += ";UNTIL=" + day.Format("20060102")
	}
	switch s.Wkst {
	case "", "MO": // the default
	default:
		if !slices.ContainsFunc(dayCodes(), func(d string) bool { return d == s.Wkst }) {
			return "", false
		}
		rule += ";WKST=" + s.Wkst
	}
	counted := s.Interval > 1 || s.Count > 0 || (s.ByDay == "" && s.ByMonthDay == "")
	return rule, s.DTStart != "" || !counted
}

// dayCodes returns MO to SU.
func dayCodes() []string {
	var out []string
	for _, d := range weekdays() {
		out = append(out, d[0])
	}
	return out
}

// readDays reads BYDAY, also with spaces, small letters and names in full.
func readDays(text string, numbered bool) (string, bool) {
	var out []string
	for item := range strings.SplitSeq(text, ",") {
		item = strings.ToUpper(strings.TrimSpace(item))
		at := strings.IndexFunc(item, func(r rune) bool { return r >= 'A' && r <= 'Z' })
		if at < 0 {
			return "", false
		}
		number, name := item[:at], item[at:]
		if number != "" {
			n, err := strconv.Atoi(number)
			if err != nil || !numbered || n == 0 || n < -5 || n > 5 {
				return "", false
			}
			number = strconv.Itoa(n)
		}
		found := ""
		for _, d := range weekdays() {
			if name == d[0] || name == strings.ToUpper(d[1]) || name == strings.ToUpper(d[1][:3]) {
				found = d[0]
			}
		}
		if found == "" || len(out) >= 40 {
			return "", false
		}
		if !slices.Contains(out, number+found) {
			out = append(out, number+found)
		}
	}
	return strings.Join(out, ","), true
}

func readMonthDays(text string) (string, bool) {
	var out []string
	for item := range strings.SplitSeq(text, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(item))
		if err != nil || n == 0 || n < -31 || n > 31 || len(out) >= 62 {
			return "", false
		}
		if s := strconv.Itoa(n); !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return strings.Join(out, ","), true
}

// readClock reads "19:30", "19:30:00", "7:30 pm", with "Z" or an offset behind it, as minutes after midnight; the offset in
// minutes, nil if it has none.
func readClock(text string) (minutes int, offset *int, ok bool) {
	s := strings.ToUpper(strings.TrimSpace(text))
	if at := strings.LastIndexAny(s, "+-"); at > 0 {
		o, known := readOffset(s[at:])
		if !known {
			return 0, nil, false
		}
		offset, s = &o, strings.TrimSpace(s[:at])
	} else if strings.HasSuffix(s, "Z") {
		offset, s = new(int), strings.TrimSuffix(s, "Z")
	}
	for _, layout := range []string{"15:04", "15:04:05", "3:04 PM", "3:04PM", "3 PM", "3PM"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.Hour()*60 + t.Minute(), offset, true
		}
	}
	return 0, nil, false
}

// readOffset reads "+01:00", "+0100" and "+1" as minutes.
func readOffset(s string) (int, bool) {
	hours, rest := s[1:], "0"
	if h, m, ok := strings.Cut(hours, ":"); ok {
		hours, rest = h, m
	} else if len(hours) == 4 {
		hours, rest = hours[:2], hours[2:]
	}
	h, err := strconv.ParseUint(hours, 10, 8)
	m, err2 := strconv.ParseUint(rest, 10, 8)
	if err != nil || err2 != nil || h > 14 || m > 59 {
		return 0, false
	}
	n := int(h*60 + m)
	if s[0] == '-' {
		n = -n
	}
	return n, true
}

// describeTime says a regular time in words.
func describeTime(t *groupsv1.Group_RegularTime, zone string) string {
	words := describeRule(t.GetRrule()) + ", " + t.GetStartTime() + "–" + closing(t)
	if zone != "" {
		words += " (" + zone + ")"
	}
	return words
}

func describeRule(rrule string) string {
	parts, _ := ruleParts(rrule)
	every := "Every"
	if n := parts["INTERVAL"]; n != "" && n != "1" {
		every += " " + n
	}
	plural := ""
	if every != "Every" {
		plural = "s"
	}
	simple := len(parts) > 0
	for name := range parts {
		simple = simple && slices.Contains([]string{"FREQ", "INTERVAL", "BYDAY", "UNTIL", "COUNT", "WKST"}, name)
	}
	days := describeDays(parts["BYDAY"])
	switch {
	case !simple || (parts["BYDAY"] != "" && days == ""):
		return "By the rule " + rrule
	case parts["FREQ"] == "WEEKLY" && days != "" && plural == "":
		return "Every " + days
	case parts["FREQ"] == "WEEKLY" && days != "":
		return every + " weeks on " + days
	case parts["FREQ"] == "MONTHLY" && days != "":
		return every + " month" + plural + " on " + days
	case days == "":
		if unit := map[string]string{"DAILY": "day", "WEEKLY": "week", "MONTHLY": "month", "YEARLY": "year"}[parts["FREQ"]]; unit != "" {
			return every + " " + unit + plural
		}
	}
	return "By the rule " + rrule
}

func describeDays(byday string) string {
	if byday == "" {
		return ""
	}
	var out []string
	for item := range strings.SplitSeq(byday, ",") {
		if len(item) < 2 {
			return ""
		}
		name := ""
		for _, d := range weekdays() {
			if strings.HasSuffix(item, d[0]) {
				name = d[1]
			}
		}
		ordinal, ok := map[string]string{"": "", "1": "the first ", "2": "the second ", "3": "the third ", "4": "the fourth ", "5": "the fifth ", "-1": "the last "}[item[:len(item)-2]]
		if name == "" || !ok {
			return ""
		}
		out = append(out, ordinal+name)
	}
	if len(out) == 1 {
		return out[0]
	}
	return strings.Join(out[:len(out)-1], ", ") + " and " + out[len(out)-1]
}

func writeDate(d *date.Date) string {
	return fmt.Sprintf("%04d-%02d-%02d", d.GetYear(), d.GetMonth(), d.GetDay())
}

// readDate reads a day, also one with a time behind it.
func readDate(s string) (*date.Date, bool) {
	if len(s) > 10 && (s[10] == 'T' || s[10] == ' ') {
		s = s[:10]
	}
	t, err := time.Parse(time.DateOnly, s)
	if err != nil || t.Year() < 1900 {
		return nil, false
	}
	return &date.Date{Year: int32(t.Year()), Month: int32(t.Month()), Day: int32(t.Day())}, true
}

// durationOf reads seconds, or takes the minutes where there are none that make sense.
func durationOf(seconds string, minutes int) time.Duration {
	f, err := strconv.ParseFloat(seconds, 64)
	if err != nil || !(f >= 60 && f <= 86400) {
		return time.Duration(minutes) * time.Minute
	}
	return time.Duration(f * float64(time.Second)).Round(time.Microsecond)
}

// validZone reports whether the name is an IANA zone that is the same on every machine.
func validZone(name string) bool {
	if len(name) > 64 {
		return false
	}
	_, err := recurrence.Zone(name)
	return err == nil
}

// offsetsOf returns the UTC offsets of a zone in winter and summer, in minutes.
func offsetsOf(zone string) []int {
	loc, err := recurrence.Zone(zone)
	if err != nil {
		return nil
	}
	_, winter := time.Date(2026, 1, 1, 0, 0, 0, 0, loc).Zone()
	_, summer := time.Date(2026, 7, 1, 0, 0, 0, 0, loc).Zone()
	return []int{winter / 60, summer / 60}
}

// zoneAt returns a zone that always has the offset, in minutes.
func zoneAt(offset int) (string, bool) {
	switch {
	case offset == 0:
		return "UTC", true
	case offset%60 == 0: // the names of these zones count westwards
		return fmt.Sprintf("Etc/GMT%+d", -offset/60), offset >= -12*60 && offset <= 14*60
	}
	zone, ok := map[int]string{
		330: "Asia/Kolkata", 345: "Asia/Kathmandu", 390: "Asia/Yangon", 270: "Asia/Kabul", 210: "Asia/Tehran", 570: "Australia/Darwin", 525: "Australia/Eucla",
		-570: "Pacific/Marquesas",
	}[offset]
	return zone, ok
}
