package scheduling

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	membershipv1 "cairn.care/gen/cairn/membership/v1"
	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/events"
	"cairn.care/services/chassis/mail"
)

const (
	// settled is how long a change stands before people are told: one that is made by several, or taken back, is told once or not.
	settled = 2 * time.Minute

	// near is how far ahead a change concerns everybody; those who have answered are told of any.
	near = 21 * 24 * time.Hour
)

// ownEvents follows what becomes of sessions, whatever changed them.
func (n *notifier) ownEvents() events.Subscription {
	return events.Subscription{Name: "scheduling-notices", Source: service, Handlers: map[string]events.Handler{
		sessionCancelled: n.sessionChanged, sessionMoved: n.sessionChanged,
		rsvpPromoted: n.placeChanged, rsvpWaitlisted: n.placeChanged,
	}}
}

// sessionChanged takes back reminders that are not so any more, and notes that the members are to be told.
func (n *notifier) sessionChanged(_ context.Context, e *events.Received) (events.Write, error) {
	var changed schedulingv1.SessionChanged
	if err := e.Decode(&changed); err != nil {
		return nil, events.Poison(err)
	}
	session, err := aip.ParseName("session", "sessions", changed.GetSession())
	if err != nil {
		return nil, events.Poison(err)
	}
	old := changed.GetStartTime().AsTime()
	if changed.GetPreviousStartTime() != nil {
		old = changed.GetPreviousStartTime().AsTime()
	}
	return func(ctx context.Context, tx pgx.Tx) error {
		now := n.clock.Now()
		b := &pgx.Batch{}
		mail.Withdraw(b, changed.GetSession(), now)
		b.Queue(`DELETE FROM reminders WHERE session_id = $1`, session) // of what still holds they are queued again
		if old.After(now) {
			b.Queue(`
				INSERT INTO change_notices (session_id, org_id, group_id, old_start, due_time)
				SELECT id, org_id, group_id, @old, @due FROM sessions WHERE id = @session
				ON CONFLICT (session_id) DO UPDATE SET due_time = excluded.due_time`,
				pgx.NamedArgs{"session": session, "old": old, "due": now.Add(settled)})
		}
		return sendAll(ctx, tx, b, "note change")
	}, nil
}

// notice is a session of which people are to be told that it changed.
type notice struct {
	sessionRow
	OldStart time.Time
	DueTime  time.Time
}

// tellChanges tells people of sessions that were moved or cancelled, those of one group together.
func (n *notifier) tellChanges(ctx context.Context, groups map[uuid.UUID]*groupsv1.Group) error {
	var broken []error
	var after uuid.UUID
	for {
		var due []uuid.UUID
		if err := n.db.Tx(ctx, func(tx pgx.Tx) error {
			rows, err := tx.Query(ctx, `SELECT DISTINCT group_id FROM change_notices WHERE due_time <= @now AND group_id > @after ORDER BY group_id LIMIT @chunk`,
				pgx.NamedArgs{"now": n.clock.Now(), "after": after, "chunk": chunk})
			if err != nil {
				return err
			}
			due, err = pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
			return err
		}); err != nil {
			return errors.Join(append(broken, fmt.Errorf("find changes to tell: %w", err))...)
		}
		for _, id := range due {
			if err := n.tellChangesOf(ctx, id, groups); err != nil {
				broken = append(broken, fmt.Errorf("tell changes of %s: %w", aip.Name("groups", id), err))
				if !n.skippable(ctx, err) {
					return errors.Join(broken...)
				}
			}
			after = id
		}
		if len(due) < chunk {
			return errors.Join(broken...)
		}
	}
}

