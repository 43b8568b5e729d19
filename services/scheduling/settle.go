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

// earlyCheckIn is how long before a session people may be checked in.
const earlyCheckIn = 30 * time.Minute

// settle brings the answers to sessions in line with what the sessions offer now, and tells what changed: who meant to come
// in a way that is no longer offered gets into the line of the other by when she said so, free places go to who waits, in
// order, and check-ins to a session that is not now are forgotten. The caller has locked the sessions.
func settle(ctx context.Context, tx pgx.Tx, sessions []uuid.UUID, now time.Time) error {
	args := pgx.NamedArgs{"sessions": sessions, "now": now, "early": earlyCheckIn}
	was := map[[2]uuid.UUID]int32{} // the state before, of the rows that changed
	note := func(rows pgx.Rows) error {
		var session, membership uuid.UUID
		var state int32
		_, err := pgx.ForEachRow(rows, []any{&session, &membership, &state}, func() error {
			if _, ok := was[[2]uuid.UUID{session, membership}]; !ok {
				was[[2]uuid.UUID{session, membership}] = state
			}
			return nil
		})
		return err
	}
	b := &pgx.Batch{}
	b.Queue(`
		UPDATE rsvps r SET check_in_time = NULL, arrived = false, revision = r.revision + 1, update_time = @now
		FROM sessions s
		WHERE s.id = ANY(@sessions) AND r.session_id = s.id AND r.check_in_time IS NOT NULL
			AND (s.state = 3 OR s.start_time > r.check_in_time + @early::interval)
		RETURNING r.session_id, r.membership_id, r.state`, args).Query(note)
	b.Queue(`
		UPDATE rsvps r SET way = 3 - r.way, state = CASE r.state WHEN 1 THEN 2 ELSE r.state END, revision = r.revision + 1, update_time = @now
		FROM sessions s JOIN calendars c ON c.group_id = s.group_id JOIN rsvps o ON o.session_id = s.id
		WHERE s.id = ANY(@sessions) AND s.start_time > @now
			AND CASE CASE s.format WHEN 0 THEN c.format ELSE s.format END WHEN 1 THEN o.way = 2 WHEN 2 THEN o.way = 1 WHEN 4 THEN o.way = 1 END
			AND r.session_id = o.session_id AND r.membership_id = o.membership_id
		RETURNING r.session_id, r.membership_id, o.state`, args).Query(note)
	b.Queue(`
		WITH open AS (
			SELECT s.id, w.way, CASE w.way WHEN 1 THEN s.seats ELSE s.online_seats END AS seats,
				(SELECT count(*) FROM rsvps c WHERE c.session_id = s.id AND c.way = w.way AND c.state = 1) AS taken
			FROM sessions s CROSS JOIN (VALUES (1), (2)) AS w (way)
			WHERE s.id = ANY(@sessions) AND s.state IN (1, 2) AND s.start_time > @now
				AND EXISTS (SELECT FROM rsvps q WHERE q.session_id = s.id AND q.way = w.way AND q.state = 2)),
		next AS (
			SELECT o.id, q.membership_id FROM open o CROSS JOIN LATERAL (
				SELECT membership_id FROM rsvps
				WHERE session_id = o.id AND way = o.way AND state = 2 ORDER BY queued
				LIMIT CASE o.seats WHEN 0 THEN NULL ELSE greatest(o.seats - o.taken, 0) END) AS q)
		UPDATE rsvps r SET state = 1, revision = r.revision + 1, update_time = @now
		FROM next n WHERE r.session_id = n.id AND r.membership_id = n.membership_id
		RETURNING r.session_id, r.membership_id, 2`, args).Query(note)
	if err := tx.SendBatch(ctx, b).Close(); err != nil {
		return fmt.Errorf("settle answers: %w", err)
	}
	return tellSettled(ctx, tx, was)
}

// tellSettled tells what became of answers, given the state in which each was before.
func tellSettled(ctx context.Context, tx pg.Querier, was map[[2]uuid.UUID]int32) error {
	if len(was) == 0 {
		return nil
	}
	var sessions, memberships []uuid.UUID
	for key := range was {
		sessions, memberships = append(sessions, key[0]), append(memberships, key[1])
	}
	rows, err := tx.Query(ctx, `SELECT `+rsvpColumns+` FROM unnest($1::uuid[], $2::uuid[]) AS k (session, membership)
		JOIN rsvps r ON r.session_id = k.session AND r.membership_id = k.membership JOIN sessions s ON s.id = r.session_id
		ORDER BY r.session_id, r.queued`, sessions, memberships)
	if err != nil {
		return fmt.Errorf("select settled answers: %w", err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByName[rsvpRow])
	if err != nil {
		return fmt.Errorf("select settled answers: %w", err)
	}
	b := &pgx.Batch{}
	for _, r := range list {
		kind := rsvpAnswered
		switch before := was[[2]uuid.UUID{r.SessionID, r.MembershipID}]; {
		case before == waitlisted && r.State == confirmed:
			kind = rsvpPromoted
		case before == confirmed && r.State == waitlisted:
			kind = rsvpWaitlisted
		}
		if err := events.Queue(ctx, b, rsvpEvent(kind, r)); err != nil {
			return err
		}
	}
	return sendAll(ctx, tx, b, "insert events")
}

// rsvpEvent returns an event of the answer as it is now.
func rsvpEvent(kind string, r rsvpRow) events.Event {
	return events.Event{Type: kind, Subject: r.name(), Revision: r.Revision, Data: &schedulingv1.RsvpChanged{
		Rsvp: r.name(), Session: aip.Name("sessions", r.SessionID), Group: aip.Name("groups", r.GroupID),
		Organization: aip.Name("organizations", r.OrgID), Membership: aip.Name("memberships", r.MembershipID),
		State: schedulingv1.Rsvp_State(r.State), Way: schedulingv1.Rsvp_Way(r.Way), SessionStart: timestamppb.New(r.StartTime),
	}}
}
