package scheduling

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/pg"
	"cairn.care/services/recurrence"
)

// aim says how reconcile goes about it.
type aim struct {
	fresh   bool   // the series is new: it may have begun already
	lenient bool   // a facilitator who is busy is left out, instead of refusing everything
	reason  string // of dropped sessions
}

// reconcile brings the sessions of a series in line with it, saves both, and tells what
// changed. The caller has locked the group's calendar.
func reconcile(ctx context.Context, tx pgx.Tx, series *seriesRow, now time.Time, a aim) error {
	from := now
	var have []sessionRow
	if a.fresh {
		from = now.Add(-grace)
	} else {
		var err error
		// Two days back: today's session may have begun, wherever it is today.
		if have, err = sessionsSince(ctx, tx, series.ID, now.Add(-2*grace)); err != nil {
			return err
		}
	}
	if a.lenient {
		for i := range have {
			if have[i].takesPlace() {
				have[i].Facilitators = series.Facilitators // whoever was busy is no change
			}
		}
	}
	want, err := series.occurrences(have, now)
	if err != nil {
		return err
	}
	changes := plan(*series, have, want, from, now, a.reason)
	if err := saveSeries(ctx, tx, *series); err != nil {
		return err
	}
	rows := make([]sessionRow, len(changes))
	for i, c := range changes {
		rows[i] = c.row
	}
	if err := saveSessions(ctx, tx, rows, !a.lenient); err != nil {
		return busy(err, rows)
	}
	b := &pgx.Batch{}
	if err := queueChanges(ctx, b, changes); err != nil {
		return err
	}
	if b.Len() > 0 {
		if err := tx.SendBatch(ctx, b).Close(); err != nil {
			return fmt.Errorf("insert events: %w", err)
		}
	}
	if len(changes) == 0 {
		return nil
	}
	return tellCalendar(ctx, tx, series.GroupID, now)
}

// facilitatorBusy is a write that failed because a facilitator would lead two sessions
// at once.
type facilitatorBusy struct {
	error
	rows []sessionRow // that were to be saved
}

func (e *facilitatorBusy) Unwrap() error { return e.error }

func busy(err error, rows []sessionRow) error {
	if pg.Constraint(err) == facilitatorConstraint {
		return &facilitatorBusy{err, rows}
	}
	return err
}

// write runs fn in a transaction, and explains a conflict of facilitators.
func (s *server) write(ctx context.Context, fn func(tx pgx.Tx) error) error {
	err := s.db.Tx(ctx, fn)
	refused, ok := errors.AsType[*facilitatorBusy](err)
	if !ok {
		return err
	}
	var c *conflict
	if err := s.db.Tx(ctx, func(tx pgx.Tx) (err error) {
		c, err = firstConflict(ctx, tx, refused.rows)
		return err
	}); err != nil {
		return err
	}
	if c == nil {
		if a, b, ok := overlapping(refused.rows); ok {
			return fault.Precondition("FACILITATOR_BUSY", a.name(), "%s from %s and the session of %s would overlap; move it first, or give the series another time",
				a.name(), a.StartTime.Format(time.RFC3339), b.StartTime.Format(time.RFC3339))
		}
		return fault.Aborted("FACILITATOR_BUSY", "a facilitator led another session at that time, which has just changed; try again")
	}
	zone, err := recurrence.Zone(c.TimeZone)
	if err != nil {
		return fmt.Errorf("session %s: %w", c.SessionID, err)
	}
	who := aip.Name("facilitators", c.FacilitatorID)
	return fault.Precondition("FACILITATOR_BUSY", who, "%s leads %s from %s %s and cannot lead another session at that time",
		who, aip.Name("sessions", c.SessionID), wallClock(c.StartTime, zone), c.TimeZone)
}

// overlapping returns two sessions that take place at once, first one that people moved.
func overlapping(rows []sessionRow) (a, b sessionRow, ok bool) {
	rows = slices.DeleteFunc(slices.Clone(rows), func(r sessionRow) bool { return !r.takesPlace() })
	slices.SortFunc(rows, func(a, b sessionRow) int { return a.StartTime.Compare(b.StartTime) })
	for i := 1; i < len(rows); i++ {
		if a, b := rows[i-1], rows[i]; b.StartTime.Before(a.EndTime) {
			if b.State == moved {
				a, b = b, a
			}
			return a, b, true
		}
	}
	return a, b, false
}

// wallClock writes an instant as a clock in the zone shows it.
func wallClock(at time.Time, zone *time.Location) string {
	return recurrence.FormatLocal(recurrence.WallClock(at, zone))
}
