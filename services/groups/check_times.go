package groups

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/recurrence"
)

// maxMeetings is how often a group may meet in a year by one regular time, which is what scheduling plans.
const maxMeetings = 1000

// regularTimes refuses times that cannot be planned. A time whose zone nobody knows can be told, and is not planned.
func (c *checker) regularTimes(g *groupsv1.Group) {
	for i, t := range g.GetRegularTimes() {
		path := fmt.Sprintf("regular_times[%d]", i)
		known := t.GetTimeZone() == "" || validZone(t.GetTimeZone())
		c.need(known, path+".time_zone", `%q is no IANA time zone, e.g. "America/Chicago"`, t.GetTimeZone())
		c.date(path+".start_date", t.GetStartDate())
		if !known || (t.GetStartDate() != nil && !validDate(t.GetStartDate())) {
			continue
		}
		part, err := recurrence.NeedsStart(t.GetRrule())
		if err == nil {
			c.need(part == "" || t.GetStartDate() != nil, path+".start_date", "is needed, since %s in the rule leaves open which days are meant", part)
			err = plannable(t, g.GetTimeZone())
		}
		c.need(err == nil, path+".rrule", "%v", err)
	}
}

// plannable tells why a regular time has no meetings, or too many.
func plannable(t *groupsv1.Group_RegularTime, zone string) error {
	start := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
	if d := t.GetStartDate(); d != nil {
		start = dateTime(d)
	}
	zone = cmp.Or(t.GetTimeZone(), zone)
	if !validZone(zone) {
		zone = "UTC"
	}
	set, err := recurrence.Parse(recurrence.Spec{RRule: t.GetRrule(), TimeZone: zone, Start: start.Format(time.DateOnly) + "T" + t.GetStartTime()})
	if err != nil || set.AtMostDaily() {
		return err
	}
	begin := recurrence.Instant(set.Start, set.Zone)
	if _, _, err = set.Between(begin, begin.AddDate(1, 0, 14), maxMeetings); errors.Is(err, recurrence.ErrTooMany) {
		return fmt.Errorf("makes more than %d meetings in a year; use a rarer rule", maxMeetings)
	}
	return err
}
