package scheduling

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// planFresh is reconcileAll for series that are all new and of groups that had none: there is nothing to compare with, and nobody
// leads their sessions.
func planFresh(ctx context.Context, tx pgx.Tx, edits []edit, now time.Time) error {
	if len(edits) == 0 {
		return nil
	}
	var sessions []sessionRow
	var groups []uuid.UUID
	var mine []sessionRow // of the group
	for _, e := range edits {
		want, err := e.series.occurrences(nil, now)
		if err != nil {
			return err
		}
		if n := len(groups); n == 0 || groups[n-1] != e.series.GroupID {
			groups, mine = append(groups, e.series.GroupID), nil
		}
		others := mine
		for _, c := range plan(*e.series, nil, want, now.Add(-grace), now, e.reason) {
			if slices.ContainsFunc(others, c.row.overlaps) {
				continue // the group has another session then
			}
			mine, sessions = append(mine, c.row), append(sessions, c.row)
		}
	}
	b := &pgx.Batch{}
	queueFreshSeries(b, edits)
	for some := range slices.Chunk(sessions, rowsAtOnce) {
		_, args := columnsOf(some)
		b.Queue(`
			INSERT INTO sessions (id, org_id, series_id, group_id, original_start, state, start_time, end_time, time_zone,
				format, place, topic, cancel_reason, revision, create_time, update_time)
			SELECT * FROM unnest(@id::uuid[], @org_id::uuid[], @series_id::uuid[], @group_id::uuid[], @original_start::timestamp[], @state::int[],
				@start_time::timestamptz[], @end_time::timestamptz[], @time_zone::text[], @format::int[], @place::text[],
				@topic::text[], @cancel_reason::text[], @revision::bigint[], @create_time::timestamptz[], @update_time::timestamptz[])`, args)
	}
	if err := tx.SendBatch(ctx, b).Close(); err != nil {
		return fmt.Errorf("save listed series: %w", err)
	}
	return tellCalendars(ctx, tx, groups, now)
}

// queueFreshSeries queues the insert of series as listings make them: what only people set is empty.
func queueFreshSeries(b *pgx.Batch, edits []edit) {
	n := len(edits)
	ids, orgs, groups := make([]uuid.UUID, n), make([]uuid.UUID, n), make([]uuid.UUID, n)
	rules, zones, listed := make([]string, n), make([]string, n), make([]string, n)
	starts, horizons, ends := make([]time.Time, n), make([]time.Time, n), make([]*time.Time, n)
	seconds, formats := make([]int32, n), make([]int32, n)
	creates, updates, revisions := make([]time.Time, n), make([]time.Time, n), make([]int64, n)
	for i, e := range edits {
		r := e.series
		ids[i], orgs[i], groups[i] = r.ID, r.OrgID, r.GroupID
		rules[i], zones[i], listed[i] = r.Rrule, r.TimeZone, r.Listed
		starts[i], horizons[i], ends[i] = r.LocalStart, r.Horizon, r.LastEnd
		seconds[i], formats[i] = r.DurationSeconds, r.Format
		creates[i], updates[i], revisions[i] = r.CreateTime, r.UpdateTime, r.Revision
	}
	b.Queue(`
		INSERT INTO series (id, org_id, group_id, title, rrule, rdates, exdates, time_zone, local_start, duration_seconds, format, place,
			topics, facilitators, horizon, last_end, closed, listed, revision, create_time, update_time)
		SELECT r.id, r.org_id, r.group_id, '', r.rrule, '{}', '{}', r.time_zone, r.local_start, r.duration_seconds, r.format, '',
			'{}', '{}', r.horizon, r.last_end, false, r.listed, r.revision, r.create_time, r.update_time
		FROM unnest(@ids::uuid[], @orgs::uuid[], @groups::uuid[], @rules::text[], @zones::text[], @starts::timestamp[], @seconds::int[], @formats::int[],
				@horizons::timestamptz[], @ends::timestamptz[], @listed::text[], @revisions::bigint[], @creates::timestamptz[], @updates::timestamptz[])
			AS r (id, org_id, group_id, rrule, time_zone, local_start, duration_seconds, format, horizon, last_end, listed, revision, create_time, update_time)`,
		pgx.NamedArgs{
			"ids": ids, "orgs": orgs, "groups": groups, "rules": rules, "zones": zones, "starts": starts, "seconds": seconds, "formats": formats,
			"horizons": horizons, "ends": ends, "listed": listed, "revisions": revisions, "creates": creates, "updates": updates,
		})
}
