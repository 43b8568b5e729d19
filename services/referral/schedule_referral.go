package referral

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	referralv1 "cairn.care/gen/cairn/referral/v1"
	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/fault"
)

// ScheduleReferral implements ReferralService.
func (s *server) ScheduleReferral(ctx context.Context, req *referralv1.ScheduleReferralRequest) (*referralv1.Referral, error) {
	st := step{name: req.GetName(), etag: req.GetEtag(), action: schedule, note: req.GetNote()}
	if req.GetSession() == "" {
		at := instant(req.GetSessionTime())
		switch {
		case at == nil:
			return nil, fault.Invalid(fault.Field("session_time", "is needed where no session is named"))
		case !req.GetSessionTime().IsValid():
			return nil, fault.Invalid(fault.Field("session_time", "is no time between the years 1 and 9999"))
		}
		st.with = func(c *change) error {
			c.row.FirstSessionID, c.row.FirstSessionTime = nil, at
			return c.row.met("session_time", *at)
		}
		return s.apply(ctx, st)
	}
	if req.GetSessionTime() != nil {
		return nil, fault.Invalid(fault.Field("session_time", "is taken from the session: leave it out"))
	}
	at, err := s.plannedSession(ctx, req.GetSession())
	if err != nil {
		return nil, err
	}
	st.session = &at.id
	st.before = func(ctx context.Context, tx pgx.Tx) error {
		if at.group == "" {
			return nil
		}
		// The session's changes are the service's own business, not the tenant's.
		if _, err := tx.Exec(ctx, `SELECT set_config('app.system', 'on', true)`); err != nil {
			return fmt.Errorf("look at sessions: %w", err)
		}
		switch err := s.lockSession(ctx, tx, &at.session); {
		case errors.Is(err, errSessionGone):
			at.off = true
		case err != nil:
			return err
		}
		system := "off"
		if auth.TenantFrom(ctx).All {
			system = "on"
		}
		if _, err := tx.Exec(ctx, `SELECT set_config('app.system', $1, true)`, system); err != nil {
			return fmt.Errorf("look at sessions: %w", err)
		}
		return nil
	}
	st.with = func(c *change) error {
		if c.row.GroupID == nil || optionalName("groups", c.row.GroupID) != at.group {
			return fault.Invalid(fault.Field("session", "%s is not a session of the group that took her", req.GetSession()))
		}
		if at.off {
			return fault.Precondition("SESSION_CANCELLED", req.GetSession(), "%s is cancelled: name another session", req.GetSession())
		}
		c.row.FirstSessionID, c.row.FirstSessionTime = &at.id, &at.start
		return nil
	}
	return s.apply(ctx, st)
}

// planned is a session as its referral finds it. One that there is not has no group, and is refused as another's is.
type planned struct {
	session
	group string
	off   bool // cancelled
}

// plannedSession asks scheduling for a session.
func (s *server) plannedSession(ctx context.Context, name string) (*planned, error) {
	m, err := s.scheduling.GetSession(auth.System(ctx, service), &schedulingv1.GetSessionRequest{Name: name})
	if status.Code(err) == codes.NotFound {
		return &planned{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("get session: %w", err)
	}
	at, err := sessionFrom(m)
	if err != nil {
		return nil, err
	}
	return &planned{session: *at, group: m.GetGroup(), off: m.GetState() == schedulingv1.Session_CANCELLED}, nil
}
