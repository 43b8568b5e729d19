package groups

import (
	"context"
	"fmt"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/idem"
)

// CreateResource creates a resource that nobody has reviewed, in one round trip.
func (s *server) CreateResource(ctx context.Context, req *groupsv1.CreateResourceRequest) (*groupsv1.Resource, error) {
	orgID, err := s.orgs.ownerFor(ctx, "resource.organization", req.GetResource().GetOrganization())
	if err != nil {
		return nil, err
	}
	m := kept(req.GetResource())
	unreview(m)
	m.Flags = nil
	if err := checkResource(m); err != nil {
		return nil, err
	}
	now := s.clock.Now()
	r := resourceRow{ID: aip.NewID(), OrgID: orgID, Revision: 1, State: int32(groupsv1.Resource_UNREVIEWED), CreateTime: now, UpdateTime: now}
	r.into(m)

	b := s.db.Batch(ctx)
	if err := queueSaveResource(b, &r, m); err != nil {
		return nil, err
	}
	if err := queueResourceEvent(ctx, b, &r, m, "created"); err != nil {
		return nil, err
	}
	if err := idem.Save(ctx, b, m); err != nil {
		return nil, err
	}
	if err := s.db.Send(ctx, b); err != nil {
		return nil, fmt.Errorf("insert resource: %w", err)
	}
	return m, nil
}
