package scheduling

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
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
	edited  bool   // when it takes place may be another: it is told also if no session changes
	reason  string // of dropped sessions
}

// edit is a series as it is to be.
type edit struct {
	aim
	series  *seriesRow
	deleted bool // it is marked as deleted after its sessions have been dropped; it is closed
}

// reconcile brings the sessions of a series in line with it, saves both, and tells what
// changed. The caller has locked the group's calendar.
func reconcile(ctx context.Context, tx pgx.Tx, series *seriesRow, now time.Time, a aim) error {
	return reconcileAll(ctx, tx, []edit{{aim: a, series: series}}, now)
}

// rowsAtOnce is how many sessions one statement writes.
const rowsAtOnce = 5000

// reconcileAll is reconcile for many series, in as many statements as for one. Either all of them are lenient or none.
func reconcileAll(ctx context.Context, tx pgx.Tx, edits []edit, now time.Time) error {
	have, err := sessionsOf(ctx, tx, edits, now)
	if err != nil {
		return err
	}
	b := &pgx.Batch{}
	var rows []sessionRow
	var changes []change
	var told []uuid.UUID
	lenient := true
	for _, e := range edits {
		mine, from := have[e.series.ID], now
		if e.fresh {
			from = now.Add(-grace)
		}
		if e.lenient {
			for i := range mine {
				if mine[i].takesPlace() {
					mine[i].Facilitators = e.series.Facilitators // whoever was busy is no change
				}
			}
		}
		lenient = lenient && e.lenient
		want, err := e.series.occurrences(mine, now)
		if err != nil {
			return err
		}
		list := plan(*e.series, mine, want, from, now, e.reason)
		if len(list) > 0 || e.edited {
			told = append(told, e.series.GroupID)
		}
		for _, c := range list {
			rows = append(rows, c.row)
		}
		changes = append(changes, list...)
		queueSeries(b, *e.series)
		if e.deleted {
			b.Queue(markDeleted, pgx.NamedArgs{"id": e.series.ID, "now": now})
		}
	}
	if err := sendAll(ctx, tx, b, "save series"); err != nil {
		return err
	}
	for some := range slices.Chunk(rows, rowsAtOnce) {
		if err := saveSessions(ctx, tx, some, !lenient); err != nil {
			return busy(err, rows)
		}
	}
	b = &pgx.Batch{}
	if err := queueChanges(ctx, b, changes); err != nil {
		return err
	}
	if err := sendAll(ctx, tx, b, "insert events"); err != nil {
		return err
	}
	return tellCalendars(ctx, tx, told, now)
}

// sendAll sends a batch that may be empty.
func sendAll(ctx context.Context, tx pg.Querier, b *pgx.Batch, what string) error {
	if b.Len() == 0 {
		return nil
	}
	if err := tx.SendBatch(ctx, b).Close(); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
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
