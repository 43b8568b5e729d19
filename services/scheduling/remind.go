package scheduling

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/grpc/codes"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	membershipv1 "cairn.care/gen/cairn/membership/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/events"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/mail"
)

// usualOffsets are how long before a session people are reminded, in seconds, unless their group says otherwise.
func usualOffsets() []int32 { return []int32{24 * 60 * 60, 2 * 60 * 60} }

// takeReminders keeps what a group says of reminders.
func takeReminders(ctx context.Context, tx pgx.Tx, g *groupsv1.GroupChanged, revision int64) error {
	group, err := aip.ParseName("group", "groups", g.GetGroup())
	if err != nil {
		return events.Poison(err)
	}
	org, err := aip.ParseName("organization", "organizations", g.GetOrganization())
	if err != nil {
		return events.Poison(err)
	}
	offsets := []int32{}
	for _, d := range g.GetReminders().GetOffsets() {
		offsets = append(offsets, int32(d.AsDuration()/time.Second))
	}
	// Of a group that never said anything nothing is kept.
	_, err = tx.Exec(ctx, `
		INSERT INTO group_reminders (group_id, org_id, audience, offsets, group_revision)
		SELECT @group, @org, @audience, @offsets, @revision
		WHERE @said OR EXISTS (SELECT FROM group_reminders WHERE group_id = @group)
		ON CONFLICT (group_id) DO UPDATE SET audience = excluded.audience, offsets = excluded.offsets, group_revision = excluded.group_revision
		WHERE group_reminders.group_revision < excluded.group_revision`,
		pgx.NamedArgs{
			"group": group, "org": org, "audience": int32(g.GetReminders().GetAudience()), "offsets": offsets, "revision": revision,
			"said": g.GetReminders() != nil,
		})
	if err != nil {
		return fmt.Errorf("save reminders of %s: %w", g.GetGroup(), err)
	}
	return nil
}

// dueReminder is a session of which people are to be reminded by now.
type dueReminder struct {
	SessionID uuid.UUID
	OrgID     uuid.UUID
	GroupID   uuid.UUID
	StartTime time.Time
	Audience  int32
	Befores   []int32 // the offsets that have come, the shortest first
}

// dueReminders returns the sessions whose reminders have come, soonest first: those not looked after yet, and those whose
// last reader's quiet hours have ended. Only sessions of groups with members count.
func dueReminders(ctx context.Context, tx pgx.Tx, now time.Time, after dueReminder) ([]dueReminder, error) {
	rows, err := tx.Query(ctx, `
		WITH coming AS (
			SELECT s.id, s.org_id, s.group_id, s.start_time, coalesce(g.audience, 0) AS audience,
				CASE WHEN coalesce(cardinality(g.offsets), 0) = 0 THEN @usual::int[] ELSE g.offsets END AS offsets
			FROM sessions s LEFT JOIN group_reminders g ON g.group_id = s.group_id
			WHERE s.state IN (1, 2) AND s.start_time > @now AND s.start_time <= @now + interval '7 days' AND (s.start_time, s.id) >= (@start, @id)
				AND g.audience IS DISTINCT FROM @nobody AND EXISTS (SELECT FROM attendees a WHERE a.group_id = s.group_id AND a.active))
		SELECT c.id AS session_id, c.org_id, c.group_id, c.start_time, c.audience, array_agg(DISTINCT o.before ORDER BY o.before) AS befores
		FROM coming c CROSS JOIN LATERAL unnest(c.offsets) AS o (before)
		LEFT JOIN reminders r ON r.session_id = c.id AND r.start_time = c.start_time AND r.before = o.before
		WHERE c.start_time - o.before * interval '1 second' <= @now AND (r.session_id IS NULL OR r.look_time <= @now)
			AND (c.start_time, c.id) > (@start, @id)
		GROUP BY c.id, c.org_id, c.group_id, c.start_time, c.audience
		ORDER BY c.start_time, c.id LIMIT @chunk`,
		pgx.NamedArgs{"now": now, "usual": usualOffsets(), "nobody": int32(groupsv1.Group_Reminders_NOBODY), "chunk": chunk, "start": after.StartTime, "id": after.SessionID})
	if err != nil {
		return nil, fmt.Errorf("find reminders: %w", err)
	}
	due, err := pgx.CollectRows(rows, pgx.RowToStructByName[dueReminder])
	if err != nil {
		return nil, fmt.Errorf("find reminders: %w", err)
	}
	return due, nil
}

