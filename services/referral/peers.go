package referral

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	partnersv1 "cairn.care/gen/cairn/partners/v1"
	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/fault"
)

// addressee is who a referral goes to.
type addressee struct {
	org *uuid.UUID // nil: whoever claims it
}

// address finds out who a referral goes to: the owner of the requested group, the organization that is named, or nobody
// yet. prefix is that of the request's fields.
func (s *server) address(ctx context.Context, prefix string, r *row) (*addressee, error) {
	if r.RequestedGroupID != nil {
		g, err := s.takingGroup(ctx, prefix+"requested_group", *r.RequestedGroupID)
		if err != nil {
			return nil, err
		}
		owner, err := aip.ParseName("organization", "organizations", g.GetOrganization())
		if err != nil {
			return nil, fmt.Errorf("owner of %s: %w", g.GetName(), err)
		}
		if r.OwnerOrgID != nil && *r.OwnerOrgID != owner {
			return nil, fault.Invalid(fault.Field(prefix+"owner_organization", "is not the owner of %s: leave it out, or name %s", g.GetName(), g.GetOrganization()))
		}
		return &addressee{org: &owner}, nil
	}
	if r.OwnerOrgID == nil {
		return &addressee{}, nil
	}
	kind, err := s.organizationKind(ctx, *r.OwnerOrgID)
	if status.Code(err) == codes.NotFound {
		return nil, fault.Invalid(fault.Field(prefix+"owner_organization", "%s does not exist", aip.Name("organizations", *r.OwnerOrgID)))
	}
	if err != nil {
		return nil, err
	}
	if !helps(kind) {
		return nil, fault.Invalid(fault.Field(prefix+"owner_organization", "is %s, which takes no referrals: name a nonprofit, or nobody, so that any nonprofit can claim it", kind))
	}
	return &addressee{org: r.OwnerOrgID}, nil
}

// helps tells whether an organization of the kind takes referrals.
func helps(k partnersv1.Organization_Kind) bool {
	switch k {
	case partnersv1.Organization_NONPROFIT, partnersv1.Organization_UMBRELLA, partnersv1.Organization_PUBLIC_AUTHORITY:
		return true
	}
	return false
}

func (s *server) organizationKind(ctx context.Context, id uuid.UUID) (partnersv1.Organization_Kind, error) {
	o, err := s.organization(ctx, id)
	return o.GetKind(), err
}

func (s *server) organization(ctx context.Context, id uuid.UUID) (*partnersv1.Organization, error) {
	o, err := s.partners.GetOrganization(auth.System(ctx, service), &partnersv1.GetOrganizationRequest{Name: aip.Name("organizations", id)})
	if err != nil {
		return nil, fmt.Errorf("get organization: %w", err)
	}
	return o, nil
}

// takingGroup returns a group that takes new people.
func (s *server) takingGroup(ctx context.Context, field string, id uuid.UUID) (*groupsv1.Group, error) {
	name := aip.Name("groups", id)
	g, err := s.groups.GetGroup(auth.System(ctx, service), &groupsv1.GetGroupRequest{Name: name})
	if status.Code(err) == codes.NotFound || err == nil && g.GetState() != groupsv1.Group_PUBLISHED && g.GetState() != groupsv1.Group_PAUSED {
		return nil, fault.Invalid(fault.Field(field, "%s does not exist or is not published", name))
	}
	if err != nil {
		return nil, fmt.Errorf("get group: %w", err)
	}
	if !g.GetAcceptsIntake() {
		return nil, fault.Precondition("GROUP_NOT_ACCEPTING", name, "%s takes nobody new at present: name another group, or none, so that any nonprofit can claim the referral", name)
	}
	return g, nil
}

// session is a coming session as scheduling knows it.
type session struct {
	id       uuid.UUID
	start    time.Time
	revision int64
}

func sessionFrom(m *schedulingv1.Session) (*session, error) {
	id, err := aip.ParseName("session", "sessions", m.GetName())
	if err != nil {
		return nil, err
	}
	revision, err := aip.Revision(m.GetEtag())
	if err != nil {
		return nil, err
	}
	return &session{id: id, start: m.GetStartTime().AsTime(), revision: revision}, nil
}

// mostSessions is how many sessions scheduling lists at once.
const mostSessions = 100

// nextSession returns the group's next session that takes place and is none of those left out, nil if none is planned.
func (s *server) nextSession(ctx context.Context, group uuid.UUID, except ...uuid.UUID) (*session, error) {
	resp, err := s.scheduling.ListSessions(auth.System(ctx, service), &schedulingv1.ListSessionsRequest{
		Filter: fmt.Sprintf(`group = %q AND start_time > %q AND (state = SCHEDULED OR state = MOVED)`,
			aip.Name("groups", group), s.clock.Now().Format(time.RFC3339Nano)),
		PageSize: int32(min(1+len(except), mostSessions)),
	})
	if err != nil {
		return nil, fmt.Errorf("list sessions: %w", err)
	}
	for _, m := range resp.GetSessions() {
		next, err := sessionFrom(m)
		if err != nil || !slices.Contains(except, next.id) {
			return next, err
		}
	}
	return nil, nil
}
