package referral

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/events"
)

// membershipEvents follows what becomes of the memberships that referrals have placed.
func (s *server) membershipEvents() events.Subscription {
	handlers := make(map[string]events.Handler)
	for _, what := range []string{"requested", "waitlisted", "offered", "approved", "activated", "leave_started", "leave_ended", "ended", "declined"} {
		handlers["care.cairn.membership.membership."+what+".v1"] = s.membershipChanged
	}
	return events.Subscription{Name: "referral-membership", Source: "membership", Handlers: handlers}
}

// schedulingEvents follows who came to which session, and which sessions are cancelled, moved and new.
func (s *server) schedulingEvents() events.Subscription {
	return events.Subscription{Name: "referral-scheduling", Source: "scheduling", Handlers: map[string]events.Handler{
		"care.cairn.scheduling.attendance.recorded.v1": s.attendanceRecorded,
		"care.cairn.scheduling.session.cancelled.v1":   s.sessionChanged,
		"care.cairn.scheduling.session.moved.v1":       s.sessionChanged,
		"care.cairn.scheduling.session.restored.v1":    s.sessionChanged,
		"care.cairn.scheduling.calendar.changed.v1":    s.calendarChanged,
		"care.cairn.scheduling.rsvp.answered.v1":       s.rsvpChanged,
		"care.cairn.scheduling.rsvp.promoted.v1":       s.rsvpChanged,
		"care.cairn.scheduling.rsvp.waitlisted.v1":     s.rsvpChanged,
		"care.cairn.scheduling.rsvp.released.v1":       s.rsvpChanged,
	}}
}

// poisoned parses the names of an event: one that is none cannot become one.
func poisoned(field, collection, name string) (uuid.UUID, error) {
	id, err := aip.ParseName(field, collection, name)
	if err != nil {
		return uuid.Nil, events.Poison(err)
	}
	return id, nil
}

func (s *server) membershipChanged(_ context.Context, e *events.Received) (events.Write, error) {
	var m membershipv1.MembershipChanged
	if err := e.Decode(&m); err != nil {
		return nil, events.Poison(err)
	}
	if m.GetReferral() == "" {
		return nil, nil // she came by herself
	}
	return func(ctx context.Context, tx pgx.Tx) error { return s.takeMembership(ctx, tx, &m, e.Revision) }, nil
}

// takeMembership takes in what became of a membership that a referral has placed.
func (s *server) takeMembership(ctx context.Context, tx pgx.Tx, m *membershipv1.MembershipChanged, revision int64) error {
	referral, err := poisoned("referral", "referrals", m.GetReferral())
	if err != nil {
		return err
	}
	membership, err := poisoned("membership", "memberships", m.GetMembership())
	if err != nil {
		return err
	}
	member, err := poisoned("member", "members", m.GetMember())
	if err != nil {
		return err
	}
	if err := lockKey(ctx, tx, "memberships", membership); err != nil {
		return err
	}
	w, err := wishesOf(ctx, tx, member)
	if err != nil {
		return err
	}
	r, err := lock(ctx, tx, auth.TenantFrom(ctx), referral)
	if err != nil || r == nil {
		return err
	}
	if r.AcceptTime != nil && r.MembershipID != nil && *r.MembershipID != membership && over(m.GetState()) {
		return nil // a seat that was given back before she was accepted again
	}
	c := s.newChange(r, told("membership"))
	hers := sameID(r.MemberID, &member)
	unknown := r.MembershipID == nil
	news := r.learn(membership, m.GetState(), revision)
	if !hers {
		r.MemberID = &member
		if err := s.heed(ctx, tx, c, w); err != nil {
			return err
		}
	}
	switch {
	case !news && hers:
		return nil
	case !news:
		return c.save(ctx, tx)
	}
	switch m.GetState() {
	case membershipv1.Membership_ENDED:
		err = c.membershipEnded(enumWords(m.GetEndReason().String()))
	case membershipv1.Membership_DECLINED:
		err = c.membershipEnded(enumWords(m.GetDeclineReason().String()))
	}
	if err != nil {
		return err
	}
	late := unknown && ended(r.State)
	if r.State == sent && s.mayAccept(r) != nil {
		under, err := findPlacement(ctx, tx, r.ID)
		if err != nil {
			return err
		}
		late = under == nil
	}
	if late && r.AcceptTime == nil && !over(m.GetState()) {
		// A seat for a referral that, or whose consent, had ended: a late copy of an accepting got it, and died before it gave it back.
		if err := giveBack(ctx, tx, c); err != nil {
			return err
		}
	}
	if err := s.follow(ctx, tx, c); err != nil {
		return err
	}
	return c.save(ctx, tx)
}

