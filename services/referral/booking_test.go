package referral

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	membershipv1 "cairn.care/gen/cairn/membership/v1"
	referralv1 "cairn.care/gen/cairn/referral/v1"
	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	"cairn.care/services/chassis/auth"
)

// desk is the fixture with sessions to book places in.
type desk struct {
	*fixture
	referralv1.BookingsServiceClient
	rsvps schedulingv1.RsvpServiceClient
}

func bookingDesk(t *testing.T) *desk {
	t.Helper()
	f := setup(t)
	f.weekly(f.group)
	return &desk{f, referralv1.NewBookingsServiceClient(f.Conn(service)), schedulingv1.NewRsvpServiceClient(f.Conn("scheduling"))}
}

func (d *desk) book(ctx context.Context, r *referralv1.Referral, s *schedulingv1.Session) (*referralv1.Booking, error) {
	return d.CreateBooking(ctx, &referralv1.CreateBookingRequest{Booking: &referralv1.Booking{Referral: r.GetName(), Session: s.GetName()}})
}

func (d *desk) mustBook(r *referralv1.Referral, s *schedulingv1.Session) *referralv1.Booking {
	d.t.Helper()
	b, err := d.book(d.refer, r, s)
	if err != nil {
		d.t.Fatalf("book: %v", err)
	}
	return b
}

// awaitBooking waits until a booking is in a state.
func (d *desk) awaitBooking(name string, want referralv1.Booking_State, why referralv1.Booking_CancelReason) *referralv1.Booking {
	d.t.Helper()
	var b *referralv1.Booking
	d.eventually(func() (err error) {
		if b, err = d.GetBooking(d.refer, &referralv1.GetBookingRequest{Name: name}); err != nil {
			return err
		}
		if b.GetState() != want || b.GetCancelReason() != why {
			return fmt.Errorf("the booking is %s, %s; want %s, %s", b.GetState(), b.GetCancelReason(), want, why)
		}
		return nil
	})
	return b
}

// awaitExpected waits until the referral expects her at the session.
func (d *desk) awaitExpected(referral, session string) {
	d.t.Helper()
	d.eventually(func() error {
		if r := d.get(d.refer, referral); r.GetFirstSession() != session || r.GetState() != scheduled {
			return fmt.Errorf("%s, expected at %q; want SCHEDULED, at %s", r.GetState(), r.GetFirstSession(), session)
		}
		return nil
	})
}

func (d *desk) told(booking string) string {
	d.t.Helper()
	var all []string
	for _, kind := range d.published(booking) {
		all = append(all, strings.TrimPrefix(kind, "care.cairn.referral.booking."))
	}
	return strings.Join(all, " ")
}

func (d *desk) rsvp(session, membership string) *schedulingv1.Rsvp {
	d.t.Helper()
	r, err := d.rsvps.GetRsvp(d.receive, &schedulingv1.GetRsvpRequest{Name: session + "/rsvps/" + strings.TrimPrefix(membership, "memberships/")})
	if err != nil {
		d.t.Fatalf("get rsvp: %v", err)
	}
	return r
}

