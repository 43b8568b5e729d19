package scheduling

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/events"
	"cairn.care/services/chassis/pg"
	"cairn.care/services/recurrence"
)

// calendarRow is a row of calendars.
type calendarRow struct {
	GroupID       uuid.UUID
	OrgID         uuid.UUID
	Closed        bool
	GroupRevision int64
	Format        int32 // of the group; 0: not known
}

// lockCalendar locks the group's calendar, which it makes where there is none yet.
// Whoever changes which sessions a group has holds it.
func lockCalendar(ctx context.Context, tx pg.Querier, group, org uuid.UUID) (calendarRow, error) {
	rows, err := tx.Query(ctx, `
		INSERT INTO calendars (group_id, org_id, revision, time_zone, closed, group_revision)
		VALUES (@group, @org, 0, 'UTC', false, 0)
		ON CONFLICT (group_id) DO UPDATE SET group_id = excluded.group_id
		RETURNING group_id, org_id, closed, group_revision, format`, pgx.NamedArgs{"group": group, "org": org})
	if err != nil {
		return calendarRow{}, fmt.Errorf("lock calendar: %w", err)
	}
	row, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[calendarRow])
	if err != nil {
		return calendarRow{}, fmt.Errorf("lock calendar: %w", err)
	}
	return row, nil
}

// keepFormat keeps how a group is attended, of which its events will tell.
func keepFormat(ctx context.Context, tx pg.Querier, group uuid.UUID, format int32) error {
	if _, err := tx.Exec(ctx, `UPDATE calendars SET format = @format WHERE group_id = @group`, pgx.NamedArgs{"group": group, "format": format}); err != nil {
		return fmt.Errorf("keep format: %w", err)
	}
	return nil
}

// followGroup gives a session of which nothing else is said the format of its group.
func (r *sessionRow) followGroup(ctx context.Context, tx pg.Querier) error {
	if r.Format != 0 {
		return nil
	}
	if err := tx.QueryRow(ctx, `SELECT format FROM calendars WHERE group_id = $1`, r.GroupID).Scan(&r.Format); err != nil {
		return fmt.Errorf("read format of group: %w", err)
	}
	return nil
}

// settleFormats settles the answers to coming sessions of groups that are attended in another way now, where the sessions follow that.
func settleFormats(ctx context.Context, tx pgx.Tx, groups []uuid.UUID, now time.Time) error {
	if len(groups) == 0 {
		return nil
	}
	rows, err := tx.Query(ctx, `
		SELECT s.id FROM sessions s
		WHERE s.group_id = ANY(@groups) AND s.format = 0 AND s.start_time > @now AND EXISTS (SELECT FROM rsvps r WHERE r.session_id = s.id)
		ORDER BY s.id FOR NO KEY UPDATE OF s`, pgx.NamedArgs{"groups": groups, "now": now})
	if err != nil {
		return fmt.Errorf("find sessions that follow their group: %w", err)
	}
	sessions, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	if err != nil {
		return fmt.Errorf("find sessions that follow their group: %w", err)
	}
	if len(sessions) == 0 {
		return nil
	}
	return settle(ctx, tx, sessions, now)
}

// maxPlanned is how many series made by hand a calendar tells.
const maxPlanned = 40

// tellCalendars tells the coming sessions of groups; the caller has locked their calendars.
func tellCalendars(ctx context.Context, tx pg.Querier, groups []uuid.UUID, now time.Time) error {
	if len(groups) == 0 {
		return nil
	}
	args := pgx.NamedArgs{"groups": groups, "now": now, "most": maxNext}
	told := map[uuid.UUID]*schedulingv1.CalendarChanged{}
	b := &pgx.Batch{}
	b.Queue(`
		WITH coming AS (
			SELECT g.id, s.start_time, s.time_zone
			FROM unnest(@groups::uuid[]) AS g (id) CROSS JOIN LATERAL (
				SELECT start_time, time_zone FROM sessions
				WHERE group_id = g.id AND state IN (1, 2) AND start_time > @now ORDER BY start_time, id LIMIT @most) AS s),
		told AS (
			SELECT id, array_agg(start_time ORDER BY start_time) AS starts, (array_agg(time_zone ORDER BY start_time))[1] AS time_zone
			FROM coming GROUP BY id)
		UPDATE calendars c SET revision = revision + 1, first_start = t.starts[1], time_zone = coalesce(t.time_zone, c.time_zone)
		FROM (SELECT DISTINCT unnest(@groups::uuid[]) AS id) AS g LEFT JOIN told t ON t.id = g.id
		WHERE c.group_id = g.id
		RETURNING c.group_id, c.revision, c.time_zone, coalesce(t.starts, '{}')`, args).Query(func(rows pgx.Rows) error {
		var group uuid.UUID
		var starts []time.Time
		m := &schedulingv1.CalendarChanged{}
		_, err := pgx.ForEachRow(rows, []any{&group, &m.Revision, &m.TimeZone, &starts}, func() error {
			one := &schedulingv1.CalendarChanged{Group: aip.Name("groups", group), Revision: m.GetRevision(), TimeZone: m.GetTimeZone()}
			for _, at := range starts {
				one.NextSessions = append(one.NextSessions, timestamppb.New(at))
			}
			told[group] = one
			return nil
		})
		return err
	})
	b.Queue(`
		SELECT group_id, r.rule, time_zone, local_start, duration_seconds FROM series CROSS JOIN LATERAL unnest(ARRAY[rrule] || further_rrules) AS r (rule)
		WHERE group_id = ANY(@groups) AND listed = '' AND delete_time IS NULL AND NOT closed AND (last_end IS NULL OR last_end > @now)
		ORDER BY group_id, id`, args).Query(func(rows pgx.Rows) error {
		var r seriesRow
		_, err := pgx.ForEachRow(rows, []any{&r.GroupID, &r.Rrule, &r.TimeZone, &r.LocalStart, &r.DurationSeconds}, func() error {
			if m := told[r.GroupID]; m != nil && len(m.GetPlannedSeries()) < maxPlanned {
				m.PlannedSeries = append(m.PlannedSeries, &schedulingv1.PlannedSeries{
					Rrule: r.Rrule, TimeZone: r.TimeZone, LocalStart: recurrence.FormatLocal(r.LocalStart), Duration: durationpb.New(r.duration()),
				})
			}
			return nil
		})
		return err
	})
	if err := tx.SendBatch(ctx, b).Close(); err != nil {
		return fmt.Errorf("read coming sessions: %w", err)
	}
	b = &pgx.Batch{}
	for _, m := range told {
		if err := events.Queue(ctx, b, events.Event{Type: calendarChanged, Subject: m.GetGroup(), Revision: m.GetRevision(), Data: m}); err != nil {
			return err
		}
	}
	return sendAll(ctx, tx, b, "insert events")
}
