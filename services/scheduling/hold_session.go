package scheduling

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	"cairn.care/services/chassis/events"
	"cairn.care/services/chassis/fault"
)

// HoldSession says that a session that has begun takes place.
func (s *server) HoldSession(ctx context.Context, req *schedulingv1.HoldSessionRequest) (*schedulingv1.Session, error) {
	now := s.clock.Now()
	return s.changeSession(ctx, req.GetName(), req.GetEtag(), func(_ context.Context, _ pgx.Tx, row *sessionRow) (*events.Event, error) {
		if row.State == held {
			return nil, fault.Precondition("SESSION_HELD", row.name(), "the session is held already")
		}
		if err := row.underWay(now); err != nil {
			return nil, err
		}
		row.hold(now)
		return new(sessionEvent(sessionHeld, *row, time.Time{})), nil
	})
}

// underWay refuses a session that was cancelled or has not begun.
func (r sessionRow) underWay(now time.Time) error {
	if r.State == cancelled {
		return fault.Precondition("SESSION_CANCELLED", r.name(), "the session was cancelled")
	}
	if !r.begun(now) {
		return fault.Precondition("SESSION_NOT_BEGUN", r.name(), "the session begins at %s; come back then", r.StartTime.UTC().Format(time.RFC3339))
	}
	return nil
}

func (r *sessionRow) hold(now time.Time) {
	r.State, r.Revision, r.UpdateTime = held, r.Revision+1, now
}
