package referral

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/audit"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/fault"
)

// GetReferral implements ReferralService.
func (s *server) GetReferral(ctx context.Context, req *referralv1.GetReferralRequest) (*referralv1.Referral, error) {
	id, err := aip.ParseName("name", "referrals", req.GetName())
	if err != nil {
		return nil, err
	}
	tenant := auth.TenantFrom(ctx)
	var found []*row
	args := pgx.NamedArgs{"id": id, "all": tenant.All, "org": tenant.Org}
	b := s.db.Batch(ctx)
	b.Queue(selectReferral, args).Query(collect(&found))
	audit.QueueIf(ctx, b, req.GetName(), selectReferral, args)
	s.disclose(ctx, b, selectReferral, args)
	if err := s.db.Send(ctx, b); err != nil {
		return nil, fmt.Errorf("find referral: %w", err)
	}
	if len(found) == 0 {
		return nil, fault.NotFound(req.GetName())
	}
	return s.toProto(found[0], viewFor(tenant, found[0]))
}
