package scheduling

import (
	"testing"
	"time"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	typev1 "cairn.care/gen/cairn/type/v1"
)

// TestFormatOfGroup has people take part as the group is attended where its series says nothing.
func TestFormatOfGroup(t *testing.T) {
	t.Parallel()
	f := setup(t)
	list := f.sessions("series = %q", f.create(f.weekly()).GetName())
	x := list[1].GetName()
	p := f.people(3)
	f.says(x, p[0], yes, "CONFIRMED ONLINE")
	if _, err := f.answer(f.owner, x, p[1], yes, schedulingv1.Rsvp_IN_PERSON); refused(err) != "FailedPrecondition WAY_NOT_OFFERED" {
		t.Errorf("into a room that there is not: %v", err)
	}
	g, err := f.groups.UpdateGroup(f.owner, &groupsv1.UpdateGroupRequest{Group: &groupsv1.Group{
		Name: f.group, Format: groupsv1.Group_IN_PERSON,
		Venue: &groupsv1.Group_Venue{Address: &typev1.PostalAddress{Country: "DE", Locality: "Berlin"}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	f.told(g)
	f.stands(x, p[0], "CONFIRMED IN_PERSON")
	f.says(x, p[1], yes, "CONFIRMED IN_PERSON")
	f.Clock.Set(list[1].GetStartTime().AsTime())
	got, err := f.rsvps().CheckIn(f.owner, &schedulingv1.CheckInRequest{Session: x, Membership: p[2]})
	if err != nil || got.GetWay() != schedulingv1.Rsvp_IN_PERSON {
		t.Errorf("checked in: %v, %v", got, err)
	}
}

// TestCheckInTaken forgets a check-in, and says so, where the session is not now or the person does not come after all.
func TestCheckInTaken(t *testing.T) {
	t.Parallel()
	f := setup(t)
	in := f.weekly()
	in.Format, in.Seats = schedulingv1.Series_IN_PERSON, 1
	list := f.sessions("series = %q", f.create(in).GetName())
	x, p := list[1].GetName(), f.people(2)
	f.Clock.Set(list[1].GetStartTime().AsTime().Add(-5 * time.Minute))
	in1, err := f.rsvps().CheckIn(f.owner, &schedulingv1.CheckInRequest{Session: x, Membership: p[0]})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.MoveSession(f.owner, &schedulingv1.MoveSessionRequest{Name: x, LocalStart: "2027-03-12T19:00"}); err != nil {
		t.Fatal(err)
	}
	got, err := f.rsvps().GetRsvp(f.owner, &schedulingv1.GetRsvpRequest{Name: in1.GetName()})
	if err != nil || got.GetCheckInTime() != nil || got.GetEtag() == in1.GetEtag() {
		t.Errorf("after the move: %v, %v; want it forgotten under another etag", got, err)
	}
	var told schedulingv1.RsvpChanged
	if e := f.lastEvent(rsvpAnswered, in1.GetName(), &told); e.Revision != 2 {
		t.Errorf("told %v, want the change", e)
	}
	f.Clock.Set(f.session(x).GetStartTime().AsTime().Add(-5 * time.Minute))
	if _, err := f.rsvps().CheckIn(f.owner, &schedulingv1.CheckInRequest{Session: x, Membership: p[0]}); err != nil {
		t.Fatal(err)
	}
	f.says(x, p[1], yes, "WAITLISTED IN_PERSON 1")
	f.says(x, p[0], no, "DECLINED IN_PERSON")
	f.stands(x, p[1], "CONFIRMED IN_PERSON")
	f.says(x, p[0], yes, "WAITLISTED IN_PERSON 1")
	if got, err := f.rsvps().GetRsvp(f.owner, &schedulingv1.GetRsvpRequest{Name: in1.GetName()}); err != nil || got.GetCheckInTime() != nil {
		t.Errorf("who said no after she was checked in: %v, %v", got, err)
	}
}

// TestNobodyRecorded records who came from answers where nobody said anything.
func TestNobodyRecorded(t *testing.T) {
	t.Parallel()
	f := setup(t)
	x := f.sessions("series = %q", f.create(f.weekly()).GetName())[1]
	f.Clock.Set(x.GetStartTime().AsTime())
	resp, err := f.RecordAttendance(f.owner, &schedulingv1.RecordAttendanceRequest{Session: x.GetName(), FromAnswers: true})
	if err != nil || len(resp.GetAttendances()) != 0 {
		t.Errorf("nobody's: %v, %v", resp, err)
	}
	p := f.people(1) // the membership service does not know her: whom this one knows it does not ask about
	if _, err := f.RecordAttendance(f.owner, &schedulingv1.RecordAttendanceRequest{Session: x.GetName(), Entries: []*schedulingv1.RecordAttendanceRequest_Entry{
		{Membership: p[0], Status: schedulingv1.Attendance_PRESENT},
	}}); err != nil {
		t.Errorf("a member whom scheduling knows: %v", err)
	}
}

// TestDateComesBack takes a series to another weekday and back to its dates at another hour: what people cancelled stays so.
func TestDateComesBack(t *testing.T) {
	t.Parallel()
	f := setup(t)
	made := f.create(f.weekly())
	list := f.sessions("series = %q", made.GetName())
	if _, err := f.CancelSession(f.owner, &schedulingv1.CancelSessionRequest{Name: list[2].GetName(), Reason: "A holiday."}); err != nil {
		t.Fatal(err)
	}
	f.update(&schedulingv1.Series{Name: made.GetName(), LocalStart: "2027-03-05T19:00"})
	f.update(&schedulingv1.Series{Name: made.GetName(), LocalStart: "2027-03-04T18:00"})
	got := f.session(list[2].GetName())
	if got.GetState() != schedulingv1.Session_CANCELLED || got.GetCancelReason() != "A holiday." || got.GetOriginalLocalStart() != "2027-03-18T18:00:00" {
		t.Errorf("the cancelled session is %v", got)
	}
	if again := f.session(list[3].GetName()); again.GetState() != schedulingv1.Session_SCHEDULED || again.GetLocalStart() != "2027-03-25T18:00:00" {
		t.Errorf("the next session is %v", again)
	}
	for _, s := range f.sessions("series = %q AND state = SCHEDULED", made.GetName()) {
		if s.GetOriginalLocalStart()[:10] == "2027-03-18" {
			t.Errorf("beside the cancelled session there is %v", s)
		}
	}
}
