package scheduling

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/type/dayofweek"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	typev1 "cairn.care/gen/cairn/type/v1"
	"cairn.care/services/internal/suitetest"
)

func (f *fixture) rooms() schedulingv1.RoomsServiceClient {
	return schedulingv1.NewRoomsServiceClient(f.Conn(service))
}

func (f *fixture) newRoom(title string, seats int32) string {
	f.t.Helper()
	r, err := f.rooms().CreateRoom(f.owner, &schedulingv1.CreateRoomRequest{Room: &schedulingv1.Room{Title: title, Seats: seats}})
	if err != nil {
		f.t.Fatalf("create room: %v", err)
	}
	return r.GetName()
}

// TestSessionOfItsOwn gives a session something of its own, which survives changes of its series until it follows again.
func TestSessionOfItsOwn(t *testing.T) {
	t.Parallel()
	f := setup(t)
	in := f.weekly()
	in.Topics, in.Facilitators, in.Activity = []string{"Beginnings", "Sleep"}, []string{f.ana}, groupsv1.Group_OPEN_DISCUSSION
	s := f.create(in)
	x := f.sessions("series = %q", s.GetName())[1]
	if x.GetTopic() != "Sleep" || x.GetActivity() != groupsv1.Group_OPEN_DISCUSSION {
		t.Errorf("by the series: %v", x)
	}
	room := f.newRoom("Room 2", 12)
	got := f.updateSession(&schedulingv1.Session{
		Name: x.GetName(), Etag: x.GetEtag(), Topic: "Work after cancer", Activity: groupsv1.Group_GUEST_SPEAKER, GuestSpeaker: "Dr Iris Vogel", Room: room, Facilitators: []string{f.ben},
	})
	if got.GetSeats() != 12 || got.GetRoom() != room || !slices.Equal(got.GetFacilitators(), []string{f.ben}) ||
		strings.Join(got.GetOverrides().GetPaths(), " ") != "activity facilitators guest_speaker room seats topic" {
		t.Errorf("with something of its own: %v", got)
	}
	if _, err := f.UpdateSession(f.owner, &schedulingv1.UpdateSessionRequest{Session: &schedulingv1.Session{Name: x.GetName(), Etag: x.GetEtag(), Topic: "x"}}); refused(err) != "Aborted ETAG_MISMATCH" {
		t.Errorf("a second editor: %v", err)
	}
	f.update(&schedulingv1.Series{Name: s.GetName(), Topics: []string{"a", "b"}, Activity: groupsv1.Group_ART, LocalStart: "2027-03-04T18:00", Place: "Hall"})
	got = f.session(x.GetName())
	if got.GetLocalStart() != "2027-03-11T18:00:00" || got.GetPlace() != "Hall" || got.GetTopic() != "Work after cancer" || got.GetActivity() != groupsv1.Group_GUEST_SPEAKER ||
		got.GetRoom() != room || got.GetSeats() != 12 || !slices.Equal(got.GetFacilitators(), []string{f.ben}) {
		t.Errorf("after a change of the series: %v", got)
	}
	got, err := f.UpdateSession(f.owner, &schedulingv1.UpdateSessionRequest{
		Session: &schedulingv1.Session{Name: x.GetName()}, FollowSeries: &fieldmaskpb.FieldMask{Paths: []string{"topic", "activity", "facilitators", "guest_speaker"}},
	})
	if err != nil || got.GetTopic() != "b" || got.GetActivity() != groupsv1.Group_ART || !slices.Equal(got.GetFacilitators(), []string{f.ana}) || got.GetGuestSpeaker() != "" ||
		strings.Join(got.GetOverrides().GetPaths(), " ") != "room seats" {
		t.Errorf("following again: %v, %v", got, err)
	}
	for want, req := range map[string]*schedulingv1.UpdateSessionRequest{
		"InvalidArgument follow_series":           {Session: &schedulingv1.Session{Name: x.GetName()}, FollowSeries: &fieldmaskpb.FieldMask{Paths: []string{"title"}}},
		"InvalidArgument update_mask":             {Session: &schedulingv1.Session{Name: x.GetName()}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"start_time"}}},
		"InvalidArgument session.room":            {Session: &schedulingv1.Session{Name: x.GetName(), Room: "rooms/0192d7a5-0000-7000-8000-0000000000ff"}},
		"InvalidArgument session.facilitators[0]": {Session: &schedulingv1.Session{Name: x.GetName(), Facilitators: []string{f.newFacilitator(f.stranger, "Zoe")}}},
		"InvalidArgument session.seats":           {Session: &schedulingv1.Session{Name: x.GetName(), Seats: -1}},
	} {
		if _, err := f.UpdateSession(f.owner, req); refused(err) != want {
			t.Errorf("%v: %v, want %s", req, err, want)
		}
	}
	f.Clock.Set(got.GetStartTime().AsTime())
	if _, err := f.UpdateSession(f.owner, &schedulingv1.UpdateSessionRequest{Session: &schedulingv1.Session{Name: x.GetName(), Topic: "late"}}); refused(err) != "FailedPrecondition SESSION_BEGUN" {
		t.Errorf("after the start: %v", err)
	}
}

