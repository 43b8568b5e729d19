package scheduling

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/events"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/mail"
	"cairn.care/services/chassis/pg"
)

// attendeeRow is a row of attendees: what is known of a membership.
type attendeeRow struct {
	MembershipID uuid.UUID
	OrgID        uuid.UUID
	GroupID      uuid.UUID
	MemberID     uuid.UUID
	Active       bool
	Revision     int64
}

// memberships follows who takes part in which group, and who wants no e-mail.
func (s *server) memberships() events.Subscription {
	handlers := map[string]events.Handler{"care.cairn.membership.member.updated.v1": s.memberChanged}
	for _, what := range []string{
		"requested", "waitlisted", "offered", "approved", "activated", "guidelines_acknowledged", "leave_started", "leave_ended", "ended", "declined",
	} {
		handlers["care.cairn.membership.membership."+what+".v1"] = s.membershipChanged
	}
	return events.Subscription{Name: "scheduling-membership", Source: "membership", Handlers: handlers}
}

func (s *server) membershipChanged(_ context.Context, e *events.Received) (events.Write, error) {
	var m membershipv1.MembershipChanged
	if err := e.Decode(&m); err != nil {
		return nil, events.Poison(err)
	}
	row, err := attendeeOf(m.GetMembership(), m.GetOrganization(), m.GetGroup(), m.GetMember(), m.GetState(), e.Revision)
	if err != nil {
		return nil, events.Poison(err)
	}
	return func(ctx context.Context, tx pgx.Tx) error { return takeAttendee(ctx, tx, row, s.clock.Now()) }, nil
}

// memberChanged takes back what is unsent of what a member does not want any more.
func (s *server) memberChanged(_ context.Context, e *events.Received) (events.Write, error) {
	var m membershipv1.MemberChanged
	if err := e.Decode(&m); err != nil {
		return nil, events.Poison(err)
	}
	stops := mail.Stops{Subject: m.GetMember(), Revision: e.Revision, All: m.GetDoNotContact() || m.GetNoMessages()}
	for _, kind := range m.GetMutedMessages() {
		stops.Kinds = append(stops.Kinds, kind.String())
	}
	return func(ctx context.Context, tx pgx.Tx) error {
		b := &pgx.Batch{}
		mail.Stop(b, stops, s.clock.Now())
		return sendAll(ctx, tx, b, "stop e-mail")
	}, nil
}

func attendeeOf(membership, organization, group, member string, state membershipv1.Membership_State, revision int64) (r attendeeRow, err error) {
	r.Active, r.Revision = state == membershipv1.Membership_ACTIVE, revision
	for _, f := range []struct {
		into                    *uuid.UUID
		field, collection, name string
	}{
		{&r.MembershipID, "membership", "memberships", membership}, {&r.OrgID, "organization", "organizations", organization},
		{&r.GroupID, "group", "groups", group}, {&r.MemberID, "member", "members", member},
	} {
		if *f.into, err = aip.ParseName(f.field, f.collection, f.name); err != nil {
			return r, err
		}
	}
	return r, nil
}

// takeAttendee keeps what is known of a membership. One that is no longer active gives up what it holds of the sessions to come.
func takeAttendee(ctx context.Context, tx pgx.Tx, r attendeeRow, now time.Time) error {
	tag, err := tx.Exec(ctx, `
		INSERT INTO attendees (membership_id, org_id, group_id, member_id, active, revision)
		VALUES (@membership, @org, @group, @member, @active, @revision)
		ON CONFLICT (membership_id) DO UPDATE SET active = excluded.active, revision = excluded.revision WHERE attendees.revision < excluded.revision`,
		pgx.NamedArgs{"membership": r.MembershipID, "org": r.OrgID, "group": r.GroupID, "member": r.MemberID, "active": r.Active, "revision": r.Revision})
	if err != nil {
		return fmt.Errorf("save attendee: %w", err)
	}
	if tag.RowsAffected() == 0 || r.Active {
		return nil
	}
	return release(ctx, tx, r, now)
}

