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

// taken is a write that failed because a facilitator would lead, or a room hold, two sessions at once.
type taken struct {
	error
	room bool
	rows []sessionRow // that were to be saved
}

func (e *taken) Unwrap() error { return e.error }

func busy(err error, rows []sessionRow) error {
	switch pg.Constraint(err) {
	case facilitatorConstraint:
		return &taken{error: err, rows: rows}
	case roomConstraint:
		return &taken{error: err, room: true, rows: rows}
	}
	return err
}

// write runs fn in a transaction, and explains a conflict of facilitators or rooms.
func (s *server) write(ctx context.Context, fn func(tx pgx.Tx) error) error {
	err := s.db.Tx(ctx, fn)
	refused, ok := errors.AsType[*taken](err)
	if !ok {
		return err
	}
	var c *conflict
	if err := s.db.Tx(ctx, func(tx pgx.Tx) (err error) {
		c, err = refused.conflict(ctx, tx)
		return err
	}); err != nil {
		return err
	}
	reason := "FACILITATOR_BUSY"
	if refused.room {
		reason = "ROOM_BUSY"
	}
	if c == nil {
		if a, b, ok := overlapping(refused.rows); ok {
			return fault.Precondition(reason, a.name(), "%s from %s and the session of %s would overlap; move it first, or give the series another time",
				a.name(), a.StartTime.Format(time.RFC3339), b.StartTime.Format(time.RFC3339))
		}
		return fault.Aborted(reason, "another session was at that time, which has just changed; try again")
	}
	zone, err := recurrence.Zone(c.TimeZone)
	if err != nil {
		return fmt.Errorf("session %s: %w", c.SessionID, err)
	}
	session, from, until := aip.Name("sessions", c.SessionID), wallClock(c.StartTime, zone), wallClock(c.EndTime, zone)
	if refused.room {
		room := roomName(&c.TakenID)
		return fault.Precondition(reason, room, "%s has %s from %s %s to %s and cannot hold another session at that time; choose another room or another time",
			room, session, from, c.TimeZone, until)
	}
	who := aip.Name("facilitators", c.TakenID)
	return fault.Precondition(reason, who, "%s leads %s from %s %s to %s and cannot lead another session at that time", who, session, from, c.TimeZone, until)
}

// conflict is a session that a facilitator leads already, or that has the room.
type conflict struct {
	TakenID   uuid.UUID
	SessionID uuid.UUID
	StartTime time.Time
	EndTime   time.Time
	TimeZone  string
}

// conflict finds what keeps the sessions from being saved; nil if it is gone.
func (e *taken) conflict(ctx context.Context, tx pg.Querier) (*conflict, error) {
	l, r := leading(e.rows), using(e.rows)
	wanted, table, column := l.Facilitator, "session_facilitators", "facilitator_id"
	sessions, starts, ends := l.Session, l.Start, l.End
	if e.room {
		wanted, table, column = r.Room, "session_rooms", "room_id"
		sessions, starts, ends = r.Session, r.Start, r.End
	}
	found, err := tx.Query(ctx, `
		SELECT t.`+column+` AS taken_id, t.session_id, s.start_time, s.end_time, s.time_zone
		FROM unnest($1::uuid[], $2::timestamptz[], $3::timestamptz[]) AS w (wanted, start, stop)
		JOIN `+table+` t ON t.`+column+` = w.wanted AND t.span && tstzrange(w.start, w.stop)
		JOIN sessions s ON s.id = t.session_id
		WHERE s.id <> ALL($4::uuid[])
		ORDER BY w.start, s.start_time LIMIT 1`, wanted, starts, ends, sessions)
	if err != nil {
		return nil, fmt.Errorf("find conflict: %w", err)
	}
	c, err := pgx.CollectExactlyOneRow(found, pgx.RowToAddrOfStructByName[conflict])
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	return c, err
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
