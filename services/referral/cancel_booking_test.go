package referral

import (
	"testing"

	referralv1 "cairn.care/gen/cairn/referral/v1"
)

// Who cancels the place that she was expected at is expected at the group's next session, but at none that she has cancelled.
func TestACancelledBookingMovesItsReferralOn(t *testing.T) {
	t.Parallel()
	d := bookingDesk(t)
	r := d.seated()
	sessions := d.sessions(d.group)
	cancel := func(b *referralv1.Booking) {
		t.Helper()
		if _, err := d.CancelBooking(d.refer, &referralv1.CancelBookingRequest{Name: b.GetName(), Reason: referralv1.Booking_PERSON}); err != nil {
			t.Fatal(err)
		}
	}
	d.awaitExpected(r.GetName(), sessions[0].GetName())
	later := d.mustBook(r, sessions[2])
	d.awaitExpected(r.GetName(), sessions[2].GetName())
	cancel(later)
	d.awaitExpected(r.GetName(), sessions[0].GetName())
	cancel(d.mustBook(r, sessions[0]))
	d.awaitExpected(r.GetName(), sessions[1].GetName())
	cancel(d.mustBook(r, sessions[1]))
	d.awaitExpected(r.GetName(), sessions[3].GetName())
	d.mustBook(r, sessions[0])
	d.awaitExpected(r.GetName(), sessions[0].GetName())
}
