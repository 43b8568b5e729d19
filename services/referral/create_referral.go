package referral

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/idem"
)

// CreateReferral implements ReferralService: after the peers have been asked, row, timeline, event, audit and kept answer
// in one round trip.
func (s *server) CreateReferral(ctx context.Context, req *referralv1.CreateReferralRequest) (*referralv1.Referral, error) {
	const prefix = "referral."
	m, now := req.GetReferral(), s.clock.Now()
	bad := invalid(prefix, m, now)
	if !req.GetDraft() {
		bad = append(bad, unsendable(prefix, m, now)...)
	}
	if len(bad) > 0 {
		return nil, fault.Invalid(bad...)
	}
	org, err := s.referringOrganization(ctx, prefix, m)
	if err != nil {
		return nil, err
	}
	r := &row{ID: aip.NewID(), OrgID: org, CreateTime: now}
	if r.DataKey, _, err = s.keys.NewDataKey(); err != nil {
		return nil, err
	}
	if err := s.fill(r, m); err != nil {
		return nil, err
	}
	t := transition{action: created, to: draft}
	if !req.GetDraft() {
		to, err := s.address(ctx, prefix, r)
		if err != nil {
			return nil, err
		}
		r.OwnerOrgID = to.org
		t = transition{from: draft, action: send, to: sent}
	}
	c := s.newChange(r, actorFrom(ctx))
	c.now = now
	if err := c.take(t, entry{by: referrer}); err != nil {
		return nil, err
	}
	answer, err := s.toProto(r, whole)
	if err != nil {
		return nil, err
	}
	c.batch = s.db.Batch(ctx)
	if err := c.flush(ctx, insertReferral); err != nil {
		return nil, err
	}
	if err := idem.Save(ctx, c.batch, answer); err != nil {
		return nil, err
	}
	if err := s.db.Send(ctx, c.batch); err != nil {
		return nil, fmt.Errorf("insert referral: %w", err)
	}
	return answer, nil
}

// referringOrganization returns for whom the caller refers: its own organization, or any that an internal app names.
func (s *server) referringOrganization(ctx context.Context, prefix string, m *referralv1.Referral) (uuid.UUID, error) {
	t := auth.TenantFrom(ctx)
	if m.GetOrganization() == "" {
		if t.Org == uuid.Nil {
			return uuid.Nil, fault.Invalid(fault.Field(prefix+"organization", "is needed: the caller belongs to no organization"))
		}
		return t.Org, nil
	}
	id, err := aip.ParseName(prefix+"organization", "organizations", m.GetOrganization())
	switch {
	case err != nil:
		return uuid.Nil, err
	case id == t.Org:
		return id, nil
	case !t.All:
		return uuid.Nil, fault.Invalid(fault.Field(prefix+"organization", "is not your organization: leave it out"))
	}
	if _, err := s.organization(ctx, id); err != nil {
		return uuid.Nil, err
	}
	return id, nil
}
