package referral

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	referralv1 "cairn.care/gen/cairn/referral/v1"
	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/audit"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/idem"
)

// CancelBooking implements BookingsService: scheduling takes the answer back, and one transaction writes that and why.
func (s *server) CancelBooking(ctx context.Context, req *referralv1.CancelBookingRequest) (*referralv1.Booking, error) {
	id, err := aip.ParseName("name", "bookings", req.GetName())
	if err != nil {
		return nil, err
	}
	tenant := auth.TenantFrom(ctx)
	var b *bookingRow
	var m *referralv1.Booking
	if err := s.db.Tx(ctx, func(tx pgx.Tx) error {
		found, err := queryBookings(ctx, tx, `b.id = @id AND b.answer_revision > 0 AND `+visible, pgx.NamedArgs{"id": id, "all": tenant.All, "org": tenant.Org})
		if err != nil {
			return err
		}
		if len(found) == 0 {
			return fault.NotFound(req.GetName())
		}
		b = found[0]
		if err := aip.CheckETag(req.GetEtag(), b.Revision); err != nil {
			return err
		}
		switch {
		case b.State == referralv1.Booking_CANCELLED:
			m = b.toProto()
			if err := audit.Insert(ctx, tx, b.name()); err != nil {
				return err
			}
			return idem.SaveTx(ctx, tx, m)
		case !b.StartTime.After(s.clock.Now()):
			return fault.Precondition("SESSION_BEGUN", b.name(), "the session began at %s: whether she came is for who leads it to record", b.StartTime.Format(time.RFC3339))
		}
		// Written first: what scheduling tells may come before its answer.
		return askCancel(ctx, tx, id, cmp.Or(req.GetReason(), referralv1.Booking_ORGANIZATION))
	}); err != nil || m != nil {
		return m, err
	}
	answer, err := s.rsvps.SetRsvp(auth.System(ctx, service), &schedulingv1.SetRsvpRequest{
		Session: aip.Name("sessions", b.SessionID), Membership: aip.Name("memberships", b.MembershipID), Answer: schedulingv1.Rsvp_NO,
		RequestId: aip.NewID().String(),
	})
	switch {
	case status.Code(err) == codes.FailedPrecondition, status.Code(err) == codes.NotFound:
		if err := s.db.Tx(ctx, func(tx pgx.Tx) error { return askCancel(ctx, tx, id, 0) }); err != nil {
			return nil, err
		}
		return nil, fault.Aborted("BOOKING_CHANGED", "the session or her membership has just changed, and the booking with it: read it again")
	case err != nil:
		return nil, fmt.Errorf("set rsvp: %w", errors.Join(err, s.keepBooking(ctx, id)))
	}
	return s.bookingAnswered(ctx, b.ReferralID, answer)
}

// keepBooking writes down that a booking is not cancelled, as scheduling did not say that it has its answer: what comes later is her
// own. If scheduling has told of the answer meanwhile, it is cancelled all the same.
func (s *server) keepBooking(ctx context.Context, id uuid.UUID) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	return s.db.Tx(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `UPDATE bookings SET cancel_asked = 0 WHERE id = @id AND answer <> @no`, pgx.NamedArgs{"id": id, "no": int32(schedulingv1.Rsvp_DECLINED)})
		return err
	})
}

// askCancel writes down why a booking is being cancelled.
func askCancel(ctx context.Context, tx pgx.Tx, id uuid.UUID, reason referralv1.Booking_CancelReason) error {
	if _, err := tx.Exec(ctx, `UPDATE bookings SET cancel_asked = $2 WHERE id = $1`, id, int32(reason)); err != nil {
		return fmt.Errorf("write down why it is cancelled: %w", err)
	}
	return nil
}