// A hospital books a place for the person that it referred, and the referral expects her there.
func TestAPlaceIsBooked(t *testing.T) {
	t.Parallel()
	d := bookingDesk(t)
	r := d.seated()
	sessions := d.sessions(d.group)
	d.awaitExpected(r.GetName(), sessions[0].GetName())

	b := d.mustBook(r, sessions[2])
	if b.GetState() != referralv1.Booking_BOOKED || b.GetGroup() != d.group || b.GetOrganization() != d.hospital || b.GetOwnerOrganization() != d.nonprofit ||
		!b.GetStartTime().AsTime().Equal(sessions[2].GetStartTime().AsTime()) || !b.GetEndTime().AsTime().Equal(sessions[2].GetEndTime().AsTime()) {
		t.Errorf("booked %v", b)
	}
	if a := d.rsvp(sessions[2].GetName(), r.GetMembership()); a.GetState() != schedulingv1.Rsvp_CONFIRMED {
		t.Errorf("her answer is %s, want CONFIRMED", a.GetState())
	}
	d.awaitExpected(r.GetName(), sessions[2].GetName()) // said by people, against found by itself

	earlier := d.mustBook(r, sessions[1])
	d.awaitExpected(r.GetName(), sessions[1].GetName())
	if again := d.mustBook(r, sessions[1]); again.GetName() != earlier.GetName() || again.GetEtag() != earlier.GetEtag() {
		t.Errorf("booked again: %v, want %v", again, earlier)
	}

	if earlier, err := d.CancelBooking(d.refer, &referralv1.CancelBookingRequest{Name: earlier.GetName(), Reason: referralv1.Booking_PERSON}); err != nil ||
		earlier.GetState() != referralv1.Booking_CANCELLED || earlier.GetCancelReason() != referralv1.Booking_PERSON {
		t.Errorf("cancelled: %v, %v", earlier, err)
	}
	d.awaitExpected(r.GetName(), sessions[2].GetName())
	if a := d.rsvp(sessions[1].GetName(), r.GetMembership()); a.GetState() != schedulingv1.Rsvp_DECLINED {
		t.Errorf("her answer is %s, want DECLINED", a.GetState())
	}
	if _, err := d.CancelBooking(d.refer, &referralv1.CancelBookingRequest{Name: earlier.GetName()}); err != nil {
		t.Errorf("cancelled twice: %v", err)
	}
	if again := d.mustBook(r, sessions[1]); again.GetName() != earlier.GetName() || again.GetState() != referralv1.Booking_BOOKED || again.GetCancelReason() != 0 {
		t.Errorf("booked after it was cancelled: %v", again)
	}
	if got, want := d.told(earlier.GetName()), "booked cancelled booked"; got != want {
		t.Errorf("told %q, want %q", got, want)
	}
	d.awaitExpected(r.GetName(), sessions[1].GetName())
}

// Of many calls at once there is one booking, and of copies of one call one answer.
func TestABookingIsMadeOnce(t *testing.T) {
	t.Parallel()
	d := bookingDesk(t)
	r := d.seated()
	s := d.sessions(d.group)[1]
	const n = 8
	answers, failed := make(chan *referralv1.Booking, n), make(chan error, n)
	id := uuid.NewString()
	for i := range n {
		go func() {
			req := &referralv1.CreateBookingRequest{Booking: &referralv1.Booking{Referral: r.GetName(), Session: s.GetName()}}
			if i%2 == 0 {
				req.RequestId = id
			}
			b, err := d.CreateBooking(d.refer, req)
			answers <- b
			failed <- err
		}()
	}
	var names []string
	for range n {
		if err := <-failed; err != nil {
			t.Errorf("book: %v", err)
		}
		names = append(names, (<-answers).GetName())
	}
	if slices.Sort(names); len(slices.Compact(names)) != 1 {
		t.Errorf("%d bookings, want one", len(names))
	}
	if got := query[int](d.fixture, `SELECT count(*) FROM bookings`); got != 1 {
		t.Errorf("%d rows, want one", got)
	}
	if told := d.told(names[0]); told != "booked" {
		t.Errorf("told %q, want once", told)
	}
}