// tellChangesOf queues what the members of one group are to be told, in the transaction that forgets that they are.
func (n *notifier) tellChangesOf(ctx context.Context, id uuid.UUID, groups map[uuid.UUID]*groupsv1.Group) error {
	group, err := n.groupOf(ctx, groups, id)
	if err != nil {
		return err
	}
	var people []*membershipv1.ListRecipientsResponse_Recipient
	if group != nil {
		if people, err = n.active(ctx, id, membershipv1.Member_SESSION_CHANGES); err != nil {
			return err
		}
	}
	return n.db.Tx(ctx, func(tx pgx.Tx) error {
		notices, audience, err := takeNotices(ctx, tx, id, n.clock.Now())
		if err != nil {
			return err
		}
		if people, err = stillActive(ctx, tx, id, people); err != nil {
			return err
		}
		sessions := make([]uuid.UUID, len(notices))
		for i, c := range notices {
			sessions[i] = c.ID
		}
		said, err := answersTo(ctx, tx, sessions)
		if err != nil {
			return err
		}
		b := &pgx.Batch{}
		for _, r := range people {
			own := slices.DeleteFunc(slices.Clone(notices), func(c notice) bool { return !c.concerns(audience, said[c.ID][r.GetMembership()], n.clock.Now()) })
			if len(own) == 0 {
				continue
			}
			m, err := n.changes(own, group, r)
			if err != nil {
				return err
			}
			if err := n.mail.Queue(b, m); err != nil {
				return err
			}
		}
		return sendAll(ctx, tx, b, "queue changes")
	})
}

// takeNotices removes and returns what has changed in a group for who knows only the old: sessions still to come, by their old
// starts. What has come back to what it was is left out.
func takeNotices(ctx context.Context, tx pgx.Tx, group uuid.UUID, now time.Time) ([]notice, int32, error) {
	args := pgx.NamedArgs{"group": group, "now": now}
	rows, err := tx.Query(ctx, `
		WITH gone AS (DELETE FROM change_notices WHERE group_id = @group AND due_time <= @now RETURNING session_id, old_start, due_time)
		SELECT `+sessionColumns+`, g.old_start, g.due_time FROM gone g JOIN sessions s ON s.id = g.session_id ORDER BY g.old_start, s.id`, args)
	if err != nil {
		return nil, 0, fmt.Errorf("take notices: %w", err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByName[notice])
	if err != nil {
		return nil, 0, fmt.Errorf("take notices: %w", err)
	}
	var audience int32
	if err := tx.QueryRow(ctx, `SELECT coalesce((SELECT audience FROM group_reminders WHERE group_id = @group), 0)`, args).Scan(&audience); err != nil {
		return nil, 0, fmt.Errorf("read reminders of group: %w", err)
	}
	return slices.DeleteFunc(all, func(c notice) bool {
		return c.takesPlace() && (c.StartTime.Equal(c.OldStart) || !c.StartTime.After(now)) || !c.takesPlace() && !c.OldStart.After(now)
	}), audience, nil
}

// concerns tells whether somebody who answered so, or not at all, is told of the change.
func (c notice) concerns(audience, said int32, now time.Time) bool {
	switch said {
	case confirmed, tentative, waitlisted:
		return true
	case declined:
		return false
	}
	soon := c.OldStart.Before(now.Add(near)) || c.takesPlace() && c.StartTime.Before(now.Add(near))
	return soon && audience < int32(groupsv1.Group_Reminders_COMING)
}

// change is one line of what is told.
type changeLine struct {
	Cancelled     bool
	Old, New      time.Time
	Reason, Place string
}

// changes is the message that tells one member of changes.
func (n *notifier) changes(notices []notice, g *groupsv1.Group, r *membershipv1.ListRecipientsResponse_Recipient) (mail.Message, error) {
	zone := readersZone(r, notices[0].TimeZone)
	data := struct {
		Alias, Group string
		Off          bool // nothing but cancellations
		Changes      []changeLine
	}{Alias: r.GetAlias(), Group: g.GetTitle(), Off: true}
	first := notices[0].OldStart
	var key strings.Builder
	for _, c := range notices {
		data.Off = data.Off && !c.takesPlace()
		data.Changes = append(data.Changes, changeLine{!c.takesPlace(), c.OldStart.In(zone), c.StartTime.In(zone), c.CancelReason, c.where(g).Place})
		first = earlier(first, c.OldStart)
		if c.takesPlace() {
			first = earlier(first, c.StartTime)
		}
		fmt.Fprintf(&key, " %s %d %d", c.name(), c.Revision, c.OldStart.Unix())
	}
	m, err := n.message(r, membershipv1.Member_SESSION_CHANGES, "changes", data)
	if err != nil {
		return m, err
	}
	m.Key = "changes " + r.GetMember() + key.String()
	// The night is left in peace, unless the morning would be too late.
	if until, quiet := quietUntil(r.GetQuietHours(), n.clock.Now(), zone); quiet && until.Add(time.Hour).Before(first) {
		m.NotBefore = until
	}
	return m, nil
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
