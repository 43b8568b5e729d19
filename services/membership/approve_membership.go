package membership

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/fault"
)

// ApproveMembership implements MembershipService.
func (s *server) ApproveMembership(ctx context.Context, req *membershipv1.ApproveMembershipRequest) (*membershipv1.Membership, error) {
	if err := s.refuseEarly(ctx, req.GetName()); err != nil {
		return nil, err
	}
	return s.apply(ctx, change{
		name: req.GetName(), etag: req.GetEtag(), takesSeats: true,
		decide: func(r *membershipRow, g *groupRow) (action, error) {
			if r.State != requested {
				return "", illegal(r, seat)
			}
			return decideAdmission(g)
		},
	})
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

// refuseEarly refuses to approve a request for a group that is full and keeps no waitlist, without waiting for those who
// are just taking its last seats. What it lets pass is decided under the lock.
func (s *server) refuseEarly(ctx context.Context, name string) error {
	id, err := aip.ParseName("name", "memberships", name)
	if err != nil {
		return err
	}
	tenant := auth.TenantFrom(ctx)
	var g *groupRow
	b := s.db.Batch(ctx)
	b.Queue(selectGroup+` WHERE group_id = (SELECT group_id FROM memberships WHERE id = @id AND state = 1 AND (@all OR org_id = @org))`,
		pgx.NamedArgs{"id": id, "all": tenant.All, "org": tenant.Org}).Query(atMostOne(&g))
	if err := s.db.Send(ctx, b); err != nil {
		return fmt.Errorf("find group: %w", err)
	}
	if g != nil && g.AcceptsIntake && g.closed() {
		return groupFull(g)
	}
	return nil
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