// What happens to the session and to her answer happens to the booking.
func TestABookingFollowsItsSession(t *testing.T) {
	t.Parallel()
	d := bookingDesk(t)
	r := d.seated()
	sessions := d.sessions(d.group)
	first, second := d.mustBook(r, sessions[1]), d.mustBook(r, sessions[2])
	d.awaitExpected(r.GetName(), sessions[1].GetName())

	later := sessions[1].GetStartTime().AsTime().Add(2 * time.Hour)
	if _, err := d.scheduling.MoveSession(d.receive, &schedulingv1.MoveSessionRequest{
		Name: sessions[1].GetName(), LocalStart: later.In(chicago(t)).Format("2006-01-02T15:04"), Duration: durationpb.New(time.Hour),
	}); err != nil {
		t.Fatal(err)
	}
	d.eventually(func() error {
		b, err := d.GetBooking(d.refer, &referralv1.GetBookingRequest{Name: first.GetName()})
		if err != nil || !b.GetStartTime().AsTime().Equal(later) || !b.GetEndTime().AsTime().Equal(later.Add(time.Hour)) {
			return fmt.Errorf("%v, %w: want it at %s", b, err, later)
		}
		return nil
	})
	if _, err := d.scheduling.CancelSession(d.receive, &schedulingv1.CancelSessionRequest{Name: sessions[1].GetName(), Reason: "Snow."}); err != nil {
		t.Fatal(err)
	}
	d.awaitBooking(first.GetName(), referralv1.Booking_CANCELLED, referralv1.Booking_SESSION)
	d.awaitExpected(r.GetName(), sessions[2].GetName()) // the one that is booked, not the first that there is

	answer := func(a schedulingv1.Rsvp_Answer) {
		t.Helper()
		if _, err := d.rsvps.SetRsvp(d.receive, &schedulingv1.SetRsvpRequest{Session: sessions[2].GetName(), Membership: r.GetMembership(), Answer: a}); err != nil {
			t.Fatal(err)
		}
	}
	answer(schedulingv1.Rsvp_MAYBE)
	d.awaitBooking(second.GetName(), referralv1.Booking_PENDING, 0)
	answer(schedulingv1.Rsvp_NO)
	d.awaitBooking(second.GetName(), referralv1.Booking_CANCELLED, referralv1.Booking_ANSWER)
	answer(schedulingv1.Rsvp_YES)
	d.awaitBooking(second.GetName(), referralv1.Booking_BOOKED, 0)

	d.Clock.Set(sessions[2].GetStartTime().AsTime().Add(time.Hour))
	d.attend(sessions[2].GetName(), r.GetMembership(), schedulingv1.Attendance_ABSENT)
	d.awaitBooking(second.GetName(), referralv1.Booking_MISSED, 0)
	d.attend(sessions[2].GetName(), r.GetMembership(), schedulingv1.Attendance_PRESENT)
	d.awaitBooking(second.GetName(), referralv1.Booking_ATTENDED, 0)
	d.await(r.GetName(), engaged)
	if got, want := d.told(second.GetName()), "booked pending cancelled booked missed attended"; got != want {
		t.Errorf("told %q, want %q", got, want)
	}
}

// What its series drops and has again is booked as before, and she is expected there again.
func TestABookingComesBackWithItsSession(t *testing.T) {
	t.Parallel()
	d := bookingDesk(t)
	r := d.seated()
	sessions := d.sessions(d.group)
	b := d.mustBook(r, sessions[1])
	d.awaitExpected(r.GetName(), sessions[1].GetName())
	every := func(weeks int) {
		t.Helper()
		if _, err := d.scheduling.UpdateSeries(d.receive, &schedulingv1.UpdateSeriesRequest{
			Series: &schedulingv1.Series{Name: sessions[1].GetSeries(), Rrule: fmt.Sprintf("FREQ=WEEKLY;INTERVAL=%d", weeks)},
		}); err != nil {
			t.Fatal(err)
		}
	}
	every(2)
	d.awaitBooking(b.GetName(), referralv1.Booking_CANCELLED, referralv1.Booking_SESSION)
	d.awaitExpected(r.GetName(), sessions[0].GetName())
	every(1)
	d.awaitBooking(b.GetName(), referralv1.Booking_BOOKED, 0)
	d.awaitExpected(r.GetName(), sessions[1].GetName())
	if got, want := d.told(b.GetName()), "booked cancelled booked"; got != want {
		t.Errorf("told %q, want %q", got, want)
	}
}