// release gives up what a membership holds of the sessions to come. The caller has locked it.
func release(ctx context.Context, tx pgx.Tx, a attendeeRow, now time.Time) error {
	var any bool
	if err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM rsvps WHERE membership_id = $1 AND state <> 4)`, a.MembershipID).Scan(&any); err != nil {
		return fmt.Errorf("look for answers to release: %w", err)
	}
	if !any {
		return nil
	}
	if _, err := lockCalendar(ctx, tx, a.GroupID, a.OrgID); err != nil {
		return err
	}
	rows, err := tx.Query(ctx, `
		SELECT s.id FROM sessions s JOIN rsvps r ON r.session_id = s.id
		WHERE r.membership_id = @membership AND r.state <> 4 AND s.start_time > @now ORDER BY s.id FOR NO KEY UPDATE OF s`,
		pgx.NamedArgs{"membership": a.MembershipID, "now": now})
	if err != nil {
		return fmt.Errorf("find answers to release: %w", err)
	}
	sessions, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	if err != nil {
		return fmt.Errorf("find answers to release: %w", err)
	}
	if len(sessions) == 0 {
		return nil
	}
	b := &pgx.Batch{}
	rows, err = tx.Query(ctx, `
		UPDATE rsvps r SET state = 4, check_in_time = NULL, arrived = false, revision = r.revision + 1, update_time = @now
		FROM sessions s WHERE s.id = r.session_id AND r.membership_id = @membership AND r.session_id = ANY(@sessions) AND r.state <> 4
		RETURNING `+rsvpColumns, pgx.NamedArgs{"membership": a.MembershipID, "sessions": sessions, "now": now})
	if err != nil {
		return fmt.Errorf("release answers: %w", err)
	}
	released, err := pgx.CollectRows(rows, pgx.RowToStructByName[rsvpRow])
	if err != nil {
		return fmt.Errorf("release answers: %w", err)
	}
	for _, r := range released {
		if err := events.Queue(ctx, b, rsvpEvent(rsvpReleased, r)); err != nil {
			return err
		}
	}
	if err := sendAll(ctx, tx, b, "insert events"); err != nil {
		return err
	}
	return settle(ctx, tx, sessions, now)
}

// errUnknown means that a membership must be asked about: it is not known, or known not to be active.
var errUnknown = errors.New("membership is not known to be active")

// asActive runs fn in a transaction, and once more after asking the membership service if fn does not know the membership to be
// active.
func (s *server) asActive(ctx context.Context, membership string, fn func(tx pgx.Tx) error) error {
	err := s.db.Tx(ctx, fn)
	if !errors.Is(err, errUnknown) {
		return err
	}
	m, err := s.members.GetMembership(auth.System(ctx, service), &membershipv1.GetMembershipRequest{Name: membership})
	if status.Code(err) == codes.NotFound {
		return fault.NotFound(membership)
	}
	if err != nil {
		return fmt.Errorf("get membership: %w", err)
	}
	revision, err := aip.Revision(m.GetEtag())
	if err != nil {
		return fmt.Errorf("get membership: %w", err)
	}
	row, err := attendeeOf(m.GetName(), m.GetOrganization(), m.GetGroup(), m.GetMember(), m.GetState(), revision)
	if err != nil {
		return fmt.Errorf("get membership: %w", err)
	}
	if t := auth.TenantFrom(ctx); !t.All && t.Org != row.OrgID {
		return fault.NotFound(membership)
	}
	if err := s.db.Tx(ctx, func(tx pgx.Tx) error { return takeAttendee(ctx, tx, row, s.clock.Now()) }); err != nil {
		return err
	}
	err = s.db.Tx(ctx, fn)
	if errors.Is(err, errUnknown) {
		return fault.Precondition("MEMBERSHIP_NOT_ACTIVE", membership, "the membership is %s; only active members take part in sessions", m.GetState())
	}
	return err
}

// lockAttendee returns what is known of a membership, and keeps it so until the transaction ends; sessions are locked after it.
func lockAttendee(ctx context.Context, tx pg.Querier, membership uuid.UUID) (attendeeRow, error) {
	rows, err := tx.Query(ctx, `SELECT membership_id, org_id, group_id, member_id, active, revision FROM attendees WHERE membership_id = $1 FOR SHARE`, membership)
	if err != nil {
		return attendeeRow{}, fmt.Errorf("select attendee: %w", err)
	}
	row, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[attendeeRow])
	if errors.Is(err, pgx.ErrNoRows) {
		return row, errUnknown
	}
	if err != nil {
		return row, fmt.Errorf("select attendee: %w", err)
	}
	return row, nil
}

// mayAnswer refuses a membership that is not an active one of the session's group, or not one for which the caller may answer.
func (r attendeeRow) mayAnswer(ctx context.Context, tx pg.Querier, session sessionRow) error {
	name := aip.Name("memberships", r.MembershipID)
	if self, bounded := auth.SelfFrom(ctx); bounded && r.MemberID != selfID("members", self.Member) {
		lead, err := leads(ctx, tx, session.ID)
		if err != nil {
			return err
		}
		if !lead {
			return fault.NotFound(name)
		}
	}
	switch {
	case r.OrgID != session.OrgID:
		return fault.NotFound(name)
	case r.GroupID != session.GroupID:
		return fault.Invalid(fault.Field("membership", "%s is no membership of %s", name, aip.Name("groups", session.GroupID)))
	case !r.Active:
		return errUnknown
	}
	return nil
}
