package scheduling

import (
	"errors"
	"io"
	"testing"

	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	"cairn.care/services/chassis/auth"
)

// A member learns who made and read her secret calendar.
func TestArchiveTellsWhoReadACalendar(t *testing.T) {
	t.Parallel()
	f := setup(t)
	member, membership := f.active(f.group)
	f.CatchUp()
	made, err := schedulingv1.NewCalendarsServiceClient(f.Conn(service)).CreateCalendar(f.owner, &schedulingv1.CreateCalendarRequest{
		Calendar: &schedulingv1.Calendar{Member: member}, RequestId: "0192d7a5-0000-7000-8000-0000000000fe",
	})
	if err != nil {
		t.Fatal(err)
	}
	gateway := schedulingv1.NewCalendarsServiceClient(f.ConnAs("gateway", service))
	if _, err := gateway.ReadMemberCalendar(auth.System(t.Context(), "gateway"), &schedulingv1.ReadMemberCalendarRequest{Token: secretOf(t, made)}); err != nil {
		t.Fatal(err)
	}
	stream, err := schedulingv1.NewPrivacyServiceClient(f.ConnAs("membership", service)).ExportSchedule(auth.System(t.Context(), "membership"),
		&schedulingv1.ExportScheduleRequest{Member: member, Memberships: []string{membership}})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for {
		e, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if e.GetResource() == made.GetName() {
			seen[e.GetKind()+" "+e.GetDocument().GetFields()["access"].GetStringValue()]++
		}
	}
	if seen["calendar "] != 1 || seen["access WRITE"] != 1 || seen["access READ"] != 1 {
		t.Errorf("the archive has of %s %v; want it, who made it and who read it", made.GetName(), seen)
	}
}