// Room limits hold, and who waits gets the place that becomes free.
func TestABookingWaits(t *testing.T) {
	t.Parallel()
	d := bookingDesk(t)
	sessions := d.sessions(d.group)
	if _, err := d.scheduling.UpdateSession(d.receive, &schedulingv1.UpdateSessionRequest{
		Session: &schedulingv1.Session{Name: sessions[1].GetName(), OnlineSeats: 1},
	}); err != nil {
		t.Fatal(err)
	}
	one := d.mustBook(d.seated(), sessions[1])
	other := func(r *referralv1.Referral) {
		r.Subject.Identifiers[0].Value = "MRN-2"
		r.PlacerNumber = "P-2"
	}
	waits := d.mustBook(d.seated(other), sessions[1])
	if one.GetState() != referralv1.Booking_BOOKED || waits.GetState() != referralv1.Booking_WAITLISTED {
		t.Fatalf("%s and %s, want BOOKED and WAITLISTED", one.GetState(), waits.GetState())
	}
	if _, err := d.CancelBooking(d.refer, &referralv1.CancelBookingRequest{Name: one.GetName()}); err != nil {
		t.Fatal(err)
	}
	d.awaitBooking(waits.GetName(), referralv1.Booking_BOOKED, 0)
	d.awaitExpected(waits.GetReferral(), sessions[1].GetName())

	// Her membership over, she holds nothing.
	r := d.get(d.refer, waits.GetReferral())
	if _, err := d.membership.EndMembership(d.receive, &membershipv1.EndMembershipRequest{Name: r.GetMembership(), Reason: membershipv1.Membership_MOVED_ON}); err != nil {
		t.Fatal(err)
	}
	d.awaitBooking(waits.GetName(), referralv1.Booking_CANCELLED, referralv1.Booking_ANSWER)
}

func TestWhatCannotBeBooked(t *testing.T) {
	t.Parallel()
	d := bookingDesk(t)
	seated := d.seated()
	sessions := d.sessions(d.group)
	other := d.newGroup(d.receive)
	d.weekly(other)
	elsewhere := d.sessions(other)[1]
	cancelled := sessions[3]
	if _, err := d.scheduling.CancelSession(d.receive, &schedulingv1.CancelSessionRequest{Name: cancelled.GetName(), Reason: "Snow."}); err != nil {
		t.Fatal(err)
	}
	person := func(n int) func(*referralv1.Referral) {
		return func(r *referralv1.Referral) {
			r.Subject.Identifiers[0].Value, r.PlacerNumber = fmt.Sprint("MRN-", n), fmt.Sprint("P-", n)
		}
	}
	sent, pending := d.send(person(2)), d.accept(d.send(person(3)))
	third := d.newGroup(d.receive, func(g *groupsv1.Group) { g.Capacity = &groupsv1.Group_Capacity{Seats: 9} })
	d.weekly(third)
	at := d.sessions(third)[1]
	expiring := d.seated(person(4), func(r *referralv1.Referral) {
		r.RequestedGroup = third
		r.Consent.ExpireTime = timestamppb.New(thursday.Add(time.Hour))
	})
	ended := d.seated(person(5), func(r *referralv1.Referral) { r.RequestedGroup = third })
	if _, err := d.CancelReferral(d.refer, &referralv1.CancelReferralRequest{Name: ended.GetName()}); err != nil {
		t.Fatal(err)
	}
	missing := &schedulingv1.Session{Name: "sessions/0192d7a5-0000-7000-8000-0000000000ff"}
	for name, tt := range map[string]struct {
		ctx      context.Context
		referral *referralv1.Referral
		session  *schedulingv1.Session
		want     string
	}{
		"nobody has accepted it":             {d.refer, sent, sessions[1], "FailedPrecondition NOT_PLACED"},
		"she has not read the guidelines":    {d.refer, pending, sessions[1], "FailedPrecondition MEMBERSHIP_NOT_ACTIVE"},
		"another group's session":            {d.refer, seated, elsewhere, "FailedPrecondition OTHER_GROUP"},
		"no session":                         {d.refer, seated, missing, "FailedPrecondition OTHER_GROUP"},
		"a cancelled session":                {d.refer, seated, cancelled, "FailedPrecondition SESSION_CANCELLED"},
		"the referral has ended":             {d.refer, ended, at, "FailedPrecondition REFERRAL_ENDED"},
		"another hospital's":                 {d.strange, seated, sessions[1], "NotFound NOT_FOUND"},
		"another nonprofit's":                {d.other, seated, sessions[1], "NotFound NOT_FOUND"},
		"the owner may, as the referrer may": {d.receive, seated, sessions[1], "OK"},
	} {
		if _, err := d.book(tt.ctx, tt.referral, tt.session); errText(err) != tt.want {
			t.Errorf("%s: %v, want %s", name, err, tt.want)
		}
	}
	d.Clock.Set(thursday.Add(2 * time.Hour))
	if _, err := d.book(d.refer, expiring, at); errText(err) != "FailedPrecondition CONSENT_OVER" {
		t.Errorf("her consent is over: %v", err)
	}
	d.Clock.Set(sessions[2].GetStartTime().AsTime())
	if _, err := d.book(d.refer, seated, sessions[2]); errText(err) != "FailedPrecondition SESSION_BEGUN" {
		t.Errorf("it has begun: %v", err)
	}
	if got := query[int](d.fixture, `SELECT count(*) FROM bookings WHERE answer_revision > 0`); got != 1 {
		t.Errorf("%d bookings, want the owner's", got)
	}
	list, err := d.ListBookings(d.refer, &referralv1.ListBookingsRequest{})
	if err != nil || len(list.GetBookings()) != 1 {
		t.Fatalf("listed %v, %v; want the owner's: the hospital sees it too", list, err)
	}
	name := list.GetBookings()[0].GetName()
	if _, err := d.CancelBooking(d.refer, &referralv1.CancelBookingRequest{Name: name}); errText(err) != "FailedPrecondition SESSION_BEGUN" {
		t.Errorf("cancelled after it has begun: %v", err)
	}
	for _, ctx := range []context.Context{d.strange, d.other} {
		if _, err := d.GetBooking(ctx, &referralv1.GetBookingRequest{Name: name}); errText(err) != "NotFound NOT_FOUND" {
			t.Errorf("a stranger: %v", err)
		}
		if _, err := d.CancelBooking(ctx, &referralv1.CancelBookingRequest{Name: name}); errText(err) != "NotFound NOT_FOUND" {
			t.Errorf("a stranger cancels: %v", err)
		}
		if list, err := d.ListBookings(ctx, &referralv1.ListBookingsRequest{}); err != nil || len(list.GetBookings()) != 0 {
			t.Errorf("a stranger lists %v, %v", list, err)
		}
	}
}

