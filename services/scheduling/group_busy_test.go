package scheduling

import (
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
)

// TestGroupBusy gives a group one session at a time, whatever makes the second.
func TestGroupBusy(t *testing.T) {
	t.Parallel()
	f := setup(t)
	series := schedulingv1.NewSeriesServiceClient(f.Conn("scheduling"))
	f.create(f.weekly())
	late := f.weekly()
	late.LocalStart = "2027-03-04T20:30"
	second := f.create(late) // begins when the first ends
	list := f.sessions("series = %q", second.GetName())
	early := "2027-03-04T20:00"
	for what, call := range map[string]func() error{
		"create": func() error {
			_, err := f.CreateSeries(f.owner, &schedulingv1.CreateSeriesRequest{Series: f.weekly()})
			return err
		},
		"update": func() error {
			_, err := f.UpdateSeries(f.owner, &schedulingv1.UpdateSeriesRequest{Series: &schedulingv1.Series{Name: second.GetName(), LocalStart: early}})
			return err
		},
		"split": func() error {
			_, err := series.SplitSeries(f.owner, &schedulingv1.SplitSeriesRequest{
				Series: &schedulingv1.Series{Name: second.GetName(), LocalStart: "2027-03-25T20:00"}, Session: list[3].GetName(),
			})
			return err
		},
		"move": func() error {
			_, err := f.MoveSession(f.owner, &schedulingv1.MoveSessionRequest{Name: list[1].GetName(), LocalStart: "2027-03-11T20:00"})
			return err
		},
	} {
		if err := call(); refused(err) != "FailedPrecondition GROUP_BUSY" {
			t.Errorf("%s: %v, want GROUP_BUSY", what, err)
		}
	}
	other := f.weekly()
	other.Group = f.newGroup(f.owner)
	f.create(other)
	f.update(&schedulingv1.Series{Name: second.GetName(), Title: "Late"})
}

// TestListedTimesThatCoincide leaves out what of a group's regular times would coincide with another session of it.
func TestListedTimesThatCoincide(t *testing.T) {
	t.Parallel()
	f := setup(t)
	hour := durationpb.New(time.Hour)
	tuesday := &groupsv1.Group_RegularTime{Rrule: "FREQ=WEEKLY;BYDAY=TU", StartTime: "19:00", Duration: hour}
	f.told(f.list(tuesday, &groupsv1.Group_RegularTime{Rrule: "FREQ=WEEKLY;BYDAY=TU,WE", StartTime: "19:30", Duration: hour}))
	days := map[time.Weekday]int{}
	coming := func() (n int) {
		clear(days)
		for _, s := range f.sessions("group = %q AND state = SCHEDULED", f.group) {
			days[s.GetStartTime().AsTime().Weekday()]++
			n++
		}
		return n
	}
	if n := coming(); n != 108 || days[time.Tuesday] != 54 || days[time.Wednesday] != 54 {
		t.Fatalf("%d sessions, %v; want 54 on each day", n, days)
	}
	// A time that is moved onto another's takes the sessions that coincide away.
	f.told(f.list(tuesday, &groupsv1.Group_RegularTime{Rrule: "FREQ=WEEKLY;BYDAY=TU,TH", StartTime: "18:30", Duration: hour}))
	if n := coming(); n < 107 || days[time.Tuesday] != 54 || days[time.Wednesday] != 0 {
		t.Errorf("%d sessions, %v; want 54 on Tuesdays and as many on Thursdays", n, days)
	}
}