// TestRooms gives no room to two sessions at once, whoever tries, and says which one has it.
func TestRooms(t *testing.T) {
	t.Parallel()
	f := setup(t)
	room := f.newRoom("Room 2", 0)
	if _, err := f.rooms().CreateRoom(f.owner, &schedulingv1.CreateRoomRequest{Room: &schedulingv1.Room{Title: "room 2"}}); status.Code(err) != codes.AlreadyExists {
		t.Errorf("a second room of that name: %v", err)
	}
	const n = 6
	errs, groups := make([]error, n), make([]string, n)
	for i := range groups {
		groups[i] = f.newGroup(f.owner)
	}
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			in := f.weekly()
			in.Group, in.Room = groups[i], room
			_, errs[i] = f.CreateSeries(f.owner, &schedulingv1.CreateSeriesRequest{Series: in})
		})
	}
	wg.Wait()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
		} else if refused(err) != "FailedPrecondition ROOM_BUSY" || !strings.Contains(err.Error(), "sessions/") || !strings.Contains(err.Error(), "Europe/Berlin") {
			t.Errorf("got %v, want ROOM_BUSY and which session has it", err)
		}
	}
	if won != 1 {
		t.Fatalf("%d series have the room, want 1", won)
	}
	holder := f.sessions("")
	after := f.weekly()
	after.Room, after.LocalStart = room, "2027-03-04T20:30"
	next := f.sessions("series = %q", f.create(after).GetName())
	if _, err := f.MoveSession(f.owner, &schedulingv1.MoveSessionRequest{Name: next[1].GetName(), LocalStart: "2027-03-11T20:00"}); refused(err) != "FailedPrecondition ROOM_BUSY" {
		t.Errorf("move into it: %v", err)
	}
	if _, err := f.CancelSession(f.owner, &schedulingv1.CancelSessionRequest{Name: holder[1].GetName(), Reason: "Holiday"}); err != nil {
		t.Fatal(err)
	}
	if _, err := f.MoveSession(f.owner, &schedulingv1.MoveSessionRequest{Name: next[1].GetName(), LocalStart: "2027-03-11T20:00"}); err != nil {
		t.Errorf("move into a cancelled one's time: %v", err)
	}
	if _, err := f.MoveSession(f.owner, &schedulingv1.MoveSessionRequest{Name: holder[1].GetName(), LocalStart: "2027-03-11T19:30"}); refused(err) != "FailedPrecondition ROOM_BUSY" {
		t.Errorf("bring the cancelled one back: %v", err)
	}
	busy, err := f.rooms().QueryFreeBusy(f.owner, &schedulingv1.QueryFreeBusyRequest{
		Resources: []string{f.ana, room}, StartTime: timestamppb.New(thursday), EndTime: timestamppb.New(thursday.Add(8 * 24 * time.Hour)),
	})
	if err != nil || len(busy.GetCalendars()) != 2 || len(busy.GetCalendars()[0].GetBusy()) != 0 || len(busy.GetCalendars()[1].GetBusy()) != 3 ||
		busy.GetCalendars()[1].GetBusy()[2].GetSession() != next[1].GetName() {
		t.Errorf("free and busy: %v, %v", busy, err)
	}
	if busy, err = f.rooms().QueryFreeBusy(f.stranger, &schedulingv1.QueryFreeBusyRequest{
		Resources: []string{room}, StartTime: timestamppb.New(thursday), EndTime: timestamppb.New(thursday.Add(8 * 24 * time.Hour)),
	}); err != nil || len(busy.GetCalendars()[0].GetBusy()) != 0 {
		t.Errorf("a stranger sees %v, %v", busy, err)
	}

	if _, err := f.rooms().DeleteRoom(f.owner, &schedulingv1.DeleteRoomRequest{Name: room}); refused(err) != "FailedPrecondition ROOM_IN_USE" {
		t.Errorf("delete a room in use: %v", err)
	}
	if _, err := f.rooms().DeleteRoom(f.stranger, &schedulingv1.DeleteRoomRequest{Name: room}); status.Code(err) != codes.NotFound {
		t.Errorf("delete another's room: %v", err)
	}
	spare := f.newRoom("Spare", 3)
	if r, err := f.rooms().UpdateRoom(f.owner, &schedulingv1.UpdateRoomRequest{Room: &schedulingv1.Room{Name: spare, Seats: 4}}); err != nil || r.GetSeats() != 4 || r.GetTitle() != "Spare" {
		t.Errorf("update: %v, %v", r, err)
	}
	if _, err := f.rooms().DeleteRoom(f.owner, &schedulingv1.DeleteRoomRequest{Name: spare}); err != nil {
		t.Errorf("delete: %v", err)
	}
	if _, err := f.rooms().GetRoom(f.owner, &schedulingv1.GetRoomRequest{Name: spare}); status.Code(err) != codes.NotFound {
		t.Errorf("read a deleted room: %v", err)
	}
	if list, err := f.rooms().ListRooms(f.owner, &schedulingv1.ListRoomsRequest{}); err != nil || len(list.GetRooms()) != 1 {
		t.Errorf("rooms: %v, %v", list, err)
	}
}