// over tells whether a membership in the state holds nothing that could be given back.
func over(m membershipv1.Membership_State) bool {
	return m == membershipv1.Membership_ENDED || m == membershipv1.Membership_DECLINED
}

func (s *server) attendanceRecorded(_ context.Context, e *events.Received) (events.Write, error) {
	var m schedulingv1.AttendanceRecorded
	if err := e.Decode(&m); err != nil {
		return nil, events.Poison(err)
	}
	return func(ctx context.Context, tx pgx.Tx) error { return s.takeAttendance(ctx, tx, &m, e.Revision) }, nil
}

// takeAttendance takes in whether somebody came to a session. Whose referral that is may be told later.
func (s *server) takeAttendance(ctx context.Context, tx pgx.Tx, m *schedulingv1.AttendanceRecorded, revision int64) error {
	membership, err := poisoned("membership", "memberships", m.GetMembership())
	if err != nil {
		return err
	}
	session, err := poisoned("session", "sessions", m.GetSession())
	if err != nil {
		return err
	}
	if err := lockKey(ctx, tx, "memberships", membership); err != nil {
		return err
	}
	tag, err := tx.Exec(ctx, `INSERT INTO attendances (membership_id, session_id, revision, status, session_start, create_time)
		VALUES (@membership, @session, @revision, @status, @start, @now)
		ON CONFLICT (membership_id, session_id) DO UPDATE SET revision = EXCLUDED.revision, status = EXCLUDED.status,
			session_start = EXCLUDED.session_start WHERE attendances.revision < EXCLUDED.revision`, pgx.NamedArgs{
		"membership": membership, "session": session, "revision": revision, "status": int32(m.GetStatus()),
		"start": m.GetSessionStart().AsTime(), "now": s.clock.Now(),
	})
	if err != nil {
		return fmt.Errorf("record attendance: %w", err)
	}
	if tag.RowsAffected() == 0 {
		return nil // stale
	}
	r, err := queryRow(ctx, tx, `SELECT `+columns+` FROM referrals r WHERE r.membership_id = @membership FOR NO KEY UPDATE`, pgx.NamedArgs{"membership": membership})
	if err != nil || r == nil {
		return err // nobody's, or nobody's yet
	}
	c := s.newChange(r, told("scheduling"))
	if err := s.follow(ctx, tx, c); err != nil {
		return err
	}
	if err := c.save(ctx, tx); err != nil {
		return err
	}
	return s.bookingAttended(ctx, tx, r.ID, session, m.GetStatus())
}

func (s *server) sessionChanged(_ context.Context, e *events.Received) (events.Write, error) {
	var m schedulingv1.SessionChanged
	if err := e.Decode(&m); err != nil {
		return nil, events.Poison(err)
	}
	return func(ctx context.Context, tx pgx.Tx) error { return s.takeSession(ctx, tx, &m, e.Revision) }, nil
}