// A caller that dies once scheduling has given the place, or took it back, is followed by what scheduling tells.
func TestABookingOutlivesItsCaller(t *testing.T) {
	t.Parallel()
	d := bookingDesk(t)
	r := d.seated()
	s := d.sessions(d.group)[1]
	id, err := uuid.Parse(strings.TrimPrefix(r.GetName(), "referrals/"))
	if err != nil {
		t.Fatal(err)
	}
	ctx := d.system()
	if err := d.srv.db.Tx(ctx, func(tx pgx.Tx) error {
		row, err := find(ctx, tx, auth.Tenant{All: true}, id)
		if err != nil {
			return err
		}
		return d.srv.intendBooking(ctx, tx, row, s)
	}); err != nil {
		t.Fatal(err)
	}
	if list, err := d.ListBookings(d.refer, &referralv1.ListBookingsRequest{}); err != nil || len(list.GetBookings()) != 0 {
		t.Errorf("before there is a place: %v, %v; want none", list, err)
	}
	if _, err := d.rsvps.SetRsvp(d.receive, &schedulingv1.SetRsvpRequest{Session: s.GetName(), Membership: r.GetMembership(), Answer: schedulingv1.Rsvp_YES}); err != nil {
		t.Fatal(err)
	}
	d.eventually(func() error {
		list, err := d.ListBookings(d.refer, &referralv1.ListBookingsRequest{Filter: fmt.Sprintf("session = %q AND state = BOOKED", s.GetName())})
		if err != nil || len(list.GetBookings()) != 1 {
			return fmt.Errorf("%v, %w; want it booked", list, err)
		}
		return nil
	})
	d.awaitExpected(r.GetName(), s.GetName())
}

