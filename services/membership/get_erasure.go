package membership

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/audit"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/fault"
)

// GetErasure implements PrivacyService.
func (s *server) GetErasure(ctx context.Context, req *membershipv1.GetErasureRequest) (*membershipv1.Erasure, error) {
	id, err := aip.ParseName("name", "erasures", req.GetName())
	if err != nil {
		return nil, err
	}
	tenant := auth.TenantFrom(ctx)
	args := pgx.NamedArgs{"id": id, "all": tenant.All, "org": tenant.Org, "self": false, "self_member": uuid.Nil}
	if self, ok := auth.SelfFrom(ctx); ok {
		args["self"] = true
		if args["self_member"], err = aip.ParseName("token", "members", self.Member); err != nil {
			return nil, err
		}
	}
	const query = `SELECT ` + erasureColumns + ` FROM erasures e WHERE e.id = @id AND (@all OR e.org_id = @org) AND (NOT @self OR e.member_id = @self_member)`
	var row *erasureRow
	b := s.db.Batch(ctx)
	b.Queue(query, args).Query(atMostOne(&row))
	audit.QueueIf(ctx, b, req.GetName(), query, args)
	if err := s.db.Send(ctx, b); err != nil {
		return nil, fmt.Errorf("find erasure: %w", err)
	}
	if row == nil {
		return nil, fault.NotFound(req.GetName())
	}
	return row.toProto(), nil
}
