package referral

import (
	"context"
	"fmt"

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

// CreateBooking implements BookingsService: the intent is written down, scheduling gives the place, and one transaction writes
// what came of it. If the caller's process dies in between, scheduling's event tells.
func (s *server) CreateBooking(ctx context.Context, req *referralv1.CreateBookingRequest) (*referralv1.Booking, error) {
	want := req.GetBooking()
	referral, err := aip.ParseName("booking.referral", "referrals", want.GetReferral())
	if err != nil {
		return nil, err
	}
	at, err := s.sessionNamed(ctx, want.GetSession())
	if err != nil {
		return nil, err
	}
	var r *row
	if err := s.db.Tx(ctx, func(tx pgx.Tx) (err error) {
		if r, err = find(ctx, tx, auth.TenantFrom(ctx), referral); err != nil {
			return err
		}
		if r == nil {
			return fault.NotFound(want.GetReferral())
		}
		if err := r.unbookable(s.clock.Now(), "booking.session", at); err != nil {
			return err
		}
		return s.intendBooking(ctx, tx, r, at)
	}); err != nil {
		return nil, err
	}
	answer, err := s.rsvps.SetRsvp(auth.System(ctx, service), &schedulingv1.SetRsvpRequest{
		Session: at.GetName(), Membership: optionalName("memberships", r.MembershipID), Answer: schedulingv1.Rsvp_YES, Way: want.GetWay(),
		RequestId: aip.NewID().String(),
	})
	if status.Code(err) == codes.NotFound {
		return nil, fault.Precondition("MEMBERSHIP_NOT_ACTIVE", r.name(), "she is no longer a member of the group")
	}
	if err != nil {
		return nil, fmt.Errorf("set rsvp: %w", err)
	}
	return s.bookingAnswered(ctx, r.ID, answer)
}

// sessionNamed asks scheduling for a session; nil if there is none.
func (s *server) sessionNamed(ctx context.Context, name string) (*schedulingv1.Session, error) {
	m, err := s.scheduling.GetSession(auth.System(ctx, service), &schedulingv1.GetSessionRequest{Name: name})
	if status.Code(err) == codes.NotFound {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("get session: %w", err)
	}
	return m, nil
}

// intendBooking writes down that a place is being taken, so that what comes of it is known whoever dies meanwhile.
func (s *server) intendBooking(ctx context.Context, tx pgx.Tx, r *row, at *schedulingv1.Session) error {
	session, err := sessionFrom(at)
	if err != nil {
		return err
	}
	now := s.clock.Now()
	if _, err := tx.Exec(ctx, `
		INSERT INTO bookings (id, referral_id, session_id, membership_id, group_id, way, state, cancel_reason, cancel_asked, answer, answer_revision,
			session_revision, session_cancelled, attendance, start_time, end_time, revision, create_time, update_time)
		VALUES (@id, @referral, @session, @membership, @group, 0, 0, 0, 0, 0, 0, @session_revision, false, 0, @start, @end, 0, @now, @now)
		ON CONFLICT (referral_id, session_id) DO UPDATE SET membership_id = excluded.membership_id, session_cancelled = false,
			start_time = excluded.start_time, end_time = excluded.end_time, session_revision = excluded.session_revision,
			answer_revision = CASE bookings.membership_id WHEN excluded.membership_id THEN bookings.answer_revision ELSE 0 END
		WHERE bookings.session_revision < excluded.session_revision OR bookings.membership_id <> excluded.membership_id`, pgx.NamedArgs{
		"id": aip.NewID(), "referral": r.ID, "session": session.id, "membership": r.MembershipID, "group": r.GroupID,
		"session_revision": session.revision, "start": session.start, "end": at.GetEndTime().AsTime(), "now": now,
	}); err != nil {
		return fmt.Errorf("write down the booking: %w", err)
	}
	return nil
}

// bookingAnswered writes what came of an answer that a caller has had scheduling write down.
func (s *server) bookingAnswered(ctx context.Context, referral uuid.UUID, answer *schedulingv1.Rsvp) (*referralv1.Booking, error) {
	session, _, err := rsvpNamed(answer.GetName())
	if err != nil {
		return nil, err
	}
	revision, err := aip.Revision(answer.GetEtag())
	if err != nil {
		return nil, err
	}
	// The caller has been found to be a party; what scheduling has told of sessions is the service's own business.
	ctx = auth.WithTenant(ctx, auth.Tenant{All: true})
	var m *referralv1.Booking
	err = s.db.Tx(ctx, func(tx pgx.Tx) error {
		b, err := s.takeAnswer(ctx, tx, referral, session, func(b *bookingRow) bool {
			return b.learn(answer.GetState(), answer.GetWay(), revision)
		})
		if err != nil {
			return err
		}
		if b == nil {
			return fault.NotFound(aip.Name("referrals", referral))
		}
		m = b.toProto()
		return idem.SaveTx(ctx, tx, m)
	})
	return m, err
}

// takeAnswer has learn change a referral's booking of a session, and lets the referral follow. It returns nil if there is none.
func (s *server) takeAnswer(ctx context.Context, tx pgx.Tx, referral, session uuid.UUID, learn func(*bookingRow) bool) (*bookingRow, error) {
	if err := lockKey(ctx, tx, "sessions", session); err != nil {
		return nil, err
	}
	r, err := lock(ctx, tx, auth.TenantFrom(ctx), referral)
	if err != nil || r == nil {
		return nil, err
	}
	b, err := bookingFor(ctx, tx, referral, session)
	if err != nil || b == nil {
		return nil, err
	}
	c := s.newChange(r, actorFrom(ctx))
	way := b.Way
	news := learn(b)
	what := b.settle()
	if what == "" && b.Way != way {
		what = "moved" // to the other way of taking part
	}
	batch := new(pgx.Batch)
	switch {
	case what != "":
		if err := saveBooking(ctx, batch, b, what, c.now); err != nil {
			return nil, err
		}
	case news:
		batch.Queue(`UPDATE bookings SET answer = @answer, answer_revision = @revision, cancel_asked = @asked WHERE id = @id`,
			pgx.NamedArgs{"id": b.ID, "answer": int32(b.Answer), "revision": b.AnswerRevision, "asked": int32(b.CancelAsked)})
		audit.Queue(ctx, batch, b.name())
	default: // it is as the caller wants it
		audit.Queue(ctx, batch, b.name())
	}
	if err := sendBatch(ctx, tx, batch); err != nil {
		return nil, fmt.Errorf("write booking: %w", err)
	}
	if err := c.expect(ctx, tx); err != nil {
		return nil, err
	}
	if len(c.steps) > 0 {
		return b, c.save(ctx, tx)
	}
	return b, nil
}
