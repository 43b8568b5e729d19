package scheduling

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/audit"
	"cairn.care/services/chassis/events"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/idem"
)

// CheckIn says that a member has come to a session.
func (s *server) CheckIn(ctx context.Context, req *schedulingv1.CheckInRequest) (*schedulingv1.Rsvp, error) {
	session, err := aip.ParseName("session", "sessions", req.GetSession())
	if err != nil {
		return nil, err
	}
	membership, err := aip.ParseName("membership", "memberships", req.GetMembership())
	if err != nil {
		return nil, err
	}
	now := s.clock.Now()
	var answer *schedulingv1.Rsvp
	err = s.asActive(ctx, req.GetMembership(), func(tx pgx.Tx) error {
		who, err := lockAttendee(ctx, tx, membership)
		if err != nil {
			return err
		}
		of, err := oneSession(ctx, tx, session, "FOR NO KEY UPDATE OF s")
		if err != nil {
			return err
		}
		if err := who.mayAnswer(ctx, tx, of); err != nil {
			return err
		}
		if err := of.followGroup(ctx, tx); err != nil {
			return err
		}
		if err := of.open(now); err != nil {
			return err
		}
		row, line, err := rsvpOf(ctx, tx, of, who, now)
		if err != nil {
			return err
		}
		if row.CheckInTime == nil {
			if err := row.checkIn(ctx, tx, line, of, now); err != nil {
				return err
			}
		}
		if err := recordArrivals(ctx, tx, of, now); err != nil {
			return err
		}
		b := &pgx.Batch{}
		readRsvp(b, session, membership, &row)
		audit.Queue(ctx, b, row.name())
		if err := sendAll(ctx, tx, b, "read rsvp"); err != nil {
			return err
		}
		answer = row.toProto()
		return idem.SaveTx(ctx, tx, answer)
	})
	if err != nil {
		return nil, err
	}
	return answer, nil
}

// open refuses to check in to a session that is not now.
func (r sessionRow) open(now time.Time) error {
	switch {
	case r.State == cancelled:
		return fault.Precondition("SESSION_CANCELLED", r.name(), "the session was cancelled")
	case now.Before(r.StartTime.Add(-earlyCheckIn)):
		return fault.Precondition("CHECK_IN_NOT_OPEN", r.name(), "people are checked in from %s, 30 minutes before the session",
			r.StartTime.Add(-earlyCheckIn).UTC().Format(time.RFC3339))
	case !now.Before(r.EndTime):
		return fault.Precondition("SESSION_OVER", r.name(), "the session ended at %s; record the attendance instead", r.EndTime.UTC().Format(time.RFC3339))
	}
	return nil
}

// checkIn saves that the member has come, for which she needs a place.
func (r *rsvpRow) checkIn(ctx context.Context, tx pgx.Tx, l line, of sessionRow, now time.Time) error {
	had := *r
	if r.State != confirmed {
		r.Way, _ = of.way(0, r.Way)
		r.getInLine(l, of)
		if r.State != confirmed {
			return fault.Precondition("SESSION_FULL", of.name(), "all %d places are taken; whoever leads the session may still record who came", of.limit(r.Way))
		}
	}
	r.CheckInTime, r.Arrived, r.Revision, r.UpdateTime = &now, true, r.Revision+1, now
	b := &pgx.Batch{}
	saveRsvp(b, *r)
	if had.State != r.State {
		if err := events.Queue(ctx, b, rsvpEvent(rsvpAnswered, *r)); err != nil {
			return err
		}
	}
	return sendAll(ctx, tx, b, "save rsvp")
}

// recordArrivals records who was checked in to a session as present, once it has begun, but for those of whom something is
// recorded already. The caller has locked the session.
func recordArrivals(ctx context.Context, tx pgx.Tx, of sessionRow, now time.Time) error {
	if !of.begun(now) {
		return nil
	}
	rows, err := tx.Query(ctx, `UPDATE rsvps SET arrived = false WHERE session_id = $1 AND arrived RETURNING membership_id, check_in_time`, of.ID)
	if err != nil {
		return fmt.Errorf("find arrivals: %w", err)
	}
	var ids []uuid.UUID
	came := map[uuid.UUID]time.Time{}
	var id uuid.UUID
	var at time.Time
	if _, err := pgx.ForEachRow(rows, []any{&id, &at}, func() error {
		ids = append(ids, id)
		came[id] = at
		return nil
	}); err != nil {
		return fmt.Errorf("find arrivals: %w", err)
	}
	if len(ids) == 0 {
		return nil
	}
	known, err := attendancesOf(ctx, tx, of.ID, ids)
	if err != nil {
		return err
	}
	b := &pgx.Batch{}
	for _, id := range ids {
		if _, there := known[id]; there {
			continue
		}
		at := came[id]
		a := attendanceRow{SessionID: of.ID, MembershipID: id, OrgID: of.OrgID, Status: int32(schedulingv1.Attendance_PRESENT),
			CheckInTime: &at, Revision: 1, CreateTime: now, UpdateTime: now}
		saveAttendance(b, a)
		if err := events.Queue(ctx, b, attendanceEvent(a, of)); err != nil {
			return err
		}
		audit.Queue(ctx, b, a.name())
	}
	return sendAll(ctx, tx, b, "record arrivals")
}

type arrivalsArgs struct{}

// Kind names the job.
func (arrivalsArgs) Kind() string { return "scheduling_arrivals" }

// arrivalsWorker records who was checked in before a session began.
type arrivalsWorker struct {
	river.WorkerDefaults[arrivalsArgs]
	*server
}

// Timeout bounds an attempt.
func (w *arrivalsWorker) Timeout(*river.Job[arrivalsArgs]) time.Duration { return jobTimeout }

// Work records the arrivals at every session that has begun.
func (w *arrivalsWorker) Work(ctx context.Context, _ *river.Job[arrivalsArgs]) error {
	return w.recordAllArrivals(audit.Operation(ctx, "job scheduling_arrivals"))
}

// arrivalsSweep looks every minute.
func arrivalsSweep() *river.PeriodicJob {
	return river.NewPeriodicJob(river.PeriodicInterval(time.Minute), func() (river.JobArgs, *river.InsertOpts) {
		return arrivalsArgs{}, &river.InsertOpts{UniqueOpts: river.UniqueOpts{ByPeriod: time.Minute}}
	}, &river.PeriodicJobOpts{RunOnStart: true})
}

func (s *server) recordAllArrivals(ctx context.Context) error {
	now := s.clock.Now()
	var sessions []uuid.UUID
	if err := s.db.Tx(ctx, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `
			SELECT DISTINCT s.id FROM rsvps r JOIN sessions s ON s.id = r.session_id
			WHERE r.arrived AND s.start_time <= @now AND s.state <> 3`, pgx.NamedArgs{"now": now})
		if err != nil {
			return err
		}
		sessions, err = pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
		return err
	}); err != nil {
		return fmt.Errorf("find sessions with arrivals: %w", err)
	}
	var failed []error
	for _, id := range sessions {
		if err := s.db.Tx(ctx, func(tx pgx.Tx) error {
			of, err := oneSession(ctx, tx, id, "FOR NO KEY UPDATE OF s")
			if err != nil || of.State == cancelled {
				return err
			}
			return recordArrivals(ctx, tx, of, now)
		}); err != nil {
			failed = append(failed, fmt.Errorf("record arrivals at session %s: %w", id, err))
		}
	}
	return errors.Join(failed...)
}
