package formats

import (
	"google.golang.org/protobuf/proto"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
)

// Timed returns a group whose regular times say when it meets, and the field that they are from: those that its owner gives;
// where there are none, those that Cairn plans. Planned times that are left stand beside regular ones, and are not written.
func Timed(g *groupsv1.Group) (timed *groupsv1.Group, from string) {
	if len(g.GetRegularTimes()) > 0 || len(g.GetAvailability().GetPlannedTimes()) == 0 {
		return g, "regular_times"
	}
	timed = proto.CloneOf(g)
	timed.RegularTimes, timed.Availability.PlannedTimes = timed.GetAvailability().GetPlannedTimes(), nil
	if timed.GetTimeZone() == "" {
		timed.TimeZone = timed.GetRegularTimes()[0].GetTimeZone()
	}
	for _, t := range timed.GetRegularTimes() {
		if t.GetTimeZone() == timed.GetTimeZone() {
			t.TimeZone = "" // the group's own, as owners leave it
		}
	}
	return timed, "availability.planned_times"
}