// takeSession takes in that a session is cancelled, moved or restored, and tells the referrals of those who are expected there, or are
// again because they had booked it.
func (s *server) takeSession(ctx context.Context, tx pgx.Tx, m *schedulingv1.SessionChanged, revision int64) error {
	session, err := poisoned("session", "sessions", m.GetSession())
	if err != nil {
		return err
	}
	if err := lockKey(ctx, tx, "sessions", session); err != nil {
		return err
	}
	start, off := m.GetStartTime().AsTime(), m.GetState() == schedulingv1.Session_CANCELLED
	tag, err := tx.Exec(ctx, `INSERT INTO session_changes (session_id, revision, cancelled, start_time)
		VALUES (@session, @revision, @cancelled, @start)
		ON CONFLICT (session_id) DO UPDATE SET revision = EXCLUDED.revision, cancelled = EXCLUDED.cancelled,
			start_time = EXCLUDED.start_time WHERE session_changes.revision < EXCLUDED.revision`,
		pgx.NamedArgs{"session": session, "revision": revision, "cancelled": off, "start": start})
	if err != nil {
		return fmt.Errorf("record session: %w", err)
	}
	if tag.RowsAffected() == 0 {
		return nil // stale
	}
	concerned, err := ids(ctx, tx, `
		SELECT id FROM referrals WHERE first_session_id = @session AND state = 5
		UNION SELECT referral_id FROM bookings WHERE session_id = @session AND session_cancelled AND NOT @off ORDER BY 1`, pgx.NamedArgs{"session": session, "off": off})
	if err != nil {
		return fmt.Errorf("find referrals of session: %w", err)
	}
	var again []*row
	for _, id := range concerned {
		r, err := lock(ctx, tx, auth.TenantFrom(ctx), id)
		if err != nil {
			return err
		}
		switch {
		case r == nil:
		case r.State != scheduled || r.FirstSessionID == nil || *r.FirstSessionID != session:
			again = append(again, r)
		default:
			if err := s.sessionOff(ctx, tx, r, session, off, &start); err != nil {
				return err
			}
		}
	}
	if err := s.bookingsMoved(ctx, tx, session, m, revision); err != nil || off {
		return err
	}
	for _, r := range again {
		c := s.newChange(r, told("scheduling"))
		if err := c.expect(ctx, tx); err != nil {
			return err
		}
		if len(c.steps) > 0 {
			if err := c.save(ctx, tx); err != nil {
				return err
			}
		}
	}
	return nil
}

// sessionOff tells a referral that its session is cancelled or moved.
func (s *server) sessionOff(ctx context.Context, tx pgx.Tx, r *row, session uuid.UUID, off bool, start *time.Time) error {
	c := s.newChange(r, told("scheduling"))
	e := entry{by: system, session: &session}
	switch {
	case off:
		if err := c.take(transition{from: scheduled, action: recordSessionOff, to: sessionCancelled}, e); err != nil {
			return err
		}
		if r.awaitsSession() {
			if err := s.enqueueSchedule(ctx, tx, r.ID); err != nil {
				return err
			}
		}
	case r.FirstSessionTime == nil || !r.FirstSessionTime.Equal(*start):
		r.FirstSessionTime = start
		if err := c.take(transition{from: scheduled, action: schedule, to: scheduled}, e); err != nil {
			return err
		}
	default:
		return nil
	}
	return c.save(ctx, tx)
}

// calendarChanged looks again for a session for those who wait for one.
func (s *server) calendarChanged(_ context.Context, e *events.Received) (events.Write, error) {
	var m schedulingv1.CalendarChanged
	if err := e.Decode(&m); err != nil {
		return nil, events.Poison(err)
	}
	if len(m.GetNextSessions()) == 0 {
		return nil, nil
	}
	group, err := poisoned("group", "groups", m.GetGroup())
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, tx pgx.Tx) error {
		waiting, err := ids(ctx, tx, `SELECT id FROM referrals WHERE group_id = @group AND state IN (3, 7) AND membership_state = @active`,
			pgx.NamedArgs{"group": group, "active": int32(membershipv1.Membership_ACTIVE)})
		if err != nil {
			return fmt.Errorf("find referrals that wait for a session: %w", err)
		}
		return s.enqueueSchedule(ctx, tx, waiting...)
	}, nil
}
