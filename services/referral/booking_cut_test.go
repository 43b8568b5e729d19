package referral

import (
	"context"
	"testing"

	"google.golang.org/grpc"

	referralv1 "cairn.care/gen/cairn/referral/v1"
	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
)

// rsvpWire is the line to scheduling, which can be cut.
type rsvpWire struct {
	schedulingv1.RsvpServiceClient
	line wire
}

func (w *rsvpWire) SetRsvp(ctx context.Context, in *schedulingv1.SetRsvpRequest, opts ...grpc.CallOption) (*schedulingv1.Rsvp, error) {
	return through(&w.line, func() (*schedulingv1.Rsvp, error) { return w.RsvpServiceClient.SetRsvp(ctx, in, opts...) })
}

// A cancellation that does not get through is none: what comes later is what she says herself, and of who wants nothing to be told the
// booking stands. One that was written without being heard can be asked for again.
func TestCancellationThatFails(t *testing.T) {
	t.Parallel()
	w := new(rsvpWire)
	f := setup(t, func(s *server) { w.RsvpServiceClient, s.rsvps = s.rsvps, w })
	f.weekly(f.group)
	d := &desk{f, referralv1.NewBookingsServiceClient(f.Conn(service)), schedulingv1.NewRsvpServiceClient(f.Conn("scheduling"))}
	sessions := d.sessions(d.group)
	r := d.seated()

	heard := d.mustBook(r, sessions[1])
	cancel := &referralv1.CancelBookingRequest{Name: heard.GetName()}
	w.line.cut(false, true)
	if b, err := d.CancelBooking(d.refer, cancel); errText(err) != "Unavailable UNAVAILABLE" {
		t.Errorf("written without being heard: %v, %v", b, err)
	}
	w.line.cut(false, false)
	if b, err := d.CancelBooking(d.refer, cancel); err != nil || b.GetState() != referralv1.Booking_CANCELLED {
		t.Errorf("once more: %v, %v", b, err)
	}

	own := d.mustBook(r, sessions[2])
	w.line.cut(true, false)
	if b, err := d.CancelBooking(d.refer, &referralv1.CancelBookingRequest{Name: own.GetName()}); errText(err) != "Unavailable UNAVAILABLE" {
		t.Errorf("cut off: %v, %v", b, err)
	}
	w.line.cut(false, false)
	if _, err := d.rsvps.SetRsvp(d.receive, &schedulingv1.SetRsvpRequest{Session: sessions[2].GetName(), Membership: r.GetMembership(), Answer: schedulingv1.Rsvp_NO}); err != nil {
		t.Fatal(err)
	}
	d.awaitBooking(own.GetName(), referralv1.Booking_CANCELLED, referralv1.Booking_ANSWER)
}

// What is asked for and was not done cancels nothing, whatever else scheduling tells of the session.
func TestAskedIsNotCancelled(t *testing.T) {
	t.Parallel()
	b := &bookingRow{ReportsStopped: true, State: referralv1.Booking_BOOKED, CancelAsked: referralv1.Booking_ORGANIZATION, Answer: schedulingv1.Rsvp_CONFIRMED}
	if what := b.settle(); what != "" {
		t.Errorf("a place that stands is told as %s", what)
	}
	b.Answer = schedulingv1.Rsvp_DECLINED
	if what := b.settle(); what != "cancelled" || b.CancelReason != referralv1.Booking_ORGANIZATION {
		t.Errorf("a place that is given back is told as %q, %s", what, b.CancelReason)
	}
}