// TestSubstitute has somebody stand in once, somebody else instead, and the facilitator after all.
func TestSubstitute(t *testing.T) {
	t.Parallel()
	f := setup(t)
	in := f.weekly()
	in.Facilitators = []string{f.ana}
	s := f.create(in)
	x := f.sessions("series = %q", s.GetName())[1]
	cleo := f.newFacilitator(f.owner, "Cleo")
	put := func(absent, substitute string) (*schedulingv1.Session, error) {
		return f.SubstituteFacilitator(f.owner, &schedulingv1.SubstituteFacilitatorRequest{Name: x.GetName(), Facilitator: absent, Substitute: substitute})
	}
	got, err := put(f.ana, f.ben)
	if err != nil || !slices.Equal(got.GetFacilitators(), []string{f.ben}) || len(got.GetSubstitutions()) != 1 || got.GetSubstitutions()[0].GetStandsInFor() != f.ana {
		t.Fatalf("ben for ana: %v, %v", got, err)
	}
	f.update(&schedulingv1.Series{Name: s.GetName(), Place: "Hall"})
	if got = f.session(x.GetName()); !slices.Equal(got.GetFacilitators(), []string{f.ben}) {
		t.Errorf("after a change of the series: %v", got)
	}
	// She who stands in may act for the session, and for this one only.
	ben := suitetest.Facilitator(t.Context(), ours, f.ben)
	if resp, err := f.ListSessions(ben, &schedulingv1.ListSessionsRequest{}); err != nil || len(resp.GetSessions()) != 1 {
		t.Errorf("the substitute sees %v, %v", resp, err)
	}
	if got, err = put(f.ana, cleo); err != nil || !slices.Equal(got.GetFacilitators(), []string{cleo}) || len(got.GetSubstitutions()) != 1 {
		t.Errorf("cleo for ana: %v, %v", got, err)
	}
	if _, err := put(f.ben, cleo); refused(err) != "FailedPrecondition NOT_LEADING" {
		t.Errorf("for who does not lead: %v", err)
	}
	if _, err := put(f.ana, f.ana); refused(err) != "InvalidArgument substitute" {
		t.Errorf("for herself: %v", err)
	}
	other := f.weekly()
	other.Group, other.Facilitators = f.newGroup(f.owner), []string{f.ben}
	f.create(other)
	if _, err := put(f.ana, f.ben); refused(err) != "FailedPrecondition FACILITATOR_BUSY" {
		t.Errorf("who leads another: %v", err)
	}
	if got, err = put(f.ana, ""); err != nil || !slices.Equal(got.GetFacilitators(), []string{f.ana}) || got.GetSubstitutions() != nil {
		t.Errorf("ana after all: %v, %v", got, err)
	}
}

// TestTimesOfTheWeek finds sessions by the clock on their own wall.
func TestTimesOfTheWeek(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.create(f.weekly())
	other := f.weekly()
	other.Group, other.Rrule, other.TimeZone, other.LocalStart = f.newGroup(f.owner), "FREQ=DAILY", "America/Chicago", "2027-03-05T09:30"
	f.create(other)
	find := func(filter string, times ...*typev1.TimeOfWeek) (starts []string) {
		req := &schedulingv1.ListSessionsRequest{PageSize: 7, Filter: filter, Times: times}
		for {
			resp, err := f.ListSessions(f.owner, req)
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range resp.GetSessions() {
				starts = append(starts, s.GetLocalStart())
			}
			if req.PageToken = resp.GetNextPageToken(); req.PageToken == "" {
				return starts
			}
		}
	}
	const april = `start_time >= "2027-03-25T00:00:00Z" AND start_time < "2027-04-09T00:00:00Z"` // both zones change theirs
	if got, want := find(april, &typev1.TimeOfWeek{Day: dayofweek.DayOfWeek_THURSDAY, StartMinute: 19 * 60, EndMinute: 20 * 60}),
		[]string{"2027-03-25T19:00:00", "2027-04-01T19:00:00", "2027-04-08T19:00:00"}; !slices.Equal(got, want) {
		t.Errorf("Thursday evenings: %v, want %v", got, want)
	}
	if got := find(april, &typev1.TimeOfWeek{StartMinute: 9 * 60, EndMinute: 9*60 + 30}); got != nil {
		t.Errorf("before half past nine: %v", got)
	}
	if got := find(april, &typev1.TimeOfWeek{StartMinute: 9*60 + 30, EndMinute: 10 * 60}); len(got) != 15 {
		t.Errorf("%d mornings, want 15", len(got))
	}
	if got := find(april, &typev1.TimeOfWeek{Day: dayofweek.DayOfWeek_SUNDAY, StartMinute: 0, EndMinute: 1440}, &typev1.TimeOfWeek{Day: dayofweek.DayOfWeek_THURSDAY, StartMinute: 1080, EndMinute: 1440}); len(got) != 5 {
		t.Errorf("Sundays and Thursday evenings: %v", got)
	}
}
