package membership

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/audit"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/fault"
)

// GetMember implements MembershipService.
func (s *server) GetMember(ctx context.Context, req *membershipv1.GetMemberRequest) (*membershipv1.Member, error) {
	id, err := aip.ParseName("name", "members", req.GetName())
	if err != nil {
		return nil, err
	}
	if !mayTouch(ctx, id) {
		return nil, fault.NotFound(req.GetName())
	}
	tenant := auth.TenantFrom(ctx)
	var row *memberRow
	args := pgx.NamedArgs{"id": id, "all": tenant.All, "org": tenant.Org}
	b := s.db.Batch(ctx)
	b.Queue(selectMember, args).Query(one(&row))
	audit.QueueIf(ctx, b, req.GetName(), selectMember, args)
	err = s.db.Send(ctx, b)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, fault.NotFound(req.GetName())
	}
	if err != nil {
		return nil, fmt.Errorf("find member: %w", err)
	}
	return row.toFullProto(s.keys)
}
