package partners

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	partnersv1 "cairn.care/gen/cairn/partners/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/events"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/idem"
)

// UpdateOrganization changes an organization.
func (s *partnersServer) UpdateOrganization(ctx context.Context, req *partnersv1.UpdateOrganizationRequest) (*partnersv1.Organization, error) {
	id, err := aip.ParseName("organization.name", organizations, req.GetOrganization().GetName())
	if err != nil {
		return nil, err
	}
	if _, err := selectOrganization(ctx, s.db, id); errors.Is(err, pgx.ErrNoRows) {
		return nil, fault.NotFound(req.GetOrganization().GetName())
	} else if err != nil {
		return nil, fmt.Errorf("get organization: %w", err)
	}
	if err := mayChangeOrganization(ctx, id); err != nil {
		return nil, err
	}
	var out *partnersv1.Organization
	err = s.db.Tx(ctx, func(tx pgx.Tx) error {
		out, err = s.updateOrganization(ctx, tx, id, req.GetOrganization(), req.GetUpdateMask())
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("update organization: %w", err)
	}
	return out, nil
}

// updateOrganization applies o to the organization as the mask says and returns it as it
// is now. If nothing changes, nothing is written.
func (s *service) updateOrganization(ctx context.Context, tx pgx.Tx, id uuid.UUID, o *partnersv1.Organization, mask *fieldmaskpb.FieldMask) (*partnersv1.Organization, error) {
	row, err := lockOrganization(ctx, tx, id)
	if err != nil {
		return nil, err
	}
	if err := aip.CheckETag(o.GetEtag(), row.Revision); err != nil {
		return nil, err
	}
	was, err := row.toProto()
	if err != nil {
		return nil, err
	}
	is := proto.CloneOf(was)
	if _, err := aip.Masked(mask, is, o, organizationMutable...); err != nil {
		return nil, err
	}
	fillOrganization(is)
	if err := checkPlatformFields(ctx, was, is); err != nil {
		return nil, err
	}
	if err := checkOrganization(is); err != nil {
		return nil, err
	}
	if proto.Equal(was, is) {
		return was, idem.SaveTx(ctx, tx, was)
	}
	is.UpdateTime, is.Etag = timestamppb.New(s.clock.Now()), aip.ETag(row.Revision+1)
	next, err := newOrganizationRow(is)
	if err != nil {
		return nil, err
	}
	next.Revision = row.Revision + 1
	if err := writeOrganization(ctx, tx, next); err != nil {
		return nil, organizationFault(err, is)
	}
	if err := events.Insert(ctx, tx, organizationChanged("updated", is, next.Revision)); err != nil {
		return nil, err
	}
	return is, idem.SaveTx(ctx, tx, is)
}
