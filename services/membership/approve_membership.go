package membership

import (
	"context"
	"strings"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/fault"
)

// ApproveMembership implements MembershipService.
func (s *server) ApproveMembership(ctx context.Context, req *membershipv1.ApproveMembershipRequest) (*membershipv1.Membership, error) {
	return s.apply(ctx, change{
		name: req.GetName(), etag: req.GetEtag(), takesSeats: true,
		decide: func(r *membershipRow, g *groupRow) (action, error) {
			if r.State != requested {
				return "", illegal(r, seat)
			}
			if err := s.mayApprove(g, r, req.GetOverrideReason()); err != nil {
				return "", err
			}
			return decideAdmission(g)
		},
	})
}

// mayApprove returns why somebody who asked cannot be let in, nil if she can or an exception is made, which it writes down.
func (s *server) mayApprove(g *groupRow, r *membershipRow, override string) error {
	if strings.TrimSpace(override) != "" {
		r.Exception = true
		return r.note(s.keys, &membershipv1.Membership{OverrideReason: override})
	}
	if r.Exception {
		return nil
	}
	const orException = "; to make an exception, say why in override_reason"
	switch {
	case g.Screening && r.ScreeningOutcome == 0:
		return fault.Precondition("SCREENING_NEEDED", r.name(), "the group asks for a talk before: record what came of it with :recordScreening%s", orException)
	case g.Screening && r.ScreeningOutcome == int32(membershipv1.Membership_UNSUITABLE):
		return fault.Precondition("SCREENED_UNSUITABLE", r.name(), "the talk before found that the group does not suit her: decline the request%s", orException)
	}
	return s.eligible(g, r.MemberRole, r.BirthYear)
}

// decideAdmission returns what an approval gets from a group whose row is locked.
func decideAdmission(g *groupRow) (action, error) {
	if err := notAccepting(g); err != nil {
		return "", err
	}
	does, ok := g.admit()
	if !ok {
		return "", groupFull(g)
	}
	return does, nil
}

// organizationOf returns the organization a new resource belongs to: the caller's own, or the one named by a caller that
// acts for all.
func organizationOf(ctx context.Context, field, name string) (auth.Tenant, error) {
	t := auth.TenantFrom(ctx)
	if name == "" {
		if t.All {
			return t, fault.Invalid(fault.Field(field, "you act for several organizations: say which one keeps this record, organizations/{uuid}"))
		}
		return t, nil
	}
	org, err := aip.ParseName(field, "organizations", name)
	if err != nil {
		return t, err
	}
	if !t.All && org != t.Org {
		return t, fault.Invalid(fault.Field(field, "must be your own organization, or empty"))
	}
	t.Org = org
	return t, nil
}
