package scheduling

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/events"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/idem"
)

// CancelSession cancels a session that has not begun.
func (s *server) CancelSession(ctx context.Context, req *schedulingv1.CancelSessionRequest) (*schedulingv1.Session, error) {
	now := s.clock.Now()
	return s.changeSession(ctx, req.GetName(), req.GetEtag(), func(_ context.Context, tx pgx.Tx, row *sessionRow) (*events.Event, error) {
		if row.State == cancelled {
			return nil, fault.Precondition("SESSION_CANCELLED", row.name(), "the session is cancelled already")
		}
		if err := row.stillToCome(now); err != nil {
			return nil, err
		}
		row.State, row.CancelReason, row.CancelTime = cancelled, req.GetReason(), &now
		row.free()
		row.Revision, row.UpdateTime = row.Revision+1, now
		return new(sessionEvent(sessionCancelled, *row, time.Time{})), nil
	})
}

// stillToCome refuses to change a session that has begun or was held.
func (r sessionRow) stillToCome(now time.Time) error {
	if r.State == held {
		return fault.Precondition("SESSION_HELD", r.name(), "the session was held and stays as it is")
	}
	if r.begun(now) {
		return fault.Precondition("SESSION_BEGUN", r.name(), "the session began at %s and stays as it is", r.StartTime.UTC().Format(time.RFC3339))
	}
	return nil
}

// changeSession lets fn change a session of the tenant, saves it, and tells the event that fn returns, if any.
// Both the group's calendar and the session are locked.
func (s *server) changeSession(ctx context.Context, name, etag string,
	fn func(ctx context.Context, tx pgx.Tx, row *sessionRow) (*events.Event, error),
) (*schedulingv1.Session, error) {
	id, err := aip.ParseName("name", "sessions", name)
	if err != nil {
		return nil, err
	}
	var session *schedulingv1.Session
	err = s.write(ctx, func(tx pgx.Tx) error {
		row, err := lockSession(ctx, tx, id, etag)
		if err != nil {
			return err
		}
		e, err := fn(ctx, tx, &row)
		if err != nil {
			return err
		}
		rows := []sessionRow{row}
		if err := saveSessions(ctx, tx, rows, true); err != nil {
			return busy(err, rows)
		}
		if e != nil {
			if err := events.Insert(ctx, tx, *e); err != nil {
				return err
			}
		}
		if err := settle(ctx, tx, []uuid.UUID{row.ID}, row.UpdateTime); err != nil {
			return err
		}
		if err := tellCalendars(ctx, tx, []uuid.UUID{row.GroupID}, row.UpdateTime); err != nil {
			return err
		}
		if session, err = withPlaces(ctx, tx, row); err != nil {
			return err
		}
		return idem.SaveTx(ctx, tx, session)
	})
	if err != nil {
		return nil, err
	}
	return session, nil
}

// lockSession locks the group's calendar and then the session.
func lockSession(ctx context.Context, tx pgx.Tx, id uuid.UUID, etag string) (sessionRow, error) {
	row, err := oneSession(ctx, tx, id, "")
	if err != nil {
		return row, err
	}
	if _, err := lockCalendar(ctx, tx, row.GroupID, row.OrgID); err != nil {
		return row, err
	}
	if row, err = oneSession(ctx, tx, id, "FOR UPDATE OF s"); err != nil {
		return row, err
	}
	return row, aip.CheckETag(etag, row.Revision)
}
