package referral

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/events"
)

// rsvpNamed reads the name of an answer to a session.
func rsvpNamed(name string) (session, membership uuid.UUID, err error) {
	parent, id, _ := strings.Cut(name, "/rsvps/")
	if session, err = aip.ParseName("session", "sessions", parent); err != nil {
		return session, membership, err
	}
	membership, err = aip.ParseName("rsvp", "rsvps", "rsvps/"+id)
	return session, membership, err
}

// rsvpChanged takes in that the answer to a session has changed for which a place is booked.
func (s *server) rsvpChanged(_ context.Context, e *events.Received) (events.Write, error) {
	var m schedulingv1.RsvpChanged
	if err := e.Decode(&m); err != nil {
		return nil, events.Poison(err)
	}
	session, membership, err := rsvpNamed(m.GetRsvp())
	if err != nil {
		return nil, events.Poison(err)
	}
	return func(ctx context.Context, tx pgx.Tx) error {
		var referral uuid.UUID
		err := tx.QueryRow(ctx, `SELECT referral_id FROM bookings WHERE session_id = @session AND membership_id = @membership`,
			pgx.NamedArgs{"session": session, "membership": membership}).Scan(&referral)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil // nobody has booked it
		}
		if err != nil {
			return fmt.Errorf("find booking: %w", err)
		}
		_, err = s.takeAnswer(ctx, tx, referral, session, func(b *bookingRow) bool {
			return b.learn(m.GetState(), m.GetWay(), e.Revision)
		})
		return err
	}, nil
}

// bookingsMoved takes in that a session is moved, cancelled or restored. The caller has locked the session's key, and the referrals that
// it locks before. Those whose session is cancelled look for the next.
func (s *server) bookingsMoved(ctx context.Context, tx pgx.Tx, session uuid.UUID, m *schedulingv1.SessionChanged, revision int64) error {
	booked, err := queryBookings(ctx, tx, `b.session_id = @session AND b.session_revision < @revision ORDER BY b.id FOR UPDATE OF b`,
		pgx.NamedArgs{"session": session, "revision": revision})
	if err != nil {
		return err
	}
	now, batch := s.clock.Now(), new(pgx.Batch)
	for _, b := range booked {
		moved := !b.StartTime.Equal(m.GetStartTime().AsTime()) || !b.EndTime.Equal(m.GetEndTime().AsTime())
		b.SessionRevision, b.SessionCancelled = revision, m.GetState() == schedulingv1.Session_CANCELLED
		b.StartTime, b.EndTime = m.GetStartTime().AsTime(), m.GetEndTime().AsTime()
		if err := s.followed(ctx, batch, b, moved, now); err != nil {
			return err
		}
	}
	if err := sendBatch(ctx, tx, batch); err != nil {
		return fmt.Errorf("write bookings: %w", err)
	}
	return nil
}

// bookingAttended takes in whether somebody came to a session that was booked for her. The caller has locked her referral.
func (s *server) bookingAttended(ctx context.Context, tx pgx.Tx, referral, session uuid.UUID, status schedulingv1.Attendance_Status) error {
	b, err := bookingFor(ctx, tx, referral, session)
	if err != nil || b == nil {
		return err
	}
	b.Attendance = status
	batch := new(pgx.Batch)
	if err := s.followed(ctx, batch, b, false, s.clock.Now()); err != nil {
		return err
	}
	if err := sendBatch(ctx, tx, batch); err != nil {
		return fmt.Errorf("write booking: %w", err)
	}
	return nil
}

// followed queues a booking for which scheduling has told something, and who is told of it. One that nobody sees yet is
// only written.
func (s *server) followed(ctx context.Context, batch *pgx.Batch, b *bookingRow, moved bool, now time.Time) error {
	if b.AnswerRevision == 0 {
		batch.Queue(`UPDATE bookings SET session_revision = @revision, session_cancelled = @cancelled, start_time = @start, end_time = @end WHERE id = @id`,
			pgx.NamedArgs{"id": b.ID, "revision": b.SessionRevision, "cancelled": b.SessionCancelled, "start": b.StartTime, "end": b.EndTime})
		return nil
	}
	what := b.settle()
	if what == "" && moved {
		what = "moved"
	}
	if what == "" {
		batch.Queue(`UPDATE bookings SET session_revision = @revision, attendance = @attendance WHERE id = @id`,
			pgx.NamedArgs{"id": b.ID, "revision": b.SessionRevision, "attendance": int32(b.Attendance)})
		return nil
	}
	return saveBooking(ctx, batch, b, what, now)
}

// sessionToExpect returns the session at which a placed person is to be expected: the soonest that is booked for her, else the
// group's next to which she has not said that she is not coming; nil if there is none.
func (s *server) sessionToExpect(ctx context.Context, r *row) (next *session, err error) {
	var off []uuid.UUID
	if err := s.db.Tx(ctx, func(tx pgx.Tx) (err error) {
		if next, err = nextBooked(ctx, tx, r.ID, s.clock.Now()); err != nil || next != nil {
			return err
		}
		off, err = declined(ctx, tx, r.ID, s.clock.Now())
		return err
	}); err != nil || next != nil {
		return next, err
	}
	return s.nextSession(ctx, *r.GroupID, off...)
}

// settleBookings tells of a referral's bookings what was not told while its person wanted none of it to be. The caller has locked the
// referral.
func (s *server) settleBookings(ctx context.Context, tx pgx.Tx, referral uuid.UUID) error {
	booked, err := queryBookings(ctx, tx, `b.referral_id = @referral ORDER BY b.id FOR UPDATE OF b`, pgx.NamedArgs{"referral": referral})
	if err != nil {
		return err
	}
	batch := new(pgx.Batch)
	for _, b := range booked {
		b.ReportsStopped = false
		if err := s.followed(ctx, batch, b, false, s.clock.Now()); err != nil {
			return err
		}
	}
	if err := sendBatch(ctx, tx, batch); err != nil {
		return fmt.Errorf("write bookings: %w", err)
	}
	return nil
}

// bookingKept is how long is kept that a booking was begun, of which nothing came.
const bookingKept = day

// forgetBookings deletes the bookings that were begun and of which nothing came.
func forgetBookings(ctx context.Context, tx pgx.Tx, now time.Time) error {
	if _, err := tx.Exec(ctx, `DELETE FROM bookings WHERE answer_revision = 0 AND create_time < $1`, now.Add(-bookingKept)); err != nil {
		return fmt.Errorf("forget bookings: %w", err)
	}
	return nil
}
