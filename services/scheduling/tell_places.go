package scheduling

import (
	"context"
	"errors"
	"fmt"
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

// placeChanged tells a member who waited that a place is hers, and one whose place is no longer there that she waits.
func (n *notifier) placeChanged(ctx context.Context, e *events.Received) (events.Write, error) {
	var changed schedulingv1.RsvpChanged
	if err := e.Decode(&changed); err != nil {
		return nil, events.Poison(err)
	}
	session, err := aip.ParseName("session", "sessions", changed.GetSession())
	if err != nil {
		return nil, events.Poison(err)
	}
	membership, err := aip.ParseName("membership", "memberships", changed.GetMembership())
	if err != nil {
		return nil, events.Poison(err)
	}
	if !changed.GetSessionStart().AsTime().After(n.clock.Now()) {
		return nil, nil
	}
	who, err := n.recipients.ListRecipients(ctx, &membershipv1.ListRecipientsRequest{
		Memberships: []string{changed.GetMembership()}, Kind: membershipv1.Member_SESSION_CHANGES,
	})
	if err != nil {
		return nil, fmt.Errorf("list recipients: %w", err)
	}
	id, err := aip.ParseName("group", "groups", changed.GetGroup())
	if err != nil {
		return nil, events.Poison(err)
	}
	group, err := n.groupOf(ctx, map[uuid.UUID]*groupsv1.Group{}, id)
	if err != nil || group == nil || len(who.GetRecipients()) == 0 {
		return nil, err
	}
	return func(ctx context.Context, tx pgx.Tx) error {
		row, err := oneSession(ctx, tx, session, "")
		if err != nil {
			return err
		}
		var revision int64
		err = tx.QueryRow(ctx, `SELECT revision FROM rsvps WHERE session_id = $1 AND membership_id = $2`, session, membership).Scan(&revision)
		if errors.Is(err, pgx.ErrNoRows) || err == nil && revision != e.Revision || !row.takesPlace() {
			return nil // it is not so any more
		}
		if err != nil {
			return fmt.Errorf("read answer: %w", err)
		}
		m, err := n.place(row, &changed, e.Revision, group, who.GetRecipients()[0])
		if err != nil {
			return err
		}
		return n.mail.Insert(ctx, tx, m)
	}, nil
}

// place is the message that tells one member whether a place is hers.
func (n *notifier) place(row sessionRow, changed *schedulingv1.RsvpChanged, revision int64, g *groupsv1.Group, r *membershipv1.ListRecipientsResponse_Recipient) (mail.Message, error) {
	zone := readersZone(r, row.TimeZone)
	m, err := n.message(r, membershipv1.Member_SESSION_CHANGES, "place", struct {
		Alias, Group string
		Start        time.Time
		Hers, InRoom bool
		whereabouts
	}{r.GetAlias(), g.GetTitle(), row.StartTime.In(zone), changed.GetState() == schedulingv1.Rsvp_CONFIRMED, changed.GetWay() == schedulingv1.Rsvp_IN_PERSON, row.where(g)})
	if err != nil {
		return m, err
	}
	m.Key = fmt.Sprintf("place %s %d", changed.GetRsvp(), revision)
	m.About, m.Expires = row.name(), row.StartTime
	if until, quiet := quietUntil(r.GetQuietHours(), n.clock.Now(), zone); quiet && until.Add(time.Hour).Before(row.StartTime) {
		m.NotBefore = until
	}
	return m, nil
}
