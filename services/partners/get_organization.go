package partners

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	partnersv1 "cairn.care/gen/cairn/partners/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/fault"
)

// GetOrganization returns an organization.
func (s *partnersServer) GetOrganization(ctx context.Context, req *partnersv1.GetOrganizationRequest) (*partnersv1.Organization, error) {
	id, err := aip.ParseName("name", organizations, req.GetName())
	if err != nil {
		return nil, err
	}
	row, err := selectOrganization(ctx, s.db, id)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, fault.NotFound(req.GetName())
	}
	if err != nil {
		return nil, fmt.Errorf("get organization: %w", err)
	}
	return row.toProto()
}
