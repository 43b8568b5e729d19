package importer

import (
	"testing"
	"time"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis/clock"
	"cairn.care/services/formats/meetingguide"
)

// Times without a day of the week are refused, and do not keep the importer looking for one.
func TestNoDayOfTheWeek(t *testing.T) {
	t.Parallel()
	i := &importer{Options: Options{Clock: clock.System{}}}
	for _, days := range [][]time.Weekday{nil, {7}, {-1}} {
		e := &meetingguide.Entry{Group: &groupsv1.Group{ExternalId: "camino"}, Times: &meetingguide.Weekly{Zone: "America/Chicago", Days: days, Start: 600, Minutes: 60}}
		if s, err := i.weekly(e, &groupsv1.Group{}); err == nil {
			t.Errorf("days %v: got %v, want an error", days, s)
		}
	}
}
