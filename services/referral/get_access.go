package referral

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/chassis/audit"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/fault"
)

// GetAccess implements AccessService.
func (s *server) GetAccess(ctx context.Context, req *referralv1.GetAccessRequest) (*referralv1.Access, error) {
	id, err := strconv.ParseInt(strings.TrimPrefix(req.GetName(), "accesses/"), 10, 64)
	if err != nil {
		return nil, fault.NotFound(req.GetName())
	}
	tenant := auth.TenantFrom(ctx)
	args := pgx.NamedArgs{"id": id, "all": tenant.All, "org": tenant.Org}
	const own = `SELECT ` + accessColumns + ` FROM audit_log a WHERE a.id = @id AND ` + accessOfOwn
	var found []*accessRow
	b := s.db.Batch(ctx)
	b.Queue(own, args).Query(collect(&found))
	audit.QueueIf(ctx, b, req.GetName(), own, args)
	if err := s.db.Send(ctx, b); err != nil {
		return nil, fmt.Errorf("find access: %w", err)
	}
	if len(found) == 0 {
		return nil, fault.NotFound(req.GetName())
	}
	return found[0].toProto(), nil
}