func TestBookingsAreListedInPages(t *testing.T) {
	t.Parallel()
	d := bookingDesk(t)
	r := d.seated()
	var want, got []string
	for _, s := range d.sessions(d.group)[:5] {
		want = append(want, d.mustBook(r, s).GetName())
	}
	req := &referralv1.ListBookingsRequest{PageSize: 2, Filter: fmt.Sprintf("referral = %q", r.GetName())}
	for pages := 1; ; pages++ {
		resp, err := d.ListBookings(d.receive, req)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range resp.GetBookings() {
			got = append(got, b.GetName())
		}
		if req.PageToken = resp.GetNextPageToken(); req.PageToken == "" {
			if pages != 3 {
				t.Errorf("%d pages, want 3", pages)
			}
			break
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("listed %q, want %q", got, want)
	}
	if _, err := d.CancelBooking(d.refer, &referralv1.CancelBookingRequest{Name: want[0], Etag: `"99"`}); errText(err) != "Aborted ETAG_MISMATCH" {
		t.Errorf("another version: %v", err)
	}
}

func TestBookingsAreListedByWhatIsNamed(t *testing.T) {
	t.Parallel()
	d := bookingDesk(t)
	one, two := d.seated(), d.seated(func(r *referralv1.Referral) {
		r.Subject.Identifiers[0].Value, r.PlacerNumber = "MRN-2", "P-2"
	})
	sessions := d.sessions(d.group)
	a, b, c := d.mustBook(one, sessions[0]), d.mustBook(one, sessions[1]), d.mustBook(two, sessions[1])
	others := func(collection string, names ...string) []string { // more than a filter can hold
		for range 150 {
			names = append(names, collection+"/"+uuid.NewString())
		}
		return names
	}
	for name, tt := range map[string]struct {
		req  *referralv1.ListBookingsRequest
		want []*referralv1.Booking
	}{
		"bookings":             {&referralv1.ListBookingsRequest{Bookings: others("bookings", a.GetName(), c.GetName())}, []*referralv1.Booking{a, c}},
		"patients":             {&referralv1.ListBookingsRequest{Patients: others("patients", one.GetPatient())}, []*referralv1.Booking{a, b}},
		"referrals":            {&referralv1.ListBookingsRequest{Referrals: others("referrals", two.GetName())}, []*referralv1.Booking{c}},
		"sessions":             {&referralv1.ListBookingsRequest{Sessions: others("sessions", sessions[1].GetName())}, []*referralv1.Booking{b, c}},
		"a person as an actor": {&referralv1.ListBookingsRequest{Actors: others("groups", two.GetPatient())}, []*referralv1.Booking{c}},
		"a group as an actor":  {&referralv1.ListBookingsRequest{Actors: others("patients", d.group)}, []*referralv1.Booking{a, b, c}},
		"nobody":               {&referralv1.ListBookingsRequest{Actors: others("groups")}, nil},
		"together": {&referralv1.ListBookingsRequest{
			Patients: []string{one.GetPatient()}, Sessions: []string{sessions[1].GetName()}, Filter: "state = BOOKED",
		}, []*referralv1.Booking{b}},
		"together, none": {&referralv1.ListBookingsRequest{Patients: []string{one.GetPatient()}, Filter: "state = CANCELLED"}, nil},
	} {
		resp, err := d.ListBookings(d.refer, tt.req)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var got, want []string
		for _, b := range resp.GetBookings() {
			got = append(got, b.GetName())
		}
		for _, b := range tt.want {
			want = append(want, b.GetName())
		}
		slices.Sort(got)
		if slices.Sort(want); !slices.Equal(got, want) {
			t.Errorf("%s: listed %q, want %q", name, got, want)
		}
	}
	page, err := d.ListBookings(d.refer, &referralv1.ListBookingsRequest{Patients: []string{one.GetPatient()}, PageSize: 1})
	if err != nil || page.GetNextPageToken() == "" {
		t.Fatalf("the first of two: %v, %v", page, err)
	}
	if _, err := d.ListBookings(d.refer, &referralv1.ListBookingsRequest{Patients: []string{two.GetPatient()}, PageSize: 1, PageToken: page.GetNextPageToken()}); !strings.HasPrefix(errText(err), "InvalidArgument") {
		t.Errorf("the page of another query: %v", err)
	}
}

// chicago is the zone of the fixture's sessions.
func chicago(t *testing.T) *time.Location {
	t.Helper()
	zone, err := time.LoadLocation("America/Chicago")
	if err != nil {
		t.Fatal(err)
	}
	return zone
}

// What was booked for a person goes into her archive, and goes with her.
func TestBookingsAreExportedAndErased(t *testing.T) {
	t.Parallel()
	d := bookingDesk(t)
	r := d.seated()
	b := d.mustBook(r, d.sessions(d.group)[1])
	privacy := referralv1.NewPrivacyServiceClient(d.ConnAs("membership", service))
	stream, err := privacy.ExportReferrals(auth.System(t.Context(), "membership"), &referralv1.ExportReferralsRequest{Referrals: []string{r.GetName()}})
	if err != nil {
		t.Fatal(err)
	}
	exported := false
	for {
		e, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		exported = exported || e.GetResource() == b.GetName()
	}
	if !exported {
		t.Error("her archive has no booking")
	}
	d.erasePerson(d.memberOf(r.GetMembership()))
	if _, err := d.GetBooking(d.refer, &referralv1.GetBookingRequest{Name: b.GetName()}); errText(err) != "NotFound NOT_FOUND" {
		t.Errorf("of her who was erased: %v", err)
	}
	if n := query[int](d.fixture, `SELECT count(*)::int FROM bookings`); n != 0 {
		t.Errorf("%d rows are left", n)
	}
}

// Who takes back that her referrer is told of her is booked no more, and what she does is told of no booking until she allows it.
func TestBookingsOfWhoWantsNothingTold(t *testing.T) {
	t.Parallel()
	d := bookingDesk(t)
	r := d.seated()
	sessions := d.sessions(d.group)
	first, second, third := d.mustBook(r, sessions[1]), d.mustBook(r, sessions[2]), d.mustBook(r, sessions[3])
	member := d.memberOf(r.GetMembership())
	stopped := func(want bool) {
		t.Helper()
		d.eventually(func() error {
			if d.get(d.refer, r.GetName()).GetReportsStopped() != want {
				return fmt.Errorf("reports are stopped: %t", !want)
			}
			return nil
		})
	}
	if _, err := d.membership.WithdrawConsent(d.receive, &membershipv1.WithdrawConsentRequest{Name: member, Kind: membershipv1.Member_REPORT_TO_REFERRER}); err != nil {
		t.Fatal(err)
	}
	stopped(true)
	if _, err := d.book(d.refer, r, sessions[4]); errText(err) != "FailedPrecondition REPORTS_STOPPED" {
		t.Errorf("booked: %v", err)
	}
	if _, err := d.rsvps.SetRsvp(d.receive, &schedulingv1.SetRsvpRequest{Session: sessions[1].GetName(), Membership: r.GetMembership(), Answer: schedulingv1.Rsvp_NO}); err != nil {
		t.Fatal(err)
	}
	if _, err := d.scheduling.CancelSession(d.receive, &schedulingv1.CancelSessionRequest{Name: sessions[2].GetName(), Reason: "Snow."}); err != nil {
		t.Fatal(err)
	}
	d.awaitBooking(second.GetName(), referralv1.Booking_CANCELLED, referralv1.Booking_SESSION) // what everybody sees
	if b, err := d.CancelBooking(d.refer, &referralv1.CancelBookingRequest{Name: third.GetName()}); err != nil || b.GetState() != referralv1.Booking_CANCELLED {
		t.Errorf("what is asked for here: %v, %v", b, err)
	}
	d.eventually(func() error {
		if n := query[int](d.fixture, `SELECT count(*)::int FROM bookings WHERE answer = 4`); n != 2 {
			return fmt.Errorf("%d noes have been heard of, want 2", n)
		}
		return nil
	})
	if b, err := d.GetBooking(d.refer, &referralv1.GetBookingRequest{Name: first.GetName()}); err != nil || b.GetState() != referralv1.Booking_BOOKED || b.GetEtag() != first.GetEtag() {
		t.Errorf("her own no was told: %v, %v", b, err)
	}
	if told := d.told(first.GetName()); told != "booked" {
		t.Errorf("told %q", told)
	}
	if _, err := d.membership.GrantConsent(d.receive, &membershipv1.GrantConsentRequest{Name: member, Kind: membershipv1.Member_REPORT_TO_REFERRER, Version: "1"}); err != nil {
		t.Fatal(err)
	}
	stopped(false)
	d.awaitBooking(first.GetName(), referralv1.Booking_CANCELLED, referralv1.Booking_ANSWER)
}
