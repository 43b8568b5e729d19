package membership

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/audit"
	"cairn.care/services/chassis/fault"
)

// GetMembership implements MembershipService.
func (s *server) GetMembership(ctx context.Context, req *membershipv1.GetMembershipRequest) (*membershipv1.Membership, error) {
	id, err := aip.ParseName("name", "memberships", req.GetName())
	if err != nil {
		return nil, err
	}
	args, err := bounds(ctx)
	if err != nil {
		return nil, err
	}
	args["id"] = id
	var row *membershipRow
	b := s.db.Batch(ctx)
	b.Queue(selectMembership, args).Query(one(&row))
	audit.QueueIf(ctx, b, req.GetName(), selectMembership, args)
	err = s.db.Send(ctx, b)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, fault.NotFound(req.GetName())
	}
	if err != nil {
		return nil, fmt.Errorf("find membership: %w", err)
	}
	return row.toFullProto(s.keys)
}