// remind reminds people of sessions.
func (n *notifier) remind(ctx context.Context, groups map[uuid.UUID]*groupsv1.Group) error {
	var broken []error
	var after dueReminder
	for {
		var due []dueReminder
		if err := n.db.Tx(ctx, func(tx pgx.Tx) (err error) {
			due, err = dueReminders(ctx, tx, n.clock.Now(), after)
			return err
		}); err != nil {
			return errors.Join(append(broken, err)...)
		}
		for _, d := range due {
			if err := n.remindOf(ctx, d, groups); err != nil {
				broken = append(broken, fmt.Errorf("remind of %s: %w", aip.Name("sessions", d.SessionID), err))
				if !n.skippable(ctx, err) {
					return errors.Join(broken...)
				}
			}
			after = d
		}
		if len(due) < chunk {
			return errors.Join(broken...)
		}
	}
}

// remindOf queues the reminders of one session in the transaction that notes that they are. Who is in her quiet hours is
// left for when they end, and left out if the session has begun by then. Of several offsets that have come at once, as with a
// session planned at short notice, one reminder is sent.
func (n *notifier) remindOf(ctx context.Context, d dueReminder, groups map[uuid.UUID]*groupsv1.Group) error {
	now := n.clock.Now()
	group, err := n.groupOf(ctx, groups, d.GroupID)
	if err != nil {
		return err
	}
	var people []*membershipv1.ListRecipientsResponse_Recipient
	if group != nil {
		if people, err = n.active(ctx, d.GroupID, membershipv1.Member_SESSION_REMINDERS); err != nil {
			return err
		}
	}
	return n.db.Tx(ctx, func(tx pgx.Tx) error {
		// Before the session, as whoever takes a person out of the calendar does.
		people, err := stillActive(ctx, tx, d.GroupID, people)
		if err != nil {
			return err
		}
		row, err := oneSession(ctx, tx, d.SessionID, "FOR SHARE OF s")
		if fault.From(err).Code() == codes.NotFound {
			return nil
		}
		if err != nil {
			return err
		}
		if !row.takesPlace() || !row.StartTime.Equal(d.StartTime) {
			return nil // changed meanwhile: the next run sees it
		}
		said, err := answersTo(ctx, tx, []uuid.UUID{row.ID})
		if err != nil {
			return err
		}
		b := &pgx.Batch{}
		var look *time.Time
		for _, r := range people {
			if !reminded(d.Audience, said[row.ID][r.GetMembership()]) {
				continue
			}
			if until, quiet := quietUntil(r.GetQuietHours(), now, readersZone(r, row.TimeZone)); quiet {
				if until.Before(row.StartTime) && (look == nil || until.Before(*look)) {
					look = &until
				}
				continue
			}
			m, err := n.reminder(row, group, r, d.Befores[0])
			if err != nil {
				return err
			}
			if err := n.mail.Queue(b, m); err != nil {
				return err
			}
		}
		for i, before := range d.Befores {
			if i > 0 {
				look = nil // the shortest has taken its place
			}
			b.Queue(`
				INSERT INTO reminders (session_id, start_time, before, org_id, look_time) VALUES (@session, @start, @before, @org, @look)
				ON CONFLICT (session_id, start_time, before) DO UPDATE SET look_time = excluded.look_time`,
				pgx.NamedArgs{"session": row.ID, "start": row.StartTime, "before": before, "org": row.OrgID, "look": look})
		}
		return sendAll(ctx, tx, b, "queue reminders")
	})
}

// reminded tells whether somebody who answered so is reminded.
func reminded(audience, said int32) bool {
	if audience == int32(groupsv1.Group_Reminders_COMING) {
		return said == confirmed
	}
	return said != declined && said != waitlisted
}

// reminder is the reminder of a session to one member.
func (n *notifier) reminder(row sessionRow, g *groupsv1.Group, r *membershipv1.ListRecipientsResponse_Recipient, before int32) (mail.Message, error) {
	m, err := n.message(r, membershipv1.Member_SESSION_REMINDERS, "reminder", struct {
		Alias, Group, Topic string
		Start               time.Time
		whereabouts
	}{r.GetAlias(), g.GetTitle(), row.Topic, row.StartTime.In(readersZone(r, row.TimeZone)), row.where(g)})
	m.Key = fmt.Sprintf("reminder %s %d %d %s", row.name(), row.StartTime.Unix(), before, r.GetMember())
	m.About, m.Expires = row.name(), row.StartTime
	return m, err
}
