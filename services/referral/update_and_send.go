package referral

import (
	"context"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/fault"
)

// sending is whom a draft goes to once it is changed.
type sending struct {
	revision int64 // of the draft that the peers were asked about
	org      *uuid.UUID
}

// sendingTo asks the peers about a draft as the request would leave it. What else is wrong with the request is told by the update.
func (s *server) sendingTo(ctx context.Context, tenant auth.Tenant, id uuid.UUID, req *referralv1.UpdateReferralRequest) (*sending, error) {
	const prefix = "referral."
	var seen *row
	if err := s.db.Tx(ctx, func(tx pgx.Tx) (err error) {
		seen, err = find(ctx, tx, tenant, id)
		return err
	}); err != nil {
		return nil, err
	}
	if seen == nil {
		return nil, fault.NotFound(req.GetReferral().GetName())
	}
	after := &sending{revision: seen.Revision}
	if seen.State != draft {
		return after, nil
	}
	m := &referralv1.Referral{RequestedGroup: optionalName("groups", seen.RequestedGroupID), OwnerOrganization: optionalName("organizations", seen.OwnerOrgID)}
	if _, err := aip.Masked(req.GetUpdateMask(), m, req.GetReferral(), changeable()...); err != nil {
		return nil, err
	}
	would := *seen
	var err error
	if would.RequestedGroupID, err = optionalID(prefix+"requested_group", "groups", m.GetRequestedGroup()); err != nil {
		return nil, err
	}
	if would.OwnerOrgID, err = optionalID(prefix+"owner_organization", "organizations", m.GetOwnerOrganization()); err != nil {
		return nil, err
	}
	to, err := s.address(ctx, prefix, &would)
	if err != nil {
		return nil, err
	}
	after.org = to.org
	return after, nil
}

// sendTo sends a draft that the change has just written.
func (c *change) sendTo(org *uuid.UUID, tenant auth.Tenant, m *referralv1.Referral) error {
	if bad := unsendable("referral.", m, c.now); len(bad) > 0 {
		return fault.Invalid(bad...)
	}
	steps, err := check(c.row.name(), c.row.State, send, c.row.parties(tenant))
	if err != nil {
		return err
	}
	c.row.OwnerOrgID = org
	return c.takeAll(steps, entry{by: referrer})
}
