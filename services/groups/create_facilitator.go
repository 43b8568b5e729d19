package groups

import (
	"context"
	"fmt"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/audit"
	"cairn.care/services/chassis/events"
	"cairn.care/services/chassis/idem"
)

// CreateFacilitator creates a facilitator, in one round trip. Her licence is not verified yet.
func (s *server) CreateFacilitator(ctx context.Context, req *groupsv1.CreateFacilitatorRequest) (*groupsv1.Facilitator, error) {
	orgID, err := s.orgs.ownerFor(ctx, "facilitator.organization", req.GetFacilitator().GetOrganization())
	if err != nil {
		return nil, err
	}
	f := writtenFacilitator(req.GetFacilitator())
	f.Email = req.GetFacilitator().GetEmail()
	unverify(f)
	if err := checkFacilitator(f); err != nil {
		return nil, err
	}
	now := s.clock.Now()
	r := facilitatorRow{ID: aip.NewID(), OrgID: orgID, Revision: 1, CreateTime: now, UpdateTime: now}
	r.into(f)
	if err := r.seal(s.keys, f.GetEmail()); err != nil {
		return nil, err
	}

	b := s.db.Batch(ctx)
	if err := queueSaveFacilitator(b, &r, f); err != nil {
		return nil, err
	}
	if err := events.Queue(ctx, b, facilitatorEvent(r.ID, r.OrgID, r.Revision, f, "created")); err != nil {
		return nil, err
	}
	audit.Queue(ctx, b, f.GetName())
	if err := idem.Save(ctx, b, f); err != nil {
		return nil, err
	}
	if err := s.db.Send(ctx, b); err != nil {
		return nil, fmt.Errorf("insert facilitator: %w", err)
	}
	return f, nil
}

// unverify takes away what only VerifyLicence may set.
func unverify(f *groupsv1.Facilitator) {
	if l := f.GetLicence(); l != nil {
		l.VerifiedBy, l.VerifyTime, l.Evidence = "", nil, ""
	}
}
