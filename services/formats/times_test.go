package formats_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/formats"
)

// When a group meets: what its owner says, or else what Cairn plans, with the zone where regular times have it.
func TestTimed(t *testing.T) {
	t.Parallel()
	at := func(rrule, zone string) *groupsv1.Group_RegularTime {
		return &groupsv1.Group_RegularTime{Rrule: rrule, StartTime: "18:30", Duration: durationpb.New(time.Hour), TimeZone: zone}
	}
	const monday, first = "FREQ=WEEKLY;BYDAY=MO", "FREQ=MONTHLY;BYDAY=1FR"
	type times = []*groupsv1.Group_RegularTime
	for what, c := range map[string]struct {
		zone                           string
		regular, planned, want, beside times
		wantZone, from                 string
	}{
		"given":            {zone: "Asia/Tokyo", regular: times{at(monday, "")}, want: times{at(monday, "")}, wantZone: "Asia/Tokyo", from: "regular_times"},
		"planned":          {zone: "Asia/Tokyo", planned: times{at(monday, "Asia/Tokyo"), at(first, "Europe/Berlin")}, want: times{at(monday, ""), at(first, "Europe/Berlin")}, wantZone: "Asia/Tokyo", from: "availability.planned_times"},
		"planned, no zone": {planned: times{at(first, "Europe/Berlin"), at(monday, "Asia/Tokyo")}, want: times{at(first, ""), at(monday, "Asia/Tokyo")}, wantZone: "Europe/Berlin", from: "availability.planned_times"},
		"both":             {regular: times{at(monday, "Asia/Tokyo")}, planned: times{at(first, "Asia/Tokyo")}, want: times{at(monday, "Asia/Tokyo")}, beside: times{at(first, "Asia/Tokyo")}, from: "regular_times"},
		"neither":          {from: "regular_times"},
	} {
		g := &groupsv1.Group{Title: "Circle", TimeZone: c.zone, RegularTimes: c.regular, Availability: &groupsv1.Group_Availability{WaitlistLength: 2, PlannedTimes: c.planned}}
		before := proto.CloneOf(g)
		got, from := formats.Timed(g)
		want := &groupsv1.Group{Title: "Circle", TimeZone: c.wantZone, RegularTimes: c.want, Availability: &groupsv1.Group_Availability{WaitlistLength: 2, PlannedTimes: c.beside}}
		if d := cmp.Diff(want, got, protocmp.Transform()); d != "" || from != c.from {
			t.Errorf("%s: times are from %s, want %s (-want +got):\n%s", what, from, c.from, d)
		}
		if d := cmp.Diff(before, g, protocmp.Transform()); d != "" {
			t.Errorf("%s: the group itself is changed (-before +after):\n%s", what, d)
		}
	}
}
