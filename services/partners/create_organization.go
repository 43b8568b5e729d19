package partners

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	partnersv1 "cairn.care/gen/cairn/partners/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/events"
	"cairn.care/services/chassis/idem"
)

// CreateOrganization registers an organization.
func (s *partnersServer) CreateOrganization(ctx context.Context, req *partnersv1.CreateOrganizationRequest) (*partnersv1.Organization, error) {
	o := proto.CloneOf(req.GetOrganization())
	o.Name = aip.Name(organizations, aip.NewID())
	return s.insertOrganization(ctx, o)
}

// insertOrganization writes a new organization under the name it has.
func (s *service) insertOrganization(ctx context.Context, o *partnersv1.Organization) (*partnersv1.Organization, error) {
	now := timestamppb.New(s.clock.Now())
	o.CreateTime, o.UpdateTime, o.Etag = now, now, aip.ETag(1)
	fillOrganization(o)
	if err := checkOrganization(o); err != nil {
		return nil, err
	}
	row, err := newOrganizationRow(o)
	if err != nil {
		return nil, err
	}
	b := s.db.Batch(ctx)
	queueOrganization(b, row)
	if err := events.Queue(ctx, b, organizationChanged("created", o, 1)); err != nil {
		return nil, err
	}
	if err := idem.Save(ctx, b, o); err != nil {
		return nil, err
	}
	if err := s.db.Send(ctx, b); err != nil {
		return nil, fmt.Errorf("insert organization: %w", organizationFault(err, o))
	}
	return o, nil
}
