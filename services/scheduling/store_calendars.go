package scheduling

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/types/known/timestamppb"

	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/events"
	"cairn.care/services/chassis/pg"
)

// calendarRow is a row of calendars.
type calendarRow struct {
	GroupID       uuid.UUID
	OrgID         uuid.UUID
	Closed        bool
	GroupRevision int64
}

// lockCalendar locks the group's calendar, which it makes where there is none yet.
// Whoever changes which sessions a group has holds it.
func lockCalendar(ctx context.Context, tx pg.Querier, group, org uuid.UUID) (calendarRow, error) {
	rows, err := tx.Query(ctx, `
		INSERT INTO calendars (group_id, org_id, revision, time_zone, closed, group_revision)
		VALUES (@group, @org, 0, 'UTC', false, 0)
		ON CONFLICT (group_id) DO UPDATE SET group_id = excluded.group_id
		RETURNING group_id, org_id, closed, group_revision`, pgx.NamedArgs{"group": group, "org": org})
	if err != nil {
		return calendarRow{}, fmt.Errorf("lock calendar: %w", err)
	}
	row, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[calendarRow])
	if err != nil {
		return calendarRow{}, fmt.Errorf("lock calendar: %w", err)
	}
	return row, nil
}

// markGroup keeps what the groups service told of a group.
func markGroup(ctx context.Context, tx pg.Querier, group uuid.UUID, closed bool, revision int64) error {
	if _, err := tx.Exec(ctx, `UPDATE calendars SET closed = @closed, group_revision = @revision WHERE group_id = @group`,
		pgx.NamedArgs{"group": group, "closed": closed, "revision": revision}); err != nil {
		return fmt.Errorf("mark group: %w", err)
	}
	return nil
}

// tellCalendar tells the group's coming sessions; the caller has locked the calendar.
func tellCalendar(ctx context.Context, tx pg.Querier, group uuid.UUID, now time.Time) error {
	var (
		starts   []time.Time
		zone     string
		revision int64
	)
	if err := tx.QueryRow(ctx, `
		WITH coming AS (
			SELECT start_time, time_zone FROM sessions
			WHERE group_id = @group AND state IN (1, 2) AND start_time > @now ORDER BY start_time, id LIMIT @most)
		UPDATE calendars SET revision = revision + 1,
			first_start = (SELECT min(start_time) FROM coming),
			time_zone = coalesce((SELECT time_zone FROM coming ORDER BY start_time LIMIT 1), time_zone)
		WHERE group_id = @group
		RETURNING revision, time_zone, ARRAY(SELECT start_time FROM coming ORDER BY start_time)`,
		pgx.NamedArgs{"group": group, "now": now, "most": maxNext}).Scan(&revision, &zone, &starts); err != nil {
		return fmt.Errorf("read coming sessions: %w", err)
	}
	data := &schedulingv1.CalendarChanged{Group: aip.Name("groups", group), TimeZone: zone, Revision: revision}
	for _, at := range starts {
		data.NextSessions = append(data.NextSessions, timestamppb.New(at))
	}
	return events.Insert(ctx, tx, events.Event{Type: calendarChanged, Subject: data.GetGroup(), Revision: revision, Data: data})
}
