package scheduling

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/internal/suitetest"
)

const (
	yes   = schedulingv1.Rsvp_YES
	no    = schedulingv1.Rsvp_NO
	maybe = schedulingv1.Rsvp_MAYBE
)

// people are active memberships of the group as the membership service would tell of them.
func (f *fixture) people(n int) []string {
	f.t.Helper()
	names, ids := make([]string, n), make([]uuid.UUID, n)
	for i := range ids {
		ids[i] = aip.NewID()
		names[i] = aip.Name("memberships", ids[i])
	}
	ctx, s := f.server()
	group, org := selfID("groups", f.group), selfID("organizations", ours)
	if err := s.db.Tx(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `INSERT INTO attendees (membership_id, org_id, group_id, member_id, active, revision)
			SELECT id, $2, $3, gen_random_uuid(), true, 3 FROM unnest($1::uuid[]) AS m (id)`, ids, org, group)
		return err
	}); err != nil {
		f.t.Fatal(err)
	}
	return names
}

// active creates a member and her active membership of the group.
func (f *fixture) active(group string) (member, membership string) {
	f.t.Helper()
	name := f.newMembership(group)
	m, err := f.members.GetMembership(f.owner, &membershipv1.GetMembershipRequest{Name: name})
	if err == nil && m.GetState() != membershipv1.Membership_ACTIVE {
		m, err = f.members.ApproveMembership(f.owner, &membershipv1.ApproveMembershipRequest{Name: name})
	}
	if err == nil && m.GetState() == membershipv1.Membership_APPROVED_PENDING_GUIDELINES {
		m, err = f.members.AcknowledgeGuidelines(f.owner, &membershipv1.AcknowledgeGuidelinesRequest{Name: name})
	}
	if err != nil || m.GetState() != membershipv1.Membership_ACTIVE {
		f.t.Fatalf("membership: %v, %v, want it active", m, err)
	}
	ctx, srv := f.server()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for heard, end := false, time.Now().Add(time.Minute); !heard; <-tick.C { // the event of it is on its way
		if err := srv.db.Tx(ctx, func(tx pgx.Tx) error {
			return tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM attendees WHERE membership_id = $1 AND active)`, selfID("memberships", name)).Scan(&heard)
		}); err != nil {
			f.t.Fatal(err)
		}
		if !heard && time.Now().After(end) {
			f.t.Fatalf("%s is active, and scheduling has not heard of it", name)
		}
	}
	return m.GetMember(), name
}

func (f *fixture) rsvps() schedulingv1.RsvpServiceClient {
	return schedulingv1.NewRsvpServiceClient(f.Conn(service))
}

func (f *fixture) answer(ctx context.Context, session, membership string, answer schedulingv1.Rsvp_Answer, way ...schedulingv1.Rsvp_Way) (*schedulingv1.Rsvp, error) {
	req := &schedulingv1.SetRsvpRequest{Session: session, Membership: membership, Answer: answer}
	for _, w := range way {
		req.Way = w
	}
	return f.rsvps().SetRsvp(ctx, req)
}

// says answers, and fails unless that makes what is wanted: the state and the position on the waitlist.
func (f *fixture) says(session, membership string, answer schedulingv1.Rsvp_Answer, want string, way ...schedulingv1.Rsvp_Way) {
	f.t.Helper()
	got, err := f.answer(f.owner, session, membership, answer, way...)
	if err != nil || standing(got) != want {
		f.t.Fatalf("%s says %s: %s, %v, want %s", membership, answer, standing(got), err, want)
	}
}

func standing(r *schedulingv1.Rsvp) string {
	if r.GetState() == schedulingv1.Rsvp_WAITLISTED {
		return fmt.Sprintf("%s %s %d", r.GetState(), r.GetWay(), r.GetWaitlistPosition())
	}
	return fmt.Sprintf("%s %s", r.GetState(), r.GetWay())
}

// stands fails unless what is recorded for the membership is what is wanted.
func (f *fixture) stands(session, membership, want string) {
	f.t.Helper()
	got, err := f.rsvps().GetRsvp(f.owner, &schedulingv1.GetRsvpRequest{Name: session + "/rsvps/" + membership[len("memberships/"):]})
	if err != nil || standing(got) != want {
		f.t.Errorf("%s: %s, %v, want %s", membership, standing(got), err, want)
	}
}

func (f *fixture) updateSession(s *schedulingv1.Session, paths ...string) *schedulingv1.Session {
	f.t.Helper()
	got, err := f.UpdateSession(f.owner, &schedulingv1.UpdateSessionRequest{Session: s, UpdateMask: &fieldmaskpb.FieldMask{Paths: paths}})
	if err != nil {
		f.t.Fatalf("update session: %v", err)
	}
	return got
}

// TestAnswers follows places through yes, no and maybe, more seats and fewer.
func TestAnswers(t *testing.T) {
	t.Parallel()
	f := setup(t)
	in := f.weekly()
	in.Format, in.Seats = schedulingv1.Series_IN_PERSON, 2
	x := f.sessions("series = %q", f.create(in).GetName())[1].GetName()
	p := f.people(6)

	f.says(x, p[0], yes, "CONFIRMED IN_PERSON")
	f.says(x, p[1], maybe, "TENTATIVE IN_PERSON")
	f.says(x, p[2], yes, "CONFIRMED IN_PERSON")
	f.says(x, p[1], yes, "WAITLISTED IN_PERSON 1")
	f.says(x, p[3], yes, "WAITLISTED IN_PERSON 2")
	f.says(x, p[4], no, "DECLINED IN_PERSON")
	f.says(x, p[1], yes, "WAITLISTED IN_PERSON 1") // again: she keeps her place in line
	if got, want := f.session(x).GetPlaces(), (&schedulingv1.Session_Places{Confirmed: 2, Waitlisted: 2, Declined: 1}); !proto.Equal(got, want) {
		t.Errorf("places %v, want %v", got, want)
	}
	if _, err := f.answer(f.owner, x, p[5], yes, schedulingv1.Rsvp_ONLINE); refused(err) != "FailedPrecondition WAY_NOT_OFFERED" {
		t.Errorf("online: %v", err)
	}
	if _, err := f.rsvps().SetRsvp(f.owner, &schedulingv1.SetRsvpRequest{Session: x, Membership: p[0], Answer: no, Etag: `"9"`}); refused(err) != "Aborted ETAG_MISMATCH" {
		t.Errorf("stale etag: %v", err)
	}

	f.says(x, p[0], no, "DECLINED IN_PERSON")
	f.stands(x, p[1], "CONFIRMED IN_PERSON")
	f.stands(x, p[3], "WAITLISTED IN_PERSON 1")
	var told schedulingv1.RsvpChanged
	f.lastEvent(rsvpPromoted, x+"/rsvps/"+p[1][len("memberships/"):], &told)
	if told.GetState() != schedulingv1.Rsvp_CONFIRMED || told.GetMembership() != p[1] || told.GetSession() != x {
		t.Errorf("told %v", &told)
	}
	f.says(x, p[0], yes, "WAITLISTED IN_PERSON 2") // she is at the end of the line now
	f.updateSession(&schedulingv1.Session{Name: x, Seats: 3}, "seats")
	f.stands(x, p[3], "CONFIRMED IN_PERSON")
	f.updateSession(&schedulingv1.Session{Name: x, Seats: 1}, "seats")
	if got, want := f.session(x).GetPlaces(), (&schedulingv1.Session_Places{Confirmed: 3, Waitlisted: 1, Declined: 1}); !proto.Equal(got, want) {
		t.Errorf("with fewer seats: places %v, want %v", got, want)
	}
	f.says(x, p[2], maybe, "TENTATIVE IN_PERSON") // two are left for one seat
	f.stands(x, p[0], "WAITLISTED IN_PERSON 1")
	f.updateSession(&schedulingv1.Session{Name: x}, "seats") // any number
	f.stands(x, p[0], "CONFIRMED IN_PERSON")

	// More seats by the series reach the sessions that have none of their own.
	y := f.sessions("series = %q", f.session(x).GetSeries())[2].GetName()
	for i, want := range []string{"CONFIRMED IN_PERSON", "CONFIRMED IN_PERSON", "WAITLISTED IN_PERSON 1"} {
		f.says(y, p[i], yes, want)
	}
	f.update(&schedulingv1.Series{Name: f.session(x).GetSeries(), Seats: 5})
	f.stands(y, p[2], "CONFIRMED IN_PERSON")

	// A session that was cancelled keeps its answers.
	if _, err := f.CancelSession(f.owner, &schedulingv1.CancelSessionRequest{Name: y, Reason: "Snow"}); err != nil {
		t.Fatal(err)
	}
	if _, err := f.answer(f.owner, y, p[0], no); refused(err) != "FailedPrecondition SESSION_CANCELLED" {
		t.Errorf("answer to a cancelled one: %v", err)
	}
	back, err := f.MoveSession(f.owner, &schedulingv1.MoveSessionRequest{Name: y, LocalStart: "2027-03-19T19:00"})
	if err != nil || back.GetPlaces().GetConfirmed() != 3 {
		t.Errorf("brought back with %v, %v, want 3 confirmed", back.GetPlaces(), err)
	}
	list, err := f.rsvps().ListRsvps(f.owner, &schedulingv1.ListRsvpsRequest{Parent: "sessions/-", Filter: fmt.Sprintf(`membership = %q AND state = CONFIRMED`, p[1])})
	if err != nil || len(list.GetRsvps()) != 2 {
		t.Errorf("hers: %v, %v, want two", list, err)
	}

	f.Clock.Set(f.session(x).GetStartTime().AsTime())
	if _, err := f.answer(f.owner, x, p[0], no); refused(err) != "FailedPrecondition SESSION_BEGUN" {
		t.Errorf("answer after the start: %v", err)
	}
	if _, err := f.answer(f.owner, y, "memberships/"+uuid.NewString(), yes); refused(err) != "NotFound RESOURCE_NOT_FOUND" && refused(err) != "NotFound NOT_FOUND" {
		t.Errorf("nobody: %v", err)
	}
	if _, err := f.answer(f.stranger, y, p[0], yes); status.Code(err) != codes.NotFound {
		t.Errorf("a stranger: %v", err)
	}
}

// TestCrowd has a thousand people ask for ten places at once.
func TestCrowd(t *testing.T) {
	t.Parallel()
	const crowd, seats = 1000, 10
	f := setup(t)
	in := f.weekly()
	in.Format, in.Seats = schedulingv1.Series_IN_PERSON, seats
	x := f.sessions("series = %q", f.create(in).GetName())[1].GetName()
	people := f.people(crowd)
	errs := make([]error, crowd)
	var wg sync.WaitGroup
	at := make(chan int, crowd)
	for i := range people {
		at <- i
	}
	close(at)
	for range 32 {
		wg.Go(func() {
			for i := range at {
				_, errs[i] = f.answer(f.owner, x, people[i], yes)
			}
		})
	}
	wg.Wait()
	for i, err := range errs {
		if err != nil {
			t.Fatalf("%d: %v", i, err)
		}
	}
	if got, want := f.session(x).GetPlaces(), (&schedulingv1.Session_Places{Confirmed: seats, Waitlisted: crowd - seats}); !proto.Equal(got, want) {
		t.Errorf("places %v, want %v", got, want)
	}
	req, position := &schedulingv1.ListRsvpsRequest{Parent: x, Filter: "state = WAITLISTED", PageSize: 200}, int32(0)
	for {
		resp, err := f.rsvps().ListRsvps(f.owner, req)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range resp.GetRsvps() {
			if position++; r.GetWaitlistPosition() != position {
				t.Fatalf("%s waits at %d, want %d", r.GetMembership(), r.GetWaitlistPosition(), position)
			}
		}
		if req.PageToken = resp.GetNextPageToken(); req.PageToken == "" {
			break
		}
	}
	if position != crowd-seats {
		t.Errorf("%d are listed as waiting, want %d", position, crowd-seats)
	}
}

// TestWays takes a hybrid session through its formats: nobody loses her turn, no room is overfull.
func TestWays(t *testing.T) {
	t.Parallel()
	f := setup(t)
	in := f.weekly()
	in.Format, in.Seats, in.OnlineSeats = schedulingv1.Series_HYBRID, 1, 2
	x := f.sessions("series = %q", f.create(in).GetName())[1].GetName()
	p := f.people(5)
	f.says(x, p[0], yes, "CONFIRMED IN_PERSON")
	f.says(x, p[1], yes, "WAITLISTED IN_PERSON 1")
	f.says(x, p[2], yes, "CONFIRMED ONLINE", schedulingv1.Rsvp_ONLINE)
	f.says(x, p[3], yes, "CONFIRMED ONLINE", schedulingv1.Rsvp_ONLINE)
	f.says(x, p[4], yes, "WAITLISTED ONLINE 1", schedulingv1.Rsvp_ONLINE)
	f.says(x, p[1], yes, "WAITLISTED ONLINE 2", schedulingv1.Rsvp_ONLINE)
	f.says(x, p[2], yes, "WAITLISTED IN_PERSON 1", schedulingv1.Rsvp_IN_PERSON)
	f.stands(x, p[4], "CONFIRMED ONLINE")

	f.updateSession(&schedulingv1.Session{Name: x, Format: schedulingv1.Series_ONLINE, OnlineSeats: 3}, "format", "online_seats")
	f.stands(x, p[0], "CONFIRMED ONLINE") // she was before the others in line
	f.stands(x, p[3], "CONFIRMED ONLINE")
	f.stands(x, p[4], "CONFIRMED ONLINE")
	f.stands(x, p[1], "WAITLISTED ONLINE 1")
	f.stands(x, p[2], "WAITLISTED ONLINE 2")
	f.updateSession(&schedulingv1.Session{Name: x, Format: schedulingv1.Series_IN_PERSON}, "format")
	f.stands(x, p[0], "CONFIRMED IN_PERSON")
	f.stands(x, p[3], "WAITLISTED IN_PERSON 1")
	var told schedulingv1.RsvpChanged
	f.lastEvent(rsvpWaitlisted, x+"/rsvps/"+p[3][len("memberships/"):], &told)
}

// TestOfThemselves bounds members to their own answers and facilitators to what they lead.
func TestOfThemselves(t *testing.T) {
	t.Parallel()
	f := setup(t)
	in := f.weekly()
	in.Facilitators = []string{f.ana}
	list := f.sessions("series = %q", f.create(in).GetName())
	x := list[1].GetName()
	other := f.weekly()
	other.Group = f.newGroup(f.owner)
	elsewhere := f.sessions("series = %q", f.create(other).GetName())[1].GetName()
	wren, membership := f.active(f.group)
	finch, another := f.active(f.group)
	_, stray := f.active(other.Group)

	she, lead, ben := suitetest.Member(t.Context(), ours, wren), suitetest.Facilitator(t.Context(), ours, f.ana), suitetest.Facilitator(t.Context(), ours, f.ben)
	if _, err := f.answer(she, x, membership, yes); err != nil {
		t.Fatalf("for herself: %v", err)
	}
	if _, err := f.answer(lead, x, another, yes); err != nil {
		t.Fatalf("the lead for a member: %v", err)
	}
	for what, call := range map[string]func() error{
		"for another":                  func() error { _, err := f.answer(she, x, another, no); return err },
		"for another in another group": func() error { _, err := f.answer(she, elsewhere, stray, no); return err },
		"in another group":             func() error { _, err := f.answer(she, elsewhere, membership, yes); return err },
		"a lead of nothing":            func() error { _, err := f.answer(ben, x, another, no); return err },
		"reading another's": func() error {
			_, err := f.rsvps().GetRsvp(she, &schedulingv1.GetRsvpRequest{Name: x + "/rsvps/" + another[12:]})
			return err
		},
		"reading a session elsewhere": func() error {
			_, err := f.GetSession(she, &schedulingv1.GetSessionRequest{Name: elsewhere})
			return err
		},
		"cancelling what others lead": func() error {
			_, err := f.CancelSession(ben, &schedulingv1.CancelSessionRequest{Name: x, Reason: "x"})
			return err
		},
		"who comes to what others lead": func() error {
			_, err := f.rsvps().ListRsvps(ben, &schedulingv1.ListRsvpsRequest{Parent: x})
			return err
		},
		"another's time": func() error {
			_, err := f.rooms().QueryFreeBusy(ben, &schedulingv1.QueryFreeBusyRequest{Resources: []string{f.ana}, StartTime: list[0].GetStartTime(), EndTime: list[1].GetStartTime()})
			return err
		},
	} {
		if err := call(); status.Code(err) != codes.NotFound {
			t.Errorf("%s: %v, want NOT_FOUND", what, err)
		}
	}
	as := []string{"rooms" + strings.TrimPrefix(f.ana, "facilitators"), f.ben}
	if busy, err := f.rooms().QueryFreeBusy(ben, &schedulingv1.QueryFreeBusyRequest{Resources: as, StartTime: list[0].GetStartTime(), EndTime: list[1].GetStartTime()}); err != nil ||
		len(busy.GetCalendars()) != 2 || len(busy.GetCalendars()[0].GetBusy()) != 0 {
		t.Errorf("another's time as if she were a room: %v, %v", busy, err)
	}
	count := func(ctx context.Context) (n int) {
		resp, err := f.rsvps().ListRsvps(ctx, &schedulingv1.ListRsvpsRequest{Parent: x})
		if err != nil {
			t.Fatal(err)
		}
		return len(resp.GetRsvps())
	}
	if hers, leads, all := count(she), count(lead), count(f.owner); hers != 1 || leads != 2 || all != 2 {
		t.Errorf("she sees %d answers, the lead %d, the coordinator %d; want 1, 2, 2", hers, leads, all)
	}
	seen := func(ctx context.Context) (groups []string) {
		resp, err := f.ListSessions(ctx, &schedulingv1.ListSessionsRequest{PageSize: 200})
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range resp.GetSessions() {
			if !slices.Contains(groups, s.GetGroup()) {
				groups = append(groups, s.GetGroup())
			}
		}
		return groups
	}
	eventually(t, "a member sees her group's sessions", func() bool { return slices.Equal(seen(suitetest.Member(t.Context(), ours, finch)), []string{f.group}) })
	if got := seen(lead); !slices.Equal(got, []string{f.group}) {
		t.Errorf("the lead sees sessions of %v", got)
	}
	if got := seen(ben); got != nil {
		t.Errorf("a lead of nothing sees sessions of %v", got)
	}
	if _, err := f.HoldSession(she, &schedulingv1.HoldSessionRequest{Name: x}); status.Code(err) != codes.PermissionDenied {
		t.Errorf("a member holds a session: %v", err)
	}
}

// TestReleased gives the place of a member who leaves the group to the next.
func TestReleased(t *testing.T) {
	t.Parallel()
	f := setup(t)
	in := f.weekly()
	in.Format, in.Seats = schedulingv1.Series_IN_PERSON, 1
	list := f.sessions("series = %q", f.create(in).GetName())
	_, leaver := f.active(f.group)
	_, next := f.active(f.group)
	for _, s := range list[1:3] {
		f.says(s.GetName(), leaver, yes, "CONFIRMED IN_PERSON")
		f.says(s.GetName(), next, yes, "WAITLISTED IN_PERSON 1")
	}
	if _, err := f.members.EndMembership(f.owner, &membershipv1.EndMembershipRequest{Name: leaver, Reason: membershipv1.Membership_MOVED_ON}); err != nil {
		t.Fatal(err)
	}
	for _, s := range list[1:3] {
		eventually(t, "the place goes to the next", func() bool {
			return proto.Equal(f.session(s.GetName()).GetPlaces(), &schedulingv1.Session_Places{Confirmed: 1, Declined: 1})
		})
		f.stands(s.GetName(), next, "CONFIRMED IN_PERSON")
	}
	if _, err := f.answer(f.owner, list[3].GetName(), leaver, yes); refused(err) != "FailedPrecondition MEMBERSHIP_NOT_ACTIVE" {
		t.Errorf("who has left: %v", err)
	}
	if n := len(f.events(rsvpReleased)); n != 2 {
		t.Errorf("%d releases are told, want 2", n)
	}
}

// TestCheckIn has people come early, late and unasked, and records them as present once the session begins.
func TestCheckIn(t *testing.T) {
	t.Parallel()
	f := setup(t)
	in := f.weekly()
	in.Format, in.Seats = schedulingv1.Series_IN_PERSON, 2
	x := f.sessions("series = %q", f.create(in).GetName())[1]
	p := f.people(5)
	checkIn := func(i int) error {
		r, err := f.rsvps().CheckIn(f.owner, &schedulingv1.CheckInRequest{Session: x.GetName(), Membership: p[i]})
		if err == nil && (r.GetCheckInTime() == nil || r.GetState() != schedulingv1.Rsvp_CONFIRMED) {
			t.Errorf("checked in: %v", r)
		}
		return err
	}
	present := func() int {
		resp, err := f.ListAttendance(f.owner, &schedulingv1.ListAttendanceRequest{Parent: x.GetName(), Filter: "status = PRESENT"})
		if err != nil {
			t.Fatal(err)
		}
		return len(resp.GetAttendances())
	}
	f.says(x.GetName(), p[0], yes, "CONFIRMED IN_PERSON")
	f.says(x.GetName(), p[2], no, "DECLINED IN_PERSON")
	start := x.GetStartTime().AsTime()
	f.Clock.Set(start.Add(-31 * time.Minute))
	if err := checkIn(0); refused(err) != "FailedPrecondition CHECK_IN_NOT_OPEN" {
		t.Errorf("too early: %v", err)
	}
	f.Clock.Set(start.Add(-20 * time.Minute))
	if err := checkIn(0); err != nil {
		t.Fatal(err)
	}
	if err := checkIn(1); err != nil { // unasked, and there is a place
		t.Fatal(err)
	}
	if err := checkIn(3); refused(err) != "FailedPrecondition SESSION_FULL" {
		t.Errorf("no place is left: %v", err)
	}
	if n := present(); n != 0 {
		t.Errorf("%d are present before the start", n)
	}
	// Moved to later, it forgets who had come.
	moved, err := f.MoveSession(f.owner, &schedulingv1.MoveSessionRequest{Name: x.GetName(), LocalStart: "2027-03-11T20:00"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, s := f.server()
	f.Clock.Set(moved.GetStartTime().AsTime())
	if err := s.recordAllArrivals(ctx); err != nil || present() != 0 {
		t.Errorf("present at the moved session: %d, %v", present(), err)
	}
	if err := checkIn(0); err != nil || present() != 1 {
		t.Errorf("present after the start: %d, %v", present(), err)
	}
	if err := checkIn(0); err != nil || len(f.events(attendanceRecorded)) != 1 {
		t.Errorf("checked in twice: %v, told %v", err, f.events(attendanceRecorded))
	}
	// Of the rest what they said decides: one had a place, one had said no.
	resp, err := f.RecordAttendance(f.owner, &schedulingv1.RecordAttendanceRequest{Session: x.GetName(), FromAnswers: true, MarkHeld: true})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, a := range resp.GetAttendances() {
		got[a.GetMembership()] = a.GetStatus().String()
	}
	if len(got) != 2 || got[p[1]] != "ABSENT" || got[p[2]] != "EXCUSED" || resp.GetSession().GetState() != schedulingv1.Session_HELD {
		t.Errorf("recorded %v", resp)
	}
	f.Clock.Set(moved.GetEndTime().AsTime())
	if err := checkIn(4); refused(err) != "FailedPrecondition SESSION_OVER" {
		t.Errorf("after the end: %v", err)
	}
}

// TestArrivals records early arrivals by the job when the session begins, and once only.
func TestArrivals(t *testing.T) {
	t.Parallel()
	f := setup(t)
	x := f.sessions("series = %q", f.create(f.weekly()).GetName())[1]
	p := f.people(2)
	f.Clock.Set(x.GetStartTime().AsTime().Add(-time.Minute))
	for _, m := range p {
		if _, err := f.rsvps().CheckIn(f.owner, &schedulingv1.CheckInRequest{Session: x.GetName(), Membership: m}); err != nil {
			t.Fatal(err)
		}
	}
	f.Clock.Set(x.GetStartTime().AsTime())
	if _, err := f.RecordAttendance(f.owner, &schedulingv1.RecordAttendanceRequest{Session: x.GetName(), Entries: []*schedulingv1.RecordAttendanceRequest_Entry{
		{Membership: aip.Name("memberships", aip.NewID()), Status: schedulingv1.Attendance_PRESENT},
	}}); status.Code(err) != codes.InvalidArgument {
		t.Fatalf("a made-up membership: %v", err)
	}
	ctx, s := f.server()
	for range 2 {
		if err := s.recordAllArrivals(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if told := f.events(attendanceRecorded); len(told) != 2 {
		t.Errorf("told %v, want each once", told)
	}
	resp, err := f.ListAttendance(f.owner, &schedulingv1.ListAttendanceRequest{Parent: x.GetName()})
	if err != nil || len(resp.GetAttendances()) != 2 || resp.GetAttendances()[0].GetCheckInTime() == nil {
		t.Errorf("attendance: %v, %v", resp, err)
	}
}
