package directory

import (
	"fmt"
	"time"

	"google.golang.org/genproto/googleapis/type/date"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
)

// sessions is how many next sessions a group shows.
const sessions = 10

// times gives the group its regular time and the sessions that follow from it; communities have none.
func (m *maker) times() {
	if m.g.GetFormat() == groupsv1.Group_ASYNCHRONOUS || m.g.GetKind() == groupsv1.Group_PEER_MATCHING && m.chance(0.5) {
		return
	}
	day := time.Weekday(pick(m, []int{1, 2, 3, 4, 5, 6, 0}, 18, 23, 22, 18, 8, 8, 3))
	hour := pick(m, []int{17, 18, 19, 20, 10, 11, 12, 14, 15, 16, 9, 7}, 9, 26, 20, 6, 9, 5, 4, 7, 4, 4, 4, 2)
	minute := pick(m, []int{0, 30, 15, 45}, 58, 34, 5, 3)
	t := &groupsv1.Group_RegularTime{
		StartTime: fmt.Sprintf("%02d:%02d", hour, minute),
		Duration:  durationpb.New(time.Duration(pick(m, []int{60, 90, 120, 45}, 45, 40, 10, 5)) * time.Minute),
	}
	code := []string{"SU", "MO", "TU", "WE", "TH", "FR", "SA"}[day]
	first := m.Start.In(m.city.Zone)
	first = time.Date(first.Year(), first.Month(), first.Day()+(int(day)-int(first.Weekday())+7)%7, hour, minute, 0, 0, m.city.Zone)
	after := func(at time.Time, days int) time.Time {
		return time.Date(at.Year(), at.Month(), at.Day()+days, hour, minute, 0, 0, m.city.Zone)
	}
	var next func(time.Time) time.Time
	switch nth, how := 1+m.IntN(4), pick(m, []string{"weekly", "fortnightly", "monthly"}, 82, 8, 10); how {
	case "weekly":
		t.Rrule = "FREQ=WEEKLY;BYDAY=" + code
		next = func(at time.Time) time.Time { return after(at, 7) }
	case "fortnightly":
		if m.chance(0.5) {
			first = after(first, 7)
		}
		t.Rrule, t.StartDate = "FREQ=WEEKLY;INTERVAL=2;BYDAY="+code, dateOf(after(first, -14*10))
		next = func(at time.Time) time.Time { return after(at, 14) }
	default:
		t.Rrule = fmt.Sprintf("FREQ=MONTHLY;BYDAY=%d%s", nth, code)
		for (first.Day()-1)/7+1 != nth {
			first = after(first, 7)
		}
		next = func(at time.Time) time.Time {
			for at = after(at, 7); (at.Day()-1)/7+1 != nth; {
				at = after(at, 7)
			}
			return at
		}
	}
	m.g.RegularTimes = []*groupsv1.Group_RegularTime{t}
	for at := first; len(m.g.GetAvailability().GetNextSessions()) < sessions; at = next(at) {
		if at.After(m.Start) {
			m.g.Availability.NextSessions = append(m.g.Availability.NextSessions, timestamppb.New(at))
		}
	}
}

func dateOf(t time.Time) *date.Date {
	return &date.Date{Year: int32(t.Year()), Month: int32(t.Month()), Day: int32(t.Day())}
}
